/* SPDX-License-Identifier: MIT */
#include "proto/scan.h"

#include "base/random.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

static uint32_t stops_one_by_one(const uint8_t *bytes)
{
    uint32_t stops = 0;
    for (uint32_t i = 0; i < RLT_SCAN_WINDOW; i++)
        stops |= (uint32_t)(bytes[i] <= 0x20) << i;
    return stops;
}

static void check(const uint8_t *bytes)
{
    const uint8_t *behind = guarded_behind(bytes, RLT_SCAN_WINDOW);
    cr_assert_eq(rlt_scan_stops(behind), stops_one_by_one(bytes));
    cr_assert_eq(rlt_scan_stops_portable(behind), stops_one_by_one(bytes));
}

Test(scan, every_byte_at_every_place)
{
    uint8_t bytes[RLT_SCAN_WINDOW];
    for (uint32_t value = 0; value < 256; value++) {
        for (uint32_t place = 0; place < RLT_SCAN_WINDOW; place++) {
            memset(bytes, value < 128 ? 0xff : 0x00, sizeof bytes);
            bytes[place] = (uint8_t)value;
            check(bytes);
        }
    }
}

Test(scan, random_bytes_near_the_limit)
{
    struct rlt_random random = {.state = 1};
    uint8_t bytes[RLT_SCAN_WINDOW];
    for (int round = 0; round < 10000; round++) {
        for (uint32_t i = 0; i < RLT_SCAN_WINDOW; i++)
            bytes[i] = (uint8_t)(0x1e + rlt_random_below(&random, 6) + (round & 1) * 0x80);
        check(bytes);
    }
}
