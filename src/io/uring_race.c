/* SPDX-License-Identifier: MIT */
#include "io/uring_race.h"

#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "io/socket.h"
#include "io/system/clock.h"
#include "io/system/descriptor.h"
#include "io/system/system_text.h"
#include "roulette.h"

/* ---- Racers ------------------------------------------------------------------------------- */

void rlt_uring_race_init(struct rlt_uring_slot *slot)
{
    slot->next_ns = RLT_NEVER;
    for (uint32_t i = 0; i < RLT_URING_RACERS; i++) {
        slot->racers[i].fd = -1;
    }
}

static struct rlt_uring_racer *find_free(struct rlt_uring_slot *slot)
{
    for (uint32_t i = 0; i < RLT_URING_RACERS; i++) {
        if (slot->racers[i].fd < 0) {
            return &slot->racers[i];
        }
    }
    return NULL;
}

static void cancel(struct rlt_uring *uring, uint32_t index, struct rlt_uring_racer *racer)
{
    if (racer->fd >= 0 && !racer->canceled) {
        racer->canceled = true;
        rlt_uring_cancel(uring, index,
                         RLT_URING_CONNECT + (uint32_t)(racer - uring->slots[index].racers));
    }
}

/* Cancel the oldest racer, since all places are taken; its completion makes room. */
static void cancel_oldest(struct rlt_uring *uring, uint32_t index)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct rlt_uring_racer *oldest = &slot->racers[0];
    for (uint32_t i = 0; i < RLT_URING_RACERS; i++) {
        if (slot->racers[i].canceled) {
            return;
        }
        if (slot->racers[i].started_ns < oldest->started_ns) {
            oldest = &slot->racers[i];
        }
    }
    cancel(uring, index, oldest);
}

/* Begin to connect to an address. Returns: 0 or ROULETTE_ESYSTEM. */
static int start(struct rlt_uring *uring, uint32_t index, struct rlt_uring_racer *racer,
                 const union rlt_endpoint *endpoint, uint64_t now_ns)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    int fd = rlt_socket_create(endpoint->any.sa_family, &uring->socket_options);
    if (fd < 0) {
        char text[RLT_SYSTEM_TEXT_MAX];
        (void)snprintf(uring->failure, sizeof(uring->failure), "socket() has failed: %s",
                       rlt_system_text(errno, text));
        return fd;
    }
    *racer = (struct rlt_uring_racer){.fd = fd, .endpoint = endpoint, .started_ns = now_ns};
    slot->racer_count++;
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    io_uring_prep_connect(entry, fd, &endpoint->any, rlt_endpoint_len(endpoint));
    uint32_t op = RLT_URING_CONNECT + (uint32_t)(racer - slot->racers);
    io_uring_sqe_set_data64(entry, rlt_uring_tag(index, slot->generation, op));
    return 0;
}

/* ---- The race ----------------------------------------------------------------------------- */

/* Whether a failed connect says more than the failure noted so far. */
static bool says_more_than(const struct rlt_uring_slot *slot)
{
    return slot->race_error == 0 || slot->race_error == ROULETTE_ESYSTEM;
}

static const char *advise(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "nothing listens there: start the server, or correct the address";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
        return "see this machine's network and routes, or correct the address";
    case ETIMEDOUT:
        return "see the network and firewalls, or correct the address";
    case EACCES:
    case EPERM:
        return "a firewall or a sandbox of this machine forbids it: allow it";
    default:
        return "see the network, or correct the address";
    }
}

/* Note a failed connect to an address, with its errno. */
static void note_connect(struct rlt_uring_slot *slot, const union rlt_endpoint *endpoint, int error)
{
    char address[INET6_ADDRSTRLEN + 8] = "";
    char call[sizeof(address) + 16];
    if (!says_more_than(slot)) {
        return;
    }
    slot->race_error = ROULETTE_ECONNECT;
    rlt_endpoint_format(endpoint, address, sizeof(address));
    (void)snprintf(call, sizeof(call), "connect() to %s", address);
    rlt_uring_explain(slot, call, error, advise(error));
}

/* Note that no socket could be made for an address. */
static void note_socket(struct rlt_uring_slot *slot, int error)
{
    if (slot->race_error != 0) {
        return;
    }
    slot->race_error = ROULETTE_ESYSTEM;
    rlt_uring_explain(slot, "socket()", error, "");
}

static void end_race(struct rlt_uring *uring, uint32_t index, int error)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    rlt_memory_free(slot->lookup);
    slot->lookup = NULL;
    slot->next_ns = RLT_NEVER;
    rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, error);
}

static void set_next(struct rlt_uring *uring, struct rlt_uring_slot *slot, uint64_t next_ns)
{
    slot->next_ns = next_ns;
    uring->race_ns = rlt_min_u64(uring->race_ns, next_ns);
}

/* Try the next address. Without one the race is lost with its last racer. */
static void try_next(struct rlt_uring *uring, uint32_t index, uint64_t now_ns)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    const struct rlt_endpoints *found = &slot->lookup->found;
    slot->next_ns = RLT_NEVER;
    while (slot->tried < found->count) {
        struct rlt_uring_racer *racer = find_free(slot);
        if (racer == NULL) {
            cancel_oldest(uring, index);
            return;
        }
        int result = start(uring, index, racer, &found->list[slot->tried], now_ns);
        slot->tried++;
        if (result == 0) {
            uint64_t delay_ns = uring->socket_options.attempt_delay_ms * RLT_NS_PER_MS;
            set_next(uring, slot, slot->tried < found->count ? now_ns + delay_ns : RLT_NEVER);
            return;
        }
        note_socket(slot, errno);
    }
    if (slot->racer_count == 0) {
        end_race(uring, index, slot->race_error);
    }
}

void rlt_uring_race_begin(struct rlt_uring *uring, uint32_t index)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct rlt_lookup *lookup = slot->lookup;
    RLT_ASSERT(slot->fd < 0 && slot->racer_count == 0);
    slot->tried = 0;
    slot->race_error = lookup->error;
    if (lookup->error == ROULETTE_ERESOLVE) {
        (void)snprintf(slot->failure, sizeof(slot->failure),
                       "the host name \"%.120s\" could not be resolved: %s (correct it, or see the "
                       "machine's name servers)",
                       lookup->host,
                       lookup->found.failure != NULL ? lookup->found.failure : "no reason given");
    }
    if (lookup->error != 0) {
        end_race(uring, index, lookup->error);
        return;
    }
    rlt_endpoints_arrange(&lookup->found, lookup->port, &uring->random);
    try_next(uring, index, rlt_clock_ns());
}

void rlt_uring_race_on_connect(struct rlt_uring *uring, uint32_t index, uint32_t which, int result)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct rlt_uring_racer *racer = &slot->racers[which];
    RLT_ASSERT(which < RLT_URING_RACERS && racer->fd >= 0);
    slot->racer_count--;
    if (slot->closing || slot->lookup == NULL) {
        rlt_descriptor_close(&racer->fd); /* the race is over */
        return;
    }
    if (result == 0 && !rlt_socket_is_own_peer(racer->fd)) {
        slot->fd = racer->fd;
        slot->failure[0] = '\0'; /* of another address */
        racer->fd = -1;
        end_race(uring, index, 0);
        rlt_uring_race_cancel(uring, index);
        return;
    }
    if (result == 0) {
        slot->race_error = ROULETTE_ESELF; /* says more than any other error */
        slot->failure[0] = '\0';
    } else {
        note_connect(slot, racer->endpoint, result == -ECANCELED ? ETIMEDOUT : -result);
    }
    rlt_socket_abort(&racer->fd);
    try_next(uring, index, rlt_clock_ns());
}

void rlt_uring_race_on_time(struct rlt_uring *uring, uint64_t now_ns)
{
    uring->race_ns = RLT_NEVER;
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        struct rlt_uring_slot *slot = &uring->slots[i];
        if (slot->next_ns <= now_ns && !slot->closing) {
            try_next(uring, i, now_ns);
        }
        uring->race_ns = rlt_min_u64(uring->race_ns, slot->next_ns);
    }
}

void rlt_uring_race_cancel(struct rlt_uring *uring, uint32_t index)
{
    for (uint32_t i = 0; i < RLT_URING_RACERS; i++) {
        cancel(uring, index, &uring->slots[index].racers[i]);
    }
}

void rlt_uring_race_fail(struct rlt_uring *uring, uint32_t index)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    bool raced = slot->racer_count != 0;
    slot->racer_count = 0;
    for (uint32_t i = 0; i < RLT_URING_RACERS; i++) {
        rlt_descriptor_close(&slot->racers[i].fd);
    }
    if (raced && slot->lookup != NULL && !slot->closing) {
        end_race(uring, index, ROULETTE_ESYSTEM);
    }
}

void rlt_uring_race_abandon(struct rlt_uring_slot *slot)
{
    for (uint32_t i = 0; i < RLT_URING_RACERS; i++) {
        rlt_descriptor_close(&slot->racers[i].fd);
    }
}
