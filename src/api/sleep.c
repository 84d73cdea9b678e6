/* SPDX-License-Identifier: MIT */
#include "api/sleep.h"

#include <assert.h>
#include <ck_pr.h>
#include <pthread.h>

#include "api/owner.h"
#include "api/subscriber.h"
#include "base/assert.h"
#include "io/system/clock.h"
#include "io/wake/park.h"

/* Clusters that one sleep attends at most: each costs two system calls, for a sleep that one
 * message ends. With more, all messages come through the event threads. */
#define ATTENDED_MAX 8
static_assert(ATTENDED_MAX < RLT_PARK_ENTRIES_MAX, "and the subscriber's descriptor");

/* ---- The mailboxes ------------------------------------------------------------------------ */

static bool mailbox_has_some(struct rlt_mailbox *mailbox)
{
    uint64_t head = rlt_delivery_ring_head(&mailbox->ring);
    return rlt_delivery_ring_peek(&mailbox->ring, head) != NULL ||
           atomic_load_explicit(&mailbox->dropped, memory_order_acquire) != mailbox->dropped_seen;
}

static bool has_some(struct roulette_subscriber *subscriber)
{
    for (size_t i = 0; i < subscriber->client->cluster_count; i++) {
        if (subscriber->mailboxes[i] != NULL && mailbox_has_some(subscriber->mailboxes[i])) {
            return true;
        }
    }
    return !CK_SLIST_EMPTY(&subscriber->handles.completed);
}

bool rlt_subscriber_is_awake(struct roulette_subscriber *subscriber)
{
    return has_some(subscriber) || rlt_client_is_stopped(subscriber->client) ||
           rlt_bell_is_called(&subscriber->bell);
}

/* ---- Attending ---------------------------------------------------------------------------- */

/* The descriptors of a sleep: the subscriber's, and those of clusters that it attends. */
struct attendance {
    struct roulette_subscriber *subscriber;
    struct rlt_park_entry entries[1 + ATTENDED_MAX];
    uint32_t clusters[ATTENDED_MAX]; /* of the entries from the second on */
    uint32_t count;
};

static bool may_attend(const struct roulette_subscriber *subscriber)
{
    uint32_t mailbox_count = 0;
    for (uint32_t i = 0; i < subscriber->client->cluster_count; i++) {
        mailbox_count += subscriber->mailboxes[i] != NULL ? 1 : 0;
    }
    return mailbox_count <= ATTENDED_MAX;
}

static void attend(struct attendance *attendance)
{
    struct roulette_subscriber *subscriber = attendance->subscriber;
    if (!may_attend(subscriber)) {
        return;
    }
    for (uint32_t i = 0; i < subscriber->client->cluster_count; i++) {
        struct rlt_shard *shard = &subscriber->client->shards[i];
        struct rlt_mailbox *mailbox = subscriber->mailboxes[i];
        if (mailbox == NULL) {
            continue;
        }
        rlt_mailbox_note_awaited(mailbox);
        if (rlt_shard_attend(shard, mailbox)) {
            attendance->clusters[attendance->count++] = i;
            attendance->entries[attendance->count].descriptor = rlt_shard_descriptor(shard);
        }
    }
}

static void leave(struct attendance *attendance, uint32_t index)
{
    struct rlt_park_entry *entry = &attendance->entries[1 + index];
    if (entry->descriptor >= 0) {
        rlt_shard_leave(&attendance->subscriber->client->shards[attendance->clusters[index]]);
        entry->descriptor = -1;
    }
}

static void leave_all(struct attendance *attendance)
{
    for (uint32_t i = 0; i < attendance->count; i++) {
        leave(attendance, i);
    }
}

/* Receive from the attended clusters that are readable. */
static void receive(struct attendance *attendance)
{
    struct roulette_subscriber *subscriber = attendance->subscriber;
    for (uint32_t i = 0; i < attendance->count; i++) {
        uint32_t cluster = attendance->clusters[i];
        if (!attendance->entries[1 + i].readable) {
            continue;
        }
        /* This thread will deliver to itself, which needs no ring. */
        rlt_bell_disarm(&subscriber->bell);
        if (!rlt_shard_receive(&subscriber->client->shards[cluster],
                               subscriber->mailboxes[cluster])) {
            leave(attendance, i);
        }
    }
}

static bool wait_and_receive(struct attendance *attendance, uint64_t deadline_ns)
{
    struct roulette_subscriber *subscriber = attendance->subscriber;
    while (rlt_park_descriptors_wait(attendance->entries, 1 + attendance->count, deadline_ns)) {
        receive(attendance);
        if (rlt_subscriber_is_awake(subscriber)) {
            return true;
        }
        rlt_bell_arm(&subscriber->bell);
        if (rlt_subscriber_is_awake(subscriber)) {
            return true;
        }
        if (rlt_clock_ns() >= deadline_ns) {
            break; /* nothing came for this subscriber, and there may be more */
        }
    }
    return false;
}

/* ---- Sleeping ----------------------------------------------------------------------------- */

/* Busy-poll for a while before sleeping, if spin_us is set. */
static bool spin(struct roulette_subscriber *subscriber, uint64_t deadline_ns)
{
    uint64_t spin_ns = subscriber->client->config.spin_ns;
    uint64_t until_ns = spin_ns != 0 ? rlt_min_u64(rlt_clock_ns() + spin_ns, deadline_ns) : 0;
    while (until_ns != 0 && rlt_clock_ns() < until_ns) {
        if (rlt_subscriber_is_awake(subscriber)) {
            return true;
        }
        ck_pr_stall();
    }
    return false;
}

static void begin_wait(struct roulette_subscriber *subscriber)
{
    /* Relaxed: see api/owner.h. */
    RLT_REQUIRE(atomic_exchange_explicit(&subscriber->waiting, 1, memory_order_relaxed) == 0 ||
                    rlt_owner_is_forked(subscriber),
                "roulette_receive()",
                "another thread waits in roulette_receive() of this subscriber, which one thread "
                "uses at a time: open one for each");
}

static void end_wait(void *data)
{
    struct attendance *attendance = data;
    leave_all(attendance);
    atomic_store_explicit(&attendance->subscriber->waiting, 0, memory_order_relaxed);
}

/* Clean up after a thread cancelled in its wait: it attends nothing, and is in no call. */
static void on_cancel(void *data)
{
    struct attendance *attendance = data;
    end_wait(attendance);
    rlt_owner_leave(attendance->subscriber);
}

bool rlt_subscriber_sleep(struct roulette_subscriber *subscriber, uint64_t deadline_ns)
{
    if (spin(subscriber, deadline_ns)) {
        return true;
    }
    rlt_bell_arm(&subscriber->bell);
    if (rlt_subscriber_is_awake(subscriber)) {
        return true;
    }
    struct attendance attendance;
    attendance.subscriber = subscriber;
    attendance.entries[0].descriptor = subscriber->bell.descriptor;
    attendance.count = 0;
    bool woken;
    begin_wait(subscriber);
    attend(&attendance);
    pthread_cleanup_push(on_cancel, &attendance);
    woken = wait_and_receive(&attendance, deadline_ns);
    pthread_cleanup_pop(0);
    end_wait(&attendance);
    return woken;
}
