/* SPDX-License-Identifier: MIT */
#include "harness/goal.h"

#include <stdio.h>

/* What a figure is compared with. */
enum reference {
    ABSOLUTE,
    OF_LIBNATS,
    OF_RAW,
    OF_ONE_THREAD, /* this library, with one publishing thread */
    OF_ONE_TOPIC,
    OF_TEN_TOPICS,
    OF_TEN_SUBSCRIPTIONS,
    OF_ONE_CLUSTER,
};

enum bound { AT_LEAST, AT_MOST };

/* A goal of a peer on the workloads that have these figures; 0 is any, but of pace and CPUs. */
struct rule {
    const struct peer *peer;
    struct workload workload;
    enum metric metric;
    enum bound bound;
    double wanted;
    enum reference reference;
};

#define PUBLISH(len, thread_count) \
    {.kind = WORKLOAD_PUBLISH,     \
     .payload_len = (len),         \
     .threads = (thread_count),    \
     .clusters = 1,                \
     .topics = 1}
#define PUBLISH_TOPICS(topic_count) \
    {.kind = WORKLOAD_PUBLISH, .threads = 1, .clusters = 1, .topics = (topic_count)}
#define PUBLISH_OVER(len, thread_count, cluster_count) \
    {.kind = WORKLOAD_PUBLISH,                         \
     .payload_len = (len),                             \
     .threads = (thread_count),                        \
     .clusters = (cluster_count),                      \
     .topics = 100}
#define PUBLISH_NATS(server_kind) \
    {.kind = WORKLOAD_PUBLISH, .server = (server_kind), .payload_len = 128, .threads = 1}
#define DELIVER_OVER(cluster_count) \
    {.kind = WORKLOAD_DELIVER,      \
     .payload_len = 128,            \
     .clusters = (cluster_count),   \
     .topics = 100,                 \
     .subscriptions = 100}
#define DELIVER(len) \
    {.kind = WORKLOAD_DELIVER, .payload_len = (len), .topics = 1, .subscriptions = 1}
#define DELIVER_OF(topic_count, subscription_count) \
    {.kind = WORKLOAD_DELIVER, .topics = (topic_count), .subscriptions = (subscription_count)}
#define FAN_OUT {.kind = WORKLOAD_FAN_OUT, .server = SERVER_NATS}
#define LATENCY(server_kind, rate, ...) \
    {.kind = WORKLOAD_LATENCY, .server = (server_kind), .pace = (rate), __VA_ARGS__}
#define ONE_CPU             .one_cpu = true
#define OVER(cluster_count) .clusters = (cluster_count)
#define TLS_PUBLISH(len)       \
    {.kind = WORKLOAD_PUBLISH, \
     .payload_len = (len),     \
     .threads = 1,             \
     .clusters = 1,            \
     .topics = 1,              \
     .tls = true}
#define TLS_DELIVER(len) \
    {.kind = WORKLOAD_DELIVER, .payload_len = (len), .topics = 1, .subscriptions = 1, .tls = true}

static const struct rule rules[] = {
    {&peer_roulette, PUBLISH(16, 1), METRIC_RATE, AT_LEAST, 1.8, OF_LIBNATS},
    {&peer_roulette, PUBLISH(16, 1), METRIC_CPU, AT_MOST, 0.7, OF_LIBNATS},
    {&peer_roulette, PUBLISH(16, 1), METRIC_CALLS, AT_MOST, 0.01, ABSOLUTE},
    {&peer_roulette, PUBLISH(16, 2), METRIC_RATE, AT_LEAST, 6, OF_LIBNATS},
    {&peer_roulette, PUBLISH(16, 2), METRIC_RATE, AT_LEAST, 0.8, OF_ONE_THREAD},
    {&peer_roulette, PUBLISH(16, 4), METRIC_RATE, AT_LEAST, 6, OF_LIBNATS},
    {&peer_roulette, PUBLISH(16, 4), METRIC_RATE, AT_LEAST, 0.8, OF_ONE_THREAD},
    {&peer_roulette, PUBLISH(16, 8), METRIC_RATE, AT_LEAST, 0.6, OF_ONE_THREAD},
    {&peer_roulette, PUBLISH(128, 1), METRIC_RATE, AT_LEAST, 2, OF_LIBNATS},
    {&peer_roulette, PUBLISH(128, 1), METRIC_CPU, AT_MOST, 1.6, OF_RAW},
    {&peer_roulette, PUBLISH(128, 4), METRIC_RATE, AT_LEAST, 4, OF_LIBNATS},
    {&peer_roulette, PUBLISH(128, 4), METRIC_RATE, AT_LEAST, 0.7, OF_ONE_THREAD},
    {&peer_roulette, PUBLISH(128, 8), METRIC_RATE, AT_LEAST, 0.6, OF_ONE_THREAD},
    {&peer_roulette, PUBLISH_TOPICS(100), METRIC_CPU, AT_MOST, 1.3, OF_ONE_TOPIC},
    {&peer_roulette, PUBLISH_TOPICS(10000), METRIC_CPU, AT_MOST, 1.3, OF_ONE_TOPIC},
    {&peer_roulette, PUBLISH_OVER(16, 1, 4), METRIC_RATE, AT_LEAST, 3, OF_LIBNATS},
    {&peer_roulette, PUBLISH_OVER(128, 1, 4), METRIC_RATE, AT_LEAST, 2, OF_LIBNATS},
    {&peer_roulette, PUBLISH_OVER(128, 1, 4), METRIC_CPU, AT_MOST, 1.2, OF_ONE_CLUSTER},
    {&peer_roulette, PUBLISH_OVER(128, 1, 4), METRIC_CALLS, AT_MOST, 0.01, ABSOLUTE},
    {&peer_roulette, PUBLISH_OVER(128, 4, 4), METRIC_RATE, AT_LEAST, 4, OF_LIBNATS},
    {&peer_roulette, PUBLISH_OVER(128, 1, 16), METRIC_RATE, AT_LEAST, 1.8, OF_LIBNATS},
    {&peer_roulette, PUBLISH_OVER(128, 1, 16), METRIC_CPU, AT_MOST, 1.35, OF_ONE_CLUSTER},
    {&peer_roulette, PUBLISH_OVER(128, 1, 16), METRIC_CALLS, AT_MOST, 0.01, ABSOLUTE},
    {&peer_roulette, PUBLISH_OVER(0, 0, 0), METRIC_SENDS, AT_MOST, 0.01, ABSOLUTE},
    {&peer_roulette, PUBLISH_NATS(SERVER_NATS), METRIC_RATE, AT_LEAST, 1.1, OF_LIBNATS},
    {&peer_roulette, PUBLISH_NATS(SERVER_NATS_NEWER), METRIC_RATE, AT_LEAST, 1.1, OF_LIBNATS},
    {&peer_roulette, PUBLISH(1024, 1), METRIC_RATE, AT_LEAST, 1.1, OF_LIBNATS},
    {&peer_roulette, PUBLISH(1024, 1), METRIC_CPU, AT_MOST, 1.4, OF_RAW},
    {&peer_roulette, PUBLISH(1024, 4), METRIC_RATE, AT_LEAST, 0.7, OF_ONE_THREAD},
    {&peer_roulette, PUBLISH(1024, 8), METRIC_RATE, AT_LEAST, 0.6, OF_ONE_THREAD},
    {&peer_roulette, DELIVER(16), METRIC_RATE, AT_LEAST, 30, OF_LIBNATS},
    {&peer_roulette, DELIVER(16), METRIC_CPU, AT_MOST, 2, OF_RAW},
    {&peer_roulette, DELIVER(16), METRIC_CALLS, AT_MOST, 0.01, ABSOLUTE},
    {&peer_roulette, DELIVER(128), METRIC_RATE, AT_LEAST, 18, OF_LIBNATS},
    {&peer_roulette, DELIVER(128), METRIC_CPU, AT_MOST, 2, OF_RAW},
    {&peer_roulette, DELIVER_OF(10000, 10000), METRIC_CPU, AT_MOST, 1.3, OF_TEN_TOPICS},
    {&peer_roulette, DELIVER_OF(1, 1000000), METRIC_CPU, AT_MOST, 1.3, OF_TEN_SUBSCRIPTIONS},
    {&peer_roulette, DELIVER_OVER(4), METRIC_RATE, AT_LEAST, 0.9, OF_ONE_CLUSTER},
    {&peer_roulette, DELIVER_OVER(4), METRIC_CPU, AT_MOST, 1.25, OF_ONE_CLUSTER},
    {&peer_roulette, DELIVER_OVER(4), METRIC_RATE, AT_LEAST, 15, OF_LIBNATS},
    {&peer_roulette, DELIVER_OVER(16), METRIC_RATE, AT_LEAST, 0.9, OF_ONE_CLUSTER},
    {&peer_roulette, DELIVER_OVER(16), METRIC_CPU, AT_MOST, 1.25, OF_ONE_CLUSTER},
    {&peer_roulette, DELIVER_OVER(16), METRIC_RATE, AT_LEAST, 15, OF_LIBNATS},
    {&peer_roulette, DELIVER(1024), METRIC_RATE, AT_LEAST, 6, OF_LIBNATS},
    {&peer_roulette, DELIVER(1024), METRIC_CPU, AT_MOST, 1.8, OF_RAW},
    {&peer_roulette, DELIVER(16384), METRIC_RATE, AT_LEAST, 4, OF_LIBNATS},
    {&peer_roulette, DELIVER(16384), METRIC_CPU, AT_MOST, 1.8, OF_RAW},
    {&peer_roulette, TLS_PUBLISH(128), METRIC_CPU, AT_MOST, 0.6, OF_LIBNATS},
    {&peer_roulette, TLS_PUBLISH(1024), METRIC_CPU, AT_MOST, 0.75, OF_LIBNATS},
    {&peer_roulette, TLS_DELIVER(128), METRIC_CPU, AT_MOST, 0.12, OF_LIBNATS},
    {&peer_roulette, FAN_OUT, METRIC_COPIES, AT_MOST, 1, ABSOLUTE},
    {&peer_roulette, LATENCY(SERVER_NULL, 0, ), METRIC_P50, AT_MOST, 0.9, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NULL, 0, ), METRIC_P99, AT_MOST, 0.9, OF_LIBNATS},
    {&peer_roulette_spin, LATENCY(SERVER_NULL, 0, ), METRIC_P50, AT_MOST, 1, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NULL, 1000, ), METRIC_P50, AT_MOST, 0.9, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NULL, 1000, ), METRIC_P99, AT_MOST, 0.9, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NULL, 1000, ONE_CPU), METRIC_P99, AT_MOST, 1, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NULL, 10000, ), METRIC_P99, AT_MOST, 1, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NULL, 10000, OVER(4)), METRIC_P99, AT_MOST, 1.1,
     OF_ONE_CLUSTER},
    {&peer_roulette, LATENCY(SERVER_NATS, 0, ), METRIC_P50, AT_MOST, 1, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NATS, 0, ), METRIC_CPU, AT_MOST, 1, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NATS, 1000, ), METRIC_P99, AT_MOST, 1, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NATS, 1000, ONE_CPU), METRIC_P99, AT_MOST, 1, OF_LIBNATS},
    {&peer_roulette, LATENCY(SERVER_NATS, 10000, ), METRIC_P99, AT_MOST, 1, OF_LIBNATS},
};

static bool fits(uint32_t wanted, uint32_t is)
{
    return wanted == 0 || wanted == is;
}

static bool is_of(const struct rule *rule, const struct workload *workload)
{
    const struct workload *wanted = &rule->workload;
    return wanted->kind == workload->kind && wanted->server == workload->server &&
           wanted->pace == workload->pace && wanted->one_cpu == workload->one_cpu &&
           wanted->tls == workload->tls && wanted->record_len == workload->record_len &&
           fits(wanted->payload_len, workload->payload_len) &&
           fits(wanted->threads, workload->threads) && fits(wanted->clusters, workload->clusters) &&
           fits(wanted->topics, workload->topics) &&
           fits(wanted->subscriptions, workload->subscriptions);
}

static const struct entry *find_reference(const struct contest *contest, const struct entry *entry,
                                          enum reference reference)
{
    struct workload other = *entry->workload;
    switch (reference) {
    case OF_LIBNATS:
        return contest_find(contest, &other, &peer_libnats);
    case OF_RAW:
        return contest_find(contest, &other, &peer_raw);
    case OF_ONE_THREAD:
        other.threads = 1;
        break;
    case OF_ONE_TOPIC:
        other.topics = 1;
        other.subscriptions = other.subscriptions != 0 ? 1 : 0;
        break;
    case OF_TEN_TOPICS: /* of one, deliveries share what different lines do not */
        other.topics = 10;
        other.subscriptions = other.subscriptions != 0 ? 10 : 0;
        break;
    case OF_TEN_SUBSCRIPTIONS:
        other.subscriptions = 10;
        break;
    case OF_ONE_CLUSTER:
        other.clusters = 1;
        if (other.kind == WORKLOAD_LATENCY) { /* which has a topic for each */
            other.topics = 1;
            other.subscriptions = 1;
        }
        break;
    case ABSOLUTE:
        break;
    }
    return contest_find(contest, &other, entry->peer);
}

static void write_text(const struct rule *rule, struct goal *goal)
{
    static const char *const metrics[] = {
        [METRIC_RATE] = "rate",   [METRIC_CPU] = "CPU",
        [METRIC_P50] = "p50",     [METRIC_P99] = "p99",
        [METRIC_P999] = "p99.9",  [METRIC_COPIES] = "copies on the wire",
        [METRIC_SENDS] = "sends", [METRIC_CALLS] = "system calls",
    };
    static const char *const references[] = {
        [ABSOLUTE] = " per message",
        [OF_LIBNATS] = " x libnats",
        [OF_RAW] = " x raw socket",
        [OF_ONE_THREAD] = " x own 1 thread",
        [OF_ONE_TOPIC] = " x own 1 topic",
        [OF_TEN_TOPICS] = " x own 10 topics",
        [OF_TEN_SUBSCRIPTIONS] = " x own 10 subscriptions",
        [OF_ONE_CLUSTER] = " x own 1 cluster",
    };
    (void)snprintf(goal->text, sizeof(goal->text), "%s %s %g%s", metrics[rule->metric],
                   rule->bound == AT_LEAST ? ">=" : "<=", rule->wanted,
                   references[rule->reference]);
}

static struct goal judge(const struct contest *contest, const struct entry *entry,
                         const struct rule *rule)
{
    struct goal goal = {.wanted = rule->wanted, .is_ratio = rule->reference != ABSOLUTE};
    struct series series = {0};
    write_text(rule, &goal);
    if (goal.is_ratio) {
        const struct entry *reference = find_reference(contest, entry, rule->reference);
        if (reference != NULL) {
            entry_ratios(entry, reference, rule->metric, &series);
        }
    } else {
        entry_series(entry, rule->metric, &series);
    }
    goal.known = series.count != 0;
    goal.got = series_median(&series);
    goal.reached =
        goal.known && (rule->bound == AT_LEAST ? goal.got >= goal.wanted : goal.got <= goal.wanted);
    return goal;
}

size_t goal_list(const struct contest *contest, const struct entry *entry,
                 struct goal goals[GOALS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (count < GOALS_MAX && rules[i].peer == entry->peer &&
            is_of(&rules[i], entry->workload)) {
            goals[count++] = judge(contest, entry, &rules[i]);
        }
    }
    return count;
}
