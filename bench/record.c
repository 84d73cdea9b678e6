/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <jansson.h>

#include "lines.h"

/* What names a line: the workload and the peer. */
static json_t *make_line(const char *type, const struct workload *workload, const struct peer *peer)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "type", type, "work",
                     workload_group(workload), "peer", peer->name, "server",
                     workload->server == SERVER_NULL ? "null" : "nats-server", "payload_bytes",
                     (json_int_t)workload->payload_len, "threads", (json_int_t)workload->threads);
}

void record_trial(struct lines *lines, const struct contest *contest, const struct entry *entry,
                  uint32_t round, const struct trial *trial)
{
    const struct sample *sample = &trial->sample;
    json_t *line = make_line("run", contest->workload, entry->peer);
    json_t *more =
        json_pack("{s:I, s:I, s:I, s:f, s:f, s:I, s:f}", "round", (json_int_t)round, "messages",
                  (json_int_t)sample->messages, "dropped", (json_int_t)sample->dropped, "seconds",
                  sample->seconds, "cpu_seconds", sample->cpu_seconds, "context_switches",
                  (json_int_t)sample->switches, "server_cpu_ns_per_message", trial->server_cpu_ns);
    (void)json_object_update_new(line, more);
    lines_write(lines, line);
}

void record_contest(struct lines *lines, const struct contest *contest)
{
    for (size_t i = 0; i < contest->entry_count; i++) {
        const struct entry *entry = &contest->entries[i];
        json_t *line = make_line("row", contest->workload, entry->peer);
        json_t *more = json_pack(
            "{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "messages_per_second",
            lines_series(&entry->rate), "cpu_ns_per_message", lines_series(&entry->cpu_ns),
            "rate_of_libnats", lines_series(&entry->rate_of_libnats), "cpu_of_libnats",
            lines_series(&entry->cpu_of_libnats), "cpu_of_raw", lines_series(&entry->cpu_of_raw),
            "messages", (json_int_t)entry->done, "dropped", (json_int_t)entry->dropped, "failures",
            (json_int_t)entry->failures);
        (void)json_object_update_new(line, more);
        lines_write(lines, line);
    }
}
