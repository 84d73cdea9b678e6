/* SPDX-License-Identifier: MIT */
/**
 * The common part of a client's TLS connections: trusted CAs, and the client's certificate.
 *
 * TLS 1.2 or newer. The server's certificate must lead to a trusted CA and be for the host that
 * was asked for, unless `verify` is off. No session is resumed, none is kept, nothing is
 * renegotiated.
 *
 * The files are read again for each new connection, unless they are known to be unchanged:
 * certificates are renewed while clients live. A file that cannot be used at that moment, half
 * written perhaps, fails this one connection.
 *
 * All event threads share the context. A thread that begins a connection holds the context's lock
 * while it checks the files; a handshake takes no lock of ours. OpenSSL takes its certificate
 * store's lock for each look-up, not for a verification.
 *
 * Source: OpenSSL 3.0 or newer.
 */
#ifndef RLT_IO_TLS_CONTEXT_H
#define RLT_IO_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/tls/files.h"
#include "lockfree/stack.h"

/** Texts are the caller's and needed during rlt_tls_context_create() only; NULL is allowed. */
struct rlt_tls_options {
    const char *ca_file;     /* PEM; neither this nor ca_path: the system's CAs */
    const char *ca_path;     /* a folder of `openssl rehash`, looked into when needed */
    const char *cert_file;   /* PEM, ours first, then the chain; goes with key_file */
    const char *key_file;    /* PEM, not encrypted */
    const char *server_name; /* that the certificate must have; NULL: the host */
    bool verify;
};

struct rlt_tls_context {
    struct rlt_stack_node kept; /* rlt_leaving_keep() */
    char *server_name;          /* NULL: the host */
    bool verify;
    struct rlt_tls_files files;

    pthread_mutex_t lock; /* of what follows */
    SSL_CTX *ssl_context;
    struct rlt_tls_stamps stamps; /* of the files that `ssl_context` was made of */
    bool settled;                 /* the stamps would show a change */
};

/** The defaults: the system's CAs, no certificate of ours, verify on. */
void rlt_tls_options_init(struct rlt_tls_options *options);

/**
 * Read all files and make a context.
 *
 * Ownership: on success `*context` is the caller's, to be freed by rlt_tls_context_destroy().
 * Threads:   any thread. Blocks on files.
 * Returns:   0; ROULETTE_EINVAL (a file cannot be used, or one of cert_file and key_file is
 *            missing: roulette_last_error() names it and says why); ROULETTE_ENOMEM;
 *            ROULETTE_ESYSTEM (the process is ending).
 */
int rlt_tls_context_create(const struct rlt_tls_options *options, struct rlt_tls_context **context);

/** Free a context. Threads: any thread, when no connection uses it any more. NULL is allowed. */
void rlt_tls_context_destroy(struct rlt_tls_context *context);

/**
 * Make the client's side of one connection to `host`, a name or an IP address. Names are sent to
 * the server (SNI), addresses are not (RFC 6066, 3).
 *
 * Ownership: on success `*ssl` is the caller's, to be freed by SSL_free().
 * Threads:   any thread, inside RLT_GATE_CRYPTO. Blocks on files.
 * Returns:   0; ROULETTE_ETLS (the host is no name that a certificate can have, or a file cannot be
 *            used now), ROULETTE_ENOMEM: roulette_last_error() says which and why.
 */
int rlt_tls_context_connect(struct rlt_tls_context *context, const char *host, SSL **ssl);

/** The name that the server's certificate must have. */
static inline const char *rlt_tls_context_name(const struct rlt_tls_context *context,
                                               const char *host)
{
    return context->server_name != NULL ? context->server_name : host;
}

#endif
