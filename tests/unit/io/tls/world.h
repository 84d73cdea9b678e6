/* SPDX-License-Identifier: MIT */
/**
 * A TLS layer between a core that only asks and notes, and a network without sockets: the inner
 * transport is a pair of byte queues, the peer OpenSSL's server side. The test moves every byte.
 */
#ifndef RLT_TESTS_UNIT_IO_TLS_WORLD_H
#define RLT_TESTS_UNIT_IO_TLS_WORLD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "io/tls/layer.h"
#include "support/certificates.h"

#define WORLD_BYTES  ((size_t)4 * 1024 * 1024)
#define WORLD_EVENTS 16

struct world_options {
    uint32_t slot;           /* the only one that is used */
    const char *host;        /* NULL: localhost */
    const char *certificate; /* the server's; NULL: "server" */
    const char *ca;          /* that the client trusts; NULL: "ca.crt" */
    const char *client;      /* the client's certificate; NULL: none */
    const char *server_name; /* that the client expects; NULL: the host */
    bool skip_verify;
    bool want_client;     /* the server asks for a certificate, and insists */
    int version;          /* the only one of the server; 0: all */
    size_t transfer_max;  /* bytes that the network moves at once; 0: all */
    bool transfer_random; /* 1 to transfer_max of them */
};

struct world {
    struct world_options options;
    struct certificates certificates;
    struct rlt_tls_context *context;
    struct rlt_tls_layer *layer;
    struct rlt_transport *transport; /* the layer's, for the core */
    struct rlt_random random;

    /* The network. */
    struct rlt_transport inner;
    bool opened;
    bool inner_receiving;
    bool inner_sending;
    bool inner_closing;
    struct rlt_span receive[2];
    uint32_t receive_count;
    struct rlt_span send[8];
    uint32_t send_count;
    bool receive_stuck; /* no receive completes */
    bool send_stuck;    /* no send completes */
    bool send_lies;     /* what is sent arrives, and fails */
    size_t send_budget; /* ciphertext that the kernel still takes; then the connection breaks */
    bool ended;         /* the peer sends no more: what is left in the queue, then the end */
    size_t input_max;   /* the largest receive and send that was asked for */
    size_t output_max;
    uint64_t ciphertext; /* taken by the network since the connection was opened */
    struct rlt_io_event inner_events[WORLD_EVENTS];
    uint32_t inner_event_count;

    /* The peer. */
    SSL_CTX *server_context;
    SSL *server; /* NULL: it speaks no TLS, and keeps what it got */
    BIO *to_server;
    BIO *from_server;
    uint8_t *server_received; /* plaintext */
    size_t server_received_len;
    bool server_notified; /* got close_notify */
    int server_error;     /* reason of OpenSSL; 0: none; otherwise it does nothing any more */

    /* The core: what it asked for, what it was told. */
    uint8_t *received; /* plaintext */
    size_t received_len;
    size_t receive_size; /* bytes of its spans; 0: random */
    bool receiving;
    bool sending;
    size_t sent; /* plaintext, by RLT_IO_SENT */
    uint32_t counts[RLT_IO_CLOSED + 1];
    int errors[RLT_IO_CLOSED + 1]; /* of the last event */
    uint32_t events_max;           /* per filter(); 0: many */
};

/** Make certificates, a context and a layer. Ends the test if it fails. */
void world_create(struct world *world, const struct world_options *options);
void world_destroy(struct world *world);

/** The core opens the slot; a new peer accepts. */
void world_open(struct world *world);

/** The core closes the slot, and steps until RLT_IO_CLOSED. */
void world_close(struct world *world);

/** The core asks for TLS, and steps until RLT_IO_SECURED. Returns: its error. */
int world_secure(struct world *world);

/** Open and secure, which must work. */
void world_connect(struct world *world);

/** The core receives, unless it does already, in one or two spans. */
void world_receive(struct world *world);

/** The core sends `len` bytes in spans of at most `span_max`. */
void world_send(struct world *world, const uint8_t *bytes, size_t len, size_t span_max);

/** The server writes plaintext, which must work. */
void world_server_write(struct world *world, const uint8_t *bytes, size_t len);

/** The peer puts bytes to the queue, whatever they are. */
void world_server_put(struct world *world, const void *bytes, size_t len);

/**
 * One round: the peer works, the network moves, events go through the layer to the core.
 *
 * Returns: whether anything moved.
 */
bool world_step(struct world *world);

/** Step until nothing moves. */
void world_settle(struct world *world);

/** Bytes with a pattern that tells positions apart. Static memory, WORLD_BYTES. */
const uint8_t *world_pattern(void);

#endif
