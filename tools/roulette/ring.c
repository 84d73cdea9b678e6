/* SPDX-License-Identifier: MIT */
/*
 * roulette ring: where topics go.
 *
 * This is the one tool that looks below the public header. roulette_cluster_of() gives the same
 * answer, but of an open client, which has threads and knocks at every cluster's door. Placement
 * is arithmetic: asking where a topic of a production fleet goes must not touch the fleet, and
 * must work where there is no network and no io_uring. tests/integration/command_test.c holds both
 * answers against each other.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "complain.h"
#include "connect.h"
#include "core/seam/ring.h"
#include "input.h"
#include "proto/address.h"
#include "proto/topic.h"
#include "proto/topic_fault.h"

static const char help[] =
    "usage: roulette ring [OPTION]... [TOPIC]...\n"
    "\n"
    "Print which cluster carries each topic, as lines of \"topic TAB index TAB host:port\".\n"
    "Without a TOPIC, topics are the lines of standard input. A topic with a wildcard is on all\n"
    "clusters, and so has a line for each. Nothing is connected to.\n"
    "\n" ARGUMENTS_HELP_SERVERS "  -h, --help          this text\n"
    "\n"
    "Exit code: 0 if every topic was placed; 1 if standard input cannot be read or standard\n"
    "output cannot be written; 2 for a wrong command line or topic.\n";

/* What a topic is held against. */
struct wheel {
    const struct command *command;
    struct rlt_ring *ring;
    struct rlt_address *addresses;
    size_t count;
    int result; /* of all topics: an enum command_exit */
};

static void print_line(const struct wheel *wheel, const char *topic, size_t len, size_t cluster)
{
    (void)printf("%.*s\t%zu\t%s\n", (int)len, topic, cluster, wheel->addresses[cluster].label);
}

/* An input_line_fn. A bad topic is reported, and the next one looked at. */
static int place(void *context, const char *topic, size_t len)
{
    struct wheel *wheel = context;
    const char *reason = NULL;
    int wildcard = rlt_topic_check_pattern(topic, len, &reason);
    if (wildcard < 0) {
        (void)rlt_topic_refuse(wildcard, "topic", "is not valid", topic, len, reason);
        command_complain(wheel->command, "%s", roulette_last_error());
        wheel->result = COMMAND_USAGE;
        return 0;
    }
    if (wildcard == 1) {
        for (size_t i = 0; i < wheel->count; i++) {
            print_line(wheel, topic, len, i);
        }
    } else {
        uint64_t hash = rlt_ring_hash(topic, len);
        print_line(wheel, topic, len, rlt_ring_place(wheel->ring, topic, len, hash));
    }
    if (ferror(stdout)) {
        command_complain(wheel->command, "standard output: %s", strerror(errno));
        return COMMAND_FAILED;
    }
    return 0;
}

static int place_all(struct wheel *wheel, const struct arguments *arguments)
{
    if (arguments->operand_count == 0) {
        int result = input_each_line(wheel->command, place, wheel);
        return result != 0 ? result : wheel->result;
    }
    for (int i = 0; i < arguments->operand_count; i++) {
        int result = place(wheel, arguments->operands[i], strlen(arguments->operands[i]));
        if (result != 0) {
            return result;
        }
    }
    return wheel->result;
}

static int run(const struct command *command, const struct arguments *arguments)
{
    struct wheel wheel = {.command = command, .result = COMMAND_OK};
    int result = rlt_addresses_parse(arguments->servers, &wheel.addresses, &wheel.count);
    if (result < 0) {
        command_complain(command, "%s", roulette_last_error());
        return connect_exit_code(result);
    }
    result = rlt_ring_create(arguments->ring, (uint32_t)wheel.count, &wheel.ring);
    if (result < 0) {
        command_complain(command, "%s", roulette_error_text(result));
        result = connect_exit_code(result);
    } else {
        result = place_all(&wheel, arguments);
        rlt_ring_destroy(wheel.ring);
    }
    rlt_addresses_free(wheel.addresses, wheel.count);
    return result;
}

const struct command command_ring = {
    .name = "ring",
    .summary = "print which cluster carries a topic",
    .help = help,
    .options = ARGUMENT_SERVERS | ARGUMENT_RING | ARGUMENT_HELP,
    .operands_min = 0,
    .operands_max = -1,
    .run = run,
};
