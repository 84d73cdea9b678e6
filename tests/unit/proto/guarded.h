/* SPDX-License-Identifier: MIT */
/**
 * Memory whose neighbours on both sides fault: a read one byte beyond either end ends the test.
 */
#ifndef RLT_TESTS_UNIT_PROTO_GUARDED_H
#define RLT_TESTS_UNIT_PROTO_GUARDED_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/test.h"

/** The most bytes of one text. */
#define GUARDED_SIZE (UINT32_C(1) << 21)

/** The area between the two guard pages; mapped once for each process. */
static inline uint8_t *guarded_area(void)
{
    static uint8_t *area;
    if (area == NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        uint8_t *map =
            mmap(NULL, GUARDED_SIZE + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert(map != MAP_FAILED);
        cr_assert_eq(mprotect(map + page, GUARDED_SIZE, PROT_READ | PROT_WRITE), 0);
        area = map + page;
    }
    return area;
}

/** A copy that ends where a guard page starts. */
static inline uint8_t *guarded_behind(const void *bytes, size_t len)
{
    cr_assert_leq(len, GUARDED_SIZE);
    uint8_t *copy = guarded_area() + GUARDED_SIZE - len;
    return len != 0 ? memcpy(copy, bytes, len) : copy;
}

/** A copy that starts where a guard page ends. */
static inline uint8_t *guarded_before(const void *bytes, size_t len)
{
    cr_assert_leq(len, GUARDED_SIZE);
    return len != 0 ? memcpy(guarded_area(), bytes, len) : guarded_area();
}

#endif
