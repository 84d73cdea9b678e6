/* SPDX-License-Identifier: MIT */
/**
 * The gates before code that is not the library's and that may end before the library's threads do:
 * exit() runs the handlers of the program and of OpenSSL while those threads go on. Who wants to
 * call such code enters its gate; the handler that knows of its end closes the gate for good, and
 * waits until those inside have left.
 *
 *     caller:  if (rlt_gate_enter(gate)) { call it; rlt_gate_leave(gate); } else { do without }
 *     handler: rlt_gate_close(gate); while (!rlt_gate_is_empty(gate)) sleep;
 *
 * A thread may be inside more than once, and close a gate that it is inside of: it does not wait
 * for itself. Nobody waits at a gate, so that a process that is ending goes on doing what it can.
 *
 * Cost: two atomic additions to a cache line that a thread shares with few others.
 * Not ck: its locks have no state of being closed for good, and a thread may be inside twice here.
 */
#ifndef RLT_BASE_GATE_H
#define RLT_BASE_GATE_H

#include <stdbool.h>

enum rlt_gate {
    RLT_GATE_CRYPTO, /* OpenSSL */
    RLT_GATE_LOG,    /* the application's log callback */
    RLT_GATES,
};

/** Threads: any. Does not wait. Returns: false if the gate is closed: then there is no leave(). */
bool rlt_gate_enter(enum rlt_gate gate);
void rlt_gate_leave(enum rlt_gate gate);

/** Let nobody in any more. Threads: any, any number of times. */
void rlt_gate_close(enum rlt_gate gate);

/** Whether no other thread is inside. Threads: any. */
bool rlt_gate_is_empty(enum rlt_gate gate);

/** In a child process: the other threads, which may have been inside, do not exist here. */
void rlt_gate_forked(void);

#endif
