/* SPDX-License-Identifier: MIT */
#include "api/publish.h"

#include <string.h>

#include "api/producer.h"
#include "api/reason.h"
#include "base/error.h"
#include "io/system/clock.h"
#include "io/wake/park.h"
#include "lockfree/wire_queue.h"
#include "proto/topic.h"
#include "proto/topic_fault.h"

/* The calling thread's rate of publishing. Initial-exec: as the producers of producer.c. */
static _Thread_local struct rlt_pace pace __attribute__((tls_model("initial-exec")));

/* ---- What the data path says ---------------------------------------------------------------- */

/* Constants: a loop may fail with them a million times a second. */

static int say_late(void)
{
    return rlt_error_set_text(ROULETTE_ETIMEDOUT,
                              "the queue was full until the deadline: wait longer, publish less, "
                              "or raise options.queue_bytes");
}

/* Set the text of a first publish on a path that found no lane. */
static int say_no_lane(int error)
{
    return error == ROULETTE_EAGAIN
               ? rlt_error_set_text(error, "another thread is just making the lane that this "
                                           "thread shares: publish again")
               : rlt_error_set_plain(error);
}

/* ---- Into the queue ----------------------------------------------------------------------- */

static struct rlt_wire_queue *queue_of(roulette_client *client, struct rlt_place place)
{
    return rlt_shard_queue(&client->shards[place.cluster], place.path);
}

/* Check that the queue accepts a message of this size now. */
static int check_queue(roulette_client *client, struct rlt_place place, const struct rlt_pub *pub,
                       size_t frame_len)
{
    const struct rlt_wire_queue *queue = queue_of(client, place);
    /* Relaxed, all three: a message that slips through is checked again or counted. */
    if (rlt_unlikely(atomic_load_explicit(&client->state, memory_order_relaxed) !=
                     RLT_CLIENT_OPEN)) {
        return rlt_error_set_plain(rlt_client_gone(client));
    }
    if (rlt_unlikely(client->config.role == ROULETTE_ROLE_SUBSCRIBER)) {
        return rlt_error_set(ROULETTE_EROLE, "options.role is subscriber: this client publishes "
                                             "nothing");
    }
    uint32_t state = atomic_load_explicit(&queue->state, memory_order_relaxed);
    if (rlt_unlikely(state != RLT_WIRE_OPEN)) {
        return state == RLT_WIRE_CLOSED ? rlt_error_set_plain(ROULETTE_ECLOSED)
                                        : rlt_reason_unreachable(client, place.cluster);
    }
    uint32_t payload_max = atomic_load_explicit(&queue->payload_max, memory_order_relaxed);
    if (rlt_unlikely(payload_max != 0 && pub->payload_len > payload_max)) {
        return rlt_error_set(ROULETTE_EPAYLOAD,
                             "the payload has %u bytes, the server takes %u: split it",
                             pub->payload_len, payload_max);
    }
    if (rlt_unlikely(frame_len > queue->lane_capacity / 2)) {
        return rlt_error_set(
            ROULETTE_EPAYLOAD,
            "the message needs %zu bytes, the queue takes %zu: raise options.queue_bytes",
            frame_len, queue->lane_capacity / 2);
    }
    return 0;
}

/* Write the message if there is room. */
static bool try_put(struct rlt_wire_queue *queue, int lane, const struct rlt_pub *pub,
                    size_t frame_len)
{
    if (rlt_likely(lane < RLT_WIRE_LANES)) {
        struct rlt_lane *own = &queue->lanes[lane];
        uint8_t *out = rlt_lane_claim(own, frame_len);
        if (rlt_unlikely(out == NULL)) {
            return false;
        }
        (void)rlt_encode_pub(out, pub);
        rlt_lane_commit(own, frame_len);
        return true;
    }
    struct rlt_shared_claim claim;
    if (!rlt_shared_lane_claim(&queue->shared, frame_len, &claim)) {
        return false;
    }
    (void)rlt_encode_pub(claim.bytes, pub);
    rlt_shared_lane_commit(&queue->shared, &claim, frame_len);
    return true;
}

/* Announce that this thread sleeps until there is room. Returns: the word to sleep on. */
static _Atomic(uint32_t) *await_room(struct rlt_wire_queue *queue, int lane)
{
    if (lane < RLT_WIRE_LANES) {
        rlt_lane_wait_begin(&queue->lanes[lane]);
        return &queue->lanes[lane].waiting;
    }
    rlt_shared_lane_wait_begin(&queue->shared);
    return &queue->shared.waiting;
}

/* Wait for room in a full queue, and put the message. */
static int put_waiting(roulette_client *client, struct rlt_place place, int lane,
                       const struct rlt_pub *pub, size_t frame_len, int timeout_ms)
{
    struct rlt_wire_queue *queue = queue_of(client, place);
    uint64_t deadline_ns = rlt_clock_deadline(timeout_ms);
    for (;;) {
        _Atomic(uint32_t) *word = await_room(queue, lane);
        int result = check_queue(client, place, pub, frame_len);
        if (result < 0) {
            return result;
        }
        if (try_put(queue, lane, pub, frame_len)) {
            return 0;
        }
        if (!rlt_park_wait(word, 1, deadline_ns)) {
            return try_put(queue, lane, pub, frame_len) ? 0 : say_late();
        }
    }
}

/* Take this thread's lane; if another thread is making it, wait as for room. */
static int take_lane(roulette_client *client, struct rlt_wire_queue *queue, struct rlt_place place,
                     int timeout_ms)
{
    int lane = rlt_producer_lane(client, place);
    if (rlt_likely(lane != ROULETTE_EAGAIN) || timeout_ms == 0) {
        return lane;
    }
    uint64_t deadline_ns = rlt_clock_deadline(timeout_ms);
    while (lane == ROULETTE_EAGAIN) {
        if (!rlt_park_wait(&queue->shared.ready, 1, deadline_ns)) {
            return ROULETTE_ETIMEDOUT;
        }
        lane = rlt_producer_lane(client, place);
    }
    return lane;
}

int rlt_publish(roulette_client *client, struct rlt_place place, const struct rlt_pub *pub,
                int timeout_ms)
{
    struct rlt_shard *shard = &client->shards[place.cluster];
    struct rlt_wire_queue *queue = queue_of(client, place);
    size_t frame_len = rlt_encode_pub_len(pub);
    int result = check_queue(client, place, pub, frame_len);
    if (rlt_unlikely(result < 0)) {
        return result;
    }
    int lane = take_lane(client, queue, place, timeout_ms);
    if (rlt_unlikely(lane < 0)) {
        return lane == ROULETTE_ETIMEDOUT ? say_late() : say_no_lane(lane);
    }
    if (rlt_unlikely(!try_put(queue, lane, pub, frame_len))) {
        if (timeout_ms == 0) {
            return rlt_error_set_plain(ROULETTE_EAGAIN);
        }
        result = put_waiting(client, place, lane, pub, frame_len, timeout_ms);
    }
    rlt_shard_notify(shard, place.path, &pace);
    return result;
}

/* ---- The public calls --------------------------------------------------------------------- */

/* Check a topic or reply, and fill in its length. */
static int check_topic(const char *what, const char *topic, size_t *len)
{
    if (rlt_unlikely(topic == NULL)) {
        return rlt_error_set(ROULETTE_EINVAL, "the %s is NULL", what);
    }
    *len = rlt_text_len(topic, *len);
    const char *reason = NULL;
    int result = rlt_topic_check(topic, *len, &reason);
    if (rlt_unlikely(result < 0)) {
        return rlt_topic_refuse(result, what, "cannot be published to", topic, *len, reason);
    }
    return 0;
}

static int check_payload(const void *payload, size_t payload_len)
{
    if (rlt_unlikely(payload == NULL && payload_len != 0)) {
        return rlt_error_set(ROULETTE_EINVAL, "the payload is NULL and its length is %zu",
                             payload_len);
    }
    if (rlt_unlikely(payload_len > RLT_SIZE_MAX)) {
        return rlt_error_set(ROULETTE_EPAYLOAD, "the payload has %zu bytes, NATS takes %u",
                             payload_len, RLT_SIZE_MAX);
    }
    return 0;
}

int roulette_publish_wait(roulette_client *client, const char *topic, size_t topic_len,
                          const void *payload, size_t payload_len, int timeout_ms)
{
    if (rlt_unlikely(client == NULL)) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    int result = check_topic("topic", topic, &topic_len);
    if (rlt_likely(result == 0)) {
        result = check_payload(payload, payload_len);
    }
    if (rlt_unlikely(result < 0)) {
        return result;
    }
    struct rlt_pub pub = {
        .topic = topic,
        .topic_len = topic_len,
        .payload = payload,
        .payload_len = (uint32_t)payload_len,
    };
    uint64_t hash = rlt_ring_hash(topic, topic_len);
    return rlt_publish(client, rlt_client_place(client, topic, topic_len, hash), &pub, timeout_ms);
}

int roulette_publish(roulette_client *client, const char *topic, size_t topic_len,
                     const void *payload, size_t payload_len)
{
    return roulette_publish_wait(client, topic, topic_len, payload, payload_len, 0);
}

int roulette_publish_reply(roulette_client *client, const char *topic, size_t topic_len,
                           const char *reply, size_t reply_len, const void *payload,
                           size_t payload_len, int timeout_ms)
{
    if (client == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    int result = check_topic("topic", topic, &topic_len);
    if (result == 0) {
        result = check_topic("reply", reply, &reply_len);
    }
    if (result == 0) {
        result = check_payload(payload, payload_len);
    }
    if (result < 0) {
        return result;
    }
    struct rlt_pub pub = {
        .topic = topic,
        .topic_len = topic_len,
        .reply = reply,
        .reply_len = reply_len,
        .payload = payload,
        .payload_len = (uint32_t)payload_len,
    };
    uint64_t hash = rlt_ring_hash(topic, topic_len);
    return rlt_publish(client, rlt_client_place(client, topic, topic_len, hash), &pub, timeout_ms);
}
