/* SPDX-License-Identifier: MIT */
/**
 * A program that leaves without closing its client, while the client connects, publishes and
 * receives. leaver HOW SERVERS CA_FILE AFTER_MS; CA_FILE "-": no TLS. Ends with 0, or with a
 * signal if that was too much.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "roulette.h"

#define TOPIC       "leave"
#define PATIENCE_MS 20000
#define SLEEPS_MAX  1000 /* of a child that exits; waiting for the gates would be 40,000 */

static roulette_client *client;
static pthread_t publisher;
static pthread_t receiver;

static void sleep_ms(long ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void give_up(const char *what)
{
    fprintf(stderr, "leaver: %s: %s\n", what, roulette_last_error());
    _exit(3);
}

/* ---- What goes on meanwhile --------------------------------------------------------------- */

static void *publish(void *argument)
{
    char payload[256];
    int result = 0;
    memset(payload, 'x', sizeof(payload));
    while (result != ROULETTE_ECLOSED) {
        result =
            roulette_publish_wait(client, TOPIC, ROULETTE_STRLEN, payload, sizeof(payload), 100);
    }
    return argument;
}

static void *receive(void *argument)
{
    roulette_subscriber *subscriber;
    if (roulette_subscriber_open(client, NULL, &subscriber) < 0) {
        return argument;
    }
    (void)roulette_subscribe(subscriber, TOPIC, ROULETTE_STRLEN, NULL, NULL);
    int count = 0;
    while (count >= 0 || count == ROULETTE_ETIMEDOUT) {
        struct roulette_message messages[64];
        count = roulette_receive(subscriber, messages, 64, 100);
        if (count > 0) {
            roulette_release(subscriber, messages, (size_t)count);
        }
    }
    roulette_subscriber_close(subscriber);
    return argument;
}

static pthread_t start(void *(*run)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, NULL) != 0) {
        give_up("no thread");
    }
    return thread;
}

/* The client has tried `count` times more, and failed. */
static void await_failures(uint64_t count)
{
    struct roulette_stats stats = {.size = sizeof(stats)};
    (void)roulette_stats_get(client, 0, &stats);
    uint64_t first = stats.connect_failures + stats.disconnects;
    for (int ms = 0; stats.connect_failures + stats.disconnects < first + count; ms++) {
        if (ms == PATIENCE_MS) {
            give_up("the client does not try any more");
        }
        sleep_ms(1);
        (void)roulette_stats_get(client, 0, &stats);
    }
}

/* ---- Ways to leave ------------------------------------------------------------------------ */

static void *exit_here(void *argument)
{
    (void)argument;
    exit(0);
}

static void on_alarm(int signal)
{
    (void)signal;
    _exit(0);
}

static void close_client(void)
{
    (void)roulette_close(client, 1000, NULL, 0);
    (void)pthread_join(publisher, NULL);
    (void)pthread_join(receiver, NULL);
    roulette_free(client);
}

/* What the log needs, until the program's own exit handler takes it away. */
static char *page;

static void write_log(void *context, enum roulette_log_level level, const char *text)
{
    char *lines = context;
    (void)snprintf(lines, 64, "%d %s", (int)level, text);
}

static void end_log(void)
{
    await_failures(3);
    (void)munmap(page, 4096);
    await_failures(20);
}

static void leave(const char *how)
{
    if (strcmp(how, "thread") == 0) {
        (void)start(exit_here);
        for (;;) {
            (void)pause();
        }
    } else if (strcmp(how, "signal") == 0) {
        (void)raise(SIGALRM);
    } else if (strcmp(how, "cleanup") == 0) {
        /* What OpenSSL's exit handler does, with time to see what comes of it. */
        OPENSSL_cleanup();
        await_failures(20);
        close_client();
        _exit(0);
    } else if (strcmp(how, "fork") == 0) {
        /* The child has none of the threads that were just inside OpenSSL: nothing to wait for. */
        pid_t child = fork();
        if (child == 0) {
            (void)alarm(PATIENCE_MS / 1000);
            exit(0);
        }
        struct rusage usage = {.ru_nvcsw = 0};
        int status = -1;
        if (wait4(child, &status, 0, &usage) != child || status != 0) {
            fprintf(stderr, "leaver: the child has ended with status %x\n", (unsigned)status);
            _exit(3);
        }
        if (usage.ru_nvcsw > SLEEPS_MAX) {
            give_up("the child has waited");
        }
    }
}

/* What a program sets up before its first client: its exit handler runs behind those that were
 * registered later. */
static void prepare(const char *how, struct roulette_options *options)
{
    if (strcmp(how, "signal") == 0) {
        struct sigaction action = {.sa_handler = on_alarm};
        (void)sigaction(SIGALRM, &action, NULL);
    } else if (strcmp(how, "close") == 0) {
        (void)atexit(close_client);
    } else if (strcmp(how, "log") == 0) {
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        options->log = write_log;
        options->log_context = page;
        options->log_level = ROULETTE_LOG_DEBUG;
        (void)atexit(end_log);
    }
}

int main(int argc, char **argv)
{
    struct roulette_options options;
    if (argc != 5) {
        return 2;
    }
    roulette_options_init(&options);
    options.servers = argv[2];
    options.tls = strcmp(argv[3], "-") != 0;
    options.tls_ca_file = options.tls ? argv[3] : NULL;
    options.pool_size = 4;
    options.reconnect_interval_ms = 1;
    options.base_backoff_ms = 1;
    options.max_backoff_ms = 5;
    options.queue_bytes = 1 << 20;
    prepare(argv[1], &options);
    if (roulette_open(&options, &client) < 0) {
        give_up("open");
    }
    publisher = start(publish);
    receiver = start(receive);
    sleep_ms(strtol(argv[4], NULL, 10));
    leave(argv[1]);
    return 0;
}
