/* SPDX-License-Identifier: MIT */
#include "core/seam/ring.h"
#include "support/test.h"

#include <stdio.h>

#define BALANCE_TOPICS 100000
#define MOVE_TOPICS    20000

/* 32 bytes. */
#define L32            "level.0123456789abcdefghijklmno."
#define L256           L32 L32 L32 L32 L32 L32 L32 L32
#define TOPIC(literal) (literal), sizeof(literal) - 1

static const uint32_t frozen_sizes[] = {2, 3, 5, 8, 16, 256};

/* Placement never changes between versions: these rows may only be added to. The places were
 * computed in Python from the hashes, these by libxxhash 0.8.1. The lengths reach every branch of
 * XXH3: 0, 1 to 3, to 8, to 16, to 128, to 240, above. */
static const struct frozen {
    const char *topic;
    size_t len;
    uint64_t hash;
    uint32_t places[6];
} frozen[] = {
    {TOPIC(""), UINT64_C(0x2d06800538d394c2), {0, 0, 0, 0, 0, 241}},
    {TOPIC("a"), UINT64_C(0xe6c632b61e964e1f), {1, 1, 1, 1, 14, 14}},
    {TOPIC("ab"), UINT64_C(0xa873719c24d5735c), {0, 0, 0, 0, 0, 239}},
    {TOPIC("abc"), UINT64_C(0x78af5f94892f3950), {1, 2, 2, 2, 2, 2}},
    {TOPIC("a.b"), UINT64_C(0x390c9ebbbb7402f6), {0, 0, 0, 0, 11, 169}},
    {TOPIC("room"), UINT64_C(0x06d19c8d94228de3), {1, 2, 2, 7, 14, 19}},
    {TOPIC("foo.bar"), UINT64_C(0xd02f2022549751b5), {1, 2, 3, 3, 3, 172}},
    {TOPIC("foobar"), UINT64_C(0xd78fda63144c5c84), {1, 1, 4, 4, 4, 4}},
    {TOPIC("room.1"), UINT64_C(0xbd5014bc51a118b0), {1, 2, 3, 3, 13, 13}},
    {TOPIC("room.2"), UINT64_C(0x5853872ebda7c7f7), {1, 1, 1, 1, 12, 246}},
    {TOPIC("room.3"), UINT64_C(0x7b9354e6cc372697), {0, 0, 0, 0, 13, 93}},
    {TOPIC("room.10"), UINT64_C(0x4b46f699347ae3ac), {0, 0, 3, 3, 11, 114}},
    {TOPIC("room.42"), UINT64_C(0x9249b0888ffc63ca), {1, 1, 4, 4, 11, 11}},
    {TOPIC("alice"), UINT64_C(0x4da10dd61a0116b0), {1, 1, 1, 1, 9, 235}},
    {TOPIC("bob"), UINT64_C(0x1403c0c40f49b8e5), {0, 0, 4, 5, 5, 171}},
    {TOPIC("user.1"), UINT64_C(0x7323ad2d38b854b9), {0, 2, 2, 5, 5, 157}},
    {TOPIC("user.2"), UINT64_C(0xbd748c7dfb96266a), {1, 1, 1, 1, 15, 23}},
    {TOPIC("topic1"), UINT64_C(0x2d1de55c657b9619), {0, 2, 2, 2, 9, 42}},
    {TOPIC("topic2"), UINT64_C(0x9b22087828245788), {0, 0, 0, 6, 6, 168}},
    {TOPIC("topic3"), UINT64_C(0x81653f1acb85eb18), {0, 0, 3, 5, 14, 156}},
    {TOPIC("topic4"), UINT64_C(0x1e5bb7d23c73dc24), {1, 2, 2, 5, 5, 246}},
    {TOPIC("topic5"), UINT64_C(0xd6b8c413322fc1d8), {0, 0, 3, 3, 3, 181}},
    {TOPIC("topic6"), UINT64_C(0x7bc2a9b11c62d536), {0, 2, 4, 7, 10, 164}},
    {TOPIC("topic7"), UINT64_C(0xa453635351a49d91), {0, 0, 0, 0, 14, 155}},
    {TOPIC("a.b.c"), UINT64_C(0x486e40a075572cbf), {0, 0, 4, 4, 4, 249}},
    {TOPIC("a.b.c.d"), UINT64_C(0xcb67e1418682d7d0), {1, 1, 1, 6, 9, 110}},
    {TOPIC("chat.room.1"), UINT64_C(0x0a3d6bc3433ced35), {0, 0, 0, 0, 9, 131}},
    {TOPIC("chat.room.2"), UINT64_C(0x0dfb3120c21120e0), {0, 0, 0, 7, 7, 52}},
    {TOPIC("chat.room.3.msg"), UINT64_C(0x5903408724abe6bb), {1, 2, 4, 4, 8, 8}},
    {TOPIC("orders.eu.created"), UINT64_C(0x8e14b55c29998d70), {0, 0, 3, 7, 7, 229}},
    {TOPIC("orders.us.created"), UINT64_C(0x033e4b3047ee7f4c), {0, 0, 4, 4, 8, 151}},
    {TOPIC("sensor.17.temperature"), UINT64_C(0x4e26ee052166f400), {0, 0, 0, 0, 11, 217}},
    {TOPIC("_INBOX.abcdefghijklmnop.1"), UINT64_C(0x9c8a01a97b9ebeb3), {0, 0, 3, 3, 14, 233}},
    {TOPIC("0"), UINT64_C(0x1982e3a7bb241055), {1, 1, 3, 5, 8, 55}},
    {TOPIC("00"), UINT64_C(0x96fad2c77824ba99), {1, 1, 3, 7, 7, 78}},
    {TOPIC("111"), UINT64_C(0x3dd5389abcb79f72), {1, 1, 1, 1, 1, 254}},
    {TOPIC("123"), UINT64_C(0x404a763b3f4c8c9a), {0, 0, 0, 0, 0, 118}},
    {TOPIC("caf\303\251"), UINT64_C(0x4c83dbd5f29d367f), {1, 2, 2, 7, 7, 7}},
    {TOPIC("\377\000x"), UINT64_C(0x559bae87815e80c6), {1, 1, 4, 7, 7, 83}},
    {TOPIC(L32), UINT64_C(0xba8c08a30afbbe31), {0, 0, 0, 0, 0, 106}},
    {TOPIC(L32 L32), UINT64_C(0xdb403a2802102e8f), {0, 2, 2, 2, 11, 11}},
    {TOPIC(L32 L32 L32 L32), UINT64_C(0x2b727ee37e936cb3), {1, 1, 3, 3, 9, 17}},
    {TOPIC(L32 L32 L32 L32 "x"), UINT64_C(0x0cda41c3c9a844e2), {0, 2, 2, 2, 2, 2}},
    {TOPIC(L32 L32 L32 L32 L32 L32 L32 "0123456789abcdef"),
     UINT64_C(0xed646eae123d3d4f),
     {1, 1, 1, 1, 15, 212}},
    {TOPIC(L32 L32 L32 L32 L32 L32 L32 "0123456789abcdefg"),
     UINT64_C(0x44ae3bff10d07d74),
     {0, 0, 3, 6, 15, 199}},
    {TOPIC(L256 L256), UINT64_C(0xc3254b39badf0ca4), {1, 2, 2, 2, 14, 165}},
    {TOPIC(L256 L256 L256 L256), UINT64_C(0x21cc4ee49f4c10d6), {0, 2, 3, 3, 3, 138}},
};

static struct rlt_ring *make_native(uint32_t count)
{
    struct rlt_ring *ring = NULL;
    cr_assert_eq(rlt_ring_create(ROULETTE_RING_NATIVE, count, &ring), 0);
    cr_assert_not_null(ring);
    return ring;
}

static uint32_t place_numbered(const struct rlt_ring *ring, uint32_t number)
{
    char topic[32];
    int len = snprintf(topic, sizeof(topic), "room.%u.msg", number);
    return rlt_ring_place(ring, topic, (size_t)len, rlt_ring_hash(topic, (size_t)len));
}

Test(native_ring, hashes_are_frozen)
{
    for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
        uint64_t hash = rlt_ring_hash(frozen[i].topic, frozen[i].len);
        cr_assert_eq(hash, frozen[i].hash, "row %zu", i);
    }
}

Test(native_ring, places_are_frozen)
{
    for (size_t s = 0; s < sizeof(frozen_sizes) / sizeof(frozen_sizes[0]); s++) {
        struct rlt_ring *ring = make_native(frozen_sizes[s]);
        for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
            uint32_t place = rlt_ring_place(ring, frozen[i].topic, frozen[i].len, frozen[i].hash);
            cr_assert_eq(place, frozen[i].places[s], "row %zu of %u clusters: %u", i,
                         frozen_sizes[s], place);
        }
        rlt_ring_destroy(ring);
    }
}

/* The first 20 of the golden values in the tests of Guava's Hashing.consistentHash(), which is the
 * same function. */
Test(native_ring, jump_hash_equals_guavas)
{
    static const uint32_t golden[] = {0,  55, 62, 8,  45, 59, 86, 97, 82, 59,
                                      73, 37, 17, 56, 86, 21, 90, 37, 38, 83};
    struct rlt_ring *ring = make_native(100);
    for (uint64_t key = 0; key < 20; key++) {
        cr_assert_eq(rlt_ring_place(ring, "", 0, key), golden[key], "key %d", (int)key);
    }
    rlt_ring_destroy(ring);
}

Test(native_ring, one_cluster_takes_every_topic)
{
    struct rlt_ring *ring = make_native(1);
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(place_numbered(ring, i), 0);
    }
    rlt_ring_destroy(ring);
}

Test(native_ring, has_no_points)
{
    struct rlt_ring *ring = make_native(7);
    cr_assert_eq(rlt_ring_point_count(ring), 0);
    rlt_ring_destroy(ring);
}

/* The number of topics that move from `count` clusters to one more; fails if one moves elsewhere
 * than to the new cluster. */
static uint32_t count_moves(uint32_t count)
{
    struct rlt_ring *before = make_native(count);
    struct rlt_ring *after = make_native(count + 1);
    uint32_t moved = 0;
    for (uint32_t i = 0; i < MOVE_TOPICS; i++) {
        uint32_t from = place_numbered(before, i);
        uint32_t to = place_numbered(after, i);
        if (from != to && to != count) {
            cr_assert_fail("topic %u moved from %u to %u of %u", i, from, to, count + 1);
        }
        moved += from != to;
    }
    rlt_ring_destroy(before);
    rlt_ring_destroy(after);
    return moved;
}

Test(native_ring, growth_moves_topics_only_to_the_new_cluster)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 7, 8, 15, 16, 31, 99, 255};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        double fair = 1.0 / (counts[i] + 1);
        double expected = MOVE_TOPICS * fair;
        /* Within five standard deviations of a binomial distribution. */
        double distance = count_moves(counts[i]) - expected;
        cr_assert_leq(distance * distance, 25 * expected * (1 - fair), "%u clusters", counts[i]);
    }
}

/* Up to 5 clusters 2 % is three standard deviations of what chance does. */
Test(native_ring, topics_spread_evenly_within_two_percent)
{
    for (uint32_t count = 2; count <= 5; count++) {
        struct rlt_ring *ring = make_native(count);
        uint32_t held[5] = {0};
        for (uint32_t i = 0; i < BALANCE_TOPICS; i++) {
            held[place_numbered(ring, i)]++;
        }
        for (uint32_t c = 0; c < count; c++) {
            uint32_t fair = BALANCE_TOPICS / count;
            uint32_t distance = held[c] > fair ? held[c] - fair : fair - held[c];
            cr_assert_leq(distance, fair / 50, "cluster %u of %u has %u", c, count, held[c]);
        }
        rlt_ring_destroy(ring);
    }
}
