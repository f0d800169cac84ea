/* Threads, signals as events, and offloading on a real loop. */
#include "loop/thread.h"

#include "base/mem.h"
#include "loop/offload.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- threads ------------------------------------------------------------------------------------------- */

struct finding {
    char name[16];
    bool blocked;
};

static void finding_main(void *argument)
{
    struct finding *x = argument;
    sigset_t mask;
    pthread_getname_np(pthread_self(), x->name, sizeof x->name);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    x->blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR2) == 1;
}

static void thread_has_name_and_mask(void **state)
{
    struct finding x = {0};
    pthread_t thread;
    sigset_t mask;
    assert_int_equal(thread_start(&thread, "a-name-that-is-too-long", finding_main, &x), OK);
    pthread_join(thread, NULL);
    assert_string_equal(x.name, "a-name-that-is-");
    assert_true(x.blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGUSR2), 0); /* ours is as before */
    assert_true(thread_core_count() >= 1 && thread_core_count() <= sysconf(_SC_NPROCESSORS_CONF));
}

static void limit_is_raised(void **state)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)64);
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(files_raise_limit(), limit.rlim_max);
    getrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

/* ---- signals ------------------------------------------------------------------------------------------- */

static struct loop *l;
static uint32_t seen; /* bit n: signal n came */

static void on_signal(struct signals *s, int number)
{
    seen |= UINT32_C(1) << number;
    loop_stop(l);
}

static void signals_are_events(void **state)
{
    struct signals s = {.on_signal = on_signal};
    const uint32_t all = UINT32_C(1) << SIGTERM | UINT32_C(1) << SIGHUP | UINT32_C(1) << SIGINT;
    int ends[2];
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    l = loop_new();
    signals_block();
    assert_int_equal(signals_open(l, &s), OK);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGHUP);
    kill(getpid(), SIGINT);
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1); /* SIGPIPE neither kills nor is told */
    close(ends[1]);
    while ((seen & all) != all)
        loop_run(l);
    assert_int_equal(seen, all);
    signals_close(l, &s);
    loop_free(l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- offload ------------------------------------------------------------------------------------------- */

enum { TASKS = 40, ABREAST = OFFLOAD_THREADS };

struct errand {
    struct offload offload;
    pthread_t done_by;
    bool done;
    enum err err;
};

static struct errand errands[TASKS];
static pthread_barrier_t abreast;
static atomic_int at_once, at_once_max;

/* Gets past the barrier only when four work at once. */
static void errand_work(struct offload *o)
{
    struct errand *e = CONTAINER_OF(o, struct errand, offload);
    int now = atomic_fetch_add(&at_once, 1) + 1;
    int max = atomic_load(&at_once_max);
    while (now > max && !atomic_compare_exchange_weak(&at_once_max, &max, now))
        ;
    pthread_barrier_wait(&abreast);
    atomic_fetch_sub(&at_once, 1);
    e->done_by = pthread_self();
    e->done = true;
}

static void errand_main(struct task *t, void *argument)
{
    struct errand *e = argument;
    e->offload.work = errand_work;
    e->err = offload_run(t, &e->offload, CLOCK_NEVER);
    assert_true(e->done);
    assert_false(pthread_equal(e->done_by, pthread_self()));
    loop_stop(t->loop);
}

static void offload_by_four_threads(void **state)
{
    l = loop_new();
    pthread_barrier_init(&abreast, NULL, ABREAST);
    for (int i = 0; i < TASKS; i++)
        assert_non_null(task_spawn(l, errand_main, &errands[i]));
    loop_run(l);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(errands[i].err, OK);
    assert_int_equal(atomic_load(&at_once_max), ABREAST);
    pthread_barrier_destroy(&abreast);
    loop_free(l);
    offload_stop();
    offload_stop(); /* harmless */
}

/* Work that hangs until the gate opens; dropped is posted when it has gone. */
static sem_t gate, begun, dropped;

static void gate_work(struct offload *o)
{
    sem_post(&begun);
    sem_wait(&gate);
}

static void gate_drop(struct offload *o)
{
    mem_free(o);
    sem_post(&dropped);
}

static struct offload *gate_new(void)
{
    struct offload *o = mem_alloc(sizeof *o);
    assert_non_null(o);
    o->work = gate_work;
    o->drop = gate_drop;
    return o;
}

static void gate_main(struct task *t, void *argument)
{
    enum err *err = argument;
    *err = offload_run(t, gate_new(), CLOCK_NEVER);
    assert_int_equal(task_sleep(t, 60000), ERR_CANCELLED);
    loop_stop(t->loop);
}

struct left {
    struct task *tasks[OFFLOAD_THREADS + 1]; /* the last one's work finds no thread */
    enum err errs[OFFLOAD_THREADS + 1];
};

static void leave_main(struct task *t, void *argument)
{
    struct left *left = argument;
    for (size_t i = 0; i < COUNT_OF(left->tasks); i++)
        left->tasks[i] = task_spawn(t->loop, gate_main, &left->errs[i]);
    assert_int_equal(task_yield(t), OK);
    for (int i = 0; i < OFFLOAD_THREADS; i++)
        sem_wait(&begun);
    for (size_t i = 0; i < COUNT_OF(left->tasks); i++)
        task_cancel(left->tasks[i]);
}

/* The task is free at once, the loop may go, and the end does not wait; the work drops itself later. */
static void offload_can_be_left(void **state)
{
    struct left left;
    l = loop_new();
    sem_init(&gate, 0, 0);
    sem_init(&begun, 0, 0);
    sem_init(&dropped, 0, 0);
    assert_non_null(task_spawn(l, leave_main, &left));
    loop_run(l);
    for (size_t i = 0; i < COUNT_OF(left.errs); i++)
        assert_int_equal(left.errs[i], ERR_CANCELLED);
    assert_int_equal(sem_wait(&dropped), 0);     /* the one that had not begun, */
    assert_int_equal(sem_trywait(&dropped), -1); /* and no other */
    loop_free(l);
    offload_stop();
    for (int i = 0; i < OFFLOAD_THREADS; i++)
        sem_post(&gate);
    for (int i = 0; i < OFFLOAD_THREADS; i++)
        sem_wait(&dropped);
}

static void late_main(struct task *t, void *argument)
{
    assert_int_equal(offload_run(t, gate_new(), task_deadline(t, 1)), ERR_TIMEOUT);
    sem_post(&gate);
    loop_stop(t->loop);
}

static void offload_has_a_deadline(void **state)
{
    l = loop_new();
    sem_init(&gate, 0, 0);
    assert_non_null(task_spawn(l, late_main, NULL));
    loop_run(l);
    sem_wait(&dropped);
    loop_free(l);
    offload_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_has_name_and_mask), cmocka_unit_test(limit_is_raised),
        cmocka_unit_test(signals_are_events),       cmocka_unit_test(offload_by_four_threads),
        cmocka_unit_test(offload_can_be_left),      cmocka_unit_test(offload_has_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
