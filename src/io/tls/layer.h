/* SPDX-License-Identifier: MIT */
/**
 * TLS between the core and a backend: a transport above another one.
 *
 *     core  -- plaintext -->  layer  -- ciphertext -->  backend
 *
 * A slot's life, and what its operations do:
 *
 *     CLEAR ------ secure() ----> HANDSHAKE ---------> SECURE
 *     all pass through, 1 to 1        |                receive() decrypts into the caller's spans,
 *       ^                             v                send() encrypts a part of them
 *       +--- closed, from all --- REFUSED
 *
 * - secure() fails if anything followed the first line (INFO) in clear: an attacker may have put it
 *   there (nats-clients.md A.2). Later bytes are read by OpenSSL only.
 * - The handshake sends all it has, then receives: nothing received can be older than our
 *   ClientHello and pass for an answer to it.
 * - receive(): ciphertext is received only while the core receives, and decrypted from the
 *   layer's buffer straight into the core's memory. What does not fit stays where it is.
 * - send(): one buffer of ciphertext at a time. RLT_IO_SENT comes when the kernel has taken all
 *   of it, with its plaintext as `bytes`. If the connection ends before, `bytes` is the plaintext
 *   of all records that the kernel has taken completely; the peer cannot have used another.
 * - A peer that ends TLS properly and one that just stops are ROULETTE_EDISCONNECTED, as they are
 *   without TLS; rlt_tls_layer_failure() tells them apart. A record that was cut is never
 *   delivered. A peer that breaks the protocol or sends an alert is ROULETTE_ETLS.
 * - close() sends a pending alert, or a close_notify if the kernel is idle, and gives the kernel
 *   one rlt_tls_layer_filter() of time to take it: it never waits for the peer.
 *
 * Events of a backend are not for the core any more: they go through rlt_tls_layer_filter(), and
 * while rlt_tls_layer_may_sleep() is false, the backend must not wait.
 *
 *     deadline_ns = rlt_tls_layer_may_sleep(layer) ? … : 0;
 *     count = backend->ops->wait(backend, deadline_ns, inner, EVENTS_MAX);
 *     count = rlt_tls_layer_filter(layer, inner, count, events, EVENTS_MAX);
 *
 * Memory: for each slot 320 KiB from its first secure() on, and what OpenSSL holds while it is
 * open (about 60 KiB; up to 100 KiB more for the peer's certificates in the handshake); 16 KiB for
 * the layer. No queue: an operation has one event, and its slot the room for it.
 *
 * Owner: the event thread, like the backend's transport.
 */
#ifndef RLT_IO_TLS_LAYER_H
#define RLT_IO_TLS_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/seam/transport.h"
#include "io/tls/context.h"

struct rlt_tls_layer;

/** The most events of one slot that can wait: RLT_IO_SECURED, _RECEIVED, _SENT, _CLOSED. */
#define RLT_TLS_LAYER_SLOT_EVENTS 4

/**
 * Make a layer above `inner`, whose slots are all closed. Both are used until
 * rlt_tls_layer_destroy(), and so is the context.
 *
 * Returns: 0 or ROULETTE_ENOMEM.
 */
int rlt_tls_layer_create(struct rlt_transport *inner, uint32_t slot_count,
                         struct rlt_tls_context *context, struct rlt_tls_layer **layer);

/** Free a layer, when all slots are closed. NULL is allowed. */
void rlt_tls_layer_destroy(struct rlt_tls_layer *layer);

/** The transport for the core. */
struct rlt_transport *rlt_tls_layer_transport(struct rlt_tls_layer *layer);

/**
 * Turn the backend's events into the core's, those of one slot in order. `inner` and `events` are
 * different memory. Events that do not fit are given by the next call; 4 for each slot
 * (RLT_TLS_LAYER_SLOT_EVENTS) always fit.
 *
 * Returns: the number of events, up to `max`.
 */
uint32_t rlt_tls_layer_filter(struct rlt_tls_layer *layer, const struct rlt_io_event *inner,
                              uint32_t count, struct rlt_io_event *events, uint32_t max);

/** Whether rlt_tls_layer_filter() has no work that no event of the backend announces. */
bool rlt_tls_layer_may_sleep(const struct rlt_tls_layer *layer);

/**
 * Why TLS failed on a slot, or that the server ended TLS, in one sentence without secrets; "" if
 * neither. For the log, with an RLT_IO_SECURED, _RECEIVED or _SENT that has an error. Valid until
 * the slot is opened again.
 */
const char *rlt_tls_layer_failure(const struct rlt_tls_layer *layer, uint32_t slot);

#endif
