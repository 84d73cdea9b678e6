/* SPDX-License-Identifier: MIT */
/**
 * A command from an application thread to the event thread of a cluster. Embedded in the object
 * that the command concerns; pushed on a stack (lockfree/stack.h).
 */
#ifndef RLT_CORE_SEAM_COMMAND_H
#define RLT_CORE_SEAM_COMMAND_H

#include <stdatomic.h>
#include <stdint.h>

#include "lockfree/stack.h"

enum rlt_command_kind {
    RLT_COMMAND_MEMBER, /* struct rlt_member, field `command`: do the bits of `asked` */
    RLT_COMMAND_RETRY,  /* struct rlt_mailbox, field `retry`: there is room again */
    RLT_COMMAND_LEAVE,  /* struct rlt_mailbox, field `leave`: push no more notices */
    RLT_COMMAND_FENCE,  /* struct rlt_fence_part, field `command`: once on the network */
    RLT_COMMAND_SYNC,   /* the same: once all earlier commands are executed */
    RLT_COMMAND_STOP,   /* struct rlt_cluster, field `stop` */
};

struct rlt_command {
    struct rlt_stack_node node;
    enum rlt_command_kind kind;
    /* Of RLT_COMMAND_MEMBER: enum rlt_ask bits that were not taken yet
     * (core/delivery/subscription.h). The owner thread sets them in rlt_member_ask(), the event
     * thread takes them all in rlt_membership_change(); acquire-release on both sides, for the
     * reasons given there. */
    _Atomic(uint32_t) asked;
};

#endif
