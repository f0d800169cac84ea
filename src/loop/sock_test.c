/* Sockets on a real loop: the sticky flags, ends and resets, connecting, sending more than fits. */
#include "loop/test.h"

#include <pthread.h>

static char bytes[4096];

static void flags(struct task *t, void *argument)
{
    struct sock s = {0};
    int peer = sock_pair(t, &s);
    size_t n;
    assert_int_equal(sock_recv_now(&s, bytes, sizeof bytes, &n), ERR_AGAIN);
    assert_false(s.readable);
    assert_int_equal(write(peer, "hello world", 11), 11);
    assert_int_equal(task_park(t, task_deadline(t, 5000)), OK);
    assert_true(s.readable);
    assert_int_equal(sock_recv_now(&s, bytes, 5, &n), OK); /* as much as asked for: there may be more */
    assert_int_equal(n, 5);
    assert_true(s.readable);
    assert_int_equal(sock_recv_now(&s, bytes, sizeof bytes, &n), OK); /* less: that was all */
    assert_int_equal(n, 6);
    assert_false(s.readable);
    assert_int_equal(write(peer, "x", 1), 1);
    assert_int_equal(sock_recv(t, &s, bytes, sizeof bytes, &n, task_deadline(t, 5000)), OK);
    assert_int_equal(sock_recv(t, &s, bytes, sizeof bytes, &n, task_deadline(t, 5)), ERR_TIMEOUT);
    sock_close(&s);
    assert_false(sock_is_open(&s));
    sock_close(&s); /* harmless twice */
    assert_int_equal(read(peer, bytes, 1), 0);
    close(peer);
}

/* Bytes that came before the end are read before the end is told. */
static void half_close(struct task *t, void *argument)
{
    struct sock s = {0};
    int peer = sock_pair(t, &s);
    size_t n;
    assert_int_equal(sock_recv_now(&s, bytes, sizeof bytes, &n), ERR_AGAIN);
    assert_int_equal(write(peer, "last", 4), 4);
    shutdown(peer, SHUT_WR);
    assert_int_equal(task_park(t, task_deadline(t, 5000)), OK);
    assert_true(s.peer_closed);
    assert_false(s.broken);
    assert_int_equal(sock_recv_now(&s, bytes, sizeof bytes, &n), OK);
    assert_int_equal(n, 4);
    assert_true(s.readable); /* no event will come: the end is still to be read */
    assert_int_equal(sock_recv_now(&s, bytes, sizeof bytes, &n), ERR_END);
    assert_int_equal(sock_send_all(t, &s, "answer", 6, task_deadline(t, 5000)), OK);
    assert_int_equal(read(peer, bytes, sizeof bytes), 6);
    close(peer);
    while (!s.broken)
        assert_int_equal(task_park(t, task_deadline(t, 5000)), OK);
    struct iovec part = {bytes, 1};
    assert_int_equal(sock_sendv_now(&s, &part, 1, &n), ERR_RESET);
    sock_close(&s);
}

static void reset(struct task *t, void *argument)
{
    struct address address;
    struct sock s = {0}, other = {0};
    int listener = listen_local(&address), on = 1;
    assert_int_equal(sock_connect(t, &s, &address, task_deadline(t, 5000)), OK);
    assert_int_equal(sock_send_all(t, &s, "GET", 3, task_deadline(t, 5000)), OK);
    int fd = -1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
        assert_int_equal(task_sleep(t, 1), OK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    assert_int_equal(sock_open(&other, t->loop, fd), OK);
    sock_reset(&other);
    size_t n;
    assert_int_equal(sock_recv(t, &s, bytes, sizeof bytes, &n, task_deadline(t, 5000)), ERR_RESET);
    sock_close(&s);
    close(listener);
    assert_int_equal(sock_connect(t, &s, &address, task_deadline(t, 5000)), ERR_REFUSED);
    assert_false(sock_is_open(&s));
}

static void connect_errors(struct task *t, void *argument)
{
    struct address address;
    struct sock s = {0};
    assert_true(address_parse(STR("unix:/nowhere/at/all"), &address));
    assert_int_equal(sock_connect(t, &s, &address, task_deadline(t, 5000)), ERR_NO_SOCKET);
    assert_true(address_parse(STR("127.0.0.1:1"), &address));
    assert_int_equal(sock_connect(t, &s, &address, task_deadline(t, 5000)), ERR_REFUSED);
}

enum { MUCH = 5 << 20 };

static void *read_slowly(void *argument)
{
    int fd = *(int *)argument;
    static unsigned char block[10000];
    size_t total = 0;
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (block[i] != (unsigned char)((total + (size_t)i) % 251))
                return NULL;
        total += (size_t)n;
    }
    return (void *)(uintptr_t)total;
}

static void send_much(struct task *t, void *argument)
{
    struct sock s = {0};
    int peer = sock_pair(t, &s);
    pthread_t reader;
    void *total;
    char *much = malloc(MUCH);
    for (size_t i = 0; i < MUCH; i++)
        much[i] = (char)(i % 251);
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, &peer), 0);
    assert_int_equal(sock_send_all(t, &s, much, MUCH, task_deadline(t, 30000)), OK);
    sock_shutdown(&s);
    pthread_join(reader, &total);
    assert_int_equal((uintptr_t)total, MUCH);
    free(much);
    sock_close(&s);
    close(peer);
}

static void send_to_nobody(struct task *t, void *argument)
{
    struct sock s = {0};
    int peer = sock_pair(t, &s);
    char *much = calloc(1, MUCH);
    assert_int_equal(sock_send_all(t, &s, much, MUCH, task_deadline(t, 20)), ERR_TIMEOUT);
    close(peer);
    assert_int_equal(sock_send_all(t, &s, much, MUCH, task_deadline(t, 5000)), ERR_RESET);
    free(much);
    sock_close(&s);
}

static int events_seen;

static void count_event(struct sock *s)
{
    events_seen++;
}

/* Without a task its events go to on_event; those of a socket that is closed in the same turn go nowhere. */
static void events_without_a_task(struct task *t, void *argument)
{
    struct sock a = {.on_event = count_event}, b = {.on_event = count_event};
    int peer_a = sock_pair(t, &a), peer_b = sock_pair(t, &b);
    sock_attach(&a, NULL);
    sock_attach(&b, NULL);
    events_seen = 0;
    assert_int_equal(write(peer_a, "x", 1), 1);
    while (!events_seen)
        assert_int_equal(task_sleep(t, 1), OK);
    int seen = events_seen;
    assert_int_equal(write(peer_b, "x", 1), 1);
    sock_close(&b);
    assert_int_equal(task_sleep(t, 5), OK);
    assert_int_equal(events_seen, seen);
    sock_close(&a);
    close(peer_a);
    close(peer_b);
}

#define TASK_TEST(name)                                                                                      \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        run_task(name, NULL);                                                                                \
    }
TASK_TEST(flags)
TASK_TEST(half_close)
TASK_TEST(reset)
TASK_TEST(connect_errors)
TASK_TEST(send_much)
TASK_TEST(send_to_nobody)
TASK_TEST(events_without_a_task)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_connect_errors),
        cmocka_unit_test(test_send_much),
        cmocka_unit_test(test_send_to_nobody),
        cmocka_unit_test(test_events_without_a_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
