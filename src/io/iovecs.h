/* SPDX-License-Identifier: MIT */
/**
 * A message as the kernel takes it (struct msghdr) from a transport's spans.
 */
#ifndef RLT_IO_IOVECS_H
#define RLT_IO_IOVECS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/assert.h"
#include "core/seam/transport.h"
#include "io/asan.h"

#define RLT_MESSAGE_SPANS_MAX 64

static_assert(sizeof(struct rlt_span) == sizeof(struct iovec), "spans are iovecs");
static_assert(offsetof(struct rlt_span, bytes) == offsetof(struct iovec, iov_base), "");
static_assert(offsetof(struct rlt_span, len) == offsetof(struct iovec, iov_len), "");

/** The header and spans that the kernel reads until an operation completes. */
struct rlt_iovecs {
    struct msghdr header;
    struct iovec spans[RLT_MESSAGE_SPANS_MAX];
};

static inline void rlt_iovecs_fill(struct rlt_iovecs *iovecs, const struct rlt_span *spans,
                                   uint32_t count)
{
    RLT_ASSERT(count != 0 && count <= RLT_MESSAGE_SPANS_MAX);
    memcpy(iovecs->spans, spans, count * sizeof(*spans));
    iovecs->header = (struct msghdr){.msg_iov = iovecs->spans, .msg_iovlen = count};
}

/** See rlt_asan_check(). */
static inline void rlt_iovecs_check_writable(const struct rlt_iovecs *iovecs)
{
    rlt_asan_check(iovecs->spans, iovecs->header.msg_iovlen);
}

/** Make a header for one system call, without a copy of the spans. */
static inline struct msghdr rlt_iovecs_of(const struct rlt_span *spans, uint32_t count)
{
    return (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)spans, .msg_iovlen = count};
}

#endif
