/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

/* What roulette_last_error() returns: a constant, or `written`. Initial-exec: as the producers of
 * api/producer.c; `written` is too large for that in a library that is loaded late. */
static _Thread_local const char *last_error __attribute__((tls_model("initial-exec"))) = "";
static _Thread_local char written[RLT_ERROR_TEXT_MAX];

const char *roulette_error_name(int error)
{
    switch (error) {
#define ERROR_NAME(name, value, text) \
    case (value):                     \
        return "ROULETTE_" #name;
        ROULETTE_ERRORS(ERROR_NAME)
#undef ERROR_NAME
    default:
        return error >= 0 ? "ROULETTE_OK" : "ROULETTE_UNKNOWN";
    }
}

const char *roulette_error_text(int error)
{
    switch (error) {
#define ERROR_TEXT(name, value, text) \
    case (value):                     \
        return text;
        ROULETTE_ERRORS(ERROR_TEXT)
#undef ERROR_TEXT
    default:
        return error >= 0 ? "no error" : "this code is not one of roulette's";
    }
}

const char *roulette_last_error(void)
{
    return last_error;
}

int rlt_error_set(int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(written, sizeof(written), format, arguments);
    va_end(arguments);
    last_error = written;
    return error;
}

int rlt_error_set_text(int error, const char *text)
{
    last_error = text;
    return error;
}

int rlt_error_about(int error, const char *what)
{
    char reason[RLT_ERROR_TEXT_MAX];
    (void)snprintf(reason, sizeof(reason), "%s", last_error);
    return rlt_error_set(error, "%s cannot be used: %s", what, reason);
}

int rlt_error_set_plain(int error)
{
    return rlt_error_set_text(error, roulette_error_text(error));
}
