/* SPDX-License-Identifier: MIT */
#include "io/system/leaving.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/gate.h"
#include "io/system/clock.h"
#include "roulette.h"

/* How often the exiting thread looks whether the others have left. */
#define LOOK_NS 50000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool prepared;
static bool crypto_prepared;
static struct rlt_stack kept; /* never taken */

static void close_gate(enum rlt_gate gate, int timeout_ms)
{
    uint64_t deadline_ns = rlt_clock_deadline(timeout_ms);
    rlt_gate_close(gate);
    while (!rlt_gate_is_empty(gate) && rlt_clock_ns() < deadline_ns) {
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

static void on_exit_of_process(void)
{
    close_gate(RLT_GATE_LOG, RLT_LEAVING_LOG_MS);
}

static void on_end_of_crypto(void)
{
    close_gate(RLT_GATE_CRYPTO, RLT_LEAVING_CRYPTO_MS);
}

static int prepare(bool *done, bool (*take)(void))
{
    (void)pthread_mutex_lock(&lock);
    *done = *done || take();
    bool is_done = *done;
    (void)pthread_mutex_unlock(&lock);
    return is_done ? 0 : rlt_error_set_plain(ROULETTE_ENOMEM);
}

static bool watch_process(void)
{
    static bool forks_watched;
    forks_watched = forks_watched || pthread_atfork(NULL, NULL, rlt_gate_forked) == 0;
    return forks_watched && atexit(on_exit_of_process) == 0;
}

static bool watch_crypto(void)
{
    /* Its handlers are called the last one first: ours before those of its own that
     * OPENSSL_init_ssl() registers. */
    return OPENSSL_init_ssl(0, NULL) == 1 && OPENSSL_atexit(on_end_of_crypto) == 1;
}

int rlt_leaving_prepare(void)
{
    return prepare(&prepared, watch_process);
}

int rlt_leaving_enter_crypto(void)
{
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        return rlt_error_set(ROULETTE_ESYSTEM, RLT_LEAVING_TEXT);
    }
    int result = prepare(&crypto_prepared, watch_crypto);
    if (result < 0) {
        rlt_gate_leave(RLT_GATE_CRYPTO);
    }
    return result;
}

void rlt_leaving_keep(struct rlt_stack_node *node)
{
    rlt_stack_push(&kept, node);
}

void rlt_leaving_thread(void)
{
    if (rlt_gate_enter(RLT_GATE_CRYPTO)) {
        OPENSSL_thread_stop();
        rlt_gate_leave(RLT_GATE_CRYPTO);
    }
}
