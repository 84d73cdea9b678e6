/* SPDX-License-Identifier: MIT */
/**
 * A server that begins TLS as nats-server 2.9 cannot: with one version only, or before INFO. It
 * accepts one connection after the other, says INFO and answers each PING by PONG.
 */
#ifndef RLT_TESTS_SUPPORT_TLS_SERVER_H
#define RLT_TESTS_SUPPORT_TLS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "support/certificates.h"

struct tls_server_options {
    const char *certificate; /* a name of struct certificates */
    int version;             /* the only one, such as TLS1_1_VERSION; 0: all */
    bool first;              /* TLS before INFO */
};

struct tls_server;

/** Listen on a free port of 127.0.0.1. Aborts if that does not work. */
struct tls_server *tls_server_start(const struct certificates *certificates,
                                    const struct tls_server_options *options);

/** End all connections and the server. NULL is allowed. */
void tls_server_stop(struct tls_server *server);

uint16_t tls_server_port(const struct tls_server *server);

/** How many handshakes were completed so far. */
unsigned tls_server_handshakes(struct tls_server *server);

#endif
