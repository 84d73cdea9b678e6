/* SPDX-License-Identifier: MIT */
#include "api/sized.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "base/error.h"
#include "roulette.h"

#define SIZE_MAX_EVER 4096 /* of a struct: a larger size was never set */

static size_t size_of(const void *given)
{
    size_t size;
    memcpy(&size, given, sizeof(size));
    return size;
}

/* A size between two words was not set by an init function, and would cut a pointer. */
static bool is_set(const struct rlt_sized_kind *kind, size_t size)
{
    return size >= kind->size_min && size <= SIZE_MAX_EVER && size % sizeof(void *) == 0;
}

int rlt_sized_check(const struct rlt_sized_kind *kind, const void *given)
{
    size_t size = size_of(given);
    return is_set(kind, size) ? 0
                              : rlt_error_set(ROULETTE_EINVAL, "%s.size is %zu: %s", kind->name,
                                              size, kind->advice);
}

/* Whether a byte is set in fields that only a later version of the library has. */
static bool is_any_set(const uint8_t *bytes, size_t start, size_t end)
{
    bool any = false;
    for (size_t i = start; i < end; i++) {
        any = any || bytes[i] != 0;
    }
    return any;
}

int rlt_sized_read(const struct rlt_sized_kind *kind, const void *given, void *options)
{
    int result = rlt_sized_check(kind, given);
    if (result < 0) {
        return result;
    }
    size_t size = size_of(given);
    if (is_any_set(given, kind->size, size)) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "%s: an option is set that roulette %s does not know: link a later "
                             "version, or leave it out",
                             kind->name, roulette_version());
    }
    memcpy(options, given, rlt_min_size(size, kind->size));
    return 0;
}

void rlt_sized_write(const struct rlt_sized_kind *kind, const void *values, void *out)
{
    size_t size = size_of(out);
    if (is_set(kind, size)) {
        memset(out, 0, size);
        memcpy(out, values, rlt_min_size(size, kind->size));
        memcpy(out, &size, sizeof(size));
    }
}
