/* The process orchestrator with real children of a real shepherd. */
#include "service/test.h"

#include <signal.h>

static struct user user;
static int answered, gone;

static struct service *begin(const struct service_config *c)
{
    config_use(c, 1);
    answered = gone = 0;
    struct service *s = service_x();
    user =
        (struct user){.service = s, .config = c, .options.wake = true, .answered = &answered, .gone = &gone};
    return s;
}

static enum err request(void)
{
    int before = stage_get(&gone);
    user_start(&user, 0);
    STAGE_AWAIT(&gone, before + 1);
    return user.err;
}

static struct str command[1];

static struct service_config shell_config(const char *script)
{
    struct service_config c = plain_config("x");
    command[0] = str_from_c(script);
    c.command = (struct strs){command, 1};
    c.shell = true;
    c.uses_port = true;
    c.workdir = STR("/");
    c.warmup_ms = 30;
    return c;
}

struct log_question {
    struct service *service;
    char text[4096];
    int lines; /* wait for that many */
    int done;
};

static void logs_task(struct task *t, void *argument)
{
    struct log_question *q = argument;
    struct arena arena = {0};
    struct log_text text = {0};
    uint64_t deadline = task_deadline(t, 10000);
    service_logs(t, q->service, &arena, 0, 0, &text);
    while ((int)text.count < q->lines) {
        if (service_logs_wait(t, q->service, text.next, deadline) != OK)
            break;
        service_logs(t, q->service, &arena, 0, 0, &text);
    }
    q->text[0] = '\0';
    for (size_t i = 0; i < text.count; i++) {
        size_t n = strlen(q->text);
        snprintf(q->text + n, sizeof q->text - n, "%.*s\n", STR_ARG(text.lines[i].text));
    }
    arena_free(&arena);
    stage_add(&q->done, 1);
}

static struct log_question logs_of(struct service *s, int lines)
{
    struct log_question q = {.service = s, .lines = lines};
    stage_run(stage.workers[1], logs_task, &q);
    STAGE_AWAIT(&q.done, 1);
    return q;
}

static void test_life(void **state)
{
    struct service_config c = shell_config("echo port=$PORT arg=${PORT}; echo err >&2; exec sleep 1000");
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    struct log_question q = logs_of(s, 2);
    unsigned a = 0, b = 1;
    assert_int_equal(sscanf(q.text, "port=%u arg=%u", &a, &b), 2);
    assert_true(a == b && a >= 1024);
    assert_non_null(strstr(q.text, "err\n"));
    assert_int_equal(ask(s, ASK_STOP), OK);
    await_state(s, SERVICE_COLD);
    assert_false(status_of(s).has_last_error);
    service_unref(s);
}

static void test_exit_during_start(void **state)
{
    struct service_config c = shell_config("echo cannot load model; exit 3");
    c.warmup_ms = 60000;
    struct service *s = begin(&c);
    uint64_t begun = clock_now();
    assert_int_equal(request(), ERR_START_FAILED);
    assert_true(clock_now() - begun < 15 * CLOCK_S); /* not when the minute is over */
    assert_non_null(strstr(user.error.why, "exited with status 3"));
    assert_non_null(strstr(user.error.why, "cannot load model"));
    service_unref(s);
}

static void test_exec_failure(void **state)
{
    struct service_config c = shell_config("/no/such/program");
    c.shell = false;
    struct service *s = begin(&c);
    assert_int_equal(request(), ERR_START_FAILED);
    assert_non_null(strstr(user.error.why, "No such file or directory"));
    service_unref(s);
}

static void test_crash(void **state)
{
    struct service_config c = shell_config("sleep 0.2; kill -9 $$");
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    await_state(s, SERVICE_COLD);
    struct service_status status = status_of(s);
    assert_non_null(strstr(status.last_error.p, "signal 9"));
    assert_true(status.retry_at_us > 0);
    assert_int_equal(request(), ERR_BACKING_OFF);
    service_unref(s);
}

/* SIGTERM is ignored: after the grace the whole group is killed. */
static void test_stubborn_child(void **state)
{
    struct service_config c = shell_config("trap '' TERM; sleep 1000 & echo child=$!; wait; wait; wait");
    c.stop_timeout_ms = 200;
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    struct log_question q = logs_of(s, 1);
    int child = 0;
    assert_int_equal(sscanf(q.text, "child=%d", &child), 1);
    uint64_t begun = clock_now();
    assert_int_equal(ask(s, ASK_STOP), OK);
    await_state(s, SERVICE_COLD);
    uint64_t took = clock_now() - begun;
    assert_true(took >= 190 * CLOCK_MS && took < 15 * CLOCK_S);
    assert_true(child > 0 && kill(child, 0) != 0); /* nothing is left */
    service_unref(s);
}

static void test_cancelled_start_leaves_nothing(void **state)
{
    struct service_config c = shell_config("echo pid=$$; exec sleep 1000");
    c.warmup_ms = 60000;
    struct service *s = begin(&c);
    user_start(&user, 0);
    struct log_question q = logs_of(s, 1);
    int pid = 0;
    assert_int_equal(sscanf(q.text, "pid=%d", &pid), 1);
    stage_run(user.loop, user_cancel_task, &user);
    STAGE_AWAIT(&gone, 1);
    await_state(s, SERVICE_COLD);
    assert_true(pid > 0 && kill(pid, 0) != 0);
    service_unref(s);
}

struct flood_question {
    struct service *service;
    uint64_t bytes;
    enum err err;
    uint64_t kept; /* from the oldest line to the end */
    size_t lines;
    int done;
};

static void flood_task(struct task *t, void *argument)
{
    struct flood_question *q = argument;
    struct arena arena = {0};
    struct log_text text = {0};
    q->err = service_logs_wait(t, q->service, q->bytes, task_deadline(t, 15000));
    service_logs(t, q->service, &arena, 0, 0, &text);
    q->lines = text.count;
    q->kept = text.count ? text.next - text.lines[0].offset : 0;
    arena_free(&arena);
    stage_add(&q->done, 1);
}

/* A flood neither stops the service nor the control thread, and the ring stays bounded. */
static void test_flood(void **state)
{
    struct service_config c =
        shell_config("i=0; while [ $i -lt 20000 ]; do echo line $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; "
                     "i=$((i+1)); done; exec sleep 1000");
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    struct flood_question q = {.service = s, .bytes = 20000 * 40};
    stage_run(stage.workers[1], flood_task, &q);
    STAGE_AWAIT(&q.done, 1);
    assert_int_equal(q.err, OK);
    assert_true(q.lines > 1000 && q.lines <= LOG_RING_LINES && q.kept <= LOG_RING_BYTES);
    assert_int_equal(status_of(s).state, SERVICE_HOT);
    service_unref(s);
}

#define PROCESS(name) cmocka_unit_test_setup_teardown(name, process_open, stage_close)

static int process_open(void **state)
{
    stage.shepherd = shepherd_fork();
    return stage.shepherd ? stage_open(state) : -1;
}

static int origins_gone(void **state)
{
    origins_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROCESS(test_life),  PROCESS(test_exit_during_start), PROCESS(test_exec_failure),
        PROCESS(test_crash), PROCESS(test_stubborn_child),    PROCESS(test_cancelled_start_leaves_nothing),
        PROCESS(test_flood),
    };
    return cmocka_run_group_tests(tests, NULL, origins_gone);
}
