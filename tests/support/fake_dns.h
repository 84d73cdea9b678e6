/* SPDX-License-Identifier: MIT */
/**
 * Name servers of a test, which may hang: link with --wrap=getaddrinfo. Names that the test does
 * not give, and numeric addresses, go to the real getaddrinfo().
 *
 *     fake_dns_set("two.example", "::1", "127.0.0.1", NULL);
 *     fake_dns_hang("dead.example");
 */
#ifndef RLT_TESTS_SUPPORT_FAKE_DNS_H
#define RLT_TESTS_SUPPORT_FAKE_DNS_H

/** Give a name these addresses, in this order; the list ends with NULL. None: it does not exist. */
void fake_dns_set(const char *name, ...) __attribute__((sentinel));

/** As fake_dns_set(), but for lookups with AI_ADDRCONFIG, as where one family is configured. */
void fake_dns_set_configured(const char *name, ...) __attribute__((sentinel));

/** Lookups of a name do not end before fake_dns_release(); then they have the addresses it has. */
void fake_dns_hang(const char *name);

/** Let the lookups go on that hang now, and those to come. */
void fake_dns_release(void);

/** Lookups that are under way, of a name; NULL: of all. */
unsigned fake_dns_running(const char *name);

/** Lookups that have begun so far, of a name. */
unsigned fake_dns_begun(const char *name);

#endif
