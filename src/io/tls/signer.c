/* SPDX-License-Identifier: MIT */
#include "io/tls/signer.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "base/error.h"
#include "base/gate.h"
#include "base/memory.h"
#include "io/system/file.h"
#include "io/system/leaving.h"
#include "proto/credentials.h"

/* A path is quoted up to here: the reason behind it must not be cut off. */
#define PATH_QUOTE_MAX 256

static const struct rlt_signer *signer_of(const struct rlt_authenticator *authenticator)
{
    return rlt_container_of(authenticator, struct rlt_signer, authenticator);
}

/* A copy of a text, for a proof. */
static char *copy(const char *text)
{
    return rlt_memory_copy_text(text, strlen(text));
}

static void forget(struct rlt_proof *proof)
{
    char *texts[] = {proof->jwt, proof->nkey, proof->sig};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i] != NULL) {
            OPENSSL_cleanse(texts[i], strlen(texts[i]));
            rlt_memory_free(texts[i]);
        }
    }
    *proof = (struct rlt_proof){NULL, NULL, NULL};
}

/* Make the proof of a key, with its JWT or its public key. */
static int sign(const struct rlt_nkey *nkey, const char *jwt, const char *nonce,
                struct rlt_proof *proof)
{
    char signature[RLT_NKEY_SIGNATURE_LEN + 1];
    int result = rlt_nkey_sign(nkey, nonce, strlen(nonce), signature);
    if (result < 0) {
        return result;
    }
    struct rlt_proof made = {NULL, NULL, copy(signature)};
    char **identity = jwt != NULL ? &made.jwt : &made.nkey;
    *identity = copy(jwt != NULL ? jwt : nkey->public_key);
    if (made.sig == NULL || *identity == NULL) {
        forget(&made);
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    *proof = made;
    return 0;
}

/* Read the credentials file as it is now. */
static int read_credentials(const struct rlt_signer *signer, struct rlt_credentials *credentials)
{
    char *text;
    size_t len;
    int result = rlt_file_read(signer->credentials_file, &text, &len);
    if (result < 0) {
        return result;
    }
    result = rlt_credentials_parse(text, len, credentials);
    rlt_file_free(text, len);
    if (result < 0 && result != ROULETTE_ENOMEM) {
        char reason[RLT_ERROR_TEXT_MAX];
        (void)snprintf(reason, sizeof(reason), "%s", roulette_last_error());
        return rlt_error_set(result, "in \"%.*s\": %s", PATH_QUOTE_MAX, signer->credentials_file,
                             reason);
    }
    return result;
}

/* As prove(), inside the gate of OpenSSL. */
static int prove_inside(const struct rlt_signer *signer, const char *nonce, struct rlt_proof *proof)
{
    if (nonce[0] == '\0') {
        return rlt_error_set(ROULETTE_EAUTH, "the server asks for no signature (its INFO has no "
                                             "nonce): it is not set up for nkeys or JWTs");
    }
    if (signer->credentials_file == NULL) {
        return sign(&signer->nkey, NULL, nonce, proof);
    }
    struct rlt_credentials credentials;
    int result = read_credentials(signer, &credentials);
    if (result == 0) {
        result = sign(&credentials.nkey, credentials.jwt, nonce, proof);
        rlt_credentials_fini(&credentials);
    }
    return result;
}

static int prove(const struct rlt_authenticator *authenticator, const char *nonce,
                 struct rlt_proof *proof)
{
    int result = rlt_leaving_enter_crypto();
    if (result == 0) {
        result = prove_inside(signer_of(authenticator), nonce, proof);
        rlt_gate_leave(RLT_GATE_CRYPTO);
    }
    return result;
}

/* Check that the login can be used, as it is now. */
static int check_login(struct rlt_signer *signer, const char *seed)
{
    if (signer->credentials_file == NULL) {
        int result = rlt_nkey_init(&signer->nkey, seed, strlen(seed));
        return result == ROULETTE_EINVAL ? rlt_error_about(result, "options.nkey_seed") : result;
    }
    struct rlt_credentials credentials;
    int result = read_credentials(signer, &credentials);
    if (result == 0) {
        rlt_credentials_fini(&credentials);
    }
    return result == ROULETTE_ESYSTEM || result == ROULETTE_EINVAL
               ? rlt_error_about(ROULETTE_EINVAL, "options.credentials_file")
               : result;
}

int rlt_signer_init(struct rlt_signer *signer, const char *credentials_file, const char *seed)
{
    *signer = (struct rlt_signer){
        .authenticator = {.prove = prove, .forget = forget},
        .credentials_file = credentials_file,
    };
    int result = rlt_leaving_enter_crypto();
    if (result < 0) {
        return result;
    }
    result = check_login(signer, seed);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    return result;
}

void rlt_signer_fini(struct rlt_signer *signer)
{
    rlt_nkey_fini(&signer->nkey);
}
