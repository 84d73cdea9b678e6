/* SPDX-License-Identifier: MIT */
/**
 * What a server can do wrong, by accident or on purpose: each gives a counted reason and a new
 * connection, never a crash, a hang or memory without bound.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"

enum {
    /* What the process may grow by. The receive memory of these clients is 1 MiB. */
    GROWTH_MAX_KB = SCALED(24, 200) * 1024,
    PING_MS = 300,
    PINGS = 2,
    BUSY_MS = SCALED(200, 2000), /* what a busy machine may add */
};

#define INFO \
    "INFO "  \
    "{\"server_id\":\"x\",\"version\":\"2.9.0\",\"headers\":true,\"max_payload\":1048576}\r\n"
#define HANDSHAKE FAKE_SEND(INFO), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n")
#define GOOD      FAKE_SCRIPT(HANDSHAKE)

/* ---- Memory ------------------------------------------------------------------------------- */

static long resident_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *file = fopen("/proc/self/status", "r");
    REQUIRE(file != NULL);
    while (kb < 0 && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "VmHWM: %ld kB", &kb);
    }
    (void)fclose(file);
    REQUIRE(kb > 0);
    return kb;
}

/* ---- A client of a bad server ------------------------------------------------------------- */

struct stage {
    struct fake_server *server;
    roulette_client *client;
    roulette_subscriber *subscriber;
    long before_kb;
};

static struct roulette_options small_options(uint16_t port, char *address, size_t size)
{
    struct roulette_options options;
    (void)snprintf(address, size, "127.0.0.1:%u", port);
    roulette_options_init(&options);
    options.servers = address;
    options.connection_timeout_ms = SCALED(300, 1000);
    options.reconnect_interval_ms = 1;
    options.max_backoff_ms = 20;
    options.max_retry = 1000;
    options.queue_bytes = (size_t)1 << 20;
    options.slab_bytes = 131072;
    options.slab_count = 8;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    return options;
}

static void set_up(struct stage *stage, const struct fake_script *scripts, size_t count,
                   bool subscribed)
{
    char address[32];
    stage->server = fake_server_start(scripts, count);
    cr_assert_not_null(stage->server);
    struct roulette_options options =
        small_options(fake_server_port(stage->server), address, sizeof(address));
    stage->before_kb = resident_kb();
    cr_assert_eq(roulette_open(&options, &stage->client), 0);
    stage->subscriber = fleet_subscriber(stage->client, 64);
    if (subscribed) {
        /* The first subscription of a connection has the sid 1. */
        cr_assert_eq(roulette_subscribe(stage->subscriber, "t", 1, NULL, NULL), 0);
    }
}

static void tear_down(struct stage *stage)
{
    long growth_kb = resident_kb() - stage->before_kb;
    cr_assert_lt(growth_kb, GROWTH_MAX_KB, "the process grew by %ld kB", growth_kb);
    roulette_subscriber_close(stage->subscriber);
    (void)roulette_close(stage->client, 0, NULL, 0);
    roulette_free(stage->client);
    cr_assert(fake_server_stop(stage->server));
}

static struct roulette_stats stats_of(const struct stage *stage)
{
    return fleet_stats(stage->client, 0);
}

/* ---- Bad bytes ---------------------------------------------------------------------------- */

struct bad_bytes {
    const char *name;
    const char *bytes;
    size_t len;
};
#define BYTES(name, text) {name, text, sizeof(text) - 1}

/* Not NATS, wherever they come. */
static const struct bad_bytes garbage[] = {
    BYTES("http", "HTTP/1.1 400 Bad Request\r\n\r\n"),
    BYTES("ssh", "SSH-2.0-OpenSSH_9.2\r\n"),
    BYTES("zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    BYTES("binary", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\xfe\x80"),
    BYTES("empty lines", "\r\n\r\n"),
    BYTES("size 4294967301", "MSG t 1 4294967301\r\nhello\r\n"),
    BYTES("size of 20 digits", "MSG t 1 18446744073709551621\r\nhello\r\n"),
    BYTES("size of 100 digits",
          "MSG t 1 00000000000000000000000000000000000000000000000000000000000000000000000000000000"
          "00000000000000000005\r\nhello\r\n"),
    BYTES("negative size", "MSG t 1 -5\r\nhello\r\n"),
    BYTES("hexadecimal size", "MSG t 1 0x5\r\nhello\r\n"),
    BYTES("no size", "MSG t 1\r\nhello\r\n"),
    BYTES("no arguments", "MSG\r\n"),
    BYTES("too many arguments", "MSG t 1 r 5 6 7\r\nhello\r\n"),
    BYTES("sid that is no number", "MSG t x 5\r\nhello\r\n"),
    BYTES("payload longer than told", "MSG t 1 3\r\nhello\r\n"),
    BYTES("headers longer than all", "HMSG t 1 20 10\r\nNATS/1.0\r\n\r\n\r\n"),
    BYTES("headers of size 4294967301", "HMSG t 1 4294967301 4294967302\r\nNATS/1.0\r\n"),
    BYTES("CR without LF", "PING\rPING\r\n"),
    BYTES("CR in the middle", "MSG t\r1 5\r\nhello\r\n"),
    BYTES("error without a text", "-ERR\r\n"),
    BYTES("client's verb", "PUB t 5\r\nhello\r\n"),
};
#define GARBAGE (sizeof(garbage) / sizeof(garbage[0]))

/* The bytes end the connection; the next one is made and works. */
static void check_garbage(const struct bad_bytes *bad, bool greeted)
{
    struct stage stage;
    const struct fake_step after[] = {HANDSHAKE, FAKE_SEND_BYTES(bad->bytes, bad->len)};
    const struct fake_step instead[] = {FAKE_SEND_BYTES(bad->bytes, bad->len)};
    const struct fake_script scripts[] = {
        {.steps = greeted ? after : instead, .count = greeted ? 4 : 1},
        GOOD,
    };
    set_up(&stage, scripts, 2, false);
    EVENTUALLY(stats_of(&stage).connects == (greeted ? 2 : 1));
    struct roulette_stats stats = stats_of(&stage);
    cr_assert_eq(stats.protocol_errors, 1, "%s", bad->name);
    cr_assert_eq(stats.last_error, ROULETTE_EPROTOCOL, "%s gives %s", bad->name,
                 roulette_error_name(stats.last_error));
    cr_assert_eq(stats.disconnects, greeted ? 1 : 0, "%s", bad->name);
    cr_assert_eq(stats.connect_failures, greeted ? 0 : 1, "%s", bad->name);
    cr_assert_eq(stats.lost_by_server, 0);
    cr_assert_eq(stats.connected, 1);
    tear_down(&stage);
}

Test(bad_server, garbage_instead_of_the_greeting)
{
    for (size_t i = 0; i < GARBAGE; i++) {
        check_garbage(&garbage[i], false);
    }
}

Test(bad_server, garbage_after_the_handshake)
{
    for (size_t i = 0; i < GARBAGE; i++) {
        check_garbage(&garbage[i], true);
    }
}

/* Protocol that comes too early: a peer that does not begin with INFO is no NATS server. */
Test(bad_server, operations_before_the_greeting)
{
    static const struct bad_bytes early[] = {
        BYTES("PING", "PING\r\n"),
        BYTES("PONG", "PONG\r\n"),
        BYTES("+OK", "+OK\r\n"),
        BYTES("MSG", "MSG t 1 5\r\nhello\r\n"),
    };
    for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
        check_garbage(&early[i], false);
    }
}

Test(bad_server, info_that_says_nothing)
{
    static const struct bad_bytes infos[] = {
        BYTES("empty", "INFO \r\n"),
        BYTES("no object", "INFO []\r\n"),
        BYTES("no JSON", "INFO {max_payload}\r\n"),
        BYTES("cut", "INFO {\"max_payload\":1\r\n"),
        BYTES("too deep", "INFO {\"a\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}\r\n"),
    };
    for (size_t i = 0; i < sizeof(infos) / sizeof(infos[0]); i++) {
        check_garbage(&infos[i], false);
        check_garbage(&infos[i], true);
    }
}

/* ---- Lines and frames without end --------------------------------------------------------- */

static void check_endless(const struct fake_script *script, bool greeted, uint64_t bytes_max)
{
    struct stage stage;
    const struct fake_script scripts[] = {*script, GOOD};
    set_up(&stage, scripts, 2, false);
    EVENTUALLY(stats_of(&stage).connects == (greeted ? 2 : 1));
    cr_assert_eq(stats_of(&stage).protocol_errors, 1);
    cr_assert_lt(stats_of(&stage).received_bytes, bytes_max);
    tear_down(&stage);
}

#define X32     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256    X32 X32 X32 X32 X32 X32 X32 X32
#define ENDLESS FAKE_SEND_TIMES(X256 X256 X256 X256 X256 X256 X256 X256, SIZE_MAX)

Test(bad_server, endless_lines)
{
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(ENDLESS),
        FAKE_SCRIPT(FAKE_SEND("-ERR '"), ENDLESS),
        FAKE_SCRIPT(FAKE_SEND("MSG "), ENDLESS),
    };
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        check_endless(&scripts[i], false, (uint64_t)1 << 20);
    }
    const struct fake_script later[] = {
        FAKE_SCRIPT(HANDSHAKE, ENDLESS),
        FAKE_SCRIPT(HANDSHAKE, FAKE_SEND("-ERR '"), ENDLESS),
        FAKE_SCRIPT(HANDSHAKE, FAKE_SEND("MSG "), ENDLESS),
        FAKE_SCRIPT(HANDSHAKE, FAKE_SEND("HMSG t 1 "), ENDLESS),
    };
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        check_endless(&later[i], true, (uint64_t)1 << 20);
    }
}

Test(bad_server, endless_info_is_left_with_its_limit_named)
{
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND("INFO {\"a\":\""), ENDLESS),
        FAKE_SCRIPT(HANDSHAKE, FAKE_SEND("INFO {\"a\":\""), ENDLESS),
    };
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        check_endless(&scripts[i], i == 1, (uint64_t)2 << 20);
    }
    struct stage stage;
    const struct fake_script always = scripts[0];
    set_up(&stage, &always, 1, false);
    EVENTUALLY(stats_of(&stage).connect_failures > 2);
    cr_assert_eq(stats_of(&stage).last_error, ROULETTE_EINFO);
    cr_assert_not_null(strstr(roulette_error_text(ROULETTE_EINFO), "1 MiB"));
    tear_down(&stage);
}

/* An INFO as large as may be: the addresses of all servers of a large cluster. */
static char *make_info(unsigned max_payload, size_t *len)
{
    enum { TEXT_LEN = 1048576 };
    char *info = malloc(TEXT_LEN + 64);
    REQUIRE(info != NULL);
    size_t at = (size_t)sprintf(info,
                                "INFO {\"server_id\":\"x\",\"version\":\"2.9.0\",\"headers\":true,"
                                "\"max_payload\":%u,\"connect_urls\":[",
                                max_payload);
    for (unsigned i = 0; at + 64 < TEXT_LEN + 5; i++) {
        at += (size_t)sprintf(info + at, "\"nats-%04u.messaging.internal.example:4222\",", i);
    }
    size_t left = TEXT_LEN + 5 - at - strlen("\"\"]}");
    at += (size_t)sprintf(info + at, "\"%0*u\"]}\r\n", (int)left, 0U);
    REQUIRE(at == TEXT_LEN + 7);
    *len = at;
    return info;
}

/* The first one, and a later one that changes something, with messages before and behind it. */
Test(bad_server, info_of_a_mebibyte_is_no_fault)
{
    static const char payload[2000];
    struct stage stage;
    struct roulette_message messages[2];
    size_t first_len;
    size_t later_len;
    char *first = make_info(1048576, &first_len);
    char *later = make_info(1000, &later_len);
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND_BYTES(first, first_len), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\n"), FAKE_EXPECT("SUB t 1\r\n"),
                    FAKE_SEND("MSG t 1 1\r\na\r\n"), FAKE_SEND_BYTES(later, later_len),
                    FAKE_SEND("MSG t 1 1\r\nb\r\n")),
    };
    set_up(&stage, scripts, 1, true);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(roulette_receive(stage.subscriber, &messages[i], 1, EVENTUALLY_MS), 1);
        cr_assert_eq(messages[i].kind, ROULETTE_KIND_MESSAGE);
        cr_assert_eq(((const char *)messages[i].payload)[0], "ab"[i]);
    }
    roulette_release(stage.subscriber, messages, 2);
    cr_assert_eq(roulette_publish(stage.client, "t", 1, payload, sizeof(payload)),
                 ROULETTE_EPAYLOAD);
    cr_assert_eq(stats_of(&stage).connects, 1);
    cr_assert_eq(stats_of(&stage).connect_failures + stats_of(&stage).disconnects, 0);
    tear_down(&stage);
    free(first);
    free(later);
}

/* A frame within NATS' bounds but larger than the receive memory: skipped, counted, told. */
Test(bad_server, message_larger_than_receive_memory)
{
    static char kilobyte[1024];
    enum { KILOBYTES = 20000 };
    struct stage stage;
    char line[64];
    memset(kilobyte, 'M', sizeof(kilobyte));
    int len = snprintf(line, sizeof(line), "MSG t 1 %d\r\n", KILOBYTES * 1024);
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), FAKE_SEND("MSG t 1 3\r\none\r\n"),
                    FAKE_SEND_BYTES(line, (size_t)len),
                    {.kind = FAKE_STEP_SEND,
                     .bytes = kilobyte,
                     .len = sizeof(kilobyte),
                     .times = KILOBYTES},
                    FAKE_SEND("\r\nMSG t 1 3\r\ntwo\r\n")),
    };
    set_up(&stage, scripts, 1, true);
    struct roulette_message message;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.kind, i == 1 ? ROULETTE_KIND_DROPPED : ROULETTE_KIND_MESSAGE);
        if (i == 1) {
            cr_assert_eq(message.count, 1);
            cr_assert_eq(message.bounds, ROULETTE_BOUND_MESSAGE_LEN);
        } else {
            cr_assert_arr_eq(message.payload, i == 0 ? "one" : "two", 3);
        }
        roulette_release(stage.subscriber, &message, 1);
    }
    struct roulette_stats stats = stats_of(&stage);
    cr_assert_eq(stats.dropped_oversized, 1);
    cr_assert_eq(stats.received_messages, 3);
    cr_assert_eq(stats.delivered_messages, 2);
    cr_assert_eq(stats.disconnects, 0);
    tear_down(&stage);
}

/* 1 GiB is announced and never comes. */
Test(bad_server, gigabyte_that_is_only_announced)
{
    struct stage stage;
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"),
                    FAKE_SEND("MSG t 1 999999999\r\nonly this much"), FAKE_CLOSE()),
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), FAKE_SEND("MSG t 1 1073741824\r\n")),
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), FAKE_SEND("MSG t 1 2\r\nok\r\n")),
    };
    set_up(&stage, scripts, 3, true);
    EVENTUALLY(stats_of(&stage).connects == 3);
    EVENTUALLY(stats_of(&stage).delivered_messages == 1);
    cr_assert_eq(stats_of(&stage).lost_by_server, 1);
    cr_assert_eq(stats_of(&stage).protocol_errors, 1, "NATS sizes have 9 digits");
    tear_down(&stage);
}

/* ---- Connections that end ----------------------------------------------------------------- */

Test(bad_server, end_in_the_middle_of_a_frame)
{
    static const char frame[] = "MSG t 1 reply 11\r\nhello world\r\n";
    for (size_t cut = 1; cut < sizeof(frame) - 1; cut++) {
        struct stage stage;
        const struct fake_step steps[] = {HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"),
                                          FAKE_SEND_BYTES(frame, cut),
                                          cut % 2 == 0 ? FAKE_CLOSE() : FAKE_RESET()};
        const struct fake_script scripts[] = {
            {.steps = steps, .count = 6},
            FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), FAKE_SEND("MSG t 1 5\r\nwhole\r\n")),
        };
        set_up(&stage, scripts, 2, true);
        static const enum roulette_kind kinds[] = {ROULETTE_KIND_LOST, ROULETTE_KIND_RESTORED,
                                                   ROULETTE_KIND_MESSAGE};
        for (size_t i = 0; i < 3; i++) {
            struct roulette_message message;
            cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1,
                         "cut at %zu", cut);
            cr_assert_eq(message.kind, kinds[i], "cut at %zu, entry %zu: %d", cut, i, message.kind);
            cr_assert(i != 2 || memcmp(message.payload, "whole", 5) == 0);
            cr_assert(i != 0 || message.error == ROULETTE_EDISCONNECTED);
            roulette_release(stage.subscriber, &message, 1);
        }
        struct roulette_stats stats = stats_of(&stage);
        cr_assert_eq(stats.lost_by_server, 1);
        cr_assert_eq(stats.disconnects, 1);
        cr_assert_eq(stats.protocol_errors, 0);
        cr_assert_eq(stats.last_error, ROULETTE_EDISCONNECTED);
        cr_assert_eq(stats.received_messages, 1);
        tear_down(&stage);
    }
}

/* Publish until the connection is lost. Returns: for how long nothing was accepted. */
static uint64_t publish_until_lost(const struct stage *stage)
{
    static const char payload[4096];
    uint64_t deadline_ms = net_now_ms() + EVENTUALLY_MS;
    uint64_t accepted_ms = net_now_ms();
    uint64_t longest_ms = 0;
    while (stats_of(stage).disconnects == 0) {
        cr_assert_lt(net_now_ms(), deadline_ms, "it is not left");
        int result =
            roulette_publish_wait(stage->client, "t", 1, payload, sizeof(payload), PING_MS / 10);
        cr_assert(result == 0 || result == ROULETTE_ETIMEDOUT, "%s", roulette_error_name(result));
        uint64_t pause_ms = net_now_ms() - accepted_ms;
        longest_ms = pause_ms > longest_ms ? pause_ms : longest_ms;
        accepted_ms += result == 0 ? pause_ms : 0;
    }
    return longest_ms;
}

/* Its bytes are life, but ours go nowhere. */
Test(bad_server, one_that_talks_and_reads_nothing_is_left)
{
    struct stage stage;
    char address[32];
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_BLAST("+OK\r\n")),
        GOOD,
    };
    stage.server = fake_server_start(scripts, 2);
    cr_assert_not_null(stage.server);
    struct roulette_options options =
        small_options(fake_server_port(stage.server), address, sizeof(address));
    options.ping_interval_ms = PING_MS;
    options.max_ping_failure = PINGS;
    stage.subscriber = NULL;
    stage.before_kb = resident_kb();
    cr_assert_eq(roulette_open(&options, &stage.client), 0);
    EVENTUALLY(stats_of(&stage).connects == 1);
    uint64_t stuck_ms = publish_until_lost(&stage);
    cr_assert_leq(stuck_ms, PING_MS * PINGS + 1000 + BUSY_MS, "%llu ms",
                  (unsigned long long)stuck_ms);
    cr_assert_eq(stats_of(&stage).lost_by_ping, 1);
    cr_assert_gt(stats_of(&stage).receives, 10);
    EVENTUALLY(stats_of(&stage).connects == 2);
    printf("bad_server: a peer that read nothing was left after %llu ms\n",
           (unsigned long long)stuck_ms);
    tear_down(&stage);
}

/* Attempts that fail before the first PONG, and why. */
static void check_failing(const struct fake_script *script, int error, uint64_t protocol_errors)
{
    struct stage stage;
    const struct fake_script scripts[] = {*script, *script, GOOD};
    set_up(&stage, scripts, 3, true);
    EVENTUALLY(stats_of(&stage).connects == 1);
    struct roulette_stats stats = stats_of(&stage);
    cr_assert_eq(stats.connect_failures, 2);
    cr_assert_eq(stats.disconnects, 0);
    cr_assert_eq(stats.protocol_errors, protocol_errors);
    cr_assert_eq(stats.last_error, error, "%s", roulette_error_name(stats.last_error));
    cr_assert_eq(stats.connected, 1);
    struct roulette_message message;
    bool silent = error == ROULETTE_ETIMEDOUT || error == ROULETTE_EDISCONNECTED;
    int told = roulette_receive(stage.subscriber, &message, 1, 0);
    if (told == 1 && !silent) {
        /* Unless both attempts had failed before it subscribed. */
        cr_assert_eq(message.kind, ROULETTE_KIND_REFUSED);
        cr_assert_eq(message.error, error);
        told = roulette_receive(stage.subscriber, &message, 1, 0);
    }
    cr_assert_eq(told, 0, "the subscription was never live, so nothing is lost");
    tear_down(&stage);
}

Test(bad_server, nothing_at_all)
{
    const struct fake_script silent = FAKE_SCRIPT(FAKE_STALL());
    check_failing(&silent, ROULETTE_ETIMEDOUT, 0);
    const struct fake_script no_pong = FAKE_SCRIPT(FAKE_SEND(INFO));
    check_failing(&no_pong, ROULETTE_ETIMEDOUT, 0);
    const struct fake_script half_info = FAKE_SCRIPT(FAKE_SEND("INFO {\"server_id\""));
    check_failing(&half_info, ROULETTE_ETIMEDOUT, 0);
    const struct fake_script busy = FAKE_SCRIPT(FAKE_SEND(INFO), FAKE_SEND_TIMES("+OK\r\n", 1000));
    check_failing(&busy, ROULETTE_ETIMEDOUT, 0);
}

Test(bad_server, closed_or_refused_in_the_handshake)
{
    const struct fake_script closed = FAKE_SCRIPT(FAKE_CLOSE());
    check_failing(&closed, ROULETTE_EDISCONNECTED, 0);
    const struct fake_script reset = FAKE_SCRIPT(FAKE_RESET());
    check_failing(&reset, ROULETTE_EDISCONNECTED, 0);
    const struct fake_script after_info = FAKE_SCRIPT(FAKE_SEND(INFO), FAKE_CLOSE());
    check_failing(&after_info, ROULETTE_EDISCONNECTED, 0);
    const struct fake_script refused =
        FAKE_SCRIPT(FAKE_SEND(INFO), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("-ERR 'Authorization Violation'\r\n"), FAKE_CLOSE());
    check_failing(&refused, ROULETTE_EAUTH, 0);
    const struct fake_script limited =
        FAKE_SCRIPT(FAKE_SEND("-ERR 'maximum connections exceeded'\r\n"), FAKE_CLOSE());
    check_failing(&limited, ROULETTE_ESERVER, 0);
    const struct fake_script tls =
        FAKE_SCRIPT(FAKE_SEND("INFO {\"tls_required\":true,\"max_payload\":1000}\r\n"));
    check_failing(&tls, ROULETTE_ETLS, 0);
}

Test(bad_server, credentials_stay_with_the_handshake)
{
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND("INFO {\"tls_required\":true}\r\n")),
        FAKE_SCRIPT(FAKE_SEND("hello\r\n")),
    };
    struct fake_server *server = fake_server_start(scripts, 2);
    char address[64];
    char bare[32];
    cr_assert_not_null(server);
    struct roulette_options options = small_options(fake_server_port(server), bare, sizeof(bare));
    (void)snprintf(address, sizeof(address), "nats://user:secret@%s", bare);
    options.servers = address;
    roulette_client *client;
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert(fake_server_wait_ended(server, 2, EVENTUALLY_MS));
    for (size_t i = 0; i < 2; i++) {
        size_t len;
        char *received = fake_server_received(server, i, &len);
        cr_assert_not_null(received);
        cr_assert_eq(len, 0, "nothing is sent to a peer that has not proved to be one: %s",
                     received);
        free(received);
    }
    roulette_free(client);
    cr_assert(fake_server_stop(server));
}

/* ---- Odd but allowed ---------------------------------------------------------------------- */

Test(bad_server, unknown_sids_are_counted)
{
    struct stage stage;
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), FAKE_SEND("MSG t 0 2\r\nno\r\n"),
                    FAKE_SEND("MSG t 2 2\r\nno\r\n"), FAKE_SEND("MSG t 77777 2\r\nno\r\n"),
                    FAKE_SEND("MSG t 9223372036854775807 2\r\nno\r\n"),
                    FAKE_SEND("HMSG t 16777217 12 14\r\nNATS/1.0\r\n\r\nno\r\n"),
                    FAKE_SEND("MSG t 1 3\r\nyes\r\n")),
    };
    set_up(&stage, scripts, 1, true);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    cr_assert_arr_eq(message.payload, "yes", 3);
    roulette_release(stage.subscriber, &message, 1);
    cr_assert_eq(stats_of(&stage).unknown_sid, 5);
    cr_assert_eq(stats_of(&stage).received_messages, 6);
    cr_assert_eq(stats_of(&stage).disconnects, 0);
    tear_down(&stage);
}

Test(bad_server, pongs_that_nobody_asked_for)
{
    struct stage stage;
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_SEND_TIMES("PONG\r\n+OK\r\n", 1000), FAKE_EXPECT("PUB t 1"),
                    FAKE_SEND_TIMES(INFO, 100), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\nPONG\r\n")),
    };
    set_up(&stage, scripts, 1, true);
    EVENTUALLY(stats_of(&stage).connects == 1);
    cr_assert_eq(roulette_publish(stage.client, "t", 1, "x", 1), 0);
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, &ledger, 1), 0);
    cr_assert_eq(ledger.confirmed, 1);
    cr_assert_eq(stats_of(&stage).disconnects, 0);
    tear_down(&stage);
}

Test(bad_server, errors_of_the_server_are_counted_and_survived)
{
    struct stage stage;
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"),
                    FAKE_SEND("-ERR 'Permissions Violation for Publish to \"x\"'\r\n"),
                    FAKE_SEND("-ERR ''\r\n"), FAKE_SEND("-ERR 'something new'\r\n"),
                    FAKE_SEND("MSG t 1 2\r\nok\r\n"),
                    FAKE_SEND("-ERR 'Permissions Violation for Subscription to \"t\"'\r\n")),
    };
    set_up(&stage, scripts, 1, true);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    roulette_release(stage.subscriber, &message, 1);
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
    cr_assert_eq(message.error, ROULETTE_EPERMISSION);
    cr_assert_eq(stats_of(&stage).server_errors, 4);
    cr_assert_eq(stats_of(&stage).disconnects, 0);
    tear_down(&stage);
}

/* The whole conversation in pieces of one byte. */
Test(bad_server, slow_writer)
{
    static const char bytes[] = INFO "PONG\r\nMSG t 1 r 5\r\nhello\r\nPING\r\n";
    static struct fake_step steps[sizeof(bytes) + 2];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
        if (bytes + i == strstr(bytes, "PONG")) {
            steps[count++] = FAKE_EXPECT("PING\r\n");
        }
        if (bytes + i == strstr(bytes, "MSG")) {
            steps[count++] = FAKE_EXPECT("SUB t 1\r\n");
        }
        steps[count++] = FAKE_SEND_BYTES(bytes + i, 1);
    }
    steps[count++] = FAKE_EXPECT("PONG\r\n");
    const struct fake_script scripts[] = {{.steps = steps, .count = count}};
    struct stage stage;
    set_up(&stage, scripts, 1, true);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    cr_assert_arr_eq(message.payload, "hello", 5);
    roulette_release(stage.subscriber, &message, 1);
    cr_assert(fake_server_wait_received(stage.server, 0, "PONG\r\n", EVENTUALLY_MS));
    cr_assert_eq(stats_of(&stage).connect_failures, 0);
    tear_down(&stage);
}

/* ---- A server that writes and never reads ------------------------------------------------- */

struct flood {
    int listener;
    uint16_t port;
    size_t pings;
    atomic_size_t sent;
    atomic_bool left; /* by the client */
    pthread_t thread;
};

static bool send_all(int fd, const char *bytes, size_t len)
{
    for (size_t sent = 0; sent < len;) {
        ssize_t count = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
        if (count <= 0) {
            return false;
        }
        sent += (size_t)count;
    }
    return true;
}

static void *flood_with_pings(void *argument)
{
    struct flood *flood = argument;
    char bytes[4096] = {0};
    static char pings[6000];
    for (size_t i = 0; i < sizeof(pings); i++) {
        pings[i] = "PING\r\n"[i % 6];
    }
    int fd = accept(flood->listener, NULL, NULL);
    REQUIRE(fd >= 0);
    REQUIRE(send_all(fd, INFO, strlen(INFO)));
    for (size_t len = 0; strstr(bytes, "PING\r\n") == NULL;) {
        ssize_t count = recv(fd, bytes + len, sizeof(bytes) - 1 - len, 0);
        REQUIRE(count > 0);
        len += (size_t)count;
    }
    REQUIRE(send_all(fd, "PONG\r\n", 6));
    while (atomic_load(&flood->sent) < flood->pings && send_all(fd, pings, sizeof(pings))) {
        atomic_fetch_add(&flood->sent, sizeof(pings) / 6);
    }
    /* Reading nothing: even the client's FIN waits behind what it has sent. */
    EVENTUALLY(atomic_load(&flood->left));
    (void)close(fd);
    return NULL;
}

Test(bad_server, flood_of_pings_without_reading)
{
    struct flood flood = {.pings = SCALED(3000000, 200000)};
    char address[32];
    roulette_client *client;
    flood.listener = net_listen(&flood.port);
    cr_assert_geq(flood.listener, 0);
    cr_assert_eq(pthread_create(&flood.thread, NULL, flood_with_pings, &flood), 0);
    struct roulette_options options = small_options(flood.port, address, sizeof(address));
    options.ping_interval_ms = 200;
    long before_kb = resident_kb();
    cr_assert_eq(roulette_open(&options, &client), 0);
    EVENTUALLY(fleet_stats(client, 0).received_bytes >= flood.pings * 6);
    /* It does not answer our pings, so it is left. */
    EVENTUALLY(fleet_stats(client, 0).lost_by_ping == 1);
    atomic_store(&flood.left, true);
    (void)pthread_join(flood.thread, NULL);
    long growth_kb = resident_kb() - before_kb;
    printf("bad_server: %zu pings without reading: the process grew by %ld kB\n",
           atomic_load(&flood.sent), growth_kb);
    cr_assert_geq(atomic_load(&flood.sent), flood.pings);
    cr_assert_lt(growth_kb, GROWTH_MAX_KB);
    roulette_free(client);
    (void)close(flood.listener);
}

/* ---- Over and over ------------------------------------------------------------------------ */

/* Reconnecting for ever costs no memory and no descriptors. */
Test(bad_server, hundreds_of_bad_connections)
{
    enum { CONNECTIONS = SCALED(500, 150) };
    struct stage stage;
    const struct fake_script scripts[] = {
        /* It takes the SUB: else that would be what the server closes for. */
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), FAKE_SEND("PONG\r\nMSG t 1 5\r\nhel"),
                    FAKE_RESET()),
    };
    set_up(&stage, scripts, 1, true);
    int first = dup(0);
    cr_assert_geq(first, 0);
    (void)close(first);
    uint64_t notices = 0;
    while (stats_of(&stage).disconnects < CONNECTIONS) {
        struct roulette_message message;
        int count = roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS);
        cr_assert_eq(count, 1);
        cr_assert(message.kind == ROULETTE_KIND_LOST || message.kind == ROULETTE_KIND_RESTORED);
        notices++;
    }
    cr_assert_geq(notices + 8, 2 * CONNECTIONS);
    int last = dup(0);
    cr_assert_leq(last, first + 2, "descriptors are given back");
    (void)close(last);
    tear_down(&stage);
}
