/* SPDX-License-Identifier: MIT */
#include "support/topology.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/condition.h"
#include "support/net.h"

enum { ANSWER_MS = 5000, START_TRIES = 3, PATH_BYTES = 128, SCUR_FIELD = 4, STATUS_FIELD = 17 };

/* ---- Configuration files ------------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    REQUIRE(file != NULL, "%s", path);
    REQUIRE(fputs(text, file) >= 0);
    REQUIRE(fclose(file) == 0);
}

static void server_path(const struct topology *topology, size_t cluster, size_t server,
                        char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s/server%zu%zu.conf", topology->folder, cluster, server);
}

static void haproxy_path(const struct topology *topology, size_t cluster, const char *suffix,
                         char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s/haproxy%zu.%s", topology->folder, cluster, suffix);
}

static void configure_server(const struct topology *topology, size_t cluster, size_t server,
                             const uint16_t routes[TOPOLOGY_SERVERS])
{
    char path[PATH_BYTES];
    char text[1024];
    /* 30 s is the least that the server takes; it ends earlier, with its last client. */
    (void)snprintf(text, sizeof(text),
                   "lame_duck_duration: \"30s\"\n"
                   "lame_duck_grace_period: \"%dms\"\n"
                   "cluster {\n"
                   "  name: \"cluster%zu\"\n"
                   "  listen: \"127.0.0.1:%u\"\n"
                   "  routes: [ \"nats://127.0.0.1:%u\", \"nats://127.0.0.1:%u\", "
                   "\"nats://127.0.0.1:%u\" ]\n"
                   "}\n",
                   TOPOLOGY_GRACE_MS, cluster, routes[server], routes[0], routes[1], routes[2]);
    server_path(topology, cluster, server, path);
    write_file(path, text);
}

/* The haproxy is given the socket that it listens on: nobody can be there before it. */
static void configure_haproxy(const struct topology *topology, size_t cluster, int listener)
{
    const struct topology_cluster *it = &topology->clusters[cluster];
    char config[PATH_BYTES];
    char control[PATH_BYTES];
    char text[2048];
    haproxy_path(topology, cluster, "conf", config);
    haproxy_path(topology, cluster, "sock", control);
    (void)snprintf(text, sizeof(text),
                   "global\n"
                   "  maxconn 1000\n"
                   "  stats socket %s level admin\n"
                   "defaults\n"
                   "  mode tcp\n"
                   "  timeout connect 1s\n"
                   "  timeout client 1h\n"
                   "  timeout server 1h\n"
                   "  retries 3\n"
                   "  option redispatch 1\n"
                   "listen cluster\n"
                   "  bind fd@%d\n"
                   "  balance roundrobin\n"
                   "  default-server check inter 100ms fall 2 rise 2\n"
                   "  server s0 127.0.0.1:%u\n"
                   "  server s1 127.0.0.1:%u\n"
                   "  server s2 127.0.0.1:%u\n",
                   control, listener, nats_server_port(it->servers[0]),
                   nats_server_port(it->servers[1]), nats_server_port(it->servers[2]));
    write_file(config, text);
}

/* ---- The haproxy's control socket --------------------------------------------------------- */

/** Returns: a connected socket, or -1. */
static int open_control(const struct topology *topology, size_t cluster)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PATH_BYTES];
    haproxy_path(topology, cluster, "sock", path);
    REQUIRE(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/** Give a command. Returns: whether the haproxy took it, with the answer in `answer`. */
static bool ask(const struct topology *topology, size_t cluster, const char *command, char *answer,
                size_t size)
{
    uint64_t deadline_ms = net_now_ms() + ANSWER_MS;
    size_t len = 0;
    int fd = open_control(topology, cluster);
    if (fd < 0) {
        return false;
    }
    bool sent = send(fd, command, strlen(command), MSG_NOSIGNAL) == (ssize_t)strlen(command);
    ssize_t got = 0;
    while (sent && len < size - 1 && net_wait(fd, POLLIN, deadline_ms)) {
        got = recv(fd, answer + len, size - 1 - len, 0);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    (void)close(fd);
    answer[len] = '\0';
    return sent && got == 0;
}

static void command(const struct topology *topology, size_t cluster, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Give a command that answers with an empty line. */
static void command(const struct topology *topology, size_t cluster, const char *format, ...)
{
    char text[128];
    char answer[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    REQUIRE(ask(topology, cluster, text, answer, sizeof(answer)), "%s", text);
    REQUIRE(strcmp(answer, "\n") == 0, "%s: %s", text, answer);
}

/** Copy a field of a server's line of "show stat". Returns: whether there is one. */
static bool server_field(const struct topology *topology, size_t cluster, size_t server,
                         size_t field, char text[32])
{
    char answer[8192];
    char start[32];
    (void)snprintf(start, sizeof(start), "\ncluster,s%zu,", server);
    if (!ask(topology, cluster, "show stat\n", answer, sizeof(answer))) {
        return false;
    }
    const char *at = strstr(answer, start);
    at = at != NULL ? at + 1 : NULL;
    for (size_t i = 0; at != NULL && i < field; i++) {
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    if (at == NULL) {
        return false;
    }
    (void)snprintf(text, 32, "%.*s", (int)strcspn(at, ",\n"), at);
    return true;
}

static bool has_status(const struct topology *topology, size_t cluster, size_t server,
                       const char *status)
{
    char text[32];
    return server_field(topology, cluster, server, STATUS_FIELD, text) && strcmp(text, status) == 0;
}

static long connection_count(const struct topology *topology, size_t cluster, size_t server)
{
    char text[32];
    REQUIRE(server_field(topology, cluster, server, SCUR_FIELD, text));
    return strtol(text, NULL, 10);
}

void topology_drain(struct topology *topology, size_t cluster, size_t server)
{
    command(topology, cluster, "set server cluster/s%zu state drain\n", server);
    EVENTUALLY(has_status(topology, cluster, server, "DRAIN"));
}

long topology_cut(struct topology *topology, size_t cluster, size_t server)
{
    long count = connection_count(topology, cluster, server);
    command(topology, cluster, "shutdown sessions server cluster/s%zu\n", server);
    return count;
}

void topology_ready(struct topology *topology, size_t cluster, size_t server)
{
    command(topology, cluster, "set server cluster/s%zu state ready\n", server);
    EVENTUALLY(has_status(topology, cluster, server, "UP"));
}

/* ---- The servers' monitors ---------------------------------------------------------------- */

long topology_counter(struct topology *topology, size_t cluster, size_t server, const char *name)
{
    json_t *json = nats_server_json(topology->clusters[cluster].servers[server], "/varz");
    REQUIRE(json != NULL && json_is_integer(json_object_get(json, name)), "%s", name);
    long value = (long)json_integer_value(json_object_get(json, name));
    json_decref(json);
    return value;
}

static bool has_client(struct nats_server *server, const char *name)
{
    bool found = false;
    size_t index;
    json_t *connection;
    json_t *json = nats_server_json(server, "/connz");
    REQUIRE(json != NULL);
    json_array_foreach(json_object_get(json, "connections"), index, connection)
    {
        const char *other = json_string_value(json_object_get(connection, "name"));
        found = found || (other != NULL && strcmp(other, name) == 0);
    }
    json_decref(json);
    return found;
}

int topology_server_of(struct topology *topology, size_t cluster, const char *name)
{
    for (int i = 0; i < TOPOLOGY_SERVERS; i++) {
        if (has_client(topology->clusters[cluster].servers[i], name)) {
            return i;
        }
    }
    return -1;
}

/* From 2.10 on a server has a pool of routes to each of the others, which is made in full. */
static bool has_all_routes(struct nats_server *server)
{
    char peers[TOPOLOGY_SERVERS][64] = {""};
    size_t routes[TOPOLOGY_SERVERS] = {0};
    size_t count = 0;
    size_t index;
    json_t *route;
    json_t *json = nats_server_json(server, "/routez");
    REQUIRE(json != NULL);
    json_array_foreach(json_object_get(json, "routes"), index, route)
    {
        const char *name = json_string_value(json_object_get(route, "remote_id"));
        size_t peer = 0;
        REQUIRE(name != NULL);
        while (peer < count && strcmp(peers[peer], name) != 0) {
            peer++;
        }
        if (peer == count && count < TOPOLOGY_SERVERS) {
            (void)snprintf(peers[count++], sizeof(peers[0]), "%s", name);
        }
        routes[peer < TOPOLOGY_SERVERS ? peer : 0]++;
    }
    json_decref(json);
    return count == TOPOLOGY_SERVERS - 1 && routes[0] == routes[1];
}

static void await_routes(struct topology *topology, size_t cluster)
{
    for (size_t i = 0; i < TOPOLOGY_SERVERS; i++) {
        EVENTUALLY(has_all_routes(topology->clusters[cluster].servers[i]));
    }
}

void topology_restart(struct topology *topology, size_t cluster, size_t server)
{
    /* One attempt waits for the old process for 5 s, which a busy machine may exceed. */
    EVENTUALLY(nats_server_restart(topology->clusters[cluster].servers[server]));
    await_routes(topology, cluster);
    EVENTUALLY(has_status(topology, cluster, server, "UP"));
}

/* ---- Start and stop ----------------------------------------------------------------------- */

static void stop_servers(struct topology_cluster *it)
{
    for (size_t i = 0; i < TOPOLOGY_SERVERS; i++) {
        nats_server_stop(it->servers[i]);
        it->servers[i] = NULL;
    }
}

/* Returns: whether all servers started. One does not if somebody else listens at its route port. */
static bool start_servers(struct topology *topology, size_t cluster)
{
    struct topology_cluster *it = &topology->clusters[cluster];
    uint16_t routes[TOPOLOGY_SERVERS];
    char path[PATH_BYTES];
    for (size_t i = 0; i < TOPOLOGY_SERVERS; i++) {
        routes[i] = net_hold_port();
        REQUIRE(routes[i] != 0);
    }
    for (size_t i = 0; i < TOPOLOGY_SERVERS; i++) {
        configure_server(topology, cluster, i, routes);
        server_path(topology, cluster, i, path);
        it->servers[i] = nats_server_start((const char *[]){"-c", path, NULL});
        if (it->servers[i] == NULL) {
            stop_servers(it);
            return false;
        }
    }
    return true;
}

static void start_haproxy(struct topology *topology, size_t cluster)
{
    struct topology_cluster *it = &topology->clusters[cluster];
    char path[PATH_BYTES];
    int listener = net_listen(&it->port);
    REQUIRE(listener >= 0);
    configure_haproxy(topology, cluster, listener);
    haproxy_path(topology, cluster, "conf", path);
    REQUIRE(fcntl(listener, F_SETFD, 0) == 0); /* only this program is to have it */
    process_start(&it->haproxy, (const char *[]){"/usr/sbin/haproxy", "-db", "-f", path, NULL}, "",
                  0);
    (void)close(listener);
}

static void start_cluster(struct topology *topology, size_t cluster)
{
    bool started = false;
    for (int i = 0; i < START_TRIES && !started; i++) {
        started = start_servers(topology, cluster);
    }
    REQUIRE(started, "no servers with routes in %d attempts", START_TRIES);
    start_haproxy(topology, cluster);
}

void topology_start(struct topology *topology)
{
    *topology = (struct topology){.folder = "/tmp/roulette-topology-XXXXXX"};
    REQUIRE(mkdtemp(topology->folder) != NULL);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        start_cluster(topology, i);
    }
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        await_routes(topology, i);
        for (size_t k = 0; k < TOPOLOGY_SERVERS; k++) {
            EVENTUALLY(has_status(topology, i, k, "UP"));
        }
    }
    (void)snprintf(topology->list, sizeof(topology->list), "127.0.0.1:%u,127.0.0.1:%u",
                   topology->clusters[0].port, topology->clusters[1].port);
}

void topology_stop(struct topology *topology)
{
    char path[PATH_BYTES];
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        process_end(&topology->clusters[i].haproxy);
        haproxy_path(topology, i, "conf", path);
        (void)unlink(path);
        haproxy_path(topology, i, "sock", path);
        (void)unlink(path);
        stop_servers(&topology->clusters[i]);
        for (size_t k = 0; k < TOPOLOGY_SERVERS; k++) {
            server_path(topology, i, k, path);
            (void)unlink(path);
        }
    }
    (void)rmdir(topology->folder);
}

struct roulette_options topology_options(const struct topology *topology, const char *name)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = topology->list;
    options.name = name;
    options.reconnect_interval_ms = 10;
    options.max_backoff_ms = 100;
    options.max_retry = 1000;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    return options;
}
