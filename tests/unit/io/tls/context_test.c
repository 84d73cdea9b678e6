/* SPDX-License-Identifier: MIT */
#include "io/tls/context.h"

#include <openssl/err.h>
#include <string.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/certificates.h"
#include "support/test.h"

struct paths {
    struct certificates certificates;
    char ca[CERTIFICATES_PATH_MAX];
    char cert[CERTIFICATES_PATH_MAX];
    char key[CERTIFICATES_PATH_MAX];
    char other_key[CERTIFICATES_PATH_MAX];
    char encrypted_key[CERTIFICATES_PATH_MAX];
    char ed25519[CERTIFICATES_PATH_MAX];
    char missing[CERTIFICATES_PATH_MAX];
};

static void make_paths(struct paths *paths)
{
    cr_assert(certificates_create(&paths->certificates));
    certificates_path(&paths->certificates, "ca.crt", paths->ca);
    certificates_path(&paths->certificates, "client.crt", paths->cert);
    certificates_path(&paths->certificates, "client.key", paths->key);
    certificates_path(&paths->certificates, "server.key", paths->other_key);
    certificates_path(&paths->certificates, "encrypted.key", paths->encrypted_key);
    certificates_path(&paths->certificates, "ed25519.key", paths->ed25519);
    certificates_path(&paths->certificates, "missing", paths->missing);
}

static void expect_refused(const struct rlt_tls_options *options, const char *what,
                           const char *path)
{
    struct rlt_tls_context *context = NULL;
    cr_assert_eq(rlt_tls_context_create(options, &context), ROULETTE_EINVAL);
    cr_assert_null(context);
    cr_assert_not_null(strstr(roulette_last_error(), what), "%s", roulette_last_error());
    cr_assert_not_null(strstr(roulette_last_error(), path), "%s", roulette_last_error());
    cr_assert_eq(ERR_peek_error(), 0);
}

Test(tls_context, file_that_cannot_be_used_is_named)
{
    struct paths paths;
    make_paths(&paths);
    expect_refused(&(struct rlt_tls_options){.ca_file = paths.missing}, "No such file",
                   paths.missing);
    expect_refused(&(struct rlt_tls_options){.ca_file = paths.key}, "CA file", paths.key);
    expect_refused(&(struct rlt_tls_options){.ca_path = paths.missing}, "CA folder", paths.missing);
    expect_refused(
        &(struct rlt_tls_options){.ca_file = paths.ca, .cert_file = "/", .key_file = paths.key},
        "certificate file", "\"/\"");
    expect_refused(&(struct rlt_tls_options){.cert_file = paths.cert, .key_file = paths.missing},
                   "key file", paths.missing);
    certificates_destroy(&paths.certificates);
}

Test(tls_context, key_of_another_certificate_is_refused)
{
    struct paths paths;
    make_paths(&paths);
    expect_refused(&(struct rlt_tls_options){.cert_file = paths.cert, .key_file = paths.other_key},
                   "mismatch", paths.other_key);
    expect_refused(&(struct rlt_tls_options){.cert_file = paths.cert, .key_file = paths.ed25519},
                   "key file", paths.ed25519);
    certificates_destroy(&paths.certificates);
}

Test(tls_context, encrypted_key_is_refused_and_nobody_is_asked)
{
    struct paths paths;
    make_paths(&paths);
    expect_refused(
        &(struct rlt_tls_options){.cert_file = paths.cert, .key_file = paths.encrypted_key},
        "key file", paths.encrypted_key);
    certificates_destroy(&paths.certificates);
}

Test(tls_context, certificate_and_key_go_together)
{
    struct paths paths;
    make_paths(&paths);
    expect_refused(&(struct rlt_tls_options){.cert_file = paths.cert}, "give both", "key file");
    expect_refused(&(struct rlt_tls_options){.key_file = paths.key}, "give both", "key file");
    certificates_destroy(&paths.certificates);
}

Test(tls_context, defaults_verify_against_the_system)
{
    struct rlt_tls_options options;
    struct rlt_tls_context *context;
    rlt_tls_options_init(&options);
    cr_assert(options.verify);
    cr_assert_eq(rlt_tls_context_create(&options, &context), 0, "%s", roulette_last_error());
    cr_assert_eq(SSL_CTX_get_verify_mode(context->ssl_context), SSL_VERIFY_PEER);
    cr_assert_geq(SSL_CTX_get_min_proto_version(context->ssl_context), TLS1_2_VERSION);
    rlt_tls_context_destroy(context);
    rlt_tls_context_destroy(NULL);
}

Test(tls_context, folder_of_cas_is_accepted)
{
    struct paths paths;
    struct rlt_tls_context *context;
    make_paths(&paths);
    struct rlt_tls_options options = {.ca_path = paths.certificates.folder, .verify = true};
    cr_assert_eq(rlt_tls_context_create(&options, &context), 0, "%s", roulette_last_error());
    rlt_tls_context_destroy(context);
    certificates_destroy(&paths.certificates);
}

static int allow_some(void *context, size_t size)
{
    size_t *left = context;
    (void)size;
    return *left != 0 ? (int)((*left)-- != 0) : 0;
}

Test(tls_context, no_memory_is_an_error)
{
    struct rlt_tls_options options = {.server_name = "localhost"};
    for (size_t i = 0; i < 2; i++) {
        size_t left = i;
        struct rlt_tls_context *context = NULL;
        rlt_memory_set_gate(allow_some, &left);
        int result = rlt_tls_context_create(&options, &context);
        rlt_memory_set_gate(NULL, NULL);
        cr_assert_eq(result, ROULETTE_ENOMEM);
        cr_assert_null(context);
    }
}

Test(tls_context, empty_host_is_refused)
{
    struct rlt_tls_options options;
    struct rlt_tls_context *context;
    SSL *ssl = NULL;
    rlt_tls_options_init(&options);
    cr_assert_eq(rlt_tls_context_create(&options, &context), 0);
    cr_assert_eq(rlt_tls_context_connect(context, "", &ssl), ROULETTE_ETLS);
    cr_assert_eq(rlt_tls_context_connect(context, ".", &ssl), ROULETTE_ETLS);
    cr_assert_null(ssl);
    rlt_tls_context_destroy(context);
}
