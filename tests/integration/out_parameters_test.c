/* SPDX-License-Identifier: MIT */
/**
 * Out-parameters are untouched when a call fails, each one of each public function; and set where
 * the header says so.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

#define PATTERN 0xa5

/* What a call may set. */
union out {
    roulette_client *client;
    roulette_subscriber *subscriber;
    roulette_subscription *subscription;
    roulette_topic *topic;
    struct roulette_message messages[2];
    struct roulette_ledger ledgers[2];
    struct roulette_stats stats;
    char text[64];
};

/* What the calls are made on. */
struct stage {
    struct fleet fleet;
    struct roulette_options options;
    roulette_client *client;
    roulette_subscriber *subscriber;
    struct roulette_message notice;
    struct roulette_message message; /* not released yet */
    struct roulette_message released;
    roulette_client *closed;
    roulette_subscriber *of_closed;
    roulette_client *away; /* nothing listens at its server's port */
    roulette_subscriber *of_away;
    roulette_subscriber *of_publisher;
};

static void fill(union out *out)
{
    memset(out, PATTERN, sizeof(*out));
}

/* Whether the bytes from `from` on are as fill() left them. */
static bool is_untouched(const union out *out, size_t from)
{
    const unsigned char *bytes = (const unsigned char *)out;
    for (size_t i = from; i < sizeof(*out); i++) {
        if (bytes[i] != PATTERN) {
            return false;
        }
    }
    return true;
}

/* ---- The stage ---------------------------------------------------------------------------- */

static roulette_client *open_another(const struct stage *s, enum roulette_role role,
                                     const char *servers)
{
    roulette_client *client;
    struct roulette_options options = s->options;
    options.role = role;
    options.servers = servers;
    cr_assert_eq(roulette_open(&options, &client), 0, "%s", roulette_last_error());
    return client;
}

static void receive_one(const struct stage *s, struct roulette_message *message)
{
    cr_assert_eq(roulette_publish(s->client, "t", 1, "x", 1), 0);
    cr_assert_eq(roulette_receive(s->subscriber, message, 1, EVENTUALLY_MS), 1);
}

static void set_up(struct stage *s)
{
    memset(s, 0, sizeof(*s));
    fleet_start(&s->fleet, 1);
    s->options = fleet_options(&s->fleet);
    s->client = fleet_open(&s->options);
    s->subscriber = fleet_subscriber(s->client, 0);
    fleet_subscribe(s->subscriber, "t");
    receive_one(s, &s->released);
    roulette_release(s->subscriber, &s->released, 1);
    receive_one(s, &s->message);
    s->notice.kind = ROULETTE_KIND_LOST;
    s->closed = open_another(s, ROULETTE_ROLE_BOTH, s->fleet.list);
    s->of_closed = fleet_subscriber(s->closed, 0);
    cr_assert_eq(roulette_close(s->closed, EVENTUALLY_MS, NULL, 0), 0);
    s->away = open_another(s, ROULETTE_ROLE_BOTH, "127.0.0.1:1");
    s->of_away = fleet_subscriber(s->away, 0);
    roulette_client *publisher = open_another(s, ROULETTE_ROLE_PUBLISHER, s->fleet.list);
    s->of_publisher = fleet_subscriber(publisher, 0);
    roulette_free(publisher); /* its subscriber keeps it */
}

static void tear_down(struct stage *s)
{
    roulette_release(s->subscriber, &s->message, 1);
    roulette_subscriber_close(s->subscriber);
    roulette_subscriber_close(s->of_closed);
    roulette_subscriber_close(s->of_away);
    roulette_subscriber_close(s->of_publisher);
    roulette_free(s->client);
    roulette_free(s->closed);
    roulette_free(s->away);
    fleet_stop(&s->fleet);
}

/* ---- Calls that need a line more ----------------------------------------------------------- */

static int open_empty(union out *out)
{
    const struct roulette_options options = {.servers = "127.0.0.1:1"};
    return roulette_open(&options, &out->client);
}

static int open_servers(const struct stage *s, union out *out, const char *servers)
{
    struct roulette_options options = s->options;
    options.servers = servers;
    return roulette_open(&options, &out->client);
}

static int open_pool(const struct stage *s, union out *out, uint32_t pool_size)
{
    struct roulette_options options = s->options;
    options.pool_size = pool_size;
    return roulette_open(&options, &out->client);
}

static int open_reserved(const struct stage *s, union out *out)
{
    struct roulette_options options = s->options;
    options.reserved = 1;
    return roulette_open(&options, &out->client);
}

static int open_credentials(const struct stage *s, union out *out, const char *file)
{
    struct roulette_options options = s->options;
    options.credentials_file = file;
    return roulette_open(&options, &out->client);
}

static int open_ca(const struct stage *s, union out *out, const char *file)
{
    struct roulette_options options = s->options;
    options.tls = 1;
    options.tls_ca_file = file;
    return roulette_open(&options, &out->client);
}

static int subscriber_empty(const struct stage *s, union out *out)
{
    const struct roulette_subscriber_options options = {.ring_slots = 1024};
    return roulette_subscriber_open(s->client, &options, &out->subscriber);
}

static int subscriber_slots(const struct stage *s, union out *out, uint32_t ring_slots)
{
    struct roulette_subscriber_options options;
    roulette_subscriber_options_init(&options);
    options.ring_slots = ring_slots;
    return roulette_subscriber_open(s->client, &options, &out->subscriber);
}

static int subscribe_empty(const struct stage *s, union out *out)
{
    const struct roulette_subscription_options options = {.max_messages = 1};
    return roulette_subscribe_with(s->subscriber, "u", 1, &options, &out->subscription);
}

static int subscribe_reserved(const struct stage *s, union out *out)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.reserved = 1;
    return roulette_subscribe_with(s->subscriber, "u", 1, &options, &out->subscription);
}

static int subscribe_group(const struct stage *s, union out *out, const char *group)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.queue_group = group;
    return roulette_subscribe_with(s->subscriber, "u", 1, &options, &out->subscription);
}

static int subscribe_waiting(roulette_subscriber *subscriber, union out *out, const char *topic)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.timeout_ms = 20;
    return roulette_subscribe_with(subscriber, topic, ROULETTE_STRLEN, &options,
                                   &out->subscription);
}

/* ---- The table ---------------------------------------------------------------------------- */

/* X(error, what may be touched in front, call): `s` is the stage, `out` what the call may set. */
#define FAILURES(X)                                                                      \
    X(EINVAL, 0, roulette_open(NULL, &out->client))                                      \
    X(EINVAL, 0, open_empty(out))                                                        \
    X(EINVAL, 0, open_pool(s, out, 0))                                                   \
    X(EINVAL, 0, open_reserved(s, out))                                                  \
    X(ESERVERS, 0, open_servers(s, out, ""))                                             \
    X(ESERVERS, 0, open_servers(s, out, "h:1,h:1"))                                      \
    X(EINVAL, 0, open_credentials(s, out, "/nonexistent"))                               \
    X(EINVAL, 0, open_ca(s, out, "/nonexistent"))                                        \
    X(EINVAL, 0, roulette_close(NULL, 0, out->ledgers, 2))                               \
    X(ECLOSED, 0, roulette_close(s->closed, 0, out->ledgers, 2))                         \
    X(EINVAL, 0, roulette_flush(NULL, 0, out->ledgers, 2))                               \
    X(ECLOSED, 0, roulette_flush(s->closed, 0, out->ledgers, 2))                         \
    X(EINVAL, 0, roulette_flush_cluster(NULL, 0, 0, out->ledgers))                       \
    X(EINVAL, 0, roulette_flush_cluster(s->client, 7, 0, out->ledgers))                  \
    X(ECLOSED, 0, roulette_flush_cluster(s->closed, 0, 0, out->ledgers))                 \
    X(EINVAL, 0, roulette_cluster_error(NULL, 0, out->text, sizeof(out->text)))          \
    X(EINVAL, 0, roulette_cluster_error(s->client, 7, out->text, sizeof(out->text)))     \
    X(EINVAL, 0, roulette_topic_create(NULL, "t", 1, &out->topic))                       \
    X(EINVAL, 0, roulette_topic_create(s->client, NULL, 1, &out->topic))                 \
    X(ETOPIC, 0, roulette_topic_create(s->client, "a..b", 4, &out->topic))               \
    X(EWILDCARD, 0, roulette_topic_create(s->client, "a.*", 3, &out->topic))             \
    X(ECLOSED, 0, roulette_topic_create(s->closed, "t", 1, &out->topic))                 \
    X(EINVAL, 0, roulette_subscriber_open(NULL, NULL, &out->subscriber))                 \
    X(EINVAL, 0, subscriber_empty(s, out))                                               \
    X(EINVAL, 0, subscriber_slots(s, out, 17))                                           \
    X(ECLOSED, 0, roulette_subscriber_open(s->closed, NULL, &out->subscriber))           \
    X(EINVAL, 0, roulette_subscribe(NULL, "u", 1, NULL, &out->subscription))             \
    X(EINVAL, 0, roulette_subscribe(s->subscriber, NULL, 1, NULL, &out->subscription))   \
    X(ETOPIC, 0, roulette_subscribe(s->subscriber, "a..b", 4, NULL, &out->subscription)) \
    X(EROLE, 0, roulette_subscribe(s->of_publisher, "u", 1, NULL, &out->subscription))   \
    X(ECLOSED, 0, roulette_subscribe(s->of_closed, "u", 1, NULL, &out->subscription))    \
    X(EINVAL, 0, roulette_subscribe_with(NULL, "u", 1, NULL, &out->subscription))        \
    X(EINVAL, 0, subscribe_empty(s, out))                                                \
    X(EINVAL, 0, subscribe_reserved(s, out))                                             \
    X(ETOPIC, 0, subscribe_group(s, out, "a b"))                                         \
    X(ETIMEDOUT, 0, subscribe_waiting(s->of_away, out, "u"))                             \
    X(ETIMEDOUT, 0, subscribe_waiting(s->of_away, out, "u.*"))                           \
    X(ECLOSED, 0, subscribe_waiting(s->of_closed, out, "u"))                             \
    X(EINVAL, 0, roulette_receive(NULL, out->messages, 2, 0))                            \
    X(EINVAL, 0, roulette_receive(s->subscriber, out->messages, 0, 0))                   \
    X(ECLOSED, 0, roulette_receive(s->of_closed, out->messages, 2, 0))                   \
    X(EINVAL, 0, roulette_message_copy(NULL, out->messages))                             \
    X(EINVAL, 0, roulette_message_copy(&s->notice, out->messages))                       \
    X(EINVAL, 0, roulette_message_copy(&s->released, out->messages))                     \
    X(EINVAL, sizeof(size_t), roulette_stats_get(NULL, 0, &out->stats))                  \
    X(EINVAL, sizeof(size_t), roulette_stats_get(s->client, 7, &out->stats))             \
    X(EINVAL, 0, roulette_stats_fill(s->client, 0, &out->stats))

struct row {
    const char *call;
    int error;
    size_t touched; /* bytes */
};

/* Make the `index`-th call. */
static int make_call(const struct stage *s, union out *out, int index)
{
    int row = 0;
#define CALL(error, touched, call) \
    if (index == row++) {          \
        return call;               \
    }
    FAILURES(CALL)
#undef CALL
    return 0;
}

Test(out_parameters, of_a_call_that_fails_are_untouched)
{
    static const struct row rows[] = {
#define ROW(error, touched, call) {#call, ROULETTE_##error, touched},
        FAILURES(ROW)
#undef ROW
    };
    struct stage s;
    int wrong = 0;
    set_up(&s);
    for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
        union out out;
        fill(&out);
        int result = make_call(&s, &out, i);
        if (result != rows[i].error || !is_untouched(&out, rows[i].touched)) {
            (void)fprintf(stderr, "%s: %s, %stouched\n", rows[i].call, roulette_error_name(result),
                          is_untouched(&out, rows[i].touched) ? "un" : "");
            wrong++;
        }
    }
    cr_assert_eq(wrong, 0, "%d rows", wrong);
    tear_down(&s);
}

/* ---- Without memory ----------------------------------------------------------------------- */

/* A gate that refuses one allocation. */
struct gate {
    _Atomic(int) left; /* that it lets through before */
};

static int refuse_one(void *context, size_t size)
{
    struct gate *gate = context;
    (void)size;
    return atomic_fetch_sub_explicit(&gate->left, 1, memory_order_relaxed) != 0;
}

static int open_and_free(const struct stage *s, union out *out)
{
    int result = roulette_open(&s->options, &out->client);
    if (result == 0) {
        roulette_free(out->client);
    }
    return result;
}

static int create_topic(const struct stage *s, union out *out)
{
    int result = roulette_topic_create(s->client, "t", 1, &out->topic);
    if (result == 0) {
        roulette_topic_free(out->topic);
    }
    return result;
}

static int open_subscriber(const struct stage *s, union out *out)
{
    int result = roulette_subscriber_open(s->client, NULL, &out->subscriber);
    if (result == 0) {
        roulette_subscriber_close(out->subscriber);
    }
    return result;
}

static int subscribe(const struct stage *s, union out *out)
{
    int result = roulette_subscribe(s->subscriber, "u", 1, NULL, &out->subscription);
    if (result == 0) {
        (void)roulette_unsubscribe(s->subscriber, out->subscription);
    }
    return result;
}

static int copy_message(const struct stage *s, union out *out)
{
    int result = roulette_message_copy(&s->message, out->messages);
    if (result == 0) {
        roulette_release(NULL, out->messages, 1);
    }
    return result;
}

static int flush_all(const struct stage *s, union out *out)
{
    return roulette_flush(s->client, EVENTUALLY_MS, out->ledgers, 2);
}

static int flush_one(const struct stage *s, union out *out)
{
    return roulette_flush_cluster(s->client, 0, EVENTUALLY_MS, out->ledgers);
}

Test(out_parameters, of_a_call_without_memory_are_untouched)
{
    int (*const calls[])(const struct stage *s, union out *out) = {
        open_and_free, create_topic, open_subscriber, subscribe, copy_message, flush_all, flush_one,
    };
    struct stage s;
    set_up(&s);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        int failed = 0;
        int result = -1;
        for (int left = 0; result != 0; left++) {
            union out out;
            struct gate gate = {left};
            fill(&out);
            rlt_memory_set_gate(refuse_one, &gate);
            result = calls[i](&s, &out);
            rlt_memory_set_gate(NULL, NULL);
            cr_assert(result == 0 || result == ROULETTE_ENOMEM, "call %zu, %d let through: %s", i,
                      left, roulette_error_name(result));
            cr_assert(result == 0 || is_untouched(&out, 0), "call %zu, %d let through", i, left);
            failed += result != 0 ? 1 : 0;
        }
        cr_assert_gt(failed, 0, "call %zu allocates", i);
    }
    tear_down(&s);
}

/* ---- Receiving ---------------------------------------------------------------------------- */

/* A notice of a subscription that is over lies in front: nobody is to see it. */
Test(out_parameters, receive_of_a_closed_client_leaves_the_array_alone)
{
    struct fleet fleet;
    union out out;
    roulette_subscription *subscription;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, &subscription), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    struct pollfd readable = {.fd = roulette_subscriber_fd(subscriber), .events = POLLIN};
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    cr_assert_eq(poll(&readable, 1, EVENTUALLY_MS), 1, "the loss is told");
    cr_assert_eq(roulette_unsubscribe(subscriber, subscription), 0);
    (void)roulette_close(client, 0, NULL, 0);
    fill(&out);
    cr_assert_eq(roulette_receive(subscriber, out.messages, 2, 0), ROULETTE_ECLOSED);
    cr_assert(is_untouched(&out, 0));
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    fleet_stop(&fleet);
}

/* ---- Where the header says that one is set ------------------------------------------------- */

Test(out_parameters, existing_subscription_is_told_with_eexist)
{
    struct stage s;
    roulette_subscription *first;
    roulette_subscription *again = NULL;
    set_up(&s);
    cr_assert_eq(roulette_subscribe(s.subscriber, "u", 1, NULL, &first), 0);
    cr_assert_eq(roulette_subscribe(s.subscriber, "u", 1, NULL, &again), ROULETTE_EEXIST);
    cr_assert_eq(again, first);
    tear_down(&s);
}

Test(out_parameters, ledgers_of_a_flush_that_was_in_vain_are_told)
{
    struct stage s;
    struct roulette_ledger ledger = {.accepted = 7};
    set_up(&s);
    cr_assert_eq(roulette_publish(s.away, "t", 1, "x", 1), 0);
    cr_assert_eq(roulette_flush(s.away, 20, &ledger, 1), ROULETTE_ETIMEDOUT);
    cr_assert_eq(ledger.accepted, 1);
    ledger.accepted = 7;
    cr_assert_eq(roulette_flush_cluster(s.away, 0, 20, &ledger), ROULETTE_ETIMEDOUT);
    cr_assert_eq(ledger.accepted, 1);
    ledger.accepted = 7;
    cr_assert_eq(roulette_close(s.away, 20, &ledger, 1), ROULETTE_ETIMEDOUT);
    cr_assert_eq(ledger.accepted, 1);
    tear_down(&s);
}
