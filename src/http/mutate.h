/* Random changes to messages, the same ones in every run: for fuzz_test.c and llhttp_test.c. */
#ifndef HESTIA_HTTP_MUTATE_H
#define HESTIA_HTTP_MUTATE_H

#include "http/corpus.h"

enum { MUTANT_MAX = 4096 };

struct mutant {
    uint64_t seed; /* not zero */
    size_t n;
    char bytes[MUTANT_MAX];
};

/* A number below `limit`, which is not 0 (xorshift). */
static inline size_t mutant_random(struct mutant *m, size_t limit)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 7;
    m->seed ^= m->seed << 17;
    return (size_t)(m->seed >> 11) % limit;
}

/* Replaces `gone` bytes at `at`; what does not fit is left out. */
static inline void mutant_splice(struct mutant *m, size_t at, size_t gone, struct str in)
{
    size_t tail = m->n - at - gone;
    if (m->n - gone + in.n > MUTANT_MAX)
        return;
    char copy[MUTANT_MAX];
    memcpy(copy, in.p, in.n);
    memmove(m->bytes + at + in.n, m->bytes + at + gone, tail);
    memcpy(m->bytes + at, copy, in.n);
    m->n += in.n - gone;
}

static inline void mutant_change(struct mutant *m)
{
    size_t at = mutant_random(m, m->n + 1), rest = m->n - at;
    size_t part = rest ? mutant_random(m, MIN(rest, (size_t)16) + 1) : 0;
    struct str token = corpus_tokens[mutant_random(m, COUNT_OF(corpus_tokens))];
    char byte = (char)mutant_random(m, 256);
    switch (mutant_random(m, 6)) {
    case 0:
        mutant_splice(m, at, 0, token);
        break;
    case 1:
        mutant_splice(m, at, part, token);
        break;
    case 2:
        mutant_splice(m, at, rest ? 1 : 0, str_make(&byte, 1));
        break;
    case 3:
        mutant_splice(m, at, part, STR(""));
        break;
    case 4: /* repeats a part somewhere else */
        mutant_splice(m, mutant_random(m, m->n + 1), 0, str_make(m->bytes + at, part));
        break;
    default: /* flips a bit */
        if (rest)
            m->bytes[at] = (char)(m->bytes[at] ^ (1 << mutant_random(m, 8)));
        break;
    }
}

/* One of `count` seeds with a few changes. */
static inline void mutant_make(struct mutant *m, const struct str *seeds, size_t count)
{
    struct str seed = seeds[mutant_random(m, count)];
    m->n = MIN(seed.n, (size_t)MUTANT_MAX);
    memcpy(m->bytes, seed.p, m->n);
    for (size_t changes = mutant_random(m, 4); changes > 0; changes--)
        mutant_change(m);
}

#endif
