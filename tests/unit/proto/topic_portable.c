/* SPDX-License-Identifier: MIT */
/* The code of topic.c that machines without SSE2 run, under other names, for topic_test.c. */
#define RLT_TOPIC_PORTABLE
#define rlt_topic_check         portable_topic_check
#define rlt_topic_check_pattern portable_topic_check_pattern
#define rlt_topic_check_group   portable_topic_check_group

#include "proto/topic.c"
