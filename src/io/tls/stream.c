/* SPDX-License-Identifier: MIT */
#include "io/tls/stream.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/gate.h"
#include "base/memory.h"
#include "io/system/leaving.h"
#include "io/tls/reason.h"
#include "roulette.h"

/* A full record with TLS's overhead, and an alert or the answer to a KeyUpdate before it. */
#define RECORD_ROOM (RLT_TLS_RECORD_BYTES + 1024)
/* Reading and the handshake leave room for a record, so that a write has room, whatever the peer
 * does. */
#define OUTPUT_LIMIT (RLT_TLS_OUTPUT_BYTES - RECORD_ROOM)

static_assert(RLT_TLS_RECORDS * RLT_TLS_RECORD_BYTES >= RLT_TLS_OUTPUT_BYTES, "room for each");

/* The first byte of a record (RFC 8446, 5.1): change_cipher_spec to application_data. */
#define RECORD_TYPE_MIN 20
#define RECORD_TYPE_MAX 23

/* ---- The BIO ------------------------------------------------------------------------------ */

static int bio_read(BIO *bio, char *bytes, size_t len, size_t *count)
{
    struct rlt_tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *count = rlt_min_size(len, stream->input_end - stream->input_start);
    if (*count == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(bytes, stream->input + stream->input_start, *count);
    stream->input_start += *count;
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t len, size_t *count)
{
    struct rlt_tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *count = 0;
    if (stream->output_end < stream->output_limit) {
        *count = rlt_min_size(len, stream->output_limit - stream->output_end);
    }
    if (*count == 0) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(stream->output + stream->output_end, bytes, *count);
    stream->output_end += *count;
    stream->produced += *count;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *rlt_tls_stream_method_create(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "roulette");
    if (method != NULL) {
        (void)BIO_meth_set_read_ex(method, bio_read);
        (void)BIO_meth_set_write_ex(method, bio_write);
        (void)BIO_meth_set_ctrl(method, bio_ctrl);
    }
    return method;
}

/* ---- Failures ----------------------------------------------------------------------------- */

static int fail(struct rlt_tls_stream *stream, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct rlt_tls_stream *stream, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(stream->failure, sizeof(stream->failure), format, arguments);
    va_end(arguments);
    stream->error = error;
    return error;
}

void rlt_tls_stream_explain(struct rlt_tls_stream *stream, const char *text)
{
    (void)snprintf(stream->failure, sizeof(stream->failure), "%s", text);
}

static int fail_verification(struct rlt_tls_stream *stream, long verdict)
{
    const char *reason = X509_verify_cert_error_string(verdict);
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return fail(
            stream, ROULETTE_ETLS,
            "the server's certificate is not for \"%s\": connect by a name that it has, or give "
            "that as tls_server_name",
            stream->name);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return fail(stream, ROULETTE_ETLS,
                    "the server's certificate, or one it depends on, has "
                    "expired: renew it, or correct this machine's clock");
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return fail(stream, ROULETTE_ETLS,
                    "the server's certificate is self-signed and not "
                    "trusted: give it as tls_ca_file to trust it");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return fail(
            stream, ROULETTE_ETLS,
            "the server's certificate is not from a trusted CA: %s; give the server's CA as "
            "tls_ca_file",
            reason);
    default:
        return fail(stream, ROULETTE_ETLS, "the server's certificate was refused: %s", reason);
    }
}

/* Fail because OpenSSL has cleaned itself up. */
static int fail_closed(struct rlt_tls_stream *stream)
{
    return fail(stream, ROULETTE_EDISCONNECTED, RLT_LEAVING_TEXT);
}

/* Fail with OpenSSL's reason, and empty its error queue. */
static int fail_openssl(struct rlt_tls_stream *stream)
{
    unsigned long error = ERR_peek_error();
    int code = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    long verdict = SSL_get_verify_result(stream->ssl);
    char reason[128];
    rlt_tls_reason(reason, sizeof(reason));
    switch (code) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return fail_verification(stream, verdict);
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return fail(stream, ROULETTE_ETLS, "the server speaks no version of TLS from 1.2 on: %s",
                    reason);
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return fail(stream, ROULETTE_ETLS,
                    "the server refused the client: %s; give a certificate that it trusts as "
                    "tls_cert_file and tls_key_file",
                    reason);
    case SSL_R_WRONG_VERSION_NUMBER:
        return fail(stream, ROULETTE_ETLS,
                    "TLS failed: %s: no server speaks TLS at that port; correct it", reason);
    default:
        return fail(stream, ROULETTE_ETLS,
                    code > SSL_AD_REASON_OFFSET ? "the server refused the client: %s"
                                                : "TLS failed: %s",
                    reason);
    }
}

/* ---- Life --------------------------------------------------------------------------------- */

static bool allocate(struct rlt_tls_stream *stream)
{
    if (stream->input == NULL) {
        stream->input = rlt_memory_alloc(1, RLT_TLS_INPUT_BYTES);
    }
    if (stream->output == NULL) {
        stream->output = rlt_memory_alloc(1, RLT_TLS_OUTPUT_BYTES);
    }
    return stream->input != NULL && stream->output != NULL;
}

/* As rlt_tls_stream_begin(), inside the gate. */
static int begin(struct rlt_tls_stream *stream, struct rlt_tls_context *context,
                 const BIO_METHOD *method, const char *host)
{
    RLT_ASSERT(stream->ssl == NULL);
    *stream = (struct rlt_tls_stream){
        .input = stream->input,
        .output = stream->output,
        .output_limit = OUTPUT_LIMIT,
    };
    (void)snprintf(stream->name, sizeof(stream->name), "%s", rlt_tls_context_name(context, host));
    if (!allocate(stream)) {
        return fail(stream, ROULETTE_ENOMEM, "no memory for TLS");
    }
    int result = rlt_tls_context_connect(context, host, &stream->ssl);
    if (result == ROULETTE_ETLS) {
        return fail(stream, result, "%s", roulette_last_error());
    }
    BIO *bio = result == 0 ? BIO_new(method) : NULL;
    if (bio == NULL) {
        SSL_free(stream->ssl);
        stream->ssl = NULL;
        ERR_clear_error();
        return fail(stream, ROULETTE_ENOMEM, "no memory for TLS");
    }
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->ssl, bio, bio);
    return 0;
}

int rlt_tls_stream_begin(struct rlt_tls_stream *stream, struct rlt_tls_context *context,
                         const BIO_METHOD *method, const char *host)
{
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        return fail_closed(stream);
    }
    int result = begin(stream, context, method, host);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    return result;
}

void rlt_tls_stream_end(struct rlt_tls_stream *stream)
{
    /* Else it stays: OpenSSL cannot free it any more. */
    if (rlt_gate_enter(RLT_GATE_CRYPTO)) {
        SSL_free(stream->ssl);
        stream->ssl = NULL;
        rlt_gate_leave(RLT_GATE_CRYPTO);
    }
}

void rlt_tls_stream_fini(struct rlt_tls_stream *stream)
{
    rlt_tls_stream_end(stream);
    rlt_memory_free(stream->input);
    rlt_memory_free(stream->output);
    stream->input = NULL;
    stream->output = NULL;
}

/* ---- Ciphertext --------------------------------------------------------------------------- */

void rlt_tls_stream_fed(struct rlt_tls_stream *stream, size_t len)
{
    RLT_ASSERT(rlt_tls_stream_wants_input(stream) && len <= RLT_TLS_INPUT_BYTES);
    stream->input_start = 0;
    stream->input_end = len;
}

void rlt_tls_stream_taken(struct rlt_tls_stream *stream, size_t len)
{
    RLT_ASSERT(len <= stream->output_end - stream->output_start);
    stream->output_start += len;
    stream->taken += len;
    if (stream->output_start == stream->output_end) {
        stream->output_start = 0;
        stream->output_end = 0;
    }
    while (stream->record_first != stream->record_count &&
           stream->records[stream->record_first].end <= stream->taken) {
        stream->sent += stream->records[stream->record_first].plaintext;
        stream->record_first++;
    }
}

size_t rlt_tls_stream_take_sent(struct rlt_tls_stream *stream)
{
    size_t sent = stream->sent;
    stream->sent = 0;
    return sent;
}

/* ---- Handshake ---------------------------------------------------------------------------- */

/* Whether OpenSSL only waits for input, or for room in the output. */
static bool is_waiting(const struct rlt_tls_stream *stream, int result)
{
    int what = SSL_get_error(stream->ssl, result);
    return what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE;
}

int rlt_tls_stream_handshake(struct rlt_tls_stream *stream)
{
    if (stream->error != 0) {
        return stream->error;
    }
    if (!stream->greeted && !rlt_tls_stream_wants_input(stream)) {
        stream->greeted = true;
        uint8_t type = stream->input[stream->input_start];
        if (type < RECORD_TYPE_MIN || type > RECORD_TYPE_MAX) {
            return fail(stream, ROULETTE_ETLS, "the server sent plaintext where TLS begins");
        }
    }
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        return fail_closed(stream);
    }
    ERR_clear_error();
    int result = SSL_do_handshake(stream->ssl);
    if (result != 1) {
        result = is_waiting(stream, result) ? 0 : fail_openssl(stream);
    }
    rlt_gate_leave(RLT_GATE_CRYPTO);
    return result;
}

/* ---- Plaintext ---------------------------------------------------------------------------- */

/*
 * Empty OpenSSL's error queue: SSL_get_error() takes an earlier call's error for the next one's.
 * The check is worth its cost with small records: emptying an empty queue takes several times as
 * long.
 */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

/* Decrypt into one span. Returns: false if it was not filled; stream->error tells whether the
 * stream is over. */
static bool read_span(struct rlt_tls_stream *stream, const struct rlt_span *span, size_t *count)
{
    for (size_t filled = 0; filled < span->len;) {
        size_t len = 0;
        forget_errors();
        int result =
            SSL_read_ex(stream->ssl, (uint8_t *)span->bytes + filled, span->len - filled, &len);
        if (result != 1) {
            if (SSL_get_error(stream->ssl, result) == SSL_ERROR_ZERO_RETURN) {
                (void)fail(stream, ROULETTE_ECLOSED, "the server has closed the connection");
            } else if (!is_waiting(stream, result)) {
                (void)fail_openssl(stream);
            }
            return false;
        }
        filled += len;
        *count += len;
    }
    return true;
}

/* OpenSSL answers a KeyUpdate with the next write: a write of nothing sends the answer alone. */
static void answer_key_update(struct rlt_tls_stream *stream)
{
    if (stream->error == 0 && SSL_get_key_update_type(stream->ssl) != SSL_KEY_UPDATE_NONE) {
        size_t written;
        ERR_clear_error();
        int result = SSL_write_ex(stream->ssl, "", 0, &written);
        if (result != 1 && !is_waiting(stream, result)) {
            (void)fail_openssl(stream);
        }
    }
}

ssize_t rlt_tls_stream_read(struct rlt_tls_stream *stream, const struct rlt_span *spans,
                            uint32_t count)
{
    size_t total = 0;
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        return fail_closed(stream);
    }
    for (uint32_t i = 0; i < count && stream->error == 0; i++) {
        if (!read_span(stream, &spans[i], &total)) {
            break;
        }
    }
    answer_key_update(stream);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    return total != 0 ? (ssize_t)total : (ssize_t)stream->error;
}

/* The rest of the spans. */
struct cursor {
    const struct rlt_span *spans;
    uint32_t count;
    size_t offset; /* into the first one */
};

static void advance(struct cursor *cursor, size_t len)
{
    cursor->offset += len;
    while (cursor->count != 0 && cursor->offset == cursor->spans->len) {
        cursor->spans++;
        cursor->count--;
        cursor->offset = 0;
    }
}

/* The plaintext of the next record: a part of a span, or small ones joined in `scratch`. */
static struct rlt_span next_piece(struct cursor *cursor, uint8_t *scratch)
{
    struct rlt_span piece = {
        .bytes = (uint8_t *)cursor->spans->bytes + cursor->offset,
        .len = rlt_min_size(cursor->spans->len - cursor->offset, RLT_TLS_RECORD_BYTES),
    };
    if (piece.len == RLT_TLS_RECORD_BYTES || cursor->count == 1) {
        advance(cursor, piece.len);
        return piece;
    }
    piece = (struct rlt_span){.bytes = scratch};
    while (cursor->count != 0 && piece.len < RLT_TLS_RECORD_BYTES) {
        size_t len =
            rlt_min_size(cursor->spans->len - cursor->offset, RLT_TLS_RECORD_BYTES - piece.len);
        memcpy(scratch + piece.len, (uint8_t *)cursor->spans->bytes + cursor->offset, len);
        piece.len += len;
        advance(cursor, len);
    }
    return piece;
}

/* As rlt_tls_stream_write(), inside the gate. Returns: also 0, for an error. */
static size_t write_records(struct rlt_tls_stream *stream, const struct rlt_span *spans,
                            uint32_t count, uint8_t *scratch)
{
    struct cursor cursor = {.spans = spans, .count = count};
    size_t total = 0;
    advance(&cursor, 0);
    RLT_ASSERT(cursor.count != 0);
    stream->record_first = 0;
    stream->record_count = 0;
    stream->output_limit = RLT_TLS_OUTPUT_BYTES;
    while (cursor.count != 0 && RLT_TLS_OUTPUT_BYTES - stream->output_end >= RECORD_ROOM) {
        struct rlt_span piece = next_piece(&cursor, scratch);
        size_t written = 0;
        forget_errors();
        if (SSL_write_ex(stream->ssl, piece.bytes, piece.len, &written) != 1) {
            (void)fail_openssl(stream);
            break;
        }
        RLT_ASSERT(written == piece.len && stream->record_count < RLT_TLS_RECORDS);
        stream->records[stream->record_count++] = (struct rlt_tls_record){
            .end = stream->produced,
            .plaintext = written,
        };
        total += written;
    }
    stream->output_limit = OUTPUT_LIMIT;
    return total;
}

ssize_t rlt_tls_stream_write(struct rlt_tls_stream *stream, const struct rlt_span *spans,
                             uint32_t count, uint8_t *scratch)
{
    RLT_ASSERT(stream->record_first == stream->record_count);
    RLT_ASSERT(stream->output_end <= OUTPUT_LIMIT);
    if (stream->error == ROULETTE_ETLS) {
        return ROULETTE_ETLS;
    }
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        return fail_closed(stream);
    }
    size_t total = write_records(stream, spans, count, scratch);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    return total != 0 ? (ssize_t)total : ROULETTE_ETLS;
}

void rlt_tls_stream_shut_down(struct rlt_tls_stream *stream)
{
    if (!rlt_gate_enter(RLT_GATE_CRYPTO)) {
        return;
    }
    bool possible = stream->ssl != NULL && SSL_is_init_finished(stream->ssl) &&
                    (stream->error == 0 || stream->error == ROULETTE_ECLOSED);
    if (possible) {
        stream->output_limit = RLT_TLS_OUTPUT_BYTES;
        ERR_clear_error();
        (void)SSL_shutdown(stream->ssl);
        ERR_clear_error();
    }
    rlt_gate_leave(RLT_GATE_CRYPTO);
}
