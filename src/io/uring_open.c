/* SPDX-License-Identifier: MIT */
#include "io/uring_open.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "io/uring_break.h"
#include "io/uring_race.h"
#include "io/wake/park.h"
#include "roulette.h"

/* Called on the lookup's thread. The ring still exists: taking the lookup, or giving it up, leaves
 * the resolver first, which waits until this has returned. */
static void lookup_done(void *context, struct rlt_lookup *lookup)
{
    struct rlt_uring *uring = context;
    rlt_stack_push(&uring->resolved, &lookup->node);
    rlt_park_descriptor_signal(uring->wake_fd);
}

/* Begin with the addresses, if they are known at once, or ask the resolver for them. */
static int begin(struct rlt_uring *uring, uint32_t index, struct rlt_lookup *lookup)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    if (rlt_endpoints_numeric(&lookup->found, lookup->host) == 0) {
        slot->lookup = lookup;
        rlt_uring_race_begin(uring, index);
        return 0;
    }
    lookup->slot = index;
    lookup->generation = slot->generation;
    lookup->done = lookup_done;
    lookup->context = uring;
    int result = rlt_resolver_ask(lookup);
    if (result == 0) {
        slot->lookup = lookup;
        slot->resolving = true;
    }
    return result;
}

void rlt_uring_open(struct rlt_transport *transport, uint32_t slot_index, const char *host,
                    uint16_t port)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT(slot->fd < 0 && !slot->closing && slot->lookup == NULL);
    slot->failure[0] = '\0';
    if (rlt_unlikely(uring->broken != 0) && !rlt_uring_mend(uring)) {
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, ROULETTE_ESYSTEM);
        return;
    }
    struct rlt_lookup *lookup = rlt_lookup_create(host, port);
    int result = lookup == NULL ? ROULETTE_ENOMEM : begin(uring, index, lookup);
    if (result < 0) {
        if (result == ROULETTE_ESYSTEM) {
            rlt_uring_explain(slot, "pthread_create()", EAGAIN,
                              "to look a name up; raise the limit of threads: ulimit -u");
        }
        rlt_memory_free(lookup);
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, result);
    }
}

void rlt_uring_take_resolved(struct rlt_uring *uring)
{
    struct rlt_stack_node *node = rlt_stack_take(&uring->resolved);
    while (node != NULL) {
        struct rlt_lookup *lookup = rlt_container_of(node, struct rlt_lookup, node);
        node = rlt_stack_next(node);
        bool was_asking = rlt_resolver_leave(lookup);
        RLT_ASSERT(!was_asking);
        struct rlt_uring_slot *slot = &uring->slots[lookup->slot];
        if (lookup->generation != slot->generation || !slot->resolving) {
            rlt_memory_free(lookup);
            continue;
        }
        slot->resolving = false;
        rlt_uring_race_begin(uring, lookup->slot);
    }
}

void rlt_uring_forget_lookup(struct rlt_uring_slot *slot)
{
    /* A lookup that was answered meanwhile is in uring->resolved, and is dropped there. */
    if (!slot->resolving || rlt_resolver_leave(slot->lookup)) {
        rlt_memory_free(slot->lookup);
    }
    slot->lookup = NULL;
    slot->resolving = false;
}

void rlt_uring_close(struct rlt_transport *transport, uint32_t slot_index)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT(!slot->closing && !slot->watched);
    slot->closing = true;
    slot->next_ns = RLT_NEVER;
    rlt_uring_forget_lookup(slot);
    rlt_uring_race_cancel(uring, index);
    if (!rlt_uring_is_busy(slot)) {
        rlt_uring_finish_close(uring, index);
        return;
    }
    /* The kernel may use our memory until each operation's own completion, and the descriptor's
     * number must not be used again before: shut down, cancel, wait, then close. */
    if (slot->fd >= 0) {
        (void)shutdown(slot->fd, SHUT_RDWR);
    }
    for (uint32_t op = 0; op < RLT_URING_TRANSFERS; op++) {
        if (slot->in_progress[op]) {
            rlt_uring_cancel(uring, index, op);
        }
    }
}
