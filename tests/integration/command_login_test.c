/* SPDX-License-Identifier: MIT */
/**
 * How the command logs in without a secret on its command line: a password from a file, from the
 * environment or from the terminal; a client certificate.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "support/certificates.h"
#include "support/condition.h"
#include "support/net.h"
#include "support/process.h"
#include "support/scratch.h"
#include "support/test.h"

#define PASSWORD "pa ss\\word"

static struct scratch scratch;
static struct nats_server *server;
static char address[64];

static void set_up(void)
{
    scratch_create(&scratch);
    server = scratch_server(&scratch, "authorization { user: \"ann\", password: \"pa ss\\\\word\" "
                                      "}\n");
    cr_assert_not_null(server);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", nats_server_port(server));
    (void)unsetenv("ROULETTE_PASSWORD");
}

static void tear_down(void)
{
    nats_server_stop(server);
    scratch_destroy(&scratch);
}

#define LoginTest(name) Test(command_login, name, .init = set_up, .fini = tear_down)

/* Run a command; its exit code, and a text that stderr must have. */
static void expect(const char *const *argv, int code, const char *says)
{
    struct process process;
    process_start(&process, argv, "", 0);
    int result = process_wait(&process);
    char *printed = process_printed(process.err, NULL);
    cr_assert_eq(result, code, "exit code %d: %s", result, printed);
    cr_assert(strstr(printed, says) != NULL, "%s", printed);
    cr_assert_null(strstr(printed, PASSWORD));
    free(printed);
    process_end(&process);
}

LoginTest(password_is_read_from_a_file)
{
    char path[SCRATCH_PATH_MAX];
    scratch_path(&scratch, "password", path);
    const char *argv[] = {
        RLT_COMMAND, "pub",       "-s",   address, "--user", "ann", "--password-file",
        path,        "--timeout", "5000", "t",     "x",      NULL};
    expect(argv, 2, "No such file");
    scratch_write(&scratch, "password", PASSWORD "\n");
    expect(argv, 0, "");
    scratch_write(&scratch, "password", "\n");
    expect(argv, 2, "give a file that holds a password and nothing else");
    scratch_write(&scratch, "password", "two\nlines\n");
    expect(argv, 2, "give a file that holds a password and nothing else");
    scratch_write(&scratch, "password", "wrong\n");
    expect(argv, 1, "correct user and password");
}

/* Also for a second client: a longer line needs one. */
LoginTest(password_is_read_from_the_environment)
{
    const char *argv[] = {RLT_COMMAND, "pub", "-s", address, "--user", "ann", "--lines", "t", NULL};
    enum { LEN = 3 * 1024 * 1024 };
    char *lines = malloc(LEN + 8);
    cr_assert_not_null(lines);
    memcpy(lines, "first\n", 6);
    memset(lines + 6, 'x', LEN);
    scratch_restart(&scratch, server,
                    "max_payload: 8388608\n"
                    "authorization { user: \"ann\", password: \"pa ss\\\\word\" }\n");
    (void)setenv("ROULETTE_PASSWORD", PASSWORD, 1);
    struct process process;
    process_start(&process, argv, lines, 6 + LEN);
    int result = process_wait(&process);
    char *printed = process_printed(process.err, NULL);
    cr_assert_eq(result, 0, "%s", printed);
    free(printed);
    free(lines);
    process_end(&process);
}

/* ---- The terminal ------------------------------------------------------------------------- */

/* Run a command on a terminal of its own. Returns: the terminal's other side. */
static int start_on_terminal(const char *const *argv, pid_t *pid)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64];
    cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    cr_assert_eq(ptsname_r(master, name, sizeof(name)), 0);
    *pid = fork();
    cr_assert_geq(*pid, 0);
    if (*pid == 0) {
        (void)setsid();
        int terminal = open(name, O_RDWR);
        (void)ioctl(terminal, TIOCSCTTY, 0);
        (void)dup2(terminal, STDERR_FILENO);
        (void)execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    return master;
}

/* Read what the terminal shows until it has `text`. */
static void await_shown(int master, const char *text, char *shown, size_t size)
{
    size_t len = 0;
    uint64_t deadline_ms = net_now_ms() + EVENTUALLY_MS;
    while (strstr(shown, text) == NULL) {
        cr_assert(net_wait(master, POLLIN, deadline_ms), "it shows: %s", shown);
        ssize_t got = read(master, shown + len, size - 1 - len);
        cr_assert(got > 0, "it shows: %s", shown);
        len += (size_t)got;
        shown[len] = '\0';
    }
}

static bool is_echo_on(int master)
{
    struct termios state;
    cr_assert_eq(tcgetattr(master, &state), 0);
    return (state.c_lflag & ECHO) != 0;
}

LoginTest(password_is_asked_for_on_the_terminal_and_not_shown)
{
    const char *argv[] = {RLT_COMMAND, "pub", "-s", address, "--user", "ann", "t", "x", NULL};
    char shown[4096] = "";
    int status;
    pid_t pid;
    int master = start_on_terminal(argv, &pid);
    await_shown(master, "Password of ann: ", shown, sizeof(shown));
    cr_assert_not(is_echo_on(master));
    cr_assert_eq(write(master, PASSWORD "\n", strlen(PASSWORD) + 1), (ssize_t)strlen(PASSWORD) + 1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    cr_assert_null(strstr(shown, PASSWORD));
    (void)close(master);
}

LoginTest(interrupted_question_leaves_a_terminal_that_shows_what_is_typed)
{
    const char *argv[] = {RLT_COMMAND, "pub", "-s", address, "--user", "ann", "t", "x", NULL};
    char shown[4096] = "";
    int status;
    pid_t pid;
    int master = start_on_terminal(argv, &pid);
    await_shown(master, "Password of ann: ", shown, sizeof(shown));
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "status %x", (unsigned)status);
    (void)close(master);
}

/* ---- The command line --------------------------------------------------------------------- */

LoginTest(options_that_do_not_go_together_are_refused)
{
    static const struct {
        const char *arguments[6];
        const char *says;
    } rows[] = {
        {{"--password-file", "x"}, "give --user too"},
        {{"--user", "a", "--creds", "b"}, "give one of them"},
        {{"--user", "a", "--nkey", "b"}, "give one of them"},
        {{"--creds", "a", "--nkey", "b"}, "give one of them"},
        {{"--tls-cert", "a"}, "give both"},
        {{"--tls-key", "a"}, "give both"},
        {{"--user", "a", "--user", "b"}, "--user is given twice: remove one"},
        {{"-s", "h"}, "--servers is given twice: remove one"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *argv[16] = {RLT_COMMAND, "pub", "-s", address, "t", "x"};
        for (size_t j = 0; j < 6 && rows[i].arguments[j] != NULL; j++) {
            argv[6 + j] = rows[i].arguments[j];
        }
        expect(argv, 2, rows[i].says);
    }
}

/* ---- TLS ---------------------------------------------------------------------------------- */

LoginTest(client_certificate_and_server_name_are_used)
{
    struct certificates certificates;
    char paths[3][CERTIFICATES_PATH_MAX];
    static const char *const names[] = {"ca.crt", "client.crt", "client.key"};
    char config[1024];
    cr_assert(certificates_create(&certificates));
    for (size_t i = 0; i < 3; i++) {
        certificates_path(&certificates, names[i], paths[i]);
    }
    (void)snprintf(config, sizeof(config),
                   "tls { cert_file: \"%s/other_host.crt\", key_file: \"%s/other_host.key\", "
                   "ca_file: \"%s\", verify: true, timeout: 10 }\n",
                   certificates.folder, certificates.folder, paths[0]);
    scratch_restart(&scratch, server, config);
    const char *all[] = {
        RLT_COMMAND,  "pub",    "-s",        address,  "--tls-ca",          paths[0],
        "--tls-cert", paths[1], "--tls-key", paths[2], "--tls-server-name", "other.test",
        "t",          "x",      NULL};
    expect(all, 0, "");
    const char *name_only[] = {
        RLT_COMMAND,  "pub",       "-s",   address, "--tls-ca", paths[0], "--tls-server-name",
        "other.test", "--timeout", "2000", "t",     "x",        NULL};
    expect(name_only, 1, "tls_cert_file");
    const char *bare[] = {RLT_COMMAND, "pub",  "-s", address, "--tls",
                          "--timeout", "2000", "t",  "x",     NULL};
    expect(bare, 1, "the server's certificate is not");
    certificates_destroy(&certificates);
}
