/* SPDX-License-Identifier: MIT */
/**
 * The meaning of a server's -ERR for the client. Source: the table nats-clients.md A.7.
 */
#ifndef RLT_PROTO_SERVER_ERROR_H
#define RLT_PROTO_SERVER_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The reaction to an -ERR. */
enum rlt_reaction {
    RLT_REACTION_REPORT, /* log and count; the connection stays */
    /* As REPORT, and an interest is over: that of `sid`; otherwise those that `topic` and `queue`
     * name; if these are NULL, that of the SUB which the -ERR answers. */
    RLT_REACTION_SUBSCRIPTION,
    RLT_REACTION_RECONNECT, /* the server closes: reconnect with backoff */
};

/** Why the server does not take a line that it was sent. */
enum rlt_line_fault {
    RLT_LINE_FAULT_NONE, /* the -ERR does not say */
    RLT_LINE_FAULT_LENGTH,
    RLT_LINE_FAULT_PAYLOAD,
    RLT_LINE_FAULT_OTHER,
};

struct rlt_server_error {
    enum rlt_reaction reaction;
    enum rlt_line_fault fault; /* RLT_REACTION_RECONNECT */
    int error;                 /* ROULETTE_EAUTH, _EPERMISSION, _ESTALE, _ESERVER … */
    /* ROULETTE_EPERMISSION: the topic (or reply) and queue group between the quotes; NULL if the
     * text names none, or one with bytes that the server had to escape. The pointers lead into the
     * text that was classified. */
    const char *topic;
    size_t topic_len;
    const char *queue;
    size_t queue_len;
    /* The topic as the server wrote it, with its escapes; NULL if there are no quotes. */
    const char *quoted;
    size_t quoted_len;
    bool by_reply;      /* the reply of a message is refused, not its topic */
    uint64_t sid;       /* of the interest, if the text ends with it; 0: it does not */
    const char *advice; /* what to change, for the end of a sentence; "" */
};

/**
 * Classify the text of an -ERR (without its quotes). Case-insensitive, by prefix. A text that is
 * not in the table is RLT_REACTION_REPORT with ROULETTE_ESERVER.
 *
 * Threads: any thread. Does not block or allocate.
 */
struct rlt_server_error rlt_server_error_classify(const char *text, size_t len);

/**
 * Undo Go's quoting (%q) of the bytes between two quotes.
 *
 * Threads: any thread. Does not block or allocate.
 * Returns: the bytes written to `name`; 0 if they do not fit, or are not quoted like that.
 */
size_t rlt_server_error_unquote(const char *quoted, size_t len, char *name, size_t size);

#endif
