/* SPDX-License-Identifier: MIT */
/**
 * The receiver of a connection: where in slabs the next bytes go, and which frames are complete.
 *
 * Frames are used where the kernel wrote them, so a frame must lie in one slab. Three rules keep
 * copying rare:
 *  - A slab is filled up to a soft limit; the quarter behind it is slack. At the limit, if a
 *    frame is cut and its length is known, the next receive is split: the missing bytes go behind
 *    the fragment, into the slack, and what follows goes to the start of the next slab.
 *  - A cut frame that does not fit into the slack, or whose line is not complete, is joined: its
 *    fragment moves to the start of the next slab. Counted in `joins` and `joined_bytes`.
 *  - A frame larger than a slab is joined in a run of adjacent slabs, up to a quarter of the
 *    pool. A larger one, or one for which there is no run, is skipped and reported as oversized.
 *
 * The lines of all operations but INFO are short, so a long one that is cut is an INFO: it is moved
 * out of the slabs, which may be smaller (core/receiving/long_line.h).
 *
 * When all slabs are held by messages, bytes go to the connection's spare slab; frames there may be
 * read, but not kept (`slab` is NULL): the connection stays alive, the messages are lost and the
 * caller counts them.
 *
 * Owner: the event thread, or a borrower of the receiving side (core/cluster/direct_receive.h).
 */
#ifndef RLT_CORE_RECEIVING_RECEIVER_H
#define RLT_CORE_RECEIVING_RECEIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/receiving/long_line.h"
#include "core/seam/transport.h"
#include "lockfree/slab.h"
#include "proto/parser.h"

/** Results of rlt_receiver_next(), besides a frame (1), none (0) and -enum rlt_parse_error. */
#define RLT_RECEIVER_OVERSIZED 2
/** A long line found no memory. */
#define RLT_RECEIVER_NO_MEMORY (-1000)

struct rlt_receiver {
    struct rlt_slab_pool *pool;
    struct rlt_slab *spare; /* the connection's own */
    struct rlt_slab *slab;  /* being filled; NULL before the first receive */
    size_t start;           /* of the first unparsed byte in it */
    size_t end;             /* of the bytes received into it */
    uint64_t frame_len;     /* of the cut frame at `start`, if its line is complete; otherwise 0 */
    /* A split receive is in progress: `missing` bytes complete the frame in `slab`, later bytes
     * go to `next`. */
    struct rlt_slab *next;
    size_t missing;
    size_t next_end;
    struct rlt_slab *run; /* taken for the cut frame, which is larger than a slab; or NULL */
    uint64_t skip;        /* bytes of an oversized frame still to come */
    struct rlt_long_line line;

    uint64_t joins;
    uint64_t joined_bytes;
};

/** Make a receiver without slabs, for connection `connection` of the pool's cluster. */
void rlt_receiver_init(struct rlt_receiver *receiver, struct rlt_slab_pool *pool,
                       uint32_t connection);

/** Give up the slabs and the bytes in them, as the connection is gone. */
void rlt_receiver_reset(struct rlt_receiver *receiver);

/**
 * Say where the next received bytes go: 1 or 2 spans. The memory must stay untouched until
 * rlt_receiver_on_bytes() or rlt_receiver_reset().
 *
 * Returns: the number of spans.
 */
uint32_t rlt_receiver_spans(struct rlt_receiver *receiver, struct rlt_span spans[2]);

/** Note that `count` bytes arrived in the spans, in order. */
void rlt_receiver_on_bytes(struct rlt_receiver *receiver, size_t count);

/**
 * Take the next complete frame, which is valid until the next call. `*slab` is where it lies, or
 * NULL if it cannot be kept.
 *
 * Returns: 1; 0 (receive more); RLT_RECEIVER_OVERSIZED (a MSG whose topic and sid are set, but
 *          whose body will be skipped); -enum rlt_parse_error; RLT_RECEIVER_NO_MEMORY.
 */
int rlt_receiver_next(struct rlt_receiver *receiver, struct rlt_frame *frame,
                      struct rlt_slab **slab);

/**
 * Take the complete messages that come next, up to `max` streaks, as rlt_parse_streaks() does.
 * They lie in `*slab`, which is NULL if they cannot be kept.
 *
 * Returns: the number of streaks; 0 if rlt_receiver_next() is to be called.
 */
uint32_t rlt_receiver_take_streaks(struct rlt_receiver *receiver, struct rlt_streak *streaks,
                                   uint32_t max, struct rlt_slab **slab);

/** Whether a part of a frame has arrived. */
static inline bool rlt_receiver_has_fragment(const struct rlt_receiver *receiver)
{
    return receiver->start != receiver->end || receiver->skip != 0 || receiver->line.open;
}

/** Whether the next receive begins with a new operation, in one span. */
static inline bool rlt_receiver_is_at_rest(const struct rlt_receiver *receiver)
{
    return !rlt_receiver_has_fragment(receiver) && receiver->missing == 0 && receiver->next == NULL;
}

#endif
