/* SPDX-License-Identifier: MIT */
/**
 * Texts for failures of the operating system.
 */
#ifndef RLT_IO_SYSTEM_SYSTEM_TEXT_H
#define RLT_IO_SYSTEM_SYSTEM_TEXT_H

#define RLT_SYSTEM_TEXT_MAX 192

/**
 * Write the text of an errno, and advice if it is a limit: "Too many open files (this process may
 * have 1024: raise the limit of descriptors: ulimit -n, or LimitNOFILE of the service)".
 *
 * Threads: any thread. Returns: `text`, which has room for RLT_SYSTEM_TEXT_MAX bytes.
 */
const char *rlt_system_text(int error, char *text);

#endif
