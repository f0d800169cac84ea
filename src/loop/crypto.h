/* Hashes, random bytes, constant-time comparison (OpenSSL). Any thread. */
#ifndef HESTIA_LOOP_CRYPTO_H
#define HESTIA_LOOP_CRYPTO_H

#include "base/str.h"

enum { SHA256_SIZE = 32, SHA1_SIZE = 20 };

void crypto_sha256(struct str s, uint8_t out[SHA256_SIZE]);
/* HMAC-SHA256 (RFC 2104). */
void crypto_hmac_sha256(const void *key, size_t key_n, struct str s, uint8_t out[SHA256_SIZE]);
void crypto_sha1(struct str s, uint8_t out[SHA1_SIZE]);    /* WebSocket handshake only */
void crypto_random(void *p, size_t n);                     /* aborts when the kernel gives none */
bool crypto_equal(const void *a, const void *b, size_t n); /* constant time */
/* Standard base64 with padding; dst takes 4*((n+2)/3) characters. Returns the length. */
size_t crypto_base64(const uint8_t *p, size_t n, char *dst);

#endif
