/* SPDX-License-Identifier: MIT */
/**
 * Finding the message that a server does not accept. With the guarantee at_least_once unconfirmed
 * messages are sent again on the next connection. A message for which the server closes (its line
 * is longer than max_control_line, its payload larger than a limit that was lowered) would end that
 * connection too, and hold up all other messages for ever.
 *
 *     CALM -> WARY -> PROBING -> CALM
 *
 *  WARY     a server has closed a connection with messages unconfirmed: they are the suspects.
 *           They are sent again as on any reconnect, for servers end for other reasons too.
 *  PROBING  a server did so again before all of them were confirmed; or it has said that it does
 *           not accept a line. The suspects are sent in the order of the lanes, `window` of them at
 *           a time, and no more before their PONG. If the server closes again, one of the window is
 *           the culprit: the window is tried first on the next connection, a sixteenth at a time. A
 *           suspect that was alone in five losses in a row (in one, if the server has named the
 *           fault) is given up: as failed if the fault was named, otherwise as in doubt, for a
 *           server may have processed it and have closed for another reason.
 *
 * Either state ends when all suspects are confirmed. To find one culprit among n suspects the
 * server has to close 6 times, and once for each factor of 16 in n, if it never says why: 9 times
 * for 1000, 11 for a million. If it does: 1 and once for each factor, 4 for 1000.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SENDING_SUSPECT_H
#define RLT_CORE_SENDING_SUSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rlt_sender;

/** The part of suspects that is tried at a time. */
#define RLT_SUSPECT_SHARE 16
/** How often in a row a server has to close while one suspect alone is in flight, if it does not
 *  say why: connections also break by chance, but seldom always within the same round trip. */
#define RLT_SUSPECT_STRIKES 5

/** The state for the lanes of one path. All zero: CALM. */
struct rlt_suspect {
    uint32_t losses;   /* 0: CALM */
    uint64_t window;   /* messages in flight at most; 0: not PROBING */
    uint64_t narrow;   /* how many messages `window` is for; then it is widened */
    uint32_t strikes;  /* how often a message was alone */
    uint64_t open;     /* unconfirmed messages when the connection was lost */
    int torn_lane;     /* a frame was sent in part, in this lane */
    uint64_t torn_end; /* and its number, plus 1; 0: none was */
};

/** A message that was given up. */
struct rlt_suspect_found {
    char topic[128]; /* its beginning; NUL-terminated */
    size_t topic_len;
    uint32_t payload_len;
};

/** How often a suspect must have been alone. */
static inline uint32_t rlt_suspect_strikes(bool named)
{
    return named ? 1 : RLT_SUSPECT_STRIKES;
}

static inline uint64_t rlt_suspect_share(uint64_t count)
{
    return (count + RLT_SUSPECT_SHARE - 1) / RLT_SUSPECT_SHARE;
}

/** Note a frame that the kernel took only in part before the loss: a suspect all the same. */
static inline void rlt_suspect_note_torn(struct rlt_suspect *suspect, int lane, uint64_t end)
{
    suspect->torn_lane = lane;
    suspect->torn_end = end;
    suspect->open++;
}

/** While PROBING: add the next window to the batch. Returns: false if no suspects are left. */
bool rlt_suspect_gather(struct rlt_sender *sender);

/** Note that a PONG has confirmed `count` messages, while not CALM. */
void rlt_suspect_on_confirmed(struct rlt_sender *sender, uint64_t count);

/**
 * Narrow the search after the server has closed the connection, behind rlt_sender_on_lost().
 * `named`: the server has said that it does not accept a line.
 *
 * Returns: whether a message was given up: it stands in `found`.
 */
bool rlt_suspect_on_closed(struct rlt_sender *sender, bool named, struct rlt_suspect_found *found);

/** Note that the lost connection's server may have processed all that was sent: it did not name a
 *  line that it closes for. */
void rlt_suspect_note_unknown(struct rlt_sender *sender);

#endif
