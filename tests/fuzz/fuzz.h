/*
 * What the fuzz targets share. Each file here that is named after a target has LLVMFuzzerTestOneInput(),
 * which checks with REQUIRE what must hold for any input: libFuzzer calls it (tools/fuzz), and so does
 * replay.c
 * (./test). The input lies in memory of exactly its size. One thread.
 */
#ifndef HESTIA_FUZZ_H
#define HESTIA_FUZZ_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static inline struct str input_str(const uint8_t *bytes, size_t n)
{
    return str_make((const char *)bytes, n);
}

/* A copy of exactly that many bytes, so that the sanitizers see each one too many; mem_free. */
static inline char *exact_copy(struct str s)
{
    char *copy = mem_alloc(s.n ? s.n : 1);
    REQUIRE(copy);
    if (s.n)
        memcpy(copy, s.p, s.n);
    return copy;
}

static inline bool lies_in(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* A refusal says why, in one sentence. */
static inline void require_sentence(enum err err, const struct error *error)
{
    REQUIRE(error->err == err && error_text(error)[0] && strlen(error->why) < sizeof error->why);
}

/*
 * Where an input is cut in two: short ones everywhere, longer ones at some places that follow from the input.
 *
 *     for (struct cuts c = cuts_of(text); cuts_next(&c);)
 *         … str_first(text, c.at), str_from(text, c.at) …
 */
enum { CUTS_ALL = 160, CUTS_SOME = 24 };
struct cuts {
    size_t n, at, count;
    uint64_t hash;
};

static inline struct cuts cuts_of(struct str text)
{
    return (struct cuts){.n = text.n, .hash = str_hash(text) | 1};
}

static inline bool cuts_next(struct cuts *c)
{
    if (c->count > MIN(c->n, (size_t)(c->n <= CUTS_ALL ? CUTS_ALL : CUTS_SOME)))
        return false;
    c->hash = c->hash * 6364136223846793005u + 1442695040888963407u;
    c->at = c->n <= CUTS_ALL ? c->count : (size_t)(c->hash >> 33) % (c->n + 1);
    c->count++;
    return true;
}

#endif
