/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "api/ending.h"
#include "api/handles.h"
#include "api/options.h"
#include "api/owner.h"
#include "api/subscribe_wait.h"
#include "api/subscriber.h"
#include "api/taking.h"
#include "base/error.h"
#include "base/memory.h"
#include "proto/topic.h"
#include "proto/topic_fault.h"

/*
 * Free subscriptions that are over, though the user does not receive. Tried when they have doubled:
 * the rest may wait behind messages in the mailbox, or for the event thread.
 *
 * Returns: 0, or ROULETTE_EBUSY if only receiving can make room.
 */
static int give_back(struct roulette_subscriber *subscriber)
{
    struct rlt_handle_table *table = &subscriber->handles;
    uint32_t max = rlt_max_u32(RLT_HANDLES_OVER_MAX, table->live_max);
    if (table->over_count < rlt_min_u32(table->over_look, max)) {
        return 0;
    }
    bool all_seen = rlt_subscriber_reap(subscriber);
    table->over_look = rlt_max_u32(RLT_HANDLES_OVER_FEW, 2 * table->over_count);
    return all_seen || table->over_count < max ? 0 : ROULETTE_EBUSY;
}

/* ---- Subscribe ---------------------------------------------------------------------------- */

/* Make the subscriber's mailbox on a cluster, unless it exists. */
static int open_mailbox(struct roulette_subscriber *subscriber, uint32_t cluster)
{
    if (subscriber->mailboxes[cluster] != NULL) {
        return 0;
    }
    const struct rlt_config *config = &subscriber->client->config;
    struct rlt_mailbox *mailbox = rlt_memory_alloc_aligned(RLT_CACHE_LINE, sizeof(*mailbox));
    if (mailbox == NULL) {
        return ROULETTE_ENOMEM;
    }
    struct rlt_mailbox_options options = {
        .ring_slots = subscriber->ring_slots,
        .slab_bytes = config->slab_bytes,
        .slab_indexes = config->slab_count,
        .arena = rlt_shard_slab_arena(&subscriber->client->shards[cluster]),
        .pinned_max = subscriber->pinned_bytes / config->slab_bytes,
        .tag = subscriber->tag,
        .cluster = cluster,
        .doorbell = &subscriber->bell.doorbell,
        .descriptor = subscriber->bell.descriptor,
    };
    if (rlt_mailbox_init(mailbox, &options) < 0) {
        rlt_memory_free(mailbox);
        return ROULETTE_ENOMEM;
    }
    subscriber->mailboxes[cluster] = mailbox;
    return 0;
}

/* A topic to subscribe to, checked. */
struct request {
    const char *topic;
    size_t topic_len;
    const char *group; /* NULL: none */
    size_t group_len;
    bool wildcard;
    struct rlt_place place; /* of a literal topic */
    uint32_t member_count;
};

/* Put a subscription into the table, with mailboxes; the event threads are told later. */
static int prepare(struct roulette_subscriber *subscriber, const struct request *request,
                   struct rlt_subscription *entry)
{
    for (uint32_t i = 0; i < request->member_count; i++) {
        uint32_t cluster = request->wildcard ? i : request->place.cluster;
        int result = open_mailbox(subscriber, cluster);
        if (result < 0) {
            return result;
        }
        entry->members[i].mailbox = subscriber->mailboxes[cluster];
        entry->members[i].own.path = (uint8_t)request->place.path;
    }
    entry->pending = (uint16_t)request->member_count;
    return rlt_handle_table_add(&subscriber->handles, entry);
}

static int check_request(struct roulette_subscriber *subscriber, const char *topic,
                         size_t topic_len, const char *group, struct request *request)
{
    const roulette_client *client = subscriber->client;
    if (client->config.role == ROULETTE_ROLE_PUBLISHER) {
        return rlt_error_set(ROULETTE_EROLE,
                             "options.role is publisher: this client subscribes to nothing");
    }
    const char *reason = NULL;
    topic_len = rlt_text_len(topic, topic_len);
    int wildcard = rlt_topic_check_pattern(topic, topic_len, &reason);
    if (wildcard < 0) {
        return rlt_topic_refuse(wildcard, "topic", "cannot be subscribed to", topic, topic_len,
                                reason);
    }
    size_t group_len = group != NULL ? strlen(group) : 0;
    if (group != NULL && rlt_topic_check_group(group, group_len, &reason) < 0) {
        return rlt_topic_refuse(ROULETTE_ETOPIC, "queue group", "is not valid", group, group_len,
                                reason);
    }
    uint64_t hash = rlt_ring_hash(topic, topic_len);
    *request = (struct request){
        .topic = topic,
        .topic_len = topic_len,
        .group = group,
        .group_len = group_len,
        .wildcard = wildcard == 1,
        .place = rlt_client_place(client, topic, topic_len, hash),
        .member_count = wildcard == 1 ? (uint32_t)client->cluster_count : 1,
    };
    return 0;
}

static int subscribe(struct roulette_subscriber *subscriber, const struct request *request,
                     const struct roulette_subscription_options *options,
                     struct rlt_subscription *entry)
{
    roulette_client *client = subscriber->client;
    if (!rlt_client_enter(client)) {
        return rlt_client_gone(client);
    }
    entry->user_data = options->user_data;
    entry->left = options->max_messages;
    int result = prepare(subscriber, request, entry);
    for (uint32_t i = 0; result == 0 && i < entry->member_count; i++) {
        struct rlt_member *member = &entry->members[i];
        rlt_shard_ask(&client->shards[member->mailbox->cluster], member, RLT_ASK_SUBSCRIBE);
    }
    rlt_client_leave(client);
    return result;
}

/* Subscribe, unless the topic is subscribed already. `*found` is the subscription, the existing one
 * with ROULETTE_EEXIST. */
static int subscribe_once(struct roulette_subscriber *subscriber, const struct request *request,
                          const struct roulette_subscription_options *options,
                          struct rlt_subscription **found)
{
    struct rlt_subscription *entry =
        rlt_subscription_create(request->topic, request->topic_len, request->group,
                                request->group_len, request->member_count, options->max_messages);
    if (entry == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    struct rlt_topic_key key = rlt_subscription_key(entry);
    *found = rlt_handle_table_find_key(&subscriber->handles, &key);
    if (*found != NULL) {
        rlt_subscription_release(entry);
        return rlt_topic_refuse(ROULETTE_EEXIST, "topic", "is taken", request->topic,
                                request->topic_len, NULL);
    }
    int result = subscribe(subscriber, request, options, entry);
    if (result < 0) {
        rlt_subscription_release(entry);
        return rlt_error_set_plain(result);
    }
    *found = entry;
    return 0;
}

/* Complete the given options with the defaults. */
static int complete(const struct roulette_subscription_options *given,
                    struct roulette_subscription_options *options)
{
    roulette_subscription_options_init(options);
    return given != NULL ? rlt_sized_read(&rlt_subscription_options_kind, given, options) : 0;
}

/* Wait until the servers know of a subscription. Returns: as rlt_subscription_confirm(). */
static int confirm(struct roulette_subscriber *subscriber, struct rlt_subscription *entry,
                   const struct request *request, int timeout_ms)
{
    const struct rlt_fence_wish fence = {
        .one_cluster = !request->wildcard,
        .place = request->place,
        .scope = RLT_FENCE_SUBSCRIPTION,
    };
    return rlt_subscription_confirm(subscriber, entry, &fence, timeout_ms);
}

/* Subscribe; subscriber and topic are not NULL. */
static int subscribe_with(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                          const struct roulette_subscription_options *given,
                          roulette_subscription **subscription)
{
    struct roulette_subscription_options options;
    struct request request = {0};
    int result = complete(given, &options);
    if (result == 0) {
        result = check_request(subscriber, topic, topic_len, options.queue_group, &request);
    }
    if (result < 0) {
        return result;
    }
    if (give_back(subscriber) < 0) {
        return rlt_error_set(ROULETTE_EBUSY,
                             "%u subscriptions are over, and wait for roulette_receive() to take "
                             "what came before: receive",
                             subscriber->handles.over_count);
    }
    struct rlt_subscription *entry = NULL;
    result = subscribe_once(subscriber, &request, &options, &entry);
    if (result == 0 && options.timeout_ms != 0) {
        result = confirm(subscriber, entry, &request, options.timeout_ms);
    }
    if ((result >= 0 || result == ROULETTE_EEXIST) && subscription != NULL) {
        *subscription = rlt_subscription_handle(entry);
    }
    return result;
}

int roulette_subscribe_with(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                            const struct roulette_subscription_options *given,
                            roulette_subscription **subscription)
{
    if (subscriber == NULL || topic == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or topic is NULL");
    }
    rlt_owner_enter(subscriber, "roulette_subscribe()");
    int result = subscribe_with(subscriber, topic, topic_len, given, subscription);
    rlt_owner_leave(subscriber);
    return result;
}

int roulette_subscribe(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                       void *user_data, roulette_subscription **subscription)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.user_data = user_data;
    return roulette_subscribe_with(subscriber, topic, topic_len, &options, subscription);
}

/* ---- Unsubscribe --------------------------------------------------------------------------- */

/* End a subscription; NULL: none was found. */
static int unsubscribe(struct roulette_subscriber *subscriber, struct rlt_subscription *found)
{
    if (found == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOENT);
    }
    rlt_subscriber_end(subscriber, found, NULL);
    (void)give_back(subscriber);
    return 0;
}

int roulette_unsubscribe(roulette_subscriber *subscriber, roulette_subscription *subscription)
{
    if (subscriber == NULL || subscription == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or subscription is NULL");
    }
    rlt_owner_enter(subscriber, "roulette_unsubscribe()");
    int result = unsubscribe(subscriber, rlt_handle_table_find(&subscriber->handles, subscription));
    rlt_owner_leave(subscriber);
    return result;
}

int roulette_unsubscribe_topic(roulette_subscriber *subscriber, const char *topic, size_t topic_len)
{
    if (subscriber == NULL || topic == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or topic is NULL");
    }
    topic_len = rlt_text_len(topic, topic_len);
    struct rlt_topic_key key = {topic, topic_len, rlt_ring_hash(topic, topic_len)};
    rlt_owner_enter(subscriber, "roulette_unsubscribe_topic()");
    struct rlt_subscription *found = rlt_handle_table_find_key(&subscriber->handles, &key);
    int result = found != NULL ? unsubscribe(subscriber, found)
                               : rlt_topic_refuse(ROULETTE_ENOENT, "topic", "is not subscribed to",
                                                  topic, topic_len, NULL);
    rlt_owner_leave(subscriber);
    return result;
}
