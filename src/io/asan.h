/* SPDX-License-Identifier: MIT */
/**
 * AddressSanitizer does not see the kernel's writes: their memory is checked by hand.
 */
#ifndef RLT_IO_ASAN_H
#define RLT_IO_ASAN_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define RLT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RLT_ASAN 1
#endif
#endif
#ifdef RLT_ASAN
#include <sanitizer/asan_interface.h>
#endif

/** Assert that the memory is not poisoned, before and after the kernel writes to it. */
static inline void rlt_asan_check(const struct iovec *spans, size_t count)
{
#ifdef RLT_ASAN
    for (size_t i = 0; i < count; i++) {
        RLT_ASSERT(__asan_region_is_poisoned(spans[i].iov_base, spans[i].iov_len) == NULL);
    }
#else
    (void)spans;
    (void)count;
#endif
}

#endif
