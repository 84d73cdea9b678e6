/* SPDX-License-Identifier: MIT */
/**
 * What is measured: one workload is one block of the table.
 */
#ifndef BENCH_HARNESS_WORKLOAD_H
#define BENCH_HARNESS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum workload_kind {
    /** Threads publish; the time ends with the server's answer to a PING behind them. */
    WORKLOAD_PUBLISH,
    /** The server blasts ready-made messages at the subscriptions of one receiving thread. */
    WORKLOAD_DELIVER,
    /** One client publishes to itself through the server, at most a window ahead. */
    WORKLOAD_THROUGH,
    /** As WORKLOAD_THROUGH, to many subscribers of one topic; deliveries are counted. */
    WORKLOAD_FAN_OUT,
    /** One client publishes to itself; the time from publishing to receiving is measured. */
    WORKLOAD_LATENCY,
};

enum server_kind {
    /** bench_null_server: costs as little as a peer can. */
    SERVER_NULL,
    /** A real nats-server. */
    SERVER_NATS,
    /** A newer release of it: see harness/nats_release.h. */
    SERVER_NATS_NEWER,
};

#define WORKLOAD_CLUSTERS_MAX 16

/** A paced workload has so many times the rounds: its slowest messages differ from run to run. */
#define WORKLOAD_PACED_TIMES 3

/** A count that a kind does not use is 0. */
struct workload {
    enum workload_kind kind;
    enum server_kind server;
    uint32_t payload_len;
    uint32_t threads;       /* that publish */
    uint32_t clusters;      /* one server each */
    uint32_t topics;        /* that messages go to, in turn; topic i is of cluster i % clusters */
    uint32_t subscriptions; /* with those of `topics`; of several clusters, no others */
    uint32_t subscribers;   /* of each topic */
    uint32_t pace;          /* WORKLOAD_LATENCY: messages/s; 0: the next upon the answer */
    bool one_cpu;           /* client and servers share one CPU: see harness/placement.h */
    bool tls;               /* on all connections; not of nats-server */
    uint32_t record_len;    /* of what a server with TLS sends; 0: the most, 16 KiB */
    bool polled;            /* a subscriber that polls its descriptor takes part */
    bool quick;             /* part of the quick run */
    bool calls;             /* system calls are counted */
    bool over_clusters;     /* of the rows that differ in their clusters only: a group of its own */
    /* Compared with the workload before it: their rounds are interleaved. */
    bool joined;
};

/** All workloads, in the order of the table. */
extern const struct workload workloads[];
extern const size_t workload_count;

/** What it does: "publish", "deliver", "through", "fan-out" or "latency". */
const char *workload_group(const struct workload *workload);

/** Whether --only `group` chooses it: by what it does, or as one of the "clusters". */
bool workload_is_of(const struct workload *workload, const char *group);

/** Room for a title. */
#define WORKLOAD_TITLE_SIZE 96

/** As in "publish 128 B, 4 threads". Returns: `text`. */
const char *workload_title(const struct workload *workload, char *text, size_t size);

/** As in "null", "nats-server" and "nats-server 2.15.1". */
const char *workload_server(const struct workload *workload);

/** How a round trip is timed, as in "closed loop" and "paced 1000". Returns: `text`, or NULL. */
const char *workload_mode(const struct workload *workload, char *text, size_t size);

/** The rounds of a workload, if most have `rounds`; at most SAMPLE_ROUNDS_MAX. */
uint32_t workload_rounds(const struct workload *workload, uint32_t rounds);

/** How long all rounds of one peer take, about, if most workloads have `rounds` of `seconds`. */
double workload_estimate_seconds(const struct workload *workload, uint32_t rounds, double seconds);

/** Bytes on the wire of one message that a client publishes. */
size_t workload_publish_frame_len(uint32_t payload_len);

#endif
