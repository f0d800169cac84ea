/* What systemd would hear, and that a worker whose loop does not turn silences the watchdog. */
#include "main/notify.h"

#include "base/mem.h"
#include "loop/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

/* An abstract socket that stands in for systemd's. */
static int manager_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int n = snprintf(name, sizeof name, "@hestia-notify-test-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)n - 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

/* The next datagram, "" when there is none. */
static const char *heard(int fd)
{
    static char text[256];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    text[MAX(n, 0)] = '\0';
    return text;
}

static int count_heard(int fd, const char *wanted)
{
    int count = 0;
    for (const char *text; *(text = heard(fd));)
        count += strcmp(text, wanted) == 0;
    return count;
}

struct end {
    struct timer timer;
    struct loop *loop;
};

static void end_due(struct timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct end, timer)->loop);
}

/* Timers run in the order of their times, so all that was due before the end has happened. */
static void turn(struct loop *l, uint64_t ms)
{
    struct end end = {.timer.on_due = end_due, .loop = l};
    timer_set(l, &end.timer, clock_after(clock_now(), ms));
    loop_run(l);
    timer_remove(l, &end.timer);
}

static void tells_what_happens(void **state)
{
    int fd = manager_open();
    unsigned long long us = 0;
    notify_open();
    assert_null(getenv("NOTIFY_SOCKET"));
    notify_ready(NULL, NULL, 0); /* no watchdog is wanted: nothing else is needed */
    assert_string_equal(heard(fd), "READY=1");
    notify_reloading();
    assert_int_equal(sscanf(heard(fd), "RELOADING=1\nMONOTONIC_USEC=%llu", &us), 1);
    assert_true(us > 0);
    notify_reloaded();
    assert_string_equal(heard(fd), "READY=1");
    notify_stopping();
    assert_string_equal(heard(fd), "STOPPING=1");
    notify_close();
    notify_stopping();
    assert_string_equal(heard(fd), "");
    close(fd);
}

static void watchdog_needs_every_worker(void **state)
{
    struct worker first = {.loop = loop_new()}, second = {.loop = loop_new()};
    struct worker *workers[] = {&first, &second};
    struct loop *control = loop_new();
    int fd = manager_open();
    setenv("WATCHDOG_USEC", "20000", 1); /* a beat each 5 ms */
    notify_open();
    assert_null(getenv("WATCHDOG_USEC"));
    notify_ready(control, workers, COUNT_OF(workers));
    assert_string_equal(heard(fd), "READY=1");
    turn(control, 50); /* the first beat goes out, and nobody takes its heartbeat */
    assert_int_equal(count_heard(fd, "WATCHDOG=1"), 1);
    turn(first.loop, 0);
    turn(control, 50); /* one of two is not enough */
    assert_int_equal(count_heard(fd, "WATCHDOG=1"), 0);
    turn(first.loop, 0);
    turn(second.loop, 0);
    turn(control, 50);
    assert_int_equal(count_heard(fd, "WATCHDOG=1"), 1);
    notify_close();
    loop_free(control);
    loop_free(first.loop);
    loop_free(second.loop);
    close(fd);
}

static void other_process_is_meant(void **state)
{
    struct loop *control = loop_new();
    int fd = manager_open();
    setenv("WATCHDOG_USEC", "4000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    notify_open();
    notify_ready(control, NULL, 0);
    turn(control, 20);
    assert_string_equal(heard(fd), "READY=1");
    assert_string_equal(heard(fd), "");
    notify_close();
    loop_free(control);
    close(fd);
}

static void nobody_listens(void **state)
{
    static const char *const wrong[] = {NULL, "", "/", "relative", "/nowhere/at/all"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        if (wrong[i])
            setenv("NOTIFY_SOCKET", wrong[i], 1);
        notify_open();
        notify_ready(NULL, NULL, 0);
        notify_stopping();
        notify_close();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_happens),
        cmocka_unit_test(watchdog_needs_every_worker),
        cmocka_unit_test(other_process_is_meant),
        cmocka_unit_test(nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
