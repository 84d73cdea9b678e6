/* SPDX-License-Identifier: MIT */
/**
 * What was sent is confirmed soon, without a flush: so "in doubt" means what was on its way.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    MESSAGES = 3000,
    SOON_MS = 100,
    ROUNDS = 11,
};

static void rest(int ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&pause, NULL); /* the pause is the test */
}

static void publish(roulette_client *client, int count)
{
    for (int i = 0; i < count; i++) {
        cr_assert_eq(roulette_publish_wait(client, "a.b", 3, "x", 1, EVENTUALLY_MS), 0);
    }
}

static uint64_t unconfirmed(const roulette_client *client)
{
    struct roulette_ledger ledger = fleet_stats(client, 0).ledger;
    return ledger.accepted - ledger.confirmed;
}

/* No keepalive PING helps. */
static struct roulette_options patient_options(const struct fleet *fleet)
{
    struct roulette_options options = fleet_options(fleet);
    options.ping_interval_ms = 600000;
    return options;
}

Test(confirm, nothing_is_in_doubt_when_a_server_dies_behind_a_pause)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = patient_options(&fleet);
    roulette_client *client = fleet_open(&options);
    publish(client, MESSAGES);
    EVENTUALLY(unconfirmed(client) == 0);
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(fleet_stats(client, 0).disconnects == 1);
    struct roulette_ledger ledger = fleet_stats(client, 0).ledger;
    cr_assert_eq(ledger.confirmed, MESSAGES);
    cr_assert_eq(ledger.in_doubt, 0);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    fleet_stop(&fleet);
}

/* `burst`: messages before each pause. A machine that is busy may be late now and then. */
static void check_soon(int burst)
{
    struct fleet fleet;
    int late = 0;
    fleet_start(&fleet, 1);
    struct roulette_options options = patient_options(&fleet);
    roulette_client *client = fleet_open(&options);
    for (int i = 0; i < ROUNDS; i++) {
        publish(client, burst);
        rest(SOON_MS);
        late += unconfirmed(client) != 0 ? 1 : 0;
        EVENTUALLY(unconfirmed(client) == 0);
    }
    printf("confirm: %d of %d rounds of %d messages were not confirmed after %d ms\n", late, ROUNDS,
           burst, SOON_MS);
    cr_assert_leq(late, ROUNDS / 2);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(confirm, messages_are_confirmed_soon_behind_them)
{
    check_soon(1);    /* sent by this thread */
    check_soon(1000); /* and by the event thread */
}

/* Messages that come now and then, for ever: no pause is needed. */
Test(confirm, steady_traffic_is_confirmed_as_it_goes)
{
    enum { COUNT = 1000, WINDOW = 200 };
    struct fleet fleet;
    uint64_t most = 0;
    int late = 0;
    fleet_start(&fleet, 1);
    struct roulette_options options = patient_options(&fleet);
    roulette_client *client = fleet_open(&options);
    for (int i = 0; i < COUNT; i++) {
        publish(client, 1);
        rest(1);
        uint64_t open = unconfirmed(client);
        most = open > most ? open : most;
        late += open > WINDOW ? 1 : 0;
    }
    printf("confirm: at most %d of %d messages were unconfirmed\n", (int)most, COUNT);
    cr_assert_leq(late, COUNT / 2);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* Who does not want it has what there was before: a flush confirms. */
Test(confirm, without_it_only_a_flush_confirms)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = patient_options(&fleet);
    options.confirm_ms = 0;
    roulette_client *client = fleet_open(&options);
    publish(client, 10);
    rest(3 * SOON_MS);
    cr_assert_eq(unconfirmed(client), 10);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(unconfirmed(client), 0);
    fleet_close(client);
    fleet_stop(&fleet);
}
