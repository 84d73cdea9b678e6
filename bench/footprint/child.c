/* SPDX-License-Identifier: MIT */
#include "footprint/child.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/stop.h"

struct child child_start(child_fn *run, const void *context)
{
    int ends[2];
    pid_t parent = getpid();
    struct child child;
    (void)fflush(stdout); /* or the child has what is not written yet too */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || (child.pid = fork()) < 0) {
        stop("no process for the client: %m");
    }
    if (child.pid == 0) {
        (void)close(ends[0]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        run(ends[1], context);
        _exit(0);
    }
    (void)close(ends[1]);
    child.line = ends[0];
    return child;
}

bool child_tell(int line, const void *bytes, size_t len)
{
    return send(line, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

bool child_hear(int line, void *bytes, size_t len)
{
    return recv(line, bytes, len, MSG_WAITALL) == (ssize_t)len;
}

bool child_finish(struct child child)
{
    int status = 0;
    (void)waitpid(child.pid, &status, 0);
    (void)close(child.line);
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "bench: the client was ended by signal %d\n", WTERMSIG(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
