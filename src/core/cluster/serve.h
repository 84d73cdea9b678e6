/* SPDX-License-Identifier: MIT */
/**
 * Serving a connection of a path: its timers, the requests of publishers and subscribers, and the
 * events of its transport.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_SERVE_H
#define RLT_CORE_CLUSTER_SERVE_H

#include <stdbool.h>
#include <stdint.h>

struct rlt_connection;
struct rlt_io_event;

/** Serve timers, then send and receive as far as possible. */
void rlt_serve_step(struct rlt_connection *connection, uint64_t now_ns);

/** When rlt_serve_step() has a timer to serve; RLT_NEVER: none. */
uint64_t rlt_serve_deadline(const struct rlt_connection *connection);

/** Whether rlt_serve_step() would find something to do. */
bool rlt_serve_has_work(struct rlt_connection *connection);

/** Handle the end of an operation of the transport. */
void rlt_serve_on_event(struct rlt_connection *connection, const struct rlt_io_event *event,
                        uint64_t now_ns);

#endif
