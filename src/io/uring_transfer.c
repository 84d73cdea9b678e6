/* SPDX-License-Identifier: MIT */
#include "io/uring_transfer.h"

#include <sys/socket.h>

#include "io/iovecs.h"
#include "io/socket.h"
#include "io/uring_slots.h"
#include "io/wake/watch.h"

void rlt_uring_receive(struct rlt_transport *transport, uint32_t slot_index,
                       const struct rlt_span *spans, uint32_t count)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    rlt_iovecs_fill(&slot->receive, spans, count);
    rlt_iovecs_check_writable(&slot->receive);
    if (count == 1) {
        io_uring_prep_recv(entry, slot->fd, spans[0].bytes, spans[0].len, 0);
    } else {
        io_uring_prep_recvmsg(entry, slot->fd, &slot->receive.header, 0);
    }
    rlt_uring_begin(uring, index, RLT_URING_RECEIVE, entry);
}

void rlt_uring_send(struct rlt_transport *transport, uint32_t slot_index,
                    const struct rlt_span *spans, uint32_t count)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    rlt_iovecs_fill(&slot->send, spans, count);
    if (count == 1) {
        io_uring_prep_send(entry, slot->fd, spans[0].bytes, spans[0].len, MSG_NOSIGNAL);
    } else {
        io_uring_prep_sendmsg(entry, slot->fd, &slot->send.header, MSG_NOSIGNAL);
    }
    rlt_uring_begin(uring, index, RLT_URING_SEND, entry);
}

size_t rlt_uring_send_now(struct rlt_transport *transport, uint32_t slot_index,
                          const struct rlt_span *spans, uint32_t count)
{
    uint32_t index = rlt_uring_index(transport, slot_index);
    return rlt_socket_send_now(rlt_uring_of(transport)->slots[index].fd, spans, count);
}

bool rlt_uring_is_acknowledged(struct rlt_transport *transport, uint32_t slot_index)
{
    uint32_t index = rlt_uring_index(transport, slot_index);
    return rlt_socket_is_acknowledged(rlt_uring_of(transport)->slots[index].fd);
}

int64_t rlt_uring_receive_now(struct rlt_transport *transport, uint32_t slot_index,
                              const struct rlt_span *spans, uint32_t count)
{
    uint32_t index = rlt_uring_index(transport, slot_index);
    return rlt_socket_receive_now(rlt_uring_of(transport)->slots[index].fd, spans, count);
}

bool rlt_uring_watch(struct rlt_transport *transport, uint32_t slot_index, bool on)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT(slot->watched != on && !slot->in_progress[RLT_URING_RECEIVE]);
    struct rlt_port *port = rlt_container_of(transport, struct rlt_port, transport);
    struct rlt_watch *watch = &port->watch;
    uint32_t *count = &uring->watches[port - uring->backend.ports].count;
    if (!on) {
        rlt_watch_remove(watch, slot->fd);
    } else if (uring->broken != 0 || (*count == 0 && rlt_watch_is_attended(watch)) ||
               !rlt_watch_add(watch, slot->fd)) {
        /* A reader that still attends began with the earlier watch. It may be another subscriber's
         * thread, preempted; or the same, just being woken, which will leave soon. */
        return false;
    }
    slot->watched = on;
    slot->told = false;
    *count += on ? 1 : (uint32_t)-1;
    return true;
}

void rlt_uring_repeat(struct rlt_uring *uring, uint32_t index, enum rlt_uring_op op)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    if (op == RLT_URING_RECEIVE) {
        io_uring_prep_recvmsg(entry, slot->fd, &slot->receive.header, 0);
    } else {
        io_uring_prep_sendmsg(entry, slot->fd, &slot->send.header, MSG_NOSIGNAL);
    }
    rlt_uring_begin(uring, index, op, entry);
}
