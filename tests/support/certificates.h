/* SPDX-License-Identifier: MIT */
/**
 * Certificates for tests, made in memory and written as PEM files to a temporary folder. No
 * fixture in the repository: nothing there can expire.
 */
#ifndef RLT_TESTS_SUPPORT_CERTIFICATES_H
#define RLT_TESTS_SUPPORT_CERTIFICATES_H

#include <stdbool.h>

#define CERTIFICATES_PATH_MAX 160

/**
 * A folder with NAME.crt and NAME.key for each of:
 *
 *     ca           the CA
 *     other_ca     a CA that nobody trusts
 *     server       from ca, for localhost, *.example.test, 127.0.0.1 and ::1
 *     other_host   from ca, for other.test
 *     expired      from ca, for localhost, until an hour ago
 *     future       from ca, for localhost, from tomorrow on
 *     wrong_ca     from other_ca, for localhost
 *     self_signed  from itself, for localhost
 *     client       from ca, for a client
 *
 * and encrypted.key, the client's with a password, and ed25519.key, nobody's.
 */
struct certificates {
    char folder[64];
};

/** Make all files. Returns: whether that worked. */
bool certificates_create(struct certificates *certificates);

/** Remove all files. */
void certificates_destroy(struct certificates *certificates);

/** The path of a file of the folder, such as "ca.crt". */
void certificates_path(const struct certificates *certificates, const char *name,
                       char path[CERTIFICATES_PATH_MAX]);

#endif
