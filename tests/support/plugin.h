/* SPDX-License-Identifier: MIT */
/**
 * A plugin of a host program that uses the library: built twice, with the static library inside and
 * with the shared one beside it. A host loads it with dlopen(), takes its `plugin` and unloads it.
 */
#ifndef RLT_TESTS_SUPPORT_PLUGIN_H
#define RLT_TESTS_SUPPORT_PLUGIN_H

#include "roulette.h"

struct plugin {
    /** Open a client of `servers`. Returns: as roulette_open(). */
    int (*open)(const char *servers, roulette_client **client);
    /** Publish a message. Returns: as roulette_publish(). */
    int (*publish)(roulette_client *client);
    /** Close the client without waiting, and free it. */
    void (*close)(roulette_client *client);
};

/** The name for dlsym(). */
#define PLUGIN_NAME "plugin"

#endif
