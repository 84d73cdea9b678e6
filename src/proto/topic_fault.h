/* SPDX-License-Identifier: MIT */
/**
 * The error text about a topic or queue group: the name itself, the fault, and where it is.
 */
#ifndef RLT_PROTO_TOPIC_FAULT_H
#define RLT_PROTO_TOPIC_FAULT_H

#include <stddef.h>

/**
 * Set this thread's last error to a text such as
 *
 *     the topic "a..b" cannot be published to: it has an empty token (two dots in a row), at byte 3
 *     of 4
 *
 * made of `what` ("topic"), `verdict` ("cannot be published to") and the reason of `error` from
 * rlt_topic_check(), rlt_topic_check_pattern() or rlt_topic_check_group(); NULL: the code's own
 * sentence. Control bytes are quoted as \\xNN; of a long name the part around the fault is quoted.
 *
 * Threads: any thread. Does not block or allocate.
 * Returns: `error`.
 */
int rlt_topic_refuse(int error, const char *what, const char *verdict, const char *name, size_t len,
                     const char *reason);

#endif
