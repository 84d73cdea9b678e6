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
    ARGUMENT_USER = 1 << 15,
    ARGUMENT_PASSWORD = 1 << 16,
    ARGUMENT_TLS = 1 << 17,
    ARGUMENT_TLS_CERT = 1 << 18,
    ARGUMENT_TLS_KEY = 1 << 19,
    ARGUMENT_TLS_NAME = 1 << 20,
    ARGUMENT_TLS_FIRST = 1 << 21,

    /* What every command that connects takes. */
    ARGUMENTS_CLIENT = ARGUMENT_SERVERS | ARGUMENT_RING | ARGUMENT_POOL | ARGUMENT_VERBOSE |
                       ARGUMENT_HELP | ARGUMENT_TLS_CA | ARGUMENT_CREDS | ARGUMENT_NKEY |
                       ARGUMENT_USER | ARGUMENT_PASSWORD | ARGUMENT_TLS | ARGUMENT_TLS_CERT |
                       ARGUMENT_TLS_KEY | ARGUMENT_TLS_NAME | ARGUMENT_TLS_FIRST,
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
#define ARGUMENTS_HELP_CLIENT                                                             \
    ARGUMENTS_HELP_SERVERS                                                                \
    "      --pool N        connections to each cluster, 1 to 16; 1\n"                     \
    "      --tls           speak TLS with every cluster, as each --tls-* option does\n"   \
    "      --tls-ca FILE   trust the CAs of FILE (PEM); otherwise those of the system\n"  \
    "      --tls-cert FILE, --tls-key FILE\n"                                             \
    "                      the certificate of this client and its key (PEM)\n"            \
    "      --tls-server-name NAME\n"                                                      \
    "                      that the servers' certificates must have; otherwise each\n"    \
    "                      server's host\n"                                               \
    "      --tls-first     the servers want the TLS handshake before INFO\n"              \
    "      --user NAME     log in as this user. The password is the first line of\n"      \
    "                      --password-file FILE; without that, the environment\n"         \
    "                      variable ROULETTE_PASSWORD, which is read with --user only;\n" \
    "                      without either, it is asked for on the terminal\n"             \
    "      --creds FILE    log in with a credentials file (JWT and seed)\n"               \
    "      --nkey FILE     log in with the nkey whose seed (\"SU...\") is in FILE\n"      \
    "  -v, --verbose       tell on stderr what the library does; -vv: what it debugs\n"   \
    "  -h, --help          this text\n"

#define ARGUMENTS_TIMEOUT_MAX_MS 86400000 /* a day */

/** A command line. The strings are argv's and the environment's. */
struct arguments {
    enum roulette_ring ring;
    const char *servers;
    uint32_t pool_size;
    int timeout_ms;     /* negative: not given */
    uint32_t verbosity; /* how often -v was given */
    uint64_t count;     /* 0: not given */
    bool lines;
    bool raw;
    bool temporary;
    bool help;
    bool tls;
    bool tls_first;
    uint32_t given;    /* enum argument bits */
    const char *reply; /* NULL: not given, as below */
    const char *tls_ca_file;
    const char *credentials_file;
    const char *nkey_file;
    const char *queue_group;
    const char *user;
    const char *password_file;
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_server_name;
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
