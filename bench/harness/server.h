/* SPDX-License-Identifier: MIT */
/**
 * The server processes of one measured run, one for each cluster. They end with this process at
 * the latest.
 */
#ifndef BENCH_HARNESS_SERVER_H
#define BENCH_HARNESS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/workload.h"

struct bench_server;

/** What null servers say of their connections when these have ended, in sum and of each. */
struct server_account {
    uint64_t received_bytes;
    uint64_t received_of[WORKLOAD_CLUSTERS_MAX];
    uint64_t sent_bytes;
    uint64_t cpu_ns;
};

/**
 * Start the servers of a workload; those that deliver send `messages` together, as many each.
 *
 * Ownership: server_stop() ends them.
 * Returns:   the servers; ends the process with stop() if there is one missing.
 */
struct bench_server *server_start(const struct workload *workload, uint64_t messages);

/** The ports, one for each cluster. */
const uint16_t *server_ports(const struct bench_server *server);

/** The account of the only connection to each, which has ended. False if none is kept. */
bool server_account(struct bench_server *server, struct server_account *account);

void server_stop(struct bench_server *server);

#endif
