/* SPDX-License-Identifier: MIT */
#include "connect.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_TEXT_MAX = 2048,
    LOG_LINE_MAX = LOG_TEXT_MAX + 128, /* fits into PIPE_BUF: it is written whole */
};

/* Log lines that were left out because nobody read standard error. */
static atomic_uint left_out;

/* Whether a line of up to PIPE_BUF bytes can be written to standard error without waiting. */
static bool is_error_writable(void)
{
    struct pollfd wait = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&wait, 1, 0) > 0 && (wait.revents & POLLOUT) != 0;
}

/* Called by event threads, which must not wait for whoever reads standard error. */
static void log_line(void *context, enum roulette_log_level level, const char *text)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    char line[LOG_LINE_MAX];
    char note[64] = "";
    (void)context;
    /* Relaxed: a number to print. */
    if (!is_error_writable()) {
        (void)atomic_fetch_add_explicit(&left_out, 1, memory_order_relaxed);
        return;
    }
    unsigned before = atomic_exchange_explicit(&left_out, 0, memory_order_relaxed);
    if (before != 0) {
        (void)snprintf(note, sizeof(note), "roulette: %u lines of log were left out here\n",
                       before);
    }
    int len = snprintf(line, sizeof(line), "%sroulette: %s: %.*s\n", note, names[level],
                       LOG_TEXT_MAX, text);
    (void)!write(STDERR_FILENO, line, (size_t)len);
}

struct roulette_options connect_options(const struct arguments *arguments)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = arguments->servers;
    options.ring = arguments->ring;
    options.pool_size = arguments->pool_size;
    options.tls = arguments->tls_ca_file != NULL;
    options.tls_ca_file = arguments->tls_ca_file;
    options.credentials_file = arguments->credentials_file;
    if (arguments->verbosity > 0) {
        options.log = log_line;
        options.log_level = arguments->verbosity > 1 ? ROULETTE_LOG_DEBUG : ROULETTE_LOG_INFO;
    }
    return options;
}

/* More than a seed and its line end; a file that is longer is something else. */
#define SEED_FILE_MAX 128

/* Read the seed that a file consists of. A command line would show it to everybody. */
static int read_seed(const struct command *command, const char *path, char seed[SEED_FILE_MAX])
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        command_complain(command, "--nkey %s: %s", path, strerror(errno));
        return COMMAND_USAGE;
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy that is not wiped */
    size_t len = fread(seed, 1, SEED_FILE_MAX, file);
    bool bad = ferror(file) != 0 || len == SEED_FILE_MAX;
    (void)fclose(file);
    while (!bad && len > 0 && isspace((unsigned char)seed[len - 1])) {
        len--;
    }
    if (bad || len == 0 || memchr(seed, '\0', len) != NULL) {
        command_complain(command, "--nkey %s: give a file that holds a seed and nothing else",
                         path);
        return COMMAND_USAGE;
    }
    seed[len] = '\0';
    return 0;
}

int connect_open(const struct command *command, const struct arguments *arguments,
                 const struct roulette_options *options, roulette_client **client)
{
    struct roulette_options complete = *options;
    char seed[SEED_FILE_MAX];
    if (arguments->nkey_file != NULL) {
        int result = read_seed(command, arguments->nkey_file, seed);
        if (result != 0) {
            explicit_bzero(seed, sizeof(seed));
            return result;
        }
        complete.nkey_seed = seed;
    }
    int result = roulette_open(&complete, client);
    explicit_bzero(seed, sizeof(seed));
    if (result < 0) {
        command_complain(command, "%s", roulette_last_error());
        return connect_exit_code(result);
    }
    return 0;
}

int connect_exit_code(int error)
{
    switch (error) {
    case ROULETTE_EINVAL:
    case ROULETTE_ETOPIC:
    case ROULETTE_EWILDCARD:
    case ROULETTE_ESERVERS:
    case ROULETTE_EEXIST:
        return COMMAND_USAGE;
    default:
        return COMMAND_FAILED;
    }
}

bool connect_is_connected(const roulette_client *client, size_t cluster, uint32_t pool_size)
{
    struct roulette_stats stats;
    return roulette_stats_get(client, cluster, &stats) == 0 && stats.connected == pool_size;
}

const char *connect_reason(const roulette_client *client, size_t cluster)
{
    struct roulette_stats stats;
    if (roulette_stats_get(client, cluster, &stats) < 0) {
        return roulette_last_error();
    }
    return stats.last_error != 0 ? roulette_error_text(stats.last_error)
                                 : "the first attempt is not over";
}

uint64_t connect_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int connect_left_ms(uint64_t deadline_ms)
{
    uint64_t now_ms = connect_now_ms();
    uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}
