/* SPDX-License-Identifier: MIT */
/*
 * Opening a client: options become the configuration of its parts, then its event threads start.
 */
#include <string.h>

#include "api/client.h"
#include "api/given.h"
#include "api/option_effect.h"
#include "api/options.h"
#include "api/registry.h"
#include "base/error.h"
#include "base/memory.h"
#include "io/system/cpu.h"
#include "io/system/entropy.h"
#include "io/system/leaving.h"
#include "io/system/pin.h"

/* ---- Event threads ------------------------------------------------------------------------ */

/* The kernel gives up a dead peer after the same time as unanswered pings do. But the kernel also
 * counts the time in which a living peer reads nothing, which must not end a connection that is
 * held back (core/cluster/probe.h). */
static uint32_t user_timeout_ms(const struct rlt_config *config)
{
    uint64_t ms = config->ping_interval_ns / RLT_NS_PER_MS * config->max_ping_failure + 1000;
    ms += config->held_back_max_ns / RLT_NS_PER_MS;
    return (uint32_t)rlt_min_u64(ms, UINT32_MAX);
}

/* RFC 8305 recommends 250 ms. With a short timeout less, so that a few addresses get their turn. */
static uint32_t attempt_delay_ms(const struct rlt_config *config)
{
    return (uint32_t)rlt_min_u64(config->connection_timeout_ns / RLT_NS_PER_MS / 4, 250);
}

static int explain_start(int result, size_t index, const char *why)
{
    return rlt_error_set(result, "event thread %zu could not be started: %s", index,
                         why[0] != '\0' ? why : roulette_error_text(result));
}

/* Choose the number of event threads: as many as wanted, but not more than clusters. By default one
 * for each cluster, up to half of the CPUs: the other half is for the threads that publish and
 * receive. */
static size_t count_threads(const roulette_client *client, uint32_t wanted)
{
    size_t count = wanted != 0 ? wanted : (rlt_cpu_count() + 1) / 2;
    return rlt_min_size(count, client->cluster_count);
}

static int make_threads(roulette_client *client, size_t count)
{
    size_t size = count * sizeof(*client->threads);
    client->threads = rlt_memory_alloc_aligned(RLT_CACHE_LINE, size);
    if (client->threads == NULL) {
        return ROULETTE_ENOMEM;
    }
    memset(client->threads, 0, size);
    client->thread_count = count;
    uint32_t shard_max = (uint32_t)((client->cluster_count + count - 1) / count);
    for (size_t i = 0; i < count; i++) {
        int result = rlt_event_thread_init(&client->threads[i], (uint32_t)i, shard_max);
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

static int start_threads(roulette_client *client, const struct roulette_options *options)
{
    struct rlt_random random = {rlt_entropy_seed()};
    struct rlt_socket_options socket = {
        .tcp_nodelay = options->tcp_nodelay != 0,
        .user_timeout_ms = user_timeout_ms(&client->config),
        .attempt_delay_ms = attempt_delay_ms(&client->config),
    };
    int result = make_threads(client, count_threads(client, options->event_threads));
    if (result < 0) {
        return rlt_error_set_plain(result);
    }
    for (size_t i = 0; i < client->cluster_count; i++) {
        bool tls = client->config.tls || client->addresses[i].tls;
        rlt_shard_init(&client->shards[i], (uint32_t)i, &client->config, &client->addresses[i],
                       tls ? client->tls : NULL, rlt_random_next(&random));
        rlt_event_thread_add(&client->threads[i % client->thread_count], &client->shards[i]);
    }
    for (size_t i = 0; i < client->thread_count; i++) {
        result = rlt_event_thread_start(&client->threads[i], &socket, rlt_random_next(&random));
        if (result < 0) {
            rlt_client_stop_threads(client, i);
            return explain_start(result, i, client->threads[i].start_failure);
        }
    }
    return 0;
}

/* ---- The client --------------------------------------------------------------------------- */

static uint64_t next_id(void)
{
    static _Atomic(uint64_t) last;
    /* Relaxed: only uniqueness counts. */
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

/* Allocate an empty client of `count` clusters, with one reference. */
static roulette_client *allocate(size_t count)
{
    size_t size = sizeof(roulette_client) + count * sizeof(struct rlt_shard);
    roulette_client *client = rlt_memory_alloc_aligned(RLT_CACHE_LINE, size);
    if (client != NULL) {
        memset(client, 0, size);
        client->id = next_id();
        client->cluster_count = count;
        (void)pthread_mutex_init(&client->subscribers_lock, NULL);
        atomic_store_explicit(&client->references, 1, memory_order_relaxed);
    }
    return client;
}

/* Make the signer of logins, if the options have a key or credentials. */
static int set_up_signer(roulette_client *client, const struct roulette_options *options)
{
    if (options->credentials_file == NULL && options->nkey_seed == NULL) {
        return 0;
    }
    int result = rlt_signer_init(&client->signer, client->credentials_file, options->nkey_seed);
    if (result == 0) {
        client->config.authenticator = &client->signer.authenticator;
    }
    return result;
}

/* Make the TLS context, if any cluster uses TLS. */
static int set_up_tls(roulette_client *client, const struct roulette_options *options)
{
    bool needed = options->tls != 0;
    for (size_t i = 0; i < client->cluster_count; i++) {
        needed = needed || client->addresses[i].tls;
    }
    if (!needed) {
        return 0;
    }
    struct rlt_tls_options tls = {
        .ca_file = options->tls_ca_file,
        .ca_path = options->tls_ca_path,
        .cert_file = options->tls_cert_file,
        .key_file = options->tls_key_file,
        .server_name = options->tls_server_name,
        .verify = options->tls_verify != 0,
    };
    if (!tls.verify) {
        rlt_log(&client->config.log, ROULETTE_LOG_WARNING,
                "options.tls_verify is 0: anybody may pose as a server");
    }
    return rlt_tls_context_create(&tls, &client->tls);
}

/* Fill in an allocated client and start it. */
static int set_up(roulette_client *client, const struct roulette_options *options)
{
    if (options->credentials_file != NULL) {
        size_t len = strlen(options->credentials_file);
        client->credentials_file = rlt_memory_copy_text(options->credentials_file, len);
        if (client->credentials_file == NULL) {
            return rlt_error_set_plain(ROULETTE_ENOMEM);
        }
    }
    client->identities = rlt_memory_alloc(client->cluster_count, sizeof(*client->identities));
    if (client->identities == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    client->config.identities = client->identities;
    client->config.cluster_count = (uint32_t)client->cluster_count;
    int result = set_up_signer(client, options);
    if (result == 0) {
        result = set_up_tls(client, options);
    }
    if (result < 0) {
        return result;
    }
    result = rlt_ring_create(options->ring, (uint32_t)client->cluster_count, &client->ring);
    if (result < 0) {
        return rlt_error_set_plain(result);
    }
    result = start_threads(client, options);
    if (result == 0 && (rlt_registry_add(client) < 0 || rlt_given_add(client) < 0)) {
        rlt_client_stop(client);
        result = rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    return result;
}

int roulette_open(const struct roulette_options *given, roulette_client **created)
{
    if (given == NULL || created == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "options or client is NULL");
    }
    struct roulette_options options;
    struct rlt_config config;
    char *texts = NULL;
    int result = rlt_pin();
    if (result == 0) {
        result = rlt_leaving_prepare();
    }
    if (result == 0) {
        result = rlt_options_complete(given, &options);
    }
    if (result == 0) {
        result = rlt_options_check(&options, &config, &texts);
    }
    if (result < 0) {
        return result;
    }
    struct rlt_address *addresses;
    size_t count;
    result = rlt_addresses_parse(options.servers, &addresses, &count);
    if (result < 0) {
        rlt_memory_free(texts);
        return result;
    }
    result = rlt_option_effect_check(&options, addresses, count);
    roulette_client *client = result == 0 ? allocate(count) : NULL;
    if (client == NULL) {
        rlt_addresses_free(addresses, count);
        rlt_memory_free(texts);
        return result < 0 ? result : rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    client->config = config;
    client->texts = texts;
    client->addresses = addresses;
    result = set_up(client, &options);
    if (result < 0) {
        rlt_client_release(client);
        return result;
    }
    *created = client;
    return 0;
}
