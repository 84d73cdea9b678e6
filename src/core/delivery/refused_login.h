/* SPDX-License-Identifier: MIT */
/**
 * Refused logins: subscribers are told why a cluster refuses the client (ROULETTE_KIND_REFUSED).
 * Their interests do not suffice to reach them: an interest that has just ended is not in the
 * table, and one that was never made cannot be lost. So a cluster lists all mailboxes that ever had
 * a member.
 *
 * An attempt that ends in silence, or before a server has answered, tells no more than LOST did:
 * the cluster is away. Each other reason is told to each mailbox once, until a connection succeeds.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_DELIVERY_REFUSED_LOGIN_H
#define RLT_CORE_DELIVERY_REFUSED_LOGIN_H

struct rlt_exchange;
struct rlt_mailbox;

/** List a mailbox that gets a member: it is told from now on. It may be listed already. */
void rlt_refused_login_enlist(struct rlt_exchange *exchange, struct rlt_mailbox *mailbox);

/** Delist a mailbox that is about to be freed, as RLT_COMMAND_LEAVE arrived. */
void rlt_refused_login_delist(struct rlt_mailbox *mailbox);

/** Tell the listed mailboxes why an attempt to connect failed, if they were not told yet. */
void rlt_refused_login_on_failure(struct rlt_exchange *exchange, int error);

/** Forget the reasons that were told, as an attempt succeeded. */
void rlt_refused_login_on_ready(struct rlt_exchange *exchange);

#endif
