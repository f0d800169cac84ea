/* Known answers (FIPS 180-4, RFC 4648, RFC 6455) for loop/crypto. */
#include "loop/crypto.h"

#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void check_hex(const uint8_t *bytes, size_t n, const char *expected)
{
    char hex[2 * SHA256_SIZE + 1] = {0};
    num_to_hex(bytes, n, hex);
    assert_string_equal(hex, expected);
}

static void sha256_known_answers(void **state)
{
    uint8_t out[SHA256_SIZE];
    crypto_sha256(STR_NONE, out);
    check_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256(STR("abc"), out);
    check_hex(out, sizeof out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void sha1_known_answer(void **state)
{
    uint8_t out[SHA1_SIZE];
    crypto_sha1(STR("abc"), out);
    check_hex(out, sizeof out, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void websocket_accept(void **state)
{
    uint8_t out[SHA1_SIZE];
    char text[29] = {0};
    crypto_sha1(STR("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), out);
    assert_int_equal(crypto_base64(out, sizeof out, text), 28);
    assert_string_equal(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void base64_known_answers(void **state)
{
    static const char *const rows[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t n = 0; n < COUNT_OF(rows); n++) {
        size_t length = 4 * ((n + 2) / 3);
        /* Exactly as large as promised, so that the sanitizer sees a byte too many. */
        char *dst = malloc(length ? length : 1);
        assert_int_equal(crypto_base64((const uint8_t *)"foobar", n, dst), length);
        assert_memory_equal(dst, rows[n], length);
        free(dst);
    }
    char dst[4];
    crypto_base64((const uint8_t[]){0xfb, 0xff, 0xbf}, 3, dst);
    assert_memory_equal(dst, "+/+/", 4);
}

/* RFC 4231, test case 2. */
static void hmac_known_answer(void **state)
{
    static const uint8_t expected[4] = {0x5b, 0xdc, 0xc1, 0x46};
    uint8_t out[SHA256_SIZE];
    crypto_hmac_sha256("Jefe", 4, STR("what do ya want for nothing?"), out);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(out[31], 0x43);
}

static void equality(void **state)
{
    assert_true(crypto_equal("secret", "secret", 6));
    assert_false(crypto_equal("secret", "secres", 6));
    assert_true(crypto_equal("a", "b", 0));
}

static void random_differs(void **state)
{
    uint8_t a[1024] = {0}, b[1024] = {0};
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + sizeof a - 16, b + sizeof b - 16, 16); /* filled to the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_known_answers), cmocka_unit_test(sha1_known_answer),
        cmocka_unit_test(websocket_accept),     cmocka_unit_test(base64_known_answers),
        cmocka_unit_test(hmac_known_answer),    cmocka_unit_test(equality),
        cmocka_unit_test(random_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
