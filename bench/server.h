/* SPDX-License-Identifier: MIT */
/**
 * The server process of one measured run. It ends with this process at the latest.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "workload.h"

struct bench_server;

/** What a null server says of a connection when it has ended. */
struct server_account {
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint64_t cpu_ns;
};

/**
 * Start the server of a workload; one that delivers sends `messages`.
 *
 * Ownership: server_stop() ends it.
 * Returns:   the server; ends the process with stop() if there is none.
 */
struct bench_server *server_start(const struct workload *workload, uint64_t messages);

uint16_t server_port(const struct bench_server *server);

/** The account of the only connection, which has ended. False if the server keeps none. */
bool server_account(struct bench_server *server, struct server_account *account);

void server_stop(struct bench_server *server);

#endif
