/* SPDX-License-Identifier: MIT */
/**
 * A command from an application thread to the event thread of a cluster. Embedded in what it is
 * about; the stack lockfree/stack.h carries it.
 */
#ifndef RLT_CORE_COMMAND_H
#define RLT_CORE_COMMAND_H

#include "lockfree/stack.h"

enum rlt_command_kind {
    RLT_COMMAND_SUBSCRIBE,   /* struct rlt_member, field `subscribe` */
    RLT_COMMAND_UNSUBSCRIBE, /* struct rlt_member, field `unsubscribe` */
    RLT_COMMAND_DRAIN,       /* struct rlt_member, field `drain`: no new messages */
    RLT_COMMAND_FINISH,      /* the same, later: all that was on its way has arrived */
    RLT_COMMAND_RETRY,       /* struct rlt_mailbox, field `retry`: there is room again */
    RLT_COMMAND_FENCE,       /* struct rlt_fence_part, field `command`: once on the network */
    RLT_COMMAND_SYNC,        /* the same: once all earlier commands are carried out */
    RLT_COMMAND_STOP,        /* struct rlt_cluster, field `stop` */
};

struct rlt_command {
    struct rlt_stack_node node;
    enum rlt_command_kind kind;
};

#endif
