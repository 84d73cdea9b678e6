/* SPDX-License-Identifier: MIT */
/**
 * Publishing when things are not as they should be: full queues, stopped and absent servers, more
 * threads than lanes, threads that come and go, a client that is closed meanwhile.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    QUEUE_BYTES = 1 << 20, /* 16 lanes of 64 KiB */
    LANE_BYTES = QUEUE_BYTES / 16,
    LATE_MS = SCALED(100, 1000), /* by which a deadline may be missed */
    BATCH = 256,
};

/* One server, one client with small queues. */
struct stage {
    struct fleet fleet;
    roulette_client *client;
    struct nats_server *server;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, 1);
    stage->server = stage->fleet.servers[0];
    struct roulette_options options = fleet_options(&stage->fleet);
    options.queue_bytes = QUEUE_BYTES;
    stage->client = fleet_open(&options);
}

static void tear_down(struct stage *stage)
{
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

static int publish(roulette_client *client, const char *topic, size_t len)
{
    static const char payload[LANE_BYTES];
    return roulette_publish(client, topic, ROULETTE_STRLEN, payload, len);
}

/* Publish until the queue is full. Returns: how many were accepted. */
static uint64_t fill_queue(roulette_client *client)
{
    uint64_t accepted = 0;
    uint64_t deadline_ms = net_now_ms() + EVENTUALLY_MS;
    /* Full for good only when the sockets are full too: EAGAIN that lasts. */
    for (uint64_t full_since_ms = 0; full_since_ms + 50 > net_now_ms() || full_since_ms == 0;) {
        int result = publish(client, "topic", 1000);
        REQUIRE(result == 0 || result == ROULETTE_EAGAIN, "%s", roulette_error_name(result));
        REQUIRE(net_now_ms() < deadline_ms, "the queue does not fill");
        accepted += result == 0 ? 1 : 0;
        if (result == 0) {
            full_since_ms = 0;
        } else if (full_since_ms == 0) {
            full_since_ms = net_now_ms();
        }
    }
    return accepted;
}

static struct roulette_ledger final_ledger(roulette_client *client, size_t cluster)
{
    struct roulette_ledger ledger = fleet_stats(client, cluster).ledger;
    cr_assert_eq(fleet_difference(&ledger), 0);
    return ledger;
}

/* ---- Full queues -------------------------------------------------------------------------- */

/* A call that does not wait is told at once. The kernel may find room in its buffers late, also
 * for a peer that stands still, and then the queue has room once more. */
static void check_full_at_once(roulette_client *client, uint64_t *accepted)
{
    for (int try = 0; try < 20; try++) {
        *accepted += fill_queue(client);
        uint64_t start_ms = net_now_ms();
        int plain = publish(client, "topic", 1000);
        int with_reply = roulette_publish_reply(client, "topic", 5, "reply", 5, "x", 1, 0);
        uint64_t took_ms = net_now_ms() - start_ms;
        *accepted += plain == 0 ? 1 : 0;
        *accepted += with_reply == 0 ? 1 : 0;
        if (plain == ROULETTE_EAGAIN && took_ms <= LATE_MS / 2) {
            cr_assert(with_reply == 0 || with_reply == ROULETTE_EAGAIN);
            return;
        }
    }
    cr_assert_fail("never told that the queue is full");
}

Test(publish, full_queue_is_told_at_once_or_at_the_deadline)
{
    struct stage stage;
    set_up(&stage);
    cr_assert(nats_server_kill(stage.server, SIGSTOP));
    uint64_t accepted = fill_queue(stage.client);
    cr_assert_leq(fleet_stats(stage.client, 0).queued_bytes, LANE_BYTES);
    for (int timeout_ms = 0; timeout_ms <= 200; timeout_ms += 50) {
        uint64_t start_ms = net_now_ms();
        int result =
            roulette_publish_wait(stage.client, "topic", 5, stage.fleet.list, 20, timeout_ms);
        uint64_t took_ms = net_now_ms() - start_ms;
        /* A short message may still find room behind the longer ones. */
        accepted += result == 0 ? 1 : 0;
        cr_assert(result == 0 || result == (timeout_ms == 0 ? ROULETTE_EAGAIN : ROULETTE_ETIMEDOUT),
                  "%s", roulette_error_name(result));
        cr_assert(result == 0 || took_ms + 1 >= (uint64_t)timeout_ms);
        cr_assert_leq(took_ms, (uint64_t)(timeout_ms + LATE_MS));
    }
    check_full_at_once(stage.client, &accepted);
    cr_assert(nats_server_kill(stage.server, SIGCONT));
    cr_assert_eq(roulette_publish_wait(stage.client, "topic", 5, NULL, 0, EVENTUALLY_MS), 0);
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, &ledger, 1), 0);
    cr_assert_eq(ledger.accepted, accepted + 1);
    cr_assert_eq(ledger.confirmed, accepted + 1);
    cr_assert_eq(fleet_stats(stage.client, 0).queued_bytes, 0);
    tear_down(&stage);
}

struct waiter {
    roulette_client *client;
    int result;
    pthread_t thread;
};

static void *wait_for_room(void *argument)
{
    struct waiter *waiter = argument;
    static const char payload[4000];
    waiter->result =
        roulette_publish_wait(waiter->client, "topic", 5, payload, sizeof(payload), -1);
    return NULL;
}

static void start_waiters(struct waiter *waiters, size_t count, roulette_client *client)
{
    for (size_t i = 0; i < count; i++) {
        waiters[i] = (struct waiter){.client = client};
        cr_assert_eq(pthread_create(&waiters[i].thread, NULL, wait_for_room, &waiters[i]), 0);
    }
}

/* Fills the queue of the shared lane too: 20 threads, each until its lane is full. */
static void *fill_lane(void *argument)
{
    (void)fill_queue(argument);
    return NULL;
}

static void fill_all_lanes(roulette_client *client)
{
    pthread_t threads[20];
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, fill_lane, client), 0);
    }
    for (size_t i = 0; i < 20; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

Test(publish, waiting_threads_go_on_when_the_server_does)
{
    struct stage stage;
    static struct waiter waiters[40];
    set_up(&stage);
    cr_assert(nats_server_kill(stage.server, SIGSTOP));
    fill_all_lanes(stage.client);
    start_waiters(waiters, 40, stage.client);
    cr_assert(nats_server_kill(stage.server, SIGCONT));
    for (size_t i = 0; i < 40; i++) {
        (void)pthread_join(waiters[i].thread, NULL);
        cr_assert_eq(waiters[i].result, 0, "%s", roulette_error_name(waiters[i].result));
    }
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    tear_down(&stage);
}

Test(publish, waiting_threads_are_sent_home_by_close)
{
    struct stage stage;
    static struct waiter waiters[40];
    set_up(&stage);
    cr_assert(nats_server_kill(stage.server, SIGSTOP));
    fill_all_lanes(stage.client);
    start_waiters(waiters, 40, stage.client);
    cr_assert_eq(roulette_close(stage.client, 100, NULL, 0), ROULETTE_ETIMEDOUT);
    for (size_t i = 0; i < 40; i++) {
        (void)pthread_join(waiters[i].thread, NULL);
        cr_assert(waiters[i].result == ROULETTE_ECLOSED || waiters[i].result == 0, "%s",
                  roulette_error_name(waiters[i].result));
    }
    (void)final_ledger(stage.client, 0);
    roulette_free(stage.client);
    fleet_stop(&stage.fleet);
}

/* ---- Many threads ------------------------------------------------------------------------- */

enum {
    CROWD = 40, /* 15 have a lane of their own, the others share one */
    CROWD_TOPICS = 7,
    CROWD_MESSAGES = SCALED(5000, 500), /* of each thread */
};

struct member {
    roulette_client *client;
    uint32_t index;
    uint32_t messages;
    uint32_t sent[CROWD_TOPICS];
    pthread_t thread;
};

struct note {
    uint32_t member;
    uint32_t topic;
    uint32_t sequence;
};

static void *publish_notes(void *argument)
{
    struct member *member = argument;
    char topic[32];
    char payload[600] = {0};
    for (uint32_t i = 0; i < member->messages; i++) {
        struct note note = {.member = member->index, .topic = (i * 3 + i / 5) % CROWD_TOPICS};
        note.sequence = member->sent[note.topic]++;
        memcpy(payload, &note, sizeof(note));
        int len = snprintf(topic, sizeof(topic), "crowd.%u", note.topic);
        int result =
            roulette_publish_wait(member->client, topic, (size_t)len, payload,
                                  sizeof(note) + (size_t)(i * 13) % 500, 4 * EVENTUALLY_MS);
        REQUIRE(result == 0, "%s", roulette_error_name(result));
    }
    return NULL;
}

static void run_member(uint32_t index, roulette_client *client)
{
    struct member member = {.client = client, .index = index, .messages = 100};
    cr_assert_eq(pthread_create(&member.thread, NULL, publish_notes, &member), 0);
    (void)pthread_join(member.thread, NULL);
}

/* Receive until `total` notes have come, each in its order. */
static void receive_notes(roulette_subscriber *subscriber, uint64_t total, uint32_t members)
{
    struct roulette_message messages[BATCH];
    uint32_t(*expected)[CROWD_TOPICS] = calloc(members, sizeof(*expected));
    cr_assert_not_null(expected);
    for (uint64_t received = 0; received < total;) {
        int count = roulette_receive(subscriber, messages, BATCH, EVENTUALLY_MS);
        cr_assert_gt(count, 0, "%llu of %llu received", (unsigned long long)received,
                     (unsigned long long)total);
        for (int i = 0; i < count; i++) {
            struct note note;
            cr_assert_eq(messages[i].kind, ROULETTE_KIND_MESSAGE);
            memcpy(&note, messages[i].payload, sizeof(note));
            cr_assert_lt(note.member, members);
            cr_assert_eq(note.sequence, expected[note.member][note.topic], "thread %u, topic %u",
                         note.member, note.topic);
            expected[note.member][note.topic]++;
        }
        received += (uint64_t)count;
        roulette_release(subscriber, messages, (size_t)count);
    }
    cr_assert_eq(roulette_receive(subscriber, messages, BATCH, 0), 0);
    free(expected);
}

static roulette_subscriber *open_audience(roulette_client *client)
{
    roulette_subscriber *subscriber = fleet_subscriber(client, 1 << 18);
    cr_assert_eq(roulette_subscribe(subscriber, "crowd.*", ROULETTE_STRLEN, NULL, NULL), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    return subscriber;
}

Test(publish, more_threads_than_lanes_keep_their_order)
{
    struct stage stage;
    static struct member members[CROWD];
    set_up(&stage);
    roulette_subscriber *subscriber = open_audience(stage.client);
    for (uint32_t i = 0; i < CROWD; i++) {
        members[i] =
            (struct member){.client = stage.client, .index = i, .messages = CROWD_MESSAGES};
        cr_assert_eq(pthread_create(&members[i].thread, NULL, publish_notes, &members[i]), 0);
    }
    receive_notes(subscriber, (uint64_t)CROWD * CROWD_MESSAGES, CROWD);
    for (uint32_t i = 0; i < CROWD; i++) {
        (void)pthread_join(members[i].thread, NULL);
    }
    roulette_subscriber_close(subscriber);
    tear_down(&stage);
}

Test(publish, threads_that_come_and_go_keep_their_order)
{
    enum { GUESTS = 200, AT_ONCE = 20, MESSAGES = 50 };
    struct stage stage;
    static struct member guests[GUESTS];
    set_up(&stage);
    roulette_subscriber *subscriber = open_audience(stage.client);
    for (uint32_t i = 0; i < GUESTS + AT_ONCE; i++) {
        if (i >= AT_ONCE) {
            (void)pthread_join(guests[i - AT_ONCE].thread, NULL);
        }
        if (i < GUESTS) {
            guests[i] = (struct member){.client = stage.client, .index = i, .messages = MESSAGES};
            cr_assert_eq(pthread_create(&guests[i].thread, NULL, publish_notes, &guests[i]), 0);
        }
    }
    receive_notes(subscriber, (uint64_t)GUESTS * MESSAGES, GUESTS);
    roulette_subscriber_close(subscriber);
    cr_assert_eq(fleet_stats(stage.client, 0).ledger.accepted, GUESTS * MESSAGES);
    tear_down(&stage);
}

/* A thread that ends with its lane full of messages leaves them, and its lane, in good order. */
Test(publish, lane_of_an_ended_thread_is_sent_and_used_again)
{
    struct stage stage;
    set_up(&stage);
    cr_assert(nats_server_kill(stage.server, SIGSTOP));
    fill_all_lanes(stage.client);
    fill_all_lanes(stage.client);
    cr_assert(nats_server_kill(stage.server, SIGCONT));
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    for (uint32_t i = 0; i < CROWD; i++) {
        run_member(i, stage.client);
    }
    tear_down(&stage);
}

/* The lane that later threads share is made by the first of them; the others wait for it. */
Test(publish, first_messages_of_a_crowd_all_find_a_lane)
{
    struct fleet fleet;
    static struct member members[CROWD];
    fleet_start(&fleet, 1);
    for (int round = 0; round < SCALED(50, 20); round++) {
        struct roulette_options options = fleet_options(&fleet);
        roulette_client *client = fleet_open(&options);
        for (uint32_t i = 0; i < CROWD; i++) {
            members[i] = (struct member){.client = client, .index = i, .messages = 1};
            cr_assert_eq(pthread_create(&members[i].thread, NULL, publish_notes, &members[i]), 0);
        }
        for (uint32_t i = 0; i < CROWD; i++) {
            (void)pthread_join(members[i].thread, NULL);
        }
        fleet_close(client);
    }
    fleet_stop(&fleet);
}

/* ---- Topic handles ------------------------------------------------------------------------ */

Test(publish, topic_handle_publishes_to_its_cluster_and_outlives_the_client)
{
    struct fleet fleet;
    roulette_topic *handle;
    fleet_start(&fleet, 3);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    char topic[] = "some.topic";
    cr_assert_eq(roulette_topic_create(client, topic, sizeof(topic) - 1, &handle), 0);
    int cluster = roulette_cluster_of(client, topic, sizeof(topic) - 1);
    cr_assert_eq(roulette_topic_cluster(handle), cluster);
    memset(topic, 'x', sizeof(topic) - 1); /* it has a copy */
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "some.topic", 10, NULL, NULL), 0);
    cr_assert_eq(roulette_topic_publish(handle, "a", 1), 0);
    cr_assert_eq(roulette_topic_publish_wait(handle, "b", 1, 100), 0);
    cr_assert_eq(roulette_topic_publish_wait(handle, NULL, 0, 100), 0);
    for (int i = 0; i < 3; i++) {
        struct roulette_message message;
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.cluster, (uint32_t)cluster);
        cr_assert_eq(message.payload_len, i < 2 ? 1 : 0);
        cr_assert_not_null(message.payload);
        cr_assert(i == 2 || *(const char *)message.payload == "ab"[i]);
        roulette_release(subscriber, &message, 1);
    }
    roulette_subscriber_close(subscriber);
    cr_assert_eq(roulette_topic_publish(handle, NULL, 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_close(client, 10000, NULL, 0), 0);
    cr_assert_eq(roulette_topic_publish(handle, "c", 1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_topic_publish_wait(handle, "c", 1, 100), ROULETTE_ECLOSED);
    roulette_free(client);
    cr_assert_eq(roulette_topic_publish(handle, "c", 1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_topic_cluster(handle), cluster);
    roulette_topic_free(handle);
    fleet_stop(&fleet);
}

/* ---- Servers that are away ---------------------------------------------------------------- */

Test(publish, unreachable_cluster_fails_what_it_took_and_recovers)
{
    enum { TAKEN = 1000 };
    struct fleet fleet;
    char away[32];
    char here[32];
    roulette_client *client;
    fleet_start(&fleet, 2);
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    struct roulette_options options = fleet_options(&fleet);
    options.max_retry = 5;
    options.base_backoff_ms = 20;
    cr_assert_eq(roulette_open(&options, &client), 0);
    size_t away_len = fleet_topic(client, 0, "t", 0, away, sizeof(away));
    size_t here_len = fleet_topic(client, 1, "t", 0, here, sizeof(here));
    uint64_t accepted = 0;
    int result = 0;
    uint64_t deadline_ms = net_now_ms() + EVENTUALLY_MS;
    while (result != ROULETTE_EUNREACHABLE && net_now_ms() < deadline_ms) {
        result = accepted < TAKEN ? roulette_publish_wait(client, away, away_len, "x", 1, 100)
                                  : roulette_publish_wait(client, away, away_len, "x", 1, 1);
        cr_assert(result == 0 || result == ROULETTE_ETIMEDOUT || result == ROULETTE_EUNREACHABLE,
                  "%s", roulette_error_name(result));
        accepted += result == 0 ? 1 : 0;
        cr_assert_eq(roulette_publish_wait(client, here, here_len, "x", 1, EVENTUALLY_MS), 0);
    }
    cr_assert_eq(result, ROULETTE_EUNREACHABLE);
    cr_assert_gt(accepted, 0);
    cr_assert_not_null(strstr(roulette_last_error(), "max_retry"));
    EVENTUALLY(fleet_stats(client, 0).ledger.failed == accepted);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.ledger.accepted, accepted);
    cr_assert_geq(stats.connect_failures, 5);
    cr_assert_eq(stats.last_error, ROULETTE_ECONNECT);
    cr_assert_eq(stats.connects, 0);
    cr_assert_eq(stats.queued_bytes, 0);

    cr_assert(nats_server_restart(fleet.servers[0]));
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    cr_assert_eq(roulette_publish(client, away, away_len, "x", 1), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    stats = fleet_stats(client, 0);
    cr_assert_eq(stats.ledger.accepted, accepted + 1);
    cr_assert_eq(stats.ledger.confirmed, 1);
    cr_assert_eq(stats.ledger.failed, accepted);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(publish, absent_cluster_gets_what_was_queued_when_it_comes)
{
    enum { MESSAGES = 1000 };
    struct fleet fleet;
    char topic[32];
    struct roulette_message message;
    roulette_client *client;
    fleet_start(&fleet, 2);
    cr_assert(nats_server_kill(fleet.servers[1], SIGKILL));
    struct roulette_options options = fleet_options(&fleet);
    cr_assert_eq(roulette_open(&options, &client), 0);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    size_t len = fleet_topic(client, 1, "t", 0, topic, sizeof(topic));
    cr_assert_eq(roulette_subscribe(subscriber, topic, len, NULL, NULL), 0);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        cr_assert_eq(roulette_publish(client, topic, len, &i, sizeof(i)), 0);
    }
    cr_assert_eq(roulette_flush(client, 50, NULL, 0), ROULETTE_ETIMEDOUT);
    cr_assert(nats_server_restart(fleet.servers[1]));
    for (uint32_t i = 0; i < MESSAGES; i++) {
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        cr_assert_eq(memcmp(message.payload, &i, sizeof(i)), 0);
        roulette_release(subscriber, &message, 1);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(final_ledger(client, 1).confirmed, MESSAGES);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(publish, stale_server_is_left_and_found_again)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.ping_interval_ms = 100;
    options.max_ping_failure = 2;
    options.connection_timeout_ms = 500;
    roulette_client *client = fleet_open(&options);
    cr_assert_eq(publish(client, "topic", 1), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert(nats_server_kill(fleet.servers[0], SIGSTOP));
    cr_assert_eq(publish(client, "topic", 1), 0);
    EVENTUALLY(fleet_stats(client, 0).disconnects == 1);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.lost_by_ping, 1);
    cr_assert_eq(stats.lost_by_server, 0);
    cr_assert_eq(stats.connected, 0);
    cr_assert_eq(stats.ledger.in_doubt, 1);
    cr_assert_eq(stats.ledger.confirmed, 1);
    /* It accepts connections and does not greet: its backlog does that. */
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= 1);
    stats = fleet_stats(client, 0);
    cr_assert_eq(stats.last_error, ROULETTE_ETIMEDOUT, "%s", roulette_error_name(stats.last_error));
    cr_assert(nats_server_kill(fleet.servers[0], SIGCONT));
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    stats = fleet_stats(client, 0);
    cr_assert_eq(stats.connected, 1);
    cr_assert_eq(stats.connects, 2);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Flush -------------------------------------------------------------------------------- */

struct flusher {
    roulette_client *client;
    int timeout_ms;
    int result;
    pthread_t thread;
};

static void *flush(void *argument)
{
    struct flusher *flusher = argument;
    flusher->result = roulette_flush(flusher->client, flusher->timeout_ms, NULL, 0);
    return NULL;
}

Test(publish, flush_tells_that_its_connection_was_lost)
{
    struct stage stage;
    set_up(&stage);
    cr_assert(nats_server_kill(stage.server, SIGSTOP));
    cr_assert_eq(publish(stage.client, "topic", 10), 0);
    uint64_t start_ms = net_now_ms();
    cr_assert_eq(roulette_flush(stage.client, 100, NULL, 0), ROULETTE_ETIMEDOUT);
    cr_assert_geq(net_now_ms() - start_ms + 1, 100);
    cr_assert_leq(net_now_ms() - start_ms, 100 + LATE_MS);
    struct flusher flusher = {.client = stage.client, .timeout_ms = -1};
    uint64_t sends = fleet_stats(stage.client, 0).sends;
    cr_assert_eq(pthread_create(&flusher.thread, NULL, flush, &flusher), 0);
    EVENTUALLY(fleet_stats(stage.client, 0).sends > sends);
    cr_assert(nats_server_kill(stage.server, SIGKILL));
    (void)pthread_join(flusher.thread, NULL);
    cr_assert_eq(flusher.result, ROULETTE_EDISCONNECTED, "%s", roulette_error_name(flusher.result));
    struct roulette_ledger ledger = final_ledger(stage.client, 0);
    cr_assert_eq(ledger.in_doubt, 1);
    cr_assert_eq(roulette_flush(stage.client, 50, &ledger, 1), ROULETTE_ETIMEDOUT);
    cr_assert(nats_server_restart(stage.server));
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, &ledger, 1), 0);
    cr_assert_eq(ledger.in_doubt, 1);
    tear_down(&stage);
}

Test(publish, flush_of_many_threads_ends_with_the_client)
{
    struct stage stage;
    static struct flusher flushers[16];
    set_up(&stage);
    cr_assert(nats_server_kill(stage.server, SIGSTOP));
    cr_assert_eq(publish(stage.client, "topic", 10), 0);
    for (size_t i = 0; i < 16; i++) {
        flushers[i] = (struct flusher){.client = stage.client, .timeout_ms = -1};
        cr_assert_eq(pthread_create(&flushers[i].thread, NULL, flush, &flushers[i]), 0);
    }
    cr_assert_eq(roulette_close(stage.client, 100, NULL, 0), ROULETTE_ETIMEDOUT);
    for (size_t i = 0; i < 16; i++) {
        (void)pthread_join(flushers[i].thread, NULL);
        int result = flushers[i].result;
        cr_assert(result == ROULETTE_ECLOSED || result == ROULETTE_EDISCONNECTED, "%s",
                  roulette_error_name(result));
    }
    roulette_free(stage.client);
    fleet_stop(&stage.fleet);
}

/* ---- Close -------------------------------------------------------------------------------- */

static void check_close_of_stopped(int timeout_ms, bool full)
{
    struct stage stage;
    struct roulette_ledger ledger;
    set_up(&stage);
    cr_assert(nats_server_kill(stage.server, SIGSTOP));
    uint64_t accepted = 1;
    cr_assert_eq(publish(stage.client, "topic", 1), 0);
    EVENTUALLY(fleet_stats(stage.client, 0).queued_bytes == 0);
    accepted += full ? fill_queue(stage.client) : 0;
    uint64_t start_ms = net_now_ms();
    int result = roulette_close(stage.client, timeout_ms, &ledger, 1);
    uint64_t took_ms = net_now_ms() - start_ms;
    cr_assert_eq(result, ROULETTE_ETIMEDOUT, "%s, timeout %d", roulette_error_name(result),
                 timeout_ms);
    cr_assert_leq(took_ms, (uint64_t)(timeout_ms + LATE_MS));
    cr_assert_geq(took_ms + 1, (uint64_t)timeout_ms);
    cr_assert_eq(fleet_difference(&ledger), 0);
    cr_assert_eq(ledger.accepted, accepted);
    cr_assert_eq(ledger.confirmed, 0);
    cr_assert_geq(ledger.in_doubt, 1);
    cr_assert(full || ledger.discarded == 0);
    cr_assert_eq(publish(stage.client, "topic", 1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_flush(stage.client, 0, NULL, 0), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_close(stage.client, 0, NULL, 0), ROULETTE_ECLOSED);
    cr_assert_eq(fleet_stats(stage.client, 0).connected, 0);
    roulette_free(stage.client);
    fleet_stop(&stage.fleet);
}

Test(publish, close_keeps_its_deadline_with_a_stopped_server)
{
    check_close_of_stopped(200, false);
    check_close_of_stopped(200, true);
}

Test(publish, close_at_once_tells_that_something_is_not_confirmed)
{
    check_close_of_stopped(0, true);
    check_close_of_stopped(0, false);
}

Test(publish, close_does_not_wait_for_a_cluster_that_was_given_nothing)
{
    struct fleet fleet;
    char topic[32];
    roulette_client *client;
    struct roulette_ledger ledgers[2];
    fleet_start(&fleet, 2);
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    struct roulette_options options = fleet_options(&fleet);
    cr_assert_eq(roulette_open(&options, &client), 0);
    EVENTUALLY(fleet_stats(client, 1).connected == 1);
    size_t len = fleet_topic(client, 1, "t", 0, topic, sizeof(topic));
    cr_assert_eq(roulette_publish(client, topic, len, "x", 1), 0);
    uint64_t start_ms = net_now_ms();
    cr_assert_eq(roulette_close(client, 5000, ledgers, 2), 0, "%s", roulette_last_error());
    cr_assert_leq(net_now_ms() - start_ms, LATE_MS);
    cr_assert_eq(ledgers[1].confirmed, 1);
    roulette_free(client);
    fleet_stop(&fleet);
}

Test(publish, free_without_close_discards)
{
    struct fleet fleet;
    roulette_client *client;
    fleet_start(&fleet, 1);
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    struct roulette_options options = fleet_options(&fleet);
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(publish(client, "topic", 100), 0);
    roulette_free(client);
    fleet_stop(&fleet);
}

/* ---- Publishing while the client is closed ------------------------------------------------ */

struct racer {
    roulette_client *client;
    uint64_t accepted;
    pthread_t thread;
};

static void *race(void *argument)
{
    struct racer *racer = argument;
    int result;
    while ((result = roulette_publish_wait(racer->client, "topic", 5, "payload", 7, 10)) !=
           ROULETTE_ECLOSED) {
        REQUIRE(result == 0 || result == ROULETTE_ETIMEDOUT, "%s", roulette_error_name(result));
        racer->accepted += result == 0 ? 1 : 0;
    }
    return NULL;
}

Test(publish, no_count_is_lost_when_threads_publish_during_close)
{
    enum { RACERS = 20, ROUNDS = SCALED(30, 10) };
    struct fleet fleet;
    static struct racer racers[RACERS];
    fleet_start(&fleet, 1);
    for (int round = 0; round < ROUNDS; round++) {
        struct roulette_options options = fleet_options(&fleet);
        options.queue_bytes = QUEUE_BYTES;
        roulette_client *client = fleet_open(&options);
        for (size_t i = 0; i < RACERS; i++) {
            racers[i] = (struct racer){.client = client};
            cr_assert_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
        }
        EVENTUALLY(fleet_stats(client, 0).ledger.accepted > 1000);
        int result = roulette_close(client, round % 2 == 0 ? 0 : 100, NULL, 0);
        cr_assert(result == 0 || result == ROULETTE_ETIMEDOUT);
        uint64_t accepted = 0;
        for (size_t i = 0; i < RACERS; i++) {
            (void)pthread_join(racers[i].thread, NULL);
            accepted += racers[i].accepted;
        }
        cr_assert_eq(final_ledger(client, 0).accepted, accepted);
        roulette_free(client);
    }
    fleet_stop(&fleet);
}

/* ---- Sizes -------------------------------------------------------------------------------- */

Test(publish, message_up_to_half_a_lane_is_taken)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    roulette_subscriber *subscriber = fleet_subscriber(stage.client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "topic", 5, NULL, NULL), 0);
    size_t largest = 0;
    for (size_t len = LANE_BYTES / 2 - 100; len <= LANE_BYTES / 2 + 100; len++) {
        int result = publish(stage.client, "topic", len);
        cr_assert(result == 0 || result == ROULETTE_EPAYLOAD, "%zu bytes: %s", len,
                  roulette_error_name(result));
        if (result == 0) {
            cr_assert(largest == 0 || len == largest + 1);
            largest = len;
            cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
            cr_assert_eq(message.payload_len, len);
            roulette_release(subscriber, &message, 1);
        }
    }
    cr_assert_gt(largest, LANE_BYTES / 2 - 100);
    cr_assert_lt(largest, LANE_BYTES / 2);
    cr_assert_not_null(strstr(roulette_last_error(), "queue_bytes"));
    roulette_subscriber_close(subscriber);
    tear_down(&stage);
}
