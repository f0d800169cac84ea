/* Services and settings from the environment. */
#include "config/test.h"

static struct service_config *service(const struct loaded *l, const char *id)
{
    assert_non_null(l->config);
    return map_get(&l->config->services_by_id, str_from_c(id));
}

static void test_every_suffix(void **state)
{
    static const char *const environment[] = {"MY_CLOUD_SERVICE_BASE_URL=http://h:1/p",
                                              "MY_CLOUD_SERVICE_RETRY_COUNT=3",
                                              "MY_CLOUD_SERVICE_RETRY_DELAY_MS=1000",
                                              "MY_CLOUD_SERVICE_HEALTH_URL=http://h:1/health",
                                              "MY_CLOUD_SERVICE_WARMUP_MS=5000",
                                              "MY_CLOUD_SERVICE_IDLE_TIMEOUT_MS=600000",
                                              "MY_CLOUD_SERVICE_FALLBACK_URL=http://b:2",
                                              "MY_CLOUD_SERVICE_QUEUE_SIZE=7",
                                              "MY_CLOUD_SERVICE_REQUEST_TIMEOUT_SECONDS=9",
                                              "MY_CLOUD_SERVICE_SEMAPHORE_ENABLED=YES",
                                              "MY_CLOUD_SERVICE_SEMAPHORE_MACHINE_ID=gpu",
                                              "MY_CLOUD_SERVICE_SEMAPHORE_START_TEMPLATE_ID=4",
                                              "MY_CLOUD_SERVICE_SEMAPHORE_STOP_TEMPLATE_ID=5",
                                              "MY_CLOUD_SERVICE_SEMAPHORE_TASK_TIMEOUT=600",
                                              "MY_CLOUD_SERVICE_SEMAPHORE_POLL_INTERVAL=0.5",
                                              NULL};
    struct loaded l = load_env("{}", environment);
    assert_int_equal(l.findings.warnings, 0);
    struct service_config *s = service(&l, "my-cloud-service");
    assert_non_null(s);
    assert_int_equal(l.config->service_count, 1);
    assert_text(s->base_url_text, "http://h:1/p");
    assert_text(s->base_url.host, "h");
    assert_int_equal(s->retry_count, 3);
    assert_int_equal(s->retry_delay_ms, 1000);
    assert_text(s->health_url.prefix, "/health");
    assert_int_equal(s->warmup_ms, 5000);
    assert_int_equal(s->idle_timeout_ms, 600000);
    assert_text(s->fallback_url.host, "b");
    assert_int_equal(s->queue_size, 7);
    assert_int_equal(s->request_timeout_ms, 9000);
    assert_true(s->semaphore_enabled);
    assert_text(s->semaphore_machine_id, "gpu");
    assert_int_equal(s->orchestrator, ORCHESTRATOR_SEMAPHORE);
    static const char *const lines[] = {
        "semaphore_start_template_id=1:4\n", "semaphore_stop_template_id=1:5\n",
        "semaphore_task_timeout=6:600000\n", "semaphore_poll_interval=3:500\n"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        assert_true(str_find_str(s->full_fingerprint, str_from_c(lines[i])) < s->full_fingerprint.n);
    loaded_free(&l);
}

static void test_environment_wins_over_file(void **state)
{
    static const char *const environment[] = {"OLLAMA_RETRY_COUNT=5", "OLLAMA_HEALTH_URL=", NULL};
    struct loaded l = load_env("services:\n  ollama:\n    base_url: http://a:1\n    retry_count: 2\n"
                               "    health_url: http://a:1/h\n",
                               environment);
    struct service_config *s = service(&l, "ollama");
    assert_int_equal(s->retry_count, 5);
    assert_text(s->base_url.host, "a");
    assert_int_equal(s->health_url.host.n, 0); /* empty: none */
    loaded_free(&l);
}

static void test_underscore_ids_are_reached(void **state)
{
    static const char *const environment[] = {"MY_SVC_BASE_URL=http://env:1", NULL};
    struct loaded l = load_env("services: {my_svc: {base_url: 'http://a:1'}}", environment);
    assert_int_equal(l.config->service_count, 1);
    assert_text(service(&l, "my_svc")->base_url.host, "env");
    loaded_free(&l);
    l = load_env("services: {my_svc: {base_url: 'http://a:1'}, my-svc: {base_url: 'http://b:1'}}",
                 environment);
    assert_int_equal(l.config->service_count, 2);
    assert_text(service(&l, "my_svc")->base_url.host, "env");
    assert_text(service(&l, "my-svc")->base_url.host, "env");
    loaded_free(&l);
}

static void test_reserved_prefixes_make_no_service(void **state)
{
    static const char *const environment[] = {"SEMAPHORE_BASE_URL=http://s:3000",
                                              "HESTIA_BASE_URL=http://x:1",
                                              "HULUMANAGE_BASE_URL=http://x:1",
                                              "hulumanage_BASE_URL=http://x:1",
                                              "OPENAI_BASE_URL=http://x:1",
                                              "OPENAI_API_BASE_URL=http://x:1",
                                              "ANTHROPIC_BASE_URL=http://x:1",
                                              "AZURE_OPENAI_BASE_URL=http://x:1",
                                              "BASE_URL=http://x:1",
                                              "_BASE_URL=http://x:1",
                                              "XBASE_URL=http://x:1",
                                              "X_base_url=http://x:1",
                                              "SEMAPHORE_FOO_BASE_URL=http://x:1",
                                              NULL};
    struct loaded l = load_env("{}", environment);
    assert_non_null(l.config);
    assert_int_equal(l.config->service_count, 0);
    assert_true(found(&l, SEVERITY_NOTICE, "semaphore_base_url", "not active yet"));
    loaded_free(&l);
}

static void test_semaphore_in_the_middle(void **state)
{
    static const char *const environment[] = {"FOO_SEMAPHORE_BASE_URL=http://x:1", NULL};
    struct loaded l = load_env("{}", environment);
    assert_non_null(service(&l, "foo-semaphore"));
    loaded_free(&l);
}

static void test_bad_values_warn_with_the_name(void **state)
{
    static const char *const environment[] = {"OLLAMA_RETRY_COUNT=many",     "OLLAMA_QUEUE_SIZE=0",
                                              "OLLAMA_WARMUP_MS=",           "OLLAMA_SEMAPHORE_ENABLED=maybe",
                                              "OLLAMA_FALLBACK_URL=ftp://x", "SEMAPHORE_TIMEOUT=soon",
                                              "HESTIA_LOG_LEVEL=loud",       NULL};
    struct loaded l = load_env("services: {ollama: {base_url: 'http://a:1', retry_count: 2}}", environment);
    assert_non_null(l.config);
    assert_int_equal(l.findings.errors, 0);
    assert_int_equal(l.findings.warnings, 7);
    assert_true(
        found(&l, SEVERITY_WARNING, "services.ollama.retry_count", "OLLAMA_RETRY_COUNT is not valid"));
    assert_true(found(&l, SEVERITY_WARNING, "services.ollama.fallback_url", "OLLAMA_FALLBACK_URL"));
    assert_true(found(&l, SEVERITY_WARNING, "semaphore_timeout", "SEMAPHORE_TIMEOUT"));
    assert_true(found(&l, SEVERITY_WARNING, "monitoring.log_level", "HESTIA_LOG_LEVEL"));
    assert_string_equal(place_of(&l, "services.ollama.retry_count"), "environment");
    assert_int_equal(service(&l, "ollama")->retry_count, 2);
    assert_int_equal(service(&l, "ollama")->queue_size, 100);
    assert_false(service(&l, "ollama")->semaphore_enabled);
    loaded_free(&l);
}

static void test_values_are_not_interpolated(void **state)
{
    static const char *const environment[] = {"X_BASE_URL=http://h:1", "X_SEMAPHORE_MACHINE_ID=${NOPE}",
                                              NULL};
    struct loaded l = load_env("{}", environment);
    assert_text(service(&l, "x")->semaphore_machine_id, "${NOPE}");
    assert_false(service(&l, "x")->disabled);
    loaded_free(&l);
}

static void test_client_variable_is_no_loop(void **state)
{
    static const char *const environment[] = {"OLLAMA_BASE_URL=http://localhost:8080/services/ollama", NULL};
    struct loaded l = load_env("services: {ollama: {base_url: 'http://a:1'}}", environment);
    assert_true(found(&l, SEVERITY_WARNING, "services.ollama.base_url", "own route"));
    assert_text(service(&l, "ollama")->base_url.host, "a");
    loaded_free(&l);
}

static void test_log_level(void **state)
{
    static const char *const first[] = {"hulumanage_LOG_LEVEL=ERROR", "HESTIA_LOG_LEVEL=debug", NULL};
    static const char *const second[] = {"hulumanage_LOG_LEVEL=DEBUG", NULL};
    struct loaded l = load_env("monitoring: {log_level: WARNING}", first);
    assert_int_equal(l.config->monitoring.log_level, LOG_DEBUG);
    assert_true(l.config->monitoring.log_level_set);
    loaded_free(&l);
    l = load_env("{}", second);
    assert_int_equal(l.config->monitoring.log_level, LOG_DEBUG);
    loaded_free(&l);
    l = load_text("{}");
    assert_int_equal(l.config->monitoring.log_level, LOG_INFO);
    assert_false(l.config->monitoring.log_level_set);
    loaded_free(&l);
}

static struct str listen_of(struct loaded *l)
{
    assert_non_null(l->config);
    assert_int_equal(l->config->server.listen.count, 1);
    return l->config->server.listen.items[0];
}

static void test_hulumanage_listens(void **state)
{
    static const struct {
        const char *environment[3], *listen;
    } cases[] = {
        {{"HULUMANAGE_PORT=9000"}, "127.0.0.1:9000"},
        {{"hulumanage_PORT=9000", "HULUMANAGE_HOST=127.0.0.2"}, "127.0.0.2:9000"},
        {{"hulumanage_HOST=::1"}, "[::1]:8000"},
        {{"HULUMANAGE_PORT=", "HULUMANAGE_HOST="}, "127.0.0.1:1234"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct loaded l = load_env("server: {listen: '127.0.0.1:1234'}", cases[i].environment);
        assert_text(listen_of(&l), cases[i].listen);
        assert_int_equal(l.findings.count, 0);
        loaded_free(&l);
    }
    static const char *const wrong[] = {"HULUMANAGE_PORT=http", NULL};
    struct loaded l = load_env("server: {listen: '127.0.0.1:1234'}", wrong);
    assert_text(listen_of(&l), "127.0.0.1:1234");
    assert_true(found(&l, SEVERITY_WARNING, "server.listen", "a port"));
    loaded_free(&l);
}

static void test_hulumanage_log(void **state)
{
    static const char *const critical[] = {"HULUMANAGE_LOG=critical", NULL};
    static const char *const notset[] = {"hulumanage_LOG=notset", NULL};
    struct loaded l = load_env("{}", critical);
    assert_int_equal(l.config->monitoring.log_level, LOG_ERROR);
    loaded_free(&l);
    l = load_env("{}", notset);
    assert_int_equal(l.config->monitoring.log_level, LOG_DEBUG);
    loaded_free(&l);
}

/* ---- the seeds' own blocks ----------------------------------------------------------------------------- */

static void test_seed_semaphore_setup(void **state)
{
    static const char *const environment[] = {
        "MYSERVICE_BASE_URL=http://target.local:8080", "MYSERVICE_SEMAPHORE_ENABLED=true",
        "MYSERVICE_SEMAPHORE_MACHINE_ID=my-server", "SEMAPHORE_BASE_URL=http://localhost:3000", NULL};
    struct loaded l = load_env("{}", environment);
    struct service_config *s = service(&l, "myservice");
    assert_int_equal(l.config->service_count, 1);
    assert_text(s->base_url.host, "target.local");
    assert_int_equal(s->base_url.port, 8080);
    assert_true(s->semaphore_enabled);
    assert_false(s->disabled);
    loaded_free(&l);
}

static void test_seed_common_patterns(void **state)
{
    static const char *const environment[] = {
        "CLOUD_SERVICE_SEMAPHORE_ENABLED=true",        "CLOUD_SERVICE_SEMAPHORE_MACHINE_ID=aws-instance",
        "CLOUD_SERVICE_IDLE_TIMEOUT_MS=600000",        "GPU_SERVICE_SEMAPHORE_ENABLED=true",
        "GPU_SERVICE_SEMAPHORE_MACHINE_ID=gpu-server", "GPU_SERVICE_IDLE_TIMEOUT_MS=1800000",
        "DEV_SERVICE_SEMAPHORE_ENABLED=true",          "DEV_SERVICE_SEMAPHORE_MACHINE_ID=dev-vm-pool",
        "DEV_SERVICE_IDLE_TIMEOUT_MS=300000",          NULL};
    struct loaded l = load_env("{}", environment);
    assert_non_null(l.config);
    assert_int_equal(l.config->service_count, 3);
    assert_int_equal(service(&l, "gpu-service")->idle_timeout_ms, 1800000);
    assert_true(service(&l, "dev-service")->disabled); /* no URL: loads with a warning */
    assert_int_equal(l.findings.warnings, 3);
    loaded_free(&l);
}

static void test_seed_remote_and_cloud(void **state)
{
    static const char *const environment[] = {"REMOTE_API_BASE_URL=http://api.remote.com:8080",
                                              "REMOTE_API_RETRY_COUNT=3",
                                              "REMOTE_API_IDLE_TIMEOUT_MS=600000",
                                              "CLOUD_ML_BASE_URL=http://gpu-vm.aws.com:8080",
                                              "CLOUD_ML_SEMAPHORE_ENABLED=true",
                                              "CLOUD_ML_SEMAPHORE_MACHINE_ID=aws-gpu-instance",
                                              "CLOUD_ML_IDLE_TIMEOUT_MS=900000",
                                              "CLOUD_ML_SEMAPHORE_TASK_TIMEOUT=600",
                                              "DEV_WORKSPACE_BASE_URL=http://dev.local:8080",
                                              "DEV_WORKSPACE_SEMAPHORE_ENABLED=true",
                                              "DEV_WORKSPACE_SEMAPHORE_MACHINE_ID=dev-vm-pool",
                                              "DEV_WORKSPACE_IDLE_TIMEOUT_MS=300000",
                                              "DEV_WORKSPACE_SEMAPHORE_TASK_TIMEOUT=120",
                                              "STABLE_DIFFUSION_SEMAPHORE_ENABLED=true",
                                              "STABLE_DIFFUSION_SEMAPHORE_MACHINE_ID=gpu-server-01",
                                              "STABLE_DIFFUSION_IDLE_TIMEOUT_MS=900000",
                                              "COMFYUI_SEMAPHORE_ENABLED=true",
                                              "COMFYUI_SEMAPHORE_MACHINE_ID=gpu-server-01",
                                              "COMFYUI_IDLE_TIMEOUT_MS=900000",
                                              NULL};
    struct loaded l = load_env("{}", environment);
    assert_non_null(l.config);
    assert_int_equal(l.findings.errors, 0);
    assert_int_equal(l.config->service_count, 5);
    assert_int_equal(service(&l, "remote-api")->retry_count, 3);
    assert_int_equal(service(&l, "cloud-ml")->idle_timeout_ms, 900000);
    assert_text(service(&l, "stable-diffusion")->semaphore_machine_id, "gpu-server-01");
    assert_text(service(&l, "comfyui")->semaphore_machine_id, "gpu-server-01");
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_suffix),
        cmocka_unit_test(test_environment_wins_over_file),
        cmocka_unit_test(test_underscore_ids_are_reached),
        cmocka_unit_test(test_reserved_prefixes_make_no_service),
        cmocka_unit_test(test_semaphore_in_the_middle),
        cmocka_unit_test(test_bad_values_warn_with_the_name),
        cmocka_unit_test(test_values_are_not_interpolated),
        cmocka_unit_test(test_client_variable_is_no_loop),
        cmocka_unit_test(test_log_level),
        cmocka_unit_test(test_hulumanage_listens),
        cmocka_unit_test(test_hulumanage_log),
        cmocka_unit_test(test_seed_semaphore_setup),
        cmocka_unit_test(test_seed_common_patterns),
        cmocka_unit_test(test_seed_remote_and_cloud),
    };
    return cmocka_run_group_tests_name("config_environment", tests, NULL, NULL);
}
