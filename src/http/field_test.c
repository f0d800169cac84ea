/* field.c: names, elements, hop-by-hop rules, and what may be written into a head. */
#include "http/test.h"
#include "http/field.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdio.h>

static const char *const known[FIELD_COUNT] = {
    [FIELD_OTHER] = "",
#define F(id, name) [FIELD_##id] = name,
#include "http/field.def"
#undef F
};

static const char *const identifiers[FIELD_COUNT] = {
    [FIELD_OTHER] = "",
#define F(id, name) [FIELD_##id] = #id,
#include "http/field.def"
#undef F
};

/* Fills the slots; false when two names fall into one. */
static bool fill_slots(struct field_factors factors, uint8_t slots[FIELD_SLOTS])
{
    memset(slots, 0, FIELD_SLOTS);
    for (int id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        unsigned hash = field_hash(str_from_c(known[id]), factors);
        if (slots[hash])
            return false;
        slots[hash] = (uint8_t)id;
    }
    return true;
}

/* For whoever changed field.def: what belongs into field.c and field.h. */
static void print_tables(void)
{
    uint8_t slots[FIELD_SLOTS];
    for (unsigned i = 1; i < 1u << 24; i++) {
        const struct field_factors factors = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)};
        if (!fill_slots(factors, slots))
            continue;
        printf("#define FIELD_FACTORS ((struct field_factors){%d, %d, %d})\n", factors.first, factors.middle,
               factors.last);
        printf("const uint8_t field_slots[FIELD_SLOTS] = {\n");
        for (int slot = 0; slot < FIELD_SLOTS; slot++)
            if (slots[slot])
                printf("    [%d] = FIELD_%s,\n", slot, identifiers[slots[slot]]);
        printf("};\n");
        return;
    }
}

static void test_tables(void **state)
{
    uint8_t slots[FIELD_SLOTS];
    if (fill_slots(FIELD_FACTORS, slots) && memcmp(slots, field_slots, sizeof slots) == 0)
        return;
    print_tables();
    fail_msg("field_slots does not fit field.def: put what is above into field.c and field.h");
}

static void test_ids(void **state)
{
    for (int id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        char text[64];
        struct str name = str_from_c(known[id]);
        assert_in_range(name.n, 1, FIELD_NAME_MAX);
        assert_int_equal(field_id_find(name), id);
        for (size_t i = 0; i < name.n; i++) {
            str_to_c(name, text, sizeof text);
            if (text[i] >= 'a' && text[i] <= 'z')
                text[i] = (char)(text[i] - 32);
            assert_int_equal(field_id_find(str_from_c(text)), id);
            /* Any other byte of a token there makes it another name. */
            for (int c = 0x21; c < 0x7f; c++) {
                text[i] = (char)c;
                bool same = char_lower((char)c) == name.p[i];
                bool token = strchr("!#$%&'*+-.^_`|~", c) || (c >= '0' && c <= '9') ||
                             (char_lower((char)c) >= 'a' && char_lower((char)c) <= 'z');
                if (token && !same && field_id_find(str_from_c(text)) == (enum field_id)id)
                    fail_msg("'%s' is taken for '%s'", text, known[id]);
            }
        }
        assert_int_not_equal(field_id_find(str_first(name, name.n - 1)), id);
    }
    assert_int_equal(field_id_find(STR("x-unknown")), FIELD_OTHER);
    assert_int_equal(field_id_find(STR("x")), FIELD_OTHER);
    assert_int_equal(field_id_find(STR("a-name-that-is-longer-than-any-that-is-known")), FIELD_OTHER);
}

static const struct head_limits limits = {8192, 16384, 32768, 128};

static struct head *parse_request(const char *fields)
{
    static struct head h;
    static char block[8192];
    struct error error;
    int n = snprintf(block, sizeof block, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    assert_in_range(n, 1, sizeof block - 1);
    assert_int_equal(head_parse_request(str_make(block, (size_t)n), &limits, &h, &error), OK);
    return &h;
}

static struct head *parse_response(const char *fields)
{
    static struct head h;
    static char block[8192];
    struct error error;
    int n = snprintf(block, sizeof block, "HTTP/1.1 200 OK\r\n%s\r\n", fields);
    assert_in_range(n, 1, sizeof block - 1);
    assert_int_equal(head_parse_response(str_make(block, (size_t)n), &limits, &h, &error), OK);
    return &h;
}

static const struct {
    const char *fields;
    enum err want;
    const char *left; /* what head_copy_fields then gives, behind Host */
} hops[] = {
    {"", OK, ""},
    {"A: b\r\n", OK, "A: b\r\n"},
    {"A: b \t\r\nB:\r\n", OK, "A: b \t\r\nB:\r\n"},
    {"Connection: close\r\nA: b\r\n", OK, "A: b\r\n"},
    {"A: b\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nC: d\r\n", OK, "A: b\r\nC: d\r\n"},
    {"Proxy-Connection: x\r\nProxy-Authenticate: x\r\nProxy-Authorization: x\r\n", OK, ""},
    {"Proxy-Authentication-Info: x\r\nTE: trailers\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n", OK, ""},
    {"Upgrade: h2c\r\nHTTP2-Settings: x\r\n", OK, ""},
    /* named by Connection: everything goes, in any case, from any line, every line of it */
    {"Connection: x-foo\r\nX-FOO: 1\r\nA: b\r\nx-foo: 2\r\n", OK, "A: b\r\n"},
    {"X-Foo: 1\r\nX-Bar: 2\r\nConnection: close, ,X-Foo\r\nConnection: x-bar\r\n", OK, ""},
    {"Connection: content-type, cookie\r\nContent-Type: a/b\r\nCookie: c\r\nA: b\r\n", OK, "A: b\r\n"},
    {"Connection: x-forwarded-for\r\nX-Forwarded-For: 1.2.3.4\r\n", OK, ""},
    {"Connection: close\r\nClose: a\r\n", OK, "Close: a\r\n"},
    {"Connection: \"x-foo\"\r\nX-Foo: 1\r\n", OK, "X-Foo: 1\r\n"},
    {"Connection: x-fo\r\nX-Foo: 1\r\n", OK, "X-Foo: 1\r\n"},
    {"Connection: host\r\n", ERR_HTTP_SYNTAX, NULL},
    {"Connection: close, Content-Length\r\nContent-Length: 5\r\n", ERR_HTTP_SYNTAX, NULL},
    {"Connection: transfer-encoding\r\n", ERR_HTTP_SYNTAX, NULL},
    {"Connection: close\r\nConnection: AUTHORIZATION\r\n", ERR_HTTP_SYNTAX, NULL},
    {"Connection: x-api-key\r\n", ERR_HTTP_SYNTAX, NULL},
    /* our own names */
    {"X-Hestia-Foo: 1\r\nx-hestia-: 2\r\nX-Hestiax: 3\r\n", OK, "X-Hestiax: 3\r\n"},
    /* aliases */
    {"X_Foo: 1\r\n", OK, "X_Foo: 1\r\n"},
    {"Content_Type: 1\r\n", OK, "Content_Type: 1\r\n"},
    {"X_Api_Keys: 1\r\n", OK, "X_Api_Keys: 1\r\n"},
    {"Content_Length: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"CONTENT_LENGTH: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"Transfer_Encoding: chunked\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X_Api_Key: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X_Api-Key: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X_Forwarded_For: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X-Forwarded_Anything: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X_Real_IP: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X_Request_ID: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X_Hestia_Key: 1\r\n", ERR_HTTP_SYNTAX, NULL},
    {"X-Hestia_A-Name-That-Is-Longer-Than-Any-That-Is-Known: 1\r\n", ERR_HTTP_SYNTAX, NULL},
};

static void test_hops(void **state)
{
    for (size_t i = 0; i < COUNT_OF(hops); i++) {
        struct error error = {0};
        struct buf out = {0};
        struct head *h = parse_request(hops[i].fields);
        CHECK_ERR(head_mark_hops(h, true, &error), hops[i].want, hops[i].fields);
        if (hops[i].want != OK)
            continue;
        head_field(h, FIELD_HOST)->hop = true;
        head_copy_fields(&out, h);
        CHECK_STR(buf_str(&out), hops[i].left, hops[i].fields);
        assert_int_equal(buf_err(&out), OK);
        buf_free(&out);
    }
}

static void test_hops_of_response(void **state)
{
    struct error error;
    struct buf out = {0};
    struct head *h =
        parse_response("Connection: x-foo, content-length, authorization\r\nX-Foo: 1\r\n"
                       "Content-Length: 0\r\nX-Hestia-Foo: 2\r\nX_Api_Key: 3\r\nUpgrade: h2c\r\n");
    assert_int_equal(head_mark_hops(h, false, &error), OK);
    head_copy_fields(&out, h);
    CHECK_STR(buf_str(&out), "Content-Length: 0\r\nX-Hestia-Foo: 2\r\nX_Api_Key: 3\r\n", "response");
    buf_free(&out);
}

static void test_hops_limit(void **state)
{
    struct error error;
    struct buf fields = {0};
    buf_add_c(&fields, "Connection: a");
    for (int i = 1; i < 128; i++)
        buf_add_c(&fields, ",a");
    buf_add_c(&fields, "\r\n");
    assert_int_equal(head_mark_hops(parse_request(buf_c(&fields)), true, &error), OK);
    buf_add_c(&fields, "Connection: a\r\n");
    assert_int_equal(head_mark_hops(parse_request(buf_c(&fields)), true, &error), ERR_HTTP_SYNTAX);
    assert_int_equal(head_mark_hops(parse_response(buf_c(&fields)), false, &error), ERR_UPSTREAM_PROTOCOL);
    buf_free(&fields);
}

/* Fields that are copied stand in the block; it ends with the last one's empty line. */
static void test_copy_stays_inside(void **state)
{
    static struct head h;
    struct error error;
    struct str text = STR("HTTP/1.1 200 OK\r\nA: b\r\nEmpty:\r\nC: d  \r\n\r\n");
    char *block = mem_alloc(text.n);
    struct buf out = {0};
    memcpy(block, text.p, text.n);
    assert_int_equal(head_parse_response(str_make(block, text.n), &limits, &h, &error), OK);
    head_copy_fields(&out, &h);
    CHECK_STR(buf_str(&out), "A: b\r\nEmpty:\r\nC: d  \r\n", "all");
    buf_clear(&out);
    h.fields[1].hop = true;
    head_copy_fields(&out, &h);
    CHECK_STR(buf_str(&out), "A: b\r\nC: d  \r\n", "without the middle");
    buf_free(&out);
    mem_free(block);
}

static void test_elements(void **state)
{
    struct head *h = parse_request("Connection: a, B ,,c\r\nX: y\r\nConnection: d\r\n");
    assert_true(head_has_element(h, FIELD_CONNECTION, STR("A")));
    assert_true(head_has_element(h, FIELD_CONNECTION, STR("b")));
    assert_true(head_has_element(h, FIELD_CONNECTION, STR("d")));
    assert_false(head_has_element(h, FIELD_CONNECTION, STR("y")));
    assert_false(head_has_element(h, FIELD_CONNECTION, STR("")));
    assert_false(head_has_element(h, FIELD_UPGRADE, STR("a")));
}

static const struct {
    const char *fields;
    bool in_1_1, in_1_0;
} keeps[] = {
    {"", true, false},
    {"Connection: x\r\n", true, false},
    {"Connection: close\r\n", false, false},
    {"Connection: x, Close\r\n", false, false},
    {"Connection: Keep-Alive\r\n", true, true},
    {"Connection: keep-alive\r\nConnection: close\r\n", false, false},
};

static void test_keeps_alive(void **state)
{
    for (size_t i = 0; i < COUNT_OF(keeps); i++) {
        struct head *h = parse_request(keeps[i].fields);
        assert_int_equal(head_keeps_alive(h), keeps[i].in_1_1);
        h->minor = 0;
        assert_int_equal(head_keeps_alive(h), keeps[i].in_1_0);
    }
}

static const struct {
    struct str name, value;
    const char *want; /* NULL: refused */
} adds[] = {
    {{"A", 1}, {"b", 1}, "A: b\r\n"},
    {{"A", 1}, {NULL, 0}, "A: \r\n"},
    {{"A", 1}, {"\tb \xff", 4}, "A: \tb \xff\r\n"},
    {{NULL, 0}, {"b", 1}, NULL},
    {{"A:", 2}, {"b", 1}, NULL},
    {{"A ", 2}, {"b", 1}, NULL},
    {{"A\r", 2}, {"b", 1}, NULL},
    {{"A", 1}, {"b\r\nC: d", 7}, NULL},
    {{"A", 1}, {"b\n", 2}, NULL},
    {{"A", 1}, {"b\r", 2}, NULL},
    {{"A", 1}, {"b\0", 2}, NULL},
    {{"A", 1}, {"b\x7f", 2}, NULL},
    {{"A", 1}, {"b\x1b", 2}, NULL},
};

static void test_add(void **state)
{
    for (size_t i = 0; i < COUNT_OF(adds); i++) {
        struct buf out = {0};
        head_add(&out, adds[i].name, adds[i].value);
        assert_int_equal(buf_err(&out), adds[i].want ? OK : ERR_SYNTAX);
        CHECK_STR(buf_str(&out), adds[i].want, "add");
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),     cmocka_unit_test(test_ids),
        cmocka_unit_test(test_hops),       cmocka_unit_test(test_hops_of_response),
        cmocka_unit_test(test_hops_limit), cmocka_unit_test(test_copy_stays_inside),
        cmocka_unit_test(test_elements),   cmocka_unit_test(test_keeps_alive),
        cmocka_unit_test(test_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
