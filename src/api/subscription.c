/* SPDX-License-Identifier: MIT */
#include "api/subscription.h"

#include <string.h>

#include "api/options.h"
#include "api/owner.h"
#include "api/reason.h"
#include "api/subscriber.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "proto/topic.h"
#include "proto/topic_fault.h"

#define SLOTS_FIRST 64
/* So many handles that are over are not looked for. */
#define OVER_FEW  64
#define SLOTS_MAX (RLT_TOPIC_INDEX_MAX + 1)

/* ---- The table ---------------------------------------------------------------------------- */

static struct rlt_handle *handle_at(const struct rlt_handle_table *table, uint32_t index)
{
    uintptr_t slot = table->slots[index];
    return (slot & 1) == 0 ? (struct rlt_handle *)slot : NULL;
}

static uint32_t index_of(const struct rlt_handle *handle)
{
    return (uint32_t)(handle->name & RLT_TOPIC_INDEX_MAX);
}

static struct rlt_handle *find_handle(const struct rlt_handle_table *table,
                                      const roulette_subscription *subscription)
{
    uint64_t name = (uint64_t)(uintptr_t)subscription;
    uint32_t index = (uint32_t)(name & RLT_TOPIC_INDEX_MAX);
    struct rlt_handle *handle = index < table->slot_count ? handle_at(table, index) : NULL;
    return handle != NULL && handle->name == name && !handle->over ? handle : NULL;
}

static struct rlt_handle *find_key(const struct rlt_handle_table *table,
                                   const struct rlt_topic_key *key)
{
    uint32_t index = rlt_topic_set_find(&table->by_key, key);
    return index != 0 ? handle_at(table, index) : NULL;
}

/* By a half, so that a large table has few slots that it does not use. */
static int grow_slots(struct rlt_handle_table *table)
{
    if (table->slot_capacity == SLOTS_MAX) {
        return ROULETTE_EBUSY;
    }
    uint32_t capacity = table->slot_capacity + table->slot_capacity / 2;
    capacity = capacity != 0 ? capacity : SLOTS_FIRST;
    capacity = capacity < SLOTS_MAX ? capacity : SLOTS_MAX;
    uintptr_t *slots = rlt_memory_resize(table->slots, capacity * sizeof(*table->slots));
    if (slots == NULL) {
        return ROULETTE_ENOMEM;
    }
    table->slots = slots;
    table->slot_capacity = capacity;
    if (table->slot_count == 0) {
        table->slot_count = 1;
        slots[0] = 1;
    }
    return 0;
}

static int take_slot(struct rlt_handle_table *table, uint32_t *index)
{
    if (table->slot_free != 0) {
        *index = table->slot_free;
        table->slot_free = (uint32_t)(table->slots[*index] >> 1);
        return 0;
    }
    if (table->slot_count == table->slot_capacity) {
        int result = grow_slots(table);
        if (result < 0) {
            return result;
        }
    }
    *index = table->slot_count++;
    return 0;
}

static void give_slot(struct rlt_handle_table *table, uint32_t index)
{
    table->slots[index] = (uintptr_t)table->slot_free << 1 | 1;
    table->slot_free = index;
}

/* 40 bits: a million subscriptions a second for 12 days. */
static uint64_t next_serial(void)
{
    static _Atomic(uint64_t) last;
    /* Relaxed: only uniqueness counts. */
    uint64_t serial = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed);
    return serial & (UINT64_MAX >> RLT_TOPIC_INDEX_BITS);
}

/* Put a handle into a slot; its index and serial number are its public name. */
static int add_handle(struct rlt_handle_table *table, struct rlt_handle *handle)
{
    uint32_t index;
    int result = take_slot(table, &index);
    if (result < 0) {
        return result;
    }
    table->slots[index] = (uintptr_t)handle;
    result = rlt_topic_set_add(&table->by_key, index);
    if (result < 0) {
        give_slot(table, index);
        return result;
    }
    handle->name = next_serial() << RLT_TOPIC_INDEX_BITS | index;
    table->live_max = rlt_max_u32(table->live_max, table->by_key.count);
    return 0;
}

static void free_handle(struct rlt_handle_table *table, struct rlt_handle *handle)
{
    give_slot(table, index_of(handle));
    table->over_count -= handle->over ? 1 : 0;
    rlt_handle_release(handle);
}

static struct rlt_topic_key key_of(const void *table, uint32_t index)
{
    return rlt_handle_key(handle_at(table, index));
}

int rlt_handle_table_init(struct rlt_handle_table *table)
{
    memset(table, 0, sizeof(*table));
    table->over_look = OVER_FEW;
    return rlt_topic_set_init(&table->by_key, key_of, table);
}

void rlt_handle_table_fini(struct rlt_handle_table *table)
{
    for (uint32_t i = 0; i < table->slot_count; i++) {
        struct rlt_handle *handle = handle_at(table, i);
        if (handle != NULL) {
            rlt_handle_release(handle);
        }
    }
    rlt_memory_free(table->slots);
    rlt_topic_set_fini(&table->by_key);
}

void rlt_handle_table_free_over(struct rlt_handle_table *table)
{
    while (table->over != NULL) {
        struct rlt_handle *handle = table->over;
        table->over = handle->next;
        free_handle(table, handle);
    }
}

/* ---- The end of a subscription ------------------------------------------------------------ */

static void ask(roulette_client *client, struct rlt_member *member, enum rlt_ask what)
{
    rlt_shard_ask(&client->shards[member->mailbox->cluster], member, what);
}

void rlt_handle_member_done(struct rlt_handle_table *table, struct rlt_handle *handle, bool keep)
{
    RLT_ASSERT(handle->pending > 0);
    if (--handle->pending != 0) {
        return;
    }
    if (keep) {
        handle->next = table->over;
        table->over = handle;
    } else {
        free_handle(table, handle);
    }
}

void rlt_subscriber_end(struct roulette_subscriber *subscriber, struct rlt_handle *handle,
                        const struct rlt_member *ended)
{
    roulette_client *client = subscriber->client;
    RLT_ASSERT(!handle->over);
    handle->over = true;
    subscriber->handles.over_count++;
    rlt_topic_set_remove(&subscriber->handles.by_key, index_of(handle));
    /* When the client closes meanwhile, the event threads end all members by themselves. */
    if (handle->member_count == (ended != NULL ? 1 : 0) || !rlt_client_enter(client)) {
        return;
    }
    handle->leaving = true;
    for (uint32_t i = 0; i < handle->member_count; i++) {
        struct rlt_member *member = &handle->members[i];
        if (member != ended && !member->left) {
            ask(client, member, RLT_ASK_UNSUBSCRIBE);
        }
    }
    rlt_client_leave(client);
}

/*
 * Give back handles that are over, though the user does not receive. Looked for when they have
 * doubled: what is left then may be kept by something in front of it, or the event thread is
 * behind.
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
    table->over_look = rlt_max_u32(OVER_FEW, 2 * table->over_count);
    return all_seen || table->over_count < max ? 0 : ROULETTE_EBUSY;
}

void rlt_subscriber_end_all(struct roulette_subscriber *subscriber)
{
    struct rlt_handle_table *table = &subscriber->handles;
    for (uint32_t i = 0; i < table->slot_count; i++) {
        struct rlt_handle *handle = handle_at(table, i);
        if (handle != NULL && !handle->over) {
            rlt_subscriber_end(subscriber, handle, NULL);
        }
    }
}

bool rlt_subscriber_ask_all(struct roulette_subscriber *subscriber, enum rlt_ask what)
{
    struct rlt_handle_table *table = &subscriber->handles;
    if (!rlt_client_enter(subscriber->client)) {
        return false;
    }
    for (uint32_t i = 0; i < table->slot_count; i++) {
        struct rlt_handle *handle = handle_at(table, i);
        for (uint32_t j = 0; handle != NULL && !handle->over && j < handle->member_count; j++) {
            ask(subscriber->client, &handle->members[j], what);
        }
    }
    rlt_client_leave(subscriber->client);
    return true;
}

void rlt_subscriber_complete(struct roulette_subscriber *subscriber, struct rlt_handle *handle,
                             uint32_t cluster)
{
    struct rlt_handle_table *table = &subscriber->handles;
    handle->last_cluster = (uint16_t)cluster;
    handle->completed = true;
    /* It stays until the user was told, beyond its members' last notices. */
    handle->pending++;
    handle->next = table->completed;
    table->completed = handle;
    rlt_subscriber_end(subscriber, handle, NULL);
}

struct rlt_handle *rlt_handle_table_take_completed(struct rlt_handle_table *table)
{
    struct rlt_handle *handle = table->completed;
    if (handle != NULL) {
        table->completed = handle->next;
        rlt_handle_member_done(table, handle, true);
    }
    return handle;
}

/* ---- Subscribe ---------------------------------------------------------------------------- */

/* The subscriber's mailbox on a cluster, made at the first need. */
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
struct wish {
    const char *topic;
    size_t topic_len;
    const char *group; /* NULL: none */
    size_t group_len;
    bool wildcard;
    struct rlt_place place; /* of a literal topic */
    uint32_t member_count;
};

/* Put a handle into the table, with mailboxes; nothing is told to the event threads yet. */
static int prepare(struct roulette_subscriber *subscriber, const struct wish *wish,
                   struct rlt_handle *handle)
{
    for (uint32_t i = 0; i < wish->member_count; i++) {
        uint32_t cluster = wish->wildcard ? i : wish->place.cluster;
        int result = open_mailbox(subscriber, cluster);
        if (result < 0) {
            return result;
        }
        handle->members[i].mailbox = subscriber->mailboxes[cluster];
        handle->members[i].own.connection = (uint8_t)wish->place.connection;
    }
    handle->pending = (uint16_t)wish->member_count;
    return add_handle(&subscriber->handles, handle);
}

static int check_wish(struct roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                      const char *group, struct wish *wish)
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
    *wish = (struct wish){
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

/* The first refusal of a server, on the clusters that have answered. */
static int refusal_of(const struct rlt_handle *handle, uint32_t *cluster)
{
    for (uint32_t i = 0; i < handle->member_count; i++) {
        /* Relaxed: written before the fence's PONG was reported. */
        int error = atomic_load_explicit(&handle->members[i].end_error, memory_order_relaxed);
        if (error < 0) {
            *cluster = handle->members[i].mailbox->cluster;
            return error;
        }
    }
    return 0;
}

/*
 * Wait until the servers know of a subscription; if they refuse it, or all in vain, end it. Where
 * only some are away it stays: it is live on the others, and made on these when they come.
 *
 * Returns: 0; how many clusters have not answered; an error.
 */
static int confirm(struct roulette_subscriber *subscriber, struct rlt_handle *handle,
                   const struct wish *wish, int timeout_ms)
{
    const struct rlt_fence_wish fence = {
        .one_cluster = !wish->wildcard,
        .place = wish->place,
        .scope = RLT_FENCE_SUBSCRIPTION,
    };
    struct rlt_fence_outcome outcome;
    int result = rlt_client_fence(subscriber->client, &fence, timeout_ms, &outcome);
    bool partly = result == ROULETTE_ETIMEDOUT && outcome.passed != 0;
    int refusal = result == 0 || partly ? refusal_of(handle, &outcome.first) : 0;
    if (refusal < 0) {
        outcome.failed = 1;
        outcome.late = 0;
        result = refusal;
    } else if (partly) {
        rlt_reason_partly(subscriber->client, &outcome);
        return (int)outcome.late;
    }
    if (result < 0) {
        rlt_subscriber_end(subscriber, handle, NULL);
        return rlt_reason_of_wait(subscriber->client, &outcome, result);
    }
    return 0;
}

static int subscribe(struct roulette_subscriber *subscriber, const struct wish *wish,
                     const struct roulette_subscription_options *options, struct rlt_handle *handle)
{
    roulette_client *client = subscriber->client;
    if (!rlt_client_enter(client)) {
        return rlt_client_gone(client);
    }
    handle->user_data = options->user_data;
    handle->left = options->max_messages;
    int result = prepare(subscriber, wish, handle);
    for (uint32_t i = 0; result == 0 && i < handle->member_count; i++) {
        ask(client, &handle->members[i], RLT_ASK_SUBSCRIBE);
    }
    rlt_client_leave(client);
    return result;
}

static int subscribe_once(struct roulette_subscriber *subscriber, const struct wish *wish,
                          const struct roulette_subscription_options *options,
                          struct rlt_handle **created)
{
    struct rlt_handle *handle =
        rlt_handle_create(wish->topic, wish->topic_len, wish->group, wish->group_len,
                          wish->member_count, options->max_messages);
    if (handle == NULL) {
        return ROULETTE_ENOMEM;
    }
    struct rlt_topic_key key = rlt_handle_key(handle);
    struct rlt_handle *existing = find_key(&subscriber->handles, &key);
    int result = existing != NULL ? ROULETTE_EEXIST : subscribe(subscriber, wish, options, handle);
    if (result < 0) {
        rlt_handle_release(handle);
    }
    *created = existing != NULL ? existing : handle;
    return result;
}

/* The defaults, and over them what was given. */
static int complete(const struct roulette_subscription_options *given,
                    struct roulette_subscription_options *options)
{
    static const struct rlt_options_kind kind = {
        .prefix = "subscription ",
        .init = "roulette_subscription_options_init()",
        .size = sizeof(*options),
        .size_min =
            offsetof(struct roulette_subscription_options, user_data) + sizeof(options->user_data),
    };
    roulette_subscription_options_init(options);
    return given != NULL ? rlt_options_take(&kind, given, options) : 0;
}

/* The subscriber and the topic are not NULL. */
static int subscribe_with(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                          const struct roulette_subscription_options *given,
                          roulette_subscription **subscription)
{
    struct roulette_subscription_options options;
    struct wish wish = {0};
    int result = complete(given, &options);
    if (result == 0) {
        result = check_wish(subscriber, topic, topic_len, options.queue_group, &wish);
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
    struct rlt_handle *handle = NULL;
    result = subscribe_once(subscriber, &wish, &options, &handle);
    if ((result == 0 || result == ROULETTE_EEXIST) && subscription != NULL) {
        *subscription = rlt_handle_name(handle);
    }
    if (result == ROULETTE_EEXIST) {
        return rlt_topic_refuse(result, "topic", "is taken", topic, wish.topic_len, NULL);
    }
    if (result < 0) {
        return rlt_error_set_plain(result);
    }
    return options.timeout_ms != 0 ? confirm(subscriber, handle, &wish, options.timeout_ms) : 0;
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

/* End a subscription that was looked for: NULL if it was not found. */
static int unsubscribe(struct roulette_subscriber *subscriber, struct rlt_handle *found)
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
    int result = unsubscribe(subscriber, find_handle(&subscriber->handles, subscription));
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
    struct rlt_handle *found = find_key(&subscriber->handles, &key);
    int result = found != NULL ? unsubscribe(subscriber, found)
                               : rlt_topic_refuse(ROULETTE_ENOENT, "topic", "is not subscribed to",
                                                  topic, topic_len, NULL);
    rlt_owner_leave(subscriber);
    return result;
}
