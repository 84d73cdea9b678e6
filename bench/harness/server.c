/* SPDX-License-Identifier: MIT */
#include "harness/server.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/nats_release.h"
#include "harness/stop.h"
#include "support/nats_server.h"
#include "support/net.h"

#define LINE_MS   15000
#define LINE_SIZE 128

struct null_server {
    pid_t pid;
    int lines; /* what it prints */
};

struct bench_server {
    struct nats_server *nats; /* or null servers, one for each cluster: */
    uint32_t count;
    struct null_server nulls[WORKLOAD_CLUSTERS_MAX];
    uint16_t ports[WORKLOAD_CLUSTERS_MAX];
};

/* ---- Null servers ------------------------------------------------------------------------- */

/* The part of a cluster of what is divided evenly. */
static uint64_t share_of(uint64_t whole, uint32_t clusters, uint32_t cluster)
{
    return whole / clusters + (cluster < whole % clusters ? 1 : 0);
}

static void exec_null_server(const struct workload *workload, uint32_t cluster, uint64_t messages)
{
    static const char program[] = "bench_null_server";
    char texts[4][24];
    char record[24];
    (void)snprintf(record, sizeof(record), "%u", workload->record_len);
    const char *tls = workload->tls ? record : "-";
    switch (workload->kind) {
    case WORKLOAD_DELIVER:
        (void)snprintf(texts[0], sizeof(texts[0]), "%u", workload->payload_len);
        (void)snprintf(texts[1], sizeof(texts[1]), "%" PRIu64,
                       share_of(messages, workload->clusters, cluster));
        (void)snprintf(texts[2], sizeof(texts[2]), "%" PRIu64,
                       share_of(workload->subscriptions, workload->clusters, cluster));
        (void)snprintf(texts[3], sizeof(texts[3]), "%" PRIu64,
                       share_of(workload->topics, workload->clusters, cluster));
        (void)execl(BENCH_NULL_SERVER, program, tls, "blast", texts[0], texts[1], texts[2],
                    texts[3], (char *)NULL);
        break;
    case WORKLOAD_LATENCY:
        (void)execl(BENCH_NULL_SERVER, program, tls, "echo", (char *)NULL);
        break;
    default:
        (void)execl(BENCH_NULL_SERVER, program, tls, "discard", (char *)NULL);
    }
}

static _Noreturn void become_null_server(const struct workload *workload, uint32_t cluster,
                                         uint64_t messages, int lines, pid_t parent)
{
    (void)dup2(lines, STDOUT_FILENO);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) {
        exec_null_server(workload, cluster, messages);
        fprintf(stderr, "bench: %s: %m\n", BENCH_NULL_SERVER);
    }
    _exit(127);
}

/* A line of what the null server prints. False if none came in time. */
static bool read_line(const struct null_server *server, char line[LINE_SIZE])
{
    uint64_t deadline_ms = net_now_ms() + LINE_MS;
    for (size_t len = 0; len < LINE_SIZE - 1; len++) {
        if (!net_wait(server->lines, POLLIN, deadline_ms) ||
            read(server->lines, &line[len], 1) != 1) {
            return false;
        }
        if (line[len] == '\n') {
            line[len] = '\0';
            return true;
        }
    }
    return false;
}

static uint16_t start_null_server(struct null_server *server, const struct workload *workload,
                                  uint32_t cluster, uint64_t messages)
{
    int lines[2];
    char line[LINE_SIZE];
    uint16_t port;
    pid_t parent = getpid();
    if (pipe2(lines, O_CLOEXEC) != 0 || (server->pid = fork()) < 0) {
        stop("no process for the null server: %m");
    }
    if (server->pid == 0) {
        become_null_server(workload, cluster, messages, lines[1], parent);
    }
    (void)close(lines[1]);
    server->lines = lines[0];
    if (!read_line(server, line) || sscanf(line, "port %" SCNu16, &port) != 1) {
        stop("the null server did not start");
    }
    return port;
}

/* ---- nats-server -------------------------------------------------------------------------- */

static struct nats_server *start_nats_server(enum server_kind kind)
{
    const char *variable = "ROULETTE_NATS_SERVER"; /* see support/nats_server.h */
    const char *set = getenv(variable);
    char *chosen = set != NULL ? strdup(set) : NULL;
    if (kind == SERVER_NATS_NEWER) {
        (void)setenv(variable, nats_release_newer_path(), 1);
    }
    struct nats_server *server = nats_server_start(NULL);
    if (server == NULL) {
        stop("nats-server did not start");
    }
    if (chosen != NULL) {
        (void)setenv(variable, chosen, 1);
    } else {
        (void)unsetenv(variable);
    }
    free(chosen);
    return server;
}

/* ---- Any ---------------------------------------------------------------------------------- */

struct bench_server *server_start(const struct workload *workload, uint64_t messages)
{
    struct bench_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        stop("no memory");
    }
    if (workload->server == SERVER_NULL) {
        for (uint32_t i = 0; i < workload->clusters; i++) {
            server->ports[i] = start_null_server(&server->nulls[i], workload, i, messages);
            server->count++;
        }
        return server;
    }
    server->nats = start_nats_server(workload->server);
    server->ports[0] = nats_server_port(server->nats);
    return server;
}

const uint16_t *server_ports(const struct bench_server *server)
{
    return server->ports;
}

bool server_account(struct bench_server *server, struct server_account *account)
{
    memset(account, 0, sizeof(*account));
    for (uint32_t i = 0; i < server->count; i++) {
        char line[LINE_SIZE];
        struct server_account one;
        if (!read_line(&server->nulls[i], line) ||
            sscanf(line, "closed %" SCNu64 " %" SCNu64 " %" SCNu64, &one.received_bytes,
                   &one.sent_bytes, &one.cpu_ns) != 3) {
            return false;
        }
        account->received_of[i] = one.received_bytes;
        account->received_bytes += one.received_bytes;
        account->sent_bytes += one.sent_bytes;
        account->cpu_ns += one.cpu_ns;
    }
    return server->nats == NULL;
}

void server_stop(struct bench_server *server)
{
    nats_server_stop(server->nats);
    for (uint32_t i = 0; i < server->count; i++) {
        (void)kill(server->nulls[i].pid, SIGKILL);
        (void)waitpid(server->nulls[i].pid, NULL, 0);
        (void)close(server->nulls[i].lines);
    }
    free(server);
}
