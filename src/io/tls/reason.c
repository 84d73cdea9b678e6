/* SPDX-License-Identifier: MIT */
#include "io/tls/reason.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

void rlt_tls_reason(char *text, size_t size)
{
    unsigned long error = ERR_peek_error();
    const char *reason = NULL;
    char system_text[RLT_TLS_REASON_MAX];
    if (error != 0 && ERR_SYSTEM_ERROR(error)) {
        reason = strerror_r(ERR_GET_REASON(error), system_text, sizeof(system_text));
    } else if (error != 0) {
        reason = ERR_reason_error_string(error);
    }
    (void)snprintf(text, size, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
}
