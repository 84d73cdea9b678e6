/* SPDX-License-Identifier: MIT */
/**
 * Asking a silent server whether it is dead or only does not serve this connection: nats-server up
 * to 2.9 reads nothing from a publisher, PINGs included, for as long as a slow subscriber of its
 * messages holds the server up (10 s and more), and serves all other clients.
 *
 * Before the active connection of a path is given up as silent or as not reading, the other
 * connection of the path logs in, with the same address and credentials, and is closed again:
 *
 *     IDLE -- a ping interval before the end --> ASKING -- PONG, or any -ERR --> answered
 *                                                       -- nothing, refused ---> no answer
 *
 * An answer counts if it is the same server's (by id: one address may lead to several), and if its
 * machine still acknowledges the silent connection's bytes: otherwise the network path is lost, not
 * the server. Then the connection is held back, not dead: the session keeps it for another
 * max_ping_failure intervals, and the server is asked again before they are over, but not longer
 * than held_back_max in all (core/connection/session.h). A server that does not answer is given up
 * exactly when it would be without probes. So is every server while a handover uses the other
 * connection.
 *
 * A probe that had no answer is tried again, once a second at most.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_PROBE_H
#define RLT_CORE_CLUSTER_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct rlt_connection;
struct rlt_path;

/** The probing of one path. Zeroed: nothing was asked. */
struct rlt_probe {
    bool told;         /* the log was told that the active connection is kept beyond its time */
    uint64_t again_ns; /* no next probe before */
};

/** Begin a probe, end it, and log its result. Called at each step of the cluster. */
void rlt_probe_step(struct rlt_path *path, uint64_t now_ns);

/** When rlt_probe_step() has something to do; RLT_NEVER: nothing. */
uint64_t rlt_probe_deadline(struct rlt_path *path);

/** Handle an answer to the probing connection (rlt_connection.probing). */
void rlt_probe_on_answer(struct rlt_connection *connection, uint64_t now_ns);

#endif
