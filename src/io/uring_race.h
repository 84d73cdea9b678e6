/* SPDX-License-Identifier: MIT */
/**
 * Connecting a slot of an io_uring backend to one of a host's addresses ("happy eyeballs",
 * RFC 8305): the next address is tried as soon as the ones before have failed, or beside them when
 * the last one has not answered for the attempt delay. The first one that is connected wins, the
 * others are closed.
 *
 * With more addresses than RLT_URING_RACERS that do not answer, the oldest racer makes room.
 *
 * A loser's descriptor is closed with its own completion, perhaps after the winner's RLT_IO_OPENED;
 * until then the slot cannot be closed completely.
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_URING_RACE_H
#define RLT_IO_URING_RACE_H

#include <stdint.h>

#include "io/uring_slots.h"

/** Make a slot without racers. */
void rlt_uring_race_init(struct rlt_uring_slot *slot);

/** Try the addresses of `slot->lookup`, which is freed at the end: RLT_IO_OPENED follows. */
void rlt_uring_race_begin(struct rlt_uring *uring, uint32_t index);

/** Handle the end of a racer with `result`, 0 or a negative errno. */
void rlt_uring_race_on_connect(struct rlt_uring *uring, uint32_t index, uint32_t racer, int result);

/** Try the addresses that are due. For uring->race_ns <= `now_ns`. */
void rlt_uring_race_on_time(struct rlt_uring *uring, uint64_t now_ns);

/** Cancel the race: ask the kernel to end all racers. */
void rlt_uring_race_cancel(struct rlt_uring *uring, uint32_t index);

/** End all racers of a slot as lost: the ring is broken. */
void rlt_uring_race_fail(struct rlt_uring *uring, uint32_t index);

/** Close the copies of the racers' descriptors, in a child process. */
void rlt_uring_race_abandon(struct rlt_uring_slot *slot);

#endif
