/* SPDX-License-Identifier: MIT */
/*
 * The timer policy of core/connection/session.h, sentence by sentence. Time is a number here.
 */
#include "core/connection/session.h"

#include <inttypes.h>
#include <signal.h>

#include "base/defs.h"
#include "core/seam/backoff.h"
#include "roulette.h"
#include "support/test.h"

#define SEEDS 200

/* By a thread that is never late, and sends what it is to send. */
static enum rlt_session_action on_timer(struct rlt_session *session, uint64_t now_ns)
{
    enum rlt_session_action action = rlt_session_on_timer(session, now_ns, now_ns);
    if (action == RLT_SESSION_PING) {
        rlt_session_on_pinged(session, now_ns);
    }
    return action;
}

static const struct rlt_config config = {
    .connection_timeout_ns = 5 * RLT_NS_PER_S,
    .ping_interval_ns = 5 * RLT_NS_PER_S,
    .reconnect_interval_ns = 100 * RLT_NS_PER_MS,
    .base_backoff_ms = 10,
    .max_backoff_ms = 5000,
    .max_ping_failure = 2,
    .max_retry = 10,
};

/* Any time but 0, so that a forgotten `now` shows. */
#define START (1000 * RLT_NS_PER_S)

/* ---- Steps -------------------------------------------------------------------------------- */

static void open_at(struct rlt_session *session, uint64_t now_ns)
{
    cr_assert_eq(session->state, RLT_SESSION_WAITING);
    cr_assert_eq(on_timer(session, now_ns), RLT_SESSION_OPEN);
    cr_assert_eq(session->state, RLT_SESSION_OPENING);
}

static void become_ready(struct rlt_session *session, uint64_t now_ns)
{
    open_at(session, now_ns);
    rlt_session_on_opened(session);
    cr_assert_eq(rlt_session_on_info(session), RLT_SESSION_CONNECT);
    cr_assert_eq(rlt_session_on_pong(session, now_ns), RLT_SESSION_BECOME);
    cr_assert_eq(session->state, RLT_SESSION_READY);
}

static struct rlt_session started(uint64_t seed)
{
    struct rlt_session session;
    rlt_session_init(&session, &config, seed);
    rlt_session_start(&session, START);
    return session;
}

static struct rlt_session ready(uint64_t seed)
{
    struct rlt_session session = started(seed);
    become_ready(&session, START);
    return session;
}

/* A session in `state`, as it gets there by itself. */
static struct rlt_session in_state(enum rlt_session_state state)
{
    struct rlt_session session;
    rlt_session_init(&session, &config, 1);
    if (state == RLT_SESSION_SECURING) {
        rlt_session_require_tls(&session, RLT_SESSION_TLS_AFTER_INFO);
    }
    if (state >= RLT_SESSION_WAITING) {
        rlt_session_start(&session, START);
    }
    if (state >= RLT_SESSION_OPENING) {
        (void)on_timer(&session, START);
    }
    if (state >= RLT_SESSION_GREETING) {
        rlt_session_on_opened(&session);
    }
    if (state >= RLT_SESSION_SECURING) {
        (void)rlt_session_on_info(&session);
    }
    if (state >= RLT_SESSION_READY) {
        (void)rlt_session_on_pong(&session, START);
    }
    if (state >= RLT_SESSION_CLOSING) {
        (void)rlt_session_on_failure(&session, ROULETTE_EDISCONNECTED);
    }
    cr_assert_eq(session.state, state);
    return session;
}

/* ---- TLS ---------------------------------------------------------------------------------- */

Test(session, tls_is_spoken_between_info_and_connect)
{
    struct rlt_session session;
    rlt_session_init(&session, &config, 1);
    rlt_session_require_tls(&session, RLT_SESSION_TLS_AFTER_INFO);
    rlt_session_start(&session, START);
    open_at(&session, START);
    cr_assert_eq(rlt_session_on_opened(&session), RLT_SESSION_NOTHING);
    cr_assert_eq(rlt_session_on_info(&session), RLT_SESSION_SECURE);
    cr_assert_eq(session.state, RLT_SESSION_SECURING);
    cr_assert_eq(rlt_session_on_secured(&session), RLT_SESSION_CONNECT);
    cr_assert_eq(rlt_session_on_secured(&session), RLT_SESSION_NOTHING);
    cr_assert_eq(rlt_session_on_pong(&session, START), RLT_SESSION_BECOME);
}

Test(session, tls_first_is_spoken_before_info)
{
    struct rlt_session session;
    rlt_session_init(&session, &config, 1);
    rlt_session_require_tls(&session, RLT_SESSION_TLS_FIRST);
    rlt_session_start(&session, START);
    open_at(&session, START);
    cr_assert_eq(rlt_session_on_opened(&session), RLT_SESSION_SECURE);
    cr_assert_eq(rlt_session_on_info(&session), RLT_SESSION_NOTHING);
    cr_assert_eq(rlt_session_on_secured(&session), RLT_SESSION_NOTHING);
    cr_assert_eq(session.state, RLT_SESSION_GREETING);
    cr_assert_eq(rlt_session_on_info(&session), RLT_SESSION_CONNECT);
}

/* How an attempt ends that is refused. */
static int refusal = ROULETTE_ECONNECT;

/* Fail the attempt that is due, `took_ns` later, and return how long the session then waits. */
static uint64_t wait_after_attempt(struct rlt_session *session, uint64_t took_ns)
{
    uint64_t now_ns = rlt_session_deadline(session);
    open_at(session, now_ns);
    now_ns += took_ns;
    cr_assert_eq(rlt_session_on_failure(session, refusal), RLT_SESSION_CLOSE);
    cr_assert_eq(rlt_session_on_closed(session, now_ns), RLT_SESSION_MISSED);
    cr_assert_eq(session->state, RLT_SESSION_WAITING);
    return rlt_session_deadline(session) - now_ns;
}

/* Nobody said no: it took a while until the kernel gave up. */
static uint64_t wait_after_missed_attempt(struct rlt_session *session)
{
    return wait_after_attempt(session, RLT_NS_PER_S);
}

/* Connect when it is due, lose the connection `up_ns` later, and return how long it then waits. */
static uint64_t wait_after_loss(struct rlt_session *session, uint64_t up_ns)
{
    uint64_t now_ns = rlt_session_deadline(session);
    become_ready(session, now_ns);
    now_ns += up_ns;
    cr_assert_eq(rlt_session_on_failure(session, ROULETTE_EDISCONNECTED), RLT_SESSION_CLOSE);
    cr_assert_eq(rlt_session_on_closed(session, now_ns), RLT_SESSION_LOST);
    return rlt_session_deadline(session) - now_ns;
}

/* rand(1 .. min(base_backoff * 2^n, max_backoff)) ms. */
static void assert_backoff(uint64_t wait_ns, uint32_t failures)
{
    uint64_t limit_ms =
        failures < 16 ? rlt_min_u64(UINT64_C(10) << failures, config.max_backoff_ms) : 5000;
    cr_assert_geq(wait_ns, RLT_NS_PER_MS, "failures %u", failures);
    cr_assert_leq(wait_ns, limit_ms * RLT_NS_PER_MS, "failures %u", failures);
}

/* ---- Connecting --------------------------------------------------------------------------- */

Test(session, first_attempt_is_made_at_once)
{
    struct rlt_session session = started(1);
    cr_assert_eq(rlt_session_deadline(&session), START);
    cr_assert_eq(on_timer(&session, START), RLT_SESSION_OPEN);
}

Test(session, idle_has_no_timer)
{
    struct rlt_session session;
    rlt_session_init(&session, &config, 1);
    cr_assert_eq(rlt_session_deadline(&session), RLT_NEVER);
    cr_assert_eq(on_timer(&session, START), RLT_SESSION_NOTHING);
}

Test(session, opening_greeting_and_verifying_share_one_deadline)
{
    for (int state = RLT_SESSION_OPENING; state <= RLT_SESSION_VERIFYING; state++) {
        struct rlt_session session = in_state((enum rlt_session_state)state);
        uint64_t deadline_ns = START + config.connection_timeout_ns;
        cr_assert_eq(rlt_session_deadline(&session), deadline_ns);
        cr_assert_eq(on_timer(&session, deadline_ns - 1), RLT_SESSION_NOTHING);
        cr_assert_eq(on_timer(&session, deadline_ns), RLT_SESSION_CLOSE);
        cr_assert_eq(session.last_error, ROULETTE_ETIMEDOUT);
        cr_assert_eq(rlt_session_on_closed(&session, deadline_ns), RLT_SESSION_MISSED);
    }
}

Test(session, bytes_do_not_extend_the_handshake)
{
    for (int state = RLT_SESSION_GREETING; state <= RLT_SESSION_VERIFYING; state++) {
        struct rlt_session session = in_state((enum rlt_session_state)state);
        rlt_session_on_bytes(&session);
        cr_assert_eq(rlt_session_deadline(&session), START + config.connection_timeout_ns);
    }
}

Test(session, only_the_first_info_of_a_connection_connects)
{
    for (int state = RLT_SESSION_IDLE; state <= RLT_SESSION_CLOSING; state++) {
        struct rlt_session session = in_state((enum rlt_session_state)state);
        bool greeting = state == RLT_SESSION_GREETING;
        cr_assert_eq(rlt_session_on_info(&session),
                     greeting ? RLT_SESSION_CONNECT : RLT_SESSION_NOTHING, "state %d", state);
        cr_assert_eq((int)session.state, greeting ? RLT_SESSION_VERIFYING : state);
    }
}

Test(session, only_the_pong_behind_connect_makes_it_ready)
{
    for (int state = RLT_SESSION_IDLE; state <= RLT_SESSION_CLOSING; state++) {
        struct rlt_session session = in_state((enum rlt_session_state)state);
        bool verifying = state == RLT_SESSION_VERIFYING;
        cr_assert_eq(rlt_session_on_pong(&session, START),
                     verifying ? RLT_SESSION_BECOME : RLT_SESSION_NOTHING, "state %d", state);
        cr_assert_eq((int)session.state, verifying ? RLT_SESSION_READY : state);
    }
}

Test(session, open_that_completes_while_closing_is_ignored)
{
    struct rlt_session session = in_state(RLT_SESSION_OPENING);
    cr_assert_eq(rlt_session_on_failure(&session, ROULETTE_ETIMEDOUT), RLT_SESSION_CLOSE);
    rlt_session_on_opened(&session);
    cr_assert_eq(session.state, RLT_SESSION_CLOSING);
}

/* ---- Pings -------------------------------------------------------------------------------- */

Test(session, ping_is_due_after_the_interval_and_up_to_a_second_more)
{
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = ready(seed);
        uint64_t wait_ns = rlt_session_deadline(&session) - START;
        cr_assert_geq(wait_ns, config.ping_interval_ns);
        cr_assert_leq(wait_ns, config.ping_interval_ns + RLT_NS_PER_S);
        least = rlt_min_u64(least, wait_ns);
        most = wait_ns > most ? wait_ns : most;
    }
    /* Jitter is there, and uses its range. */
    cr_assert_gt(most - least, RLT_NS_PER_S / 2);
}

Test(session, ping_jitter_is_at_most_a_fifth_of_a_short_interval)
{
    struct rlt_config brisk = config;
    brisk.ping_interval_ns = 10 * RLT_NS_PER_MS;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session;
        rlt_session_init(&session, &brisk, seed);
        rlt_session_start(&session, START);
        become_ready(&session, START);
        uint64_t wait_ns = rlt_session_deadline(&session) - START;
        cr_assert_geq(wait_ns, brisk.ping_interval_ns);
        cr_assert_leq(wait_ns, brisk.ping_interval_ns + brisk.ping_interval_ns / 5);
    }
}

Test(session, live_connection_wakes_once_per_ping_interval)
{
    struct rlt_session session = ready(7);
    uint64_t now_ns = START;
    for (int i = 0; i < 1000; i++) {
        uint64_t deadline_ns = rlt_session_deadline(&session);
        cr_assert_geq(deadline_ns, now_ns + config.ping_interval_ns);
        cr_assert_eq(on_timer(&session, deadline_ns - 1), RLT_SESSION_NOTHING);
        cr_assert_eq(on_timer(&session, deadline_ns), RLT_SESSION_PING);
        cr_assert_eq(on_timer(&session, deadline_ns), RLT_SESSION_NOTHING);
        rlt_session_on_bytes(&session);
        (void)rlt_session_on_pong(&session, deadline_ns);
        now_ns = deadline_ns;
    }
}

Test(session, bytes_forgive_all_unanswered_pings)
{
    struct rlt_session session = ready(3);
    uint64_t first_ns = rlt_session_deadline(&session);
    cr_assert_eq(on_timer(&session, first_ns), RLT_SESSION_PING);
    uint64_t second_ns = rlt_session_deadline(&session);
    cr_assert_eq(on_timer(&session, second_ns), RLT_SESSION_PING);
    rlt_session_on_bytes(&session);
    /* The first one would end it here. */
    uint64_t gone_ns = first_ns + config.ping_interval_ns + RLT_NS_PER_S;
    cr_assert_eq(on_timer(&session, gone_ns), RLT_SESSION_NOTHING);
    /* Now the third is the first unanswered one. */
    uint64_t third_ns = rlt_session_deadline(&session);
    cr_assert_eq(on_timer(&session, third_ns), RLT_SESSION_PING);
    uint64_t end_ns = third_ns + config.ping_interval_ns + RLT_NS_PER_S;
    while (rlt_session_deadline(&session) < end_ns) {
        cr_assert_eq(on_timer(&session, rlt_session_deadline(&session)), RLT_SESSION_PING);
    }
    cr_assert_eq(rlt_session_deadline(&session), end_ns);
    cr_assert_eq(on_timer(&session, end_ns), RLT_SESSION_CLOSE);
}

/* Nothing was heard by then, but it was not asked for either. */
Test(session, silence_counts_from_the_ping_that_was_sent)
{
    struct rlt_session session = ready(3);
    uint64_t due_ns = rlt_session_deadline(&session);
    cr_assert_eq(rlt_session_on_timer(&session, due_ns, due_ns), RLT_SESSION_PING);
    uint64_t sent_ns = due_ns + 100 * RLT_NS_PER_S;
    cr_assert_eq(rlt_session_on_timer(&session, sent_ns, sent_ns), RLT_SESSION_PING);
    rlt_session_on_pinged(&session, sent_ns);
    uint64_t end_ns = sent_ns + config.ping_interval_ns + RLT_NS_PER_S;
    cr_assert_neq(rlt_session_on_timer(&session, end_ns - 1, end_ns - 1), RLT_SESSION_CLOSE);
    cr_assert_eq(rlt_session_on_timer(&session, end_ns, end_ns), RLT_SESSION_CLOSE);
}

Test(session, silence_that_was_not_listened_to_is_none)
{
    struct rlt_session session = ready(3);
    uint64_t due_ns = rlt_session_deadline(&session);
    cr_assert_eq(on_timer(&session, due_ns), RLT_SESSION_PING);
    uint64_t end_ns = due_ns + config.ping_interval_ns + RLT_NS_PER_S;
    uint64_t late_ns = end_ns + 100 * RLT_NS_PER_S;
    cr_assert_eq(rlt_session_on_timer(&session, late_ns, end_ns - 1), RLT_SESSION_PING);
    cr_assert_eq(rlt_session_on_timer(&session, late_ns, end_ns), RLT_SESSION_CLOSE);
}

/* Serve timers up to and with `until_ns`, while bytes arrive all the time. Returns what ended it.
 */
static enum rlt_session_action talk_until(struct rlt_session *session, uint64_t until_ns,
                                          bool answers)
{
    while (rlt_session_deadline(session) <= until_ns) {
        uint64_t now_ns = rlt_session_deadline(session);
        enum rlt_session_action action = on_timer(session, now_ns);
        if (action != RLT_SESSION_PING) {
            return action;
        }
        rlt_session_on_bytes(session);
        if (answers) {
            cr_assert_eq(rlt_session_on_pong(session, now_ns), RLT_SESSION_NOTHING);
        }
    }
    return RLT_SESSION_NOTHING;
}

#define STUCK_NS (2 * config.ping_interval_ns + RLT_NS_PER_S)

Test(session, peer_that_talks_and_reads_nothing_of_a_send_is_given_up)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = ready(seed);
        uint64_t begin_ns = START + seed * RLT_NS_PER_S / 10;
        cr_assert_eq(talk_until(&session, begin_ns, false), RLT_SESSION_NOTHING);
        rlt_session_on_send(&session, begin_ns);
        cr_assert_eq(talk_until(&session, begin_ns + STUCK_NS - 1, false), RLT_SESSION_NOTHING);
        cr_assert_eq(talk_until(&session, begin_ns + STUCK_NS, false), RLT_SESSION_CLOSE);
        cr_assert_eq(session.last_error, ROULETTE_ESTALE);
    }
}

Test(session, send_that_progresses_or_is_answered_is_not_stuck)
{
    struct rlt_session session = ready(5);
    uint64_t now_ns = START;
    for (int i = 0; i < 20; i++) {
        rlt_session_on_send(&session, now_ns);
        now_ns += STUCK_NS - 1;
        cr_assert_eq(talk_until(&session, now_ns, i % 2 == 0), RLT_SESSION_NOTHING);
        (void)rlt_session_on_pong(&session, now_ns);
    }
    now_ns += STUCK_NS - 1;
    cr_assert_eq(talk_until(&session, now_ns, false), RLT_SESSION_NOTHING);
    rlt_session_on_sent(&session);
    cr_assert_eq(talk_until(&session, now_ns + STUCK_NS, false), RLT_SESSION_NOTHING);
}

Test(session, stuck_send_of_a_lost_connection_is_forgotten)
{
    struct rlt_session session = ready(5);
    rlt_session_on_send(&session, START);
    cr_assert_eq(rlt_session_on_failure(&session, ROULETTE_EDISCONNECTED), RLT_SESSION_CLOSE);
    cr_assert_eq(rlt_session_on_closed(&session, START), RLT_SESSION_LOST);
    become_ready(&session, rlt_session_deadline(&session));
    cr_assert_eq(talk_until(&session, START + 2 * STUCK_NS, false), RLT_SESSION_NOTHING);
}

/* Its PONG may stand behind much that it has to write. */
Test(session, bytes_forgive_a_missing_pong_for_a_minute)
{
    struct rlt_session session = ready(3);
    uint64_t first_ns = rlt_session_deadline(&session);
    uint64_t end_ns = first_ns + config.ping_interval_ns + RLT_NS_PER_S + 60 * RLT_NS_PER_S;
    cr_assert_eq(talk_until(&session, end_ns - 1, false), RLT_SESSION_NOTHING);
    cr_assert_eq(rlt_session_on_pong(&session, end_ns - 1), RLT_SESSION_NOTHING);
    first_ns = rlt_session_deadline(&session);
    end_ns = first_ns + config.ping_interval_ns + RLT_NS_PER_S + 60 * RLT_NS_PER_S;
    cr_assert_eq(talk_until(&session, end_ns - 1, false), RLT_SESSION_NOTHING);
    cr_assert_eq(talk_until(&session, end_ns, false), RLT_SESSION_CLOSE);
    cr_assert_eq(session.last_error, ROULETTE_ESTALE);
}

Test(session, peer_that_talks_and_answers_is_kept)
{
    struct rlt_session session = ready(3);
    cr_assert_eq(talk_until(&session, START + 3600 * RLT_NS_PER_S, true), RLT_SESSION_NOTHING);
}

Test(session, silent_peer_is_given_up_in_time_for_any_failure_limit)
{
    for (uint32_t limit = 1; limit <= 15; limit++) {
        struct rlt_config strict = config;
        strict.max_ping_failure = limit;
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct rlt_session session;
            rlt_session_init(&session, &strict, seed);
            rlt_session_start(&session, START);
            become_ready(&session, START);
            uint32_t pings = 0;
            uint64_t first_ping_ns = 0;
            uint64_t now_ns;
            enum rlt_session_action action;
            do {
                now_ns = rlt_session_deadline(&session);
                action = on_timer(&session, now_ns);
                first_ping_ns = pings == 0 ? now_ns : first_ping_ns;
                pings += action == RLT_SESSION_PING ? 1 : 0;
            } while (action == RLT_SESSION_PING);
            cr_assert_eq(action, RLT_SESSION_CLOSE);
            cr_assert_eq(session.last_error, ROULETTE_ESTALE);
            uint64_t silent_ns = strict.ping_interval_ns * (limit - 1) + RLT_NS_PER_S;
            cr_assert_eq(now_ns, first_ping_ns + silent_ns);
            cr_assert_geq(pings, 1);
            cr_assert_leq(pings, limit);
            /* interval * max_ping_failure + 1 s + jitter. */
            cr_assert_leq(now_ns - START,
                          strict.ping_interval_ns * limit + RLT_NS_PER_S + RLT_NS_PER_S);
        }
    }
}

Test(session, late_timer_gives_up_instead_of_pinging)
{
    struct rlt_session session = ready(3);
    cr_assert_eq(on_timer(&session, rlt_session_deadline(&session)), RLT_SESSION_PING);
    cr_assert_eq(on_timer(&session, START + 3600 * RLT_NS_PER_S), RLT_SESSION_CLOSE);
}

/* ---- Waiting ------------------------------------------------------------------------------ */

Test(session, stable_connection_is_followed_by_half_to_a_whole_reconnect_interval)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = started(seed);
        uint64_t wait_ns = wait_after_loss(&session, config.ping_interval_ns);
        cr_assert_geq(wait_ns, config.reconnect_interval_ns / 2);
        cr_assert_leq(wait_ns, config.reconnect_interval_ns);
    }
}

Test(session, nth_failure_in_a_row_doubles_the_backoff_up_to_its_limit)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = started(seed);
        for (uint32_t failures = 1; failures <= 40; failures++) {
            assert_backoff(wait_after_missed_attempt(&session), failures);
            cr_assert_eq(session.attempts, failures);
        }
    }
}

Test(session, failures_behind_a_stable_connection_begin_at_one)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = started(seed);
        for (int i = 0; i < 20; i++) {
            (void)wait_after_missed_attempt(&session);
        }
        (void)wait_after_loss(&session, config.ping_interval_ns);
        cr_assert_eq(session.attempts, 0);
        for (uint32_t failures = 1; failures <= 10; failures++) {
            assert_backoff(wait_after_missed_attempt(&session), failures);
        }
    }
}

/* ---- Refusals ----------------------------------------------------------------------------- */

/* The server's port is closed from `start_ns` on; the session tries until `end_ns`. Returns how
 * often. */
static uint32_t try_while_refused(struct rlt_session *session, uint64_t start_ns, uint64_t end_ns)
{
    uint32_t count = 0;
    while (rlt_session_deadline(session) <= end_ns) {
        uint64_t away_ns = rlt_session_deadline(session) - start_ns;
        uint64_t limit_ns =
            away_ns / 8 > config.reconnect_interval_ns ? away_ns / 8 : config.reconnect_interval_ns;
        uint64_t wait_ns = wait_after_attempt(session, 0);
        cr_assert_leq(wait_ns, limit_ns + RLT_NS_PER_MS, "away for %" PRIu64 " ns", away_ns);
        cr_assert_geq(wait_ns, 1);
        count++;
    }
    return count;
}

/* Wherever the outage ends, the next attempt is not far. */
Test(session, refused_attempts_come_within_an_eighth_of_the_outage)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = started(seed);
        (void)wait_after_loss(&session, config.ping_interval_ns);
        uint64_t lost_ns = session.away_ns;
        uint32_t count = try_while_refused(&session, lost_ns, lost_ns + 10 * RLT_NS_PER_S);
        cr_assert_leq(count, 200, "%" PRIu32 " attempts in 10 s", count);
        (void)try_while_refused(&session, lost_ns, lost_ns + 600 * RLT_NS_PER_S);
        /* As often as the ladder alone, and a little more. */
        count = try_while_refused(&session, lost_ns, lost_ns + 1200 * RLT_NS_PER_S);
        cr_assert_leq(count, 2 * 600 / 5 * 3 / 2, "%" PRIu32 " attempts in 600 s", count);
    }
}

/* A port where nobody listens may also lead a connection back to itself. */
Test(session, connections_to_themselves_are_refused_attempts)
{
    refusal = ROULETTE_ESELF;
    struct rlt_session session = started(1);
    (void)wait_after_loss(&session, config.ping_interval_ns);
    uint64_t lost_ns = session.away_ns;
    (void)try_while_refused(&session, lost_ns, lost_ns + 100 * RLT_NS_PER_S);
}

/* max_retry is a measure of time: that of the ladder, however often is tried in between. */
Test(session, refused_attempts_between_the_ladders_are_no_failures)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = started(seed);
        uint64_t most_ns = 0;
        for (uint32_t failures = 1; failures <= 10; failures++) {
            uint64_t limit_ms = UINT64_C(10) << failures;
            do {
                (void)wait_after_attempt(&session, 0);
            } while (session.attempts < failures);
            cr_assert_eq(session.attempts, failures);
            cr_assert_eq(session.failures, failures);
            cr_assert_leq(session.attempt_ns, START + most_ns);
            most_ns += rlt_min_u64(limit_ms, config.max_backoff_ms) * RLT_NS_PER_MS;
            cr_assert_gt(session.ladder_ns, session.attempt_ns);
        }
    }
}

Test(session, attempts_that_time_out_follow_the_ladder_alone)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = started(seed);
        uint64_t sum_ns = 0;
        for (uint32_t failures = 1; failures <= 40; failures++) {
            uint64_t wait_ns = wait_after_attempt(&session, RLT_BACKOFF_CHEAP_NS + 1);
            cr_assert_eq(session.failures, failures);
            cr_assert_eq(rlt_session_deadline(&session), session.ladder_ns);
            sum_ns += failures > 10 ? wait_ns : 0;
        }
        cr_assert_gt(sum_ns, 30 * RLT_NS_PER_S); /* 75 s in the mean */
    }
}

Test(session, connection_shorter_than_a_ping_interval_counts_as_a_failure)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rlt_session session = started(seed);
        for (uint32_t failures = 1; failures <= 12; failures++) {
            assert_backoff(wait_after_loss(&session, config.ping_interval_ns - 1), failures);
            /* It was reached: that is no failed attempt. */
            cr_assert_eq(session.attempts, 0);
        }
    }
}

Test(session, server_that_accepts_and_drops_is_not_stormed)
{
    uint64_t waited_ns = 0;
    struct rlt_session session = started(11);
    for (int i = 0; i < 100; i++) {
        waited_ns += wait_after_loss(&session, 0);
    }
    /* 100 connections at 5 s * 1/2 on the average, but for the first few. */
    cr_assert_gt(waited_ns, 150 * RLT_NS_PER_S);
}

Test(session, waiting_ends_exactly_at_its_deadline)
{
    struct rlt_session session = started(1);
    (void)wait_after_missed_attempt(&session);
    uint64_t deadline_ns = rlt_session_deadline(&session);
    cr_assert_eq(on_timer(&session, deadline_ns - 1), RLT_SESSION_NOTHING);
    cr_assert_eq(on_timer(&session, deadline_ns), RLT_SESSION_OPEN);
    cr_assert_eq(rlt_session_deadline(&session), deadline_ns + config.connection_timeout_ns);
}

/* ---- Closing and stopping ----------------------------------------------------------------- */

Test(session, first_reason_of_a_failure_is_kept)
{
    struct rlt_session session = ready(1);
    cr_assert_eq(rlt_session_on_failure(&session, ROULETTE_EPROTOCOL), RLT_SESSION_CLOSE);
    cr_assert_eq(rlt_session_on_failure(&session, ROULETTE_EDISCONNECTED), RLT_SESSION_NOTHING);
    cr_assert_eq(session.last_error, ROULETTE_EPROTOCOL);
    cr_assert_eq(rlt_session_deadline(&session), RLT_NEVER);
    cr_assert_eq(on_timer(&session, RLT_NEVER - 1), RLT_SESSION_NOTHING);
}

Test(session, loss_is_told_from_a_failed_attempt_in_every_state)
{
    for (int state = RLT_SESSION_OPENING; state <= RLT_SESSION_READY; state++) {
        struct rlt_session session = in_state((enum rlt_session_state)state);
        cr_assert_eq(rlt_session_on_failure(&session, ROULETTE_EDISCONNECTED), RLT_SESSION_CLOSE);
        cr_assert_eq(rlt_session_on_closed(&session, START),
                     state == RLT_SESSION_READY ? RLT_SESSION_LOST : RLT_SESSION_MISSED);
        cr_assert_not(session.established);
    }
}

Test(session, stop_is_at_once_when_nothing_is_open)
{
    for (int state = RLT_SESSION_IDLE; state <= RLT_SESSION_WAITING; state++) {
        struct rlt_session session = in_state((enum rlt_session_state)state);
        cr_assert_eq(rlt_session_stop(&session), RLT_SESSION_STOPPED);
        cr_assert_eq(session.state, RLT_SESSION_IDLE);
        cr_assert_eq(on_timer(&session, RLT_NEVER - 1), RLT_SESSION_NOTHING);
    }
}

Test(session, stop_closes_what_is_open)
{
    for (int state = RLT_SESSION_OPENING; state <= RLT_SESSION_READY; state++) {
        struct rlt_session session = in_state((enum rlt_session_state)state);
        cr_assert_eq(rlt_session_stop(&session), RLT_SESSION_CLOSE);
        cr_assert_eq(rlt_session_on_closed(&session, START), RLT_SESSION_STOPPED);
        cr_assert_eq(session.state, RLT_SESSION_IDLE);
        cr_assert_eq(rlt_session_deadline(&session), RLT_NEVER);
    }
}

Test(session, stop_while_closing_waits_for_closed)
{
    struct rlt_session session = in_state(RLT_SESSION_CLOSING);
    cr_assert_eq(rlt_session_stop(&session), RLT_SESSION_NOTHING);
    cr_assert_eq(rlt_session_on_closed(&session, START), RLT_SESSION_STOPPED);
    cr_assert_eq(session.state, RLT_SESSION_IDLE);
}

Test(session, failure_without_a_connection_is_a_bug, .signal = SIGABRT)
{
    struct rlt_session session = in_state(RLT_SESSION_WAITING);
    (void)rlt_session_on_failure(&session, ROULETTE_EDISCONNECTED);
}
