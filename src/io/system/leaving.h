/* SPDX-License-Identifier: MIT */
/**
 * Leaving the process: exit() runs handlers while the event threads go on, and code that they call
 * ends under them. So before that the gates (base/gate.h) are closed:
 *
 * - OpenSSL cleans itself up by a handler of exit(), or when the program asks for it. It calls what
 *   was given to OPENSSL_atexit() first, so TLS works as long as OpenSSL does, whichever handlers
 *   the program has. From then on each TLS connection is lost and no new one succeeds; what OpenSSL
 *   made is not freed any more.
 * - The log callback and its context are the application's. They are used until the handlers run
 *   that were registered before the first client was opened.
 *
 * exit() waits for threads inside a gate, but not for ever: one may hang on a file, or on a lock of
 * the thread that exits.
 */
#ifndef RLT_IO_SYSTEM_LEAVING_H
#define RLT_IO_SYSTEM_LEAVING_H

#include "lockfree/stack.h"

/** The longest that exit() waits for threads inside, for each of the gates. */
#define RLT_LEAVING_CRYPTO_MS 2000
#define RLT_LEAVING_LOG_MS    500

/**
 * Register the handlers that close the gate of the log, and those of fork(). Before a client calls
 * back or starts threads.
 *
 * Threads: any thread, any number of times. Returns: 0 or ROULETTE_ENOMEM.
 */
int rlt_leaving_prepare(void);

/**
 * Enter the gate of OpenSSL; the first time, initialise OpenSSL and register the handler that
 * closes the gate. For a client's first use; later rlt_gate_enter() is enough.
 *
 * Threads: any thread. Returns: 0: rlt_gate_leave() follows; ROULETTE_ENOMEM; ROULETTE_ESYSTEM (the
 *          gate is closed: roulette_last_error() says so).
 */
int rlt_leaving_enter_crypto(void);

/** The text of calls that fail because the gate is closed. */
#define RLT_LEAVING_TEXT "OpenSSL has been cleaned up: the process is ending"

/**
 * Keep memory that holds objects of OpenSSL and cannot be freed any more, since the gate is closed,
 * where a leak checker finds it. Threads: any.
 */
void rlt_leaving_keep(struct rlt_stack_node *node);

/** Free OpenSSL's memory for an event thread that ends, if the gate is open. */
void rlt_leaving_thread(void);

#endif
