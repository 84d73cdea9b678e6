/* SPDX-License-Identifier: MIT */
/*
 * The `roulette` program: finds the command, and makes sure that what it printed was written.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "command.h"

static const struct command *const commands[] = {&command_pub, &command_sub, &command_ring};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

void command_complain(const struct command *command, const char *format, ...)
{
    va_list arguments;
    /* What was printed before comes before. */
    (void)fflush(stdout);
    va_start(arguments, format);
    (void)fprintf(stderr, command != NULL ? "roulette %s: " : "roulette: ",
                  command != NULL ? command->name : "");
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

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
                "message in time); 2 for a wrong command line. An error is one line on stderr\n"
                "that says what to change.\n",
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

int main(int argc, char **argv)
{
    int result = dispatch(argc, argv);
    /* A full disk behind stdout must not look like success. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && result == COMMAND_OK) {
        perror("roulette: standard output");
        result = COMMAND_FAILED;
    }
    return result;
}
