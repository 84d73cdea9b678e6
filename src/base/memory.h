/* SPDX-License-Identifier: MIT */
/**
 * The only door to the heap. Tests put a counting or failing allocator behind it.
 */
#ifndef RLT_BASE_MEMORY_H
#define RLT_BASE_MEMORY_H

#include <stddef.h>

/**
 * Called before each allocation with its size; false makes it fail. NULL (the default) allows
 * all. Process-wide; for tests.
 *
 * Threads: set while no other thread allocates.
 */
typedef int rlt_memory_gate_fn(void *context, size_t size);
void rlt_memory_set_gate(rlt_memory_gate_fn *gate, void *context);

/** Zeroed memory for `count` items of `size` bytes; NULL on overflow or if there is none. */
void *rlt_memory_alloc(size_t count, size_t size);

/** Memory aligned to `alignment` (a power of two), not zeroed; NULL if there is none. */
void *rlt_memory_alloc_aligned(size_t alignment, size_t size);

/** As realloc(): NULL leaves the old block as it was. */
void *rlt_memory_resize(void *block, size_t size);

/** A NUL-terminated copy of `len` bytes; NULL if there is no memory. */
char *rlt_memory_copy_text(const char *text, size_t len);

/** Free a block of any of the above; NULL is allowed. */
void rlt_memory_free(void *block);

#endif
