/* SPDX-License-Identifier: MIT */
/**
 * Small files that may hold secrets: credentials, keys, certificates.
 */
#ifndef RLT_IO_SYSTEM_FILE_H
#define RLT_IO_SYSTEM_FILE_H

#include <stddef.h>

#define RLT_FILE_BYTES_MAX ((size_t)16 << 20)

/**
 * Read a regular file whole. `*bytes` has a NUL behind the last byte, which `*len` does not count.
 *
 * Ownership: the caller's; rlt_file_free() ends it.
 * Threads:   any thread. Blocks as long as the disk takes; on a pipe or device it does not wait
 *            but fails.
 * Returns:   0; ROULETTE_ESYSTEM (missing, not readable, no regular file, more than
 *            RLT_FILE_BYTES_MAX, or growing at this moment: `roulette_last_error()` has the path
 *            and says which); ROULETTE_ENOMEM. Nothing that was read stays behind.
 */
int rlt_file_read(const char *path, char **bytes, size_t *len);

/** Wipe and free what rlt_file_read() gave. NULL is allowed. */
void rlt_file_free(char *bytes, size_t len);

#endif
