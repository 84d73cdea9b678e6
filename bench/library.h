/* SPDX-License-Identifier: MIT */
/**
 * Builds of this library, as tables of the public functions that the bench calls: the one that it
 * is linked with, and an older one beside it.
 *
 * The structs are those of this build's header. Their size travels with each call, so that a
 * library with shorter ones still understands them.
 */
#ifndef BENCH_LIBRARY_H
#define BENCH_LIBRARY_H

#include <roulette.h>
#include <stdbool.h>

/** X(name): every function that is called, without its prefix. */
#define LIBRARY_CALLS(X)             \
    X(last_error)                    \
    X(error_text)                    \
    X(options_init_sized)            \
    X(open)                          \
    X(flush)                         \
    X(close)                         \
    X(free)                          \
    X(cluster_of)                    \
    X(stats_sized)                   \
    X(publish_wait)                  \
    X(topic_create)                  \
    X(topic_publish_wait)            \
    X(topic_free)                    \
    X(subscriber_options_init_sized) \
    X(subscriber_open)               \
    X(subscriber_close)              \
    X(subscriber_fd)                 \
    X(subscribe)                     \
    X(receive_sized)                 \
    X(release_sized)

/** As in library->open(&options, &client). */
struct library {
#define LIBRARY_FIELD(name) __typeof__(roulette_##name) *name;
    LIBRARY_CALLS(LIBRARY_FIELD)
#undef LIBRARY_FIELD
};

/** The build that this program is linked with. */
extern const struct library library_own;

/**
 * Choose the older build: a build folder, with the shared library in src/. It is not loaded yet.
 *
 * Returns: whether there is such a library.
 */
bool library_choose_before(const char *build);

/** The path of the older library, or NULL if none was chosen. */
const char *library_before_path(void);

/**
 * Load the older library into this process; it stays until the process ends.
 *
 * Returns: its table; ends the process with stop() if it cannot be loaded or lacks a function.
 */
const struct library *library_load_before(void);

#endif
