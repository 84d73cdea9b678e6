/* SPDX-License-Identifier: MIT */
#include "library.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stop.h"

const struct library library_own = {
#define LIBRARY_OWN(name) .name = roulette_##name,
    LIBRARY_CALLS(LIBRARY_OWN)
#undef LIBRARY_OWN
};

static char before_path[PATH_MAX];

bool library_choose_before(const char *build)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/src/libroulette.so", build);
    /* Absolute, or the loader would look for it elsewhere; and all runs are of one file, even if
     * the link is changed meanwhile. */
    return len > 0 && (size_t)len < sizeof(path) && realpath(path, before_path) != NULL &&
           access(before_path, R_OK) == 0;
}

const char *library_before_path(void)
{
    return before_path[0] != '\0' ? before_path : NULL;
}

/* The address of a function that is in this very file. */
static void *find(void *handle, const char *name)
{
    Dl_info info;
    char path[PATH_MAX];
    void *function = dlsym(handle, name);
    if (function == NULL) {
        stop("%s lacks %s()", before_path, name);
    }
    if (dladdr(function, &info) == 0 || realpath(info.dli_fname, path) == NULL ||
        strcmp(path, before_path) != 0) {
        stop("%s() of %s is of another file", name, before_path);
    }
    return function;
}

const struct library *library_load_before(void)
{
    static struct library library;
    /* Both libraries have the same names. Deep binding: it calls its own functions, not those of
     * the one that this program is linked with, which come first otherwise. */
    void *handle = dlopen(before_path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (handle == NULL) {
        stop("%s", dlerror());
    }
    /* C has no cast from an object's pointer to a function's; POSIX says they are alike. */
#define LIBRARY_FIND(name)                                  \
    {                                                       \
        void *function = find(handle, "roulette_" #name);   \
        memcpy(&library.name, &function, sizeof(function)); \
    }
    LIBRARY_CALLS(LIBRARY_FIND)
#undef LIBRARY_FIND
    return &library;
}
