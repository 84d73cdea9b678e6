/* SPDX-License-Identifier: MIT */
/**
 * A host program unloads a plugin that contains the library, or that is linked with it. What the
 * library has left in the process (threads, destructors of thread data, handlers) must not lead to
 * code that is gone, and loading the plugin again and again must not cost anything.
 *
 * No server is needed: nobody listens where these clients connect to.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/net.h"
#include "support/plugin.h"
#include "support/test.h"

/* Port 1 of loopback: connections are refused. */
#define NOBODY "127.0.0.1:1"

struct loaded {
    void *handle;
    const struct plugin *plugin;
};

static struct loaded load(const char *path)
{
    struct loaded loaded = {.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    cr_assert_not_null(loaded.handle, "%s", dlerror());
    loaded.plugin = dlsym(loaded.handle, PLUGIN_NAME);
    cr_assert_not_null((const void *)loaded.plugin);
    return loaded;
}

static void unload(const struct loaded *loaded)
{
    cr_assert_eq(dlclose(loaded->handle), 0, "%s", dlerror());
}

/* ---- A thread that outlives the plugin ---------------------------------------------------- */

struct publisher {
    const struct plugin *plugin;
    roulette_client *client;
    sem_t published;
    sem_t end;
};

static void *publish_and_stay(void *argument)
{
    struct publisher *publisher = argument;
    REQUIRE(publisher->plugin->publish(publisher->client) == 0);
    (void)sem_post(&publisher->published);
    while (sem_wait(&publisher->end) != 0) {
    }
    return NULL;
}

static void end_a_publisher_behind_it(const char *path)
{
    struct loaded loaded = load(path);
    struct publisher publisher = {.plugin = loaded.plugin};
    pthread_t thread;
    cr_assert_eq(sem_init(&publisher.published, 0, 0), 0);
    cr_assert_eq(sem_init(&publisher.end, 0, 0), 0);
    cr_assert_eq(loaded.plugin->open(NOBODY, &publisher.client), 0);
    cr_assert_eq(pthread_create(&thread, NULL, publish_and_stay, &publisher), 0);
    while (sem_wait(&publisher.published) != 0) {
    }
    loaded.plugin->close(publisher.client);
    unload(&loaded);
    (void)sem_post(&publisher.end);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    /* The handlers of fork() are called, too. */
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}

Test(unload, thread_that_published_ends_after_a_plugin_that_contains_the_library)
{
    end_a_publisher_behind_it(PLUGIN_STATIC);
}

Test(unload, thread_that_published_ends_after_a_plugin_that_is_linked_with_the_library)
{
    end_a_publisher_behind_it(PLUGIN_SHARED);
}

/* ---- A client that was forgotten ---------------------------------------------------------- */

/* The client connects to `listener`, and is hung up on. */
static void hang_up(int listener, int count)
{
    for (int i = 0; i < count; i++) {
        cr_assert(net_wait(listener, POLLIN, net_now_ms() + EVENTUALLY_MS), "no connection");
        int connection = accept(listener, NULL, NULL);
        cr_assert_geq(connection, 0);
        (void)close(connection);
    }
}

static void forget_a_client(const char *path)
{
    uint16_t port;
    char servers[32];
    int listener = net_listen(&port);
    cr_assert_geq(listener, 0);
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", port);
    struct loaded loaded = load(path);
    roulette_client *client;
    cr_assert_eq(loaded.plugin->open(servers, &client), 0);
    hang_up(listener, 1);
    unload(&loaded);
    /* Its event thread goes on, and connects again and again. */
    hang_up(listener, 3);
    loaded = load(path);
    cr_assert_eq(loaded.plugin->publish(client), 0);
    loaded.plugin->close(client);
    unload(&loaded);
    (void)close(listener);
}

Test(unload, client_in_a_plugin_that_contains_the_library_was_left_open)
{
    forget_a_client(PLUGIN_STATIC);
}

Test(unload, client_in_a_plugin_that_is_linked_with_the_library_was_left_open)
{
    forget_a_client(PLUGIN_SHARED);
}

/* ---- A lookup that is in progress --------------------------------------------------------- */

static sem_t lookup_began;
static sem_t lookup_may_end;
static sem_t lookup_ended;

/* In place of the C library's: the plugin's library finds this one first. A name takes as long as
 * a test likes; what is no name does not block, and goes on as ever. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    if (name != NULL && strcmp(name, "slow.test") == 0 && (hints->ai_flags & AI_NUMERICHOST) == 0) {
        (void)sem_post(&lookup_began);
        while (sem_wait(&lookup_may_end) != 0) {
        }
        (void)sem_post(&lookup_ended);
        return EAI_AGAIN;
    }
    typedef int function(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    function *next = (function *)dlsym(RTLD_NEXT, "getaddrinfo");
    return next(name, service, hints, list);
}

static size_t count_threads(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/task");
    REQUIRE(folder != NULL);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(folder);
    return count;
}

static void *do_nothing(void *context)
{
    return context;
}

static void end_a_lookup_behind_it(const char *path)
{
    pthread_t thread;
    /* A sanitizer may begin one of its own with the first that is created: before they are
     * counted. */
    cr_assert_eq(pthread_create(&thread, NULL, do_nothing, NULL), 0);
    (void)pthread_join(thread, NULL);
    size_t threads = count_threads();
    struct loaded loaded = load(path);
    roulette_client *client;
    cr_assert_eq(sem_init(&lookup_began, 0, 0), 0);
    cr_assert_eq(sem_init(&lookup_may_end, 0, 0), 0);
    cr_assert_eq(sem_init(&lookup_ended, 0, 0), 0);
    cr_assert_eq(loaded.plugin->open("slow.test:4222", &client), 0);
    while (sem_wait(&lookup_began) != 0) {
    }
    loaded.plugin->close(client);
    unload(&loaded);
    (void)sem_post(&lookup_may_end);
    while (sem_wait(&lookup_ended) != 0) {
    }
    /* The thread returns to the library, which had to stay for that. (The one that was joined may
     * have been counted.) */
    EVENTUALLY(count_threads() <= threads);
}

Test(unload, lookup_in_progress_ends_after_a_plugin_that_contains_the_library)
{
    end_a_lookup_behind_it(PLUGIN_STATIC);
}

Test(unload, lookup_in_progress_ends_after_a_plugin_that_is_linked_with_the_library)
{
    end_a_lookup_behind_it(PLUGIN_SHARED);
}

/* ---- Again and again ---------------------------------------------------------------------- */

#define LOADS        SCALED(5000, 200)
#define LOADS_BEFORE SCALED(500, 100) /* until the allocator has what it needs */
#define KIB_MORE     SCALED(1024, 65536)

static size_t resident_kib(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    REQUIRE(file != NULL && fscanf(file, "%*s %zu", &pages) == 1);
    (void)fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static size_t count_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        count += access(path, F_OK) == 0 ? 1 : 0;
    }
    return count;
}

static void load_and_use(const char *path)
{
    struct loaded loaded = load(path);
    roulette_client *client = NULL;
    int result = loaded.plugin->open(NOBODY, &client);
    cr_assert_eq(result, 0, "open: %d", result);
    result = loaded.plugin->publish(client);
    cr_assert_eq(result, 0, "publish: %d", result);
    loaded.plugin->close(client);
    unload(&loaded);
}

static void load_only(const char *path)
{
    struct loaded loaded = load(path);
    unload(&loaded);
}

static void require_no_cost(void (*cycle)(const char *path), const char *path)
{
    for (int i = 0; i < LOADS_BEFORE; i++) {
        cycle(path);
    }
    size_t kib = resident_kib();
    size_t threads = count_threads();
    size_t descriptors = count_descriptors();
    for (int i = LOADS_BEFORE; i < LOADS; i++) {
        cycle(path);
    }
    size_t kib_after = resident_kib();
    printf("%d loads: %zu KiB before, %zu KiB after\n", LOADS, kib, kib_after);
    cr_assert_leq(kib_after, kib + KIB_MORE, "%zu KiB before, %zu KiB after", kib, kib_after);
    cr_assert_eq(count_threads(), threads);
    cr_assert_eq(count_descriptors(), descriptors);
}

Test(unload, plugin_that_contains_the_library_is_used_many_times)
{
    require_no_cost(load_and_use, PLUGIN_STATIC);
}

Test(unload, plugin_that_is_linked_with_the_library_is_used_many_times)
{
    require_no_cost(load_and_use, PLUGIN_SHARED);
}

Test(unload, plugins_are_loaded_many_times_and_not_used)
{
    require_no_cost(load_only, PLUGIN_STATIC);
    require_no_cost(load_only, PLUGIN_SHARED);
}
