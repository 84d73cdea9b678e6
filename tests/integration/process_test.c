/* SPDX-License-Identifier: MIT */
/**
 * A client in a process that forks, and its threads and signals.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/test.h"

/* ---- Fork --------------------------------------------------------------------------------- */

/* What a client has open: sockets, rings and doorbells. */
#define DESCRIPTORS_MAX 1024

static bool is_of_a_client(int fd)
{
    char path[64];
    char target[64] = {0};
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (readlink(path, target, sizeof(target) - 1) < 0) {
        return false;
    }
    return strncmp(target, "socket:", 7) == 0 || strcmp(target, "anon_inode:[io_uring]") == 0 ||
           strcmp(target, "anon_inode:[eventfd]") == 0 ||
           strcmp(target, "anon_inode:[eventpoll]") == 0;
}

static size_t find_descriptors(bool *found)
{
    size_t count = 0;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        found[fd] = is_of_a_client(fd);
        count += found[fd] ? 1 : 0;
    }
    return count;
}

/* All that a child can hold. */
struct inheritance {
    roulette_client *client;
    roulette_subscriber *subscriber;
    roulette_subscription *subscription;
    roulette_topic *topic;
};

/* Each call of a child says that the client is the parent's. Aborts if not. */
static void require_forked(const struct inheritance *given)
{
    roulette_subscriber *subscriber = NULL;
    roulette_topic *topic = NULL;
    struct roulette_message message;
    struct roulette_ledger ledger;
    struct roulette_subscription_options wish;
    roulette_subscription_options_init(&wish);
    wish.timeout_ms = -1;
#define FORKED(call) REQUIRE((call) == ROULETTE_EFORKED, "%s", roulette_last_error())
    FORKED(roulette_publish(given->client, "t", 1, "x", 1));
    FORKED(roulette_publish_wait(given->client, "t", 1, "x", 1, -1));
    FORKED(roulette_publish_reply(given->client, "t", 1, "r", 1, "x", 1, -1));
    FORKED(roulette_topic_publish(given->topic, "x", 1));
    FORKED(roulette_topic_publish_wait(given->topic, "x", 1, -1));
    FORKED(roulette_topic_create(given->client, "t", 1, &topic));
    FORKED(roulette_subscriber_open(given->client, NULL, &subscriber));
    FORKED(roulette_subscribe(given->subscriber, "u", 1, NULL, NULL));
    FORKED(roulette_subscribe_with(given->subscriber, "u", 1, &wish, NULL));
    FORKED(roulette_flush(given->client, -1, &ledger, 1));
    FORKED(roulette_subscriber_drain(given->subscriber, -1));
    FORKED(roulette_subscriber_fd(given->subscriber));
    int result;
    while ((result = roulette_receive(given->subscriber, &message, 1, -1)) > 0) {
        roulette_release(given->subscriber, &message, 1);
    }
    REQUIRE(result == ROULETTE_EFORKED, "%s", roulette_error_name(result));
    FORKED(roulette_close(given->client, -1, NULL, 0));
#undef FORKED
}

static void free_all(const struct inheritance *given)
{
    roulette_topic_free(given->topic);
    roulette_subscriber_close(given->subscriber);
    roulette_free(given->client);
}

/* Wait for a child; the test fails if it was not content. */
static void require_content(pid_t child)
{
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

static struct inheritance make_all(const struct roulette_options *options)
{
    struct inheritance all = {.client = fleet_open(options)};
    all.subscriber = fleet_subscriber(all.client, 4096);
    cr_assert_eq(roulette_subscribe(all.subscriber, "t", 1, NULL, &all.subscription), 0);
    cr_assert_eq(roulette_topic_create(all.client, "t", 1, &all.topic), 0);
    cr_assert_eq(roulette_flush(all.client, EVENTUALLY_MS, NULL, 0), 0);
    return all;
}

static void fork_client(uint32_t event_threads)
{
    static bool before[DESCRIPTORS_MAX];
    static bool during[DESCRIPTORS_MAX];
    struct fleet fleet;
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    options.pool_size = 2;
    options.event_threads = event_threads;
    (void)find_descriptors(before);
    struct inheritance all = make_all(&options);
    (void)find_descriptors(during);
    int subscriber_fd = roulette_subscriber_fd(all.subscriber);
    pid_t child = fork();
    if (child == 0) {
        for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
            bool own = during[fd] && !before[fd] && fd != subscriber_fd;
            REQUIRE(!own || !is_of_a_client(fd), "descriptor %d is open in the child", fd);
        }
        require_forked(&all);
        free_all(&all);
        REQUIRE(fleet.count == 2);
        _exit(0);
    }
    require_content(child);
    cr_assert_eq(roulette_publish(all.client, "t", 1, "x", 1), 0);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(all.subscriber, &message, 1, EVENTUALLY_MS), 1);
    roulette_release(all.subscriber, &message, 1);
    cr_assert_eq(fleet_stats(all.client, 0).disconnects + fleet_stats(all.client, 1).disconnects,
                 0);
    roulette_topic_free(all.topic);
    roulette_subscriber_close(all.subscriber);
    fleet_close(all.client);
    fleet_stop(&fleet);
}

Test(process, forked_client_refuses_everything_and_is_freed)
{
    fork_client(2);
}

Test(process, forked_client_of_one_event_thread_refuses_everything_and_is_freed)
{
    fork_client(1);
}

/* The child may be a client, too, and its parent's is freed at any time. */
Test(process, child_opens_a_client_of_its_own)
{
    struct fleet fleet;
#ifdef TEST_OWN_RUNNER
    cr_skip_test("ThreadSanitizer does not support threads behind such a fork");
#endif
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    struct inheritance all = make_all(&options);
    pid_t child = fork();
    if (child == 0) {
        roulette_client *client = fleet_open(&options);
        roulette_free(all.client);
        REQUIRE(roulette_publish(client, "t", 1, "child", 5) == 0);
        fleet_close(client);
        roulette_subscriber_close(all.subscriber);
        roulette_topic_free(all.topic);
        _exit(0);
    }
    require_content(child);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(all.subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.payload_len, 5);
    roulette_release(all.subscriber, &message, 1);
    roulette_topic_free(all.topic);
    roulette_subscriber_close(all.subscriber);
    fleet_close(all.client);
    fleet_stop(&fleet);
}

struct load {
    roulette_client *client;
    pthread_t thread;
    atomic_bool stop;
    uint64_t accepted;
    atomic_uint_fast64_t received;
};

static void *publish_steadily(void *argument)
{
    struct load *load = argument;
    while (!atomic_load(&load->stop)) {
        /* No more than the subscriber's ring holds. */
        EVENTUALLY(atomic_load(&load->stop) ||
                   load->accepted - atomic_load(&load->received) < 1000);
        for (int i = 0; i < 20; i++) {
            REQUIRE(roulette_publish_wait(load->client, "t", 1, &load->accepted,
                                          sizeof(load->accepted), EVENTUALLY_MS) == 0);
            load->accepted++;
        }
        REQUIRE(roulette_flush(load->client, EVENTUALLY_MS, NULL, 0) == 0);
    }
    return NULL;
}

/* The next entry is the next message. */
static void receive_next(roulette_subscriber *subscriber, struct load *load)
{
    struct roulette_message message;
    uint64_t next = atomic_load(&load->received);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    cr_assert_eq(message.payload_len, sizeof(next));
    cr_assert_arr_eq(message.payload, &next, sizeof(next));
    roulette_release(subscriber, &message, 1);
    atomic_store(&load->received, next + 1);
}

Test(process, parent_that_forks_under_load_loses_nothing)
{
    enum { FORKS = SCALED(40, 8) };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    struct inheritance all = make_all(&options);
    struct load load = {.client = all.client};
    cr_assert_eq(pthread_create(&load.thread, NULL, publish_steadily, &load), 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            REQUIRE(roulette_publish(all.client, "t", 1, "x", 1) == ROULETTE_EFORKED);
            free_all(&all);
            _exit(0);
        }
        for (int n = 0; n < 50; n++) {
            receive_next(all.subscriber, &load);
        }
        require_content(child);
    }
    atomic_store(&load.stop, true);
    (void)pthread_join(load.thread, NULL);
    while (atomic_load(&load.received) < load.accepted) {
        receive_next(all.subscriber, &load);
    }
    struct roulette_stats stats = fleet_stats(all.client, 0);
    cr_assert_eq(stats.ledger.accepted, load.accepted);
    cr_assert_eq(stats.ledger.confirmed, load.accepted);
    cr_assert_eq(stats.disconnects, 0);
    roulette_topic_free(all.topic);
    roulette_subscriber_close(all.subscriber);
    fleet_close(all.client);
    fleet_stop(&fleet);
}

static json_int_t connection_count(struct nats_server *server)
{
    json_t *json = nats_server_json(server, "/connz");
    cr_assert_not_null(json);
    json_int_t count = json_integer_value(json_object_get(json, "num_connections"));
    json_decref(json);
    return count;
}

/* A process opens a client, forks, and ends without a word; its child lives on. */
static _Noreturn void open_fork_and_exit(const struct roulette_options *options, int ready,
                                         int wait)
{
    char byte = 0;
    roulette_client *client = fleet_open(options);
    pid_t child = fork();
    if (child == 0) {
        (void)read(wait, &byte, 1); /* until the test ends */
        _exit(0);
    }
    REQUIRE(client != NULL && write(ready, &child, sizeof(child)) == sizeof(child));
    (void)read(wait, &byte, 1);
    _exit(0);
}

Test(process, connection_of_a_parent_ends_with_it_though_a_child_lives)
{
    struct fleet fleet;
    int ready[2];
    int wait[2];
    pid_t grandchild;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, wait), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)close(wait[0]);
        open_fork_and_exit(&options, ready[1], wait[1]);
    }
    cr_assert_eq(read(ready[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    cr_assert_eq(connection_count(fleet.servers[0]), 1);
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, &(int){0}, 0), child);
    EVENTUALLY(connection_count(fleet.servers[0]) == 0);
    cr_assert_eq(kill(grandchild, 0), 0); /* it lives */
    cr_assert_eq(kill(grandchild, SIGKILL), 0);
    fleet_stop(&fleet);
    for (int i = 0; i < 2; i++) {
        (void)close(ready[i]);
        (void)close(wait[i]);
    }
}

/* ---- Signals ------------------------------------------------------------------------------ */

/* A field of signals in the status of a thread. */
static uint64_t signals_of(const char *task, const char *field)
{
    char path[300];
    char line[256];
    char format[32];
    unsigned long long bits = 0;
    (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
    (void)snprintf(format, sizeof(format), "%s: %%llx", field);
    FILE *file = fopen(path, "re");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL && sscanf(line, format, &bits) != 1) {
    }
    (void)fclose(file);
    return bits;
}

static bool is_of_the_library(const char *task)
{
    char path[300];
    char name[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        (void)!fgets(name, sizeof(name), file);
        (void)fclose(file);
    }
    return strncmp(name, "roulette-", 9) == 0 && name[9] >= '0' && name[9] <= '9';
}

#define SIGNAL_BIT(signal) (UINT64_C(1) << ((signal) - 1))

/* Check the event threads. Returns: how many there are. */
static size_t check_threads(void)
{
    /* No thread can block these two, and glibc keeps two for itself. */
    const uint64_t all =
        ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(32) | SIGNAL_BIT(33));
    size_t count = 0;
    DIR *folder = opendir("/proc/self/task");
    REQUIRE(folder != NULL);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.' || !is_of_the_library(entry->d_name)) {
            continue;
        }
        uint64_t blocked = signals_of(entry->d_name, "SigBlk");
        uint64_t pending = signals_of(entry->d_name, "SigPnd");
        cr_assert_eq(blocked & all, all, "blocked: %llx", (unsigned long long)blocked);
        cr_assert_eq(pending & SIGNAL_BIT(SIGPIPE), 0, "SIGPIPE was raised");
        count++;
    }
    (void)closedir(folder);
    return count;
}

static atomic_int raised;

static void on_sigpipe(int signal)
{
    (void)signal;
    atomic_fetch_add(&raised, 1);
}

/* Publish until the connection is lost once more. */
static void publish_until_lost(roulette_client *client)
{
    static const char payload[4096];
    uint64_t disconnects = fleet_stats(client, 0).disconnects;
    uint64_t deadline_ms = net_now_ms() + EVENTUALLY_MS;
    while (fleet_stats(client, 0).disconnects == disconnects) {
        REQUIRE(net_now_ms() < deadline_ms);
        (void)roulette_publish_wait(client, "t", 1, payload, sizeof(payload), 1);
    }
}

Test(process, signals_are_the_applications)
{
    static const char info[] = "INFO {\"max_payload\":1048576}\r\n";
    const struct fake_script scripts[] = {
        /* A write to a socket that was reset raises SIGPIPE, unless it is asked not to. */
        FAKE_SCRIPT(FAKE_SEND_BYTES(info, sizeof(info) - 1), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\n"), FAKE_EXPECT("PUB t 4096\r\n"), FAKE_RESET()),
    };
    struct fleet fleet;
    char servers[64];
    cr_assert(signal(SIGPIPE, on_sigpipe) != SIG_ERR);
    struct fake_server *fake = fake_server_start(scripts, 1);
    cr_assert_not_null(fake);
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    (void)snprintf(servers, sizeof(servers), "localhost:%u", fake_server_port(fake));
    options.servers = servers;
    options.queue_bytes = (size_t)1 << 20;
    roulette_client *beaten;
    cr_assert_eq(roulette_open(&options, &beaten), 0);
    options = fleet_options(&fleet);
    options.event_threads = 2;
    roulette_client *client = fleet_open(&options);
    cr_assert_geq(check_threads(), 3); /* and lookups of "localhost" */
    for (int i = 0; i < SCALED(50, 10); i++) {
        publish_until_lost(beaten);
    }
    for (int i = 0; i < 3; i++) {
        struct roulette_stats before = fleet_stats(client, 0);
        cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
        EVENTUALLY(fleet_stats(client, 0).disconnects == before.disconnects + 1);
        cr_assert(nats_server_restart(fleet.servers[0]));
        EVENTUALLY(fleet_stats(client, 0).connected == 1);
    }
    cr_assert_geq(check_threads(), 3); /* and lookups of "localhost" */
    cr_assert_eq(atomic_load(&raised), 0);
    sigset_t blocked;
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    cr_assert_eq(sigismember(&blocked, SIGUSR1), 0); /* ours are as they were */
    (void)roulette_close(beaten, 0, NULL, 0);
    roulette_free(beaten);
    fleet_close(client);
    fleet_stop(&fleet);
    (void)fake_server_stop(fake); /* its last script may have been cut off */
}

/* ---- Standard descriptors ----------------------------------------------------------------- */

enum { STANDARD = 3, ASIDE = 500 };

/* All that a client makes, with 0 to 2 closed. Returns: how many of those it has in the end. */
static int use_without_standard(const struct roulette_options *options)
{
    struct roulette_message message;
    int taken = 0;
    for (int fd = 0; fd < STANDARD; fd++) {
        (void)dup3(fd, ASIDE + fd, O_CLOEXEC);
        (void)close(fd);
    }
    roulette_client *client = fleet_open(options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    REQUIRE(roulette_subscriber_fd(subscriber) >= STANDARD);
    fleet_subscribe(subscriber, "t.*");
    REQUIRE(roulette_publish_wait(client, "t.1", 3, "x", 1, EVENTUALLY_MS) == 0);
    REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
    roulette_release(subscriber, &message, 1);
    for (int fd = 0; fd < STANDARD; fd++) {
        taken += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    }
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    for (int fd = 0; fd < STANDARD; fd++) {
        (void)dup2(ASIDE + fd, fd);
        (void)close(ASIDE + fd);
    }
    return taken;
}

Test(process, client_has_none_of_descriptors_0_to_2)
{
    struct fleet fleet;
    fleet_start(&fleet, 3);
    struct roulette_options options = fleet_options(&fleet);
    options.pool_size = 2;
    int taken = use_without_standard(&options);
    cr_assert_eq(taken, 0, "%d of 0 to 2 are the library's", taken);
    fleet_stop(&fleet);
}
