/*
 * Keys of clients, "hk_" + what they are looked up by + "_" + the secret (http.md section 6), and ids. Kept
 * is only the first part and an HMAC of the whole. Pure; any thread.
 */
#include "strategy/book_inside.h"

#include "base/num.h"
#include "loop/crypto.h"

#include <stdio.h>

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Bytes from 248 on are thrown away: 248 is the last multiple of 62, so every digit is equally likely. */
static void base62_random(char *out, size_t n)
{
    uint8_t bytes[64];
    size_t have = 0;
    while (have < n) {
        crypto_random(bytes, sizeof bytes);
        for (size_t i = 0; i < sizeof bytes && have < n; i++)
            if (bytes[i] < 248)
                out[have++] = base62[bytes[i] % 62];
    }
    explicit_bzero(bytes, sizeof bytes);
}

void key_make(const uint8_t pepper[PEPPER_SIZE], struct book_key *key, char text[64])
{
    memset(text, 0, 64);
    memcpy(text, "hk_", 3);
    base62_random(text + 3, KEY_LOOKUP_SIZE);
    text[3 + KEY_LOOKUP_SIZE] = '_';
    base62_random(text + 4 + KEY_LOOKUP_SIZE, KEY_SECRET_SIZE);
    key->is_set = true;
    memcpy(key->lookup, text + 3, KEY_LOOKUP_SIZE);
    crypto_hmac_sha256(pepper, PEPPER_SIZE, str_make(text, KEY_SIZE), key->hmac);
}

bool book_key_is_ours(struct str key)
{
    return str_starts(key, STR("hk_"));
}

struct str key_lookup(struct str key)
{
    if (key.n != KEY_SIZE || key.p[3 + KEY_LOOKUP_SIZE] != '_')
        return STR_NONE;
    return str_make(key.p + 3, KEY_LOOKUP_SIZE);
}

bool key_verify(const uint8_t pepper[PEPPER_SIZE], struct str key, const uint8_t *hmac)
{
    static const uint8_t nobody[SHA256_SIZE];
    uint8_t mine[SHA256_SIZE];
    crypto_hmac_sha256(pepper, PEPPER_SIZE, key, mine);
    bool same = crypto_equal(mine, hmac ? hmac : nobody, sizeof mine);
    return same && hmac;
}

bool key_hmac_parse(struct str hex, uint8_t out[32])
{
    for (size_t i = 0; hex.n == 64 && i < 32; i++) {
        int high = num_hex_digit(hex.p[2 * i]), low = num_hex_digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return hex.n == 64;
}

void uuid_make(char out[37])
{
    uint8_t b[16];
    char hex[33] = "";
    crypto_random(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    num_to_hex(b, sizeof b, hex);
    snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}
