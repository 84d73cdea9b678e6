/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "harness/stop.h"
#include "lockfree/wire_queue.h"
#include "micro/micro.h"
#include "proto/encode.h"
#include "proto/parser.h"

/* ---- Parsing ------------------------------------------------------------------------------ */

#ifdef __SSE2__
#define SCAN_NAME ", SSE2"
#else
#define SCAN_NAME ""
#endif

/* parser.c without SSE2: tests/unit/proto/parser_portable.c. */
int64_t portable_parse(const uint8_t *bytes, size_t len, struct rlt_frame *frame);

/* Frames for about as many bytes as one receive brings, and still in the second cache. */
#define STREAM_BYTES ((size_t)128 * 1024)
#define FRAME_MAX    64

struct stream {
    size_t len;
    uint8_t *bytes;
};

/* MSG frames of many topics and sids, whose lines differ in length. */
static void *open_stream(uint32_t payload_len)
{
    struct stream *stream = micro_memory(1, sizeof(*stream));
    stream->bytes = micro_memory(STREAM_BYTES, 1);
    for (uint32_t i = 0; stream->len + FRAME_MAX + payload_len + 2 <= STREAM_BYTES; i++) {
        char topic[MICRO_TOPIC_LEN];
        micro_topic(i, topic);
        uint8_t *frame = stream->bytes + stream->len;
        size_t line_len = (size_t)snprintf((char *)frame, FRAME_MAX, "MSG %.*s %u %u\r\n",
                                           MICRO_TOPIC_LEN, topic, i * 7 % 5000, payload_len);
        memset(frame + line_len, 'x', payload_len);
        memcpy(frame + line_len + payload_len, "\r\n", 2);
        stream->len += line_len + payload_len + 2;
    }
    return stream;
}

/* The parser is an argument of a function that is inlined: it is called directly. */
static inline __attribute__((always_inline)) void
parse(const struct stream *stream, uint64_t count,
      int64_t (*parser)(const uint8_t *bytes, size_t len, struct rlt_frame *frame))
{
    size_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct rlt_frame frame;
        int64_t len = parser(stream->bytes + at, stream->len - at, &frame);
        if (len <= 0 || frame.op != RLT_OP_MSG) {
            stop("a frame was not parsed");
        }
        micro_keep(frame.sid);
        at += (size_t)len;
        at = at < stream->len ? at : 0;
    }
}

static void run_parse(void *state, uint64_t count)
{
    parse(state, count, rlt_parse);
}

static void run_parse_portable(void *state, uint64_t count)
{
    parse(state, count, portable_parse);
}

/* As the library does: the messages of a receive, some at a time. */
static void run_parse_runs(void *state, uint64_t count)
{
    const struct stream *stream = state;
    struct rlt_streak runs[16];
    size_t at = 0;
    for (uint64_t done = 0; done < count;) {
        size_t used;
        uint32_t found = rlt_parse_streaks(stream->bytes + at, stream->len - at, runs, 16, &used);
        if (found == 0) {
            stop("a frame was not parsed");
        }
        for (uint32_t i = 0; i < found; i++) {
            micro_keep(runs[i].frame.sid);
            done += 1 + runs[i].more;
        }
        at += used;
        at = at < stream->len ? at : 0;
    }
}

static void close_stream(void *state)
{
    struct stream *stream = state;
    free(stream->bytes);
    free(stream);
}

/* ---- Encoding ----------------------------------------------------------------------------- */

#define ENCODE_TURN 64

struct encoder {
    struct rlt_pub pub;
    char head[MICRO_TOPIC_LEN + 5];
    size_t frame_len;
    uint8_t *out; /* ENCODE_TURN frames */
    uint8_t *payload;
};

static void *open_encoder(uint32_t payload_len)
{
    struct encoder *encoder = micro_memory(1, sizeof(*encoder));
    memcpy(encoder->head, "PUB ", 4);
    micro_topic(1, encoder->head + 4);
    encoder->head[MICRO_TOPIC_LEN + 4] = ' ';
    encoder->payload = micro_memory(1, payload_len);
    encoder->pub = (struct rlt_pub){
        .topic = encoder->head + 4,
        .topic_len = MICRO_TOPIC_LEN,
        .payload = encoder->payload,
        .payload_len = payload_len,
    };
    encoder->frame_len = rlt_encode_pub_len(&encoder->pub);
    encoder->out = micro_memory(ENCODE_TURN, encoder->frame_len);
    return encoder;
}

/* With the head ready-made, as roulette_topic_publish() has it. */
static void *open_encoder_handle(uint32_t payload_len)
{
    struct encoder *encoder = open_encoder(payload_len);
    encoder->pub.head = encoder->head;
    return encoder;
}

static void run_encode(void *state, uint64_t count)
{
    struct encoder *encoder = state;
    struct rlt_pub *pub = &encoder->pub;
    for (uint64_t i = 0; i < count; i++) {
        /* The caller's arguments are new to the compiler each time. */
        __asm__ __volatile__("" : : "r"(pub) : "memory");
        uint8_t *out = encoder->out + (i % ENCODE_TURN) * encoder->frame_len;
        micro_keep(rlt_encode_pub_len(pub));
        micro_keep((uintptr_t)rlt_encode_pub(out, pub));
    }
}

static void close_encoder(void *state)
{
    struct encoder *encoder = state;
    free(encoder->out);
    free(encoder->payload);
    free(encoder);
}

/* ---- Lanes -------------------------------------------------------------------------------- */

/* As by default: 64 MiB in 16 lanes. */
#define LANE_BYTES ((size_t)4 << 20)
/* What the event thread takes from a lane at once. */
#define DRAIN_BYTES ((size_t)256 * 1024)

struct wire {
    struct rlt_wire_queue queue;
    struct rlt_lane *lane;
    uint32_t frame_len;
    /* The consumer's: messages that it is to take, and that it took so far. */
    alignas(RLT_CACHE_LINE) uint64_t drain_count;
    uint64_t drained;
};

static void *open_wire(uint32_t frame_len)
{
    struct wire *wire = rlt_memory_alloc_aligned(RLT_CACHE_LINE, sizeof(*wire));
    if (wire == NULL) {
        stop("no memory");
    }
    memset(wire, 0, sizeof(*wire));
    rlt_wire_queue_init(&wire->queue, LANE_BYTES);
    int index = rlt_wire_queue_acquire(&wire->queue);
    if (index < 0) {
        stop("no lane");
    }
    wire->lane = &wire->queue.lanes[index];
    wire->frame_len = frame_len;
    return wire;
}

/* Take and release a chunk. False if there is none. */
static bool drain(struct wire *wire)
{
    struct rlt_lane_chunk chunk;
    if (!rlt_lane_peek(wire->lane, DRAIN_BYTES, &chunk)) {
        return false;
    }
    rlt_lane_advance(wire->lane, chunk.end);
    rlt_lane_release(wire->lane, chunk.end.position);
    wire->drained += chunk.end.count - chunk.start.count;
    return true;
}

static bool put(struct wire *wire)
{
    uint8_t *out = rlt_lane_claim(wire->lane, wire->frame_len);
    if (out == NULL) {
        return false;
    }
    /* The bytes themselves are the encoder's work; this is enough to bring their line here. */
    *out = 'P';
    rlt_lane_commit(wire->lane, wire->frame_len);
    return true;
}

static void run_lane(void *state, uint64_t count)
{
    struct wire *wire = state;
    wire->drained = 0;
    for (uint64_t i = 0; i < count; i++) {
        while (!put(wire)) {
            (void)drain(wire);
        }
    }
    while (drain(wire)) {
    }
    if (wire->drained != count) {
        stop("frames are missing from the lane");
    }
}

static void *consume(void *state)
{
    struct wire *wire = state;
    while (wire->drained < wire->drain_count) {
        if (!drain(wire)) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void run_lane_threads(void *state, uint64_t count)
{
    struct wire *wire = state;
    pthread_t consumer;
    wire->drained = 0;
    wire->drain_count = count;
    if (pthread_create(&consumer, NULL, consume, wire) != 0) {
        stop("no thread");
    }
    for (uint64_t i = 0; i < count; i++) {
        while (!put(wire)) {
            (void)sched_yield();
        }
    }
    (void)pthread_join(consumer, NULL);
}

static void close_wire(void *state)
{
    struct wire *wire = state;
    rlt_wire_queue_fini(&wire->queue);
    rlt_memory_free(wire);
}

/* ---- All ---------------------------------------------------------------------------------- */

#define PARSE_CASE(name, payload_len, run)   {name, payload_len, 1, open_stream, run, close_stream}
#define ENCODE_CASE(name, payload_len, open) {name, payload_len, 1, open, run_encode, close_encoder}

const struct micro micro_wire[] = {
    PARSE_CASE("parse MSG of 16 B" SCAN_NAME, 16, run_parse),
    PARSE_CASE("parse MSG of 128 B" SCAN_NAME, 128, run_parse),
    PARSE_CASE("parse MSG of 1 KiB" SCAN_NAME, 1024, run_parse),
    PARSE_CASE("parse MSG of 16 B, 16 at once", 16, run_parse_runs),
    PARSE_CASE("parse MSG of 128 B, 16 at once", 128, run_parse_runs),
    PARSE_CASE("parse MSG of 1 KiB, 16 at once", 1024, run_parse_runs),
    PARSE_CASE("parse MSG of 16 B, portable", 16, run_parse_portable),
    PARSE_CASE("parse MSG of 128 B, portable", 128, run_parse_portable),
    PARSE_CASE("parse MSG of 1 KiB, portable", 1024, run_parse_portable),
    ENCODE_CASE("encode PUB of 16 B, text", 16, open_encoder),
    ENCODE_CASE("encode PUB of 16 B, handle", 16, open_encoder_handle),
    ENCODE_CASE("encode PUB of 128 B, text", 128, open_encoder),
    ENCODE_CASE("encode PUB of 128 B, handle", 128, open_encoder_handle),
    ENCODE_CASE("encode PUB of 1 KiB, text", 1024, open_encoder),
    ENCODE_CASE("encode PUB of 1 KiB, handle", 1024, open_encoder_handle),
    {"lane: claim, commit, drain 64 B", 64, 1, open_wire, run_lane, close_wire},
    {"lane: claim, commit, drain 64 B", 64, 2, open_wire, run_lane_threads, close_wire},
    {0},
};
