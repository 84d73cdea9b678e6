/* SPDX-License-Identifier: MIT */
/**
 * Connecting a slot of an io_uring backend to one of a host's addresses ("happy eyeballs",
 * RFC 8305): the next address is tried as soon as the ones before have failed, or beside them when
 * the last one has not answered for the attempt delay. The first one that is connected wins, the
 * others are closed.
 *
 * With more addresses than RLT_URING_RACERS that do not answer, the oldest racer makes room.
 *
 * A loser's descriptor is closed with its own completion, perhaps after the winner has told that
 * the slot is open; until then the slot cannot be closed completely.
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_URING_RACE_H
#define RLT_IO_URING_RACE_H

#include <stdint.h>

#include "io/uring_slots.h"

/** No racer is in the slot. */
void rlt_uring_race_init(struct rlt_uring_slot *slot);

/** Try the addresses of `slot->lookup`, which is freed at the end: RLT_IO_OPENED follows. */
void rlt_uring_race_begin(struct rlt_uring *uring, uint32_t index);

/** A racer has ended with `result`, 0 or a negative errno. */
void rlt_uring_race_on_connect(struct rlt_uring *uring, uint32_t index, uint32_t racer, int result);

/** Time has passed: try what is due. For uring->race_ns <= `now_ns`. */
void rlt_uring_race_on_time(struct rlt_uring *uring, uint64_t now_ns);

/** Nobody may win any more: ask the kernel to end all racers. */
void rlt_uring_race_cancel(struct rlt_uring *uring, uint32_t index);

/** The ring is broken: all racers of a slot have lost. */
void rlt_uring_race_fail(struct rlt_uring *uring, uint32_t index);

/** In a child process: close the copies of the racers' descriptors. */
void rlt_uring_race_abandon(struct rlt_uring_slot *slot);

#endif
