/* SPDX-License-Identifier: MIT */
/**
 * A mailbox: the queue from one cluster to one subscriber, in order and with nothing lost in
 * silence.
 *
 * The event thread, or a borrower of the receiving side (core/cluster/direct_receive.h), pushes
 * messages; the event thread pushes notices. A message that does not fit (ring full, or the
 * subscriber pins too much receive memory) is dropped, newest first, and counted in `dropped`;
 * the count travels in the ring as a notice before the next message that fits. If none follows,
 * the consumer reads the counter once the ring is empty. Other notices are never dropped: those
 * that do not fit are deferred, and pushed before anything else once the consumer has made room
 * (it sends RLT_COMMAND_RETRY then).
 *
 * Owner: fields are grouped by the thread that writes them. A mailbox lives from a subscriber's
 * first subscription on the cluster to the subscriber's end.
 */
#ifndef RLT_CORE_DELIVERY_MAILBOX_H
#define RLT_CORE_DELIVERY_MAILBOX_H

#include <assert.h>
#include <ck_queue.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/defs.h"
#include "core/delivery/subscription.h"
#include "core/seam/command.h"
#include "lockfree/delivery_ring.h"
#include "lockfree/doorbell.h"
#include "lockfree/slab.h"
#include "proto/parser.h"
#include "roulette.h"

/** Notices, as bits of rlt_member.deferred. */
enum rlt_notice {
    RLT_NOTICE_LOST = 1,
    RLT_NOTICE_RESTORED = 2,
    RLT_NOTICE_ENDED = 4,   /* by the cluster: told to the user */
    RLT_NOTICE_REMOVED = 8, /* by unsubscribe: then the owner thread may free the member */
    /* Of no member. */
    RLT_NOTICE_DROPPED = 16,
    RLT_NOTICE_REFUSED = 32, /* core/delivery/refused_login.h */
};

/** Bits of enum roulette_bound. */
#define RLT_BOUNDS 5

struct rlt_mailbox {
    struct rlt_delivery_ring ring;

    /* Immutable. */
    struct rlt_doorbell *doorbell; /* the subscriber's, shared by its mailboxes */
    int descriptor;                /* to signal when a knock finds the doorbell armed */
    uint32_t cluster;              /* whose messages these are */
    size_t slab_bytes;
    uint32_t slab_shift;   /* of slab_bytes, a power of two */
    uint32_t slab_indexes; /* of the cluster */
    const uint8_t *arena;  /* of its slabs */
    uint64_t pinned_max;   /* in slabs */
    uintptr_t tag;         /* of the subscriber: see api/release.h */

    /* Event thread, or a borrower of the receiving side. */
    alignas(RLT_CACHE_LINE) struct rlt_slab *slab; /* of the last push */
    bool over_pinned;
    uint64_t checked_round; /* when over_pinned was last looked at */
    bool dirty;             /* in the exchange's list of mailboxes to publish */
    CK_SLIST_ENTRY(rlt_mailbox) dirty_link;
    uint64_t dropped_told; /* of `dropped`, in the ring */
    uint32_t *issued;      /* by slab index: references ever handed to this mailbox */
    uint32_t *lengths;     /* by slab index: slabs in the run that begins there */
    CK_STAILQ_HEAD(rlt_deferred_queue, rlt_member) deferred_members;
    bool retry_expected;   /* the consumer was asked to send `retry` */
    uint32_t member_count; /* in the cluster's interests */
    bool enlisted;         /* among the exchange's mailboxes (core/delivery/refused_login.h) */
    CK_LIST_ENTRY(rlt_mailbox) link;
    uint32_t refusals;        /* reasons that were told, as bits */
    int16_t deferred_refusal; /* the last REFUSED, if there was no room for it; 0: none */

    /* Event thread writes, consumer reads. */
    _Atomic(uint64_t) dropped; /* release, acquire: ordered with the ring, see take_dropped */
    /* By bit of enum roulette_bound: `dropped` behind the last drop for that bound. Relaxed, stored
     * before `dropped` and loaded behind it: a consumer that sees a drop sees why. */
    _Atomic(uint64_t) dropped_for[RLT_BOUNDS];
    _Atomic(uint32_t)
        deferred; /* 1: the consumer shall send `retry`; Dekker with the ring's head */

    /* Consumer. */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) *released; /* by slab index; relaxed: an estimate
                                                            for the event thread */
    uint32_t *received; /* by slab index: references that the user was given, or that were passed
                           over; less `released`: held */
    uint64_t dropped_seen;
    uint32_t taken; /* messages of the ring's first delivery, a streak */
    /* 1: the consumer has waited since the event thread last cleared this. Relaxed: a hint. */
    _Atomic(uint32_t) awaited;
    struct rlt_command retry;
    struct rlt_command leave;
};

struct rlt_mailbox_options {
    uint64_t ring_slots;
    size_t slab_bytes;
    uint32_t slab_indexes;
    const uint8_t *arena;
    uint64_t pinned_max;
    uintptr_t tag;
    uint32_t cluster;
    struct rlt_doorbell *doorbell;
    int descriptor;
};

/** Make an empty mailbox. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_mailbox_init(struct rlt_mailbox *mailbox, const struct rlt_mailbox_options *options);
void rlt_mailbox_fini(struct rlt_mailbox *mailbox);

static_assert(RLT_STREAK_MORE_MAX <= RLT_DELIVERY_MORE_MAX, "a streak fits into a descriptor");

/* ---- Event thread ------------------------------------------------------------------------- */

/** The result of a push. */
enum rlt_push_result {
    RLT_PUSH_DONE,
    RLT_PUSH_RING_FULL,
    RLT_PUSH_PINNED,
};

/**
 * Check whether a mailbox may pin more, as it goes on in another slab or was over its bound. Part
 * of rlt_mailbox_push().
 */
void rlt_mailbox_check_pinned(struct rlt_mailbox *mailbox, struct rlt_slab *slab, uint64_t round);

/** Find the bounds of the drops behind `before`, as bits of enum roulette_bound. */
uint32_t rlt_mailbox_bounds(const struct rlt_mailbox *mailbox, uint64_t before);

/** Push the count of dropped messages, if the ring does not have it yet. There is room. */
static inline void rlt_mailbox_tell_dropped(struct rlt_mailbox *mailbox)
{
    /* Relaxed: the event thread's own value. */
    uint64_t dropped = atomic_load_explicit(&mailbox->dropped, memory_order_relaxed);
    if (rlt_unlikely(dropped != mailbox->dropped_told)) {
        uint32_t bounds = rlt_mailbox_bounds(mailbox, mailbox->dropped_told);
        mailbox->dropped_told = dropped;
        *rlt_delivery_ring_fill(&mailbox->ring) = (struct rlt_delivery){
            .notice = {.count = dropped, .error = (int32_t)bounds, .kind = RLT_NOTICE_DROPPED},
        };
    }
}

/** Count dropped messages, and for which bound. */
void rlt_mailbox_drop(struct rlt_mailbox *mailbox, uint32_t count, enum roulette_bound bound);

/** Fill a streak's descriptor. */
static inline void rlt_mailbox_describe(struct rlt_delivery *delivery, struct rlt_member *member,
                                        const struct rlt_streak *streak)
{
    const struct rlt_frame *frame = &streak->frame;
    RLT_DASSERT(streak->more <= RLT_DELIVERY_MORE_MAX &&
                (streak->more == 0 || frame->reply_len == 0));
    delivery->base = frame->topic;
    delivery->target = member;
    delivery->topic_len = frame->topic_len;
    delivery->reply_offset = frame->reply_offset;
    /* One of the two is 0, and delivery->more shares the field. */
    delivery->reply_len = (uint16_t)(frame->reply_len + streak->more);
    delivery->body_offset = frame->body_offset;
    delivery->header_len = frame->header_len;
    delivery->body_len = frame->body_len;
}

/**
 * Push a streak of messages that lies in `slab`: all of them or none. `round` identifies the
 * current batch of received bytes: a mailbox that pins too much is checked again once a round.
 */
static inline enum rlt_push_result rlt_mailbox_push(struct rlt_mailbox *mailbox,
                                                    struct rlt_member *member,
                                                    const struct rlt_streak *streak,
                                                    struct rlt_slab *slab, uint64_t round)
{
    uint32_t count = 1 + streak->more;
    if (rlt_unlikely(slab != mailbox->slab || slab->length != 1 ||
                     (mailbox->over_pinned && mailbox->checked_round != round))) {
        rlt_mailbox_check_pinned(mailbox, slab, round);
    }
    if (rlt_unlikely(mailbox->over_pinned)) {
        rlt_mailbox_drop(mailbox, count, ROULETTE_BOUND_PINNED_BYTES);
        return RLT_PUSH_PINNED;
    }
    /* Room for the message and a notice before it. */
    if (rlt_unlikely(!rlt_delivery_ring_has_room(&mailbox->ring, 2) ||
                     !CK_STAILQ_EMPTY(&mailbox->deferred_members))) {
        rlt_mailbox_drop(mailbox, count, ROULETTE_BOUND_RING_SLOTS);
        return RLT_PUSH_RING_FULL;
    }
    rlt_mailbox_tell_dropped(mailbox);
    rlt_mailbox_describe(rlt_delivery_ring_fill(&mailbox->ring), member, streak);
    mailbox->issued[slab->index] += count;
    slab->issued += count;
    return RLT_PUSH_DONE;
}

/**
 * A batch of pushes behind a successful one, into the same mailbox and from the same slab: the
 * checks of that push hold for the batch as long as there is room. No other push touches the
 * mailbox and the slab's count before the end.
 */
struct rlt_mailbox_batch {
    struct rlt_mailbox *mailbox; /* NULL: none */
    struct rlt_slab *slab;
    uint64_t next; /* of the ring */
    uint64_t end;  /* up to where slots may be filled; a notice may have taken `next` beyond */
    uint32_t count;
};

static inline void rlt_mailbox_batch_begin(struct rlt_mailbox_batch *batch,
                                           struct rlt_mailbox *mailbox, struct rlt_slab *slab)
{
    const struct rlt_delivery_ring *ring = &mailbox->ring;
    *batch = (struct rlt_mailbox_batch){
        .mailbox = mailbox,
        .slab = slab,
        .next = ring->next,
        /* A run of slabs is checked at each push; a slot is left for a notice. */
        .end = slab->length == 1 ? ring->head_seen + ring->capacity - 1 : ring->next,
    };
}

/** Push a streak; false if that is not possible, and the batch is to end. */
static inline bool rlt_mailbox_batch_push(struct rlt_mailbox_batch *batch,
                                          struct rlt_member *member,
                                          const struct rlt_streak *streak)
{
    if (rlt_unlikely(member->mailbox != batch->mailbox || batch->next >= batch->end)) {
        return false;
    }
    struct rlt_delivery_ring *ring = &batch->mailbox->ring;
    rlt_mailbox_describe(&ring->slots[batch->next++ & (ring->capacity - 1)], member, streak);
    batch->count += 1 + streak->more;
    return true;
}

/** Note the pushes of a batch. Returns: the messages that were pushed. */
static inline uint32_t rlt_mailbox_batch_end(struct rlt_mailbox_batch *batch)
{
    uint32_t count = batch->count;
    if (count != 0) {
        batch->mailbox->ring.next = batch->next;
        batch->mailbox->issued[batch->slab->index] += count;
        batch->slab->issued += count;
    }
    *batch = (struct rlt_mailbox_batch){.mailbox = NULL};
    return count;
}

/** Push a notice about a member, or defer it. */
void rlt_mailbox_notify(struct rlt_mailbox *mailbox, struct rlt_member *member,
                        enum rlt_notice notice, int error);

/** Push a notice that the cluster refuses the client, or defer it. */
void rlt_mailbox_refuse(struct rlt_mailbox *mailbox, int error);

/** Push the deferred notices, as RLT_COMMAND_RETRY arrived. */
void rlt_mailbox_retry(struct rlt_mailbox *mailbox);

/** Whether the consumer has waited since the last rlt_mailbox_forget_awaited(). */
static inline bool rlt_mailbox_is_awaited(const struct rlt_mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->awaited, memory_order_relaxed) != 0;
}

static inline void rlt_mailbox_forget_awaited(struct rlt_mailbox *mailbox)
{
    atomic_store_explicit(&mailbox->awaited, 0, memory_order_relaxed);
}

/** Publish the pushed descriptors. Returns: true if the caller must signal `descriptor`. */
bool rlt_mailbox_publish(struct rlt_mailbox *mailbox);

/* ---- Consumer ----------------------------------------------------------------------------- */

/** Count the messages dropped since the last call, and for which bounds, after the ring was found
 *  empty; 0 if there are none, or if the ring is not empty any more. */
uint64_t rlt_mailbox_take_dropped(struct rlt_mailbox *mailbox, uint64_t position, uint32_t *bounds);

/** Whether the caller must send `retry`, after the ring was advanced. */
bool rlt_mailbox_must_retry(struct rlt_mailbox *mailbox);

/** Note that the consumer is going to wait. */
static inline void rlt_mailbox_note_awaited(struct rlt_mailbox *mailbox)
{
    /* Mostly a load, which leaves the event thread's cache line alone. */
    if (atomic_load_explicit(&mailbox->awaited, memory_order_relaxed) == 0) {
        atomic_store_explicit(&mailbox->awaited, 1, memory_order_relaxed);
    }
}

/** Find the index of the slab, or of the run of slabs, that a byte lies in (or begins with). Not
 * from the slab's head: the event thread counts there. */
static inline uint32_t rlt_mailbox_slab_index(const struct rlt_mailbox *mailbox, const void *byte)
{
    return (uint32_t)((size_t)((const uint8_t *)byte - mailbox->arena) >> mailbox->slab_shift);
}

/** Note that `count` messages, the first of them at `base`, were taken out of the ring. */
static inline void rlt_mailbox_note_received(struct rlt_mailbox *mailbox, const void *base,
                                             uint32_t count)
{
    mailbox->received[rlt_mailbox_slab_index(mailbox, base)] += count;
}

/** Count the references to a slab that were received and not released. */
static inline uint32_t rlt_mailbox_held(const struct rlt_mailbox *mailbox, uint32_t slab_index)
{
    /* Relaxed: the consumer's own value. */
    return mailbox->received[slab_index] -
           atomic_load_explicit(&mailbox->released[slab_index], memory_order_relaxed);
}

/** Note that `count` references to a slab were released. */
static inline void rlt_mailbox_note_released(struct rlt_mailbox *mailbox, uint32_t slab_index,
                                             uint32_t count)
{
    /* Relaxed load and store: one writer, and the reader wants an estimate. */
    _Atomic(uint32_t) *released = &mailbox->released[slab_index];
    uint32_t before = atomic_load_explicit(released, memory_order_relaxed);
    atomic_store_explicit(released, before + count, memory_order_relaxed);
}

#endif
