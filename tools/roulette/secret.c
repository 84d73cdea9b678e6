/* SPDX-License-Identifier: MIT */
#include "secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "complain.h"

/* ---- A file ------------------------------------------------------------------------------- */

int secret_of_file(const struct command *command, const char *option, const char *what,
                   const char *path, char secret[SECRET_MAX])
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        command_complain(command, "%s %s: %s", option, path, strerror(errno));
        return COMMAND_USAGE;
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy that is not wiped */
    size_t len = fread(secret, 1, SECRET_MAX, file);
    bool bad = ferror(file) != 0 || len == SECRET_MAX;
    (void)fclose(file);
    while (!bad && len > 0 && isspace((unsigned char)secret[len - 1])) {
        len--;
    }
    if (bad || len == 0 || memchr(secret, '\0', len) != NULL || memchr(secret, '\n', len) != NULL) {
        command_complain(command, "%s %s: give a file that holds %s and nothing else", option, path,
                         what);
        return COMMAND_USAGE;
    }
    secret[len] = '\0';
    return 0;
}

/* ---- The terminal ------------------------------------------------------------------------- */

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
enum { ENDING_SIGNALS = sizeof(ending_signals) / sizeof(ending_signals[0]) };

/* Relaxed: there is one thread. */
static atomic_int caught;

static void on_signal(int signal)
{
    atomic_store_explicit(&caught, signal, memory_order_relaxed);
}

/* What was set before the question. */
struct signals {
    struct sigaction actions[ENDING_SIGNALS];
    sigset_t mask;
};

/* Signals end the question, so that the terminal shows again what is typed before they act. They
 * come only while it is waited for the answer: none slips in between. */
static void catch_signals(struct signals *before)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t ending;
    (void)sigemptyset(&ending);
    for (size_t i = 0; i < ENDING_SIGNALS; i++) {
        (void)sigaddset(&ending, ending_signals[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &ending, &before->mask);
    for (size_t i = 0; i < ENDING_SIGNALS; i++) {
        (void)sigaction(ending_signals[i], &action, &before->actions[i]);
    }
}

static void release_signals(const struct signals *before)
{
    for (size_t i = 0; i < ENDING_SIGNALS; i++) {
        (void)sigaction(ending_signals[i], &before->actions[i], NULL);
    }
    (void)sigprocmask(SIG_SETMASK, &before->mask, NULL);
    int signal = atomic_load_explicit(&caught, memory_order_relaxed);
    if (signal != 0) {
        (void)raise(signal);
    }
}

/* Read a line without its end; `mask` holds while it is waited for. Returns: its length; -1 if
 * there is none, or it is too long, or a signal has come. */
static ssize_t read_line(int terminal, const sigset_t *mask, char secret[SECRET_MAX])
{
    struct pollfd typed = {.fd = terminal, .events = POLLIN};
    size_t len = 0;
    while (len < SECRET_MAX && ppoll(&typed, 1, NULL, mask) == 1 &&
           read(terminal, &secret[len], 1) == 1) {
        if (secret[len] == '\n') {
            secret[len] = '\0';
            return (ssize_t)len;
        }
        len++;
    }
    return -1;
}

/* Ask on a terminal that does not show the answer. Returns: as read_line(). */
static ssize_t ask(int terminal, const char *user, char secret[SECRET_MAX])
{
    struct signals before;
    struct termios shown;
    if (tcgetattr(terminal, &shown) != 0) {
        return -1;
    }
    struct termios hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    catch_signals(&before);
    (void)tcsetattr(terminal, TCSAFLUSH, &hidden);
    (void)dprintf(terminal, "Password of %s: ", user);
    ssize_t len = read_line(terminal, &before.mask, secret);
    (void)tcsetattr(terminal, TCSAFLUSH, &shown);
    (void)dprintf(terminal, "\n");
    release_signals(&before);
    return len;
}

/* ---- The password ------------------------------------------------------------------------- */

/* Take it out of the environment, which other programs of this user can read too. */
static int from_environment(const struct command *command, char *value, char secret[SECRET_MAX])
{
    size_t len = strlen(value);
    if (len >= SECRET_MAX) {
        command_complain(command, "ROULETTE_PASSWORD has more than %d bytes: give a shorter one",
                         SECRET_MAX - 1);
        return COMMAND_USAGE;
    }
    memcpy(secret, value, len + 1);
    explicit_bzero(value, len);
    return 0;
}

static int find_password(const struct command *command, const struct arguments *arguments,
                         char secret[SECRET_MAX])
{
    if (arguments->password_file != NULL) {
        return secret_of_file(command, "--password-file", "a password", arguments->password_file,
                              secret);
    }
    char *value = getenv("ROULETTE_PASSWORD");
    if (value != NULL) {
        return from_environment(command, value, secret);
    }
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0) {
        command_complain(command,
                         "--user needs a password: give --password-file FILE, set the "
                         "environment variable ROULETTE_PASSWORD, or run it on a terminal");
        return COMMAND_USAGE;
    }
    ssize_t len = ask(terminal, arguments->user, secret);
    (void)close(terminal);
    if (len < 0) {
        command_complain(command, "no password was typed: type one, or give --password-file FILE");
        return COMMAND_FAILED;
    }
    return 0;
}

int secret_of_user(const struct command *command, const struct arguments *arguments,
                   char secret[SECRET_MAX])
{
    /* A command may open one client after the other, and ask once. */
    static char kept[SECRET_MAX];
    static bool known;
    int result = known ? 0 : find_password(command, arguments, kept);
    known = result == 0;
    memcpy(secret, kept, SECRET_MAX);
    return result;
}
