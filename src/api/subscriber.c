/* SPDX-License-Identifier: MIT */
#include "api/subscriber.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/cluster.h"
#include "io/park.h"
#include "proto/topic.h"

#define INDEX_BITS  24
#define HANDLES_MAX ((UINT32_C(1) << INDEX_BITS) - 2)
#define SLOTS_FIRST 64
#define RING_MIN    16
#define RING_MAX    (UINT32_C(1) << 28)

/* ---- Handles ------------------------------------------------------------------------------ */

static struct rlt_handle *find_handle(const struct roulette_subscriber *subscriber,
                                      const roulette_subscription *subscription)
{
    uint64_t value = (uint64_t)(uintptr_t)subscription;
    uint64_t index = (value & ((UINT64_C(1) << INDEX_BITS) - 1)) - 1;
    if (index >= subscriber->slot_count) {
        return NULL;
    }
    const struct rlt_handle_slot *slot = &subscriber->slots[index];
    bool live = slot->handle != NULL && slot->serial == value >> INDEX_BITS;
    return live && !slot->handle->over ? slot->handle : NULL;
}

static int grow_slots(struct roulette_subscriber *subscriber)
{
    uint32_t count = subscriber->slot_count != 0 ? subscriber->slot_count * 2 : SLOTS_FIRST;
    if (count > HANDLES_MAX) {
        return ROULETTE_EBUSY;
    }
    struct rlt_handle_slot *slots =
        rlt_memory_resize(subscriber->slots, count * sizeof(*subscriber->slots));
    if (slots == NULL) {
        return ROULETTE_ENOMEM;
    }
    for (uint32_t i = subscriber->slot_count; i < count; i++) {
        slots[i] = (struct rlt_handle_slot){.free_next = i + 1};
    }
    subscriber->slots = slots;
    subscriber->slot_count = count;
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
static int add_handle(struct roulette_subscriber *subscriber, struct rlt_handle *handle)
{
    if (subscriber->slot_free == subscriber->slot_count) {
        int result = grow_slots(subscriber);
        if (result < 0) {
            return result;
        }
    }
    int result = rlt_topic_set_add(&subscriber->by_topic, &handle->key);
    if (result < 0) {
        return result;
    }
    handle->index = subscriber->slot_free;
    struct rlt_handle_slot *slot = &subscriber->slots[handle->index];
    subscriber->slot_free = slot->free_next;
    slot->handle = handle;
    slot->serial = next_serial();
    uint64_t name = (slot->serial << INDEX_BITS) | (handle->index + 1);
    handle->name = (roulette_subscription *)(uintptr_t)name;
    subscriber->handle_count++;
    return 0;
}

static void free_handle(struct rlt_handle *handle)
{
    struct roulette_subscriber *subscriber = handle->subscriber;
    struct rlt_handle_slot *slot = &subscriber->slots[handle->index];
    slot->handle = NULL;
    slot->free_next = subscriber->slot_free;
    subscriber->slot_free = handle->index;
    subscriber->handle_count--;
    rlt_memory_free((void *)(uintptr_t)handle->key.topic);
    rlt_memory_free(handle);
}

void rlt_handle_member_done(struct rlt_handle *handle, bool keep)
{
    RLT_ASSERT(handle->pending > 0);
    if (--handle->pending != 0) {
        return;
    }
    if (keep) {
        handle->over_next = handle->subscriber->over;
        handle->subscriber->over = handle;
    } else {
        free_handle(handle);
    }
}

void rlt_handle_end(struct rlt_handle *handle, const struct rlt_member *ended)
{
    roulette_client *client = handle->subscriber->client;
    RLT_ASSERT(!handle->over);
    handle->over = true;
    rlt_topic_set_remove(&handle->subscriber->by_topic, &handle->key);
    /* When the client closes meanwhile, the event threads end all members by themselves. */
    if (handle->member_count == (ended != NULL ? 1 : 0) || !rlt_client_enter(client)) {
        return;
    }
    handle->leaving = true;
    for (uint32_t i = 0; i < handle->member_count; i++) {
        struct rlt_member *member = &handle->members[i];
        if (member != ended) {
            rlt_shard_submit(&client->shards[member->mailbox->cluster], &member->unsubscribe);
        }
    }
    rlt_client_leave(client);
}

void rlt_subscriber_free_over(struct roulette_subscriber *subscriber)
{
    while (subscriber->over != NULL) {
        struct rlt_handle *handle = subscriber->over;
        subscriber->over = handle->over_next;
        free_handle(handle);
    }
}

/* ---- Open and close ----------------------------------------------------------------------- */

void rlt_subscribers_wake(roulette_client *client)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    for (struct roulette_subscriber *i = client->subscribers; i != NULL; i = i->next) {
        rlt_park_descriptor_signal(i->descriptor);
    }
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}

static void enlist(roulette_client *client, struct roulette_subscriber *subscriber)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    subscriber->next = client->subscribers;
    subscriber->prev_link = &client->subscribers;
    if (subscriber->next != NULL) {
        subscriber->next->prev_link = &subscriber->next;
    }
    client->subscribers = subscriber;
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}

static void delist(roulette_client *client, struct roulette_subscriber *subscriber)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    *subscriber->prev_link = subscriber->next;
    if (subscriber->next != NULL) {
        subscriber->next->prev_link = subscriber->prev_link;
    }
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}

static int check_options(const struct roulette_client *client,
                         const struct roulette_subscriber_options *given,
                         struct roulette_subscriber_options *options)
{
    roulette_subscriber_options_init(options);
    if (given != NULL) {
        memcpy(options, given, rlt_min_size(given->size, sizeof(*options)));
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
    rlt_topic_set_fini(&subscriber->by_topic);
    rlt_memory_free(subscriber->slots);
    rlt_park_descriptor_destroy(subscriber->descriptor);
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
        return rlt_error_set_plain(ROULETTE_ECLOSED);
    }
    struct roulette_subscriber *subscriber =
        rlt_memory_alloc_aligned(RLT_CACHE_LINE, sizeof(*subscriber));
    if (subscriber == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    memset(subscriber, 0, sizeof(*subscriber));
    subscriber->client = client;
    subscriber->ring_slots = options.ring_slots;
    subscriber->pinned_bytes = options.pinned_bytes;
    subscriber->mailboxes = rlt_memory_alloc(client->cluster_count, sizeof(*subscriber->mailboxes));
    subscriber->descriptor = rlt_park_descriptor_create();
    result = subscriber->descriptor < 0 ? subscriber->descriptor : 0;
    if (subscriber->mailboxes == NULL || rlt_topic_set_init(&subscriber->by_topic) < 0) {
        result = ROULETTE_ENOMEM;
    }
    if (result < 0) {
        free_subscriber(subscriber);
        return rlt_error_set_plain(result);
    }
    rlt_client_acquire(client);
    enlist(client, subscriber);
    *created = subscriber;
    return 0;
}

/* References that unreleased messages hold end with the subscriber. */
static void release_unreleased(struct roulette_subscriber *subscriber)
{
    roulette_client *client = subscriber->client;
    for (size_t i = 0; i < client->cluster_count; i++) {
        struct rlt_mailbox *mailbox = subscriber->mailboxes[i];
        struct rlt_slab_pool *pool = &client->shards[i].cluster->slabs;
        for (uint32_t slab = 0; mailbox != NULL && slab < mailbox->slab_indexes; slab++) {
            /* Relaxed: both sides have stopped, as the last notices or the stop have shown. */
            uint32_t released =
                atomic_load_explicit(&mailbox->released[slab], memory_order_relaxed);
            uint32_t held = mailbox->issued[slab] - released;
            /* More released than received: a struct was copied and both were released. */
            RLT_ASSERT(held <= INT32_MAX);
            if (held != 0) {
                rlt_slab_release(rlt_slab_at(pool, slab), held);
            }
        }
    }
}

void roulette_subscriber_close(roulette_subscriber *subscriber)
{
    if (subscriber == NULL) {
        return;
    }
    roulette_client *client = subscriber->client;
    rlt_subscriber_free_over(subscriber);
    for (uint32_t i = 0; i < subscriber->slot_count; i++) {
        struct rlt_handle *handle = subscriber->slots[i].handle;
        if (handle != NULL && !handle->over) {
            rlt_handle_end(handle, NULL);
        }
    }
    /* The event threads have taken out all members then, and touch nothing of ours any more. */
    rlt_client_sync(client);
    delist(client, subscriber);
    for (uint32_t i = 0; i < subscriber->slot_count; i++) {
        if (subscriber->slots[i].handle != NULL) {
            free_handle(subscriber->slots[i].handle);
        }
    }
    release_unreleased(subscriber);
    free_subscriber(subscriber);
    rlt_client_release(client);
}

int roulette_subscriber_fd(const roulette_subscriber *subscriber)
{
    if (subscriber == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber is NULL");
    }
    return subscriber->descriptor;
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

static struct rlt_handle *create_handle(struct roulette_subscriber *subscriber, const char *topic,
                                        size_t len, uint64_t hash, uint32_t member_count)
{
    struct rlt_handle *handle =
        rlt_memory_alloc(1, sizeof(*handle) + member_count * sizeof(struct rlt_member));
    char *copy = rlt_memory_copy_text(topic, len);
    if (handle == NULL || copy == NULL) {
        rlt_memory_free(handle);
        rlt_memory_free(copy);
        return NULL;
    }
    handle->key = (struct rlt_topic_key){copy, len, hash};
    handle->subscriber = subscriber;
    handle->member_count = member_count;
    handle->pending = member_count;
    return handle;
}

/* Prepare the member of one cluster; its mailbox is there. */
static void fill_member(struct rlt_handle *handle, uint32_t index, struct rlt_place place)
{
    struct rlt_member *member = &handle->members[index];
    member->subscribe.kind = RLT_COMMAND_SUBSCRIBE;
    member->unsubscribe.kind = RLT_COMMAND_UNSUBSCRIBE;
    member->mailbox = handle->subscriber->mailboxes[place.cluster];
    member->key = handle->key;
    member->connection = place.connection;
    member->handle = handle;
}

/* Make a handle with all it needs; nothing is told to the event threads yet. */
static int prepare(struct roulette_subscriber *subscriber, const char *topic, size_t len,
                   uint64_t hash, bool wildcard, struct rlt_handle **created)
{
    roulette_client *client = subscriber->client;
    struct rlt_place place = rlt_client_place(client, topic, len, hash);
    uint32_t count = wildcard ? (uint32_t)client->cluster_count : 1;
    for (uint32_t i = 0; i < count; i++) {
        int result = open_mailbox(subscriber, wildcard ? i : place.cluster);
        if (result < 0) {
            return result;
        }
    }
    struct rlt_handle *handle = create_handle(subscriber, topic, len, hash, count);
    if (handle == NULL) {
        return ROULETTE_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        place.cluster = wildcard ? i : place.cluster;
        fill_member(handle, i, place);
    }
    int result = add_handle(subscriber, handle);
    if (result < 0) {
        rlt_memory_free((void *)(uintptr_t)handle->key.topic);
        rlt_memory_free(handle);
        return result;
    }
    *created = handle;
    return 0;
}

int roulette_subscribe(roulette_subscriber *subscriber, const char *topic, size_t topic_len,
                       void *user_data, roulette_subscription **subscription)
{
    if (subscriber == NULL || topic == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or topic is NULL");
    }
    topic_len = rlt_text_len(topic, topic_len);
    const char *reason = NULL;
    int wildcard = rlt_topic_check_pattern(topic, topic_len, &reason);
    if (wildcard < 0) {
        return rlt_error_set(wildcard, "the topic cannot be subscribed to: %s", reason);
    }
    uint64_t hash = rlt_ring_hash(topic, topic_len);
    struct rlt_topic_key key = {topic, topic_len, hash};
    struct rlt_topic_key *existing = rlt_topic_set_find(&subscriber->by_topic, &key);
    if (existing != NULL) {
        if (subscription != NULL) {
            *subscription = rlt_container_of(existing, struct rlt_handle, key)->name;
        }
        return rlt_error_set_plain(ROULETTE_EEXIST);
    }
    roulette_client *client = subscriber->client;
    if (!rlt_client_enter(client)) {
        return rlt_error_set_plain(ROULETTE_ECLOSED);
    }
    struct rlt_handle *handle;
    int result = prepare(subscriber, topic, topic_len, hash, wildcard == 1, &handle);
    if (result == 0) {
        handle->user_data = user_data;
        for (uint32_t i = 0; i < handle->member_count; i++) {
            struct rlt_member *member = &handle->members[i];
            rlt_shard_submit(&client->shards[member->mailbox->cluster], &member->subscribe);
        }
        if (subscription != NULL) {
            *subscription = handle->name;
        }
    }
    rlt_client_leave(client);
    return result < 0 ? rlt_error_set_plain(result) : 0;
}

int roulette_unsubscribe(roulette_subscriber *subscriber, roulette_subscription *subscription)
{
    if (subscriber == NULL || subscription == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber or subscription is NULL");
    }
    struct rlt_handle *handle = find_handle(subscriber, subscription);
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
    struct rlt_topic_key *existing = rlt_topic_set_find(&subscriber->by_topic, &key);
    if (existing == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOENT);
    }
    rlt_handle_end(rlt_container_of(existing, struct rlt_handle, key), NULL);
    return 0;
}
