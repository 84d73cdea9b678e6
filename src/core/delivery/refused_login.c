/* SPDX-License-Identifier: MIT */
#include "core/delivery/refused_login.h"

#include "base/assert.h"
#include "core/delivery/exchange.h"
#include "roulette.h"

void rlt_refused_login_enlist(struct rlt_exchange *exchange, struct rlt_mailbox *mailbox)
{
    if (!mailbox->enlisted) {
        CK_LIST_INSERT_HEAD(&exchange->mailboxes, mailbox, link);
        mailbox->enlisted = true;
    }
}

void rlt_refused_login_delist(struct rlt_mailbox *mailbox)
{
    if (mailbox->enlisted) {
        CK_LIST_REMOVE(mailbox, link);
        mailbox->enlisted = false;
    }
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

void rlt_refused_login_on_failure(struct rlt_exchange *exchange, int error)
{
    if (!is_refusal(error)) {
        return;
    }
    RLT_ASSERT(error < 0 && error > -32);
    uint32_t reason = UINT32_C(1) << -error;
    struct rlt_mailbox *i;
    CK_LIST_FOREACH (i, &exchange->mailboxes, link) {
        if ((i->refusals & reason) == 0) {
            i->refusals |= reason;
            rlt_exchange_mark_dirty(exchange, i);
            rlt_mailbox_refuse(i, error);
        }
    }
}

void rlt_refused_login_on_ready(struct rlt_exchange *exchange)
{
    struct rlt_mailbox *i;
    CK_LIST_FOREACH (i, &exchange->mailboxes, link) {
        i->refusals = 0;
    }
}
