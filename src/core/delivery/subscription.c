/* SPDX-License-Identifier: MIT */
#include "core/delivery/subscription.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "core/delivery/quota.h"
#include "core/seam/ring.h"
#include "proto/address.h"
#include "roulette.h"

/* Both fit into topic_len, with the space between them. */
static_assert(2 * ROULETTE_TOPIC_LEN_MAX + 1 <= UINT16_MAX, "of topics and queue groups");
static_assert(RLT_CLUSTERS_MAX - 1 <= UINT8_MAX, "of a member's number");

struct rlt_subscription *rlt_subscription_create(const char *topic, size_t topic_len,
                                                 const char *group, size_t group_len,
                                                 uint32_t member_count, uint64_t max_messages)
{
    RLT_ASSERT(topic_len <= ROULETTE_TOPIC_LEN_MAX && group_len <= ROULETTE_TOPIC_LEN_MAX);
    RLT_ASSERT(member_count > 0 && member_count <= RLT_CLUSTERS_MAX);
    size_t len = topic_len + (group != NULL ? group_len + 1 : 0);
    bool limited = group != NULL && max_messages != 0;
    size_t size = sizeof(struct rlt_subscription) + member_count * sizeof(struct rlt_member) + len;
    size += limited ? sizeof(uint64_t) + rlt_quota_size(member_count) : 0; /* aligned */
    struct rlt_subscription *subscription = rlt_memory_alloc(1, size);
    if (subscription == NULL) {
        return NULL;
    }
    atomic_init(&subscription->references, 1);
    subscription->topic_len = (uint16_t)len;
    subscription->member_count = (uint16_t)member_count;
    subscription->limited = limited;
    char *text = (char *)&subscription->members[member_count];
    memcpy(text, topic, topic_len);
    if (group != NULL) {
        text[topic_len] = ' ';
        memcpy(text + topic_len + 1, group, group_len);
    }
    subscription->hash = rlt_ring_hash(text, len);
    for (uint32_t i = 0; i < member_count; i++) {
        struct rlt_member *member = &subscription->members[i];
        member->number = (uint8_t)i;
        member->own.exclusive = group != NULL;
        member->own.counted = limited;
        member->command.kind = RLT_COMMAND_MEMBER;
    }
    if (limited) {
        atomic_init(&rlt_quota_of(&subscription->members[0].own)->left, max_messages);
    }
    return subscription;
}

void rlt_subscription_acquire(struct rlt_subscription *subscription)
{
    /* Relaxed: the caller's own reference keeps the block. */
    atomic_fetch_add_explicit(&subscription->references, 1, memory_order_relaxed);
}

void rlt_subscription_release(struct rlt_subscription *subscription)
{
    /* Release: the caller's accesses to the block come before its end. Acquire: all others' too. */
    if (atomic_fetch_sub_explicit(&subscription->references, 1, memory_order_acq_rel) == 1) {
        rlt_memory_free(subscription);
    }
}

bool rlt_member_ask(struct rlt_member *member, enum rlt_ask what)
{
    /* Partner both ways: rlt_membership_change(), where the event thread takes all requests.
     * Release: it sees what the owner thread wrote before. Acquire of the 0 that it left: it has
     * read the command's link to the next command, which the push overwrites. If it has not taken
     * an earlier request, it takes this one with it. */
    return atomic_fetch_or_explicit(&member->command.asked, (uint32_t)what, memory_order_acq_rel) ==
           0;
}
