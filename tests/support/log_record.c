/* SPDX-License-Identifier: MIT */
#include "support/log_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct log_record *log_record_create(void)
{
    struct log_record *record = calloc(1, sizeof(*record));
    if (record == NULL) {
        abort();
    }
    (void)pthread_mutex_init(&record->lock, NULL);
    return record;
}

void log_record_destroy(struct log_record *record)
{
    if (record != NULL) {
        (void)pthread_mutex_destroy(&record->lock);
        free(record);
    }
}

static void note(void *context, enum roulette_log_level level, const char *text)
{
    struct log_record *record = context;
    (void)level;
    (void)pthread_mutex_lock(&record->lock);
    size_t left = sizeof(record->text) - record->len;
    int len = snprintf(record->text + record->len, left, "%s\n", text);
    if (len < 0 || (size_t)len >= left) {
        fprintf(stderr, "log_record: more than %zu bytes were logged\n", LOG_RECORD_BYTES);
        abort();
    }
    record->len += (size_t)len;
    (void)pthread_mutex_unlock(&record->lock);
}

void log_record_attach(struct log_record *record, struct roulette_options *options)
{
    options->log = note;
    options->log_context = record;
    options->log_level = ROULETTE_LOG_DEBUG;
}

size_t log_record_count(struct log_record *record, const char *text)
{
    size_t count = 0;
    (void)pthread_mutex_lock(&record->lock);
    for (const char *at = record->text; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    (void)pthread_mutex_unlock(&record->lock);
    return count;
}

void log_record_clear(struct log_record *record)
{
    (void)pthread_mutex_lock(&record->lock);
    record->len = 0;
    record->text[0] = '\0';
    (void)pthread_mutex_unlock(&record->lock);
}

void log_record_print(struct log_record *record)
{
    (void)pthread_mutex_lock(&record->lock);
    (void)fputs(record->text, stderr);
    (void)pthread_mutex_unlock(&record->lock);
}
