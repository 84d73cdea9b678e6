/* SPDX-License-Identifier: MIT */
#include "support/jwt.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SECRET_BYTES = 32, SIGNATURE_BYTES = 64, SEED_PREFIX = 18 << 3 };

static const struct {
    const char *name;
    uint8_t prefix; /* five bits, the letter of a public key, and three that are 0 */
    const char *limits;
} kinds[] = {
    [JWT_OPERATOR] = {"operator", 14 << 3, "{}"},
    [JWT_ACCOUNT] = {"account", 0,
                     "{\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,"
                     "\"exports\":-1,\"wildcards\":true,\"conn\":-1,\"leaf\":-1}}"},
    [JWT_USER] = {"user", 20 << 3, "{\"subs\":-1,\"data\":-1,\"payload\":-1}"},
};

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "jwt: %s failed\n", what);
        abort();
    }
}

/* ---- Keys --------------------------------------------------------------------------------- */

/** CRC-16/XMODEM over the bytes, appended low byte first. */
static void append_crc(uint8_t *bytes, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1;
        }
    }
    bytes[len] = (uint8_t)(crc & 0xff);
    bytes[len + 1] = (uint8_t)(crc >> 8 & 0xff);
}

/** Base32 without padding, bit by bit. */
static void write_base32(char *out, const uint8_t *bytes, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    for (size_t at = 0; at < len * 8; at += 5) {
        unsigned value = 0;
        for (size_t bit = at; bit < at + 5; bit++) {
            unsigned set = bit < len * 8 ? ((unsigned)bytes[bit / 8] >> (7 - bit % 8)) & 1u : 0u;
            value = value << 1 | set;
        }
        *out++ = alphabet[value];
    }
    *out = '\0';
}

static EVP_PKEY *open_key(const struct jwt_key *key)
{
    EVP_PKEY *opened =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, SECRET_BYTES);
    require(opened != NULL, "EVP_PKEY_new_raw_private_key");
    return opened;
}

struct jwt_key jwt_key_make(enum jwt_kind kind)
{
    struct jwt_key key = {.kind = kind};
    uint8_t prefix = kinds[kind].prefix;
    uint8_t bytes[2 + SECRET_BYTES + 2];
    require(getrandom(key.secret, SECRET_BYTES, 0) == SECRET_BYTES, "getrandom");
    bytes[0] = (uint8_t)(SEED_PREFIX | prefix >> 5);
    bytes[1] = (uint8_t)(prefix << 3);
    memcpy(bytes + 2, key.secret, SECRET_BYTES);
    append_crc(bytes, 2 + SECRET_BYTES);
    write_base32(key.seed, bytes, sizeof(bytes));

    size_t len = SECRET_BYTES;
    EVP_PKEY *opened = open_key(&key);
    bytes[0] = prefix;
    require(EVP_PKEY_get_raw_public_key(opened, bytes + 1, &len) == 1, "public key");
    EVP_PKEY_free(opened);
    append_crc(bytes, 1 + SECRET_BYTES);
    write_base32(key.public_key, bytes, 1 + SECRET_BYTES + 2);
    return key;
}

/* ---- JWTs --------------------------------------------------------------------------------- */

/** Base64 of OpenSSL, changed to the alphabet for URLs. */
static size_t write_base64url(char *out, const void *bytes, size_t len)
{
    int written = EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
    for (char *c = out; *c != '\0'; c++) {
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    }
    while (written > 0 && out[written - 1] == '=') {
        out[--written] = '\0';
    }
    return (size_t)written;
}

static char *make_claims(const struct jwt_key *subject, const struct jwt_key *issuer,
                         int64_t expires_s)
{
    json_t *nats = json_loads(kinds[subject->kind].limits, 0, NULL);
    json_t *claims =
        json_pack("{s:s,s:s,s:s,s:I,s:o}", "iss", issuer->public_key, "sub", subject->public_key,
                  "name", "test", "iat", (json_int_t)1600000000, "nats", nats);
    require(claims != NULL, "json_pack");
    (void)json_object_set_new(nats, "type", json_string(kinds[subject->kind].name));
    (void)json_object_set_new(nats, "version", json_integer(2));
    if (expires_s != 0) {
        (void)json_object_set_new(claims, "exp", json_integer(expires_s));
    }
    char *text = json_dumps(claims, JSON_COMPACT);
    require(text != NULL, "json_dumps");
    json_decref(claims);
    return text;
}

static void sign(const struct jwt_key *issuer, const char *text, size_t len, uint8_t *signature)
{
    size_t signature_len = SIGNATURE_BYTES;
    EVP_PKEY *key = open_key(issuer);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    require(EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(context, signature, &signature_len, (const uint8_t *)text, len) == 1,
            "EVP_DigestSign");
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

char *jwt_make(const struct jwt_key *subject, const struct jwt_key *issuer, int64_t expires_s)
{
    static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}";
    uint8_t signature[SIGNATURE_BYTES];
    char *claims = make_claims(subject, issuer, expires_s);
    char *jwt = malloc(2 * strlen(claims) + 512);
    require(jwt != NULL, "malloc");
    size_t len = write_base64url(jwt, header, strlen(header));
    jwt[len++] = '.';
    len += write_base64url(jwt + len, claims, strlen(claims));
    sign(issuer, jwt, len, signature);
    jwt[len++] = '.';
    (void)write_base64url(jwt + len, signature, sizeof(signature));
    free(claims);
    return jwt;
}
