/* SPDX-License-Identifier: MIT */
#include "support/certificates.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR_S 3600L

/* A certificate with its key. */
struct certificate {
    EVP_PKEY *key;
    X509 *x509;
};

/* What a certificate is to be like. */
struct wish {
    const char *name;
    const char *hosts;                /* subjectAltName; NULL: none */
    const struct certificate *issuer; /* NULL: itself */
    bool is_ca;
    long start_s; /* from now on */
    long end_s;
};

void certificates_path(const struct certificates *certificates, const char *name,
                       char path[CERTIFICATES_PATH_MAX])
{
    (void)snprintf(path, CERTIFICATES_PATH_MAX, "%s/%s", certificates->folder, name);
}

static bool extend(X509 *x509, X509V3_CTX *context, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool done = extension != NULL && X509_add_ext(x509, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
}

static bool fill(struct certificate *certificate, const struct wish *wish)
{
    static long serial = 1;
    const struct certificate *issuer = wish->issuer != NULL ? wish->issuer : certificate;
    X509 *x509 = certificate->x509;
    X509_NAME *name = X509_get_subject_name(x509);
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer->x509, x509, NULL, NULL, 0);
    return X509_set_version(x509, 2) == 1 &&
           ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(x509), wish->start_s) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(x509), wish->end_s) != NULL &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)wish->name,
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(x509, X509_get_subject_name(issuer->x509)) == 1 &&
           X509_set_pubkey(x509, certificate->key) == 1 &&
           extend(x509, &context, NID_basic_constraints,
                  wish->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
           extend(x509, &context, NID_subject_key_identifier, "hash") &&
           (wish->hosts == NULL || extend(x509, &context, NID_subject_alt_name, wish->hosts)) &&
           X509_sign(x509, issuer->key, EVP_sha256()) != 0;
}

static bool write_files(const struct certificates *certificates, const char *name,
                        const struct certificate *certificate)
{
    char file[64];
    char path[CERTIFICATES_PATH_MAX];
    (void)snprintf(file, sizeof(file), "%s.crt", name);
    certificates_path(certificates, file, path);
    FILE *out = fopen(path, "w");
    bool done = out != NULL && PEM_write_X509(out, certificate->x509) == 1;
    done = out != NULL && fclose(out) == 0 && done;
    (void)snprintf(file, sizeof(file), "%s.key", name);
    certificates_path(certificates, file, path);
    out = fopen(path, "w");
    done = out != NULL && done &&
           PEM_write_PrivateKey(out, certificate->key, NULL, NULL, 0, NULL, NULL) == 1;
    return out != NULL && fclose(out) == 0 && done;
}

static bool write_encrypted(const struct certificates *certificates, EVP_PKEY *key)
{
    char path[CERTIFICATES_PATH_MAX];
    certificates_path(certificates, "encrypted.key", path);
    FILE *out = fopen(path, "w");
    bool done =
        out != NULL && PEM_write_PrivateKey(out, key, EVP_aes_128_cbc(),
                                            (const unsigned char *)"secret", 6, NULL, NULL) == 1;
    return out != NULL && fclose(out) == 0 && done;
}

static bool write_ed25519(const struct certificates *certificates)
{
    char path[CERTIFICATES_PATH_MAX];
    certificates_path(certificates, "ed25519.key", path);
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    FILE *out = fopen(path, "w");
    bool done = out != NULL && key != NULL &&
                PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
    EVP_PKEY_free(key);
    return out != NULL && fclose(out) == 0 && done;
}

static void release(struct certificate *certificate)
{
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
}

static bool make(const struct certificates *certificates, const struct wish *wish,
                 struct certificate *certificate)
{
    certificate->key = EVP_EC_gen("P-256");
    certificate->x509 = X509_new();
    return certificate->key != NULL && certificate->x509 != NULL && fill(certificate, wish) &&
           write_files(certificates, wish->name, certificate);
}

#define COUNT 9

bool certificates_create(struct certificates *certificates)
{
    struct certificate made[COUNT] = {0};
    const struct certificate *ca = &made[0];
    const char *local = "DNS:localhost,DNS:*.example.test,IP:127.0.0.1,IP:::1";
    const struct wish wishes[COUNT] = {
        {"ca", NULL, NULL, true, -HOUR_S, 24 * HOUR_S},
        {"other_ca", NULL, NULL, true, -HOUR_S, 24 * HOUR_S},
        {"server", local, ca, false, -HOUR_S, 24 * HOUR_S},
        {"other_host", "DNS:other.test", ca, false, -HOUR_S, 24 * HOUR_S},
        {"expired", local, ca, false, -24 * HOUR_S, -HOUR_S},
        {"future", local, ca, false, 24 * HOUR_S, 48 * HOUR_S},
        {"wrong_ca", local, &made[1], false, -HOUR_S, 24 * HOUR_S},
        {"self_signed", local, NULL, false, -HOUR_S, 24 * HOUR_S},
        {"client", NULL, ca, false, -HOUR_S, 24 * HOUR_S},
    };
    (void)snprintf(certificates->folder, sizeof(certificates->folder), "%s",
                   "/tmp/roulette-certificates.XXXXXX");
    bool done = mkdtemp(certificates->folder) != NULL;
    for (int i = 0; i < COUNT && done; i++) {
        done = make(certificates, &wishes[i], &made[i]);
    }
    done =
        done && write_encrypted(certificates, made[COUNT - 1].key) && write_ed25519(certificates);
    for (int i = 0; i < COUNT; i++) {
        release(&made[i]);
    }
    ERR_clear_error();
    return done;
}

void certificates_destroy(struct certificates *certificates)
{
    DIR *folder = opendir(certificates->folder);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char path[sizeof(certificates->folder) + sizeof(entry->d_name) + 1];
        (void)snprintf(path, sizeof(path), "%s/%s", certificates->folder, entry->d_name);
        (void)unlink(path);
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    (void)rmdir(certificates->folder);
}
