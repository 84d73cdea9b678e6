/* SPDX-License-Identifier: MIT */
#include "proto/topic_fault.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/defs.h"
#include "base/error.h"
#include "roulette.h"

/** Bytes that are quoted before and behind the fault. Each may take four characters. */
#define AROUND     40
#define QUOTE_SIZE (2 * AROUND * sizeof("\\x00") + sizeof("\"......\""))

static bool is_forbidden(char byte)
{
    return (uint8_t)byte <= 0x20 || byte == 0x7f;
}

/* Whether a token begins at `at` that is exactly `token`. */
static bool is_token(const char *name, size_t len, size_t at, char token)
{
    bool begins = at == 0 || name[at - 1] == '.';
    bool ends = at + 1 == len || name[at + 1] == '.';
    return name[at] == token && begins && ends;
}

/* Whether the dot at `at` ends or begins an empty token: the first or last byte, or the second of
 * two dots. */
static bool is_bad_dot(const char *name, size_t len, size_t at)
{
    return name[at] == '.' && (at == 0 || at + 1 == len || name[at - 1] == '.');
}

/* Find the fault that is told, in the order of the checks: a topic may have several. */
static size_t find(const char *name, size_t len, int error)
{
    for (size_t i = 0; i < len && error == ROULETTE_ETOPIC; i++) {
        if (is_forbidden(name[i])) {
            return i;
        }
    }
    for (size_t i = 0; i < len && error == ROULETTE_ETOPIC; i++) {
        if (is_bad_dot(name, len, i)) {
            return i;
        }
    }
    for (size_t i = 0; i < len; i++) {
        if (is_token(name, len, i, '>') ||
            (error == ROULETTE_EWILDCARD && is_token(name, len, i, '*'))) {
            return i;
        }
    }
    return len;
}

/* Whether a character of UTF-8 goes on at this byte: it is not cut there. */
static bool goes_on(char byte)
{
    return ((uint8_t)byte & 0xc0) == 0x80;
}

static void quote(const char *name, size_t len, size_t at, char *out, size_t size)
{
    size_t start = at > AROUND ? at - AROUND : 0;
    size_t end = rlt_min_size(len, at + AROUND);
    for (int i = 0; i < 3 && start != 0 && goes_on(name[start]); i++) {
        start++;
    }
    for (int i = 0; i < 3 && end != len && end > start && goes_on(name[end]); i++) {
        end--;
    }
    size_t used = (size_t)snprintf(out, size, "\"%s", start != 0 ? "..." : "");
    for (size_t i = start; i < end; i++) {
        bool shown = !is_forbidden(name[i]) || name[i] == ' ';
        used += (size_t)snprintf(out + used, size - used, shown ? "%c" : "\\x%02x",
                                 shown ? name[i] : (uint8_t)name[i]);
    }
    (void)snprintf(out + used, size - used, "%s\"", end != len ? "..." : "");
}

int rlt_topic_refuse(int error, const char *what, const char *verdict, const char *name, size_t len,
                     const char *reason)
{
    char quoted[QUOTE_SIZE];
    char where[64] = "";
    bool too_long = len > ROULETTE_TOPIC_LEN_MAX;
    size_t at = reason == NULL || too_long ? len : find(name, len, error);
    (void)quote(name, len, at == len ? 0 : at, quoted, sizeof(quoted));
    if (reason != NULL && too_long) {
        (void)snprintf(where, sizeof(where), ": it has %zu", len);
    } else if (at != len) {
        (void)snprintf(where, sizeof(where), ", at byte %zu of %zu", at + 1, len);
    }
    return rlt_error_set(error, "the %s %s %s: %s%s", what, quoted, verdict,
                         reason != NULL ? reason : roulette_error_text(error), where);
}
