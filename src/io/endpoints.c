/* SPDX-License-Identifier: MIT */
#include "io/endpoints.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "roulette.h"

/* ---- Which addresses ---------------------------------------------------------------------- */

static uint32_t count_family(const struct rlt_endpoints *endpoints, int family)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < endpoints->count; i++) {
        count += endpoints->list[i].any.sa_family == family ? 1 : 0;
    }
    return count;
}

/* Add an address, if there is room for one more of its family. */
static void add(struct rlt_endpoints *endpoints, const struct sockaddr *address, size_t len)
{
    bool known = (address->sa_family == AF_INET && len == sizeof(struct sockaddr_in)) ||
                 (address->sa_family == AF_INET6 && len == sizeof(struct sockaddr_in6));
    if (known && count_family(endpoints, address->sa_family) < RLT_FAMILY_MAX) {
        memcpy(&endpoints->list[endpoints->count++], address, len);
    }
}

/* Add the addresses of the system's resolver. Returns: as getaddrinfo(). */
static int look_up(struct rlt_endpoints *endpoints, const char *host, int flags)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = flags,
    };
    struct addrinfo *list = NULL;
    int result = getaddrinfo(host, NULL, &hints, &list);
    if (result != 0) {
        return result;
    }
    for (const struct addrinfo *i = list; i != NULL; i = i->ai_next) {
        add(endpoints, i->ai_addr, i->ai_addrlen);
    }
    freeaddrinfo(list);
    return endpoints->count != 0 ? 0 : EAI_NONAME;
}

static int error_of(struct rlt_endpoints *endpoints, int result)
{
    endpoints->failure = result != 0 ? gai_strerror(result) : "";
    if (result == 0) {
        return 0;
    }
    return result == EAI_MEMORY ? ROULETTE_ENOMEM : ROULETTE_ERESOLVE;
}

/* "localhost" or a name that ends with ".localhost", with or without the root's dot behind it. */
static bool is_loopback_name(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host);
    len -= len != 0 && host[len - 1] == '.' ? 1 : 0;
    if (len < sizeof(name) - 1) {
        return false;
    }
    const char *tail = host + len - (sizeof(name) - 1);
    return strncasecmp(tail, name, sizeof(name) - 1) == 0 && (tail == host || tail[-1] == '.');
}

static bool has(const struct rlt_endpoints *endpoints, const union rlt_endpoint *wanted)
{
    for (uint32_t i = 0; i < endpoints->count; i++) {
        const union rlt_endpoint *own = &endpoints->list[i];
        if (own->any.sa_family == wanted->any.sa_family &&
            (own->any.sa_family == AF_INET
                 ? own->v4.sin_addr.s_addr == wanted->v4.sin_addr.s_addr
                 : IN6_ARE_ADDR_EQUAL(&own->v6.sin6_addr, &wanted->v6.sin6_addr))) {
            return true;
        }
    }
    return false;
}

static void add_loopback(struct rlt_endpoints *endpoints)
{
    const union rlt_endpoint both[] = {
        {.v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}},
        {.v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}},
    };
    for (size_t i = 0; i < 2; i++) {
        if (!has(endpoints, &both[i])) {
            add(endpoints, &both[i].any, rlt_endpoint_len(&both[i]));
        }
    }
}

int rlt_endpoints_resolve(struct rlt_endpoints *endpoints, const char *host)
{
    endpoints->count = 0;
    if (is_loopback_name(host)) {
        (void)look_up(endpoints, host, 0);
        add_loopback(endpoints);
        return 0;
    }
    /* On a machine with one family, the other one is not asked for. */
    int result = look_up(endpoints, host, AI_ADDRCONFIG);
    bool asked =
        result != EAI_AGAIN && result != EAI_FAIL && result != EAI_SYSTEM && result != EAI_MEMORY;
    if (result != 0 && asked) {
        /* A name may have addresses of the other family only: /etc/hosts with "::1 nats". */
        result = look_up(endpoints, host, 0);
    }
    return error_of(endpoints, result);
}

int rlt_endpoints_numeric(struct rlt_endpoints *endpoints, const char *host)
{
    endpoints->count = 0;
    return error_of(endpoints, look_up(endpoints, host, AI_NUMERICHOST));
}

/* ---- In which order ----------------------------------------------------------------------- */

static void shuffle(union rlt_endpoint *list, uint32_t count, struct rlt_random *random)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)rlt_random_below(random, i);
        union rlt_endpoint moved = list[i - 1];
        list[i - 1] = list[other];
        list[other] = moved;
    }
}

static void set_port(union rlt_endpoint *endpoint, uint16_t port)
{
    if (endpoint->any.sa_family == AF_INET) {
        endpoint->v4.sin_port = htons(port);
    } else {
        endpoint->v6.sin6_port = htons(port);
    }
}

void rlt_endpoint_format(const union rlt_endpoint *endpoint, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v6 = endpoint->any.sa_family == AF_INET6;
    (void)inet_ntop(endpoint->any.sa_family,
                    v6 ? (const void *)&endpoint->v6.sin6_addr
                       : (const void *)&endpoint->v4.sin_addr,
                    host, sizeof(host));
    unsigned port = ntohs(v6 ? endpoint->v6.sin6_port : endpoint->v4.sin_port);
    (void)snprintf(text, size, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

void rlt_endpoints_arrange(struct rlt_endpoints *endpoints, uint16_t port,
                           struct rlt_random *random)
{
    union rlt_endpoint families[2][RLT_FAMILY_MAX];
    uint32_t counts[2] = {0, 0};
    RLT_ASSERT(endpoints->count != 0);
    int first = endpoints->list[0].any.sa_family;
    for (uint32_t i = 0; i < endpoints->count; i++) {
        uint32_t which = endpoints->list[i].any.sa_family == first ? 0 : 1;
        set_port(&endpoints->list[i], port);
        families[which][counts[which]++] = endpoints->list[i];
    }
    shuffle(families[0], counts[0], random);
    shuffle(families[1], counts[1], random);
    uint32_t count = 0;
    for (uint32_t i = 0; i < counts[0] || i < counts[1]; i++) {
        for (uint32_t which = 0; which < 2; which++) {
            if (i < counts[which]) {
                endpoints->list[count++] = families[which][i];
            }
        }
    }
    RLT_ASSERT(count == endpoints->count);
}
