/* SPDX-License-Identifier: MIT */
#include "core/refused_login.h"

#include "base/assert.h"
#include "core/cluster.h"
#include "roulette.h"

void rlt_refused_login_enlist(struct rlt_cluster *cluster, struct rlt_mailbox *mailbox)
{
    if (mailbox->prev_link != NULL) {
        return;
    }
    mailbox->next = cluster->mailboxes;
    mailbox->prev_link = &cluster->mailboxes;
    if (mailbox->next != NULL) {
        mailbox->next->prev_link = &mailbox->next;
    }
    cluster->mailboxes = mailbox;
}

void rlt_refused_login_delist(struct rlt_mailbox *mailbox)
{
    if (mailbox->prev_link == NULL) {
        return;
    }
    *mailbox->prev_link = mailbox->next;
    if (mailbox->next != NULL) {
        mailbox->next->prev_link = mailbox->prev_link;
    }
    mailbox->prev_link = NULL;
}

static bool is_refusal(int error)
{
    switch (error) {
    case ROULETTE_EDISCONNECTED:
    case ROULETTE_ETIMEDOUT:
    case ROULETTE_ESTALE:
    case ROULETTE_ERESOLVE:
    case ROULETTE_ECONNECT:
    case ROULETTE_ECLOSED:
        return false;
    default:
        return true;
    }
}

void rlt_refused_login_on_failure(struct rlt_cluster *cluster, int error)
{
    if (!is_refusal(error)) {
        return;
    }
    RLT_ASSERT(error < 0 && error > -32);
    uint32_t reason = UINT32_C(1) << -error;
    for (struct rlt_mailbox *i = cluster->mailboxes; i != NULL; i = i->next) {
        if ((i->refusals & reason) == 0) {
            i->refusals |= reason;
            rlt_cluster_mark_dirty(cluster, i);
            rlt_mailbox_refuse(i, error);
        }
    }
}

void rlt_refused_login_on_ready(struct rlt_cluster *cluster)
{
    for (struct rlt_mailbox *i = cluster->mailboxes; i != NULL; i = i->next) {
        i->refusals = 0;
    }
}
