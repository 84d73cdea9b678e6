/* SPDX-License-Identifier: MIT */
/* rlt_info_parse() on any bytes: texts end with a NUL, and a failure leaves the result alone. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "proto/info.h"
#include "roulette.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    struct rlt_info info;
    struct rlt_info before;
    memset(&info, 0x5a, sizeof info);
    memset(&before, 0x5a, sizeof before);

    int result = rlt_info_parse((const char *)input, len, &info);
    if (result != 0) {
        RLT_ASSERT(result == ROULETTE_EPROTOCOL);
        RLT_ASSERT(memcmp(&info, &before, sizeof info) == 0);
        return 0;
    }
    RLT_ASSERT(memchr(info.server_id, '\0', sizeof info.server_id) != NULL);
    RLT_ASSERT(memchr(info.server_name, '\0', sizeof info.server_name) != NULL);
    RLT_ASSERT(memchr(info.cluster, '\0', sizeof info.cluster) != NULL);
    RLT_ASSERT(memchr(info.version, '\0', sizeof info.version) != NULL);
    RLT_ASSERT(memchr(info.nonce, '\0', sizeof info.nonce) != NULL);
    return 0;
}
