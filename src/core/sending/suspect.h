/* SPDX-License-Identifier: MIT */
/**
 * Finding the message that a server does not take. With the guarantee at_least_once what no PONG
 * has confirmed is sent again on the next connection. A message for which the server closes (its
 * line is longer than max_control_line, its payload larger than a limit that was lowered) would end
 * that one too, and hold up all others for ever.
 *
 *     CALM -> WARY -> PROBING -> CALM
 *
 *  WARY     a server has closed a connection with messages unconfirmed: they are the suspects.
 *           They are sent again as on any reconnect, for servers end for other reasons too.
 *  PROBING  and it did so again before all of them were confirmed; or it has said that it does not
 *           take what it was sent. The suspects are sent in the order of the lanes, `window` of
 *           them at a time, and no more before their PONG. If the server closes again, one of the
 *           window is the culprit: those are tried first on the next connection, a sixteenth at a
 *           time. One that was alone in
 *           five losses in a row (in one, if the server has said it) is given up: as failed if
 *           the server has said it, otherwise as in doubt, for a server may have processed it and
 *           have closed for another reason.
 *
 * Any of them is left when all suspects are confirmed. To find one culprit among n suspects the
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
/** How often in a row a server has to close while one suspect alone is on its way, if it does not
 *  say why: by chance connections break too, but seldom always within the same round trip. */
#define RLT_SUSPECT_STRIKES 5

/** Of the lanes of one position. All zero: CALM. */
struct rlt_suspect {
    uint32_t losses;   /* 0: CALM */
    uint64_t window;   /* messages on their way at most; 0: not PROBING */
    uint64_t narrow;   /* how many that is for; then it is widened */
    uint32_t strikes;  /* how often a message was alone */
    uint64_t open;     /* unconfirmed messages when the connection was lost */
    int torn_lane;     /* a frame was sent in part, in this lane */
    uint64_t torn_end; /* and its number, plus 1; 0: none was */
};

/** What was given up. */
struct rlt_suspect_found {
    char topic[128]; /* its beginning; NUL-terminated */
    size_t topic_len;
    uint32_t payload_len;
};

/** How often a suspect has to be alone. */
static inline uint32_t rlt_suspect_strikes(bool named)
{
    return named ? 1 : RLT_SUSPECT_STRIKES;
}

static inline uint64_t rlt_suspect_share(uint64_t count)
{
    return (count + RLT_SUSPECT_SHARE - 1) / RLT_SUSPECT_SHARE;
}

/** The connection is lost, and the kernel took a frame only in part: a suspect all the same. */
static inline void rlt_suspect_note_torn(struct rlt_suspect *suspect, int lane, uint64_t end)
{
    suspect->torn_lane = lane;
    suspect->torn_end = end;
    suspect->open++;
}

/** While PROBING: add the next window to the batch. Returns: false if no suspects are left. */
bool rlt_suspect_gather(struct rlt_sender *sender);

/** A PONG has confirmed `count` messages, while not CALM. */
void rlt_suspect_on_confirmed(struct rlt_sender *sender, uint64_t count);

/**
 * The server has closed the connection, and rlt_sender_on_lost() was called. `named`: it has said
 * that it does not take what it was sent.
 *
 * Returns: whether a message was given up: it stands in `found`.
 */
bool rlt_suspect_on_closed(struct rlt_sender *sender, bool named, struct rlt_suspect_found *found);

/** The connection is lost, and its server may have processed whatever was sent: it did not say that
 *  for a line which it does not take it closes. */
void rlt_suspect_note_unknown(struct rlt_sender *sender);

#endif
