/* SPDX-License-Identifier: MIT */
#include "support/fake_dns.h"

#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 128, ADDRESSES_MAX = 24 };

struct list {
    const char *addresses[ADDRESSES_MAX];
    size_t count;
};

struct name {
    const char *text;
    struct list all;
    struct list configured;
    bool has_configured;
    bool hangs;
    unsigned running;
    unsigned begun;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static struct name names[NAMES_MAX];
static size_t name_count;

static struct name *find(const char *text)
{
    for (size_t i = 0; i < name_count; i++) {
        if (strcmp(names[i].text, text) == 0) {
            return &names[i];
        }
    }
    return NULL;
}

static struct name *find_or_add(const char *text)
{
    struct name *name = find(text);
    if (name == NULL) {
        if (name_count == NAMES_MAX) {
            abort();
        }
        name = &names[name_count++];
        name->text = text;
    }
    return name;
}

static void fill(struct list *list, va_list arguments)
{
    const char *address;
    list->count = 0;
    while ((address = va_arg(arguments, const char *)) != NULL) {
        if (list->count == ADDRESSES_MAX) {
            abort();
        }
        list->addresses[list->count++] = address;
    }
}

void fake_dns_set(const char *name, ...)
{
    va_list arguments;
    va_start(arguments, name);
    (void)pthread_mutex_lock(&lock);
    fill(&find_or_add(name)->all, arguments);
    (void)pthread_mutex_unlock(&lock);
    va_end(arguments);
}

void fake_dns_set_configured(const char *name, ...)
{
    va_list arguments;
    va_start(arguments, name);
    (void)pthread_mutex_lock(&lock);
    struct name *found = find_or_add(name);
    found->has_configured = true;
    fill(&found->configured, arguments);
    (void)pthread_mutex_unlock(&lock);
    va_end(arguments);
}

void fake_dns_hang(const char *name)
{
    (void)pthread_mutex_lock(&lock);
    find_or_add(name)->hangs = true;
    (void)pthread_mutex_unlock(&lock);
}

void fake_dns_release(void)
{
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < name_count; i++) {
        names[i].hangs = false;
    }
    (void)pthread_cond_broadcast(&released);
    (void)pthread_mutex_unlock(&lock);
}

unsigned fake_dns_running(const char *name)
{
    unsigned count = 0;
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < name_count; i++) {
        if (name == NULL || strcmp(names[i].text, name) == 0) {
            count += names[i].running;
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return count;
}

unsigned fake_dns_begun(const char *name)
{
    (void)pthread_mutex_lock(&lock);
    const struct name *found = find(name);
    unsigned count = found != NULL ? found->begun : 0;
    (void)pthread_mutex_unlock(&lock);
    return count;
}

/* ---- getaddrinfo() ------------------------------------------------------------------------ */

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result);

/* One list of what the addresses of a name are; freeaddrinfo() frees it entry by entry. */
static int make_result(const struct list *list, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result)
{
    struct addrinfo numeric = *hints;
    struct addrinfo **end = result;
    numeric.ai_flags = AI_NUMERICHOST;
    *result = NULL;
    for (size_t i = 0; i < list->count; i++) {
        if (__real_getaddrinfo(list->addresses[i], service, &numeric, end) != 0) {
            abort();
        }
        end = &(*end)->ai_next;
    }
    return *result != NULL ? 0 : EAI_NONAME;
}

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result)
{
    (void)pthread_mutex_lock(&lock);
    struct name *name = (hints->ai_flags & AI_NUMERICHOST) == 0 ? find(node) : NULL;
    if (name == NULL) {
        (void)pthread_mutex_unlock(&lock);
        return __real_getaddrinfo(node, service, hints, result);
    }
    name->running++;
    name->begun++;
    while (name->hangs) {
        (void)pthread_cond_wait(&released, &lock);
    }
    bool configured = name->has_configured && (hints->ai_flags & AI_ADDRCONFIG) != 0;
    int error = make_result(configured ? &name->configured : &name->all, service, hints, result);
    name->running--;
    (void)pthread_mutex_unlock(&lock);
    return error;
}
