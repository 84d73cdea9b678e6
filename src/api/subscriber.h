/* SPDX-License-Identifier: MIT */
/**
 * A subscriber: the mailboxes of one application thread, one for each cluster with a subscription,
 * and its subscriptions.
 */
#ifndef RLT_API_SUBSCRIBER_H
#define RLT_API_SUBSCRIBER_H

#include <ck_queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/client.h"
#include "api/handles.h"
#include "core/delivery/mailbox.h"
#include "io/wake/bell.h"
#include "roulette.h"

/** Owner: its owner thread, except the bell, shared with ringers, and the link in the client's
 * list. */
struct roulette_subscriber {
    roulette_client *client; /* with a reference */
    uint32_t ring_slots;
    size_t pinned_bytes;
    uint32_t turn;                  /* the cluster whose mailbox is read first */
    struct rlt_mailbox **mailboxes; /* by cluster; NULL: nothing subscribed there yet */

    struct rlt_handle_table handles;

    /* 1: a thread sleeps in roulette_receive(); a thread is inside any call of the owner thread
     * (checked with assertions only). Read by threads that misuse the subscriber: see api/owner.h.
     */
    _Atomic(uint32_t) waiting;
    _Atomic(uint32_t) inside;

    uintptr_t tag; /* in messages that it received: see api/release.h */

    bool polled;   /* the application has the descriptor (api/readiness.h) */
    bool end_told; /* the descriptor is readable for the client's stop */

    CK_LIST_ENTRY(roulette_subscriber) link; /* of client->subscribers: api/subscribers.h */

    struct rlt_bell bell; /* of all mailboxes */
};

#endif
