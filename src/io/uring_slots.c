/* SPDX-License-Identifier: MIT */
#include "io/uring_slots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/system/descriptor.h"
#include "io/system/system_text.h"

/* Attempts to make room in the submission queue. */
#define ROOM_ATTEMPTS 3

void rlt_uring_break(struct rlt_uring *uring, int error)
{
    char text[128];
    uring->broken = error;
    (void)snprintf(uring->failure, sizeof(uring->failure), "io_uring_enter() has failed: %s",
                   strerror_r(error, text, sizeof(text)));
}

struct io_uring_sqe *rlt_uring_make_room(struct rlt_uring *uring)
{
    int result = 0;
    for (int i = 0; i < ROOM_ATTEMPTS && uring->broken == 0; i++) {
        result = io_uring_submit(&uring->ring);
        struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
        if (entry != NULL) {
            return entry;
        }
    }
    if (uring->broken == 0) {
        rlt_uring_break(uring, result < 0 ? -result : EBUSY);
    }
    return &uring->nowhere;
}

void rlt_uring_explain(struct rlt_uring_slot *slot, const char *call, int error, const char *advice)
{
    char text[RLT_SYSTEM_TEXT_MAX];
    (void)snprintf(slot->failure, sizeof(slot->failure), "%s has failed: %s%s%s%s", call,
                   rlt_system_text(error, text), advice[0] != '\0' ? " (" : "", advice,
                   advice[0] != '\0' ? ")" : "");
}

void rlt_uring_finish_close(struct rlt_uring *uring, uint32_t index)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    rlt_descriptor_close(&slot->fd);
    slot->closing = false;
    slot->generation++;
    rlt_event_queue_add(&uring->early, index, RLT_IO_CLOSED, 0);
}
