/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "stop.h"

#define THREADS_MAX 64
/* WORKLOAD_THROUGH: messages on their way at most, so that no queue between overflows, and
 * messages published between two looks at how many there are. */
#define WINDOW 8192
#define BURST  1024

/* ---- Clock and CPU ------------------------------------------------------------------------ */

/* A moment, as the process has seen it so far. */
struct moment {
    double seconds;
    double cpu_seconds;
    uint64_t switches;
};

static double of_timeval(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static struct moment look(void)
{
    struct timespec now;
    struct rusage usage;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)getrusage(RUSAGE_SELF, &usage);
    return (struct moment){
        .seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9,
        .cpu_seconds = of_timeval(usage.ru_utime) + of_timeval(usage.ru_stime),
        .switches = (uint64_t)usage.ru_nvcsw + (uint64_t)usage.ru_nivcsw,
    };
}

static void fill(struct sample *sample, struct moment start, struct moment end)
{
    sample->seconds = end.seconds - start.seconds;
    sample->cpu_seconds = end.cpu_seconds - start.cpu_seconds;
    sample->switches = end.switches - start.switches;
}

/* ---- Publish ------------------------------------------------------------------------------ */

/* The publishing threads, and the barrier at which they and the measuring thread meet. */
struct crew {
    const struct peer *peer;
    void *client;
    uint32_t threads;
    uint64_t warm_up; /* messages of each thread */
    uint64_t messages;
    pthread_barrier_t barrier;
    pthread_t ids[THREADS_MAX];
};

static void *publish_thread(void *data)
{
    struct crew *crew = data;
    crew->peer->publish(crew->client, crew->warm_up);
    (void)pthread_barrier_wait(&crew->barrier); /* warm */
    (void)pthread_barrier_wait(&crew->barrier); /* go */
    crew->peer->publish(crew->client, crew->messages);
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

static void measure_publish(const struct peer *peer, void *client, uint32_t threads,
                            uint64_t messages, struct sample *sample)
{
    threads = threads < peer->threads_max ? threads : peer->threads_max;
    struct crew crew = {
        .peer = peer,
        .client = client,
        .threads = threads < THREADS_MAX ? threads : THREADS_MAX,
    };
    crew.warm_up = measure_warm_up(messages) / crew.threads;
    crew.messages = messages / crew.threads;
    start_crew(&crew);
    (void)pthread_barrier_wait(&crew.barrier); /* warm */
    peer->flush(client);
    struct moment start = look();
    (void)pthread_barrier_wait(&crew.barrier); /* go */
    (void)pthread_barrier_wait(&crew.barrier); /* done */
    peer->flush(client);
    fill(sample, start, look());
    sample->messages = crew.messages * crew.threads;
    sample->published_in_all = (crew.warm_up + crew.messages) * crew.threads;
    for (uint32_t i = 0; i < crew.threads; i++) {
        (void)pthread_join(crew.ids[i], NULL);
    }
    (void)pthread_barrier_destroy(&crew.barrier);
}

/* ---- Receive ------------------------------------------------------------------------------ */

/* From when the warm-up has arrived until all has. */
static void measure_arrival(const struct peer *peer, void *client, struct peer_tally *tally,
                            uint64_t messages, struct sample *sample)
{
    uint64_t warm_up = measure_warm_up(messages);
    peer->await(client, warm_up);
    struct moment start = look();
    uint64_t received = atomic_load_explicit(&tally->received, memory_order_relaxed);
    uint64_t dropped = atomic_load_explicit(&tally->dropped, memory_order_relaxed);
    peer->await(client, warm_up + messages);
    fill(sample, start, look());
    sample->messages = atomic_load_explicit(&tally->received, memory_order_relaxed) - received;
    sample->dropped = atomic_load_explicit(&tally->dropped, memory_order_relaxed) - dropped;
}

static void measure_deliver(const struct peer *peer, void *client, struct peer_tally *tally,
                            uint64_t messages, struct sample *sample)
{
    peer->subscribe(client, tally);
    measure_arrival(peer, client, tally, messages, sample);
}

/* ---- Through ------------------------------------------------------------------------------ */

struct feeder {
    const struct peer *peer;
    void *client;
    const struct peer_tally *tally;
    uint64_t messages;
};

static void *feed(void *data)
{
    const struct feeder *feeder = data;
    for (uint64_t sent = 0; sent < feeder->messages; sent += BURST) {
        while (sent + BURST > peer_tally_total(feeder->tally) + WINDOW) {
            (void)usleep(20);
        }
        feeder->peer->publish(feeder->client, BURST);
    }
    return NULL;
}

static void measure_through(const struct peer *peer, void *client, struct peer_tally *tally,
                            uint64_t messages, struct sample *sample)
{
    struct feeder feeder = {peer, client, tally, measure_warm_up(messages) + messages};
    pthread_t thread;
    peer->subscribe(client, tally);
    peer->flush(client);
    if (pthread_create(&thread, NULL, feed, &feeder) != 0) {
        stop("no thread");
    }
    measure_arrival(peer, client, tally, messages, sample);
    (void)pthread_join(thread, NULL);
}

/* ---- Any ---------------------------------------------------------------------------------- */

uint64_t measure_warm_up(uint64_t messages)
{
    return messages / 10 + 1;
}

void measure(const struct peer *peer, const struct workload *workload, uint16_t port,
             uint64_t messages, struct sample *sample)
{
    static struct peer_tally tally;
    memset(sample, 0, sizeof(*sample));
    char *payload = malloc(workload->payload_len);
    if (payload == NULL) {
        stop("no memory");
    }
    memset(payload, 'x', workload->payload_len);
    struct peer_options options = {port, workload->payload_len, payload};
    void *client = peer->open(&options);
    switch (workload->kind) {
    case WORKLOAD_PUBLISH:
        measure_publish(peer, client, workload->threads, messages, sample);
        break;
    case WORKLOAD_DELIVER:
        measure_deliver(peer, client, &tally, messages, sample);
        break;
    case WORKLOAD_THROUGH:
        measure_through(peer, client, &tally, messages, sample);
        break;
    }
    peer->close(client);
    free(payload);
}
