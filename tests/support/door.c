/* SPDX-License-Identifier: MIT */
#include "support/door.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/condition.h"
#include "support/net.h"

#define PAIRS_MAX 64

/* A client's connection and ours to the server. */
struct pair {
    int ends[2];
    uint64_t until_ms;
};

struct door {
    int listener;
    uint16_t port;
    uint16_t target;
    unsigned most_ms;
    unsigned seed; /* any will do: what it decides is when, and time is not repeated either */
    pthread_t thread;
    atomic_bool stop;
    size_t count;
    struct pair pairs[PAIRS_MAX];
};

static void cut(struct door *door, size_t index)
{
    (void)close(door->pairs[index].ends[0]);
    (void)close(door->pairs[index].ends[1]);
    door->pairs[index] = door->pairs[--door->count];
}

static void let_in(struct door *door)
{
    int client = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = client >= 0 ? net_connect(door->target) : -1;
    if (server < 0) {
        (void)close(client);
        return;
    }
    unsigned lives_ms = 1 + (unsigned)rand_r(&door->seed) % door->most_ms;
    door->pairs[door->count++] = (struct pair){{client, server}, net_now_ms() + lives_ms};
}

/* Pass on what there is. False if that is over. */
static bool pass(int from, int to)
{
    char bytes[16384];
    ssize_t len = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);
    return len > 0 && send(to, bytes, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}

static void serve(struct door *door)
{
    struct pollfd polled[1 + 2 * PAIRS_MAX];
    size_t count = door->count;
    polled[0] = (struct pollfd){.fd = count < PAIRS_MAX ? door->listener : -1, .events = POLLIN};
    for (size_t i = 0; i < 2 * count; i++) {
        polled[1 + i] = (struct pollfd){.fd = door->pairs[i / 2].ends[i % 2], .events = POLLIN};
    }
    (void)poll(polled, (nfds_t)(1 + 2 * count), 1);
    uint64_t now_ms = net_now_ms();
    for (size_t i = count; i-- > 0;) {
        const struct pair *pair = &door->pairs[i];
        const struct pollfd *ends = &polled[1 + 2 * i];
        bool goes_on = (ends[0].revents == 0 || pass(pair->ends[0], pair->ends[1])) &&
                       (ends[1].revents == 0 || pass(pair->ends[1], pair->ends[0]));
        if (!goes_on || now_ms >= pair->until_ms) {
            cut(door, i);
        }
    }
    if (polled[0].revents != 0) {
        let_in(door);
    }
}

static void *run(void *argument)
{
    struct door *door = argument;
    while (!atomic_load(&door->stop)) {
        serve(door);
    }
    while (door->count != 0) {
        cut(door, 0);
    }
    return NULL;
}

struct door *door_open(uint16_t target, unsigned most_ms)
{
    struct door *door = calloc(1, sizeof(*door));
    REQUIRE(door != NULL);
    door->target = target;
    door->most_ms = most_ms;
    door->seed = 1;
    door->listener = net_listen(&door->port);
    REQUIRE(door->listener >= 0);
    REQUIRE(pthread_create(&door->thread, NULL, run, door) == 0);
    return door;
}

void door_close(struct door *door)
{
    if (door != NULL) {
        atomic_store(&door->stop, true);
        (void)pthread_join(door->thread, NULL);
        (void)close(door->listener);
        free(door);
    }
}

uint16_t door_port(const struct door *door)
{
    return door->port;
}
