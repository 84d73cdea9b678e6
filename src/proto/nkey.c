/* SPDX-License-Identifier: MIT */
#include "proto/nkey.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "proto/base64url.h"

/* The kinds of key, five bits each: the first letter of a text in base32. */
#define KIND_SEED 18u
#define KIND_USER 20u

#define CHECKSUM_BYTES  2
#define SEED_BYTES      (2 + 32 + CHECKSUM_BYTES)
#define PUBLIC_BYTES    (1 + 32 + CHECKSUM_BYTES)
#define SIGNATURE_BYTES 64

_Static_assert((SEED_BYTES * 8 + 4) / 5 == RLT_NKEY_SEED_LEN, "base32 of a seed");
_Static_assert(PUBLIC_BYTES * 8 == RLT_NKEY_PUBLIC_LEN * 5, "base32 of a public key");
_Static_assert(RLT_BASE64URL_LEN(SIGNATURE_BYTES) == RLT_NKEY_SIGNATURE_LEN,
               "base64url of a signature");

/* ---- Text --------------------------------------------------------------------------------- */

/* CRC-16/XMODEM: polynomial 0x1021, start 0, no reflection. */
static uint32_t checksum(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint32_t)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc << 1 ^ (crc >> 15) * 0x1021) & 0xffff;
        }
    }
    return crc;
}

/* The five bits of a character, or -1. */
static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z') {
        return character - 'A';
    }
    return character >= '2' && character <= '7' ? character - '2' + 26 : -1;
}

/* Decode all of a seed's text. The two bits that are left over must be 0, as encoders write them,
 * so that each key has one seed. */
static bool decode_seed(const char *text, uint8_t *raw)
{
    uint32_t bits = 0;
    uint32_t bit_count = 0;
    bool valid = true;
    for (size_t i = 0; i < RLT_NKEY_SEED_LEN; i++) {
        int value = value_of(text[i]);
        valid = valid && value >= 0;
        bits = bits << 5 | ((uint32_t)value & 31);
        bit_count += 5;
        if (bit_count >= 8) {
            bit_count -= 8;
            *raw++ = (uint8_t)(bits >> bit_count);
        }
    }
    return valid && (bits & 3) == 0;
}

/* Write a public key; `raw` is all of it except the checksum, which this adds. */
static void encode_public(uint8_t *raw, char *text)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t crc = checksum(raw, PUBLIC_BYTES - CHECKSUM_BYTES);
    raw[PUBLIC_BYTES - 2] = (uint8_t)(crc & 0xff);
    raw[PUBLIC_BYTES - 1] = (uint8_t)(crc >> 8);
    uint32_t bits = 0;
    uint32_t bit_count = 0;
    for (size_t i = 0; i < PUBLIC_BYTES; i++) {
        bits = bits << 8 | raw[i];
        for (bit_count += 8; bit_count >= 5; bit_count -= 5) {
            *text++ = alphabet[bits >> (bit_count - 5) & 31];
        }
    }
    *text = '\0';
}

/* ---- Seed --------------------------------------------------------------------------------- */

/* The owner of a seed that is not a user's, by its second letter; NULL if there is none. */
static const char *owner_of(char kind)
{
    switch (kind) {
    case 'O':
        return "an operator's";
    case 'A':
        return "an account's";
    case 'N':
        return "a server's";
    case 'C':
        return "a cluster's";
    case 'X':
        return "an encryption key's";
    default:
        return NULL;
    }
}

/* Check a seed before it is decoded: a wrong kind of key is the likeliest mistake. */
static int check_kind(const char *seed, size_t len)
{
    if (len < 2 || seed[0] != 'S') {
        return rlt_error_set(ROULETTE_EINVAL, "the nkey seed is not a seed: a user's begins with "
                                              "SU (a key that begins with U is the public one)");
    }
    if (seed[1] == 'U') {
        return 0;
    }
    const char *owner = owner_of(seed[1]);
    return rlt_error_set(ROULETTE_EINVAL,
                         "the nkey seed is %s: give a user's, which begins with SU",
                         owner != NULL ? owner : "not a user's");
}

static int check_raw(const uint8_t *raw)
{
    uint32_t stored = raw[SEED_BYTES - 2] | (uint32_t)raw[SEED_BYTES - 1] << 8;
    if (stored != checksum(raw, SEED_BYTES - CHECKSUM_BYTES)) {
        return rlt_error_set(ROULETTE_EINVAL, "the nkey seed's checksum is wrong: a character of "
                                              "it is not what it was");
    }
    /* Two kinds of five bits stand in front, then six bits that are 0. */
    uint32_t prefix = (uint32_t)raw[0] << 8 | raw[1];
    if (prefix != (KIND_SEED << 11 | KIND_USER << 6)) {
        return rlt_error_set(ROULETTE_EINVAL, "the nkey seed is not a user's: give one that begins "
                                              "with SU");
    }
    return 0;
}

static int read_seed(const char *seed, size_t len, uint8_t *raw)
{
    int error = check_kind(seed, len);
    if (error < 0) {
        return error;
    }
    if (len != RLT_NKEY_SEED_LEN) {
        return rlt_error_set(ROULETTE_EINVAL, "the nkey seed has %zu characters: a seed has %d",
                             len, RLT_NKEY_SEED_LEN);
    }
    if (!decode_seed(seed, raw)) {
        return rlt_error_set(ROULETTE_EINVAL, "the nkey seed is not base32: it has only the "
                                              "characters A to Z and 2 to 7, in upper case");
    }
    return check_raw(raw);
}

static int refused_by_openssl(void)
{
    return rlt_error_set(ROULETTE_ENOTSUP, "OpenSSL could not use an Ed25519 key: its "
                                           "configuration may not allow the algorithm");
}

static EVP_PKEY *make_key(const uint8_t *secret)
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, 32);
}

static int derive_public(const uint8_t *secret, char *text)
{
    uint8_t raw[PUBLIC_BYTES] = {KIND_USER << 3};
    size_t len = 32;
    EVP_PKEY *key = make_key(secret);
    bool derived = key != NULL && EVP_PKEY_get_raw_public_key(key, raw + 1, &len) == 1 && len == 32;
    EVP_PKEY_free(key);
    if (!derived) {
        return refused_by_openssl();
    }
    encode_public(raw, text);
    return 0;
}

int rlt_nkey_init(struct rlt_nkey *nkey, const char *seed, size_t len)
{
    uint8_t raw[SEED_BYTES] = {0};
    char public_key[RLT_NKEY_PUBLIC_LEN + 1];
    int error = read_seed(seed, len, raw);
    if (error == 0) {
        error = derive_public(raw + 2, public_key);
    }
    if (error == 0) {
        memcpy(nkey->secret, raw + 2, sizeof nkey->secret);
        memcpy(nkey->public_key, public_key, sizeof nkey->public_key);
    }
    OPENSSL_cleanse(raw, sizeof raw);
    return error;
}

void rlt_nkey_fini(struct rlt_nkey *nkey)
{
    OPENSSL_cleanse(nkey, sizeof *nkey);
}

/* ---- Signature ---------------------------------------------------------------------------- */

int rlt_nkey_sign(const struct rlt_nkey *nkey, const char *nonce, size_t nonce_len, char *signature)
{
    uint8_t raw[SIGNATURE_BYTES];
    size_t len = sizeof raw;
    EVP_PKEY *key = make_key(nkey->secret);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = key != NULL && context != NULL &&
                EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(context, raw, &len, (const uint8_t *)nonce, nonce_len) == 1 &&
                len == sizeof raw;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    if (!done) {
        return refused_by_openssl();
    }
    *rlt_base64url_encode(signature, raw, sizeof raw) = '\0';
    return 0;
}
