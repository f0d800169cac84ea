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
   fragment leaves without URL or key, and a client whose key its document keeps elsewhere. */
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
    static const char *const incomplete[] = {"hulumanage_variables.yml", "hulumanage_cost.yml",
                                             "localrouter_strategies.yml"};
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

/* ---- hulumanage ---------------------------------------------------------------------------------------- */

static const struct provider_config *provider(const struct loaded *l, const char *name)
{
    for (size_t i = 0; i < l->config->provider_count; i++)
        if (str_eq(l->config->providers[i].name, str_from_c(name)))
            return &l->config->providers[i];
    fail_msg("no provider %s", name);
    return NULL;
}

static struct str mapped(const struct provider_config *p, const char *model)
{
    for (size_t i = 0; i < p->model_map_count; i++)
        if (str_eq(p->model_map[i].name, str_from_c(model)))
            return p->model_map[i].value;
    return STR_NONE;
}

static void test_providers_without_their_variables(void **state)
{
    struct loaded l = seed("hulumanage_quick_start", NULL);
    assert_int_equal(l.findings.warnings, 2);
    assert_true(found(&l, SEVERITY_WARNING, "providers[0].api_key",
                      "the variable OPENAI_API_KEY is not set: the provider \"primary\" is disabled"));
    assert_true(provider(&l, "primary")->disabled);
    assert_text(provider(&l, "primary")->disabled_why,
                "the variable OPENAI_API_KEY is not set (providers[0].api_key)");
    assert_true(provider(&l, "backup")->disabled);
    assert_true(l.config->has_providers);
    loaded_free(&l);
    l = seed("hulumanage_cost", NULL);
    assert_true(provider(&l, "cheap_provider")->disabled);
    assert_text(provider(&l, "cheap_provider")->disabled_why, "it has no base_url");
    assert_int_equal(provider(&l, "cheap_provider")->weight, 10);
    assert_true(provider(&l, "expensive_provider")->fallback_only);
    loaded_free(&l);
}

static void test_quick_start(void **state)
{
    static const char *const environment[] = {"OPENAI_API_KEY=a", "OPENAI_API_KEY_BACKUP=b", NULL};
    struct loaded l = seed("hulumanage_quick_start", environment);
    const struct provider_config *p = provider(&l, "primary"), *q = provider(&l, "backup");
    assert_int_equal(l.findings.count, 0);
    assert_int_equal(l.config->provider_count, 2);
    assert_ptr_equal(p, &l.config->providers[0]);
    assert_text(p->base_url.origin, "https://api.openai.com");
    assert_text(p->base_url.prefix, "/v1");
    assert_text(p->api_key, "a");
    assert_int_equal(p->weight, 2);
    assert_int_equal(p->max_concurrent, 5);
    assert_int_equal(p->model_map_count, 1);
    assert_text(mapped(p, "gpt-4"), "gpt-4-turbo-preview");
    assert_false(p->disabled || p->fallback_only);
    assert_int_equal(p->type, PROVIDER_OPENAI);
    assert_text(q->api_key, "b");
    assert_int_equal(q->weight, 1);
    assert_int_equal(q->max_concurrent, 2);
    assert_int_equal(q->model_map_count, 0);
    assert_int_equal(l.config->routing.strategy, ROUTING_WEIGHTED);
    assert_int_equal(l.config->timeouts.request, 30000);
    assert_int_equal(l.config->timeouts.connect, 5000);
    assert_int_equal(l.config->queue.max_concurrent, 100);
    assert_int_equal(l.config->queue.timeout_ms, 60000);
    loaded_free(&l);
}

static void test_provider_blocks(void **state)
{
    static const char *const environment[] = {"API_KEY=k",
                                              "KEY_1=k",
                                              "KEY_2=k",
                                              "ENV_VAR=k",
                                              "AZURE_KEY=k",
                                              "PREMIUM_KEY=k",
                                              "BACKUP_KEY=k",
                                              "STANDARD_KEY=k",
                                              "OPENAI_API_KEY=k",
                                              "AZURE_ENDPOINT=https://mine.OpenAI.Azure.com/",
                                              NULL};
    struct loaded l = seed("hulumanage_concurrency", environment);
    assert_int_equal(provider(&l, "slow_server")->max_concurrent, 1);
    assert_text(provider(&l, "slow_server")->api_key, "dummy");
    assert_int_equal(provider(&l, "fast_server")->max_concurrent, 10);
    assert_int_equal(provider(&l, "unlimited_server")->max_concurrent, 0);
    loaded_free(&l);
    l = seed("hulumanage_priority", environment);
    assert_int_equal(provider(&l, "premium")->weight, 5);
    loaded_free(&l);
    l = seed("hulumanage_failover", environment);
    assert_int_equal(provider(&l, "primary_1")->weight, 3);
    assert_false(provider(&l, "primary_2")->fallback_only);
    assert_true(provider(&l, "emergency_backup")->fallback_only);
    assert_int_equal(provider(&l, "emergency_backup")->weight, 1);
    loaded_free(&l);
    l = seed("hulumanage_model_map", environment);
    assert_int_equal(provider(&l, "azure")->type, PROVIDER_AZURE);
    assert_text(provider(&l, "azure")->base_url.prefix, "");
    assert_text(mapped(provider(&l, "azure"), "gpt-4"), "gpt-4-deployment-001");
    assert_text(mapped(provider(&l, "azure"), "gpt-3.5-turbo"), "gpt-35-turbo-deployment");
    assert_int_equal(provider(&l, "openai")->model_map_count, 0);
    loaded_free(&l);
    l = seed("hulumanage_provider_reference", environment);
    assert_text(mapped(provider(&l, "provider_name"), "gpt-3.5-turbo"), "gpt-35-turbo");
    assert_int_equal(provider(&l, "provider_name")->weight, 2);
    loaded_free(&l);
}

/* One document lies over the other: three providers, of which the nested reference is concatenation. */
static void test_provider_variables(void **state)
{
    static const char *const environment[] = {"OPENAI_API_KEY=k", "ENV_PREFIX=PROD", NULL};
    struct loaded l = seed("hulumanage_variables", environment);
    assert_text(provider(&l, "nested")->api_key, "PROD_API_KEY");
    assert_text(provider(&l, "with_default")->base_url_text, "https://api.openai.com/v1");
    assert_text(provider(&l, "with_default")->disabled_why, "it has no api_key");
    assert_text(provider(&l, "simple")->disabled_why, "it has no base_url");
    loaded_free(&l);
}

static void test_routing_blocks(void **state)
{
    struct loaded l = seed("hulumanage_high_throughput", NULL);
    assert_int_equal(l.config->routing.strategy, ROUTING_WEIGHTED);
    assert_int_equal(l.config->routing.health_check.interval_ms, 60000);
    assert_int_equal(l.config->routing.health_check.timeout_ms, 10000);
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
    l = seed("hulumanage_low_latency", NULL);
    assert_int_equal(l.config->routing.strategy, ROUTING_FAILOVER);
    assert_int_equal(l.config->routing.health_check.interval_ms, 10000);
    assert_int_equal(l.config->routing.health_check.timeout_ms, 2000);
    loaded_free(&l);
    l = seed("hulumanage_local_development", NULL);
    assert_int_equal(l.config->routing.strategy, ROUTING_ROUND_ROBIN);
    assert_false(l.config->routing.health_check.enabled);
    assert_int_equal(provider(&l, "local_backup")->base_url.port, 8081);
    assert_false(provider(&l, "local_backup")->disabled);
    loaded_free(&l);
    l = seed("hulumanage_timeouts_and_queue", NULL);
    assert_int_equal(l.config->timeouts.request, 30000);
    assert_int_equal(l.config->queue.timeout_ms, 60000);
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

static void test_monitoring_blocks(void **state)
{
    static const char *const environment[] = {"PROD_OPENAI_KEY_1=a", "FALLBACK_ENDPOINT=http://f/v1", NULL};
    struct loaded l = seed("hulumanage_monitoring", NULL);
    assert_int_equal(l.config->monitoring.log_level, LOG_DEBUG);
    assert_true(l.config->monitoring.track_latency);
    assert_true(l.config->monitoring.track_errors);
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
    l = seed("hulumanage_production", environment);
    assert_int_equal(l.config->monitoring.log_level, LOG_WARNING);
    assert_int_equal(l.findings.warnings, 2);
    assert_false(provider(&l, "prod_primary")->disabled);
    assert_int_equal(provider(&l, "prod_primary")->weight, 5);
    assert_text(provider(&l, "prod_secondary")->disabled_why,
                "the variable PROD_OPENAI_KEY_2 is not set (providers[1].api_key)");
    assert_text(provider(&l, "prod_fallback")->disabled_why,
                "the variable FALLBACK_KEY is not set (providers[2].api_key)");
    assert_true(provider(&l, "prod_fallback")->fallback_only);
    assert_true(l.config->routing.health_check.enabled);
    loaded_free(&l);
}

/* ---- LlamaFarm, LocalRouter, the shipped one ------------------------------------------------------------
 */

static void test_strategies(void **state)
{
    struct loaded l = seed("llamafarm_production_hybrid", NULL);
    assert_int_equal(l.findings.warnings, 1);
    assert_true(found(&l, SEVERITY_WARNING, "strategies[0].components.cloud_api.config.api_key",
                      "the component \"cloud_api\" is disabled"));
    assert_true(found(&l, SEVERITY_NOTICE, "strategies[0].fallback_chain", "not active yet"));
    assert_int_equal(l.config->strategy_count, 1);
    assert_text(l.config->strategies[0].id, "production_hybrid");
    assert_true(l.config->strategies[0].allowed.selected_all);
    loaded_free(&l);
}

static void test_localrouter(void **state)
{
    struct loaded l = seed("localrouter_strategies", NULL);
    static const struct rate_limit_config limits[] = {{LIMIT_REQUESTS, WINDOW_HOUR, 100, true},
                                                      {LIMIT_TOTAL_TOKENS, WINDOW_DAY, 50000, true},
                                                      {LIMIT_COST, WINDOW_MINUTE, 500000000000, true}};
    assert_int_equal(l.config->strategy_count, 2);
    const struct strategy_config *s = l.config->strategies;
    assert_text(s[0].id, "default");
    assert_text(s[0].name, "Default Strategy");
    assert_true(s[0].allowed.selected_all && !s[0].has_auto && s[0].limit_count == 0 && !s[0].parent.n);
    s++;
    assert_text(s->name, "Laptop's strategy");
    assert_true(str_eq(s->parent, l.config->clients[0].id));
    assert_false(s->allowed.selected_all);
    assert_text(s->allowed.providers.items[0], "ollama");
    assert_text(s->allowed.models.items[0].provider, "openai");
    assert_text(s->allowed.models.items[0].model, "gpt-4o");
    assert_true(s->has_auto && s->auto_config.enabled);
    assert_int_equal(s->auto_config.prioritized.count, 2);
    assert_text(s->auto_config.prioritized.items[1].model, "llama3.2:3b");
    assert_int_equal(s->auto_config.available.count, 1);
    assert_int_equal(s->limit_count, COUNT_OF(limits));
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        assert_memory_equal(&s->limits[i].value, &limits[i].value, sizeof limits[i].value);
    assert_int_equal(s->limits[2].kind, LIMIT_COST);
    assert_int_equal(l.config->client_count, 1);
    assert_text(l.config->clients[0].name, "Laptop");
    assert_true(str_eq(l.config->clients[0].strategy_id, s->id));
    assert_true(l.config->clients[0].enabled && l.config->clients[0].key_count == 0);
    assert_true(l.config->has_clients);
    assert_int_equal(l.findings.count, 1);
    assert_true(found(&l, SEVERITY_WARNING, "clients[0].key", "nobody can call as it"));
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
        cmocka_unit_test(test_providers_without_their_variables),
        cmocka_unit_test(test_quick_start),
        cmocka_unit_test(test_provider_blocks),
        cmocka_unit_test(test_provider_variables),
        cmocka_unit_test(test_routing_blocks),
        cmocka_unit_test(test_monitoring_blocks),
        cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_localrouter),
        cmocka_unit_test(test_shipped_config),
    };
    return cmocka_run_group_tests_name("config_seeds", tests, NULL, NULL);
}
