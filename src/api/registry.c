/* SPDX-License-Identifier: MIT */
#include "api/registry.h"

#include <pthread.h>

#include "base/memory.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static roulette_client **clients;
static size_t client_count;
static size_t client_capacity;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

void rlt_registry_lock(void)
{
    (void)pthread_mutex_lock(&lock);
}

void rlt_registry_unlock(void)
{
    (void)pthread_mutex_unlock(&lock);
}

bool rlt_registry_has(uint64_t client_id)
{
    for (size_t i = 0; i < client_count; i++) {
        if (clients[i]->id == client_id) {
            return true;
        }
    }
    return false;
}

/* Take the locks that the child will need, so that no other thread holds them at the fork. */
static void before_fork(void)
{
    rlt_registry_lock();
    for (size_t i = 0; i < client_count; i++) {
        (void)pthread_mutex_lock(&clients[i]->subscribers_lock);
    }
}

static void after_fork_in_parent(void)
{
    for (size_t i = 0; i < client_count; i++) {
        (void)pthread_mutex_unlock(&clients[i]->subscribers_lock);
    }
    rlt_registry_unlock();
}

static void after_fork_in_child(void)
{
    for (size_t i = 0; i < client_count; i++) {
        roulette_client *client = clients[i];
        (void)pthread_mutex_unlock(&client->subscribers_lock);
        /* Relaxed: the child has one thread. */
        atomic_store_explicit(&client->state, RLT_CLIENT_FORKED, memory_order_relaxed);
        atomic_store_explicit(&client->entered, 0, memory_order_relaxed);
        for (size_t j = 0; j < client->thread_count; j++) {
            rlt_event_thread_abandon(&client->threads[j]);
        }
    }
    rlt_registry_unlock();
}

static void watch_forks(void)
{
    /* Without memory for the handlers fork() stays unwatched; nothing better can be done. */
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int rlt_registry_add(roulette_client *client)
{
    (void)pthread_once(&fork_once, watch_forks);
    rlt_registry_lock();
    if (client_count == client_capacity) {
        size_t capacity = client_capacity != 0 ? client_capacity * 2 : 8;
        roulette_client **larger = rlt_memory_resize(clients, capacity * sizeof(*clients));
        if (larger == NULL) {
            rlt_registry_unlock();
            return ROULETTE_ENOMEM;
        }
        clients = larger;
        client_capacity = capacity;
    }
    clients[client_count++] = client;
    rlt_registry_unlock();
    return 0;
}

void rlt_registry_remove(roulette_client *client)
{
    rlt_registry_lock();
    for (size_t i = 0; i < client_count; i++) {
        if (clients[i] == client) {
            clients[i] = clients[--client_count];
            break;
        }
    }
    if (client_count == 0) {
        rlt_memory_free(clients);
        clients = NULL;
        client_capacity = 0;
    }
    rlt_registry_unlock();
}
