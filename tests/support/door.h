/* SPDX-License-Identifier: MIT */
/**
 * A door to a server that slams: it relays any number of connections at once, and cuts each at a
 * random moment, so that clients are always about to connect.
 */
#ifndef RLT_TESTS_SUPPORT_DOOR_H
#define RLT_TESTS_SUPPORT_DOOR_H

#include <stdint.h>

struct door;

/** Listen on a free port of 127.0.0.1 for a server at `target`. Aborts if that does not work.
 *  Each connection lives 1 to `most_ms` milliseconds. */
struct door *door_open(uint16_t target, unsigned most_ms);

/** End all connections. NULL is allowed. */
void door_close(struct door *door);

uint16_t door_port(const struct door *door);

#endif
