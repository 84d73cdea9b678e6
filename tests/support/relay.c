/* SPDX-License-Identifier: MIT */
#include "support/relay.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/condition.h"

enum { CONNECTIONS_MAX = 4096, CHUNK = 16384, TICK_MS = 5, RECORD_HEADER = 5 };

struct recording {
    uint8_t *bytes;
    size_t len;
};

struct relay {
    int listener;
    uint16_t port;
    uint16_t target;
    atomic_bool stripping;
    atomic_bool stop;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    size_t count;
    struct recording recordings[CONNECTIONS_MAX];
};

static void record(struct relay *relay, const char *bytes, size_t len)
{
    (void)pthread_mutex_lock(&relay->lock);
    struct recording *recording = &relay->recordings[relay->count - 1];
    recording->bytes = realloc(recording->bytes, recording->len + len);
    REQUIRE(recording->bytes != NULL);
    memcpy(recording->bytes + recording->len, bytes, len);
    recording->len += len;
    (void)pthread_mutex_unlock(&relay->lock);
}

/* Turn `true` into `false`. INFO comes in one piece: the server writes it at once. */
static void strip(char *bytes, size_t *len, size_t size)
{
    static const char key[] = "\"tls_required\":true";
    static const char without[] = "\"tls_required\":false";
    char *at = memmem(bytes, *len, key, sizeof(key) - 1);
    if (at != NULL) {
        size_t behind = *len - (size_t)(at - bytes) - (sizeof(key) - 1);
        REQUIRE(*len < size);
        memmove(at + sizeof(without) - 1, at + sizeof(key) - 1, behind);
        memcpy(at, without, sizeof(without) - 1);
        *len += 1;
    }
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* Move what one side has sent. Returns: false at its end. */
static bool move(struct relay *relay, int from, int to, bool from_client)
{
    char bytes[CHUNK + 1];
    ssize_t got = recv(from, bytes, CHUNK, 0);
    if (got <= 0) {
        return false;
    }
    size_t len = (size_t)got;
    if (from_client) {
        record(relay, bytes, len);
    } else if (atomic_load(&relay->stripping)) {
        strip(bytes, &len, sizeof(bytes));
    }
    return send_all(to, bytes, len);
}

static void serve(struct relay *relay, int client)
{
    int server = net_connect(relay->target);
    struct pollfd fds[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    bool open = server >= 0;
    while (open && !atomic_load(&relay->stop)) {
        if (poll(fds, 2, TICK_MS) > 0) {
            open = fds[0].revents == 0 || move(relay, client, server, true);
            open = open && (fds[1].revents == 0 || move(relay, server, client, false));
        }
    }
    if (server >= 0) {
        (void)close(server);
    }
}

static void *run(void *argument)
{
    struct relay *relay = argument;
    struct pollfd fd = {.fd = relay->listener, .events = POLLIN};
    while (!atomic_load(&relay->stop)) {
        int client = poll(&fd, 1, TICK_MS) > 0 ? accept(relay->listener, NULL, NULL) : -1;
        if (client >= 0) {
            (void)pthread_mutex_lock(&relay->lock);
            REQUIRE(relay->count < CONNECTIONS_MAX);
            relay->count++;
            (void)pthread_mutex_unlock(&relay->lock);
            serve(relay, client);
            (void)close(client);
        }
    }
    return NULL;
}

struct relay *relay_start(uint16_t target)
{
    struct relay *relay = calloc(1, sizeof(*relay));
    REQUIRE(relay != NULL);
    relay->target = target;
    (void)pthread_mutex_init(&relay->lock, NULL);
    relay->listener = net_listen(&relay->port);
    REQUIRE(relay->listener >= 0);
    REQUIRE(pthread_create(&relay->thread, NULL, run, relay) == 0);
    return relay;
}

void relay_stop(struct relay *relay)
{
    if (relay == NULL) {
        return;
    }
    atomic_store(&relay->stop, true);
    (void)pthread_join(relay->thread, NULL);
    (void)close(relay->listener);
    for (size_t i = 0; i < relay->count; i++) {
        free(relay->recordings[i].bytes);
    }
    (void)pthread_mutex_destroy(&relay->lock);
    free(relay);
}

uint16_t relay_port(const struct relay *relay)
{
    return relay->port;
}

void relay_set_stripping(struct relay *relay, bool stripping)
{
    atomic_store(&relay->stripping, stripping);
}

size_t relay_count(struct relay *relay)
{
    (void)pthread_mutex_lock(&relay->lock);
    size_t count = relay->count;
    (void)pthread_mutex_unlock(&relay->lock);
    return count;
}

/* Records of types 20 (change cipher spec) to 23 (application data); the last may be cut. */
static bool is_tls(const struct recording *recording)
{
    size_t at = 0;
    while (at < recording->len) {
        const uint8_t *header = recording->bytes + at;
        if (header[0] < 20 || header[0] > 23 || (at + 1 < recording->len && header[1] != 3)) {
            return false;
        }
        if (recording->len - at < RECORD_HEADER) {
            return true;
        }
        at += RECORD_HEADER + ((size_t)header[3] << 8 | header[4]);
    }
    return true;
}

bool relay_is_silent_or_tls(struct relay *relay, size_t first)
{
    bool result = true;
    (void)pthread_mutex_lock(&relay->lock);
    for (size_t i = first; i < relay->count; i++) {
        result = result && is_tls(&relay->recordings[i]);
    }
    (void)pthread_mutex_unlock(&relay->lock);
    return result;
}

size_t relay_bytes(struct relay *relay, size_t first)
{
    size_t bytes = 0;
    (void)pthread_mutex_lock(&relay->lock);
    for (size_t i = first; i < relay->count; i++) {
        bytes += relay->recordings[i].len;
    }
    (void)pthread_mutex_unlock(&relay->lock);
    return bytes;
}

size_t relay_occurrences(struct relay *relay, const char *text)
{
    size_t count = 0;
    (void)pthread_mutex_lock(&relay->lock);
    for (size_t i = 0; i < relay->count; i++) {
        const struct recording *recording = &relay->recordings[i];
        bool has = recording->len != 0 &&
                   memmem(recording->bytes, recording->len, text, strlen(text)) != NULL;
        count += has ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&relay->lock);
    return count;
}
