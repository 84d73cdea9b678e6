/* SPDX-License-Identifier: MIT */
/**
 * Cutting chunks of a lane: a chunk is whole frames, one behind the other, that were peeked at.
 *
 * Owner: the thread that has the lane's consumer side.
 */
#ifndef RLT_CORE_SENDING_CHUNK_H
#define RLT_CORE_SENDING_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "lockfree/wire_queue.h"

/** Cut a chunk behind `count` frames. */
void rlt_chunk_cut(struct rlt_lane_chunk *chunk, uint64_t count);

/**
 * Cut a chunk of frames that were accepted under another limit before the first whose payload is
 * larger than `payload_max`. Returns: whether that is the chunk's first frame; then the chunk is
 * this frame alone, to be given up.
 */
bool rlt_chunk_check(struct rlt_lane_chunk *chunk, uint32_t payload_max);

#endif
