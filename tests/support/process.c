/* SPDX-License-Identifier: MIT */
#include "support/process.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/condition.h"
#include "support/net.h"

static int make_file(const void *bytes, size_t len)
{
    int fd = memfd_create("process", MFD_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, bytes, len) == (ssize_t)len);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/** In the child: only what is safe after fork() in a process with threads. Never returns. */
static _Noreturn void become(const struct process *process, int in, int out,
                             const char *const *argv, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) {
        (void)dup2(in, STDIN_FILENO);
        (void)dup2(out, STDOUT_FILENO);
        (void)dup2(process->err, STDERR_FILENO);
        (void)execv(argv[0], (char *const *)(uintptr_t)argv);
    }
    _exit(127);
}

void process_start_into(struct process *process, const char *const *argv, const void *input,
                        size_t input_len, int out)
{
    int in = make_file(input, input_len);
    process->out = -1;
    process->err = make_file("", 0);
    pid_t parent = getpid();
    process->pid = fork();
    if (process->pid == 0) {
        become(process, in, out, argv, parent);
    }
    REQUIRE(process->pid > 0);
    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    REQUIRE(process->pidfd >= 0);
    (void)close(in);
}

void process_start(struct process *process, const char *const *argv, const void *input,
                   size_t input_len)
{
    int out = make_file("", 0);
    process_start_into(process, argv, input, input_len, out);
    process->out = out;
}

int process_wait(struct process *process)
{
    REQUIRE(net_wait(process->pidfd, POLLIN, net_now_ms() + EVENTUALLY_MS),
            "the program does not end");
    int status = 0;
    REQUIRE(waitpid(process->pid, &status, 0) == process->pid);
    process->pid = 0;
    REQUIRE(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

void process_signal(struct process *process, int signal)
{
    REQUIRE(process->pid > 0 && kill(process->pid, signal) == 0);
}

char *process_printed(int descriptor, size_t *len)
{
    struct stat file;
    REQUIRE(fstat(descriptor, &file) == 0);
    char *text = malloc((size_t)file.st_size + 1);
    REQUIRE(text != NULL);
    /* Not read(): the program writes at the position that both share. */
    ssize_t got = pread(descriptor, text, (size_t)file.st_size, 0);
    REQUIRE(got == (ssize_t)file.st_size);
    text[got] = '\0';
    if (len != NULL) {
        *len = (size_t)got;
    }
    return text;
}

static bool has_printed(int descriptor, const char *text)
{
    char *printed = process_printed(descriptor, NULL);
    bool found = strstr(printed, text) != NULL;
    free(printed);
    return found;
}

void process_await_error(struct process *process, const char *text)
{
    EVENTUALLY(has_printed(process->err, text));
}

void process_end(struct process *process)
{
    if (process->pid != 0) {
        (void)kill(process->pid, SIGKILL);
        (void)waitpid(process->pid, NULL, 0);
        process->pid = 0;
    }
    (void)close(process->pidfd);
    if (process->out >= 0) {
        (void)close(process->out);
    }
    (void)close(process->err);
}
