/* SPDX-License-Identifier: MIT */
#include "proto/info.h"

#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "roulette.h"

/** Objects and arrays inside each other, the outermost counted. */
#define DEPTH_MAX 8
/* jansson keeps all that it reads, so the INFO of a server has limits: an address in a list takes
 * 128 bytes or so, a member more, and an object or array most. */
#define ELEMENTS_MAX   131072
#define MEMBERS_MAX    4096
#define CONTAINERS_MAX 1024

/** Counts of brackets, ':' and ',' outside of strings. */
struct shape {
    uint32_t depth;
    uint32_t containers;
    uint32_t members;
    uint32_t elements;
};

/** Count a byte outside of strings. False if a limit is exceeded. */
static bool count_byte(struct shape *shape, char byte)
{
    switch (byte) {
    case '{':
    case '[':
        return ++shape->depth <= DEPTH_MAX && ++shape->containers <= CONTAINERS_MAX;
    case '}':
    case ']':
        shape->depth -= shape->depth > 0;
        return true;
    case ':':
        return ++shape->members <= MEMBERS_MAX;
    case ',':
        return ++shape->elements <= ELEMENTS_MAX;
    default:
        return true;
    }
}

/**
 * Whether brackets outside of strings nest too deep, or a limit is exceeded. jansson descends by
 * recursion and allocates for each value, so this runs before it. Up to the first byte that is not
 * JSON, where jansson stops, both agree where strings are; a wrong count behind that is harmless.
 */
static bool is_unreasonable(const char *json, size_t len)
{
    struct shape shape = {0, 0, 0, 0};
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char byte = json[i];
        if (in_string) {
            if (byte == '\\')
                i++;
            else if (byte == '"')
                in_string = false;
        } else if (byte == '"') {
            in_string = true;
        } else if (!count_byte(&shape, byte)) {
            return true;
        }
    }
    return false;
}

/** Copy a text member and cut it at a character; empty if there is none. */
static void copy_text(const json_t *object, const char *key, char *out, size_t size)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    size_t len = text != NULL ? strnlen(text, json_string_length(value)) : 0;
    if (len >= size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    if (len != 0)
        memcpy(out, text, len);
    out[len] = '\0';
}

/** Copy a text member whole; empty if it does not fit, as a cut one is of no use. */
static void copy_whole_text(const json_t *object, const char *key, char *out, size_t size)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    out[0] = '\0';
    if (text != NULL && json_string_length(value) < size &&
        strlen(text) == json_string_length(value))
        memcpy(out, text, strlen(text) + 1);
}

static int64_t get_int64(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value))
        return json_integer_value(value);
    /* 2^63 is a double, 2^63 - 1 is not. */
    double real = json_real_value(value);
    if (real >= 0x1p63)
        return INT64_MAX;
    return real < -0x1p63 ? INT64_MIN : (int64_t)real;
}

static uint64_t get_uint64(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double real = json_real_value(value);
    if (json_is_real(value) && real >= 0x1p63)
        return real >= 0x1p64 ? UINT64_MAX : (uint64_t)real;
    int64_t number = get_int64(object, key);
    return number > 0 ? (uint64_t)number : 0;
}

static int get_int(const json_t *object, const char *key)
{
    int64_t number = get_int64(object, key);
    if (number > INT_MAX)
        return INT_MAX;
    return number < INT_MIN ? INT_MIN : (int)number;
}

static bool get_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static void read_members(const json_t *object, struct rlt_info *info)
{
    copy_text(object, "server_id", info->server_id, sizeof info->server_id);
    copy_text(object, "server_name", info->server_name, sizeof info->server_name);
    copy_text(object, "cluster", info->cluster, sizeof info->cluster);
    copy_text(object, "version", info->version, sizeof info->version);
    copy_whole_text(object, "nonce", info->nonce, sizeof info->nonce);
    info->max_payload = get_int64(object, "max_payload");
    info->client_id = get_uint64(object, "client_id");
    info->protocol = get_int(object, "proto");
    info->headers = get_bool(object, "headers");
    info->auth_required = get_bool(object, "auth_required");
    info->tls_required = get_bool(object, "tls_required");
    info->tls_available = get_bool(object, "tls_available");
    info->lame_duck = get_bool(object, "ldm");
}

/** Decode JSON, with all numbers as doubles only if one of them does not fit an integer. */
static json_t *decode(const char *json, size_t len, json_error_t *error)
{
    json_t *root = json_loadb(json, len, JSON_ALLOW_NUL, error);
    if (root == NULL && json_error_code(error) == json_error_numeric_overflow)
        root = json_loadb(json, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, error);
    return root;
}

int rlt_info_parse(const char *json, size_t len, struct rlt_info *info)
{
    json_error_t error;
    struct rlt_info parsed;

    if (is_unreasonable(json, len))
        return ROULETTE_EPROTOCOL;
    json_t *root = decode(json, len, &error);
    if (root == NULL) {
        /* jansson has no text for most of its failed allocations. */
        bool no_memory =
            error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory;
        return no_memory ? ROULETTE_ENOMEM : ROULETTE_EPROTOCOL;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return ROULETTE_EPROTOCOL;
    }
    memset(&parsed, 0, sizeof parsed);
    read_members(root, &parsed);
    json_decref(root);
    *info = parsed;
    return 0;
}
