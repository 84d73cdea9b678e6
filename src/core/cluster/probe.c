/* SPDX-License-Identifier: MIT */
#include "core/cluster/probe.h"

#include <string.h>

#include "core/cluster/path.h"

#define AGAIN_NS RLT_NS_PER_S

/* When to probe the active connection's server; RLT_NEVER: it is not suspected, or the other
 * connection is busy. */
static uint64_t due_ns(const struct rlt_path *path)
{
    if (path->handover.phase != RLT_HANDOVER_NONE || path->env->stopping) {
        return RLT_NEVER;
    }
    uint64_t due_ns = rlt_session_probe_ns(&path->active->session);
    uint64_t again_ns = path->probe.again_ns;
    return due_ns == RLT_NEVER || due_ns > again_ns ? due_ns : again_ns;
}

/* Log that a connection is kept beyond its time, and the end of that. */
static void tell(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_probe *probe = &path->probe;
    const struct rlt_session *session = &path->active->session;
    uint64_t kept_ns = rlt_session_kept_ns(session);
    if (!probe->told && kept_ns <= now_ns) {
        probe->told = true;
        rlt_counter_add(&path->env->metrics.held_back, 1);
        rlt_report(path->env, RLT_REPORT_HELD_BACK, "the server answers on another connection");
    } else if (probe->told && kept_ns == RLT_NEVER) {
        probe->told = false;
        if (session->state == RLT_SESSION_READY) {
            rlt_report(path->env, RLT_REPORT_SERVED_AGAIN, "");
        }
    }
}

void rlt_probe_step(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_connection *active = path->active;
    struct rlt_connection *twin = rlt_path_other(path, active);
    uint64_t due = due_ns(path);
    tell(path, now_ns);
    if (twin->probing && due == RLT_NEVER) {
        rlt_connection_retire(twin);
    } else if (!twin->probing && twin->session.state == RLT_SESSION_IDLE &&
               active->reading.seen_ns >= due) {
        twin->probing = true;
        path->probe.again_ns = now_ns + AGAIN_NS;
        rlt_counter_add(&path->env->metrics.probes, 1);
        rlt_connection_start(twin, now_ns);
    }
}

uint64_t rlt_probe_deadline(struct rlt_path *path)
{
    const struct rlt_connection *active = path->active;
    const struct rlt_connection *twin = rlt_path_other(path, active);
    bool can_ask = !twin->probing && twin->session.state == RLT_SESSION_IDLE;
    uint64_t ask_ns = can_ask ? due_ns(path) : RLT_NEVER;
    bool told = path->probe.told;
    return rlt_min_u64(ask_ns, told ? RLT_NEVER : rlt_session_kept_ns(&active->session));
}

void rlt_probe_on_answer(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_transport *transport = connection->env->transport;
    struct rlt_connection *silent = rlt_path_of(connection)->active;
    bool same_server = strcmp(connection->info.server_id, silent->info.server_id) == 0;
    if (same_server && silent->session.state == RLT_SESSION_READY &&
        (transport->ops->is_acknowledged == NULL ||
         transport->ops->is_acknowledged(transport, silent->slot))) {
        rlt_session_on_answer(&silent->session, now_ns);
    }
    rlt_connection_retire(connection);
}
