/* SPDX-License-Identifier: MIT */
#include "harness/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness/stop.h"

struct lines {
    FILE *file;
};

void lines_write(struct lines *lines, json_t *line)
{
    if (line == NULL || json_dumpf(line, lines->file, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0) {
        stop("a result could not be written");
    }
    (void)fputc('\n', lines->file);
    (void)fflush(lines->file);
    json_decref(line);
}

static json_t *machine_line(const struct machine *machine)
{
    char now[32];
    time_t seconds = time(NULL);
    struct tm parts;
    (void)strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:s, s:s, s:s, s:s, s:s, s:s?}", "type", "machine",
                     "time", now, "cpu", machine->cpu, "cores", (json_int_t)machine->cores, "load",
                     machine->load, "kernel", machine->kernel, "compiler", machine->compiler,
                     "flags", machine->flags, "roulette", machine->roulette, "libnats",
                     machine->libnats, "before", machine->before);
}

struct lines *lines_open(const char *path, enum lines_mode mode, const struct machine *machine)
{
    struct lines *lines = malloc(sizeof(*lines));
    if (lines == NULL || (lines->file = fopen(path, mode == LINES_APPEND ? "ae" : "we")) == NULL) {
        stop("%s: %m", path);
    }
    if (fseek(lines->file, 0, SEEK_END) == 0 && ftell(lines->file) == 0) {
        lines_write(lines, machine_line(machine));
    }
    return lines;
}

json_t *lines_series(const struct series *series)
{
    if (series->count == 0) {
        return json_null();
    }
    return json_pack("{s:f, s:f, s:f, s:I}", "median", series_median(series), "min",
                     series_min(series), "max", series_max(series), "rounds",
                     (json_int_t)series->count);
}

void lines_close(struct lines *lines)
{
    (void)fclose(lines->file);
    free(lines);
}
