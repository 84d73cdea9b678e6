/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_error[RLT_ERROR_TEXT_MAX];

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
    (void)vsnprintf(last_error, sizeof(last_error), format, arguments);
    va_end(arguments);
    return error;
}

int rlt_error_set_plain(int error)
{
    return rlt_error_set(error, "%s", roulette_error_text(error));
}
