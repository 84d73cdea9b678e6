/* SPDX-License-Identifier: MIT */
#include "support/tls_server.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/condition.h"

#define INFO "INFO {\"server_id\":\"x\",\"tls_required\":true,\"max_payload\":1048576}\r\n"

enum { TICK_MS = 5, LINES_MAX = 65536 };

struct tls_server {
    struct tls_server_options options;
    SSL_CTX *context;
    int listener;
    uint16_t port;
    atomic_uint handshakes;
    atomic_bool stop;
    pthread_t thread;
};

/* Wait until the socket has something to read. Returns: false if the server is stopped. */
static bool await_input(const struct tls_server *server, int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    while (!atomic_load(&server->stop)) {
        if (poll(&pollfd, 1, TICK_MS) > 0) {
            return true;
        }
    }
    return false;
}

static bool handshake(struct tls_server *server, SSL *ssl, int fd)
{
    int result;
    while ((result = SSL_accept(ssl)) != 1) {
        if (SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ || !await_input(server, fd)) {
            ERR_clear_error();
            return false;
        }
    }
    atomic_fetch_add(&server->handshakes, 1);
    return true;
}

/* Answer each PING until the client leaves. */
static void answer(struct tls_server *server, SSL *ssl, int fd)
{
    char lines[LINES_MAX];
    size_t len = 0;
    for (;;) {
        int got = SSL_read(ssl, lines + len, (int)(sizeof(lines) - 1 - len));
        if (got <= 0) {
            if (SSL_get_error(ssl, got) != SSL_ERROR_WANT_READ || !await_input(server, fd)) {
                ERR_clear_error();
                return;
            }
            continue;
        }
        len += (size_t)got;
        lines[len] = '\0';
        char *ping;
        while ((ping = strstr(lines, "PING\r\n")) != NULL) {
            size_t used = (size_t)(ping - lines) + 6;
            memmove(lines, lines + used, len - used + 1);
            len -= used;
            (void)SSL_write(ssl, "PONG\r\n", 6);
        }
    }
}

static void serve(struct tls_server *server, int fd)
{
    if (!server->options.first) {
        (void)send(fd, INFO, sizeof(INFO) - 1, MSG_NOSIGNAL);
    }
    SSL *ssl = SSL_new(server->context);
    REQUIRE(ssl != NULL && SSL_set_fd(ssl, fd) == 1);
    if (handshake(server, ssl, fd)) {
        if (server->options.first) {
            (void)SSL_write(ssl, INFO, sizeof(INFO) - 1);
        }
        answer(server, ssl, fd);
    }
    SSL_free(ssl);
}

static void *run(void *argument)
{
    struct tls_server *server = argument;
    struct pollfd pollfd = {.fd = server->listener, .events = POLLIN};
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL); /* OpenSSL's write() raises SIGPIPE */
    while (!atomic_load(&server->stop)) {
        int fd = poll(&pollfd, 1, TICK_MS) > 0
                     ? accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
                     : -1;
        if (fd >= 0) {
            serve(server, fd);
            (void)close(fd);
        }
    }
    return NULL;
}

static SSL_CTX *make_context(const struct certificates *certificates,
                             const struct tls_server_options *options)
{
    char name[64];
    char path[CERTIFICATES_PATH_MAX];
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    REQUIRE(context != NULL);
    /* OpenSSL 3 speaks TLS 1.1 at level 0 only. */
    SSL_CTX_set_security_level(context, 0);
    (void)snprintf(name, sizeof(name), "%s.crt", options->certificate);
    certificates_path(certificates, name, path);
    REQUIRE(SSL_CTX_use_certificate_chain_file(context, path) == 1);
    (void)snprintf(name, sizeof(name), "%s.key", options->certificate);
    certificates_path(certificates, name, path);
    REQUIRE(SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) == 1);
    if (options->version != 0) {
        REQUIRE(SSL_CTX_set_min_proto_version(context, options->version) == 1);
        REQUIRE(SSL_CTX_set_max_proto_version(context, options->version) == 1);
    }
    return context;
}

struct tls_server *tls_server_start(const struct certificates *certificates,
                                    const struct tls_server_options *options)
{
    struct tls_server *server = calloc(1, sizeof(*server));
    REQUIRE(server != NULL);
    server->options = *options;
    server->context = make_context(certificates, options);
    server->listener = net_listen(&server->port);
    REQUIRE(server->listener >= 0);
    REQUIRE(pthread_create(&server->thread, NULL, run, server) == 0);
    return server;
}

void tls_server_stop(struct tls_server *server)
{
    if (server != NULL) {
        atomic_store(&server->stop, true);
        (void)pthread_join(server->thread, NULL);
        (void)close(server->listener);
        SSL_CTX_free(server->context);
        free(server);
    }
}

uint16_t tls_server_port(const struct tls_server *server)
{
    return server->port;
}

unsigned tls_server_handshakes(struct tls_server *server)
{
    return atomic_load(&server->handshakes);
}
