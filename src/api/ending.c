/* SPDX-License-Identifier: MIT */
#include "api/ending.h"

static void ask(roulette_client *client, struct rlt_member *member, enum rlt_ask what)
{
    rlt_shard_ask(&client->shards[member->mailbox->cluster], member, what);
}

void rlt_subscriber_end(struct roulette_subscriber *subscriber, struct rlt_subscription *entry,
                        const struct rlt_member *ended)
{
    roulette_client *client = subscriber->client;
    rlt_handle_table_retire(&subscriber->handles, entry);
    /* When the client closes meanwhile, the event threads end all members by themselves. */
    if (entry->member_count == (ended != NULL ? 1 : 0) || !rlt_client_enter(client)) {
        return;
    }
    entry->leaving = true;
    for (uint32_t i = 0; i < entry->member_count; i++) {
        struct rlt_member *member = &entry->members[i];
        if (member != ended && !member->left) {
            ask(client, member, RLT_ASK_UNSUBSCRIBE);
        }
    }
    rlt_client_leave(client);
}

void rlt_subscriber_end_all(struct roulette_subscriber *subscriber)
{
    uint32_t cursor = 0;
    struct rlt_subscription *entry;
    while ((entry = rlt_handle_table_next(&subscriber->handles, &cursor)) != NULL) {
        rlt_subscriber_end(subscriber, entry, NULL);
    }
}

bool rlt_subscriber_ask_all(struct roulette_subscriber *subscriber, enum rlt_ask what)
{
    uint32_t cursor = 0;
    struct rlt_subscription *entry;
    if (!rlt_client_enter(subscriber->client)) {
        return false;
    }
    while ((entry = rlt_handle_table_next(&subscriber->handles, &cursor)) != NULL) {
        for (uint32_t i = 0; i < entry->member_count; i++) {
            ask(subscriber->client, &entry->members[i], what);
        }
    }
    rlt_client_leave(subscriber->client);
    return true;
}

void rlt_subscriber_complete(struct roulette_subscriber *subscriber, struct rlt_subscription *entry,
                             uint32_t cluster)
{
    rlt_handle_table_complete(&subscriber->handles, entry, cluster);
    rlt_subscriber_end(subscriber, entry, NULL);
}
