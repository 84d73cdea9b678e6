/* SPDX-License-Identifier: MIT */
/**
 * The live clients of this process: for threads that end and give their lanes back, and for fork().
 *
 * In a child process the event threads do not exist, and the sockets are the parent's. So in the
 * child every client becomes RLT_CLIENT_FORKED (each call returns ROULETTE_EFORKED, only freeing
 * works), and its copies of the descriptors are closed: otherwise the servers would not see the
 * parent's connections end while a child lives.
 */
#ifndef RLT_API_REGISTRY_H
#define RLT_API_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "api/client.h"

/** Add a client. Returns: 0 or ROULETTE_ENOMEM. Threads: any thread. */
int rlt_registry_add(roulette_client *client);

/** Remove a client, if it was added. Threads: any thread. */
void rlt_registry_remove(roulette_client *client);

/** Keep clients from being removed. */
void rlt_registry_lock(void);
void rlt_registry_unlock(void);

/** Whether the client with this id lives. Threads: with the registry locked. */
bool rlt_registry_has(uint64_t client_id);

#endif
