/* SPDX-License-Identifier: MIT */
#include "null_server/tls.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdlib.h>

#define RECORD_LEN_MAX ((size_t)16 * 1024)
/* What one call of the system may bring: many records. */
#define READ_BYTES ((size_t)256 * 1024)
#define HOUR_S     3600L

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    if (certificate == NULL) {
        return NULL;
    }
    X509_NAME *name = X509_get_subject_name(certificate);
    (void)X509_set_version(certificate, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -HOUR_S);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * HOUR_S);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"null", -1,
                                     -1, 0);
    (void)X509_set_issuer_name(certificate, name);
    (void)X509_set_pubkey(certificate, key);
    (void)X509_sign(certificate, key, EVP_sha256());
    return certificate;
}

struct null_tls *null_tls_create(size_t record_len)
{
    struct null_tls *tls = calloc(1, sizeof(*tls));
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key != NULL ? make_certificate(key) : NULL;
    if (tls == NULL || certificate == NULL ||
        (tls->context = SSL_CTX_new(TLS_server_method())) == NULL ||
        SSL_CTX_use_certificate(tls->context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(tls->context, key) != 1) {
        return NULL;
    }
    tls->record_len = record_len != 0 && record_len < RECORD_LEN_MAX ? record_len : RECORD_LEN_MAX;
    /* A client offers three ciphers and takes the first that the server likes: that of Go's
     * servers on a machine with AES. */
    (void)SSL_CTX_set_ciphersuites(tls->context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_read_ahead(tls->context, 1);
    SSL_CTX_set_default_read_buffer_len(tls->context, READ_BYTES);
    (void)SSL_CTX_set_num_tickets(tls->context, 0);
    /* OpenSSL sends without MSG_NOSIGNAL. */
    (void)signal(SIGPIPE, SIG_IGN);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return tls;
}
