/*
 * The filter of event streams: no cut changes what it reads or forwards; without drop_usage everything passes
 * byte for byte; with it, whole events are missing and nothing else, and those spoke of usage.
 */
#include "fuzz.h"
#include "llm/usage.h"

static void require_same(const struct event_filter *a, const struct event_filter *b)
{
    const struct llm_usage *u = &a->usage, *v = &b->usage;
    REQUIRE(u->known == v->known && u->prompt_tokens == v->prompt_tokens &&
            u->completion_tokens == v->completion_tokens && u->total_tokens == v->total_tokens &&
            u->cached_tokens == v->cached_tokens && u->reasoning_tokens == v->reasoning_tokens);
    REQUIRE(a->saw_event == b->saw_event && a->saw_done == b->saw_done && a->saw_error == b->saw_error &&
            a->began_with_error == b->began_with_error && a->content_events == b->content_events);
}

static void feed(struct event_filter *f, struct str part, struct buf *out)
{
    char *copy = exact_copy(part);
    REQUIRE(event_filter_feed(f, str_make(copy, part.n), out) == OK);
    mem_free(copy);
}

/* The first `first` bytes, then the rest in steps. */
static void run(struct event_filter *f, struct str text, size_t first, size_t step, struct buf *out)
{
    feed(f, str_first(text, first), out);
    for (size_t at = first; at < text.n; at += step)
        feed(f, str_first(str_from(text, at), step), out);
    REQUIRE(event_filter_end(f, out) == OK && buf_err(out) == OK);
}

/* Length of the line at the start, its end included; *empty: there is nothing else in it. */
static size_t line_length(struct str text, bool *empty)
{
    size_t n = MIN(str_find(text, '\r'), str_find(text, '\n'));
    *empty = n == 0;
    if (n == text.n)
        return n;
    return n + (text.p[n] == '\r' && n + 1 < text.n && text.p[n + 1] == '\n' ? 2 : 1);
}

/* The event at the start of the text, up to and with the empty line. */
static struct str event_first(struct str text)
{
    size_t n = 0;
    for (bool empty = false; n < text.n && !empty;)
        n += line_length(str_from(text, n), &empty);
    return str_first(text, n);
}

static void check_dropped(struct str text, struct str out)
{
    while (text.n) {
        struct str event = event_first(text);
        if (str_starts(out, event))
            out = str_from(out, event.n);
        else
            REQUIRE(str_find_str(event, STR("usage")) < event.n &&
                    str_find_str(event, STR("choices")) < event.n);
        text = str_from(text, event.n);
    }
    REQUIRE(out.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str text = input_str(bytes, n);
    for (int drop = 0; drop <= 1; drop++) {
        CLEANUP(buf_free) struct buf whole = BUF(0), bytewise = BUF(0);
        CLEANUP(event_filter_free) struct event_filter f = {.drop_usage = drop}, g = f;
        run(&f, text, n, 1, &whole);
        run(&g, text, 0, 1, &bytewise);
        require_same(&f, &g);
        REQUIRE(str_eq(buf_str(&whole), buf_str(&bytewise)));
        for (struct cuts c = cuts_of(text); cuts_next(&c);) {
            CLEANUP(buf_free) struct buf two = BUF(0);
            CLEANUP(event_filter_free) struct event_filter h = {.drop_usage = drop};
            run(&h, text, c.at, n, &two);
            require_same(&f, &h);
            REQUIRE(str_eq(buf_str(&whole), buf_str(&two)));
        }
        if (drop)
            check_dropped(text, buf_str(&whole));
        else
            REQUIRE(str_eq(buf_str(&whole), text));
    }
    return 0;
}
