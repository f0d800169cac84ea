/* Hashes, random bytes, constant-time comparison: the one place that asks OpenSSL for them. Any thread. */
#include "loop/crypto.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

/* A hash of a digest that OpenSSL always has fails only without memory; there is nothing sane to answer then,
   and a wrong hash could let a key pass. */
static void digest(const EVP_MD *kind, struct str s, uint8_t *out)
{
    int ok = EVP_Digest(s.p ? s.p : "", s.n, out, NULL, kind, NULL);
    REQUIRE(ok == 1);
}

void crypto_sha256(struct str s, uint8_t out[SHA256_SIZE])
{
    digest(EVP_sha256(), s, out);
}

void crypto_hmac_sha256(const void *key, size_t key_n, struct str s, uint8_t out[SHA256_SIZE])
{
    const unsigned char *done =
        HMAC(EVP_sha256(), key, (int)key_n, (const unsigned char *)(s.p ? s.p : ""), s.n, out, NULL);
    REQUIRE(done);
}

void crypto_sha1(struct str s, uint8_t out[SHA1_SIZE])
{
    digest(EVP_sha1(), s, out);
}

void crypto_random(void *p, size_t n)
{
    char *at = p;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        REQUIRE(got > 0);
        at += got;
        n -= (size_t)got;
    }
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Not EVP_EncodeBlock: that one writes a NUL behind the end, for which dst has no room. */
size_t crypto_base64(const uint8_t *p, size_t n, char *dst)
{
    char *at = dst;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits = (uint32_t)p[i] << 16;
        bits |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        bits |= left > 2 ? p[i + 2] : 0;
        *at++ = base64_digits[bits >> 18];
        *at++ = base64_digits[bits >> 12 & 63];
        *at++ = left > 1 ? base64_digits[bits >> 6 & 63] : '=';
        *at++ = left > 2 ? base64_digits[bits & 63] : '=';
    }
    return (size_t)(at - dst);
}
