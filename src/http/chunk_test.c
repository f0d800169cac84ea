/* chunk.c: every rule as a row, each row whole, in two parts at every place, and byte by byte. */
#include "http/test.h"
#include "http/chunk.h"

#include "base/buf.h"
#include "base/mem.h"

struct row {
    const char *wire;
    size_t n;
    enum err want;
    const char *data;   /* without frames */
    const char *frames; /* with frames, without trailers */
    const char *all;    /* with both */
};

#define ROW(wire, data, frames, all)                                                                         \
    {                                                                                                        \
        wire, sizeof(wire) - 1, OK, data, frames, all                                                        \
    }
#define PLAIN(wire, data) ROW(wire, data, wire, wire)
#define BAD(wire)                                                                                            \
    {                                                                                                        \
        wire, sizeof(wire) - 1, ERR_SYNTAX, NULL, NULL, NULL                                                 \
    }
#define LONG(wire)                                                                                           \
    {                                                                                                        \
        wire, sizeof(wire) - 1, ERR_LIMIT, NULL, NULL, NULL                                                  \
    }
#define END "0\r\n\r\n"

static const struct row rows[] = {
    PLAIN(END, ""),
    PLAIN("5\r\nhello\r\n" END, "hello"),
    PLAIN("5\r\nhello\r\n6\r\n world\r\n" END, "hello world"),
    PLAIN("a\r\n0123456789\r\nB\r\n0123456789a\r\n" END, "01234567890123456789a"),
    PLAIN("0005\r\nhello\r\n000\r\n\r\n", "hello"),
    PLAIN("0000000000000005\r\nhello\r\n" END, "hello"),
    PLAIN("4\r\n\r\n\r\n\r\n" END, "\r\n\r\n"),
    PLAIN("5\r\n0\r\n\r\n\r\n" END, "0\r\n\r\n"),
    /* extensions */
    ROW("5;a\r\nhello\r\n" END, "hello", "5\r\nhello\r\n" END, "5\r\nhello\r\n" END),
    ROW("5;a=b;c=\"d; \xff\"\r\nhello\r\n0;x=\"\"\r\n\r\n", "hello", "5\r\nhello\r\n" END,
        "5\r\nhello\r\n" END),
    ROW("1;a\r\nx\r\n1\r\ny\r\n2;b=c\r\nzz\r\n" END, "xyzz", "1\r\nx\r\n1\r\ny\r\n2\r\nzz\r\n" END,
        "1\r\nx\r\n1\r\ny\r\n2\r\nzz\r\n" END),
    BAD("5;\r\nhello\r\n" END),
    BAD("5;;\r\nhello\r\n" END),
    BAD("5;=a\r\nhello\r\n" END),
    BAD("5;a=\r\nhello\r\n" END),
    BAD("5;a=;b\r\nhello\r\n" END),
    BAD("5;a=b=c\r\nhello\r\n" END),
    BAD("5;a=\"b\"c\r\nhello\r\n" END),
    BAD("5;a=b\"c\"\r\nhello\r\n" END),
    BAD("5;a=\"b\r\nhello\r\n" END),
    BAD("5;a=\"\\\"\"\r\nhello\r\n" END),
    BAD("5;a=\"\\\r\n\"\r\nhello\r\n" END),
    BAD("5 ;a\r\nhello\r\n" END),
    BAD("5; a\r\nhello\r\n" END),
    BAD("5;a\0\r\nhello\r\n" END),
    BAD("5;a\nhello\r\n" END),
    BAD("5;a\r;b\r\nhello\r\n" END),
    BAD("5;\x80\r\nhello\r\n" END),
    /* sizes */
    BAD("\r\nhello\r\n" END),
    BAD(";a\r\nhello\r\n" END),
    BAD(";a\r\n\r\n"),
    BAD("\r\n\r\n"),
    BAD(" 5\r\nhello\r\n" END),
    BAD("5 \r\nhello\r\n" END),
    BAD("5\t\r\nhello\r\n" END),
    BAD("+5\r\nhello\r\n" END),
    BAD("-5\r\nhello\r\n" END),
    BAD("0x5\r\nhello\r\n" END),
    BAD("5h\r\nhello\r\n" END),
    BAD("5_0\r\nhello\r\n" END),
    BAD("g\r\nhello\r\n" END),
    BAD("5\0\r\nhello\r\n" END),
    BAD("5,5\r\nhello\r\n" END),
    LONG("00000000000000005\r\nhello\r\n" END),
    LONG("10000000000000000\r\n"),
    LONG("8000000000000000\r\n"),
    LONG("ffffffffffffffff\r\n"),
    /* line ends */
    BAD("5\nhello\r\n" END),
    BAD("5\rhello\r\n" END),
    BAD("5\r\rhello\r\n" END),
    BAD("5\r\r\nhello\r\n" END),
    BAD("5\r\nhello\n" END),
    BAD("5\r\nhello\r" END),
    BAD("5\r\nhello" END),
    BAD("5\r\nhello!\r\n" END),
    BAD("5\r\nhell\r\n" END),
    BAD("5\r\nhello\r\n\r\n" END),
    BAD("0\n\n"),
    BAD("0\r\n\n"),
    BAD("0\n\r\n"),
    BAD("0\r\n\r\r\n"),
    /* trailers */
    ROW("0\r\nA: b\r\n\r\n", "", END, "0\r\nA: b\r\n\r\n"),
    ROW("0;x\r\nA:\r\nB:\tc\xff \r\n\r\n", "", END, "0\r\nA:\r\nB:\tc\xff \r\n\r\n"),
    ROW("1\r\nx\r\n0\r\nA: b\r\nA-Long-Name-That-Is-Longer-Than-Any: c\r\n\r\n", "x", "1\r\nx\r\n" END,
        "1\r\nx\r\n0\r\nA: b\r\nA-Long-Name-That-Is-Longer-Than-Any: c\r\n\r\n"),
    BAD("0\r\nA\r\n\r\n"),
    BAD("0\r\n: b\r\n\r\n"),
    BAD("0\r\nA : b\r\n\r\n"),
    BAD("0\r\n A: b\r\n\r\n"),
    BAD("0\r\nA: b\r\n c\r\n\r\n"),
    BAD("0\r\nA: b\n\r\n"),
    BAD("0\r\nA: b\rc\r\n\r\n"),
    BAD("0\r\nA: \0\r\n\r\n"),
    BAD("0\r\nA: \x7f\r\n\r\n"),
    BAD("0\r\nGET / HTTP/1.1\r\n\r\n"),
};

/* What came out of a stream that was fed in parts. */
struct result {
    enum err err;
    struct buf out;
    size_t used;
    bool done;
};

static struct result feed(struct chunked c, const char *wire, size_t n, size_t first, size_t step)
{
    struct result r = {0};
    struct error error = {0};
    for (size_t at = 0; at < n && !r.done && r.err == OK;) {
        size_t part = MIN(at ? step : first, n - at), used, kept;
        char *copy = mem_alloc(part);
        assert_non_null(copy);
        memcpy(copy, wire + at, part);
        r.err = chunk_filter(&c, copy, part, &used, &kept, &r.done, &error);
        assert_true(kept <= used && used <= part);
        assert_true(used == part || r.done || r.err != OK);
        buf_add(&r.out, copy, kept);
        r.used += used;
        at += part;
        mem_free(copy);
    }
    if (r.err != OK) { /* and stays broken */
        char more = '0';
        size_t used, kept;
        assert_true(error.why[0]);
        assert_int_not_equal(chunk_filter(&c, &more, 1, &used, &kept, &r.done, &error), OK);
    }
    return r;
}

static void check_feed(const struct row *row, struct chunked c, const char *want, size_t first, size_t step)
{
    struct result r = feed(c, row->wire, row->n, first, step);
    CHECK_ERR(r.err, row->want, row->wire);
    if (row->want == OK) {
        CHECK_STR(buf_str(&r.out), want, row->wire);
        assert_true(r.done);
        assert_int_equal(r.used, row->n);
    }
    buf_free(&r.out);
}

static void check_row(const struct row *row, struct chunked c, const char *want)
{
    for (size_t first = 1; first <= row->n; first++)
        check_feed(row, c, want, first, row->n);
    check_feed(row, c, want, 1, 1);
    check_feed(row, c, want, 3, 3);
}

static void test_rows(void **state)
{
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        check_row(row, (struct chunked){0}, row->data);
        check_row(row, (struct chunked){.keep_frames = true}, row->frames);
        check_row(row, (struct chunked){.keep_frames = true, .keep_trailers = true}, row->all);
        check_row(row, (struct chunked){.keep_trailers = true}, row->data);
    }
}

/* They must not turn into a header when somebody merges them. */
static void test_forbidden_trailers(void **state)
{
    static const char *const names[] = {"Content-Length", "TRANSFER-ENCODING", "host", "Trailer",
                                        "Connection"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct buf wire = {0};
        buf_addf(&wire, "0\r\n%s: a\r\n\r\n", names[i]);
        struct row row = {buf_c(&wire), wire.n, ERR_SYNTAX, NULL, NULL, NULL};
        check_row(&row, (struct chunked){.keep_frames = true, .keep_trailers = true}, NULL);
        check_row(&row, (struct chunked){0}, NULL);
        buf_free(&wire);
    }
}

static void repeat(struct buf *b, char c, size_t n)
{
    while (n--)
        buf_add_char(b, c);
}

static enum err feed_all(struct buf *wire)
{
    struct result r = feed((struct chunked){.keep_frames = true, .keep_trailers = true}, wire->p, wire->n,
                           wire->n, wire->n);
    assert_true(r.done == (r.err == OK));
    buf_free(&r.out);
    buf_free(wire);
    return r.err;
}

/* An extension of `each` bytes, ';' counted, on `count` chunks; trailers of `trailers` bytes. */
static enum err feed_limits(size_t each, int count, size_t trailers)
{
    struct buf wire = {0};
    for (int i = 0; i < count; i++) {
        buf_add_c(&wire, "1;");
        repeat(&wire, 'a', each - 1);
        buf_add_c(&wire, "\r\nx\r\n");
    }
    buf_add_c(&wire, "0\r\n");
    if (trailers) {
        buf_add_c(&wire, "A:");
        repeat(&wire, 'b', trailers - 4);
        buf_add_c(&wire, "\r\n");
    }
    buf_add_c(&wire, "\r\n");
    return feed_all(&wire);
}

static void test_limits(void **state)
{
    assert_int_equal(feed_limits(255, 1, 0), OK);
    assert_int_equal(feed_limits(256, 1, 0), OK);
    assert_int_equal(feed_limits(257, 1, 0), ERR_LIMIT);
    assert_int_equal(feed_limits(256, 64, 0), OK);
    assert_int_equal(feed_limits(256, 65, 0), ERR_LIMIT);
    assert_int_equal(feed_limits(2, 1, 8191), OK);
    assert_int_equal(feed_limits(2, 1, 8192), OK);
    assert_int_equal(feed_limits(2, 1, 8193), ERR_LIMIT);
}

static void test_stops_at_the_end(void **state)
{
    char wire[] = "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    struct chunked c = {0};
    struct error error;
    size_t used, kept;
    bool done;
    assert_int_equal(chunk_filter(&c, wire, sizeof wire - 1, &used, &kept, &done, &error), OK);
    assert_true(done);
    assert_int_equal(used, 11);
    assert_int_equal(kept, 1);
    assert_int_equal(c.data_bytes, 1);
    assert_int_equal(chunk_filter(&c, wire + used, 3, &used, &kept, &done, &error), OK);
    assert_true(done && used == 0 && kept == 0);
}

static void test_boundary(void **state)
{
    static const char wire[] = "2;a\r\nxy\r\n0\r\n\r\n";
    static const char after[] = "00000000100000"; /* byte i */
    struct chunked c = {.keep_frames = true};
    struct error error;
    size_t used, kept;
    bool done;
    assert_true(chunk_at_boundary(&c));
    for (size_t i = 0; i < sizeof wire - 1; i++) {
        char byte = wire[i];
        assert_int_equal(chunk_filter(&c, &byte, 1, &used, &kept, &done, &error), OK);
        assert_int_equal(chunk_at_boundary(&c), after[i] == '1');
    }
    assert_true(done);
}

static void test_head(void **state)
{
    static const struct {
        uint64_t size;
        const char *want;
    } heads[] = {{0, "0\r\n"},   {9, "9\r\n"},         {15, "f\r\n"},
                 {16, "10\r\n"}, {0x1a2b, "1a2b\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"}};
    char dst[20];
    for (size_t i = 0; i < COUNT_OF(heads); i++)
        CHECK_STR(str_make(dst, chunk_head(heads[i].size, dst)), heads[i].want, "head");
}

/* Big data passes in spans, whatever the reads are. */
static void test_big(void **state)
{
    enum { SIZE = 300000 };
    struct buf wire = {0}, data = {0};
    for (int i = 0; i < 3; i++) {
        char head[20];
        buf_add(&wire, head, chunk_head(SIZE, head));
        for (int j = 0; j < SIZE; j++) {
            char c = (char)(i * 31 + j * 7 + j / 255);
            buf_add_char(&wire, c);
            buf_add_char(&data, c);
        }
        buf_add_c(&wire, "\r\n");
    }
    buf_add_c(&wire, END);
    static const size_t steps[] = {1000, 4096, 65536, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct result plain = feed((struct chunked){0}, wire.p, wire.n, steps[i], steps[i]);
        struct result framed =
            feed((struct chunked){.keep_frames = true}, wire.p, wire.n, steps[i], steps[i]);
        assert_true(plain.done && framed.done);
        assert_true(str_eq(buf_str(&plain.out), buf_str(&data)));
        assert_true(str_eq(buf_str(&framed.out), buf_str(&wire)));
        buf_free(&plain.out);
        buf_free(&framed.out);
    }
    buf_free(&wire);
    buf_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_forbidden_trailers),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_stops_at_the_end),
        cmocka_unit_test(test_boundary), cmocka_unit_test(test_head),
        cmocka_unit_test(test_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
