/* SPDX-License-Identifier: MIT */
/**
 * The lines that a connection sends besides messages: CONNECT, SUB, UNSUB, PING, PONG. One buffer
 * is filled while the other one is in flight. Lines that hold credentials are overwritten once they
 * are sent or lost.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SENDING_CONTROL_H
#define RLT_CORE_SENDING_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes of lines that wait at most. */
#define RLT_CONTROL_BYTES ((size_t)64 * 1024)

struct rlt_control {
    uint8_t *buffers[2];
    uint32_t filling;  /* index of the buffer that is filled */
    size_t len;        /* bytes in it */
    size_t secret_len; /* bytes of both that hold credentials, to be overwritten; 0: none */
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_control_init(struct rlt_control *control);

/** Free the buffers. Zeroed memory is allowed. */
void rlt_control_fini(struct rlt_control *control);

/** Room for `len` bytes, or NULL: send first. rlt_control_commit() follows. */
uint8_t *rlt_control_claim(struct rlt_control *control, size_t len);
void rlt_control_commit(struct rlt_control *control, const uint8_t *end);

/** Take the written lines to send them: `*len` bytes, valid until rlt_control_on_sent() or the next
 *  call. */
const uint8_t *rlt_control_take(struct rlt_control *control, size_t *len);

/** Mark the lines written so far as credentials. */
static inline void rlt_control_mark_secret(struct rlt_control *control)
{
    control->secret_len = control->len;
}

/** Release the taken lines, which were sent or lost. */
void rlt_control_on_sent(struct rlt_control *control);

/** Drop the written lines: the connection is lost. */
static inline void rlt_control_forget(struct rlt_control *control)
{
    control->len = 0;
}

#endif
