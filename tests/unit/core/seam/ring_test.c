/* SPDX-License-Identifier: MIT */
/*
 * The `roulette` ring against the vectors of the Elixir library (data/ring, 2000 topics each), and
 * against a reference that is as slow and as plain as can be: no sorting, no search.
 */
#include "base/memory.h"
#include "core/seam/ring.h"
#include "support/test.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLICAS     512
#define CLUSTERS_MAX 256 /* RLT_CLUSTERS_MAX, as the contract says it */
/* Topics that one size is checked with, at most: the reference reads every point for each. */
#define CHECKS_MAX 400

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const uint32_t edge_sizes[] = {1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 16, 32, 100, 112, 128};

static struct rlt_ring *make_roulette(uint32_t count)
{
    struct rlt_ring *ring = NULL;
    cr_assert_eq(rlt_ring_create(ROULETTE_RING_ROULETTE, count, &ring), 0);
    cr_assert_not_null(ring);
    return ring;
}

static uint32_t place(const struct rlt_ring *ring, const char *topic, size_t len)
{
    return rlt_ring_place(ring, topic, len, rlt_ring_hash(topic, len));
}

/* ---- The reference ------------------------------------------------------------------------ */

/** A virtual node, in the order it is made. */
struct node {
    uint64_t hash;
    uint32_t cluster;
    uint32_t replica;
};

struct reference {
    size_t count;
    struct node *nodes;
};

static uint64_t reference_hash(const void *bytes, size_t len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    cr_assert_eq(EVP_Digest(bytes, len, digest, NULL, EVP_md5(), NULL), 1);
    uint64_t hash = 0;
    for (unsigned i = 0; i < 8; i++) {
        hash |= (uint64_t)digest[8 + i] << (8 * i);
    }
    return hash;
}

static int node_key(const struct node *node, char key[16])
{
    return snprintf(key, 16, "%u%u", node->cluster, node->replica);
}

static struct reference reference_make(uint32_t clusters)
{
    struct reference reference = {.count = (size_t)clusters * REPLICAS};
    reference.nodes = calloc(reference.count, sizeof(*reference.nodes));
    cr_assert_not_null(reference.nodes);
    for (uint32_t i = 0; i < reference.count; i++) {
        struct node *node = &reference.nodes[i];
        char key[16];
        node->cluster = i / REPLICAS;
        node->replica = i % REPLICAS;
        node->hash = reference_hash(key, (size_t)node_key(node, key));
    }
    return reference;
}

/* Of two nodes, the one that sorts first. */
static const struct node *first_of(const struct node *a, const struct node *b)
{
    if (a == NULL || b->hash < a->hash) {
        return b;
    }
    return b->hash == a->hash && b->cluster > a->cluster ? b : a;
}

/* The first node of all whose hash is above `hash`; NULL if there is none. */
static const struct node *reference_above(const struct reference *reference, uint64_t hash)
{
    const struct node *found = NULL;
    for (size_t i = 0; i < reference->count; i++) {
        if (reference->nodes[i].hash > hash) {
            found = first_of(found, &reference->nodes[i]);
        }
    }
    return found;
}

static const struct node *reference_first(const struct reference *reference)
{
    const struct node *found = NULL;
    for (size_t i = 0; i < reference->count; i++) {
        found = first_of(found, &reference->nodes[i]);
    }
    return found;
}

/* A node with the highest hash below `hash`; NULL if there is none. */
static const struct node *reference_below(const struct reference *reference, uint64_t hash)
{
    const struct node *found = NULL;
    for (size_t i = 0; i < reference->count; i++) {
        const struct node *node = &reference->nodes[i];
        if (node->hash < hash && (found == NULL || node->hash > found->hash)) {
            found = node;
        }
    }
    return found;
}

static uint32_t reference_place(const struct reference *reference, const char *topic, size_t len)
{
    const struct node *node = reference_above(reference, reference_hash(topic, len));
    return node != NULL ? node->cluster : reference_first(reference)->cluster;
}

/* ---- The vectors of the Elixir library ---------------------------------------------------- */

/* Check one row, "topic in base64,index". */
static void check_row(const struct rlt_ring *ring, char *row, int number)
{
    unsigned char topic[2048];
    char *comma = strchr(row, ',');
    cr_assert_not_null(comma, "row %d", number);
    size_t encoded_len = (size_t)(comma - row);
    cr_assert_leq(encoded_len, sizeof(topic), "row %d", number);
    int len = EVP_DecodeBlock(topic, (const unsigned char *)row, (int)encoded_len);
    cr_assert_geq(len, 0, "row %d is not base64", number);
    for (size_t i = encoded_len; i > 0 && row[i - 1] == '='; i--) {
        len--;
    }
    uint32_t expected = (uint32_t)strtoul(comma + 1, NULL, 10);
    uint32_t actual = place(ring, (const char *)topic, (size_t)len);
    cr_assert_eq(actual, expected, "row %d: %u, not %u", number, actual, expected);
}

static void check_vectors(uint32_t clusters)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/ring/ring_n%u.csv", RLT_TEST_DATA, clusters);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s is missing", path);
    struct rlt_ring *ring = make_roulette(clusters);
    char row[4096];
    int rows = 0;
    cr_assert_not_null(fgets(row, sizeof(row), file), "the line of column names");
    while (fgets(row, sizeof(row), file) != NULL) {
        check_row(ring, row, ++rows);
    }
    cr_assert_eq(rows, 2000, "%s has %d rows", path, rows);
    rlt_ring_destroy(ring);
    fclose(file);
}

Test(ring, places_2000_topics_as_elixir_with_1_cluster)
{
    check_vectors(1);
}

Test(ring, places_2000_topics_as_elixir_with_2_clusters)
{
    check_vectors(2);
}

Test(ring, places_2000_topics_as_elixir_with_3_clusters)
{
    check_vectors(3);
}

Test(ring, places_2000_topics_as_elixir_with_5_clusters)
{
    check_vectors(5);
}

Test(ring, places_2000_topics_as_elixir_with_8_clusters)
{
    check_vectors(8);
}

Test(ring, places_2000_topics_as_elixir_with_16_clusters)
{
    check_vectors(16);
}

/* The table of Roulette 1.0.5, test/cluster_chooser_test.exs. */
Test(ring, places_the_topics_of_roulettes_own_test)
{
    static const uint32_t expected[] = {0, 2, 2, 1, 1, 1, 0};
    struct rlt_ring *ring = make_roulette(3);
    for (uint32_t i = 0; i < COUNT_OF(expected); i++) {
        char topic[] = "topic1";
        topic[5] = (char)('1' + i);
        cr_assert_eq(place(ring, topic, 6), expected[i], "%s", topic);
    }
    rlt_ring_destroy(ring);
}

/* SHA-256 of lines "%016x,%d\n" over the sorted ring, from ex_hash_ring 3.0.0. */
static const struct {
    uint32_t clusters;
    const char *sha256;
} ring_sums[] = {
    {1, "98d96bb5e8d8ffb8943ebb38a75ed11b78389e0033a34a53ecd48dd5d1fb8ade"},
    {2, "f57398c36d682b4ad10e4b423f9e502774d87ff173ba3113b79896d6617cc9c5"},
    {3, "22deb86774d7164aa632d1dea1ff4f0730aed68047119f8ee776cab3cc391d5c"},
    {4, "63ac6e8e58a82fbb51d2ef96e73cdd3ecbcb3035b4b81862d0d20d05d674f447"},
    {5, "396905d61f65ba848bc80e739df3ed9df28848d3cf4916485338fdbbbf416709"},
    {7, "e3161f3d3f91eddfa99f1189f5572ff94aaecec989cb49ebcb55084cd2eaa6c0"},
    {8, "5818d54140f0ed2ed029c0045bb38a777f7ea0dcbf1382d68b28bbe0f133e00a"},
    {10, "c63a02bd4d2e769d991e450fbe89bb46e2bde5098f2a00dbdb061b4ae71f34bb"},
    {16, "a9ad611423bc23a3965fea69d3e63d5b786aa9d9461fbc027747e0d026d89e37"},
    {32, "65fde63c58e66835e1d91d3888fd07650876c94e34b29cf95ef42fe11ccddc11"},
    {100, "67df085d7dd0fce68fd925015deed2adc43f2a5d372446b0fa1e0e19582547fc"},
};

static void ring_sum(const struct rlt_ring *ring, char text[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestInit_ex(context, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < rlt_ring_point_count(ring); i++) {
        uint64_t hash;
        uint32_t cluster;
        char line[64];
        rlt_ring_point(ring, i, &hash, &cluster);
        int len = snprintf(line, sizeof(line), "%016llx,%u\n", (unsigned long long)hash, cluster);
        EVP_DigestUpdate(context, line, (size_t)len);
    }
    cr_assert_eq(EVP_DigestFinal_ex(context, digest, NULL), 1);
    EVP_MD_CTX_free(context);
    for (size_t i = 0; i < 32; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
}

Test(ring, points_are_elixirs_in_order)
{
    for (size_t i = 0; i < COUNT_OF(ring_sums); i++) {
        struct rlt_ring *ring = make_roulette(ring_sums[i].clusters);
        char text[65];
        cr_assert_eq(rlt_ring_point_count(ring), (size_t)ring_sums[i].clusters * REPLICAS);
        ring_sum(ring, text);
        cr_assert_str_eq(text, ring_sums[i].sha256, "%u clusters", ring_sums[i].clusters);
        rlt_ring_destroy(ring);
    }
}

/* ---- Edges, against the reference --------------------------------------------------------- */

/** Which edges the topics of one size reached. */
struct edges {
    uint32_t checks;
    uint32_t wraps;        /* no point is above */
    uint32_t below_first;  /* the first point is above */
    uint32_t on_point;     /* the topic is a virtual node's key */
    uint32_t ties[4];      /* owner's hash shared by so many nodes */
    uint32_t starved_ties; /* ... and the owner is not the lowest of them */
};

static void count_edges(const struct reference *reference, uint64_t hash, struct edges *edges)
{
    const struct node *owner = reference_above(reference, hash);
    edges->checks++;
    edges->wraps += owner == NULL;
    if (owner == NULL) {
        owner = reference_first(reference);
    } else {
        edges->below_first += owner == reference_first(reference);
    }
    uint32_t tied = 0;
    bool starves = false;
    for (size_t i = 0; i < reference->count; i++) {
        const struct node *node = &reference->nodes[i];
        edges->on_point += node->hash == hash;
        tied += node->hash == owner->hash;
        starves |= node->hash == owner->hash && node->cluster < owner->cluster;
    }
    cr_assert_lt(tied, COUNT_OF(edges->ties));
    edges->ties[tied]++;
    edges->starved_ties += starves;
}

static void check_topic(const struct rlt_ring *ring, const struct reference *reference,
                        const char *topic, struct edges *edges)
{
    size_t len = strlen(topic);
    uint32_t expected = reference_place(reference, topic, len);
    uint32_t actual = place(ring, topic, len);
    cr_assert_eq(actual, expected, "\"%s\" of %zu points: %u, not %u", topic, reference->count,
                 actual, expected);
    count_edges(reference, reference_hash(topic, len), edges);
}

/* A topic outside the points: above the last, or below the first. */
static void check_outside(const struct rlt_ring *ring, const struct reference *reference,
                          bool above, struct edges *edges)
{
    uint64_t last = reference_below(reference, UINT64_MAX)->hash;
    uint64_t first = reference_first(reference)->hash;
    for (uint32_t i = 0; i < 100000; i++) {
        char topic[16];
        int len = snprintf(topic, sizeof(topic), "e%u", i);
        uint64_t hash = reference_hash(topic, (size_t)len);
        if (above ? hash > last : hash < first) {
            check_topic(ring, reference, topic, edges);
            return;
        }
    }
    cr_assert_fail("no topic found");
}

/* True if a node of another cluster has this one's key, as "1" "11" and "11" "1" do. */
static bool is_tied(const struct reference *reference, const struct node *node)
{
    for (size_t i = 0; i < reference->count; i++) {
        if (&reference->nodes[i] != node && reference->nodes[i].hash == node->hash) {
            return true;
        }
    }
    return false;
}

/* Topics whose owner is one of tied nodes: the key of the node below them. From the last node
 * backwards, as the ties of three need a cluster of three digits. */
static void check_ties(const struct rlt_ring *ring, const struct reference *reference,
                       struct edges *edges)
{
    size_t step = reference->count / 4096 + 1;
    for (size_t i = reference->count; i > step && edges->checks < CHECKS_MAX; i -= step) {
        const struct node *node = &reference->nodes[i - 1];
        if (!is_tied(reference, node)) {
            continue;
        }
        const struct node *below = reference_below(reference, node->hash);
        if (below != NULL) {
            char key[16];
            node_key(below, key);
            check_topic(ring, reference, key, edges);
        }
    }
}

static void check_edges(uint32_t clusters)
{
    struct rlt_ring *ring = make_roulette(clusters);
    struct reference reference = reference_make(clusters);
    struct edges edges = {0};
    char key[16];
    node_key(reference_below(&reference, UINT64_MAX), key);
    check_topic(ring, &reference, key, &edges);
    cr_assert_eq(edges.wraps, 1, "a topic equal to the last point belongs to the first");
    node_key(reference_first(&reference), key);
    check_topic(ring, &reference, key, &edges);
    check_outside(ring, &reference, true, &edges);
    check_outside(ring, &reference, false, &edges);
    check_topic(ring, &reference, "", &edges);
    check_topic(ring, &reference, "123", &edges);
    check_topic(ring, &reference, "111", &edges);
    check_topic(ring, &reference, "1111", &edges);
    for (uint32_t i = 0; i < 60; i++) {
        snprintf(key, sizeof(key), "room.%u", i);
        check_topic(ring, &reference, key, &edges);
    }
    check_ties(ring, &reference, &edges);
    cr_assert_geq(edges.wraps, 2, "%u clusters", clusters);
    cr_assert_geq(edges.below_first, 1, "%u clusters", clusters);
    cr_assert_geq(edges.on_point, 2, "%u clusters", clusters);
    cr_assert_eq(edges.ties[2] > 10, clusters >= 12, "%u clusters: %u", clusters, edges.ties[2]);
    cr_assert_eq(edges.ties[3] > 0, clusters >= 112, "%u clusters: %u", clusters, edges.ties[3]);
    cr_assert_eq(edges.starved_ties, edges.ties[2] + edges.ties[3]);
    free(reference.nodes);
    rlt_ring_destroy(ring);
}

Test(ring, edges_equal_the_reference_for_each_size)
{
    for (size_t i = 0; i < COUNT_OF(edge_sizes); i++) {
        check_edges(edge_sizes[i]);
    }
}

/* ---- Making one --------------------------------------------------------------------------- */

Test(ring, the_most_clusters_all_own_points)
{
    static bool owns[CLUSTERS_MAX];
    struct rlt_ring *ring = make_roulette(CLUSTERS_MAX);
    uint64_t previous = 0;
    cr_assert_eq(rlt_ring_point_count(ring), CLUSTERS_MAX * REPLICAS);
    for (size_t i = 0; i < rlt_ring_point_count(ring); i++) {
        uint64_t hash;
        uint32_t cluster;
        rlt_ring_point(ring, i, &hash, &cluster);
        if (hash < previous || cluster >= CLUSTERS_MAX) {
            cr_assert_fail("point %zu", i);
        }
        owns[cluster] = true;
        previous = hash;
    }
    for (size_t i = 0; i < CLUSTERS_MAX; i++) {
        cr_assert(owns[i], "cluster %zu", i);
    }
    rlt_ring_destroy(ring);
}

Test(ring, zero_or_too_many_clusters_are_refused)
{
    struct rlt_ring *ring = NULL;
    for (int kind = 0; kind <= 1; kind++) {
        cr_assert_eq(rlt_ring_create((enum roulette_ring)kind, 0, &ring), ROULETTE_EINVAL);
        cr_assert_eq(rlt_ring_create((enum roulette_ring)kind, CLUSTERS_MAX + 1, &ring),
                     ROULETTE_EINVAL);
        cr_assert_eq(rlt_ring_create((enum roulette_ring)kind, UINT32_MAX, &ring), ROULETTE_EINVAL);
    }
    cr_assert_null(ring, "out-parameters are untouched on failure");
    cr_assert_str_eq(roulette_last_error(), "a ring has 1 to 256 clusters, not 4294967295");
}

Test(ring, unknown_kind_is_refused)
{
    struct rlt_ring *ring = NULL;
    cr_assert_eq(rlt_ring_create((enum roulette_ring)2, 3, &ring), ROULETTE_EINVAL);
    cr_assert_null(ring);
}

Test(ring, destroy_allows_null)
{
    rlt_ring_destroy(NULL);
}

static int let_some_through(void *context, size_t size)
{
    unsigned *left = context;
    (void)size;
    return *left > 0 && (*left)-- > 0;
}

Test(ring, every_failed_allocation_is_enomem_and_leaks_nothing)
{
    struct rlt_ring *ring = NULL;
    unsigned failures = 0;
    for (unsigned allowed = 0; ring == NULL; allowed++) {
        unsigned left = allowed;
        rlt_memory_set_gate(let_some_through, &left);
        int error = rlt_ring_create(ROULETTE_RING_ROULETTE, 3, &ring);
        rlt_memory_set_gate(NULL, NULL);
        cr_assert_eq(error, ring != NULL ? 0 : ROULETTE_ENOMEM);
        failures += ring == NULL;
    }
    cr_assert_eq(failures, 2);
    rlt_ring_destroy(ring);
}
