/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "stop.h"

struct record {
    FILE *file;
};

/* Write one line. Ownership: takes `line`. */
static void write_line(struct record *record, json_t *line)
{
    if (line == NULL ||
        json_dumpf(line, record->file, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0) {
        stop("a result could not be written");
    }
    (void)fputc('\n', record->file);
    (void)fflush(record->file);
    json_decref(line);
}

struct record *record_open(const char *path, const struct machine *machine)
{
    struct record *record = malloc(sizeof(*record));
    if (record == NULL || (record->file = fopen(path, "we")) == NULL) {
        stop("%s: %m", path);
    }
    char now[32];
    time_t seconds = time(NULL);
    struct tm parts;
    (void)strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
    write_line(record,
               json_pack("{s:s, s:s, s:s, s:I, s:f, s:s, s:s, s:s, s:s, s:s}", "type", "machine",
                         "time", now, "cpu", machine->cpu, "cores", (json_int_t)machine->cores,
                         "load", machine->load, "kernel", machine->kernel, "compiler",
                         machine->compiler, "flags", machine->flags, "roulette", machine->roulette,
                         "libnats", machine->libnats));
    return record;
}

/* What names a line: the workload and the peer. */
static json_t *make_line(const char *type, const struct workload *workload, const struct peer *peer)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "type", type, "work",
                     workload_group(workload), "peer", peer->name, "server",
                     workload->server == SERVER_NULL ? "null" : "nats-server", "payload_bytes",
                     (json_int_t)workload->payload_len, "threads", (json_int_t)workload->threads);
}

void record_trial(struct record *record, const struct contest *contest, const struct entry *entry,
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
    write_line(record, line);
}

static json_t *make_series(const struct series *series)
{
    if (series->count == 0) {
        return json_null();
    }
    return json_pack("{s:f, s:f, s:f, s:I}", "median", series_median(series), "min",
                     series_min(series), "max", series_max(series), "rounds",
                     (json_int_t)series->count);
}

void record_contest(struct record *record, const struct contest *contest)
{
    for (size_t i = 0; i < contest->entry_count; i++) {
        const struct entry *entry = &contest->entries[i];
        json_t *line = make_line("row", contest->workload, entry->peer);
        json_t *more = json_pack(
            "{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "messages_per_second",
            make_series(&entry->rate), "cpu_ns_per_message", make_series(&entry->cpu_ns),
            "rate_of_libnats", make_series(&entry->rate_of_libnats), "cpu_of_libnats",
            make_series(&entry->cpu_of_libnats), "cpu_of_raw", make_series(&entry->cpu_of_raw),
            "messages", (json_int_t)entry->done, "dropped", (json_int_t)entry->dropped, "failures",
            (json_int_t)entry->failures);
        (void)json_object_update_new(line, more);
        write_line(record, line);
    }
}

void record_close(struct record *record)
{
    (void)fclose(record->file);
    free(record);
}
