/* SPDX-License-Identifier: MIT */
#include "proto/address_entry.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

/** Bytes of an entry that an error quotes; half of the error's text is left for the advice. */
#define QUOTE_LEN_MAX 160
#define HIDDEN        "***"

size_t rlt_address_scheme_end(struct rlt_text text)
{
    return rlt_text_find_word(text, "://");
}

/** The parts of an entry that an error shows. */
struct quote {
    char bytes[QUOTE_LEN_MAX + sizeof(HIDDEN) + sizeof("...")];
    size_t len;
};

static void quote_add(struct quote *quote, struct rlt_text text)
{
    for (size_t i = 0; i < text.len && quote->len < QUOTE_LEN_MAX; i++) {
        char byte = text.bytes[i];
        quote->bytes[quote->len++] = byte >= 0x20 && byte < 0x7f ? byte : '?';
    }
    if (quote->len == QUOTE_LEN_MAX) {
        memcpy(quote->bytes + quote->len, "...", 3);
        quote->len += 3;
    }
}

static void quote_hide(struct quote *quote)
{
    if (quote->len < QUOTE_LEN_MAX) {
        memcpy(quote->bytes + quote->len, HIDDEN, strlen(HIDDEN));
        quote->len += strlen(HIDDEN);
    }
}

/* The length that is shown of "host:port" without credentials before it. The text behind the host
 * may be a password whose "@host" was forgotten, so it is shown only if it is a short number. */
static size_t visible_len(struct rlt_text text)
{
    size_t bracket = rlt_text_find(text, ']');
    size_t start = bracket != text.len && text.bytes[0] == '[' ? bracket : 0;
    size_t colon = start + rlt_text_find(rlt_text_slice(text, start, text.len), ':');
    if (colon == text.len || text.len - colon - 1 > RLT_PORT_LEN_MAX) {
        return colon;
    }
    for (size_t i = colon + 1; i < text.len; i++) {
        if (!rlt_text_is_digit(text.bytes[i])) {
            return colon;
        }
    }
    return text.len;
}

bool rlt_address_hides_port(const struct rlt_address_entry *entry)
{
    struct rlt_text rest = entry->text;
    size_t scheme_len = rlt_address_scheme_end(rest);
    size_t start = scheme_len != rest.len ? scheme_len + 3 : 0;
    rest = rlt_text_slice(rest, start, rest.len);
    return rlt_text_find_last(rest, '@') == rest.len && visible_len(rest) != rest.len;
}

static struct quote quote_entry(const struct rlt_address_entry *entry)
{
    struct quote quote = {.len = 0};
    struct rlt_text rest = entry->text;
    size_t scheme_len = rlt_address_scheme_end(rest);
    struct rlt_text scheme = rlt_text_slice(rest, 0, scheme_len);
    /* Any other word before "://" may be the start of a password. */
    if (scheme_len != rest.len && (rlt_text_is(scheme, "nats") || rlt_text_is(scheme, "tls"))) {
        quote_add(&quote, rlt_text_slice(rest, 0, scheme_len + 3));
        rest = rlt_text_slice(rest, scheme_len + 3, rest.len);
    }
    size_t at = rlt_text_find_last(rest, '@');
    if (entry->in_credentials) {
        quote_hide(&quote);
    } else if (at != rest.len) {
        quote_hide(&quote);
        quote_add(&quote, rlt_text_slice(rest, at, rest.len));
    } else {
        size_t shown = visible_len(rest);
        quote_add(&quote, rlt_text_slice(rest, 0, shown));
        if (shown != rest.len) {
            quote_add(&quote, (struct rlt_text){":", 1});
            quote_hide(&quote);
        }
    }
    return quote;
}

int rlt_address_refuse(const struct rlt_address_entry *entry, int error, const char *format, ...)
{
    char advice[RLT_ERROR_TEXT_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(advice, sizeof(advice), format, arguments);
    va_end(arguments);
    struct quote quote = quote_entry(entry);
    return rlt_error_set(error, "servers, entry %zu \"%.*s\": %s", entry->number, (int)quote.len,
                         quote.bytes, advice);
}
