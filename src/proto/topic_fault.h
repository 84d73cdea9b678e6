/* SPDX-License-Identifier: MIT */
/**
 * What an error says of a topic or queue group: the name itself, what is wrong, and where.
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
 * of `what` ("topic"), `verdict` ("cannot be published to") and the reason that rlt_topic_check(),
 * _check_pattern() or _check_group() has given for `error`; NULL: the code's own sentence. Control
 * bytes are quoted as \\xNN, and of a long name the part around the fault.
 *
 * Threads: any thread. Does not block or allocate.
 * Returns: `error`.
 */
int rlt_topic_refuse(int error, const char *what, const char *verdict, const char *name, size_t len,
                     const char *reason);

#endif
