/* SPDX-License-Identifier: MIT */
#include "core/cluster/loop.h"

#include "base/assert.h"
#include "base/defs.h"

/* How long after a send of many messages publishers need no fences. */
#define CROWD_NS RLT_NS_PER_MS

/* The one interest bit of the thread's doorbell. */
#define WANTED 1

void rlt_loop_add(struct rlt_loop *loop, struct rlt_cluster *cluster)
{
    cluster->thread_bell = &loop->doorbell;
    loop->entries[loop->count++] = (struct rlt_loop_entry){.cluster = cluster};
    loop->running++;
}

void rlt_loop_start(struct rlt_loop *loop, uint64_t now_ns)
{
    for (uint32_t i = 0; i < loop->count; i++) {
        rlt_cluster_start(loop->entries[i].cluster, now_ns);
    }
}

/* ---- Who fences --------------------------------------------------------------------------- */

static void set_asymmetric(struct rlt_loop *loop, bool asymmetric)
{
    loop->asymmetric = asymmetric;
    rlt_doorbell_set_asymmetric(&loop->doorbell, asymmetric);
    for (uint32_t i = 0; i < loop->count; i++) {
        rlt_doorbell_set_asymmetric(&loop->entries[i].cluster->doorbell, asymmetric);
    }
}

/* While publishers send many messages, one barrier before each sleep replaces many fences. */
static bool is_crowded(const struct rlt_loop *loop)
{
    return loop->crowd_ns != 0 && loop->now_ns - loop->crowd_ns < CROWD_NS;
}

static void note_crowd(struct rlt_loop *loop, const struct rlt_cluster *cluster)
{
    if (cluster->env.crowd_ns > loop->crowd_ns) {
        loop->crowd_ns = cluster->env.crowd_ns;
        if (!loop->asymmetric && loop->barrier != NULL) {
            set_asymmetric(loop, true);
        }
    }
}

/* Pass the barrier between arming and the second look. Returns: false if that look could miss an
 * entry. */
static bool pass_barrier(struct rlt_loop *loop)
{
    if (!loop->asymmetric) {
        atomic_thread_fence(memory_order_seq_cst);
        return true;
    }
    if (!is_crowded(loop)) {
        set_asymmetric(loop, false); /* behind this barrier all threads see it */
    }
    if (!loop->barrier()) {
        /* The barrier worked once, but a sandbox forbids it now. Threads that knock fence for
         * themselves from here on; those that have not seen that yet are through before this thread
         * tries to sleep again. */
        loop->barrier = NULL;
        set_asymmetric(loop, false);
        return false;
    }
    return true;
}

/* ---- Running ------------------------------------------------------------------------------ */

void rlt_loop_step(struct rlt_loop *loop, uint64_t now_ns)
{
    loop->now_ns = now_ns;
    for (uint32_t i = 0; i < loop->count; i++) {
        struct rlt_loop_entry *entry = &loop->entries[i];
        if (entry->state != RLT_LOOP_AWAKE) {
            continue;
        }
        rlt_cluster_step(entry->cluster, now_ns);
        note_crowd(loop, entry->cluster);
        if (rlt_cluster_is_stopped(entry->cluster)) {
            entry->state = RLT_LOOP_STOPPED;
            loop->running--;
            loop->on_stopped(loop->context, i);
        }
    }
}

/* Whether a thread has knocked at a sleeping cluster. */
static bool is_wanted(const struct rlt_loop_entry *entry)
{
    return entry->state == RLT_LOOP_ASLEEP && !rlt_doorbell_is_untouched(&entry->cluster->doorbell);
}

static void wake(struct rlt_loop *loop, struct rlt_loop_entry *entry, uint64_t now_ns)
{
    entry->state = RLT_LOOP_AWAKE;
    loop->bring_home(&entry->cluster->receiving);
    rlt_cluster_awake(entry->cluster, now_ns);
}

/* Whether a cluster that is awake has something to do. */
static bool has_work(const struct rlt_loop *loop)
{
    for (uint32_t i = 0; i < loop->count; i++) {
        const struct rlt_loop_entry *entry = &loop->entries[i];
        if (entry->state == RLT_LOOP_AWAKE && rlt_cluster_has_work(entry->cluster)) {
            return true;
        }
    }
    return false;
}

static void arm_all(struct rlt_loop *loop)
{
    for (uint32_t i = 0; i < loop->count; i++) {
        struct rlt_loop_entry *entry = &loop->entries[i];
        if (entry->state == RLT_LOOP_AWAKE) {
            entry->deadline_ns = rlt_cluster_deadline(entry->cluster);
            rlt_cluster_arm(entry->cluster);
        }
    }
    rlt_doorbell_arm_unfenced(&loop->doorbell, WANTED);
}

/* Put the armed clusters without work to sleep. */
static void put_to_sleep(struct rlt_loop *loop)
{
    for (uint32_t i = 0; i < loop->count; i++) {
        struct rlt_loop_entry *entry = &loop->entries[i];
        if (entry->state == RLT_LOOP_AWAKE && !rlt_cluster_has_work(entry->cluster)) {
            entry->state = RLT_LOOP_ASLEEP;
            rlt_cluster_sleep(entry->cluster);
        }
    }
}

bool rlt_loop_may_sleep(struct rlt_loop *loop)
{
    /* Checked first, because it costs less than the barrier. */
    if (has_work(loop)) {
        return false;
    }
    arm_all(loop);
    if (!pass_barrier(loop)) {
        return false;
    }
    put_to_sleep(loop);
    for (uint32_t i = 0; i < loop->count; i++) {
        const struct rlt_loop_entry *entry = &loop->entries[i];
        if (entry->state == RLT_LOOP_AWAKE || is_wanted(entry)) {
            return false;
        }
    }
    return true;
}

uint64_t rlt_loop_deadline(const struct rlt_loop *loop)
{
    uint64_t deadline = RLT_NEVER;
    for (uint32_t i = 0; i < loop->count; i++) {
        if (loop->entries[i].state == RLT_LOOP_ASLEEP) {
            deadline = rlt_min_u64(deadline, loop->entries[i].deadline_ns);
        }
    }
    return deadline;
}

void rlt_loop_awake(struct rlt_loop *loop, bool woken, uint64_t now_ns)
{
    rlt_doorbell_disarm(&loop->doorbell);
    for (uint32_t i = 0; i < loop->count; i++) {
        struct rlt_loop_entry *entry = &loop->entries[i];
        bool wanted = is_wanted(entry);
        if (wanted && woken) {
            rlt_counter_add(&entry->cluster->env.metrics.wakeups, 1);
        }
        if (wanted || (entry->state == RLT_LOOP_ASLEEP && entry->deadline_ns <= now_ns)) {
            wake(loop, entry, now_ns);
        } else if (entry->state == RLT_LOOP_AWAKE) {
            /* A borrower may have given back a loan that was out when the cluster woke. */
            rlt_cluster_awake(entry->cluster, now_ns);
        }
    }
}

void rlt_loop_on_event(struct rlt_loop *loop, uint32_t index, const struct rlt_io_event *event,
                       uint64_t now_ns)
{
    RLT_ASSERT(index < loop->count && loop->entries[index].state != RLT_LOOP_STOPPED);
    struct rlt_loop_entry *entry = &loop->entries[index];
    if (entry->state == RLT_LOOP_ASLEEP) {
        wake(loop, entry, now_ns);
    }
    rlt_cluster_on_event(entry->cluster, event, now_ns);
}
