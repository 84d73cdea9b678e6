/* SPDX-License-Identifier: MIT */
/**
 * An idle client sleeps: its event threads wake for pings and for nothing else.
 */
#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    SERVERS = 3,
    IDLE_S = 10,
    PING_MS = 5000,
    THREADS_MAX = 64,
};

#define RECEIVER "receiver"

/* One thread of this process. */
struct task {
    char name[32];
    long id;
    long voluntary;
    long involuntary;
};

struct tasks {
    struct task task[THREADS_MAX];
    size_t count;
};

static void read_task(const char *id, struct task *task)
{
    char path[64];
    char line[256];
    (void)snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", id);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    *task = (struct task){.id = strtol(id, NULL, 10)};
    while (fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "Name: %31s", task->name);
        (void)sscanf(line, "voluntary_ctxt_switches: %ld", &task->voluntary);
        (void)sscanf(line, "nonvoluntary_ctxt_switches: %ld", &task->involuntary);
    }
    (void)fclose(file);
}

static void read_tasks(struct tasks *tasks)
{
    tasks->count = 0;
    DIR *directory = opendir("/proc/self/task");
    REQUIRE(directory != NULL);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.') {
            REQUIRE(tasks->count < THREADS_MAX);
            read_task(entry->d_name, &tasks->task[tasks->count++]);
        }
    }
    (void)closedir(directory);
}

static const struct task *find_task(const struct tasks *tasks, long id)
{
    for (size_t i = 0; i < tasks->count; i++) {
        if (tasks->task[i].id == id) {
            return &tasks->task[i];
        }
    }
    return NULL;
}

static void *receive_for_ever(void *subscriber)
{
    struct roulette_message message;
    (void)pthread_setname_np(pthread_self(), RECEIVER);
    while (roulette_receive((roulette_subscriber *)subscriber, &message, 1, -1) > 0) {
        roulette_release((roulette_subscriber *)subscriber, &message, 1);
    }
    return NULL;
}

/* A server pings a new client once, a second or two after it came: wait until that is over. */
static bool servers_have_pinged(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++) {
        json_t *json = nats_server_json(fleet->servers[i], "/connz");
        REQUIRE(json != NULL);
        json_t *only = json_array_get(json_object_get(json, "connections"), 0);
        const char *uptime = json_string_value(json_object_get(only, "uptime"));
        bool over = uptime != NULL && strtol(uptime, NULL, 10) >= 4;
        json_decref(json);
        if (!over) {
            return false;
        }
    }
    return true;
}

/* `clusters`: that each event thread serves. */
static void check_task(const struct task *before, const struct task *after, long clusters)
{
    long switches = after->voluntary - before->voluntary;
    printf("idle: %-16s %ld voluntary, %ld involuntary context switches in %d s\n", after->name,
           switches, after->involuntary - before->involuntary, IDLE_S);
    /* A ping costs two, the timer and its answer; one more may begin or end here. */
    long pings = clusters * (IDLE_S * 1000 / PING_MS + 1);
    if (strncmp(after->name, "roulette-", 9) == 0) {
        cr_assert_leq(switches, 2 * pings, "%s woke %ld times", after->name, switches);
    }
    if (strcmp(after->name, RECEIVER) == 0) {
        cr_assert_eq(switches, 0, "the receiver woke %ld times", switches);
    }
    cr_assert_neq(strncmp(after->name, "iou-wrk", 7), 0, "io_uring needs a worker thread");
}

static void check_idle(uint32_t event_threads)
{
    struct fleet fleet;
    static struct tasks before;
    static struct tasks after;
    pthread_t receiver;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.ping_interval_ms = PING_MS;
    options.event_threads = event_threads;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "a.>", ROULETTE_STRLEN, NULL, NULL), 0);
    cr_assert_eq(pthread_create(&receiver, NULL, receive_for_ever, subscriber), 0);
    /* Not asleep from birth: it has worked before. */
    for (int i = 0; i < 1000; i++) {
        char topic[16];
        (void)snprintf(topic, sizeof(topic), "a.%d", i);
        cr_assert_eq(roulette_publish(client, topic, ROULETTE_STRLEN, "x", 1), 0);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    EVENTUALLY(servers_have_pinged(&fleet));

    struct timespec pause = {.tv_sec = IDLE_S};
    read_tasks(&before);
    (void)nanosleep(&pause, NULL); /* being idle is the test */
    read_tasks(&after);
    size_t found = 0;
    for (size_t i = 0; i < after.count; i++) {
        const struct task *earlier = find_task(&before, after.task[i].id);
        cr_assert_not_null(earlier, "thread %s has begun meanwhile", after.task[i].name);
        check_task(earlier, &after.task[i], SERVERS / event_threads);
        found += strncmp(after.task[i].name, "roulette-", 9) == 0 ||
                         strcmp(after.task[i].name, RECEIVER) == 0
                     ? 1
                     : 0;
    }
    cr_assert_eq(found, event_threads + 1);
    for (size_t i = 0; i < SERVERS; i++) {
        cr_assert_eq(fleet_stats(client, i).disconnects, 0);
    }
    cr_assert_eq(roulette_close(client, 10000, NULL, 0), 0);
    (void)pthread_join(receiver, NULL);
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    fleet_stop(&fleet);
}

Test(idle, event_threads_wake_only_for_pings)
{
    check_idle(SERVERS);
}

Test(idle, one_event_thread_for_all_wakes_only_for_their_pings)
{
    check_idle(1);
}
