/* SPDX-License-Identifier: MIT */
#include "core/delivery/subscription.h"

#include <string.h>

#include "base/memory.h"
#include "core/seam/ring.h"
#include "proto/address.h"
#include "roulette.h"
#include "support/test.h"

static void check_key(const struct rlt_subscription *subscription, const char *text)
{
    struct rlt_topic_key key = rlt_subscription_key(subscription);
    cr_assert_eq(key.len, strlen(text));
    cr_assert_arr_eq(key.topic, text, key.len);
    cr_assert_eq(key.hash, rlt_ring_hash(text, key.len));
}

Test(subscription, has_its_own_copy_of_the_topic)
{
    char topic[] = "room.1";
    struct rlt_subscription *subscription = rlt_subscription_create(topic, 6, NULL, 0, 1, 0);
    memset(topic, 'x', 6);
    check_key(subscription, "room.1");
    cr_assert_not(subscription->members[0].own.exclusive);
    rlt_subscription_release(subscription);
}

Test(subscription, of_a_queue_group_has_the_key_that_sub_has)
{
    struct rlt_subscription *subscription =
        rlt_subscription_create("room.1.x", 6, "group", 5, 1, 0);
    check_key(subscription, "room.1 group");
    cr_assert(subscription->members[0].own.exclusive);
    rlt_subscription_release(subscription);
}

Test(subscription, longest_topic_and_group_fit)
{
    static char text[ROULETTE_TOPIC_LEN_MAX];
    memset(text, 'x', sizeof(text));
    struct rlt_subscription *subscription =
        rlt_subscription_create(text, sizeof(text), text, sizeof(text), 1, 0);
    struct rlt_topic_key key = rlt_subscription_key(subscription);
    cr_assert_eq(key.len, 2 * sizeof(text) + 1);
    cr_assert_eq(key.topic[sizeof(text)], ' ');
    rlt_subscription_release(subscription);
}

Test(subscription, each_member_knows_its_handle)
{
    struct rlt_subscription *subscription =
        rlt_subscription_create("room.*", 6, NULL, 0, RLT_CLUSTERS_MAX, 0);
    check_key(subscription, "room.*");
    for (uint32_t i = 0; i < RLT_CLUSTERS_MAX; i++) {
        struct rlt_member *member = &subscription->members[i];
        cr_assert_eq(rlt_subscription_of(member), subscription);
        cr_assert_eq(rlt_interest_key(&member->own).topic,
                     rlt_subscription_key(subscription).topic);
    }
    rlt_subscription_release(subscription);
}

Test(subscription, what_is_asked_together_is_one_command)
{
    struct rlt_subscription *subscription = rlt_subscription_create("a", 1, NULL, 0, 2, 0);
    struct rlt_member *member = &subscription->members[0];
    cr_assert_eq(member->command.kind, RLT_COMMAND_MEMBER);
    cr_assert(rlt_member_ask(member, RLT_ASK_SUBSCRIBE));
    cr_assert_not(rlt_member_ask(member, RLT_ASK_DRAIN));
    cr_assert_not(rlt_member_ask(member, RLT_ASK_UNSUBSCRIBE));
    cr_assert_eq(atomic_exchange(&member->command.asked, 0),
                 RLT_ASK_SUBSCRIBE | RLT_ASK_DRAIN | RLT_ASK_UNSUBSCRIBE);
    cr_assert(rlt_member_ask(member, RLT_ASK_FINISH));
    cr_assert(rlt_member_ask(&subscription->members[1], RLT_ASK_FINISH));
    rlt_subscription_release(subscription);
}

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(subscription, without_memory_there_is_none)
{
    rlt_memory_set_gate(refuse, NULL);
    struct rlt_subscription *subscription = rlt_subscription_create("a", 1, NULL, 0, 1, 0);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_null(subscription);
}
