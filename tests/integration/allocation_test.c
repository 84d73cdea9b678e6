/* SPDX-License-Identifier: MIT */
/**
 * The data path allocates nothing after warm-up, in no thread.
 *
 * Two watchmen: the gate of base/memory.h refuses every allocation of the library, and without
 * sanitizers the heap functions of this executable count every call in the process, of libc and
 * of other libraries too.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    SERVERS = 3,
    MESSAGES = SCALED(1000000, 60000),
    WARM_UP = 20000,
    TOPICS = 30,
    SMALL_MAX = 600,
    LARGE_EVERY = 5000,
    LARGE_LEN = 600 * 1000, /* more than two slabs */
    IN_FLIGHT = 2000,
    BATCH = 64,
};

/* ---- The heap ----------------------------------------------------------------------------- */

static atomic_bool counting;
static atomic_ulong heap_calls;
static atomic_ulong refused;

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    atomic_fetch_add(&refused, 1);
    return 0;
}

#ifndef TEST_SANITIZED

/* glibc's own, under the names that it keeps for this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static void note(void)
{
    if (atomic_load_explicit(&counting, memory_order_relaxed)) {
        atomic_fetch_add(&heap_calls, 1);
    }
}

void *malloc(size_t size)
{
    note();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    note();
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    note();
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
    note();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    note();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    note();
    *block = __libc_memalign(alignment, size);
    return *block != NULL ? 0 : ENOMEM;
}

void free(void *block)
{
    if (block != NULL) {
        note();
    }
    __libc_free(block);
}

#endif

static void watch(bool on)
{
    if (on) {
        rlt_memory_set_gate(refuse, NULL);
    }
    atomic_store(&counting, on);
    if (!on) {
        rlt_memory_set_gate(NULL, NULL);
    }
}

/* ---- Load --------------------------------------------------------------------------------- */

static char payload[LARGE_LEN];

struct load {
    roulette_client *client;
    roulette_subscriber *subscriber;
    struct {
        char text[16];
        size_t len;
        roulette_topic *handle;
    } topics[TOPICS];
    uint64_t large;
};

static size_t payload_len(uint64_t n)
{
    return n % LARGE_EVERY == LARGE_EVERY - 1 ? LARGE_LEN : n * 37 % SMALL_MAX;
}

static void publish_one(struct load *load, uint64_t n)
{
    size_t topic = n % TOPICS;
    int result = n % 2 == 0 ? roulette_topic_publish_wait(load->topics[topic].handle, payload,
                                                          payload_len(n), EVENTUALLY_MS)
                            : roulette_publish_wait(load->client, load->topics[topic].text,
                                                    load->topics[topic].len, payload,
                                                    payload_len(n), EVENTUALLY_MS);
    REQUIRE(result == 0, "%s", roulette_error_name(result));
}

/* Receive what is there, waiting for at least one message. Returns: how many. */
static uint64_t receive_some(struct load *load, struct roulette_message *messages)
{
    int count = roulette_receive(load->subscriber, messages, BATCH, EVENTUALLY_MS);
    REQUIRE(count > 0, "%s", roulette_error_name(count));
    for (int i = 0; i < count; i++) {
        REQUIRE(messages[i].kind == ROULETTE_KIND_MESSAGE, "notice %d", messages[i].kind);
        load->large += messages[i].payload_len == LARGE_LEN ? 1 : 0;
    }
    roulette_release(load->subscriber, messages, (size_t)count);
    return (uint64_t)count;
}

static void run(struct load *load, uint64_t count)
{
    static struct roulette_message messages[BATCH];
    uint64_t received = 0;
    for (uint64_t n = 0; n < count; n++) {
        publish_one(load, n);
        while (n + 1 - received > IN_FLIGHT) {
            received += receive_some(load, messages);
        }
    }
    while (received < count) {
        received += receive_some(load, messages);
    }
    /* Also what finds nothing, and what polls. */
    REQUIRE(roulette_receive(load->subscriber, messages, BATCH, 0) == 0);
    REQUIRE(roulette_receive(load->subscriber, messages, BATCH, 1) == 0);
}

static void set_up(struct load *load, const struct fleet *fleet)
{
    struct roulette_options options = fleet_options(fleet);
    options.ping_interval_ms = 100; /* pings are on the path too */
    load->client = fleet_open(&options);
    load->subscriber = fleet_subscriber(load->client, 0);
    for (size_t i = 0; i < TOPICS; i++) {
        load->topics[i].len =
            (size_t)snprintf(load->topics[i].text, sizeof(load->topics[i].text), "topic.%zu", i);
        cr_assert_eq(roulette_topic_create(load->client, load->topics[i].text, load->topics[i].len,
                                           &load->topics[i].handle),
                     0);
    }
    cr_assert_eq(roulette_subscribe(load->subscriber, "topic.*", ROULETTE_STRLEN, NULL, NULL), 0);
    cr_assert_eq(roulette_flush(load->client, EVENTUALLY_MS, NULL, 0), 0);
}

Test(allocation, data_path_allocates_nothing_after_warm_up)
{
    struct fleet fleet;
    static struct load load;
    fleet_start(&fleet, SERVERS);
    set_up(&load, &fleet);
    run(&load, WARM_UP);
    load.large = 0;
    watch(true);
    run(&load, MESSAGES);
    watch(false);
    uint64_t runs = 0;
    for (size_t i = 0; i < SERVERS; i++) {
        struct roulette_stats stats = fleet_stats(load.client, i);
        cr_assert_eq(stats.dropped_ring_full + stats.dropped_pinned + stats.dropped_oversized, 0);
        runs += stats.joins;
    }
    printf("allocation: %d messages, %llu of them larger than a slab, %llu joins: %lu heap calls, "
           "%lu allocations of the library\n",
           MESSAGES, (unsigned long long)load.large, (unsigned long long)runs,
           atomic_load(&heap_calls), atomic_load(&refused));
    cr_assert_eq(load.large, MESSAGES / LARGE_EVERY);
    cr_assert_eq(atomic_load(&refused), 0);
    cr_assert_eq(atomic_load(&heap_calls), 0);
    for (size_t i = 0; i < TOPICS; i++) {
        roulette_topic_free(load.topics[i].handle);
    }
    roulette_subscriber_close(load.subscriber);
    fleet_close(load.client);
    fleet_stop(&fleet);
}

/* The watchmen are awake: what allocates is seen by both. */
Test(allocation, subscribing_is_seen_to_allocate)
{
    struct fleet fleet;
    static struct load load;
    fleet_start(&fleet, 1);
    set_up(&load, &fleet);
    watch(true);
    int result = roulette_subscribe(load.subscriber, "another", ROULETTE_STRLEN, NULL, NULL);
    watch(false);
    cr_assert_eq(result, ROULETTE_ENOMEM);
    cr_assert_gt(atomic_load(&refused), 0);
    atomic_store(&counting, true);
    _Atomic(void *) block = malloc(1); /* so that no compiler leaves it out */
    free(atomic_load(&block));
    atomic_store(&counting, false);
#ifndef TEST_SANITIZED
    cr_assert_geq(atomic_load(&heap_calls), 2);
#endif
    for (size_t i = 0; i < TOPICS; i++) {
        roulette_topic_free(load.topics[i].handle);
    }
    roulette_subscriber_close(load.subscriber);
    fleet_close(load.client);
    fleet_stop(&fleet);
}
