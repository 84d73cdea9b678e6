/* SPDX-License-Identifier: MIT */
#include "core/connection/sub_suspects.h"

#include "support/test.h"

/* Who joins a suspect's topic while its window is open must be told to the server now: the window
 * is over with the next PONG, and nobody looks at its suspects again. */
Test(sub_suspects, what_is_in_the_open_window_is_not_kept_back)
{
    uint64_t sids[] = {11, 12, 13, 14};
    struct rlt_sub_suspects suspects = {.sids = sids, .first = 1, .end = 4, .open = 1};
    cr_assert(!rlt_sub_suspects_keep(&suspects, 11), "its window is over");
    cr_assert(!rlt_sub_suspects_keep(&suspects, 12), "its window is open");
    cr_assert(rlt_sub_suspects_keep(&suspects, 13));
    cr_assert(rlt_sub_suspects_keep(&suspects, 14));
    cr_assert(!rlt_sub_suspects_keep(&suspects, 15), "it is none");
}
