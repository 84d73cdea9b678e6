/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/gate.h"

void rlt_log(const struct rlt_log *log, enum roulette_log_level level, const char *format, ...)
{
    if (log == NULL || !rlt_log_takes(log, level)) {
        return;
    }
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    /* Server text may reach a log; it must not forge a second line or a terminal escape. */
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    if (rlt_gate_enter(RLT_GATE_LOG)) {
        log->write(log->context, level, text);
        rlt_gate_leave(RLT_GATE_LOG);
    }
}
