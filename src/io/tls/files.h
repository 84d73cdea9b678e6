/* SPDX-License-Identifier: MIT */
/**
 * The files that TLS connections need: trusted CAs, the client's certificate and key. They are read
 * into memory whole and parsed there (io/system/file.h): nothing waits on a pipe, and a certificate
 * is never mixed from two states of its file.
 *
 * Source: SSL_CTX_load_verify_locations(3), SSL_CTX_use_certificate_chain_file(3), whose parsing
 * this follows.
 */
#ifndef RLT_IO_TLS_FILES_H
#define RLT_IO_TLS_FILES_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "io/system/stamp.h"

/** Paths; NULL: not used. */
struct rlt_tls_files {
    char *ca_file;
    char *ca_path; /* a folder: OpenSSL looks into it when it needs a CA */
    char *cert_file;
    char *key_file;
    bool system; /* ca_file and ca_path are the system's: either may be missing */
};

/** The stamps of all files that a context was made of. */
struct rlt_tls_stamps {
    struct rlt_stamp files[4];
};

/**
 * Copy the paths; without any CA use those of the system, or of the environment variables
 * SSL_CERT_FILE and SSL_CERT_DIR.
 *
 * Ownership: rlt_tls_files_fini() ends it, also after a failure.
 * Threads:   the one that opens the client: reads the environment.
 * Returns:   0 or ROULETTE_ENOMEM.
 */
int rlt_tls_files_init(struct rlt_tls_files *files, const char *ca_file, const char *ca_path,
                       const char *cert_file, const char *key_file);
void rlt_tls_files_fini(struct rlt_tls_files *files);

/**
 * Read all files into an SSL_CTX that has none yet.
 *
 * Threads: any thread. Blocks on files.
 * Returns: 0; ROULETTE_EINVAL (a file cannot be read or used: roulette_last_error() names it and
 *          says why); ROULETTE_ENOMEM.
 */
int rlt_tls_files_load(const struct rlt_tls_files *files, SSL_CTX *ssl_context);

/** The stamps of the files as they are now. */
void rlt_tls_files_stamp(const struct rlt_tls_files *files, struct rlt_tls_stamps *stamps);

/**
 * Whether the bytes read between two looks are what the files hold, and their stamps will show a
 * later change: then they need not be read again while the stamps are the same. Not with a folder,
 * which does not show changes of its files, nor with a missing file.
 */
bool rlt_tls_files_are_settled(const struct rlt_tls_files *files,
                               const struct rlt_tls_stamps *before,
                               const struct rlt_tls_stamps *after);

/** Whether two looks at the files have shown the same. */
bool rlt_tls_stamps_are_equal(const struct rlt_tls_stamps *a, const struct rlt_tls_stamps *b);

#endif
