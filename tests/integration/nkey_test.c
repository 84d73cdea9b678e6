/* SPDX-License-Identifier: MIT */
/**
 * What proto/ makes for authentication, before a real server: nkey users, and JWTs in operator
 * mode.
 */
#include "io/system/file.h"
#include "proto/credentials.h"
#include "proto/encode.h"
#include "proto/info.h"
#include "proto/nkey.h"
#include "roulette.h"
#include "support/jwt.h"
#include "support/nats_server.h"
#include "support/net.h"
#include "support/test.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MS = 10000 };

/* ---- A server with a configuration -------------------------------------------------------- */

static char directory[64];
static char path[96];

static void make_directory(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/roulette-nkey.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/file", directory);
}

static void remove_directory(void)
{
    (void)unlink(path);
    cr_assert_eq(rmdir(directory), 0);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static struct nats_server *start(const char *config)
{
    write_file(config);
    const char *const arguments[] = {"-c", path, NULL};
    struct nats_server *server = nats_server_start(arguments);
    cr_assert_not_null(server);
    return server;
}

static struct nats_server *start_with_nkey(const char *public_key)
{
    char config[256];
    (void)snprintf(config, sizeof(config), "authorization { users = [ { nkey: %s } ] }\n",
                   public_key);
    return start(config);
}

static struct nats_server *start_with_operator(const struct jwt_key *operator_key,
                                               const struct jwt_key *account)
{
    char config[8192];
    char *operator_jwt = jwt_make(operator_key, operator_key, 0);
    char *account_jwt = jwt_make(account, operator_key, 0);
    (void)snprintf(config, sizeof(config),
                   "operator: %s\nresolver: MEMORY\nresolver_preload: {\n  %s: %s\n}\n",
                   operator_jwt, account->public_key, account_jwt);
    free(operator_jwt);
    free(account_jwt);
    return start(config);
}

/* ---- A client ----------------------------------------------------------------------------- */

/** Read until `text` came, or the peer closed, or 10 s passed. Returns: whether it came. */
static bool read_until(int fd, const char *text, char *bytes, size_t size)
{
    size_t len = 0;
    uint64_t deadline_ms = net_now_ms() + ANSWER_MS;
    bytes[0] = '\0';
    while (strstr(bytes, text) == NULL) {
        if (len + 1 == size || !net_wait(fd, POLLIN, deadline_ms)) {
            return false;
        }
        ssize_t got = recv(fd, bytes + len, size - 1 - len, 0);
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        bytes[len] = '\0';
    }
    return true;
}

/** Connect and read INFO, which must have a nonce. */
static int greet(struct nats_server *server, struct rlt_info *info)
{
    char bytes[16384];
    int fd = net_connect(nats_server_port(server));
    cr_assert_geq(fd, 0);
    cr_assert(read_until(fd, "\r\n", bytes, sizeof(bytes)));
    cr_assert_arr_eq(bytes, "INFO ", 5);
    cr_assert_eq(rlt_info_parse(bytes + 5, strcspn(bytes, "\r") - 5, info), 0);
    cr_assert(info->auth_required);
    cr_assert_neq(info->nonce[0], '\0');
    return fd;
}

static void send_connect(int fd, const struct rlt_connect *connect)
{
    char out[4300];
    int len = rlt_encode_connect(connect, out, sizeof(out) - 6);
    cr_assert_gt(len, 0);
    memcpy(out + len, "PING\r\n", 6);
    cr_assert_eq(send(fd, out, (size_t)len + 6, MSG_NOSIGNAL), len + 6);
}

/** Whether the server answers a CONNECT and a PING by PONG (or else by what it should). */
static bool is_let_in(int fd, const struct rlt_connect *connect)
{
    char bytes[16384];
    send_connect(fd, connect);
    if (read_until(fd, "PONG\r\n", bytes, sizeof(bytes))) {
        return true;
    }
    cr_assert_not_null(strstr(bytes, "-ERR 'Authorization Violation'\r\n"), "%s", bytes);
    return false;
}

static bool nkey_is_let_in(struct nats_server *server, const struct rlt_nkey *nkey,
                           const char *public_key, const char *jwt, const char *nonce)
{
    struct rlt_info info;
    char signature[RLT_NKEY_SIGNATURE_LEN + 1];
    int fd = greet(server, &info);
    nonce = nonce != NULL ? nonce : info.nonce;
    cr_assert_eq(rlt_nkey_sign(nkey, nonce, strlen(nonce), signature), 0);
    bool let_in = is_let_in(
        fd, &(struct rlt_connect){.nkey = public_key, .jwt = jwt, .sig = signature, .headers = 1});
    (void)close(fd);
    return let_in;
}

static struct rlt_nkey open_nkey(const char *seed)
{
    struct rlt_nkey nkey;
    cr_assert_eq(rlt_nkey_init(&nkey, seed, strlen(seed)), 0, "%s", roulette_last_error());
    return nkey;
}

/* ---- nkey users --------------------------------------------------------------------------- */

Test(nkey_login, signed_nonce_is_let_in, .init = make_directory, .fini = remove_directory)
{
    struct rlt_nkey nkey = open_nkey("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY");
    struct nats_server *server = start_with_nkey(nkey.public_key);
    for (int i = 0; i < 20; i++) {
        cr_assert(nkey_is_let_in(server, &nkey, nkey.public_key, NULL, NULL));
    }
    rlt_nkey_fini(&nkey);
    nats_server_stop(server);
}

Test(nkey_login, random_keys_are_let_in, .init = make_directory, .fini = remove_directory)
{
    for (int i = 0; i < 3; i++) {
        struct jwt_key key = jwt_key_make(JWT_USER);
        struct rlt_nkey nkey = open_nkey(key.seed);
        cr_assert_str_eq(nkey.public_key, key.public_key);
        struct nats_server *server = start_with_nkey(key.public_key);
        cr_assert(nkey_is_let_in(server, &nkey, nkey.public_key, NULL, NULL));
        rlt_nkey_fini(&nkey);
        nats_server_stop(server);
    }
}

Test(nkey_login, wrong_signature_or_key_is_refused, .init = make_directory,
     .fini = remove_directory)
{
    struct jwt_key stranger_key = jwt_key_make(JWT_USER);
    struct rlt_nkey stranger = open_nkey(stranger_key.seed);
    struct rlt_nkey nkey = open_nkey("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY");
    struct nats_server *server = start_with_nkey(nkey.public_key);
    cr_assert_not(nkey_is_let_in(server, &nkey, nkey.public_key, NULL, "another nonce"));
    cr_assert_not(nkey_is_let_in(server, &stranger, nkey.public_key, NULL, NULL));
    cr_assert_not(nkey_is_let_in(server, &stranger, stranger.public_key, NULL, NULL));
    cr_assert_not(nkey_is_let_in(server, &nkey, NULL, NULL, NULL));
    cr_assert(nkey_is_let_in(server, &nkey, nkey.public_key, NULL, NULL));
    rlt_nkey_fini(&nkey);
    rlt_nkey_fini(&stranger);
    nats_server_stop(server);
}

/* ---- JWTs --------------------------------------------------------------------------------- */

struct realm {
    struct jwt_key operator_key;
    struct jwt_key account;
    struct jwt_key user;
    struct nats_server *server;
};

static struct realm start_realm(void)
{
    struct realm realm = {
        .operator_key = jwt_key_make(JWT_OPERATOR),
        .account = jwt_key_make(JWT_ACCOUNT),
        .user = jwt_key_make(JWT_USER),
    };
    realm.server = start_with_operator(&realm.operator_key, &realm.account);
    return realm;
}

/** Write a ".creds" file and read it back as a client does. */
static struct rlt_credentials read_credentials(const char *jwt, const char *seed)
{
    struct rlt_credentials credentials;
    char text[8192];
    char *bytes;
    size_t len;
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                   "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
                   jwt, seed);
    write_file(text);
    cr_assert_eq(rlt_file_read(path, &bytes, &len), 0, "%s", roulette_last_error());
    cr_assert_eq(rlt_credentials_parse(bytes, len, &credentials), 0, "%s", roulette_last_error());
    rlt_file_free(bytes, len);
    return credentials;
}

/** Whether the user is let in with a JWT by this issuer that expires then. */
static bool user_is_let_in(const struct realm *realm, const struct jwt_key *issuer,
                           const char *seed, int64_t expires_s)
{
    char *jwt = jwt_make(&realm->user, issuer, expires_s);
    struct rlt_credentials credentials = read_credentials(jwt, seed);
    cr_assert_eq(credentials.expires_s, expires_s);
    cr_assert_str_eq(credentials.jwt, jwt);
    bool let_in = nkey_is_let_in(realm->server, &credentials.nkey, NULL, credentials.jwt, NULL);
    rlt_credentials_fini(&credentials);
    free(jwt);
    return let_in;
}

Test(jwt_login, credentials_are_let_in, .init = make_directory, .fini = remove_directory)
{
    struct realm realm = start_realm();
    cr_assert(user_is_let_in(&realm, &realm.account, realm.user.seed, 0));
    cr_assert(user_is_let_in(&realm, &realm.account, realm.user.seed, time(NULL) + 3600));
    nats_server_stop(realm.server);
}

Test(jwt_login, expired_or_foreign_credentials_are_refused, .init = make_directory,
     .fini = remove_directory)
{
    struct realm realm = start_realm();
    struct jwt_key other_user = jwt_key_make(JWT_USER);
    struct jwt_key other_account = jwt_key_make(JWT_ACCOUNT);
    cr_assert_not(user_is_let_in(&realm, &realm.account, realm.user.seed, time(NULL) - 3600));
    cr_assert_not(user_is_let_in(&realm, &realm.account, other_user.seed, 0));
    cr_assert_not(user_is_let_in(&realm, &other_account, realm.user.seed, 0));
    cr_assert(user_is_let_in(&realm, &realm.account, realm.user.seed, 0));
    nats_server_stop(realm.server);
}

Test(jwt_login, connection_ends_when_the_jwt_expires, .init = make_directory,
     .fini = remove_directory)
{
    struct realm realm = start_realm();
    struct rlt_info info;
    char bytes[16384];
    char signature[RLT_NKEY_SIGNATURE_LEN + 1];
    char *jwt = jwt_make(&realm.user, &realm.account, time(NULL) + 3);
    struct rlt_credentials credentials = read_credentials(jwt, realm.user.seed);
    int fd = greet(realm.server, &info);
    cr_assert_eq(rlt_nkey_sign(&credentials.nkey, info.nonce, strlen(info.nonce), signature), 0);
    cr_assert(is_let_in(fd, &(struct rlt_connect){.jwt = credentials.jwt, .sig = signature}));
    cr_assert(read_until(fd, "-ERR 'User Authentication Expired'\r\n", bytes, sizeof(bytes)), "%s",
              bytes);
    cr_assert_geq(time(NULL), credentials.expires_s);
    (void)close(fd);
    rlt_credentials_fini(&credentials);
    free(jwt);
    nats_server_stop(realm.server);
}
