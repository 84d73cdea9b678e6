/* SPDX-License-Identifier: MIT */
#include "proto/credentials.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "proto/jwt.h"

enum part { PART_JWT, PART_SEED, PART_COUNT };

/** Bytes of the text; not NUL-terminated. */
struct span {
    const char *bytes;
    size_t len;
};

struct parts {
    struct span spans[PART_COUNT];
    size_t count;
    bool unended; /* a line follows a fence, as a part does, but no fence follows the line */
};

/* ---- Lines -------------------------------------------------------------------------------- */

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* Cut the first line off `*rest`, without its LF and the blanks around it. */
static bool next_line(struct span *rest, struct span *line)
{
    if (rest->len == 0) {
        return false;
    }
    const char *lf = memchr(rest->bytes, '\n', rest->len);
    size_t len = lf != NULL ? (size_t)(lf - rest->bytes) : rest->len;
    size_t used = lf != NULL ? len + 1 : len;
    *line = (struct span){rest->bytes, len};
    *rest = (struct span){rest->bytes + used, rest->len - used};
    while (line->len != 0 && is_blank(line->bytes[0])) {
        line->bytes++;
        line->len--;
    }
    while (line->len != 0 && is_blank(line->bytes[line->len - 1])) {
        line->len--;
    }
    return true;
}

static bool is_fence(struct span line)
{
    return line.len >= 6 && memcmp(line.bytes, "---", 3) == 0 &&
           memcmp(line.bytes + line.len - 3, "---", 3) == 0;
}

static bool is_value(struct span line)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    for (size_t i = 0; i < line.len; i++) {
        if (memchr(allowed, line.bytes[i], sizeof allowed - 1) == NULL) {
            return false;
        }
    }
    return line.len != 0 && !is_fence(line);
}

/* Skip the byte order mark that some editors put in front of the first line. */
static struct span skip_mark(struct span text)
{
    bool marked = text.len >= 3 && memcmp(text.bytes, "\xef\xbb\xbf", 3) == 0;
    return marked ? (struct span){text.bytes + 3, text.len - 3} : text;
}

static struct parts find_parts(struct span text)
{
    enum { OUTSIDE, BEHIND_FENCE, BEHIND_VALUE } state = OUTSIDE;
    struct parts parts = {.count = 0};
    struct span line;
    struct span value = {NULL, 0};
    while (parts.count < PART_COUNT && next_line(&text, &line)) {
        if (state == BEHIND_FENCE && is_value(line)) {
            value = line;
            state = BEHIND_VALUE;
        } else if (is_fence(line) && state == BEHIND_VALUE) {
            parts.spans[parts.count++] = value;
            state = OUTSIDE;
        } else {
            parts.unended = parts.unended || state == BEHIND_VALUE;
            state = is_fence(line) ? BEHIND_FENCE : OUTSIDE;
        }
    }
    parts.unended = parts.unended || state == BEHIND_VALUE;
    return parts;
}

/* ---- Credentials -------------------------------------------------------------------------- */

static int refuse_missing(const struct parts *parts)
{
    const char *missing = "neither a JWT nor a seed";
    if (parts->count != 0) {
        struct span only = parts->spans[0];
        missing = memchr(only.bytes, '.', only.len) != NULL ? "no seed" : "no JWT";
    }
    return rlt_error_set(
        ROULETTE_EINVAL, "the credentials have %s: %s", missing,
        parts->unended ? "what follows a ---BEGIN ...--- line has no ---END ...--- line behind it"
                       : "each is a line between a ---BEGIN ...--- and an ---END ...--- line");
}

int rlt_credentials_parse(const char *text, size_t len, struct rlt_credentials *credentials)
{
    struct parts parts = find_parts(skip_mark((struct span){text, len}));
    if (parts.count < PART_COUNT) {
        return refuse_missing(&parts);
    }
    struct span jwt = parts.spans[PART_JWT];
    struct span seed = parts.spans[PART_SEED];
    struct rlt_credentials parsed = {.jwt = NULL};
    int error = rlt_jwt_expiry(jwt.bytes, jwt.len, &parsed.expires_s);
    if (error == 0) {
        error = rlt_nkey_init(&parsed.nkey, seed.bytes, seed.len);
    }
    if (error == 0) {
        parsed.jwt = rlt_memory_copy_text(jwt.bytes, jwt.len);
        error = parsed.jwt != NULL ? 0 : rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    if (error == 0) {
        *credentials = parsed;
    }
    OPENSSL_cleanse(&parsed, sizeof parsed);
    return error;
}

void rlt_credentials_fini(struct rlt_credentials *credentials)
{
    if (credentials->jwt != NULL) {
        OPENSSL_cleanse(credentials->jwt, strlen(credentials->jwt));
        rlt_memory_free(credentials->jwt);
    }
    OPENSSL_cleanse(credentials, sizeof *credentials);
}
