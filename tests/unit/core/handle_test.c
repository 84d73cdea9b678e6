/* SPDX-License-Identifier: MIT */
#include "core/handle.h"

#include <string.h>

#include "base/memory.h"
#include "core/ring.h"
#include "proto/address.h"
#include "roulette.h"
#include "support/test.h"

static void check_key(const struct rlt_handle *handle, const char *text)
{
    struct rlt_topic_key key = rlt_handle_key(handle);
    cr_assert_eq(key.len, strlen(text));
    cr_assert_arr_eq(key.topic, text, key.len);
    cr_assert_eq(key.hash, rlt_ring_hash(text, key.len));
}

Test(handle, has_its_own_copy_of_the_topic)
{
    char topic[] = "room.1";
    struct rlt_handle *handle = rlt_handle_create(topic, 6, NULL, 0, 1, 0);
    memset(topic, 'x', 6);
    check_key(handle, "room.1");
    cr_assert_not(handle->members[0].own.exclusive);
    rlt_handle_release(handle);
}

Test(handle, of_a_queue_group_has_the_key_that_sub_has)
{
    struct rlt_handle *handle = rlt_handle_create("room.1.x", 6, "group", 5, 1, 0);
    check_key(handle, "room.1 group");
    cr_assert(handle->members[0].own.exclusive);
    rlt_handle_release(handle);
}

Test(handle, longest_topic_and_group_fit)
{
    static char text[ROULETTE_TOPIC_LEN_MAX];
    memset(text, 'x', sizeof(text));
    struct rlt_handle *handle = rlt_handle_create(text, sizeof(text), text, sizeof(text), 1, 0);
    struct rlt_topic_key key = rlt_handle_key(handle);
    cr_assert_eq(key.len, 2 * sizeof(text) + 1);
    cr_assert_eq(key.topic[sizeof(text)], ' ');
    rlt_handle_release(handle);
}

Test(handle, each_member_knows_its_handle)
{
    struct rlt_handle *handle = rlt_handle_create("room.*", 6, NULL, 0, RLT_CLUSTERS_MAX, 0);
    check_key(handle, "room.*");
    for (uint32_t i = 0; i < RLT_CLUSTERS_MAX; i++) {
        struct rlt_member *member = &handle->members[i];
        cr_assert_eq(rlt_handle_of(member), handle);
        cr_assert_eq(rlt_subscription_key(&member->own).topic, rlt_handle_key(handle).topic);
    }
    rlt_handle_release(handle);
}

Test(handle, what_is_asked_together_is_one_command)
{
    struct rlt_handle *handle = rlt_handle_create("a", 1, NULL, 0, 2, 0);
    struct rlt_member *member = &handle->members[0];
    cr_assert_eq(member->command.kind, RLT_COMMAND_MEMBER);
    cr_assert(rlt_member_ask(member, RLT_ASK_SUBSCRIBE));
    cr_assert_not(rlt_member_ask(member, RLT_ASK_DRAIN));
    cr_assert_not(rlt_member_ask(member, RLT_ASK_UNSUBSCRIBE));
    cr_assert_eq(atomic_exchange(&member->command.asked, 0),
                 RLT_ASK_SUBSCRIBE | RLT_ASK_DRAIN | RLT_ASK_UNSUBSCRIBE);
    cr_assert(rlt_member_ask(member, RLT_ASK_FINISH));
    cr_assert(rlt_member_ask(&handle->members[1], RLT_ASK_FINISH));
    rlt_handle_release(handle);
}

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(handle, without_memory_there_is_none)
{
    rlt_memory_set_gate(refuse, NULL);
    struct rlt_handle *handle = rlt_handle_create("a", 1, NULL, 0, 1, 0);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_null(handle);
}
