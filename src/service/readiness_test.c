/* Readiness, adoption, fallback and suspicion, against real sockets. */
#include "service/test.h"

/* ---- a server with one answer ------------------------------------------------------------------------ */

struct server_thread {
    pthread_t thread;
    int fd;
    uint16_t port;
    int asked; /* under stage_lock */
    _Atomic int status;
    _Atomic int loading; /* that many 503 first */
    _Atomic int padding; /* bytes of body besides "ok" */
};
static struct server_thread upstream;

static void *serve(void *argument)
{
    for (;;) {
        char request[4096], answer[256];
        size_t n = 0;
        int fd = accept(upstream.fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        ssize_t got;
        while ((got = read(fd, request + n, sizeof request - 1 - n)) > 0) {
            n += (size_t)got;
            request[n] = '\0';
            if (strstr(request, "\r\n\r\n"))
                break;
        }
        int status = atomic_load(&upstream.status);
        if (atomic_load(&upstream.loading) > 0) {
            atomic_fetch_sub(&upstream.loading, 1);
            status = 503;
        }
        int length = snprintf(answer, sizeof answer,
                              "HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\nok", status,
                              2 + atomic_load(&upstream.padding));
        stage_add(&upstream.asked, 1); /* before anybody can know of the answer */
        ssize_t sent = send(fd, answer, (size_t)length, MSG_NOSIGNAL);
        memset(answer, ' ', sizeof answer);
        for (int left = atomic_load(&upstream.padding); left > 0 && sent > 0; left -= (int)sizeof answer)
            sent = send(fd, answer, MIN((size_t)left, sizeof answer), MSG_NOSIGNAL);
        close(fd);
    }
}

static char base[64], health[64];

static int server_open(void **state)
{
    if (stage_open(state) != 0)
        return -1;
    upstream.asked = 0;
    atomic_store(&upstream.status, 200);
    atomic_store(&upstream.loading, 0);
    atomic_store(&upstream.padding, 0);
    upstream.fd = listen_any(&upstream.port);
    snprintf(base, sizeof base, "http://127.0.0.1:%u", upstream.port);
    snprintf(health, sizeof health, "http://127.0.0.1:%u/health", upstream.port);
    fake.port = upstream.port;
    return pthread_create(&upstream.thread, NULL, serve, NULL);
}

static void server_stop(void)
{
    if (upstream.fd < 0)
        return;
    shutdown(upstream.fd, SHUT_RDWR);
    pthread_join(upstream.thread, NULL);
    close(upstream.fd);
    upstream.fd = -1;
}

static int server_close(void **state)
{
    int left = stage_close(state);
    server_stop();
    return left;
}

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
    user.go = false;
    user_start(&user, 0);
    STAGE_AWAIT(&gone, before + 1);
    return user.err;
}

/* Health at a fixed address, but run by ourselves. */
static struct service_config own_config(void)
{
    struct service_config c = plain_config("x");
    c.health_url_text = STR("http://127.0.0.1:${PORT}/health");
    c.warmup_ms = 0;
    return c;
}

static struct service_config foreign_config(void)
{
    struct service_config c = plain_config("x");
    c.orchestrator = ORCHESTRATOR_NONE;
    c.base_url_text = str_from_c(base);
    c.health_url_text = str_from_c(health);
    c.warmup_ms = 0;
    return c;
}

/* ---- tests ------------------------------------------------------------------------------------------- */

static void test_503_is_loading(void **state)
{
    struct service_config c = own_config();
    atomic_store(&upstream.loading, 4);
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    assert_int_equal(stage_get(&upstream.asked), 5);
    assert_int_equal(stage_get(&fake.starts), 1);
    assert_false(status_of(s).adopted);
    service_unref(s);
}

static void test_404_is_not_ready(void **state)
{
    struct service_config c = own_config();
    atomic_store(&upstream.status, 404);
    c.start_timeout_ms = 1000;
    struct service *s = begin(&c);
    assert_int_equal(request(), ERR_START_TIMEOUT);
    assert_non_null(strstr(user.error.why, "answered 404"));
    service_unref(s);
}

static void test_a_long_health_page_is_fine(void **state)
{
    struct service_config c = own_config();
    atomic_store(&upstream.padding, 2 << 20);
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    service_unref(s);
}

static void test_204_is_ready(void **state)
{
    struct service_config c = own_config();
    atomic_store(&upstream.status, 204);
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    service_unref(s);
}

/* Neither health_url nor warmup_ms: a connection is enough, and nothing less. */
static void listen_late(void *argument)
{
    REQUIRE(listen(*(int *)argument, 8) == 0);
}

static void test_connecting(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    fake.port = ntohs(a.sin_port);
    struct service_config c = plain_config("x");
    c.warmup_ms = 0;
    struct service *s = begin(&c);
    user_start(&user, 0);
    STAGE_AWAIT(&fake.starts, 1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(status_of(s).state, SERVICE_STARTING);
    assert_int_equal(stage_get(&answered), 0);
    on_control(listen_late, &fd);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(user.err, OK);
    close(fd);
    service_unref(s);
}

static void test_any_instance_will_do(void **state)
{
    struct service_config c = foreign_config();
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", upstream.port);
    struct instance_config instances[] = {{.url_text = STR("http://127.0.0.1:1"), .weight = 1},
                                          {.url_text = str_from_c(url), .weight = 1}};
    c.base_url_text = c.health_url_text = STR_NONE;
    c.instances = instances;
    c.instance_count = 2;
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    service_unref(s);
}

static void test_external_is_held_until_it_answers(void **state)
{
    struct service_config c = foreign_config();
    atomic_store(&upstream.loading, 3);
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    assert_true(user.waited);
    assert_int_equal(ask(s, ASK_STOP), OK); /* nothing to stop: cold at once */
    assert_int_equal(status_of(s).state, SERVICE_COLD);
    service_unref(s);
}

static void test_external_goes_idle(void **state)
{
    struct service_config c = foreign_config();
    c.idle_timeout_ms = 20;
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    await_state(s, SERVICE_COLD);
    assert_int_equal(request(), OK);
    service_unref(s);
}

static void test_unreachable_goes_to_the_fallback(void **state)
{
    struct service_config c = foreign_config();
    c.fallback_url_text = STR("http://127.0.0.1:1");
    server_stop();
    struct service *s = begin(&c);
    uint64_t begun = clock_now();
    assert_int_equal(request(), ERR_UPSTREAM_UNREACHABLE);
    assert_int_equal(request(), ERR_UPSTREAM_UNREACHABLE);
    assert_true(clock_now() - begun < 15 * CLOCK_S); /* and not after the deadline of a start */
    assert_int_equal(status_of(s).state, SERVICE_COLD);
    service_unref(s);
}

static void test_5xx_goes_to_the_fallback(void **state)
{
    struct service_config c = foreign_config();
    c.fallback_url_text = STR("http://127.0.0.1:1");
    atomic_store(&upstream.status, 500);
    struct service *s = begin(&c);
    assert_int_equal(request(), ERR_UPSTREAM_UNREACHABLE);
    assert_int_equal(stage_get(&upstream.asked), 1);
    assert_int_equal(request(), ERR_UPSTREAM_UNREACHABLE);
    assert_int_equal(stage_get(&upstream.asked), 1); /* a moment later nobody asks again */
    service_unref(s);
}

static struct service_config adoptable_config(void)
{
    struct service_config c = foreign_config();
    c.orchestrator = ORCHESTRATOR_PROCESS;
    return c;
}

static void test_adoption(void **state)
{
    struct service_config c = adoptable_config();
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    assert_int_equal(stage_get(&fake.starts), 0);
    assert_true(status_of(s).adopted);
    assert_int_equal(ask(s, ASK_STOP), OK);
    assert_int_equal(status_of(s).state, SERVICE_COLD);
    assert_int_equal(stage_get(&fake.stops), 0);
    service_unref(s);
}

static void test_no_adoption_of_the_sick(void **state)
{
    struct service_config c = adoptable_config();
    atomic_store(&upstream.loading, 1);
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    assert_int_equal(stage_get(&fake.starts), 1);
    assert_false(status_of(s).adopted);
    service_unref(s);
}

static void report_task(struct task *t, void *argument)
{
    struct user *u = argument;
    struct lease lease = {0};
    struct target_place place;
    u->options.wake = false; /* this request starts nothing */
    u->err = service_lease(t, u->service, u->config, &u->options, &lease, &u->retry_after, &u->error);
    if (u->err == OK && lease_pick(&lease, 0, &place))
        lease_report(&lease, &place, false);
    lease_release(&lease, t->loop);
    stage_add(u->gone, 1);
}

/* An adopted service that went away is noticed by the first failed request; then we start our own. */
static void test_suspicion(void **state)
{
    struct service_config c = adoptable_config();
    struct service *s = begin(&c);
    assert_int_equal(request(), OK);
    stage_run(stage.workers[0], report_task, &user); /* fails, but the service is still there */
    STAGE_AWAIT(&gone, 2);
    STAGE_AWAIT(&upstream.asked, 2);
    assert_int_equal(status_of(s).state, SERVICE_HOT);
    server_stop();
    for (int i = 3; status_of(s).state == SERVICE_HOT; i++) { /* it is asked once a second at most */
        struct timespec pause = {.tv_nsec = 50000000};
        nanosleep(&pause, NULL);
        stage_run(stage.workers[0], report_task, &user);
        STAGE_AWAIT(&gone, i);
        assert_true(i < 100);
    }
    assert_int_equal(stage_get(&fake.starts), 0);
    assert_int_equal(ask(s, ASK_START), OK);
    STAGE_AWAIT(&fake.starts, 1);
    service_unref(s);
}

/* A wrong health_url corrected during the start takes effect at once. */
static void test_reload_during_a_start(void **state)
{
    struct service_config c = own_config();
    c.health_url_text = STR("http://127.0.0.1:1/wrong");
    struct service *s = begin(&c);
    user_start(&user, 0);
    STAGE_AWAIT(&fake.starts, 1);
    struct service_config better = own_config();
    better.full_fingerprint = STR("better");
    config_use(&better, 1);
    STAGE_AWAIT(&gone, 1);
    assert_int_equal(user.err, OK);
    assert_int_equal(stage_get(&fake.starts), 1);
    service_unref(s);
}

static int origins_gone(void **state)
{
    origins_free();
    return 0;
}

#define READY(name) cmocka_unit_test_setup_teardown(name, server_open, server_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_503_is_loading),
        READY(test_404_is_not_ready),
        READY(test_204_is_ready),
        READY(test_a_long_health_page_is_fine),
        READY(test_connecting),
        READY(test_any_instance_will_do),
        READY(test_external_is_held_until_it_answers),
        READY(test_external_goes_idle),
        READY(test_unreachable_goes_to_the_fallback),
        READY(test_5xx_goes_to_the_fallback),
        READY(test_adoption),
        READY(test_no_adoption_of_the_sick),
        READY(test_suspicion),
        READY(test_reload_during_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, origins_gone);
}
