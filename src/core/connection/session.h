/* SPDX-License-Identifier: MIT */
/**
 * The life of one connection as a state machine over (event, now): when to connect, what to wait
 * for, when to ping, when to give a connection up, how long to wait before the next attempt.
 *
 * States, and the happy path:
 *
 *     IDLE -> WAITING -> OPENING -> GREETING -> SECURING -> VERIFYING -> READY
 *              ^         DNS+TCP    INFO        TLS         first PONG    |
 *              |                                                          |
 *              +------------------------ CLOSING <------------------------+   (failures: from
 *                                                                  every state behind WAITING)
 *
 * Without TLS there is no SECURING. If the server expects the handshake first, SECURING comes
 * before GREETING. CONNECT is sent on entering VERIFYING, and nothing before: with TLS configured
 * no credential can be on the wire in clear, whatever INFO says.
 *
 * Timer policy, all of it:
 *  - OPENING, GREETING, SECURING and VERIFYING share one deadline, connection_timeout.
 *  - READY: a PING every ping_interval plus jitter of up to a fifth (at most 1 s). Any received
 *    byte is life and forgives all outstanding pings. The connection is given up when the first
 *    unanswered ping is (max_ping_failure - 1) intervals and 1 s old; with what passed before
 *    that ping, a dead peer is found within interval * max_ping_failure + 1 s + jitter.
 *  - READY: a peer that lives and does not read. It is given up when a send has not progressed for
 *    max_ping_failure intervals and 1 s, with no PONG either. If all that we send fits into the
 *    kernels' buffers, a missing PONG alone tells, and bytes do not forgive it for ever: there may
 *    be as much before it as a server holds for us, but one that cannot write that within 10 s
 *    (write_deadline, nats-clients.md A.8) closes. It has 60 s more than a silent peer has
 *    (or held_back_max and an interval, if that is more).
 *  - READY, and the peer is silent or does not read: a ping interval before it would be given up
 *    for that it is probed on another connection (core/cluster/probe.h). If it answers there, it
 *    is given max_ping_failure intervals and 1 s from the answer on, and is probed again an
 *    interval before they are over; but held_back_max at most beyond its usual time.
 *  - WAITING after an attempt that was refused at once, as by a machine on which the server's port
 *    is closed: rand(1 .. max(reconnect_interval, an eighth of the time without one)) ms, but
 *    not longer than the ladder below. Attempts that are made before the ladder's wait is over are
 *    extra ones: they are no failures, so that n, and max_retry, stay measures of time.
 *  - WAITING after the loss of a connection that was up for a ping interval: half of
 *    reconnect_interval plus up to the other half as jitter. After n failures in a row:
 *    rand(1 .. min(base_backoff * 2^n, max_backoff)) ms. A connection that was up for less than
 *    a ping interval counts as one more failure, so that a server that accepts and drops is not
 *    stormed. The very first attempt is made at once.
 *  - No peer is given up while its events are unread: a thread that is late for a deadline first
 *    handles all events until then.
 *  - Nothing else of a session has a timer; a READY one wakes its thread once per ping interval.
 *    PINGs that others send (flushes, core/sending/confirm_timer.h) prove nothing to it, but
 *    their PONGs do.
 */
#ifndef RLT_CORE_CONNECTION_SESSION_H
#define RLT_CORE_CONNECTION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "core/seam/config.h"

enum rlt_session_state {
    RLT_SESSION_IDLE,
    RLT_SESSION_WAITING,
    RLT_SESSION_OPENING,
    RLT_SESSION_GREETING,
    RLT_SESSION_SECURING,
    RLT_SESSION_VERIFYING,
    RLT_SESSION_READY,
    RLT_SESSION_CLOSING,
};

/** The caller's next action after an event. */
enum rlt_session_action {
    RLT_SESSION_NOTHING,
    RLT_SESSION_OPEN,    /* open the transport */
    RLT_SESSION_SECURE,  /* start TLS */
    RLT_SESSION_CONNECT, /* send CONNECT and PING */
    RLT_SESSION_BECOME,  /* the connection is ready: subscribe, then publish */
    RLT_SESSION_PING,    /* send PING */
    RLT_SESSION_CLOSE,   /* close the transport */
    RLT_SESSION_LOST,    /* closed: an established connection was lost */
    RLT_SESSION_MISSED,  /* closed: an attempt failed */
    RLT_SESSION_STOPPED, /* closed for good */
};

/** Whether and when a connection changes to TLS. */
enum rlt_session_tls {
    RLT_SESSION_CLEAR,
    RLT_SESSION_TLS_AFTER_INFO,
    RLT_SESSION_TLS_FIRST,
};

struct rlt_session {
    const struct rlt_config *config;
    enum rlt_session_tls tls;
    struct rlt_random random;
    enum rlt_session_state state;
    bool stopping;
    bool established;       /* CLOSING: it was READY */
    uint32_t failures;      /* in a row; the exponent of the backoff */
    uint32_t attempts;      /* failed since the last READY connection; against max_retry */
    uint64_t away_ns;       /* when the last connection was lost, or the session started */
    uint64_t attempt_ns;    /* when the last attempt began */
    uint64_t ladder_ns;     /* WAITING: when the ladder's wait is over */
    int last_error;         /* why the last connection or attempt ended */
    uint64_t deadline_ns;   /* of the state; RLT_NEVER: none */
    uint64_t ready_ns;      /* when READY was reached */
    uint64_t unanswered_ns; /* when the oldest unanswered ping was sent; RLT_NEVER: none */
    uint64_t unponged_ns;   /* when the first ping behind the last PONG was; RLT_NEVER: none */
    uint64_t stuck_ns;      /* last sign that the peer reads a send; RLT_NEVER: no send */
    uint64_t ping_ns;       /* when the next ping is due */
    uint64_t answered_ns;   /* when the peer last answered a probe; 0: never */
};

/** Make an IDLE session. `seed` decides all of its jitter. */
void rlt_session_init(struct rlt_session *session, const struct rlt_config *config, uint64_t seed);

/** Speak TLS on every connection from now on. Before rlt_session_start(). */
void rlt_session_require_tls(struct rlt_session *session, enum rlt_session_tls tls);

/** IDLE -> WAITING, due at once. */
void rlt_session_start(struct rlt_session *session, uint64_t now_ns);

/**
 * End for good.
 *
 * Returns: RLT_SESSION_CLOSE, RLT_SESSION_STOPPED (nothing was open), or NOTHING (closing already;
 *          STOPPED follows from rlt_session_on_closed()).
 */
enum rlt_session_action rlt_session_stop(struct rlt_session *session);

/** When rlt_session_on_timer() is to be called at the latest. */
uint64_t rlt_session_deadline(const struct rlt_session *session);

/**
 * Act on the time. All events until `seen_ns` were reported by the calls below: a peer's silence is
 * judged by `seen_ns`, not by `now_ns`, since a late thread has not read later events.
 *
 * Returns: NOTHING, OPEN, PING or CLOSE.
 */
enum rlt_session_action rlt_session_on_timer(struct rlt_session *session, uint64_t now_ns,
                                             uint64_t seen_ns);

/** Note that the transport is connected. Returns: NOTHING or SECURE. */
enum rlt_session_action rlt_session_on_opened(struct rlt_session *session);

/** Note the end of the TLS handshake. Returns: NOTHING (INFO is to come) or CONNECT. */
enum rlt_session_action rlt_session_on_secured(struct rlt_session *session);

/** Note an INFO. Returns: CONNECT or SECURE for the first of a connection, NOTHING later. */
enum rlt_session_action rlt_session_on_info(struct rlt_session *session);

/** Note a PONG. Returns: BECOME for the first one of a connection, NOTHING later. */
enum rlt_session_action rlt_session_on_pong(struct rlt_session *session, uint64_t now_ns);

/** Note that the PING of RLT_SESSION_PING is sent: from now on the peer's silence counts. The PING
 *  had to wait while a borrower had the sending side, or a send was stuck. */
void rlt_session_on_pinged(struct rlt_session *session, uint64_t now_ns);

/** Note that the peer, silent here or not reading, has answered a probe on another connection. */
static inline void rlt_session_on_answer(struct rlt_session *session, uint64_t now_ns)
{
    session->answered_ns = now_ns;
}

/** When to probe the peer on another connection; RLT_NEVER: there is no reason to. */
uint64_t rlt_session_probe_ns(const struct rlt_session *session);

/** From when on the session lasts only because the peer has answered a probe; RLT_NEVER: that is
 *  not the reason. May be in the future. */
uint64_t rlt_session_kept_ns(const struct rlt_session *session);

/** Note received bytes: the peer lives. */
static inline void rlt_session_on_bytes(struct rlt_session *session)
{
    session->unanswered_ns = UINT64_MAX;
}

/** Note that a send begins, or goes on after the kernel took a part. */
static inline void rlt_session_on_send(struct rlt_session *session, uint64_t now_ns)
{
    session->stuck_ns = now_ns;
}

/** Note that the kernel took all of a send. */
static inline void rlt_session_on_sent(struct rlt_session *session)
{
    session->stuck_ns = UINT64_MAX;
}

/**
 * Note that the connection failed. The first reason is kept.
 *
 * Returns: CLOSE, or NOTHING if it is closing already.
 */
enum rlt_session_action rlt_session_on_failure(struct rlt_session *session, int error);

/** Note that the transport is closed, or could not be opened. Returns: LOST, MISSED or STOPPED. */
enum rlt_session_action rlt_session_on_closed(struct rlt_session *session, uint64_t now_ns);

#endif
