/* SPDX-License-Identifier: MIT */
#include "api/subscribers.h"

#include "api/subscriber.h"
#include "io/wake/park.h"

void rlt_subscribers_add(roulette_client *client, struct roulette_subscriber *subscriber)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    CK_LIST_INSERT_HEAD(&client->subscribers, subscriber, link);
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}

void rlt_subscribers_remove(roulette_client *client, struct roulette_subscriber *subscriber)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    CK_LIST_REMOVE(subscriber, link);
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}

void rlt_subscribers_wake(roulette_client *client)
{
    struct roulette_subscriber *subscriber;
    (void)pthread_mutex_lock(&client->subscribers_lock);
    CK_LIST_FOREACH (subscriber, &client->subscribers, link) {
        rlt_park_descriptor_signal(subscriber->bell.descriptor);
    }
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}
