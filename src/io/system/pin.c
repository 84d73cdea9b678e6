/* SPDX-License-Identifier: MIT */
#include "io/system/pin.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "roulette.h"

int rlt_pin(void)
{
    static atomic_bool pinned;
    /* Relaxed: to pin twice does no harm, and nothing else depends on the flag. */
    if (atomic_load_explicit(&pinned, memory_order_relaxed)) {
        return 0;
    }
    Dl_info info;
    struct link_map *map = NULL;
    int found = dladdr1(&pinned, &info, (void **)&map, RTLD_DL_LINKMAP);
    /* The program itself has no name, and one without a loader has no map: neither is unloaded. */
    bool can_be_unloaded = found != 0 && map != NULL && map->l_name[0] != '\0';
    /* NOLOAD finds the object by the name that it was loaded by, and looks at no file. */
    if (can_be_unloaded && dlopen(map->l_name, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE) == NULL) {
        const char *reason = dlerror();
        return rlt_error_set(ROULETTE_ESYSTEM, "the library cannot be kept in memory: %s",
                             reason != NULL ? reason : "it was not found");
    }
    atomic_store_explicit(&pinned, true, memory_order_relaxed);
    return 0;
}
