/* SPDX-License-Identifier: MIT */
#include "core/connection/session.h"

#include "base/assert.h"
#include "base/defs.h"
#include "core/seam/backoff.h"

/* Time for an answer to the last allowed ping, from when that ping was due. */
#define GRACE_NS        RLT_NS_PER_S
#define PONG_LAG_NS     (60 * RLT_NS_PER_S)
#define PING_JITTER_MAX RLT_NS_PER_S

void rlt_session_init(struct rlt_session *session, const struct rlt_config *config, uint64_t seed)
{
    *session = (struct rlt_session){
        .config = config,
        .random = {seed},
        .state = RLT_SESSION_IDLE,
        .deadline_ns = RLT_NEVER,
        .unanswered_ns = RLT_NEVER,
        .unponged_ns = RLT_NEVER,
        .stuck_ns = RLT_NEVER,
        .ping_ns = RLT_NEVER,
    };
}

void rlt_session_require_tls(struct rlt_session *session, enum rlt_session_tls tls)
{
    RLT_ASSERT(session->state == RLT_SESSION_IDLE);
    session->tls = tls;
}

void rlt_session_start(struct rlt_session *session, uint64_t now_ns)
{
    RLT_ASSERT(session->state == RLT_SESSION_IDLE);
    session->state = RLT_SESSION_WAITING;
    session->deadline_ns = now_ns;
    session->away_ns = now_ns;
}

enum rlt_session_action rlt_session_stop(struct rlt_session *session)
{
    session->stopping = true;
    switch (session->state) {
    case RLT_SESSION_IDLE:
    case RLT_SESSION_WAITING:
        session->state = RLT_SESSION_IDLE;
        session->deadline_ns = RLT_NEVER;
        return RLT_SESSION_STOPPED;
    default:
        return rlt_session_on_failure(session, ROULETTE_ECLOSED);
    }
}

static uint64_t after(uint64_t start_ns, uint64_t wait_ns)
{
    return start_ns != RLT_NEVER ? start_ns + wait_ns : RLT_NEVER;
}

/* A reason to give up a READY session: an overdue sign from the peer. */
struct doubt {
    uint64_t since_ns; /* RLT_NEVER: there is none */
    uint64_t end_ns;   /* given up then, if no probe is answered */
};

/* How long a peer may be silent. */
static uint64_t silence_ns(const struct rlt_session *session)
{
    return (session->config->max_ping_failure - 1) * session->config->ping_interval_ns + GRACE_NS;
}

/* The doubt that nothing has come since a ping. */
static struct doubt silence(const struct rlt_session *session)
{
    uint64_t since_ns = session->unanswered_ns;
    return (struct doubt){since_ns, after(since_ns, silence_ns(session))};
}

/* The doubt that the peer does not read a send. */
static struct doubt deafness(const struct rlt_session *session)
{
    uint64_t since_ns = session->stuck_ns;
    uint64_t interval_ns = session->config->ping_interval_ns;
    return (struct doubt){since_ns, after(since_ns, silence_ns(session) + interval_ns)};
}

static bool is_answered(const struct rlt_session *session, const struct doubt *doubt)
{
    return doubt->since_ns != RLT_NEVER && session->answered_ns >= doubt->since_ns;
}

/* When a session is given up for a doubt. */
static uint64_t doubt_end_ns(const struct rlt_session *session, const struct doubt *doubt)
{
    if (!is_answered(session, doubt)) {
        return doubt->end_ns;
    }
    uint64_t kept_ns =
        session->answered_ns + silence_ns(session) + session->config->ping_interval_ns;
    kept_ns = rlt_min_u64(kept_ns, doubt->end_ns + session->config->held_back_max_ns);
    return kept_ns > doubt->end_ns ? kept_ns : doubt->end_ns;
}

/* When to probe the peer because of a doubt: an interval before its end. */
static uint64_t doubt_probe_ns(const struct rlt_session *session, const struct doubt *doubt)
{
    if (doubt->since_ns == RLT_NEVER) {
        return RLT_NEVER;
    }
    if (is_answered(session, doubt)) {
        return session->answered_ns + silence_ns(session);
    }
    uint64_t interval_ns = session->config->ping_interval_ns;
    uint64_t whole_ns = doubt->end_ns - doubt->since_ns;
    return doubt->end_ns - rlt_min_u64(interval_ns, whole_ns);
}

uint64_t rlt_session_probe_ns(const struct rlt_session *session)
{
    if (session->state != RLT_SESSION_READY || session->config->held_back_max_ns == 0) {
        return RLT_NEVER;
    }
    struct doubt silent = silence(session);
    struct doubt deaf = deafness(session);
    return rlt_min_u64(doubt_probe_ns(session, &silent), doubt_probe_ns(session, &deaf));
}

uint64_t rlt_session_kept_ns(const struct rlt_session *session)
{
    struct doubt silent = silence(session);
    struct doubt deaf = deafness(session);
    if (session->state != RLT_SESSION_READY) {
        return RLT_NEVER;
    }
    return rlt_min_u64(is_answered(session, &silent) ? silent.end_ns : RLT_NEVER,
                       is_answered(session, &deaf) ? deaf.end_ns : RLT_NEVER);
}

/* When a READY session is given up unless the peer gives a sign: of life, or that it reads. */
static uint64_t give_up_ns(const struct rlt_session *session)
{
    struct doubt silent = silence(session);
    struct doubt deaf = deafness(session);
    uint64_t end_ns = rlt_min_u64(doubt_end_ns(session, &silent), doubt_end_ns(session, &deaf));
    uint64_t lag_ns = session->config->ping_interval_ns + session->config->held_back_max_ns;
    lag_ns = lag_ns > PONG_LAG_NS ? lag_ns : PONG_LAG_NS;
    return rlt_min_u64(end_ns, after(session->unponged_ns, silence_ns(session) + lag_ns));
}

uint64_t rlt_session_deadline(const struct rlt_session *session)
{
    if (session->state == RLT_SESSION_READY) {
        return rlt_min_u64(session->ping_ns, give_up_ns(session));
    }
    return session->deadline_ns;
}

static void schedule_ping(struct rlt_session *session, uint64_t now_ns)
{
    uint64_t interval = session->config->ping_interval_ns;
    uint64_t jitter = rlt_min_u64(interval / 5, PING_JITTER_MAX);
    session->ping_ns = now_ns + interval + rlt_random_below(&session->random, jitter + 1);
}

static enum rlt_session_action on_ready_timer(struct rlt_session *session, uint64_t now_ns,
                                              uint64_t seen_ns)
{
    if (seen_ns >= give_up_ns(session)) {
        return rlt_session_on_failure(session, ROULETTE_ESTALE);
    }
    if (now_ns < session->ping_ns) {
        return RLT_SESSION_NOTHING;
    }
    schedule_ping(session, now_ns);
    return RLT_SESSION_PING;
}

void rlt_session_on_pinged(struct rlt_session *session, uint64_t now_ns)
{
    if (session->unanswered_ns == RLT_NEVER) {
        session->unanswered_ns = now_ns;
    }
    if (session->unponged_ns == RLT_NEVER) {
        session->unponged_ns = now_ns;
    }
}

enum rlt_session_action rlt_session_on_timer(struct rlt_session *session, uint64_t now_ns,
                                             uint64_t seen_ns)
{
    if (session->state == RLT_SESSION_READY) {
        return on_ready_timer(session, now_ns, seen_ns);
    }
    bool waits_for_peer = session->state != RLT_SESSION_WAITING;
    if ((waits_for_peer ? seen_ns : now_ns) < session->deadline_ns) {
        return RLT_SESSION_NOTHING;
    }
    switch (session->state) {
    case RLT_SESSION_WAITING:
        session->state = RLT_SESSION_OPENING;
        session->attempt_ns = now_ns;
        session->deadline_ns = now_ns + session->config->connection_timeout_ns;
        return RLT_SESSION_OPEN;
    case RLT_SESSION_OPENING:
    case RLT_SESSION_GREETING:
    case RLT_SESSION_SECURING:
    case RLT_SESSION_VERIFYING:
        return rlt_session_on_failure(session, ROULETTE_ETIMEDOUT);
    default:
        return RLT_SESSION_NOTHING;
    }
}

enum rlt_session_action rlt_session_on_opened(struct rlt_session *session)
{
    /* An open may complete while its close is on the way. */
    if (session->state != RLT_SESSION_OPENING) {
        return RLT_SESSION_NOTHING;
    }
    if (session->tls == RLT_SESSION_TLS_FIRST) {
        session->state = RLT_SESSION_SECURING;
        return RLT_SESSION_SECURE;
    }
    session->state = RLT_SESSION_GREETING;
    return RLT_SESSION_NOTHING;
}

enum rlt_session_action rlt_session_on_secured(struct rlt_session *session)
{
    if (session->state != RLT_SESSION_SECURING) {
        return RLT_SESSION_NOTHING;
    }
    if (session->tls == RLT_SESSION_TLS_FIRST) {
        session->state = RLT_SESSION_GREETING;
        return RLT_SESSION_NOTHING;
    }
    session->state = RLT_SESSION_VERIFYING;
    return RLT_SESSION_CONNECT;
}

enum rlt_session_action rlt_session_on_info(struct rlt_session *session)
{
    if (session->state != RLT_SESSION_GREETING) {
        return RLT_SESSION_NOTHING;
    }
    if (session->tls == RLT_SESSION_TLS_AFTER_INFO) {
        session->state = RLT_SESSION_SECURING;
        return RLT_SESSION_SECURE;
    }
    session->state = RLT_SESSION_VERIFYING;
    return RLT_SESSION_CONNECT;
}

enum rlt_session_action rlt_session_on_pong(struct rlt_session *session, uint64_t now_ns)
{
    session->unponged_ns = RLT_NEVER;
    if (session->stuck_ns != RLT_NEVER) {
        session->stuck_ns = now_ns;
    }
    if (session->state != RLT_SESSION_VERIFYING) {
        return RLT_SESSION_NOTHING;
    }
    session->state = RLT_SESSION_READY;
    session->deadline_ns = RLT_NEVER;
    session->unanswered_ns = RLT_NEVER;
    session->attempts = 0;
    session->ready_ns = now_ns;
    schedule_ping(session, now_ns);
    return RLT_SESSION_BECOME;
}

enum rlt_session_action rlt_session_on_failure(struct rlt_session *session, int error)
{
    RLT_ASSERT(session->state != RLT_SESSION_IDLE && session->state != RLT_SESSION_WAITING);
    if (session->state == RLT_SESSION_CLOSING) {
        return RLT_SESSION_NOTHING;
    }
    session->established = session->state == RLT_SESSION_READY;
    session->state = RLT_SESSION_CLOSING;
    session->deadline_ns = RLT_NEVER;
    session->last_error = error;
    return RLT_SESSION_CLOSE;
}

/* Climb the ladder, after a failed attempt or a lost connection. */
static void climb(struct rlt_session *session, bool established, uint64_t now_ns)
{
    bool stable = established && now_ns - session->ready_ns >= session->config->ping_interval_ns;
    if (stable) {
        session->failures = 0;
    } else if (session->failures < UINT32_MAX) {
        session->failures++;
    }
    if (!established && session->attempts < UINT32_MAX) {
        session->attempts++;
    }
    session->ladder_ns =
        now_ns + rlt_backoff_ns(session->config, &session->random, session->failures);
}

enum rlt_session_action rlt_session_on_closed(struct rlt_session *session, uint64_t now_ns)
{
    RLT_ASSERT(session->state == RLT_SESSION_CLOSING);
    bool established = session->established;
    session->established = false;
    session->stuck_ns = RLT_NEVER;
    if (session->stopping) {
        session->state = RLT_SESSION_IDLE;
        return RLT_SESSION_STOPPED;
    }
    bool refused =
        session->last_error == ROULETTE_ECONNECT || session->last_error == ROULETTE_ESELF;
    bool cheap = !established && refused && now_ns - session->attempt_ns <= RLT_BACKOFF_CHEAP_NS;
    if (established) {
        session->away_ns = now_ns;
    }
    if (!cheap || now_ns >= session->ladder_ns) {
        climb(session, established, now_ns);
    }
    session->deadline_ns = session->ladder_ns;
    if (cheap) {
        uint64_t wait_ns =
            rlt_backoff_cheap_ns(session->config, &session->random, now_ns - session->away_ns);
        session->deadline_ns = rlt_min_u64(session->ladder_ns, now_ns + wait_ns);
    }
    session->state = RLT_SESSION_WAITING;
    return established ? RLT_SESSION_LOST : RLT_SESSION_MISSED;
}
