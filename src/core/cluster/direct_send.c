/* SPDX-License-Identifier: MIT */
#include "core/cluster/direct_send.h"

#include "core/cluster/cluster.h"

/* A publisher that sent less than this ago is in a burst, which the event thread sends better.
 * About the time of a system call with a wake-up, so that no publisher spends most of its time in
 * them. */
#define GAP_NS UINT64_C(10000)
/* Bytes that a borrower sends at a time, at most: it has other things to do. */
#define BYTES_MAX ((size_t)32 * 1024)

/* ---- The event thread --------------------------------------------------------------------- */

static bool may_lend(const struct rlt_path *path)
{
    const struct rlt_connection *connection = path->active;
    return path->env->transport->ops->send_now != NULL &&
           path->handover.phase == RLT_HANDOVER_NONE && rlt_connection_wants_lanes(connection) &&
           rlt_sender_may_lend(&connection->sender);
}

void rlt_direct_send_lend(struct rlt_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        struct rlt_path *path = &cluster->paths[i];
        if (may_lend(path)) {
            struct rlt_sender *sender = &path->active->sender;
            rlt_confirm_timer_on_lent(&sender->confirm_timer, sender->pings.count != 0);
            sender->lent = true;
            rlt_loan_lend(&path->loan);
        }
    }
}

/* Go on with work that waited for the loan, which is HOME again. */
static void resume(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_transport *transport = connection->env->transport;
    if (connection->close_due) {
        connection->close_due = false;
        transport->ops->close(transport, connection->slot);
    } else if (rlt_sender_is_busy(&connection->sender)) {
        rlt_connection_send(connection, now_ns);
    }
}

void rlt_direct_send_recall(struct rlt_cluster *cluster, uint64_t now_ns)
{
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        struct rlt_connection *connection = cluster->paths[i].active;
        if (connection->sender.lent && rlt_loan_recall(&cluster->paths[i].loan)) {
            connection->sender.lent = false;
            resume(connection, now_ns);
        }
    }
}

bool rlt_direct_send_is_back(const struct rlt_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        const struct rlt_path *path = &cluster->paths[i];
        if (path->active->sender.lent && rlt_loan_is_home(&path->loan)) {
            return true;
        }
    }
    return false;
}

/* ---- Publishers --------------------------------------------------------------------------- */

/* Make a batch. Returns: false if there is nothing that a borrower should send. */
static bool gather(struct rlt_sender *sender)
{
    if (sender->unmarked + BYTES_MAX >= RLT_SENDER_PING_BYTES) {
        return false; /* a PING is due behind it */
    }
    size_t left = BYTES_MAX;
    size_t added = 0;
    bool goes_on = true;
    for (uint32_t i = 0; i <= sender->seen.lanes && goes_on; i++) {
        int lane = i < sender->seen.lanes ? (int)i : RLT_WIRE_LANES;
        /* Twice, because a chunk ends where the buffer wraps. */
        for (int part = 0; part < 2 && goes_on; part++) {
            goes_on = rlt_sender_gather_lane(sender, lane, left, &added);
            left -= added;
        }
    }
    return sender->batch.count != 0;
}

/* Give the loan back, and check whether another thread left work to the borrower meanwhile. */
static enum rlt_direct_result give_back(struct rlt_path *path)
{
    const struct rlt_wire_queue *queue = &path->queue;
    uint64_t taken = rlt_wire_queue_taken(queue);
    if (!rlt_loan_give_back(&path->loan)) {
        return RLT_DIRECT_WAKE;
    }
    return rlt_wire_queue_accepted(queue) != taken ? RLT_DIRECT_KNOCK : RLT_DIRECT_DONE;
}

bool rlt_direct_send_begin(struct rlt_cluster *cluster, uint32_t index, uint64_t now_ns,
                           enum rlt_direct_result *result)
{
    struct rlt_path *path = &cluster->paths[index];
    struct rlt_loan *loan = &path->loan;
    enum rlt_loan_state state = rlt_loan_borrow(loan);
    if (state != RLT_LOAN_LENT) {
        *result = state == RLT_LOAN_HOME ? RLT_DIRECT_KNOCK : RLT_DIRECT_DONE;
        return false;
    }
    struct rlt_sender *sender = &path->active->sender;
    if (now_ns >= sender->sent_ns + GAP_NS) {
        /* In this order: see direct_send.h. */
        rlt_sender_look(sender);
        sender->looked = false; /* for this batch only: the event thread looks anew */
        if (rlt_stack_is_empty(&cluster->commands) && !rlt_loan_is_recalled(loan) &&
            gather(sender)) {
            sender->sent_ns = now_ns;
            rlt_confirm_timer_on_sent(&sender->confirm_timer, now_ns);
            return true;
        }
    }
    *result = give_back(path);
    return false;
}

enum rlt_direct_result rlt_direct_send_end(struct rlt_cluster *cluster, uint32_t index,
                                           size_t taken)
{
    struct rlt_path *path = &cluster->paths[index];
    struct rlt_sender *sender = &path->active->sender;
    rlt_counter_add_shared(&path->env->metrics.sends, taken != 0 ? 1 : 0);
    rlt_counter_add_shared(&path->env->metrics.direct_sends, taken != 0 ? 1 : 0);
    if (!rlt_sender_on_sent_direct(sender, taken, rlt_connection_wake_producers, path->active)) {
        rlt_loan_bring_home(&path->loan);
        return RLT_DIRECT_WAKE;
    }
    bool tell = rlt_confirm_timer_tell(&sender->confirm_timer);
    enum rlt_direct_result result = give_back(path);
    return result == RLT_DIRECT_DONE && tell ? RLT_DIRECT_KNOCK : result;
}

enum rlt_direct_result rlt_direct_send(struct rlt_cluster *cluster, uint32_t index, uint64_t now_ns)
{
    enum rlt_direct_result result = RLT_DIRECT_KNOCK;
    if (!rlt_direct_send_begin(cluster, index, now_ns, &result)) {
        return result;
    }
    struct rlt_transport *transport = cluster->env.transport;
    struct rlt_connection *connection = cluster->paths[index].active;
    size_t taken =
        transport->ops->send_now(transport, connection->slot, connection->sender.batch.spans,
                                 connection->sender.batch.count);
    return rlt_direct_send_end(cluster, index, taken);
}
