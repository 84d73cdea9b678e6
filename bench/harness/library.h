/* SPDX-License-Identifier: MIT */
/**
 * Builds of this library, as tables of the public functions that the bench calls: the one that it
 * is linked with, and an older one beside it.
 *
 * The structs are those of this build's header. A library of before roulette_receive() was an
 * exported function (its messages have 96 bytes, and sizes travel with each call) is translated to
 * it: see library.c.
 */
#ifndef BENCH_HARNESS_LIBRARY_H
#define BENCH_HARNESS_LIBRARY_H

#include <roulette.h>
#include <stdbool.h>
#include <stddef.h>

/** X(name): every function that is called, without its prefix. */
#define LIBRARY_SAME_CALLS(X) \
    X(last_error)             \
    X(error_text)             \
    X(open)                   \
    X(flush)                  \
    X(close)                  \
    X(free)                   \
    X(cluster_of)             \
    X(publish_wait)           \
    X(topic_create)           \
    X(topic_publish_wait)     \
    X(topic_free)             \
    X(subscriber_open)        \
    X(subscriber_close)       \
    X(subscriber_fd)          \
    X(subscribe)
#define LIBRARY_STRUCT_CALLS(X) \
    X(options_fill)             \
    X(subscriber_options_fill)  \
    X(stats_fill)               \
    X(receive)                  \
    X(release)
#define LIBRARY_CALLS(X) LIBRARY_SAME_CALLS(X) LIBRARY_STRUCT_CALLS(X)

/** As in library->open(&options, &client). */
struct library {
#define LIBRARY_FIELD(name) __typeof__(roulette_##name) *name;
    LIBRARY_CALLS(LIBRARY_FIELD)
#undef LIBRARY_FIELD
    size_t message_size; /* from one message of an array to the next */
};

/** The message of an array that a library's receive has filled. */
static inline const struct roulette_message *
library_message(const struct library *library, const struct roulette_message *first, size_t index)
{
    return (const struct roulette_message *)(const void *)((const char *)first +
                                                           index * library->message_size);
}

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
