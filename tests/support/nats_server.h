/* SPDX-License-Identifier: MIT */
/**
 * Real nats-server processes for integration tests, on free ports of 127.0.0.1.
 *
 * No server outlives its test: the kernel kills it when the thread that started it ends (so start
 * servers from the test's own thread). The log is kept in memory and printed when anything fails.
 *
 * The program is "nats-server", as PATH or /usr/sbin have it, or the one that the environment
 * variable ROULETTE_NATS_SERVER names: tools/servers fetches other versions.
 */
#ifndef RLT_TESTS_SUPPORT_NATS_SERVER_H
#define RLT_TESTS_SUPPORT_NATS_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct nats_server;

/**
 * Start a server and wait until it greets with INFO. `extra_args` is a NULL-terminated list of
 * further arguments, or NULL.
 *
 * Ownership: nats_server_stop() ends it. The arguments are copied.
 * Returns:   the server; NULL after printing why, with the log.
 */
struct nats_server *nats_server_start(const char *const *extra_args);

/** The client port; the same after a restart. */
uint16_t nats_server_port(const struct nats_server *server);

/** The port of the HTTP monitor. */
uint16_t nats_server_monitor_port(const struct nats_server *server);

/**
 * Send a signal. After SIGKILL, SIGTERM or SIGINT, wait until the process has ended, after
 * SIGSTOP until it stands still.
 *
 * Returns: whether the signal was sent and, for these four, what is waited for has happened.
 */
bool nats_server_kill(struct nats_server *server, int signal);

/** Start a server again that was killed, on the same ports. Returns: whether it greets. */
bool nats_server_restart(struct nats_server *server);

/** The name it was started with: a configuration that is reloaded has to say it again. */
const char *nats_server_name(const struct nats_server *server);

/** Make it read its configuration again. Returns: whether it took it. */
bool nats_server_reload(struct nats_server *server);

/** End the process (SIGTERM, then SIGKILL) and free the server. NULL is allowed. */
void nats_server_stop(struct nats_server *server);

/**
 * GET a path of the HTTP monitor, such as "/connz?subs=1", "/subsz" or "/varz".
 *
 * Ownership: the caller's; free() it.
 * Returns:   the body, NUL-terminated; NULL after printing why, with the log.
 */
char *nats_server_get(struct nats_server *server, const char *path);

/** As nats_server_get(), parsed. Ownership: the caller's; json_decref() it. */
json_t *nats_server_json(struct nats_server *server, const char *path);

/** Print what the server logged to stderr. */
void nats_server_print_log(const struct nats_server *server);

#endif
