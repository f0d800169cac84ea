/* Flows on a real loop: what is kept, in which order it goes out, and whose the scratch is. */
#include "http/flow.h"
#include "loop/test.h"

#include <pthread.h>

static uint32_t seed = 99;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* The byte at that place of the stream. */
static char at(size_t i)
{
    return (char)(i * 7 % 253);
}

static void fill_pattern(char *p, size_t n, size_t from)
{
    for (size_t i = 0; i < n; i++)
        p[i] = at(from + i);
}

static void scratch_is_given_back(struct task *t, void *argument)
{
    struct sock s = {0};
    struct inflow in = {.sock = &s};
    int peer = sock_pair(t, &s);
    assert_int_equal(inflow_fill_now(&in, SCRATCH_SIZE), ERR_AGAIN);
    assert_false(t->loop->scratch_lent);
    assert_int_equal(write(peer, "abcdef", 6), 6);
    assert_int_equal(inflow_fill(t, &in, SCRATCH_SIZE, task_deadline(t, 5000)), OK);
    assert_true(t->loop->scratch_lent && in.in_scratch);
    inflow_consume(&in, 2);
    assert_int_equal(inflow_settle(&in), OK); /* the rest is copied */
    assert_false(t->loop->scratch_lent);
    memset(t->loop->scratch, 'x', 100);
    assert_true(str_eq(str_make(in.p, in.n), STR("cdef")));
    assert_int_equal(write(peer, "gh", 2), 2);
    assert_int_equal(inflow_fill(t, &in, SCRATCH_SIZE, task_deadline(t, 5000)), OK);
    assert_true(str_eq(str_make(in.p, in.n), STR("cdefgh")));
    assert_false(in.in_scratch);
    inflow_consume(&in, 6);
    close(peer);
    assert_int_equal(inflow_fill(t, &in, SCRATCH_SIZE, task_deadline(t, 5000)), ERR_END);
    assert_true(in.ended);
    assert_false(t->loop->scratch_lent);
    inflow_free(&in);
    sock_close(&s);
}

static void *write_stream(void *argument)
{
    static char block[100000];
    int fd = *(int *)argument;
    size_t sent = 0;
    for (int i = 0; i < 300; i++) {
        size_t n = 1 + (size_t)(i * 7919) % sizeof block;
        fill_pattern(block, n, sent);
        if (write(fd, block, n) != (ssize_t)n)
            return NULL;
        sent += n;
    }
    shutdown(fd, SHUT_WR);
    return (void *)(uintptr_t)sent;
}

/* Read, used up and suspended at random: not a byte is lost, doubled or swapped. */
static void reading_at_random(struct task *t, void *argument)
{
    struct sock s = {0};
    struct inflow in = {.sock = &s};
    int peer = sock_pair(t, &s);
    pthread_t writer;
    void *total;
    size_t seen = 0;
    assert_int_equal(pthread_create(&writer, NULL, write_stream, &peer), 0);
    for (;;) {
        enum err err = OK;
        if (in.n < 60000)
            err = inflow_fill(t, &in, random_below(2) ? SCRATCH_SIZE : 1 + random_below(3000),
                              task_deadline(t, 20000));
        if (err == ERR_END)
            break;
        assert_int_equal(err, OK);
        size_t n = random_below(3) ? random_below((uint32_t)in.n + 1) : in.n;
        for (size_t i = 0; i < n; i++)
            if (in.p[i] != at(seen + i))
                fail_msg("byte %zu is wrong", seen + i);
        seen += n;
        inflow_consume(&in, n);
        if (random_below(4) == 0) {
            assert_int_equal(inflow_settle(&in), OK);
            assert_int_equal(task_yield(t), OK);
        }
    }
    seen += in.n;
    inflow_free(&in);
    assert_int_equal(pthread_join(writer, &total), 0);
    assert_int_equal(seen, (uintptr_t)total);
    sock_close(&s);
    close(peer);
}

static void *read_stream(void *argument)
{
    static char block[30000];
    int fd = *(int *)argument;
    size_t seen = 0;
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (block[i] != at(seen++))
                return NULL;
    return (void *)(uintptr_t)seen;
}

/* Parts of every size, sent on while earlier ones still wait. */
static void writing_at_random(struct task *t, void *argument)
{
    static char block[3][90000];
    struct sock s = {0};
    struct outflow out = {.sock = &s};
    int peer = sock_pair(t, &s);
    pthread_t reader;
    void *total;
    size_t sent = 0;
    assert_int_equal(pthread_create(&reader, NULL, read_stream, &peer), 0);
    for (int round = 0; round < 300; round++) {
        struct iovec parts[3];
        int count = 1 + (int)random_below(3);
        for (int i = 0; i < count; i++) {
            parts[i] =
                (struct iovec){block[i], random_below(2) ? random_below(100) : random_below(sizeof block[i])};
            fill_pattern(block[i], parts[i].iov_len, sent);
            sent += parts[i].iov_len;
        }
        assert_int_equal(outflow_sendv(&out, parts, count), OK);
        if (out.pending.n > 100000 || random_below(3) == 0)
            assert_int_equal(outflow_flush(t, &out, task_deadline(t, 20000)), OK);
    }
    assert_int_equal(outflow_flush(t, &out, task_deadline(t, 20000)), OK);
    assert_int_equal(out.sent, sent);
    sock_shutdown(&s);
    assert_int_equal(pthread_join(reader, &total), 0);
    assert_int_equal((uintptr_t)total, sent);
    outflow_free(&out);
    sock_close(&s);
    close(peer);
}

/* A reader that never reads: what waits for it is bounded, and an end comes. */
static void writing_to_nobody(struct task *t, void *argument)
{
    static char block[100000];
    struct sock s = {0};
    struct outflow out = {.sock = &s};
    int peer = sock_pair(t, &s);
    enum err err = OK;
    for (int i = 0; i < 1000 && err == OK; i++)
        err = outflow_send(&out, str_make(block, sizeof block));
    assert_int_equal(err, ERR_LIMIT);
    assert_true(out.pending.n <= FLOW_BUF_MAX);
    assert_int_equal(outflow_flush(t, &out, task_deadline(t, 10)), ERR_TIMEOUT);
    close(peer);
    assert_int_equal(outflow_flush(t, &out, task_deadline(t, 5000)), ERR_RESET);
    outflow_free(&out);
    sock_close(&s);
}

#define TASK_TEST(name)                                                                                      \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        run_task(name, NULL);                                                                                \
    }
TASK_TEST(scratch_is_given_back)
TASK_TEST(reading_at_random)
TASK_TEST(writing_at_random)
TASK_TEST(writing_to_nobody)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scratch_is_given_back),
        cmocka_unit_test(test_reading_at_random),
        cmocka_unit_test(test_writing_at_random),
        cmocka_unit_test(test_writing_to_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
