/* SPDX-License-Identifier: MIT */
#include "harness/record.h"

#include <jansson.h>

#include "harness/goal.h"
#include "harness/lines.h"

/* What names a line: the workload and the peer, or NULL for all. */
static json_t *make_line(const char *type, const struct workload *workload, const char *peer)
{
    char mode[32];
    return json_pack("{s:s, s:s, s:s?, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:b, s:I}", "type",
                     type, "work", workload_group(workload), "peer", peer, "server",
                     workload_server(workload), "payload_bytes", (json_int_t)workload->payload_len,
                     "threads", (json_int_t)workload->threads, "clusters",
                     (json_int_t)workload->clusters, "topics", (json_int_t)workload->topics,
                     "subscriptions", (json_int_t)workload->subscriptions, "subscribers",
                     (json_int_t)workload->subscribers, "mode",
                     workload_mode(workload, mode, sizeof(mode)), "tls", (int)workload->tls,
                     "record_bytes", (json_int_t)workload->record_len);
}

static json_t *make_times(const struct entry *entry, double p50, double p99, double p999)
{
    if (entry->workload->kind != WORKLOAD_LATENCY) {
        return json_null();
    }
    return json_pack("{s:f, s:f, s:f}", "p50", p50, "p99", p99, "p999", p999);
}

static json_t *make_copies(const struct entry *entry, double copies)
{
    return entry->workload->kind == WORKLOAD_FAN_OUT ? json_real(copies) : json_null();
}

void record_trial(struct lines *lines, const struct entry *entry, uint32_t round,
                  const struct trial *trial)
{
    const struct sample *sample = &trial->sample;
    json_t *line = make_line("run", entry->workload, entry->peer->name);
    json_t *more = json_pack("{s:I, s:I, s:I, s:f, s:f, s:I, s:f, s:o, s:o}", "round",
                             (json_int_t)round, "messages", (json_int_t)sample->messages, "dropped",
                             (json_int_t)sample->dropped, "seconds", sample->seconds, "cpu_seconds",
                             sample->cpu_seconds, "context_switches", (json_int_t)sample->switches,
                             "server_cpu_ns_per_message", trial->server_cpu_ns, "latency_us",
                             make_times(entry, sample->p50_us, sample->p99_us, sample->p999_us),
                             "copies_on_wire", make_copies(entry, sample->copies));
    (void)json_object_update_new(line, more);
    lines_write(lines, line);
}

static json_t *make_metric(const struct entry *entry, enum metric metric)
{
    struct series series;
    entry_series(entry, metric, &series);
    return lines_series(&series);
}

static json_t *make_ratio(const struct contest *contest, const struct entry *entry,
                          const struct peer *peer, enum metric metric)
{
    struct series series = {0};
    const struct entry *reference = contest_find(contest, entry->workload, peer);
    if (reference != NULL) {
        entry_ratios(entry, reference, metric, &series);
    }
    return lines_series(&series);
}

/* Those to an older build are null without one. */
static json_t *make_ratios(const struct contest *contest, const struct entry *entry)
{
    static const struct {
        const char *name;
        const struct peer *peer;
        enum metric metric;
    } ratios[] = {
        {"rate_of_libnats", &peer_libnats, METRIC_RATE},
        {"cpu_of_libnats", &peer_libnats, METRIC_CPU},
        {"cpu_of_raw", &peer_raw, METRIC_CPU},
        {"rate_of_before", &peer_roulette_before, METRIC_RATE},
        {"cpu_of_before", &peer_roulette_before, METRIC_CPU},
        {"p50_of_libnats", &peer_libnats, METRIC_P50},
        {"p99_of_libnats", &peer_libnats, METRIC_P99},
        {"p50_of_before", &peer_roulette_before, METRIC_P50},
        {"p99_of_before", &peer_roulette_before, METRIC_P99},
    };
    json_t *line = json_object();
    for (size_t i = 0; i < sizeof(ratios) / sizeof(ratios[0]); i++) {
        bool timed = ratios[i].metric == METRIC_P50 || ratios[i].metric == METRIC_P99;
        bool known = !timed || entry->workload->kind == WORKLOAD_LATENCY;
        (void)json_object_set_new(
            line, ratios[i].name,
            known ? make_ratio(contest, entry, ratios[i].peer, ratios[i].metric) : json_null());
    }
    return line;
}

static double median(const struct entry *entry, enum metric metric)
{
    struct series series;
    entry_series(entry, metric, &series);
    return series_median(&series);
}

/* A goal that is not known has neither a figure nor an answer. */
static json_t *make_goals(const struct contest *contest, const struct entry *entry)
{
    struct goal goals[GOALS_MAX];
    size_t count = goal_list(contest, entry, goals);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct goal *goal = &goals[i];
        (void)json_array_append_new(
            list, json_pack("{s:s, s:f, s:o, s:o}", "text", goal->text, "wanted", goal->wanted,
                            "got", goal->known ? json_real(goal->got) : json_null(), "reached",
                            goal->known ? json_boolean(goal->reached) : json_null()));
    }
    return list;
}

static void record_entry(struct lines *lines, const struct contest *contest,
                         const struct entry *entry)
{
    bool any = entry_done(entry) != 0;
    json_t *line = make_line("row", entry->workload, entry->peer->name);
    json_t *figures = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o}", "messages_per_second", make_metric(entry, METRIC_RATE),
        "cpu_ns_per_message", make_metric(entry, METRIC_CPU), "sends_per_message",
        make_metric(entry, METRIC_SENDS), "syscalls_per_message",
        entry->calls_counted ? json_real(entry->calls_per_message) : json_null(), "latency_us",
        any ? make_times(entry, median(entry, METRIC_P50), median(entry, METRIC_P99),
                         median(entry, METRIC_P999))
            : json_null(),
        "copies_on_wire", any ? make_copies(entry, median(entry, METRIC_COPIES)) : json_null());
    json_t *more =
        json_pack("{s:o, s:I, s:I, s:I}", "goal", make_goals(contest, entry), "messages",
                  (json_int_t)entry_done(entry), "dropped", (json_int_t)entry_dropped(entry),
                  "failures", (json_int_t)entry->failures);
    (void)json_object_update_new(line, figures);
    (void)json_object_update_new(line, make_ratios(contest, entry));
    (void)json_object_update_new(line, more);
    lines_write(lines, line);
}

void record_skipped(struct lines *lines, const struct workload *workload)
{
    lines_write(lines, make_line("skipped", workload, NULL));
}

void record_contest(struct lines *lines, const struct contest *contest)
{
    for (size_t i = 0; i < contest->entry_count; i++) {
        record_entry(lines, contest, &contest->entries[i]);
    }
}
