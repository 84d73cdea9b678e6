/* SPDX-License-Identifier: MIT */
#include "io/tls/layer.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/tls/stream.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/test.h"
#include "unit/io/tls/world.h"

static const char *failure(const struct world *world)
{
    return rlt_tls_layer_failure(world->layer, 0);
}

/* ---- Handshake ---------------------------------------------------------------------------- */

static void expect_secured(const struct world_options *options)
{
    struct world world;
    world_create(&world, options);
    world_connect(&world);
    cr_assert_str_eq(failure(&world), "");
    world_close(&world);
    world_destroy(&world);
}

static void expect_refused(const struct world_options *options, const char *text)
{
    struct world world;
    world_create(&world, options);
    world_open(&world);
    cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
    cr_assert_not_null(strstr(failure(&world), text), "\"%s\" has \"%s\"", failure(&world), text);
    cr_assert(world.server_error != 0, "the server was told by an alert");
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, handshake_with_a_name_succeeds_and_sends_it)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    cr_assert_eq(SSL_version(world.server), TLS1_3_VERSION);
    cr_assert_str_eq(SSL_get_servername(world.server, TLSEXT_NAMETYPE_host_name), "localhost");
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, handshake_with_an_address_succeeds_and_sends_none)
{
    static const char *const addresses[] = {"127.0.0.1", "::1"};
    for (size_t i = 0; i < 2; i++) {
        struct world world;
        world_create(&world, &(struct world_options){.host = addresses[i]});
        world_connect(&world);
        cr_assert_null(SSL_get_servername(world.server, TLSEXT_NAMETYPE_host_name));
        world_close(&world);
        world_destroy(&world);
    }
}

Test(tls_layer, handshake_succeeds_by_tls_1_2_wildcard_root_dot_and_server_name)
{
    expect_secured(&(struct world_options){.version = TLS1_2_VERSION});
    expect_secured(&(struct world_options){.host = "nats.example.test"});
    expect_secured(&(struct world_options){.host = "localhost."});
    expect_secured(&(struct world_options){.host = "10.0.0.1", .server_name = "localhost"});
    expect_secured(&(struct world_options){.certificate = "self_signed", .ca = "self_signed.crt"});
}

Test(tls_layer, handshake_succeeds_byte_by_byte)
{
    expect_secured(&(struct world_options){.transfer_max = 1});
    expect_secured(&(struct world_options){.transfer_max = 1, .version = TLS1_2_VERSION});
}

Test(tls_layer, wrong_host_is_refused)
{
    const char *text = "the server's certificate is not for \"localhost\"";
    expect_refused(&(struct world_options){.certificate = "other_host"}, text);
    expect_refused(&(struct world_options){.host = "10.0.0.1"}, "is not for \"10.0.0.1\"");
    expect_refused(&(struct world_options){.host = "a.b.example.test"}, "is not for");
    expect_refused(&(struct world_options){.server_name = "other.test"}, "is not for \"other.test");
}

Test(tls_layer, certificate_that_is_not_valid_now_is_refused)
{
    expect_refused(&(struct world_options){.certificate = "expired"}, "has expired");
    expect_refused(&(struct world_options){.certificate = "future"}, "not yet valid");
}

Test(tls_layer, self_signed_certificate_is_refused)
{
    expect_refused(&(struct world_options){.certificate = "self_signed"},
                   "the server's certificate is self-signed and not trusted");
}

Test(tls_layer, certificate_of_another_ca_is_refused)
{
    expect_refused(&(struct world_options){.certificate = "wrong_ca"},
                   "the server's certificate is not from a trusted CA");
}

Test(tls_layer, server_of_tls_1_1_is_refused)
{
    expect_refused(&(struct world_options){.version = TLS1_1_VERSION},
                   "the server speaks no version of TLS from 1.2 on");
}

Test(tls_layer, verify_off_accepts_every_certificate)
{
    static const char *const names[] = {"other_host", "expired", "self_signed", "wrong_ca"};
    for (size_t i = 0; i < 4; i++) {
        expect_secured(&(struct world_options){.certificate = names[i], .skip_verify = true});
    }
}

Test(tls_layer, host_that_no_certificate_can_have_is_refused)
{
    struct world world;
    char host[400];
    memset(host, 'a', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    world_create(&world, &(struct world_options){.host = host});
    world_open(&world);
    cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
    cr_assert_not_null(strstr(failure(&world), "is no name that a certificate can have"));
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, client_certificate_is_presented)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct world world;
        world_create(&world, &(struct world_options){
                                 .want_client = true,
                                 .client = "client",
                                 .version = version,
                             });
        world_connect(&world);
        world_settle(&world);
        cr_assert_not_null(SSL_get0_peer_certificate(world.server));
        world_close(&world);
        world_destroy(&world);
    }
}

Test(tls_layer, missing_client_certificate_is_told_by_tls_1_2_in_the_handshake)
{
    struct world world;
    world_create(&world, &(struct world_options){.want_client = true, .version = TLS1_2_VERSION});
    world_open(&world);
    cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
    cr_assert_not_null(strstr(failure(&world), "the server refused the client: "));
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, missing_client_certificate_is_told_by_tls_1_3_when_reading)
{
    struct world world;
    world_create(&world, &(struct world_options){.want_client = true, .version = TLS1_3_VERSION});
    world_open(&world);
    cr_assert_eq(world_secure(&world), 0);
    world_receive(&world);
    world_settle(&world);
    cr_assert_eq(world.errors[RLT_IO_RECEIVED], ROULETTE_ETLS);
    cr_assert_not_null(strstr(failure(&world), "the server refused the client: "));
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, connection_that_ends_in_the_handshake_is_no_tls_error)
{
    struct world world;
    world_create(&world, NULL);
    world_open(&world);
    world.server_error = -1; /* it does nothing any more */
    world.ended = true;
    cr_assert_eq(world_secure(&world), ROULETTE_EDISCONNECTED);
    cr_assert_str_eq(failure(&world), "the connection ended in the handshake");
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, handshake_receives_nothing_before_its_hello_is_sent)
{
    struct world world;
    world_create(&world, NULL);
    world_open(&world);
    world.send_stuck = true;
    world.transport->ops->secure(world.transport, 0, "localhost");
    world_settle(&world);
    cr_assert(world.inner_sending && !world.inner_receiving);
    world.send_stuck = false;
    world_settle(&world);
    cr_assert_eq(world.counts[RLT_IO_SECURED], 1);
    cr_assert_eq(world.errors[RLT_IO_SECURED], 0);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, handshake_that_can_send_no_more_is_not_secure)
{
    struct world world;
    world_create(&world, &(struct world_options){.version = TLS1_2_VERSION});
    world_open(&world);
    world.transport->ops->secure(world.transport, 0, "localhost");
    while (world.ciphertext == 0) {
        (void)world_step(&world);
    }
    world.send_lies = true; /* from the second flight on */
    world_settle(&world);
    cr_assert_eq(world.counts[RLT_IO_SECURED], 1);
    cr_assert_eq(world.errors[RLT_IO_SECURED], ROULETTE_EDISCONNECTED);
    world_close(&world);
    world_destroy(&world);
}

/* ---- Clear -------------------------------------------------------------------------------- */

static const char info[] = "INFO {\"tls_required\":true} \r\n";

Test(tls_layer, bytes_pass_in_clear_before_secure)
{
    struct world world;
    world_create(&world, NULL);
    world_open(&world);
    world_server_put(&world, info, sizeof(info) - 1);
    world_receive(&world);
    world_settle(&world);
    while (world.received_len != sizeof(info) - 1) {
        world_receive(&world);
        world_settle(&world);
    }
    cr_assert_arr_eq(world.received, info, sizeof(info) - 1);
    cr_assert_eq(world_secure(&world), 0);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, bytes_behind_info_in_clear_are_refused)
{
    static const char *const behind[] = {"+", "\r\n", "PING\r\n", "INFO {} \r\n"};
    for (size_t i = 0; i < 4; i++) {
        for (size_t size = 1; size < 64; size++) {
            char text[64];
            (void)snprintf(text, sizeof(text), "%s%s", info, behind[i]);
            struct world world;
            world_create(&world, NULL);
            world_open(&world);
            world.receive_size = size;
            world_server_put(&world, text, strlen(text));
            while (world.received_len != strlen(text)) {
                world_receive(&world);
                world_settle(&world);
            }
            cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
            cr_assert_str_eq(failure(&world), "the server sent plaintext behind INFO");
            cr_assert_eq(world.ciphertext, 0);
            world_close(&world);
            world_destroy(&world);
            size += size / 8;
        }
    }
}

Test(tls_layer, plaintext_that_is_there_before_the_client_hello_is_refused)
{
    struct world world;
    world_create(&world, NULL);
    world_open(&world);
    world_server_put(&world, "PING\r\n", 6);
    cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
    cr_assert_str_eq(failure(&world), "the server sent plaintext where TLS begins");
    world_close(&world);
    world_destroy(&world);
}

/* Records, but of somebody who cannot have seen our ClientHello. */
Test(tls_layer, records_that_are_there_before_the_client_hello_are_refused)
{
    static const uint8_t data[] = {23, 3, 3, 0, 6, 'P', 'I', 'N', 'G', '\r', '\n'};
    struct world world;
    world_create(&world, NULL);
    world_open(&world);
    world_server_put(&world, data, sizeof(data));
    cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
    cr_assert_not_null(strstr(failure(&world), "TLS failed: "));
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, server_that_greets_in_clear_fails_a_handshake_first)
{
    struct world world;
    world_create(&world, NULL);
    world_open(&world);
    world_server_put(&world, info, sizeof(info) - 1);
    cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
    cr_assert_str_eq(failure(&world), "the server sent plaintext where TLS begins");
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, slot_is_clear_again_after_close)
{
    struct world world;
    world_create(&world, NULL);
    for (int round = 0; round < 20; round++) {
        world_open(&world);
        cr_assert_str_eq(failure(&world), "");
        world.receive_size = 100;
        world_server_put(&world, info, sizeof(info) - 1);
        while (world.received_len != sizeof(info) - 1) {
            world_receive(&world);
            world_settle(&world);
        }
        if (round % 3 == 0) {
            world_server_put(&world, "x", 1);
            cr_assert_eq(world_secure(&world), ROULETTE_ETLS);
        } else {
            cr_assert_eq(world_secure(&world), 0);
        }
        world_close(&world);
    }
    world_destroy(&world);
}

/* ---- Data --------------------------------------------------------------------------------- */

/* Move `total` bytes both ways, everything in random pieces. */
static void exchange(const struct world_options *options, uint64_t seed, size_t total)
{
    const uint8_t *pattern = world_pattern();
    struct world world;
    world_create(&world, options);
    world.random.state = seed;
    world_connect(&world);
    size_t written = 0;
    while (world.sent < total || world.received_len < total) {
        if (!world.sending && world.sent < total) {
            size_t len = 1 + (size_t)rlt_random_below(&world.random, total - world.sent);
            world_send(&world, pattern + world.sent, len,
                       1 + (size_t)rlt_random_below(&world.random, UINT64_C(70000)));
        }
        if (written < total && rlt_random_below(&world.random, 3) == 0) {
            size_t len = 1 + (size_t)rlt_random_below(&world.random, total - written);
            world_server_write(&world, pattern + written, len);
            written += len;
        }
        if (rlt_random_below(&world.random, 4) != 0) {
            world_receive(&world);
        }
        (void)world_step(&world);
        cr_assert_eq(world.errors[RLT_IO_RECEIVED], 0);
        cr_assert_eq(world.errors[RLT_IO_SENT], 0);
    }
    world_settle(&world);
    cr_assert_eq(world.received_len, total);
    cr_assert_eq(world.server_received_len, total);
    cr_assert_arr_eq(world.received, pattern, total, "seed %llu", (unsigned long long)seed);
    cr_assert_arr_eq(world.server_received, pattern, total);
    cr_assert_leq(world.input_max, RLT_TLS_INPUT_BYTES);
    cr_assert_leq(world.output_max, RLT_TLS_OUTPUT_BYTES);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, data_goes_both_ways_whole)
{
    exchange(NULL, 1, 1000000);
    exchange(&(struct world_options){.version = TLS1_2_VERSION}, 2, 1000000);
    exchange(&(struct world_options){.slot = 2}, 3, 100000);
}

Test(tls_layer, data_goes_both_ways_in_random_pieces)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        exchange(&(struct world_options){.transfer_max = (size_t)1 << (seed % 18),
                                         .transfer_random = true,
                                         .version = seed % 4 == 0 ? TLS1_2_VERSION : 0},
                 seed, (size_t)1 << (10 + seed % 10));
    }
}

Test(tls_layer, data_goes_both_ways_with_one_event_at_a_time)
{
    const uint8_t *pattern = world_pattern();
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    world.events_max = 1;
    for (int i = 0; i < 50; i++) {
        world_send(&world, pattern, 100, 10);
        world_server_write(&world, pattern, 100);
        world_receive(&world);
        world_settle(&world);
        cr_assert_not(world.sending);
        cr_assert_eq(world.errors[RLT_IO_RECEIVED], 0);
    }
    world.events_max = 0;
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, event_that_did_not_fit_keeps_the_backend_from_sleeping)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    world.send_stuck = true;
    world.receive_stuck = true;
    world_send(&world, world_pattern(), 100, 10);
    world_server_write(&world, world_pattern(), 100);
    world_receive(&world);
    world_settle(&world);
    world.send_stuck = false;
    world.receive_stuck = false;
    world.events_max = 1;
    (void)world_step(&world);
    cr_assert(!world.sending && world.receiving, "what was sent comes first");
    cr_assert_not(rlt_tls_layer_may_sleep(world.layer));
    (void)world_step(&world);
    cr_assert_not(world.receiving);
    cr_assert(rlt_tls_layer_may_sleep(world.layer));
    world.events_max = 0;
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, small_spans_share_a_record)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    uint64_t before = world.ciphertext;
    world_send(&world, world_pattern(), 60, 1);
    world_settle(&world);
    cr_assert_eq(world.sent, 60);
    cr_assert_leq(world.ciphertext - before, 60 + 32, "one record");
    cr_assert_arr_eq(world.server_received, world_pattern(), 60);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, ciphertext_stays_unread_while_the_core_does_not_receive)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    world_server_write(&world, world_pattern(), 1000000);
    world_settle(&world);
    cr_assert_geq(BIO_ctrl_pending(world.from_server), 1000000);
    world.receive_size = 10;
    size_t before = BIO_ctrl_pending(world.from_server);
    for (int i = 0; i < 100; i++) {
        world_receive(&world);
        world_settle(&world);
    }
    cr_assert_eq(world.received_len, 1000);
    cr_assert_leq(before - BIO_ctrl_pending(world.from_server), RLT_TLS_INPUT_BYTES);
    cr_assert_arr_eq(world.received, world_pattern(), 1000);
    world_close(&world);
    world_destroy(&world);
}

/* ---- The ledger --------------------------------------------------------------------------- */

enum loss {
    BY_ERROR, /* the send in progress fails */
    BY_CLOSE, /* the core closes while it is in progress */
    BY_PEER,  /* the receive in progress fails; the core closes */
    LOSS_COUNT,
};

/*
 * Send `count` batches of `len` bytes; the kernel takes `budget` bytes of ciphertext. What is
 * reported as sent must be what the server could decrypt, to the byte.
 */
static uint64_t lose(struct world *world, size_t count, size_t len, uint64_t budget, enum loss loss)
{
    world_connect(world);
    uint64_t start = world->ciphertext;
    world->send_budget = budget;
    world_receive(world);
    size_t done = 0;
    for (size_t i = 0; i < count && world->counts[RLT_IO_CLOSED] == 0; i++) {
        size_t left = len;
        while (left != 0 && world->errors[RLT_IO_SENT] == 0) {
            world_send(world, world_pattern() + done, left, len);
            size_t before = world->sent;
            while (world->sending && world->counts[RLT_IO_CLOSED] == 0) {
                (void)world_step(world);
                if (world->send_budget == 0 && world->sending && loss != BY_ERROR) {
                    world->send_stuck = true;
                    world->ended = loss == BY_PEER;
                    (void)world_step(world);
                    world_close(world);
                }
            }
            done += world->sent - before;
            left -= world->sent - before;
            if (world->counts[RLT_IO_CLOSED] != 0) {
                break;
            }
        }
    }
    if (world->counts[RLT_IO_CLOSED] == 0) {
        world_close(world);
    }
    world_settle(world);
    uint64_t used = world->ciphertext - start;
    cr_assert_eq(world->sent, done);
    cr_assert_eq(world->sent, world->server_received_len, "budget %llu, loss %d",
                 (unsigned long long)budget, (int)loss);
    cr_assert_arr_eq(world->server_received, world_pattern(), world->sent);
    world->send_stuck = false;
    return used;
}

Test(tls_layer, loss_at_every_byte_of_small_batches_reports_whole_records, .timeout = 600)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct world world;
        world_create(&world, &(struct world_options){.version = version});
        uint64_t total = lose(&world, 4, 33, SIZE_MAX, BY_ERROR);
        cr_assert_eq(world.sent, 4 * 33);
        for (uint64_t budget = 0; budget <= total; budget++) {
            (void)lose(&world, 4, 33, budget, (enum loss)(budget % LOSS_COUNT));
        }
        world_destroy(&world);
    }
}

Test(tls_layer, loss_in_a_large_batch_reports_whole_records, .timeout = 600)
{
    struct world world;
    world_create(&world, &(struct world_options){.transfer_max = 5000});
    size_t len = 3 * RLT_TLS_RECORD_BYTES + 700;
    uint64_t total = lose(&world, 1, len, SIZE_MAX, BY_ERROR);
    cr_assert_eq(world.sent, len);
    for (uint64_t budget = 0; budget <= total;) {
        for (int loss = 0; loss < LOSS_COUNT; loss++) {
            (void)lose(&world, 1, len, budget, (enum loss)loss);
        }
        uint64_t record = budget % (RLT_TLS_RECORD_BYTES + 22);
        bool near = record < 24 || record > RLT_TLS_RECORD_BYTES - 2;
        budget += near ? 1 : 997;
    }
    world_destroy(&world);
}

Test(tls_layer, loss_at_random_bytes_of_full_buffers_reports_whole_records, .timeout = 600)
{
    struct world world;
    world_create(&world, &(struct world_options){.transfer_max = 90000, .transfer_random = true});
    struct rlt_random random = {.state = 4};
    for (int i = 0; i < 60; i++) {
        uint64_t budget = rlt_random_below(&random, 700000);
        (void)lose(&world, 2, 300000, budget, (enum loss)(i % LOSS_COUNT));
    }
    world_destroy(&world);
}

Test(tls_layer, send_after_a_loss_fails_at_once)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    world.send_budget = 0;
    for (int i = 0; i < 3; i++) {
        world_send(&world, world_pattern(), 100, 100);
        world_settle(&world);
        cr_assert_not(world.sending);
        cr_assert_eq(world.errors[RLT_IO_SENT], ROULETTE_EDISCONNECTED);
    }
    world_close(&world);
    world_destroy(&world);
}

/* ---- Ends --------------------------------------------------------------------------------- */

Test(tls_layer, close_notify_is_the_end_of_the_stream)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    world_server_write(&world, world_pattern(), 100000);
    cr_assert_geq(SSL_shutdown(world.server), 0);
    while (world.errors[RLT_IO_RECEIVED] == 0) {
        world_receive(&world);
        world_settle(&world);
    }
    cr_assert_eq(world.errors[RLT_IO_RECEIVED], ROULETTE_EDISCONNECTED);
    cr_assert_str_eq(failure(&world), "the server has closed the connection");
    cr_assert_eq(world.received_len, 100000);
    cr_assert_arr_eq(world.received, world_pattern(), 100000);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, truncated_stream_is_a_lost_connection)
{
    for (size_t missing = 0; missing < 20; missing++) {
        struct world world;
        world_create(&world, NULL);
        world_connect(&world);
        world_settle(&world);
        world_server_write(&world, world_pattern(), 1000);
        world_server_write(&world, world_pattern() + 1000, 1000);
        uint8_t bytes[4096];
        int len = BIO_read(world.from_server, bytes, sizeof(bytes));
        world_server_put(&world, bytes, (size_t)len - missing);
        world.ended = true;
        while (world.errors[RLT_IO_RECEIVED] == 0) {
            world_receive(&world);
            world_settle(&world);
        }
        cr_assert_eq(world.errors[RLT_IO_RECEIVED], ROULETTE_EDISCONNECTED);
        cr_assert_str_eq(failure(&world), "");
        cr_assert_eq(world.received_len, missing == 0 ? 2000 : 1000);
        world_close(&world);
        world_destroy(&world);
    }
}

Test(tls_layer, record_that_was_changed_is_a_tls_error)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    world_settle(&world);
    world_server_write(&world, world_pattern(), 1000);
    uint8_t bytes[4096];
    int len = BIO_read(world.from_server, bytes, sizeof(bytes));
    bytes[len / 2] ^= 1;
    world_server_put(&world, bytes, (size_t)len);
    world_receive(&world);
    world_settle(&world);
    cr_assert_eq(world.errors[RLT_IO_RECEIVED], ROULETTE_ETLS);
    cr_assert_not_null(strstr(failure(&world), "TLS failed: "));
    cr_assert_eq(world.received_len, 0);
    cr_assert_neq(world.server_error, 0, "the server was told by an alert");
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, plaintext_in_the_stream_is_a_tls_error)
{
    struct world world;
    world_create(&world, NULL);
    world_connect(&world);
    world_settle(&world);
    while (world.errors[RLT_IO_RECEIVED] == 0) {
        world_server_put(&world, "PING\r\n", 6);
        world_receive(&world);
        world_settle(&world);
    }
    cr_assert_eq(world.errors[RLT_IO_RECEIVED], ROULETTE_ETLS);
    cr_assert_eq(world.received_len, 0);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, close_tells_the_server)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct world world;
        world_create(&world, &(struct world_options){.version = version});
        world_connect(&world);
        world_receive(&world);
        world_close(&world);
        cr_assert(world.server_notified);
        cr_assert_eq(world.counts[RLT_IO_RECEIVED], 1);
        cr_assert_eq(world.errors[RLT_IO_RECEIVED], ROULETTE_EDISCONNECTED);
        world_destroy(&world);
    }
}

Test(tls_layer, close_does_not_wait_for_a_kernel_that_takes_nothing)
{
    struct world world;
    world_create(&world, NULL);
    for (int round = 0; round < 2; round++) {
        world_connect(&world);
        world_settle(&world);
        world.send_stuck = true;
        if (round == 1) {
            world_send(&world, world_pattern(), 1000, 1000);
        }
        world.transport->ops->close(world.transport, 0);
        cr_assert(!rlt_tls_layer_may_sleep(world.layer) || world.inner_closing);
        for (int i = 0; i < 2; i++) {
            (void)world_step(&world);
        }
        (void)world_step(&world);
        cr_assert_eq(world.counts[RLT_IO_CLOSED], 1);
        cr_assert_eq(world.counts[RLT_IO_SENT], (uint32_t)round);
        cr_assert_eq(world.sent, 0);
        world.send_stuck = false;
    }
    world_destroy(&world);
}

Test(tls_layer, close_in_every_step_of_the_handshake_ends_all)
{
    struct world world;
    world_create(&world, &(struct world_options){.transfer_max = 100});
    for (int steps = 0; steps < 40; steps++) {
        world_open(&world);
        world.transport->ops->secure(world.transport, 0, "localhost");
        world_receive(&world);
        for (int i = 0; i < steps; i++) {
            (void)world_step(&world);
        }
        world_close(&world);
        cr_assert_eq(world.counts[RLT_IO_SECURED], 1);
        cr_assert_eq(world.counts[RLT_IO_RECEIVED], 1);
        cr_assert(rlt_tls_layer_may_sleep(world.layer));
    }
    world_destroy(&world);
}

Test(tls_layer, close_after_a_refused_certificate_still_sends_the_alert)
{
    struct world world;
    world_create(&world, &(struct world_options){.certificate = "expired"});
    world_open(&world);
    world.transport->ops->secure(world.transport, 0, "localhost");
    while (world.counts[RLT_IO_SECURED] == 0) {
        (void)world_step(&world);
    }
    cr_assert_eq(world.server_error, 0, "not yet");
    world_close(&world);
    cr_assert_neq(world.server_error, 0);
    world_destroy(&world);
}

/* ---- What TLS says by itself -------------------------------------------------------------- */

Test(tls_layer, key_update_is_answered_while_the_core_sends_nothing)
{
    struct world world;
    world_create(&world, &(struct world_options){.version = TLS1_3_VERSION});
    world_connect(&world);
    world_receive(&world);
    world_settle(&world);
    for (int i = 0; i < 5; i++) {
        uint64_t before = world.ciphertext;
        cr_assert_eq(SSL_key_update(world.server, SSL_KEY_UPDATE_REQUESTED), 1);
        cr_assert_eq(SSL_do_handshake(world.server), 1);
        world_settle(&world);
        cr_assert_gt(world.ciphertext, before);
        cr_assert_eq(world.counts[RLT_IO_SENT], (uint32_t)i, "the core is not told");
        world_server_write(&world, world_pattern(), 10);
        world_settle(&world);
        world_receive(&world);
        world_send(&world, world_pattern(), 10, 10);
        world_settle(&world);
        cr_assert_eq(world.server_received_len, 10 * (size_t)(i + 1));
        cr_assert_eq(world.server_error, 0);
    }
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, key_updates_without_end_take_no_memory, .timeout = 600)
{
    struct world world;
    world_create(&world, &(struct world_options){.version = TLS1_3_VERSION});
    world_connect(&world);
    world_receive(&world);
    world_send(&world, world_pattern(), 500, 500);
    world_settle(&world);
    world.send_stuck = true;
    size_t answers_max = RLT_TLS_OUTPUT_BYTES / 20;
    size_t unread = 0;
    for (size_t i = 0; i < answers_max; i++) {
        cr_assert_eq(SSL_key_update(world.server, SSL_KEY_UPDATE_REQUESTED), 1);
        cr_assert_eq(SSL_do_handshake(world.server), 1);
        (void)world_step(&world);
        (void)world_step(&world);
        unread = BIO_ctrl_pending(world.from_server);
        if (unread > RLT_TLS_INPUT_BYTES) {
            break;
        }
    }
    cr_assert_gt(unread, RLT_TLS_INPUT_BYTES, "who is not answered is not read");
    world_server_write(&world, world_pattern(), 1000);
    world_send(&world, world_pattern() + 500, 500, 500);
    world_settle(&world);
    cr_assert(world.sending, "there is room for a record");
    world.send_stuck = false;
    world_settle(&world);
    cr_assert_eq(world.errors[RLT_IO_RECEIVED], 0);
    while (world.received_len != 1000) {
        world_receive(&world);
        world_settle(&world);
    }
    cr_assert_eq(world.sent, 1000);
    cr_assert_eq(world.server_received_len, 1000);
    cr_assert_eq(world.server_error, 0);
    cr_assert_leq(world.output_max, RLT_TLS_OUTPUT_BYTES);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, sending_ends_although_key_updates_are_answered)
{
    struct world world;
    world_create(&world, &(struct world_options){.version = TLS1_3_VERSION, .transfer_max = 3000});
    world_connect(&world);
    world_settle(&world);
    world_send(&world, world_pattern(), 200000, 200000);
    for (int i = 0; i < 500 && world.sending; i++) {
        if (i % 10 == 0) {
            cr_assert_eq(SSL_key_update(world.server, SSL_KEY_UPDATE_REQUESTED), 1);
            cr_assert_eq(SSL_do_handshake(world.server), 1);
        }
        world_receive(&world);
        (void)world_step(&world);
    }
    cr_assert_not(world.sending);
    cr_assert_eq(world.sent, 200000);
    world_settle(&world);
    cr_assert_eq(world.server_received_len, 200000);
    cr_assert_arr_eq(world.server_received, world_pattern(), 200000);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, session_tickets_are_read_and_forgotten)
{
    struct world world;
    world_create(&world, &(struct world_options){.version = TLS1_3_VERSION});
    world_connect(&world);
    world_receive(&world);
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(SSL_new_session_ticket(world.server), 1);
        world_server_write(&world, world_pattern(), 10);
        world_settle(&world);
        world_receive(&world);
    }
    cr_assert_eq(world.received_len, 500);
    cr_assert_eq(SSL_CTX_sess_number(world.context->ssl_context), 0);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, renegotiation_is_declined)
{
    struct world world;
    world_create(&world, &(struct world_options){.version = TLS1_2_VERSION});
    world_connect(&world);
    world_receive(&world);
    world_settle(&world);
    uint64_t before = world.ciphertext;
    (void)SSL_renegotiate(world.server);
    (void)SSL_do_handshake(world.server);
    world_settle(&world);
    cr_assert_leq(world.ciphertext - before, 64, "an alert, no ClientHello");
    world_close(&world);
    world_destroy(&world);
}

/* ---- Memory ------------------------------------------------------------------------------- */

struct gate {
    size_t left; /* allocations that succeed */
    size_t total;
};

static int count_bytes(void *context, size_t size)
{
    struct gate *gate = context;
    gate->total += size;
    return gate->left != 0 ? (int)(gate->left-- != 0) : 0;
}

/* As count_bytes(), but not what files are read into, which are small. */
static int count_buffers(void *context, size_t size)
{
    return size >= RLT_TLS_INPUT_BYTES ? count_bytes(context, size) : 1;
}

Test(tls_layer, buffers_are_made_once_for_a_slot)
{
    struct world world;
    struct gate gate = {.left = SIZE_MAX};
    world_create(&world, NULL);
    rlt_memory_set_gate(count_buffers, &gate);
    world_open(&world);
    cr_assert_eq(gate.total, 0, "none before secure()");
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(world_secure(&world), 0);
        world_send(&world, world_pattern(), 100000, 5000);
        world_settle(&world);
        world_close(&world);
        world_open(&world);
    }
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_eq(gate.total, RLT_TLS_INPUT_BYTES + RLT_TLS_OUTPUT_BYTES);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, no_memory_is_an_error_of_secure_and_goes_away)
{
    struct world world;
    world_create(&world, NULL);
    for (size_t i = 0; i < 2; i++) {
        struct gate gate = {.left = i};
        world_open(&world);
        rlt_memory_set_gate(count_bytes, &gate);
        cr_assert_eq(world_secure(&world), ROULETTE_ENOMEM);
        rlt_memory_set_gate(NULL, NULL);
        world_close(&world);
    }
    world_connect(&world);
    world_close(&world);
    world_destroy(&world);
}

Test(tls_layer, no_memory_is_an_error_of_create)
{
    struct world world;
    world_create(&world, NULL);
    for (size_t i = 0; i < 2; i++) {
        struct gate gate = {.left = i};
        struct rlt_tls_layer *layer = NULL;
        rlt_memory_set_gate(count_bytes, &gate);
        int result = rlt_tls_layer_create(&world.inner, 4, world.context, &layer);
        rlt_memory_set_gate(NULL, NULL);
        cr_assert_eq(result, ROULETTE_ENOMEM);
        cr_assert_null(layer);
    }
    rlt_tls_layer_destroy(NULL);
    world_destroy(&world);
}

/* ---- Threads ------------------------------------------------------------------------------ */

static void *connect_often(void *argument)
{
    /* A world of its own, but for the context, which all threads share. */
    struct world *world = argument;
    for (int i = 0; i < 30; i++) {
        world_connect(world);
        world_send(world, world_pattern(), 1000, 100);
        world_settle(world);
        REQUIRE(world->server_received_len == 1000);
        world_close(world);
    }
    return NULL;
}

Test(tls_layer, context_is_shared_by_threads)
{
    static struct world worlds[3];
    pthread_t threads[3];
    (void)world_pattern(); /* the first call fills it */
    for (int i = 0; i < 3; i++) {
        world_create(&worlds[i], NULL);
        worlds[i].random.state = (uint64_t)i;
    }
    struct rlt_tls_layer *own[3] = {0};
    for (int i = 1; i < 3; i++) {
        own[i] = worlds[i].layer;
        SSL_CTX_up_ref(worlds[0].server_context);
        SSL_CTX_free(worlds[i].server_context);
        worlds[i].server_context = worlds[0].server_context;
        cr_assert_eq(rlt_tls_layer_create(&worlds[i].inner, 1, worlds[0].context, &worlds[i].layer),
                     0);
        worlds[i].transport = rlt_tls_layer_transport(worlds[i].layer);
        rlt_tls_layer_destroy(own[i]);
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, connect_often, &worlds[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    for (int i = 2; i >= 0; i--) {
        world_destroy(&worlds[i]);
    }
}
