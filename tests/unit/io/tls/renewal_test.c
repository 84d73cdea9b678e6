/* SPDX-License-Identifier: MIT */
/**
 * Certificates that are renewed on disk while a context lives, in the ways in which programs do it.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/tls/context.h"
#include "roulette.h"
#include "support/certificates.h"
#include "support/condition.h"
#include "support/test.h"

enum { FILE_MAX = 65536 };

/* Files that a context uses, beside those that they are copies of. */
struct stage {
    struct certificates certificates;
    char ca[CERTIFICATES_PATH_MAX];
    char cert[CERTIFICATES_PATH_MAX];
    char key[CERTIFICATES_PATH_MAX];
    struct rlt_tls_context *context;
};

static size_t read_file(const struct stage *stage, const char *name, char *bytes)
{
    char path[CERTIFICATES_PATH_MAX];
    certificates_path(&stage->certificates, name, path);
    FILE *file = fopen(path, "re");
    REQUIRE(file != NULL, "%s", path);
    size_t len = fread(bytes, 1, FILE_MAX, file);
    (void)fclose(file);
    return len;
}

static void write_at(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0, "%s", path);
}

/* Write over a file in place. */
static void overwrite(const struct stage *stage, const char *path, const char *source)
{
    static char bytes[FILE_MAX];
    write_at(path, bytes, read_file(stage, source, bytes));
}

/* Replace a file at once. */
static void replace(const struct stage *stage, const char *path, const char *source)
{
    char other[CERTIFICATES_PATH_MAX + 8];
    (void)snprintf(other, sizeof(other), "%s.new", path);
    overwrite(stage, other, source);
    REQUIRE(rename(other, path) == 0);
}

static void set_up(struct stage *stage)
{
    *stage = (struct stage){.context = NULL};
    cr_assert(certificates_create(&stage->certificates));
    certificates_path(&stage->certificates, "my_ca.crt", stage->ca);
    certificates_path(&stage->certificates, "my.crt", stage->cert);
    certificates_path(&stage->certificates, "my.key", stage->key);
    overwrite(stage, stage->ca, "ca.crt");
    overwrite(stage, stage->cert, "client.crt");
    overwrite(stage, stage->key, "client.key");
    struct rlt_tls_options options = {
        .ca_file = stage->ca, .cert_file = stage->cert, .key_file = stage->key, .verify = true};
    cr_assert_eq(rlt_tls_context_create(&options, &stage->context), 0, "%s", roulette_last_error());
}

static void tear_down(struct stage *stage)
{
    rlt_tls_context_destroy(stage->context);
    certificates_destroy(&stage->certificates);
}

/* Begin a connection, and look whose certificate it shows: its CN. */
static void expect_shown(struct stage *stage, const char *name)
{
    SSL *ssl = NULL;
    char text[64] = "";
    cr_assert_eq(rlt_tls_context_connect(stage->context, "localhost", &ssl), 0, "%s",
                 roulette_last_error());
    X509 *shown = SSL_get_certificate(ssl);
    cr_assert_not_null(shown);
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, text,
                                    sizeof(text));
    cr_assert_str_eq(text, name);
    SSL_free(ssl);
    cr_assert_eq(ERR_peek_error(), 0);
}

static void expect_failure(struct stage *stage, const char *what, const char *path)
{
    SSL *ssl = NULL;
    int result = rlt_tls_context_connect(stage->context, "localhost", &ssl);
    cr_assert_eq(result, ROULETTE_ETLS, "%s", roulette_error_name(result));
    cr_assert_null(ssl);
    cr_assert_not_null(strstr(roulette_last_error(), what), "%s", roulette_last_error());
    cr_assert_not_null(strstr(roulette_last_error(), path), "%s", roulette_last_error());
    cr_assert_eq(ERR_peek_error(), 0);
}

static void renew(struct stage *stage,
                  void (*put)(const struct stage *stage, const char *path, const char *source))
{
    set_up(stage);
    expect_shown(stage, "client");
    put(stage, stage->cert, "server.crt");
    put(stage, stage->key, "server.key");
    expect_shown(stage, "server");
    put(stage, stage->cert, "client.crt");
    put(stage, stage->key, "client.key");
    expect_shown(stage, "client");
    tear_down(stage);
}

Test(tls_renewal, files_that_are_replaced_are_used)
{
    struct stage stage;
    renew(&stage, replace);
}

Test(tls_renewal, files_that_are_written_over_are_used)
{
    struct stage stage;
    renew(&stage, overwrite);
}

/* Written over with the times of the old one, as a copy with its attributes does. */
static void overwrite_back_in_time(const struct stage *stage, const char *path, const char *source)
{
    struct stat status;
    REQUIRE(stat(path, &status) == 0);
    overwrite(stage, path, source);
    struct timespec times[2] = {status.st_atim, status.st_mtim};
    REQUIRE(utimensat(AT_FDCWD, path, times, 0) == 0);
}

Test(tls_renewal, files_with_their_old_times_are_used)
{
    struct stage stage;
    renew(&stage, overwrite_back_in_time);
}

/* As Kubernetes does it: the files are links through a link to a folder, which is replaced. */
Test(tls_renewal, folder_behind_links_is_used)
{
    struct stage stage;
    char data[CERTIFICATES_PATH_MAX];
    char other[CERTIFICATES_PATH_MAX];
    static const char *const names[] = {"client", "server"};
    set_up(&stage);
    certificates_path(&stage.certificates, "data", data);
    certificates_path(&stage.certificates, "data.new", other);
    for (int i = 0; i < 2; i++) {
        char path[2 * CERTIFICATES_PATH_MAX];
        char source[64];
        certificates_path(&stage.certificates, names[i], path);
        REQUIRE(mkdir(path, 0700) == 0);
        for (int j = 0; j < 2; j++) {
            const char *kind = j == 0 ? "crt" : "key";
            (void)snprintf(source, sizeof(source), "%s.%s", names[i], kind);
            (void)snprintf(path, sizeof(path), "%s/%s/my.%s", stage.certificates.folder, names[i],
                           kind);
            overwrite(&stage, path, source);
        }
    }
    REQUIRE(symlink("client", data) == 0);
    REQUIRE(unlink(stage.cert) == 0 && symlink("data/my.crt", stage.cert) == 0);
    REQUIRE(unlink(stage.key) == 0 && symlink("data/my.key", stage.key) == 0);
    expect_shown(&stage, "client");
    REQUIRE(symlink("server", other) == 0 && rename(other, data) == 0);
    expect_shown(&stage, "server");
    for (int i = 0; i < 4; i++) {
        char path[2 * CERTIFICATES_PATH_MAX];
        (void)snprintf(path, sizeof(path), "%s/%s/my.%s", stage.certificates.folder, names[i / 2],
                       i % 2 == 0 ? "crt" : "key");
        (void)unlink(path);
    }
    for (int i = 0; i < 2; i++) {
        char path[CERTIFICATES_PATH_MAX];
        certificates_path(&stage.certificates, names[i], path);
        (void)rmdir(path);
    }
    tear_down(&stage);
}

/* Each length that a file has while it is being written: that attempt fails and says why, or finds
 * the certificate whole; none is the end. */
static void cut(struct stage *stage, const char *path, const char *source, const char *what)
{
    static char bytes[FILE_MAX];
    size_t len = read_file(stage, source, bytes);
    for (size_t i = 0; i + 2 < len; i += len / 20) {
        write_at(path, bytes, i);
        expect_failure(stage, what, path);
    }
    write_at(path, bytes, len);
    expect_shown(stage, "client");
}

Test(tls_renewal, file_that_is_half_written_fails_one_attempt)
{
    struct stage stage;
    set_up(&stage);
    cut(&stage, stage.cert, "client.crt", "certificate file");
    cut(&stage, stage.key, "client.key", "key file");
    cut(&stage, stage.ca, "ca.crt", "CA file");
    tear_down(&stage);
}

Test(tls_renewal, file_that_is_missing_for_a_moment_fails_one_attempt)
{
    struct stage stage;
    set_up(&stage);
    REQUIRE(unlink(stage.key) == 0);
    expect_failure(&stage, "No such file", stage.key);
    overwrite(&stage, stage.key, "server.key");
    expect_failure(&stage, "mismatch", stage.key);
    overwrite(&stage, stage.cert, "server.crt");
    expect_shown(&stage, "server");
    tear_down(&stage);
}

/* A pipe in place of a file would hold an event thread up for ever. */
Test(tls_renewal, pipe_is_not_waited_for)
{
    struct stage stage;
    const char *paths[3];
    set_up(&stage);
    paths[0] = stage.ca;
    paths[1] = stage.cert;
    paths[2] = stage.key;
    for (int i = 0; i < 3; i++) {
        char aside[CERTIFICATES_PATH_MAX + 8];
        (void)snprintf(aside, sizeof(aside), "%s.old", paths[i]);
        REQUIRE(rename(paths[i], aside) == 0 && mkfifo(paths[i], 0600) == 0);
        expect_failure(&stage, "not a regular file", paths[i]);
        REQUIRE(rename(aside, paths[i]) == 0);
        expect_shown(&stage, "client");
    }
    tear_down(&stage);
}

Test(tls_renewal, chain_behind_the_certificate_is_shown)
{
    static char bytes[2 * FILE_MAX];
    struct stage stage;
    SSL *ssl = NULL;
    STACK_OF(X509) *chain = NULL;
    set_up(&stage);
    size_t len = read_file(&stage, "client.crt", bytes);
    len += read_file(&stage, "ca.crt", bytes + len);
    write_at(stage.cert, bytes, len);
    cr_assert_eq(rlt_tls_context_connect(stage.context, "localhost", &ssl), 0);
    cr_assert_eq(SSL_get0_chain_certs(ssl, &chain), 1);
    cr_assert_eq(sk_X509_num(chain), 1);
    SSL_free(ssl);
    tear_down(&stage);
}

static SSL_CTX *connect_once(struct stage *stage)
{
    SSL *ssl = NULL;
    REQUIRE(rlt_tls_context_connect(stage->context, "localhost", &ssl) == 0);
    SSL_CTX *ssl_context = SSL_get_SSL_CTX(ssl);
    SSL_CTX_up_ref(ssl_context);
    SSL_free(ssl);
    return ssl_context;
}

/* Whether two connections were made of what was read once. */
static bool shares(struct stage *stage)
{
    SSL_CTX *first = connect_once(stage);
    SSL_CTX *second = connect_once(stage);
    bool shared = first == second;
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    return shared;
}

/* Files whose last change is a while ago are not read again, until they change. */
Test(tls_renewal, files_that_stay_are_read_once)
{
    struct stage stage;
    set_up(&stage);
    EVENTUALLY(shares(&stage));
    replace(&stage, stage.ca, "ca.crt");
    cr_assert_not(shares(&stage));
    EVENTUALLY(shares(&stage));
    tear_down(&stage);
}
