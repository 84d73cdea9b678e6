/* SPDX-License-Identifier: MIT */
/**
 * Finding the subscription that a server does not take. What was subscribed is told to the next
 * connection too; a SUB for which the server closes (its line is longer than max_control_line)
 * would end that one as well, and no message would ever be published on it.
 *
 * As core/sending/suspect.h, with SUBs for messages: those without PONG when a server closes a
 * connection twice in a row, or says that it does not take what it was sent, are the suspects. On
 * the next connection all others are subscribed first, and then the suspects, `window` of them at a
 * time, each behind the PONG of what came before. Messages wait until all are confirmed. One that
 * was alone in five losses in a row (in one, if the server has said it) is ended.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_SUB_SUSPECTS_H
#define RLT_CORE_CONNECTION_SUB_SUSPECTS_H

#include <stdbool.h>
#include <stdint.h>

struct rlt_connection;

/** Of one connection. All zero: none. */
struct rlt_sub_suspects {
    uint64_t *sids; /* NULL: none */
    uint32_t first; /* the next one to be tried */
    uint32_t end;
    uint32_t window;  /* SUBs on their way at most */
    uint32_t narrow;  /* how many that is for; then it is widened */
    uint32_t open;    /* of the window on its way; 0: none is */
    uint32_t losses;  /* in a row, with SUBs unconfirmed */
    uint32_t strikes; /* how often a SUB was alone */
    bool pinged;      /* the PING behind what is on its way is due or written */
    uint64_t culprit; /* sid of the one that is to be ended; 0: none */
};

static inline bool rlt_sub_suspects_are_none(const struct rlt_sub_suspects *suspects)
{
    return suspects->first == suspects->end;
}

/** Whether a sid is one that is told to the server later, with its window. */
bool rlt_sub_suspects_keep(const struct rlt_sub_suspects *suspects, uint64_t sid);

/** Forget all. */
void rlt_sub_suspects_fini(struct rlt_sub_suspects *suspects);

/** The server has closed the connection; its SUB marks are still there. `named`: it has said that
 *  it does not take what it was sent. Returns: whether SUBs were unconfirmed. */
bool rlt_sub_suspects_on_closed(struct rlt_connection *connection, bool named);

/** The connection is lost for another reason. */
static inline void rlt_sub_suspects_on_lost(struct rlt_sub_suspects *suspects)
{
    suspects->open = 0;
    suspects->pinged = false;
}

/** What was subscribed waits for the next connection: take the suspects out, and end the one that
 *  was found, with `error`. */
void rlt_sub_suspects_hold(struct rlt_connection *connection, int error);

/** All others are written. Let the next window of suspects follow if it may. Returns: whether there
 *  are none left. */
bool rlt_sub_suspects_step(struct rlt_connection *connection);

/** Whether it would do something now. */
bool rlt_sub_suspects_have_work(const struct rlt_connection *connection);

/** A PONG has arrived. */
void rlt_sub_suspects_on_pong(struct rlt_connection *connection);

#endif
