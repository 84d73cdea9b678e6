/* SPDX-License-Identifier: MIT */
#include "harness/round_trip.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

#include "harness/latency.h"
#include "harness/stop.h"
#include "harness/window.h"

/* What is published, and by whom: a pacing thread, or the thread that receives. */
struct source {
    const struct peer *peer;
    void *client;
    void *payload;
    uint32_t pace;
    uint32_t topics;
    uint32_t next_topic;
    uint64_t left;
    struct latency latency;
};

static void publish_one(struct source *source)
{
    latency_stamp(source->payload);
    uint32_t topic = source->next_topic;
    source->next_topic = topic + 1 == source->topics ? 0 : topic + 1;
    source->peer->publish(source->client, topic, 1);
}

/* ---- Closed loop -------------------------------------------------------------------------- */

/* On the thread that receives. Its turns and the first publish are ordered by the message. */
static void note_and_publish(void *context, const void *payload)
{
    struct source *source = context;
    latency_note(&source->latency, payload);
    if (source->left != 0) {
        source->left--;
        publish_one(source);
    }
}

/* ---- Paced -------------------------------------------------------------------------------- */

static void note(void *context, const void *payload)
{
    struct source *source = context;
    latency_note(&source->latency, payload);
}

static void *pace(void *data)
{
    struct source *source = data;
    struct timespec next;
    long interval_ns = 1000000000L / (long)source->pace;
    /* By default a sleep may be 50 us too long. */
    (void)prctl(PR_SET_TIMERSLACK, 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &next);
    while (source->left-- != 0) {
        next.tv_nsec += interval_ns;
        if (next.tv_nsec >= 1000000000L) {
            next.tv_nsec -= 1000000000L;
            next.tv_sec++;
        }
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        publish_one(source);
    }
    return NULL;
}

/* ---- Any ---------------------------------------------------------------------------------- */

void round_trip(const struct peer *peer, void *client, const struct workload *workload,
                uint64_t messages, void *payload, struct peer_tally *tally, struct sample *sample)
{
    uint64_t warm_up = window_warm_up(messages);
    struct source source = {
        .peer = peer,
        .client = client,
        .payload = payload,
        .pace = workload->pace,
        .topics = workload->topics,
        .left = warm_up + messages,
    };
    pthread_t pacer;
    latency_init(&source.latency, warm_up, messages);
    tally->on_payload = source.pace != 0 ? note : note_and_publish;
    tally->context = &source;
    peer->subscribe(client, tally);
    peer->flush(client);
    if (source.pace == 0) {
        source.left--;
        publish_one(&source);
    } else if (pthread_create(&pacer, NULL, pace, &source) != 0) {
        stop("no thread");
    }
    window_of_arrival(peer, client, tally, messages, 1, sample);
    if (source.pace != 0) {
        (void)pthread_join(pacer, NULL);
    }
    latency_fill(&source.latency, sample);
    latency_fini(&source.latency);
}
