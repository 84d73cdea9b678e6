/* SPDX-License-Identifier: MIT */
/**
 * A server goes and comes back, and what was published meanwhile: who is back first is chance, and
 * core NATS keeps nothing. Real servers, a publisher and a subscriber that are two clients.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/numbered.h"
#include "support/test.h"

enum {
    MESSAGES = 2000,
    /* A connection that was up so long is missed for reconnect_interval_ms. */
    PING_MS = 500,
    PINGS = 15,
    /* How long the subscriber takes to come back: half of this to this. */
    SUBSCRIBER_BACK_MS = 3000,
    HOLD_MS = 6000,
    POOL = 16,
    AWAY_MS = 4000,
    BUSY_MS = SCALED(500, 3000), /* what a busy machine may add */
};

/* A client that is back `wait_ms` after a loss. */
static roulette_client *open_client(const struct fleet *fleet, uint32_t wait_ms, uint32_t hold_ms)
{
    struct roulette_options options = fleet_options(fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.reconnect_interval_ms = wait_ms;
    options.reconnect_hold_ms = hold_ms;
    options.ping_interval_ms = PING_MS;
    options.max_ping_failure = PINGS;
    options.max_retry = 1000;
    return fleet_open(&options);
}

/* Receive messages until `last` or the deadline. Returns: how many. */
static unsigned receive_until(roulette_subscriber *subscriber, uint64_t last, int timeout_ms)
{
    unsigned count = 0;
    struct roulette_message message;
    while (roulette_receive(subscriber, &message, 1, timeout_ms) == 1) {
        bool is_last = false;
        if (message.kind == ROULETTE_KIND_MESSAGE) {
            uint64_t number = numbered_of(&message);
            is_last = number == last;
            count += number < MESSAGES ? 1 : 0;
        }
        roulette_release(subscriber, &message, 1);
        if (is_last) {
            return count;
        }
    }
    return count;
}

/*
 * Publish during an outage, with a subscriber that comes back later than the publisher. Returns how
 * many of the messages it received.
 */
static unsigned received_of_an_outage(uint32_t hold_ms)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    roulette_client *listener = open_client(&fleet, SUBSCRIBER_BACK_MS, 0);
    roulette_client *speaker = open_client(&fleet, 1, hold_ms);
    roulette_subscriber *subscriber = fleet_subscriber(listener, 0);
    fleet_subscribe(subscriber, "t");
    rest(2 * PING_MS * UINT64_C(1000000)); /* so long up that a loss is its first failure */
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(fleet_stats(listener, 0).disconnects == 1 && fleet_stats(speaker, 0).connected == 0);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        numbered_publish(speaker, "t", i);
    }
    cr_assert(nats_server_restart(fleet.servers[0]));
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(speaker, EVENTUALLY_MS, &ledger, 1), 0);
    cr_assert_eq(ledger.confirmed, MESSAGES);
    EVENTUALLY(fleet_stats(listener, 0).connected == 1);
    cr_assert_eq(roulette_flush(listener, EVENTUALLY_MS, NULL, 0), 0);
    numbered_publish(speaker, "t", MESSAGES);
    unsigned count = receive_until(subscriber, MESSAGES, EVENTUALLY_MS);
    roulette_subscriber_close(subscriber);
    fleet_close(listener);
    fleet_close(speaker);
    fleet_stop(&fleet);
    return count;
}

/* The README says so: it is no promise that somebody receives it. */
Test(outage, confirmed_messages_are_received_by_nobody_who_is_not_back)
{
    cr_assert_eq(received_of_an_outage(0), 0);
}

Test(outage, held_queue_is_received_whole_by_those_who_come_back_later)
{
    cr_assert_eq(received_of_an_outage(HOLD_MS), MESSAGES);
}

/* While the port is closed, which costs nothing to find out. */
Test(outage, refused_clients_are_back_within_an_eighth_of_the_outage)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.pool_size = POOL;
    options.reconnect_interval_ms = 100;
    options.base_backoff_ms = 10;
    options.max_backoff_ms = 5000;
    roulette_client *client = fleet_open(&options);
    uint64_t start_ms = net_now_ms();
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    (void)poll(NULL, 0, AWAY_MS); /* the outage, not something to wait for */
    cr_assert(nats_server_restart(fleet.servers[0]));
    uint64_t back_ms = net_now_ms();
    EVENTUALLY(fleet_stats(client, 0).connected == POOL);
    uint64_t took_ms = net_now_ms() - back_ms;
    uint64_t limit_ms = (back_ms - start_ms) / 8 + BUSY_MS;
    printf("outage of %d ms: all %d connections are back %d ms later, %d attempts failed\n",
           (int)(back_ms - start_ms), POOL, (int)took_ms,
           (int)fleet_stats(client, 0).connect_failures);
    cr_assert_leq(took_ms, limit_ms, "%d ms", (int)took_ms);
    fleet_close(client);
    fleet_stop(&fleet);
}
