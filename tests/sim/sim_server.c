/* SPDX-License-Identifier: MIT */
#include "sim/sim_server.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLAB_BYTES 131072
/* Messages are sent while less than this waits to be received. */
#define BACKLOG_MAX ((size_t)64 * 1024)

/* ---- Writing ------------------------------------------------------------------------------ */

static void put(struct sim_server *server, const void *bytes, size_t len)
{
    if (server->out_start + server->out_len + len > SIM_OUT_MAX) {
        memmove(server->out, server->out + server->out_start, server->out_len);
        server->out_start = 0;
    }
    SIM_CHECK(server->sim, server->out_len + len <= SIM_OUT_MAX);
    memcpy(server->out + server->out_start + server->out_len, bytes, len);
    server->out_len += len;
    server->out_total += len;
}

static void say(struct sim_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct sim_server *server, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    SIM_CHECK(server->sim, len > 0 && (size_t)len < sizeof(line));
    put(server, line, (size_t)len);
}

/* Note that the client acts on what was written last. */
static void record(struct sim_server *server, struct sim_record what)
{
    what.end = server->out_total;
    SIM_CHECK(server->sim, server->record_count < SIM_RECORDS_MAX);
    uint32_t index = (server->record_first + server->record_count) % SIM_RECORDS_MAX;
    server->records[index] = what;
    server->record_count++;
}

static void say_info(struct sim_server *server)
{
    uint32_t told = server->sim->max_payload;
    bool tls = server->sim->tls != server->refused;
    say(server, "INFO {\"server_id\":\"sim\",\"max_payload\":%u,\"headers\":true%s%s} \r\n", told,
        tls ? ",\"tls_required\":true" : "", server->lame ? ",\"ldm\":true" : "");
    server->max_payload = told != 0 ? told : UINT32_MAX;
    if (server->max_payload > server->max_payload_most) {
        server->max_payload_most = server->max_payload;
    }
    server->greeted = true;
}

/* It is not what the client wants: without TLS, or with it. Otherwise it is honest. */
static void greet_plain(struct sim_server *server)
{
    server->network->sights[SIM_SIGHT_PLAIN]++;
    server->refused = true;
    say_info(server);
    record(server, (struct sim_record){.kind = SIM_RECORD_FATAL});
}

/* Somebody puts bytes in front of the handshake, to be taken for the server's. */
static void greet_clear(struct sim_server *server)
{
    static const char *const lines[] = {"PING\r\n", "PONG\r\n", "MSG t.1 1 1\r\na\r\n", "P",
                                        "INFO {\"max_payload\":1,\"tls_required\":true}\r\n"};
    server->network->sights[SIM_SIGHT_CLEAR]++;
    say_info(server);
    server->refused = true;
    say(server, "%s", lines[sim_below(server->sim, 5)]);
    record(server, (struct sim_record){.kind = SIM_RECORD_FATAL});
}

static void greet(struct sim_server *server)
{
    struct sim *sim = server->sim;
    bool tls_now = sim->tls && !sim->tls_first;
    if ((tls_now || !sim->tls) && sim_chance(sim, sim->faults.plain)) {
        greet_plain(server);
    } else if (sim->tls && sim_chance(sim, sim->faults.clear)) {
        greet_clear(server);
    } else if (tls_now || !sim->tls) {
        say_info(server);
    }
}

void sim_server_secure(struct sim_server *server)
{
    server->secure = true;
    if (!server->greeted) {
        say_info(server);
    }
}

void sim_server_begin(struct sim_server *server)
{
    server->live = true;
    server->silent = false;
    server->lame = false;
    server->secure = false;
    server->begins++;
    server->greeted = false;
    server->refused = false;
    server->has_connect = false;
    server->ended = false;
    server->lied = false;
    server->published = 0;
    server->pongs = 0;
    server->has_refused = false;
    server->limit = sim_chance(server->sim, server->sim->faults.limit)
                        ? (uint32_t)sim_below(server->sim, 8)
                        : SIM_SUBS_MAX;
    server->max_payload_most = 0;
    server->sub_count = 0;
    memset(server->denied, 0, sizeof(server->denied));
    server->in_len = 0;
    server->out_start = 0;
    server->out_len = 0;
    server->out_total = 0;
    server->record_first = 0;
    server->record_count = 0;
    if (sim_chance(server->sim, server->sim->faults.bad_greeting)) {
        static const char *const lines[] = {"PING\r\n", "HTTP/1.1 400 Bad Request\r\n", "+OK\r\n",
                                            "INFO nonsense\r\n", "INFO {\"a\":\r\n"};
        say(server, "%s", lines[sim_below(server->sim, 5)]);
        record(server, (struct sim_record){.kind = SIM_RECORD_FATAL});
        server->ended = true;
        return;
    }
    greet(server);
}

/* ---- Messages ----------------------------------------------------------------------------- */

static size_t random_body_len(struct sim *sim, size_t last_len)
{
    /* So that there are runs: messages with the same line, one behind the other. */
    if (last_len != 0 && sim_chance(sim, sim->alike)) {
        return last_len;
    }
    if (sim_chance(sim, sim->faults.large)) {
        return SIM_NUMBER_LEN + (size_t)sim_below(sim, 3 * SLAB_BYTES);
    }
    size_t most = sim_below(sim, 20) == 0 ? 20000 : 100;
    return SIM_NUMBER_LEN + (size_t)sim_below(sim, most);
}

/* A third of the messages has a reply, a fifth has headers. */
static void send_number(struct sim_server *server, const struct sim_sub *sub, uint32_t number,
                        bool early)
{
    static const char header[] = "NATS/1.0\r\nK: v\r\n\r\n";
    static uint8_t body[SIM_NUMBER_LEN + 3 * SLAB_BYTES];
    struct sim_copy *copy = &server->network->copies[number];
    size_t len = copy->len;
    copy->sent[server < server->twin ? 0 : 1]++;
    char reply[32] = "";
    if (number % 3 == 0) {
        (void)snprintf(reply, sizeof(reply), "r.%u ", number);
    }
    size_t header_len = number % 5 == 0 ? sizeof(header) - 1 : 0;
    if (header_len != 0) {
        say(server, "HMSG t.%u %" PRIu64 " %s%zu %zu\r\n", sub->topic, sub->sid, reply, header_len,
            header_len + len);
        put(server, header, header_len);
    } else {
        say(server, "MSG t.%u %" PRIu64 " %s%zu\r\n", sub->topic, sub->sid, reply, len);
    }
    sim_fill(body, len, number);
    put(server, body, len);
    put(server, "\r\n", 2);
    record(server, (struct sim_record){
                       .kind = SIM_RECORD_MESSAGE,
                       .sid = sub->sid,
                       .topic = sub->topic,
                       .number = number,
                       .early = early,
                   });
}

static uint32_t new_number(struct sim_server *server, const struct sim_sub *sub)
{
    struct sim_network *network = server->network;
    SIM_CHECK(server->sim, network->next_number < SIM_COPIES_MAX);
    network->last_len = random_body_len(server->sim, network->last_len);
    network->copies[network->next_number] = (struct sim_copy){
        .sid = sub->sid,
        .len = (uint32_t)network->last_len,
        .exclusive = sub->exclusive,
    };
    return network->next_number++;
}

static bool can_send(const struct sim_server *server)
{
    return server->live && !server->ended && !server->silent;
}

/* Then a server drops, as for a slow consumer. */
static bool is_slow(const struct sim_server *server)
{
    return server->out_len > BACKLOG_MAX || server->record_count == SIM_RECORDS_MAX;
}

static const struct sim_sub *shared_sub(const struct sim_server *server, uint32_t topic)
{
    for (uint32_t i = 0; i < server->sub_count; i++) {
        if (server->subs[i].topic == topic && !server->subs[i].exclusive) {
            return &server->subs[i];
        }
    }
    return NULL;
}

/* One copy to each connection. Sometimes the message is equal to the last one. */
static void publish_shared(struct sim_server *server, uint32_t topic)
{
    struct sim_server *ends[2] = {server, server->twin};
    struct sim_network *network = server->network;
    uint64_t way = 0;
    for (int i = 0; i < 2; i++) {
        const struct sim_sub *sub = can_send(ends[i]) ? shared_sub(ends[i], topic) : NULL;
        ends[i] = sub != NULL ? ends[i] : NULL;
        bool is_first = i == 0 ? server < server->twin : server->twin < server;
        uint64_t end = sub != NULL ? sub->sid * 4001 + ends[i]->begins : 0;
        way += end * (is_first ? 1 : UINT64_C(1000000007));
    }
    const struct sim_sub *first = NULL;
    for (int i = 0; i < 2; i++) {
        const struct sim_sub *sub = ends[i] != NULL ? shared_sub(ends[i], topic) : NULL;
        if (sub == NULL) {
            continue;
        }
        bool equal = way == network->last_way[topic] && sim_below(server->sim, 4) == 0;
        if (first == NULL || first->sid != sub->sid) {
            network->last_number[topic] =
                equal ? network->last_number[topic] : new_number(server, sub);
        }
        first = sub;
        send_number(ends[i], sub, network->last_number[topic], false);
    }
    network->last_way[topic] = way;
}

/* ---- With routes that need their time ------------------------------------------------------- */

/* The number of a message for a subscription: the same on both servers. */
static uint32_t number_of(struct sim_server *server, uint64_t message, const struct sim_sub *sub)
{
    struct sim_network *network = server->network;
    struct sim_news *what = &network->messages[message % SIM_NEWS_MAX];
    for (uint32_t i = 0; i < what->sid_count; i++) {
        if (what->sids[i] == sub->sid) {
            return what->numbers[i];
        }
    }
    SIM_CHECK(server->sim, what->sid_count < 4);
    uint32_t number = new_number(server, sub);
    network->copies[number].message = message;
    network->copies[number].origin = what->origin;
    what->sids[what->sid_count] = sub->sid;
    what->numbers[what->sid_count++] = number;
    return number;
}

/* A message is at a server. */
static void arrive(struct sim_server *server, uint64_t message)
{
    uint32_t topic = server->network->messages[message % SIM_NEWS_MAX].topic;
    const struct sim_sub *sub = can_send(server) ? shared_sub(server, topic) : NULL;
    if (sub != NULL) {
        send_number(server, sub, number_of(server, message, sub), false);
    }
}

/* Routes keep the order of what one server is sent. */
static void route(struct sim_server *server, uint64_t message)
{
    struct sim *sim = server->sim;
    uint64_t due_ns = sim->now_ns + sim_below(sim, sim->route_ns);
    uint32_t count = server->routed_count;
    SIM_CHECK(sim, count < SIM_ROUTED_MAX);
    if (count != 0 && due_ns < server->routed[count - 1].due_ns) {
        due_ns = server->routed[count - 1].due_ns;
    }
    server->routed[server->routed_count++] = (struct sim_routed){due_ns, message};
}

void sim_server_take_routed(struct sim_server *server)
{
    uint32_t taken = 0;
    while (taken < server->routed_count && server->routed[taken].due_ns <= server->sim->now_ns) {
        arrive(server, server->routed[taken++].message);
    }
    server->routed_count -= taken;
    memmove(server->routed, server->routed + taken, server->routed_count * sizeof(*server->routed));
}

bool sim_server_awaits(const struct sim_server *server, uint64_t message)
{
    for (uint32_t i = 0; i < server->routed_count; i++) {
        if (server->routed[i].message == message) {
            return true;
        }
    }
    return false;
}

static void publish_by_routes(struct sim_server *server, uint32_t topic, enum sim_origin origin)
{
    struct sim_network *network = server->network;
    uint64_t message = ++network->last_message;
    network->messages[message % SIM_NEWS_MAX] = (struct sim_news){.topic = topic, .origin = origin};
    if (origin == SIM_ORIGIN_OTHER) {
        route(server, message);
    } else {
        arrive(server, message);
    }
    route(server->twin, message);
}

/* One copy to one member of the queue group, wherever it is. */
static void publish_group(struct sim_server *server, uint32_t topic)
{
    struct sim_server *ends[2] = {server, server->twin};
    struct sim_server *chosen = NULL;
    struct sim_sub sub = {0};
    uint64_t found = 0;
    for (int i = 0; i < 2; i++) {
        for (uint32_t k = 0; can_send(ends[i]) && k < ends[i]->sub_count; k++) {
            if (ends[i]->subs[k].topic == topic && ends[i]->subs[k].exclusive &&
                sim_below(server->sim, ++found) == 0) {
                chosen = ends[i];
                sub = ends[i]->subs[k];
            }
        }
    }
    if (chosen != NULL) {
        send_number(chosen, &sub, new_number(chosen, &sub), false);
    }
}

void sim_server_publish(struct sim_server *server, uint32_t topic, enum sim_origin origin)
{
    if (is_slow(server) || (can_send(server->twin) && is_slow(server->twin))) {
        return;
    }
    if (server->sim->route_ns == 0) {
        publish_shared(server, topic);
    } else if (server->routed_count < SIM_ROUTED_MAX &&
               server->twin->routed_count < SIM_ROUTED_MAX) {
        publish_by_routes(server, topic, origin);
    }
    publish_group(server, topic);
}

/* ---- Reading ------------------------------------------------------------------------------ */

static struct sim_sub *find_sub(struct sim_server *server, uint64_t sid)
{
    for (uint32_t i = 0; i < server->sub_count; i++) {
        if (server->subs[i].sid == sid) {
            return &server->subs[i];
        }
    }
    return NULL;
}

/* The client ends its subscription to the topic when it reads this. */
static void deny(struct sim_server *server, uint32_t topic)
{
    say(server, "-ERR 'Permissions Violation for Subscription to \"t.%u\"'\r\n", topic);
    record(server, (struct sim_record){.kind = SIM_RECORD_DENIAL, .topic = topic});
    server->denied[topic] = true;
    server->network->sights[server->twin->live ? SIM_SIGHT_DENIED_MOVE : SIM_SIGHT_DENIED]++;
}

/* The client ends the subscription of this SUB, though the line does not name it. */
static void refuse(struct sim_server *server, uint64_t sid, const char *text)
{
    say(server, "-ERR '%s'\r\n", text);
    record(server, (struct sim_record){.kind = SIM_RECORD_REFUSAL, .sid = sid});
    server->has_refused = true;
}

/* PONGs that nobody asked for are taken for others, so then no line can be told from another. In
 * a handover the two servers would have to agree. */
static bool may_refuse(const struct sim_server *server)
{
    return server->sim->faults.pong == 0 && server->sim->faults.lame == 0 && !server->lied &&
           server->record_count < SIM_RECORDS_MAX / 2;
}

static void let_in(struct sim_server *server, const struct sim_sub *sub)
{
    for (uint32_t i = 0; i < server->sub_count; i++) {
        bool same = server->subs[i].topic == sub->topic;
        SIM_CHECK(server->sim, !same || sub->exclusive || server->subs[i].exclusive,
                  "a second SUB for t.%u", sub->topic);
    }
    SIM_CHECK(server->sim, server->sub_count < SIM_SUBS_MAX);
    server->subs[server->sub_count++] = *sub;
    if (sim_network_has_refused(server->network, sub->sid)) {
        server->network->refused[sub->sid % SIM_REFUSED_MAX] = 0;
    }
}

/* In this order nats-server 2.9 to 2.15 look at a SUB: permission, limit, sid, subject. */
static void on_sub(struct sim_server *server, uint32_t topic, uint64_t sid, bool exclusive)
{
    static const char *const texts[] = {"Invalid Subject",
                                        "Permissions Violation for Subscription to \"\\\"\""};
    struct sim *sim = server->sim;
    SIM_CHECK(sim, topic < SIM_TOPICS);
    const struct sim_sub *known = find_sub(server, sid);
    SIM_CHECK(sim, known == NULL || (known->topic == topic && known->exclusive == exclusive));
    SIM_CHECK(sim, known == NULL || server->has_refused, "SUB with a sid in use");
    /* More often while there are two servers: they need not agree. */
    bool denies = known == NULL && server->twin->live && sim_chance(sim, sim->faults.error);
    if ((server->denied[topic] || denies) && !exclusive) {
        deny(server, topic);
    } else if (server->sub_count >= server->limit) {
        refuse(server, sid, "maximum subscriptions exceeded");
    } else if (known == NULL && may_refuse(server) && sim_chance(sim, sim->faults.refuse)) {
        refuse(server, sid, texts[sim_below(sim, 2)]);
    } else if (known == NULL) {
        let_in(server, &(struct sim_sub){sid, topic, exclusive});
    }
}

static void on_unsub(struct sim_server *server, uint64_t sid)
{
    struct sim_sub *sub = find_sub(server, sid);
    /* Unknown: it was refused. */
    if (sub != NULL) {
        *sub = server->subs[--server->sub_count];
    }
}

/* Read a decimal number without leading zeros at `*text`, and move behind it. */
static bool read_number(const char **text, uint64_t *number)
{
    const char *start = *text;
    uint64_t value = 0;
    while (**text >= '0' && **text <= '9') {
        value = value * 10 + (uint64_t)(*(*text)++ - '0');
    }
    *number = value;
    return *text != start && *text - start <= 18 && (*start != '0' || *text == start + 1);
}

/* "t.N", and one blank behind it. */
static bool read_topic(const char **text, uint64_t *topic)
{
    if (strncmp(*text, "t.", 2) != 0) {
        return false;
    }
    *text += 2;
    return read_number(text, topic) && *(*text)++ == ' ';
}

/* Whether the user may not publish this message; then the server says so. */
static bool refuses(struct sim_server *server, uint32_t topic)
{
    if (server->record_count >= SIM_RECORDS_MAX / 2 ||
        !sim_chance(server->sim, server->sim->faults.deny)) {
        return false;
    }
    say(server, "-ERR 'Permissions Violation for Publish to \"t.%u\"'\r\n", topic);
    record(server, (struct sim_record){.kind = SIM_RECORD_REFUSED, .topic = topic});
    server->network->sights[SIM_SIGHT_REFUSED]++;
    return true;
}

/* Returns how many bytes of `left` behind the line belong to it; SIZE_MAX: not all are there. */
static size_t on_pub(struct sim_server *server, uint32_t topic, size_t payload_len,
                     const uint8_t *payload, size_t left)
{
    struct sim *sim = server->sim;
    SIM_CHECK(sim, topic < SIM_TOPICS);
    if (payload_len > server->max_payload) {
        /* It may have been on its way when a smaller limit was told. */
        SIM_CHECK(sim, payload_len <= server->max_payload_most);
        say(server, "-ERR 'Maximum Payload Violation'\r\n");
        record(server, (struct sim_record){.kind = SIM_RECORD_FATAL});
        server->ended = true;
        return 0;
    }
    if (left < payload_len + 2) {
        return SIZE_MAX;
    }
    SIM_CHECK(sim, memcmp(payload + payload_len, "\r\n", 2) == 0, "no CR LF behind a payload");
    server->published++;
    bool refused = refuses(server, topic);
    server->on_publish(server->context, server->slot, topic, payload, payload_len, refused);
    if (!refused) {
        sim_server_publish(server, topic, SIM_ORIGIN_CLIENT);
    }
    return payload_len + 2;
}

/* One line, NUL-terminated without its CR LF, and what is behind it. As on_pub(). */
static size_t on_line(struct sim_server *server, const char *line, const uint8_t *behind,
                      size_t left)
{
    struct sim *sim = server->sim;
    uint64_t topic = 0;
    uint64_t number = 0;
    if (strncmp(line, "CONNECT {", 9) == 0) {
        SIM_CHECK(sim, server->greeted && !server->has_connect, "CONNECT out of place");
        SIM_CHECK(sim, line[strlen(line) - 1] == '}');
        server->has_connect = true;
        if (sim_chance(sim, sim->faults.early)) {
            /* For a subscription that there may be, but not on this connection. */
            struct sim_sub early = {1 + sim_below(sim, 8), 0, true};
            server->network->sights[SIM_SIGHT_EARLY]++;
            send_number(server, &early, new_number(server, &early), true);
        }
        return 0;
    }
    SIM_CHECK(sim, server->has_connect, "before CONNECT: %.40s", line);
    const char *rest = line + 4;
    if (strncmp(line, "PUB ", 4) == 0 && read_topic(&rest, &topic) && read_number(&rest, &number) &&
        *rest == '\0') {
        return on_pub(server, (uint32_t)topic, (size_t)number, behind, left);
    }
    rest = line + 4;
    if (strncmp(line, "SUB ", 4) == 0 && read_topic(&rest, &topic)) {
        bool exclusive = strncmp(rest, "g ", 2) == 0;
        rest += exclusive ? 2 : 0;
        SIM_CHECK(sim, read_number(&rest, &number) && *rest == '\0', "not protocol: %.40s", line);
        on_sub(server, (uint32_t)topic, number, exclusive);
        return 0;
    }
    rest = line + 6;
    if (strncmp(line, "UNSUB ", 6) == 0 && read_number(&rest, &number) && *rest == '\0') {
        on_unsub(server, number);
        return 0;
    }
    if (strcmp(line, "PING") == 0) {
        say(server, "PONG\r\n");
        return 0;
    }
    SIM_CHECK(sim, strcmp(line, "PONG") == 0, "not protocol: %.40s", line);
    server->pongs++;
    return 0;
}

void sim_server_take(struct sim_server *server, const uint8_t *bytes, size_t len)
{
    /* With TLS configured no byte goes out in clear: it could be a credential. */
    SIM_CHECK(server->sim, server->secure == server->sim->tls, "bytes in clear");
    SIM_CHECK(server->sim, !server->refused, "bytes for a server that is not to be trusted");
    if (server->ended) {
        return;
    }
    SIM_CHECK(server->sim, server->in_len + len <= SIM_IN_MAX);
    memcpy(server->in + server->in_len, bytes, len);
    server->in_len += len;
    size_t start = 0;
    while (!server->ended && start < server->in_len) {
        uint8_t *line = server->in + start;
        uint8_t *end = memchr(line, '\n', server->in_len - start);
        if (end == NULL) {
            SIM_CHECK(server->sim, server->in_len - start < 4200, "a line without an end");
            break;
        }
        SIM_CHECK(server->sim, end > line && end[-1] == '\r', "a line without CR");
        char text[4200];
        size_t line_len = (size_t)(end - line) + 1;
        SIM_CHECK(server->sim, line_len < sizeof(text));
        memcpy(text, line, line_len - 2);
        text[line_len - 2] = '\0';
        SIM_CHECK(server->sim, strlen(text) == line_len - 2, "NUL in a line");
        size_t left = server->in_len - start - line_len;
        size_t more = on_line(server, text, end + 1, left);
        if (more == SIZE_MAX) {
            break;
        }
        start += line_len + more;
    }
    server->in_len -= start;
    memmove(server->in, server->in + start, server->in_len);
}

void sim_server_received(struct sim_server *server, uint8_t *out, size_t len)
{
    memcpy(out, server->out + server->out_start, len);
    server->out_start += len;
    server->out_len -= len;
}

/* ---- Of its own accord -------------------------------------------------------------------- */

static void say_error(struct sim_server *server)
{
    static const char *const harmless[] = {"Permissions Violation for Publish to \"t.1\"",
                                           "Invalid Publish Subject", "Something Never Heard Of"};
    static const char *const fatal[] = {
        "Stale Connection", "Authorization Violation", "User Authentication Expired",
        "Authentication Timeout", "Maximum Connections Exceeded",
        /* Not of a line: it would be a lie, and be believed. */
        "Maximum Account Active Connections Exceeded", "Connection Throttling Is Active",
        "Failed Account Registration"};
    struct sim *sim = server->sim;
    uint64_t choice = sim_below(sim, 3);
    if (choice == 0) {
        uint64_t which = sim_below(sim, 3);
        say(server, "-ERR '%s'\r\n", harmless[which]);
        if (which == 0) {
            record(server, (struct sim_record){.kind = SIM_RECORD_SLANDER});
        }
    } else if (choice == 1 && server->sub_count != 0 && !server->subs[0].exclusive) {
        uint64_t index = 0;
        deny(server, server->subs[index].topic);
        server->subs[index] = server->subs[--server->sub_count];
    } else {
        say(server, "-ERR '%s'\r\n", fatal[sim_below(sim, 8)]);
        record(server, (struct sim_record){.kind = SIM_RECORD_FATAL});
        server->ended = true;
    }
}

static void say_garbage(struct sim_server *server)
{
    static const char *const lines[] = {"WHAT\r\n",
                                        "MSG t.1 1\r\n",
                                        "MSG t.1 1 4294967301\r\n",
                                        "MSG t.1 x 1\r\na\r\n",
                                        "MSG t.1 1 2\r\nabX",
                                        "PING 1\r\n",
                                        "\r\n",
                                        "+OK\n",
                                        "HMSG t.1 1 9 4\r\n",
                                        "-ERR\r\n"};
    say(server, "%s", lines[sim_below(server->sim, 10)]);
    record(server, (struct sim_record){.kind = SIM_RECORD_FATAL});
    server->ended = true;
}

void sim_server_act(struct sim_server *server)
{
    struct sim *sim = server->sim;
    const struct sim_faults *faults = &sim->faults;
    if (server->ended || !server->has_connect || server->out_len > SIM_OUT_MAX / 4 ||
        server->record_count > SIM_RECORDS_MAX / 2) {
        return;
    }
    for (uint64_t i = sim_below(sim, 4); i != 0 && server->sub_count != 0; i--) {
        enum sim_origin origin = sim_below(sim, 3) == 0  ? SIM_ORIGIN_OTHER
                                 : server < server->twin ? SIM_ORIGIN_SERVER
                                                         : SIM_ORIGIN_SERVER + 1;
        sim_server_publish(server, server->subs[sim_below(sim, server->sub_count)].topic, origin);
    }
    if (sim_chance(sim, faults->stray)) {
        static const uint64_t sids[] = {0, 1000, UINT64_C(1) << 24, INT64_MAX};
        struct sim_sub stray = {sids[sim_below(sim, 4)], 0, true};
        if (!is_slow(server)) {
            send_number(server, &stray, new_number(server, &stray), false);
        }
    }
    if (sim_chance(sim, faults->ping)) {
        for (uint64_t i = sim_below(sim, 20); i != 0; i--) {
            say(server, "PING\r\n");
        }
    }
    if (sim_chance(sim, faults->pong)) {
        say(server, "PONG\r\n");
        server->lied = true;
    }
    if (sim_chance(sim, faults->lame) && !server->lame) {
        server->lame = true;
        say_info(server);
    }
    if (server->lame && sim_chance(sim, faults->lame_close)) {
        server->ended = true;
        return;
    }
    if (sim_chance(sim, faults->limit) && server->limit < SIM_SUBS_MAX) {
        server->limit += 1 + (uint32_t)sim_below(sim, 3);
        server->network->sights[SIM_SIGHT_LIMIT_RAISED]++;
    }
    if (sim_chance(sim, faults->info)) {
        say_info(server);
    }
    if (sim_chance(sim, faults->error)) {
        say_error(server);
    } else if (sim_chance(sim, faults->garbage)) {
        say_garbage(server);
    }
}
