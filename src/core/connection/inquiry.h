/* SPDX-License-Identifier: MIT */
/**
 * Which SUBs a server has refused without naming them ("maximum subscriptions exceeded"), when
 * several stood between two PINGs (core/sending/sub_marks.h). Until that is known nothing else is
 * subscribed or unsubscribed on the connection, and fences that have passed are held back: who
 * waits for one may rely on what the server said.
 *
 *     NONE -> CLOSING -> ASKING -> CUTTING -> TESTING -> REMAKING -> NONE
 *
 *  CLOSING   the PONGs of all that is written are waited for. As many -ERRs as SUBs in a window:
 *            all were refused. Otherwise one or some of them.
 *  ASKING    each SUB is sent again, alone between two PINGs. A server ignores a sid that it has,
 *            so no -ERR proves that the subscription exists, and takes nothing from it. An -ERR
 *            proves that it does not, unless it says: too many. nats-server 2.9 to 2.15 looks at
 *            the limit before the sid, so what exists is refused in the same words.
 *  CUTTING   of what is left, those are likely to have been refused for the limit that came last in
 *            their window. Each is unsubscribed: if it does not exist, that changes nothing.
 *  TESTING   one of them is subscribed. Still too many: then no UNSUB has made room, so none of
 *            them existed; they are the refused ones, and all others exist.
 *  REMAKING  otherwise the limit was changed meanwhile. What is left is unsubscribed and subscribed
 *            again, each for itself. That tells for certain too, but may lose messages in between,
 *            which the subscribers are told: LOST and RESTORED.
 *
 * ASKING is enough for what is refused by its name, ASKING and TESTING for a limit; they lose
 * nothing. A phase with nothing to do is passed at once.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_INQUIRY_H
#define RLT_CORE_CONNECTION_INQUIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sending/fence.h"

struct rlt_connection;

enum rlt_inquiry_phase {
    RLT_INQUIRY_NONE,
    RLT_INQUIRY_CLOSING,
    RLT_INQUIRY_ASKING,
    RLT_INQUIRY_CUTTING,
    RLT_INQUIRY_TESTING,
    RLT_INQUIRY_REMAKING,
};

/** Of one connection. All zero: none. */
struct rlt_inquiry {
    enum rlt_inquiry_phase phase;
    uint32_t next;      /* of the phase: the mark that is looked at next */
    uint32_t awaited;   /* and the one at which the next answer is looked for */
    uint64_t next_ping; /* number of the PING behind the question that is answered next */
    uint64_t last_ping; /* and of the last one on its way; 0: none is */
    bool proved;        /* TESTING: there was no room */
    struct rlt_fence_link *held;
};

/** Whether nothing may be subscribed or unsubscribed now. */
static inline bool rlt_inquiry_is_under_way(const struct rlt_inquiry *inquiry)
{
    return inquiry->phase != RLT_INQUIRY_NONE;
}

/** An -ERR about a SUB that it does not name arrived: what it ends is ended, or an inquiry begins.
 *  `error`: what it stands for. */
void rlt_inquiry_on_refusal(struct rlt_connection *connection, int error);

/** PONGs have arrived: SUBs are confirmed, or questions answered. */
void rlt_inquiry_on_pong(struct rlt_connection *connection);

/** Finish fence links that have passed, unless they are to be held back. */
void rlt_inquiry_pass(struct rlt_connection *connection, struct rlt_fence_link *links);

/** Write what is to be asked next. */
void rlt_inquiry_step(struct rlt_connection *connection);

/** Whether rlt_inquiry_step() would find something to write. */
bool rlt_inquiry_has_work(const struct rlt_connection *connection);

/** The connection is gone: fences that are held back fail. */
void rlt_inquiry_end(struct rlt_connection *connection);

#endif
