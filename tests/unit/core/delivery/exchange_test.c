/* SPDX-License-Identifier: MIT */
/*
 * Who is told, what is counted, and when it becomes visible.
 */
#include "core/delivery/exchange.h"

#include <string.h>

#include "roulette.h"
#include "support/test.h"

#define MEMBERS_MAX 4

static struct rlt_config config = {
    .pool_size = 2,
    .slab_bytes = RLT_SLAB_BYTES_MIN,
    .slab_count = 8,
};
static struct rlt_transport transport;
static struct rlt_env env;
static struct rlt_exchange exchange;
static struct rlt_doorbell doorbell;
static struct rlt_mailbox mailbox;
static struct rlt_subscription *subscriptions[MEMBERS_MAX];
static uint32_t subscription_count;
static uint32_t signals;

static void on_signal(struct rlt_transport *self, int descriptor)
{
    (void)self;
    cr_assert_eq(descriptor, 7);
    signals++;
}

static const struct rlt_transport_ops ops = {.name = "test", .signal = on_signal};

static void open_exchange(void)
{
    struct rlt_mailbox_options options = {
        .ring_slots = 16,
        .slab_bytes = config.slab_bytes,
        .slab_indexes = config.slab_count,
        .pinned_max = config.slab_count,
        .doorbell = &doorbell,
        .descriptor = 7,
    };
    transport.ops = &ops;
    memset(&env, 0, sizeof(env));
    env.config = &config;
    env.transport = &transport;
    cr_assert_eq(rlt_exchange_init(&exchange, &env, 4), 0);
    cr_assert_eq(rlt_mailbox_init(&mailbox, &options), 0);
}

static void close_exchange(void)
{
    rlt_exchange_fini(&exchange);
    rlt_mailbox_fini(&mailbox);
    for (uint32_t i = 0; i < subscription_count; i++) {
        rlt_subscription_release(subscriptions[i]);
    }
}

#define ExchangeTest(name) Test(exchange, name, .init = open_exchange, .fini = close_exchange)

/* A member that joins; on path 1. */
static struct rlt_member *join(const char *topic)
{
    struct rlt_subscription *subscription =
        rlt_subscription_create(topic, strlen(topic), NULL, 0, 1, 0);
    cr_assert(subscription != NULL && subscription_count < MEMBERS_MAX);
    subscriptions[subscription_count++] = subscription;
    struct rlt_member *member = &subscription->members[0];
    member->mailbox = &mailbox;
    member->own.path = 1;
    cr_assert_eq(rlt_exchange_join(&exchange, member), 0);
    return member;
}

static struct rlt_interest *interest_of(struct rlt_member *member)
{
    return rlt_interests_of(&exchange.interests, member);
}

static uint64_t on_server(void)
{
    return rlt_counter_get(&env.metrics.subscriptions);
}

/* What is visible in the mailbox: one character for each notice. */
static void require_told(const char *expected)
{
    char told[32] = "";
    size_t count = 0;
    uint64_t head = rlt_delivery_ring_head(&mailbox.ring);
    const struct rlt_delivery *delivery;
    while ((delivery = rlt_delivery_ring_peek(&mailbox.ring, head + count)) != NULL) {
        switch (delivery->notice.kind) {
        case RLT_NOTICE_LOST:
            told[count++] = 'L';
            break;
        case RLT_NOTICE_RESTORED:
            told[count++] = 'R';
            break;
        case RLT_NOTICE_ENDED:
            told[count++] = 'E';
            break;
        default:
            told[count++] = '?';
            break;
        }
    }
    rlt_delivery_ring_advance(&mailbox.ring, head + count);
    cr_assert_str_eq(told, expected);
}

ExchangeTest(members_of_a_topic_share_an_interest)
{
    struct rlt_member *first = join("t");
    struct rlt_member *second = join("t");
    cr_assert_eq(interest_of(first), interest_of(second));
    cr_assert_eq(interest_of(first)->member_count, 2);
    cr_assert_eq(exchange.mailbox_count, 1);
    rlt_exchange_leave(&exchange, interest_of(first), first);
    cr_assert_eq(exchange.mailbox_count, 1);
    rlt_exchange_leave(&exchange, interest_of(second), second);
    cr_assert_eq(exchange.mailbox_count, 0);
}

/* Whoever sets it how often, it is counted once. */
ExchangeTest(what_the_server_knows_is_counted_once)
{
    struct rlt_interest *interest = interest_of(join("t"));
    rlt_exchange_set_on_server(&exchange, interest, false);
    cr_assert_eq(on_server(), 0);
    rlt_exchange_set_on_server(&exchange, interest, true);
    rlt_exchange_set_on_server(&exchange, interest, true);
    cr_assert_eq(on_server(), 1);
    rlt_exchange_set_on_server(&exchange, interest, false);
    cr_assert_eq(on_server(), 0);
}

ExchangeTest(deferred_interests_wait_in_the_queue_of_their_path)
{
    struct rlt_interest *interest = interest_of(join("t"));
    rlt_exchange_defer(&exchange, interest);
    rlt_exchange_defer(&exchange, interest);
    cr_assert_null(exchange.pending[0].first);
    cr_assert_eq(exchange.pending[1].first, interest);
    cr_assert_eq(exchange.pending[1].last, interest);
    rlt_exchange_undefer(&exchange, interest);
    cr_assert_null(exchange.pending[1].first);
}

/* One wake-up for a batch, and nothing before its end. */
ExchangeTest(notices_are_visible_when_they_are_shown)
{
    struct rlt_member *member = join("t");
    rlt_doorbell_arm(&doorbell, 1);
    rlt_exchange_notify(&exchange, interest_of(member), RLT_NOTICE_LOST, ROULETTE_EDISCONNECTED);
    rlt_exchange_notify(&exchange, interest_of(member), RLT_NOTICE_RESTORED, 0);
    require_told("");
    cr_assert_eq(signals, 0);
    rlt_exchange_show(&exchange);
    cr_assert_eq(signals, 1);
    require_told("LR");
}

/* It came while the interest was lost, and knows of no gap. */
ExchangeTest(who_was_not_told_of_a_loss_is_not_told_of_its_end)
{
    struct rlt_member *early = join("t");
    rlt_exchange_notify(&exchange, interest_of(early), RLT_NOTICE_LOST, ROULETTE_EDISCONNECTED);
    (void)join("t");
    rlt_exchange_notify(&exchange, interest_of(early), RLT_NOTICE_RESTORED, 0);
    rlt_exchange_show(&exchange);
    require_told("LR");
}

ExchangeTest(end_tells_all_members_and_frees_what_no_server_knows)
{
    struct rlt_member *members[] = {join("t"), join("t")};
    uint64_t sid = interest_of(members[0])->sid;
    rlt_exchange_set_on_server(&exchange, interest_of(members[0]), true);
    rlt_exchange_end(&exchange, interest_of(members[0]), ROULETTE_EPERMISSION);
    rlt_exchange_show(&exchange);
    require_told("EE");
    /* The server may still send for it, so its sid is not used again yet. */
    struct rlt_interest *left = rlt_interests_find(&exchange.interests, sid);
    cr_assert_not_null(left);
    rlt_exchange_set_on_server(&exchange, left, false);
    rlt_exchange_forget(&exchange, left);
    cr_assert_null(rlt_interests_find(&exchange.interests, sid));
}

ExchangeTest(delivered_messages_are_counted_before_they_are_visible)
{
    exchange.batch_received = 5;
    exchange.batch_delivered = 3;
    cr_assert_eq(rlt_counter_get(&env.metrics.received_messages), 0);
    rlt_exchange_show(&exchange);
    cr_assert_eq(rlt_counter_get(&env.metrics.received_messages), 5);
    cr_assert_eq(rlt_counter_get(&env.metrics.delivered_messages), 3);
    rlt_exchange_show(&exchange);
    cr_assert_eq(rlt_counter_get(&env.metrics.received_messages), 5);
}
