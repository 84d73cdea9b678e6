/* SPDX-License-Identifier: MIT */
#include "io/tls_context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/gate.h"
#include "base/memory.h"
#include "io/leaving.h"
#include "roulette.h"

#define REASON_MAX 128

void rlt_tls_reason(char *text, size_t size)
{
    unsigned long error = ERR_peek_error();
    const char *reason = NULL;
    char system_text[REASON_MAX];
    if (error != 0 && ERR_SYSTEM_ERROR(error)) {
        reason = strerror_r(ERR_GET_REASON(error), system_text, sizeof(system_text));
    } else if (error != 0) {
        reason = ERR_reason_error_string(error);
    }
    (void)snprintf(text, size, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
}

static int refuse(const char *what, const char *path)
{
    char reason[REASON_MAX];
    rlt_tls_reason(reason, sizeof(reason));
    return rlt_error_set(ROULETTE_EINVAL, "the TLS %s \"%s\" cannot be used: %s", what, path,
                         reason);
}

/* OpenSSL's own would ask for a password on the terminal. */
static int no_password(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static int load_trust(SSL_CTX *ssl_context, const struct rlt_tls_options *options)
{
    if (options->ca_file == NULL && options->ca_path == NULL) {
        return SSL_CTX_set_default_verify_paths(ssl_context) == 1 ? 0 : ROULETTE_ENOMEM;
    }
    if (options->ca_file != NULL &&
        SSL_CTX_load_verify_locations(ssl_context, options->ca_file, NULL) != 1) {
        return refuse("CA file", options->ca_file);
    }
    if (options->ca_path == NULL) {
        return 0;
    }
    /* OpenSSL takes any text for a folder and finds no CA in it later. */
    if (access(options->ca_path, R_OK | X_OK) != 0) {
        return rlt_error_set(ROULETTE_EINVAL, "the TLS CA folder \"%s\" cannot be read",
                             options->ca_path);
    }
    return SSL_CTX_load_verify_locations(ssl_context, NULL, options->ca_path) == 1
               ? 0
               : refuse("CA folder", options->ca_path);
}

static int load_identity(SSL_CTX *ssl_context, const struct rlt_tls_options *options)
{
    if (options->cert_file == NULL && options->key_file == NULL) {
        return 0;
    }
    if (options->cert_file == NULL || options->key_file == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "a TLS certificate file and a TLS key file go "
                                              "together: give both, or none");
    }
    SSL_CTX_set_default_passwd_cb(ssl_context, no_password);
    if (SSL_CTX_use_certificate_chain_file(ssl_context, options->cert_file) != 1) {
        return refuse("certificate file", options->cert_file);
    }
    if (SSL_CTX_use_PrivateKey_file(ssl_context, options->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ssl_context) != 1) {
        return refuse("key file", options->key_file);
    }
    return 0;
}

static void set_policy(SSL_CTX *ssl_context, bool verify)
{
    /* A stricter minimum of the system's configuration stays. */
    if (SSL_CTX_get_min_proto_version(ssl_context) < TLS1_2_VERSION) {
        (void)SSL_CTX_set_min_proto_version(ssl_context, TLS1_2_VERSION);
    }
    (void)SSL_CTX_set_options(ssl_context,
                              SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_OFF);
    /* SSL_MODE_RELEASE_BUFFERS stays off: it would save 34 KiB of an idle connection, beside the
     * layer's own 320, for an allocation with each record. */
    SSL_CTX_set_verify(ssl_context, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
}

void rlt_tls_options_init(struct rlt_tls_options *options)
{
    *options = (struct rlt_tls_options){.verify = true};
}

static int fill(struct rlt_tls_context *context, const struct rlt_tls_options *options)
{
    context->verify = options->verify;
    if (options->server_name != NULL) {
        context->server_name =
            rlt_memory_copy_text(options->server_name, strlen(options->server_name));
        if (context->server_name == NULL) {
            return rlt_error_set_plain(ROULETTE_ENOMEM);
        }
    }
    ERR_clear_error();
    context->ssl_context = SSL_CTX_new(TLS_client_method());
    if (context->ssl_context == NULL) {
        ERR_clear_error();
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    set_policy(context->ssl_context, options->verify);
    int result = load_trust(context->ssl_context, options);
    return result < 0 ? result : load_identity(context->ssl_context, options);
}

int rlt_tls_context_create(const struct rlt_tls_options *options, struct rlt_tls_context **context)
{
    int result = rlt_leaving_enter_crypto();
    if (result < 0) {
        return result;
    }
    struct rlt_tls_context *made = rlt_memory_alloc(1, sizeof(*made));
    result = made != NULL ? fill(made, options) : rlt_error_set_plain(ROULETTE_ENOMEM);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    if (result < 0) {
        rlt_tls_context_destroy(made);
        return result;
    }
    *context = made;
    return 0;
}

void rlt_tls_context_destroy(struct rlt_tls_context *context)
{
    if (context == NULL) {
        return;
    }
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        rlt_leaving_keep(&context->kept);
        return;
    }
    SSL_CTX_free(context->ssl_context);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    rlt_memory_free(context->server_name);
    rlt_memory_free(context);
}

static bool is_ip_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Whom the other side has to be. */
static bool set_peer(SSL *ssl, const char *host)
{
    if (is_ip_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    /* A name may be written with its root, certificates have none. */
    char name[256];
    size_t len = strlen(host);
    len -= len != 0 && host[len - 1] == '.' ? 1 : 0;
    if (len == 0 || len >= sizeof(name)) {
        return false;
    }
    memcpy(name, host, len);
    name[len] = '\0';
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

int rlt_tls_context_connect(const struct rlt_tls_context *context, const char *host, SSL **ssl)
{
    ERR_clear_error();
    SSL *made = SSL_new(context->ssl_context);
    if (made == NULL) {
        ERR_clear_error();
        return ROULETTE_ENOMEM;
    }
    SSL_set_connect_state(made);
    if (!set_peer(made, rlt_tls_context_name(context, host))) {
        ERR_clear_error();
        SSL_free(made);
        return ROULETTE_ETLS;
    }
    *ssl = made;
    return 0;
}
