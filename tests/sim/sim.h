/* SPDX-License-Identifier: MIT */
/**
 * What all parts of the simulation share: one seed, from which every choice comes, a clock that
 * only the simulation moves, and a hash of everything that happened.
 */
#ifndef RLT_TESTS_SIM_SIM_H
#define RLT_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"

/** Topics "t.0" to "t.3": published, and subscribed to. */
#define SIM_TOPICS 4

/** Payloads begin with a number in as many digits. */
#define SIM_NUMBER_LEN 8

/** How often things go wrong, per 1000 occasions. All 0: a healthy world. */
struct sim_faults {
    uint32_t open_error;
    uint32_t open_hang;
    uint32_t cut;          /* of a connection, at some byte of either direction */
    uint32_t close;        /* of a connection, per step */
    uint32_t silent;       /* per step: the server stops reading and answering */
    uint32_t stall;        /* per step: ... for a while, and only on this connection */
    uint32_t error;        /* per step: an -ERR */
    uint32_t refuse;       /* of a SUB: an -ERR that does not name it */
    uint32_t limit;        /* of a connection: it may have few subscriptions; per step: more */
    uint32_t garbage;      /* per step: bytes that are not protocol */
    uint32_t bad_greeting; /* of a connection: it does not begin with INFO */
    uint32_t info;         /* per step: another INFO */
    uint32_t pong;         /* per step: a PONG that nobody asked for */
    uint32_t ping;         /* per step: PINGs of the server */
    uint32_t stray;        /* per step: a MSG for a sid that nobody has */
    uint32_t large;        /* of the server's messages: around and beyond a slab */
    uint32_t tls;          /* of a handshake: it fails */
    uint32_t tls_hang;     /* of a handshake: it does not end */
    uint32_t tls_garbage;  /* of a receive: what comes is not TLS */
    uint32_t plain;        /* of a connection: it has TLS where none is wanted, or none */
    uint32_t clear;        /* of a connection: bytes in clear before the handshake */
    uint32_t early;        /* of a connection: a message before it is proved */
    uint32_t lame;         /* per step: the server becomes a lame duck */
    uint32_t lame_close;   /* per step: a lame duck closes */
    uint32_t deny;         /* of a PUB: the user may not */
};

/** How an operation is cut into parts. */
enum sim_style {
    SIM_WHOLE,
    SIM_RANDOM,
    SIM_TINY,
    SIM_STYLES,
};

struct sim {
    uint64_t seed;
    struct rlt_random random;
    uint64_t now_ns;
    uint64_t round_ns; /* that a round takes at most, if something happens in it */
    uint64_t trace;
    struct sim_faults faults;
    enum sim_style send_style;
    enum sim_style receive_style;
    uint32_t pace;        /* per 1000: an operation that can complete does so in this step */
    uint32_t max_payload; /* in the next INFO; 0: unlimited */
    uint64_t route_ns;    /* so long does a message need at most between two servers; 0: none */
    bool in_order;        /* nothing is lost, so order must be kept */
    uint32_t lag;         /* per 1000: a server's stream stands still for some rounds */
    uint32_t alike;       /* per 1000: a server's message is as long as its last one */
    bool tls;
    bool tls_first;
    bool sleeping; /* the event thread */
    /* The descriptor on which it sleeps is signalled; it will be that often. */
    bool signalled;
    uint32_t signals_due;
};

static inline uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return rlt_random_below(&sim->random, bound);
}

static inline bool sim_chance(struct sim *sim, uint32_t per_mille)
{
    return per_mille != 0 && sim_below(sim, 1000) < per_mille;
}

/** Add something that happened to the hash (FNV-1a over words). */
static inline void sim_trace(struct sim *sim, uint64_t what)
{
    sim->trace = (sim->trace ^ what) * UINT64_C(0x100000001b3);
}

/** What rlt_cluster_knock() and its like say: some thread must wake the event thread. It may lose
 * its CPU before it does. */
void sim_wake_thread(struct sim *sim, bool must);

/** How much of `len` (> 0) an operation moves: at least 1. */
size_t sim_part(struct sim *sim, enum sim_style style, size_t len);

/** A payload of `len` >= SIM_NUMBER_LEN bytes that tells its number. */
void sim_fill(uint8_t *out, size_t len, uint32_t number);

/** Read a payload's number; fails the test if any of its bytes is not what sim_fill() wrote. */
uint32_t sim_read(struct sim *sim, const uint8_t *bytes, size_t len);

/** Print the seed and what does not hold, and fail the test. */
_Noreturn void sim_fail(const struct sim *sim, const char *file, int line, const char *condition,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

#define SIM_CHECK(sim, condition, ...) \
    ((condition) ? (void)0 : sim_fail((sim), __FILE__, __LINE__, #condition, " " __VA_ARGS__))

#endif
