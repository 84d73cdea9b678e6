/* SPDX-License-Identifier: MIT */
/**
 * The nats-servers of the rows: the one of this machine, and a newer one, if there is one.
 */
#ifndef BENCH_HARNESS_NATS_RELEASE_H
#define BENCH_HARNESS_NATS_RELEASE_H

#include <stdbool.h>

/** Take this program as the newer nats-server. Returns: whether it is one. */
bool nats_release_choose_newer(const char *path);

/** The newer program, or NULL: rows with it cannot be run. */
const char *nats_release_newer_path(void);

/** As in "nats-server 2.15.1"; "newer nats-server" if there is none. */
const char *nats_release_newer_name(void);

/** As in "nats-server 2.9.10": the one that is started if none is chosen. */
const char *nats_release_name(void);

#endif
