/*
 * Mutated messages through every parser of this folder: memory of exact size, so that the sanitizers see each
 * byte too many; and what must hold for any input.
 */
#include "http/test.h"
#include "http/chunk.h"
#include "http/framing.h"
#include "http/mutate.h"
#include "http/target.h"
#include "http/url.h"
#include "http/websocket.h"

#include "base/buf.h"
#include "base/mem.h"

enum { ROUNDS = 30000 };

static const struct head_limits limits = {1000, 500, 2000, 20};

static bool lies_in(struct str part, struct str whole)
{
    return !part.p || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static char *copy_of(const struct mutant *m)
{
    char *copy = mem_alloc(m->n ? m->n : 1);
    assert_non_null(copy);
    memcpy(copy, m->bytes, m->n);
    return copy;
}

/* Nothing that can be taken for a line end or a control may come through. */
static void check_head(const struct head *h, struct str block)
{
    assert_in_range(h->field_count, 0, limits.fields);
    for (int i = 0; i < h->field_count; i++) {
        const struct field *f = &h->fields[i];
        assert_true(f->name.n > 0 && lies_in(f->name, block) && lies_in(f->value, block));
        for (size_t j = 0; j < f->value.n; j++) {
            uint8_t c = (uint8_t)f->value.p[j];
            assert_true((c >= 0x20 || c == '\t') && c != 0x7f);
        }
        assert_true(!f->value.n || !memchr(" \t", f->value.p[0], 2));
    }
    for (int id = 1; id < FIELD_COUNT; id++)
        if (h->first[id])
            assert_int_equal(h->fields[h->first[id] - 1].id, id);
}

/* Copies what is left after the hop-by-hop rules, and parses that again: it must be the same fields. */
static void check_copy(struct head *h, const char *first_line)
{
    static struct head again;
    struct error error = {0};
    struct buf out = {0};
    int kept = 0;
    buf_add_c(&out, first_line);
    head_copy_fields(&out, h);
    buf_add_c(&out, "\r\n");
    CHECK_ERR(
        head_parse_response(buf_str(&out), &(struct head_limits){4000, 4000, 4000, 100}, &again, &error), OK,
        "copy");
    for (int i = 0; i < h->field_count; i++) {
        if (h->fields[i].hop)
            continue;
        assert_true(str_eq(h->fields[i].name, again.fields[kept].name));
        assert_true(str_eq(h->fields[i].value, again.fields[kept].value));
        kept++;
    }
    assert_int_equal(kept, again.field_count);
    buf_free(&out);
}

static void check_target(const struct head *h)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct error error = {0};
    struct target t, again;
    if (target_parse(&arena, h->method, h->target, head_value(h, FIELD_HOST), &t, &error) != OK)
        return;
    if (str_eq(t.path, STR("*")))
        return;
    assert_true(t.path.n && t.path.p[0] == '/');
    assert_true(str_find_str(t.path, STR("/../")) == t.path.n &&
                str_find_str(t.path, STR("/./")) == t.path.n);
    assert_true(!str_ends(t.path, STR("/..")) && !str_ends(t.path, STR("/.")));
    assert_int_equal(target_parse(&arena, METHOD_GET, t.path, STR_NONE, &again, &error), OK);
    assert_true(str_eq(t.path, again.path) && !again.rewritten);
}

/* The end is the same however the bytes arrive, and never behind them. */
static size_t find_end(const char *bytes, size_t n)
{
    size_t scanned = 0, bytewise = 0, whole_scanned = 0;
    size_t whole = head_find_end(str_make(bytes, n), &whole_scanned);
    for (size_t i = 1; i <= n && !bytewise; i++)
        bytewise = head_find_end(str_make(bytes, i), &scanned);
    assert_int_equal(whole, bytewise);
    assert_in_range(whole, 0, n);
    return whole;
}

static void fuzz_request(struct mutant *m)
{
    static struct head h;
    struct error error = {0};
    struct framing f;
    char *bytes = copy_of(m);
    size_t end = find_end(bytes, m->n);
    (void)head_may_be_request(str_make(bytes, m->n));
    if (end) {
        char *head = mem_resize(bytes, end);
        bytes = head ? head : bytes;
        if (head_parse_request(str_make(bytes, end), &limits, &h, &error) == OK) {
            assert_true(head_may_be_request(str_make(bytes, end)));
            check_head(&h, str_make(bytes, end));
            check_target(&h);
            (void)head_keeps_alive(&h);
            if (websocket_wanted(&h) && websocket_check_request(&h, &error) == OK)
                assert_true(head_value(&h, FIELD_SEC_WEBSOCKET_KEY).n == 24);
            if (framing_of_request(&h, 5000, &f, &error) == OK)
                assert_true(f.kind != BODY_UNTIL_CLOSE && f.length <= 5000);
            if (head_mark_hops(&h, true, &error) == OK)
                check_copy(&h, "HTTP/1.1 200 OK\r\n");
        }
    }
    mem_free(bytes);
}

static void fuzz_response(struct mutant *m)
{
    static struct head h;
    struct error error = {0};
    struct framing f;
    char *bytes = copy_of(m);
    size_t end = find_end(bytes, m->n);
    if (end && head_parse_response(str_make(bytes, end), &limits, &h, &error) == OK) {
        assert_in_range(h.status, 100, 599);
        check_head(&h, str_make(bytes, end));
        if (framing_of_response(&h, METHOD_GET, &f, &error) == OK)
            assert_true(f.length <= INT64_MAX);
        if (head_mark_hops(&h, false, &error) == OK)
            check_copy(&h, "HTTP/1.1 200 OK\r\n");
    }
    mem_free(bytes);
}

struct chunk_result {
    enum err err;
    bool done;
    size_t used;
    struct buf out;
};

static struct chunk_result filter(struct mutant *m, struct chunked c, bool whole)
{
    struct chunk_result r = {0};
    struct error error = {0};
    char *bytes = copy_of(m);
    for (size_t at = 0; at < m->n && r.err == OK && !r.done;) {
        size_t wanted = whole ? m->n : mutant_random(m, 7) + 1, part = MIN(wanted, m->n - at), used, kept;
        r.err = chunk_filter(&c, bytes + at, part, &used, &kept, &r.done, &error);
        assert_true(kept <= used && used <= part);
        buf_add(&r.out, bytes + at, kept);
        r.used += used;
        at += part;
    }
    mem_free(bytes);
    return r;
}

static void fuzz_chunked(struct mutant *m)
{
    struct chunked plain = {0}, framed = {.keep_frames = true, .keep_trailers = mutant_random(m, 2)};
    struct chunk_result a = filter(m, plain, true), b = filter(m, plain, false);
    assert_true(a.err == b.err && a.done == b.done && a.used == b.used);
    assert_true(str_eq(buf_str(&a.out), buf_str(&b.out)));
    struct chunk_result c = filter(m, framed, true), d = filter(m, framed, false);
    assert_true(c.err == d.err && c.done == d.done && c.used == d.used);
    assert_true(str_eq(buf_str(&c.out), buf_str(&d.out)));
    if (c.done) { /* what we forward is the same body, and plain */
        struct mutant again = {.seed = m->seed, .n = c.out.n};
        memcpy(again.bytes, c.out.p, c.out.n);
        struct chunk_result e = filter(&again, plain, true), f = filter(&again, framed, false);
        assert_true(e.done && e.used == c.out.n && str_eq(buf_str(&e.out), buf_str(&a.out)));
        assert_true(f.done && str_eq(buf_str(&f.out), buf_str(&c.out)));
        buf_free(&e.out);
        buf_free(&f.out);
    }
    buf_free(&a.out);
    buf_free(&b.out);
    buf_free(&c.out);
    buf_free(&d.out);
}

static void fuzz_url(struct mutant *m)
{
    static const struct str seeds[] = {
        CORPUS("http://name:8080/v1/"),
        CORPUS("https://[::1]:444/a/b"),
        CORPUS("unix:/run/a.sock:/v1"),
        CORPUS("/v1/a?b"),
    };
    CLEANUP(arena_free) struct arena arena = {0};
    struct error error = {0};
    struct url url, upstream;
    mutant_make(m, seeds, COUNT_OF(seeds));
    char *bytes = copy_of(m);
    if (url_parse(&arena, str_make(bytes, m->n), &url, &error) == OK)
        assert_true(url.host.n && url.host_field.n && !memchr(url.host.p, '\0', url.host.n));
    assert_int_equal(url_parse(&arena, STR("http://name:8080/v1"), &upstream, &error), OK);
    struct str location = url_rewrite_location(&arena, &upstream, STR("/services/x"), str_make(bytes, m->n));
    assert_true(location.p == bytes || str_starts(location, STR("/services/x/")));
    mem_free(bytes);
}

static void run(const struct str *seeds, size_t count, void (*fuzz)(struct mutant *))
{
    static struct mutant m;
    m.seed = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < ROUNDS; i++) {
        if (seeds)
            mutant_make(&m, seeds, count);
        fuzz(&m);
    }
}

static void test_requests(void **state)
{
    run(corpus_requests, COUNT_OF(corpus_requests), fuzz_request);
}

static void test_responses(void **state)
{
    run(corpus_responses, COUNT_OF(corpus_responses), fuzz_response);
}

static void test_chunked(void **state)
{
    run(corpus_chunked, COUNT_OF(corpus_chunked), fuzz_chunked);
}

static void test_urls(void **state)
{
    run(NULL, 0, fuzz_url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
