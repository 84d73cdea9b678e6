/* SPDX-License-Identifier: MIT */
#include "harness/measure.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/round_trip.h"
#include "harness/stop.h"
#include "harness/window.h"

#define THREADS_MAX 64
/* Through a server: deliveries on their way at most, so that no queue between overflows, and the
 * part of them that is published between two looks at how many there are. */
#define WINDOW_DELIVERIES 8192
#define WINDOW_BURSTS     8

/* ---- Publish ------------------------------------------------------------------------------ */

/* The publishing threads, and the barrier at which they and the measuring thread meet. */
struct crew {
    const struct peer *peer;
    void *client;
    uint32_t threads;
    uint32_t topics;
    uint64_t warm_up; /* messages of each thread */
    uint64_t messages;
    _Atomic(uint32_t) started;
    pthread_barrier_t barrier;
    pthread_t ids[THREADS_MAX];
};

static void *publish_thread(void *data)
{
    struct crew *crew = data;
    /* Relaxed: only a number of its own for each. The threads begin at different topics. */
    uint32_t index = atomic_fetch_add_explicit(&crew->started, 1, memory_order_relaxed);
    uint32_t first = (uint32_t)((uint64_t)index * crew->topics / crew->threads);
    crew->peer->publish(crew->client, first, crew->warm_up);
    (void)pthread_barrier_wait(&crew->barrier); /* warm */
    (void)pthread_barrier_wait(&crew->barrier); /* go */
    crew->peer->publish(crew->client, first, crew->messages);
    (void)pthread_barrier_wait(&crew->barrier); /* done */
    return NULL;
}

static void start_crew(struct crew *crew)
{
    (void)pthread_barrier_init(&crew->barrier, NULL, crew->threads + 1);
    for (uint32_t i = 0; i < crew->threads; i++) {
        if (pthread_create(&crew->ids[i], NULL, publish_thread, crew) != 0) {
            stop("no thread");
        }
    }
}

static void measure_publish(const struct peer *peer, void *client, const struct workload *workload,
                            uint64_t messages, struct sample *sample)
{
    struct window window;
    struct crew crew = {
        .peer = peer,
        .client = client,
        .threads = workload->threads < THREADS_MAX ? workload->threads : THREADS_MAX,
        .topics = workload->topics,
    };
    crew.warm_up = window_warm_up(messages) / crew.threads;
    crew.messages = messages / crew.threads;
    start_crew(&crew);
    (void)pthread_barrier_wait(&crew.barrier); /* warm */
    peer->flush(client);
    uint64_t sends = peer->sends != NULL ? peer->sends(client) : 0;
    window_open(&window);
    (void)pthread_barrier_wait(&crew.barrier); /* go */
    (void)pthread_barrier_wait(&crew.barrier); /* done */
    peer->flush(client);
    window_close(&window, sample);
    sample->sends = peer->sends != NULL ? peer->sends(client) - sends : 0;
    sample->messages = crew.messages * crew.threads;
    sample->published_in_all = (crew.warm_up + crew.messages) * crew.threads;
    for (uint32_t i = 0; i < crew.threads; i++) {
        (void)pthread_join(crew.ids[i], NULL);
    }
    (void)pthread_barrier_destroy(&crew.barrier);
}

/* ---- Through a server --------------------------------------------------------------------- */

struct feeder {
    const struct peer *peer;
    void *client;
    const struct peer_tally *tally;
    uint64_t messages;
    uint32_t subscribers;
};

static void *feed(void *data)
{
    const struct feeder *feeder = data;
    uint64_t window = WINDOW_DELIVERIES / feeder->subscribers;
    window = window > WINDOW_BURSTS ? window : WINDOW_BURSTS;
    uint64_t burst = window / WINDOW_BURSTS;
    for (uint64_t sent = 0; sent < feeder->messages; sent += burst) {
        uint64_t left = feeder->messages - sent;
        burst = burst < left ? burst : left;
        while (sent + burst > peer_tally_total(feeder->tally) / feeder->subscribers + window) {
            (void)usleep(20);
        }
        feeder->peer->publish(feeder->client, 0, burst);
    }
    return NULL;
}

static void measure_through(const struct peer *peer, void *client, struct peer_tally *tally,
                            uint64_t messages, uint32_t subscribers, struct sample *sample)
{
    uint64_t all = window_warm_up(messages) + messages;
    struct feeder feeder = {peer, client, tally, all, subscribers};
    pthread_t thread;
    peer->subscribe(client, tally);
    peer->flush(client);
    if (pthread_create(&thread, NULL, feed, &feeder) != 0) {
        stop("no thread");
    }
    window_of_arrival(peer, client, tally, messages, subscribers, sample);
    (void)pthread_join(thread, NULL);
    if (peer->copies != NULL) {
        sample->copies = (double)peer->copies(client) / (double)all;
    }
}

/* ---- Any ---------------------------------------------------------------------------------- */

void measure(const struct peer *peer, const struct workload *workload, const uint16_t *ports,
             uint64_t messages, struct sample *sample)
{
    static struct peer_tally tally;
    memset(sample, 0, sizeof(*sample));
    char *payload = malloc(workload->payload_len);
    if (payload == NULL) {
        stop("no memory");
    }
    memset(payload, 'x', workload->payload_len);
    struct peer_options options = {
        .ports = ports,
        .clusters = workload->clusters,
        .tls = workload->tls,
        .topics = workload->topics,
        .held = workload->subscriptions > workload->topics
                    ? workload->subscriptions - workload->topics
                    : 0,
        .subscribers = workload->subscribers,
        .payload_len = workload->payload_len,
        .payload = payload,
        .prompt = workload->kind == WORKLOAD_LATENCY,
    };
    void *client = peer->open(&options);
    switch (workload->kind) {
    case WORKLOAD_PUBLISH:
        measure_publish(peer, client, workload, messages, sample);
        break;
    case WORKLOAD_DELIVER:
        peer->subscribe(client, &tally);
        window_of_arrival(peer, client, &tally, messages, 1, sample);
        break;
    case WORKLOAD_THROUGH:
    case WORKLOAD_FAN_OUT:
        measure_through(peer, client, &tally, messages, workload->subscribers, sample);
        break;
    case WORKLOAD_LATENCY:
        round_trip(peer, client, workload, messages, payload, &tally, sample);
        break;
    }
    peer->close(client);
    free(payload);
}
