/* SPDX-License-Identifier: MIT */
#include "trial.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"
#include "server.h"
#include "stop.h"
#include "support/net.h"

#define TRIAL_MS 60000
/* Bytes of CONNECT and PING lines at most. */
#define HANDSHAKE_BYTES 1024

/* The sample, if the process ended well and in time. */
static bool collect(pid_t pid, int from_child, struct sample *sample)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool ended = net_wait(pidfd, POLLIN, net_now_ms() + TRIAL_MS);
    if (!ended) {
        fprintf(stderr, "bench: the client did not end within %d s\n", TRIAL_MS / 1000);
        (void)kill(pid, SIGKILL);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    (void)close(pidfd);
    if (ended && WIFSIGNALED(status)) {
        fprintf(stderr, "bench: the client was ended by signal %d\n", WTERMSIG(status));
    }
    return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
           read(from_child, sample, sizeof(*sample)) == (ssize_t)sizeof(*sample);
}

static bool run_client(const struct peer *peer, const struct workload *workload, uint16_t port,
                       uint64_t messages, struct sample *sample)
{
    int pipe_ends[2];
    pid_t parent = getpid();
    pid_t pid = -1;
    if (pipe(pipe_ends) != 0 || (pid = fork()) < 0) {
        stop("no process for the client: %m");
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        struct sample measured;
        measure(peer, workload, port, messages, &measured);
        _exit(write(pipe_ends[1], &measured, sizeof(measured)) == sizeof(measured) ? 0 : 1);
    }
    (void)close(pipe_ends[1]);
    bool good = collect(pid, pipe_ends[0], sample);
    (void)close(pipe_ends[0]);
    return good;
}

/* Whether the null server tells of the connection, and saw as many bytes as were published. */
static bool is_complete(struct bench_server *server, const struct workload *workload,
                        const struct sample *sample, struct server_account *account)
{
    if (!server_account(server, account)) {
        fprintf(stderr, "bench: the null server did not see the connection end\n");
        return false;
    }
    uint64_t frame_len = workload_publish_frame_len(PEER_TOPIC, workload->payload_len);
    uint64_t bytes = sample->published_in_all * frame_len;
    if (workload->kind != WORKLOAD_PUBLISH ||
        (account->received_bytes >= bytes && account->received_bytes < bytes + HANDSHAKE_BYTES)) {
        return true;
    }
    fprintf(stderr, "bench: the server received %" PRIu64 " bytes, %" PRIu64 " were published\n",
            account->received_bytes, bytes);
    return false;
}

bool trial_run(const struct peer *peer, const struct workload *workload, uint64_t messages,
               struct trial *trial)
{
    memset(trial, 0, sizeof(*trial));
    uint64_t all = messages + measure_warm_up(messages);
    struct bench_server *server = server_start(workload, all);
    bool good = run_client(peer, workload, server_port(server), messages, &trial->sample);
    if (good && workload->server == SERVER_NULL) {
        struct server_account account;
        good = is_complete(server, workload, &trial->sample, &account);
        trial->server_cpu_ns = good ? (double)account.cpu_ns / (double)all : 0;
    }
    server_stop(server);
    return good;
}
