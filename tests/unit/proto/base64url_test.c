/* SPDX-License-Identifier: MIT */
#include "proto/base64url.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/random.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

/** RFC 4648, 10, without the padding. */
static const struct {
    const char *bytes;
    const char *text;
} vectors[] = {
    {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
    {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"},
};

Test(base64url, vectors_of_the_rfc)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        size_t len = strlen(vectors[i].bytes);
        size_t text_len = strlen(vectors[i].text);
        cr_assert_eq(RLT_BASE64URL_LEN(len), text_len);
        char *text = (char *)guarded_area() + GUARDED_SIZE - text_len;
        cr_assert_eq(rlt_base64url_encode(text, (const uint8_t *)vectors[i].bytes, len),
                     text + text_len);
        cr_assert_arr_eq(text, vectors[i].text, text_len);
        uint8_t bytes[16];
        size_t decoded = 99;
        cr_assert_eq(rlt_base64url_decode(text, text_len, bytes, &decoded), 0);
        cr_assert_eq(decoded, len);
        cr_assert_arr_eq(bytes, vectors[i].bytes, len);
    }
}

Test(base64url, agrees_with_openssl_and_comes_back)
{
    struct rlt_random random = {.state = 1};
    for (size_t len = 0; len < 100; len++) {
        uint8_t bytes[100];
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)rlt_random_next(&random);
        }
        unsigned char expected[200];
        (void)EVP_EncodeBlock(expected, bytes, (int)len);
        for (unsigned char *c = expected; *c != '\0'; c++) {
            *c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
        }
        char text[200];
        *rlt_base64url_encode(text, bytes, len) = '\0';
        cr_assert_str_eq(text, (const char *)expected);
        size_t size = strlen(text) / 4 * 3 + 2;
        uint8_t *decoded = guarded_area() + GUARDED_SIZE - size;
        size_t decoded_len = 0;
        cr_assert_eq(rlt_base64url_decode(text, strlen(text), decoded, &decoded_len), 0);
        cr_assert_eq(decoded_len, len);
        cr_assert_arr_eq(decoded, bytes, len);
    }
}

Test(base64url, each_byte_outside_of_the_alphabet_is_refused)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int byte = 0; byte < 256; byte++) {
        char text[4] = {'A', 'A', 'A', (char)byte};
        uint8_t out[8];
        size_t len = 99;
        int expected = memchr(alphabet, byte, 64) != NULL ? 0 : ROULETTE_EINVAL;
        cr_assert_eq(rlt_base64url_decode(text, 4, out, &len), expected, "byte %d", byte);
        cr_assert_eq(len, expected == 0 ? 3 : 99);
    }
}

Test(base64url, a_single_character_too_many_is_refused)
{
    uint8_t out[8];
    size_t len = 99;
    cr_assert_eq(rlt_base64url_decode("A", 1, out, &len), ROULETTE_EINVAL);
    cr_assert_eq(rlt_base64url_decode("AAAAA", 5, out, &len), ROULETTE_EINVAL);
    cr_assert_eq(len, 99);
}
