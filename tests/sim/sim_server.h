/* SPDX-License-Identifier: MIT */
/**
 * A NATS server as one connection sees it: a strict parser of what clients send (anything that a
 * client of ours does not write fails the test), subscriptions, and a stream of answers. It keeps
 * a record of each message that it sent, so that what arrives can be judged.
 */
#ifndef RLT_TESTS_SIM_SIM_SERVER_H
#define RLT_TESTS_SIM_SIM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/sim.h"

#define SIM_RECORDS_MAX 4096
#define SIM_SUBS_MAX    64
#define SIM_REFUSED_MAX 1024
#define SIM_COPIES_MAX  ((uint32_t)1 << 17)
#define SIM_IN_MAX      ((size_t)192 * 1024)
#define SIM_OUT_MAX     ((size_t)1024 * 1024)

enum sim_record_kind {
    SIM_RECORD_MESSAGE,
    SIM_RECORD_DENIAL,  /* the client ends its subscription to a topic here */
    SIM_RECORD_REFUSAL, /* and, from here on, that of one SUB */
    SIM_RECORD_FATAL,   /* the client gives the connection up here */
    SIM_RECORD_REFUSED, /* a message is refused, */
    SIM_RECORD_SLANDER, /* or that is said of one that is not */
};

/** Something in the server's stream that the client acts on. */
struct sim_record {
    enum sim_record_kind kind;
    uint64_t end; /* offset behind it in the stream */
    uint64_t sid;
    uint32_t topic;
    uint32_t number; /* of the message */
    bool early;      /* sent before the connection was proved: it is nobody's */
};

struct sim_sub {
    uint64_t sid;
    uint32_t topic;
    bool exclusive; /* of a member of the topic's queue group */
};

#define SIM_NEWS_MAX   4096 /* of which some server has not heard yet */
#define SIM_ROUTED_MAX 16

/** Who publishes: something that a server is told directly, or by a server that is not ours. */
enum sim_origin {
    SIM_ORIGIN_SERVER, /* and + 1 */
    SIM_ORIGIN_OTHER = 2,
    SIM_ORIGIN_CLIENT,
    SIM_ORIGINS,
};

/** A message for the shared subscriptions of a topic, as far as it has come in the cluster. */
struct sim_news {
    uint32_t topic;
    enum sim_origin origin;
    uint32_t sid_count;
    uint64_t sids[4];
    uint32_t numbers[4]; /* of it, as a message to each of these */
};

/** A message on its way to a server. */
struct sim_routed {
    uint64_t due_ns;
    uint64_t message;
};

/** What became of a message to one subscription: of all that are equal to it, by side. */
struct sim_copy {
    uint64_t sid;
    uint32_t len;
    bool exclusive;
    uint16_t sent[2];
    uint16_t got[2];  /* received by the client */
    uint16_t lost[2]; /* with their connection */
    uint16_t delivered;
    enum sim_origin origin;
    uint64_t message; /* counts up; 0: nothing is known of its order */
};

/** What servers did that the worlds must have seen. */
enum sim_sight {
    SIM_SIGHT_PLAIN,
    SIM_SIGHT_CLEAR,
    SIM_SIGHT_TLS_HANG,
    SIM_SIGHT_TLS_GARBAGE,
    SIM_SIGHT_EARLY,
    SIM_SIGHT_DENIED,      /* while only one server of the cluster was there */
    SIM_SIGHT_DENIED_MOVE, /* while there were two */
    SIM_SIGHT_DIRECT,
    SIM_SIGHT_DIRECT_RECALLED, /* meanwhile the event thread awoke */
    SIM_SIGHT_DIRECT_CUT,      /* the kernel did not take all */
    SIM_SIGHT_DIRECT_CLOSE,    /* meanwhile the connection was given up */
    SIM_SIGHT_DIRECT_BUSY,     /* the event thread works, for other clusters */
    SIM_SIGHT_RECEIVE,         /* by a subscriber */
    SIM_SIGHT_RECEIVE_BUSY,
    SIM_SIGHT_RECEIVE_LEFT,  /* ... which left something to the event thread */
    SIM_SIGHT_RECEIVE_AWAKE, /* ... which could not, because the event thread was awake */
    SIM_SIGHT_UNATTENDED,    /* a watched connection told the event thread */
    SIM_SIGHT_WATCHED_OVER,  /* ... that it is over */
    SIM_SIGHT_ASKED,         /* which of several SUBs was refused */
    SIM_SIGHT_TESTED,        /* ... or whether the last ones were */
    SIM_SIGHT_REMADE,        /* ... or all were made again */
    SIM_SIGHT_LIMIT_RAISED,
    SIM_SIGHT_REFUSED, /* a message */
    SIM_SIGHT_CONFIRM, /* a timer for what is unconfirmed */
    SIM_SIGHT_CONFIRM_LENT,
    SIM_SIGHTS,
};

/** What the servers of a cluster share. */
struct sim_network {
    uint64_t sights[SIM_SIGHTS]; /* of all worlds */
    uint32_t next_number;        /* of the messages that servers send */
    size_t last_len;             /* of their bodies */
    struct sim_copy *copies;     /* by number */
    uint64_t last_message;
    struct sim_news messages[SIM_NEWS_MAX]; /* by remainder */
    /* Of the last message of each topic: its number, and where it went. */
    uint32_t last_number[SIM_TOPICS];
    uint64_t last_way[SIM_TOPICS];
    /* Sids that were refused, as the client has read, and not let in since; by remainder. */
    uint64_t refused[SIM_REFUSED_MAX];
    /* Refusals of messages that the client has read, and those that are not true. */
    uint64_t refusals_read[SIM_TOPICS];
    uint64_t slanders_read;
};

static inline bool sim_network_has_refused(const struct sim_network *network, uint64_t sid)
{
    return sid != 0 && network->refused[sid % SIM_REFUSED_MAX] == sid;
}

struct sim_server {
    struct sim *sim;
    uint32_t slot;
    void (*on_publish)(void *context, uint32_t slot, uint32_t topic, const uint8_t *payload,
                       size_t len, bool refused);
    void *context;
    struct sim_network *network;
    struct sim_server *twin; /* another server of the cluster */
    uint64_t begins;         /* connections */

    bool live;    /* a connection has begun and is not closed */
    bool silent;  /* it neither reads nor writes any more */
    bool lame;    /* it will close soon */
    bool secure;  /* TLS is spoken */
    bool greeted; /* INFO was sent */
    bool refused; /* not to be trusted: no byte may come from the client */
    bool has_connect;
    bool ended;                /* it closes when its stream is read */
    bool lied;                 /* it sent a PONG that proves nothing */
    uint32_t max_payload;      /* told last */
    uint32_t max_payload_most; /* ever told on this connection */
    uint64_t published;        /* PUBs processed */
    uint32_t pongs;            /* PONGs of the client */
    uint32_t limit;            /* subscriptions at most */
    bool has_refused;          /* a SUB, without naming it */

    /* From other servers, in order. */
    struct sim_routed routed[SIM_ROUTED_MAX];
    uint32_t routed_count;

    struct sim_sub subs[SIM_SUBS_MAX];
    uint32_t sub_count;
    bool denied[SIM_TOPICS]; /* no permission to subscribe */

    uint8_t *in; /* not parsed yet */
    size_t in_len;
    uint8_t *out; /* not received by the client yet */
    size_t out_start;
    size_t out_len;
    uint64_t out_total; /* bytes ever written */

    struct sim_record records[SIM_RECORDS_MAX];
    uint32_t record_first;
    uint32_t record_count;
};

/** Begin a connection: write INFO, or something else. The buffers are kept from the last one. */
void sim_server_begin(struct sim_server *server);

/** TLS is spoken from now on. */
void sim_server_secure(struct sim_server *server);

/** Process bytes from the client. */
void sim_server_take(struct sim_server *server, const uint8_t *bytes, size_t len);

/** Do something of its own accord: messages to subscribers, and faults. */
void sim_server_act(struct sim_server *server);

/** Somebody publishes in the cluster: send to its subscribers on both servers. */
void sim_server_publish(struct sim_server *server, uint32_t topic, enum sim_origin origin);

/** Messages from other servers arrive. */
void sim_server_take_routed(struct sim_server *server);

/** Whether a message is on its way to the server. */
bool sim_server_awaits(const struct sim_server *server, uint64_t message);

/** The client received `len` bytes. */
void sim_server_received(struct sim_server *server, uint8_t *out, size_t len);

#endif
