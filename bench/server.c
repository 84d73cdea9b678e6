/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stop.h"
#include "support/nats_server.h"
#include "support/net.h"

#define LINE_MS   15000
#define LINE_SIZE 128

struct bench_server {
    struct nats_server *nats; /* or a null server: */
    pid_t pid;
    int lines; /* what it prints */
    uint16_t port;
};

static _Noreturn void become_null_server(const struct workload *workload, uint64_t messages,
                                         int lines, pid_t parent)
{
    char payload_text[16];
    char messages_text[24];
    (void)snprintf(payload_text, sizeof(payload_text), "%u", workload->payload_len);
    (void)snprintf(messages_text, sizeof(messages_text), "%" PRIu64, messages);
    (void)dup2(lines, STDOUT_FILENO);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) {
        if (workload->kind == WORKLOAD_DELIVER) {
            (void)execl(BENCH_NULL_SERVER, "bench_null_server", "blast", payload_text,
                        messages_text, (char *)NULL);
        } else {
            (void)execl(BENCH_NULL_SERVER, "bench_null_server", "discard", (char *)NULL);
        }
        fprintf(stderr, "bench: %s: %m\n", BENCH_NULL_SERVER);
    }
    _exit(127);
}

/* A line of what the null server prints. False if none came in time. */
static bool read_line(const struct bench_server *server, char line[LINE_SIZE])
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

static void start_null_server(struct bench_server *server, const struct workload *workload,
                              uint64_t messages)
{
    int lines[2];
    char line[LINE_SIZE];
    pid_t parent = getpid();
    if (pipe(lines) != 0 || (server->pid = fork()) < 0) {
        stop("no process for the null server: %m");
    }
    if (server->pid == 0) {
        (void)close(lines[0]);
        become_null_server(workload, messages, lines[1], parent);
    }
    (void)close(lines[1]);
    server->lines = lines[0];
    if (!read_line(server, line) || sscanf(line, "port %" SCNu16, &server->port) != 1) {
        stop("the null server did not start");
    }
}

struct bench_server *server_start(const struct workload *workload, uint64_t messages)
{
    struct bench_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        stop("no memory");
    }
    if (workload->server == SERVER_NULL) {
        start_null_server(server, workload, messages);
        return server;
    }
    server->nats = nats_server_start(NULL);
    if (server->nats == NULL) {
        stop("nats-server did not start");
    }
    server->port = nats_server_port(server->nats);
    return server;
}

uint16_t server_port(const struct bench_server *server)
{
    return server->port;
}

bool server_account(struct bench_server *server, struct server_account *account)
{
    char line[LINE_SIZE];
    return server->nats == NULL && read_line(server, line) &&
           sscanf(line, "closed %" SCNu64 " %" SCNu64 " %" SCNu64, &account->received_bytes,
                  &account->sent_bytes, &account->cpu_ns) == 3;
}

void server_stop(struct bench_server *server)
{
    if (server->nats != NULL) {
        nats_server_stop(server->nats);
    } else {
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
        (void)close(server->lines);
    }
    free(server);
}
