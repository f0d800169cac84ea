/* Turns of instances, putting aside and coming back, and ${PORT}. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "service/placement.h"
#include "service/readiness.h"

static void turns_are(const uint32_t *weights, size_t count, const char *want)
{
    uint16_t turns[TURNS_MAX];
    char got[TURNS_MAX + 1];
    size_t n = turns_fill(weights, count, turns);
    for (size_t i = 0; i < n; i++)
        got[i] = (char)('A' + turns[i]);
    got[n] = '\0';
    assert_string_equal(got, want);
}

static void test_smooth_weighted_turns(void **state)
{
    turns_are((uint32_t[]){1}, 1, "A");
    turns_are((uint32_t[]){1, 1, 1}, 3, "ABC");
    turns_are((uint32_t[]){7, 7, 7}, 3, "ABC");
    turns_are((uint32_t[]){5, 1, 1}, 3, "AABACAA");
    turns_are((uint32_t[]){2, 1}, 2, "ABA");
    turns_are((uint32_t[]){30, 10}, 2, "AABA");
}

static void test_large_weights_keep_their_proportion(void **state)
{
    uint16_t turns[TURNS_MAX];
    size_t n = turns_fill((uint32_t[]){1000000, 499999, 1}, 3, turns), count[3] = {0};
    assert_true(n <= TURNS_MAX);
    for (size_t i = 0; i < n; i++)
        count[turns[i]]++;
    assert_true(count[2] == 1); /* never starved */
    assert_true(count[0] > count[1] * 19 / 10 && count[0] < count[1] * 21 / 10);
}

static struct placement *three(void)
{
    static struct instance_config instances[3];
    struct error error;
    for (int i = 0; i < 3; i++) {
        static const char *const urls[] = {"http://127.0.0.1:9001", "http://127.0.0.1:9002",
                                           "http://127.0.0.1:9003/v1"};
        instances[i] = (struct instance_config){.url_text = str_from_c(urls[i]), .weight = 1};
    }
    struct service_config config = {.instances = instances, .instance_count = 3};
    struct placement *p = placement_new(&config, 0, &error);
    assert_non_null(p);
    return p;
}

static void picks_are(struct placement *p, uint64_t tried, const char *want)
{
    char got[32] = "";
    for (size_t i = 0; want[i]; i++) {
        size_t index;
        got[i] = placement_pick(p, tried, &index) ? (char)('A' + index) : '-';
    }
    assert_string_equal(got, want);
}

/* The vectors of the contract, section 5.3. */
static void test_picks(void **state)
{
    struct placement *p = three();
    picks_are(p, 0, "ABCABCA");
    placement_report(p, 0, false);
    picks_are(p, 0, "BCBCBC");
    placement_report(p, 0, true);
    picks_are(p, 0, "ABCA");
    placement_free(p);
}

static void test_all_aside_gives_the_first(void **state)
{
    struct placement *p = three();
    for (size_t i = 0; i < 3; i++)
        placement_report(p, i, false);
    picks_are(p, 0, "AAA");
    picks_are(p, 1, "BB");
    placement_free(p);
}

static void test_what_was_tried_is_skipped(void **state)
{
    struct placement *p = three();
    picks_are(p, 1, "BCBC");
    picks_are(p, 5, "BB");
    picks_are(p, 7, "-");
    placement_free(p);
}

/* After its time aside, one request finds out; the others go on without it. */
static void test_half_open(void **state)
{
    struct placement *p = three();
    placement_report(p, 1, false);
    atomic_store(&p->list[1].aside_until, clock_now() - 1);
    picks_are(p, 0, "ABCACAC");
    placement_report(p, 1, true);
    picks_are(p, 0, "ABCABC");
    placement_free(p);
}

static void test_port(void **state)
{
    struct arena arena = {0};
    struct str s = port_substitute(&arena, STR("http://[::1]:${PORT}/x?p=${PORT}"), 4321);
    assert_string_equal(s.p, "http://[::1]:4321/x?p=4321");
    assert_string_equal(port_substitute(&arena, STR("${PORT}"), 0).p, "${PORT}");
    assert_string_equal(port_substitute(&arena, STR(""), 1).p, "");
    arena_free(&arena);
    struct service_config config = {.base_url_text = STR("http://127.0.0.1:${PORT}/v1"),
                                    .health_url_text = STR("http://127.0.0.1:${PORT}/health")};
    struct error error;
    struct placement *p = placement_new(&config, 4321, &error);
    assert_non_null(p);
    assert_int_equal(p->list[0].origin->url.port, 4321);
    assert_true(str_eq(p->list[0].url.prefix, STR("/v1")));
    assert_true(str_eq(p->health.url.prefix, STR("/health")));
    placement_free(p);
}

static void test_no_place(void **state)
{
    struct service_config config = {.base_url_text = STR("ftp://x")};
    struct error error = {0};
    assert_null(placement_new(&config, 0, &error));
    assert_true(error.why[0] != '\0');
    config.base_url_text = STR_NONE;
    assert_null(placement_new(&config, 0, &error));
}

static void test_probe_pauses(void **state)
{
    assert_int_equal(probe_pause_ms(0, 0, true), 20);
    assert_int_equal(probe_pause_ms(20, 4999, true), 20);
    assert_int_equal(probe_pause_ms(20, 5000, true), 30);
    assert_int_equal(probe_pause_ms(30, 5030, true), 45);
    assert_int_equal(probe_pause_ms(900, 9000, true), 1000);
    assert_int_equal(probe_pause_ms(1000, 9000, true), 1000);
    assert_int_equal(probe_pause_ms(0, 0, false), 100);
}

static int origins_gone(void **state)
{
    origins_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smooth_weighted_turns),
        cmocka_unit_test(test_large_weights_keep_their_proportion),
        cmocka_unit_test(test_picks),
        cmocka_unit_test(test_all_aside_gives_the_first),
        cmocka_unit_test(test_what_was_tried_is_skipped),
        cmocka_unit_test(test_half_open),
        cmocka_unit_test(test_port),
        cmocka_unit_test(test_no_place),
        cmocka_unit_test(test_probe_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, origins_gone);
}
