/* Splitting a command written as one string. Pure. */
#include "config/words.h"

#include "config/interpolate.h"

struct splitter {
    struct str rest;
    char quote; /* ' or " while inside, else 0 */
    char *word; /* room for the whole line: words are written one behind the other */
    size_t n;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void take(struct splitter *s, size_t n)
{
    memcpy(s->word + s->n, s->rest.p, n);
    s->n += n;
    s->rest = str_from(s->rest, n);
}

/* One character, quote, escape or reference of a word. */
static enum err step(struct splitter *s, struct error *error)
{
    char c = s->rest.p[0];
    if (c == s->quote || (!s->quote && (c == '\'' || c == '"'))) {
        s->quote = s->quote ? 0 : c;
        s->rest = str_from(s->rest, 1);
    } else if (s->quote != '\'' && str_starts(s->rest, STR("$${"))) {
        take(s, 3);
    } else if (s->quote != '\'' && str_starts(s->rest, STR("${"))) {
        size_t length = text_reference_length(s->rest);
        if (length == 0)
            return error_set(error, ERR_SYNTAX, "a ${ is not closed");
        take(s, length);
    } else if (s->quote != '\'' && c == '\\') {
        if (s->rest.n == 1)
            return error_set(error, ERR_SYNTAX, "the last backslash protects nothing");
        if (!s->quote || strchr("\\\"$`", s->rest.p[1]))
            s->rest = str_from(s->rest, 1);
        take(s, 1);
    } else {
        take(s, 1);
    }
    return OK;
}

static enum err word_next(struct splitter *s, struct str *word, struct error *error)
{
    s->word += s->n;
    s->n = 0;
    while (s->rest.n && (s->quote || !is_blank(s->rest.p[0])))
        TRY(step(s, error));
    if (s->quote)
        return error_set(error, ERR_SYNTAX, "a %c is not closed", s->quote);
    *word = str_make(s->word, s->n);
    return OK;
}

enum err words_split(struct arena *arena, struct str line, struct strs *words, struct error *error)
{
    struct splitter s = {.rest = line, .word = arena_alloc(arena, line.n + 1)};
    *words = (struct strs){.items = arena_alloc(arena, (line.n / 2 + 1) * sizeof(struct str))};
    if (!s.word || !words->items)
        return error_set(error, ERR_NOMEM, "out of memory");
    for (;;) {
        while (s.rest.n && is_blank(s.rest.p[0]))
            s.rest = str_from(s.rest, 1);
        if (s.rest.n == 0)
            return OK;
        TRY(word_next(&s, &words->items[words->count], error));
        words->count++;
    }
}
