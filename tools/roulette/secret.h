/* SPDX-License-Identifier: MIT */
/**
 * Secrets that a command needs and that no command line may show: everybody can read it there.
 */
#ifndef RLT_TOOLS_SECRET_H
#define RLT_TOOLS_SECRET_H

#include "command.h"

/** The longest secret, with its NUL. */
#define SECRET_MAX 1024

/**
 * The first line of a file, which has no other. `option` and `what` are for complaints.
 *
 * Ownership: the caller wipes `secret`, here and below, also after a failure.
 * Returns:   0, or COMMAND_USAGE after complaining.
 */
int secret_of_file(const struct command *command, const char *option, const char *what,
                   const char *path, char secret[SECRET_MAX]);

/**
 * The password of --user: from --password-file, from the environment variable ROULETTE_PASSWORD,
 * or typed on the terminal, which does not show it.
 *
 * Returns: 0, or an enum command_exit after complaining.
 */
int secret_of_user(const struct command *command, const struct arguments *arguments,
                   char secret[SECRET_MAX]);

#endif
