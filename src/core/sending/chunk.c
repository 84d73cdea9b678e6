/* SPDX-License-Identifier: MIT */
#include "core/sending/chunk.h"

#include "proto/encode.h"

static void cut_at(struct rlt_lane_chunk *chunk, size_t len, uint64_t frames)
{
    chunk->len = len;
    chunk->end.position = chunk->start.position + len;
    chunk->end.count = chunk->start.count + frames;
}

void rlt_chunk_cut(struct rlt_lane_chunk *chunk, uint64_t count)
{
    size_t len = 0;
    uint64_t frames = 0;
    while (frames < count && len < chunk->len) {
        uint32_t payload_len;
        len += rlt_pub_frame_len(chunk->bytes + len, chunk->len - len, &payload_len);
        frames++;
    }
    cut_at(chunk, len, frames);
}

bool rlt_chunk_check(struct rlt_lane_chunk *chunk, uint32_t payload_max)
{
    size_t offset = 0;
    uint64_t count = 0;
    while (offset < chunk->len) {
        uint32_t payload_len;
        size_t len = rlt_pub_frame_len(chunk->bytes + offset, chunk->len - offset, &payload_len);
        if (payload_len > payload_max) {
            bool first = offset == 0;
            cut_at(chunk, first ? len : offset, first ? 1 : count);
            return first;
        }
        offset += len;
        count++;
    }
    return false;
}
