/* SPDX-License-Identifier: MIT */
/**
 * The sending half of a connection: which bytes go next, how a partial send goes on, and which
 * messages are confirmed, in doubt or still to be sent.
 *
 * One batch is in flight at a time: control lines (CONNECT, SUB, UNSUB, PONG), then committed
 * frames of the lanes in turn, then perhaps a PING. Every part of a batch ends at a frame
 * boundary, so control lines never fall into a frame.
 *
 * A lane part is released when the kernel has taken all of it; then its messages are "sent". A PONG
 * confirms all messages sent before its PING. When the connection is lost, sent and unconfirmed
 * messages are in doubt. No server has processed a frame that the kernel took only in part: it is
 * sent again, whole, on the next connection, with all behind it.
 *
 * Besides flushes and keepalive, a PING follows every RLT_SENDER_PING_BYTES of messages, and some
 * time after messages that none follows (core/sending/confirm_timer.h). So a loss leaves a few
 * times that many bytes in doubt at full speed, else the messages in flight, not all that were sent
 * since the last keepalive PING.
 *
 * With the guarantee at_least_once a part is released only when a PONG covers it, and there is
 * always a PING in flight while a message is unconfirmed. When the connection is lost, all parts
 * that are not released are sent again.
 *
 * Owner: the event thread, or a publisher to whom it is lent.
 */
#ifndef RLT_CORE_SENDING_SENDER_H
#define RLT_CORE_SENDING_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/delivery/topic_set.h"
#include "core/seam/metrics.h"
#include "core/seam/transport.h"
#include "core/sending/batch.h"
#include "core/sending/confirm_timer.h"
#include "core/sending/control.h"
#include "core/sending/denials.h"
#include "core/sending/ping_marks.h"
#include "core/sending/sub_marks.h"
#include "core/sending/suspect.h"
#include "lockfree/wire_queue.h"

/** Bytes taken from all lanes for one batch: they are shared evenly, but not less from one lane. */
#define RLT_SENDER_BATCH_BYTES ((size_t)1024 * 1024)
#define RLT_SENDER_LANE_BYTES  ((size_t)256 * 1024)
/** A PING follows so many bytes of messages, unless that many PINGs are without PONG. */
#define RLT_SENDER_PING_BYTES ((size_t)4 * 1024 * 1024)
#define RLT_SENDER_PING_COUNT 4
/** The role of a sender towards the lanes of its path. One of the path's two senders owns them, and
 *  moves their marks alone. */
enum rlt_role {
    RLT_ROLE_ACTIVE,  /* their owner */
    RLT_ROLE_LEAVING, /* their owner, but nothing is taken from them any more */
    RLT_ROLE_SECOND,  /* not their owner */
};

/** Called for a lane whose producer waits for room and now has some. */
typedef void rlt_sender_wake_fn(void *context, _Atomic(uint32_t) *word);

struct rlt_sender {
    struct rlt_wire_queue *queue;
    struct rlt_metrics *metrics;

    struct rlt_control control;
    struct rlt_batch batch; /* in flight */
    uint32_t lane_turn;     /* which lane is first in the next batch */

    /* What rlt_sender_look() saw; valid while `looked`. */
    bool looked;
    struct rlt_wire_view seen;

    /* Messages on this connection. */
    uint64_t sent;
    uint64_t confirmed;
    struct rlt_denials denials; /* of those sent and not confirmed */

    /* At least once. */
    bool keep; /* until confirmed */
    rlt_sender_wake_fn *wake;
    void *wake_context;
    bool stalled; /* a lane's next frame is given up once all before it is confirmed */
    struct rlt_lane_mark released[RLT_WIRE_LANES + 1]; /* where each lane begins */
    struct rlt_lane_mark reached[RLT_WIRE_LANES + 1];  /* sent on an earlier connection up to */
    struct rlt_suspect suspect;                        /* messages that a server may close for */
    /* Up to here, in messages, each lane was sent on a connection that was lost without its server
     * naming a bad line: how much the server had processed is not known. */
    uint64_t unknown[RLT_WIRE_LANES + 1];

    bool lent;        /* a borrower may have lanes and batch: see direct_send.h; event thread */
    uint64_t sent_ns; /* when the last batch was sent; owner or borrower */

    enum rlt_role role; /* set by the path: core/cluster/path.h */

    bool ping_due;    /* a keepalive PING is wanted */
    bool confirm_due; /* a PING for unconfirmed messages is wanted */
    struct rlt_confirm_timer confirm_timer;
    size_t unmarked; /* bytes of messages taken since the last mark */
    struct rlt_ping_marks pings;
    struct rlt_sub_marks subs;

    /* Of the server's last INFO. Larger frames are given up, not sent: the server would close the
     * connection. */
    _Atomic(uint32_t) payload_max; /* relaxed: a borrower may see a new limit late */
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_sender_init(struct rlt_sender *sender, struct rlt_wire_queue *queue,
                    struct rlt_metrics *metrics);
void rlt_sender_fini(struct rlt_sender *sender);

/** Keep messages until they are confirmed (at_least_once). Call it before the first send. */
void rlt_sender_keep(struct rlt_sender *sender, rlt_sender_wake_fn *wake, void *context);

/**
 * Write a SUB; `key` is the topic, or "topic group". Many SUBs since the last PING, or a SUB and
 * then an UNSUB, get a PING first: see core/sending/sub_marks.h.
 *
 * Returns: false if there is no room: send first, or wait for a PONG (`sender->subs` is full).
 */
bool rlt_sender_write_sub(struct rlt_sender *sender, const struct rlt_topic_key *key, uint64_t sid);

/** Note the server's max_payload (0: unlimited). */
void rlt_sender_set_payload_max(struct rlt_sender *sender, uint32_t payload_max);

/** Whether messages may be taken from the lanes. If not, fences wait for their PONG only. */
static inline bool rlt_sender_takes_lanes(const struct rlt_sender *sender)
{
    return sender->role == RLT_ROLE_ACTIVE;
}

static inline bool rlt_sender_owns_lanes(const struct rlt_sender *sender)
{
    return sender->role != RLT_ROLE_SECOND;
}

static inline uint32_t rlt_sender_payload_max(const struct rlt_sender *sender)
{
    return atomic_load_explicit(&sender->payload_max, memory_order_relaxed);
}

/**
 * Note how far the lanes are filled: the next batch takes no more. The event thread looks first,
 * then executes commands, then makes the batch, so no message overtakes a subscription that its own
 * thread made before.
 */
void rlt_sender_look(struct rlt_sender *sender);

/**
 * Make the next batch, unless one is in flight. Takes what rlt_sender_look() saw; if it was not
 * called since the last batch, all that is committed. `with_lanes`: published messages may go too.
 *
 * Returns: the number of spans in sender->batch to send; 0 if there is nothing to send or a batch
 *          is in flight.
 */
uint32_t rlt_sender_gather(struct rlt_sender *sender, bool with_lanes);

/** Whether a batch is in flight, or may be: the lanes are lent. Threads: the event thread. */
static inline bool rlt_sender_is_busy(const struct rlt_sender *sender)
{
    return sender->lent || sender->batch.count != 0;
}

/** When a PING for unconfirmed messages is due; RLT_NEVER: none is needed, or none can be sent now.
 *  Threads: the event thread. */
static inline uint64_t rlt_sender_confirm_ns(const struct rlt_sender *sender)
{
    bool can = !rlt_sender_is_busy(sender) && sender->pings.count == 0;
    return can ? sender->confirm_timer.due_ns : RLT_NEVER;
}

/** Whether lane data is the only pending work, which a borrower may send (direct_send.h). */
bool rlt_sender_may_lend(const struct rlt_sender *sender);

/**
 * Add a lane's next frames, of those that rlt_sender_look() saw, to a direct batch (direct_send.h),
 * unless they exceed `limit` bytes or some may be given up. `*added`: the bytes.
 *
 * Threads: the borrower. Returns: false if the lane has frames that were not added.
 */
bool rlt_sender_gather_lane(struct rlt_sender *sender, int lane, size_t limit, size_t *added);

/**
 * Book `count` bytes of the batch that the kernel took.
 *
 * Returns: the number of spans still to be sent, from rlt_batch_rest() on. 0: the batch is done.
 */
uint32_t rlt_sender_on_sent(struct rlt_sender *sender, size_t count, rlt_sender_wake_fn *wake,
                            void *context);

/** As rlt_sender_on_sent(), for a direct batch. Returns: whether the batch is done. Threads: the
 *  borrower. */
bool rlt_sender_on_sent_direct(struct rlt_sender *sender, size_t count, rlt_sender_wake_fn *wake,
                               void *context);

/**
 * Confirm the messages sent before the PING that a PONG answers. If that PING is in the batch in
 * flight, the PONG counts once the batch is done: see rlt_sender_take_early_pong().
 *
 * Returns: the fence links that have passed, as a list; NULL if there are none.
 */
struct rlt_fence_link *rlt_sender_on_pong(struct rlt_sender *sender);

/**
 * Note that the server refused a message. Refusals come in the order of sending, so no PONG has
 * confirmed the message yet: that PONG, or the loss of the connection, books it as denied. A server
 * that refuses more messages than are unconfirmed is believed for those only. `key`: of the
 * message's name (rlt_denials_key()).
 */
void rlt_sender_on_denied(struct rlt_sender *sender, uint64_t key);

/** Take a PONG that came before its batch was done: as rlt_sender_on_pong(), once the batch is
 *  done. */
struct rlt_fence_link *rlt_sender_take_early_pong(struct rlt_sender *sender);

/**
 * Clean up after the connection's loss, when no send is in progress. Messages move to in doubt, or
 * back into their lanes.
 *
 * Returns: the fence links that have failed, as a list: those that had begun, and if messages are
 *          in doubt those that wait behind these.
 */
struct rlt_fence_link *rlt_sender_on_lost(struct rlt_sender *sender, rlt_sender_wake_fn *wake,
                                          void *context);

/** Release a lane up to `mark`, and wake the producer that waits for room. */
void rlt_sender_release(struct rlt_sender *sender, int lane, struct rlt_lane_mark mark,
                        rlt_sender_wake_fn *wake, void *context);

/** Count sent messages as in doubt: at_least_once, and no other connection will follow. */
void rlt_sender_give_up_unconfirmed(struct rlt_sender *sender);

/** Give up all messages in the lanes: failed, or in doubt if an earlier connection sent them. */
void rlt_sender_fail_queued(struct rlt_sender *sender, rlt_sender_wake_fn *wake, void *context);

/** Wake all producers that wait for room: the queue takes nothing any more. */
void rlt_sender_wake_all(struct rlt_sender *sender, rlt_sender_wake_fn *wake, void *context);

/** Give up the lane's first message, up to `end` (at_least_once): failed, or in doubt if a server
 * may have processed it. */
void rlt_sender_drop(struct rlt_sender *sender, int lane, struct rlt_lane_mark end);

/** Add peeked frames to the batch; `len` 0: they are given up. */
static inline void rlt_sender_add_chunk(struct rlt_sender *sender, int lane,
                                        const struct rlt_lane_chunk *chunk, size_t len)
{
    rlt_wire_queue_advance(sender->queue, lane, chunk->end);
    sender->unmarked += chunk->len;
    rlt_batch_add(&sender->batch, chunk->bytes, len,
                  (struct rlt_batch_part){lane, chunk->start, chunk->end});
}

/* ---- For connections that move ------------------------------------------------------------ */

/** Become the owner of the lanes, and go on where `from`, the idle former owner, has stopped. */
void rlt_sender_adopt_lanes(struct rlt_sender *sender, struct rlt_sender *from);

/** Whether there may be something to gather. */
bool rlt_sender_has_work(struct rlt_sender *sender, bool with_lanes);

#endif
