/* SPDX-License-Identifier: MIT */
/*
 * roulette pub: publish, and wait until the server has said that it has everything.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "complain.h"
#include "connect.h"
#include "input.h"

static const char help[] =
    "usage: roulette pub [OPTION]... TOPIC [PAYLOAD]\n"
    "\n"
    "Publish PAYLOAD to TOPIC and wait until the cluster that carries the topic has confirmed\n"
    "it. Without PAYLOAD, all of standard input is the payload. A payload has 64 MiB at most,\n"
    "with and without --lines, and no more than the server takes (its max_payload).\n"
    "\n"
    "      --lines         each line of standard input is a message, without its line end\n"
    "      --count N       publish the message N times; 1\n"
    "      --reply TOPIC   the topic that receivers are asked to answer to\n"
    "      --timeout MS    how long to wait for the connection (5000), and for room in a full\n"
    "                      queue and for the confirmation (60000 each: a server may hold a\n"
    "                      publisher back for long while others read "
    "slowly)\n" ARGUMENTS_HELP_CLIENT "\n"
    "Write \"--\" before operands that begin with '-'.\n"
    "\n"
    "Exit code: 0 if all messages were confirmed (the server has them; it says nothing of\n"
    "receivers); 1 if not, as when the user may not publish to TOPIC, or if a payload was too\n"
    "large or could not be read; messages before it are published. Then stderr also tells the\n"
    "state of messages that were not confirmed. 2 for a wrong command line, topic or list of\n"
    "servers, then nothing was published.\n";

enum {
    EXPLANATION_MAX = 1200,
    TIMEOUT_MS = 5000,
    /* What a connection is given that is silent and held back (options.held_back_max_ms), and more:
     * whether the server is there is known before. */
    PATIENCE_MS = 60000,
    /* How long one flush waits before something else is looked at. */
    SLICE_FIRST_MS = 5,
    SLICE_MAX_MS = 500,
};

struct publication {
    const struct command *command;
    const struct arguments *arguments;
    roulette_client *client;
    size_t cluster_count;
    struct roulette_ledger *ledgers; /* one for each cluster */
    roulette_topic *topic;
    size_t payload_max;             /* what the client's queue takes for certain */
    struct roulette_ledger earlier; /* of the clients before this one (widen()) */
    char denial[512];               /* the library's sentence of a message that was refused */
    int timeout_ms;                 /* for the connection */
    int patience_ms;                /* for room in the queue, and for the confirmation */
};

/* ---- The client --------------------------------------------------------------------------- */

/* Check a topic or reply, and keep it. */
static int create_topic(const struct publication *publication, const char *prefix, const char *text,
                        roulette_topic **topic)
{
    int result = roulette_topic_create(publication->client, text, ROULETTE_STRLEN, topic);
    if (result < 0) {
        command_complain(publication->command, "%s%s", prefix, roulette_last_error());
        return connect_exit_code(result);
    }
    return 0;
}

static int create_topics(struct publication *publication)
{
    const struct arguments *arguments = publication->arguments;
    if (arguments->reply != NULL) {
        roulette_topic *reply;
        int result = create_topic(publication, "--reply: ", arguments->reply, &reply);
        if (result != 0) {
            return result;
        }
        roulette_topic_free(reply);
    }
    return create_topic(publication, "", arguments->operands[0], &publication->topic);
}

/* A message must fit into half of one of the queue's 16 lanes, with its PUB line. */
enum { QUEUE_SHARES = 16 * 2, PUB_LINE_MAX = 4096 };

/* Open a client that takes payloads of `len` bytes. If that fails, close_client() is needed. */
static int open_client(struct publication *publication, size_t len)
{
    struct roulette_options options = connect_options(publication->arguments);
    options.name = "roulette pub";
    options.max_retry = UINT32_MAX; /* only --timeout ends the wait */
    connect_hurry(&options, publication->timeout_ms);
    while (options.queue_bytes / QUEUE_SHARES < len + PUB_LINE_MAX) {
        options.queue_bytes *= 2;
    }
    publication->payload_max = options.queue_bytes / QUEUE_SHARES - PUB_LINE_MAX;
    int result =
        connect_open(publication->command, publication->arguments, &options, &publication->client);
    return result == 0 ? create_topics(publication) : result;
}

static void close_client(struct publication *publication)
{
    roulette_topic_free(publication->topic);
    roulette_free(publication->client);
    publication->topic = NULL;
    publication->client = NULL;
}

/* Add to the new ledgers what earlier clients published: to one topic, so to one cluster. */
static void add_earlier(struct publication *publication)
{
    struct roulette_ledger *ledger =
        &publication->ledgers[roulette_topic_cluster(publication->topic)];
    ledger->accepted += publication->earlier.accepted;
    ledger->confirmed += publication->earlier.confirmed;
    ledger->in_doubt += publication->earlier.in_doubt;
    ledger->failed += publication->earlier.failed;
    ledger->discarded += publication->earlier.discarded;
    ledger->denied += publication->earlier.denied;
}

/* ---- Connecting --------------------------------------------------------------------------- */

/*
 * Flush the cluster that carries the topic for a short time, longer each time: then the caller
 * looks whether what it waits for is there. A cluster that is given up is not waited for by a
 * flush; here it may still come. Returns whether there is time left.
 */
static bool flush_slice(struct publication *publication, uint64_t deadline_ms, int *slice_ms)
{
    int left_ms = connect_left_ms(deadline_ms);
    int wait_ms = left_ms < *slice_ms ? left_ms : *slice_ms;
    size_t cluster = (size_t)roulette_topic_cluster(publication->topic);
    int result = roulette_flush_cluster(publication->client, cluster, wait_ms,
                                        &publication->ledgers[cluster]);
    add_earlier(publication);
    if (result == ROULETTE_EUNREACHABLE) {
        (void)poll(NULL, 0, wait_ms);
    }
    if (result == ROULETTE_EPERMISSION) {
        (void)snprintf(publication->denial, sizeof(publication->denial), "%s",
                       roulette_last_error());
    }
    *slice_ms = *slice_ms * 2 < SLICE_MAX_MS ? *slice_ms * 2 : SLICE_MAX_MS;
    return left_ms > 0;
}

static void complain_away(const struct publication *publication, size_t cluster)
{
    command_complain(publication->command, "after %d ms %s", publication->timeout_ms,
                     connect_reason(publication->client, cluster));
}

/* Wait for the cluster that carries the topic: from its INFO the library knows how large a
 * payload may be, so that one that is too large is refused here and not by the server. */
static int await_connected(struct publication *publication)
{
    uint64_t deadline_ms = connect_now_ms() + (uint64_t)publication->timeout_ms;
    int slice_ms = SLICE_FIRST_MS;
    size_t cluster = (size_t)roulette_topic_cluster(publication->topic);
    while (!connect_is_connected(publication->client, cluster, publication->arguments->pool_size)) {
        if (!flush_slice(publication, deadline_ms, &slice_ms)) {
            complain_away(publication, cluster);
            return COMMAND_FAILED;
        }
    }
    return 0;
}

/* ---- Waiting for confirmation ------------------------------------------------------------- */

/* Messages that are in none of the final states. */
static uint64_t on_the_way(const struct roulette_ledger *ledger)
{
    return ledger->accepted - ledger->confirmed - ledger->in_doubt - ledger->failed -
           ledger->discarded - ledger->denied;
}

static bool is_settled(const struct publication *publication)
{
    for (size_t i = 0; i < publication->cluster_count; i++) {
        if (on_the_way(&publication->ledgers[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* Wait until each message is in a final state, or --timeout is over. */
static void await_settled(struct publication *publication)
{
    uint64_t deadline_ms = connect_now_ms() + (uint64_t)publication->patience_ms;
    int slice_ms = SLICE_FIRST_MS;
    bool in_time = true;
    do {
        in_time = flush_slice(publication, deadline_ms, &slice_ms);
    } while (in_time && !is_settled(publication));
}

/* ---- Publishing --------------------------------------------------------------------------- */

/* Hand a message to the library. Returns: as roulette_publish_reply(). */
static int hand_over(const struct publication *publication, const char *payload, size_t len)
{
    const struct arguments *arguments = publication->arguments;
    return arguments->reply != NULL
               ? roulette_publish_reply(publication->client, arguments->operands[0],
                                        ROULETTE_STRLEN, arguments->reply, ROULETTE_STRLEN, payload,
                                        len, publication->patience_ms)
               : roulette_topic_publish_wait(publication->topic, payload, len,
                                             publication->patience_ms);
}

/*
 * Go on with a client whose queue takes `len` bytes. How long lines are is not known before they
 * are read, and a queue for the longest would take 256 MiB of memory in use.
 */
static int widen(struct publication *publication, size_t len)
{
    size_t cluster = (size_t)roulette_topic_cluster(publication->topic);
    await_settled(publication);
    if (!is_settled(publication)) {
        return COMMAND_FAILED; /* check_confirmed() says why */
    }
    publication->earlier = publication->ledgers[cluster];
    (void)roulette_close(publication->client, 0, NULL, 0);
    close_client(publication);
    int result = open_client(publication, len);
    return result == 0 ? await_connected(publication) : result;
}

/* An input_line_fn. */
static int publish(void *context, const char *payload, size_t len)
{
    struct publication *publication = context;
    int result = hand_over(publication, payload, len);
    if (result == ROULETTE_EPAYLOAD && len > publication->payload_max) {
        result = widen(publication, len);
        if (result != 0) {
            return result;
        }
        result = hand_over(publication, payload, len);
    }
    if (result == 0) {
        return 0;
    }
    if (result == ROULETTE_ETIMEDOUT) {
        size_t cluster = (size_t)roulette_topic_cluster(publication->topic);
        command_complain(publication->command,
                         "the queue of cluster %zu (%s) was full for %d ms: raise --timeout, or "
                         "see why the cluster is slow or away",
                         cluster, roulette_cluster_address(publication->client, cluster),
                         publication->patience_ms);
    } else {
        command_complain(publication->command, "%s", roulette_last_error());
    }
    return connect_exit_code(result);
}

static int publish_all(struct publication *publication, const char *payload, size_t len)
{
    const struct arguments *arguments = publication->arguments;
    if (arguments->lines) {
        return input_each_line(publication->command, publish, publication);
    }
    uint64_t count = arguments->count != 0 ? arguments->count : 1;
    for (uint64_t i = 0; i < count; i++) {
        int result = publish(publication, payload, len);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

/* ---- What was not confirmed --------------------------------------------------------------- */

/* Why messages of a cluster are not confirmed, and what to do; the client is still open. */
static void explain(const struct publication *publication, size_t cluster, char *text, size_t size)
{
    const struct roulette_ledger *ledger = &publication->ledgers[cluster];
    const char *address = roulette_cluster_address(publication->client, cluster);
    uint64_t missing = ledger->accepted - ledger->confirmed;
    if (ledger->failed != 0) {
        /* Attempts do not run out here, so this is the only reason left. */
        (void)snprintf(text, size,
                       "cluster %zu (%s) does not take messages this large: split the payload, or "
                       "raise the server's max_payload",
                       cluster, address);
    } else if (ledger->denied != 0 && publication->denial[0] != '\0') {
        (void)snprintf(text, size, "%s", publication->denial);
    } else if (ledger->in_doubt != 0) {
        (void)snprintf(text, size,
                       "cluster %zu (%s) was lost before it confirmed %" PRIu64 " of %" PRIu64
                       " messages: publish again if duplicates do no harm",
                       cluster, address, missing, ledger->accepted);
    } else if (connect_is_connected(publication->client, cluster,
                                    publication->arguments->pool_size)) {
        (void)snprintf(text, size,
                       "cluster %zu (%s) did not confirm %" PRIu64 " of %" PRIu64
                       " messages in %d ms: raise --timeout",
                       cluster, address, missing, ledger->accepted, publication->patience_ms);
    } else {
        (void)snprintf(text, size, "after %d ms %s", publication->timeout_ms,
                       connect_reason(publication->client, cluster));
    }
}

static void print_ledgers(const struct publication *publication)
{
    for (size_t i = 0; i < publication->cluster_count; i++) {
        const struct roulette_ledger *ledger = &publication->ledgers[i];
        if (ledger->accepted != 0) {
            (void)fprintf(stderr,
                          "cluster %zu (%s): accepted %" PRIu64 ", confirmed %" PRIu64
                          ", in doubt %" PRIu64 ", failed %" PRIu64 ", discarded %" PRIu64
                          ", denied %" PRIu64 "\n",
                          i, roulette_cluster_address(publication->client, i), ledger->accepted,
                          ledger->confirmed, ledger->in_doubt, ledger->failed, ledger->discarded,
                          ledger->denied);
        }
    }
}

/* ---- The command -------------------------------------------------------------------------- */

/* Publish with an open client, and close it. */
static int publish_and_confirm(struct publication *publication, const char *payload, size_t len)
{
    int result = await_connected(publication);
    if (result != 0) {
        return result;
    }
    result = publish_all(publication, payload, len);
    if (publication->topic == NULL) {
        return result; /* widen() could not open another client, and has said why */
    }
    size_t cluster = (size_t)roulette_topic_cluster(publication->topic);
    /* What was accepted before an error is confirmed all the same. */
    await_settled(publication);
    const struct roulette_ledger before = publication->ledgers[cluster];
    bool confirmed = before.accepted == before.confirmed;
    char reason[EXPLANATION_MAX];
    explain(publication, cluster, reason, sizeof(reason));
    /* The wait is over: what is not confirmed moves to its final state. */
    (void)roulette_close(publication->client, 0, publication->ledgers, publication->cluster_count);
    add_earlier(publication);
    if (!confirmed || publication->arguments->verbosity > 0) {
        print_ledgers(publication);
    }
    if (!confirmed) {
        command_complain(publication->command, "%s", reason); /* the last line says what to do */
    }
    return result == 0 && !confirmed ? COMMAND_FAILED : result;
}

static int open_and_publish(struct publication *publication, const char *payload, size_t len)
{
    int result = open_client(publication, len);
    if (result == 0) {
        publication->cluster_count = (size_t)roulette_cluster_count(publication->client);
        publication->ledgers = calloc(publication->cluster_count, sizeof(*publication->ledgers));
        if (publication->ledgers == NULL) {
            command_complain(publication->command, "%s", roulette_error_text(ROULETTE_ENOMEM));
            result = COMMAND_FAILED;
        }
    }
    result = result == 0 ? publish_and_confirm(publication, payload, len) : result;
    close_client(publication);
    free(publication->ledgers);
    return result;
}

static int run(const struct command *command, const struct arguments *arguments)
{
    struct publication publication = {
        .command = command,
        .arguments = arguments,
        .timeout_ms = arguments->timeout_ms >= 0 ? arguments->timeout_ms : TIMEOUT_MS,
        .patience_ms = arguments->timeout_ms >= 0 ? arguments->timeout_ms : PATIENCE_MS,
    };
    bool has_payload = arguments->operand_count == 2;
    if (arguments->lines && (has_payload || arguments->count != 0)) {
        command_complain(command,
                         "--lines takes the payloads from standard input, each once: "
                         "remove %s",
                         has_payload ? "PAYLOAD" : "--count");
        return COMMAND_USAGE;
    }
    if (arguments->lines) {
        return open_and_publish(&publication, "", 0);
    }
    if (has_payload) {
        return open_and_publish(&publication, arguments->operands[1],
                                strlen(arguments->operands[1]));
    }
    char *payload;
    size_t len;
    int result = input_read_all(command, &payload, &len);
    if (result == 0) {
        result = open_and_publish(&publication, payload, len);
        free(payload);
    }
    return result;
}

const struct command command_pub = {
    .name = "pub",
    .summary = "publish messages and wait for their confirmation",
    .help = help,
    .options =
        ARGUMENTS_CLIENT | ARGUMENT_TIMEOUT | ARGUMENT_COUNT | ARGUMENT_LINES | ARGUMENT_REPLY,
    .operands_min = 1,
    .operands_max = 2,
    .run = run,
};
