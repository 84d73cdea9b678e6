/* SPDX-License-Identifier: MIT */
/*
 * Which of several SUBs was refused: with a server that answers as nats-server 2.9 to 2.15 do. It
 * looks at permissions first, then at its limit, then whether it has the sid, and then whether the
 * subject is valid.
 */
#include "core/connection/inquiry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "base/random.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"
#include "unit/lockfree/stress.h"

#define KNOWN_MAX 64

struct server {
    uint32_t slot;
    uint32_t limit;
    const char *invalid; /* topics */
    const char *denied;  /* those that may not be subscribed to, and the text says so */
    const char *quoted;  /* and those whose name is not in the text as it was sent */
    uint32_t raise_at;   /* this SUB, from 1, raises the limit; 0: none does */
    struct {
        uint64_t sid;
        char topic;
    } known[KNOWN_MAX];
    uint32_t count;
    uint32_t subs; /* received */
    uint32_t cuts; /* UNSUBs of what it had */
};

static struct server server;

static uint32_t find(uint64_t sid)
{
    uint32_t i = 0;
    while (i < server.count && server.known[i].sid != sid) {
        i++;
    }
    return i;
}

static const char *on_sub(char topic, uint64_t sid)
{
    static char text[80];
    server.limit += ++server.subs == server.raise_at ? 1 : 0;
    if (strchr(server.denied, topic) != NULL) {
        (void)snprintf(text, sizeof(text),
                       "-ERR 'Permissions Violation for Subscription to \"%c\"'\r\n", topic);
        return text;
    }
    if (strchr(server.quoted, topic) != NULL) {
        return "-ERR 'Permissions Violation for Subscription to \"\\\"\"'\r\n";
    }
    if (server.count >= server.limit) {
        return "-ERR 'maximum subscriptions exceeded'\r\n";
    }
    if (find(sid) < server.count) {
        return "";
    }
    if (strchr(server.invalid, topic) != NULL) {
        return "-ERR 'Invalid Subject'\r\n";
    }
    cr_assert(server.count < KNOWN_MAX);
    server.known[server.count].sid = sid;
    server.known[server.count++].topic = topic;
    return "";
}

static const char *on_unsub(uint64_t sid)
{
    uint32_t index = find(sid);
    if (index < server.count) {
        server.cuts++;
        server.count--;
        memmove(&server.known[index], &server.known[index + 1],
                (server.count - index) * sizeof(server.known[0]));
    }
    return "";
}

static const char *on_line(const char *line)
{
    char topic;
    uint64_t sid;
    if (sscanf(line, "SUB %c g %" SCNu64, &topic, &sid) == 2 ||
        sscanf(line, "SUB %c %" SCNu64, &topic, &sid) == 2) {
        return on_sub(topic, sid);
    }
    if (sscanf(line, "UNSUB %" SCNu64, &sid) == 1) {
        return on_unsub(sid);
    }
    return strncmp(line, "PING", 4) == 0 ? "PONG\r\n" : "";
}

/* Let the server answer what was sent until now. Returns: whether it has answered. */
static bool answer(void)
{
    static char text[WORLD_SENT_MAX];
    struct world_slot *slot = &world.slots[server.slot];
    size_t len = 0;
    text[0] = '\0';
    for (const char *line = slot->sent; line < slot->sent + slot->sent_len;) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", on_line(line));
        line = strchr(line, '\n') + 1;
    }
    memset(slot->sent, 0, slot->sent_len);
    slot->sent_len = 0;
    slot->pings = 0;
    if (len != 0) {
        world_say(server.slot, text);
    }
    return len != 0;
}

static void serve(void)
{
    while (answer()) {
        /* What comes of it is answered too. */
    }
}

/* It answers with this line alone. */
static void serve_once(void)
{
    cr_assert(answer());
}

static void assert_known(const char *topics)
{
    char known[KNOWN_MAX + 1] = "";
    for (uint32_t i = 0; i < server.count; i++) {
        known[i] = server.known[i].topic;
    }
    cr_assert_eq(strcmp(known, topics), 0, "\"%s\", not \"%s\"", known, topics);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), server.count);
    cr_assert_not(rlt_inquiry_is_under_way(&world.cluster->paths[0].active->inquiry));
}

static struct world_member *subscribe(char topic)
{
    static char names[128][2];
    names[(int)topic][0] = topic;
    return world_subscribe(names[(int)topic], names[(int)topic], NULL, 0);
}

/* Each topic is a letter. */
static void subscribe_all(const char *topics)
{
    for (; *topics != '\0'; topics++) {
        (void)subscribe(*topics);
    }
}

static void open_server(enum roulette_restart restart)
{
    world_open(1, restart, ROULETTE_AT_MOST_ONCE);
    server = (struct server){.limit = UINT32_MAX, .invalid = "", .denied = "", .quoted = ""};
}

static void open_permanent(void)
{
    open_server(ROULETTE_RESTART_PERMANENT);
}

static void open_temporary(void)
{
    open_server(ROULETTE_RESTART_TEMPORARY);
}

#define InquiryTest(name)   Test(inquiry, name, .init = open_permanent, .fini = world_close)
#define TemporaryTest(name) Test(inquiry, name, .init = open_temporary, .fini = world_close)

/* ---- What is refused ---------------------------------------------------------------------- */

InquiryTest(subscription_that_is_not_valid_ends_alone)
{
    server.invalid = "c";
    subscribe_all("abcde");
    world_assert_sent(0, "SUB a 1|SUB b 2|SUB c 3|SUB d 4|SUB e 5|");
    world_say(0, "-ERR 'Invalid Subject'\r\n");
    world_assert_sent(0, "PING|");
    world_assert_told("");
    world_say(0, "PONG\r\n");
    world_assert_sent(0, "SUB a 1|PING|SUB b 2|PING|SUB c 3|PING|SUB d 4|PING|SUB e 5|PING|");
    world_say(0, "PONG\r\nPONG\r\n-ERR 'Invalid Subject'\r\n");
    world_assert_told("c-ended ");
    world_say(0, "PONG\r\nPONG\r\nPONG\r\n");
    world_assert_sent(0, "UNSUB 3|");
    world_assert_told("");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 4);
}

InquiryTest(one_subscription_is_known_at_once)
{
    server.invalid = "a";
    subscribe_all("a");
    serve_once();
    world_assert_told("a-ended ");
    world_assert_sent(0, "UNSUB 1|");
    subscribe_all("b");
    serve();
    assert_known("b");
}

InquiryTest(subscriptions_beyond_a_limit_end)
{
    server.limit = 5;
    subscribe_all("abcdefgh");
    serve();
    world_assert_told("f-ended g-ended h-ended ");
    assert_known("abcde");
    cr_assert_eq(server.cuts, 0, "nothing that was there has left");
}

InquiryTest(subscriptions_all_of_which_are_refused_end_without_a_question)
{
    server.limit = 1;
    subscribe_all("a");
    serve();
    struct rlt_sender *sender = &world.cluster->paths[0].active->sender;
    sender->ping_due = true;
    world_go();
    serve();
    subscribe_all("bcd");
    serve();
    world_assert_told("b-ended c-ended d-ended ");
    cr_assert_eq(server.subs, 4);
    assert_known("a");
}

InquiryTest(refusals_of_all_kinds_are_told_apart)
{
    server.limit = 4;
    server.denied = "b";
    server.quoted = "d";
    subscribe_all("abcdefgh");
    serve();
    world_assert_told("b-ended d-ended g-ended h-ended ");
    assert_known("acef");
    cr_assert_eq(server.cuts, 0);
}

InquiryTest(what_each_one_is_refused_for_is_told)
{
    server.limit = 4;
    server.denied = "b";
    server.quoted = "c";
    struct world_member *all[8];
    for (int i = 0; i < 8; i++) {
        all[i] = subscribe((char)('a' + i));
    }
    serve();
    assert_known("adef");
    static const int errors[] = {0, ROULETTE_EPERMISSION, ROULETTE_EPERMISSION, 0, 0,
                                 0, ROULETTE_ESERVER,     ROULETTE_ESERVER};
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(atomic_load(&all[i]->member->end_error), errors[i], "%s", all[i]->name);
    }
}

/* The limit is looked at first, so it hides that one is not valid: that costs a gap, and it is
 * told. */
InquiryTest(what_a_limit_hides_is_found_by_making_all_again)
{
    server.limit = 2;
    server.invalid = "a";
    subscribe_all("abcd");
    serve();
    world_assert_told("a-ended b-lost b-restored c-lost c-restored d-ended ");
    assert_known("bc");
}

TemporaryTest(gap_is_the_end_of_a_temporary_subscription)
{
    server.limit = 2;
    server.invalid = "a";
    subscribe_all("abcd");
    serve();
    world_assert_told("a-ended b-ended c-ended d-ended ");
    assert_known("");
}

/* The sixth is refused, the seventh is not. */
InquiryTest(limit_that_is_raised_between_two_subscriptions_is_noticed)
{
    server.limit = 5;
    server.raise_at = 7;
    subscribe_all("abcdefgh");
    serve();
    cr_assert_eq(server.count, 6);
    cr_assert_eq(server.limit, 6);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 6);
    world_assert_told("g-lost g-restored a-lost a-restored b-lost b-restored c-lost c-restored "
                      "d-lost d-restored e-lost e-restored f-ended h-ended ");
    for (int i = 0; i < 6; i++) {
        cr_assert_neq(server.known[i].topic, 'f');
        cr_assert_neq(server.known[i].topic, 'h');
    }
}

InquiryTest(limit_that_is_raised_later_lets_all_in)
{
    server.limit = 5;
    subscribe_all("abcdefgh");
    serve_once();
    server.limit = 8;
    serve();
    world_assert_told("");
    assert_known("abcdefgh");
    cr_assert_eq(server.cuts, 0);
}

/* It is not known of "c" whether it was let in, and so not of "a" and "b" either. */
InquiryTest(what_was_left_meanwhile_proves_nothing)
{
    server.limit = 2;
    subscribe_all("ab");
    struct world_member *third = subscribe('c');
    world_ask(third, RLT_ASK_UNSUBSCRIBE);
    serve();
    world_assert_told("c-removed a-lost a-restored b-lost b-restored ");
    assert_known("ab");
}

InquiryTest(room_that_an_unsubscribe_on_its_way_makes_is_used)
{
    struct world_member *first = subscribe('a');
    server.limit = 3;
    subscribe_all("bcdef");
    world_ask(first, RLT_ASK_UNSUBSCRIBE);
    serve();
    world_assert_told("a-removed e-ended f-ended ");
    assert_known("bcd");
}

InquiryTest(members_of_a_group_are_known_one_by_one)
{
    server.limit = 2;
    (void)world_subscribe("1", "a", "g", 0);
    (void)world_subscribe("2", "a", "g", 0);
    (void)world_subscribe("3", "a", "g", 0);
    serve();
    world_assert_told("3-ended ");
    assert_known("aa");
}

/* ---- Meanwhile ---------------------------------------------------------------------------- */

static struct rlt_fence *flush(void)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    cr_assert_not_null(fence);
    world_submit(&fence->parts[0].command);
    return fence;
}

static void assert_flushed(struct rlt_fence *fence, int error)
{
    cr_assert_eq(atomic_load(&fence->done), 1);
    cr_assert_eq(fence->parts[0].error, error, "%d", fence->parts[0].error);
    rlt_fence_release(fence);
}

InquiryTest(flush_is_over_when_it_is_known)
{
    server.limit = 2;
    subscribe_all("abc");
    struct rlt_fence *fence = flush();
    serve_once();
    cr_assert_eq(atomic_load(&fence->done), 0, "its PONG is here, and no word of c");
    world_assert_told("");
    serve();
    assert_flushed(fence, 0);
    world_assert_told("c-ended ");
}

InquiryTest(flush_fails_with_the_connection)
{
    server.limit = 2;
    subscribe_all("abc");
    struct rlt_fence *fence = flush();
    serve_once();
    world_cut(0);
    assert_flushed(fence, ROULETTE_EDISCONNECTED);
    world_assert_told("a-lost b-lost c-lost ");
    world_pass(RLT_NS_PER_S);
    server = (struct server){.limit = 2, .invalid = "", .denied = "", .quoted = ""};
    world_accept(0);
    serve();
    world_assert_told("a-restored b-restored c-restored c-ended ");
    assert_known("ab");
}

InquiryTest(subscriptions_made_and_left_meanwhile_wait)
{
    server.invalid = "b";
    struct world_member *first = subscribe('a');
    subscribe_all("bcd");
    serve_once();
    world_ask(first, RLT_ASK_UNSUBSCRIBE);
    subscribe_all("e");
    serve();
    world_assert_told("a-removed b-ended ");
    assert_known("cde");
}

InquiryTest(what_is_asked_about_may_be_left)
{
    server.limit = 1;
    subscribe_all("ab");
    struct world_member *third = subscribe('c');
    serve_once();
    world_assert_told("");
    world_ask(third, RLT_ASK_UNSUBSCRIBE);
    world_assert_told("c-removed ");
    serve();
    world_assert_told("b-ended ");
    assert_known("a");
}

InquiryTest(one_who_joins_what_is_refused_ends_with_it)
{
    server.limit = 1;
    subscribe_all("ab");
    serve_once();
    (void)world_subscribe("again", "b", NULL, 0);
    serve();
    world_assert_told("again-ended b-ended ");
    assert_known("a");
}

InquiryTest(messages_arrive_meanwhile)
{
    server.limit = 2;
    struct world_member *first = subscribe('a');
    subscribe_all("bc");
    serve_once();
    world_message(0, first, "1");
    serve();
    world_message(0, first, "2");
    world_assert_told("a:1 c-ended a:2 ");
    cr_assert_eq(server.cuts, 0);
}

InquiryTest(published_messages_do_not_overtake_a_subscription_that_waits)
{
    server.limit = 1;
    subscribe_all("ab");
    serve_once();
    serve_once();
    world_assert_sent(0, "SUB a 1|PING|SUB b 2|PING|");
    world_publish("x", "1");
    world_assert_sent(0, "PUB x 1|1|");
    subscribe_all("c");
    world_publish("c", "2");
    world_assert_sent(0, "");
    world_say(0, "-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n"
                 "-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n");
    world_assert_sent(0, "UNSUB 2|SUB b 2|PING|");
    world_say(0, "-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n");
    world_assert_sent(0, "UNSUB 2|SUB c 3|PUB c 1|2|");
}

/* Its first SUB was refused, or so it seems; the second has the last word. */
InquiryTest(subscription_that_was_left_and_made_again_is_not_ended_for_its_first)
{
    struct world_member *first = subscribe('a');
    subscribe_all("b");
    world_ask(first, RLT_ASK_DRAIN);
    (void)world_subscribe("again", "a", NULL, 0);
    world_assert_sent(0, "SUB a 1|SUB b 2|UNSUB 1|PING|SUB a 1|");
    world_say(0, "-ERR 'Invalid Subject'\r\nPONG\r\n");
    world_assert_sent(0, "PING|");
    world_say(0, "PONG\r\n");
    world_assert_sent(0, "SUB b 2|PING|");
    world_say(0, "PONG\r\n");
    world_assert_told("");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 2);
}

/* ---- Moving ------------------------------------------------------------------------------- */

InquiryTest(second_connection_of_a_move_is_asked_too)
{
    subscribe_all("abcd");
    serve();
    world_assert_sent(0, "");
    world_say(0, WORLD_LAME_DUCK);
    world_pass(RLT_NS_PER_S / 2);
    world_accept(1);
    world_pong(0);
    world_pass(RLT_NS_PER_S / 4);
    server = (struct server){.slot = 1, .limit = 2, .invalid = "", .denied = "", .quoted = ""};
    cr_assert_eq(world.cluster->paths[0].handover.phase, RLT_HANDOVER_FENCING);
    serve_once();
    cr_assert_eq(world.cluster->paths[0].handover.phase, RLT_HANDOVER_FENCING);
    serve();
    cr_assert_eq(world.cluster->paths[0].handover.phase, RLT_HANDOVER_SETTLING);
    world_assert_told("c-ended d-ended ");
    world_assert_sent(0, "PING|UNSUB 3|UNSUB 4|");
    world_pass(RLT_NS_PER_S / 2);
    world_pong(0);
    world_pass(3 * RLT_NS_PER_S);
    serve();
    assert_known("ab");
}

/* ---- Any order ---------------------------------------------------------------------------- */

static struct world_member *members[WORLD_MEMBERS];

static bool is_live(const struct world_member *member)
{
    return member->member->joined && !member->member->finished;
}

struct game {
    bool raises; /* the server's limit */
    bool leaves; /* the user some topics */
};

/* What the server knows is what has members, and nothing else. */
static void require_agreement(void)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < world.member_count; i++) {
        if (is_live(members[i])) {
            struct rlt_interest *interest =
                rlt_interests_of(&world.cluster->exchange.interests, members[i]->member);
            cr_assert(find(interest->sid) < server.count, "%s is deaf", members[i]->name);
            live++;
        }
    }
    cr_assert_eq(live, server.count);
}

static void play(struct rlt_random *random, const struct game *game)
{
    static const char topics[] = "abcdefghijklmnopqrstuvwx";
    server.limit = (uint32_t)rlt_random_below(random, 20);
    server.raise_at = game->raises ? 1 + (uint32_t)rlt_random_below(random, 24) : 0;
    server.quoted = rlt_random_below(random, 2) == 0 ? "cgms" : "";
    server.denied = rlt_random_below(random, 2) == 0 ? "bhnt" : "";
    for (int i = 0; topics[i] != '\0'; i++) {
        members[i] = subscribe(topics[i]);
        uint64_t choice = rlt_random_below(random, 6);
        if (choice == 0) {
            (void)answer();
        } else if (choice == 1 && game->leaves) {
            struct world_member *member = members[rlt_random_below(random, (uint64_t)i + 1)];
            if (is_live(member)) {
                world_ask(member, RLT_ASK_UNSUBSCRIBE);
            }
        }
    }
    serve();
    require_agreement();
}

Test(inquiry, client_and_server_agree_in_the_end)
{
    struct rlt_random random = {stress_seed("inquiry")};
    for (int round = 0; round < 2000; round++) {
        open_permanent();
        const struct game game = {.raises = (round & 1) != 0, .leaves = (round & 2) != 0};
        play(&random, &game);
        world_ignore_told();
        if (!game.raises && !game.leaves) {
            cr_assert_null(strstr(world.told, "-lost"), "a gap: %s", world.told);
        }
        world_close();
    }
}
