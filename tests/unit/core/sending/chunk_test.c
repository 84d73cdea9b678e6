/* SPDX-License-Identifier: MIT */
#include "core/sending/chunk.h"

#include <stdio.h>
#include <string.h>

#include "support/test.h"

static char bytes[1024];
static struct rlt_lane_chunk chunk;

/* Frames with payloads of these lengths, of one digit; 0 ends them. */
static void make(const uint32_t *payloads)
{
    size_t len = 0;
    uint64_t count = 0;
    for (; payloads[count] != 0; count++) {
        len += (size_t)snprintf(bytes + len, sizeof(bytes) - len, "PUB t %u\r\n%.*s\r\n",
                                payloads[count], (int)payloads[count], "xxxxxxxxx");
    }
    chunk = (struct rlt_lane_chunk){
        .bytes = (const uint8_t *)bytes,
        .len = len,
        .start = {.position = 1000, .count = 10},
        .end = {.position = 1000 + len, .count = 10 + count},
    };
}

/* A frame of `payload` bytes is so long. */
static size_t frame_len(uint32_t payload)
{
    return strlen("PUB t 1\r\n\r\n") + payload;
}

static void require_end(size_t len, uint64_t count)
{
    cr_assert_eq(chunk.len, len);
    cr_assert_eq(chunk.start.position, 1000);
    cr_assert_eq(chunk.end.position, 1000 + len);
    cr_assert_eq(chunk.end.count, 10 + count);
}

Test(chunk, is_cut_behind_so_many_frames)
{
    make((uint32_t[]){1, 2, 3, 0});
    rlt_chunk_cut(&chunk, 2);
    require_end(frame_len(1) + frame_len(2), 2);
}

Test(chunk, with_fewer_frames_stays_whole)
{
    make((uint32_t[]){1, 2, 0});
    rlt_chunk_cut(&chunk, 5);
    require_end(frame_len(1) + frame_len(2), 2);
}

Test(chunk, within_the_limit_stays_whole)
{
    make((uint32_t[]){1, 5, 3, 0});
    cr_assert_not(rlt_chunk_check(&chunk, 5));
    require_end(frame_len(1) + frame_len(5) + frame_len(3), 3);
}

Test(chunk, ends_before_a_frame_that_is_too_large)
{
    make((uint32_t[]){1, 2, 6, 1, 0});
    cr_assert_not(rlt_chunk_check(&chunk, 5));
    require_end(frame_len(1) + frame_len(2), 2);
}

/* It is given up, alone. */
Test(chunk, that_begins_with_one_too_large_is_that_one)
{
    make((uint32_t[]){6, 1, 6, 0});
    cr_assert(rlt_chunk_check(&chunk, 5));
    require_end(frame_len(6), 1);
}
