/* SPDX-License-Identifier: MIT */
#include "api/release.h"

#include <string.h>

#include "api/owner.h"
#include "api/subscriber.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"

#define CALL "roulette_release()"

/* ---- Releasing ---------------------------------------------------------------------------- */

/* References to one slab, released together. */
struct batch {
    uintptr_t internal; /* of its messages */
    struct rlt_mailbox *mailbox;
    uint32_t count;
};

static struct rlt_slab *slab_of(uintptr_t internal)
{
    return (struct rlt_slab *)(internal & ~RLT_MESSAGE_MASK);
}

static void end_batch(struct batch *batch)
{
    if (batch->count == 0) {
        return;
    }
    struct rlt_slab *slab = slab_of(batch->internal);
    uint32_t index = rlt_mailbox_slab_index(batch->mailbox, slab);
    RLT_REQUIRE(batch->count <= rlt_mailbox_held(batch->mailbox, index), CALL,
                "more messages were released than received: one of them was released twice, "
                "through a copy of its struct");
    rlt_mailbox_note_released(batch->mailbox, index, batch->count);
    rlt_slab_release(slab, batch->count);
    batch->count = 0;
}

static void begin_batch(struct batch *batch, const struct roulette_subscriber *subscriber,
                        const struct roulette_message *message, uintptr_t internal)
{
    RLT_REQUIRE(subscriber != NULL, CALL,
                "the subscriber is NULL, which is for copies: give the one that received the "
                "message");
    RLT_REQUIRE((internal & RLT_MESSAGE_MASK) == subscriber->tag, CALL,
                "the message was received by another subscriber, or by none: release it to the "
                "one that received it");
    struct rlt_mailbox *mailbox = message->cluster < subscriber->client->cluster_count
                                      ? subscriber->mailboxes[message->cluster]
                                      : NULL;
    RLT_REQUIRE(mailbox != NULL &&
                    rlt_mailbox_slab_index(mailbox, slab_of(internal)) < mailbox->slab_indexes,
                CALL, "the message was changed after it was received");
    batch->internal = internal;
    batch->mailbox = mailbox;
}

static void release(struct roulette_subscriber *subscriber, struct roulette_message *messages,
                    size_t count)
{
    struct batch batch = {0, NULL, 0};
    for (size_t i = 0; i < count; i++) {
        struct roulette_message *message = &messages[i];
        if (message->kind != ROULETTE_KIND_MESSAGE) {
            continue;
        }
        RLT_REQUIRE(message->internal != NULL, CALL, "the message was released before");
        uintptr_t internal = (uintptr_t)message->internal;
        message->internal = NULL;
        if (internal & RLT_MESSAGE_COPY) {
            rlt_memory_free((void *)(internal & ~RLT_MESSAGE_COPY));
            continue;
        }
        if (internal != batch.internal) {
            end_batch(&batch);
            begin_batch(&batch, subscriber, message, internal);
        }
        batch.count++;
    }
    end_batch(&batch);
}

void roulette_release(roulette_subscriber *subscriber, struct roulette_message *messages,
                      size_t count)
{
    RLT_REQUIRE(count == 0 || messages != NULL, CALL, "messages is NULL");
    if (subscriber != NULL) {
        rlt_owner_enter(subscriber, CALL);
    }
    release(subscriber, messages, count);
    if (subscriber != NULL) {
        rlt_owner_leave(subscriber);
    }
}

/* ---- Copying ------------------------------------------------------------------------------ */

int roulette_message_copy(const struct roulette_message *message, struct roulette_message *copy)
{
    if (message == NULL || copy == NULL || message->kind != ROULETTE_KIND_MESSAGE) {
        return rlt_error_set(ROULETTE_EINVAL, "the message or copy is NULL, or it is a notice");
    }
    if (message->internal == NULL || message == copy) {
        return rlt_error_set(ROULETTE_EINVAL, message == copy ? "the copy is the message itself"
                                                              : "the message was released before");
    }
    size_t size = (size_t)message->topic_len + message->reply_len + message->headers_len +
                  message->payload_len;
    char *block = rlt_memory_alloc(1, size);
    if (block == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    *copy = *message;
    char *next = block;
    const struct {
        const void **field;
        size_t len;
    } parts[] = {
        {(const void **)&copy->topic, message->topic_len},
        {(const void **)&copy->reply, message->reply_len},
        {(const void **)&copy->headers, message->headers_len},
        {(const void **)&copy->payload, message->payload_len},
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (*parts[i].field != NULL) {
            memcpy(next, *parts[i].field, parts[i].len);
            *parts[i].field = next;
            next += parts[i].len;
        }
    }
    copy->internal = (void *)((uintptr_t)block | RLT_MESSAGE_COPY);
    return 0;
}
