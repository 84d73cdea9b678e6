/* SPDX-License-Identifier: MIT */
#include "harness/contest.h"

#include <string.h>

/* Of the first run of all, which finds out how fast a peer is: at most so many. */
#define PROBE_BYTES     (UINT64_C(64) << 20)
#define PROBE_MESSAGES  UINT64_C(200000)
#define PROBE_LATENCIES UINT64_C(2000)
/* A run has at least so many deliveries, and so many published messages. */
#define DELIVERIES_MIN 1000
#define MESSAGES_MIN   100
/* System calls are counted in runs that are so much shorter. */
#define CALLS_PART 2

static const struct peer *const peers[] = {
    &peer_roulette,      &peer_roulette_before, &peer_roulette_text, &peer_roulette_spin,
    &peer_roulette_poll, &peer_libnats,         &peer_raw,
};

bool contest_has_peer(const char *name)
{
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        if (strcmp(peers[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* What a peer must take part in to do this. */
static unsigned kind_of(const struct workload *workload)
{
    return workload->kind == WORKLOAD_PUBLISH   ? PEER_PUBLISH
           : workload->kind == WORKLOAD_LATENCY ? PEER_LATENCY
                                                : PEER_RECEIVE;
}

static bool takes_part(const struct peer *peer, const struct workload *workload,
                       const struct contest_options *options)
{
    bool wanted = (options->peer == NULL || strcmp(options->peer, peer->name) == 0) &&
                  (options->compares || peer != &peer_roulette_before);
    bool shared =
        workload->threads > 1 || workload->clusters > 1 || workload->kind == WORKLOAD_FAN_OUT;
    /* Threads that look for work would keep the others from the only CPU, or from all. */
    bool crowded = (workload->one_cpu || workload->clusters > 1) && peer == &peer_roulette_spin;
    bool chosen = workload->polled || peer != &peer_roulette_poll;
    return wanted && chosen && !crowded && (peer->takes & kind_of(workload)) != 0 &&
           (!shared || peer->shares);
}

size_t contest_width(const struct workload *workload, const struct contest_options *options)
{
    size_t width = 0;
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        width += takes_part(peers[i], workload, options) ? 1 : 0;
    }
    return width;
}

static uint64_t at_least(uint64_t value, uint64_t least)
{
    return value > least ? value : least;
}

/* Messages of the first run. */
static uint64_t probe_messages(const struct workload *workload)
{
    if (workload->kind == WORKLOAD_LATENCY) {
        return PROBE_LATENCIES;
    }
    uint64_t messages = PROBE_BYTES / (workload->payload_len + 64);
    messages = messages < PROBE_MESSAGES ? messages : PROBE_MESSAGES;
    return workload->subscribers > 1 ? at_least(messages / workload->subscribers, MESSAGES_MIN)
                                     : messages;
}

/*
 * Find the number of messages that keep the peer busy for `seconds`: run a few, then as many as
 * would take half of it, because a short run says little about a long one.
 */
static void probe(struct entry *entry, double seconds)
{
    const struct workload *workload = entry->workload;
    uint32_t copies = workload->subscribers > 1 ? workload->subscribers : 1;
    if (workload->pace != 0) {
        entry->messages = (uint64_t)(workload->pace * seconds);
        return;
    }
    entry->messages = probe_messages(workload);
    for (int step = 0; step < 2; step++) {
        struct trial trial;
        if (!trial_run(entry->peer, workload, entry->messages, &trial)) {
            entry->failures++;
            return;
        }
        double wanted = sample_rate(&trial.sample) * (step == 0 ? seconds / 2 : seconds);
        entry->messages = at_least((uint64_t)(wanted / copies), DELIVERIES_MIN / copies);
        entry->messages = at_least(entry->messages, MESSAGES_MIN);
    }
}

/*
 * Forwards and backwards in turn, so that nobody always runs behind the same one: a machine that
 * was just busy wakes its threads sooner than one that was idle.
 */
static void run_round(struct contest *contest, const struct contest_options *options,
                      uint32_t round)
{
    for (size_t i = 0; i < contest->entry_count; i++) {
        size_t turn = round % 2 == 1 ? i : contest->entry_count - 1 - i;
        struct entry *entry = &contest->entries[turn];
        struct trial *trial = &entry->trials[round - 1];
        options->on_round(options->context, entry, round);
        entry->good[round - 1] = trial_run(entry->peer, entry->workload, entry->messages, trial);
        entry->rounds = round;
        if (entry->good[round - 1]) {
            options->on_trial(options->context, entry, round, trial);
        } else {
            entry->failures++;
        }
    }
}

static void add_entries(struct contest *contest, const struct workload *workload,
                        const struct contest_options *options)
{
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        if (takes_part(peers[i], workload, options)) {
            struct entry *entry = &contest->entries[contest->entry_count++];
            entry->workload = workload;
            entry->peer = peers[i];
        }
    }
}

void contest_run(const struct workload *const *chosen, size_t count,
                 const struct contest_options *options, struct contest *contest)
{
    memset(contest, 0, sizeof(*contest));
    contest->compares = options->compares;
    for (size_t i = 0; i < count; i++) {
        add_entries(contest, chosen[i], options);
    }
    for (size_t i = 0; i < contest->entry_count; i++) {
        options->on_round(options->context, &contest->entries[i], 0);
        probe(&contest->entries[i], options->seconds);
    }
    /* Those that are compared are of one kind. */
    uint32_t rounds = workload_rounds(chosen[0], options->rounds);
    for (uint32_t round = 1; round <= rounds; round++) {
        run_round(contest, options, round);
    }
    for (size_t i = 0; i < contest->entry_count; i++) {
        struct entry *entry = &contest->entries[i];
        entry->calls_counted =
            entry->workload->calls &&
            trial_count_calls(entry->peer, entry->workload, entry->messages / CALLS_PART + 1,
                              &entry->calls_per_message);
    }
}

static bool is_same(const struct workload *left, const struct workload *right)
{
    return left->kind == right->kind && left->server == right->server &&
           left->payload_len == right->payload_len && left->threads == right->threads &&
           left->clusters == right->clusters && left->topics == right->topics &&
           left->subscriptions == right->subscriptions && left->subscribers == right->subscribers &&
           left->pace == right->pace && left->one_cpu == right->one_cpu &&
           left->tls == right->tls && left->record_len == right->record_len;
}

const struct entry *contest_find(const struct contest *contest, const struct workload *workload,
                                 const struct peer *peer)
{
    for (size_t i = 0; i < contest->entry_count; i++) {
        const struct entry *entry = &contest->entries[i];
        if (entry->peer == peer && is_same(entry->workload, workload)) {
            return entry;
        }
    }
    return NULL;
}
