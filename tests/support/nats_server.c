/* SPDX-License-Identifier: MIT */
#include "support/nats_server.h"

#include "support/net.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PROGRAM "nats-server"

enum {
    START_TRIES = 5,
    START_MS = 15000,
    STOP_MS = 5000,
    RELOAD_MS = 15000,
    GET_MS = 15000,
    TICK_MS = 10,
    ARGS_MAX = 64,
    BODY_BYTES_MAX = 256 << 20,
};

struct nats_server {
    pid_t pid; /* 0: not running */
    int pidfd;
    int log; /* a memfd that the process writes its stderr to */
    uint16_t port;
    uint16_t monitor_port;
    char *program;
    char name[64]; /* INFO repeats it: proves that this very process answers on the port */
    char port_text[8];
    char monitor_text[8];
    size_t extra_count;
    char *args[ARGS_MAX + 1]; /* the last `extra_count` are heap copies */
};

void nats_server_print_log(const struct nats_server *server)
{
    char text[4096];
    ssize_t len;
    off_t at = 0;
    fprintf(stderr, "---- log of nats-server, port %u ----\n", server->port);
    while ((len = pread(server->log, text, sizeof(text), at)) > 0) {
        (void)fwrite(text, 1, (size_t)len, stderr);
        at += len;
    }
    fprintf(stderr, "---- end ----\n");
}

static void complain(const struct nats_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(const struct nats_server *server, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("nats_server: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    nats_server_print_log(server);
}

/** In the child: only what is safe after fork() in a process with threads. Never returns. */
static _Noreturn void become_server(const struct nats_server *server, pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) {
        (void)dup2(server->log, STDOUT_FILENO);
        (void)dup2(server->log, STDERR_FILENO);
        (void)execvp(server->program, server->args);
        if (strcmp(server->program, DEFAULT_PROGRAM) == 0) {
            (void)execv("/usr/sbin/nats-server", server->args); /* not in every user's PATH */
        }
    }
    _exit(127);
}

static bool spawn(struct nats_server *server)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become_server(server, parent);
    }
    if (pid < 0) {
        complain(server, "fork: %s", strerror(errno));
        return false;
    }
    server->pid = pid;
    server->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return true;
}

/** Wait for the process to end. Returns: whether it did before the deadline. */
static bool reap(struct nats_server *server, uint64_t deadline_ms)
{
    if (server->pid == 0) {
        return true;
    }
    if (!net_wait(server->pidfd, POLLIN, deadline_ms)) {
        return false;
    }
    (void)waitpid(server->pid, NULL, 0);
    (void)close(server->pidfd);
    server->pid = 0;
    server->pidfd = -1;
    return true;
}

/** Whether the process answers on its port with its own INFO now. */
static bool greets(const struct nats_server *server, uint64_t deadline_ms)
{
    char info[8192];
    size_t len = 0;
    int fd = net_connect(server->port);
    if (fd < 0) {
        return false;
    }
    while (len < sizeof(info) - 1 && net_wait(fd, POLLIN, deadline_ms)) {
        ssize_t got = recv(fd, info + len, sizeof(info) - 1 - len, 0);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        if (memchr(info, '\n', len) != NULL) {
            break;
        }
    }
    (void)close(fd);
    info[len] = '\0';
    return strncmp(info, "INFO ", 5) == 0 && strstr(info, server->name) != NULL;
}

/** Spawn and wait for INFO. Returns: whether it came; if not, the process is gone. */
static bool launch(struct nats_server *server)
{
    uint64_t deadline_ms = net_now_ms() + START_MS;
    if (!spawn(server)) {
        return false;
    }
    while (net_left_ms(deadline_ms) > 0) {
        if (greets(server, deadline_ms)) {
            return true;
        }
        /* Both the pause between two attempts and the watch for an early end. */
        if (reap(server, net_now_ms() + TICK_MS)) {
            return false;
        }
    }
    (void)nats_server_kill(server, SIGKILL);
    return false;
}

static void choose_ports(struct nats_server *server)
{
    server->port = net_hold_port();
    server->monitor_port = net_hold_port();
    (void)snprintf(server->port_text, sizeof(server->port_text), "%u", server->port);
    (void)snprintf(server->monitor_text, sizeof(server->monitor_text), "%u", server->monitor_port);
    (void)snprintf(server->name, sizeof(server->name), "roulette-test-%d-%u", (int)getpid(),
                   server->port);
}

/** Fill `args` with the fixed arguments and copies of the extra ones. */
static bool build_args(struct nats_server *server, const char *const *extra_args)
{
    char *fixed[] = {DEFAULT_PROGRAM, "-a", "127.0.0.1", "-p", server->port_text, "-m", NULL,
                     "--server_name", NULL};
    fixed[6] = server->monitor_text;
    fixed[8] = server->name;
    size_t count = sizeof(fixed) / sizeof(fixed[0]);
    memcpy(server->args, fixed, sizeof(fixed));
    while (extra_args != NULL && *extra_args != NULL) {
        if (count == ARGS_MAX || (server->args[count] = strdup(*extra_args)) == NULL) {
            return false;
        }
        count++;
        extra_args++;
        server->extra_count++;
    }
    server->args[count] = NULL;
    return true;
}

static void destroy(struct nats_server *server)
{
    size_t count = 0;
    while (server->args[count] != NULL) {
        count++;
    }
    for (size_t i = count - server->extra_count; i < count; i++) {
        free(server->args[i]);
    }
    if (server->log >= 0) {
        (void)close(server->log);
    }
    free(server->program);
    free(server);
}

struct nats_server *nats_server_start(const char *const *extra_args)
{
    struct nats_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return NULL;
    }
    server->pidfd = -1;
    server->log = memfd_create("nats-server.log", MFD_CLOEXEC);
    const char *program = getenv("ROULETTE_NATS_SERVER");
    server->program = strdup(program != NULL && program[0] != '\0' ? program : DEFAULT_PROGRAM);
    bool usable = server->log >= 0 && server->program != NULL && build_args(server, extra_args);
    /* A program that is none of ours may listen at a port that we hold: see net_hold_port(). */
    for (int i = 0; usable && i < START_TRIES; i++) {
        choose_ports(server);
        if (launch(server)) {
            return server;
        }
    }
    complain(server, "no server started in %d attempts", START_TRIES);
    destroy(server);
    return NULL;
}

uint16_t nats_server_port(const struct nats_server *server)
{
    return server->port;
}

uint16_t nats_server_monitor_port(const struct nats_server *server)
{
    return server->monitor_port;
}

/** Wait until all threads of the process stand still. Returns: whether they did in time. */
static bool await_stop(struct nats_server *server, uint64_t deadline_ms)
{
    siginfo_t info = {0};
    while (waitid(P_PID, (id_t)server->pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == 0) {
        if (net_left_ms(deadline_ms) == 0) {
            complain(server, "still running %d ms after SIGSTOP", STOP_MS);
            return false;
        }
        (void)poll(NULL, 0, 1);
    }
    return info.si_pid == server->pid;
}

bool nats_server_kill(struct nats_server *server, int signal)
{
    if (server->pid == 0 || kill(server->pid, signal) != 0) {
        complain(server, "signal %d: the process is not running", signal);
        return false;
    }
    if (signal == SIGSTOP) {
        return await_stop(server, net_now_ms() + STOP_MS);
    }
    if (signal != SIGKILL && signal != SIGTERM && signal != SIGINT) {
        return true;
    }
    if (!reap(server, net_now_ms() + STOP_MS)) {
        complain(server, "still running %d ms after signal %d", STOP_MS, signal);
        return false;
    }
    return true;
}

bool nats_server_restart(struct nats_server *server)
{
    if (!reap(server, net_now_ms() + STOP_MS)) {
        complain(server, "restart: the process is still running");
        return false;
    }
    for (int i = 0; i < START_TRIES; i++) {
        if (launch(server)) {
            return true;
        }
    }
    complain(server, "no restart in %d attempts", START_TRIES);
    return false;
}

const char *nats_server_name(const struct nats_server *server)
{
    return server->name;
}

/* How often the log has a text. */
static size_t count_logged(const struct nats_server *server, const char *text)
{
    char log[1 << 16];
    ssize_t len = pread(server->log, log, sizeof(log) - 1, 0);
    log[len > 0 ? len : 0] = '\0';
    size_t count = 0;
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

bool nats_server_reload(struct nats_server *server)
{
    static const char done[] = "Reloaded server configuration";
    uint64_t deadline_ms = net_now_ms() + RELOAD_MS;
    size_t before = count_logged(server, done);
    if (!nats_server_kill(server, SIGHUP)) {
        return false;
    }
    while (count_logged(server, done) == before) {
        if (net_left_ms(deadline_ms) == 0) {
            complain(server, "not reloaded in %d ms", RELOAD_MS);
            return false;
        }
        (void)poll(NULL, 0, 1);
    }
    return true;
}

void nats_server_stop(struct nats_server *server)
{
    if (server == NULL) {
        return;
    }
    if (server->pid != 0) {
        (void)kill(server->pid, SIGTERM);
        (void)kill(server->pid, SIGCONT); /* a stopped process acts on SIGTERM only then */
        if (!reap(server, net_now_ms() + STOP_MS)) {
            (void)nats_server_kill(server, SIGKILL);
        }
    }
    destroy(server);
}

/** Read until the peer closes. Returns: NUL-terminated heap memory, or NULL. */
static char *read_all(int fd, uint64_t deadline_ms)
{
    size_t size = 65536;
    size_t len = 0;
    char *text = malloc(size);
    while (text != NULL && net_wait(fd, POLLIN, deadline_ms)) {
        ssize_t got = recv(fd, text + len, size - 1 - len, 0);
        if (got == 0) {
            text[len] = '\0';
            return text;
        }
        if (got < 0 || size > BODY_BYTES_MAX) {
            break;
        }
        len += (size_t)got;
        if (len == size - 1) {
            char *larger = realloc(text, size *= 2);
            if (larger == NULL) {
                break;
            }
            text = larger;
        }
    }
    free(text);
    return NULL;
}

char *nats_server_get(struct nats_server *server, const char *path)
{
    char request[1024];
    /* HTTP/1.0: the body ends with the connection and is not chunked. */
    int len =
        snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", path);
    int fd = net_connect(server->monitor_port);
    char *response = NULL;
    if (fd >= 0 && len > 0 && (size_t)len < sizeof(request) &&
        send(fd, request, (size_t)len, MSG_NOSIGNAL) == len) {
        response = read_all(fd, net_now_ms() + GET_MS);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    char *body = response != NULL ? strstr(response, "\r\n\r\n") : NULL;
    if (body == NULL || strncmp(response, "HTTP/1.0 200 ", 13) != 0) {
        complain(server, "GET %s: %.60s", path, response != NULL ? response : "no answer");
        free(response);
        return NULL;
    }
    memmove(response, body + 4, strlen(body + 4) + 1);
    return response;
}

json_t *nats_server_json(struct nats_server *server, const char *path)
{
    json_error_t error;
    char *text = nats_server_get(server, path);
    if (text == NULL) {
        return NULL;
    }
    json_t *json = json_loads(text, 0, &error);
    if (json == NULL) {
        complain(server, "GET %s: %s", path, error.text);
    }
    free(text);
    return json;
}
