/* Children that crash on purpose, each in its own way; the parent reads what they leave on standard error. */
#include "base/mem.h"
#include "loop/crash.h"
#include "loop/test.h"
#include "loop/thread.h"
#include "loop/trail.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "hk_canary_do_not_print"

static char report[256 << 10];
extern char __executable_start[];
static volatile int depth_wanted = 1 << 30;

static char id[65] = "req_0123456789ab";

/* ---- ways to crash --------------------------------------------------------------------------------------
 */

__attribute__((noinline, no_sanitize("address", "undefined"))) static void write_to_nowhere(void)
{
    *(volatile int *)(uintptr_t)0x10 = 1; /* NOLINT: that is the point */
}

__attribute__((noinline)) static void require_the_impossible(void)
{
    REQUIRE(!"this holds");
}

/* Not a tail call, and nothing the compiler may fold. */
__attribute__((noinline, no_sanitize("address", "undefined"))) static int sink_deep(int depth)
{
    volatile char room[512];
    room[depth % 512] = (char)depth;
    if (depth == depth_wanted)
        return room[0];
    return sink_deep(depth + 1) + room[1];
}

static void crash_by_write(void)
{
    write_to_nowhere();
}

static void crash_by_invariant(void)
{
    require_the_impossible();
}

static void crash_by_overflow(void)
{
    depth_wanted = -sink_deep(0);
}

static void crash_by_signal(void)
{
    kill(getpid(), SIGBUS);
    for (;;)
        pause();
}

static void crash_by_call(void)
{
    void (*volatile nowhere)(void) = NULL;
    nowhere();
}

/* ---- the child ------------------------------------------------------------------------------------------
 */

static void crash_in_task(struct task *t, void *argument)
{
    void (*crash)(void) = NULL;
    memcpy(&crash, argument, sizeof crash);
    char secret[] = SECRET;
    for (int i = 0; i < TRAIL_EVENTS + 10; i++)
        trail_add(TRAIL_REQUEST, loop_now(t->loop), id, i);
    trail_add(TRAIL_ANSWER, loop_now(t->loop), id, 207);
    __asm__ volatile("" : : "r"(secret) : "memory");
    crash();
}

static void worker(void *argument)
{
    struct loop *l = loop_new();
    if (l && task_spawn(l, crash_in_task, argument))
        loop_run(l);
    _exit(3);
}

static void quiet(void *argument)
{
    int *ready = argument;
    trail_add(TRAIL_ACCEPT, clock_now(), id, 4242);
    (void)!write(*ready, "", 1);
    for (;;)
        pause();
}

_Noreturn static void child(int fd, void (*crash)(void), bool in_task)
{
    pthread_t one, two;
    int ready[2];
    char byte;
    dup2(fd, STDERR_FILENO);
    crash_install("first", true);
    if (pipe(ready) != 0 || thread_start(&one, "worker-0", quiet, &ready[1]) != OK ||
        read(ready[0], &byte, 1) != 1)
        _exit(2);
    if (!in_task)
        crash();
    if (thread_start(&two, "worker-1", worker, &crash) == OK)
        pthread_join(two, NULL);
    _exit(2);
}

/* Fills `report`, and returns the wait status. */
static int crash_of(void (*crash)(void), bool in_task)
{
    int fds[2], status = 0;
    size_t n = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(fds[1], crash, in_task);
    close(fds[1]);
    for (ssize_t got; (got = read(fds[0], report + n, sizeof report - 1 - n)) > 0;)
        n += (size_t)got;
    report[n] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_says(const char *text)
{
    if (!strstr(report, text))
        fail_msg("the report does not say \"%s\":\n%.3000s", text, report);
}

static void assert_signal(int status, int number)
{
    if (!WIFSIGNALED(status) || WTERMSIG(status) != number)
        fail_msg("wait status %x, not signal %d:\n%.3000s", status, number, report);
}

static int count_of(const char *text)
{
    int count = 0;
    for (const char *p = report; (p = strstr(p, text)); p++)
        count++;
    return count;
}

/* Whether one of the report's frames lies in that function, or at most `size` bytes after its beginning. */
static bool has_frame_in(void (*function)(void), size_t size)
{
    uintptr_t base = (uintptr_t)__executable_start; /* the linker's; this program is position-independent */
    for (const char *p = report; (p = strstr(p, "  #")); p++) {
        const char *plus = strchr(p, '+');
        uintptr_t at = plus ? base + strtoull(plus + 1, NULL, 16) : 0;
        if (at >= (uintptr_t)function && at < (uintptr_t)function + size)
            return true;
    }
    return false;
}

/* ---- the tests ------------------------------------------------------------------------------------------
 */

static void assert_common(const char *signal)
{
    char text[80];
    snprintf(text, sizeof text, "crash: hestia " HESTIA_VERSION " crashed: %s", signal);
    assert_says(text);
    assert_says("build id ");
    assert_says("  #0 ");
    assert_says("crash: end of the report\n");
    assert_says("accept 4242 req_0123456789ab");
    assert_null(strstr(report, SECRET));
}

static void fault_in_task(void **state)
{
    assert_signal(crash_of(crash_by_write, true), SIGSEGV);
    assert_common("SIGSEGV at address 0x10 (nothing is there)");
    assert_says("thread worker-1 (");
    assert_says("frames of the task");
    assert_null(strstr(report, "overflow"));
    assert_true(has_frame_in(crash_by_write, 64));
    assert_true(has_frame_in((void (*)(void))crash_in_task, 4096));
    assert_says("last events of worker-1, the newest first:\ncrash:   0.");
    assert_says(" s ago answer 207 req_0123456789ab\n");
    assert_int_equal(count_of(" s ago request "), TRAIL_EVENTS - 2); /* the ring, but for its oldest */
    assert_says("last events of worker-0");
}

static void overflow_of_task(void **state)
{
    assert_signal(crash_of(crash_by_overflow, true), SIGSEGV);
    assert_common("SIGSEGV");
    assert_says("crash: task stack overflow\n");
    assert_true(has_frame_in((void (*)(void))sink_deep, 1024));
    assert_true(count_of("\ncrash:   #") > 10);
}

static void invariant_in_task(void **state)
{
    assert_signal(crash_of(crash_by_invariant, true), SIGABRT);
    assert_common("SIGABRT");
    assert_says("hestia: invariant broken: !\"this holds\"");
    assert_true(has_frame_in(crash_by_invariant, 64)); /* across the C library's frames */
    assert_true(has_frame_in((void (*)(void))crash_in_task, 4096));
}

static void call_of_nothing(void **state)
{
    assert_signal(crash_of(crash_by_call, true), SIGSEGV);
    assert_common("SIGSEGV at address 0x0 (nothing is there)");
    assert_true(has_frame_in(crash_by_call, 256));
}

static void signal_from_outside(void **state)
{
    assert_signal(crash_of(crash_by_signal, false), SIGBUS);
    assert_common("SIGBUS sent by process ");
    assert_says("thread first (");
    assert_null(strstr(report, "frames of the task"));
}

static void threads_do_not_block_crashes(void **state)
{
    sigset_t set;
    sigfillset(&set);
    crash_signals_spare(&set);
    assert_int_equal(sigismember(&set, SIGSEGV), 0);
    assert_int_equal(sigismember(&set, SIGABRT), 0);
    assert_int_equal(sigismember(&set, SIGTERM), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_in_task),       cmocka_unit_test(overflow_of_task),
        cmocka_unit_test(invariant_in_task),   cmocka_unit_test(call_of_nothing),
        cmocka_unit_test(signal_from_outside), cmocka_unit_test(threads_do_not_block_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
