/* SPDX-License-Identifier: MIT */
#include "io/endpoints.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "roulette.h"
#include "support/fake_dns.h"
#include "support/test.h"

static struct rlt_endpoints endpoints;

/* The addresses in order, as "a b c". */
static const char *shown(void)
{
    static char text[2048];
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < endpoints.count; i++) {
        const union rlt_endpoint *endpoint = &endpoints.list[i];
        const void *address = endpoint->any.sa_family == AF_INET6
                                  ? (const void *)&endpoint->v6.sin6_addr
                                  : (const void *)&endpoint->v4.sin_addr;
        char one[INET6_ADDRSTRLEN];
        cr_assert_not_null(inet_ntop(endpoint->any.sa_family, address, one, sizeof(one)));
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i != 0 ? " " : "", one);
    }
    return text;
}

static void check_resolved(const char *host, const char *expected)
{
    cr_assert_eq(rlt_endpoints_resolve(&endpoints, host), 0, "%s", host);
    cr_assert_str_eq(shown(), expected, "%s", host);
}

Test(endpoints, names_have_the_addresses_that_the_system_knows)
{
    fake_dns_set("a.example", "10.0.0.1", "fe80::1", "10.0.0.2", NULL);
    fake_dns_set("none.example", NULL);
    check_resolved("a.example", "10.0.0.1 fe80::1 10.0.0.2");
    cr_assert_eq(rlt_endpoints_resolve(&endpoints, "none.example"), ROULETTE_ERESOLVE);
}

/* Not those of a family that this machine does not have, unless there are no others. */
Test(endpoints, configured_families_come_first)
{
    fake_dns_set("a.example", "10.0.0.1", "2001:db8::1", NULL);
    fake_dns_set_configured("a.example", "10.0.0.1", NULL);
    fake_dns_set("six.example", "::1", NULL);
    fake_dns_set_configured("six.example", NULL);
    check_resolved("a.example", "10.0.0.1");
    cr_assert_eq(fake_dns_begun("a.example"), 1);
    check_resolved("six.example", "::1");
}

Test(endpoints, loopback_names_have_both_families)
{
    static const char *const hosts[] = {"localhost", "LocalHost", "localhost.", "nats.localhost",
                                        "a.b.LOCALHOST."};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        fake_dns_set(hosts[i], "127.0.0.1", NULL);
        check_resolved(hosts[i], "127.0.0.1 ::1");
        fake_dns_set(hosts[i], "::1", NULL);
        check_resolved(hosts[i], "::1 127.0.0.1");
        fake_dns_set(hosts[i], "::1", "127.0.0.1", NULL);
        check_resolved(hosts[i], "::1 127.0.0.1");
        fake_dns_set(hosts[i], "127.0.0.9", NULL); /* as /etc/hosts may say */
        check_resolved(hosts[i], "127.0.0.9 127.0.0.1 ::1");
        fake_dns_set(hosts[i], NULL);
        check_resolved(hosts[i], "127.0.0.1 ::1");
    }
}

Test(endpoints, other_names_have_no_loopback_added)
{
    static const char *const hosts[] = {"mylocalhost", "localhost.example", "localhos",
                                        "localhost..", "xlocalhost."};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        fake_dns_set(hosts[i], "10.0.0.1", NULL);
        check_resolved(hosts[i], "10.0.0.1");
    }
}

Test(endpoints, numeric_addresses_are_no_names)
{
    fake_dns_set("a.example", "10.0.0.1", NULL);
    cr_assert_eq(rlt_endpoints_numeric(&endpoints, "10.1.2.3"), 0);
    cr_assert_str_eq(shown(), "10.1.2.3");
    cr_assert_eq(rlt_endpoints_numeric(&endpoints, "::1"), 0);
    cr_assert_str_eq(shown(), "::1");
    cr_assert_eq(rlt_endpoints_numeric(&endpoints, "a.example"), ROULETTE_ERESOLVE);
    cr_assert_eq(fake_dns_begun("a.example"), 0);
}

/* ---- Order -------------------------------------------------------------------------------- */

static void check_arranged(const char *host, const char *expected)
{
    struct rlt_random random = {1};
    cr_assert_eq(rlt_endpoints_resolve(&endpoints, host), 0);
    rlt_endpoints_arrange(&endpoints, 4222, &random);
    for (uint32_t i = 0; i < endpoints.count; i++) {
        cr_assert_eq(ntohs(endpoints.list[i].v4.sin_port), 4222);
    }
    cr_assert_str_eq(shown(), expected);
}

Test(endpoints, families_are_tried_in_turn)
{
    fake_dns_set("a.example", "::1", "::1", "::1", "10.0.0.1", NULL);
    check_arranged("a.example", "::1 10.0.0.1 ::1 ::1");
    fake_dns_set("a.example", "10.0.0.1", "10.0.0.1", "::1", "::1", NULL);
    check_arranged("a.example", "10.0.0.1 ::1 10.0.0.1 ::1");
    fake_dns_set("a.example", "10.0.0.1", NULL);
    check_arranged("a.example", "10.0.0.1");
}

Test(endpoints, addresses_of_a_family_are_tried_in_any_order)
{
    struct rlt_random random = {1};
    unsigned first[4] = {0};
    fake_dns_set("a.example", "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "::1", NULL);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(rlt_endpoints_resolve(&endpoints, "a.example"), 0);
        rlt_endpoints_arrange(&endpoints, 1, &random);
        cr_assert_eq(endpoints.count, 5);
        cr_assert_eq(endpoints.list[1].any.sa_family, AF_INET6);
        first[ntohl(endpoints.list[0].v4.sin_addr.s_addr) & 3]++;
    }
    for (int i = 0; i < 4; i++) {
        cr_assert(first[i] > 200 && first[i] < 300, "%u of 1000 began with number %d", first[i], i);
    }
}

/* However many there are of one family, the other one gets its turn. */
Test(endpoints, many_addresses_of_one_family_leave_room_for_the_other)
{
    fake_dns_set("a.example", "fe80::1", "fe80::2", "fe80::3", "fe80::4", "fe80::5", "fe80::6",
                 "fe80::7", "fe80::8", "fe80::9", "fe80::a", "fe80::b", "fe80::c", "fe80::d",
                 "fe80::e", "fe80::f", "fe80::10", "fe80::11", "fe80::12", "10.0.0.1", "10.0.0.2",
                 NULL);
    struct rlt_random random = {1};
    cr_assert_eq(rlt_endpoints_resolve(&endpoints, "a.example"), 0);
    cr_assert_eq(endpoints.count, RLT_FAMILY_MAX + 2);
    rlt_endpoints_arrange(&endpoints, 1, &random);
    cr_assert_eq(endpoints.list[1].any.sa_family, AF_INET);
    cr_assert_eq(endpoints.list[3].any.sa_family, AF_INET);
}
