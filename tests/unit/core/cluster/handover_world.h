/* SPDX-License-Identifier: MIT */
/**
 * A cluster that leaves a lame duck. Slot 0 is the connection that is left, and with one position
 * slot 1 the one that takes over.
 */
#ifndef RLT_TESTS_UNIT_CORE_CLUSTER_HANDOVER_WORLD_H
#define RLT_TESTS_UNIT_CORE_CLUSTER_HANDOVER_WORLD_H

#include "core/cluster/handover.h"
#include "unit/core/cluster/cluster_world.h"

/* At least as long as each phase takes, and no longer than two of them. */
#define JITTER_NS (RLT_NS_PER_S / 2)
#define RECORD_NS (RLT_NS_PER_S / 4)
#define SETTLE_NS (RLT_NS_PER_S / 2)
#define CROSS_NS  (RLT_NS_PER_S / 4)
#define LINGER_NS (2 * RLT_NS_PER_S)

/** One member of topic "p", and one of topic "q" in group "g". */
extern struct world_member *plain;
extern struct world_member *grouped;

/** Make a connected cluster with these two. */
void open_cluster(uint32_t pool_size, enum roulette_restart restart,
                  enum roulette_guarantee guarantee);

void assert_phase(enum rlt_handover_phase phase);
void assert_active(uint32_t slot);

/** Go from `old` to `second` until a phase has begun, with nothing going wrong. */
void move_on(enum rlt_handover_phase phase, uint32_t old, uint32_t second);

/** From 0 to 1. */
void move_to(enum rlt_handover_phase phase);

#endif
