/* SPDX-License-Identifier: MIT */
/*
 * roulette sub: print what arrives.
 *
 * One thread, one loop: receive and print all there is, then sleep in poll() on the subscriber's
 * descriptor, on the signals that end the program, and on a standard output that nobody reads any
 * more.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "complain.h"
#include "connect.h"
#include "ending.h"
#include "output.h"

static const char help[] =
    "usage: roulette sub [OPTION]... TOPIC...\n"
    "\n"
    "Subscribe to topics, and print each message as a line of \"topic TAB payload\". A backslash\n"
    "and bytes that are not to be printed are written as \\\\, \\t, \\n, \\r or \\xNN. In a "
    "TOPIC,\n"
    "'*' stands for any token and '>' for any rest; such a topic is subscribed on all clusters.\n"
    "\n"
    "      --raw           print payloads alone, unchanged, with nothing between them\n"
    "      --count N       end after N messages\n"
    "      --timeout MS    end after MS milliseconds\n"
    "      --queue GROUP   join a queue group: one of its members, wherever they are, gets\n"
    "                      each message\n"
    "      --temporary     a subscription whose connection is lost ends; otherwise it is made\n"
    "                      again on the next connection\n" ARGUMENTS_HELP_CLIENT "\n"
    "Notices go to stderr: when the servers have the subscriptions (\"listening\"), and for a\n"
    "subscription lost, restored or ended, for a cluster that does not let the client in, and\n"
    "for messages dropped because they were not read fast enough: up to 192 MiB and 131072\n"
    "messages of each cluster wait for the reader of the output.\n"
    "\n"
    "SIGINT or SIGTERM ends it at once: a reader of the output that reads still gets whole\n"
    "lines, for at most 2 s; if it has stopped reading for 0.2 s, the rest is lost. When nobody "
    "can read the\n"
    "output any more, it ends too, without waiting for the next message.\n"
    "\n"
    "Exit code: 0 after --count messages, after --timeout without --count, or after SIGINT or\n"
    "SIGTERM; 1 if --timeout came before --count messages or a connection, if all\n"
    "subscriptions have ended, or if the output cannot be written or nobody can read it any\n"
    "more; 2 for a wrong command line, topic or list of servers.\n";

enum {
    BATCH = 256,
    ROUNDS = 64, /* batches between two looks at signals and the clock */
    /* What waits while nobody reads the output, for each cluster: 100,000 messages of 1 KiB fit,
     * also where each slab is left with a quarter of it unused. The memory is used only when they
     * come. */
    RING_SLOTS = 131072,
    PINNED_BYTES = 192 << 20,
    /* Of 256 KiB. A message takes a quarter at most: 64 MiB, as `pub`, with its line. */
    SLAB_COUNT = 1280,
    /* Until the clusters are connected they are looked at this often. */
    LOOK_MS = 10,
    /* When to tell of a cluster that is not connected yet, and how long the servers may take to
     * confirm the subscriptions. */
    PATIENCE_MS = 2000,
    /* How long to wait for the reason when a server has closed without a word. */
    REASON_MS = 1000,
};

struct listener {
    const struct command *command;
    const struct arguments *arguments;
    roulette_client *client;
    roulette_subscriber *subscriber;
    struct output output;
    int asked_fd;      /* readable: a signal asks to end (ending.h) */
    bool *needed;      /* by cluster: some topic is subscribed on it */
    int live;          /* subscriptions that have not ended */
    uint64_t received; /* messages */
    uint64_t start_ms;
    uint64_t end_ms;       /* UINT64_MAX: no --timeout */
    bool ready;            /* the servers have all subscriptions */
    bool impatient;        /* told of clusters that are not connected */
    char last_end[1600];   /* what the last subscription was, and why it ended */
    bool unexplained;      /* the last end was that of a connection, */
    uint32_t last_cluster; /* to this cluster */
};

static bool has_enough(const struct listener *listener)
{
    uint64_t count = listener->arguments->count;
    return count != 0 && listener->received == count;
}

/* ---- Printing ----------------------------------------------------------------------------- */

static void print_message(struct listener *listener, const struct roulette_message *message)
{
    struct output *output = &listener->output;
    if (has_enough(listener)) {
        return; /* the rest of the last batch */
    }
    listener->received++;
    if (listener->arguments->raw) {
        output_raw(output, message->payload, message->payload_len);
        return;
    }
    output_escaped(output, message->topic, message->topic_len);
    output_separator(output, '\t');
    output_escaped(output, message->payload, message->payload_len);
    output_line_end(output);
}

static_assert(RING_SLOTS == 131072 && PINNED_BYTES == 192 << 20 && SLAB_COUNT == 4 * 320,
              "texts here and in the help say so");

/* Why messages were dropped. */
static const char *reason_of(uint32_t bounds)
{
    if ((bounds & ROULETTE_BOUND_MESSAGE_LEN) != 0) {
        return "each is larger than 80 MiB, a quarter of receive memory";
    }
    if ((bounds & (ROULETTE_BOUND_PINNED_BYTES | ROULETTE_BOUND_SLAB_COUNT)) != 0) {
        return "standard output was not read fast enough, and 192 MiB of them wait already "
               "(pinned_bytes)";
    }
    return "standard output was not read fast enough, and 131072 of them wait already "
           "(ring_slots)";
}

/* Keep why a subscription has ended: the last line tells it again. */
static void note_end(struct listener *listener, const char *topic,
                     const struct roulette_message *notice)
{
    const char *advice = "";
    if (notice->error == ROULETTE_EPERMISSION) {
        advice = "; allow it in the server's permissions of this user";
    } else if (notice->error == ROULETTE_ESERVER) {
        advice = ": it takes no more subscriptions, or not this one; raise its max_subscriptions";
    }
    (void)snprintf(listener->last_end, sizeof(listener->last_end), "%s on cluster %u (%s): %s%s",
                   topic, notice->cluster,
                   roulette_cluster_address(listener->client, notice->cluster),
                   roulette_error_text(notice->error), advice);
}

static void print_notice(struct listener *listener, const struct roulette_message *notice)
{
    const char *topic = notice->user_data;
    const char *address = roulette_cluster_address(listener->client, notice->cluster);
    output_flush(&listener->output); /* what came before is printed before */
    switch (notice->kind) {
    case ROULETTE_KIND_DROPPED:
        command_complain(listener->command, "dropped %" PRIu64 " messages of cluster %u (%s): %s",
                         notice->count, notice->cluster, address, reason_of(notice->bounds));
        break;
    case ROULETTE_KIND_LOST:
        command_complain(listener->command, "lost %s on cluster %u (%s): %s", topic,
                         notice->cluster, address, roulette_error_text(notice->error));
        break;
    case ROULETTE_KIND_RESTORED:
        command_complain(listener->command,
                         "restored %s on cluster %u (%s): messages may be missing before this",
                         topic, notice->cluster, address);
        break;
    case ROULETTE_KIND_ENDED:
        note_end(listener, topic, notice);
        command_complain(listener->command, "ended %s", listener->last_end);
        listener->live--;
        listener->unexplained = notice->error == ROULETTE_EDISCONNECTED;
        listener->last_cluster = notice->cluster;
        break;
    case ROULETTE_KIND_REFUSED:
        command_complain(listener->command, "this client is not let in: %s",
                         connect_reason(listener->client, notice->cluster));
        listener->unexplained = false;
        (void)snprintf(listener->last_end, sizeof(listener->last_end), "%s",
                       connect_reason(listener->client, notice->cluster));
        break;
    case ROULETTE_KIND_MESSAGE:
        break;
    }
}

/* Whether what is received is still printed. */
static bool is_printing(const struct listener *listener)
{
    return !has_enough(listener) && listener->output.error == 0 && !ending_is_asked();
}

/*
 * Print what there is, up to a bound: signals and the clock are looked at under any load.
 * Returns: whether there may be more (1) or not (0), or an error of roulette_receive().
 */
static int drain(struct listener *listener)
{
    struct roulette_message batch[BATCH];
    int got = 1;
    for (int round = 0; round < ROUNDS && is_printing(listener); round++) {
        got = roulette_receive(listener->subscriber, batch, BATCH, 0);
        if (got <= 0) {
            break;
        }
        for (int i = 0; i < got; i++) {
            if (batch[i].kind == ROULETTE_KIND_MESSAGE) {
                print_message(listener, &batch[i]);
            } else {
                print_notice(listener, &batch[i]);
            }
        }
        roulette_release(listener->subscriber, batch, (size_t)got);
    }
    output_flush(&listener->output);
    return got < 1 ? got : 1;
}

/* ---- Becoming ready ----------------------------------------------------------------------- */

/* The first needed cluster that is not connected; the number of clusters if all are. */
static size_t first_missing(const struct listener *listener)
{
    size_t count = (size_t)roulette_cluster_count(listener->client);
    size_t i = 0;
    while (i < count &&
           (!listener->needed[i] ||
            connect_is_connected(listener->client, i, listener->arguments->pool_size))) {
        i++;
    }
    return i;
}

/* Tell once when the servers have the subscriptions, and once if that takes long. */
static void look(struct listener *listener)
{
    size_t missing = first_missing(listener);
    if (missing == (size_t)roulette_cluster_count(listener->client)) {
        /* A cluster that is away and not needed makes this wait in vain; it is bounded. */
        int left_ms = connect_left_ms(listener->end_ms);
        (void)roulette_flush(listener->client, left_ms < PATIENCE_MS ? left_ms : PATIENCE_MS, NULL,
                             0);
        listener->ready = true;
        command_complain(listener->command, "listening to %d topic%s", listener->live,
                         listener->live == 1 ? "" : "s");
    } else if (!listener->impatient && connect_now_ms() - listener->start_ms >= PATIENCE_MS) {
        listener->impatient = true;
        command_complain(listener->command, "waiting: %s",
                         connect_reason(listener->client, missing));
    }
}

/* ---- The loop ----------------------------------------------------------------------------- */

/* --timeout is over. */
static int on_timeout(const struct listener *listener)
{
    const struct arguments *arguments = listener->arguments;
    if (arguments->count != 0) {
        command_complain(listener->command,
                         "%" PRIu64 " of %" PRIu64 " messages came in %d ms: raise --timeout, or "
                         "see whether anybody publishes",
                         listener->received, arguments->count, arguments->timeout_ms);
        return COMMAND_FAILED;
    }
    size_t missing = first_missing(listener);
    if (!listener->ready && missing < (size_t)roulette_cluster_count(listener->client)) {
        command_complain(listener->command, "after %d ms %s", arguments->timeout_ms,
                         connect_reason(listener->client, missing));
        return COMMAND_FAILED;
    }
    return COMMAND_OK;
}

/* Sleep until there may be something to do, unless there is `more` already. */
static void sleep_until_something(struct listener *listener, bool more)
{
    struct pollfd wait[] = {
        {.fd = listener->asked_fd, .events = POLLIN},
        {.fd = roulette_subscriber_fd(listener->subscriber), .events = POLLIN},
        /* No event is asked for: poll() tells of POLLERR and POLLHUP anyway. */
        {.fd = listener->output.fd, .events = 0},
    };
    int timeout_ms = -1;
    if (more) {
        timeout_ms = 0;
    } else if (!listener->ready) {
        timeout_ms = LOOK_MS;
    } else if (listener->end_ms != UINT64_MAX) {
        timeout_ms = connect_left_ms(listener->end_ms);
    }
    if (poll(wait, sizeof(wait) / sizeof(wait[0]), timeout_ms) > 0 &&
        (wait[2].revents & (POLLERR | POLLHUP)) != 0) {
        listener->output.error = EPIPE; /* as a write() would find */
    }
}

/* Standard output cannot be written to any more. */
static int on_output_error(const struct listener *listener)
{
    int error = listener->output.error;
    if (error == EPIPE) {
        command_complain(listener->command, "nobody reads standard output any more");
    } else if (error == OUTPUT_STALLED) {
        command_complain(listener->command,
                         "standard output was not read until --timeout was over");
    } else {
        command_complain(listener->command, "standard output cannot be written to: %s",
                         strerror(error));
    }
    return COMMAND_FAILED;
}

/* Whether the next attempt to connect may tell more. */
static bool may_be_explained(const struct listener *listener)
{
    struct roulette_stats stats;
    (void)roulette_stats_get(listener->client, listener->last_cluster, &stats);
    return listener->unexplained && stats.connected == 0 && stats.last_error != ROULETTE_ECONNECT;
}

/* The last subscription has ended. A server that has removed the login closes without a word, and
 * refuses the next attempt: that is told before the program ends. */
static int on_all_ended(struct listener *listener)
{
    uint64_t end_ms = connect_now_ms() + REASON_MS;
    while (may_be_explained(listener) && connect_now_ms() < end_ms) {
        struct pollfd wait = {.fd = listener->asked_fd, .events = POLLIN};
        if (poll(&wait, 1, LOOK_MS) > 0) {
            break;
        }
        (void)drain(listener);
    }
    command_complain(listener->command, "all subscriptions have ended; the last one: %s",
                     listener->last_end);
    return COMMAND_FAILED;
}

static int listen_until_done(struct listener *listener)
{
    for (;;) {
        int more = drain(listener);
        if (ending_is_asked()) {
            return COMMAND_OK;
        }
        if (more < 0) {
            command_complain(listener->command, "%s", roulette_last_error());
            return COMMAND_FAILED;
        }
        if (listener->output.error != 0) {
            return on_output_error(listener);
        }
        if (has_enough(listener)) {
            return COMMAND_OK;
        }
        if (listener->live == 0) {
            return on_all_ended(listener);
        }
        if (!listener->ready) {
            look(listener);
        }
        if (connect_now_ms() >= listener->end_ms) {
            return on_timeout(listener);
        }
        sleep_until_something(listener, more != 0);
    }
}

/* ---- The command -------------------------------------------------------------------------- */

static int subscribe(struct listener *listener, char *topic)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.user_data = topic;
    options.queue_group = listener->arguments->queue_group;
    int result =
        roulette_subscribe_with(listener->subscriber, topic, ROULETTE_STRLEN, &options, NULL);
    if (result == ROULETTE_EEXIST) {
        command_complain(listener->command, "\"%s\" is given twice: remove one", topic);
        return COMMAND_USAGE;
    }
    if (result < 0) {
        command_complain(listener->command, "%s", roulette_last_error());
        return connect_exit_code(result);
    }
    listener->live++;
    int count = roulette_cluster_count(listener->client);
    int only = roulette_cluster_of(listener->client, topic, ROULETTE_STRLEN);
    for (int i = 0; i < count; i++) {
        /* Negative: it has a wildcard, and is on all of them. */
        if (only < 0 || only == i) {
            listener->needed[i] = true;
        }
    }
    return 0;
}

static int subscribe_all(struct listener *listener)
{
    struct roulette_subscriber_options options;
    roulette_subscriber_options_init(&options);
    options.ring_slots = RING_SLOTS;
    options.pinned_bytes = PINNED_BYTES;
    int result = roulette_subscriber_open(listener->client, &options, &listener->subscriber);
    if (result < 0) {
        command_complain(listener->command, "%s", roulette_last_error());
        return connect_exit_code(result);
    }
    int code = COMMAND_OK;
    for (int i = 0; i < listener->arguments->operand_count && code == COMMAND_OK; i++) {
        code = subscribe(listener, listener->arguments->operands[i]);
    }
    return code;
}

static int open_and_listen(struct listener *listener)
{
    struct roulette_options options = connect_options(listener->arguments);
    options.name = "roulette sub";
    options.slab_count = SLAB_COUNT;
    if (listener->arguments->timeout_ms >= 0) {
        connect_hurry(&options, listener->arguments->timeout_ms);
    }
    options.subscription_restart =
        listener->arguments->temporary ? ROULETTE_RESTART_TEMPORARY : ROULETTE_RESTART_PERMANENT;
    int result = connect_open(listener->command, listener->arguments, &options, &listener->client);
    if (result != 0) {
        return result;
    }
    listener->needed = calloc((size_t)roulette_cluster_count(listener->client), sizeof(bool));
    if (listener->needed == NULL) {
        command_complain(listener->command, "%s", roulette_error_text(ROULETTE_ENOMEM));
        result = COMMAND_FAILED;
    }
    result = result == 0 ? subscribe_all(listener) : result;
    result = result == 0 ? listen_until_done(listener) : result;
    roulette_subscriber_close(listener->subscriber);
    (void)roulette_close(listener->client, 0, NULL, 0);
    roulette_free(listener->client);
    free(listener->needed);
    return result;
}

static int run(const struct command *command, const struct arguments *arguments)
{
    uint64_t now_ms = connect_now_ms();
    struct listener listener = {
        .command = command,
        .arguments = arguments,
        .start_ms = now_ms,
        .end_ms =
            arguments->timeout_ms >= 0 ? now_ms + (uint64_t)arguments->timeout_ms : UINT64_MAX,
    };
    listener.asked_fd = ending_prepare(command, listener.end_ms, COMMAND_FAILED);
    if (listener.asked_fd < 0) {
        return COMMAND_FAILED;
    }
    if (output_open(&listener.output, STDOUT_FILENO) != 0) {
        command_complain(command, "%s", roulette_error_text(ROULETTE_ENOMEM));
        return COMMAND_FAILED;
    }
    int result = open_and_listen(&listener);
    output_close(&listener.output);
    /* A call that a signal interrupted has not failed. */
    return ending_is_asked() ? COMMAND_OK : result;
}

const struct command command_sub = {
    .name = "sub",
    .summary = "print the messages of topics as they arrive",
    .help = help,
    .options = ARGUMENTS_CLIENT | ARGUMENT_TIMEOUT | ARGUMENT_COUNT | ARGUMENT_RAW |
               ARGUMENT_TEMPORARY | ARGUMENT_QUEUE,
    .operands_min = 1,
    .operands_max = -1,
    .run = run,
};
