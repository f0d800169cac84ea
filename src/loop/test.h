/* What the unit tests of tasks share: cmocka, and a loop that runs one task to its end. */
#ifndef HESTIA_LOOP_TEST_H
#define HESTIA_LOOP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "loop/sock.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct test_run {
    task_fn *fn;
    void *argument;
};

static inline void test_run_main(struct task *t, void *argument)
{
    struct test_run *run = argument;
    run->fn(t, run->argument);
    loop_stop(t->loop);
}

/* Runs fn(t, argument) on a loop of its own; every task it started must have ended by then. */
static inline void run_task(task_fn *fn, void *argument)
{
    struct test_run run = {fn, argument};
    struct loop *l = loop_new();
    assert_non_null(l);
    assert_non_null(task_spawn(l, test_run_main, &run));
    loop_run(l);
    assert_int_equal(l->task_count, 0);
    assert_false(l->scratch_lent);
    loop_free(l);
}

/* A connected pair: `s` is a sock of the task's loop, attached to it; the other end is returned, and blocks.
 */
static inline int sock_pair(struct task *t, struct sock *s)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(sock_open(s, t->loop, fds[0]), OK);
    sock_attach(s, t);
    return fds[1];
}

/* A listening socket on loopback, and its address. */
static inline int listen_local(struct address *address)
{
    struct error error;
    int fd;
    assert_int_equal(listener_bind(STR("127.0.0.1:0"), false, &fd, address, &error), OK);
    return fd;
}

#endif
