/* SPDX-License-Identifier: MIT */
#include "io/system/system_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* What to change. */
static const char *advice(int error)
{
    switch (error) {
    case EMFILE:
        return "raise the limit of descriptors: ulimit -n, or LimitNOFILE of the service";
    case ENFILE:
        return "raise the machine's limit of descriptors: sysctl fs.file-max";
    default:
        return NULL;
    }
}

const char *rlt_system_text(int error, char *text)
{
    char scratch[96];
    const char *reason = strerror_r(error, scratch, sizeof(scratch));
    const char *change = advice(error);
    struct rlimit limit;
    if (change == NULL) {
        (void)snprintf(text, RLT_SYSTEM_TEXT_MAX, "%s", reason);
    } else if (error == EMFILE && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        (void)snprintf(text, RLT_SYSTEM_TEXT_MAX, "%s (this process may have %llu: %s)", reason,
                       (unsigned long long)limit.rlim_cur, change);
    } else {
        (void)snprintf(text, RLT_SYSTEM_TEXT_MAX, "%s (%s)", reason, change);
    }
    return text;
}
