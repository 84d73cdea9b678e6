/* SPDX-License-Identifier: MIT */
#include "api/reason.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/counter.h"
#include "base/error.h"

/* ---- One cluster -------------------------------------------------------------------------- */

static uint32_t count_connected(const roulette_client *client, size_t cluster)
{
    return (uint32_t)rlt_counter_get(&rlt_shard_metrics(&client->shards[cluster])->connected);
}

/* Copy why a cluster failed last. Returns: the code; 0: never, and `text` says so. */
static int last_failure(const roulette_client *client, size_t cluster,
                        char text[RLT_TEXT_CELL_BYTES])
{
    int error = rlt_shard_failure(&client->shards[cluster], text);
    if (error == 0) {
        (void)snprintf(text, RLT_TEXT_CELL_BYTES, "the first attempt is not over");
    }
    return error;
}

/* Write "is not connected: ..." or another reason why a cluster does not answer. Returns: as
 * roulette_cluster_error(). */
static int describe(const roulette_client *client, size_t cluster, char *text, size_t size)
{
    char failure[RLT_TEXT_CELL_BYTES];
    uint32_t connected = count_connected(client, cluster);
    uint32_t wanted = client->config.pool_size;
    if (connected >= wanted) {
        (void)snprintf(text, size, "%s", "");
        return 0;
    }
    int error = last_failure(client, cluster, failure);
    if (connected == 0) {
        (void)snprintf(text, size, "is not connected%s: %s", error == 0 ? " yet" : "", failure);
    } else {
        (void)snprintf(text, size, "has %u of %u connections: %s", connected, wanted, failure);
    }
    return error != 0 ? error : ROULETTE_EDISCONNECTED;
}

int roulette_cluster_error(const roulette_client *client, size_t cluster, char *text, size_t size)
{
    char reason[RLT_ERROR_TEXT_MAX];
    int result = rlt_client_check_cluster(client, cluster);
    if (result == 0 && text == NULL && size != 0) {
        result = rlt_error_set(ROULETTE_EINVAL, "text is NULL: give a buffer of size bytes");
    }
    if (result < 0) {
        return result;
    }
    result = describe(client, cluster, reason, sizeof(reason));
    if (size != 0 && result == 0) {
        text[0] = '\0';
    } else if (size != 0) {
        (void)snprintf(text, size, "cluster %zu (%s) %s", cluster, client->addresses[cluster].label,
                       reason);
    }
    return result;
}

/* ---- Waits -------------------------------------------------------------------------------- */

/* Write ", and so with 2 more" or nothing. */
static void count_others(const struct rlt_fence_outcome *outcome, char *text, size_t size)
{
    uint32_t others = outcome->late + outcome->failed - 1;
    (void)snprintf(text, size, others == 1 ? "; and %u other cluster" : "; and %u other clusters",
                   others);
    if (others == 0) {
        text[0] = '\0';
    }
}

/* Advice for a refused subscription. */
static const char *advise_refusal(int error)
{
    switch (error) {
    case ROULETTE_EPERMISSION:
        return "allow it in the server's permissions of this user";
    case ROULETTE_ETOPIC:
        return "correct the topic: this server does not take it";
    case ROULETTE_ESERVER:
        return "it takes no more subscriptions, or not this one; raise its max_subscriptions, or "
               "see the log";
    default:
        return "";
    }
}

/* Describe the state of a cluster that was waited for in vain. */
static void describe_wait(const roulette_client *client, size_t cluster, int error, char *text,
                          size_t size)
{
    (void)snprintf(text, size, "%s", advise_refusal(error));
    if (text[0] != '\0') {
        return;
    }
    char failure[RLT_TEXT_CELL_BYTES];
    bool lost = error == ROULETTE_EDISCONNECTED || error == ROULETTE_EUNREACHABLE;
    if (lost && last_failure(client, cluster, failure) != 0) {
        (void)snprintf(text, size, "%s", failure);
        return;
    }
    if (describe(client, cluster, text, size) == 0 && error == ROULETTE_ETIMEDOUT) {
        (void)snprintf(text, size, "is connected, and has not answered yet: wait longer");
    }
}

int rlt_reason_of_wait(const roulette_client *client, const struct rlt_fence_outcome *outcome,
                       int error)
{
    char reason[RLT_ERROR_TEXT_MAX] = "";
    char others[64];
    uint32_t cluster = outcome->first;
    if (outcome->late + outcome->failed == 0 || error == ROULETTE_ECLOSED) {
        return rlt_error_set_plain(error);
    }
    describe_wait(client, cluster, error, reason, sizeof(reason));
    count_others(outcome, others, sizeof(others));
    bool is = error == ROULETTE_ETIMEDOUT; /* the reason goes on behind the cluster's name */
    return rlt_error_set(error, "%s: cluster %u (%s)%s%.600s%s", roulette_error_text(error),
                         cluster, client->addresses[cluster].label,
                         reason[0] == '\0' ? ""
                         : is              ? " "
                                           : ": ",
                         reason, others);
}

void rlt_reason_partly(const roulette_client *client, const struct rlt_fence_outcome *outcome)
{
    char reason[RLT_ERROR_TEXT_MAX] = "";
    char others[64];
    describe_wait(client, outcome->first, ROULETTE_ETIMEDOUT, reason, sizeof(reason));
    count_others(outcome, others, sizeof(others));
    (void)rlt_error_set(ROULETTE_ETIMEDOUT,
                        "subscribed on %u of %u clusters, and on the others once they answer: "
                        "cluster %u (%s) %.600s%s",
                        outcome->passed, outcome->passed + outcome->late, outcome->first,
                        client->addresses[outcome->first].label, reason, others);
}

/* ---- Publishing --------------------------------------------------------------------------- */

int rlt_reason_unreachable(const roulette_client *client, uint32_t cluster)
{
    char failure[RLT_TEXT_CELL_BYTES];
    int error = ROULETTE_EUNREACHABLE;
    (void)last_failure(client, cluster, failure);
    return rlt_error_set(error, "cluster %u (%s): %s; the last one: %s", cluster,
                         client->addresses[cluster].label, roulette_error_text(error), failure);
}

/* The first cluster that has unconfirmed messages; the count of clusters if none has. */
static size_t first_unconfirmed(const roulette_client *client)
{
    size_t i = 0;
    for (; i < client->cluster_count; i++) {
        struct roulette_ledger ledger;
        rlt_shard_ledger_if_stopped(&client->shards[i], &ledger);
        if (ledger.accepted != ledger.confirmed + ledger.denied) {
            break;
        }
    }
    return i;
}

int rlt_reason_unconfirmed(const roulette_client *client, uint64_t count)
{
    char failure[RLT_TEXT_CELL_BYTES];
    size_t cluster = first_unconfirmed(client);
    if (cluster == client->cluster_count || last_failure(client, cluster, failure) == 0) {
        return rlt_error_set(ROULETTE_ETIMEDOUT,
                             "%" PRIu64 " messages were not confirmed in time: the ledgers say "
                             "what became of them; give more time",
                             count);
    }
    return rlt_error_set(ROULETTE_ETIMEDOUT,
                         "%" PRIu64 " messages were not confirmed in time: the ledgers say what "
                         "became of them; the last failure of cluster %zu (%s): %s",
                         count, cluster, client->addresses[cluster].label, failure);
}
