/* The ring of a service's last output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "service/log_ring.h"

static char seen[4096];

static void on_line(void *argument, struct str line)
{
    size_t n = strlen(seen);
    REQUIRE(n + line.n + 2 < sizeof seen);
    memcpy(seen + n, line.p, line.n);
    memcpy(seen + n + line.n, "|", 2);
}

static void add(struct log_ring *r, const char *text)
{
    log_ring_add(r, str_from_c(text), 7, on_line, NULL);
}

static int setup(void **state)
{
    seen[0] = '\0';
    *state = log_ring_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    log_ring_unref(*state);
    return 0;
}

static void test_lines_in_any_split(void **state)
{
    struct log_ring *r = *state;
    add(r, "on");
    add(r, "e\ntw");
    add(r, "o\r");
    add(r, "\nthree\n\nfive");
    assert_string_equal(seen, "one|two|three||");
    log_ring_end_line(r, 8, on_line, NULL);
    log_ring_end_line(r, 8, on_line, NULL);
    assert_string_equal(seen, "one|two|three||five|");
    assert_int_equal(r->line_count, 5);
    assert_int_equal(log_ring_line_at(r, 1).offset, 4);
    assert_int_equal(log_ring_line_at(r, 0).wall_us, 7);
    assert_int_equal(log_ring_line_at(r, 4).wall_us, 8);
    assert_int_equal(r->end, 4 + 4 + 6 + 1 + 5);
}

static void test_progress_bars_and_nuls(void **state)
{
    struct log_ring *r = *state;
    add(r, "\r10%\r20%\r\n");
    log_ring_add(r, str_make("a\0b\n", 4), 1, on_line, NULL);
    assert_string_equal(seen, "10%|20%|ab|");
}

static void test_long_lines_are_cut(void **state)
{
    struct log_ring *r = *state;
    char text[LOG_LINE_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\n';
    log_ring_add(r, str_make(text, sizeof text), 1, NULL, NULL);
    assert_int_equal(r->line_count, 2);
    assert_int_equal(log_ring_line_at(r, 0).n, LOG_LINE_MAX);
    assert_int_equal(log_ring_line_at(r, 1).n, 1);
}

static void test_old_lines_go(void **state)
{
    struct log_ring *r = *state;
    struct arena arena = {0};
    char line[1001];
    for (int i = 0; i < 1000; i++) {
        memset(line, 'a' + i % 26, 1000);
        line[1000] = '\n';
        log_ring_add(r, str_make(line, 1001), i, NULL, NULL);
    }
    assert_int_equal(r->end, 1001000);
    assert_int_equal(r->line_count, LOG_RING_BYTES / 1001);
    for (size_t i = 0; i < r->line_count; i++) {
        struct log_ring_line one = log_ring_line_at(r, i);
        struct str text = log_ring_text(r, &one, &arena);
        assert_int_equal(one.offset % 1001, 0);
        assert_int_equal(one.wall_us, (int64_t)(one.offset / 1001));
        assert_int_equal(text.n, 1000);
        assert_int_equal(text.p[0], 'a' + one.wall_us % 26);
        assert_int_equal(text.p[999], 'a' + one.wall_us % 26);
    }
    arena_free(&arena);
}

static void test_many_short_lines(void **state)
{
    struct log_ring *r = *state;
    for (int i = 0; i < LOG_RING_LINES * 2; i++)
        log_ring_add(r, STR("\n"), i, NULL, NULL);
    assert_int_equal(r->line_count, LOG_RING_LINES);
    assert_int_equal(log_ring_line_at(r, 0).offset, LOG_RING_LINES);
}

static void test_find(void **state)
{
    struct log_ring *r = *state;
    assert_int_equal(log_ring_find(r, 0), 0);
    add(r, "aa\nbb\ncc\n");
    assert_int_equal(log_ring_find(r, 0), 0);
    assert_int_equal(log_ring_find(r, 1), 1);
    assert_int_equal(log_ring_find(r, 3), 1);
    assert_int_equal(log_ring_find(r, 6), 2);
    assert_int_equal(log_ring_find(r, 7), 3);
}

static void tail_is(struct log_ring *r, uint64_t from, size_t lines, size_t bytes, const char *want)
{
    struct buf out = BUF(4096);
    log_ring_tail(r, from, lines, bytes, &out);
    assert_string_equal(buf_c(&out), want);
    buf_free(&out);
}

static void test_tail(void **state)
{
    struct log_ring *r = *state;
    tail_is(r, 0, 5, 100, "");
    add(r, "aa\nbb\n\x1b[1mcc\n");
    tail_is(r, 0, 2, 100, "\nbb\n?[1mcc");
    tail_is(r, 0, 9, 100, "\naa\nbb\n?[1mcc");
    tail_is(r, 6, 9, 100, "\n?[1mcc");
    tail_is(r, 0, 9, 8, "\n?[1mcc");
    tail_is(r, 0, 9, 3, "\n?[1"); /* not even the last one fits */
    tail_is(r, r->end, 9, 100, "");
}

#define RING(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RING(test_lines_in_any_split),
        RING(test_progress_bars_and_nuls),
        RING(test_long_lines_are_cut),
        RING(test_old_lines_go),
        RING(test_many_short_lines),
        RING(test_find),
        RING(test_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
