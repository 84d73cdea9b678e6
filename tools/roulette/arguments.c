/* SPDX-License-Identifier: MIT */
#include "arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "complain.h"

/* getopt's name for an option without a letter: above all letters. */
#define LONG_ONLY 256

/* No text is kept for an option. */
#define NO_TEXT     0
#define TEXT(field) offsetof(struct arguments, field)

/** Every option of every command. */
static const struct option_names {
    enum argument bit;
    const char *name;
    int letter; /* LONG_ONLY + bit: none */
    int has_value;
    size_t text; /* where its value is kept as it is, in struct arguments; NO_TEXT: not */
} table[] = {
    {ARGUMENT_SERVERS, "servers", 's', required_argument, TEXT(servers)},
    {ARGUMENT_RING, "ring", LONG_ONLY + ARGUMENT_RING, required_argument, NO_TEXT},
    {ARGUMENT_POOL, "pool", LONG_ONLY + ARGUMENT_POOL, required_argument, NO_TEXT},
    {ARGUMENT_TIMEOUT, "timeout", LONG_ONLY + ARGUMENT_TIMEOUT, required_argument, NO_TEXT},
    {ARGUMENT_VERBOSE, "verbose", 'v', no_argument, NO_TEXT},
    {ARGUMENT_COUNT, "count", LONG_ONLY + ARGUMENT_COUNT, required_argument, NO_TEXT},
    {ARGUMENT_LINES, "lines", LONG_ONLY + ARGUMENT_LINES, no_argument, NO_TEXT},
    {ARGUMENT_REPLY, "reply", LONG_ONLY + ARGUMENT_REPLY, required_argument, TEXT(reply)},
    {ARGUMENT_RAW, "raw", LONG_ONLY + ARGUMENT_RAW, no_argument, NO_TEXT},
    {ARGUMENT_TEMPORARY, "temporary", LONG_ONLY + ARGUMENT_TEMPORARY, no_argument, NO_TEXT},
    {ARGUMENT_HELP, "help", 'h', no_argument, NO_TEXT},
    {ARGUMENT_TLS_CA, "tls-ca", LONG_ONLY + ARGUMENT_TLS_CA, required_argument, TEXT(tls_ca_file)},
    {ARGUMENT_CREDS, "creds", LONG_ONLY + ARGUMENT_CREDS, required_argument,
     TEXT(credentials_file)},
    {ARGUMENT_NKEY, "nkey", LONG_ONLY + ARGUMENT_NKEY, required_argument, TEXT(nkey_file)},
    {ARGUMENT_QUEUE, "queue", LONG_ONLY + ARGUMENT_QUEUE, required_argument, TEXT(queue_group)},
    {ARGUMENT_USER, "user", LONG_ONLY + ARGUMENT_USER, required_argument, TEXT(user)},
    {ARGUMENT_PASSWORD, "password-file", LONG_ONLY + ARGUMENT_PASSWORD, required_argument,
     TEXT(password_file)},
    {ARGUMENT_TLS, "tls", LONG_ONLY + ARGUMENT_TLS, no_argument, NO_TEXT},
    {ARGUMENT_TLS_CERT, "tls-cert", LONG_ONLY + ARGUMENT_TLS_CERT, required_argument,
     TEXT(tls_cert_file)},
    {ARGUMENT_TLS_KEY, "tls-key", LONG_ONLY + ARGUMENT_TLS_KEY, required_argument,
     TEXT(tls_key_file)},
    {ARGUMENT_TLS_NAME, "tls-server-name", LONG_ONLY + ARGUMENT_TLS_NAME, required_argument,
     TEXT(tls_server_name)},
    {ARGUMENT_TLS_FIRST, "tls-first", LONG_ONLY + ARGUMENT_TLS_FIRST, no_argument, NO_TEXT},
};
enum { TABLE_LEN = sizeof(table) / sizeof(table[0]) };

/* A number from `min` to `max`, in decimal digits only. */
static int parse_number(const struct command *command, const char *name, const char *text,
                        uint64_t min, uint64_t max, uint64_t *number)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    if (!digits || errno != 0 || value < min || value > max) {
        command_complain(command, "--%s is \"%s\": give a number from %llu to %llu", name, text,
                         (unsigned long long)min, (unsigned long long)max);
        return COMMAND_USAGE;
    }
    *number = value;
    return 0;
}

static int parse_ring(const struct command *command, const char *text, enum roulette_ring *ring)
{
    if (strcmp(text, "native") == 0) {
        *ring = ROULETTE_RING_NATIVE;
    } else if (strcmp(text, "roulette") == 0) {
        *ring = ROULETTE_RING_ROULETTE;
    } else {
        command_complain(command, "--ring is \"%s\": give native or roulette", text);
        return COMMAND_USAGE;
    }
    return 0;
}

/* Keep one option whose value is not kept as it is. */
static int take_other(const struct command *command, const struct option_names *option,
                      const char *value, struct arguments *arguments)
{
    uint64_t number = 0;
    int result = 0;
    switch (option->bit) {
    case ARGUMENT_RING:
        return parse_ring(command, value, &arguments->ring);
    case ARGUMENT_POOL:
        result = parse_number(command, option->name, value, 1, 16, &number);
        arguments->pool_size = (uint32_t)number;
        break;
    case ARGUMENT_TIMEOUT:
        result = parse_number(command, option->name, value, 1, ARGUMENTS_TIMEOUT_MAX_MS, &number);
        arguments->timeout_ms = (int)number;
        break;
    case ARGUMENT_VERBOSE:
        arguments->verbosity++;
        break;
    case ARGUMENT_COUNT:
        return parse_number(command, option->name, value, 1, UINT64_MAX, &arguments->count);
    case ARGUMENT_LINES:
        arguments->lines = true;
        break;
    case ARGUMENT_RAW:
        arguments->raw = true;
        break;
    case ARGUMENT_TEMPORARY:
        arguments->temporary = true;
        break;
    case ARGUMENT_TLS:
        arguments->tls = true;
        break;
    case ARGUMENT_TLS_FIRST:
        arguments->tls_first = true;
        break;
    case ARGUMENT_HELP:
        arguments->help = true;
        break;
    default:
        break; /* its text is kept */
    }
    return result;
}

/* Keep one option. One that is given again would replace the first one without a word. */
static int take(const struct command *command, const struct option_names *option, const char *value,
                struct arguments *arguments)
{
    uint32_t bit = (uint32_t)option->bit;
    if (bit != ARGUMENT_VERBOSE && (arguments->given & bit) != 0) {
        command_complain(command, "--%s is given twice: remove one", option->name);
        return COMMAND_USAGE;
    }
    arguments->given |= bit;
    if (option->text != NO_TEXT) {
        memcpy((char *)arguments + option->text, &value, sizeof(value));
        return 0;
    }
    return take_other(command, option, value, arguments);
}

static const struct option_names *find(int letter)
{
    for (size_t i = 0; i < TABLE_LEN; i++) {
        if (table[i].letter == letter) {
            return &table[i];
        }
    }
    return NULL;
}

/* Say what is wrong with what getopt refused: `found` is '?' or ':'. */
static int refuse(const struct command *command, int found, char **argv)
{
    const struct option_names *option = find(optopt);
    if (found == ':') {
        command_complain(command, "--%s needs a value; see roulette %s --help", option->name,
                         command->name);
    } else if (option != NULL) {
        command_complain(command, "--%s takes no value", option->name);
    } else if (optopt != 0) {
        command_complain(command,
                         "there is no option -%c; see roulette %s --help, and write \"--\" before "
                         "operands that begin with '-'",
                         optopt, command->name);
    } else {
        command_complain(command,
                         "there is no option %s, or it is short for several; see roulette %s "
                         "--help, and write \"--\" before operands that begin with '-'",
                         argv[optind - 1], command->name);
    }
    return COMMAND_USAGE;
}

static int parse_options(const struct command *command, int argc, char **argv,
                         struct arguments *arguments)
{
    struct option options[TABLE_LEN + 1] = {0};
    for (size_t i = 0; i < TABLE_LEN; i++) {
        options[i] = (struct option){
            .name = table[i].name,
            .has_arg = table[i].has_value,
            .val = table[i].letter,
        };
    }
    opterr = 0;
    int found;
    while ((found = getopt_long(argc, argv, ":s:vh", options, NULL)) != -1) {
        const struct option_names *option = find(found);
        if (option == NULL) {
            return refuse(command, found, argv);
        }
        if (((uint32_t)option->bit & command->options) == 0) {
            command_complain(command,
                             "--%s is not an option of this command; see roulette %s "
                             "--help",
                             option->name, command->name);
            return COMMAND_USAGE;
        }
        int result = take(command, option, optarg, arguments);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static bool has(const struct arguments *arguments, enum argument bit)
{
    return (arguments->given & (uint32_t)bit) != 0;
}

/* Options that would have no effect, or that go together. */
static int check_together(const struct command *command, const struct arguments *arguments)
{
    const char *wrong = NULL;
    if (has(arguments, ARGUMENT_TLS_CERT) != has(arguments, ARGUMENT_TLS_KEY)) {
        wrong = "--tls-cert and --tls-key go together: give both";
    } else if (has(arguments, ARGUMENT_PASSWORD) && !has(arguments, ARGUMENT_USER)) {
        wrong = "--password-file is the password of a user: give --user too";
    } else if (has(arguments, ARGUMENT_USER) + has(arguments, ARGUMENT_CREDS) +
                   has(arguments, ARGUMENT_NKEY) >
               1) {
        wrong = "--user, --creds and --nkey are each a login: give one of them";
    }
    if (wrong != NULL) {
        command_complain(command, "%s", wrong);
        return COMMAND_USAGE;
    }
    return 0;
}

int arguments_parse(const struct command *command, int argc, char **argv,
                    struct arguments *arguments)
{
    *arguments = (struct arguments){
        .servers = getenv("ROULETTE_SERVERS"),
        .ring = ROULETTE_RING_NATIVE,
        .pool_size = 1,
        .timeout_ms = -1,
    };
    int result = parse_options(command, argc, argv, arguments);
    if (result != 0 || arguments->help) {
        return result;
    }
    arguments->operands = argv + optind;
    arguments->operand_count = argc - optind;
    if (arguments->operand_count < command->operands_min) {
        command_complain(command, "there is no topic; see roulette %s --help", command->name);
        return COMMAND_USAGE;
    }
    if (command->operands_max >= 0 && arguments->operand_count > command->operands_max) {
        command_complain(command,
                         "\"%s\" is one operand too many: put a payload with blanks in quotes",
                         arguments->operands[command->operands_max]);
        return COMMAND_USAGE;
    }
    result = check_together(command, arguments);
    if (result != 0) {
        return result;
    }
    if (arguments->servers == NULL) {
        command_complain(command, "there are no servers: give --servers LIST, or set the "
                                  "environment variable ROULETTE_SERVERS");
        return COMMAND_USAGE;
    }
    return 0;
}
