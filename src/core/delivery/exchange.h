/* SPDX-License-Identifier: MIT */
/**
 * Who gets a message: the interests of one cluster, the receive memory that messages lie in, and
 * the mailboxes that have to be shown what was put into them. Connections put messages in
 * (core/delivery/fan_out.h), and tell here what becomes of an interest on the server.
 *
 * What is put into a mailbox becomes visible at the end of a batch, by rlt_exchange_show(): so a
 * batch counts its messages, publishes a delivery ring and wakes a subscriber once.
 *
 * Owner: the event thread; who has borrowed what the cluster receives
 * (core/cluster/direct_receive.h) puts messages in and shows them.
 */
#ifndef RLT_CORE_DELIVERY_EXCHANGE_H
#define RLT_CORE_DELIVERY_EXCHANGE_H

#include <ck_queue.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/delivery/interests.h"
#include "core/delivery/mailbox.h"
#include "core/seam/env.h"
#include "lockfree/slab.h"

/** On whose behalf messages are put in: a connection of a path. */
struct rlt_source {
    uint8_t path;
    uint8_t side; /* of its path: 0 or 1 */
    bool active;  /* it publishes and subscribes for its path */
};

struct rlt_exchange {
    struct rlt_env *env; /* immutable */

    struct rlt_interests interests;
    /* By path: those about which server and table differ. */
    struct rlt_interest_queue pending[RLT_POOL_MAX];
    struct rlt_slab_pool slabs;
    struct rlt_source source; /* whose bytes the event thread is looking at */

    /* Of the current batch; added to the metrics at its end. */
    uint64_t batch_received;
    uint64_t batch_delivered;
    uint64_t round; /* counts batches of received bytes */

    CK_SLIST_HEAD(rlt_dirty_list, rlt_mailbox) dirty; /* pushed into and not published */
    /* All that ever subscribed (core/delivery/refused_login.h). */
    CK_LIST_HEAD(rlt_mailbox_list, rlt_mailbox) mailboxes;
    struct rlt_mailbox *last_mailbox; /* published last, and has members; or NULL */
    uint32_t mailbox_count;           /* those that have members */
    uint32_t counted;                 /* members with a quota (core/delivery/quota.h) */

    /* Connections that are watched, and the mailbox for which they are; NULL: for none. Event
     * thread writes (core/cluster/direct_receive.h). */
    uint32_t watched_count;
    uint32_t unattended; /* receives on them in a row by the event thread */
    alignas(RLT_CACHE_LINE) _Atomic(struct rlt_mailbox *) watched_for;
};

/** For a cluster with `slot_count` connections. `exchange` is zeroed. Returns: 0 or
 *  ROULETTE_ENOMEM; then rlt_exchange_fini() follows too. */
int rlt_exchange_init(struct rlt_exchange *exchange, struct rlt_env *env, uint32_t slot_count);
void rlt_exchange_fini(struct rlt_exchange *exchange);

/* ---- Mailboxes ---------------------------------------------------------------------------- */

/** Something is pushed into a mailbox: publish it at the end of the batch. */
static inline void rlt_exchange_mark_dirty(struct rlt_exchange *exchange,
                                           struct rlt_mailbox *mailbox)
{
    if (!mailbox->dirty) {
        mailbox->dirty = true;
        CK_SLIST_INSERT_HEAD(&exchange->dirty, mailbox, dirty_link);
    }
}

/** Count what was delivered since the last time, then make it visible to the subscribers. */
void rlt_exchange_show(struct rlt_exchange *exchange);

/** Make notices visible that were pushed since the last time. A part of rlt_exchange_show(). */
void rlt_exchange_publish_dirty(struct rlt_exchange *exchange);

/** Count the slabs that are in use now. */
static inline void rlt_exchange_note_slabs(struct rlt_exchange *exchange)
{
    rlt_counter_set(&exchange->env->metrics.slabs_in_use, rlt_slab_pool_in_use(&exchange->slabs));
}

/** Publish for which mailbox connections are watched. Called when a watch begins or ends; part of
 *  what may leave a mailbox without members. */
void rlt_exchange_tell_watched(struct rlt_exchange *exchange);

/* ---- Members ------------------------------------------------------------------------------ */

/** Make a member of its topic's subscription. Returns: as rlt_interests_join(). */
int rlt_exchange_join(struct rlt_exchange *exchange, struct rlt_member *member);

/** Take a member out of its subscription. */
void rlt_exchange_leave(struct rlt_exchange *exchange, struct rlt_interest *interest,
                        struct rlt_member *member);

/** Push a notice to one member. */
void rlt_exchange_notify_member(struct rlt_exchange *exchange, struct rlt_member *member,
                                enum rlt_notice notice, int error);

/* ---- Subscriptions ------------------------------------------------------------------------ */

/** Tell all members of a subscription that it is LOST, or RESTORED to those who were told that. */
void rlt_exchange_notify(struct rlt_exchange *exchange, struct rlt_interest *interest,
                         enum rlt_notice notice, int error);

/** Whether the active connection's server knows a subscription, from now on. Counts it. */
void rlt_exchange_set_on_server(struct rlt_exchange *exchange, struct rlt_interest *interest,
                                bool on_server);

/** Server and table differ about a subscription, from now on; or do not any more. */
void rlt_exchange_defer(struct rlt_exchange *exchange, struct rlt_interest *interest);
void rlt_exchange_undefer(struct rlt_exchange *exchange, struct rlt_interest *interest);

/** Free a subscription that has no members, is in no queue, and that no server was told of. */
void rlt_exchange_forget(struct rlt_exchange *exchange, struct rlt_interest *interest);

/** End a subscription for all its members, and free it if it can be. It is in no queue. */
void rlt_exchange_end(struct rlt_exchange *exchange, struct rlt_interest *interest, int error);

#endif
