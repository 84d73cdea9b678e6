/* SPDX-License-Identifier: MIT */
/**
 * What a publish with a reply topic brings back: what others answer, and nothing of the server's
 * own.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/test.h"

/* As nats-server 2.15 tells a client that asked for it: nobody listens to what was published. */
#define STATUS "NATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n"

enum { ASKED = 20 };

/* Ask `count` times where nobody listens, with replies to a topic of `client`, and take all that
 * has come back by the time that the server has answered. Returns: how many messages. */
static int ask_nobody(roulette_client *client, roulette_subscriber *subscriber, int count)
{
    struct roulette_message messages[2 * ASKED];
    for (int i = 0; i < count; i++) {
        char reply[32];
        (void)snprintf(reply, sizeof(reply), "_INBOX.a.%d", i);
        cr_assert_eq(roulette_publish_reply(client, "nobody", 6, reply, ROULETTE_STRLEN, "?", 1, 0),
                     0);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    int received = roulette_receive(subscriber, messages, 2 * ASKED, 0);
    cr_assert_geq(received, 0);
    for (int i = 0; i < received; i++) {
        fprintf(stderr, "%.*s: %.*s\n", (int)messages[i].topic_len, messages[i].topic,
                (int)messages[i].headers_len, messages[i].headers);
    }
    roulette_release(subscriber, messages, (size_t)received);
    return received;
}

Test(reply, silence_is_silence_for_an_exact_topic_and_a_wildcard)
{
    static const char *const inboxes[] = {"_INBOX.a.0", "_INBOX.a.*", "_INBOX.>"};
    for (size_t i = 0; i < sizeof(inboxes) / sizeof(inboxes[0]); i++) {
        struct fleet fleet;
        fleet_start(&fleet, 1);
        struct roulette_options options = fleet_options(&fleet);
        roulette_client *client = fleet_open(&options);
        roulette_subscriber *subscriber = fleet_subscriber(client, 0);
        fleet_subscribe(subscriber, inboxes[i]);
        cr_assert_eq(ask_nobody(client, subscriber, ASKED), 0, "for %s", inboxes[i]);
        /* The same topic, when somebody answers. */
        cr_assert_eq(roulette_publish(client, "_INBOX.a.0", ROULETTE_STRLEN, "!", 1), 0);
        struct roulette_message message;
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.payload_len, 1);
        roulette_release(subscriber, &message, 1);
        roulette_subscriber_close(subscriber);
        fleet_close(client);
        fleet_stop(&fleet);
    }
}

/* A status that somebody publishes is a message as any other: we did not ask for it, so it is the
 * sender's, and it says so by what it contains. */
Test(reply, published_status_is_a_message)
{
    static const char connect[] = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
    char status[128];
    char bytes[4096];
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "_INBOX.a.*");

    int fd = net_connect(nats_server_port(fleet.servers[0]));
    cr_assert_geq(fd, 0);
    cr_assert(net_wait(fd, POLLIN, net_now_ms() + EVENTUALLY_MS));
    cr_assert_gt(recv(fd, bytes, sizeof(bytes), 0), 0);
    int len = snprintf(status, sizeof(status), "HPUB _INBOX.a.1 %zu %zu\r\n" STATUS "\r\n",
                       strlen(STATUS), strlen(STATUS));
    cr_assert_eq(send(fd, connect, strlen(connect), MSG_NOSIGNAL), (ssize_t)strlen(connect));
    cr_assert_eq(send(fd, status, (size_t)len, MSG_NOSIGNAL), len);

    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    cr_assert_eq(message.headers_len, strlen(STATUS));
    cr_assert_arr_eq(message.headers, STATUS, strlen(STATUS));
    cr_assert_eq(message.payload_len, 0);
    roulette_release(subscriber, &message, 1);
    (void)close(fd);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(reply, servers_are_told_not_to_send_a_status)
{
    struct fake_script script = FAKE_SCRIPT(FAKE_SEND("INFO {\"headers\":true}\r\n"),
                                            FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n"));
    struct fake_server *server = fake_server_start(&script, 1);
    cr_assert_not_null(server);
    char servers[32];
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", fake_server_port(server));
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = servers;
    roulette_client *client;
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert(fake_server_wait_received(server, 0, "PING\r\n", EVENTUALLY_MS));
    size_t len;
    char *bytes = fake_server_received(server, 0, &len);
    cr_assert_not_null(bytes);
    cr_assert_not_null(strstr(bytes, "\"headers\":true"), "%s", bytes);
    cr_assert_not_null(strstr(bytes, "\"no_responders\":false"), "%s", bytes);
    free(bytes);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    cr_assert(fake_server_stop(server));
}
