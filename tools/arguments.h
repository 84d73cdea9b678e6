/* SPDX-License-Identifier: MIT */
/**
 * The options and operands of a command line.
 */
#ifndef RLT_TOOLS_ARGUMENTS_H
#define RLT_TOOLS_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "roulette.h"

struct command;

/** Options, as bits: a command says which it takes. */
enum argument {
    ARGUMENT_SERVERS = 1 << 0,
    ARGUMENT_RING = 1 << 1,
    ARGUMENT_POOL = 1 << 2,
    ARGUMENT_TIMEOUT = 1 << 3,
    ARGUMENT_VERBOSE = 1 << 4,
    ARGUMENT_COUNT = 1 << 5,
    ARGUMENT_LINES = 1 << 6,
    ARGUMENT_REPLY = 1 << 7,
    ARGUMENT_RAW = 1 << 8,
    ARGUMENT_TEMPORARY = 1 << 9,
    ARGUMENT_HELP = 1 << 10,
    ARGUMENT_TLS_CA = 1 << 11,
    ARGUMENT_CREDS = 1 << 12,
    ARGUMENT_NKEY = 1 << 13,
    ARGUMENT_QUEUE = 1 << 14,

    /* What every command that connects takes. */
    ARGUMENTS_CLIENT = ARGUMENT_SERVERS | ARGUMENT_RING | ARGUMENT_POOL | ARGUMENT_VERBOSE |
                       ARGUMENT_HELP | ARGUMENT_TLS_CA | ARGUMENT_CREDS | ARGUMENT_NKEY,
};

/** What the options that several commands take mean, for their --help. */
#define ARGUMENTS_HELP_SERVERS                                                           \
    "  -s, --servers LIST  one entry for each cluster, separated by commas: host,\n"     \
    "                      host:port, [v6]:port, nats://user:password@host:port or\n"    \
    "                      nats://token@host:port; tls:// instead of nats:// for TLS;\n" \
    "                      the order counts. Without it, the environment variable\n"     \
    "                      ROULETTE_SERVERS\n"                                           \
    "      --ring NAME     how topics are placed: native, or roulette (as the Elixir\n"  \
    "                      library of that name does); native\n"
#define ARGUMENTS_HELP_CLIENT                                                           \
    ARGUMENTS_HELP_SERVERS                                                              \
    "      --pool N        connections to each cluster, 1 to 16; 1\n"                   \
    "      --tls-ca FILE   speak TLS with every cluster, and trust the CAs of FILE\n"   \
    "                      (PEM); with tls:// alone, those of the system\n"             \
    "      --creds FILE    log in with a credentials file (JWT and seed)\n"             \
    "      --nkey FILE     log in with the nkey whose seed (\"SU...\") is in FILE\n"    \
    "  -v, --verbose       tell on stderr what the library does; -vv: what it debugs\n" \
    "  -h, --help          this text\n"

#define ARGUMENTS_TIMEOUT_MAX_MS 86400000 /* a day */

/** A command line. The strings are argv's and the environment's. */
struct arguments {
    const char *servers;
    enum roulette_ring ring;
    uint32_t pool_size;
    int timeout_ms;     /* negative: not given */
    uint32_t verbosity; /* how often -v was given */
    uint64_t count;     /* 0: not given */
    bool lines;
    bool raw;
    bool temporary;
    bool help;
    const char *reply; /* NULL: not given, as below */
    const char *tls_ca_file;
    const char *credentials_file;
    const char *nkey_file;
    const char *queue_group;
    char **operands;
    int operand_count;
};

/**
 * Take the arguments of a command apart; argv[0] is the command's name. Reads ROULETTE_SERVERS.
 *
 * Returns: 0, or COMMAND_USAGE after complaining. With --help, the rest is not checked.
 */
int arguments_parse(const struct command *command, int argc, char **argv,
                    struct arguments *arguments);

#endif
