/* SPDX-License-Identifier: MIT */
/**
 * The exchange of one cluster, which decides who gets a message: its interests, the receive memory
 * that messages lie in, and the mailboxes that are to be published. Connections enqueue messages
 * (core/delivery/fan_out.h), and report here whether an interest is on the server.
 *
 * Pushes into a mailbox become visible at the end of a batch, by rlt_exchange_show(): so a batch
 * counts its messages, publishes a delivery ring and wakes a subscriber once.
 *
 * Owner: the event thread; a borrower of the receiving side (core/cluster/direct_receive.h)
 * delivers messages and shows them.
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

/** The connection that messages come from. */
struct rlt_source {
    uint8_t path;
    uint8_t side; /* of its path: 0 or 1 */
    bool active;  /* the path publishes and subscribes on it */
};

struct rlt_exchange {
    struct rlt_env *env; /* immutable */

    struct rlt_interests interests;
    /* By path: the interests about which server and table differ. */
    struct rlt_interest_queue pending[RLT_POOL_MAX];
    struct rlt_slab_pool slabs;
    struct rlt_source source; /* of the bytes that are being parsed */

    /* Of the current batch; added to the metrics at its end. */
    uint64_t batch_received;
    uint64_t batch_delivered;
    uint64_t round; /* counts batches of received bytes */

    CK_SLIST_HEAD(rlt_dirty_list, rlt_mailbox) dirty; /* pushed into and not published */
    /* All mailboxes that ever had a member (core/delivery/refused_login.h). */
    CK_LIST_HEAD(rlt_mailbox_list, rlt_mailbox) mailboxes;
    struct rlt_mailbox *last_mailbox; /* published last, and with members; or NULL */
    uint32_t mailbox_count;           /* mailboxes with members */
    uint32_t counted;                 /* members with a quota (core/delivery/quota.h) */

    /* Watched connections, and the mailbox for which they are watched; NULL: for none. Event
     * thread writes (core/cluster/direct_receive.h). */
    uint32_t watched_count;
    uint32_t unattended; /* receives on them in a row by the event thread */
    alignas(RLT_CACHE_LINE) _Atomic(struct rlt_mailbox *) watched_for;
};

/** Make the exchange of a cluster with `slot_count` connections, of zeroed memory. Returns: 0 or
 *  ROULETTE_ENOMEM; then rlt_exchange_fini() follows too. */
int rlt_exchange_init(struct rlt_exchange *exchange, struct rlt_env *env, uint32_t slot_count);
void rlt_exchange_fini(struct rlt_exchange *exchange);

/* ---- Mailboxes ---------------------------------------------------------------------------- */

/** Have a mailbox published at the end of the batch, as something is pushed into it. */
static inline void rlt_exchange_mark_dirty(struct rlt_exchange *exchange,
                                           struct rlt_mailbox *mailbox)
{
    if (!mailbox->dirty) {
        mailbox->dirty = true;
        CK_SLIST_INSERT_HEAD(&exchange->dirty, mailbox, dirty_link);
    }
}

/** Count the messages delivered since the last call, then make them visible to the subscribers. */
void rlt_exchange_show(struct rlt_exchange *exchange);

/** Publish the dirty mailboxes, which may hold notices alone. A part of rlt_exchange_show(). */
void rlt_exchange_publish_dirty(struct rlt_exchange *exchange);

/** Count the slabs that are in use now. */
static inline void rlt_exchange_note_slabs(struct rlt_exchange *exchange)
{
    rlt_counter_set(&exchange->env->metrics.slabs_in_use, rlt_slab_pool_in_use(&exchange->slabs));
}

/** Publish `watched_for`: the mailbox for which connections are watched, or NULL. Called when a
 *  watch begins or ends, and when a mailbox loses its last member. */
void rlt_exchange_tell_watched(struct rlt_exchange *exchange);

/* ---- Members ------------------------------------------------------------------------------ */

/** Make `member` a member of its topic's interest. Returns: as rlt_interests_join(). */
int rlt_exchange_join(struct rlt_exchange *exchange, struct rlt_member *member);

/** Take a member out of its interest. */
void rlt_exchange_leave(struct rlt_exchange *exchange, struct rlt_interest *interest,
                        struct rlt_member *member);

/** Push a notice to one member. */
void rlt_exchange_notify_member(struct rlt_exchange *exchange, struct rlt_member *member,
                                enum rlt_notice notice, int error);

/* ---- Interests ---------------------------------------------------------------------------- */

/** Tell all members of an interest that it is LOST, or those that were told so: RESTORED. */
void rlt_exchange_notify(struct rlt_exchange *exchange, struct rlt_interest *interest,
                         enum rlt_notice notice, int error);

/** Note whether the active connection's server knows an interest, and count it. */
void rlt_exchange_set_on_server(struct rlt_exchange *exchange, struct rlt_interest *interest,
                                bool on_server);

/** Enqueue an interest about which server and table differ, or remove it from that queue. */
void rlt_exchange_defer(struct rlt_exchange *exchange, struct rlt_interest *interest);
void rlt_exchange_undefer(struct rlt_exchange *exchange, struct rlt_interest *interest);

/** Free an interest that has no members, is in no queue, and that no server was told of. */
void rlt_exchange_forget(struct rlt_exchange *exchange, struct rlt_interest *interest);

/** End an interest, which is in no queue, for all its members, and free it if possible. */
void rlt_exchange_end(struct rlt_exchange *exchange, struct rlt_interest *interest, int error);

#endif
