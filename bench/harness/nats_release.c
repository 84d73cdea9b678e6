/* SPDX-License-Identifier: MIT */
#include "harness/nats_release.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE    64
#define COMMAND_SIZE 4200

static const char *newer_path;
static char newer_name[NAME_SIZE] = "newer nats-server";

/* Ask a command such as "nats-server --version" for its version. False if it has none. */
static bool ask(const char *command, char name[NAME_SIZE])
{
    char line[NAME_SIZE];
    char version[32];
    FILE *output = popen(command, "re");
    bool found = output != NULL && fgets(line, sizeof(line), output) != NULL &&
                 sscanf(line, "nats-server: v%31s", version) == 1;
    if (output != NULL) {
        (void)pclose(output);
    }
    if (found) {
        (void)snprintf(name, NAME_SIZE, "nats-server %s", version);
    }
    return found;
}

bool nats_release_choose_newer(const char *path)
{
    char command[COMMAND_SIZE];
    int len = snprintf(command, sizeof(command), "'%s' --version", path);
    if (strchr(path, '\'') != NULL || len < 0 || (size_t)len >= sizeof(command) ||
        !ask(command, newer_name)) {
        return false;
    }
    newer_path = path;
    return true;
}

const char *nats_release_newer_path(void)
{
    return newer_path;
}

const char *nats_release_newer_name(void)
{
    return newer_name;
}

const char *nats_release_name(void)
{
    static char name[NAME_SIZE] = "";
    /* As support/nats_server.h says which one is started. */
    if (name[0] == '\0' &&
        !ask("PATH=\"$PATH:/usr/sbin\"; \"${ROULETTE_NATS_SERVER:-nats-server}\" --version",
             name)) {
        (void)snprintf(name, sizeof(name), "nats-server of unknown version");
    }
    return name;
}
