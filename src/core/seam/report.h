/* SPDX-License-Identifier: MIT */
/**
 * The lines that a cluster writes to the client's log. A peer can cause each of them as often as it
 * likes, and each line calls the application: so each kind of line has a limit of its own, and a
 * flood of one kind hides no other.
 *
 * Of one kind, at most RLT_REPORT_BURST lines are written in RLT_REPORT_WINDOW_NS from the first
 * line on. Further lines are counted, and when the window is over (or the cluster stops) one more
 * line tells how many were left out. So a cluster makes at most RLT_REPORT_BURST + 1 calls of the
 * log function for each kind and window, whatever its servers do.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SEAM_REPORT_H
#define RLT_CORE_SEAM_REPORT_H

#include <stdint.h>

#include "base/defs.h"
#include "roulette.h"

#define RLT_REPORT_BURST     10
#define RLT_REPORT_WINDOW_NS (10 * RLT_NS_PER_S)

/** X(name, level, text): every kind of line, once. */
#define RLT_REPORTS(X)                                                       \
    X(CONNECTED, INFO, "connected to server")                                \
    X(LOST, WARNING, "connection lost")                                      \
    X(MISSED, WARNING, "could not connect")                                  \
    X(MISSED_AGAIN, INFO, "could not connect")                               \
    X(HELD_BACK, WARNING, "a connection is held back and kept")              \
    X(SERVED_AGAIN, INFO, "a connection that was held back is served again") \
    X(LAME_DUCK, INFO, "the server is a lame duck")                          \
    X(SAME_NAME, WARNING, "the same cluster twice")                          \
    /* -ERR, by what it ends: nothing, an interest, the connection. */       \
    X(COMPLAINT, WARNING, "the server says")                                 \
    X(REFUSAL, WARNING, "the server says")                                   \
    X(FAREWELL, WARNING, "the server says")                                  \
    X(NOT_NATS, WARNING, "not a NATS server")                                \
    X(BAD_BYTES, WARNING, "protocol error")                                  \
    X(LOGIN, ERROR, "cannot log in")                                         \
    X(CONNECT_LEN, ERROR, "name or credentials do not fit into CONNECT")     \
    X(TLS, ERROR, "TLS")                                                     \
    X(SYSTEM, ERROR, "the operating system")                                 \
    X(TLS_REQUIRED, ERROR, "the server requires TLS")                        \
    X(TLS_NOT_OFFERED, ERROR, "the server does not offer TLS")               \
    X(CLEAR_BYTES, ERROR, "bytes in clear behind INFO")                      \
    X(POISON, ERROR, "gave up a message for which the server closes")        \
    X(POISON_SUB, ERROR, "ended a subscription for which the server closes")

enum rlt_report {
#define RLT_REPORT_ENUM(name, level, text) RLT_REPORT_##name,
    RLT_REPORTS(RLT_REPORT_ENUM)
#undef RLT_REPORT_ENUM
        RLT_REPORT_COUNT,
};

struct rlt_env;

/** The lines of one cluster by kind; zeroed: none yet. */
struct rlt_reports {
    struct rlt_report_window {
        uint64_t end_ns;   /* of the window; 0: none has begun */
        uint64_t left_out; /* lines in it that were not written */
        uint32_t count;    /* lines in it that were written */
    } windows[RLT_REPORT_COUNT];
    uint32_t left_out; /* windows that have left lines out */
};

/** The text that lines of a kind begin with. */
const char *rlt_report_text(enum rlt_report what);

/** Write a line, or count it as left out. `detail` may be empty. */
void rlt_report(struct rlt_env *env, enum rlt_report what, const char *detail);

/** Tell how many lines were left out in windows that are over. Called in each step of the loop. */
void rlt_report_step(struct rlt_env *env, uint64_t now_ns);

/** When rlt_report_step() has a line to write; RLT_NEVER: no line was left out. */
uint64_t rlt_report_deadline(const struct rlt_reports *reports);

/** End all windows, as the cluster stops, and tell how many lines were left out. */
void rlt_report_end(struct rlt_env *env);

#endif
