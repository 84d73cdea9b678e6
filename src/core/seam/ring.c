/* SPDX-License-Identifier: MIT */
#include "core/seam/ring.h"

#include <openssl/md5.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "proto/address.h"

/** Virtual nodes of one cluster. Roulette's own number; another one is another placement. */
#define REPLICAS 512
/** "255" and "511". */
#define KEY_LEN_MAX 6

static_assert(RLT_CLUSTERS_MAX - 1 <= UINT8_MAX, "a cluster's index fits the owners' type");

/**
 * One allocation, owned by the client. The points are two arrays, as a search reads many hashes
 * and one owner.
 */
struct rlt_ring {
    uint32_t cluster_count;
    uint32_t point_count; /* 0: native */
    /* point_count + 1 entries: the last repeats the first, so that a lookup wraps untested. */
    uint8_t *owners;
    uint64_t hashes[]; /* ascending */
};

/** A point while the ring is being sorted. */
struct point {
    uint64_t hash;
    uint32_t cluster;
};

/**
 * Bytes 8 to 15 of the MD5, little-endian, whatever the host is.
 *
 * The three low-level calls are deprecated since OpenSSL 3.0, but their replacements, EVP_Digest()
 * and MD5() itself, allocate a context in each call, and a publish must not allocate.
 */
static uint64_t point_hash(const char *bytes, size_t len)
{
    uint8_t digest[MD5_DIGEST_LENGTH];
    MD5_CTX context;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    int ok = MD5_Init(&context) && MD5_Update(&context, bytes, len) && MD5_Final(digest, &context);
#pragma GCC diagnostic pop
    RLT_ASSERT(ok);
    uint64_t hash = 0;
    for (int i = 15; i >= 8; i--) {
        hash = hash << 8 | digest[i];
    }
    return hash;
}

static size_t write_decimal(char *out, uint32_t value)
{
    size_t count = value >= 100 ? 3 : value >= 10 ? 2 : 1;
    for (size_t i = count; i-- > 0;) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return count;
}

/* No separator and no padding: "1" "11" and "11" "1" are the same key, hence the ties below. */
static struct point make_point(uint32_t cluster, uint32_t replica)
{
    char key[KEY_LEN_MAX];
    size_t len = write_decimal(key, cluster);
    len += write_decimal(key + len, replica);
    return (struct point){.hash = point_hash(key, len), .cluster = cluster};
}

/* Of points with one hash, which exist from 12 clusters on, the highest cluster comes first and so
 * gets every topic of the arc: Roulette's Enum.sort with a strict `<` reverses equal elements. Two
 * points of one cluster never tie, so the order is total. */
static int compare_points(const void *left, const void *right)
{
    const struct point *a = left;
    const struct point *b = right;
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    return a->cluster > b->cluster ? -1 : a->cluster < b->cluster;
}

static int fill_points(struct rlt_ring *ring)
{
    struct point *points = rlt_memory_alloc(ring->point_count, sizeof(*points));
    if (points == NULL) {
        return ROULETTE_ENOMEM;
    }
    for (uint32_t i = 0; i < ring->point_count; i++) {
        points[i] = make_point(i / REPLICAS, i % REPLICAS);
    }
    qsort(points, ring->point_count, sizeof(*points), compare_points);
    for (uint32_t i = 0; i < ring->point_count; i++) {
        ring->hashes[i] = points[i].hash;
        ring->owners[i] = (uint8_t)points[i].cluster;
    }
    ring->owners[ring->point_count] = ring->owners[0];
    rlt_memory_free(points);
    return 0;
}

int rlt_ring_create(enum roulette_ring kind, uint32_t cluster_count, struct rlt_ring **ring)
{
    if (kind != ROULETTE_RING_NATIVE && kind != ROULETTE_RING_ROULETTE) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "ring is %d: give ROULETTE_RING_NATIVE or ROULETTE_RING_ROULETTE",
                             (int)kind);
    }
    if (cluster_count == 0 || cluster_count > RLT_CLUSTERS_MAX) {
        return rlt_error_set(ROULETTE_EINVAL, "a ring has 1 to %d clusters, not %u",
                             RLT_CLUSTERS_MAX, cluster_count);
    }
    uint32_t point_count = kind == ROULETTE_RING_ROULETTE ? cluster_count * REPLICAS : 0;
    size_t hashes_size = point_count * sizeof(uint64_t);
    struct rlt_ring *made = rlt_memory_alloc(1, sizeof(*made) + hashes_size + point_count + 1);
    if (made == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    made->cluster_count = cluster_count;
    made->point_count = point_count;
    made->owners = (uint8_t *)made->hashes + hashes_size;
    if (point_count != 0 && fill_points(made) < 0) {
        rlt_memory_free(made);
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    *ring = made;
    return 0;
}

void rlt_ring_destroy(struct rlt_ring *ring)
{
    rlt_memory_free(ring);
}

uint64_t rlt_ring_hash(const char *topic, size_t len)
{
    return XXH3_64bits(topic, len);
}

/* The paper's code. The product is exact enough to be the same on every IEEE 754 machine: one
 * division and one multiplication in double, which no compiler contracts. */
static uint32_t jump(uint64_t key, uint32_t count)
{
    int64_t bucket = -1;
    int64_t next = 0;
    while (next < (int64_t)count) {
        bucket = next;
        key = key * UINT64_C(2862933555777941757) + 1;
        next = (int64_t)((double)(bucket + 1) *
                         ((double)(INT64_C(1) << 31) / (double)((key >> 33) + 1)));
    }
    return (uint32_t)bucket;
}

/**
 * Index of the first hash above `key`; `count` (> 0) if there is none.
 *
 * The steps depend on `count` only and each is a conditional move: hashes are random, so a branch
 * would be mispredicted every other time. Before each step the answer is in [base, base + count].
 */
static size_t upper_bound(const uint64_t *hashes, size_t count, uint64_t key)
{
    const uint64_t *base = hashes;
    while (count > 1) {
        size_t half = count / 2;
        base += half & -(size_t)(base[half - 1] <= key);
        count -= half;
    }
    return (size_t)(base - hashes) + (*base <= key);
}

uint32_t rlt_ring_place(const struct rlt_ring *ring, const char *topic, size_t len, uint64_t hash)
{
    if (ring->point_count == 0) {
        return jump(hash, ring->cluster_count);
    }
    return ring->owners[upper_bound(ring->hashes, ring->point_count, point_hash(topic, len))];
}

size_t rlt_ring_point_count(const struct rlt_ring *ring)
{
    return ring->point_count;
}

void rlt_ring_point(const struct rlt_ring *ring, size_t index, uint64_t *hash, uint32_t *cluster)
{
    RLT_ASSERT(index < ring->point_count);
    *hash = ring->hashes[index];
    *cluster = ring->owners[index];
}
