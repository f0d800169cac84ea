/* Wall-clock time of moments of the monotonic clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"

enum { SLACK_US = 5000000 }; /* the thread may have to wait between its looks at both clocks */

static void a_moment_has_its_wall_time(void **state)
{
    for (int i = 0; i < 1000; i++) {
        int64_t before = clock_wall_us();
        int64_t at = clock_wall_at(clock_now());
        int64_t after = clock_wall_us();
        assert_true(at >= before - SLACK_US && at <= after + SLACK_US);
    }
}

static void a_later_moment_lies_ahead(void **state)
{
    uint64_t now = clock_now();
    int64_t present = clock_wall_at(now), later = clock_wall_at(now + 3600 * CLOCK_S);
    assert_in_range(later - present, 3600000000 - SLACK_US, 3600000000 + SLACK_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_moment_has_its_wall_time),
        cmocka_unit_test(a_later_moment_lies_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
