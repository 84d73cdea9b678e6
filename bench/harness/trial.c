/* SPDX-License-Identifier: MIT */
#include "harness/trial.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/calls.h"
#include "harness/measure.h"
#include "harness/placement.h"
#include "harness/server.h"
#include "harness/stop.h"
#include "harness/window.h"
#include "support/net.h"

#define TRIAL_MS 60000
/* Bytes of CONNECT and PING lines at most. */
#define HANDSHAKE_BYTES 1024

/* ---- The client's process ----------------------------------------------------------------- */

struct client {
    pid_t pid;
    int to;   /* a pipe to it, for calls_await_tracer(), or -1 */
    int from; /* a pipe from it, for its sample */
};

static _Noreturn void become_client(const struct peer *peer, const struct workload *workload,
                                    const uint16_t *ports, uint64_t messages, int from_parent,
                                    int to_parent)
{
    struct sample sample;
    /* The parent ends one that takes too long, if it does not wait for its system calls. */
    (void)alarm(from_parent >= 0 ? TRIAL_MS / 1000 : 0);
    if (from_parent >= 0) {
        calls_await_tracer(from_parent);
    }
    measure(peer, workload, ports, messages, &sample);
    _exit(write(to_parent, &sample, sizeof(sample)) == sizeof(sample) ? 0 : 1);
}

static struct client client_start(const struct peer *peer, const struct workload *workload,
                                  const uint16_t *ports, uint64_t messages, bool traced)
{
    int from[2];
    int to[2] = {-1, -1};
    struct client client;
    pid_t parent = getpid();
    if (pipe2(from, O_CLOEXEC) != 0 || (traced && pipe2(to, O_CLOEXEC) != 0) ||
        (client.pid = fork()) < 0) {
        stop("no process for the client: %m");
    }
    if (client.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        become_client(peer, workload, ports, messages, to[0], from[1]);
    }
    (void)close(from[1]);
    client.from = from[0];
    client.to = to[1];
    if (traced) {
        (void)close(to[0]);
    }
    return client;
}

/* Wait until the process has ended. Returns: its status; it was killed if it took too long. */
static int client_wait(const struct client *client)
{
    int status = 0;
    int pidfd = (int)syscall(SYS_pidfd_open, client->pid, 0);
    if (!net_wait(pidfd, POLLIN, net_now_ms() + TRIAL_MS)) {
        fprintf(stderr, "bench: the client did not end within %d s\n", TRIAL_MS / 1000);
        (void)kill(client->pid, SIGKILL);
    }
    (void)waitpid(client->pid, &status, 0);
    (void)close(pidfd);
    return status;
}

/* Take the sample of a process that has ended. False if it did not end well. */
static bool client_end(const struct client *client, int status, struct sample *sample)
{
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "bench: the client was ended by signal %d\n", WTERMSIG(status));
    }
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                read(client->from, sample, sizeof(*sample)) == (ssize_t)sizeof(*sample) &&
                sample->messages != 0;
    (void)close(client->from);
    if (client->to >= 0) {
        (void)close(client->to);
    }
    return good;
}

/* ---- A run -------------------------------------------------------------------------------- */

/*
 * Whether each null server saw the bytes of its topics' part of what was published, give or take
 * what a cycle through all topics that was cut short leaves out.
 */
static bool is_even(const struct workload *workload, const struct sample *sample,
                    const struct server_account *account)
{
    double frame_len = (double)workload_publish_frame_len(workload->payload_len);
    double cycles = (double)sample->published_in_all / workload->topics;
    /* Each thread publishes a warm-up and a measured part. */
    double slack = 2.0 * workload->threads * workload->topics * frame_len + HANDSHAKE_BYTES;
    for (uint32_t i = 0; i < workload->clusters; i++) {
        uint32_t topics = (workload->topics + workload->clusters - 1 - i) / workload->clusters;
        double wanted = cycles * topics * frame_len;
        /* A PING of 6 bytes may be behind every few MiB. */
        double received = (double)account->received_of[i];
        if (fabs(received - wanted) > slack + wanted / (256 * 1024)) {
            fprintf(stderr, "bench: cluster %u received %.0f bytes, %.0f are its part\n", i,
                    received, wanted);
            return false;
        }
    }
    return true;
}

/* Whether the null servers tell of the connections, and saw as many bytes as were published. */
static bool is_complete(struct bench_server *server, const struct workload *workload,
                        const struct sample *sample, struct server_account *account)
{
    if (!server_account(server, account)) {
        fprintf(stderr, "bench: the null server did not see the connection end\n");
        return false;
    }
    uint64_t bytes = sample->published_in_all * workload_publish_frame_len(workload->payload_len);
    /* A PING of 6 bytes may be behind every few MiB. */
    uint64_t more = (uint64_t)HANDSHAKE_BYTES * workload->clusters + bytes / (256 * 1024);
    if (workload->kind != WORKLOAD_PUBLISH) {
        return true;
    }
    if (account->received_bytes >= bytes && account->received_bytes < bytes + more) {
        return is_even(workload, sample, account);
    }
    fprintf(stderr, "bench: the servers received %" PRIu64 " bytes, %" PRIu64 " were published\n",
            account->received_bytes, bytes);
    return false;
}

bool trial_run(const struct peer *peer, const struct workload *workload, uint64_t messages,
               struct trial *trial)
{
    memset(trial, 0, sizeof(*trial));
    uint64_t all = messages + window_warm_up(messages);
    if (workload->one_cpu) {
        placement_narrow();
    }
    struct bench_server *server = server_start(workload, all);
    struct client client = client_start(peer, workload, server_ports(server), messages, false);
    placement_widen();
    bool good = client_end(&client, client_wait(&client), &trial->sample);
    if (good && workload->server == SERVER_NULL) {
        struct server_account account;
        good = is_complete(server, workload, &trial->sample, &account);
        trial->server_cpu_ns = good ? (double)account.cpu_ns / (double)all : 0;
    }
    server_stop(server);
    return good;
}

bool trial_count_calls(const struct peer *peer, const struct workload *workload, uint64_t messages,
                       double *calls_per_message)
{
    uint64_t calls;
    int status;
    struct sample sample;
    struct bench_server *server = server_start(workload, messages + window_warm_up(messages));
    struct client client = client_start(peer, workload, server_ports(server), messages, true);
    bool counted = calls_trace(client.pid, client.to, &status, &calls);
    bool good = client_end(&client, status, &sample) && counted;
    if (good) {
        *calls_per_message = (double)calls / (double)sample.messages;
    }
    server_stop(server);
    return good;
}
