/* SPDX-License-Identifier: MIT */
/**
 * Keeping the library's code in memory. A process that has used it has destructors of thread data,
 * handlers of fork() and perhaps threads that are in the middle of a lookup: all of them lead back
 * here, whenever that is. dlclose() cannot undo all of them, because threads that have published
 * may end at any time. So the object that contains the library, be it libroulette.so or a plugin
 * with the static library inside, is not unloaded any more once it was used. dlclose() succeeds as
 * ever, and the next dlopen() finds all as it was: the cost does not grow with the number of loads.
 */
#ifndef RLT_IO_SYSTEM_PIN_H
#define RLT_IO_SYSTEM_PIN_H

/**
 * Keep the object that contains the library until the process ends. Before anything else is made.
 *
 * Threads: any thread, any number of times. Takes the dynamic loader's lock.
 * Returns: 0; ROULETTE_ESYSTEM (the loader refused: roulette_last_error() has its reason).
 */
int rlt_pin(void);

#endif
