/* SPDX-License-Identifier: MIT */
#include "harness/calls.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/stop.h"

/* A call that does not exist: it tells the tracer of the second moment. */
#define END_CALL 0x3ff0

/* What the filter tells the tracer of a call. */
enum { TELL_CALL = 1, TELL_END = 2 };

/* ---- In the traced process ---------------------------------------------------------------- */

static bool traced;

void calls_await_tracer(int from_parent)
{
    char go;
    traced = read(from_parent, &go, 1) == 1 && go == 'y';
}

void calls_begin(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, END_CALL, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | TELL_END),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | TELL_CALL),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (!traced) {
        return;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
        stop("system calls cannot be counted: seccomp: %m");
    }
}

void calls_end(void)
{
    if (traced) {
        (void)syscall(END_CALL);
    }
}

/* ---- In its parent ------------------------------------------------------------------------ */

/* A thread stands still: count what it was stopped for, and let it go on. */
static void resume(pid_t tid, int status, uint64_t *count, bool *counting)
{
    int event = status >> 16;
    if (event == PTRACE_EVENT_SECCOMP) {
        unsigned long told = 0;
        (void)ptrace(PTRACE_GETEVENTMSG, tid, NULL, &told);
        *counting = *counting && told != TELL_END;
        *count += *counting ? 1 : 0;
    }
    /* Without an event it stands before a signal, which it is to have. */
    unsigned long signal = event == 0 ? (unsigned long)WSTOPSIG(status) : 0;
    (void)ptrace(PTRACE_CONT, tid, NULL, (void *)signal);
}

bool calls_trace(pid_t pid, int to_child, int *status, uint64_t *count)
{
    unsigned long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    bool attached = ptrace(PTRACE_SEIZE, pid, NULL, (void *)options) == 0;
    bool counting = attached;
    *count = 0;
    if (!attached) {
        fprintf(stderr, "bench: system calls cannot be counted: ptrace: %m\n");
    }
    if (write(to_child, attached ? "y" : "n", 1) != 1) {
        stop("the client cannot be told to begin: %m");
    }
    for (;;) {
        pid_t tid = waitpid(attached ? -1 : pid, status, __WALL);
        if (tid < 0 && errno != EINTR) {
            stop("the client cannot be waited for: %m");
        }
        if (tid > 0 && WIFSTOPPED(*status)) {
            resume(tid, *status, count, &counting);
        } else if (tid == pid) {
            /* One that never came to its second moment has no count. */
            return attached && !counting;
        }
    }
}
