/* SPDX-License-Identifier: MIT */
/**
 * Validation of topics (NATS subjects), subscription patterns and queue groups.
 *
 * Source: nats-clients.md A.3, A.4; reliability.md 1.1. Refused everywhere: empty, longer than
 * ROULETTE_TOPIC_LEN_MAX, any byte <= 0x20, 0x7f, and empty tokens (leading, trailing or doubled
 * '.'). Bytes >= 0x80 are allowed: topics are bytes.
 */
#ifndef RLT_PROTO_TOPIC_H
#define RLT_PROTO_TOPIC_H

#include <stdbool.h>
#include <stddef.h>

/**
 * Check a topic to publish to. A token that is exactly "*" or ">" is a wildcard.
 *
 * Returns: 0, ROULETTE_ETOPIC or ROULETTE_EWILDCARD. On failure `*reason`, if not NULL, is a
 *          static text such as "it has an empty token (two dots in a row)".
 */
int rlt_topic_check(const char *topic, size_t len, const char **reason);

/**
 * Check a pattern to subscribe to: as a topic, but "*" may be any token and ">" the last one.
 *
 * Returns: 0 for a literal topic, 1 for a pattern with a wildcard, ROULETTE_ETOPIC otherwise.
 */
int rlt_topic_check_pattern(const char *pattern, size_t len, const char **reason);

/**
 * Check the name of a queue group: not empty, not longer than a topic, no byte <= 0x20 or 0x7f.
 *
 * Returns: 0 or ROULETTE_ETOPIC.
 */
int rlt_topic_check_group(const char *group, size_t len, const char **reason);

#endif
