/* peers.c: each limit at n - 1, n and n + 1, the decay of what was counted, networks, and full shards. The
   clock is the test's. */
#include "http/test.h"
#include "http/peers.h"

#include <pthread.h>
#include <stdio.h>

#define MINUTE (60 * CLOCK_S)

static const uint64_t start = 7 * MINUTE; /* the beginning of a minute */
static const struct peer_limits no_limits;

static struct peer_admission come(struct peers *p, const char *ip, const struct peer_limits *limits,
                                  uint64_t now)
{
    struct address address;
    assert_true(address_parse_ip(str_from_c(ip), 4711, &address));
    return peers_admit(p, &address, limits, now);
}

static struct peer *welcome(struct peers *p, const char *ip, const struct peer_limits *limits, uint64_t now)
{
    struct peer_admission admission = come(p, ip, limits, now);
    assert_int_equal(admission.verdict, PEER_WELCOME);
    assert_non_null(admission.peer);
    return admission.peer;
}

/* Comes and goes. */
static enum peer_verdict visit(struct peers *p, const char *ip, const struct peer_limits *limits,
                               uint64_t now)
{
    struct peer_admission admission = come(p, ip, limits, now);
    if (admission.peer)
        peer_leave(admission.peer);
    return admission.verdict;
}

static struct peers *table(void)
{
    struct peers *p = peers_new(PEERS_SHARDS, PEERS_PER_SHARD);
    assert_non_null(p);
    return p;
}

static void test_connections(void **state)
{
    static const struct peer_limits limits = {.connections = 3};
    struct peers *p = table();
    struct peer *held[3];
    for (int i = 0; i < 3; i++)
        held[i] = welcome(p, "10.0.0.1", &limits, start);
    struct peer_admission fourth = come(p, "10.0.0.1", &limits, start);
    assert_int_equal(fourth.verdict, PEER_TOO_MANY);
    assert_true(fourth.first);
    assert_null(fourth.peer);
    assert_int_equal(visit(p, "10.0.0.2", &limits, start), PEER_WELCOME);
    peer_leave(held[1]);
    held[1] = welcome(p, "10.0.0.1", &limits, start);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start), PEER_TOO_MANY);
    for (int i = 0; i < 3; i++)
        peer_leave(held[i]);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start), PEER_WELCOME);
    peers_free(p);
}

static void test_refusals_are_news_once_a_minute(void **state)
{
    static const struct peer_limits limits = {.connections = 1, .rate = 1, .burst = 1};
    struct peers *p = table();
    struct peer *held = welcome(p, "10.0.0.1", &limits, start);
    assert_true(come(p, "10.0.0.1", &limits, start).first);
    assert_false(come(p, "10.0.0.1", &limits, start + MINUTE - 1).first);
    assert_true(come(p, "10.0.0.1", &limits, start + MINUTE).first);
    peer_leave(held);
    peer_leave(welcome(p, "10.0.0.1", &limits, start + MINUTE));
    struct peer_admission fast = come(p, "10.0.0.1", &limits, start + MINUTE);
    assert_int_equal(fast.verdict, PEER_TOO_FAST);
    assert_true(fast.first);
    assert_false(come(p, "10.0.0.1", &limits, start + MINUTE).first);
    peers_free(p);
}

static void test_rate(void **state)
{
    static const struct peer_limits limits = {.rate = 50, .burst = 200};
    struct peers *p = table();
    uint64_t now = start;
    for (int i = 0; i < 200; i++)
        assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_WELCOME);
    for (int i = 0; i < 1000; i++) /* what is refused does not prolong the wait */
        assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_TOO_FAST);
    assert_int_equal(visit(p, "10.0.0.1", &limits, now + 20 * CLOCK_MS - 1), PEER_TOO_FAST);
    now += 20 * CLOCK_MS;
    assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_TOO_FAST);
    now += CLOCK_S;
    for (int i = 0; i < 50; i++)
        assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_TOO_FAST);
    now += MINUTE; /* no more than a burst is saved up */
    for (int i = 0; i < 200; i++)
        assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.1", &limits, now), PEER_TOO_FAST);
    assert_int_equal(visit(p, "10.0.0.1", &no_limits, now), PEER_WELCOME);
    peers_free(p);
}

static void test_clock_of_another_thread_lags(void **state)
{
    static const struct peer_limits limits = {.rate = 10, .burst = 3, .errors = 2};
    struct peers *p = table();
    assert_int_equal(visit(p, "10.0.0.1", &limits, start), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start - CLOCK_MS), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start - CLOCK_MS), PEER_TOO_FAST);
    struct peer *peer = welcome(p, "10.0.0.1", &limits, start + CLOCK_S);
    assert_false(peer_erred(peer, &limits, start + CLOCK_S));
    assert_false(peer_erred(peer, &limits, start - 1));
    assert_true(peer_erred(peer, &limits, start + CLOCK_S));
    peer_leave(peer);
    peers_free(p);
}

static void err_times(struct peer *peer, const struct peer_limits *limits, uint64_t now, int count)
{
    for (int i = 0; i < count; i++)
        assert_false(peer_erred(peer, limits, now));
}

static void test_errors(void **state)
{
    static const struct peer_limits limits = {.errors = 20};
    struct peers *p = table();
    struct peer *peer = welcome(p, "10.0.0.1", &limits, start);
    err_times(peer, &limits, start, 19);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start), PEER_WELCOME);
    err_times(peer, &limits, start, 1);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start), PEER_WELCOME);
    assert_true(peer_erred(peer, &limits, start)); /* the 21st; news once */
    err_times(peer, &limits, start, 30);
    struct peer_admission admission = come(p, "10.0.0.1", &limits, start);
    assert_int_equal(admission.verdict, PEER_BANNED);
    assert_false(admission.first);
    assert_int_equal(visit(p, "10.0.0.2", &limits, start), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.1", &no_limits, start), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start + MINUTE - 1), PEER_BANNED);
    assert_int_equal(visit(p, "10.0.0.1", &limits, start + MINUTE), PEER_WELCOME);
    err_times(peer, &limits, start + MINUTE, 20); /* and everything begins anew */
    assert_true(peer_erred(peer, &limits, start + MINUTE));
    peer_leave(peer);
    peers_free(p);
}

/* What a minute has brought weighs in the next one, less and less. */
static void test_errors_decay(void **state)
{
    static const struct peer_limits limits = {.errors = 20};
    static const struct {
        uint64_t after; /* the 20 of the first minute */
        int more;       /* are without consequence */
    } rows[] = {
        {0, 0},           {MINUTE - 1, 0},  {MINUTE, 0}, {MINUTE + MINUTE / 2, 10}, {2 * MINUTE - 1, 19},
        {2 * MINUTE, 20}, {5 * MINUTE, 20},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct peers *p = table();
        struct peer *peer = welcome(p, "10.0.0.1", &limits, start);
        err_times(peer, &limits, start, 20);
        err_times(peer, &limits, start + rows[i].after, rows[i].more);
        assert_true(peer_erred(peer, &limits, start + rows[i].after));
        peer_leave(peer);
        peers_free(p);
    }
}

static void test_auth_failures(void **state)
{
    static const struct peer_limits limits = {.auth_failures = 20};
    struct peers *p = table();
    struct peer *peer = welcome(p, "10.0.0.1", &limits, start);
    for (int i = 0; i < 20; i++)
        assert_false(peer_auth_failed(peer, &limits, start));
    assert_int_equal(peer_auth_wait(peer, &limits, start), 0);
    assert_true(peer_auth_failed(peer, &limits, start));
    assert_int_equal(peer_auth_wait(peer, &limits, start), MINUTE);
    assert_false(peer_auth_failed(peer, &limits, start));
    assert_int_equal(peer_auth_wait(peer, &limits, start + MINUTE - 1), 1);
    assert_int_equal(peer_auth_wait(peer, &limits, start - CLOCK_MS), MINUTE);
    assert_int_equal(peer_auth_wait(peer, &no_limits, start), 0);
    struct peer *again = welcome(p, "10.0.0.1", &limits, start); /* connections are still welcome */
    assert_ptr_equal(again, peer);
    assert_int_equal(peer_auth_wait(peer, &limits, start + MINUTE), 0);
    peer_leave(again);
    peer_leave(peer);
    peers_free(p);
}

static void test_off(void **state)
{
    struct peers *p = table();
    for (int i = 0; i < 1000; i++) {
        struct peer_admission admission = come(p, "10.0.0.1", &no_limits, start);
        assert_int_equal(admission.verdict, PEER_WELCOME);
        assert_null(admission.peer);
    }
    struct peer *peer = welcome(p, "10.0.0.1", &(struct peer_limits){.connections = 1}, start);
    for (int i = 0; i < 1000; i++) {
        assert_false(peer_erred(peer, &no_limits, start));
        assert_false(peer_auth_failed(peer, &no_limits, start));
    }
    peer_leave(peer);
    peers_free(p);
}

static const struct {
    const char *one, *other;
    bool same;
} networks[] = {
    {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
    {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
    {"2001:db8:1:2::1", "2001:db9:1:2::1", false},
    {"10.0.0.1", "10.0.0.1", true},
    {"10.0.0.1", "10.0.0.2", false},
    {"10.0.0.1", "::ffff:10.0.0.1", true}, /* IPv4 through an IPv6 socket */
    {"10.0.0.1", "::ffff:10.0.0.2", false},
    {"10.0.0.1", "0:0:a00:1::1", false}, /* the same 64 bits, another family */
};

static void test_networks(void **state)
{
    static const struct peer_limits limits = {.connections = 1};
    for (size_t i = 0; i < COUNT_OF(networks); i++) {
        struct peers *p = table();
        struct peer *peer = welcome(p, networks[i].one, &limits, start);
        enum peer_verdict verdict = visit(p, networks[i].other, &limits, start);
        if (verdict != (networks[i].same ? PEER_TOO_MANY : PEER_WELCOME)) {
            print_error("case '%s' and '%s': verdict %d\n", networks[i].one, networks[i].other, verdict);
            fail();
        }
        peer_leave(peer);
        peers_free(p);
    }
}

static void test_unix_socket_has_no_address(void **state)
{
    static const struct peer_limits limits = {.connections = 1};
    struct peers *p = table();
    struct address address;
    assert_true(address_parse(STR("unix:/run/x"), &address));
    for (int i = 0; i < 3; i++)
        assert_null(peers_admit(p, &address, &limits, start).peer);
    peers_free(p);
}

static char *numbered(char text[32], unsigned n)
{
    snprintf(text, 32, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
    return text;
}

/* Four entries: the one that was idle for longest goes first, one with a connection never. */
static void test_eviction(void **state)
{
    static const struct peer_limits limits = {.connections = 100, .errors = 1};
    struct peers *p = peers_new(1, 4);
    char text[32];
    struct peer *held = welcome(p, "10.0.0.1", &limits, start);
    for (unsigned i = 2; i <= 4; i++) { /* 2, 3 and 4 are banned */
        struct peer *peer = welcome(p, numbered(text, i), &limits, start);
        err_times(peer, &limits, start, 1);
        assert_true(peer_erred(peer, &limits, start));
        peer_leave(peer);
    }
    assert_int_equal(visit(p, "10.0.0.2", &limits, start), PEER_BANNED); /* seen again: now 3 is the oldest */
    assert_int_equal(visit(p, "10.0.0.5", &limits, start), PEER_WELCOME);
    assert_int_equal(visit(p, "10.0.0.2", &limits, start), PEER_BANNED);
    assert_int_equal(visit(p, "10.0.0.4", &limits, start), PEER_BANNED);
    assert_int_equal(visit(p, "10.0.0.3", &limits, start), PEER_WELCOME); /* forgotten */
    for (unsigned i = 10; i < 1000; i++)
        assert_int_equal(visit(p, numbered(text, i), &limits, start), PEER_WELCOME);
    assert_ptr_equal(welcome(p, "10.0.0.1", &limits, start), held);
    peer_leave(held);
    peer_leave(held);
    peers_free(p);
}

static void test_full_of_connections(void **state)
{
    static const struct peer_limits limits = {.connections = 1};
    struct peers *p = peers_new(1, 4);
    struct peer *held[4];
    char text[32];
    for (unsigned i = 0; i < 4; i++)
        held[i] = welcome(p, numbered(text, i), &limits, start);
    for (int i = 0; i < 3; i++) { /* nobody is turned away for want of an entry */
        struct peer_admission admission = come(p, "10.9.9.9", &limits, start);
        assert_int_equal(admission.verdict, PEER_WELCOME);
        assert_null(admission.peer);
    }
    assert_int_equal(visit(p, numbered(text, 2), &limits, start), PEER_TOO_MANY);
    peer_leave(held[0]);
    struct peer *now_counted = welcome(p, "10.9.9.9", &limits, start);
    assert_int_equal(visit(p, "10.9.9.9", &limits, start), PEER_TOO_MANY);
    peer_leave(now_counted);
    for (int i = 1; i < 4; i++)
        peer_leave(held[i]);
    peers_free(p);
}

/* Every address of a full table is found again. */
static void test_many(void **state)
{
    static const struct peer_limits limits = {.connections = 1};
    enum { COUNT = PEERS_SHARDS * PEERS_PER_SHARD / 2 };
    struct peers *p = table();
    struct peer **held = test_malloc(COUNT * sizeof *held);
    char text[32];
    for (unsigned i = 0; i < COUNT; i++)
        held[i] = welcome(p, numbered(text, i), &limits, start);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(visit(p, numbered(text, i), &limits, start), PEER_TOO_MANY);
    for (unsigned i = 0; i < COUNT; i++)
        peer_leave(held[i]);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(visit(p, numbered(text, i), &limits, start), PEER_WELCOME);
    test_free(held);
    peers_free(p);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *come_and_go(void *argument)
{
    static const struct peer_limits limits = {.connections = 2, .errors = 5, .auth_failures = 5};
    struct peers *p = argument;
    struct address address;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char text[32];
        bool parsed = address_parse_ip(str_from_c(numbered(text, i % 7)), 1, &address);
        struct peer_admission admission = peers_admit(p, &address, &limits, start + i * CLOCK_S);
        if (!parsed || !admission.peer)
            continue;
        peer_erred(admission.peer, &limits, start + i * CLOCK_S);
        if (!peer_auth_wait(admission.peer, &limits, start + i * CLOCK_S))
            peer_auth_failed(admission.peer, &limits, start + i * CLOCK_S);
        peer_leave(admission.peer);
    }
    return NULL;
}

/* Workers at once, in a table that is too small for their clients; nothing stays counted. */
static void test_threads(void **state)
{
    static const struct peer_limits limits = {.connections = 1};
    struct peers *p = peers_new(1, 4);
    pthread_t threads[THREADS];
    char text[32];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, p), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(visit(p, numbered(text, i), &limits, start), PEER_WELCOME);
    peers_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections),   cmocka_unit_test(test_refusals_are_news_once_a_minute),
        cmocka_unit_test(test_rate),          cmocka_unit_test(test_clock_of_another_thread_lags),
        cmocka_unit_test(test_errors),        cmocka_unit_test(test_errors_decay),
        cmocka_unit_test(test_auth_failures), cmocka_unit_test(test_off),
        cmocka_unit_test(test_networks),      cmocka_unit_test(test_unix_socket_has_no_address),
        cmocka_unit_test(test_eviction),      cmocka_unit_test(test_full_of_connections),
        cmocka_unit_test(test_many),          cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
