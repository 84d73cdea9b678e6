/* SPDX-License-Identifier: MIT */
/**
 * The ring: topic -> cluster. Immutable once made, so any thread reads it without ordering.
 *
 * native:   jump consistent hash of XXH3_64 (seed 0) of the topic. Source: Lamping, Veach, "A
 *           Fast, Minimal Memory, Consistent Hash Algorithm", 2014.
 * roulette: the placement of Roulette 1.0.5 with ex_hash_ring 3.0.0: 512 points a cluster, point
 *           = little-endian bytes 8..15 of MD5(decimal index ++ decimal replica).
 */
#ifndef RLT_CORE_SEAM_RING_H
#define RLT_CORE_SEAM_RING_H

#include <stddef.h>
#include <stdint.h>

#include "roulette.h"

struct rlt_ring;

/**
 * Make a ring of `cluster_count` clusters.
 *
 * Ownership: rlt_ring_destroy() ends it.
 * Returns:   0; ROULETTE_EINVAL (count 0 or above RLT_CLUSTERS_MAX, unknown kind);
 *            ROULETTE_ENOMEM.
 */
int rlt_ring_create(enum roulette_ring kind, uint32_t cluster_count, struct rlt_ring **ring);

void rlt_ring_destroy(struct rlt_ring *ring);

/** Hash a topic by XXH3_64: the hash places it (native) and pins it to a path of its cluster. */
uint64_t rlt_ring_hash(const char *topic, size_t len);

/**
 * Place a topic whose rlt_ring_hash() is `hash` on a cluster. Any bytes, also none.
 *
 * Threads: any thread. Does not block or allocate.
 */
uint32_t rlt_ring_place(const struct rlt_ring *ring, const char *topic, size_t len, uint64_t hash);

/** Number of points of a `roulette` ring (0 for native), and point `index` of the sorted ring. */
size_t rlt_ring_point_count(const struct rlt_ring *ring);
void rlt_ring_point(const struct rlt_ring *ring, size_t index, uint64_t *hash, uint32_t *cluster);

#endif
