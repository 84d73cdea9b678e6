/* SPDX-License-Identifier: MIT */
/**
 * The handles that the application was given and has not given back: clients, subscribers and
 * topics. So a handle that is closed or freed twice is recognised without a look at freed memory.
 *
 * Threads: any thread; under the registry's lock, so that a child process can go on.
 */
#ifndef RLT_API_GIVEN_H
#define RLT_API_GIVEN_H

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_given_add(const void *handle);

/** Take a handle back, in `call`. Ends the process if the handle was not given. */
void rlt_given_take(const void *handle, const char *call);

#endif
