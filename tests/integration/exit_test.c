/* SPDX-License-Identifier: MIT */
/**
 * A process ends without closing its client, whatever the client is just doing: exit() runs the
 * handlers of the program and of OpenSSL while the event threads go on.
 *
 * RLT_EXITS says how often each way of leaving is tried; RLT_TIMEOUT has to allow for it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/certificates.h"
#include "support/condition.h"
#include "support/door.h"
#include "support/env.h"
#include "support/scratch.h"
#include "support/test.h"

#define EXITS    SCALED(60, 10)
#define AT_ONCE  4
#define LIVES_MS 30 /* connections */
#define AFTER_MS 60 /* the program leaves, at the latest */

static struct scratch scratch;
static struct certificates certificates;
static struct nats_server *server;
static struct door *door;

static void set_up(void)
{
    /* The clients are left as they are: that is no leak. */
    const char *given = getenv("ASAN_OPTIONS");
    char sanitizer[512];
    (void)snprintf(sanitizer, sizeof(sanitizer), "%s:detect_leaks=0", given != NULL ? given : "");
    cr_assert_eq(setenv("ASAN_OPTIONS", sanitizer, 1), 0);
    scratch_create(&scratch);
    cr_assert(certificates_create(&certificates));
}

static void tear_down(void)
{
    door_close(door);
    nats_server_stop(server);
    certificates_destroy(&certificates);
    scratch_destroy(&scratch);
}

#define ExitTest(...) Test(__VA_ARGS__, .init = set_up, .fini = tear_down)

/* A server behind a door. */
static void start(bool tls)
{
    char config[600] = "";
    if (tls) {
        (void)snprintf(config, sizeof(config),
                       "tls { cert_file: \"%s/server.crt\", key_file: \"%s/server.key\" }\n",
                       certificates.folder, certificates.folder);
    }
    server = scratch_server(&scratch, config);
    door = door_open(nats_server_port(server), LIVES_MS);
}

static pid_t spawn(const char *how, uint16_t port, bool tls, unsigned after_ms)
{
    char servers[32];
    char ca[CERTIFICATES_PATH_MAX] = "-";
    char after[16];
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", port);
    (void)snprintf(after, sizeof(after), "%u", after_ms);
    if (tls) {
        certificates_path(&certificates, "ca.crt", ca);
    }
    char leaver[] = LEAVER;
    char way[16];
    (void)snprintf(way, sizeof(way), "%s", how);
    char *const arguments[] = {leaver, way, servers, ca, after, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        (void)execv(leaver, arguments);
        _exit(127);
    }
    cr_assert_gt(pid, 0);
    return pid;
}

/* Leave again and again. Fails if one does not end, or not well. */
static void leave(const char *how, uint16_t port, bool tls, int count)
{
    pid_t pids[AT_ONCE];
    unsigned seed = (unsigned)count;
    int failed = 0;
    for (int done = 0; done < count; done += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            pids[i] = spawn(how, port, tls, (unsigned)rand_r(&seed) % AFTER_MS);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            int status = -1;
            EVENTUALLY(waitpid(pids[i], &status, WNOHANG) == pids[i]);
            if (status != 0) {
                printf("leaving by \"%s\", tls %d: status %x\n", how, tls, (unsigned)status);
                failed++;
            }
        }
    }
    cr_assert_eq(failed, 0, "%d of %d", failed, count);
}

static void leave_often(const char *how, bool tls)
{
    start(tls);
    int count = (int)env_number("RLT_EXITS", EXITS);
    leave(how, door_port(door), tls, count);
    leave(how, nats_server_port(server), tls, count / 4);
}

ExitTest(exit, main_returns_under_a_tls_client)
{
    leave_often("return", true);
}

ExitTest(exit, main_returns_under_a_clear_client)
{
    leave_often("return", false);
}

ExitTest(exit, thread_exits_under_a_tls_client)
{
    leave_often("thread", true);
}

ExitTest(exit, thread_exits_under_a_clear_client)
{
    leave_often("thread", false);
}

ExitTest(exit, signal_handler_ends_a_tls_client)
{
    leave_often("signal", true);
}

ExitTest(exit, signal_handler_ends_a_clear_client)
{
    leave_often("signal", false);
}

/* ---- Exit handlers ------------------------------------------------------------------------ */

ExitTest(exit, openssl_is_cleaned_up_under_a_client)
{
    start(true);
    leave("cleanup", door_port(door), true, SCALED(16, 4));
}

ExitTest(exit, handler_from_before_the_client_closes_it)
{
    start(true);
    leave("close", door_port(door), true, SCALED(16, 4));
    leave("close", nats_server_port(server), true, SCALED(16, 4));
}

ExitTest(exit, handler_from_before_the_client_ends_its_log)
{
    start(true);
    leave("log", door_port(door), true, SCALED(16, 4));
}

ExitTest(exit, forked_child_exits_at_once)
{
    start(true);
    leave("fork", door_port(door), true, SCALED(16, 4));
}
