/* SPDX-License-Identifier: MIT */
/**
 * A dumb server that plays a script of bytes: it knows no protocol, so it can send garbage, half a
 * frame, an endless line, or nothing.
 *
 *     struct fake_script scripts[] = {
 *         FAKE_SCRIPT(FAKE_SEND("INFO {}\r\n"), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PO"),
 *                     FAKE_CLOSE()),
 *         FAKE_SCRIPT(FAKE_STALL()),
 *     };
 *     struct fake_server *server = fake_server_start(scripts, 2);
 *
 * One thread accepts one connection at a time. The n-th connection plays the n-th script, later
 * ones the last script. A script that has ended goes on reading until the peer closes.
 */
#ifndef RLT_TESTS_SUPPORT_FAKE_SERVER_H
#define RLT_TESTS_SUPPORT_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How long a FAKE_EXPECT waits, and how long a FAKE_SEND may be held up. */
#define FAKE_DEADLINE_MS 10000

enum fake_step_kind {
    FAKE_STEP_SEND,   /* `bytes`, `times` times (0: once); ends early if the peer closes */
    FAKE_STEP_EXPECT, /* read until `bytes` occur after what the last expect matched */
    FAKE_STEP_WAIT,   /* read for `ms` milliseconds: for what must not happen, not to synchronise */
    FAKE_STEP_BLAST,  /* as STALL, and send `bytes` 100 times a second */
    FAKE_STEP_STALL,  /* read nothing until the peer closes or the server is stopped */
    FAKE_STEP_CLOSE,  /* FIN, and read until the peer closes too */
    FAKE_STEP_RESET,  /* RST */
};

struct fake_step {
    enum fake_step_kind kind;
    const void *bytes;
    size_t len;
    size_t times;
    unsigned ms;
};

/** What one connection plays. Borrowed: lives until fake_server_stop(). */
struct fake_script {
    const struct fake_step *steps;
    size_t count;
};

/** The text is a string literal. FAKE_SEND_BYTES() takes any bytes. */
#define FAKE_SEND(text) FAKE_SEND_TIMES(text, 1)
#define FAKE_SEND_TIMES(text, times_) \
    ((struct fake_step){              \
        .kind = FAKE_STEP_SEND, .bytes = "" text, .len = sizeof(text) - 1, .times = (times_)})
#define FAKE_SEND_BYTES(bytes_, len_) \
    ((struct fake_step){.kind = FAKE_STEP_SEND, .bytes = (bytes_), .len = (len_)})
#define FAKE_EXPECT(text) \
    ((struct fake_step){.kind = FAKE_STEP_EXPECT, .bytes = (text), .len = sizeof(text) - 1})
#define FAKE_WAIT(ms_) ((struct fake_step){.kind = FAKE_STEP_WAIT, .ms = (ms_)})
#define FAKE_BLAST(text) \
    ((struct fake_step){.kind = FAKE_STEP_BLAST, .bytes = "" text, .len = sizeof(text) - 1})
#define FAKE_STALL() ((struct fake_step){.kind = FAKE_STEP_STALL})
#define FAKE_CLOSE() ((struct fake_step){.kind = FAKE_STEP_CLOSE})
#define FAKE_RESET() ((struct fake_step){.kind = FAKE_STEP_RESET})

#define FAKE_SCRIPT(...)                               \
    {.steps = (const struct fake_step[]){__VA_ARGS__}, \
     .count = sizeof((const struct fake_step[]){__VA_ARGS__}) / sizeof(struct fake_step)}

struct fake_server;

/** Listen on a free port and start the thread. Returns: the server, or NULL. */
struct fake_server *fake_server_start(const struct fake_script *scripts, size_t count);

/** As fake_server_start(), on a socket that listens at `port`. Ownership: the server closes it. */
struct fake_server *fake_server_start_on(int listener, uint16_t port,
                                         const struct fake_script *scripts, size_t count);

uint16_t fake_server_port(const struct fake_server *server);

/** Wait until `count` connections were accepted so far. Returns: whether, in time. */
bool fake_server_wait_accepted(struct fake_server *server, size_t count, unsigned timeout_ms);

/** Wait until `count` connections were accepted and have ended. Returns: whether, in time. */
bool fake_server_wait_ended(struct fake_server *server, size_t count, unsigned timeout_ms);

/** Whether all scripts were played as far as they came. For clients that connect anew, and may
 * close in the middle of the next script: asked before they do. */
bool fake_server_plays(struct fake_server *server);

/** Wait until connection `index` (from 0) has received `text`. Returns: whether, in time. */
bool fake_server_wait_received(struct fake_server *server, size_t index, const char *text,
                               unsigned timeout_ms);

/**
 * A copy of everything that connection `index` has received so far, with a NUL after it.
 *
 * Ownership: the caller's; free() it.
 * Returns:   the bytes; NULL if there was no such connection.
 */
char *fake_server_received(struct fake_server *server, size_t index, size_t *len);

/**
 * End the thread and free the server. NULL is allowed.
 *
 * Returns: whether each script was played without missing a deadline; prints which step did.
 */
bool fake_server_stop(struct fake_server *server);

#endif
