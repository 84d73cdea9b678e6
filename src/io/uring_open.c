/* SPDX-License-Identifier: MIT */
#include "io/uring_open.h"

#include <sys/socket.h>

#include "base/memory.h"
#include "io/park.h"
#include "io/socket.h"
#include "roulette.h"

/* Try the next address of the lookup; report failure when there is none left. */
static void connect_next(struct rlt_uring *uring, uint32_t index, int error)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct rlt_lookup *lookup = slot->lookup;
    while (lookup->error == 0 && lookup->count != 0) {
        uint32_t pick = rlt_lookup_pick(lookup, &uring->random);
        slot->picked = pick;
        int fd = rlt_socket_create(lookup->addresses[pick].ss_family, &uring->socket_options);
        if (fd < 0) {
            error = fd;
            rlt_lookup_drop(lookup, pick);
            continue;
        }
        slot->fd = fd;
        struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
        io_uring_prep_connect(entry, slot->fd, (struct sockaddr *)&lookup->addresses[pick],
                              lookup->lengths[pick]);
        rlt_uring_begin(uring, index, RLT_URING_CONNECT, entry);
        return;
    }
    rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED,
                        lookup->error != 0 ? lookup->error : error);
}

/* On the lookup's thread. */
static void lookup_done(void *context, struct rlt_lookup *lookup)
{
    struct rlt_uring *uring = context;
    rlt_stack_push(&uring->resolved, &lookup->node);
    rlt_park_descriptor_signal(uring->wake_fd);
    rlt_uring_release(uring);
}

void rlt_uring_open(struct rlt_transport *transport, uint32_t slot_index, const char *host,
                    uint16_t port)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT(slot->fd < 0 && !slot->closing && slot->lookup == NULL);
    struct rlt_lookup *lookup = rlt_lookup_create(host, port);
    if (lookup == NULL) {
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, ROULETTE_ENOMEM);
        return;
    }
    lookup->slot = index;
    lookup->generation = slot->generation;
    lookup->done = lookup_done;
    lookup->context = uring;
    if (rlt_resolver_numeric(lookup) == 0) {
        slot->lookup = lookup;
        connect_next(uring, index, ROULETTE_ECONNECT);
        return;
    }
    /* Relaxed: the new thread gets the struct with its argument. */
    atomic_fetch_add_explicit(&uring->references, 1, memory_order_relaxed);
    slot->resolving = true;
    if (rlt_resolver_start(lookup) < 0) {
        slot->resolving = false;
        rlt_uring_release(uring);
        rlt_memory_free(lookup);
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, ROULETTE_ESYSTEM);
    }
}

void rlt_uring_on_connect(struct rlt_uring *uring, uint32_t index, int result)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    if (slot->closing) {
        return;
    }
    struct rlt_lookup *lookup = slot->lookup;
    if (result == 0) {
        rlt_memory_free(lookup);
        slot->lookup = NULL;
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, 0);
        return;
    }
    rlt_socket_close(&slot->fd);
    rlt_lookup_drop(lookup, slot->picked);
    connect_next(uring, index, ROULETTE_ECONNECT);
}

void rlt_uring_take_resolved(struct rlt_uring *uring)
{
    struct rlt_stack_node *node = rlt_stack_take(&uring->resolved);
    while (node != NULL) {
        struct rlt_lookup *lookup = rlt_container_of(node, struct rlt_lookup, node);
        node = node->next;
        struct rlt_uring_slot *slot = &uring->slots[lookup->slot];
        if (lookup->generation != slot->generation || !slot->resolving) {
            rlt_memory_free(lookup);
            continue;
        }
        slot->resolving = false;
        slot->lookup = lookup;
        connect_next(uring, lookup->slot, ROULETTE_ECONNECT);
    }
}
