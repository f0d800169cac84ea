/* events.c: each stream whole, at every split into two and into three, and byte by byte. */
#include "llm/test.h"
#include "llm/usage.h"

#define CHUNK "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}"
#define USAGE "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}"

static const struct row {
    const char *text, *want; /* want: NULL = the same */
    bool drop, event, done, error, usage;
} rows[] = {
    {CHUNK "\n\n" USAGE "\n\ndata: [DONE]\n\n", CHUNK "\n\ndata: [DONE]\n\n", .drop = true, .event = true,
     .done = true, .usage = true},
    {CHUNK "\n\n" USAGE "\n\ndata: [DONE]\n\n", NULL, .event = true, .done = true, .usage = true},
    {CHUNK "\r\n\r\n" USAGE "\r\n\r\ndata: [DONE]\r\n\r\n", CHUNK "\r\n\r\ndata: [DONE]\r\n\r\n",
     .drop = true, .event = true, .done = true, .usage = true},
    {CHUNK "\r\r" USAGE "\r\rdata: [DONE]\r\r", CHUNK "\r\rdata: [DONE]\r\r", .drop = true, .event = true,
     .done = true, .usage = true},
    {CHUNK "\n\r\n" USAGE "\r\n\ndata: [DONE]\r\r\n", CHUNK "\n\r\ndata: [DONE]\r\r\n", .drop = true,
     .event = true, .done = true, .usage = true},
    /* usage beside choices, choices without usage: both stay */
    {"data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n", NULL,
     .drop = true, .event = true, .usage = true},
    {"data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n", NULL, .drop = true, .event = true},
    {"data: {\"choices\":[],\"usage\":null}\n\n", NULL, .drop = true, .event = true},
    {"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n", NULL, .drop = true, .event = true,
     .usage = true},
    /* several in a row; the last one counts */
    {"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9}}\n\n" USAGE "\n\n", "", .drop = true,
     .usage = true},
    /* other fields of an event, order, data over several lines, no space, without a colon */
    {"event: x\nid: 7\n" USAGE "\nretry: 1\n\n" CHUNK "\n\n", CHUNK "\n\n", .drop = true, .event = true,
     .usage = true},
    {"data:{\"choices\":[],\ndata:\"usage\":{\"prompt_tokens\":1,\ndata:\"completion_tokens\":2}}\n\n", "",
     .drop = true, .usage = true},
    {"data\n\n", NULL, .event = true},
    {"data:\n\n", NULL, .event = true},
    {"data: not json\n\n", NULL, .drop = true, .event = true},
    {"datax: [DONE]\n\n", NULL},
    {" data: [DONE]\n\n", NULL},
    {"data: [DONE] \n\n", NULL, .event = true, .done = true},
    {"data:[DONE]\n\n", NULL, .event = true, .done = true},
    {"data: x\ndata: [DONE]\n\n", NULL, .event = true},
    {"data: x\r\rdata: [DONE]\n\n", NULL, .event = true, .done = true},
    {"data: \rdata: {\"error\":{}}\n\n", NULL, .event = true, .error = true},
    {"data: \"[DONE]\"\n\n", NULL, .event = true},
    {"\xef\xbb\xbf" USAGE "\n\n", "", .drop = true, .usage = true},
    /* comments are no events */
    {": waiting\n\n", NULL},
    {": waiting\n\n: waiting\n\n" CHUNK "\n\n", NULL, .event = true},
    {":\n\n\n\n\n", NULL},
    {"\r\n\r\r\n\n\r", NULL},
    {"event: ping\n\n", NULL},
    /* errors */
    {"data: {\"error\":{\"message\":\"x\"}}\n\n", NULL, .event = true, .error = true},
    {"event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"x\"}}\n\n", NULL, .event = true,
     .error = true},
    {"data: {\"error\":null,\"choices\":[{}]}\n\n", NULL, .event = true},
    {"data: {\"error\":{\"mess\n\n", NULL, .event = true},
    /* without the empty line at the end */
    {CHUNK "\n\n" USAGE "\n", CHUNK "\n\n", .drop = true, .event = true, .usage = true},
    {CHUNK "\n\n" USAGE, CHUNK "\n\n", .drop = true, .event = true, .usage = true},
    {CHUNK "\n\ndata: [DONE]", NULL, .event = true, .done = true},
    {"data: {\"choices\":[],\"usage\":{\"prompt_to", NULL, .drop = true, .event = true},
    {"", NULL},
};

static void feed(struct event_filter *f, struct str bytes, struct buf *out)
{
    char *copy = exact_copy(bytes);
    assert_int_equal(event_filter_feed(f, str_make(copy, bytes.n), out), OK);
    mem_free(copy);
}

static void check_end(struct event_filter *f, struct buf *out, const struct row *row)
{
    assert_int_equal(event_filter_end(f, out), OK);
    CHECK_STR(buf_str(out), row->want ? row->want : row->text, row->text);
    CHECK_INT(f->saw_event, row->event, row->text);
    CHECK_INT(f->saw_done, row->done, row->text);
    CHECK_INT(f->saw_error, row->error, row->text);
    CHECK_INT(f->usage.known, row->usage, row->text);
    if (row->usage) {
        CHECK_INT(f->usage.prompt_tokens, 1, row->text);
        CHECK_INT(f->usage.completion_tokens, 2, row->text);
    }
    event_filter_free(f);
    buf_clear(out);
}

static void test_splits(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLEANUP(buf_free) struct buf out = BUF(0);
        struct str text = str_from_c(rows[i].text);
        for (size_t a = 0; a <= text.n; a++)
            for (size_t b = a; b <= text.n; b++) {
                struct event_filter f = {.drop_usage = rows[i].drop};
                feed(&f, str_first(text, a), &out);
                feed(&f, str_make(text.p + a, b - a), &out);
                feed(&f, str_from(text, b), &out);
                check_end(&f, &out, &rows[i]);
            }
        struct event_filter f = {.drop_usage = rows[i].drop};
        for (size_t at = 0; at < text.n; at++)
            feed(&f, str_make(text.p + at, 1), &out);
        check_end(&f, &out, &rows[i]);
    }
}

/* An event leaves with the byte that ends it, not later. */
static void test_promptness(void **state)
{
    static const char *const ends[] = {"\n\n", "\r\n\r", "\r\r", "\n\r"};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        CLEANUP(buf_free) struct buf out = BUF(0);
        CLEANUP(event_filter_free) struct event_filter f = {0};
        struct str end = str_from_c(ends[i]);
        feed(&f, STR(CHUNK), &out);
        feed(&f, str_first(end, end.n - 1), &out);
        assert_int_equal(out.n, 0);
        feed(&f, str_from(end, end.n - 1), &out);
        assert_int_equal(out.n, strlen(CHUNK) + end.n);
        assert_int_equal(f.pending.n, 0);
    }
}

/* The limit: whole and in pieces; and a stream of many events has none. */
static void test_limit(void **state)
{
    enum { PIECE = 1000 };
    char piece[PIECE];
    memset(piece, 'x', sizeof piece);
    memcpy(piece, "data:", 5);
    for (int extra = 0; extra <= 1; extra++) {
        CLEANUP(buf_free) struct buf out = BUF((size_t)4 << 20), whole = BUF((size_t)4 << 20);
        CLEANUP(event_filter_free) struct event_filter f = {0}, g = {0};
        size_t left = (size_t)EVENT_MAX + (size_t)extra - 2;
        enum err err = OK;
        while (left && err == OK) {
            size_t n = MIN(left, (size_t)PIECE);
            err = event_filter_feed(&f, str_make(piece, n), &out);
            buf_add(&whole, piece, n);
            left -= n;
        }
        buf_add_c(&whole, "\n\n");
        if (err == OK)
            err = event_filter_feed(&f, STR("\n\n"), &out);
        assert_int_equal(err, extra ? ERR_LIMIT : OK);
        assert_int_equal(event_filter_feed(&g, buf_str(&whole), &out), extra ? ERR_LIMIT : OK);
    }
    CLEANUP(buf_free) struct buf out = BUF((size_t)4 << 20);
    CLEANUP(event_filter_free) struct event_filter f = {0};
    for (int i = 0; i < 40000; i++)
        feed(&f, STR(CHUNK "\n\n"), &out);
    assert_int_equal(out.n, 40000 * strlen(CHUNK "\n\n"));
}

/* What is read out of an event does not depend on where in it that stands. */
static void test_any_place(void **state)
{
    static const char *const parts[] = {"\"usage\":{\"prompt_tokens\":7}", "\"error\":{}", "\"usage\":null",
                                        "\"usages\":{}", "\"errors\":{}"};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        for (int before = 0; before < 100; before++)
            for (int after = 0; after < 100; after++) {
                CLEANUP(buf_free) struct buf text = BUF(0), out = BUF(0);
                CLEANUP(event_filter_free) struct event_filter f = {.drop_usage = true};
                buf_addf(&text, "data: {\"choices\":[],\"%0*d\":0,%s,\"%0*d\":0}\n\n", before, 0, parts[i],
                         after, 0);
                feed(&f, buf_str(&text), &out);
                assert_int_equal(f.usage.prompt_tokens, i == 0 ? 7 : 0);
                assert_int_equal(f.saw_error, i == 1);
                assert_int_equal(f.content_events, i > 1);
                assert_int_equal(out.n, i == 0 ? 0 : text.n);
            }
}

static void test_content_events(void **state)
{
    static const struct {
        const char *text;
        uint64_t count;
    } streams[] = {
        {"", 0},
        {CHUNK "\n\n" CHUNK "\n\n" USAGE "\n\ndata: [DONE]\n\n", 2},
        {CHUNK "\r\n\r\n" CHUNK "\r\rdata: [DONE]\r\n\r\n", 2},
        {": waiting\n\nevent: ping\n\n" CHUNK "\n\n", 1},
        {CHUNK "\n\ndata: {\"error\":{\"message\":\"x\"}}\n\n", 1},
        {"data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n", 1},
        {"data: {\"choices\":[]}\n\n", 1},
        {"data: {\"error\":null,\"choices\":[{}]}\n\n", 1},
        {CHUNK, 1},
        {"data: [DONE]", 0},
        {"data: not json\n\n", 1},
    };
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        for (int drop = 0; drop <= 1; drop++) {
            CLEANUP(buf_free) struct buf out = BUF(0);
            CLEANUP(event_filter_free) struct event_filter f = {.drop_usage = drop};
            feed(&f, str_from_c(streams[i].text), &out);
            assert_int_equal(event_filter_end(&f, &out), OK);
            CHECK_INT(f.content_events, streams[i].count, streams[i].text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits),    cmocka_unit_test(test_promptness),     cmocka_unit_test(test_limit),
        cmocka_unit_test(test_any_place), cmocka_unit_test(test_content_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
