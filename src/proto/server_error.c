/* SPDX-License-Identifier: MIT */
#include "proto/server_error.h"

#include <string.h>

#include "roulette.h"

static const struct {
    const char *prefix;
    enum rlt_reaction reaction;
    int error;
} known[] = {
    {"Permissions Violation for Publish to ", RLT_REACTION_REPORT, ROULETTE_EPERMISSION},
    {"Permissions Violation for Publish with Reply of ", RLT_REACTION_REPORT, ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to ", RLT_REACTION_SUBSCRIPTION, ROULETTE_EPERMISSION},
    {"Invalid Subject", RLT_REACTION_SUBSCRIPTION, ROULETTE_ETOPIC},
    {"Invalid Publish Subject", RLT_REACTION_REPORT, ROULETTE_ETOPIC},
    {"Maximum Subscriptions Exceeded", RLT_REACTION_SUBSCRIPTION, ROULETTE_ESERVER},
    {"Stale Connection", RLT_REACTION_RECONNECT, ROULETTE_ESTALE},
    {"Authorization Violation", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    {"User Authentication Expired", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    {"User Authentication Revoked", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    {"Account Authentication Expired", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    /* The server was busy or the network slow: the credentials were not looked at. */
    {"Authentication Timeout", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Maximum Connections Exceeded", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Maximum Account Active Connections Exceeded", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Connection Throttling Is Active", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Maximum Payload Violation", RLT_REACTION_RECONNECT, ROULETTE_EPAYLOAD},
    {"Maximum Control Line Exceeded", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Unknown Protocol Operation", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Secure Connection - TLS Required", RLT_REACTION_RECONNECT, ROULETTE_ENOTSUP},
    {"Invalid Client Protocol", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"No Responders Requires Headers Support", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Failed Account Registration", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    /* Route, leaf node or gateway port. */
    {"Attempted to Connect to ", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
};

/** The rest of a text. */
struct rest {
    const char *text;
    size_t len;
};

/** Fold ASCII letters only: tolower() depends on the process's locale. */
static char to_lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
}

/** Skip a prefix, in any case; false if it is not there. */
static bool skip(struct rest *rest, const char *prefix)
{
    size_t len = strlen(prefix);
    if (rest->len < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (to_lower(rest->text[i]) != to_lower(prefix[i]))
            return false;
    }
    rest->text += len;
    rest->len -= len;
    return true;
}

/**
 * Skip a text in double quotes. The server writes the text as Go's %q does: a quote, a backslash
 * and bytes that do not print stand behind a backslash. An escaped text is not the topic as it was
 * sent, so it counts as none.
 */
static bool skip_quoted(struct rest *rest, const char **text, size_t *len)
{
    bool is_escaped = false;
    if (rest->len == 0 || rest->text[0] != '"')
        return false;
    for (size_t i = 1; i < rest->len; i++) {
        if (rest->text[i] == '\\') {
            is_escaped = true;
            i++;
        } else if (rest->text[i] == '"') {
            *text = is_escaped || i == 1 ? NULL : rest->text + 1;
            *len = *text != NULL ? i - 1 : 0;
            rest->text += i + 1;
            rest->len -= i + 1;
            return true;
        }
    }
    return false;
}

/** Read the names in quotes behind a permissions violation. */
static void read_names(struct rest *rest, struct rlt_server_error *result)
{
    const char *start = rest->text;
    if (!skip_quoted(rest, &result->topic, &result->topic_len))
        return;
    result->quoted = start + 1;
    result->quoted_len = (size_t)(rest->text - start) - 2;
    if (skip(rest, " using queue ") &&
        (!skip_quoted(rest, &result->queue, &result->queue_len) || result->queue == NULL)) {
        result->topic = NULL; /* without its queue group it would name another interest */
        result->topic_len = 0;
    }
    if (!skip(rest, " (sid \""))
        return;
    while (rest->len != 0 && rest->text[0] >= '0' && rest->text[0] <= '9' &&
           result->sid <= UINT64_MAX / 10 - 1) {
        result->sid = result->sid * 10 + (uint64_t)(rest->text[0] - '0');
        rest->text++;
        rest->len--;
    }
    if (!skip(rest, "\")"))
        result->sid = 0;
}

static enum rlt_line_fault fault_of(const char *prefix)
{
    static const struct {
        const char *prefix;
        enum rlt_line_fault fault;
    } faults[] = {
        {"Maximum Control Line Exceeded", RLT_LINE_FAULT_LENGTH},
        {"Maximum Payload Violation", RLT_LINE_FAULT_PAYLOAD},
        {"Unknown Protocol Operation", RLT_LINE_FAULT_OTHER},
        {"Invalid Client Protocol", RLT_LINE_FAULT_OTHER},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (strcmp(prefix, faults[i].prefix) == 0)
            return faults[i].fault;
    }
    return RLT_LINE_FAULT_NONE;
}

static const char *advice_of(const char *prefix)
{
    static const struct {
        const char *prefix;
        const char *advice;
    } advices[] = {
        {"Maximum Connections Exceeded", "raise its max_connections, or close other clients"},
        {"Maximum Account Active Connections Exceeded",
         "raise the account's limit of connections, or close other clients"},
        {"Maximum Payload Violation", "publish smaller messages, or raise its max_payload"},
        {"Maximum Control Line Exceeded",
         "use shorter topics or credentials, or raise its max_control_line"},
        {"Authentication Timeout", "see how busy it is, or raise its authorization timeout"},
        {"Secure Connection - TLS Required", "set options.tls or write the server as tls://"},
        {"Attempted to Connect to ", "correct the port: this one is not for clients"},
        {"Connection Throttling Is Active", "wait, or see its log"},
    };
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
        if (strcmp(prefix, advices[i].prefix) == 0)
            return advices[i].advice;
    }
    return "";
}

struct rlt_server_error rlt_server_error_classify(const char *text, size_t len)
{
    struct rlt_server_error result = {
        .reaction = RLT_REACTION_REPORT, .error = ROULETTE_ESERVER, .advice = ""};
    struct rest rest = {text, len};
    size_t i = 0;
    while (i < sizeof known / sizeof known[0] && !skip(&rest, known[i].prefix))
        i++;
    if (i == sizeof known / sizeof known[0])
        return result;

    result.reaction = known[i].reaction;
    result.error = known[i].error;
    result.fault = fault_of(known[i].prefix);
    result.by_reply = strstr(known[i].prefix, "with Reply of") != NULL;
    result.advice = advice_of(known[i].prefix);
    if (result.error == ROULETTE_EPERMISSION)
        read_names(&rest, &result);
    return result;
}

/* Read the value of `count` hexadecimal digits; UINT32_MAX if they are none. */
static uint32_t read_hex(const char *text, size_t count)
{
    uint32_t value = 0;
    for (size_t i = 0; i < count; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = text[i] != '\0' ? strchr(digits, to_lower(text[i])) : NULL;
        if (digit == NULL)
            return UINT32_MAX;
        value = value << 4 | (uint32_t)(digit - digits);
    }
    return value;
}

/* Write a code point as UTF-8. Returns: how many bytes, 4 at most. */
static size_t write_utf8(uint32_t code, char *out)
{
    static const uint8_t firsts[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(firsts[len] | code);
    return len;
}

/* Undo one escape, behind the backslash. `out` has room for 4 bytes. Returns: a length; 0: bad. */
static size_t unescape(const char *text, size_t len, char *out, size_t *written)
{
    static const char names[] = "abfnrtv\\\"";
    static const char values[] = "\a\b\f\n\r\t\v\\\"";
    const char *name = len != 0 && text[0] != '\0' ? strchr(names, text[0]) : NULL;
    *written = 1;
    if (name != NULL) {
        out[0] = values[name - names];
        return 1;
    }
    size_t digits = len == 0 ? 0 : text[0] == 'x' ? 2 : text[0] == 'u' ? 4 : text[0] == 'U' ? 8 : 0;
    uint32_t code = digits != 0 && len > digits ? read_hex(text + 1, digits) : UINT32_MAX;
    if (code > 0x10ffff)
        return 0;
    if (digits == 2)
        out[0] = (char)code;
    else
        *written = write_utf8(code, out);
    return digits + 1;
}

size_t rlt_server_error_unquote(const char *quoted, size_t len, char *name, size_t size)
{
    size_t name_len = 0;
    for (size_t i = 0; quoted != NULL && i < len;) {
        char bytes[4] = {quoted[i]};
        size_t count = 1;
        size_t taken = 1;
        if (quoted[i] == '\\') {
            taken = unescape(quoted + i + 1, len - i - 1, bytes, &count);
            if (taken == 0)
                return 0;
            taken++;
        }
        if (name_len + count > size)
            return 0;
        memcpy(name + name_len, bytes, count);
        name_len += count;
        i += taken;
    }
    return name_len;
}
