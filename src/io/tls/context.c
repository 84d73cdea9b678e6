/* SPDX-License-Identifier: MIT */
#include "io/tls/context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/gate.h"
#include "base/memory.h"
#include "io/system/leaving.h"
#include "roulette.h"

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

/* ---- Files -------------------------------------------------------------------------------- */

/* Make the SSL_CTX for new connections from the files as they are now. Earlier connections keep the
 * old one. */
static int load(struct rlt_tls_context *context, const struct rlt_tls_stamps *before)
{
    ERR_clear_error();
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (made == NULL) {
        ERR_clear_error();
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    set_policy(made, context->verify);
    int result = rlt_tls_files_load(&context->files, made);
    if (result < 0) {
        SSL_CTX_free(made);
        return result;
    }
    SSL_CTX_free(context->ssl_context);
    context->ssl_context = made;
    rlt_tls_files_stamp(&context->files, &context->stamps);
    context->settled = rlt_tls_files_are_settled(&context->files, before, &context->stamps);
    return 0;
}

/* Load the files again if they have changed, or may have. */
static int refresh(struct rlt_tls_context *context)
{
    struct rlt_tls_stamps now;
    rlt_tls_files_stamp(&context->files, &now);
    if (context->settled && rlt_tls_stamps_are_equal(&now, &context->stamps)) {
        return 0;
    }
    context->settled = false;
    return load(context, &now);
}

/* ---- Connections -------------------------------------------------------------------------- */

static bool is_ip_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Set the name or address that the server's certificate must have. */
static bool set_peer(SSL *ssl, const char *host)
{
    if (is_ip_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    /* A name may end with the root's dot, certificates have none. */
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

/* Make the client's side of a connection, by the files as they are now. */
static int begin(struct rlt_tls_context *context, SSL **ssl)
{
    (void)pthread_mutex_lock(&context->lock);
    int result = refresh(context);
    *ssl = result == 0 ? SSL_new(context->ssl_context) : NULL;
    (void)pthread_mutex_unlock(&context->lock);
    ERR_clear_error();
    if (result < 0) {
        return result == ROULETTE_EINVAL ? ROULETTE_ETLS : result;
    }
    return *ssl != NULL ? 0 : rlt_error_set_plain(ROULETTE_ENOMEM);
}

int rlt_tls_context_connect(struct rlt_tls_context *context, const char *host, SSL **ssl)
{
    SSL *made;
    int result = begin(context, &made);
    if (result < 0) {
        return result;
    }
    SSL_set_connect_state(made);
    const char *name = rlt_tls_context_name(context, host);
    if (!set_peer(made, name)) {
        ERR_clear_error();
        SSL_free(made);
        return rlt_error_set(ROULETTE_ETLS, "\"%.255s\" is no name that a certificate can have",
                             name);
    }
    *ssl = made;
    return 0;
}

/* ---- Life --------------------------------------------------------------------------------- */

static int fill(struct rlt_tls_context *context, const struct rlt_tls_options *options)
{
    (void)pthread_mutex_init(&context->lock, NULL);
    context->verify = options->verify;
    if ((options->cert_file == NULL) != (options->key_file == NULL)) {
        return rlt_error_set(ROULETTE_EINVAL, "a TLS certificate file and a TLS key file go "
                                              "together: give both, or none");
    }
    int result = rlt_tls_files_init(&context->files, options->ca_file, options->ca_path,
                                    options->cert_file, options->key_file);
    if (result == 0 && options->server_name != NULL) {
        context->server_name =
            rlt_memory_copy_text(options->server_name, strlen(options->server_name));
        result = context->server_name != NULL ? 0 : ROULETTE_ENOMEM;
    }
    return result < 0 ? rlt_error_set_plain(result) : refresh(context);
}

/* Check at once that a certificate can have the configured name. */
static int check_name(struct rlt_tls_context *context)
{
    SSL *ssl = NULL;
    if (context->server_name == NULL) {
        return 0;
    }
    if (context->server_name[0] == '\0') {
        return rlt_error_set(ROULETTE_EINVAL,
                             "options.tls_server_name is empty: give a name, or NULL");
    }
    int result = rlt_tls_context_connect(context, "", &ssl);
    SSL_free(ssl);
    return result == ROULETTE_ETLS ? rlt_error_about(ROULETTE_EINVAL, "options.tls_server_name")
                                   : result;
}

int rlt_tls_context_create(const struct rlt_tls_options *options, struct rlt_tls_context **context)
{
    int result = rlt_leaving_enter_crypto();
    if (result < 0) {
        return result;
    }
    struct rlt_tls_context *made = rlt_memory_alloc(1, sizeof(*made));
    result = made != NULL ? fill(made, options) : rlt_error_set_plain(ROULETTE_ENOMEM);
    result = result == 0 ? check_name(made) : result;
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
    rlt_tls_files_fini(&context->files);
    rlt_memory_free(context->server_name);
    (void)pthread_mutex_destroy(&context->lock);
    rlt_memory_free(context);
}
