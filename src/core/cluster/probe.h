/* SPDX-License-Identifier: MIT */
/**
 * Asking a server that is silent whether it is dead or only does not serve this connection:
 * nats-server up to 2.9 reads nothing from a publisher, PINGs included, for as long as a slow
 * subscriber of what it publishes holds the server up (10 s and more), and serves everybody else.
 *
 * Before the active connection of a path is given up as silent or as not reading, the other
 * connection of the path logs in, with the same address and credentials, and is closed again:
 *
 *     IDLE -- a ping interval before the end --> ASKING -- PONG, or any -ERR --> answered
 *                                                       -- nothing, refused ---> no answer
 *
 * An answer counts if it is the same server's (its id: behind one address there may be several),
 * and if its machine still acknowledges what the silent connection sends: otherwise not the server
 * but the way to it is lost. Then the connection is held back, not dead: the session keeps it for
 * another max_ping_failure intervals, and it is asked again before they are over, but not longer
 * than held_back_max in all (core/connection/session.h). A server that does not answer is left
 * exactly when it would be without all this. So is every server while the other connection is not
 * free: a handover goes on.
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
    bool told;         /* that the active connection is kept beyond its time */
    uint64_t again_ns; /* the next one not before */
};

/** Begin to ask, cease to, and tell what came of it. Called whenever the cluster runs. */
void rlt_probe_step(struct rlt_path *path, uint64_t now_ns);

/** When rlt_probe_step() has something to do; RLT_NEVER: nothing. */
uint64_t rlt_probe_deadline(struct rlt_path *path);

/** The connection that asks (rlt_connection.probing) has been answered. */
void rlt_probe_on_answer(struct rlt_connection *connection, uint64_t now_ns);

#endif
