/* SPDX-License-Identifier: MIT */
/**
 * One TLS connection between two buffers of ciphertext: bytes in, bytes out, no socket.
 *
 * Input holds received ciphertext, and is refilled when all of it was used. Output is ciphertext in
 * the order of sending. OpenSSL works on both directly, through a BIO of ours: its own memory BIO
 * has no bound, and copies once more.
 *
 * Records are counted: rlt_tls_stream_take_sent() tells how much plaintext lay in records whose
 * ciphertext was taken to the last byte. A peer cannot have used a record that it has only in part.
 *
 * Memory: RLT_TLS_INPUT_BYTES + RLT_TLS_OUTPUT_BYTES from the first rlt_tls_stream_begin() to
 * rlt_tls_stream_fini(), and between begin and end what OpenSSL holds: two records, and in the
 * handshake a certificate chain, of 100 KiB at the most (SSL_CTX_set_max_cert_list(3)).
 *
 * OpenSSL may be cleaned up while a stream is in use (io/system/leaving.h): from then on each call
 * fails, with ROULETTE_EDISCONNECTED where nothing else is said.
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_TLS_STREAM_H
#define RLT_IO_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/seam/transport.h"
#include "io/tls/context.h"

#define RLT_TLS_INPUT_BYTES  ((size_t)64 * 1024)
#define RLT_TLS_OUTPUT_BYTES ((size_t)256 * 1024)
/** The most plaintext of a record (RFC 8446, 5.1). */
#define RLT_TLS_RECORD_BYTES ((size_t)16 * 1024)
/** Records of plaintext in the output at the most: all but the last are full. */
#define RLT_TLS_RECORDS 16

/** The ciphertext of `plaintext` bytes ends at `end`, counted from the connection's start. */
struct rlt_tls_record {
    uint64_t end;
    size_t plaintext;
};

struct rlt_tls_stream {
    SSL *ssl; /* NULL: between end and begin */
    uint8_t *input;
    size_t input_start; /* not seen by OpenSSL yet: [input_start, input_end) */
    size_t input_end;
    uint8_t *output;
    size_t output_start; /* not taken yet: [output_start, output_end) */
    size_t output_end;
    size_t output_limit; /* how far OpenSSL may fill the output now */

    uint64_t produced; /* ciphertext since the start */
    uint64_t taken;
    struct rlt_tls_record records[RLT_TLS_RECORDS];
    uint32_t record_first;
    uint32_t record_count; /* end of the list; those before record_first were taken */
    size_t sent;           /* plaintext of taken records that was not reported yet */

    bool greeted; /* the peer has sent something */
    int error;    /* why nothing can be read any more; 0: reading works */
    char name[256];
    char failure[384];
};

/** The BIO method of all streams of a thread. Returns: NULL if there is no memory. */
BIO_METHOD *rlt_tls_stream_method_create(void);

/**
 * Start as the client of `host`. The stream was zeroed, or has ended.
 *
 * Returns: 0; ROULETTE_ETLS, ROULETTE_ENOMEM: `failure` says why.
 */
int rlt_tls_stream_begin(struct rlt_tls_stream *stream, struct rlt_tls_context *context,
                         const BIO_METHOD *method, const char *host);

/** Keep a text as `failure`. */
void rlt_tls_stream_explain(struct rlt_tls_stream *stream, const char *text);

/** End the use by a connection, which is lost. `failure` stays. */
void rlt_tls_stream_end(struct rlt_tls_stream *stream);

/** Free the stream's memory. */
void rlt_tls_stream_fini(struct rlt_tls_stream *stream);

/** Whether all input was used: then up to RLT_TLS_INPUT_BYTES may be put to `input`. */
static inline bool rlt_tls_stream_wants_input(const struct rlt_tls_stream *stream)
{
    return stream->input_start == stream->input_end;
}

/** Note that `len` bytes of ciphertext were put to `input`. */
void rlt_tls_stream_fed(struct rlt_tls_stream *stream, size_t len);

/** The ciphertext to be sent, in place; `len` is 0 if there is none. */
static inline struct rlt_span rlt_tls_stream_output(const struct rlt_tls_stream *stream)
{
    return (struct rlt_span){
        .bytes = stream->output + stream->output_start,
        .len = stream->output_end - stream->output_start,
    };
}

/** Note that the first `len` bytes of the output were sent. */
void rlt_tls_stream_taken(struct rlt_tls_stream *stream, size_t len);

/** The plaintext of the records that were taken completely since the last call. */
size_t rlt_tls_stream_take_sent(struct rlt_tls_stream *stream);

/**
 * Go on with the handshake, as far as input and output allow.
 *
 * Returns: 1 (done); 0 (send the output, then give more input); ROULETTE_ETLS: `failure` says why,
 *          and the output may end with an alert for the peer.
 */
int rlt_tls_stream_handshake(struct rlt_tls_stream *stream);

/**
 * Decrypt into the spans until they are full or the input is used up. An answer to the peer (to a
 * KeyUpdate, or an alert) is put to the output; while the output is full, nothing is read.
 *
 * Returns: the number of bytes; 0 (more input is needed, or room in the output); ROULETTE_ECLOSED
 *          (the peer has ended the stream), ROULETTE_ETLS (`failure` says why), also by all later
 *          calls.
 */
ssize_t rlt_tls_stream_read(struct rlt_tls_stream *stream, const struct rlt_span *spans,
                            uint32_t count);

/**
 * Encrypt the start of the spans, as much as the output takes. Nothing may be left of an earlier
 * call. `scratch`: RLT_TLS_RECORD_BYTES in which small spans are joined to one record.
 *
 * Returns: the number of plaintext bytes, > 0; ROULETTE_ETLS: `failure` says why.
 */
ssize_t rlt_tls_stream_write(struct rlt_tls_stream *stream, const struct rlt_span *spans,
                             uint32_t count, uint8_t *scratch);

/** Put a close_notify to the output, if the connection is in a state for one. */
void rlt_tls_stream_shut_down(struct rlt_tls_stream *stream);

#endif
