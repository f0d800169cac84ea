/* The pool: newest first, and nothing in it that could answer wrongly. */
#include "http/client.h"
#include "loop/test.h"

#include <netinet/in.h>

struct place {
    int listener;
    const struct origin *origin;
    struct pool *pool;
};

static void place_open(struct task *t, struct place *p)
{
    struct address address;
    struct error error;
    char text[160], host[64];
    p->listener = listen_local(&address);
    struct str where = address_format(&address, true, text, sizeof text);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address.storage;
    struct url url = {.host = address_format(&address, false, host, sizeof host),
                      .host_field = where,
                      .origin = where,
                      .port = ntohs(v4->sin_port)};
    p->origin = origin_intern(&url, NULL, &error);
    assert_non_null(p->origin);
    p->pool = pool_new(t->loop);
    assert_non_null(p->pool);
}

static void place_close(struct place *p)
{
    pool_free(p->pool);
    close(p->listener);
}

static struct upstream *get(struct task *t, struct place *p)
{
    struct upstream *u;
    struct error error;
    assert_int_equal(upstream_acquire(t, p->pool, p->origin, false, task_deadline(t, 5000), &u, &error), OK);
    return u;
}

/* The other end of the connection made last. */
static int accept_wait(struct task *t, struct place *p)
{
    int fd;
    while ((fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        assert_int_equal(task_sleep(t, 1), OK);
    return fd;
}

/* Reads until nothing is there: only such a connection is given back. */
static void read_all(struct upstream *u)
{
    assert_int_equal(inflow_fill_now(&u->in, SCRATCH_SIZE), ERR_AGAIN);
}

/* A listener that waits for the first bytes sees the connection with them. */
static struct upstream *get_used(struct task *t, struct place *p, int *peer)
{
    struct upstream *u = get(t, p);
    assert_int_equal(sock_send_all(t, &u->sock, "x", 1, task_deadline(t, 5000)), OK);
    *peer = accept_wait(t, p);
    read_all(u);
    return u;
}

static void newest_first(struct task *t, void *argument)
{
    struct place p;
    int peers[3];
    struct upstream *u[3];
    place_open(t, &p);
    for (int i = 0; i < 3; i++)
        u[i] = get_used(t, &p, &peers[i]);
    assert_null(upstream_take(t, p.pool, p.origin));
    for (int i = 0; i < 3; i++)
        upstream_release(u[i], true);
    for (int i = 2; i >= 0; i--) {
        assert_true(upstream_take(t, p.pool, p.origin) == u[i]);
        assert_true(u[i]->reused && u[i]->requests == 1);
    }
    assert_null(upstream_take(t, p.pool, p.origin));
    for (int i = 0; i < 3; i++) {
        upstream_release(u[i], i == 1);
        close(peers[i]);
    }
    place_close(&p);
}

/* A peer that closes, or says something unasked, empties its place in the pool. */
static void stale_connections_go(struct task *t, void *argument)
{
    for (int say_something = 0; say_something < 2; say_something++) {
        struct place p;
        int peer;
        place_open(t, &p);
        upstream_release(get_used(t, &p, &peer), true);
        if (say_something)
            assert_int_equal(write(peer, "HTTP/1.1 200 OK\r\n", 17), 17);
        else
            shutdown(peer, SHUT_WR);
        assert_int_equal(task_sleep(t, 10), OK);
        assert_null(upstream_take(t, p.pool, p.origin));
        close(peer);
        place_close(&p);
    }
}

/* Whatever is left over on either side, or not known to be over, is not for the next request. */
static void only_clean_ones_come_back(struct task *t, void *argument)
{
    struct place p;
    int peer;
    place_open(t, &p);
    struct upstream *u = get_used(t, &p, &peer);
    assert_int_equal(write(peer, "more", 4), 4);
    assert_int_equal(inflow_fill(t, &u->in, SCRATCH_SIZE, task_deadline(t, 5000)), OK);
    upstream_release(u, true); /* with unread bytes, in the scratch */
    assert_false(t->loop->scratch_lent);
    assert_null(upstream_take(t, p.pool, p.origin));
    close(peer);

    u = get_used(t, &p, &peer);
    buf_add_c(&u->out.pending, "unsent");
    upstream_release(u, true);
    assert_null(upstream_take(t, p.pool, p.origin));
    close(peer);

    u = get_used(t, &p, &peer);
    u->sock.readable = true; /* there may be more */
    upstream_release(u, true);
    assert_null(upstream_take(t, p.pool, p.origin));
    close(peer);
    place_close(&p);
}

static void fresh_refuses_kept_ones(struct task *t, void *argument)
{
    struct place p;
    struct upstream *u;
    struct error error;
    int peer, other;
    place_open(t, &p);
    upstream_release(get_used(t, &p, &peer), true);
    assert_int_equal(upstream_acquire(t, p.pool, p.origin, true, task_deadline(t, 5000), &u, &error), OK);
    assert_false(u->reused);
    assert_int_equal(sock_send_all(t, &u->sock, "x", 1, task_deadline(t, 5000)), OK);
    other = accept_wait(t, &p);
    upstream_release(u, false);
    close(peer);
    close(other);
    place_close(&p);
}

static void nobody_listens(struct task *t, void *argument)
{
    struct place p;
    struct upstream *u = NULL;
    struct error error;
    place_open(t, &p);
    close(p.listener);
    assert_int_equal(upstream_acquire(t, p.pool, p.origin, false, task_deadline(t, 5000), &u, &error),
                     ERR_UPSTREAM_UNREACHABLE);
    assert_true(error.why[0]);
    assert_null(u);
    pool_free(p.pool);
}

#define TASK_TEST(name)                                                                                      \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        run_task(name, NULL);                                                                                \
        origins_free();                                                                                      \
    }
TASK_TEST(newest_first)
TASK_TEST(stale_connections_go)
TASK_TEST(only_clean_ones_come_back)
TASK_TEST(fresh_refuses_kept_ones)
TASK_TEST(nobody_listens)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_stale_connections_go),
        cmocka_unit_test(test_only_clean_ones_come_back),
        cmocka_unit_test(test_fresh_refuses_kept_ones),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
