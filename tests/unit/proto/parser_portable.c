/* SPDX-License-Identifier: MIT */
/* The code of parser.c that machines without SSE2 run, under other names, for its tests. */
#define RLT_SCAN_PORTABLE
#define rlt_parse            portable_parse
#define rlt_parse_streaks    portable_parse_runs
#define rlt_parse_error_text portable_parse_error_text

#include "proto/parser.c"
