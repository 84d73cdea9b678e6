/* SPDX-License-Identifier: MIT */
#include "support/fake_server.h"

#include "support/net.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLOSE_MS = 1000, BLAST_MS = 10, RECORD_BYTES_MAX = 64 << 20 };

/** What one connection received; later bytes than RECORD_BYTES_MAX are read and forgotten. */
struct record {
    char *bytes;
    size_t len;
    size_t size;
};

struct fake_server {
    const struct fake_script *scripts;
    size_t script_count;
    int listener;
    int stop; /* an eventfd: readable when the thread must end */
    uint16_t port;
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct record *records;
    size_t accepted;
    size_t ended;
    bool failed;
};

/** One connection, owned by the thread. */
struct peer {
    struct fake_server *server;
    size_t index;
    int fd;
    size_t matched; /* bytes of the record that expects have consumed */
};

/** How a wait on the peer ended. */
enum ready { READY, TIMED_OUT, STOPPED };

static enum ready wait_peer(const struct fake_server *server, int fd, short events,
                            uint64_t deadline_ms)
{
    struct pollfd waits[] = {
        {.fd = server->stop, .events = POLLIN},
        {.fd = fd, .events = events},
    };
    int result;
    do {
        result = poll(waits, 2, deadline_ms == UINT64_MAX ? -1 : net_left_ms(deadline_ms));
    } while (result < 0 && errno == EINTR);
    if (waits[0].revents != 0 || result < 0) {
        return STOPPED;
    }
    return result == 0 ? TIMED_OUT : READY;
}

static void append(struct record *record, const char *bytes, size_t len)
{
    if (record->len + len > RECORD_BYTES_MAX) {
        return;
    }
    if (record->len + len > record->size) {
        size_t size = 2 * (record->len + len);
        char *larger = realloc(record->bytes, size);
        if (larger == NULL) {
            return;
        }
        record->bytes = larger;
        record->size = size;
    }
    memcpy(record->bytes + record->len, bytes, len);
    record->len += len;
}

/** Read once and record it. Returns: whether the peer is still there. */
static bool take(struct peer *peer)
{
    char bytes[16384];
    struct fake_server *server = peer->server;
    ssize_t len = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (len < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (len > 0) {
        (void)pthread_mutex_lock(&server->lock);
        append(&server->records[peer->index], bytes, (size_t)len);
        (void)pthread_cond_broadcast(&server->changed);
        (void)pthread_mutex_unlock(&server->lock);
    }
    return len > 0;
}

/** Read until the deadline. Returns: whether the peer is still there and the server not stopped. */
static bool take_until(struct peer *peer, uint64_t deadline_ms)
{
    for (;;) {
        enum ready ready = wait_peer(peer->server, peer->fd, POLLIN, deadline_ms);
        if (ready == TIMED_OUT) {
            return true;
        }
        if (ready == STOPPED || !take(peer)) {
            return false;
        }
    }
}

static void fail(struct peer *peer, const char *what, const struct fake_step *step)
{
    fprintf(stderr, "fake_server: connection %zu: %s: %.*s\n", peer->index, what,
            (int)(step->len < 200 ? step->len : 200), (const char *)step->bytes);
    (void)pthread_mutex_lock(&peer->server->lock);
    peer->server->failed = true;
    (void)pthread_mutex_unlock(&peer->server->lock);
}

static bool send_once(struct peer *peer, const struct fake_step *step)
{
    uint64_t deadline_ms = net_now_ms() + FAKE_DEADLINE_MS;
    const char *bytes = step->bytes;
    size_t sent = 0;
    while (sent < step->len) {
        enum ready ready = wait_peer(peer->server, peer->fd, POLLIN | POLLOUT, deadline_ms);
        if (ready == TIMED_OUT) {
            fail(peer, "could not send in time", step);
        }
        /* Reading meanwhile: a peer that writes much before it reads must not block us both. */
        if (ready != READY || !take(peer)) {
            return false;
        }
        ssize_t len = send(peer->fd, bytes + sent, step->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (len < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        sent += len > 0 ? (size_t)len : 0;
    }
    return true;
}

static bool expect(struct peer *peer, const struct fake_step *step)
{
    uint64_t deadline_ms = net_now_ms() + FAKE_DEADLINE_MS;
    for (;;) {
        /* Only this thread changes the record, so it reads it without the lock. */
        const struct record *record = &peer->server->records[peer->index];
        const char *found = record->len == 0
                                ? NULL
                                : memmem(record->bytes + peer->matched, record->len - peer->matched,
                                         step->bytes, step->len);
        if (found != NULL) {
            peer->matched = (size_t)(found - record->bytes) + step->len;
            return true;
        }
        enum ready ready = wait_peer(peer->server, peer->fd, POLLIN, deadline_ms);
        if (ready == TIMED_OUT) {
            fail(peer, "expected in vain", step);
        }
        if (ready != READY) {
            return false;
        }
        if (!take(peer)) {
            fail(peer, "peer closed before", step);
            return false;
        }
    }
}

static void blast(struct peer *peer, const struct fake_step *step)
{
    while (wait_peer(peer->server, peer->fd, POLLRDHUP, net_now_ms() + BLAST_MS) == TIMED_OUT) {
        (void)send(peer->fd, step->bytes, step->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/** Returns: whether the connection goes on. */
static bool play_step(struct peer *peer, const struct fake_step *step)
{
    switch (step->kind) {
    case FAKE_STEP_SEND:
        for (size_t i = 0; i < (step->times != 0 ? step->times : 1); i++) {
            if (!send_once(peer, step)) {
                return false;
            }
        }
        return true;
    case FAKE_STEP_EXPECT:
        return expect(peer, step);
    case FAKE_STEP_WAIT:
        return take_until(peer, net_now_ms() + step->ms);
    case FAKE_STEP_BLAST:
        blast(peer, step);
        return false;
    case FAKE_STEP_STALL:
        (void)wait_peer(peer->server, peer->fd, POLLRDHUP, UINT64_MAX);
        return false;
    case FAKE_STEP_CLOSE:
        (void)shutdown(peer->fd, SHUT_WR);
        /* close() with unread bytes would send RST instead. */
        (void)take_until(peer, net_now_ms() + CLOSE_MS);
        return false;
    case FAKE_STEP_RESET:
        (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                         sizeof(struct linger));
        return false;
    }
    return false;
}

static void play(struct peer *peer, const struct fake_script *script)
{
    for (size_t i = 0; i < script->count; i++) {
        if (!play_step(peer, &script->steps[i])) {
            return;
        }
    }
    (void)take_until(peer, UINT64_MAX);
}

/** Make room for one more connection. Returns: whether there was memory. */
static bool add_record(struct fake_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    struct record *larger =
        realloc(server->records, (server->accepted + 1) * sizeof(*server->records));
    if (larger != NULL) {
        server->records = larger;
        server->records[server->accepted++] = (struct record){0};
        (void)pthread_cond_broadcast(&server->changed);
    }
    (void)pthread_mutex_unlock(&server->lock);
    return larger != NULL;
}

static void *run(void *argument)
{
    struct fake_server *server = argument;
    while (wait_peer(server, server->listener, POLLIN, UINT64_MAX) == READY) {
        struct peer peer = {.server = server, .index = server->accepted};
        peer.fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (peer.fd < 0) {
            continue;
        }
        if (!add_record(server)) {
            (void)close(peer.fd);
            break;
        }
        size_t last = server->script_count - 1;
        play(&peer, &server->scripts[peer.index < last ? peer.index : last]);
        (void)close(peer.fd);
        (void)pthread_mutex_lock(&server->lock);
        server->ended++;
        (void)pthread_cond_broadcast(&server->changed);
        (void)pthread_mutex_unlock(&server->lock);
    }
    return NULL;
}

static void destroy(struct fake_server *server)
{
    for (size_t i = 0; i < server->accepted; i++) {
        free(server->records[i].bytes);
    }
    free(server->records);
    (void)pthread_cond_destroy(&server->changed);
    (void)pthread_mutex_destroy(&server->lock);
    if (server->listener >= 0) {
        (void)close(server->listener);
    }
    if (server->stop >= 0) {
        (void)close(server->stop);
    }
    free(server);
}

struct fake_server *fake_server_start(const struct fake_script *scripts, size_t count)
{
    uint16_t port;
    int listener = net_listen(&port);
    return listener >= 0 ? fake_server_start_on(listener, port, scripts, count) : NULL;
}

struct fake_server *fake_server_start_on(int listener, uint16_t port,
                                         const struct fake_script *scripts, size_t count)
{
    struct fake_server *server = count != 0 ? calloc(1, sizeof(*server)) : NULL;
    if (server == NULL) {
        return NULL;
    }
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&server->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&server->lock, NULL);
    server->scripts = scripts;
    server->script_count = count;
    server->stop = eventfd(0, EFD_CLOEXEC);
    server->listener = listener;
    server->port = port;
    if (server->stop < 0 || pthread_create(&server->thread, NULL, run, server) != 0) {
        destroy(server);
        return NULL;
    }
    return server;
}

uint16_t fake_server_port(const struct fake_server *server)
{
    return server->port;
}

/** What fake_server_wait_…() wait for: all of it must hold. */
struct wish {
    size_t accepted;
    size_t ended;
    const char *text; /* NULL: none */
    size_t index;
};

static bool holds(const struct fake_server *server, const struct wish *wish)
{
    if (server->accepted < wish->accepted || server->ended < wish->ended) {
        return false;
    }
    if (wish->text == NULL) {
        return true;
    }
    const struct record *record = &server->records[wish->index];
    return record->len != 0 &&
           memmem(record->bytes, record->len, wish->text, strlen(wish->text)) != NULL;
}

static bool wait_for(struct fake_server *server, struct wish wish, unsigned timeout_ms)
{
    struct timespec deadline;
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&server->lock);
    bool held = holds(server, &wish);
    int error = 0;
    while (!held && error == 0) {
        error = pthread_cond_timedwait(&server->changed, &server->lock, &deadline);
        held = holds(server, &wish);
    }
    (void)pthread_mutex_unlock(&server->lock);
    return held;
}

bool fake_server_wait_accepted(struct fake_server *server, size_t count, unsigned timeout_ms)
{
    return wait_for(server, (struct wish){.accepted = count}, timeout_ms);
}

bool fake_server_wait_ended(struct fake_server *server, size_t count, unsigned timeout_ms)
{
    return wait_for(server, (struct wish){.ended = count}, timeout_ms);
}

bool fake_server_wait_received(struct fake_server *server, size_t index, const char *text,
                               unsigned timeout_ms)
{
    struct wish wish = {.accepted = index + 1, .text = text, .index = index};
    return wait_for(server, wish, timeout_ms);
}

char *fake_server_received(struct fake_server *server, size_t index, size_t *len)
{
    char *copy = NULL;
    (void)pthread_mutex_lock(&server->lock);
    if (index < server->accepted) {
        const struct record *record = &server->records[index];
        copy = malloc(record->len + 1);
        if (copy != NULL) {
            if (record->len != 0) {
                memcpy(copy, record->bytes, record->len);
            }
            copy[record->len] = '\0';
            *len = record->len;
        }
    }
    (void)pthread_mutex_unlock(&server->lock);
    return copy;
}

bool fake_server_plays(struct fake_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    bool plays = !server->failed;
    (void)pthread_mutex_unlock(&server->lock);
    return plays;
}

bool fake_server_stop(struct fake_server *server)
{
    if (server == NULL) {
        return true;
    }
    (void)eventfd_write(server->stop, 1);
    (void)pthread_join(server->thread, NULL);
    bool played = !server->failed;
    destroy(server);
    return played;
}
