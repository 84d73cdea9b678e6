/* SPDX-License-Identifier: MIT */
#include "io/tls/layer.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/gate.h"
#include "base/memory.h"
#include "io/system/leaving.h"
#include "io/tls/events.h"
#include "io/tls/first_line.h"
#include "io/tls/stream.h"
#include "roulette.h"

enum mode {
    CLEAR,
    HANDSHAKE,
    SECURE,
    REFUSED, /* no TLS, so nothing any more */
};

struct slot {
    enum mode mode;
    bool closing;
    bool close_waits; /* for one filter(): the backend sends our last words */

    /* The core's operations in progress. */
    bool receiving;
    bool sending;
    struct rlt_span spans[2]; /* of the receive */
    uint32_t span_count;

    /* The backend's operations for the layer (not in CLEAR), and those that cannot go on. */
    bool inner_receiving;
    bool inner_sending;
    bool receive_lost;
    bool send_lost;

    struct rlt_tls_first_line first_line; /* CLEAR */
    struct rlt_tls_events events;         /* for the core */

    struct rlt_tls_stream stream;
};

struct rlt_tls_layer {
    struct rlt_transport transport;
    struct rlt_stack_node kept; /* rlt_leaving_keep() */
    struct rlt_transport *inner;
    struct rlt_tls_context *context;
    BIO_METHOD *method;
    uint8_t *scratch; /* where small spans are joined */
    uint32_t pending; /* events that are ready, and closes that wait */
    uint32_t slot_count;
    struct slot slots[];
};

static struct rlt_tls_layer *layer_of(struct rlt_transport *transport)
{
    return rlt_container_of(transport, struct rlt_tls_layer, transport);
}

static void add_event(struct rlt_tls_layer *layer, uint32_t index, enum rlt_io_kind kind, int error,
                      size_t bytes)
{
    struct rlt_io_event event = {.slot = index, .kind = kind, .error = error, .bytes = bytes};
    rlt_tls_events_add(&layer->slots[index].events, event);
    layer->pending++;
}

/* ---- Ciphertext --------------------------------------------------------------------------- */

static void send_output(struct rlt_tls_layer *layer, uint32_t index)
{
    struct slot *slot = &layer->slots[index];
    struct rlt_span output = rlt_tls_stream_output(&slot->stream);
    if (output.len != 0 && !slot->inner_sending && !slot->send_lost) {
        slot->inner_sending = true;
        layer->inner->ops->send(layer->inner, index, &output, 1);
    }
}

static void receive_input(struct rlt_tls_layer *layer, uint32_t index)
{
    struct slot *slot = &layer->slots[index];
    if (!slot->inner_receiving) {
        struct rlt_span input = {.bytes = slot->stream.input, .len = RLT_TLS_INPUT_BYTES};
        slot->inner_receiving = true;
        layer->inner->ops->receive(layer->inner, index, &input, 1);
    }
}

/* ---- Plaintext ---------------------------------------------------------------------------- */

static void finish_receive(struct rlt_tls_layer *layer, uint32_t index, ssize_t result)
{
    /* A server that closes is a lost connection to the core, with close_notify or without. */
    bool closed = result == ROULETTE_ECLOSED;
    int error = closed ? ROULETTE_EDISCONNECTED : result < 0 ? (int)result : 0;
    layer->slots[index].receiving = false;
    add_event(layer, index, RLT_IO_RECEIVED, error, result > 0 ? (size_t)result : 0);
}

/* Go on with the core's receive: decrypt the buffered bytes, or receive more. */
static void continue_receive(struct rlt_tls_layer *layer, uint32_t index)
{
    struct slot *slot = &layer->slots[index];
    ssize_t result = rlt_tls_stream_read(&slot->stream, slot->spans, slot->span_count);
    send_output(layer, index);
    bool used_up = rlt_tls_stream_wants_input(&slot->stream);
    if (result != 0) {
        finish_receive(layer, index, result);
    } else if (used_up ? slot->receive_lost : slot->send_lost) {
        finish_receive(layer, index, ROULETTE_EDISCONNECTED);
    } else if (used_up) {
        receive_input(layer, index);
    } /* else the peer must be answered first: on_inner_sent() goes on */
}

static void finish_send(struct rlt_tls_layer *layer, uint32_t index)
{
    struct slot *slot = &layer->slots[index];
    size_t sent = rlt_tls_stream_take_sent(&slot->stream);
    slot->sending = false;
    int error = slot->stream.error == ROULETTE_ETLS ? ROULETTE_ETLS : ROULETTE_EDISCONNECTED;
    add_event(layer, index, RLT_IO_SENT, sent != 0 ? 0 : error, sent);
}

/* ---- Handshake ---------------------------------------------------------------------------- */

static void finish_secure(struct rlt_tls_layer *layer, uint32_t index, int error)
{
    struct slot *slot = &layer->slots[index];
    slot->mode = error == 0 ? SECURE : REFUSED;
    add_event(layer, index, RLT_IO_SECURED, error, 0);
    if (error == 0 && slot->receiving) {
        continue_receive(layer, index);
    }
}

/* Handle the end of a connection before the handshake. */
static void lose_handshake(struct rlt_tls_layer *layer, uint32_t index)
{
    rlt_tls_stream_explain(&layer->slots[index].stream, "the connection ended in the handshake");
    finish_secure(layer, index, ROULETTE_EDISCONNECTED);
}

static void continue_handshake(struct rlt_tls_layer *layer, uint32_t index)
{
    struct slot *slot = &layer->slots[index];
    int result = rlt_tls_stream_handshake(&slot->stream);
    send_output(layer, index);
    bool used_up = rlt_tls_stream_wants_input(&slot->stream);
    if (result < 0) {
        finish_secure(layer, index, result);
    } else if (slot->send_lost && (result > 0 || !used_up)) {
        lose_handshake(layer, index);
    } else if (result > 0) {
        finish_secure(layer, index, 0);
    } else if (slot->receive_lost) {
        lose_handshake(layer, index);
    } else if (!slot->inner_sending) {
        /* Also if sending has failed: an alert with the reason may have come. */
        receive_input(layer, index);
    }
}

static void layer_secure(struct rlt_transport *transport, uint32_t index, const char *host)
{
    struct rlt_tls_layer *layer = layer_of(transport);
    struct slot *slot = &layer->slots[index];
    RLT_ASSERT(slot->mode == CLEAR && !slot->closing && !slot->receiving && !slot->sending);
    if (slot->first_line.followed) {
        rlt_tls_stream_explain(&slot->stream, "the server sent plaintext behind INFO");
        finish_secure(layer, index, ROULETTE_ETLS);
        return;
    }
    int result = rlt_tls_stream_begin(&slot->stream, layer->context, layer->method, host);
    if (result < 0) {
        finish_secure(layer, index, result);
        return;
    }
    slot->mode = HANDSHAKE;
    continue_handshake(layer, index);
}

/* ---- The core's operations ---------------------------------------------------------------- */

static void layer_open(struct rlt_transport *transport, uint32_t index, const char *host,
                       uint16_t port)
{
    struct rlt_tls_layer *layer = layer_of(transport);
    struct slot *slot = &layer->slots[index];
    RLT_ASSERT(slot->mode == CLEAR && !slot->closing);
    slot->stream.failure[0] = '\0';
    layer->inner->ops->open(layer->inner, index, host, port);
}

static void layer_receive(struct rlt_transport *transport, uint32_t index,
                          const struct rlt_span *spans, uint32_t count)
{
    struct rlt_tls_layer *layer = layer_of(transport);
    struct slot *slot = &layer->slots[index];
    RLT_ASSERT(!slot->receiving && !rlt_tls_events_has(&slot->events, RLT_IO_RECEIVED) &&
               count != 0 && count <= 2);
    slot->receiving = true;
    memcpy(slot->spans, spans, count * sizeof(*spans));
    slot->span_count = count;
    if (slot->mode == CLEAR) {
        layer->inner->ops->receive(layer->inner, index, spans, count);
    } else if (slot->mode == SECURE) {
        continue_receive(layer, index);
    }
}

static void layer_send(struct rlt_transport *transport, uint32_t index,
                       const struct rlt_span *spans, uint32_t count)
{
    struct rlt_tls_layer *layer = layer_of(transport);
    struct slot *slot = &layer->slots[index];
    /* In a handshake nothing may be sent, and what waited for it must not go in clear. */
    RLT_ASSERT(slot->mode == CLEAR || slot->mode == SECURE);
    RLT_ASSERT(!slot->sending && !rlt_tls_events_has(&slot->events, RLT_IO_SENT));
    slot->sending = true;
    if (slot->mode == CLEAR) {
        layer->inner->ops->send(layer->inner, index, spans, count);
        return;
    }
    if (slot->send_lost || rlt_tls_stream_write(&slot->stream, spans, count, layer->scratch) < 0) {
        finish_send(layer, index);
    }
    send_output(layer, index);
}

static void layer_close(struct rlt_transport *transport, uint32_t index)
{
    struct rlt_tls_layer *layer = layer_of(transport);
    struct slot *slot = &layer->slots[index];
    RLT_ASSERT(!slot->closing);
    slot->closing = true;
    if (slot->mode == SECURE && !slot->inner_sending && !slot->receive_lost) {
        rlt_tls_stream_shut_down(&slot->stream);
        send_output(layer, index);
    }
    /* A send of the core may wait for the peer; an alert or close_notify may not. */
    if (slot->mode != CLEAR && slot->inner_sending && !slot->sending) {
        slot->close_waits = true;
        layer->pending++;
        return;
    }
    layer->inner->ops->close(layer->inner, index);
}

static void layer_signal(struct rlt_transport *transport, int descriptor)
{
    struct rlt_transport *inner = layer_of(transport)->inner;
    inner->ops->signal(inner, descriptor);
}

static bool layer_is_acknowledged(struct rlt_transport *transport, uint32_t slot)
{
    struct rlt_transport *inner = layer_of(transport)->inner;
    return inner->ops->is_acknowledged == NULL || inner->ops->is_acknowledged(inner, slot);
}

static void layer_wake(struct rlt_transport *transport, _Atomic(uint32_t) *word)
{
    struct rlt_transport *inner = layer_of(transport)->inner;
    inner->ops->wake(inner, word);
}

/* ---- The backend's events ----------------------------------------------------------------- */

static void on_inner_received(struct rlt_tls_layer *layer, uint32_t index,
                              const struct rlt_io_event *event)
{
    struct slot *slot = &layer->slots[index];
    slot->inner_receiving = false;
    slot->receive_lost = event->error != 0;
    if (slot->closing) {
        return;
    }
    if (event->error == 0) {
        rlt_tls_stream_fed(&slot->stream, event->bytes);
    }
    if (slot->mode == HANDSHAKE) {
        continue_handshake(layer, index);
    } else if (slot->mode == SECURE && slot->receiving) {
        continue_receive(layer, index);
    }
}

static void on_inner_sent(struct rlt_tls_layer *layer, uint32_t index,
                          const struct rlt_io_event *event)
{
    struct slot *slot = &layer->slots[index];
    slot->inner_sending = false;
    if (event->error == 0) {
        rlt_tls_stream_taken(&slot->stream, event->bytes);
    } else {
        slot->send_lost = true;
    }
    if (slot->closing) {
        return; /* on_inner_closed() reports */
    }
    send_output(layer, index);
    if (slot->sending && !slot->inner_sending) {
        finish_send(layer, index);
    }
    if (slot->mode == HANDSHAKE) {
        continue_handshake(layer, index);
    } else if (slot->mode == SECURE && slot->receiving &&
               !rlt_tls_stream_wants_input(&slot->stream)) {
        continue_receive(layer, index);
    }
}

static void on_inner_closed(struct rlt_tls_layer *layer, uint32_t index)
{
    struct slot *slot = &layer->slots[index];
    RLT_ASSERT(!slot->inner_receiving && !slot->inner_sending && !slot->close_waits);
    if (slot->mode == HANDSHAKE) {
        lose_handshake(layer, index);
    }
    if (slot->receiving) {
        finish_receive(layer, index, ROULETTE_EDISCONNECTED);
    }
    if (slot->sending) {
        finish_send(layer, index);
    }
    rlt_tls_stream_end(&slot->stream);
    add_event(layer, index, RLT_IO_CLOSED, 0, 0);
    slot->mode = CLEAR;
    slot->closing = false;
    slot->receive_lost = false;
    slot->send_lost = false;
    slot->first_line = (struct rlt_tls_first_line){0};
}

static void on_clear_event(struct rlt_tls_layer *layer, const struct rlt_io_event *event)
{
    struct slot *slot = &layer->slots[event->slot];
    if (event->kind == RLT_IO_RECEIVED) {
        rlt_tls_first_line_scan(&slot->first_line, slot->spans, slot->span_count, event->bytes);
        slot->receiving = false;
    } else if (event->kind == RLT_IO_SENT) {
        slot->sending = false;
    }
    add_event(layer, event->slot, event->kind, event->error, event->bytes);
}

static void on_inner_event(struct rlt_tls_layer *layer, const struct rlt_io_event *event)
{
    RLT_ASSERT(event->slot < layer->slot_count);
    if (event->kind == RLT_IO_CLOSED) {
        on_inner_closed(layer, event->slot);
    } else if (layer->slots[event->slot].mode == CLEAR) {
        on_clear_event(layer, event);
    } else if (event->kind == RLT_IO_RECEIVED) {
        on_inner_received(layer, event->slot, event);
    } else if (event->kind == RLT_IO_SENT) {
        on_inner_sent(layer, event->slot, event);
    }
}

/* ---- Filter ------------------------------------------------------------------------------- */

static void close_waiting(struct rlt_tls_layer *layer)
{
    for (uint32_t i = 0; i < layer->slot_count; i++) {
        if (layer->slots[i].close_waits) {
            layer->slots[i].close_waits = false;
            layer->pending--;
            layer->inner->ops->close(layer->inner, i);
        }
    }
}

static uint32_t take_events(struct rlt_tls_layer *layer, struct rlt_io_event *events, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < layer->slot_count; i++) {
        count += rlt_tls_events_take(&layer->slots[i].events, events + count, max - count);
    }
    layer->pending -= count;
    return count;
}

uint32_t rlt_tls_layer_filter(struct rlt_tls_layer *layer, const struct rlt_io_event *inner,
                              uint32_t count, struct rlt_io_event *events, uint32_t max)
{
    for (uint32_t i = 0; i < count; i++) {
        on_inner_event(layer, &inner[i]);
    }
    if (layer->pending == 0) {
        return 0;
    }
    close_waiting(layer);
    return take_events(layer, events, max);
}

bool rlt_tls_layer_may_sleep(const struct rlt_tls_layer *layer)
{
    return layer->pending == 0;
}

const char *rlt_tls_layer_failure(const struct rlt_tls_layer *layer, uint32_t slot)
{
    RLT_ASSERT(slot < layer->slot_count);
    return layer->slots[slot].stream.failure;
}

/* ---- Life --------------------------------------------------------------------------------- */

static const char *layer_explain(struct rlt_transport *transport, uint32_t slot)
{
    const char *failure = rlt_tls_layer_failure(layer_of(transport), slot);
    struct rlt_transport *inner = layer_of(transport)->inner;
    return failure[0] != '\0' || inner->ops->explain == NULL ? failure
                                                             : inner->ops->explain(inner, slot);
}

static const struct rlt_transport_ops layer_ops = {
    .name = "tls",
    .explain = layer_explain,
    .open = layer_open,
    .secure = layer_secure,
    .receive = layer_receive,
    .send = layer_send,
    .is_acknowledged = layer_is_acknowledged,
    .close = layer_close,
    .signal = layer_signal,
    .wake = layer_wake,
};

int rlt_tls_layer_create(struct rlt_transport *inner, uint32_t slot_count,
                         struct rlt_tls_context *context, struct rlt_tls_layer **layer)
{
    struct rlt_tls_layer *made =
        rlt_memory_alloc(1, sizeof(*made) + slot_count * sizeof(made->slots[0]));
    if (made == NULL) {
        return ROULETTE_ENOMEM;
    }
    made->transport.ops = &layer_ops;
    made->inner = inner;
    made->context = context;
    made->slot_count = slot_count;
    if (rlt_gate_enter(RLT_GATE_CRYPTO)) {
        made->method = rlt_tls_stream_method_create();
        rlt_gate_leave(RLT_GATE_CRYPTO);
    }
    made->scratch = rlt_memory_alloc(1, RLT_TLS_RECORD_BYTES);
    if (made->method == NULL || made->scratch == NULL) {
        rlt_tls_layer_destroy(made);
        return ROULETTE_ENOMEM;
    }
    *layer = made;
    return 0;
}

void rlt_tls_layer_destroy(struct rlt_tls_layer *layer)
{
    if (layer == NULL) {
        return;
    }
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        rlt_leaving_keep(&layer->kept);
        return;
    }
    for (uint32_t i = 0; i < layer->slot_count; i++) {
        rlt_tls_stream_fini(&layer->slots[i].stream);
    }
    BIO_meth_free(layer->method);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    if (layer->scratch != NULL) {
        OPENSSL_cleanse(layer->scratch, RLT_TLS_RECORD_BYTES);
    }
    rlt_memory_free(layer->scratch);
    rlt_memory_free(layer);
}

struct rlt_transport *rlt_tls_layer_transport(struct rlt_tls_layer *layer)
{
    return &layer->transport;
}
