/* SPDX-License-Identifier: MIT */
/**
 * One cluster with a transport that does at once what it is asked to, and a test as its servers:
 * bytes go in with world_say(), what was sent is read with world_assert_sent(), and what
 * subscribers were told with world_assert_told(). Time passes with world_pass().
 */
#ifndef RLT_TESTS_UNIT_CORE_CLUSTER_CLUSTER_WORLD_H
#define RLT_TESTS_UNIT_CORE_CLUSTER_CLUSTER_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cluster/cluster.h"
#include "support/test.h"

#define WORLD_SLOTS       4
#define WORLD_MEMBERS     24
#define WORLD_SENT_MAX    65536
#define WORLD_TOLD_MAX    16384
#define WORLD_ARRIVED_MAX 32768
#define WORLD_INFO        "INFO {\"max_payload\":1048576}\r\n"
#define WORLD_LAME_DUCK   "INFO {\"max_payload\":1048576,\"ldm\":true}\r\n"

/** One connection's way, as the transport sees it. */
struct world_slot {
    bool opening;
    bool open;
    bool closing;
    bool receiving;
    bool watched;
    struct rlt_span in[2];
    uint32_t in_count;
    char arrived[WORLD_ARRIVED_MAX]; /* while it is watched, and not taken */
    size_t arrived_len;
    bool over;      /* and behind that the stream ends */
    size_t sending; /* bytes of the send in progress */
    char sent[WORLD_SENT_MAX];
    size_t sent_len;
    uint32_t pings; /* without PONG */
    uint32_t opens;

    /* Set by tests. */
    bool refuse; /* opens fail */
    bool hang;   /* opens do not end */
    bool stuck;  /* sends do not end */
    bool busy;   /* closes do not end */
    size_t room; /* what the kernel takes of a direct send */
    bool no_watch;
    bool unacknowledged; /* the peer's machine does not acknowledge */
};

struct world_member {
    struct rlt_member *member; /* of a block of its own */
    char topic;
    const char *name;
};

struct world {
    struct rlt_config config;
    struct rlt_address address;
    struct rlt_transport transport;
    struct rlt_cluster *cluster;
    uint64_t now_ns;
    struct world_slot slots[WORLD_SLOTS];
    struct rlt_doorbell doorbell;
    struct rlt_mailbox mailbox;
    bool attended; /* a subscriber is told of watched slots, not the event thread */
    struct world_member members[WORLD_MEMBERS];
    uint32_t member_count;
    int lane;
    char told[WORLD_TOLD_MAX];
};

extern struct world world;

/** Make a cluster that is not connected. */
void world_open(uint32_t pool_size, enum roulette_restart restart,
                enum roulette_guarantee guarantee);
void world_close(void);

/** Let everything happen that can happen now; fails if the event thread would spin. */
void world_go(void);

/** Let time pass, with all timers on the way. */
void world_pass(uint64_t ns);

/** A server says something. */
void world_say(uint32_t slot, const char *text);

/** It sends a message for a subscription. */
void world_message(uint32_t slot, const struct world_member *member, const char *body);

/** Bytes arrive on a watched connection, and nobody is told yet. */
void world_arrive(uint32_t slot, const char *text);
void world_arrive_message(uint32_t slot, const struct world_member *member, const char *body);

/** It answers all PINGs. */
void world_pong(uint32_t slot);

/** A connection is made; a server closes it. */
void world_accept(uint32_t slot);
void world_cut(uint32_t slot);

/** A new member, and its SUBSCRIBE. `group` may be NULL. */
struct world_member *world_subscribe(const char *name, const char *topic, const char *group,
                                     uint32_t path);
/** As a member of the group "g" that wants so many messages. */
struct world_member *world_subscribe_limited(const char *name, const char *topic, uint64_t max);
void world_submit(struct rlt_command *command);
void world_ask(struct world_member *member, enum rlt_ask what);

/** Publish on path 0, and let the event thread send it. */
void world_publish(const char *topic, const char *payload);

/** Put a message into the lane of path 0, and do no more. */
void world_put(const char *topic, const char *payload);

/** The event thread sleeps; it is awake again. world_go() is both. */
void world_sleep(void);
void world_awake(void);

/** What was sent on a slot since the last time; "SUB a 1|PING|". */
void world_assert_sent(uint32_t slot, const char *expected);

/** As if the PING that was sent last on a slot had not been. It is answered all the same. */
void world_ignore_last_ping(uint32_t slot);

/** What subscribers were told since the last time; "name:body name-lost ". */
void world_assert_told(const char *expected);
void world_ignore_told(void);

#endif
