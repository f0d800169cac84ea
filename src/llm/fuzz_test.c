/*
 * Mutated bodies against jansson: both accept the same texts and read the same out of them, and a splice
 * gives the document that jansson makes by the rules. Mutated answers and streams: no split changes what is
 * read. The same mutants in every run, in memory of exact size.
 */
#include "llm/test.h"
#include "llm/body.h"
#include "llm/usage.h"

#include "base/buf.h"

#include <jansson.h>

enum { BODY_ROUNDS = 60000, STREAM_ROUNDS = 40000, MUTANT_MAX = 1024 };

static const char *const bodies[] = {
    "{\"model\":\"gpt-4\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello "
    "\\\"you\\\"\\n\"}],\"stream\":true}",
    "{\"model\":\"proxy-gpt-4\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
    "\"a\"}]}],"
    "\"extra_body\":{\"hulumanage_approach\":\"proxy\",\"proxy_wrap\":\"moa\"},\"temperature\":0.70}",
    "{ \"hulumanage_approach\" : \"proxy\" , \"model\" : \"m\" ,\n\t\"wrap\" : null , \"stream\" : false }",
    "{\"wrap\":\"a\",\"proxy_wrap\":\"b\",\"wrapped_approach\":\"c\",\"model\":\"m\",\"x\":[1,-2.5e3,0,{}]}",
    "{\"extra_body\":{\"x\":1,\"wrap\":\"a\",\"y\":[true,false,null],\"proxy_wrap\":\"z\"},\"model\":\"m\"}",
    "{\"stream_options\":{\"include_usage\":false,\"x\":1},\"model\":\"\\u00e9\\ud83d\\ude00\",\"stream\":"
    "true}",
    "{\"model\":\"m\",\"stream_options\":{},\"a\":\"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80\",\"b\":\"\\/"
    "\\b\\f\\r\\t\"}",
    "{\"mod\\u0065l\":\"m\",\"stream_options\":null,\"tools\":[{\"function\":{\"parameters\":{\"a\":{}}}}]}",
    "{\"input\":"
    "\"0123456789012345678901234567890123456789012345678901234567890123456789\\\\\\\\\\\"0123456789\","
    "\"model\":\"text-embedding\",\"max_tokens\":100,\"user\":\"u\"}",
};

static const char *const answers[] = {
    "{\"id\":\"x\",\"choices\":[{\"message\":{\"content\":\"a\\\"b\"}}],\"usage\":{\"prompt_tokens\":10,"
    "\"completion_tokens\":20,\"total_tokens\":30,\"prompt_tokens_details\":{\"cached_tokens\":4}}}",
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\ndata: "
    "{\"choices\":[],\"usage\":"
    "{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n",
    ": c\r\n\r\ndata:{\"choices\":[],\r\ndata:\"usage\":{\"total_tokens\":7}}\r\n\r\nevent: e\r\rdata: "
    "{\"error\":{}}\r\r",
};

static const char *const tokens[] = {
    "\"",
    "\\",
    "\\u0065",
    "\\ud800",
    "\\u",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\t",
    "0",
    "01",
    "-",
    "1e9",
    ".5",
    "1.",
    "null",
    "true",
    "false",
    "NaN",
    "\"model\":\"x\",",
    ",\"model\":\"y\"",
    "\"stream\":true,",
    ",\"wrap\":\"a\"",
    "\"wrap\":\"a\",",
    "\"extra_body\":{\"wrap\":1},",
    "\"extra_body\":{},",
    "\"stream_options\":{\"include_usage\":true},",
    "\"hulumanage_approach\":\"b\",",
    "\"a\":[{\"b\":{}}],",
    "\xc3",
    "\xa9",
    "\xed\xa0\x80",
    "\xf4\x90\x80\x80",
    "\xf0\x9f\x98\x80",
    "\xef\xbb\xbf",
    "\x7f",
    "\x01",
    "data: ",
    "data: [DONE]",
    "\"usage\":{\"prompt_tokens\":5}",
    "\"choices\":[]",
    "\"error\":{}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
};

struct mutant {
    uint64_t seed; /* not zero */
    size_t n;
    char bytes[MUTANT_MAX];
};

/* A number below `limit`, which is not 0 (xorshift). */
static size_t below(struct mutant *m, size_t limit)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 7;
    m->seed ^= m->seed << 17;
    return (size_t)(m->seed >> 11) % limit;
}

/* Replaces `gone` bytes at `at`; what does not fit is left out. */
static void replace(struct mutant *m, size_t at, size_t gone, struct str in)
{
    char copy[MUTANT_MAX];
    if (m->n - gone + in.n > MUTANT_MAX)
        return;
    memcpy(copy, in.p, in.n);
    memmove(m->bytes + at + in.n, m->bytes + at + gone, m->n - at - gone);
    memcpy(m->bytes + at, copy, in.n);
    m->n += in.n - gone;
}

static void change(struct mutant *m)
{
    size_t at = below(m, m->n + 1), rest = m->n - at, part = rest ? below(m, MIN(rest, (size_t)24) + 1) : 0;
    struct str token = str_from_c(tokens[below(m, COUNT_OF(tokens))]);
    char byte = (char)below(m, 256);
    switch (below(m, 7)) {
    case 0:
        replace(m, at, 0, token);
        break;
    case 1:
        replace(m, at, part, token);
        break;
    case 2:
        replace(m, at, rest ? 1 : 0, str_make(&byte, 1));
        break;
    case 3:
        replace(m, at, part, STR(""));
        break;
    case 4: /* repeats a part somewhere else */
        replace(m, below(m, m->n + 1), 0, str_make(m->bytes + at, part));
        break;
    case 5: /* in front of a key: most often still JSON */
        at += str_find(str_make(m->bytes + at, rest), '"');
        replace(m, MIN(at, m->n), 0, token);
        break;
    default:
        if (rest)
            m->bytes[at] ^= (char)(1 << below(m, 8));
        break;
    }
}

static void mutate(struct mutant *m, const char *text)
{
    m->n = strlen(text);
    memcpy(m->bytes, text, m->n);
    for (size_t i = below(m, 5); i > 0; i--)
        change(m);
}

/* jansson takes no lone surrogates, and we do; so there are none in what is compared. */
static void without_surrogates(struct mutant *m)
{
    for (size_t i = 0; i + 3 < m->n; i++)
        if (m->bytes[i] == '\\' && m->bytes[i + 1] == 'u' && (m->bytes[i + 2] | 0x20) == 'd' &&
            !(m->bytes[i + 3] >= '0' && m->bytes[i + 3] <= '7'))
            m->bytes[i + 2] = '0';
}

static json_t *load(struct str text, json_error_t *error)
{
    return json_loadb(text.p, text.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, error);
}

static struct str text_of(const json_t *value)
{
    return str_make(json_string_value(value), json_string_length(value));
}

static const char *const private_names[] = {"hulumanage_approach", "proxy_wrap", "wrapped_approach", "wrap"};

static bool remove_private(json_t *object)
{
    bool any = false;
    for (size_t i = 0; i < COUNT_OF(private_names); i++)
        any |= json_object_del(object, private_names[i]) == 0;
    return any;
}

/* What a splice must amount to. */
static void apply_rules(json_t *root, const char *model)
{
    json_t *extra = json_object_get(root, "extra_body"), *options = json_object_get(root, "stream_options");
    json_object_set_new(root, "model", json_string(model));
    remove_private(root);
    if (json_is_object(extra) && remove_private(extra) && json_object_size(extra) == 0)
        json_object_del(root, "extra_body");
    if (!json_is_object(options)) {
        json_object_set_new(root, "stream_options", json_object());
        options = json_object_get(root, "stream_options");
    }
    json_object_set_new(options, "include_usage", json_true());
}

static void check_splice(struct arena *arena, const struct llm_body *body, json_t *root)
{
    CLEANUP(buf_free) struct buf out = BUF(0);
    struct llm_parts parts;
    struct llm_body again;
    struct error error = {0};
    const char *param;
    json_error_t why;
    assert_int_equal(llm_body_splice(arena, body, STR("new \"name\""), true, &parts), OK);
    for (int i = 0; i < parts.count; i++)
        buf_add_str(&out, parts.part[i]);
    assert_int_equal(parts.total, out.n);
    apply_rules(root, "new \"name\"");
    json_t *got = load(buf_str(&out), &why);
    if (!got || !json_equal(got, root)) {
        print_error("from %.*s\nto   %.*s\n", STR_ARG(body->text), STR_ARG(buf_str(&out)));
        fail();
    }
    json_decref(got);
    assert_int_equal(llm_body_scan(arena, buf_str(&out), &again, &param, &error), OK);
    assert_true(again.include_usage && !again.approach_text.n && !again.wrap_text.n);
    CHECK_STR(again.model, "new \"name\"", "again");
}

static void fail_at(struct str text, const char *what, const char *why)
{
    print_error("%s: %s\n%.*s\n", what, why, STR_ARG(text));
    fail();
}

/* What only one of the two refuses: our limits and fields, and numbers that jansson cannot hold. */
static bool may_differ(enum err err, const char *param, const struct error *error, const json_error_t *why)
{
    if (err == OK)
        return json_error_code(why) == json_error_numeric_overflow;
    return param || strstr(error->why, "levels deep") || strstr(error->why, "byte order mark") ||
           strstr(error->why, "not an object");
}

static bool compare(struct str text)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct llm_body body;
    struct error error = {0};
    const char *param;
    json_error_t why;
    enum err err = llm_body_scan(&arena, text, &body, &param, &error);
    if (text.n && memchr(text.p, 0, text.n)) { /* jansson reads over some of them */
        assert_int_equal(err, ERR_BAD_REQUEST);
        return false;
    }
    json_t *root = load(text, &why);
    if ((err == OK) != (root != NULL) && !may_differ(err, param, &error, &why))
        fail_at(text, root ? "only jansson accepts" : "only we accept", root ? error.why : why.text);
    bool both = err == OK && root;
    if (both) {
        if (!str_eq(text_of(json_object_get(root, "model")), body.model))
            fail_at(text, "another model", json_string_value(json_object_get(root, "model")));
        if (json_is_true(json_object_get(root, "stream")) != body.stream)
            fail_at(text, "another stream", "");
        check_splice(&arena, &body, root);
    }
    json_decref(root);
    return both;
}

static void test_bodies(void **state)
{
    static struct mutant m = {.seed = 0x9e3779b97f4a7c15};
    int accepted = 0;
    for (int i = 0; i < BODY_ROUNDS; i++) {
        CLEANUP(arena_free) struct arena arena = {0};
        struct llm_body body;
        struct error error = {0};
        const char *param;
        mutate(&m, bodies[(size_t)i % COUNT_OF(bodies)]);
        char *copy = exact_copy(str_make(m.bytes, m.n));
        enum err err = llm_body_scan(&arena, str_make(copy, m.n), &body, &param, &error);
        assert_true(err == OK || (err == ERR_BAD_REQUEST && error.why[0]));
        without_surrogates(&m);
        memcpy(copy, m.bytes, m.n);
        accepted += compare(str_make(copy, m.n));
        mem_free(copy);
    }
    assert_in_range(accepted, BODY_ROUNDS / 5, BODY_ROUNDS * 4 / 5); /* else the mutants are of no use */
}

static bool same_usage(const struct llm_usage *a, const struct llm_usage *b)
{
    return a->known == b->known && a->prompt_tokens == b->prompt_tokens &&
           a->completion_tokens == b->completion_tokens && a->total_tokens == b->total_tokens &&
           a->cached_tokens == b->cached_tokens && a->reasoning_tokens == b->reasoning_tokens;
}

/* Three pieces instead of one. */
static void check_reader(struct str text, size_t a, size_t b)
{
    struct usage_reader whole = {0}, pieces = {0};
    usage_reader_feed(&whole, text);
    usage_reader_feed(&pieces, str_first(text, a));
    usage_reader_feed(&pieces, str_make(text.p + a, b - a));
    usage_reader_feed(&pieces, str_from(text, b));
    assert_true(same_usage(&whole.usage, &pieces.usage));
    assert_true(whole.broken == pieces.broken && whole.complete == pieces.complete &&
                whole.has_error == pieces.has_error && whole.empty_choices == pieces.empty_choices);
}

static void filter(struct event_filter *f, struct str text, size_t a, size_t b, struct buf *out)
{
    assert_int_equal(event_filter_feed(f, str_first(text, a), out), OK);
    assert_int_equal(event_filter_feed(f, str_make(text.p + a, b - a), out), OK);
    assert_int_equal(event_filter_feed(f, str_from(text, b), out), OK);
    assert_int_equal(event_filter_end(f, out), OK);
}

static void bytewise(struct event_filter *f, struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++)
        assert_int_equal(event_filter_feed(f, str_make(text.p + i, 1), out), OK);
    assert_int_equal(event_filter_end(f, out), OK);
}

static void check_same(const struct event_filter *f, const struct event_filter *g)
{
    assert_true(same_usage(&f->usage, &g->usage) && f->saw_done == g->saw_done &&
                f->saw_event == g->saw_event && f->saw_error == g->saw_error &&
                f->began_with_error == g->began_with_error && f->content_events == g->content_events);
}

static void check_filter(struct str text, size_t a, size_t b)
{
    for (int drop = 0; drop <= 1; drop++) {
        CLEANUP(buf_free) struct buf one = BUF(0), three = BUF(0), many = BUF(0);
        CLEANUP(event_filter_free) struct event_filter f = {.drop_usage = drop}, g = f, h = f;
        filter(&f, text, 0, 0, &one);
        filter(&g, text, a, b, &three);
        bytewise(&h, text, &many);
        assert_true(str_eq(buf_str(&one), buf_str(&three)));
        assert_true(str_eq(buf_str(&one), buf_str(&many)));
        assert_true(drop || str_eq(buf_str(&one), text));
        check_same(&f, &g);
        check_same(&f, &h);
    }
}

static void test_streams(void **state)
{
    static struct mutant m = {.seed = 0x2545f4914f6cdd1d};
    for (int i = 0; i < STREAM_ROUNDS; i++) {
        mutate(&m, answers[(size_t)i % COUNT_OF(answers)]);
        size_t a = below(&m, m.n + 1), b = a + below(&m, m.n - a + 1);
        char *copy = exact_copy(str_make(m.bytes, m.n));
        check_reader(str_make(copy, m.n), a, b);
        check_filter(str_make(copy, m.n), a, b);
        mem_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
