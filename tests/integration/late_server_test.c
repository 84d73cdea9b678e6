/* SPDX-License-Identifier: MIT */
/**
 * A cluster of two scripted servers, of which the old one gets each message late, and becomes a
 * lame duck: messages come once, and in order. A publisher in the cluster numbers its messages; the
 * new server gets each at once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"

#define INFO \
    "INFO {\"server_id\":\"x\",\"version\":\"2.9.0\",\"headers\":true,\"max_payload\":1048576"

enum { OLD, NEW, SERVERS, IN_MAX = 65536, MESSAGES_MAX = 1 << 16, AFTER_MS = 300 };

/* One connection of the client; the servers are one thread. */
struct end {
    int fd; /* -1: none */
    bool over;
    char in[IN_MAX];
    size_t in_len;
    uint64_t sid;  /* 0: not subscribed */
    uint32_t next; /* message */
    uint64_t late_ms;
};

struct cluster {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool stop;
    atomic_bool lame;
    atomic_bool left; /* the client has closed the old connection */
    struct end ends[SERVERS];
    size_t accepted;
    uint64_t published_ms[MESSAGES_MAX];
    _Atomic(uint32_t) published;
};

static void say(const struct end *end, const char *text)
{
    /* Small lines: the socket takes them whole, or the client has gone. */
    (void)send(end->fd, text, strlen(text), MSG_NOSIGNAL);
}

static void on_line(struct end *end, const char *line)
{
    unsigned long long sid;
    if (strncmp(line, "PING", 4) == 0) {
        say(end, "PONG\r\n");
    } else if (sscanf(line, "SUB t %llu", &sid) == 1) {
        end->sid = sid;
    } else if (strncmp(line, "UNSUB ", 6) == 0) {
        end->sid = 0;
    } else {
        REQUIRE(strncmp(line, "CONNECT ", 8) == 0 || strncmp(line, "PONG", 4) == 0, "%s", line);
    }
}

static void read_lines(struct cluster *cluster, struct end *end)
{
    ssize_t got = recv(end->fd, end->in + end->in_len, IN_MAX - 1 - end->in_len, MSG_DONTWAIT);
    if (got == 0) {
        end->over = true;
        atomic_store(&cluster->left, true);
        return;
    }
    end->in_len += got > 0 ? (size_t)got : 0;
    end->in[end->in_len] = '\0';
    char *line = end->in;
    char *next;
    while ((next = strstr(line, "\r\n")) != NULL) {
        *next = '\0';
        on_line(end, line);
        line = next + 2;
    }
    end->in_len -= (size_t)(line - end->in);
    memmove(end->in, line, end->in_len);
}

static void accept_next(struct cluster *cluster)
{
    int fd = accept4(cluster->listener, NULL, NULL, SOCK_CLOEXEC);
    REQUIRE(fd >= 0 && cluster->accepted < SERVERS);
    struct end *end = &cluster->ends[cluster->accepted++];
    end->fd = fd;
    say(end, INFO "}\r\n");
}

/* What has arrived at its server by now goes to the client, if it is subscribed. */
static void send_messages(const struct cluster *cluster, struct end *end, uint64_t now_ms)
{
    uint32_t published = atomic_load(&cluster->published);
    for (; end->next < published && cluster->published_ms[end->next] + end->late_ms <= now_ms;
         end->next++) {
        char text[64];
        if (end->sid != 0 && !end->over) {
            (void)snprintf(text, sizeof(text), "MSG t %llu 8\r\n%08u\r\n",
                           (unsigned long long)end->sid, end->next);
            say(end, text);
        }
    }
}

static void *serve(void *argument)
{
    struct cluster *cluster = argument;
    bool told = false;
    while (!atomic_load(&cluster->stop)) {
        uint64_t now_ms = net_now_ms();
        uint32_t number = atomic_load(&cluster->published);
        REQUIRE(number < MESSAGES_MAX);
        cluster->published_ms[number] = now_ms;
        atomic_store(&cluster->published, number + 1);
        if (net_wait(cluster->listener, POLLIN, 0)) {
            accept_next(cluster);
        }
        for (size_t i = 0; i < cluster->accepted; i++) {
            struct end *end = &cluster->ends[i];
            if (!end->over && net_wait(end->fd, POLLIN, 0)) {
                read_lines(cluster, end);
            }
            send_messages(cluster, end, now_ms);
        }
        if (atomic_load(&cluster->lame) && !told) {
            told = true;
            say(&cluster->ends[OLD], INFO ",\"ldm\":true}\r\n");
        }
        (void)poll(NULL, 0, 1);
    }
    return NULL;
}

/* Receive until `until`, from `*next` on. */
static void receive(roulette_subscriber *subscriber, uint32_t *next, uint32_t until)
{
    while (*next < until) {
        struct roulette_message message;
        int count = roulette_receive(subscriber, &message, 1, EVENTUALLY_MS);
        cr_assert_eq(count, 1, "%u: %s", *next, roulette_error_name(count));
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        char text[9] = "";
        memcpy(text, message.payload, 8);
        uint32_t number = (uint32_t)strtoul(text, NULL, 10);
        if (*next == 0) {
            *next = number; /* the subscription begins somewhere */
        }
        cr_assert_eq(number, *next, "%u comes, %u must", number, *next);
        ++*next;
        roulette_release(subscriber, &message, 1);
    }
}

/* Move off a server whose copies are so late. */
static void move(uint64_t late_ms)
{
    static struct cluster cluster;
    char address[32];
    uint32_t next = 0;
    memset(&cluster, 0, sizeof(cluster));
    cluster.listener = net_listen(&cluster.port);
    cluster.ends[OLD].late_ms = late_ms;
    cr_assert_eq(pthread_create(&cluster.thread, NULL, serve, &cluster), 0);

    struct roulette_options options;
    roulette_options_init(&options);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", cluster.port);
    options.servers = address;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "t");
    receive(subscriber, &next, 10);
    atomic_store(&cluster.lame, true);
    uint64_t end_ms = 0;
    while (end_ms == 0 || net_now_ms() < end_ms) {
        receive(subscriber, &next, next + 1);
        if (end_ms == 0 && atomic_load(&cluster.left)) {
            end_ms = net_now_ms() + AFTER_MS;
        }
    }
    struct roulette_stats stats = fleet_stats(client, 0);
    printf(
        "late server: %llu ms late: %u messages in order, %llu waited, the longest for %.1f ms\n",
        (unsigned long long)late_ms, next, (unsigned long long)stats.held_messages,
        (double)stats.held_ns_max / 1e6);
    cr_assert_eq(stats.connects, 2);
    cr_assert_eq(stats.disconnects, 0);
    cr_assert_eq(stats.held_early, 0);
    cr_assert(late_ms == 0 || stats.held_messages != 0);
    fleet_close(client);
    roulette_subscriber_close(subscriber);
    atomic_store(&cluster.stop, true);
    (void)pthread_join(cluster.thread, NULL);
    for (size_t i = 0; i < cluster.accepted; i++) {
        (void)close(cluster.ends[i].fd);
    }
    (void)close(cluster.listener);
}

Test(late_server, move_keeps_the_order, .timeout = 300)
{
    move(0);
    move(2);
    move(20);
    move(50);
    move(200);
}
