/* The log writer against readers that are slow, gone or hung. Standard output is a pipe of the test. */
#include "loop/thread.h"

#include "base/log.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int terminal, pipe_read;

static int setup(void **state)
{
    int ends[2];
    fflush(stdout);
    terminal = dup(STDOUT_FILENO);
    if (pipe(ends) != 0)
        return -1;
    pipe_read = ends[0];
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
    return log_writer_start() == OK ? 0 : -1;
}

/* From here on readers of the pipe see its end. */
static void stdout_restore(void)
{
    if (terminal < 0)
        return;
    dup2(terminal, STDOUT_FILENO);
    close(terminal);
    terminal = -1;
}

static int teardown(void **state)
{
    stdout_restore();
    log_set_sink(NULL);
    close(pipe_read);
    return 0;
}

/* All lines until the end of the pipe, on a thread of their own. */
struct reader {
    pthread_t thread;
    struct buf text;
};

static void reader_main(void *argument)
{
    struct reader *r = argument;
    char bytes[65536];
    ssize_t n;
    while ((n = read(pipe_read, bytes, sizeof bytes)) > 0)
        buf_add(&r->text, bytes, (size_t)n);
}

static void reader_start(struct reader *r)
{
    r->text = BUF(64 << 20);
    assert_int_equal(thread_start(&r->thread, "reader", reader_main, r), OK);
}

static void reader_finish(struct reader *r)
{
    stdout_restore();
    pthread_join(r->thread, NULL);
    assert_int_equal(buf_err(&r->text), OK);
}

static size_t lines_count(struct str text, struct str having)
{
    size_t count = 0;
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        assert_true(line.n > 2 && line.p[0] == '{' && line.p[line.n - 1] == '}'); /* whole lines only */
        count += str_find_str(line, having) < line.n;
    }
    return count;
}

enum { THREADS = 4, LINES = 2000 };

static void talker_main(void *argument)
{
    for (int i = 0; i < LINES; i++)
        log_event(LOG_INFO, "test_line", "line %d", i);
}

static void lines_of_all_threads(void **state)
{
    struct reader r;
    pthread_t threads[THREADS];
    reader_start(&r);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "talker", talker_main, NULL), OK);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_writer_stop();
    reader_finish(&r);
    assert_int_equal(lines_count(buf_str(&r.text), STR("test_line")), THREADS * LINES);
    assert_int_equal(lines_count(buf_str(&r.text), STR("log_dropped")), 0);
    buf_free(&r.text);
}

/* The sum of what the reports say. */
static uint64_t lines_lost(struct str text)
{
    uint64_t sum = 0, value;
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        size_t at = str_find_str(line, STR("\"lines\":"));
        if (str_find_str(line, STR("log_dropped")) == line.n || at == line.n)
            continue;
        struct str number = str_from(line, at + 8);
        assert_true(num_parse_u64(str_first(number, str_find(number, '}')), &value));
        sum += value;
    }
    return sum;
}

enum { FLOOD = 60000 };

/* Nobody reads while three times the backlog is logged: it ends, and every line is there or counted. */
static void loss_is_counted(void **state)
{
    struct reader r;
    char filler[150];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    for (int i = 0; i < FLOOD; i++)
        log_event(LOG_INFO, "test_line", "%s", filler);
    reader_start(&r);
    log_writer_stop();
    reader_finish(&r);
    uint64_t arrived = lines_count(buf_str(&r.text), STR("test_line")), lost = lines_lost(buf_str(&r.text));
    assert_true(lost > 0);
    assert_int_equal(arrived + lost, FLOOD);
    assert_true(r.text.n > 4 << 20 && r.text.n < (4 << 20) + (256 << 10));
    buf_free(&r.text);
}

static void non_blocking_output(void **state)
{
    struct reader r;
    fcntl(STDOUT_FILENO, F_SETFL, O_WRONLY | O_NONBLOCK);
    talker_main(NULL); /* more than the pipe holds */
    reader_start(&r);
    log_writer_stop();
    reader_finish(&r);
    assert_int_equal(lines_count(buf_str(&r.text), STR("test_line")), LINES);
    buf_free(&r.text);
}

/* Its SIGPIPE would end the test. */
static void reader_gone(void **state)
{
    close(pipe_read);
    talker_main(NULL);
    log_writer_stop();
    pipe_read = -1;
}

/* Comes last: the writer's thread is left behind in its write(), until the pipe is read after all. */
static void reader_hung(void **state)
{
    char bytes[65536];
    size_t lines = 0;
    talker_main(NULL);
    uint64_t before = clock_now();
    log_writer_stop();
    uint64_t waited = clock_now() - before;
    assert_true(waited >= 1900 * CLOCK_MS && waited < 15 * CLOCK_S);
    talker_main(NULL); /* neither hangs nor is heard */
    while (lines < LINES) {
        ssize_t n = read(pipe_read, bytes, sizeof bytes);
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            lines += bytes[i] == '\n';
    }
    struct pollfd p = {.fd = pipe_read, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(lines, LINES);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_of_all_threads), TEST(loss_is_counted), TEST(non_blocking_output),
        TEST(reader_gone),          TEST(reader_hung),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
