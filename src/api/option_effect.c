/* SPDX-License-Identifier: MIT */
#include "api/option_effect.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "proto/encode.h"

/* ---- TLS ---------------------------------------------------------------------------------- */

static bool is_tls_used(const struct roulette_options *options, const struct rlt_address *addresses,
                        size_t count)
{
    bool used = options->tls != 0;
    for (size_t i = 0; i < count; i++) {
        used = used || addresses[i].tls;
    }
    return used;
}

/* The first TLS option that is not at its default; NULL: none. */
static const char *first_of_tls(const struct roulette_options *options)
{
    const struct {
        const char *name;
        bool given;
    } all[] = {
        {"tls_ca_file", options->tls_ca_file != NULL},
        {"tls_ca_path", options->tls_ca_path != NULL},
        {"tls_cert_file", options->tls_cert_file != NULL},
        {"tls_key_file", options->tls_key_file != NULL},
        {"tls_server_name", options->tls_server_name != NULL},
        {"tls_handshake_first", options->tls_handshake_first != 0},
        {"tls_verify", options->tls_verify == 0},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].given) {
            return all[i].name;
        }
    }
    return NULL;
}

static int refuse_unverified(const char *name)
{
    return rlt_error_set(ROULETTE_EINVAL,
                         "options.%s is given, but options.tls_verify is 0, so no certificate is "
                         "checked: set options.tls_verify to 1, or leave options.%s out",
                         name, name);
}

static int refuse_half(const char *given, const char *missing)
{
    return rlt_error_set(ROULETTE_EINVAL,
                         "options.%s is given without its other half: give options.%s too, or "
                         "leave both out",
                         given, missing);
}

static int check_tls(const struct roulette_options *options, const struct rlt_address *addresses,
                     size_t count)
{
    const char *given = first_of_tls(options);
    if (given != NULL && !is_tls_used(options, addresses, count)) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "options.%s is about TLS, and no server is spoken to by TLS: set "
                             "options.tls to 1, or write the servers as tls://",
                             given);
    }
    if (options->tls_verify == 0 && options->tls_ca_file != NULL) {
        return refuse_unverified("tls_ca_file");
    }
    if (options->tls_verify == 0 && options->tls_ca_path != NULL) {
        return refuse_unverified("tls_ca_path");
    }
    if (options->tls_cert_file != NULL && options->tls_key_file == NULL) {
        return refuse_half("tls_cert_file", "tls_key_file");
    }
    if (options->tls_key_file != NULL && options->tls_cert_file == NULL) {
        return refuse_half("tls_key_file", "tls_cert_file");
    }
    return 0;
}

/* ---- Logging in --------------------------------------------------------------------------- */

static int refuse_empty(const char *name)
{
    return rlt_error_set(ROULETTE_EINVAL, "options.%s is empty: give NULL, or a name", name);
}

static bool has_login(const struct rlt_address *address)
{
    return address->user != NULL || address->token != NULL;
}

static bool have_all_logins(const struct rlt_address *addresses, size_t count)
{
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        all = all && has_login(&addresses[i]);
    }
    return all;
}

static int check_login(const struct roulette_options *options, const struct rlt_address *addresses,
                       size_t count)
{
    if (options->user != NULL && options->user[0] == '\0') {
        return refuse_empty("user");
    }
    if (options->token != NULL && options->token[0] == '\0') {
        return refuse_empty("token");
    }
    if (options->password != NULL && options->user == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "options.password is given without a user, so it is "
                                              "sent to nobody: give options.user too");
    }
    const char *given = options->user != NULL ? "user" : options->token != NULL ? "token" : NULL;
    if (given != NULL && have_all_logins(addresses, count)) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "options.%s is sent to nobody: each server of options.servers has a "
                             "login of its own; leave one of the two out",
                             given);
    }
    return 0;
}

/* ---- CONNECT ------------------------------------------------------------------------------ */

/* Check that a CONNECT with some of the texts can be sent. `what` names them. */
static int check_connect(const struct rlt_connect *connect, const char *what)
{
    char line[RLT_CONNECT_LEN_MAX];
    int result = rlt_encode_connect(connect, line, sizeof(line));
    explicit_bzero(line, sizeof(line));
    if (result == ROULETTE_EINVAL) {
        return rlt_error_set(result, "%s cannot be sent: it is not UTF-8; correct it", what);
    }
    return result < 0 ? rlt_error_set(ROULETTE_EINVAL,
                                      "%s cannot be sent: CONNECT would have more than %zu bytes; "
                                      "give a shorter one",
                                      what, RLT_CONNECT_LEN_MAX)
                      : 0;
}

/* Check one text after the other, and then all together. */
static int check_texts(const struct roulette_options *options)
{
    const struct {
        const char *what;
        struct rlt_connect connect;
    } all[] = {
        {"options.name", {.name = options->name}},
        {"options.user", {.user = options->user}},
        {"options.password", {.password = options->password}},
        {"options.token", {.token = options->token}},
        {"options.name with user, password and token",
         {.name = options->name,
          .user = options->user,
          .password = options->password,
          .token = options->token}},
    };
    int result = 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && result == 0; i++) {
        result = check_connect(&all[i].connect, all[i].what);
    }
    return result;
}

static int check_own_logins(const struct roulette_options *options,
                            const struct rlt_address *addresses, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        char what[RLT_ERROR_TEXT_MAX];
        const struct rlt_connect connect = {
            .name = options->name,
            .user = addresses[i].user,
            .password = addresses[i].password,
            .token = addresses[i].token,
        };
        (void)snprintf(what, sizeof(what), "servers, entry %zu (%s): its login", i + 1,
                       addresses[i].label);
        result = has_login(&addresses[i]) ? check_connect(&connect, what) : 0;
    }
    return result;
}

/* ---- The others --------------------------------------------------------------------------- */

static int check_log(const struct roulette_options *options)
{
    if (options->log != NULL) {
        return 0;
    }
    bool context = options->log_context != NULL;
    if (!context && options->log_level == ROULETTE_LOG_WARNING) {
        return 0;
    }
    return rlt_error_set(ROULETTE_EINVAL,
                         "options.%s is given, and there is no log: set options.log to a function",
                         context ? "log_context" : "log_level");
}

static int refuse_role(const char *name, const char *role, const char *does)
{
    return rlt_error_set(ROULETTE_EINVAL,
                         "options.%s is given, but options.role is %s: this client %s nothing; "
                         "leave one of the two out",
                         name, role, does);
}

static int check_role(const struct roulette_options *options)
{
    if (options->role == ROULETTE_ROLE_PUBLISHER &&
        options->subscription_restart != ROULETTE_RESTART_TEMPORARY) {
        return refuse_role("subscription_restart", "publisher", "subscribes to");
    }
    if (options->role == ROULETTE_ROLE_SUBSCRIBER && options->guarantee != ROULETTE_AT_MOST_ONCE) {
        return refuse_role("guarantee", "subscriber", "publishes");
    }
    if (options->role == ROULETTE_ROLE_SUBSCRIBER && options->reconnect_hold_ms != 0) {
        return refuse_role("reconnect_hold_ms", "subscriber", "publishes");
    }
    return 0;
}

static int check_backoff(const struct roulette_options *options)
{
    if (options->base_backoff_ms <= options->max_backoff_ms) {
        return 0;
    }
    return rlt_error_set(ROULETTE_EINVAL,
                         "options.base_backoff_ms is %u, which no wait reaches: give at most "
                         "options.max_backoff_ms (%u), or raise that",
                         options->base_backoff_ms, options->max_backoff_ms);
}

int rlt_option_effect_check(const struct roulette_options *options,
                            const struct rlt_address *addresses, size_t count)
{
    int result = check_tls(options, addresses, count);
    result = result == 0 ? check_login(options, addresses, count) : result;
    result = result == 0 ? check_texts(options) : result;
    result = result == 0 ? check_own_logins(options, addresses, count) : result;
    result = result == 0 ? check_log(options) : result;
    result = result == 0 ? check_role(options) : result;
    return result == 0 ? check_backoff(options) : result;
}
