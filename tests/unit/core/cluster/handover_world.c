/* SPDX-License-Identifier: MIT */
#include "unit/core/cluster/handover_world.h"

#include "base/defs.h"
#include "support/test.h"

struct world_member *plain;
struct world_member *grouped;

void assert_phase(enum rlt_handover_phase phase)
{
    cr_assert_eq(world.cluster->paths[0].handover.phase, phase, "phase %d, not %d",
                 world.cluster->paths[0].handover.phase, phase);
}

void assert_active(uint32_t slot)
{
    cr_assert_eq(world.cluster->paths[0].active->slot, slot);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.connected), world.config.pool_size);
}

void open_cluster(uint32_t pool_size, enum roulette_restart restart,
                  enum roulette_guarantee guarantee)
{
    world_open(pool_size, restart, guarantee);
    plain = world_subscribe("p", "p", NULL, 0);
    grouped = world_subscribe("q", "q", "g", 0);
    world_assert_sent(0, "SUB p 1|SUB q g 2|");
}

void move_on(enum rlt_handover_phase phase, uint32_t old, uint32_t second)
{
    if (world.cluster->paths[0].handover.phase == RLT_HANDOVER_NONE) {
        world_say(old, WORLD_LAME_DUCK);
    }
    assert_phase(RLT_HANDOVER_CONNECTING);
    if (phase >= RLT_HANDOVER_RECORDING) {
        world_pass(JITTER_NS);
        world_accept(second);
        world_ignore_last_ping(old);
    }
    if (phase >= RLT_HANDOVER_FENCING) {
        assert_phase(RLT_HANDOVER_RECORDING);
        world_pong(old);
        world_pass(RECORD_NS);
    }
    if (phase >= RLT_HANDOVER_SETTLING) {
        assert_phase(RLT_HANDOVER_FENCING);
        world_pong(second);
    }
    if (phase >= RLT_HANDOVER_DRAINING) {
        assert_phase(RLT_HANDOVER_SETTLING);
        world_pass(SETTLE_NS);
    }
    if (phase >= RLT_HANDOVER_LINGERING) {
        assert_phase(RLT_HANDOVER_DRAINING);
        world_pong(old);
    }
}

void move_to(enum rlt_handover_phase phase)
{
    move_on(phase, 0, 1);
    assert_phase(phase);
}
