/* SPDX-License-Identifier: MIT */
/**
 * A server is killed and started again under load: the other clusters never notice, the books
 * balance, and subscriptions come back (or end) with a notice in band.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    SERVERS = 3,
    ROUNDS = SCALED(10, 4),
    GAP_MAX_MS = SCALED(250, 1500),
    PERIOD_US = 500,
    FLOW = SCALED(1000, 200), /* messages that show that a stream flows */
    BATCH = 64,
};

/* One topic on one cluster: a thread that publishes at a steady rate and one that receives. */
struct stream {
    roulette_client *client;
    roulette_subscriber *subscriber;
    roulette_subscription *subscription;
    char topic[32];
    size_t topic_len;
    size_t cluster;
    atomic_bool *stop;

    pthread_t publisher;
    uint64_t accepted;
    uint64_t refused;
    uint64_t longest_pause_ms; /* between two publishes */

    pthread_t receiver;
    atomic_uint_fast64_t received;
    atomic_uint_fast64_t restored;
    uint64_t lost;
    uint64_t next;
    bool is_away;
    atomic_uint_fast64_t longest_gap_ms; /* between two receives; reset by the test */
};

/* ---- The streams -------------------------------------------------------------------------- */

/* Sleep until the next tick of a steady rate, never in bursts. */
static void await_tick(struct timespec *next)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    next->tv_nsec += PERIOD_US * 1000;
    if (next->tv_nsec >= 1000000000) {
        next->tv_nsec -= 1000000000;
        next->tv_sec++;
    }
    if (now.tv_sec > next->tv_sec || (now.tv_sec == next->tv_sec && now.tv_nsec > next->tv_nsec)) {
        *next = now;
    }
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

static void *publish(void *argument)
{
    struct stream *stream = argument;
    struct timespec tick;
    uint64_t last_ms = net_now_ms();
    (void)clock_gettime(CLOCK_MONOTONIC, &tick);
    for (uint64_t sequence = 0; !atomic_load(stream->stop);) {
        await_tick(&tick);
        uint64_t now_ms = net_now_ms();
        if (now_ms - last_ms > stream->longest_pause_ms) {
            stream->longest_pause_ms = now_ms - last_ms;
        }
        last_ms = now_ms;
        int result = roulette_publish(stream->client, stream->topic, stream->topic_len, &sequence,
                                      sizeof(sequence));
        REQUIRE(result == 0 || result == ROULETTE_EAGAIN || result == ROULETTE_EUNREACHABLE, "%s",
                roulette_error_name(result));
        stream->accepted += result == 0 ? 1 : 0;
        stream->refused += result != 0 ? 1 : 0;
        sequence += result == 0 ? 1 : 0;
    }
    return NULL;
}

static void on_message(struct stream *stream, const struct roulette_message *message)
{
    uint64_t sequence;
    REQUIRE(message->payload_len == sizeof(sequence));
    memcpy(&sequence, message->payload, sizeof(sequence));
    REQUIRE(!stream->is_away, "a message between LOST and RESTORED");
    REQUIRE(sequence >= stream->next, "message %llu came again", (unsigned long long)sequence);
    REQUIRE(sequence == stream->next || atomic_load(&stream->restored) != 0,
            "a gap without a notice");
    stream->next = sequence + 1;
    atomic_fetch_add(&stream->received, 1);
}

static void on_entry(struct stream *stream, const struct roulette_message *message)
{
    REQUIRE(message->cluster == stream->cluster);
    REQUIRE(message->subscription == stream->subscription);
    REQUIRE(message->user_data == stream);
    switch (message->kind) {
    case ROULETTE_KIND_MESSAGE:
        on_message(stream, message);
        break;
    case ROULETTE_KIND_LOST:
        REQUIRE(!stream->is_away && message->error == ROULETTE_EDISCONNECTED, "%s",
                roulette_error_name(message->error));
        stream->is_away = true;
        stream->lost++;
        break;
    case ROULETTE_KIND_RESTORED:
        REQUIRE(stream->is_away && message->error == 0);
        stream->is_away = false;
        atomic_fetch_add(&stream->restored, 1);
        break;
    default:
        REQUIRE(false, "notice %d", message->kind);
    }
}

static void *receive(void *argument)
{
    struct stream *stream = argument;
    struct roulette_message messages[BATCH];
    uint64_t last_ms = net_now_ms();
    for (;;) {
        int count = roulette_receive(stream->subscriber, messages, BATCH, 100);
        if (count == ROULETTE_ECLOSED) {
            return NULL;
        }
        REQUIRE(count >= 0, "%s", roulette_error_name(count));
        if (count == 0) {
            continue;
        }
        uint64_t now_ms = net_now_ms();
        if (now_ms - last_ms > atomic_load(&stream->longest_gap_ms)) {
            atomic_store(&stream->longest_gap_ms, now_ms - last_ms);
        }
        last_ms = now_ms;
        for (int i = 0; i < count; i++) {
            /* All subscriptions end when the client is closed. */
            if (messages[i].kind != ROULETTE_KIND_ENDED || messages[i].error != ROULETTE_ECLOSED) {
                on_entry(stream, &messages[i]);
            }
        }
        roulette_release(stream->subscriber, messages, (size_t)count);
    }
}

static void start_stream(struct stream *stream, roulette_client *client, size_t cluster,
                         atomic_bool *stop)
{
    *stream = (struct stream){.client = client, .cluster = cluster, .stop = stop};
    stream->topic_len =
        fleet_topic(client, cluster, "stream", 0, stream->topic, sizeof(stream->topic));
    stream->subscriber = fleet_subscriber(client, 0);
    int result = roulette_subscribe(stream->subscriber, stream->topic, stream->topic_len, stream,
                                    &stream->subscription);
    cr_assert_eq(result, 0, "%s", roulette_last_error());
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(pthread_create(&stream->receiver, NULL, receive, stream), 0);
    cr_assert_eq(pthread_create(&stream->publisher, NULL, publish, stream), 0);
}

/* ---- Killing ------------------------------------------------------------------------------ */

/* Wait until `count` more messages of a stream have arrived. */
static void await_flow(struct stream *stream, uint64_t count)
{
    uint64_t before = atomic_load(&stream->received);
    EVENTUALLY(atomic_load(&stream->received) >= before + count);
}

static void kill_and_restart(struct fleet *fleet, struct stream *streams, size_t victim)
{
    uint64_t restored = atomic_load(&streams[victim].restored);
    cr_assert(nats_server_kill(fleet->servers[victim], SIGKILL));
    for (size_t i = 0; i < SERVERS; i++) {
        if (i != victim) {
            await_flow(&streams[i], FLOW);
        }
    }
    cr_assert(nats_server_restart(fleet->servers[victim]));
    EVENTUALLY(atomic_load(&streams[victim].restored) == restored + 1);
    await_flow(&streams[victim], FLOW);
}

static void check_gaps(struct stream *streams, size_t victim, uint64_t *longest_ms)
{
    for (size_t i = 0; i < SERVERS; i++) {
        uint64_t gap_ms = atomic_exchange(&streams[i].longest_gap_ms, 0);
        if (i == victim) {
            continue;
        }
        *longest_ms = gap_ms > *longest_ms ? gap_ms : *longest_ms;
        cr_assert_leq(gap_ms, GAP_MAX_MS, "cluster %zu paused for %llu ms while %zu was away", i,
                      (unsigned long long)gap_ms, victim);
    }
}

static void check_books(const struct stream *streams, const struct roulette_ledger *ledgers)
{
    for (size_t i = 0; i < SERVERS; i++) {
        const struct roulette_ledger *ledger = &ledgers[i];
        struct roulette_stats stats = fleet_stats(streams[i].client, i);
        printf("restart: cluster %zu: accepted %llu = confirmed %llu + in doubt %llu + failed %llu "
               "+ discarded %llu, difference %lld; refused %llu, received %llu, LOST %llu, "
               "RESTORED %llu\n",
               i, (unsigned long long)ledger->accepted, (unsigned long long)ledger->confirmed,
               (unsigned long long)ledger->in_doubt, (unsigned long long)ledger->failed,
               (unsigned long long)ledger->discarded, (long long)fleet_difference(ledger),
               (unsigned long long)streams[i].refused,
               (unsigned long long)atomic_load(&streams[i].received),
               (unsigned long long)streams[i].lost,
               (unsigned long long)atomic_load(&streams[i].restored));
        cr_assert_eq(fleet_difference(ledger), 0);
        cr_assert_eq(ledger->accepted, streams[i].accepted);
        cr_assert_eq(ledger->failed + ledger->discarded, 0);
        cr_assert_leq(atomic_load(&streams[i].received), ledger->confirmed + ledger->in_doubt);
        cr_assert_eq(stats.dropped_ring_full + stats.dropped_pinned, 0);
        cr_assert_eq(stats.disconnects, streams[i].lost);
        cr_assert_eq(stats.connects, streams[i].lost + 1);
        cr_assert_eq(stats.lost_by_server, streams[i].lost);
    }
}

Test(restart, the_others_never_pause_and_subscriptions_return)
{
    struct fleet fleet;
    static struct stream streams[SERVERS];
    static atomic_bool stop;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    for (size_t i = 0; i < SERVERS; i++) {
        start_stream(&streams[i], client, i, &stop);
    }
    for (size_t i = 0; i < SERVERS; i++) {
        await_flow(&streams[i], FLOW);
        atomic_store(&streams[i].longest_gap_ms, 0);
    }
    uint64_t longest_gap_ms = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        kill_and_restart(&fleet, streams, round % SERVERS);
        check_gaps(streams, round % SERVERS, &longest_gap_ms);
    }
    atomic_store(&stop, true);
    uint64_t longest_pause_ms = 0;
    for (size_t i = 0; i < SERVERS; i++) {
        (void)pthread_join(streams[i].publisher, NULL);
        if (streams[i].longest_pause_ms > longest_pause_ms) {
            longest_pause_ms = streams[i].longest_pause_ms;
        }
    }
    struct roulette_ledger ledgers[SERVERS];
    cr_assert_eq(roulette_close(client, 10000, ledgers, SERVERS), 0, "%s", roulette_last_error());
    for (size_t i = 0; i < SERVERS; i++) {
        (void)pthread_join(streams[i].receiver, NULL);
    }
    check_books(streams, ledgers);
    printf("restart: %d kills; longest gap of the other clusters %llu ms (longest pause of a "
           "publisher %llu ms)\n",
           ROUNDS, (unsigned long long)longest_gap_ms, (unsigned long long)longest_pause_ms);
    for (size_t i = 0; i < SERVERS; i++) {
        uint64_t kills = ROUNDS / SERVERS + (i < ROUNDS % SERVERS ? 1 : 0);
        cr_assert_eq(streams[i].lost, kills);
        cr_assert_eq(atomic_load(&streams[i].restored), kills);
        roulette_subscriber_close(streams[i].subscriber);
    }
    roulette_free(client);
    fleet_stop(&fleet);
}

/* ---- Full load ---------------------------------------------------------------------------- */

enum {
    FLOODERS = 4,
    FLOOD_TOPICS = 64,
    FLOOD_LEN = 200,
};

struct flooder {
    roulette_client *client;
    atomic_bool *stop;
    uint32_t index;
    uint64_t accepted;
    pthread_t thread;
};

static void *flood(void *argument)
{
    struct flooder *flooder = argument;
    char topic[32];
    char payload[FLOOD_LEN] = {0};
    for (uint64_t i = 0; !atomic_load(flooder->stop); i++) {
        int len = snprintf(topic, sizeof(topic), "flood.%u.%u", flooder->index,
                           (unsigned)(i % FLOOD_TOPICS));
        int result = roulette_publish_wait(flooder->client, topic, (size_t)len, payload,
                                           (size_t)(i % FLOOD_LEN), 20);
        REQUIRE(result == 0 || result == ROULETTE_ETIMEDOUT || result == ROULETTE_EUNREACHABLE,
                "%s", roulette_error_name(result));
        flooder->accepted += result == 0 ? 1 : 0;
    }
    return NULL;
}

/* Messages that the servers have processed, as the client knows. */
static uint64_t confirmed(const roulette_client *client, size_t cluster)
{
    return fleet_stats(client, cluster).ledger.confirmed;
}

/* Wait until a cluster confirms again. It has 16 MiB to catch up with, on a busy machine. */
static void await_confirmed(roulette_client *client, size_t cluster, uint64_t before)
{
    uint64_t deadline_ms = net_now_ms() + 4 * EVENTUALLY_MS;
    int result = ROULETTE_ETIMEDOUT;
    while (result != 0 || confirmed(client, cluster) <= before) {
        struct roulette_stats stats = fleet_stats(client, cluster);
        REQUIRE(net_now_ms() < deadline_ms,
                "flush: %s; connected %u, last error %s, queued %llu bytes, %llu accepted, "
                "%llu confirmed (%llu before), %llu in doubt, %llu sends",
                roulette_error_name(result), stats.connected, roulette_error_name(stats.last_error),
                (unsigned long long)stats.queued_bytes, (unsigned long long)stats.ledger.accepted,
                (unsigned long long)stats.ledger.confirmed, (unsigned long long)before,
                (unsigned long long)stats.ledger.in_doubt, (unsigned long long)stats.sends);
        result = roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    }
}

static void kill_under_flood(struct fleet *fleet, roulette_client *client, size_t victim)
{
    uint64_t other = confirmed(client, (victim + 1) % SERVERS);
    cr_assert(nats_server_kill(fleet->servers[victim], SIGKILL));
    EVENTUALLY(fleet_stats(client, victim).connected == 0);
    EVENTUALLY(roulette_flush(client, 1, NULL, 0) != 0 &&
               confirmed(client, (victim + 1) % SERVERS) > other);
    uint64_t before = confirmed(client, victim);
    cr_assert(nats_server_restart(fleet->servers[victim]));
    await_confirmed(client, victim, before);
}

static void flood_and_kill(const struct roulette_options *options, struct fleet *fleet,
                           int close_ms)
{
    static struct flooder flooders[FLOODERS];
    static atomic_bool stop;
    roulette_client *client = fleet_open(options);
    for (uint32_t i = 0; i < FLOODERS; i++) {
        flooders[i] = (struct flooder){.client = client, .stop = &stop, .index = i};
        cr_assert_eq(pthread_create(&flooders[i].thread, NULL, flood, &flooders[i]), 0);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        kill_under_flood(fleet, client, round % SERVERS);
    }
    if (close_ms == 0) {
        /* The harder end: closed with full queues and a server that is away. */
        cr_assert(nats_server_kill(fleet->servers[0], SIGKILL));
    }
    atomic_store(&stop, true);
    uint64_t accepted = 0;
    for (uint32_t i = 0; i < FLOODERS; i++) {
        (void)pthread_join(flooders[i].thread, NULL);
        accepted += flooders[i].accepted;
    }
    struct roulette_ledger ledgers[SERVERS];
    int result = roulette_close(client, close_ms, ledgers, SERVERS);
    cr_assert(result == (close_ms != 0 ? 0 : result), "%s", roulette_last_error());
    struct roulette_ledger all = {0};
    for (size_t i = 0; i < SERVERS; i++) {
        cr_assert_eq(fleet_difference(&ledgers[i]), 0);
        all.accepted += ledgers[i].accepted;
        all.confirmed += ledgers[i].confirmed;
        all.in_doubt += ledgers[i].in_doubt;
        all.failed += ledgers[i].failed;
        all.discarded += ledgers[i].discarded;
    }
    printf("restart: under full load, %d kills: accepted %llu = confirmed %llu + in doubt %llu + "
           "failed %llu + discarded %llu\n",
           ROUNDS, (unsigned long long)all.accepted, (unsigned long long)all.confirmed,
           (unsigned long long)all.in_doubt, (unsigned long long)all.failed,
           (unsigned long long)all.discarded);
    cr_assert_eq(all.accepted, accepted);
    cr_assert_eq(all.failed, 0);
    cr_assert(close_ms == 0 || all.discarded == 0);
    roulette_free(client);
}

Test(restart, books_balance_after_kills_under_full_load)
{
    struct fleet fleet;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    flood_and_kill(&options, &fleet, 20000);
    fleet_stop(&fleet);
}

Test(restart, books_balance_when_closed_at_once_with_a_server_away)
{
    struct fleet fleet;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.pool_size = 2;
    options.queue_bytes = (size_t)4 << 20;
    flood_and_kill(&options, &fleet, 0);
    fleet_stop(&fleet);
}

/* ---- Temporary subscriptions -------------------------------------------------------------- */

static struct roulette_message receive_one(roulette_subscriber *subscriber)
{
    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    return message;
}

Test(restart, temporary_subscription_ends_with_a_notice_and_can_be_made_again)
{
    struct fleet fleet;
    char topic[32];
    roulette_subscription *subscription;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    size_t len = fleet_topic(client, 1, "topic", 0, topic, sizeof(topic));
    for (size_t round = 0; round < 3; round++) {
        struct roulette_message message;
        cr_assert_eq(roulette_subscribe(subscriber, topic, len, &fleet, &subscription), 0);
        cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
        cr_assert_eq(roulette_publish(client, topic, len, "before", 6), 0);
        message = receive_one(subscriber);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        roulette_release(subscriber, &message, 1);

        cr_assert(nats_server_kill(fleet.servers[1], SIGKILL));
        message = receive_one(subscriber);
        cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
        cr_assert_eq(message.error, ROULETTE_EDISCONNECTED);
        cr_assert_eq(message.cluster, 1);
        cr_assert_eq(message.subscription, subscription);
        cr_assert_eq(message.user_data, &fleet);
        roulette_release(subscriber, &message, 1);
        cr_assert_eq(roulette_unsubscribe_topic(subscriber, topic, len), ROULETTE_ENOENT);
        cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
        cr_assert_eq(roulette_unsubscribe(subscriber, subscription), ROULETTE_ENOENT);
        cr_assert(nats_server_restart(fleet.servers[1]));
    }
    /* Not back by itself. */
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[1]), 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* A wildcard is on all clusters: when one is lost, the subscription ends on all of them. */
Test(restart, temporary_wildcard_ends_once_and_everywhere)
{
    struct fleet fleet;
    roulette_subscription *subscription;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "a.*", ROULETTE_STRLEN, NULL, &subscription), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert(nats_server_kill(fleet.servers[2], SIGKILL));
    struct roulette_message message = receive_one(subscriber);
    cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
    cr_assert_eq(message.subscription, subscription);
    cr_assert_eq(message.cluster, 2);
    EVENTUALLY(fleet_server_subscriptions(fleet.servers[0]) == 0);
    EVENTUALLY(fleet_server_subscriptions(fleet.servers[1]) == 0);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
    cr_assert(nats_server_restart(fleet.servers[2]));
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[2]), 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* A permanent wildcard tells of each cluster for itself. */
Test(restart, permanent_wildcard_is_restored_on_the_cluster_that_was_lost)
{
    struct fleet fleet;
    char topic[32];
    roulette_subscription *subscription;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "a.>", ROULETTE_STRLEN, NULL, &subscription), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert(nats_server_kill(fleet.servers[2], SIGKILL));
    struct roulette_message message = receive_one(subscriber);
    cr_assert_eq(message.kind, ROULETTE_KIND_LOST);
    cr_assert_eq(message.cluster, 2);
    cr_assert_eq(message.subscription, subscription);
    for (size_t cluster = 0; cluster < 2; cluster++) {
        size_t len = fleet_topic(client, cluster, "a", 0, topic, sizeof(topic));
        cr_assert_eq(roulette_publish(client, topic, len, NULL, 0), 0);
        message = receive_one(subscriber);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        cr_assert_eq(message.cluster, cluster);
        roulette_release(subscriber, &message, 1);
    }
    cr_assert(nats_server_restart(fleet.servers[2]));
    message = receive_one(subscriber);
    cr_assert_eq(message.kind, ROULETTE_KIND_RESTORED);
    cr_assert_eq(message.cluster, 2);
    size_t len = fleet_topic(client, 2, "a", 0, topic, sizeof(topic));
    cr_assert_eq(roulette_publish(client, topic, len, NULL, 0), 0);
    message = receive_one(subscriber);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    cr_assert_eq(message.cluster, 2);
    roulette_release(subscriber, &message, 1);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}
