/* SPDX-License-Identifier: MIT */
/**
 * What is measured: one workload is one block of the table.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

enum workload_kind {
    /** Threads publish; the time ends with the server's answer to a PING behind them. */
    WORKLOAD_PUBLISH,
    /** The server blasts ready-made messages at one subscription. */
    WORKLOAD_DELIVER,
    /** One client publishes to itself through the server, at most a window ahead. */
    WORKLOAD_THROUGH,
};

enum server_kind {
    /** bench_null_server: costs as little as a peer can. */
    SERVER_NULL,
    /** A real nats-server. */
    SERVER_NATS,
};

struct workload {
    enum workload_kind kind;
    enum server_kind server;
    uint32_t payload_len;
    uint32_t threads; /* that publish */
};

/** All workloads, in the order of the table. */
extern const struct workload workloads[];
extern const size_t workload_count;

/** The name that --only takes: "publish", "deliver" or "through". */
const char *workload_group(const struct workload *workload);

/** As in "publish 128 B, 4 threads". Returns: `text`. */
const char *workload_title(const struct workload *workload, char *text, size_t size);

/** Bytes on the wire of one message that a client publishes to `topic`. */
size_t workload_publish_frame_len(const char *topic, uint32_t payload_len);

#endif
