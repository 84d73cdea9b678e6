/* SPDX-License-Identifier: MIT */
#include "proto/jwt.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "proto/base64url.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

/** A JWT around a payload; no signature is checked here. */
static size_t make_jwt(const char *payload, char *jwt)
{
    char *end = jwt + sprintf(jwt, "eyJ0eXAiOiJKV1QifQ.");
    end = rlt_base64url_encode(end, (const uint8_t *)payload, strlen(payload));
    return (size_t)(end + sprintf(end, ".c2ln") - jwt);
}

static int read_payload(const char *payload, int64_t *expires_s)
{
    char jwt[1024];
    size_t len = make_jwt(payload, jwt);
    return rlt_jwt_expiry((const char *)guarded_behind(jwt, len), len, expires_s);
}

Test(jwt, expiry_is_read)
{
    static const struct {
        const char *payload;
        int64_t expires_s;
    } cases[] = {
        {"{\"exp\":1700000000}", 1700000000},
        {"{\"sub\":\"U\",\"exp\":9223372036854775807,\"nats\":{\"exp\":1}}", INT64_MAX},
        {"{}", 0},
        {"{\"nats\":{\"exp\":5}}", 0},
        {"{\"exp\":0}", 0},
        {"{\"exp\":-1}", 0},
        {" {\"name\":\"\xc3\xa9\xe2\x82\xac\"} ", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t expires_s = -7;
        cr_assert_eq(read_payload(cases[i].payload, &expires_s), 0, "%s: %s", cases[i].payload,
                     roulette_last_error());
        cr_assert_eq(expires_s, cases[i].expires_s, "%s", cases[i].payload);
    }
}

Test(jwt, expiry_of_another_type_and_bad_json_are_named)
{
    static const char *const cases[][2] = {
        {"{\"exp\":\"soon\"}", "whole number"},
        {"{\"exp\":1.5}", "whole number"},
        {"{\"exp\":null}", "whole number"},
        {"[]", "JSON object"},
        {"{", "JSON object"},
        {"{\"exp\":99999999999999999999}", "JSON object"},
        {"{} x", "JSON object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t expires_s = -7;
        cr_assert_eq(read_payload(cases[i][0], &expires_s), ROULETTE_EINVAL, "%s", cases[i][0]);
        cr_assert_not_null(strstr(roulette_last_error(), cases[i][1]), "%s: %s", cases[i][0],
                           roulette_last_error());
        cr_assert_eq(expires_s, -7);
    }
}

Test(jwt, other_forms_are_named)
{
    static const char *const cases[][2] = {
        {"", "header.payload.signature"},
        {"a", "header.payload.signature"},
        {".", "header.payload.signature"},
        {"..", "header.payload.signature"},
        {"a.b", "header.payload.signature"},
        {"a.b.", "header.payload.signature"},
        {"a..c", "header.payload.signature"},
        {".e30.c", "header.payload.signature"},
        {"a.b.c.d", "header.payload.signature"},
        {"a.e30=.c", "base64url"},
        {"a.e3+.c", "base64url"},
        {"a.e.c", "base64url"},
        {"a.b\n.c", "base64url"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t expires_s = -7;
        size_t len = strlen(cases[i][0]);
        const char *jwt = (const char *)guarded_behind(cases[i][0], len);
        cr_assert_eq(rlt_jwt_expiry(jwt, len, &expires_s), ROULETTE_EINVAL, "%s", cases[i][0]);
        cr_assert_not_null(strstr(roulette_last_error(), cases[i][1]), "%s: %s", cases[i][0],
                           roulette_last_error());
        cr_assert_eq(expires_s, -7);
    }
}

static int refuse_all(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(jwt, no_memory_is_told)
{
    int64_t expires_s = -7;
    rlt_memory_set_gate(refuse_all, NULL);
    int error = rlt_jwt_expiry("a.e30.c", 7, &expires_s);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_eq(error, ROULETTE_ENOMEM);
    cr_assert_eq(expires_s, -7);
}
