/* SPDX-License-Identifier: MIT */
/**
 * Forbidding system calls to the calling process (seccomp), for all of its threads and for good.
 */
#ifndef RLT_TESTS_SUPPORT_SANDBOX_H
#define RLT_TESTS_SUPPORT_SANDBOX_H

/**
 * From now on `call`, a number such as SYS_io_uring_enter, fails with `error`, an errno.
 *
 * Aborts if the kernel has no such filters.
 */
void sandbox_forbid(long call, int error);

#endif
