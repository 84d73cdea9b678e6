/* SPDX-License-Identifier: MIT */
#include "contest.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the first run of all, which finds out how fast a peer is: at most so many. */
#define PROBE_BYTES    (UINT64_C(64) << 20)
#define PROBE_MESSAGES UINT64_C(200000)

static const struct peer *const peers[] = {
    &peer_roulette,
    &peer_roulette_text,
    &peer_libnats,
    &peer_raw,
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

static bool takes_part(const struct peer *peer, const struct workload *workload,
                       const struct contest_options *options)
{
    bool wanted = options->peer == NULL || strcmp(options->peer, peer->name) == 0;
    return wanted && (workload->kind == WORKLOAD_PUBLISH || peer->receives);
}

static void progress(const struct contest *contest, const struct entry *entry, uint32_t round,
                     uint32_t rounds)
{
    char title[64];
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%s: round %u of %u, %s ",
                workload_title(contest->workload, title, sizeof(title)), round, rounds,
                entry->peer->name);
    }
}

static void progress_end(void)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
}

static void append(struct series *series, double value)
{
    if (series->count < SAMPLE_ROUNDS_MAX) {
        series->values[series->count++] = value;
    }
}

/*
 * Find the number of messages that keep the peer busy for `seconds`: run a few, then as many as
 * would take half of it, because a short run says little about a long one.
 */
static void probe(struct entry *entry, const struct workload *workload, double seconds)
{
    uint64_t messages = PROBE_BYTES / (workload->payload_len + 64);
    entry->messages = messages < PROBE_MESSAGES ? messages : PROBE_MESSAGES;
    for (int step = 0; step < 2; step++) {
        struct trial trial;
        if (!trial_run(entry->peer, workload, entry->messages, &trial)) {
            entry->failures++;
            return;
        }
        double wanted = sample_rate(&trial.sample) * (step == 0 ? seconds / 2 : seconds);
        entry->messages = wanted > 1000 ? (uint64_t)wanted : 1000;
    }
}

/* The sample of a peer in this round, or NULL. */
static const struct sample *find(const struct contest *contest, const struct peer *peer,
                                 const struct trial *trials, const bool *good)
{
    for (size_t i = 0; i < contest->entry_count; i++) {
        if (contest->entries[i].peer == peer && good[i]) {
            return &trials[i].sample;
        }
    }
    return NULL;
}

static void add_ratios(struct contest *contest, const struct trial *trials, const bool *good)
{
    const struct sample *libnats = find(contest, &peer_libnats, trials, good);
    const struct sample *raw = find(contest, &peer_raw, trials, good);
    for (size_t i = 0; i < contest->entry_count; i++) {
        struct entry *entry = &contest->entries[i];
        const struct sample *own = &trials[i].sample;
        if (good[i] && libnats != NULL) {
            append(&entry->rate_of_libnats, sample_rate(own) / sample_rate(libnats));
            append(&entry->cpu_of_libnats, sample_cpu_ns(own) / sample_cpu_ns(libnats));
        }
        if (good[i] && raw != NULL) {
            append(&entry->cpu_of_raw, sample_cpu_ns(own) / sample_cpu_ns(raw));
        }
    }
}

static void run_round(struct contest *contest, const struct contest_options *options,
                      uint32_t round)
{
    struct trial trials[CONTEST_PEERS_MAX];
    bool good[CONTEST_PEERS_MAX];
    for (size_t i = 0; i < contest->entry_count; i++) {
        struct entry *entry = &contest->entries[i];
        progress(contest, entry, round, options->rounds);
        good[i] = trial_run(entry->peer, contest->workload, entry->messages, &trials[i]) &&
                  trials[i].sample.messages != 0;
        if (!good[i]) {
            entry->failures++;
            continue;
        }
        append(&entry->rate, sample_rate(&trials[i].sample));
        append(&entry->cpu_ns, sample_cpu_ns(&trials[i].sample));
        entry->done += trials[i].sample.messages;
        entry->dropped += trials[i].sample.dropped;
        options->on_trial(options->context, contest, entry, round, &trials[i]);
    }
    add_ratios(contest, trials, good);
}

void contest_run(const struct workload *workload, const struct contest_options *options,
                 struct contest *contest)
{
    memset(contest, 0, sizeof(*contest));
    contest->workload = workload;
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        if (takes_part(peers[i], workload, options)) {
            contest->entries[contest->entry_count++].peer = peers[i];
        }
    }
    for (size_t i = 0; i < contest->entry_count; i++) {
        progress(contest, &contest->entries[i], 0, options->rounds);
        probe(&contest->entries[i], workload, options->seconds);
    }
    for (uint32_t round = 1; round <= options->rounds; round++) {
        run_round(contest, options, round);
    }
    progress_end();
}
