/* SPDX-License-Identifier: MIT */
#include "core/sending/batch.h"

#include "base/assert.h"

void rlt_batch_add(struct rlt_batch *batch, const void *bytes, size_t len,
                   struct rlt_batch_part part)
{
    RLT_ASSERT(batch->count < RLT_BATCH_SPANS);
    batch->spans[batch->count] = (struct rlt_span){(void *)(uintptr_t)bytes, len};
    batch->parts[batch->count] = part;
    batch->count++;
}

void rlt_batch_advance(struct rlt_batch *batch, size_t count)
{
    struct rlt_span *span = &batch->spans[batch->done];
    RLT_ASSERT(count < span->len);
    span->bytes = (uint8_t *)span->bytes + count;
    span->len -= count;
    batch->progress += count;
}

uint64_t rlt_batch_messages(const struct rlt_batch *batch)
{
    uint64_t messages = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct rlt_batch_part *part = &batch->parts[i];
        if (part->lane != RLT_NO_LANE && batch->spans[i].len != 0) {
            messages += part->end.count - part->start.count;
        }
    }
    return messages;
}

void rlt_batch_measure(const struct rlt_batch *batch, uint64_t *messages, uint64_t *bytes)
{
    *messages = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct rlt_batch_part *part = &batch->parts[i];
        if (part->lane != RLT_NO_LANE) {
            *messages += part->end.count - part->start.count;
            *bytes += part->end.position - part->start.position;
        }
    }
}
