/*
 * Every configuration block of the documents that Hestia unites loads without an error, and means what it
 * says. tests/fixtures/seeds holds them with the same keys and values, fragments inside their parent.
 */
#include "config/test.h"

enum { SEED_FIXTURES = 52 };

static struct loaded seed(const char *name, const char *const *environment)
{
    char path[100];
    snprintf(path, sizeof path, "tests/fixtures/seeds/%s.yml", name);
    struct loaded l = load_file(project_path(__FILE__, path), environment);
    if (!l.config)
        print_findings(&l);
    assert_non_null(l.config);
    return l;
}

static struct service_config *service(const struct loaded *l, const char *id)
{
    struct service_config *s = map_get(&l->config->services_by_id, str_from_c(id));
    assert_non_null(s);
    return s;
}

static void test_all_load(void **state)
{
    glob_t found;
    assert_int_equal(glob(project_path(__FILE__, "tests/fixtures/seeds/*.yml"), 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, SEED_FIXTURES);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct loaded l = load_file(found.gl_pathv[i], NULL);
        if (!l.config)
            print_findings(&l);
        assert_non_null(l.config);
        assert_int_equal(l.findings.errors, 0);
        loaded_free(&l);
    }
    globfree(&found);
}

/* Every variable of the seeds set: then there is nothing to warn about either, but for providers that a
   fragment leaves without URL or key. */
static void test_all_load_with_their_variables(void **state)
{
    static const char *const environment[] = {"OPENAI_API_KEY=k",
                                              "OPENAI_API_KEY_BACKUP=k",
                                              "ENV_VAR=k",
                                              "API_KEY=k",
                                              "CUSTOM_ENDPOINT=http://c",
                                              "ENV_PREFIX=PROD",
                                              "PREMIUM_KEY=k",
                                              "STANDARD_KEY=k",
                                              "AZURE_ENDPOINT=http://z",
                                              "AZURE_KEY=k",
                                              "KEY_1=k",
                                              "KEY_2=k",
                                              "BACKUP_KEY=k",
                                              "AZURE_API_KEY=k",
                                              "TOGETHER_API_KEY=k",
                                              "PROD_OPENAI_KEY_1=k",
                                              "PROD_OPENAI_KEY_2=k",
                                              "FALLBACK_ENDPOINT=http://f",
                                              "FALLBACK_KEY=k",
                                              "HF_TOKEN=k",
                                              NULL};
    static const char *const incomplete[] = {"hulumanage_variables.yml", "hulumanage_cost.yml"};
    glob_t found;
    assert_int_equal(glob(project_path(__FILE__, "tests/fixtures/seeds/*.yml"), 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct str path = str_from_c(found.gl_pathv[i]);
        bool fragment = str_find_str(path, STR("hestia_")) < path.n;
        for (size_t k = 0; k < COUNT_OF(incomplete); k++)
            fragment |= str_ends(path, str_from_c(incomplete[k]));
        struct loaded l = load_file(found.gl_pathv[i], environment);
        if (l.findings.warnings && !fragment)
            print_findings(&l);
        assert_true(l.findings.warnings == 0 || fragment);
        loaded_free(&l);
    }
    globfree(&found);
}

static void test_local_service(void **state)
{
    struct loaded l = seed("hestia_local_service", NULL);
    struct service_config *s = service(&l, "ollama");
    assert_text(s->base_url.origin, "http://localhost:11434");
    assert_text(s->health_url.prefix, "/api/tags");
    assert_int_equal(s->idle_timeout_ms, 300000);
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

static void test_high_availability(void **state)
{
    struct loaded l = seed("hestia_high_availability", NULL);
    struct service_config *s = service(&l, "critical-api");
    assert_int_equal(s->retry_count, 3);
    assert_text(s->fallback_url.origin, "http://backup.local:8080");
    assert_int_equal(s->idle_timeout_ms, 0);
    loaded_free(&l);
}

static void test_strategies_of_services(void **state)
{
    struct loaded l = seed("hestia_model_router", NULL);
    struct service_config *s = service(&l, "my-llm");
    assert_text(s->strategy, "model_router");
    assert_int_equal(s->instance_count, 2);
    assert_text(s->instances[1].url.host, "llm-b");
    assert_true(str_find_str(s->full_fingerprint, STR("by_model.llama3=")) < s->full_fingerprint.n);
    assert_true(found(&l, SEVERITY_NOTICE, "services.my-llm.strategy", "not active yet"));
    loaded_free(&l);
    l = seed("hestia_load_balancer", NULL);
    assert_text(service(&l, "my-service")->instances[1].region, "us-west");
    assert_false(service(&l, "my-service")->disabled);
    loaded_free(&l);
    l = seed("hestia_strategies_balancer_with_checks", NULL);
    assert_int_equal(service(&l, "ollama")->instances[1].weight, 2);
    loaded_free(&l);
}

static void test_providers(void **state)
{
    static const char *const environment[] = {"OPENAI_API_KEY=a", "OPENAI_API_KEY_BACKUP=b", NULL};
    struct loaded l = seed("hulumanage_quick_start", NULL);
    assert_int_equal(l.findings.warnings, 2);
    assert_true(found(&l, SEVERITY_WARNING, "providers[0].api_key", "the provider \"primary\" is disabled"));
    assert_true(l.config->has_providers);
    loaded_free(&l);
    l = seed("hulumanage_quick_start", environment);
    assert_int_equal(l.findings.warnings, 0);
    loaded_free(&l);
    l = seed("hulumanage_monitoring", NULL);
    assert_int_equal(l.config->monitoring.log_level, LOG_DEBUG);
    assert_true(l.config->monitoring.track_latency);
    loaded_free(&l);
    l = seed("hulumanage_production", NULL);
    assert_int_equal(l.config->monitoring.log_level, LOG_WARNING);
    loaded_free(&l);
}

static void test_strategies(void **state)
{
    struct loaded l = seed("llamafarm_production_hybrid", NULL);
    assert_int_equal(l.findings.warnings, 1);
    assert_true(found(&l, SEVERITY_WARNING, "strategies[0].components.cloud_api.config.api_key",
                      "the component \"cloud_api\" is disabled"));
    loaded_free(&l);
    l = seed("localrouter_strategies", NULL);
    assert_true(l.config->has_clients);
    assert_int_equal(l.findings.warnings, 0);
    loaded_free(&l);
}

static void test_shipped_config(void **state)
{
    struct loaded l = load_file(project_path(__FILE__, "hestia_config.yml"), NULL);
    assert_non_null(l.config);
    assert_int_equal(l.findings.count, 0);
    struct service_config *s = service(&l, "ollama");
    assert_int_equal(s->orchestrator, ORCHESTRATOR_NONE);
    assert_int_equal(s->retry_count, 3);
    assert_int_equal(s->retry_delay_ms, 1000);
    assert_int_equal(s->warmup_ms, 5000);
    assert_int_equal(s->idle_timeout_ms, 300000);
    s = service(&l, "demo");
    assert_int_equal(s->orchestrator, ORCHESTRATOR_PROCESS);
    assert_text(s->command.items[0], "/opt/hestia/hestia");
    assert_text(s->command.items[3], "127.0.0.1:${PORT}");
    assert_int_equal(s->idle_timeout_ms, 60000);
    assert_true(s->uses_port);
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_load),
        cmocka_unit_test(test_all_load_with_their_variables),
        cmocka_unit_test(test_local_service),
        cmocka_unit_test(test_high_availability),
        cmocka_unit_test(test_strategies_of_services),
        cmocka_unit_test(test_providers),
        cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_shipped_config),
    };
    return cmocka_run_group_tests_name("config_seeds", tests, NULL, NULL);
}
