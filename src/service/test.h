/*
 * What the unit tests of this folder share: a control loop and two worker loops in threads of their own, a
 * registry on the control loop, an orchestrator that only pretends, and configs made by hand.
 */
#ifndef HESTIA_SERVICE_TEST_H
#define HESTIA_SERVICE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "service/events.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- waiting for what other threads do --------------------------------------------------------------- */

static pthread_mutex_t stage_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stage_changed = PTHREAD_COND_INITIALIZER;

static inline void stage_add(int *counter, int n)
{
    pthread_mutex_lock(&stage_lock);
    *counter += n;
    pthread_cond_broadcast(&stage_changed);
    pthread_mutex_unlock(&stage_lock);
}

static inline void stage_set(int *counter, int n)
{
    pthread_mutex_lock(&stage_lock);
    *counter = n;
    pthread_mutex_unlock(&stage_lock);
}

static inline int stage_get(const int *counter)
{
    pthread_mutex_lock(&stage_lock);
    int n = *counter;
    pthread_mutex_unlock(&stage_lock);
    return n;
}

/* Until *counter reaches n; a test that hangs fails after 20 s. */
#define STAGE_AWAIT(counter, n)                                                                              \
    do {                                                                                                     \
        struct timespec limit_;                                                                              \
        clock_gettime(CLOCK_REALTIME, &limit_);                                                              \
        limit_.tv_sec += 20;                                                                                 \
        int timed_out_ = 0;                                                                                  \
        pthread_mutex_lock(&stage_lock);                                                                     \
        while (*(counter) < (n) && !timed_out_)                                                              \
            timed_out_ = pthread_cond_timedwait(&stage_changed, &stage_lock, &limit_);                       \
        int got_ = *(counter);                                                                               \
        pthread_mutex_unlock(&stage_lock);                                                                   \
        if (got_ < (n))                                                                                      \
            fail_msg("%s is %d, wanted %d", #counter, got_, (int)(n));                                       \
    } while (0)

/* ---- threads ----------------------------------------------------------------------------------------- */

struct stage {
    struct loop *control, *workers[2];
    pthread_t threads[3];
    struct services *all;
    struct shepherd *shepherd;
};
static struct stage stage;

static inline void *stage_thread(void *argument)
{
    loop_run(argument);
    return NULL;
}

/* Runs fn(argument) as a task on a loop. */
struct stage_job {
    struct message message;
    struct loop *loop;
    task_fn *fn;
    void *argument;
};

static inline void job_arrived(struct message *m)
{
    struct stage_job *job = CONTAINER_OF(m, struct stage_job, message);
    struct task *t = task_spawn(job->loop, job->fn, job->argument);
    REQUIRE(t);
    mem_free(job);
}

static inline void stage_run(struct loop *l, task_fn *fn, void *argument)
{
    struct stage_job *job = mem_alloc(sizeof *job);
    REQUIRE(job);
    *job = (struct stage_job){.message.on_arrival = job_arrived, .loop = l, .fn = fn, .argument = argument};
    loop_post(l, &job->message);
}

/* Runs fn(argument) on the control loop and waits for its end. */
struct control_job {
    struct message message;
    void (*fn)(void *argument);
    void *argument;
    int done;
};

static inline void control_job_arrived(struct message *m)
{
    struct control_job *job = CONTAINER_OF(m, struct control_job, message);
    job->fn(job->argument);
    stage_add(&job->done, 1);
}

static inline void on_control(void (*fn)(void *argument), void *argument)
{
    struct control_job job = {.message.on_arrival = control_job_arrived, .fn = fn, .argument = argument};
    loop_post(stage.control, &job.message);
    STAGE_AWAIT(&job.done, 1);
}

/* ---- an orchestrator that only pretends -------------------------------------------------------------- */

struct fake {
    int start_ms;   /* until on_started; -1 = never */
    int stop_ms;    /* until on_stopped */
    bool fails;     /* on_failed instead of on_started */
    bool fails_now; /* start() itself fails */
    uint16_t port;
    int starts, stops, live, live_max; /* under stage_lock */
    int stops_under_load;              /* idle stops while `using` was not 0 */
    int using;                         /* leases held, counted by the tests */
    uint64_t unused_since, stopped_at; /* monotonic ns: the last lease went, the last stop came */
};
static struct fake fake;

struct orchestration {
    struct loop *loop;
    struct timer timer;
    void *owner;
    const struct orchestration_events *events;
    bool started, stopping;
};
static struct orchestration *fake_last; /* control */

static inline void fake_leave(struct orchestration *o)
{
    stage_add(&fake.live, -1);
    fake_last = NULL;
    timer_off(&o->timer);
}

static inline void fake_due(struct timer *timer)
{
    struct orchestration *o = CONTAINER_OF(timer, struct orchestration, timer);
    struct error error;
    if (o->stopping) {
        fake_leave(o);
        o->events->on_stopped(o->owner, STR("stopped"), false);
    } else if (fake.fails) {
        fake_leave(o);
        error_set(&error, ERR_START_FAILED, "it would not");
        o->events->on_output(o->owner, STR("first line\nno such model\n"));
        o->events->on_failed(o->owner, &error);
    } else {
        o->started = true;
        o->events->on_started(o->owner, fake.port);
    }
}

static inline struct orchestration *fake_start(struct services *all, const struct service_config *config,
                                               void *owner, const struct orchestration_events *events,
                                               struct error *error)
{
    stage_add(&fake.starts, 1);
    if (fake.fails_now) {
        error_set(error, ERR_START_FAILED, "no such file");
        return NULL;
    }
    struct orchestration *o = mem_alloc(sizeof *o);
    REQUIRE(o);
    *o = (struct orchestration){.loop = services_loop(all), .owner = owner, .events = events};
    o->timer.on_due = fake_due;
    if (fake.start_ms >= 0)
        timer_set(o->loop, &o->timer, clock_after(loop_now(o->loop), (uint64_t)fake.start_ms));
    fake_last = o;
    stage_add(&fake.live, 1);
    pthread_mutex_lock(&stage_lock);
    fake.live_max = MAX(fake.live_max, fake.live);
    pthread_mutex_unlock(&stage_lock);
    return o;
}

static inline void fake_stop(struct orchestration *o, uint64_t grace_ms)
{
    if (o->stopping)
        return;
    o->stopping = true;
    pthread_mutex_lock(&stage_lock);
    fake.stops_under_load += fake.using > 0;
    fake.stopped_at = clock_now();
    pthread_mutex_unlock(&stage_lock);
    stage_add(&fake.stops, 1);
    timer_remove(o->loop, &o->timer);
    timer_set(o->loop, &o->timer, clock_after(loop_now(o->loop), (uint64_t)fake.stop_ms));
}

static inline void fake_free(struct orchestration *o)
{
    timer_remove(o->loop, &o->timer);
    mem_free(o);
}

/* Ends what runs, as if by itself. */
static inline void fake_crash(void *argument)
{
    struct orchestration *o = fake_last;
    REQUIRE(o);
    fake_leave(o);
    o->events->on_stopped(o->owner, STR("it exited with status 3"), true);
}

static const struct orchestrator orchestrator_fake = {
    .name = "fake",
    .is_built = true,
    .is_local = true,
    .adopts_running = true,
    .start = fake_start,
    .stop = fake_stop,
    .free = fake_free,
};

static inline const struct orchestrator *fake_find(enum orchestrator_kind kind)
{
    return kind == ORCHESTRATOR_PROCESS ? &orchestrator_fake : orchestrator_find(kind);
}

/* ---- configs ----------------------------------------------------------------------------------------- */

static inline struct config *config_make(const struct service_config *services, size_t count)
{
    struct config *c = mem_alloc(sizeof *c);
    REQUIRE(c);
    c->references = 1;
    c->server.drain_ms = 10000;
    c->service_count = count;
    c->services = arena_alloc(&c->arena, count * sizeof *services + 1);
    for (size_t i = 0; i < count; i++) {
        struct service_config *s = &c->services[i];
        struct error error;
        *s = services[i];
        if (s->base_url_text.n && str_find(s->base_url_text, '$') == s->base_url_text.n)
            REQUIRE(url_parse(&c->arena, s->base_url_text, &s->base_url, &error) == OK);
        if (s->health_url_text.n && str_find(s->health_url_text, '$') == s->health_url_text.n)
            REQUIRE(url_parse(&c->arena, s->health_url_text, &s->health_url, &error) == OK);
        if (s->fallback_url_text.n)
            REQUIRE(url_parse(&c->arena, s->fallback_url_text, &s->fallback_url, &error) == OK);
        REQUIRE(map_put(&c->services_by_id, s->id, s) == OK);
    }
    return c;
}

/* Ready 20 ms after the fake has started; never idle. */
static inline struct service_config plain_config(const char *id)
{
    return (struct service_config){
        .id = str_from_c(id),
        .orchestrator = ORCHESTRATOR_PROCESS,
        .base_url_text = STR("http://127.0.0.1:${PORT}"),
        .warmup_ms = 20,
        .queue_size = 1000,
        .request_timeout_ms = 10000,
        .start_timeout_ms = 10000,
        .stop_timeout_ms = 1000,
        .retry_count = 1,
        .restart_fingerprint = STR("a"),
        .full_fingerprint = STR("a"),
    };
}

static inline void config_apply_now(void *argument)
{
    enum err err = services_apply(stage.all, argument);
    REQUIRE(err == OK);
}

static inline void config_use(const struct service_config *services, size_t count)
{
    struct config *c = config_make(services, count);
    on_control(config_apply_now, c);
    config_unref(c);
}

/* ---- setting up and down ----------------------------------------------------------------------------- */

static inline int stage_open(void **state)
{
    log_set_level(LOG_ERROR + 1);
    fake = (struct fake){.port = 1};
    stage.control = loop_new();
    stage.workers[0] = loop_new();
    stage.workers[1] = loop_new();
    if (stage.shepherd && shepherd_attach(stage.shepherd, stage.control) != OK)
        return -1;
    stage.all = services_new(stage.control, stage.shepherd);
    if (!stage.shepherd)
        stage.all->find = fake_find;
    struct loop *loops[] = {stage.control, stage.workers[0], stage.workers[1]};
    for (int i = 0; i < 3; i++)
        if (pthread_create(&stage.threads[i], NULL, stage_thread, loops[i]) != 0)
            return -1;
    return 0;
}

static int stage_done;

static inline void all_stopped(void *argument)
{
    stage_add(&stage_done, 1);
}

static inline void stage_end_now(void *argument)
{
    services_stop_all(stage.all, all_stopped, NULL);
}

static inline void loop_stop_task(struct task *t, void *argument)
{
    loop_stop(t->loop);
}

static inline int stage_close(void **state)
{
    stage_set(&stage_done, 0);
    on_control(stage_end_now, NULL);
    STAGE_AWAIT(&stage_done, 1);
    struct loop *loops[] = {stage.control, stage.workers[0], stage.workers[1]};
    for (int i = 2; i >= 0; i--) {
        stage_run(loops[i], loop_stop_task, NULL);
        pthread_join(stage.threads[i], NULL);
    }
    services_free(stage.all);
    if (stage.shepherd)
        shepherd_end(stage.shepherd);
    stage.shepherd = NULL;
    for (int i = 0; i < 3; i++)
        loop_free(loops[i]);
    return fake.live;
}

static inline void service_get_now(void *argument)
{
    struct service **s = argument;
    *s = services_get(stage.all, STR("x"));
}

/* The service "x" of the present config, with a reference. */
static inline struct service *service_x(void)
{
    struct service *s = NULL;
    on_control(service_get_now, &s);
    REQUIRE(s);
    return s;
}

/* ---- requests ---------------------------------------------------------------------------------------- */

/* One request: takes a lease, holds it until it is told, gives it back. */
struct user {
    struct service *service;
    const struct service_config *config;
    struct lease_options options;
    int hold_ms; /* -1: until user_go */
    int *answered, *gone;
    struct task *task; /* its own thread only */
    struct loop *loop;
    bool go;
    /* results */
    enum err err;
    int retry_after;
    struct error error;
    bool waited;
    int order; /* of being let in */
};
static int users_in; /* under stage_lock */

static inline void user_task(struct task *t, void *argument)
{
    struct user *u = argument;
    struct lease lease;
    u->task = t;
    u->err = service_lease(t, u->service, u->config, &u->options, &lease, &u->retry_after, &u->error);
    u->waited = lease.waited;
    pthread_mutex_lock(&stage_lock);
    u->order = u->err == OK ? ++users_in : 0;
    fake.using += u->err == OK;
    pthread_mutex_unlock(&stage_lock);
    stage_add(u->answered, 1);
    while (u->err == OK && u->hold_ms < 0 && !u->go)
        u->err = task_park(t, CLOCK_NEVER);
    if (u->err == OK && u->hold_ms > 0)
        u->err = task_sleep(t, (uint64_t)u->hold_ms);
    if (lease.service) {
        pthread_mutex_lock(&stage_lock);
        fake.using --;
        fake.unused_since = loop_now(t->loop); /* what the release will see */
        pthread_mutex_unlock(&stage_lock);
    }
    lease_release(&lease, t->loop);
    stage_add(u->gone, 1);
}

static inline void user_go_task(struct task *t, void *argument)
{
    struct user *u = argument;
    u->go = true;
    task_wake(u->task);
}

static inline void user_cancel_task(struct task *t, void *argument)
{
    struct user *u = argument;
    task_cancel(u->task);
}

static inline void user_start(struct user *u, int worker)
{
    u->loop = stage.workers[worker];
    stage_run(u->loop, user_task, u);
}

/* A question to the owner, asked from a worker. */
struct question {
    struct service *service;
    enum { ASK_STATUS, ASK_START, ASK_STOP, ASK_KILL, ASK_WATCH } what;
    struct service_status status;
    struct arena arena;
    struct error error;
    enum err err;
    int done;
};

static inline void question_task(struct task *t, void *argument)
{
    struct question *q = argument;
    if (q->what == ASK_STATUS)
        service_status(t, q->service, &q->arena, &q->status);
    else if (q->what == ASK_START)
        q->err = service_start(t, q->service, &q->error);
    else if (q->what == ASK_WATCH)
        q->err = service_watch_start(t, q->service, &q->error);
    else
        q->err = service_stop(t, q->service, q->what == ASK_KILL, &q->error);
    stage_add(&q->done, 1);
}

static inline enum err ask(struct service *s, int what)
{
    struct question q = {.service = s, .what = what};
    stage_run(stage.workers[0], question_task, &q);
    STAGE_AWAIT(&q.done, 1);
    return q.err;
}

static inline struct service_status status_of(struct service *s)
{
    struct question q = {.service = s, .what = ASK_STATUS};
    stage_run(stage.workers[0], question_task, &q);
    STAGE_AWAIT(&q.done, 1);
    static char error[512];
    str_to_c(q.status.last_error, error, sizeof error);
    q.status.last_error = str_from_c(error);
    q.status.id = q.status.machine_id = q.status.last_log_line = STR_NONE;
    arena_free(&q.arena);
    return q.status;
}

/* Until the service is in that state: looks each time something has happened, 1 ms apart. */
static inline void await_state(struct service *s, enum service_state state)
{
    for (int i = 0; i < 20000; i++) {
        if (status_of(s).state == state)
            return;
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    fail_msg("the service never was %s", service_state_name(state));
}

/* A listening socket on the loopback that takes connections into its backlog. */
static inline int listen_any(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 64) == 0 &&
            getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    *port = ntohs(a.sin_port);
    return fd;
}

#endif
