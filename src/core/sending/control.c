/* SPDX-License-Identifier: MIT */
#include "core/sending/control.h"

#include <string.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/memory.h"
#include "roulette.h"

int rlt_control_init(struct rlt_control *control)
{
    memset(control, 0, sizeof(*control));
    for (int i = 0; i < 2; i++) {
        control->buffers[i] = rlt_memory_alloc_aligned(RLT_CACHE_LINE, RLT_CONTROL_BYTES);
        if (control->buffers[i] == NULL) {
            rlt_control_fini(control);
            return ROULETTE_ENOMEM;
        }
    }
    return 0;
}

void rlt_control_fini(struct rlt_control *control)
{
    rlt_memory_free(control->buffers[0]);
    rlt_memory_free(control->buffers[1]);
    memset(control, 0, sizeof(*control));
}

uint8_t *rlt_control_claim(struct rlt_control *control, size_t len)
{
    if (control->len + len > RLT_CONTROL_BYTES) {
        return NULL;
    }
    return control->buffers[control->filling] + control->len;
}

void rlt_control_commit(struct rlt_control *control, const uint8_t *end)
{
    control->len = (size_t)(end - control->buffers[control->filling]);
    RLT_ASSERT(control->len <= RLT_CONTROL_BYTES);
}

const uint8_t *rlt_control_take(struct rlt_control *control, size_t *len)
{
    const uint8_t *bytes = control->buffers[control->filling];
    *len = control->len;
    control->filling ^= 1;
    control->len = 0;
    return bytes;
}

void rlt_control_on_sent(struct rlt_control *control)
{
    if (control->secret_len != 0 && control->len == 0) {
        explicit_bzero(control->buffers[0], control->secret_len);
        explicit_bzero(control->buffers[1], control->secret_len);
        control->secret_len = 0;
    }
}
