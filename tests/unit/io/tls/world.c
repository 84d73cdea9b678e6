/* SPDX-License-Identifier: MIT */
#include "unit/io/tls/world.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "support/condition.h"

/* ---- The network -------------------------------------------------------------------------- */

static struct world *of(struct rlt_transport *transport)
{
    return rlt_container_of(transport, struct world, inner);
}

static size_t total_len(const struct rlt_span *spans, uint32_t count)
{
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += spans[i].len;
    }
    return total;
}

static void add_inner_event(struct world *world, enum rlt_io_kind kind, int error, size_t bytes)
{
    REQUIRE(world->inner_event_count < WORLD_EVENTS);
    world->inner_events[world->inner_event_count++] = (struct rlt_io_event){
        .slot = world->options.slot,
        .kind = kind,
        .error = error,
        .bytes = bytes,
    };
}

static void inner_open(struct rlt_transport *transport, uint32_t slot, const char *host,
                       uint16_t port)
{
    (void)host;
    (void)port;
    REQUIRE(slot == of(transport)->options.slot);
    of(transport)->opened = true;
    add_inner_event(of(transport), RLT_IO_OPENED, 0, 0);
}

static void inner_receive(struct rlt_transport *transport, uint32_t slot,
                          const struct rlt_span *spans, uint32_t count)
{
    struct world *world = of(transport);
    REQUIRE(slot == world->options.slot);
    REQUIRE(world->opened && !world->inner_receiving && !world->inner_closing);
    REQUIRE(count == 1 || count == 2);
    memcpy(world->receive, spans, count * sizeof(*spans));
    world->receive_count = count;
    world->inner_receiving = true;
    size_t len = total_len(spans, count);
    world->input_max = len > world->input_max ? len : world->input_max;
}

static void inner_send(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                       uint32_t count)
{
    struct world *world = of(transport);
    REQUIRE(slot == world->options.slot);
    REQUIRE(world->opened && !world->inner_sending && !world->inner_closing);
    REQUIRE(count >= 1 && count <= 8);
    memcpy(world->send, spans, count * sizeof(*spans));
    world->send_count = count;
    world->inner_sending = true;
    size_t len = total_len(spans, count);
    REQUIRE(len > 0);
    world->output_max = len > world->output_max ? len : world->output_max;
}

static void inner_close(struct rlt_transport *transport, uint32_t slot)
{
    REQUIRE(slot == of(transport)->options.slot);
    REQUIRE(of(transport)->opened && !of(transport)->inner_closing);
    of(transport)->inner_closing = true;
}

static void inner_signal(struct rlt_transport *transport, int descriptor)
{
    (void)transport;
    (void)descriptor;
}

static void inner_wake(struct rlt_transport *transport, _Atomic(uint32_t) *word)
{
    (void)transport;
    (void)word;
}

static const struct rlt_transport_ops inner_ops = {
    .name = "world",
    .open = inner_open,
    .receive = inner_receive,
    .send = inner_send,
    .close = inner_close,
    .signal = inner_signal,
    .wake = inner_wake,
};

static size_t transfer_len(struct world *world, size_t len)
{
    size_t max = world->options.transfer_max;
    if (max != 0 && world->options.transfer_random) {
        max = 1 + (size_t)rlt_random_below(&world->random, max);
    }
    return max != 0 ? rlt_min_size(max, len) : len;
}

static void finish_inner_send(struct world *world, int error, size_t bytes)
{
    world->inner_sending = false;
    add_inner_event(world, RLT_IO_SENT, error, bytes);
}

static void finish_inner_receive(struct world *world, int error, size_t bytes)
{
    world->inner_receiving = false;
    add_inner_event(world, RLT_IO_RECEIVED, error, bytes);
}

static void move_send(struct world *world)
{
    size_t len = transfer_len(world, total_len(world->send, world->send_count));
    len = rlt_min_size(len, world->send_budget);
    if (len == 0) {
        finish_inner_send(world, ROULETTE_EDISCONNECTED, 0);
        return;
    }
    world->send_budget -= len;
    world->ciphertext += len;
    size_t left = len;
    for (uint32_t i = 0; i < world->send_count && left != 0; i++) {
        size_t part = rlt_min_size(left, world->send[i].len);
        REQUIRE(BIO_write(world->to_server, world->send[i].bytes, (int)part) == (int)part);
        left -= part;
    }
    if (world->send_lies) {
        finish_inner_send(world, ROULETTE_EDISCONNECTED, 0);
        return;
    }
    finish_inner_send(world, 0, len);
}

static void move_receive(struct world *world)
{
    size_t ready = BIO_ctrl_pending(world->from_server);
    size_t len = rlt_min_size(ready, total_len(world->receive, world->receive_count));
    if (ready == 0) {
        finish_inner_receive(world, ROULETTE_EDISCONNECTED, 0);
        return;
    }
    len = transfer_len(world, len);
    size_t left = len;
    for (uint32_t i = 0; i < world->receive_count && left != 0; i++) {
        size_t part = rlt_min_size(left, world->receive[i].len);
        REQUIRE(BIO_read(world->from_server, world->receive[i].bytes, (int)part) == (int)part);
        left -= part;
    }
    finish_inner_receive(world, 0, len);
}

static void move(struct world *world)
{
    bool over = world->ended || world->send_budget == 0;
    if (world->inner_closing) {
        /* As io_uring does: a close overtakes what was asked for in the same round. */
        if (world->inner_sending) {
            finish_inner_send(world, ROULETTE_EDISCONNECTED, 0);
        }
        if (world->inner_receiving) {
            finish_inner_receive(world, ROULETTE_EDISCONNECTED, 0);
        }
        world->inner_closing = false;
        world->opened = false;
        add_inner_event(world, RLT_IO_CLOSED, 0, 0);
        return;
    }
    if (world->inner_sending && !world->send_stuck) {
        move_send(world);
    }
    if (world->inner_receiving && !world->receive_stuck &&
        (over || BIO_ctrl_pending(world->from_server) != 0)) {
        move_receive(world);
    }
}

/* ---- The peer ----------------------------------------------------------------------------- */

static void note_server_error(struct world *world, int result)
{
    if (SSL_get_error(world->server, result) == SSL_ERROR_SSL && world->server_error == 0) {
        world->server_error = ERR_GET_REASON(ERR_peek_error());
    }
    ERR_clear_error();
}

/* True if it did anything. */
static bool run_server(struct world *world)
{
    size_t before = BIO_ctrl_pending(world->to_server) + BIO_ctrl_pending(world->from_server);
    if (world->server == NULL || world->server_error != 0) {
        return false;
    }
    ERR_clear_error();
    if (!SSL_is_init_finished(world->server)) {
        note_server_error(world, SSL_do_handshake(world->server));
    }
    while (SSL_is_init_finished(world->server) && world->server_error == 0) {
        size_t len = 0;
        size_t room = WORLD_BYTES - world->server_received_len;
        int result = SSL_read_ex(world->server, world->server_received + world->server_received_len,
                                 room, &len);
        if (result != 1) {
            world->server_notified = SSL_get_shutdown(world->server) & SSL_RECEIVED_SHUTDOWN;
            note_server_error(world, result);
            break;
        }
        world->server_received_len += len;
    }
    return before != BIO_ctrl_pending(world->to_server) + BIO_ctrl_pending(world->from_server);
}

static void make_server(struct world *world)
{
    SSL_free(world->server);
    world->to_server = BIO_new(BIO_s_mem());
    world->from_server = BIO_new(BIO_s_mem());
    (void)BIO_set_mem_eof_return(world->to_server, -1);
    (void)BIO_set_mem_eof_return(world->from_server, -1);
    world->server = SSL_new(world->server_context);
    REQUIRE(world->server != NULL && world->to_server != NULL && world->from_server != NULL);
    SSL_set_bio(world->server, world->to_server, world->from_server);
    SSL_set_accept_state(world->server);
    world->server_error = 0;
    world->server_notified = false;
    world->server_received_len = 0;
    world->ended = false;
    world->send_lies = false;
    world->send_budget = SIZE_MAX;
    world->ciphertext = 0;
}

void world_server_write(struct world *world, const uint8_t *bytes, size_t len)
{
    size_t written = 0;
    REQUIRE(SSL_write_ex(world->server, bytes, len, &written) == 1);
    REQUIRE(written == len);
}

void world_server_put(struct world *world, const void *bytes, size_t len)
{
    REQUIRE(BIO_write(world->from_server, bytes, (int)len) == (int)len);
}

static SSL_CTX *make_server_context(const struct world *world)
{
    const struct world_options *options = &world->options;
    const char *name = options->certificate != NULL ? options->certificate : "server";
    char file[64];
    char path[CERTIFICATES_PATH_MAX];
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    REQUIRE(context != NULL);
    (void)snprintf(file, sizeof(file), "%s.crt", name);
    certificates_path(&world->certificates, file, path);
    REQUIRE(SSL_CTX_use_certificate_chain_file(context, path) == 1);
    (void)snprintf(file, sizeof(file), "%s.key", name);
    certificates_path(&world->certificates, file, path);
    REQUIRE(SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) == 1);
    certificates_path(&world->certificates, "ca.crt", path);
    REQUIRE(SSL_CTX_load_verify_locations(context, path, NULL) == 1);
    if (options->want_client) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (options->version != 0) {
        SSL_CTX_set_security_level(context, 0);
        (void)SSL_CTX_set_min_proto_version(context, options->version);
        (void)SSL_CTX_set_max_proto_version(context, options->version);
    }
    return context;
}

/* ---- The core ----------------------------------------------------------------------------- */

void world_receive(struct world *world)
{
    if (world->receiving) {
        return;
    }
    size_t room = WORLD_BYTES - world->received_len;
    size_t len = world->receive_size != 0
                     ? world->receive_size
                     : 1 + (size_t)rlt_random_below(&world->random, UINT64_C(100000));
    len = rlt_min_size(len, room);
    size_t first = 1 + (size_t)rlt_random_below(&world->random, len);
    struct rlt_span spans[2] = {
        {.bytes = world->received + world->received_len, .len = first},
        {.bytes = world->received + world->received_len + first, .len = len - first},
    };
    world->receiving = true;
    world->transport->ops->receive(world->transport, world->options.slot, spans,
                                   first == len ? 1 : 2);
}

void world_send(struct world *world, const uint8_t *bytes, size_t len, size_t span_max)
{
    struct rlt_span spans[64];
    uint32_t count = 0;
    for (size_t done = 0; done < len && count < 64; count++) {
        size_t part = 1 + (size_t)rlt_random_below(&world->random, span_max);
        part = rlt_min_size(part, len - done);
        spans[count] = (struct rlt_span){.bytes = (void *)(uintptr_t)(bytes + done), .len = part};
        done += part;
    }
    REQUIRE(!world->sending);
    world->sending = true;
    world->transport->ops->send(world->transport, world->options.slot, spans, count);
}

static void on_event(struct world *world, const struct rlt_io_event *event)
{
    REQUIRE(event->slot == world->options.slot);
    REQUIRE(event->kind <= RLT_IO_CLOSED);
    world->counts[event->kind]++;
    world->errors[event->kind] = event->error;
    switch (event->kind) {
    case RLT_IO_RECEIVED:
        REQUIRE(world->receiving && (event->bytes != 0) == (event->error == 0));
        world->receiving = false;
        world->received_len += event->bytes;
        break;
    case RLT_IO_SENT:
        REQUIRE(world->sending && (event->bytes != 0) == (event->error == 0));
        world->sending = false;
        world->sent += event->bytes;
        break;
    case RLT_IO_CLOSED:
        REQUIRE(!world->receiving && !world->sending);
        break;
    case RLT_IO_OPENED:
    case RLT_IO_SECURED:
    case RLT_IO_READABLE: /* there is nothing to watch through TLS */
        break;
    }
}

bool world_step(struct world *world)
{
    bool moved = run_server(world);
    struct rlt_io_event events[WORLD_EVENTS];
    uint32_t max = world->events_max != 0 ? world->events_max : WORLD_EVENTS;
    ERR_clear_error();
    move(world);
    uint32_t inner_count = world->inner_event_count;
    world->inner_event_count = 0;
    uint32_t count =
        rlt_tls_layer_filter(world->layer, world->inner_events, inner_count, events, max);
    for (uint32_t i = 0; i < count; i++) {
        on_event(world, &events[i]);
    }
    REQUIRE(ERR_peek_error() == 0, "the layer leaves nothing in OpenSSL's queue");
    return moved || inner_count != 0 || count != 0 || !rlt_tls_layer_may_sleep(world->layer);
}

void world_settle(struct world *world)
{
    for (uint32_t idle = 0; idle < 2;) {
        idle = world_step(world) ? 0 : idle + 1;
    }
}

/* ---- Life --------------------------------------------------------------------------------- */

void world_open(struct world *world)
{
    make_server(world);
    world->receiving = false;
    world->sending = false;
    world->sent = 0;
    world->received_len = 0;
    memset(world->counts, 0, sizeof(world->counts));
    memset(world->errors, 0, sizeof(world->errors));
    world->transport->ops->open(world->transport, world->options.slot, "localhost", 4222);
    world_settle(world);
    REQUIRE(world->counts[RLT_IO_OPENED] == 1);
}

void world_close(struct world *world)
{
    world->transport->ops->close(world->transport, world->options.slot);
    for (uint32_t i = 0; i < 8 && world->counts[RLT_IO_CLOSED] == 0; i++) {
        (void)world_step(world);
    }
    REQUIRE(world->counts[RLT_IO_CLOSED] == 1);
    world_settle(world);
}

int world_secure(struct world *world)
{
    const char *host = world->options.host != NULL ? world->options.host : "localhost";
    world->transport->ops->secure(world->transport, world->options.slot, host);
    world_settle(world);
    REQUIRE(world->counts[RLT_IO_SECURED] == 1);
    return world->errors[RLT_IO_SECURED];
}

void world_connect(struct world *world)
{
    world_open(world);
    int error = world_secure(world);
    REQUIRE(error == 0, "%s", rlt_tls_layer_failure(world->layer, world->options.slot));
    REQUIRE(world->server_error == 0);
}

void world_create(struct world *world, const struct world_options *options)
{
    char ca[CERTIFICATES_PATH_MAX];
    char certificate[CERTIFICATES_PATH_MAX];
    char key[CERTIFICATES_PATH_MAX];
    char file[64];
    *world = (struct world){.inner.ops = &inner_ops, .random.state = 1};
    world->options = options != NULL ? *options : (struct world_options){0};
    REQUIRE(certificates_create(&world->certificates));
    world->server_received = malloc(WORLD_BYTES);
    world->received = malloc(WORLD_BYTES);
    REQUIRE(world->server_received != NULL && world->received != NULL);
    world->server_context = make_server_context(world);
    struct rlt_tls_options tls;
    rlt_tls_options_init(&tls);
    certificates_path(&world->certificates,
                      world->options.ca != NULL ? world->options.ca : "ca.crt", ca);
    tls.ca_file = ca;
    tls.verify = !world->options.skip_verify;
    tls.server_name = world->options.server_name;
    if (world->options.client != NULL) {
        (void)snprintf(file, sizeof(file), "%s.crt", world->options.client);
        certificates_path(&world->certificates, file, certificate);
        (void)snprintf(file, sizeof(file), "%s.key", world->options.client);
        certificates_path(&world->certificates, file, key);
        tls.cert_file = certificate;
        tls.key_file = key;
    }
    REQUIRE(rlt_tls_context_create(&tls, &world->context) == 0, "%s", roulette_last_error());
    REQUIRE(rlt_tls_layer_create(&world->inner, world->options.slot + 2, world->context,
                                 &world->layer) == 0);
    world->transport = rlt_tls_layer_transport(world->layer);
}

void world_destroy(struct world *world)
{
    if (world->opened && !world->inner_closing) {
        world_close(world);
    }
    rlt_tls_layer_destroy(world->layer);
    rlt_tls_context_destroy(world->context);
    SSL_free(world->server);
    SSL_CTX_free(world->server_context);
    free(world->server_received);
    free(world->received);
    certificates_destroy(&world->certificates);
}

const uint8_t *world_pattern(void)
{
    static uint8_t pattern[WORLD_BYTES];
    if (pattern[1] == 0) {
        for (size_t i = 0; i < WORLD_BYTES; i++) {
            pattern[i] = (uint8_t)(i * 7 + i / 251 + 1);
        }
    }
    return pattern;
}
