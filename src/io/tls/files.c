/* SPDX-License-Identifier: MIT */
#include "io/tls/files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "io/system/file.h"
#include "io/tls/reason.h"
#include "roulette.h"

/* ---- Paths -------------------------------------------------------------------------------- */

static bool copy(const char *text, char **copied)
{
    *copied = text != NULL ? rlt_memory_copy_text(text, strlen(text)) : NULL;
    return text == NULL || *copied != NULL;
}

/* Looked up once: the environment belongs to the application, event threads keep off it. */
static const char *from_environment(const char *variable, const char *otherwise)
{
    const char *value = secure_getenv(variable);
    return value != NULL ? value : otherwise;
}

int rlt_tls_files_init(struct rlt_tls_files *files, const char *ca_file, const char *ca_path,
                       const char *cert_file, const char *key_file)
{
    *files = (struct rlt_tls_files){.system = ca_file == NULL && ca_path == NULL};
    if (files->system) {
        ca_file = from_environment(X509_get_default_cert_file_env(), X509_get_default_cert_file());
        ca_path = from_environment(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
    }
    bool copied = copy(ca_file, &files->ca_file) && copy(ca_path, &files->ca_path) &&
                  copy(cert_file, &files->cert_file) && copy(key_file, &files->key_file);
    return copied ? 0 : ROULETTE_ENOMEM;
}

void rlt_tls_files_fini(struct rlt_tls_files *files)
{
    rlt_memory_free(files->ca_file);
    rlt_memory_free(files->ca_path);
    rlt_memory_free(files->cert_file);
    rlt_memory_free(files->key_file);
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* Report that OpenSSL could not use the contents of a file. */
static int refuse(const char *what, const char *path)
{
    char reason[RLT_TLS_REASON_MAX];
    rlt_tls_reason(reason, sizeof(reason));
    return rlt_error_set(ROULETTE_EINVAL, "the TLS %s \"%s\" cannot be used: %s", what, path,
                         reason);
}

/* A file as a BIO in memory. */
struct reading {
    char *bytes;
    size_t len;
    BIO *bio;
};

static void end_reading(struct reading *reading)
{
    BIO_free(reading->bio);
    rlt_file_free(reading->bytes, reading->len);
}

static int begin_reading(const char *what, const char *path, struct reading *reading)
{
    *reading = (struct reading){.bytes = NULL};
    int result = rlt_file_read(path, &reading->bytes, &reading->len);
    if (result == ROULETTE_ESYSTEM) {
        char named[64];
        (void)snprintf(named, sizeof(named), "the TLS %s", what);
        return rlt_error_about(ROULETTE_EINVAL, named);
    }
    if (result == 0) {
        reading->bio = BIO_new_mem_buf(reading->bytes, (int)reading->len);
        if (reading->bio == NULL) {
            ERR_clear_error();
            end_reading(reading);
            result = rlt_error_set_plain(ROULETTE_ENOMEM);
        }
    }
    return result;
}

/* OpenSSL's own callback would ask for a password on the terminal. */
static int no_password(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

/* Whether the reader has stopped because no further PEM block begins. */
static bool is_at_end(void)
{
    unsigned long error = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    if (at_end) {
        ERR_clear_error();
    }
    return at_end;
}

/* ---- Whom to trust ------------------------------------------------------------------------ */

static bool add_to_store(X509_STORE *store, const X509_INFO *info, int *count)
{
    bool added = info->x509 == NULL || X509_STORE_add_cert(store, info->x509) == 1;
    added = added && (info->crl == NULL || X509_STORE_add_crl(store, info->crl) == 1);
    *count += (info->x509 != NULL) + (info->crl != NULL);
    return added;
}

static int add_all(SSL_CTX *ssl_context, const STACK_OF(X509_INFO) * infos, const char *path)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl_context);
    int count = 0;
    for (int i = 0; i < sk_X509_INFO_num(infos); i++) {
        if (!add_to_store(store, sk_X509_INFO_value(infos, i), &count)) {
            return refuse("CA file", path);
        }
    }
    return count != 0 ? 0
                      : rlt_error_set(ROULETTE_EINVAL,
                                      "the TLS CA file \"%s\" cannot be used: no certificate is in "
                                      "it",
                                      path);
}

static int load_ca_file(SSL_CTX *ssl_context, const char *path)
{
    struct reading reading;
    int result = begin_reading("CA file", path, &reading);
    if (result < 0) {
        return result;
    }
    STACK_OF(X509_INFO) *infos = PEM_X509_INFO_read_bio(reading.bio, NULL, no_password, NULL);
    result = infos != NULL ? add_all(ssl_context, infos, path) : refuse("CA file", path);
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
    end_reading(&reading);
    return result;
}

static int load_trust(const struct rlt_tls_files *files, SSL_CTX *ssl_context)
{
    int result = files->ca_file != NULL ? load_ca_file(ssl_context, files->ca_file) : 0;
    if (result < 0 && !files->system) {
        return result;
    }
    if (files->ca_path == NULL) {
        return 0;
    }
    /* OpenSSL accepts any text as a folder and finds no CA in it later. */
    if (!files->system && access(files->ca_path, R_OK | X_OK) != 0) {
        return rlt_error_set(ROULETTE_EINVAL, "the TLS CA folder \"%s\" cannot be read",
                             files->ca_path);
    }
    return SSL_CTX_load_verify_dir(ssl_context, files->ca_path) == 1
               ? 0
               : refuse("CA folder", files->ca_path);
}

/* ---- Who we are --------------------------------------------------------------------------- */

/* Use the client's certificate, then the chain to its CA. */
static bool use_chain(SSL_CTX *ssl_context, BIO *bio)
{
    X509 *own = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
    bool used = own != NULL && SSL_CTX_use_certificate(ssl_context, own) == 1;
    X509_free(own);
    if (!used) {
        return false;
    }
    X509 *next;
    while ((next = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ssl_context, next) != 1) {
            X509_free(next);
            return false;
        }
    }
    return is_at_end();
}

static bool use_key(SSL_CTX *ssl_context, BIO *bio)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    bool used = key != NULL && SSL_CTX_use_PrivateKey(ssl_context, key) == 1 &&
                SSL_CTX_check_private_key(ssl_context) == 1;
    EVP_PKEY_free(key);
    return used;
}

static int load_identity_file(SSL_CTX *ssl_context, const char *what, const char *path,
                              bool (*use)(SSL_CTX *ssl_context, BIO *bio))
{
    struct reading reading;
    int result = begin_reading(what, path, &reading);
    if (result == 0) {
        result = use(ssl_context, reading.bio) ? 0 : refuse(what, path);
        end_reading(&reading);
    }
    return result;
}

static int load_identity(const struct rlt_tls_files *files, SSL_CTX *ssl_context)
{
    if (files->cert_file == NULL) {
        return 0;
    }
    int result = load_identity_file(ssl_context, "certificate file", files->cert_file, use_chain);
    return result < 0 ? result
                      : load_identity_file(ssl_context, "key file", files->key_file, use_key);
}

int rlt_tls_files_load(const struct rlt_tls_files *files, SSL_CTX *ssl_context)
{
    ERR_clear_error();
    int result = load_trust(files, ssl_context);
    ERR_clear_error(); /* of an unusable file of the system */
    return result < 0 ? result : load_identity(files, ssl_context);
}

/* ---- Stamps ------------------------------------------------------------------------------- */

void rlt_tls_files_stamp(const struct rlt_tls_files *files, struct rlt_tls_stamps *stamps)
{
    const char *const paths[] = {files->ca_file, files->ca_path, files->cert_file, files->key_file};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        stamps->files[i] = (struct rlt_stamp){.exists = false};
        if (paths[i] != NULL) {
            stamps->files[i] = rlt_stamp_of(paths[i]);
        }
    }
}

bool rlt_tls_stamps_are_equal(const struct rlt_tls_stamps *a, const struct rlt_tls_stamps *b)
{
    bool equal = true;
    for (size_t i = 0; i < sizeof(a->files) / sizeof(a->files[0]); i++) {
        equal = equal && rlt_stamp_is_equal(&a->files[i], &b->files[i]);
    }
    return equal;
}

bool rlt_tls_files_are_settled(const struct rlt_tls_files *files,
                               const struct rlt_tls_stamps *before,
                               const struct rlt_tls_stamps *after)
{
    const char *const paths[] = {files->ca_file, files->ca_path, files->cert_file, files->key_file};
    /* OpenSSL looks into the system's folder for CAs that the file does not have. */
    bool settled =
        rlt_tls_stamps_are_equal(before, after) && (files->ca_path == NULL || files->system);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        settled = settled && (paths[i] == NULL || rlt_stamp_is_settled(&after->files[i]));
    }
    return settled;
}
