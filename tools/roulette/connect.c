/* SPDX-License-Identifier: MIT */
#include "connect.h"

#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "complain.h"
#include "secret.h"

#define CONNECT_REASON_MAX 1024

/* Each of these says that TLS is wanted. */
#define TLS_ARGUMENTS                                                                            \
    (ARGUMENT_TLS | ARGUMENT_TLS_CA | ARGUMENT_TLS_CERT | ARGUMENT_TLS_KEY | ARGUMENT_TLS_NAME | \
     ARGUMENT_TLS_FIRST)

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
    options.tls = (arguments->given & TLS_ARGUMENTS) != 0;
    options.tls_handshake_first = arguments->tls_first;
    options.tls_ca_file = arguments->tls_ca_file;
    options.tls_cert_file = arguments->tls_cert_file;
    options.tls_key_file = arguments->tls_key_file;
    options.tls_server_name = arguments->tls_server_name;
    options.user = arguments->user;
    options.credentials_file = arguments->credentials_file;
    if (arguments->verbosity > 0) {
        options.log = log_line;
        options.log_level = arguments->verbosity > 1 ? ROULETTE_LOG_DEBUG : ROULETTE_LOG_INFO;
    }
    return options;
}

int connect_open(const struct command *command, const struct arguments *arguments,
                 const struct roulette_options *options, roulette_client **client)
{
    struct roulette_options complete = *options;
    char secret[SECRET_MAX] = "";
    int result = 0;
    if (arguments->nkey_file != NULL) {
        result = secret_of_file(command, "--nkey", "a seed", arguments->nkey_file, secret);
        complete.nkey_seed = secret;
    } else if (arguments->user != NULL) {
        result = secret_of_user(command, arguments, secret);
        complete.password = secret;
    }
    if (result == 0) {
        result = roulette_open(&complete, client);
        if (result < 0) {
            command_complain(command, "%s", roulette_last_error());
            result = connect_exit_code(result);
        }
    }
    explicit_bzero(secret, sizeof(secret));
    return result;
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
    static char text[CONNECT_REASON_MAX];
    if (roulette_cluster_error(client, cluster, text, sizeof(text)) == 0) {
        (void)snprintf(text, sizeof(text),
                       "cluster %zu (%s) is connected only now: raise --timeout", cluster,
                       roulette_cluster_address(client, cluster));
    }
    return text;
}

void connect_hurry(struct roulette_options *options, int timeout_ms)
{
    uint32_t limit_ms = (uint32_t)timeout_ms / 5 * 4 + 1;
    if (limit_ms < options->connection_timeout_ms) {
        options->connection_timeout_ms = limit_ms;
    }
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
