/* SPDX-License-Identifier: MIT */
/**
 * The arguments of a MSG or HMSG line. The two ways to split a line (proto/parser.c says which)
 * both fill this, and share all further steps. So the fast way can refuse a line that the slow way
 * accepts, but never give another result for it.
 */
#ifndef RLT_PROTO_ARGUMENTS_H
#define RLT_PROTO_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "proto/number.h"
#include "proto/parser.h"

/** The most arguments of any line: HMSG with a reply. */
#define RLT_ARGUMENTS_MAX 5

/**
 * The parts of a complete MSG or HMSG line, counted from the topic. Missing parts are empty.
 */
struct rlt_arguments {
    const uint8_t *topic;
    size_t topic_len;
    struct rlt_extent sid;
    struct rlt_extent reply;
    struct rlt_extent header_size;
    struct rlt_extent total_size;
    size_t body_offset;
};

/** Name the arguments of a line; `spans` count from the topic. */
RLT_ALWAYS_INLINE struct rlt_arguments rlt_arguments_name(const uint8_t *topic,
                                                          const struct rlt_extent *spans,
                                                          uint32_t count, bool has_header)
{
    struct rlt_arguments args = {.topic = topic, .topic_len = spans[0].end, .sid = spans[1]};
    args.total_size = spans[count - 1];
    if (has_header)
        args.header_size = spans[count - 2];
    if (count > (has_header ? 4 : 3))
        args.reply = spans[2];
    return args;
}

/** Finish a line that was split in either way. Returns: as rlt_parse(). */
RLT_ALWAYS_INLINE int64_t rlt_arguments_finish(const uint8_t *bytes, size_t len,
                                               const struct rlt_arguments *args,
                                               struct rlt_frame *frame)
{
    const uint8_t *topic = args->topic;
    uint64_t sid;
    uint32_t header_len = 0;
    uint32_t body_len;

    if (rlt_unlikely(!rlt_number_size(topic, args->total_size, &body_len)))
        return -RLT_PARSE_NUMBER;
    if (rlt_unlikely(!rlt_number_sid(topic, args->sid, &sid)))
        return -RLT_PARSE_NUMBER;
    if (rlt_extent_len(args->header_size) != 0) {
        if (!rlt_number_size(topic, args->header_size, &header_len))
            return -RLT_PARSE_NUMBER;
        if (header_len > body_len)
            return -RLT_PARSE_HEADER_SIZE;
    }
    uint64_t frame_len = (uint64_t)(topic - bytes) + args->body_offset + 2 + body_len;
    int64_t result = (int64_t)frame_len;
    if (rlt_unlikely(len < frame_len)) {
        /* At most the CR is there of the CR LF behind the body. */
        if (len == frame_len - 1 && bytes[len - 1] != '\r')
            return -RLT_PARSE_TERMINATOR;
        result = 0;
    } else if (rlt_unlikely(memcmp(bytes + frame_len - 2, "\r\n", 2) != 0)) {
        return -RLT_PARSE_TERMINATOR;
    }

    frame->op = RLT_OP_MSG;
    frame->topic = topic;
    frame->topic_len = (uint16_t)args->topic_len;
    frame->reply_offset = (uint16_t)args->reply.start;
    frame->reply_len = (uint16_t)rlt_extent_len(args->reply);
    frame->body_offset = (uint16_t)args->body_offset;
    frame->header_len = header_len;
    frame->body_len = body_len;
    frame->sid = sid;
    frame->frame_len = frame_len;
    return result;
}

#endif
