/* SPDX-License-Identifier: MIT */
/*
 * Which bytes go to a server, and what becomes of the messages. The server here is a list of the
 * bytes that were taken; the ledger is checked after every step.
 */
#include "core/sending/sender.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "proto/encode.h"
#include "support/test.h"

#define LANE_CAPACITY 65536
#define SHARED        RLT_WIRE_LANES
#define TAKEN_MAX     ((size_t)4 * 1024 * 1024)
#define MESSAGES_MAX  100000
/* Every payload begins with the message's number, in as many digits. */
#define NUMBER_LEN 8

/* One connection's stream as far as the kernel took it, and what a server reads from it. */
struct stream {
    uint8_t *bytes;
    size_t len;
    size_t parsed;
    uint32_t pings;
    uint32_t controls;
    uint32_t *messages; /* numbers, in order */
    uint32_t message_count;
};

struct wire {
    struct rlt_wire_queue queue;
    struct rlt_metrics metrics;
    struct rlt_sender sender;
    struct stream stream;
    uint32_t published;
    uint32_t woken;
};

static struct wire wire;

/* ---- Steps -------------------------------------------------------------------------------- */

static void open_wire(void)
{
    memset(&wire, 0, sizeof(wire));
    rlt_wire_queue_init(&wire.queue, LANE_CAPACITY);
    cr_assert_eq(rlt_sender_init(&wire.sender, &wire.queue, &wire.metrics), 0);
    wire.stream.bytes = malloc(TAKEN_MAX);
    wire.stream.messages = malloc(MESSAGES_MAX * sizeof(uint32_t));
    for (int lane = 0; lane < 3; lane++) {
        cr_assert_eq(rlt_wire_queue_acquire(&wire.queue), lane);
    }
}

static void close_wire(void)
{
    rlt_sender_fini(&wire.sender);
    rlt_wire_queue_fini(&wire.queue);
    free(wire.stream.bytes);
    free(wire.stream.messages);
}

#define WireTest(name, ...) Test(sender, name, .init = open_wire, .fini = close_wire, ##__VA_ARGS__)

/* Make the shared lane available, as the threads beyond the lanes' number do. */
static void use_shared_lane(void)
{
    cr_assert_eq(rlt_shared_lane_allocate(&wire.queue.shared, LANE_CAPACITY), 0);
}

static uint64_t in_batch(void)
{
    uint64_t messages = 0;
    for (uint32_t i = wire.sender.batch.done; i < wire.sender.batch.count; i++) {
        const struct rlt_batch_part *part = &wire.sender.batch.parts[i];
        messages += part->lane >= 0 ? part->end.count - part->start.count : 0;
    }
    return messages;
}

/* Messages that no batch has taken yet. */
static uint64_t queued(void)
{
    uint64_t cursors = wire.queue.shared.cursor.count;
    for (int lane = 0; lane < RLT_WIRE_LANES; lane++) {
        cursors += wire.queue.lanes[lane].cursor.count;
    }
    return rlt_wire_queue_accepted(&wire.queue) - cursors;
}

/* accepted = confirmed + in doubt + failed + sent and not confirmed + queued. */
static void check_ledger(void)
{
    uint64_t settled = rlt_counter_get(&wire.metrics.confirmed) +
                       rlt_counter_get(&wire.metrics.in_doubt) +
                       rlt_counter_get(&wire.metrics.failed);
    uint64_t unconfirmed = wire.sender.sent - wire.sender.confirmed;
    cr_assert_eq(rlt_wire_queue_accepted(&wire.queue),
                 settled + unconfirmed + in_batch() + queued());
}

static void assert_ledger(uint64_t confirmed, uint64_t in_doubt, uint64_t failed)
{
    check_ledger();
    cr_assert_eq(rlt_counter_get(&wire.metrics.confirmed), confirmed);
    cr_assert_eq(rlt_counter_get(&wire.metrics.in_doubt), in_doubt);
    cr_assert_eq(rlt_counter_get(&wire.metrics.failed), failed);
}

/* Publish a message with a payload of `len` bytes; returns false if the lane is full. */
static bool try_publish(int lane, uint32_t len)
{
    static char payload[LANE_CAPACITY];
    cr_assert(len >= NUMBER_LEN && len < sizeof(payload));
    memset(payload, 'x', len);
    char number[NUMBER_LEN + 1];
    (void)snprintf(number, sizeof(number), "%0*u", NUMBER_LEN, wire.published);
    memcpy(payload, number, NUMBER_LEN);
    struct rlt_pub pub = {.topic = "t.1", .topic_len = 3, .payload = payload, .payload_len = len};
    size_t frame_len = rlt_encode_pub_len(&pub);
    struct rlt_shared_claim claim;
    if (lane == SHARED) {
        if (!rlt_shared_lane_claim(&wire.queue.shared, frame_len, &claim)) {
            return false;
        }
        (void)rlt_encode_pub(claim.bytes, &pub);
        rlt_shared_lane_commit(&wire.queue.shared, &claim, frame_len);
    } else {
        uint8_t *out = rlt_lane_claim(&wire.queue.lanes[lane], frame_len);
        if (out == NULL) {
            return false;
        }
        (void)rlt_encode_pub(out, &pub);
        rlt_lane_commit(&wire.queue.lanes[lane], frame_len);
    }
    wire.published++;
    return true;
}

static void publish(int lane, uint32_t len)
{
    cr_assert(try_publish(lane, len));
}

static void put_control(const char *line)
{
    uint8_t *out = rlt_control_claim(&wire.sender.control, strlen(line));
    cr_assert_not_null(out);
    memcpy(out, line, strlen(line));
    rlt_control_commit(&wire.sender.control, out + strlen(line));
}

static void on_wake(void *context, _Atomic(uint32_t) *word)
{
    cr_assert_eq(context, &wire);
    cr_assert_not_null(word);
    wire.woken++;
}

static size_t batch_len(void)
{
    size_t len = 0;
    for (uint32_t i = wire.sender.batch.done; i < wire.sender.batch.count; i++) {
        len += wire.sender.batch.spans[i].len;
    }
    return len;
}

/* The kernel takes `count` bytes of the batch. Returns what rlt_sender_on_sent() does. */
static uint32_t take(size_t count)
{
    size_t left = count;
    for (uint32_t i = wire.sender.batch.done; i < wire.sender.batch.count && left != 0; i++) {
        size_t part = left < wire.sender.batch.spans[i].len ? left : wire.sender.batch.spans[i].len;
        cr_assert_leq(wire.stream.len + part, TAKEN_MAX);
        memcpy(wire.stream.bytes + wire.stream.len, wire.sender.batch.spans[i].bytes, part);
        wire.stream.len += part;
        left -= part;
    }
    uint32_t spans = rlt_sender_on_sent(&wire.sender, count, on_wake, &wire);
    check_ledger();
    return spans;
}

static void take_all(void)
{
    cr_assert_eq(take(batch_len()), 0);
}

static uint32_t gather(void)
{
    uint32_t count = rlt_sender_gather(&wire.sender, true);
    check_ledger();
    return count;
}

/* Send until there is nothing to send. */
static void drain(void)
{
    while (gather() != 0) {
        take_all();
    }
}

static struct rlt_fence_link *lose(void)
{
    struct rlt_fence_link *failed = rlt_sender_on_lost(&wire.sender, on_wake, &wire);
    check_ledger();
    return failed;
}

/* What a server does with the whole lines and frames that it has. Anything else is an error. */
static void parse_stream(struct stream *stream)
{
    while (stream->parsed < stream->len) {
        const uint8_t *line = stream->bytes + stream->parsed;
        size_t len = stream->len - stream->parsed;
        const uint8_t *end = memchr(line, '\n', len);
        if (end == NULL) {
            return;
        }
        size_t line_len = (size_t)(end - line) + 1;
        unsigned payload_len = 0;
        int read = 0;
        char text[64] = {0};
        memcpy(text, line, line_len < sizeof(text) ? line_len : sizeof(text) - 1);
        if (sscanf(text, "PUB t.1 %u\r\n%n", &payload_len, &read) == 1 && read != 0) {
            if (line_len + payload_len + 2 > len) {
                return;
            }
            cr_assert_eq(memcmp(line + line_len + payload_len, "\r\n", 2), 0);
            char number[NUMBER_LEN + 1] = {0};
            memcpy(number, line + line_len, NUMBER_LEN);
            stream->messages[stream->message_count++] = (uint32_t)strtoul(number, NULL, 10);
            stream->parsed += line_len + payload_len + 2;
            continue;
        }
        if (strcmp(text, "PING\r\n") == 0) {
            stream->pings++;
        } else {
            cr_assert(strncmp(text, "SUB ", 4) == 0 || strcmp(text, "PONG\r\n") == 0, "%s", text);
            stream->controls++;
        }
        stream->parsed += line_len;
    }
}

/* Begin the stream of the next connection. */
static void reconnect(void)
{
    wire.stream.len = 0;
    wire.stream.parsed = 0;
    wire.stream.pings = 0;
    wire.stream.controls = 0;
}

/* ---- One batch ---------------------------------------------------------------------------- */

WireTest(nothing_to_send_is_no_batch)
{
    cr_assert_eq(gather(), 0);
    cr_assert_not(rlt_sender_is_busy(&wire.sender));
    cr_assert_not(rlt_sender_has_work(&wire.sender, true));
}

WireTest(control_lines_come_first_and_the_ping_last)
{
    struct rlt_fence_link link = {NULL, NULL};
    publish(0, 20);
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    put_control("SUB a 1\r\n");
    cr_assert_eq(gather(), 3);
    cr_assert_eq(memcmp(wire.sender.batch.spans[0].bytes, "SUB a 1\r\n", 9), 0);
    cr_assert_eq(memcmp(wire.sender.batch.spans[1].bytes, "PUB t.1 20\r\n", 12), 0);
    cr_assert_eq(memcmp(wire.sender.batch.spans[2].bytes, "PING\r\n", 6), 0);
}

WireTest(messages_wait_until_lanes_may_be_sent)
{
    publish(0, 20);
    put_control("SUB a 1\r\n");
    cr_assert(rlt_sender_has_work(&wire.sender, false));
    cr_assert_eq(rlt_sender_gather(&wire.sender, false), 1);
    take_all();
    cr_assert_not(rlt_sender_has_work(&wire.sender, false));
    cr_assert_eq(rlt_sender_gather(&wire.sender, false), 0);
    cr_assert(rlt_sender_has_work(&wire.sender, true));
    cr_assert_eq(gather(), 1);
}

WireTest(one_batch_is_in_flight_at_a_time)
{
    publish(0, 20);
    cr_assert_eq(gather(), 1);
    publish(0, 20);
    put_control("PONG\r\n");
    cr_assert_eq(gather(), 0);
    take_all();
    cr_assert_eq(gather(), 2);
}

WireTest(control_lines_in_flight_are_not_overwritten)
{
    put_control("SUB a 1\r\n");
    cr_assert_eq(gather(), 1);
    put_control("SUB b 2\r\n");
    take_all();
    cr_assert_eq(gather(), 1);
    put_control("SUB c 3\r\n");
    take_all();
    drain();
    cr_assert_eq(wire.stream.len, 27);
    cr_assert_eq(memcmp(wire.stream.bytes, "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n", 27), 0);
}

WireTest(control_lines_are_bound)
{
    uint32_t lines = 0;
    while (rlt_control_claim(&wire.sender.control, 6) != NULL) {
        put_control("PONG\r\n");
        lines++;
    }
    cr_assert_eq(lines, RLT_CONTROL_BYTES / 6);
    (void)gather();
    cr_assert_not_null(rlt_control_claim(&wire.sender.control, RLT_CONTROL_BYTES));
    cr_assert_null(rlt_control_claim(&wire.sender.control, RLT_CONTROL_BYTES + 1));
}

WireTest(lanes_begin_the_batches_in_turn)
{
    use_shared_lane();
    static const int lanes[] = {0, 1, 2, SHARED};
    int firsts[4];
    for (int batch = 0; batch < 4; batch++) {
        for (int i = 0; i < 4; i++) {
            publish(lanes[i], 20);
        }
        cr_assert_eq(gather(), 4);
        firsts[batch] = wire.sender.batch.parts[0].lane;
        take_all();
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < i; j++) {
            cr_assert_neq(firsts[i], firsts[j]);
        }
    }
}

WireTest(every_lane_keeps_its_order)
{
    use_shared_lane();
    struct rlt_random random = {1};
    static int lane_of[MESSAGES_MAX];
    static const int lanes[] = {0, 1, 2, SHARED};
    for (int i = 0; i < 20000; i++) {
        uint32_t number = wire.published;
        int lane = lanes[rlt_random_below(&random, 4)];
        if (try_publish(lane, 8 + (uint32_t)rlt_random_below(&random, 60))) {
            lane_of[number] = lane;
        }
        if (rlt_random_below(&random, 50) == 0 && gather() != 0) {
            while (take(1 + rlt_random_below(&random, batch_len())) != 0) {
            }
        }
    }
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.parsed, wire.stream.len);
    cr_assert_eq(wire.stream.message_count, wire.published);
    int64_t last[RLT_WIRE_LANES + 1];
    memset(last, -1, sizeof(last));
    for (uint32_t i = 0; i < wire.stream.message_count; i++) {
        uint32_t number = wire.stream.messages[i];
        cr_assert_gt((int64_t)number, last[lane_of[number]]);
        last[lane_of[number]] = number;
    }
}

/* ---- Partial sends and loss --------------------------------------------------------------- */

/*
 * Queue a batch of all kinds: control, a lane that wraps (two parts), a lane with one part, the
 * shared lane, a PING. Messages 0 and 1 are sent and confirmed; 2 to 9 are in the batch.
 */
#define SAMPLE_SETTLED 2
#define SAMPLE_TOTAL   10

static void queue_sample(struct rlt_fence_link *link)
{
    use_shared_lane();
    publish(0, LANE_CAPACITY / 2 - 100);
    publish(0, LANE_CAPACITY / 2 - 400);
    wire.sender.ping_due = true;
    drain();
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    assert_ledger(SAMPLE_SETTLED, 0, 0);
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.message_count, SAMPLE_SETTLED);
    wire.stream.message_count = 0;
    reconnect();

    put_control("SUB a 1\r\n");
    publish(0, 200);
    publish(0, 250); /* behind the end of the ring */
    publish(0, 10);
    publish(1, 9);
    publish(1, 40);
    publish(SHARED, 30);
    publish(SHARED, 8);
    publish(SHARED, 77);
    *link = (struct rlt_fence_link){NULL, NULL};
    rlt_ping_marks_add_fence(&wire.sender.pings, link);
    cr_assert_eq(gather(), 6);
}

/* Every message of the sample was read once, each lane's in order. */
static void check_sample(uint32_t from_first)
{
    static const uint32_t last_of_lane[] = {4, 6, 9};
    bool seen[SAMPLE_TOTAL] = {false};
    int64_t last[3] = {-1, -1, -1};
    cr_assert_eq(wire.stream.message_count, SAMPLE_TOTAL - SAMPLE_SETTLED);
    for (uint32_t i = 0; i < wire.stream.message_count; i++) {
        uint32_t number = wire.stream.messages[i];
        cr_assert(number >= SAMPLE_SETTLED && number < SAMPLE_TOTAL);
        cr_assert_not(seen[number], "message %u twice, cut in message %u", number, from_first);
        seen[number] = true;
        int lane = number <= last_of_lane[0] ? 0 : number <= last_of_lane[1] ? 1 : 2;
        cr_assert_gt((int64_t)number, last[lane]);
        last[lane] = number;
    }
}

WireTest(partial_sends_at_every_offset_send_every_byte_once)
{
    struct rlt_fence_link link;
    queue_sample(&link);
    size_t len = batch_len();
    uint8_t *whole = malloc(len);
    take_all();
    memcpy(whole, wire.stream.bytes, len);
    for (size_t cut = 1; cut < len; cut++) {
        close_wire();
        open_wire();
        queue_sample(&link);
        cr_assert_neq(take(cut), 0);
        take_all();
        cr_assert_eq(wire.stream.len, len);
        cr_assert_eq(memcmp(wire.stream.bytes, whole, len), 0, "cut %zu", cut);
        cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
        assert_ledger(SAMPLE_TOTAL, 0, 0);
    }
    free(whole);
}

/* Lose the connection after `cut` bytes of the sample, taken in two sends; then send the rest. */
static void lose_sample_at(size_t cut, size_t first)
{
    struct rlt_fence_link link;
    queue_sample(&link);
    if (first != 0) {
        (void)take(first);
    }
    if (cut != first) {
        (void)take(cut - first);
    }
    parse_stream(&wire.stream);
    uint32_t whole = wire.stream.message_count;
    put_control("SUB b 2\r\n");
    cr_assert_eq(lose(), &link);
    assert_ledger(SAMPLE_SETTLED, whole, 0);
    cr_assert_eq(queued(), SAMPLE_TOTAL - SAMPLE_SETTLED - whole);

    reconnect();
    wire.sender.ping_due = true;
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.parsed, wire.stream.len);
    /* The control lines of the lost connection are not for this one. */
    cr_assert_eq(wire.stream.controls, 0);
    check_sample(whole);
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    assert_ledger(SAMPLE_TOTAL - whole, whole, 0);
}

WireTest(loss_at_every_offset_sends_the_cut_frame_and_the_rest_again)
{
    struct rlt_fence_link link;
    queue_sample(&link);
    size_t len = batch_len();
    for (size_t cut = 0; cut <= len; cut++) {
        close_wire();
        open_wire();
        lose_sample_at(cut, cut / 2);
    }
}

WireTest(second_loss_at_every_offset_repeats_nothing)
{
    struct rlt_fence_link link;
    queue_sample(&link);
    size_t len = batch_len();
    for (size_t cut = 0; cut <= len; cut += 7) {
        for (size_t again = 0; again < len; again += 11) {
            close_wire();
            open_wire();
            queue_sample(&link);
            (void)take(cut);
            parse_stream(&wire.stream);
            (void)lose();
            reconnect();
            if (gather() != 0) {
                (void)take(again < batch_len() ? again : batch_len());
            }
            parse_stream(&wire.stream);
            uint32_t whole = wire.stream.message_count;
            (void)lose();
            assert_ledger(SAMPLE_SETTLED, whole, 0);
            reconnect();
            drain();
            parse_stream(&wire.stream);
            check_sample(whole);
        }
    }
}

WireTest(room_of_whole_frames_is_given_back_after_a_loss)
{
    publish(0, 20000);
    publish(0, 20000);
    publish(0, 20000);
    cr_assert_eq(gather(), 1);
    (void)take(2 * (20000 + 17) + 5);
    (void)lose();
    cr_assert_eq(queued(), 1);
    assert_ledger(0, 2, 0);
    publish(0, 20000);
    cr_assert_not(try_publish(0, 30000));
}

/* ---- PONGs -------------------------------------------------------------------------------- */

WireTest(pong_confirms_what_was_sent_before_its_ping)
{
    publish(0, 20);
    publish(1, 20);
    wire.sender.ping_due = true;
    drain();
    publish(0, 20);
    drain();
    assert_ledger(0, 0, 0);
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    assert_ledger(2, 0, 0);
    (void)lose();
    assert_ledger(2, 1, 0);
}

WireTest(pongs_answer_the_pings_in_order)
{
    for (int i = 0; i < 5; i++) {
        publish(0, 20);
        wire.sender.ping_due = true;
        drain();
    }
    for (uint64_t i = 1; i <= 5; i++) {
        (void)rlt_sender_on_pong(&wire.sender);
        assert_ledger(i, 0, 0);
    }
}

WireTest(pong_without_a_ping_confirms_nothing)
{
    publish(0, 20);
    drain();
    for (int i = 0; i < 40; i++) {
        cr_assert_null(rlt_sender_on_pong(&wire.sender));
    }
    assert_ledger(0, 0, 0);
    wire.sender.ping_due = true;
    drain();
    assert_ledger(0, 0, 0);
}

WireTest(pongs_of_a_lost_connection_are_forgotten)
{
    publish(0, 20);
    wire.sender.ping_due = true;
    drain();
    (void)lose();
    publish(0, 20);
    drain();
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    assert_ledger(0, 1, 0);
}

WireTest(pong_before_its_ping_was_taken_waits_for_the_send)
{
    struct rlt_fence_link link;
    queue_sample(&link);
    (void)take(batch_len() - 3);
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    assert_ledger(SAMPLE_SETTLED, 0, 0);
    cr_assert_null(rlt_sender_take_early_pong(&wire.sender));
    take_all();
    cr_assert_eq(rlt_sender_take_early_pong(&wire.sender), &link);
    assert_ledger(SAMPLE_TOTAL, 0, 0);
    cr_assert_null(rlt_sender_take_early_pong(&wire.sender));
}

WireTest(pong_for_a_ping_that_never_went_out_confirms_nothing)
{
    struct rlt_fence_link link;
    queue_sample(&link);
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    cr_assert_eq(lose(), &link);
    assert_ledger(SAMPLE_SETTLED, 0, 0);
    reconnect();
    drain();
    cr_assert_null(rlt_sender_take_early_pong(&wire.sender));
    assert_ledger(SAMPLE_SETTLED, 0, 0);
}

WireTest(pings_without_pong_are_bound)
{
    for (int i = 0; i < 100; i++) {
        wire.sender.ping_due = true;
        drain();
    }
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.pings, RLT_PING_MARKS_MAX);
    cr_assert_not(rlt_sender_has_work(&wire.sender, true));
}

/* Publish and send until `bytes` more of messages were taken; a batch takes 4 * 16 KiB. */
static void send_bytes(size_t bytes)
{
    for (size_t sent = 0; sent < bytes;) {
        for (int i = 0; i < 4; i++) {
            publish(0, 16384 - 17);
        }
        cr_assert_neq(gather(), 0);
        take_all();
        sent += 4 * 16384;
        parse_stream(&wire.stream);
        wire.stream.len = 0;
        wire.stream.parsed = 0;
    }
}

WireTest(ping_follows_so_many_bytes_and_confirms_them)
{
    send_bytes(RLT_SENDER_PING_BYTES - 65536);
    cr_assert_eq(wire.stream.pings, 0);
    send_bytes(65536);
    cr_assert_eq(wire.stream.pings, 1);
    uint32_t before = wire.published;
    send_bytes(65536);
    cr_assert_eq(wire.stream.pings, 1);
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    assert_ledger(before, 0, 0);
    (void)lose();
    assert_ledger(before, 4, 0);
}

WireTest(any_ping_confirms_so_the_bytes_count_from_it)
{
    send_bytes(RLT_SENDER_PING_BYTES - 65536);
    wire.sender.ping_due = true;
    send_bytes(65536);
    cr_assert_eq(wire.stream.pings, 1);
    send_bytes(RLT_SENDER_PING_BYTES - 65536);
    cr_assert_eq(wire.stream.pings, 1);
    send_bytes(65536);
    cr_assert_eq(wire.stream.pings, 2);
    /* Nor do those of a lost connection count on the next one. */
    send_bytes(RLT_SENDER_PING_BYTES - 65536);
    (void)lose();
    send_bytes(65536);
    cr_assert_eq(wire.stream.pings, 2);
}

WireTest(pings_for_bytes_are_few_and_leave_room_for_others)
{
    send_bytes(20 * RLT_SENDER_PING_BYTES);
    cr_assert_eq(wire.stream.pings, RLT_SENDER_PING_COUNT);
    wire.sender.ping_due = true;
    send_bytes(65536);
    cr_assert_eq(wire.stream.pings, RLT_SENDER_PING_COUNT + 1);
    /* One that was held back follows with the first batch behind a PONG that makes room. */
    send_bytes(RLT_SENDER_PING_BYTES);
    (void)rlt_sender_on_pong(&wire.sender);
    (void)rlt_sender_on_pong(&wire.sender);
    send_bytes(65536);
    cr_assert_eq(wire.stream.pings, RLT_SENDER_PING_COUNT + 2);
}

/* ---- SUBs --------------------------------------------------------------------------------- */

static bool write_sub(const char *topic, uint64_t sid)
{
    struct rlt_topic_key key = {topic, strlen(topic), 0};
    return rlt_sender_write_sub(&wire.sender, &key, sid);
}

static void require_stream(const char *text)
{
    cr_assert_eq(wire.stream.len, strlen(text));
    cr_assert_eq(memcmp(wire.stream.bytes, text, strlen(text)), 0, "%.*s", (int)wire.stream.len,
                 (const char *)wire.stream.bytes);
}

WireTest(subs_follow_each_other_and_no_ping_does)
{
    cr_assert(write_sub("a", 1));
    cr_assert(write_sub("b g", 2));
    put_control("PONG\r\n");
    cr_assert(write_sub("c", 3));
    drain();
    require_stream("SUB a 1\r\nSUB b g 2\r\nPONG\r\nSUB c 3\r\n");
    cr_assert_not(rlt_sender_has_work(&wire.sender, true));
}

WireTest(sub_behind_an_unsub_has_a_ping_before_it)
{
    cr_assert(write_sub("a", 1));
    put_control("UNSUB 1\r\n");
    rlt_sub_marks_close(&wire.sender.subs);
    cr_assert(write_sub("b", 2));
    cr_assert(write_sub("c", 3));
    drain();
    require_stream("SUB a 1\r\nUNSUB 1\r\nPING\r\nSUB b 2\r\nSUB c 3\r\n");
}

WireTest(ping_of_a_fence_is_one_between_two_subs)
{
    struct rlt_fence_link link = {NULL, NULL};
    cr_assert(write_sub("a", 1));
    rlt_sub_marks_close(&wire.sender.subs);
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    drain();
    cr_assert(write_sub("b", 2));
    drain();
    require_stream("SUB a 1\r\nPING\r\nSUB b 2\r\n");
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
}

WireTest(after_many_subs_comes_a_ping)
{
    for (uint64_t sid = 1; sid <= RLT_SUB_WINDOW_SUBS; sid++) {
        cr_assert(write_sub("a", sid));
    }
    cr_assert_eq(wire.sender.pings.written, 0);
    cr_assert(write_sub("a", RLT_SUB_WINDOW_SUBS + 1));
    cr_assert_eq(wire.sender.pings.written, 1);
}

WireTest(subs_without_pong_are_bound_and_go_on_with_one)
{
    uint64_t sid = 0;
    do {
        while (write_sub("a", sid + 1)) {
            sid++;
        }
        drain();
    } while (!rlt_sub_marks_is_full(&wire.sender.subs));
    cr_assert_eq(sid, RLT_SUB_MARKS_MAX);
    cr_assert_not(write_sub("a", sid + 1));
    (void)rlt_sender_on_pong(&wire.sender);
    cr_assert_not(rlt_sub_marks_confirm(&wire.sender.subs, 1));
    cr_assert(write_sub("a", sid + 1));
}

/* ---- Fences ------------------------------------------------------------------------------- */

WireTest(fence_rides_behind_all_that_was_accepted_before)
{
    struct rlt_fence_link link = {NULL, NULL};
    use_shared_lane();
    /* More than one batch takes. */
    for (int i = 0; i < 300; i++) {
        (void)try_publish(i % 3, 400);
        (void)try_publish(SHARED, 400);
    }
    uint32_t before = wire.published;
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    while (wire.stream.pings == 0) {
        cr_assert_neq(gather(), 0);
        take_all();
        parse_stream(&wire.stream);
        (void)try_publish(0, 20);
    }
    cr_assert_geq(wire.stream.message_count, before);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < wire.stream.message_count; i++) {
        seen += wire.stream.messages[i] < before ? 1 : 0;
    }
    cr_assert_eq(seen, before);
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
}

WireTest(fence_waits_for_a_lane_that_takes_several_batches)
{
    struct rlt_fence_link link = {NULL, NULL};
    wire.queue.lane_capacity = 4 * RLT_SENDER_LANE_BYTES;
    cr_assert_eq(rlt_wire_queue_acquire(&wire.queue), 3);
    while (try_publish(3, 30000)) {
    }
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    for (int batch = 0; batch < 3; batch++) {
        cr_assert_neq(gather(), 0);
        take_all();
    }
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.pings, 0);
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.pings, 1);
    cr_assert_eq(wire.stream.message_count, wire.published);
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
}

/* Bytes of the batch that are a lane's. */
static size_t in_batch_of(int lane)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < wire.sender.batch.count; i++) {
        bytes += wire.sender.batch.parts[i].lane == lane ? wire.sender.batch.spans[i].len : 0;
    }
    return bytes;
}

/* Acquire lanes 3 .. 2 + count, and fill them. Messages have no numbers that would run out. */
static void fill_lanes(int count)
{
    wire.queue.lane_capacity = 2 * RLT_SENDER_BATCH_BYTES;
    for (int lane = 3; lane < 3 + count; lane++) {
        cr_assert_eq(rlt_wire_queue_acquire(&wire.queue), lane);
        while (try_publish(lane, 30000)) {
        }
    }
}

/* A lane can be cut once in so many bytes. */
#define CUT ((size_t)100000)

WireTest(few_lanes_share_a_batch)
{
    static const size_t share = RLT_SENDER_BATCH_BYTES / 4; /* three others are open */
    fill_lanes(1);
    cr_assert_neq(gather(), 0);
    cr_assert_gt(in_batch_of(3), share - CUT);
    cr_assert_lt(in_batch_of(3), share + CUT);
}

/* The bytes that are taken from a lone lane of some capacity. */
static size_t taken_from_lone_lane(size_t capacity, uint32_t payload_max)
{
    struct rlt_wire_queue *queue = &wire.queue;
    rlt_wire_queue_fini(queue);
    rlt_wire_queue_init(queue, capacity);
    rlt_sender_set_payload_max(&wire.sender, payload_max);
    cr_assert_eq(rlt_wire_queue_acquire(queue), 0);
    while (try_publish(0, 30000)) {
    }
    cr_assert_neq(gather(), 0);
    return in_batch_of(0);
}

WireTest(lone_lane_has_the_whole_batch)
{
    size_t taken = taken_from_lone_lane(4 * RLT_SENDER_BATCH_BYTES, 0);
    cr_assert_gt(taken, RLT_SENDER_BATCH_BYTES - CUT);
    cr_assert_lt(taken, RLT_SENDER_BATCH_BYTES + CUT);
}

/* It would have no room before the last of it is sent. */
WireTest(small_lane_is_sent_in_small_pieces)
{
    cr_assert_lt(taken_from_lone_lane(RLT_SENDER_BATCH_BYTES, 0), RLT_SENDER_LANE_BYTES + CUT);
}

WireTest(pieces_are_within_the_largest_payload)
{
    size_t taken = taken_from_lone_lane(4 * RLT_SENDER_BATCH_BYTES, 400000);
    cr_assert_gt(taken, 400000 - CUT);
    cr_assert_lt(taken, 400000 + CUT);
    cr_assert_leq(wire.sender.batch.spans[0].len, 400000);
}

WireTest(many_lanes_take_turns)
{
    fill_lanes(6);
    for (int batch = 0; batch < 3; batch++) {
        uint32_t served = 0;
        cr_assert_neq(gather(), 0);
        for (int lane = 3; lane < 9; lane++) {
            served += in_batch_of(lane) != 0 ? 1 : 0;
            cr_assert_lt(in_batch_of(lane), RLT_SENDER_LANE_BYTES + CUT);
        }
        cr_assert_geq(served, 3);
        take_all();
    }
}

WireTest(fence_without_messages_is_one_ping)
{
    struct rlt_fence_link link = {NULL, NULL};
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    cr_assert(rlt_sender_has_work(&wire.sender, true));
    cr_assert_not(rlt_sender_has_work(&wire.sender, false));
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.pings, 1);
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
}

WireTest(keepalive_pong_does_not_pass_a_fence_behind_it)
{
    struct rlt_fence_link link = {NULL, NULL};
    wire.sender.ping_due = true;
    drain();
    publish(0, 20);
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    drain();
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
}

WireTest(fences_that_come_together_share_a_ping)
{
    struct rlt_fence_link links[3] = {{NULL, NULL}, {NULL, NULL}, {NULL, NULL}};
    for (int i = 0; i < 3; i++) {
        rlt_ping_marks_add_fence(&wire.sender.pings, &links[i]);
    }
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.pings, 1);
    struct rlt_fence_link *passed = rlt_sender_on_pong(&wire.sender);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(passed, &links[i]);
        passed = passed->next;
    }
    cr_assert_null(passed);
}

WireTest(fences_wait_while_enough_pings_are_out)
{
    struct rlt_fence_link links[RLT_PING_MARKS_MAX + 2];
    for (int i = 0; i < RLT_PING_MARKS_MAX + 2; i++) {
        links[i] = (struct rlt_fence_link){NULL, NULL};
        rlt_ping_marks_add_fence(&wire.sender.pings, &links[i]);
        drain();
    }
    cr_assert_not(rlt_sender_has_work(&wire.sender, true));
    for (int i = 0; i < RLT_PING_MARKS_MAX; i++) {
        cr_assert_eq(rlt_sender_on_pong(&wire.sender), &links[i]);
        cr_assert_null(links[i].next);
        drain();
    }
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &links[RLT_PING_MARKS_MAX]);
    drain();
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &links[RLT_PING_MARKS_MAX + 1]);
}

WireTest(fence_waits_for_a_claimed_frame_and_is_no_work_meanwhile)
{
    struct rlt_fence_link link = {NULL, NULL};
    struct rlt_shared_claim claim;
    use_shared_lane();
    struct rlt_pub pub = {.topic = "t.1", .topic_len = 3, .payload = "00000000", .payload_len = 8};
    size_t len = rlt_encode_pub_len(&pub);
    cr_assert(rlt_shared_lane_claim(&wire.queue.shared, len, &claim));
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    cr_assert_eq(gather(), 0);
    /* Its producer rings when it commits: the event thread may sleep. */
    cr_assert_not(rlt_sender_has_work(&wire.sender, true));
    (void)rlt_encode_pub(claim.bytes, &pub);
    rlt_shared_lane_commit(&wire.queue.shared, &claim, len);
    cr_assert(rlt_sender_has_work(&wire.sender, true));
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.message_count, 1);
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
}

WireTest(fences_that_had_begun_fail_with_the_connection)
{
    struct rlt_fence_link links[2] = {{NULL, NULL}, {NULL, NULL}};
    rlt_ping_marks_add_fence(&wire.sender.pings, &links[0]);
    drain();
    publish(0, 30);
    rlt_ping_marks_add_fence(&wire.sender.pings, &links[1]);
    (void)gather();
    struct rlt_fence_link *failed = lose();
    cr_assert_eq(failed, &links[0]);
    cr_assert_eq(failed->next, &links[1]);
    cr_assert_null(failed->next->next);
}

WireTest(fence_that_waits_while_nothing_is_in_doubt_passes_on_the_next_connection)
{
    struct rlt_fence_link link = {NULL, NULL};
    publish(0, 30);
    cr_assert_eq(gather(), 1);
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    (void)take(5);
    cr_assert_null(lose());
    reconnect();
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.message_count, 1);
    cr_assert_eq(rlt_sender_on_pong(&wire.sender), &link);
    assert_ledger(1, 0, 0);
}

WireTest(fence_that_waits_behind_a_message_in_doubt_fails)
{
    struct rlt_fence_link link = {NULL, NULL};
    publish(0, 30);
    cr_assert_eq(gather(), 1);
    rlt_ping_marks_add_fence(&wire.sender.pings, &link);
    take_all();
    cr_assert_eq(lose(), &link);
    cr_assert_null(link.next);
    assert_ledger(0, 1, 0);
    cr_assert_null(rlt_ping_marks_take_waiting(&wire.sender.pings));
}

WireTest(fences_that_wait_can_be_taken_back)
{
    struct rlt_fence_link links[2] = {{NULL, NULL}, {NULL, NULL}};
    rlt_ping_marks_add_fence(&wire.sender.pings, &links[0]);
    rlt_ping_marks_add_fence(&wire.sender.pings, &links[1]);
    struct rlt_fence_link *taken = rlt_ping_marks_take_waiting(&wire.sender.pings);
    cr_assert(taken == &links[0] && taken->next == &links[1] && links[1].next == NULL);
    rlt_ping_marks_add_fence(&wire.sender.pings, &links[0]);
    cr_assert_eq(rlt_ping_marks_take_waiting(&wire.sender.pings), &links[0]);
    cr_assert_null(links[0].next);
}

/* ---- A smaller max_payload ---------------------------------------------------------------- */

WireTest(queued_frames_above_a_lowered_max_payload_fail_and_the_others_go)
{
    static const uint32_t lens[] = {101, 100, 500, 101, 8, 100, 102};
    use_shared_lane();
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        publish(0, lens[i]);
        publish(SHARED, lens[i]);
    }
    rlt_sender_set_payload_max(&wire.sender, 100);
    wire.sender.ping_due = true;
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.parsed, wire.stream.len);
    static const uint32_t expected[] = {2, 3, 8, 9, 10, 11};
    cr_assert_eq(wire.stream.message_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t found = 0;
        for (uint32_t j = 0; j < 6; j++) {
            found += wire.stream.messages[j] == expected[i] ? 1 : 0;
        }
        cr_assert_eq(found, 1, "message %u", expected[i]);
    }
    while (rlt_sender_has_work(&wire.sender, true)) {
        drain();
    }
    (void)rlt_sender_on_pong(&wire.sender);
    wire.sender.ping_due = true;
    drain();
    (void)rlt_sender_on_pong(&wire.sender);
    assert_ledger(6, 0, 8);
}

/* A publisher may read the limit before an INFO and commit behind it. */
WireTest(frame_committed_behind_the_info_that_forbids_it_fails)
{
    rlt_sender_set_payload_max(&wire.sender, 100);
    publish(0, 8);
    publish(0, 101);
    publish(0, 9);
    wire.sender.ping_due = true;
    drain();
    (void)rlt_sender_on_pong(&wire.sender);
    while (rlt_sender_has_work(&wire.sender, true)) {
        drain();
    }
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.message_count, 2);
    cr_assert_eq(rlt_counter_get(&wire.metrics.failed), 1);
}

WireTest(batch_of_failed_frames_alone_has_no_bytes)
{
    publish(0, 101);
    rlt_sender_set_payload_max(&wire.sender, 100);
    cr_assert_eq(gather(), 1);
    cr_assert_eq(batch_len(), 0);
    cr_assert_eq(take(0), 0);
    assert_ledger(0, 0, 1);
    cr_assert_eq(queued(), 0);
}

WireTest(frame_that_was_given_up_and_not_counted_is_judged_again)
{
    publish(0, 100);
    publish(0, 200);
    publish(0, 100);
    rlt_sender_set_payload_max(&wire.sender, 150);
    cr_assert_eq(gather(), 2);
    (void)take(7);
    (void)lose();
    assert_ledger(0, 0, 0);
    rlt_sender_set_payload_max(&wire.sender, 0);
    reconnect();
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.message_count, 3);
}

/* ---- Producers that wait ------------------------------------------------------------------ */

WireTest(producers_that_wait_are_woken_when_a_quarter_is_free)
{
    while (try_publish(0, 1000)) {
    }
    rlt_lane_wait_begin(&wire.queue.lanes[0]);
    cr_assert_eq(gather(), 1);
    (void)take(2000);
    cr_assert_eq(wire.woken, 0);
    take_all();
    cr_assert_eq(wire.woken, 1);
    cr_assert_eq(atomic_load_explicit(&wire.queue.lanes[0].waiting, memory_order_relaxed), 0);
}

WireTest(failing_what_is_queued_counts_it_and_wakes_who_waits)
{
    use_shared_lane();
    while (try_publish(0, 1000)) {
    }
    publish(1, 20);
    while (try_publish(SHARED, 1000)) {
    }
    rlt_lane_wait_begin(&wire.queue.lanes[0]);
    rlt_shared_lane_wait_begin(&wire.queue.shared);
    rlt_sender_fail_queued(&wire.sender, on_wake, &wire);
    assert_ledger(0, 0, wire.published);
    cr_assert_eq(wire.woken, 2);
    publish(0, 1000);
    drain();
    parse_stream(&wire.stream);
    cr_assert_eq(wire.stream.message_count, 1);
}

WireTest(closing_wakes_all)
{
    rlt_lane_wait_begin(&wire.queue.lanes[2]);
    rlt_shared_lane_wait_begin(&wire.queue.shared);
    rlt_sender_wake_all(&wire.sender, on_wake, &wire);
    cr_assert_eq(wire.woken, RLT_WIRE_LANES + 1);
    cr_assert_eq(atomic_load_explicit(&wire.queue.lanes[2].waiting, memory_order_relaxed), 0);
    cr_assert_eq(atomic_load_explicit(&wire.queue.shared.waiting, memory_order_relaxed), 0);
}

WireTest(more_bytes_than_the_batch_has_is_a_bug, .signal = SIGABRT)
{
    publish(0, 20);
    (void)gather();
    (void)rlt_sender_on_sent(&wire.sender, batch_len() + 1, on_wake, &wire);
}

/* ---- At least once ------------------------------------------------------------------------ */

static void keep(void)
{
    rlt_sender_keep(&wire.sender, on_wake, &wire);
}

WireTest(kept_messages_are_sent_again_from_the_first_unconfirmed)
{
    keep();
    publish(0, 20);
    publish(1, 20);
    drain();
    cr_assert_null(rlt_sender_on_pong(&wire.sender));
    assert_ledger(2, 0, 0);
    publish(0, 20);
    publish(1, 20);
    drain();
    cr_assert_null(lose());
    reconnect();
    publish(0, 20);
    drain();
    parse_stream(&wire.stream);
    const uint32_t *numbers = wire.stream.messages;
    cr_assert_eq(wire.stream.message_count, 3);
    cr_assert_eq(numbers[0] + numbers[1] + numbers[2], 2 + 3 + 4);
    cr_assert(numbers[0] != 4 && numbers[2] != 2, "2 and 4 are of one lane");
    cr_assert_eq(wire.stream.pings, 1);
    (void)rlt_sender_on_pong(&wire.sender);
    assert_ledger(5, 0, 0);
}

WireTest(kept_frame_that_became_too_large_for_its_replay_is_in_doubt)
{
    keep();
    publish(0, 20);
    publish(0, 200);
    publish(0, 20);
    drain();
    cr_assert_null(lose());
    rlt_sender_set_payload_max(&wire.sender, 100);
    publish(0, 200);
    drain();
    (void)rlt_sender_on_pong(&wire.sender);
    drain();
    (void)rlt_sender_on_pong(&wire.sender);
    drain();
    assert_ledger(2, 1, 1);
}

WireTest(many_kept_frames_that_are_too_large_are_given_up_without_a_pong)
{
    keep();
    for (int i = 0; i < 5; i++) {
        publish(0, 200);
    }
    rlt_sender_set_payload_max(&wire.sender, 100);
    while (rlt_sender_has_work(&wire.sender, true)) {
        cr_assert_neq(gather(), 0);
        take_all();
    }
    assert_ledger(0, 0, 5);
}

WireTest(failing_what_was_sent_before_puts_it_in_doubt)
{
    keep();
    publish(0, 20);
    drain();
    cr_assert_null(lose());
    publish(0, 20);
    rlt_sender_fail_queued(&wire.sender, on_wake, &wire);
    assert_ledger(0, 1, 1);
    publish(0, 20);
    rlt_sender_fail_queued(&wire.sender, on_wake, &wire);
    assert_ledger(0, 1, 2);
}

/* Two connections share the lanes during a handover. */
WireTest(only_the_owner_of_the_lanes_moves_their_marks)
{
    keep();
    struct rlt_sender second;
    cr_assert_eq(rlt_sender_init(&second, &wire.queue, &wire.metrics), 0);
    rlt_sender_keep(&second, on_wake, &wire);
    second.role = RLT_ROLE_SECOND;
    publish(0, 20);
    publish(0, 20);
    drain();
    /* The PONG of the second one says nothing about what the first one sent. */
    second.ping_due = true;
    cr_assert_eq(rlt_sender_gather(&second, true), 1);
    cr_assert_eq(rlt_sender_on_sent(&second, second.batch.spans[0].len, on_wake, &wire), 0);
    (void)rlt_sender_on_pong(&second);
    cr_assert_eq(rlt_wire_queue_bytes(&wire.queue), 2 * 34);
    /* Nor later, when it is the owner. */
    second.ping_due = true;
    cr_assert_eq(rlt_sender_gather(&second, true), 1);
    cr_assert_eq(rlt_sender_on_sent(&second, second.batch.spans[0].len, on_wake, &wire), 0);
    (void)lose();
    rlt_sender_adopt_lanes(&second, &wire.sender);
    (void)rlt_sender_on_pong(&second);
    cr_assert_eq(rlt_wire_queue_bytes(&wire.queue), 2 * 34);
    cr_assert_eq(rlt_sender_gather(&second, true), 2);
    /* The end of the first one changes nothing. */
    (void)rlt_sender_on_lost(&wire.sender, on_wake, &wire);
    cr_assert_eq(wire.queue.lanes[0].cursor.count, 2);
    cr_assert_eq(rlt_sender_on_sent(&second, 2 * 34 + 6, on_wake, &wire), 0);
    (void)rlt_sender_on_pong(&second);
    assert_ledger(2, 0, 0);
    rlt_sender_fini(&second);
}
