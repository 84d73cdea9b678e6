/* SPDX-License-Identifier: MIT */
#include "sim/sim_holdback.h"

#include <string.h>

#include "core/cluster/cluster.h"
#include "sim/sim.h"

#define ALL_MAX 8

static struct sim_holdback *all[ALL_MAX];
/* What the core has taken out last, until it is known why. */
static struct rlt_holdback_item taken;
static struct sim_holdback *taker;

void sim_holdback_begin(struct sim_holdback *self, struct sim *sim, struct rlt_cluster *cluster)
{
    self->sim = sim;
    self->cluster = cluster;
    self->count = 0;
    self->receives = false;
    if (cluster->env.index == 0) {
        memset(all, 0, sizeof(all)); /* of the last world */
    }
    all[cluster->env.index] = self;
    memset(&taken, 0, sizeof(taken));
}

void sim_holdback_push(struct sim_holdback *self, struct sim_waiting what)
{
    SIM_CHECK(self->sim, self->count < SIM_WAITING_MAX);
    self->waiting[self->count++] = what;
    self->waited++;
}

static struct sim_waiting take_out(struct sim_holdback *self, uint32_t index)
{
    struct sim_waiting what = self->waiting[index];
    self->count--;
    memmove(&self->waiting[index], &self->waiting[index + 1],
            (self->count - index) * sizeof(self->waiting[0]));
    return what;
}

bool sim_holdback_cancel(struct sim_holdback *self, uint32_t number)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->waiting[i].number == number) {
            (void)take_out(self, i);
            return true;
        }
    }
    return false;
}

/* The one of a subscription that has waited longest. */
static struct sim_waiting take_first(struct sim_holdback *self, uint64_t sid)
{
    uint32_t index = 0;
    while (index < self->count && self->waiting[index].sid != sid) {
        index++;
    }
    SIM_CHECK(self->sim, index < self->count, "a message of %lu did not wait", sid);
    return take_out(self, index);
}

static void release(struct sim_holdback *self, const struct rlt_frame *frame, bool has_bytes)
{
    struct sim_waiting what = take_first(self, frame->sid);
    if (has_bytes) {
        const uint8_t *body = frame->topic + frame->body_offset + frame->header_len;
        uint32_t number = sim_read(self->sim, body, frame->body_len - frame->header_len);
        SIM_CHECK(self->sim, number == what.number, "message %u is let go, %u must be", number,
                  what.number);
    }
    self->released++;
    self->on_release(self->context, &what);
}

/* What was taken out last was not delivered. */
static void end_taken(void)
{
    if (taken.frame.topic != NULL) {
        taken.frame.topic = NULL;
        (void)take_first(taker, taken.frame.sid);
        taker->on_drop(taker->context);
    }
}

void sim_holdback_note_receive(struct sim_holdback *self)
{
    end_taken();
    self->receives = true;
}

void sim_holdback_note_end(struct sim_holdback *self)
{
    end_taken();
    self->receives = false;
}

/* ---- The core's functions, by the linker's --wrap ------------------------------------------- */

struct rlt_holdback_item __real_rlt_holdback_take(struct rlt_holdback *holdback, uint64_t number);
struct rlt_holdback_item __wrap_rlt_holdback_take(struct rlt_holdback *holdback, uint64_t number);
void __real_rlt_fan_out(struct rlt_exchange *exchange, const struct rlt_streak *runs,
                        uint32_t count, struct rlt_slab *slab);
void __wrap_rlt_fan_out(struct rlt_exchange *exchange, const struct rlt_streak *runs,
                        uint32_t count, struct rlt_slab *slab);

static struct sim_holdback *of(const struct rlt_holdback *holdback)
{
    for (uint32_t i = 0; i < ALL_MAX; i++) {
        if (all[i] == NULL) {
            continue;
        }
        const struct rlt_cluster *cluster = all[i]->cluster;
        for (uint32_t k = 0; k < cluster->pool_size; k++) {
            if (&cluster->paths[k].handover.merge.waiting == holdback) {
                return all[i];
            }
        }
    }
    return NULL;
}

struct rlt_holdback_item __wrap_rlt_holdback_take(struct rlt_holdback *holdback, uint64_t number)
{
    end_taken();
    struct rlt_holdback_item item = __real_rlt_holdback_take(holdback, number);
    taker = of(holdback);
    if (!taker->receives) {
        taken = item;
    }
    return item;
}

void __wrap_rlt_fan_out(struct rlt_exchange *exchange, const struct rlt_streak *runs,
                        uint32_t count, struct rlt_slab *slab)
{
    if (count == 1 && taken.frame.topic != NULL && runs[0].frame.topic == taken.frame.topic) {
        taken.frame.topic = NULL;
        release(all[exchange->env->index], &runs[0].frame, slab != NULL);
    }
    end_taken();
    __real_rlt_fan_out(exchange, runs, count, slab);
}
