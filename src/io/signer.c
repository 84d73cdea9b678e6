/* SPDX-License-Identifier: MIT */
#include "io/signer.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/defs.h"
#include "base/error.h"
#include "base/gate.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/leaving.h"
#include "proto/credentials.h"

static const struct rlt_signer *of(const struct rlt_authenticator *authenticator)
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

/* The proof of a key, with the JWT that is about it or with its public key. */
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
    char *text;
    size_t len;
    int result = rlt_file_read(signer->credentials_file, &text, &len);
    if (result < 0) {
        return result;
    }
    struct rlt_credentials credentials;
    result = rlt_credentials_parse(text, len, &credentials);
    rlt_file_free(text, len);
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
        result = prove_inside(of(authenticator), nonce, proof);
        rlt_gate_leave(RLT_GATE_CRYPTO);
    }
    return result;
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
    if (credentials_file == NULL) {
        result = rlt_nkey_init(&signer->nkey, seed, strlen(seed));
    }
    rlt_gate_leave(RLT_GATE_CRYPTO);
    return result;
}

void rlt_signer_fini(struct rlt_signer *signer)
{
    rlt_nkey_fini(&signer->nkey);
}
