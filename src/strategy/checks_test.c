/* Active checks and model lists, against real sockets. */
#include "strategy/test.h"

/* ---- an upstream ------------------------------------------------------------------------------------- */

/* Answers each request by its path, one connection after the other. */
static struct upstream_thread {
    pthread_t thread;
    int fd;
    uint16_t port;
    int checks, lists; /* answered; under stage_lock */
    _Atomic int check_status, list_status;
    _Atomic(const char *) list;
    char request[4096]; /* the last one; under stage_lock */
} server;

static bool request_read_all(int fd, char *request, size_t size)
{
    size_t n = 0;
    ssize_t got;
    while (n < size - 1 && (got = read(fd, request + n, size - 1 - n)) > 0) {
        n += (size_t)got;
        request[n] = '\0';
        if (strstr(request, "\r\n\r\n"))
            return true;
    }
    return false;
}

static void respond(int fd, int status, const char *body)
{
    char head[128];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                     status, strlen(body));
    ssize_t sent = send(fd, head, (size_t)n, MSG_NOSIGNAL);
    for (size_t at = 0; sent > 0 && at < strlen(body); at += (size_t)sent)
        sent = send(fd, body + at, strlen(body + at), MSG_NOSIGNAL);
}

static void *serve(void *argument)
{
    for (;;) {
        char request[sizeof server.request] = "";
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        if (request_read_all(fd, request, sizeof request)) {
            bool check = strstr(request, "/check") != NULL;
            respond(fd, atomic_load(check ? &server.check_status : &server.list_status),
                    check ? "ok" : atomic_load(&server.list));
            pthread_mutex_lock(&stage_lock);
            memcpy(server.request, request, sizeof request);
            pthread_mutex_unlock(&stage_lock);
            stage_add(check ? &server.checks : &server.lists, 1);
        }
        close(fd);
    }
}

static char base[64];
static struct provider_pool *pool;

static int open_test(void **state)
{
    if (pool_open(state) != 0)
        return -1;
    pool = NULL;
    server.checks = server.lists = 0;
    atomic_store(&server.check_status, 200);
    atomic_store(&server.list_status, 200);
    atomic_store(&server.list, "[]");
    server.fd = listen_any(&server.port);
    snprintf(base, sizeof base, "http://127.0.0.1:%u/v1", server.port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int close_test(void **state)
{
    provider_pool_unref(pool);
    int left = pool_close(state);
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
    return left;
}

/* ---- pools ------------------------------------------------------------------------------------------- */

static struct provider_config asked_provider(const char *name)
{
    struct provider_config p = provider_make(name);
    p.base_url_text = str_from_c(base);
    p.models.count = 0;
    return p;
}

static struct config *checking(const struct provider_config *providers, size_t count)
{
    struct config *c = pool_config(providers, count);
    c->routing.health_check.enabled = true;
    c->routing.health_check.interval_ms = 10;
    c->routing.health_check.timeout_ms = 2000;
    c->routing.health_check.path = STR("/check");
    return c;
}

static void use(struct config *c)
{
    provider_pool_unref(pool);
    pool = pool_apply(c);
}

static struct provider_status status_at(size_t i)
{
    static char why[256];
    struct arena arena = {0};
    struct provider_status s;
    provider_status(provider_at(pool, i), &arena, &s);
    str_to_c(s.last_error, why, sizeof why);
    s.name = STR_NONE;
    s.last_error = str_from_c(why);
    arena_free(&arena);
    return s;
}

/* Looks again whenever the control loop has had a turn; fails after 20 s. */
#define AWAIT(condition)                                                                                     \
    for (uint64_t begun_ = clock_now(); !(condition); on_control(nothing_now, NULL))                         \
    assert_true(clock_now() - begun_ < 20 * CLOCK_S)

static void last_request(char *text, size_t size)
{
    pthread_mutex_lock(&stage_lock);
    snprintf(text, size, "%s", server.request);
    pthread_mutex_unlock(&stage_lock);
}

/* ---- checks ------------------------------------------------------------------------------------------ */

static void test_down_and_up(void **state)
{
    struct provider_config p = asked_provider("A");
    atomic_store(&server.check_status, 500);
    use(checking(&p, 1));
    AWAIT(!status_at(0).healthy);
    assert_true(str_eq(status_at(0).last_error, STR("the health check was answered with status 500")));
    assert_true(status_at(0).last_check_us > 0);
    atomic_store(&server.check_status, 204);
    AWAIT(status_at(0).healthy);
}

static void test_reachable_is_healthy(void **state)
{
    struct provider_config p = asked_provider("A");
    static const int statuses[] = {404, 405};
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        atomic_store(&server.check_status, 503);
        use(checking(&p, 1));
        AWAIT(!status_at(0).healthy);
        atomic_store(&server.check_status, statuses[i]);
        AWAIT(status_at(0).healthy);
    }
}

static void test_refused(void **state)
{
    struct provider_config p = asked_provider("A");
    atomic_store(&server.check_status, 401);
    use(checking(&p, 1));
    AWAIT(status_at(0).auth_failed);
    atomic_store(&server.check_status, 200);
    AWAIT(!status_at(0).auth_failed && status_at(0).healthy);
}

static void test_track_errors_off(void **state)
{
    struct provider_config p = asked_provider("A");
    struct config *c = checking(&p, 1);
    c->monitoring.track_errors = false;
    atomic_store(&server.check_status, 500);
    use(c);
    STAGE_AWAIT(&server.checks, 3);
    assert_true(status_at(0).healthy);
}

static void test_the_request(void **state)
{
    struct provider_config p = asked_provider("A");
    struct env_pair headers[] = {{STR("X-Team"), STR("hearth")}};
    char request[4096];
    p.headers = headers;
    p.header_count = 1;
    use(pool_config(&p, 1)); /* checks off: only the list */
    STAGE_AWAIT(&server.lists, 1);
    last_request(request, sizeof request);
    assert_non_null(strstr(request, "GET /v1/models HTTP/1.1\r\n"));
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer sk-upstream\r\n"));
    assert_non_null(strstr(request, "\r\nX-Team: hearth\r\n"));
    assert_int_equal(stage_get(&server.checks), 0);
}

static void test_azure_form(void **state)
{
    struct provider_config p = asked_provider("A");
    char request[4096];
    p.type = PROVIDER_AZURE;
    p.api_version = STR("2024-10-21");
    use(checking(&p, 1));
    STAGE_AWAIT(&server.checks, 1);
    last_request(request, sizeof request);
    assert_non_null(strstr(request, "GET /v1/openai/check?api-version=2024-10-21 HTTP/1.1\r\n"));
    assert_non_null(strstr(request, "\r\napi-key: sk-upstream\r\n"));
    assert_null(strstr(request, "Authorization"));
    assert_int_equal(stage_get(&server.lists), 0); /* it would list base models, not deployments */
    assert_true(provider_pool_knows(pool, NULL, STR("my-deployment")));
}

/* One that takes connections and says nothing holds up nobody else. */
static void test_checks_are_parallel(void **state)
{
    uint16_t port;
    char silent[64];
    int fd = listen_any(&port);
    struct provider_config p[] = {asked_provider("A"), asked_provider("B")};
    snprintf(silent, sizeof silent, "http://127.0.0.1:%u/v1", port);
    p[0].base_url_text = str_from_c(silent);
    struct config *c = checking(p, 2);
    c->routing.health_check.timeout_ms = 2000;
    use(c);
    STAGE_AWAIT(&server.checks, 3);
    assert_true(status_at(0).healthy); /* its first check still waits */
    assert_true(status_at(1).healthy);
    AWAIT(!status_at(0).healthy);
    close(fd);
}

static void test_refused_connections(void **state)
{
    struct provider_config p = provider_make("A"); /* port 1 */
    use(checking(&p, 1));
    AWAIT(!status_at(0).healthy);
}

/* ---- services ---------------------------------------------------------------------------------------- */

static void services_use(void *argument)
{
    struct config *c = argument;
    REQUIRE(services_apply(stage.all, c) == OK);
}

static struct config *on_service(struct service_config *s)
{
    struct provider_config p[] = {asked_provider("A"), asked_provider("B")};
    p[0].base_url_text = STR_NONE;
    p[0].service = STR("x");
    struct config *c = checking(p, 2);
    c->services = arena_alloc(&c->arena, sizeof *s);
    *c->services = *s;
    c->service_count = 1;
    REQUIRE(map_put(&c->services_by_id, s->id, c->services) == OK);
    on_control(services_use, c);
    return c;
}

static void test_cold_service_is_left_alone(void **state)
{
    struct service_config s = plain_config("x");
    use(on_service(&s));
    STAGE_AWAIT(&server.checks, 5); /* of the other provider */
    assert_int_equal(stage_get(&fake.starts), 0);
    assert_int_equal(status_at(0).last_check_us, 0);
    assert_true(status_at(0).healthy); /* coldness is no illness */
    assert_null(provider_origin(provider_at(pool, 0)));
    assert_non_null(provider_service(provider_at(pool, 0)));
    struct provider_tour tour = {0};
    struct provider *p = provider_pick(pool, &tour, STR("m"), clock_now());
    assert_ptr_equal(p, provider_at(pool, 0));
    provider_report(p, &tour, PROVIDER_OK, 0, 0, 0, clock_now(), NULL);
}

static void test_hot_service_is_asked(void **state)
{
    struct service_config s = plain_config("x");
    char request[4096] = "";
    fake.port = server.port;
    atomic_store(&server.list, "[\"local\"]");
    use(on_service(&s));
    struct service *service = provider_service(provider_at(pool, 0));
    assert_int_equal(ask(service, ASK_START), OK);
    AWAIT(status_at(0).last_check_us > 0);
    AWAIT(status_at(0).model_count == 1);
    last_request(request, sizeof request);
    assert_non_null(strstr(request, "GET /v1/")); /* the service's URL, plus /v1 */
}

/* ---- lists ------------------------------------------------------------------------------------------- */

static void test_list_is_fetched(void **state)
{
    struct provider_config p[] = {asked_provider("A"), provider_make("B")};
    struct arena arena = {0};
    struct pool_model *models;
    atomic_store(&server.list, "{\"data\":[{\"id\":\"m1\",\"created\":5},{\"id\":\"m\"}]}");
    use(pool_config(p, 2));
    AWAIT(status_at(0).model_count == 2);
    assert_int_equal(provider_pool_models(pool, NULL, &arena, &models), 2);
    assert_true(str_eq(models[0].id, STR("m1")) && models[0].created == 5);
    assert_true(str_eq(models[1].owned_by, STR("A")));
    assert_true(provider_pool_knows(pool, NULL, STR("m1")));
    assert_true(provider_pool_lists(pool, STR("m1")));
    assert_false(provider_pool_knows(pool, NULL, STR("m2")));
    arena_free(&arena);
}

/* A reload asks again. */
static void list_again(const struct provider_config *p)
{
    int before = stage_get(&server.lists);
    use(pool_config(p, 1));
    STAGE_AWAIT(&server.lists, before + 1);
    control_settle();
}

static void test_failure_keeps_the_list(void **state)
{
    struct provider_config p = asked_provider("A");
    char *huge = mem_alloc(MODEL_LIST_BYTES + 16);
    atomic_store(&server.list, "[\"m1\"]");
    use(pool_config(&p, 1));
    AWAIT(status_at(0).model_count == 1);
    atomic_store(&server.list, "<html>");
    list_again(&p);
    atomic_store(&server.list_status, 500);
    atomic_store(&server.list, "[]");
    list_again(&p);
    memset(huge, ' ', MODEL_LIST_BYTES + 1);
    memcpy(huge + MODEL_LIST_BYTES + 1, "[]", 3);
    atomic_store(&server.list_status, 200);
    atomic_store(&server.list, huge);
    list_again(&p);
    assert_int_equal(status_at(0).model_count, 1);
    atomic_store(&server.list, "[\"m1\",\"m2\"]");
    use(pool_config(&p, 1));
    AWAIT(status_at(0).model_count == 2);
    mem_free(huge);
}

static void test_list_after_recovery(void **state)
{
    struct provider_config p = asked_provider("A");
    struct provider_tour tour = {0};
    atomic_store(&server.list, "[\"m\"]");
    use(pool_config(&p, 1));
    AWAIT(status_at(0).model_count == 1);
    atomic_store(&server.list, "[\"m\",\"new\"]");
    uint64_t now = clock_now();
    struct provider *a = provider_pick(pool, &tour, STR("m"), now);
    provider_report(a, &tour, PROVIDER_FAILED, 0, 0, 0, now, "gone");
    tour = (struct provider_tour){0};
    a = provider_pick(pool, &tour, STR("m"), now); /* the last resort */
    provider_report(a, &tour, PROVIDER_OK, 0, 0, 0, now, NULL);
    AWAIT(status_at(0).model_count == 2);
}

/* ---- metrics ----------------------------------------------------------------------------------------- */

struct measured {
    int done;
};

static void measure_task(struct task *t, void *argument)
{
    struct measured *m = argument;
    provider_pool_measure(t, pool);
    stage_add(&m->done, 1);
}

static bool reads(enum metric metric, const char *provider, int64_t gauge, uint64_t count)
{
    size_t n;
    bool found = false;
    struct metric_value *values = metric_read_all(&n);
    for (size_t i = 0; i < n; i++)
        if (values[i].metric == metric && str_eq(label_text(values[i].labels.of[0]), str_from_c(provider)))
            found |= metric_row(metric)->kind == METRIC_GAUGE ? values[i].gauge == gauge
                                                              : values[i].count == count;
    mem_free(values);
    return found;
}

static void use_metrics(void *argument)
{
    stage.control->metrics = argument;
}

static void test_metrics(void **state)
{
    struct provider_config p[] = {provider_make("M1"), provider_make("M2")};
    struct measured m = {0};
    on_control(use_metrics, metric_set_new());
    use(pool_config(p, 2));
    for (int i = 0; i < 2; i++) {
        struct provider_tour tour = {0};
        struct provider *one = provider_pick(pool, &tour, STR("m"), clock_now());
        provider_report(one, &tour, i ? PROVIDER_FAILED : PROVIDER_RATE_LIMITED, 0, 0, 0, clock_now(), "x");
    }
    stage_run(stage.workers[0], measure_task, &m);
    STAGE_AWAIT(&m.done, 1);
    assert_true(reads(METRIC_PROVIDER_HEALTHY, "M1", 1, 0));
    assert_true(reads(METRIC_PROVIDER_HEALTHY, "M2", 0, 0));
    assert_true(reads(METRIC_PROVIDER_CIRCUIT, "M2", 0, 0));
    assert_true(reads(METRIC_PROVIDER_IN_FLIGHT, "M1", 0, 0));
    assert_true(reads(METRIC_PROVIDER_COOLDOWNS, "M1", 0, 1));
    assert_false(reads(METRIC_PROVIDER_COOLDOWNS, "M2", 0, 1));
}

#define POOL(test) cmocka_unit_test_setup_teardown(test, open_test, close_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL(test_down_and_up),
        POOL(test_reachable_is_healthy),
        POOL(test_refused),
        POOL(test_track_errors_off),
        POOL(test_the_request),
        POOL(test_azure_form),
        POOL(test_checks_are_parallel),
        POOL(test_refused_connections),
        POOL(test_cold_service_is_left_alone),
        POOL(test_hot_service_is_asked),
        POOL(test_list_is_fetched),
        POOL(test_failure_keeps_the_list),
        POOL(test_list_after_recovery),
        POOL(test_metrics),
    };
    return cmocka_run_group_tests_name("strategy_checks", tests, NULL, NULL);
}
