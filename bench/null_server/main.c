/* SPDX-License-Identifier: MIT */
/*
 * bench_null_server <TLS> discard
 * bench_null_server <TLS> blast <payload bytes> <messages> <subscriptions> <topics>
 * bench_null_server <TLS> echo
 *
 * <TLS> is "-" for none, or the bytes of the records that it sends, each by a write of its own; 0:
 * 16 KiB. It begins behind INFO, with a certificate made at the start.
 *
 * A server that costs as little as a peer of a client can. It listens on a free port of
 * 127.0.0.1, prints "port <port>", and serves one connection after the other: INFO, a PONG for
 * each PING, and then
 *
 *     discard: reads and forgets what is published;
 *     blast:   upon the last of so many SUBs, sends so many ready-made messages, in turn to those
 *              that are of a topic that carries messages (see harness/topic.h): there must be so
 * many; echo:    sends what is published back to the subscription, one message at a time.
 *
 * After each connection it prints "closed <bytes received> <bytes sent> <CPU ns so far>". It
 * does not end by itself.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "harness/topic.h"
#include "null_server/modes.h"
#include "support/net.h"

static const char info_line[] =
    "INFO {\"server_id\":\"NULL\",\"server_name\":\"null\",\"version\":\"2.9.10\",\"proto\":1,"
    "\"headers\":true,\"max_payload\":1048576,\"host\":\"127.0.0.1\",\"port\":4222}\r\n";
static const char info_tls_line[] =
    "INFO {\"server_id\":\"NULL\",\"server_name\":\"null\",\"version\":\"2.9.10\",\"proto\":1,"
    "\"headers\":true,\"max_payload\":1048576,\"host\":\"127.0.0.1\",\"port\":4222,"
    "\"tls_required\":true}\r\n";

enum mode { MODE_DISCARD, MODE_BLAST, MODE_ECHO };

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    uint64_t us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return us * 1000;
}

static void greet(struct connection *connection, const struct null_tls *tls)
{
    if (tls == NULL) {
        connection_send(connection, info_line, sizeof(info_line) - 1);
        return;
    }
    connection_send(connection, info_tls_line, sizeof(info_tls_line) - 1);
    connection_secure(connection, tls);
}

static void serve(int fd, enum mode mode, const struct load *load, const struct null_tls *tls)
{
    static struct connection connection;
    connection_open(&connection, fd);
    greet(&connection, tls);
    switch (mode) {
    case MODE_DISCARD:
        null_discard(&connection);
        break;
    case MODE_BLAST:
        null_blast(&connection, load);
        break;
    case MODE_ECHO:
        null_echo(&connection);
        break;
    }
    connection_close(&connection);
    printf("closed %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", connection.received_bytes,
           connection.sent_bytes, cpu_ns());
    (void)fflush(stdout);
}

static bool read_arguments(int argc, char **argv, enum mode *mode, struct load *load)
{
    memset(load, 0, sizeof(*load));
    if (argc == 3 && strcmp(argv[2], "discard") == 0) {
        *mode = MODE_DISCARD;
        return true;
    }
    if (argc == 3 && strcmp(argv[2], "echo") == 0) {
        *mode = MODE_ECHO;
        return true;
    }
    if (argc != 7 || strcmp(argv[2], "blast") != 0) {
        return false;
    }
    *mode = MODE_BLAST;
    load->payload_len = strtoul(argv[3], NULL, 10);
    load->messages = strtoull(argv[4], NULL, 10);
    load->subscriptions = strtoull(argv[5], NULL, 10);
    load->topics = (uint32_t)strtoul(argv[6], NULL, 10);
    return load->topics >= 1 && load->topics <= TOPIC_MAX;
}

int main(int argc, char **argv)
{
    enum mode mode;
    struct load load;
    uint16_t port;
    if (!read_arguments(argc, argv, &mode, &load)) {
        fprintf(stderr, "usage: bench_null_server <TLS> discard | echo |\n"
                        "       blast <payload bytes> <messages> <subscriptions> <topics>\n");
        return 2;
    }
    struct null_tls *tls = NULL;
    if (strcmp(argv[1], "-") != 0 && (tls = null_tls_create(strtoul(argv[1], NULL, 10))) == NULL) {
        fprintf(stderr, "bench_null_server: no TLS\n");
        return 1;
    }
    int listener = net_listen(&port);
    if (listener < 0) {
        fprintf(stderr, "bench_null_server: no free port\n");
        return 1;
    }
    printf("port %u\n", port);
    (void)fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            serve(fd, mode, &load, tls);
        }
    }
}
