/* SPDX-License-Identifier: MIT */
#include "core/connection/handshake.h"

#include <string.h>

#include "base/assert.h"
#include "core/connection/failure.h"
#include "proto/encode.h"

static const char ping[] = "PING\r\n";

/* Write CONNECT, with the credentials of `proof`, and PING. */
static int write_connect(struct rlt_connection *connection, const struct rlt_proof *proof)
{
    const struct rlt_config *config = connection->env->config;
    const struct rlt_address *address = connection->env->address;
    bool own = address->user != NULL || address->token != NULL;
    struct rlt_connect connect = {
        .name = config->name,
        .version = roulette_version(),
        .user = own ? address->user : config->user,
        .password = own ? address->password : config->password,
        .token = own ? address->token : config->token,
        .jwt = proof->jwt,
        .nkey = proof->nkey,
        .sig = proof->sig,
        .headers = connection->info.headers,
    };
    uint8_t *out =
        rlt_control_claim(&connection->sender.control, RLT_CONNECT_LEN_MAX + sizeof(ping));
    RLT_ASSERT(out != NULL); /* nothing else is sent before CONNECT */
    int len = rlt_encode_connect(&connect, (char *)out, RLT_CONNECT_LEN_MAX);
    if (len < 0) {
        return len;
    }
    memcpy(out + len, ping, sizeof(ping) - 1);
    rlt_control_commit(&connection->sender.control, out + len + sizeof(ping) - 1);
    rlt_control_mark_secret(&connection->sender.control);
    return 0;
}

static void send_connect(struct rlt_connection *connection)
{
    const struct rlt_authenticator *authenticator = connection->env->config->authenticator;
    struct rlt_proof proof = {NULL, NULL, NULL};
    if (authenticator != NULL) {
        int result = authenticator->prove(authenticator, connection->info.nonce, &proof);
        if (result < 0) {
            rlt_failure_report(connection, RLT_REPORT_LOGIN, roulette_last_error());
            rlt_connection_fail(connection, result);
            return;
        }
    }
    int result = write_connect(connection, &proof);
    if (authenticator != NULL) {
        authenticator->forget(&proof);
    }
    if (result < 0) {
        rlt_failure_report(connection, RLT_REPORT_CONNECT_LEN, roulette_error_text(result));
        rlt_connection_fail(connection, result);
    }
}

void rlt_handshake_act(struct rlt_connection *connection, enum rlt_session_action action)
{
    const struct rlt_env *env = connection->env;
    if (action == RLT_SESSION_SECURE) {
        env->transport->ops->secure(env->transport, connection->slot, env->address->host);
    } else if (action == RLT_SESSION_CONNECT) {
        send_connect(connection);
    }
}

/* Check that server and configuration agree about TLS; if not, fail the connection. */
static bool agree_on_tls(struct rlt_connection *connection)
{
    const struct rlt_info *info = &connection->info;
    bool wanted = connection->session.tls != RLT_SESSION_CLEAR;
    if (info->tls_required && !wanted) {
        rlt_failure_report(connection, RLT_REPORT_TLS_REQUIRED,
                           "set options.tls or write the server as tls://");
        rlt_connection_fail(connection, ROULETTE_ETLS);
        return false;
    }
    if (connection->session.tls == RLT_SESSION_TLS_AFTER_INFO && !info->tls_required &&
        !info->tls_available && connection->session.state == RLT_SESSION_GREETING) {
        rlt_failure_report(connection, RLT_REPORT_TLS_NOT_OFFERED,
                           "nothing is sent to it in clear; set TLS up on the server, or write it "
                           "as nats:// without TLS options");
        rlt_connection_fail(connection, ROULETTE_ETLS);
        return false;
    }
    return true;
}

void rlt_handshake_on_info(struct rlt_connection *connection, const struct rlt_frame *frame)
{
    int result = rlt_info_parse((const char *)frame->text, frame->text_len, &connection->info);
    if (result < 0) {
        rlt_connection_fail(connection, result);
        return;
    }
    const struct rlt_info *info = &connection->info;
    if (!agree_on_tls(connection)) {
        return;
    }
    bool unlimited = info->max_payload <= 0 || info->max_payload > RLT_SIZE_MAX;
    uint32_t payload_max = unlimited ? RLT_SIZE_MAX : (uint32_t)info->max_payload;
    if (rlt_connection_is_active(connection)) {
        atomic_store_explicit(&connection->wire->payload_max, payload_max, memory_order_relaxed);
    }
    rlt_sender_set_payload_max(&connection->sender, payload_max);
    rlt_handshake_act(connection, rlt_session_on_info(&connection->session));
}
