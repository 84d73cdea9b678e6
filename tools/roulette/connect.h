/* SPDX-License-Identifier: MIT */
/**
 * A client for a command line, and what to tell a person about its connections.
 */
#ifndef RLT_TOOLS_CONNECT_H
#define RLT_TOOLS_CONNECT_H

#include <stddef.h>
#include <stdint.h>

#include "command.h"
#include "roulette.h"

/** The options that a command line asks for. With -v, the log goes to stderr. */
struct roulette_options connect_options(const struct arguments *arguments);

/**
 * Open a client with the seed of --nkey or the password of --user, if that was given. Does not
 * wait for connections.
 *
 * Ownership: roulette_close() and roulette_free() end it.
 * Returns:   0, or an enum command_exit after complaining.
 */
int connect_open(const struct command *command, const struct arguments *arguments,
                 const struct roulette_options *options, roulette_client **client);

/** The exit code for an error of the library: the caller's mistake, or the world's. */
int connect_exit_code(int error);

/** Whether all connections to a cluster are established. */
bool connect_is_connected(const roulette_client *client, size_t cluster, uint32_t pool_size);

/** Which cluster is not connected, why, and what to change. Valid until the next call. */
const char *connect_reason(const roulette_client *client, size_t cluster);

/** Let an attempt to connect end a little before `timeout_ms`: then its reason can be told. */
void connect_hurry(struct roulette_options *options, int timeout_ms);

/** Milliseconds of CLOCK_MONOTONIC. */
uint64_t connect_now_ms(void);

/** What is left until a deadline, at least 0. */
int connect_left_ms(uint64_t deadline_ms);

#endif
