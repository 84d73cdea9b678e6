/* SPDX-License-Identifier: MIT */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Relaxed everywhere: a test sets them before it starts threads and clears them after joining. */
static _Atomic(rlt_memory_gate_fn *) gate_fn;
static _Atomic(void *) gate_context;

void rlt_memory_set_gate(rlt_memory_gate_fn *gate, void *context)
{
    atomic_store_explicit(&gate_context, context, memory_order_relaxed);
    atomic_store_explicit(&gate_fn, gate, memory_order_relaxed);
}

static int allowed(size_t size)
{
    rlt_memory_gate_fn *gate = atomic_load_explicit(&gate_fn, memory_order_relaxed);
    if (gate == NULL) {
        return 1;
    }
    return gate(atomic_load_explicit(&gate_context, memory_order_relaxed), size);
}

void *rlt_memory_alloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || !allowed(total)) {
        return NULL;
    }
    return calloc(1, total != 0 ? total : 1);
}

void *rlt_memory_alloc_aligned(size_t alignment, size_t size)
{
    void *block;
    if (!allowed(size) || posix_memalign(&block, alignment, size) != 0) {
        return NULL;
    }
    return block;
}

void *rlt_memory_resize(void *block, size_t size)
{
    if (!allowed(size)) {
        return NULL;
    }
    return realloc(block, size);
}

char *rlt_memory_copy_text(const char *text, size_t len)
{
    if (len == SIZE_MAX || !allowed(len + 1)) {
        return NULL;
    }
    char *copy = malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

void rlt_memory_free(void *block)
{
    free(block);
}
