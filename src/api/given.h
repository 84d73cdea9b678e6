/* SPDX-License-Identifier: MIT */
/**
 * The handles that the application was given and has not given back: clients, subscribers and
 * topics. A handle that is closed or freed twice is found here, without a look at memory that is
 * not its any more.
 *
 * Threads: any thread; one lock for all (that of the registry, so that a child process can go on).
 */
#ifndef RLT_API_GIVEN_H
#define RLT_API_GIVEN_H

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_given_add(const void *handle);

/** The handle is given back to `call`. Ends the process if it is not one that was given. */
void rlt_given_take(const void *handle, const char *call);

#endif
