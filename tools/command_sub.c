/* SPDX-License-Identifier: MIT */
/*
 * roulette sub: print what arrives.
 *
 * One thread, one loop: receive and print all there is, then sleep in poll() on the subscriber's
 * descriptor and on the signals that end the program.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "command.h"
#include "connect.h"

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
    "subscription lost, restored or ended, and for messages dropped because they were not read\n"
    "fast enough.\n"
    "\n"
    "Exit code: 0 after --count messages, after --timeout without --count, or after SIGINT or\n"
    "SIGTERM; 1 if --timeout came before --count messages or a connection, or if all\n"
    "subscriptions have ended; 2 for a wrong command line, topic or list of servers.\n";

enum {
    BATCH = 256,
    ROUNDS = 64, /* batches between two looks at signals and the clock */
    RING_SLOTS = 65536,
    /* Until the clusters are connected they are looked at this often. */
    LOOK_MS = 10,
    /* When to tell of a cluster that is not connected yet, and how long the servers may take to
     * confirm the subscriptions. */
    PATIENCE_MS = 2000,
};

struct listener {
    const struct command *command;
    const struct arguments *arguments;
    roulette_client *client;
    roulette_subscriber *subscriber;
    int signals;       /* a signalfd */
    bool *needed;      /* by cluster: some topic is subscribed on it */
    int live;          /* subscriptions that have not ended */
    uint64_t received; /* messages */
    uint64_t start_ms;
    uint64_t end_ms; /* UINT64_MAX: no --timeout */
    bool ready;      /* the servers have all subscriptions */
    bool impatient;  /* told of clusters that are not connected */
};

static bool has_enough(const struct listener *listener)
{
    uint64_t count = listener->arguments->count;
    return count != 0 && listener->received == count;
}

/* ---- Printing ----------------------------------------------------------------------------- */

/* Bytes of the network do not reach a terminal as commands, nor end a line early. */
static void print_escaped(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        switch (byte) {
        case '\\':
            (void)fputs("\\\\", stdout);
            break;
        case '\t':
            (void)fputs("\\t", stdout);
            break;
        case '\n':
            (void)fputs("\\n", stdout);
            break;
        case '\r':
            (void)fputs("\\r", stdout);
            break;
        default:
            if (byte < 0x20 || byte == 0x7f) {
                (void)printf("\\x%02x", byte);
            } else {
                (void)putchar(byte);
            }
        }
    }
}

static void print_message(struct listener *listener, const struct roulette_message *message)
{
    if (has_enough(listener)) {
        return; /* the rest of the last batch */
    }
    listener->received++;
    if (listener->arguments->raw) {
        (void)fwrite(message->payload, 1, message->payload_len, stdout);
        return;
    }
    print_escaped(message->topic, message->topic_len);
    (void)putchar('\t');
    print_escaped(message->payload, message->payload_len);
    (void)putchar('\n');
}

static void print_notice(struct listener *listener, const struct roulette_message *notice)
{
    const char *topic = notice->user_data;
    const char *address = roulette_cluster_address(listener->client, notice->cluster);
    switch (notice->kind) {
    case ROULETTE_KIND_DROPPED:
        command_complain(listener->command,
                         "dropped %" PRIu64 " messages of cluster %u (%s): they were not read fast "
                         "enough",
                         notice->count, notice->cluster, address);
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
        command_complain(listener->command, "ended %s on cluster %u (%s): %s", topic,
                         notice->cluster, address, roulette_error_text(notice->error));
        listener->live--;
        break;
    case ROULETTE_KIND_MESSAGE:
        break;
    }
}

/*
 * Print what there is, up to a bound: signals and the clock are looked at under any load.
 * Returns: whether there may be more (1) or not (0), or an error of roulette_receive().
 */
static int drain(struct listener *listener)
{
    struct roulette_message batch[BATCH];
    for (int round = 0; round < ROUNDS && !has_enough(listener); round++) {
        int got = roulette_receive(listener->subscriber, batch, BATCH, 0);
        if (got <= 0) {
            (void)fflush(stdout);
            return got;
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
    return 1;
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
        (void)roulette_flush(listener->client, PATIENCE_MS, NULL, 0);
        listener->ready = true;
        command_complain(listener->command, "listening to %d topic%s", listener->live,
                         listener->live == 1 ? "" : "s");
    } else if (!listener->impatient && connect_now_ms() - listener->start_ms >= PATIENCE_MS) {
        listener->impatient = true;
        command_complain(listener->command, "waiting for cluster %zu (%s): %s", missing,
                         roulette_cluster_address(listener->client, missing),
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
        command_complain(listener->command,
                         "cluster %zu (%s) is not connected after %d ms: %s; start it, correct "
                         "--servers, or raise --timeout",
                         missing, roulette_cluster_address(listener->client, missing),
                         arguments->timeout_ms, connect_reason(listener->client, missing));
        return COMMAND_FAILED;
    }
    return COMMAND_OK;
}

/* Sleep until there may be something to do, unless there is `more` already. Returns whether a
 * signal asks to end. */
static bool sleep_until_something(struct listener *listener, bool more)
{
    struct pollfd wait[] = {
        {.fd = listener->signals, .events = POLLIN},
        {.fd = roulette_subscriber_fd(listener->subscriber), .events = POLLIN},
    };
    int timeout_ms = -1;
    if (more) {
        timeout_ms = 0;
    } else if (!listener->ready) {
        timeout_ms = LOOK_MS;
    } else if (listener->end_ms != UINT64_MAX) {
        timeout_ms = connect_left_ms(listener->end_ms);
    }
    (void)poll(wait, 2, timeout_ms);
    return (wait[0].revents & POLLIN) != 0;
}

static int listen_until_done(struct listener *listener)
{
    for (;;) {
        int more = drain(listener);
        if (more < 0) {
            command_complain(listener->command, "%s", roulette_last_error());
            return COMMAND_FAILED;
        }
        if (has_enough(listener)) {
            return COMMAND_OK;
        }
        if (ferror(stdout)) {
            command_complain(listener->command, "standard output cannot be written to");
            return COMMAND_FAILED;
        }
        if (listener->live == 0) {
            command_complain(listener->command, "all subscriptions have ended");
            return COMMAND_FAILED;
        }
        if (!listener->ready) {
            look(listener);
        }
        if (connect_now_ms() >= listener->end_ms) {
            return on_timeout(listener);
        }
        if (sleep_until_something(listener, more != 0)) {
            return COMMAND_OK;
        }
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

/* SIGINT and SIGTERM are read from a descriptor from here on. Returns it, or -1. */
static int catch_signals(const struct command *command)
{
    sigset_t ending;
    (void)sigemptyset(&ending);
    (void)sigaddset(&ending, SIGINT);
    (void)sigaddset(&ending, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ending, NULL);
    int signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) {
        command_complain(command, "no descriptor is left: raise the limit (ulimit -n)");
    }
    return signals;
}

static int open_and_listen(struct listener *listener)
{
    struct roulette_options options = connect_options(listener->arguments);
    options.name = "roulette sub";
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
        .signals = catch_signals(command),
        .start_ms = now_ms,
        .end_ms =
            arguments->timeout_ms >= 0 ? now_ms + (uint64_t)arguments->timeout_ms : UINT64_MAX,
    };
    if (listener.signals < 0) {
        return COMMAND_FAILED;
    }
    int result = open_and_listen(&listener);
    (void)close(listener.signals);
    return result;
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
