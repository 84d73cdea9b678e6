/* SPDX-License-Identifier: MIT */
/*
 * An entry is cut from left to right: scheme, credentials, host, port. The first fault ends the
 * parse with rlt_address_refuse().
 */
#include "proto/address.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "proto/address_entry.h"
#include "proto/text.h"

/** RFC 1035: a host name, and one label of it. */
#define HOST_LEN_MAX  253
#define LABEL_LEN_MAX 63

/* ---- Parts of an entry -------------------------------------------------------------------- */

/* Wipe, then free, a text that may be a password. */
static void free_secret(char *secret)
{
    if (secret != NULL) {
        OPENSSL_cleanse(secret, strlen(secret));
        rlt_memory_free(secret);
    }
}

static int hex_value(char byte)
{
    if (rlt_text_is_digit(byte)) {
        return byte - '0';
    }
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte that "%xx" stands for, or -1. */
static int escape_value(struct rlt_text text, size_t percent)
{
    if (text.len - percent < 3) {
        return -1;
    }
    int high = hex_value(text.bytes[percent + 1]);
    int low = hex_value(text.bytes[percent + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static int decode(const struct rlt_address_entry *entry, struct rlt_text text, char **decoded)
{
    char *out = rlt_memory_alloc(text.len + 1, 1);
    if (out == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.bytes[i];
        if (byte == '%') {
            int value = escape_value(text, i);
            if (value <= 0) {
                free_secret(out);
                return rlt_address_refuse(
                    entry, ROULETTE_ESERVERS,
                    value < 0 ? "the credentials have a '%%' that two hexadecimal digits "
                                "do not follow: write '%%' itself as %%25"
                              : "the credentials have a NUL byte (%%00): remove it");
            }
            byte = (char)value;
            i += 2;
        }
        out[len++] = byte;
    }
    *decoded = out;
    return 0;
}

/* Parse "user:password" or "token". */
static int parse_credentials(const struct rlt_address_entry *entry, struct rlt_text text,
                             struct rlt_address *address)
{
    size_t colon = rlt_text_find(text, ':');
    if (colon == 0) {
        return rlt_address_refuse(
            entry, ROULETTE_ESERVERS,
            "there is no user before the %s: write nats://user:password@host, or "
            "nats://token@host, or remove it",
            text.len == 0 ? "'@'" : "':'");
    }
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("/?#", text.bytes[i]) != NULL) {
            return rlt_address_refuse(entry, ROULETTE_ESERVERS,
                                      "the credentials have a '%c': write it as %%%02X",
                                      text.bytes[i], (unsigned int)text.bytes[i]);
        }
    }
    if (colon == text.len) {
        return decode(entry, text, &address->token);
    }
    int error = decode(entry, rlt_text_slice(text, 0, colon), &address->user);
    if (error < 0) {
        return error;
    }
    return decode(entry, rlt_text_slice(text, colon + 1, text.len), &address->password);
}

/* Check a host name, or an IPv4 address, which has the form of a name. */
static int parse_name(const struct rlt_address_entry *entry, struct rlt_text text, char **host)
{
    size_t label_len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.bytes[i];
        if (byte != '.' && byte != '-' && byte != '_' && !rlt_text_is_digit(byte) &&
            !rlt_text_is_letter(byte)) {
            return rlt_address_refuse(
                entry, ROULETTE_ESERVERS,
                "the host has other bytes than letters, digits, '-', '_' and '.'");
        }
        bool ends_empty = byte == '.' && label_len == 0;
        label_len = byte == '.' ? 0 : label_len + 1;
        if (ends_empty || label_len > LABEL_LEN_MAX) {
            return rlt_address_refuse(
                entry, ROULETTE_ESERVERS,
                "the host has a part between dots that is not 1 to %d bytes long", LABEL_LEN_MAX);
        }
    }
    if (text.len > HOST_LEN_MAX) {
        return rlt_address_refuse(entry, ROULETTE_ESERVERS, "the host is longer than %d bytes",
                                  HOST_LEN_MAX);
    }
    char *copy = rlt_memory_copy_text(text.bytes, text.len);
    if (copy == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    for (char *c = copy; *c != '\0'; c++) {
        *c = rlt_text_is_letter(*c) ? (char)(*c | 0x20) : *c;
    }
    *host = copy;
    return 0;
}

/* Keep an IPv6 address in the form of RFC 5952, so that two spellings of it are a duplicate. */
static int parse_v6(const struct rlt_address_entry *entry, struct rlt_text text, char **host)
{
    char spelled[INET6_ADDRSTRLEN] = "";
    struct in6_addr parsed;
    if (text.len < sizeof(spelled)) {
        memcpy(spelled, text.bytes, text.len);
    }
    if (inet_pton(AF_INET6, spelled, &parsed) != 1) {
        return rlt_address_refuse(
            entry, ROULETTE_ESERVERS,
            "what stands in brackets is not an IPv6 address (one with a zone is not "
            "supported)");
    }
    const char *canonical = inet_ntop(AF_INET6, &parsed, spelled, sizeof(spelled));
    RLT_ASSERT(canonical != NULL);
    *host = rlt_memory_copy_text(canonical, strlen(canonical));
    return *host != NULL ? 0 : rlt_error_set_plain(ROULETTE_ENOMEM);
}

/* Parse the host at the start of `text`; `*host_len` takes its length there. */
static int parse_host(const struct rlt_address_entry *entry, struct rlt_text text, char **host,
                      size_t *host_len)
{
    if (text.len != 0 && text.bytes[0] == '[') {
        size_t bracket = rlt_text_find(text, ']');
        if (bracket == text.len) {
            return rlt_address_refuse(entry, ROULETTE_ESERVERS,
                                      "the '[' has no ']': write [v6]:port");
        }
        *host_len = bracket + 1;
        return parse_v6(entry, rlt_text_slice(text, 1, bracket), host);
    }
    size_t len = 0;
    while (len < text.len && strchr(":/?#", text.bytes[len]) == NULL) {
        len++;
    }
    if (rlt_text_find(text, ':') != rlt_text_find_last(text, ':')) {
        return rlt_address_refuse(
            entry, ROULETTE_ESERVERS,
            "there are several ':': write an IPv6 address in brackets, [v6]:port, and "
            "credentials as user:password@host");
    }
    if (len == 0) {
        return rlt_address_refuse(entry, ROULETTE_ESERVERS, "there is no host: write host:port");
    }
    *host_len = len;
    return parse_name(entry, rlt_text_slice(text, 0, len), host);
}

/* Parse the text behind the host: nothing, or ":port". */
static int parse_port(const struct rlt_address_entry *entry, struct rlt_text text, uint16_t *port)
{
    if (text.len == 0) {
        *port = RLT_DEFAULT_PORT;
        return 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("/?#", text.bytes[i]) != NULL) {
            return rlt_address_refuse(
                entry, ROULETTE_ESERVERS,
                "nothing may follow host and port: remove '%c' and what is behind it",
                text.bytes[i]);
        }
    }
    bool valid = text.bytes[0] == ':' && text.len > 1 && text.len <= 1 + RLT_PORT_LEN_MAX;
    uint32_t value = 0;
    for (size_t i = 1; valid && i < text.len; i++) {
        valid = rlt_text_is_digit(text.bytes[i]);
        value = value * 10 + (uint32_t)(text.bytes[i] - '0');
    }
    if (!valid || value == 0 || value > UINT16_MAX) {
        return rlt_address_refuse(
            entry, ROULETTE_ESERVERS,
            "the port is not a number from 1 to 65535: correct it, or remove the ':' "
            "for port %d%s",
            RLT_DEFAULT_PORT,
            rlt_address_hides_port(entry) ? "; it is not shown, for it may be a password whose "
                                            "'@host' is missing"
                                          : "");
    }
    *port = (uint16_t)value;
    return 0;
}

static int make_label(struct rlt_address *address)
{
    bool v6 = strchr(address->host, ':') != NULL;
    char label[HOST_LEN_MAX + sizeof("[]:65535")];
    int len = snprintf(label, sizeof(label), "%s%s%s:%u", v6 ? "[" : "", address->host,
                       v6 ? "]" : "", (unsigned int)address->port);
    RLT_ASSERT(len > 0 && (size_t)len < sizeof(label));
    address->label = rlt_memory_copy_text(label, (size_t)len);
    return address->label != NULL ? 0 : rlt_error_set_plain(ROULETTE_ENOMEM);
}

/* ---- Entries ------------------------------------------------------------------------------ */

static int check_bytes(const struct rlt_address_entry *entry)
{
    if (entry->text.len == 0) {
        return rlt_address_refuse(entry, ROULETTE_ESERVERS,
                                  "it is empty: write host:port, or remove the ','");
    }
    for (size_t i = 0; i < entry->text.len; i++) {
        uint8_t byte = (uint8_t)entry->text.bytes[i];
        if (byte <= 0x20 || byte == 0x7f) {
            return rlt_address_refuse(
                entry, ROULETTE_ESERVERS,
                "it has a blank or control byte (0x%02x): remove it, or in credentials "
                "write it as %%%02X",
                byte, byte);
        }
    }
    return 0;
}

/* Cut "nats://" or "tls://" off. Returns: whether one was there. */
static int parse_scheme(const struct rlt_address_entry *entry, struct rlt_text *rest, bool *tls)
{
    size_t end = rlt_address_scheme_end(*rest);
    if (end == rest->len) {
        return 0;
    }
    struct rlt_text scheme = rlt_text_slice(*rest, 0, end);
    *tls = rlt_text_is(scheme, "tls");
    if (!*tls && !rlt_text_is(scheme, "nats")) {
        return rlt_address_refuse(entry, ROULETTE_ESERVERS,
                                  "its scheme is neither nats:// nor tls://");
    }
    *rest = rlt_text_slice(*rest, end + 3, rest->len);
    return 1;
}

static int parse_entry(const struct rlt_address_entry *entry, struct rlt_address *address)
{
    struct rlt_text rest = entry->text;
    int error = check_bytes(entry);
    int scheme = error < 0 ? error : parse_scheme(entry, &rest, &address->tls);
    if (scheme < 0) {
        return scheme;
    }
    size_t at = rlt_text_find_last(rest, '@');
    if (at != rest.len) {
        if (scheme == 0) {
            return rlt_address_refuse(
                entry, ROULETTE_ESERVERS,
                "credentials need the form nats://user:password@host, with a ',' in "
                "them as %%2C");
        }
        error = parse_credentials(entry, rlt_text_slice(rest, 0, at), address);
        if (error < 0) {
            return error;
        }
        rest = rlt_text_slice(rest, at + 1, rest.len);
    }
    size_t host_len = 0;
    error = parse_host(entry, rest, &address->host, &host_len);
    if (error < 0) {
        return error;
    }
    error = parse_port(entry, rlt_text_slice(rest, host_len, rest.len), &address->port);
    return error < 0 ? error : make_label(address);
}

static int check_duplicate(const struct rlt_address_entry *entry,
                           const struct rlt_address *addresses)
{
    const char *label = addresses[entry->number - 1].label;
    for (size_t i = 0; i < entry->number - 1; i++) {
        if (strcmp(addresses[i].label, label) == 0) {
            return rlt_address_refuse(entry, ROULETTE_ESERVERS,
                                      "it is the same server as entry %zu: remove one of them",
                                      i + 1);
        }
    }
    return 0;
}

/* Cut the first entry off `*rest`, with its comma. */
static struct rlt_address_entry next_entry(struct rlt_text *rest, size_t number)
{
    size_t comma = rlt_text_find(*rest, ',');
    struct rlt_text text = rlt_text_trim(rlt_text_slice(*rest, 0, comma));
    *rest = rlt_text_slice(*rest, comma < rest->len ? comma + 1 : comma, rest->len);
    struct rlt_text before_scheme = rlt_text_slice(*rest, 0, rlt_address_scheme_end(*rest));
    bool at_follows = rlt_text_find(before_scheme, '@') != before_scheme.len;
    return (struct rlt_address_entry){.text = text, .number = number, .in_credentials = at_follows};
}

static size_t count_entries(struct rlt_text list)
{
    size_t count = 1;
    for (size_t i = 0; i < list.len; i++) {
        count += list.bytes[i] == ',';
    }
    return count;
}

int rlt_addresses_parse(const char *list, struct rlt_address **addresses, size_t *count)
{
    if (list == NULL || list[strspn(list, " \t")] == '\0') {
        return rlt_error_set(ROULETTE_ESERVERS,
                             "servers is empty: give host:port of each cluster, with commas");
    }
    struct rlt_text rest = {list, strlen(list)};
    size_t entry_count = count_entries(rest);
    if (entry_count > RLT_CLUSTERS_MAX) {
        return rlt_error_set(ROULETTE_ESERVERS, "servers has %zu entries: give at most %d",
                             entry_count, RLT_CLUSTERS_MAX);
    }
    struct rlt_address *parsed = rlt_memory_alloc(entry_count, sizeof(*parsed));
    if (parsed == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    for (size_t i = 0; i < entry_count; i++) {
        struct rlt_address_entry entry = next_entry(&rest, i + 1);
        int error = parse_entry(&entry, &parsed[i]);
        error = error < 0 ? error : check_duplicate(&entry, parsed);
        if (error < 0) {
            rlt_addresses_free(parsed, entry_count);
            return error;
        }
    }
    *addresses = parsed;
    *count = entry_count;
    return 0;
}

void rlt_addresses_free(struct rlt_address *addresses, size_t count)
{
    if (addresses == NULL) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        rlt_memory_free(addresses[i].host);
        rlt_memory_free(addresses[i].user);
        free_secret(addresses[i].password);
        free_secret(addresses[i].token);
        rlt_memory_free(addresses[i].label);
    }
    rlt_memory_free(addresses);
}
