/* SPDX-License-Identifier: MIT */
#include "core/cluster/loop.h"

#include <string.h>

#include "base/defs.h"
#include "core/cluster/direct_send.h"
#include "core/sending/fence.h"
#include "proto/encode.h"
#include "roulette.h"
#include "support/test.h"

/* Three clusters of one connection each, on one loop, with a test as their servers. The event
 * thread sleeps between the steps of a test. */
#define CLUSTERS  3
#define TURNS_MAX 100
#define SENT_MAX  1024
#define LONG_AGO  RLT_NS_PER_S

struct site {
    struct rlt_transport transport;
    struct rlt_cluster *cluster;
    bool opening;
    bool open;
    bool closing;
    bool receiving;
    bool hangs; /* its close does not end */
    struct rlt_span in;
    size_t sending; /* bytes of the send in progress */
    char sent[SENT_MAX];
    size_t sent_len;
    int lane;         /* of the one publisher */
    const char *says; /* what its server says next; NULL: nothing */
    unsigned stops;   /* how often the loop told of its end */
};

static struct site sites[CLUSTERS];
static struct rlt_loop loop;
static struct rlt_loop_entry entries[CLUSTERS];
static struct rlt_config config;
static struct rlt_address address;
static uint64_t now_ns;
static unsigned homes; /* how often the loop brought a loan home */

/* ---- The transport ------------------------------------------------------------------------ */

static struct site *site_of(struct rlt_transport *transport)
{
    return rlt_container_of(transport, struct site, transport);
}

static void open_slot(struct rlt_transport *transport, uint32_t slot, const char *host,
                      uint16_t port)
{
    (void)host;
    (void)port;
    cr_assert_eq(slot, 0);
    site_of(transport)->opening = true;
}

static void receive(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                    uint32_t count)
{
    struct site *site = site_of(transport);
    cr_assert(slot == 0 && count >= 1 && site->open && !site->receiving);
    site->in = spans[0];
    site->receiving = true;
}

static size_t append(struct site *site, const struct rlt_span *spans, uint32_t count)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_lt(site->sent_len + spans[i].len, SENT_MAX);
        memcpy(site->sent + site->sent_len, spans[i].bytes, spans[i].len);
        site->sent_len += spans[i].len;
        len += spans[i].len;
    }
    return len;
}

static void send_spans(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                       uint32_t count)
{
    struct site *site = site_of(transport);
    cr_assert(slot == 0 && site->open && site->sending == 0);
    site->sending = append(site, spans, count);
}

static size_t send_now(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                       uint32_t count)
{
    struct site *site = site_of(transport);
    cr_assert(slot == 0 && site->open && site->sending == 0);
    return append(site, spans, count);
}

static void close_slot(struct rlt_transport *transport, uint32_t slot)
{
    cr_assert_eq(slot, 0);
    site_of(transport)->closing = true;
}

static void wake_word(struct rlt_transport *transport, _Atomic(uint32_t) *word)
{
    (void)transport;
    (void)word;
}

static const struct rlt_transport_ops ops = {
    .name = "test",
    .open = open_slot,
    .receive = receive,
    .send = send_spans,
    .send_now = send_now,
    .close = close_slot,
    .wake = wake_word,
};

/* Something ends that is in progress. Returns: false if nothing does. */
static bool next_event(struct site *site, struct rlt_io_event *event)
{
    *event = (struct rlt_io_event){.error = site->closing ? ROULETTE_EDISCONNECTED : 0};
    if (site->opening) {
        site->opening = false;
        site->open = true;
        event->kind = RLT_IO_OPENED;
    } else if (site->sending != 0) {
        event->kind = RLT_IO_SENT;
        event->bytes = site->closing ? 0 : site->sending;
        site->sending = 0;
    } else if (site->receiving && (site->closing || site->says != NULL)) {
        event->kind = RLT_IO_RECEIVED;
        event->bytes = site->closing ? 0 : strlen(site->says);
        memcpy(site->in.bytes, site->closing ? "" : site->says, event->bytes);
        site->receiving = false;
        site->says = NULL;
    } else if (site->closing && !site->hangs) {
        site->closing = site->open = false;
        event->kind = RLT_IO_CLOSED;
        event->error = 0;
    } else {
        return false;
    }
    return true;
}

/* ---- The event thread --------------------------------------------------------------------- */

static void bring_home(struct rlt_loan *loan)
{
    homes++;
    cr_assert(rlt_loan_recall(loan));
}

static void on_stopped(void *context, uint32_t index)
{
    cr_assert_eq(context, &loop);
    sites[index].stops++;
}

/* Give the loop all events that there are. Returns: whether there were some. */
static bool deliver(void)
{
    bool some = false;
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        struct rlt_io_event event;
        while (next_event(&sites[i], &event)) {
            rlt_loop_on_event(&loop, i, &event, now_ns);
            some = true;
        }
    }
    return some;
}

/* The thread is awake: let it work until it sleeps, or is over. */
static void go(void)
{
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        rlt_loop_step(&loop, now_ns);
        if (rlt_loop_is_over(&loop)) {
            return;
        }
        bool sleeps = rlt_loop_may_sleep(&loop);
        bool more = deliver();
        if (sleeps && !more) {
            return;
        }
        rlt_loop_awake(&loop, false, now_ns);
    }
    cr_assert_fail("the event thread spins");
}

/* Something has ended the thread's sleep; `woken`: another thread. */
static void awake(bool woken)
{
    rlt_loop_awake(&loop, woken, now_ns);
}

/* Which clusters are awake: a bit for each. */
static unsigned awake_clusters(void)
{
    unsigned bits = 0;
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        bits |= entries[i].state == RLT_LOOP_AWAKE ? 1U << i : 0;
    }
    return bits;
}

static void say(uint32_t index, const char *text)
{
    sites[index].says = text;
    (void)deliver();
    go();
}

static void connect_site(uint32_t index)
{
    say(index, "INFO {\"max_payload\":1048576}\r\n");
    say(index, "PONG\r\n");
    cr_assert_eq(rlt_cluster_connection(sites[index].cluster, 0)->session.state, RLT_SESSION_READY);
    sites[index].sent_len = 0;
}

static void make_site(uint32_t index)
{
    struct site *site = &sites[index];
    *site = (struct site){.transport.ops = &ops};
    cr_assert_eq(
        rlt_cluster_create(&config, &address, index, &site->transport, index, &site->cluster), 0);
    site->lane = rlt_wire_queue_acquire(&site->cluster->paths[0].queue);
    cr_assert(site->lane >= 0 && site->lane < RLT_WIRE_LANES);
    rlt_loop_add(&loop, site->cluster);
}

static void open_with(bool (*its_barrier)(void))
{
    now_ns = 1000 * RLT_NS_PER_S;
    address = (struct rlt_address){.host = "test", .port = 4222, .label = "test:4222"};
    config = (struct rlt_config){
        .connection_timeout_ns = 2 * RLT_NS_PER_S,
        .ping_interval_ns = 3600 * RLT_NS_PER_S,
        .reconnect_interval_ns = 100 * RLT_NS_PER_MS,
        .base_backoff_ms = 10,
        .max_backoff_ms = 100,
        .max_ping_failure = 2,
        .max_retry = 3,
        .pool_size = 1,
        .lane_capacity = 65536,
        .slab_bytes = 131072,
        .slab_count = 8,
        .name = "test",
    };
    loop = (struct rlt_loop){
        .entries = entries,
        .bring_home = bring_home,
        .on_stopped = on_stopped,
        .context = &loop,
        .barrier = its_barrier,
    };
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        make_site(i);
    }
    rlt_loop_start(&loop, now_ns);
    go();
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        connect_site(i);
    }
    now_ns += LONG_AGO;
    homes = 0;
}

static void open_all(void)
{
    open_with(NULL);
}

static void stop(uint32_t index)
{
    (void)rlt_cluster_submit(sites[index].cluster, &sites[index].cluster->stop);
    awake(true);
    go();
}

static void close_all(void)
{
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        if (!sites[i].cluster->env.stopping) {
            stop(i);
        }
    }
    cr_assert(rlt_loop_is_over(&loop));
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        rlt_cluster_destroy(sites[i].cluster);
    }
}

#define LoopTest(name) Test(loop, name, .init = open_all, .fini = close_all)

/* ---- Other threads ------------------------------------------------------------------------ */

static bool ring(uint32_t index)
{
    return rlt_cluster_knock(sites[index].cluster, RLT_WAKE_COMMANDS);
}

/* Put a message into a lane of the cluster. */
static void put(uint32_t index, const char *payload)
{
    struct rlt_wire_queue *queue = &sites[index].cluster->paths[0].queue;
    struct rlt_pub pub = {
        .topic = "a",
        .topic_len = 1,
        .payload = payload,
        .payload_len = (uint32_t)strlen(payload),
    };
    size_t len = rlt_encode_pub_len(&pub);
    uint8_t *out = rlt_lane_claim(&queue->lanes[sites[index].lane], len);
    cr_assert_not_null(out);
    (void)rlt_encode_pub(out, &pub);
    rlt_lane_commit(&queue->lanes[sites[index].lane], len);
}

static enum rlt_direct_result publish(uint32_t index, const char *payload)
{
    put(index, payload);
    return rlt_direct_send(sites[index].cluster, 0, now_ns);
}

static void assert_sent(uint32_t index, const char *expected)
{
    struct site *site = &sites[index];
    site->sent[site->sent_len] = '\0';
    cr_assert_str_eq(site->sent, expected, "cluster %u", index);
    site->sent_len = 0;
}

static uint64_t wakeups(uint32_t index)
{
    return rlt_counter_get(&sites[index].cluster->env.metrics.wakeups);
}

/* ---- Sleep -------------------------------------------------------------------------------- */

LoopTest(clusters_without_work_sleep_until_the_nearest_deadline)
{
    uint64_t nearest = RLT_NEVER;
    cr_assert_eq(awake_clusters(), 0);
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        nearest = rlt_min_u64(nearest, rlt_cluster_deadline(sites[i].cluster));
    }
    cr_assert_gt(nearest, now_ns);
    cr_assert_eq(rlt_loop_deadline(&loop), nearest);
}

LoopTest(due_timer_wakes_its_cluster_only)
{
    now_ns = rlt_loop_deadline(&loop);
    awake(false);
    unsigned due = awake_clusters();
    cr_assert(due == 1 || due == 2 || due == 4, "clusters %u", due);
    go();
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        assert_sent(i, due == 1U << i ? "PING\r\n" : "");
    }
    cr_assert_gt(rlt_loop_deadline(&loop), now_ns);
}

LoopTest(nothing_wakes_before_its_time)
{
    now_ns = rlt_loop_deadline(&loop) - 1;
    awake(false);
    cr_assert_eq(awake_clusters(), 0);
    cr_assert(rlt_loop_may_sleep(&loop));
}

LoopTest(event_wakes_its_cluster_only)
{
    awake(false);
    sites[1].says = "PING\r\n";
    (void)deliver();
    cr_assert_eq(awake_clusters(), 2);
    go();
    assert_sent(0, "");
    assert_sent(1, "PONG\r\n");
    assert_sent(2, "");
}

LoopTest(what_a_cluster_receives_comes_home_before_it_wakes)
{
    cr_assert(ring(2));
    awake(true);
    cr_assert_eq(homes, 1);
    sites[1].says = "PING\r\n";
    (void)deliver();
    cr_assert_eq(homes, 2);
    go();
}

LoopTest(clusters_fall_asleep_together)
{
    cr_assert(ring(0));
    awake(true);
    sites[1].says = "PING\r\n";
    (void)deliver();
    cr_assert_not(rlt_loop_may_sleep(&loop), "cluster 1 has something to say");
    cr_assert_eq(awake_clusters(), 3);
    awake(false);
    go();
    cr_assert_eq(awake_clusters(), 0);
}

/* ---- The barrier -------------------------------------------------------------------------- */

static unsigned barriers; /* how often the thread asked for it */
static bool is_forbidden;

static bool barrier(void)
{
    barriers++;
    return !is_forbidden;
}

static bool ringers_fence(void)
{
    bool fence = atomic_load(&loop.doorbell.asymmetric) == 0;
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        cr_assert_eq(atomic_load(&sites[i].cluster->doorbell.asymmetric) == 0, fence);
    }
    return fence;
}

static void open_with_barrier(void)
{
    is_forbidden = false;
    open_with(barrier);
    barriers = 0;
}

/* Many messages are sent at once. */
static void crowd(void)
{
    for (int i = 0; i < 20; i++) {
        put(0, "x");
    }
    cr_assert(ring(0));
    awake(true);
    go();
    barriers = 0;
}

#define BarrierTest(name) Test(loop, name, .init = open_with_barrier, .fini = close_all)

BarrierTest(ringers_fence_where_few_messages_are_sent)
{
    cr_assert(ringers_fence());
    put(0, "x");
    cr_assert(ring(0));
    awake(true);
    go();
    cr_assert(ringers_fence());
    cr_assert_eq(barriers, 0);
}

BarrierTest(ringers_fence_again_when_the_crowd_is_gone)
{
    crowd();
    cr_assert_not(ringers_fence());
    now_ns += 2 * RLT_NS_PER_MS;
    awake(false);
    rlt_loop_step(&loop, now_ns);
    cr_assert(rlt_loop_may_sleep(&loop));
    cr_assert(ringers_fence());
    cr_assert_eq(barriers, 1, "behind the last one all know");
    awake(false);
    cr_assert(rlt_loop_may_sleep(&loop));
    cr_assert_eq(barriers, 1);
}

BarrierTest(one_barrier_is_for_all_clusters)
{
    crowd();
    cr_assert_not(ringers_fence());
    awake(false);
    cr_assert(rlt_loop_may_sleep(&loop));
    cr_assert_eq(barriers, 1);
}

BarrierTest(barrier_is_not_for_a_thread_that_has_work)
{
    crowd();
    awake(false);
    sites[1].says = "PING\r\n";
    (void)deliver();
    cr_assert_not(rlt_loop_may_sleep(&loop));
    cr_assert_eq(barriers, 0);
    go();
    cr_assert_gt(barriers, 0);
}

BarrierTest(barrier_that_fails_lets_ringers_fence_before_the_thread_sleeps)
{
    crowd();
    is_forbidden = true;
    cr_assert(ring(1));
    awake(true);
    cr_assert_not(rlt_loop_may_sleep(&loop));
    cr_assert(ringers_fence());
    awake(false);
    cr_assert(rlt_loop_may_sleep(&loop));
    cr_assert_eq(barriers, 1);
}

/* ---- Ringing ------------------------------------------------------------------------------ */

LoopTest(first_ringer_wakes_the_thread_for_all)
{
    cr_assert(ring(1));
    cr_assert_not(ring(1), "it is rung for already");
    cr_assert_not(ring(0), "the thread is woken already");
    cr_assert_not(ring(2));
    awake(true);
    cr_assert_eq(awake_clusters(), 7);
    go();
    cr_assert(ring(0), "the thread has armed its doorbell again");
    awake(true);
    go();
}

LoopTest(cluster_that_is_rung_for_wakes_alone)
{
    cr_assert(ring(1));
    awake(true);
    cr_assert_eq(awake_clusters(), 2);
    go();
}

LoopTest(cluster_that_is_awake_needs_no_ring)
{
    cr_assert(ring(1));
    awake(true);
    cr_assert_not(ring(1));
    go();
}

LoopTest(thread_that_is_awake_needs_no_wake)
{
    awake(false);
    sites[1].says = "PING\r\n";
    (void)deliver();
    cr_assert_not(ring(0), "cluster 0 sleeps, the thread does not");
    rlt_loop_step(&loop, now_ns);
    cr_assert_not(rlt_loop_may_sleep(&loop));
    awake(false);
    cr_assert_eq(awake_clusters(), 1);
    go();
}

LoopTest(thread_sees_the_ring_that_came_before_it_armed)
{
    cr_assert(ring(1));
    awake(true);
    rlt_loop_step(&loop, now_ns);
    cr_assert_not(ring(0));
    cr_assert_not(rlt_loop_may_sleep(&loop));
    go();
}

LoopTest(interest_of_a_cluster_is_respected)
{
    rlt_cluster_connection(sites[1].cluster, 0)->sender.stalled =
        true; /* then lanes are worth no wake-up */
    cr_assert(ring(1));
    awake(true);
    go();
    cr_assert_not(rlt_cluster_knock(sites[1].cluster, RLT_WAKE_LANES));
    cr_assert(ring(1));
    rlt_cluster_connection(sites[1].cluster, 0)->sender.stalled = false;
    awake(true);
    go();
}

LoopTest(wakeups_are_those_by_other_threads)
{
    uint64_t before[CLUSTERS] = {wakeups(0), wakeups(1), wakeups(2)};
    cr_assert(ring(1));
    awake(true);
    go();
    cr_assert_eq(wakeups(1), before[1] + 1);
    now_ns = rlt_loop_deadline(&loop);
    awake(false);
    cr_assert_neq(awake_clusters(), 0);
    go();
    say(2, "PING\r\n");
    awake(true); /* for nothing */
    go();
    cr_assert_eq(wakeups(0), before[0]);
    cr_assert_eq(wakeups(1), before[1] + 1);
    cr_assert_eq(wakeups(2), before[2]);
}

LoopTest(ring_that_an_awake_thread_finds_is_no_wakeup)
{
    uint64_t before = wakeups(0);
    cr_assert(ring(1));
    awake(true);
    cr_assert_not(ring(0));
    go();
    cr_assert_eq(wakeups(0), before);
}

/* ---- Direct sends ------------------------------------------------------------------------- */

LoopTest(publisher_sends_to_a_sleeping_cluster_while_another_one_runs)
{
    cr_assert(ring(0));
    awake(true);
    rlt_loop_step(&loop, now_ns);
    cr_assert_eq(publish(1, "x"), RLT_DIRECT_DONE);
    assert_sent(1, "PUB a 1\r\nx\r\n");
    cr_assert_eq(publish(0, "y"), RLT_DIRECT_KNOCK, "the cluster is awake");
    go();
    assert_sent(0, "PUB a 1\r\ny\r\n");
    cr_assert_eq(awake_clusters(), 0);
}

/* A publisher of cluster 1 has borrowed what its server's PING makes the event thread recall. */
static void recall_from_publisher(void)
{
    enum rlt_direct_result result;
    put(1, "x");
    cr_assert(rlt_direct_send_begin(sites[1].cluster, 0, now_ns, &result));
    awake(false);
    sites[1].says = "PING\r\n";
    (void)deliver();
    cr_assert_eq(awake_clusters(), 2);
}

/* The publisher has sent nothing, and gives back; it has still to wake the thread. */
static void give_back(void)
{
    cr_assert_eq(rlt_direct_send_end(sites[1].cluster, 0, 0), RLT_DIRECT_WAKE);
    rlt_cluster_call(sites[1].cluster);
}

static void assert_gone_on(void)
{
    assert_sent(1, "PUB a 1\r\nx\r\nPONG\r\n");
    cr_assert_eq(awake_clusters(), 0);
}

LoopTest(loan_given_back_to_a_sleeping_cluster_is_taken_up)
{
    recall_from_publisher();
    go();
    assert_sent(1, "");
    give_back();
    awake(true);
    cr_assert_eq(awake_clusters(), 2);
    go();
    assert_gone_on();
}

LoopTest(loan_given_back_to_an_awake_cluster_is_taken_up)
{
    recall_from_publisher();
    give_back();
    awake(true);
    go();
    assert_gone_on();
}

/* The wake-up comes when the cluster sleeps again, and does not say for which it is. */
LoopTest(loan_given_back_while_its_cluster_falls_asleep_is_taken_up)
{
    recall_from_publisher();
    rlt_loop_step(&loop, now_ns);
    give_back();
    go();
    assert_gone_on();
    awake(true);
    cr_assert_eq(awake_clusters(), 0);
    go();
}

/* ---- The end ------------------------------------------------------------------------------ */

LoopTest(stopped_cluster_leaves_the_others)
{
    stop(1);
    cr_assert_eq(sites[1].stops, 1);
    cr_assert_not(rlt_loop_is_over(&loop));
    cr_assert_eq(entries[1].state, RLT_LOOP_STOPPED);
    cr_assert_not(ring(1), "there is nothing to wake");
    say(0, "PING\r\n");
    assert_sent(0, "PONG\r\n");
    cr_assert(ring(2));
    awake(true);
    cr_assert_eq(awake_clusters(), 4);
    go();
}

LoopTest(deadline_of_a_stopped_cluster_does_not_count)
{
    uint64_t nearest = rlt_loop_deadline(&loop);
    uint32_t first = 0;
    while (entries[first].deadline_ns != nearest) {
        first++;
    }
    stop(first);
    cr_assert_gt(rlt_loop_deadline(&loop), nearest);
}

LoopTest(loop_is_over_when_all_have_stopped)
{
    sites[2].hangs = true;
    stop(2);
    stop(0);
    stop(1);
    cr_assert_not(rlt_loop_is_over(&loop));
    cr_assert_eq(sites[2].stops, 0);
    sites[2].hangs = false;
    (void)deliver();
    go();
    cr_assert(rlt_loop_is_over(&loop));
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        cr_assert_eq(sites[i].stops, 1, "cluster %u", i);
    }
}
