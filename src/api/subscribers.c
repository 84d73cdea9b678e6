/* SPDX-License-Identifier: MIT */
#include "api/subscribers.h"

#include "api/subscriber.h"
#include "io/park.h"

void rlt_subscribers_add(roulette_client *client, struct roulette_subscriber *subscriber)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    subscriber->next = client->subscribers;
    subscriber->prev_link = &client->subscribers;
    if (subscriber->next != NULL) {
        subscriber->next->prev_link = &subscriber->next;
    }
    client->subscribers = subscriber;
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}

void rlt_subscribers_remove(roulette_client *client, struct roulette_subscriber *subscriber)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    *subscriber->prev_link = subscriber->next;
    if (subscriber->next != NULL) {
        subscriber->next->prev_link = subscriber->prev_link;
    }
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}

void rlt_subscribers_wake(roulette_client *client)
{
    (void)pthread_mutex_lock(&client->subscribers_lock);
    for (struct roulette_subscriber *i = client->subscribers; i != NULL; i = i->next) {
        rlt_park_descriptor_signal(i->bell.descriptor);
    }
    (void)pthread_mutex_unlock(&client->subscribers_lock);
}
