/* SPDX-License-Identifier: MIT */
#include "api/subscriber.h"

#include <string.h>

#include "api/ending.h"
#include "api/given.h"
#include "api/options.h"
#include "api/owner.h"
#include "api/reason.h"
#include "api/release.h"
#include "api/subscribers.h"
#include "api/wait.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"

#define RING_MIN 16
#define RING_MAX (UINT32_C(1) << 28)

/* ---- Open and close ----------------------------------------------------------------------- */

static int check_options(const struct roulette_client *client,
                         const struct roulette_subscriber_options *given,
                         struct roulette_subscriber_options *options)
{
    roulette_subscriber_options_init(options);
    int result = given != NULL ? rlt_sized_read(&rlt_subscriber_options_kind, given, options) : 0;
    if (result < 0) {
        return result;
    }
    if (!rlt_is_power_of_two(options->ring_slots) || options->ring_slots < RING_MIN ||
        options->ring_slots > RING_MAX) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "options.ring_slots is %u: give a power of two from %u to %u",
                             options->ring_slots, RING_MIN, RING_MAX);
    }
    size_t all = client->config.slab_bytes * client->config.slab_count;
    if (options->pinned_bytes == 0) {
        options->pinned_bytes = all / 2;
    }
    if (options->pinned_bytes < client->config.slab_bytes || options->pinned_bytes > all) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "options.pinned_bytes is %zu: give 0, or one slab (%zu) to all of "
                             "them (%zu)",
                             options->pinned_bytes, client->config.slab_bytes, all);
    }
    return 0;
}

static void free_subscriber(struct roulette_subscriber *subscriber)
{
    roulette_client *client = subscriber->client;
    for (size_t i = 0; subscriber->mailboxes != NULL && i < client->cluster_count; i++) {
        if (subscriber->mailboxes[i] != NULL) {
            rlt_mailbox_fini(subscriber->mailboxes[i]);
            rlt_memory_free(subscriber->mailboxes[i]);
        }
    }
    rlt_memory_free(subscriber->mailboxes);
    rlt_handle_table_fini(&subscriber->handles);
    rlt_bell_fini(&subscriber->bell);
    rlt_memory_free(subscriber);
}

int roulette_subscriber_open(roulette_client *client,
                             const struct roulette_subscriber_options *given,
                             roulette_subscriber **created)
{
    if (client == NULL || created == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client or subscriber is NULL");
    }
    struct roulette_subscriber_options options;
    int result = check_options(client, given, &options);
    if (result < 0) {
        return result;
    }
    if (atomic_load_explicit(&client->state, memory_order_relaxed) != RLT_CLIENT_OPEN) {
        return rlt_error_set_plain(rlt_client_gone(client));
    }
    struct roulette_subscriber *subscriber =
        rlt_memory_alloc_aligned(RLT_CACHE_LINE, sizeof(*subscriber));
    if (subscriber == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    memset(subscriber, 0, sizeof(*subscriber));
    subscriber->client = client;
    subscriber->tag = rlt_message_next_tag();
    subscriber->ring_slots = options.ring_slots;
    subscriber->pinned_bytes = options.pinned_bytes;
    subscriber->mailboxes = rlt_memory_alloc(client->cluster_count, sizeof(*subscriber->mailboxes));
    result = rlt_bell_init(&subscriber->bell);
    if (subscriber->mailboxes == NULL || rlt_handle_table_init(&subscriber->handles) < 0) {
        result = rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    if (result == 0) {
        result = rlt_given_add(subscriber);
    }
    if (result < 0) {
        free_subscriber(subscriber);
        return result;
    }
    rlt_client_acquire(client);
    rlt_subscribers_add(client, subscriber);
    *created = subscriber;
    return 0;
}

/* Release the references of unreleased messages, which end with the subscriber. */
static void release_unreleased(struct roulette_subscriber *subscriber)
{
    roulette_client *client = subscriber->client;
    for (size_t i = 0; i < client->cluster_count; i++) {
        struct rlt_mailbox *mailbox = subscriber->mailboxes[i];
        for (uint32_t slab = 0; mailbox != NULL && slab < mailbox->slab_indexes; slab++) {
            /* Relaxed: both sides have stopped, as the last notices or the stop have shown. */
            uint32_t released =
                atomic_load_explicit(&mailbox->released[slab], memory_order_relaxed);
            uint32_t held = mailbox->issued[slab] - released;
            /* A message that was not received cannot be released: see api/release.c. */
            RLT_ASSERT(held <= INT32_MAX);
            if (held != 0) {
                rlt_slab_release(rlt_shard_slab(&client->shards[i], slab), held);
            }
        }
    }
}

/* Remove the mailboxes from their clusters, which push no more notices of their own. */
static void leave_clusters(struct roulette_subscriber *subscriber)
{
    roulette_client *client = subscriber->client;
    if (!rlt_client_enter(client)) {
        return; /* the event threads end */
    }
    for (size_t i = 0; i < client->cluster_count; i++) {
        if (subscriber->mailboxes[i] != NULL) {
            rlt_shard_submit(&client->shards[i], &subscriber->mailboxes[i]->leave);
        }
    }
    rlt_client_leave(client);
}

static int drain(roulette_subscriber *subscriber, int timeout_ms)
{
    roulette_client *client = subscriber->client;
    if (!rlt_subscriber_ask_all(subscriber, RLT_ASK_DRAIN)) {
        return rlt_error_set_plain(rlt_client_gone(client));
    }
    const struct rlt_fence_wish wish = {.scope = RLT_FENCE_DRAIN};
    struct rlt_fence_outcome outcome;
    int result = rlt_client_fence(client, &wish, timeout_ms, &outcome);
    if (!rlt_subscriber_ask_all(subscriber, RLT_ASK_FINISH)) {
        return rlt_error_set_plain(rlt_client_gone(client));
    }
    /* So that all messages in flight are delivered when this returns. */
    rlt_client_sync(client);
    return result < 0 ? rlt_reason_of_wait(client, &outcome, result) : 0;
}

int roulette_subscriber_drain(roulette_subscriber *subscriber, int timeout_ms)
{
    if (subscriber == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber is NULL");
    }
    rlt_owner_enter(subscriber, "roulette_subscriber_drain()");
    int result = drain(subscriber, timeout_ms);
    rlt_owner_leave(subscriber);
    return result;
}

void roulette_subscriber_close(roulette_subscriber *subscriber)
{
    static const char call[] = "roulette_subscriber_close()";
    if (subscriber == NULL) {
        return;
    }
    rlt_given_take(subscriber, call);
    rlt_owner_enter(subscriber, call);
    roulette_client *client = subscriber->client;
    rlt_subscriber_end_all(subscriber);
    leave_clusters(subscriber);
    /* Behind this the event threads have taken out all members, and touch nothing of the
     * subscriber. */
    rlt_client_sync(client);
    rlt_subscribers_remove(client, subscriber);
    release_unreleased(subscriber);
    free_subscriber(subscriber);
    rlt_client_release(client);
}
