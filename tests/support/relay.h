/* SPDX-License-Identifier: MIT */
/**
 * A man in the middle: it relays one connection after the other to a server, records each byte
 * that the client sends, and can strip the word of TLS from what the server says.
 */
#ifndef RLT_TESTS_SUPPORT_RELAY_H
#define RLT_TESTS_SUPPORT_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct relay;

/** Listen on a free port of 127.0.0.1 for a server at `target`. Aborts if that does not work. */
struct relay *relay_start(uint16_t target);

/** End all connections and the relay. NULL is allowed. */
void relay_stop(struct relay *relay);

uint16_t relay_port(const struct relay *relay);

/** Whether INFO of later connections loses `"tls_required":true`. */
void relay_set_stripping(struct relay *relay, bool stripping);

/** How many connections there were so far. */
size_t relay_count(struct relay *relay);

/**
 * Whether each connection from the `first` on was one that says nothing, or speaks TLS: nothing,
 * or records of TLS from the first byte to the last.
 */
bool relay_is_silent_or_tls(struct relay *relay, size_t first);

/** How many bytes the clients sent over the connections from the `first` on. */
size_t relay_bytes(struct relay *relay, size_t first);

/** Over how many connections the client sent `text`. */
size_t relay_occurrences(struct relay *relay, const char *text);

#endif
