/*
 * Chunked bodies, validated as they pass, in place. Pure.
 * chunk_filter() reads wire bytes and leaves in the same memory what may be forwarded:
 *  - keep_frames: the same chunked stream, byte for byte where it is plain; chunk extensions and (unless
 * keep_trailers) trailers are taken out;
 *  - otherwise: the data alone.
 * The output is never longer than the input.
 */
#ifndef HESTIA_HTTP_CHUNK_H
#define HESTIA_HTTP_CHUNK_H

#include "base/err.h"
#include "base/str.h"

enum { CHUNK_NAME_MAX = 26 }; /* longer than any field name that matters */

struct chunked {
    bool keep_frames, keep_trailers; /* set before the first byte */
    uint8_t state;                   /* private from here on, zero at first */
    uint8_t digits;                  /* of the present size */
    bool seen;                       /* the present part of an extension is not empty */
    uint8_t name_length;             /* of the present trailer's name */
    uint16_t extension_bytes;        /* of the present chunk */
    uint32_t extension_total, trailer_bytes;
    uint64_t left;       /* of the present chunk */
    uint64_t data_bytes; /* of data so far: may be read */
    char name[CHUNK_NAME_MAX];
};

/* Consumes at most n bytes. *used: wire bytes eaten (less than n only at the end of the body); *kept: bytes
   at p to forward. `*done` when the last chunk and its trailers have passed. ERR_SYNTAX (bad size, bare LF,
   bad field line, a trailer that is about framing, routing or authentication, …), ERR_LIMIT (> 16 digits or a
   chunk of 2^63 bytes, extensions > 256 per chunk or 16 KiB in all, trailers > 8 KiB). After an error *used
   and *kept tell how far it was right; every later call fails too. */
enum err chunk_filter(struct chunked *c, char *p, size_t n, size_t *used, size_t *kept, bool *done,
                      struct error *error) MUST_CHECK;
/* True between two chunks (after a chunk's CRLF, before the next size): where an event of our own may be put
 * in. */
bool chunk_at_boundary(const struct chunked *c);
/* "1a2b\r\n" into dst (at least 20 bytes); returns its length. */
size_t chunk_head(uint64_t size, char *dst);

#endif
