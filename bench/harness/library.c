/* SPDX-License-Identifier: MIT */
#include "harness/library.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/stop.h"

const struct library library_own = {
#define LIBRARY_OWN(name) .name = roulette_##name,
    LIBRARY_CALLS(LIBRARY_OWN)
#undef LIBRARY_OWN
        .message_size = sizeof(struct roulette_message),
};

static char before_path[PATH_MAX];

bool library_choose_before(const char *build)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/src/libroulette.so", build);
    /* Absolute, or the loader would look for it elsewhere; and all runs are of one file, even if
     * the link is changed meanwhile. */
    return len > 0 && (size_t)len < sizeof(path) && realpath(path, before_path) != NULL &&
           access(before_path, R_OK) == 0;
}

const char *library_before_path(void)
{
    return before_path[0] != '\0' ? before_path : NULL;
}

/* ---- A library whose sizes travel with each call ------------------------------------------- */

/* Of such a library: a struct's size is an argument. Its ledger has no room behind its counts, its
 * message ends with `internal`. */
static struct {
    size_t ledger_size;
    void (*options_init_sized)(struct roulette_options *options, size_t size);
    void (*subscriber_options_init_sized)(struct roulette_subscriber_options *options, size_t size);
    int (*stats_sized)(const roulette_client *client, size_t cluster, void *stats, size_t size);
    int (*receive_sized)(roulette_subscriber *subscriber, struct roulette_message *messages,
                         size_t message_size, size_t count, int timeout_ms);
    void (*release_sized)(roulette_subscriber *subscriber, struct roulette_message *messages,
                          size_t message_size, size_t count);
} sized;

#define SIZED_MESSAGE_SIZE offsetof(struct roulette_message, reserved)

static void sized_options_fill(struct roulette_options *options)
{
    sized.options_init_sized(options, options->size);
}

static void sized_subscriber_options_fill(struct roulette_subscriber_options *options)
{
    sized.subscriber_options_init_sized(options, options->size);
}

static int sized_stats_fill(const roulette_client *client, size_t cluster,
                            struct roulette_stats *stats)
{
    uint8_t theirs[sizeof(*stats)];
    size_t ledger = offsetof(struct roulette_stats, ledger);
    size_t rest = ledger + sizeof(stats->ledger);
    size_t size = sizeof(*stats) - sizeof(stats->ledger) + sized.ledger_size;
    int result = sized.stats_sized(client, cluster, theirs, size);
    if (result == 0) {
        memset(stats, 0, sizeof(*stats));
        stats->size = sizeof(*stats);
        memcpy(&stats->ledger, theirs + ledger, sized.ledger_size);
        memcpy((uint8_t *)stats + rest, theirs + ledger + sized.ledger_size, sizeof(*stats) - rest);
    }
    return result;
}

static int sized_receive(roulette_subscriber *subscriber, struct roulette_message *messages,
                         size_t count, int timeout_ms)
{
    return sized.receive_sized(subscriber, messages, SIZED_MESSAGE_SIZE, count, timeout_ms);
}

static void sized_release(roulette_subscriber *subscriber, struct roulette_message *messages,
                          size_t count)
{
    sized.release_sized(subscriber, messages, SIZED_MESSAGE_SIZE, count);
}

/* ---- Loading ------------------------------------------------------------------------------ */

/* The address of a function that is in this very file; NULL: there is none. */
static void *look_for(void *handle, const char *name)
{
    Dl_info info;
    char path[PATH_MAX];
    void *function = dlsym(handle, name);
    if (function == NULL) {
        return NULL;
    }
    if (dladdr(function, &info) == 0 || realpath(info.dli_fname, path) == NULL ||
        strcmp(path, before_path) != 0) {
        stop("%s() of %s is of another file", name, before_path);
    }
    return function;
}

static void *find(void *handle, const char *name)
{
    void *function = look_for(handle, name);
    if (function == NULL) {
        stop("%s lacks %s()", before_path, name);
    }
    return function;
}

/* C has no cast from an object's pointer to a function's; POSIX says they are alike. */
#define LIBRARY_FIND(table, name)                           \
    {                                                       \
        void *function = find(handle, "roulette_" #name);   \
        memcpy(&(table).name, &function, sizeof(function)); \
    }

/* Translate to a library whose sizes travel with each call. */
static void find_sized(void *handle, struct library *library)
{
    LIBRARY_FIND(sized, options_init_sized)
    LIBRARY_FIND(sized, subscriber_options_init_sized)
    LIBRARY_FIND(sized, stats_sized)
    LIBRARY_FIND(sized, receive_sized)
    LIBRARY_FIND(sized, release_sized)
    /* The ledger's count `denied` came together with roulette_cluster_error(). */
    sized.ledger_size = look_for(handle, "roulette_cluster_error") != NULL
                            ? offsetof(struct roulette_ledger, reserved)
                            : offsetof(struct roulette_ledger, denied);
    library->options_fill = sized_options_fill;
    library->subscriber_options_fill = sized_subscriber_options_fill;
    library->stats_fill = sized_stats_fill;
    library->receive = sized_receive;
    library->release = sized_release;
    library->message_size = SIZED_MESSAGE_SIZE;
}

const struct library *library_load_before(void)
{
    static struct library library;
    /* Both libraries have the same names. Deep binding: it calls its own functions, not those of
     * the one that this program is linked with, which come first otherwise. */
    void *handle = dlopen(before_path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (handle == NULL) {
        stop("%s", dlerror());
    }
#define LIBRARY_TAKE(name) LIBRARY_FIND(library, name)
    LIBRARY_SAME_CALLS(LIBRARY_TAKE)
    if (look_for(handle, "roulette_receive") == NULL) {
        find_sized(handle, &library);
        return &library;
    }
    LIBRARY_STRUCT_CALLS(LIBRARY_TAKE)
#undef LIBRARY_TAKE
    library.message_size = sizeof(struct roulette_message);
    return &library;
}
