/* SPDX-License-Identifier: MIT */
#include "support/plugin.h"

extern const struct plugin plugin;

static int plugin_open(const char *servers, roulette_client **client)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = servers;
    options.queue_bytes = 1 << 20;
    return roulette_open(&options, client);
}

static int plugin_publish(roulette_client *client)
{
    return roulette_publish(client, "plugin", ROULETTE_STRLEN, "hello", 5);
}

static void plugin_close(roulette_client *client)
{
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
}

const struct plugin plugin = {
    .open = plugin_open,
    .publish = plugin_publish,
    .close = plugin_close,
};
