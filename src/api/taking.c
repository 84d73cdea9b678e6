/* SPDX-License-Identifier: MIT */
#include "api/taking.h"

#include <string.h>

#include "api/ending.h"
#include "api/release.h"
#include "base/assert.h"
#include "lockfree/slab.h"

/* ---- One entry ---------------------------------------------------------------------------- */

static void release_delivery(struct rlt_mailbox *mailbox, const struct rlt_delivery *delivery,
                             uint32_t count)
{
    struct rlt_slab *slab = rlt_slab_of(delivery->base, mailbox->slab_bytes);
    rlt_mailbox_note_released(mailbox, rlt_mailbox_slab_index(mailbox, slab), count);
    rlt_slab_release(slab, count);
}

/* Fill in the message of a delivery whose topic is at `base`. */
static void fill_message(const struct rlt_mailbox *mailbox, const struct rlt_delivery *delivery,
                         const struct rlt_subscription *entry, const char *base,
                         struct roulette_message *message)
{
    const char *body = base + delivery->body_offset;
    message->kind = ROULETTE_KIND_MESSAGE;
    message->cluster = mailbox->cluster;
    message->topic = base;
    message->reply = delivery->reply_offset != 0 ? base + delivery->reply_offset : NULL;
    message->headers = delivery->header_len != 0 ? body : NULL;
    message->payload = body + delivery->header_len;
    message->topic_len = delivery->topic_len;
    message->reply_len = delivery->reply_offset != 0 ? delivery->reply_len : 0;
    message->headers_len = delivery->header_len;
    message->payload_len = delivery->body_len - delivery->header_len;
    message->subscription = rlt_subscription_handle(entry);
    message->user_data = entry->user_data;
    message->count = 0;
    message->error = 0;
    message->bounds = 0;
    memset(message->reserved, 0, sizeof(message->reserved));
    message->internal =
        rlt_message_mark(rlt_slab_of(delivery->base, mailbox->slab_bytes), mailbox->tag);
}

static void fill_notice(const struct rlt_mailbox *mailbox, enum roulette_kind kind,
                        const struct rlt_subscription *entry, int error,
                        struct roulette_message *message)
{
    *message = (struct roulette_message){
        .kind = kind,
        .cluster = mailbox->cluster,
        .subscription = entry != NULL ? rlt_subscription_handle(entry) : NULL,
        .user_data = entry != NULL ? entry->user_data : NULL,
        .error = error,
    };
}

static void fill_dropped(const struct rlt_mailbox *mailbox, uint64_t count, uint32_t bounds,
                         struct roulette_message *message)
{
    fill_notice(mailbox, ROULETTE_KIND_DROPPED, NULL, 0, message);
    message->count = count;
    message->bounds = bounds;
}

/* Take a notice that messages were dropped before this point. */
static bool take_drop_notice(struct rlt_mailbox *mailbox, const struct rlt_delivery *delivery,
                             struct roulette_message *message)
{
    uint64_t total = delivery->notice.count; /* since the mailbox was made */
    uint64_t count = total - mailbox->dropped_seen;
    /* The owner thread may have reported the drop already, when it found the mailbox empty. */
    if ((int64_t)count <= 0) {
        return false;
    }
    /* Without the drops that were reported when the mailbox was empty. */
    uint32_t bounds = (uint32_t)delivery->notice.error;
    fill_dropped(mailbox, count, bounds & rlt_mailbox_bounds(mailbox, mailbox->dropped_seen),
                 message);
    mailbox->dropped_seen = total;
    return true;
}

/* Whether the end is expected: drained, or the client was closed. All clusters report it, each
 * behind its last message. */
static bool is_expected_end(int error)
{
    return error == 0 || error == ROULETTE_ECLOSED;
}

/* Take a notice. Returns: whether the user is to see it: only then `message` is touched. */
static bool take_notice(struct roulette_subscriber *subscriber, struct rlt_mailbox *mailbox,
                        const struct rlt_delivery *delivery, struct roulette_message *message)
{
    if (delivery->notice.kind == RLT_NOTICE_DROPPED) {
        return take_drop_notice(mailbox, delivery, message);
    }
    if (delivery->notice.kind == RLT_NOTICE_REFUSED) {
        fill_notice(mailbox, ROULETTE_KIND_REFUSED, NULL, delivery->notice.error, message);
        return true;
    }
    struct rlt_member *member = delivery->target;
    struct rlt_subscription *entry = rlt_subscription_of(member);
    struct rlt_handle_table *table = &subscriber->handles;
    bool told = !entry->over;
    switch (delivery->notice.kind) {
    case RLT_NOTICE_LOST:
        if (told) {
            fill_notice(mailbox, ROULETTE_KIND_LOST, entry, delivery->notice.error, message);
        }
        break;
    case RLT_NOTICE_RESTORED:
        if (told) {
            fill_notice(mailbox, ROULETTE_KIND_RESTORED, entry, 0, message);
        }
        break;
    case RLT_NOTICE_ENDED:
        if (told && is_expected_end(delivery->notice.error) && entry->pending > 1) {
            /* Messages of other clusters may still be in their mailboxes. */
            told = false;
            member->left = true;
            rlt_subscription_member_done(table, entry, false);
        } else if (told) {
            fill_notice(mailbox, ROULETTE_KIND_ENDED, entry, delivery->notice.error, message);
            rlt_subscriber_end(subscriber, entry, member);
            member->left = true;
            rlt_subscription_member_done(table, entry, true);
        } else if (!entry->leaving && !member->left) {
            /* The client stopped before the member could be told to leave. */
            member->left = true;
            rlt_subscription_member_done(table, entry, false);
        }
        break;
    default:
        RLT_ASSERT(delivery->notice.kind == RLT_NOTICE_REMOVED);
        member->left = true;
        rlt_subscription_member_done(table, entry, false);
        break;
    }
    return told;
}

/* ---- One mailbox --------------------------------------------------------------------------- */

/* The rest of the caller's array, to be filled. */
struct sink {
    struct roulette_message *next;
    size_t left;
};

/* Advance the sink behind a filled message. */
static void put(struct sink *sink)
{
    sink->next++;
    sink->left--;
}

/* Report drops since the last message, when the mailbox is empty. */
static void take_silent_drops(struct rlt_mailbox *mailbox, uint64_t position, struct sink *sink)
{
    uint32_t bounds = 0;
    uint64_t dropped = rlt_mailbox_take_dropped(mailbox, position, &bounds);
    if (dropped != 0) {
        fill_dropped(mailbox, dropped, bounds, sink->next);
        put(sink);
    }
}

/* Count messages of a subscription that is over: beyond max_messages they are lost to its queue
 * group. */
static void count_excess(const struct roulette_subscriber *subscriber,
                         const struct rlt_mailbox *mailbox, const struct rlt_subscription *entry,
                         uint32_t count)
{
    if (entry->limited && entry->completed) {
        rlt_shard_count_excess(&subscriber->client->shards[mailbox->cluster], count);
    }
}

/* Take the messages of a delivery that fit into the sink. Returns: whether none of them is left. */
static bool take_messages(struct roulette_subscriber *subscriber, struct rlt_mailbox *mailbox,
                          const struct rlt_delivery *delivery, struct sink *sink)
{
    struct rlt_subscription *entry = rlt_subscription_of(delivery->target);
    uint32_t total = rlt_delivery_count(delivery);
    size_t stride = rlt_delivery_stride(delivery);
    uint32_t taken = mailbox->taken;
    uint32_t first = taken;
    const char *base = (const char *)delivery->base + taken * stride;
    mailbox->taken = 0;
    for (; taken < total && !entry->over; taken++) {
        if (sink->left == 0) {
            mailbox->taken = taken;
            rlt_mailbox_note_received(mailbox, delivery->base, taken - first);
            return false;
        }
        fill_message(mailbox, delivery, entry, base, sink->next);
        put(sink);
        rlt_subscriber_count(subscriber, entry, mailbox->cluster);
        base += stride;
    }
    rlt_mailbox_note_received(mailbox, delivery->base, total - first);
    if (rlt_unlikely(taken != total)) {
        release_delivery(mailbox, delivery, total - taken);
        count_excess(subscriber, mailbox, entry, total - taken);
    }
    return true;
}

/* Free the mailbox's slots before `position`, which were taken. */
static void advance(struct roulette_subscriber *subscriber, struct rlt_mailbox *mailbox,
                    uint64_t position)
{
    roulette_client *client = subscriber->client;
    rlt_delivery_ring_advance(&mailbox->ring, position);
    if (rlt_unlikely(rlt_mailbox_must_retry(mailbox)) && rlt_client_enter(client)) {
        rlt_shard_submit(&client->shards[mailbox->cluster], &mailbox->retry);
        rlt_client_leave(client);
    }
}

static void take_all(struct roulette_subscriber *subscriber, struct rlt_mailbox *mailbox,
                     struct sink *sink)
{
    uint64_t start = rlt_delivery_ring_head(&mailbox->ring);
    uint64_t position = start;
    while (sink->left != 0) {
        const struct rlt_delivery *delivery = rlt_delivery_ring_peek(&mailbox->ring, position);
        if (delivery == NULL) {
            take_silent_drops(mailbox, position, sink);
            break;
        }
        if (rlt_unlikely(delivery->base == NULL)) {
            position++;
            if (take_notice(subscriber, mailbox, delivery, sink->next)) {
                put(sink);
            }
        } else if (rlt_likely(take_messages(subscriber, mailbox, delivery, sink))) {
            position++;
        }
    }
    if (position != start) {
        advance(subscriber, mailbox, position);
    }
}

/* Report subscriptions that ended by themselves, with their last message. */
static void take_completed(struct roulette_subscriber *subscriber, struct sink *sink)
{
    struct rlt_subscription *entry;
    while (sink->left != 0 &&
           (entry = rlt_handle_table_take_completed(&subscriber->handles)) != NULL) {
        struct rlt_mailbox *mailbox = subscriber->mailboxes[entry->last_cluster];
        fill_notice(mailbox, ROULETTE_KIND_ENDED, entry, 0, sink->next);
        put(sink);
    }
}

/* ---- All mailboxes ------------------------------------------------------------------------ */

size_t rlt_subscriber_take(struct roulette_subscriber *subscriber,
                           struct roulette_message *messages, size_t max)
{
    struct sink sink = {messages, max};
    uint32_t count = (uint32_t)subscriber->client->cluster_count;
    for (uint32_t i = 0; i < count && sink.left != 0; i++) {
        struct rlt_mailbox *mailbox = subscriber->mailboxes[(subscriber->turn + i) % count];
        if (mailbox != NULL) {
            take_all(subscriber, mailbox, &sink);
        }
    }
    subscriber->turn = (subscriber->turn + 1) % count;
    if (rlt_unlikely(!CK_SLIST_EMPTY(&subscriber->handles.completed))) {
        take_completed(subscriber, &sink);
    }
    return max - sink.left;
}

/* ---- Without a receive --------------------------------------------------------------------- */

/* Whether the user would see nothing of a delivery. */
static bool is_unseen(const struct rlt_delivery *delivery)
{
    if (delivery->base == NULL && (delivery->notice.kind == RLT_NOTICE_DROPPED ||
                                   delivery->notice.kind == RLT_NOTICE_REFUSED)) {
        return false;
    }
    return rlt_subscription_of(delivery->target)->over;
}

static bool reap(struct roulette_subscriber *subscriber, struct rlt_mailbox *mailbox)
{
    struct sink none = {NULL, 0};
    uint64_t start = rlt_delivery_ring_head(&mailbox->ring);
    uint64_t position = start;
    const struct rlt_delivery *delivery;
    while ((delivery = rlt_delivery_ring_peek(&mailbox->ring, position)) != NULL &&
           is_unseen(delivery)) {
        if (delivery->base == NULL) {
            (void)take_notice(subscriber, mailbox, delivery, NULL);
        } else {
            (void)take_messages(subscriber, mailbox, delivery, &none);
        }
        position++;
    }
    if (position != start) {
        advance(subscriber, mailbox, position);
    }
    return delivery == NULL;
}

bool rlt_subscriber_reap(struct roulette_subscriber *subscriber)
{
    bool all_seen = true;
    for (size_t i = 0; i < subscriber->client->cluster_count; i++) {
        struct rlt_mailbox *mailbox = subscriber->mailboxes[i];
        all_seen = (mailbox == NULL || reap(subscriber, mailbox)) && all_seen;
    }
    return all_seen;
}
