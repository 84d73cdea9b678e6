/* SPDX-License-Identifier: MIT */
/**
 * Telling subscribers why a client is not let in (ROULETTE_KIND_REFUSED). What they are subscribed
 * to is not enough to reach them: what has just ended is not, and of what was never made nothing is
 * lost. So a cluster knows all mailboxes that were ever subscribed with.
 *
 * An attempt that ends in silence, or before a server has answered, tells nothing that LOST has not
 * told: the cluster is away. Each other reason is told to each mailbox once, until a connection
 * succeeds.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_DELIVERY_REFUSED_LOGIN_H
#define RLT_CORE_DELIVERY_REFUSED_LOGIN_H

struct rlt_exchange;
struct rlt_mailbox;

/** Somebody subscribes with a mailbox: tell it from now on. It may be told already. */
void rlt_refused_login_enlist(struct rlt_exchange *exchange, struct rlt_mailbox *mailbox);

/** RLT_COMMAND_LEAVE: the mailbox is about to be freed. */
void rlt_refused_login_delist(struct rlt_mailbox *mailbox);

/** An attempt to connect failed. */
void rlt_refused_login_on_failure(struct rlt_exchange *exchange, int error);

/** One succeeded. */
void rlt_refused_login_on_ready(struct rlt_exchange *exchange);

#endif
