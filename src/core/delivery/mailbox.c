/* SPDX-License-Identifier: MIT */
#include "core/delivery/mailbox.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

int rlt_mailbox_init(struct rlt_mailbox *mailbox, const struct rlt_mailbox_options *options)
{
    memset(mailbox, 0, sizeof(*mailbox));
    CK_STAILQ_INIT(&mailbox->deferred_members);
    mailbox->slab_bytes = options->slab_bytes;
    mailbox->slab_shift = (uint32_t)__builtin_ctzll(options->slab_bytes);
    mailbox->arena = options->arena;
    mailbox->tag = options->tag;
    mailbox->slab_indexes = options->slab_indexes;
    mailbox->pinned_max = options->pinned_max;
    mailbox->doorbell = options->doorbell;
    mailbox->descriptor = options->descriptor;
    mailbox->cluster = options->cluster;
    mailbox->retry.kind = RLT_COMMAND_RETRY;
    mailbox->leave.kind = RLT_COMMAND_LEAVE;
    mailbox->issued = rlt_memory_alloc(options->slab_indexes, sizeof(*mailbox->issued));
    mailbox->lengths = rlt_memory_alloc(options->slab_indexes, sizeof(*mailbox->lengths));
    mailbox->released = rlt_memory_alloc(options->slab_indexes, sizeof(*mailbox->released));
    mailbox->received = rlt_memory_alloc(options->slab_indexes, sizeof(*mailbox->received));
    if (mailbox->issued == NULL || mailbox->lengths == NULL || mailbox->released == NULL ||
        mailbox->received == NULL ||
        rlt_delivery_ring_init(&mailbox->ring, options->ring_slots) < 0) {
        rlt_mailbox_fini(mailbox);
        return ROULETTE_ENOMEM;
    }
    return 0;
}

void rlt_mailbox_fini(struct rlt_mailbox *mailbox)
{
    rlt_delivery_ring_fini(&mailbox->ring);
    rlt_memory_free(mailbox->issued);
    rlt_memory_free(mailbox->lengths);
    rlt_memory_free((void *)mailbox->released);
    rlt_memory_free(mailbox->received);
    mailbox->issued = NULL;
    mailbox->lengths = NULL;
    mailbox->released = NULL;
    mailbox->received = NULL;
}

/* Count the slabs that this subscriber's unreleased messages pin. */
static uint64_t pinned(const struct rlt_mailbox *mailbox)
{
    uint64_t slabs = 0;
    for (uint32_t i = 0; i < mailbox->slab_indexes; i++) {
        uint32_t released = atomic_load_explicit(&mailbox->released[i], memory_order_relaxed);
        /* A message that was not received cannot be released: see api/release.c. */
        RLT_ASSERT(mailbox->issued[i] - released <= INT32_MAX);
        slabs += mailbox->issued[i] != released ? mailbox->lengths[i] : 0;
    }
    return slabs;
}

void rlt_mailbox_check_pinned(struct rlt_mailbox *mailbox, struct rlt_slab *slab, uint64_t round)
{
    uint32_t released = atomic_load_explicit(&mailbox->released[slab->index], memory_order_relaxed);
    uint64_t more = mailbox->issued[slab->index] == released ? slab->length : 0;
    /* A run is checked each time: its first slab may come back alone, or the other way round. */
    mailbox->slab = slab->length == 1 ? slab : NULL;
    mailbox->checked_round = round;
    mailbox->over_pinned = pinned(mailbox) + more > mailbox->pinned_max;
    mailbox->lengths[slab->index] = slab->length;
}

uint32_t rlt_mailbox_bounds(const struct rlt_mailbox *mailbox, uint64_t before)
{
    uint32_t bounds = 0;
    for (uint32_t i = 0; i < RLT_BOUNDS; i++) {
        uint64_t last = atomic_load_explicit(&mailbox->dropped_for[i], memory_order_relaxed);
        bounds |= last > before ? UINT32_C(1) << i : 0;
    }
    return bounds;
}

void rlt_mailbox_drop(struct rlt_mailbox *mailbox, uint32_t count, enum roulette_bound bound)
{
    uint32_t bit = (uint32_t)__builtin_ctz(bound);
    RLT_ASSERT(bit < RLT_BOUNDS);
    /* The count is visible at once, so the messages before it must be: otherwise a consumer that
     * found the ring empty would tell the drop before messages that came first. */
    rlt_delivery_ring_publish(&mailbox->ring);
    uint64_t dropped = atomic_load_explicit(&mailbox->dropped, memory_order_relaxed);
    atomic_store_explicit(&mailbox->dropped_for[bit], dropped + count, memory_order_relaxed);
    /* Release: a consumer that sees the count sees the ring as it was published above, and why. */
    atomic_store_explicit(&mailbox->dropped, dropped + count, memory_order_release);
}

static void push_notice(struct rlt_mailbox *mailbox, struct rlt_member *member,
                        enum rlt_notice notice, int error)
{
    rlt_mailbox_tell_dropped(mailbox);
    struct rlt_delivery *delivery = rlt_delivery_ring_fill(&mailbox->ring);
    *delivery = (struct rlt_delivery){
        .target = member,
        .notice = {.error = error, .kind = notice},
    };
}

static void defer(struct rlt_mailbox *mailbox, struct rlt_member *member, enum rlt_notice notice,
                  int error)
{
    if (member->deferred == 0) {
        CK_STAILQ_INSERT_TAIL(&mailbox->deferred_members, member, link);
    }
    member->deferred = (uint8_t)(member->deferred | notice);
    if (notice == RLT_NOTICE_LOST || notice == RLT_NOTICE_RESTORED) {
        member->deferred_restored_last = notice == RLT_NOTICE_RESTORED;
    }
    if (notice == RLT_NOTICE_LOST) {
        member->lost_error = (int16_t)error;
    }
}

/* Ask the consumer to send `retry` once it has made room. True if there is room already. */
static bool expect_retry(struct rlt_mailbox *mailbox)
{
    if (mailbox->retry_expected) {
        return false;
    }
    mailbox->retry_expected = true;
    /* Relaxed before a fence: Dekker with the consumer's advance, as in doorbell.h. */
    atomic_store_explicit(&mailbox->deferred, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (!rlt_delivery_ring_has_room(&mailbox->ring, 4)) {
        return false;
    }
    /* Withdraw the request, unless the consumer has seen it: then the command is on its way. */
    if (atomic_exchange_explicit(&mailbox->deferred, 0, memory_order_relaxed) != 0) {
        mailbox->retry_expected = false;
        return true;
    }
    return false;
}

/* Push the deferred notices of the first member that has some: 3 at most. */
static void flush_member(struct rlt_mailbox *mailbox)
{
    struct rlt_member *member = CK_STAILQ_FIRST(&mailbox->deferred_members);
    CK_STAILQ_REMOVE_HEAD(&mailbox->deferred_members, link);
    uint32_t deferred = member->deferred;
    member->deferred = 0;
    /* A pushed ENDED or REMOVED ends the event thread's ownership: the member is not read then. */
    if (deferred & RLT_NOTICE_LOST) {
        push_notice(mailbox, member, RLT_NOTICE_LOST, member->lost_error);
    }
    if ((deferred & RLT_NOTICE_RESTORED) && member->deferred_restored_last) {
        push_notice(mailbox, member, RLT_NOTICE_RESTORED, 0);
    }
    if (deferred & RLT_NOTICE_REMOVED) {
        push_notice(mailbox, member, RLT_NOTICE_REMOVED, 0);
    } else if (deferred & RLT_NOTICE_ENDED) {
        /* Relaxed: the event thread's own value. */
        int error = atomic_load_explicit(&member->end_error, memory_order_relaxed);
        push_notice(mailbox, member, RLT_NOTICE_ENDED, error);
    }
}

/* Push deferred notices in order while there is room for all of a member's, and the count. */
static void flush_deferred(struct rlt_mailbox *mailbox)
{
    while (!CK_STAILQ_EMPTY(&mailbox->deferred_members) || mailbox->deferred_refusal != 0) {
        if (!rlt_delivery_ring_has_room(&mailbox->ring, 4)) {
            if (!expect_retry(mailbox)) {
                return;
            }
        } else if (!CK_STAILQ_EMPTY(&mailbox->deferred_members)) {
            flush_member(mailbox);
        } else {
            push_notice(mailbox, NULL, RLT_NOTICE_REFUSED, mailbox->deferred_refusal);
            mailbox->deferred_refusal = 0;
        }
    }
}

void rlt_mailbox_notify(struct rlt_mailbox *mailbox, struct rlt_member *member,
                        enum rlt_notice notice, int error)
{
    /* REMOVED may follow ENDED, if the user's unsubscribe crossed it; no other notice may. */
    RLT_ASSERT(!member->finished || notice == RLT_NOTICE_REMOVED);
    if (notice == RLT_NOTICE_ENDED) {
        atomic_store_explicit(&member->end_error, (int16_t)error, memory_order_relaxed);
    }
    member->finished = notice == RLT_NOTICE_ENDED || notice == RLT_NOTICE_REMOVED;
    if (CK_STAILQ_EMPTY(&mailbox->deferred_members) &&
        rlt_delivery_ring_has_room(&mailbox->ring, 2)) {
        push_notice(mailbox, member, notice, error);
        return;
    }
    defer(mailbox, member, notice, error);
    flush_deferred(mailbox);
}

void rlt_mailbox_refuse(struct rlt_mailbox *mailbox, int error)
{
    mailbox->deferred_refusal = (int16_t)error;
    flush_deferred(mailbox);
}

void rlt_mailbox_retry(struct rlt_mailbox *mailbox)
{
    mailbox->retry_expected = false;
    flush_deferred(mailbox);
}

bool rlt_mailbox_publish(struct rlt_mailbox *mailbox)
{
    rlt_delivery_ring_publish(&mailbox->ring);
    return rlt_doorbell_knock(mailbox->doorbell, 1);
}

uint64_t rlt_mailbox_take_dropped(struct rlt_mailbox *mailbox, uint64_t position, uint32_t *bounds)
{
    /* Acquire: messages published before the drop are visible to the second look. */
    uint64_t dropped = atomic_load_explicit(&mailbox->dropped, memory_order_acquire);
    if (dropped == mailbox->dropped_seen ||
        rlt_delivery_ring_peek(&mailbox->ring, position) != NULL) {
        return 0;
    }
    uint64_t count = dropped - mailbox->dropped_seen;
    *bounds = rlt_mailbox_bounds(mailbox, mailbox->dropped_seen);
    mailbox->dropped_seen = dropped;
    return count;
}

bool rlt_mailbox_must_retry(struct rlt_mailbox *mailbox)
{
    /* Orders the ring's head before this load: Dekker with expect_retry(). */
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&mailbox->deferred, memory_order_relaxed) != 0 &&
           atomic_exchange_explicit(&mailbox->deferred, 0, memory_order_relaxed) != 0;
}
