/* SPDX-License-Identifier: MIT */
#include "proto/jwt.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/base64url.h"

/* The part between the two dots; NULL if there are not three parts with something in each. */
static const char *find_payload(const char *jwt, size_t len, size_t *payload_len)
{
    const char *end = jwt + len;
    const char *first = memchr(jwt, '.', len);
    if (first == NULL || first == jwt) {
        return NULL;
    }
    const char *payload = first + 1;
    const char *second = memchr(payload, '.', (size_t)(end - payload));
    if (second == NULL || second == payload || second + 1 == end ||
        memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL) {
        return NULL;
    }
    *payload_len = (size_t)(second - payload);
    return payload;
}

static int get_expiry(const json_t *claims, int64_t *expires_s)
{
    const json_t *value = json_object_get(claims, "exp");
    if (!json_is_object(claims)) {
        return rlt_error_set(ROULETTE_EINVAL, "the JWT's payload is not a JSON object");
    }
    if (value != NULL && !json_is_integer(value)) {
        return rlt_error_set(ROULETTE_EINVAL, "the JWT's expiry (exp) is not a whole number");
    }
    /* The server takes a negative number for none, too. */
    int64_t seconds = value != NULL ? json_integer_value(value) : 0;
    *expires_s = seconds > 0 ? seconds : 0;
    return 0;
}

static int read_expiry(const char *json, size_t len, int64_t *expires_s)
{
    json_error_t failure;
    json_t *claims = json_loadb(json, len, 0, &failure);
    if (claims != NULL) {
        int error = get_expiry(claims, expires_s);
        json_decref(claims);
        return error;
    }
    /* jansson has no text for most of its failed allocations. */
    if (failure.text[0] == '\0' || json_error_code(&failure) == json_error_out_of_memory) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    return rlt_error_set(ROULETTE_EINVAL, "the JWT's payload is not a JSON object");
}

int rlt_jwt_expiry(const char *jwt, size_t len, int64_t *expires_s)
{
    size_t payload_len = 0;
    const char *payload = find_payload(jwt, len, &payload_len);
    if (payload == NULL) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "the JWT is not of the form header.payload.signature");
    }
    size_t size = payload_len / 4 * 3 + 2;
    uint8_t *json = rlt_memory_alloc(size, 1);
    if (json == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    size_t json_len = 0;
    int error = rlt_base64url_decode(payload, payload_len, json, &json_len);
    if (error < 0) {
        (void)rlt_error_set(error, "the JWT's payload is not base64url");
    } else {
        error = read_expiry((const char *)json, json_len, expires_s);
    }
    OPENSSL_cleanse(json, size);
    rlt_memory_free(json);
    return error;
}
