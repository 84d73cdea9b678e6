/* SPDX-License-Identifier: MIT */
/**
 * Finding the SUB that a server does not accept. All interests are subscribed again on the next
 * connection; a SUB for which the server closes (its line is longer than max_control_line) would
 * end that connection as well, and no message would ever be published on it.
 *
 * As core/sending/suspect.h, with SUBs for messages: those without PONG when a server closes a
 * connection twice in a row, or names a line that it does not accept, are the suspects. On the next
 * connection all others are subscribed first, and then the suspects, `window` of them at a time,
 * each behind the PONG of the lines before. Messages wait until all are confirmed. A SUB that was
 * alone in five losses in a row (in one, if the server named the fault) is ended.
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
    uint32_t first; /* the next suspect to try */
    uint32_t end;
    uint32_t window;  /* SUBs in flight at most */
    uint32_t narrow;  /* how many SUBs `window` is for; then it is widened */
    uint32_t open;    /* SUBs of the window in flight; 0: no window is */
    uint32_t losses;  /* in a row, with SUBs unconfirmed */
    uint32_t strikes; /* how often a SUB was alone */
    bool pinged;      /* the PING behind the window in flight is due or written */
    uint64_t culprit; /* sid of the interest to end; 0: none */
};

static inline bool rlt_sub_suspects_are_none(const struct rlt_sub_suspects *suspects)
{
    return suspects->first == suspects->end;
}

/** Whether a sid is a suspect, whose SUB is written later, with its window. */
bool rlt_sub_suspects_keep(const struct rlt_sub_suspects *suspects, uint64_t sid);

/** Forget all suspects. */
void rlt_sub_suspects_fini(struct rlt_sub_suspects *suspects);

/** Narrow the search after the server has closed the connection; the SUB marks are still there.
 *  `named`: the server named a line that it does not accept. Returns: whether SUBs were
 *  unconfirmed. */
bool rlt_sub_suspects_on_closed(struct rlt_connection *connection, bool named);

/** Forget the window in flight: the connection is lost for another reason. */
static inline void rlt_sub_suspects_on_lost(struct rlt_sub_suspects *suspects)
{
    suspects->open = 0;
    suspects->pinged = false;
}

/** Take the suspects out of the interests that wait for the next connection, and end the culprit,
 *  if one was found, with `error`. */
void rlt_sub_suspects_hold(struct rlt_connection *connection, int error);

/** Write the next window of suspects if it may follow; all other SUBs are written. Returns: whether
 *  no suspects are left. */
bool rlt_sub_suspects_step(struct rlt_connection *connection);

/** Whether rlt_sub_suspects_step() would do something now. */
bool rlt_sub_suspects_have_work(const struct rlt_connection *connection);

/** Handle a PONG. */
void rlt_sub_suspects_on_pong(struct rlt_connection *connection);

#endif
