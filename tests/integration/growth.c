/* SPDX-License-Identifier: MIT */
/**
 * A user's program that uses every public struct. It is compiled with headers in which one struct
 * has a field less or a field more than in that of the library: see vary_header, which defines
 * VARIED_less_STRUCT or VARIED_more_STRUCT. What it gives to the library lies between guard bytes.
 *
 * usage: growth HOST:PORT,HOST:PORT
 * Exit code: 0 if all is as the header says; 1 after a line that says what is not.
 */
#include <roulette.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD      64
#define PATTERN    0xa5
#define MESSAGES   3
#define ROOM       5 /* in arrays: more than comes */
#define TIMEOUT_MS 10000

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "growth.c:%d: %s; %s\n", __LINE__, #condition, roulette_last_error()); \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- Guard bytes -------------------------------------------------------------------------- */

static int is_pattern(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (((const unsigned char *)bytes)[i] != PATTERN) {
            return 0;
        }
    }
    return 1;
}

/* Memory that is all PATTERN, as what surrounds it. */
static void *guarded(size_t size)
{
    unsigned char *block = malloc(size + (size_t)2 * GUARD);
    CHECK(block != NULL);
    memset(block, PATTERN, size + (size_t)2 * GUARD);
    return block + GUARD;
}

static int is_guarded(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    return is_pattern(bytes - GUARD, GUARD) && is_pattern(bytes + size, GUARD);
}

static void give_up(void *memory, size_t size)
{
    CHECK(is_guarded(memory, size));
    free((unsigned char *)memory - GUARD);
}

/* An option that the library does not know is refused, and changes nothing. */
#define CHECK_REFUSED(call, out)                                       \
    do {                                                               \
        CHECK((call) == ROULETTE_EINVAL);                              \
        CHECK(strstr(roulette_last_error(), "does not know") != NULL); \
        CHECK(is_pattern((out), sizeof(*(out))));                      \
    } while (0)

/* ---- Each struct -------------------------------------------------------------------------- */

static roulette_client *open_client(const char *servers)
{
    roulette_client *client;
    struct roulette_options *options = guarded(sizeof(*options));
    roulette_options_init(options);
    CHECK(is_guarded(options, sizeof(*options)));
    CHECK(options->size == sizeof(*options));
    CHECK(options->pool_size == 1 && options->tls_verify == 1 && options->max_retry == 10);
    options->servers = servers;
    memset(&client, PATTERN, sizeof(client));
#ifdef VARIED_more_roulette_options
    CHECK(options->added == 0);
    options->added = 7;
    CHECK_REFUSED(roulette_open(options, &client), &client);
    options->added = 0;
#endif
#ifndef VARIED_less_roulette_options
    CHECK(options->confirm_ms == 50);
#endif
    CHECK(roulette_open(options, &client) == 0);
    give_up(options, sizeof(*options));
    return client;
}

static roulette_subscriber *open_subscriber(roulette_client *client)
{
    roulette_subscriber *subscriber;
    struct roulette_subscriber_options *options = guarded(sizeof(*options));
    roulette_subscriber_options_init(options);
    CHECK(is_guarded(options, sizeof(*options)));
    CHECK(options->size == sizeof(*options) && options->ring_slots == 65536);
    memset(&subscriber, PATTERN, sizeof(subscriber));
#ifdef VARIED_more_roulette_subscriber_options
    CHECK(options->added == 0);
    options->added = 7;
    CHECK_REFUSED(roulette_subscriber_open(client, options, &subscriber), &subscriber);
    options->added = 0;
#endif
#ifndef VARIED_less_roulette_subscriber_options
    CHECK(options->pinned_bytes == 0);
#endif
    options->ring_slots = 1024;
    CHECK(roulette_subscriber_open(client, options, &subscriber) == 0);
    give_up(options, sizeof(*options));
    return subscriber;
}

static void subscribe(roulette_subscriber *subscriber, void *user_data)
{
    roulette_subscription *subscription;
    struct roulette_subscription_options *options = guarded(sizeof(*options));
    roulette_subscription_options_init(options);
    CHECK(is_guarded(options, sizeof(*options)));
    CHECK(options->size == sizeof(*options) && options->queue_group == NULL);
    options->user_data = user_data;
    options->max_messages = 100;
    memset(&subscription, PATTERN, sizeof(subscription));
#ifdef VARIED_more_roulette_subscription_options
    CHECK(options->added == 0);
    options->added = 7;
    CHECK_REFUSED(roulette_subscribe_with(subscriber, "t", 1, options, &subscription),
                  &subscription);
    options->added = 0;
#endif
#ifndef VARIED_less_roulette_subscription_options
    CHECK(options->timeout_ms == 0);
#endif
    CHECK(roulette_subscribe_with(subscriber, "t", 1, options, &subscription) == 0);
    give_up(options, sizeof(*options));
}

/* `ledgers` has room for ROOM, of which the first two are filled. */
static void check_ledgers(const struct roulette_ledger *ledgers, size_t carrier, uint64_t accepted)
{
    for (size_t i = 0; i < 2; i++) {
        CHECK(ledgers[i].accepted == (i == carrier ? accepted : 0));
        CHECK(ledgers[i].confirmed == ledgers[i].accepted && ledgers[i].discarded == 0);
#ifdef VARIED_more_roulette_ledger
        CHECK(ledgers[i].added == 0);
#endif
#ifndef VARIED_less_roulette_ledger
        CHECK(ledgers[i].denied == 0);
#endif
    }
    CHECK(is_pattern(&ledgers[2], (ROOM - 2) * sizeof(ledgers[2])));
}

static void check_message(const struct roulette_message *message, int number, const void *user_data)
{
    CHECK(message->kind == ROULETTE_KIND_MESSAGE && message->user_data == user_data);
    CHECK(message->topic_len == 1 && message->topic[0] == 't' && message->reply == NULL);
    CHECK(message->payload_len == 1 && *(const char *)message->payload == '0' + number);
    CHECK(message->count == 0 && message->error == 0);
#ifdef VARIED_more_roulette_message
    CHECK(message->added == 0);
#endif
#ifndef VARIED_less_roulette_message
    CHECK(message->bounds == 0);
#endif
}

static void receive_all(roulette_subscriber *subscriber, const void *user_data)
{
    size_t size = ROOM * sizeof(struct roulette_message);
    struct roulette_message *messages = guarded(size);
    struct roulette_message *copy = guarded(sizeof(*copy));
    int count = 0;
    while (count < MESSAGES) {
        int more = roulette_receive(subscriber, &messages[count], ROOM - (size_t)count, TIMEOUT_MS);
        CHECK(more > 0);
        count += more;
    }
    CHECK(count == MESSAGES);
    CHECK(is_pattern(&messages[MESSAGES], (ROOM - MESSAGES) * sizeof(*messages)));
    for (int i = 0; i < MESSAGES; i++) {
        check_message(&messages[i], i, user_data);
    }
    CHECK(roulette_message_copy(&messages[1], copy) == 0);
    roulette_release(subscriber, messages, MESSAGES);
    check_message(copy, 1, user_data);
    roulette_release(NULL, copy, 1);
    give_up(messages, size);
    give_up(copy, sizeof(*copy));
}

static void check_stats(const roulette_client *client, size_t cluster)
{
    struct roulette_stats *stats = guarded(sizeof(*stats));
    CHECK(roulette_stats_get(client, cluster, stats) == 0);
    CHECK(stats->size == sizeof(*stats));
    CHECK(stats->ledger.accepted == MESSAGES && stats->ledger.confirmed == MESSAGES);
    CHECK(stats->delivered_messages == MESSAGES && stats->connected == 1);
    CHECK(strcmp(stats->backend, "io_uring") == 0 && stats->dropped_limit == 0);
#ifdef VARIED_more_roulette_stats
    CHECK(stats->added == 0);
#endif
#ifndef VARIED_less_roulette_stats
    CHECK(stats->held_back == 0);
#endif
    give_up(stats, sizeof(*stats));
}

int main(int argc, char **argv)
{
    static int user_data;
    CHECK(argc == 2);
    roulette_client *client = open_client(argv[1]);
    roulette_subscriber *subscriber = open_subscriber(client);
    size_t carrier = (size_t)roulette_cluster_of(client, "t", 1);
    size_t size = ROOM * sizeof(struct roulette_ledger);
    struct roulette_ledger *ledgers = guarded(size);
    subscribe(subscriber, &user_data);
    CHECK(roulette_flush(client, TIMEOUT_MS, ledgers, ROOM) == 0);
    check_ledgers(ledgers, carrier, 0);
    for (int i = 0; i < MESSAGES; i++) {
        char payload = (char)('0' + i);
        CHECK(roulette_publish(client, "t", 1, &payload, 1) == 0);
    }
    CHECK(roulette_flush(client, TIMEOUT_MS, ledgers, ROOM) == 0);
    check_ledgers(ledgers, carrier, MESSAGES);
    receive_all(subscriber, &user_data);
    check_stats(client, carrier);
    roulette_subscriber_close(subscriber);
    CHECK(roulette_close(client, TIMEOUT_MS, ledgers, ROOM) == 0);
    check_ledgers(ledgers, carrier, MESSAGES);
    give_up(ledgers, size);
    roulette_free(client);
    return 0;
}
