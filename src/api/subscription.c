/* SPDX-License-Identifier: MIT */
#include "api/subscription.h"

#include <string.h>

#include "api/subscriber.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/cluster.h"
#include "proto/topic.h"

#define INDEX_BITS  24
#define HANDLES_MAX ((UINT32_C(1) << INDEX_BITS) - 2)
#define SLOTS_FIRST 64

/* ---- The table ---------------------------------------------------------------------------- */

static struct rlt_handle *find_handle(const struct rlt_handle_table *table,
                                      const roulette_subscription *subscription)
{
    uint64_t value = (uint64_t)(uintptr_t)subscription;
    uint64_t index = (value & ((UINT64_C(1) << INDEX_BITS) - 1)) - 1;
    if (index >= table->slot_count) {
        return NULL;
    }
    const struct rlt_handle_slot *slot = &table->slots[index];
    bool live = slot->handle != NULL && slot->serial == value >> INDEX_BITS;
    return live && !slot->handle->over ? slot->handle : NULL;
}

static int grow_slots(struct rlt_handle_table *table)
{
    uint32_t count = table->slot_count != 0 ? table->slot_count * 2 : SLOTS_FIRST;
    if (count > HANDLES_MAX) {
        return ROULETTE_EBUSY;
    }
    struct rlt_handle_slot *slots = rlt_memory_resize(table->slots, count * sizeof(*table->slots));
    if (slots == NULL) {
        return ROULETTE_ENOMEM;
    }
    for (uint32_t i = table->slot_count; i < count; i++) {
        slots[i] = (struct rlt_handle_slot){.free_next = i + 1};
    }
    table->slots = slots;
    table->slot_count = count;
    return 0;
}

/* 40 bits: a million subscriptions a second for 12 days. */
static uint64_t next_serial(void)
{
    static _Atomic(uint64_t) last;
    /* Relaxed: only uniqueness counts. */
    uint64_t serial = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed);
    return serial & (UINT64_MAX >> INDEX_BITS);
}

/* Put a handle into a slot; its index and serial number are its public name. */
static int add_handle(struct rlt_handle_table *table, struct rlt_handle *handle)
{
    if (table->slot_free == table->slot_count) {
        int result = grow_slots(table);
        if (result < 0) {
            return result;
        }
    }
    int result = rlt_topic_set_add(&table->by_key, &handle->key);
    if (result < 0) {
        return result;
    }
    handle->index = table->slot_free;
    struct rlt_handle_slot *slot = &table->slots[handle->index];
    table->slot_free = slot->free_next;
    slot->handle = handle;
    slot->serial = next_serial();
    uint64_t name = (slot->serial << INDEX_BITS) | (handle->index + 1);
    handle->name = (roulette_subscription *)(uintptr_t)name;
    return 0;
}

static void free_handle(struct rlt_handle *handle)
{
    struct rlt_handle_table *table = &handle->subscriber->handles;
    struct rlt_handle_slot *slot = &table->slots[handle->index];
    slot->handle = NULL;
    slot->free_next = table->slot_free;
    table->slot_free = handle->index;
    rlt_memory_free((void *)(uintptr_t)handle->key.topic);
    rlt_memory_free(handle);
}

int rlt_handle_table_init(struct rlt_handle_table *table)
{
    memset(table, 0, sizeof(*table));
    return rlt_topic_set_init(&table->by_key);
}

void rlt_handle_table_fini(struct rlt_handle_table *table)
{
    for (uint32_t i = 0; i < table->slot_count; i++) {
        if (table->slots[i].handle != NULL) {
            free_handle(table->slots[i].handle);
        }
    }
    rlt_memory_free(table->slots);
    rlt_topic_set_fini(&table->by_key);
}

void rlt_handle_table_end_all(struct rlt_handle_table *table)
{
    for (uint32_t i = 0; i < table->slot_count; i++) {
        struct rlt_handle *handle = table->slots[i].handle;
        if (handle != NULL && !handle->over) {
            rlt_handle_end(handle, NULL);
        }
    }
}

bool rlt_handle_table_submit_all(struct rlt_handle_table *table, roulette_client *client,
                                 enum rlt_command_kind kind)
{
    if (!rlt_client_enter(client)) {
        return false;
    }
    for (uint32_t i = 0; i < table->slot_count; i++) {
        struct rlt_handle *handle = table->slots[i].handle;
        for (uint32_t j = 0; handle != NULL && !handle->over && j < handle->member_count; j++) {
            struct rlt_member *member = &handle->members[j];
            member->drain.kind = kind;
            rlt_shard_submit(&client->shards[member->mailbox->cluster], &member->drain);
        }
    }
    rlt_client_leave(client);
    return true;
}

void rlt_handle_table_free_over(struct rlt_handle_table *table)
{
    while (table->over != NULL) {
        struct rlt_handle *handle = table->over;
        table->over = handle->over_next;
        free_handle(handle);
    }
}

/* ---- The end of a subscription ------------------------------------------------------------ */

void rlt_handle_member_done(struct rlt_handle *handle, bool keep)
{
    struct rlt_handle_table *table = &handle->subscriber->handles;
    RLT_ASSERT(handle->pending > 0);
    if (--handle->pending != 0) {
        return;
    }
    if (keep) {
        handle->over_next = table->over;
        table->over = handle;
    } else {
        free_handle(handle);
    }
}

void rlt_handle_end(struct rlt_handle *handle, const struct rlt_member *ended)
{
    roulette_client *client = handle->subscriber->client;
    RLT_ASSERT(!handle->over);
    handle->over = true;
    rlt_topic_set_remove(&handle->subscriber->handles.by_key, &handle->key);
    /* When the client closes meanwhile, the event threads end all members by themselves. */
    if (handle->member_count == (ended != NULL ? 1 : 0) || !rlt_client_enter(client)) {
        return;
    }
    handle->leaving = true;
    for (uint32_t i = 0; i < handle->member_count; i++) {
        struct rlt_member *member = &handle->members[i];
        if (member != ended && !member->left) {
            rlt_shard_submit(&client->shards[member->mailbox->cluster], &member->unsubscribe);
        }
    }
    rlt_client_leave(client);
}

void rlt_handle_count(struct rlt_handle *handle, uint32_t cluster)
{
    if (rlt_likely(handle->left == 0) || --handle->left != 0) {
        return;
    }
    struct rlt_handle_table *table = &handle->subscriber->handles;
    handle->last_cluster = cluster;
    /* It stays until the user was told, beyond its members' last notices. */
    handle->pending++;
    handle->over_next = table->completed;
    table->completed = handle;
    rlt_handle_end(handle, NULL);
}

struct rlt_handle *rlt_handle_table_take_completed(struct rlt_handle_table *table)
{
    struct rlt_handle *handle = table->completed;
    if (handle != NULL) {
        table->completed = handle->over_next;
        rlt_handle_member_done(handle, true);
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
        .pinned_max = subscriber->pinned_bytes / config->slab_bytes,
        .cluster = cluster,
        .doorbell = &subscriber->doorbell,
        .descriptor = subscriber->descriptor,
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

/*
 * The key of a subscription: its topic; with a queue group the topic, a space and the group, as
 * SUB has them. No topic contains a space, so the two never meet.
 */
static char *make_key(const struct wish *wish, struct rlt_topic_key *key)
{
    size_t len = wish->topic_len + (wish->group != NULL ? wish->group_len + 1 : 0);
    char *text = rlt_memory_alloc(1, len + 1);
    if (text == NULL) {
        return NULL;
    }
    memcpy(text, wish->topic, wish->topic_len);
    if (wish->group != NULL) {
        text[wish->topic_len] = ' ';
        memcpy(text + wish->topic_len + 1, wish->group, wish->group_len);
    }
    *key = (struct rlt_topic_key){text, len, rlt_ring_hash(text, len)};
    return text;
}

/* A handle for a wish; takes the key's text over on success. */
static struct rlt_handle *create_handle(struct roulette_subscriber *subscriber,
                                        const struct wish *wish, const struct rlt_topic_key *key)
{
    struct rlt_handle *handle =
        rlt_memory_alloc(1, sizeof(*handle) + wish->member_count * sizeof(struct rlt_member));
    if (handle == NULL) {
        return NULL;
    }
    handle->key = *key;
    handle->subscriber = subscriber;
    handle->member_count = wish->member_count;
    handle->pending = wish->member_count;
    for (uint32_t i = 0; i < wish->member_count; i++) {
        struct rlt_member *member = &handle->members[i];
        member->subscribe.kind = RLT_COMMAND_SUBSCRIBE;
        member->unsubscribe.kind = RLT_COMMAND_UNSUBSCRIBE;
        member->mailbox = subscriber->mailboxes[wish->wildcard ? i : wish->place.cluster];
        member->key = *key;
        member->exclusive = wish->group != NULL;
        member->connection = wish->place.connection;
        member->handle = handle;
    }
    return handle;
}

/* Make a handle with all it needs; nothing is told to the event threads yet. */
static int prepare(struct roulette_subscriber *subscriber, const struct wish *wish,
                   struct rlt_topic_key *key, struct rlt_handle **created)
{
    for (uint32_t i = 0; i < wish->member_count; i++) {
        int result = open_mailbox(subscriber, wish->wildcard ? i : wish->place.cluster);
        if (result < 0) {
            return result;
        }
    }
    struct rlt_handle *handle = create_handle(subscriber, wish, key);
    if (handle == NULL) {
        return ROULETTE_ENOMEM;
    }
    int result = add_handle(&subscriber->handles, handle);
    if (result < 0) {
        rlt_memory_free(handle);
        return result;
    }
    *created = handle;
    return 0;
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
        return rlt_error_set(wildcard, "the topic cannot be subscribed to: %s", reason);
    }
    size_t group_len = group != NULL ? strlen(group) : 0;
    if (group != NULL && rlt_topic_check_group(group, group_len, &reason) < 0) {
        return rlt_error_set(ROULETTE_ETOPIC, "the queue group is not valid: %s", reason);
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

/* Wait until the servers know of a subscription; if they refuse it, or in vain, end it. */
static int confirm(struct rlt_handle *handle, const struct wish *wish, int timeout_ms)
{
    int cluster = wish->wildcard ? RLT_ALL_CLUSTERS : (int)wish->place.cluster;
    int result = rlt_client_fence(handle->subscriber->client, cluster, timeout_ms);
    for (uint32_t i = 0; i < handle->member_count && result == 0; i++) {
        /* Relaxed: written before the fence's PONG was reported. */
        result = atomic_load_explicit(&handle->members[i].end_error, memory_order_relaxed);
    }
    if (result < 0) {
        rlt_handle_end(handle, NULL);
    }
    return result;
}

static int subscribe(struct roulette_subscriber *subscriber, const struct wish *wish,
                     struct rlt_topic_key *key, const struct roulette_subscription_options *options,
                     struct rlt_handle **created)
{
    roulette_client *client = subscriber->client;
    if (!rlt_client_enter(client)) {
        return rlt_client_gone(client);
    }
    struct rlt_handle *handle;
    int result = prepare(subscriber, wish, key, &handle);
    if (result == 0) {
        handle->user_data = options->user_data;
        handle->left = options->max_messages;
        for (uint32_t i = 0; i < handle->member_count; i++) {
            struct rlt_member *member = &handle->members[i];
            rlt_shard_submit(&client->shards[member->mailbox->cluster], &member->subscribe);
        }
        *created = handle;
    }
    rlt_client_leave(client);
    return result;
}

int roulette_subscribe_with(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                            const struct roulette_subscription_options *given,
                            roulette_subscription **subscription)
{
    if (subscriber == NULL || topic == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or topic is NULL");
    }
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    if (given != NULL) {
        memcpy(&options, given, rlt_min_size(given->size, sizeof(options)));
    }
    struct wish wish = {0};
    struct rlt_topic_key key;
    int result = check_wish(subscriber, topic, topic_len, options.queue_group, &wish);
    if (result < 0) {
        return result;
    }
    char *text = make_key(&wish, &key);
    if (text == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    struct rlt_handle *handle = NULL;
    struct rlt_topic_key *existing = rlt_topic_set_find(&subscriber->handles.by_key, &key);
    if (existing != NULL) {
        handle = rlt_container_of(existing, struct rlt_handle, key);
        result = ROULETTE_EEXIST;
    } else {
        result = subscribe(subscriber, &wish, &key, &options, &handle);
    }
    if (result < 0) {
        rlt_memory_free(text);
    }
    if ((result == 0 || result == ROULETTE_EEXIST) && subscription != NULL) {
        *subscription = handle->name;
    }
    if (result == 0 && options.timeout_ms != 0) {
        result = confirm(handle, &wish, options.timeout_ms);
    }
    return result < 0 ? rlt_error_set_plain(result) : 0;
}

int roulette_subscribe(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                       void *user_data, roulette_subscription **subscription)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.user_data = user_data;
    return roulette_subscribe_with(subscriber, topic, topic_len, &options, subscription);
}

int roulette_unsubscribe(roulette_subscriber *subscriber, roulette_subscription *subscription)
{
    if (subscriber == NULL || subscription == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or subscription is NULL");
    }
    struct rlt_handle *handle = find_handle(&subscriber->handles, subscription);
    if (handle == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOENT);
    }
    rlt_handle_end(handle, NULL);
    return 0;
}

int roulette_unsubscribe_topic(roulette_subscriber *subscriber, const char *topic, size_t topic_len)
{
    if (subscriber == NULL || topic == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or topic is NULL");
    }
    topic_len = rlt_text_len(topic, topic_len);
    struct rlt_topic_key key = {topic, topic_len, rlt_ring_hash(topic, topic_len)};
    struct rlt_topic_key *existing = rlt_topic_set_find(&subscriber->handles.by_key, &key);
    if (existing == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOENT);
    }
    rlt_handle_end(rlt_container_of(existing, struct rlt_handle, key), NULL);
    return 0;
}
