/* SPDX-License-Identifier: MIT */
/**
 * A process at its limit of descriptors is told which limit that is.
 */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/log_record.h"
#include "support/test.h"

/* Let the process have as many descriptors as it has, and `more`. */
static void limit(unsigned more)
{
    int highest = dup(STDERR_FILENO);
    (void)close(highest);
    struct rlimit limit = {.rlim_cur = (rlim_t)highest + more, .rlim_max = (rlim_t)highest + more};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void check_text(const char *call)
{
    const char *text = roulette_last_error();
    cr_assert_not_null(strstr(text, call), "%s", text);
    cr_assert_not_null(strstr(text, "raise the limit of descriptors: ulimit -n"), "%s", text);
}

Test(limits, open_names_the_limit_of_descriptors)
{
    struct roulette_options options;
    roulette_client *client;
    roulette_options_init(&options);
    options.servers = "127.0.0.1:1";
    limit(0);
    cr_assert_eq(roulette_open(&options, &client), ROULETTE_ESYSTEM);
    check_text("eventfd()");
}

Test(limits, open_names_the_limit_for_a_ring_too)
{
    struct roulette_options options;
    roulette_client *client;
    roulette_options_init(&options);
    options.servers = "127.0.0.1:1";
    limit(1);
    cr_assert_eq(roulette_open(&options, &client), ROULETTE_ESYSTEM);
    check_text("io_uring_setup()");
}

Test(limits, subscriber_names_the_limit_of_descriptors)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber;
    limit(0);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), ROULETTE_ESYSTEM);
    check_text("eventfd()");
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(limits, connection_without_a_socket_is_explained_in_the_log)
{
    struct roulette_options options;
    roulette_client *client;
    struct log_record *record = log_record_create();
    roulette_options_init(&options);
    options.servers = "127.0.0.1:1";
    options.connection_timeout_ms = 500;
    log_record_attach(record, &options);
    cr_assert_eq(roulette_open(&options, &client), 0, "%s", roulette_last_error());
    EVENTUALLY(log_record_count(record, "could not connect") != 0);
    limit(0);
    EVENTUALLY(log_record_count(record, "socket() has failed: Too many open files") != 0);
    cr_assert_gt(log_record_count(record, "ulimit -n"), 0);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    log_record_destroy(record);
}
