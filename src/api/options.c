/* SPDX-License-Identifier: MIT */
#include "api/options.h"

#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "base/error.h"
#include "base/memory.h"
#include "lockfree/lane.h"
#include "lockfree/slab.h"
#include "lockfree/wire_queue.h"

static_assert(RLT_QUEUE_LANES == RLT_WIRE_LANES + 1, "one more for the shared lane");

#define TIMEOUT_MAX_MS    86400000 /* a day */
#define EVENT_THREADS_MAX 1024
#define DEFAULT_NAME      "roulette"

/* ---- The three kinds of options ----------------------------------------------------------- */

#define ADVICE(init) "fill them with " init " first"

static const struct rlt_sized_kind client_kind = {
    .name = "options",
    .advice = ADVICE("roulette_options_init()"),
    .size = offsetof(struct roulette_options, reserved),
    .size_min = rlt_end_of(struct roulette_options, servers),
};
const struct rlt_sized_kind rlt_subscriber_options_kind = {
    .name = "subscriber options",
    .advice = ADVICE("roulette_subscriber_options_init()"),
    .size = sizeof(struct roulette_subscriber_options),
    .size_min = rlt_end_of(struct roulette_subscriber_options, ring_slots),
};
const struct rlt_sized_kind rlt_subscription_options_kind = {
    .name = "subscription options",
    .advice = ADVICE("roulette_subscription_options_init()"),
    .size = offsetof(struct roulette_subscription_options, reserved),
    .size_min = rlt_end_of(struct roulette_subscription_options, user_data),
};

static_assert(rlt_end_of(struct roulette_options, reserved) == sizeof(struct roulette_options) &&
                  rlt_end_of(struct roulette_subscriber_options, pinned_bytes) ==
                      sizeof(struct roulette_subscriber_options) &&
                  rlt_end_of(struct roulette_subscription_options, reserved) ==
                      sizeof(struct roulette_subscription_options),
              "no padding at the end: see api/sized.h");

void roulette_options_fill(struct roulette_options *options)
{
    static const struct roulette_options defaults = {
        .ring = ROULETTE_RING_NATIVE,
        .name = DEFAULT_NAME,
        .pool_size = 1,
        .connection_timeout_ms = 5000,
        .ping_interval_ms = 5000,
        .max_ping_failure = 2,
        .held_back_max_ms = 30000,
        .confirm_ms = 50,
        .reconnect_interval_ms = 100,
        .base_backoff_ms = 10,
        .max_backoff_ms = 5000,
        .max_retry = 10,
        .subscription_restart = ROULETTE_RESTART_TEMPORARY,
        .tcp_nodelay = 1,
        .queue_bytes = (size_t)64 * 1024 * 1024,
        .slab_bytes = (size_t)256 * 1024,
        .slab_count = 128,
        .log_level = ROULETTE_LOG_WARNING,
        .role = ROULETTE_ROLE_BOTH,
        .guarantee = ROULETTE_AT_MOST_ONCE,
        .tls_verify = 1,
    };
    if (options != NULL) {
        rlt_sized_write(&client_kind, &defaults, options);
    }
}

void roulette_subscriber_options_fill(struct roulette_subscriber_options *options)
{
    static const struct roulette_subscriber_options defaults = {.ring_slots = 65536};
    if (options != NULL) {
        rlt_sized_write(&rlt_subscriber_options_kind, &defaults, options);
    }
}

void roulette_subscription_options_fill(struct roulette_subscription_options *options)
{
    static const struct roulette_subscription_options defaults = {.timeout_ms = 0};
    if (options != NULL) {
        rlt_sized_write(&rlt_subscription_options_kind, &defaults, options);
    }
}

/* ---- Ranges ------------------------------------------------------------------------------- */

/* A number that must lie in a range. */
struct range {
    const char *name;
    uint64_t value;
    uint64_t min;
    uint64_t max;
};

static int check_ranges(const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct range *range = &ranges[i];
        if (range->value < range->min || range->value > range->max) {
            return rlt_error_set(ROULETTE_EINVAL, "options.%s is %llu: give %llu to %llu",
                                 range->name, (unsigned long long)range->value,
                                 (unsigned long long)range->min, (unsigned long long)range->max);
        }
    }
    return 0;
}

static int check_numbers(const struct roulette_options *options)
{
    const struct range ranges[] = {
        {"ring", options->ring, ROULETTE_RING_NATIVE, ROULETTE_RING_ROULETTE},
        {"pool_size", options->pool_size, 1, RLT_POOL_MAX},
        {"connection_timeout_ms", options->connection_timeout_ms, 1, TIMEOUT_MAX_MS},
        {"ping_interval_ms", options->ping_interval_ms, 10, TIMEOUT_MAX_MS},
        {"max_ping_failure", options->max_ping_failure, 1, 15},
        {"reconnect_interval_ms", options->reconnect_interval_ms, 0, TIMEOUT_MAX_MS},
        {"base_backoff_ms", options->base_backoff_ms, 1, TIMEOUT_MAX_MS},
        {"max_backoff_ms", options->max_backoff_ms, 1, TIMEOUT_MAX_MS},
        {"max_retry", options->max_retry, 1, UINT32_MAX},
        {"subscription_restart", options->subscription_restart, ROULETTE_RESTART_TEMPORARY,
         ROULETTE_RESTART_PERMANENT},
        {"queue_bytes", options->queue_bytes, RLT_QUEUE_LANES * RLT_LANE_CAPACITY_MIN,
         RLT_QUEUE_LANES * RLT_LANE_CAPACITY_MAX},
        {"slab_bytes", options->slab_bytes, RLT_SLAB_BYTES_MIN, (uint64_t)16 * 1024 * 1024},
        {"slab_count", options->slab_count, 4, RLT_SLAB_COUNT_MAX},
        {"log_level", options->log_level, ROULETTE_LOG_ERROR, ROULETTE_LOG_DEBUG},
        {"role", options->role, ROULETTE_ROLE_BOTH, ROULETTE_ROLE_SUBSCRIBER},
        {"spin_us", options->spin_us, 0, 1000000},
        {"reconnect_hold_ms", options->reconnect_hold_ms, 0, TIMEOUT_MAX_MS},
        {"held_back_max_ms", options->held_back_max_ms, 0, TIMEOUT_MAX_MS},
        {"confirm_ms", options->confirm_ms, 0, TIMEOUT_MAX_MS},
        {"event_threads", options->event_threads, 0, EVENT_THREADS_MAX},
        {"tls", options->tls, 0, 1},
        {"tls_verify", options->tls_verify, 0, 1},
        {"tls_handshake_first", options->tls_handshake_first, 0, 1},
        {"tcp_nodelay", options->tcp_nodelay, 0, 1},
        {"guarantee", options->guarantee, ROULETTE_AT_MOST_ONCE, ROULETTE_AT_LEAST_ONCE},
    };
    int result = check_ranges(ranges, sizeof(ranges) / sizeof(ranges[0]));
    if (result == 0 && !rlt_is_power_of_two(options->slab_bytes)) {
        return rlt_error_set(ROULETTE_EINVAL, "options.slab_bytes is %zu: give a power of two",
                             options->slab_bytes);
    }
    if (result == 0 && !rlt_is_power_of_two(options->queue_bytes)) {
        return rlt_error_set(ROULETTE_EINVAL, "options.queue_bytes is %zu: give a power of two",
                             options->queue_bytes);
    }
    return result;
}

/* Copy one string behind the others; NULL stays NULL. */
static const char *copy(char **next, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *start = *next;
    memcpy(start, text, size);
    *next += size;
    return start;
}

static int copy_texts(const struct roulette_options *options, struct rlt_config *config,
                      char **texts)
{
    const char *sources[] = {options->name, options->user, options->password, options->token};
    size_t size = 1;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        size += sources[i] != NULL ? strlen(sources[i]) + 1 : 0;
    }
    *texts = rlt_memory_alloc(1, size);
    if (*texts == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    char *next = *texts;
    config->name = copy(&next, options->name);
    config->user = copy(&next, options->user);
    config->password = copy(&next, options->password);
    config->token = copy(&next, options->token);
    return 0;
}

/* ---- What a user gave --------------------------------------------------------------------- */

int rlt_options_complete(const struct roulette_options *given, struct roulette_options *options)
{
    roulette_options_init(options);
    int result = rlt_sized_read(&client_kind, given, options);
    options->name = options->name != NULL ? options->name : DEFAULT_NAME;
    return result;
}

int rlt_options_check(const struct roulette_options *options, struct rlt_config *config,
                      char **texts)
{
    if (options->credentials_file != NULL && options->nkey_seed != NULL) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "options.credentials_file and options.nkey_seed: give one of them");
    }
    int result = check_numbers(options);
    if (result < 0) {
        return result;
    }
    *config = (struct rlt_config){
        .connection_timeout_ns = options->connection_timeout_ms * RLT_NS_PER_MS,
        .ping_interval_ns = options->ping_interval_ms * RLT_NS_PER_MS,
        .reconnect_interval_ns = options->reconnect_interval_ms * RLT_NS_PER_MS,
        .reconnect_hold_ns = options->reconnect_hold_ms * RLT_NS_PER_MS,
        .held_back_max_ns = options->held_back_max_ms * RLT_NS_PER_MS,
        .confirm_ns = options->confirm_ms * RLT_NS_PER_MS,
        .base_backoff_ms = options->base_backoff_ms,
        .max_backoff_ms = options->max_backoff_ms,
        .max_ping_failure = options->max_ping_failure,
        .max_retry = options->max_retry,
        .restart = options->subscription_restart,
        .guarantee = options->guarantee,
        .role = options->role,
        .tls = options->tls != 0,
        .tls_first = options->tls_handshake_first != 0,
        .pool_size = options->pool_size,
        .lane_capacity = options->queue_bytes / RLT_QUEUE_LANES,
        .slab_bytes = options->slab_bytes,
        .slab_count = options->slab_count,
        .spin_ns = options->spin_us * RLT_NS_PER_US,
        .log = {options->log, options->log_context, options->log_level},
    };
    return copy_texts(options, config, texts);
}
