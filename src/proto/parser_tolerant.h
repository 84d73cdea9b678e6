/* SPDX-License-Identifier: MIT */
/**
 * The slow way to parse: all that the protocol allows, byte by byte. proto/parser.c has the fast
 * way, and leaves all other lines to this one.
 */
#ifndef RLT_PROTO_PARSER_TOLERANT_H
#define RLT_PROTO_PARSER_TOLERANT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/parser.h"

/** Parse as rlt_parse(), any line. */
int64_t rlt_parse_tolerant(const uint8_t *bytes, size_t len, struct rlt_frame *frame);

#endif
