/* SPDX-License-Identifier: MIT */
/*
 * The `roulette` program: finds the command, and makes sure that what it printed was written.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "complain.h"

static const struct command *const commands[] = {&command_pub, &command_sub, &command_ring};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_usage(FILE *stream)
{
    (void)fputs("usage: roulette COMMAND [OPTION]... [OPERAND]...\n"
                "\n"
                "Publish and subscribe over several independent NATS clusters. The topic alone\n"
                "decides, by consistent hashing, which cluster carries it.\n"
                "\n",
                stream);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        (void)fprintf(stream, "  %-6s %s\n", commands[i]->name, commands[i]->summary);
    }
    (void)fputs("\n"
                "  roulette COMMAND --help tells its options; roulette --version the version.\n"
                "\n"
                "Exit code: 0 if all went well; 1 if not (no connection, no confirmation, no\n"
                "message in time; standard input cannot be read; standard output cannot be\n"
                "written, nobody reads it any more, or it was closed from the start); 2 for a\n"
                "wrong command line. An error is one line on stderr that says what to change.\n"
                "SIGPIPE is ignored.\n",
                stream);
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct arguments arguments;
    int result = arguments_parse(command, argc, argv, &arguments);
    if (result != 0) {
        return result;
    }
    if (arguments.help) {
        (void)fputs(command->help, stdout);
        return COMMAND_OK;
    }
    return command->run(command, &arguments);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return COMMAND_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return COMMAND_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("roulette %s\n", roulette_version());
        return COMMAND_OK;
    }
    const struct command *command = find(argv[1]);
    if (command == NULL) {
        command_complain(NULL,
                         "\"%s\" is not a command: give pub, sub or ring, or see roulette "
                         "--help",
                         argv[1]);
        return COMMAND_USAGE;
    }
    return run(command, argc - 1, argv + 1);
}

/*
 * Some supervisors start programs without standard descriptors. A socket or file that came to be
 * number 2 would be sent all that is complained about. So what is missing is opened, the wrong way
 * round: to read or write there is an error, as it is with a closed one, not an empty message
 * published or messages printed to nobody.
 *
 * Returns: whether 0, 1 and 2 are open.
 */
static bool open_missing(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        int mode = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        /* open() takes the lowest free number; all below are taken. */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode) != fd) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    if (!open_missing()) {
        command_complain(NULL, "a standard descriptor is closed, and /dev/null cannot be opened "
                               "in its place");
        return COMMAND_FAILED;
    }
    /* A reader of the log that has gone ends no publication; one of standard output is found by
     * EPIPE. */
    (void)signal(SIGPIPE, SIG_IGN);
    int result = dispatch(argc, argv);
    /* A full disk behind stdout must not look like success. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && result == COMMAND_OK) {
        command_complain(NULL, "standard output: %s", strerror(errno));
        result = COMMAND_FAILED;
    }
    return result;
}
