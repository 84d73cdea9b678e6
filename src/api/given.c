/* SPDX-License-Identifier: MIT */
#include "api/given.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/registry.h"
#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

#define CAPACITY_FIRST 64

/* A set with open addressing: a handle is between its home and the next free slot. At most half of
 * the slots are taken. All under the registry's lock. */
static const void **slots;
static size_t capacity; /* a power of two, or 0 */
static size_t count;

static size_t home_of(const void *handle)
{
    /* Fibonacci hashing: the low bits of a pointer say little. */
    uint64_t hash = (uint64_t)(uintptr_t)handle * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (capacity - 1);
}

/* The slot of a handle, or the free slot where it would be. */
static size_t find(const void *handle)
{
    size_t i = home_of(handle);
    while (slots[i] != NULL && slots[i] != handle) {
        i = (i + 1) & (capacity - 1);
    }
    return i;
}

static bool grow(void)
{
    const void **old = slots;
    size_t old_capacity = capacity;
    size_t larger = capacity != 0 ? capacity * 2 : CAPACITY_FIRST;
    const void **made = rlt_memory_alloc(larger, sizeof(*made));
    if (made == NULL) {
        return false;
    }
    slots = made;
    capacity = larger;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i] != NULL) {
            slots[find(old[i])] = old[i];
        }
    }
    rlt_memory_free((void *)old);
    return true;
}

/* Free a slot, and move the handles behind it nearer to their homes. */
static void clear(size_t hole)
{
    slots[hole] = NULL;
    for (size_t i = (hole + 1) & (capacity - 1); slots[i] != NULL; i = (i + 1) & (capacity - 1)) {
        const void *handle = slots[i];
        slots[i] = NULL;
        slots[find(handle)] = handle;
    }
}

int rlt_given_add(const void *handle)
{
    rlt_registry_lock();
    bool has_room = count < capacity / 2 || grow();
    if (has_room) {
        slots[find(handle)] = handle;
        count++;
    }
    rlt_registry_unlock();
    return has_room ? 0 : ROULETTE_ENOMEM;
}

void rlt_given_take(const void *handle, const char *call)
{
    rlt_registry_lock();
    size_t i = capacity != 0 ? find(handle) : 0;
    bool found = capacity != 0 && slots[i] != NULL;
    if (found) {
        clear(i);
        count--;
    }
    if (count == 0) {
        rlt_memory_free((void *)slots);
        slots = NULL;
        capacity = 0;
    }
    rlt_registry_unlock();
    RLT_REQUIRE(found, call, "this handle was closed or freed before, or it is none");
}
