/* The pool of providers as it is decoded: defaults, values, rules, names, what disables one, fingerprints. */
#include "config/test.h"

#define ONE "base_url: 'http://h/v1', api_key: k"

static const struct provider_config *first(const struct loaded *l)
{
    if (!l->config)
        print_findings(l);
    assert_non_null(l->config);
    assert_true(l->config->provider_count > 0);
    return &l->config->providers[0];
}

/* A provider with these keys is refused. */
static void refuses_provider(const char *keys, const char *key, const char *part)
{
    char text[500], path[100];
    snprintf(text, sizeof text, "providers: [{%s}]", keys);
    snprintf(path, sizeof path, "providers[0].%s", key);
    refuses(text, path, part);
}

/* ---- values -------------------------------------------------------------------------------------------- */

static void defaults_check(const struct config *c)
{
    assert_int_equal(c->routing.strategy, ROUTING_ROUND_ROBIN);
    assert_true(c->routing.health_check.enabled);
    assert_int_equal(c->routing.health_check.interval_ms, 30000);
    assert_int_equal(c->routing.health_check.timeout_ms, 5000);
    assert_text(c->routing.health_check.path, "/models");
    assert_int_equal(c->routing.circuit_breaker.failures, 5);
    assert_int_equal(c->routing.circuit_breaker.window_ms, 30000);
    assert_int_equal(c->routing.circuit_breaker.open_ms, 30000);
    assert_int_equal(c->timeouts.request, 30000);
    assert_int_equal(c->timeouts.connect, 5000);
    assert_int_equal(c->timeouts.first_byte, 30000);
    assert_int_equal(c->timeouts.stream_idle, 120000);
    assert_int_equal(c->queue.max_concurrent, 100);
    assert_int_equal(c->queue.timeout_ms, 60000);
    assert_int_equal(c->queue.slot_wait_ms, 500);
    assert_int_equal(c->queue.keepalive_ms, 15000);
    assert_true(c->monitoring.track_latency);
    assert_true(c->monitoring.track_errors);
}

static void test_defaults(void **state)
{
    static const char *const texts[] = {"{}", "routing:\ntimeouts: {}\nqueue:\nproviders: []\n",
                                        "routing: {health_check: , circuit_breaker: {}}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct loaded l = load_text(texts[i]);
        assert_non_null(l.config);
        assert_int_equal(l.config->provider_count, 0);
        assert_false(l.config->has_providers);
        defaults_check(l.config);
        loaded_free(&l);
    }
    struct loaded l = load_text("providers: [{" ONE "}]");
    const struct provider_config *p = first(&l);
    assert_int_equal(l.findings.count, 0);
    assert_text(p->name, "provider_0");
    assert_int_equal(p->type, PROVIDER_OPENAI);
    assert_int_equal(p->weight, 1);
    assert_int_equal(p->max_concurrent, 0);
    assert_int_equal(p->models.count, 0);
    assert_int_equal(p->model_map_count, 0);
    assert_int_equal(p->header_count, 0);
    assert_int_equal(p->service.n, 0);
    assert_int_equal(p->stream_usage, STREAM_USAGE_AUTO);
    assert_text(p->api_version, "2024-02-01");
    assert_false(p->disabled || p->fallback_only || p->tls.insecure_skip_verify);
    loaded_free(&l);
}

static void test_values(void **state)
{
    struct loaded l =
        load_text("providers:\n  - name: full\n    base_url: https://API.Example.com:8443/v1/\n"
                  "    api_key: 12345\n    type: Azure\n    api_version: 2024-10-21\n    models: [a, b/c]\n"
                  "    headers: {X-Team: red, OpenAI-Organization: o}\n    weight: '7'\n"
                  "    fallback_only: yes\n    max_concurrent: 3.0\n    model_map: {a: x, true: 1.50}\n"
                  "    stream_usage: never\n    tls: {ca: ca.pem, insecure_skip_verify: on}\n");
    const struct provider_config *p = first(&l);
    assert_text(p->name, "full");
    assert_text(p->base_url.origin, "https://api.example.com:8443");
    assert_text(p->base_url.prefix, "/v1");
    assert_text(p->api_key, "12345");
    assert_int_equal(p->type, PROVIDER_AZURE);
    assert_text(p->api_version, "2024-10-21");
    assert_int_equal(p->models.count, 2);
    assert_text(p->models.items[1], "b/c");
    assert_int_equal(p->header_count, 2);
    assert_text(p->headers[0].name, "X-Team");
    assert_text(p->headers[0].value, "red");
    assert_int_equal(p->weight, 7);
    assert_true(p->fallback_only);
    assert_int_equal(p->max_concurrent, 3);
    assert_int_equal(p->model_map_count, 2);
    assert_text(p->model_map[1].name, "true");
    assert_text(p->model_map[1].value, "1.50");
    assert_int_equal(p->stream_usage, STREAM_USAGE_NEVER);
    assert_true(str_ends(p->tls.ca, STR("/ca.pem")) && p->tls.ca.p[0] == '/');
    assert_true(p->tls.insecure_skip_verify);
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

static void test_sections(void **state)
{
    struct loaded l = load_text(
        "routing: {strategy: least_busy, health_check: {enabled: off, interval: 2m, timeout: 1.5, path: "
        "'/v2/health?deep=1'}, circuit_breaker: {failures: 2, window: 0.25, open: 500ms}}\n"
        "timeouts: {request: 90, connect: 0.5, stream_idle: 2m}\n"
        "queue: {max_concurrent: 4, timeout: 0, slot_wait: 0.05, keepalive_seconds: 0}\n"
        "monitoring: {track_latency: false, track_errors: false}\n");
    const struct config *c = l.config;
    assert_non_null(c);
    assert_int_equal(l.findings.count, 0);
    assert_int_equal(c->routing.strategy, ROUTING_LEAST_BUSY);
    assert_false(c->routing.health_check.enabled);
    assert_int_equal(c->routing.health_check.interval_ms, 120000);
    assert_int_equal(c->routing.health_check.timeout_ms, 1500);
    assert_text(c->routing.health_check.path, "/v2/health?deep=1");
    assert_int_equal(c->routing.circuit_breaker.failures, 2);
    assert_int_equal(c->routing.circuit_breaker.window_ms, 250);
    assert_int_equal(c->routing.circuit_breaker.open_ms, 500);
    assert_int_equal(c->timeouts.request, 90000);
    assert_int_equal(c->timeouts.connect, 500);
    assert_int_equal(c->timeouts.first_byte, 90000); /* as request */
    assert_int_equal(c->timeouts.stream_idle, 120000);
    assert_int_equal(c->queue.max_concurrent, 4);
    assert_int_equal(c->queue.timeout_ms, 0);
    assert_int_equal(c->queue.slot_wait_ms, 50);
    assert_int_equal(c->queue.keepalive_ms, 0);
    assert_false(c->monitoring.track_latency || c->monitoring.track_errors);
    loaded_free(&l);
    l = load_text("timeouts: {request: 90, first_byte: 3}\nrouting: {strategy: latency}");
    assert_int_equal(l.config->timeouts.first_byte, 3000);
    assert_int_equal(l.config->routing.strategy, ROUTING_LATENCY);
    loaded_free(&l);
}

static void test_azure_by_its_host(void **state)
{
    static const struct {
        const char *keys;
        enum provider_type type;
    } cases[] = {
        {"base_url: 'https://Mine.OpenAI.Azure.com'", PROVIDER_AZURE},
        {"base_url: 'https://mine.openai.azure.com/', type: azure", PROVIDER_AZURE},
        {"base_url: 'https://mine.openai.azure.com/openai/v1', type: openai", PROVIDER_OPENAI}, /* said */
        {"base_url: 'https://openai.azure.com.evil.example'", PROVIDER_OPENAI},
        {"base_url: 'https://myopenai.azure.com'", PROVIDER_OPENAI},
        {"base_url: 'https://x.example/openai.azure.com'", PROVIDER_OPENAI},
        {"base_url: 'https://gateway.example', type: azure", PROVIDER_AZURE},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[300];
        snprintf(text, sizeof text, "providers: [{%s, api_key: k}]", cases[i].keys);
        struct loaded l = load_text(text);
        assert_int_equal(first(&l)->type, cases[i].type);
        loaded_free(&l);
    }
}

/* ---- names --------------------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    static const char *const environment[] = {"N=named", NULL};
    struct loaded l = load_env("providers:\n  - {" ONE "}\n  - {name: '${N}', " ONE "}\n  - {name: ~, " ONE
                               "}\n  - {" ONE ", weight: '${NOPE}'}\n",
                               environment);
    static const char *const names[] = {"provider_0", "named", "provider_2", "provider_3"};
    first(&l);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_text(l.config->providers[i].name, names[i]);
    assert_true(
        found(&l, SEVERITY_WARNING, "providers[3].weight", "the provider \"provider_3\" is disabled"));
    loaded_free(&l);
    l = load_env("providers: [{name: named, " ONE "}, ..., {name: '${N}', " ONE "}]", environment);
    assert_null(l.config);
    assert_true(found(&l, SEVERITY_ERROR, "providers", "\"named\" was already given at"));
    loaded_free(&l);
    refuses("providers: [{name: provider_1, " ONE "}, {" ONE "}]", "providers", "\"provider_1\" was already");
    refuses_provider("name: '', " ONE, "name", "not empty");
    refuses_provider("name: \"a\\nb\", " ONE, "name", "no control characters");
}

static void test_too_many(void **state)
{
    struct buf text CLEANUP(buf_free) = BUF(0);
    buf_add_c(&text, "providers:\n");
    for (size_t i = 0; i < PROVIDERS_MAX; i++)
        buf_add_c(&text, "  - {" ONE "}\n");
    accepts(buf_c(&text));
    buf_add_c(&text, "  - {" ONE "}\n");
    refuses(buf_c(&text), "providers", "at most 256 providers");
}

/* ---- without URL or key, on a service -------------------------------------------------------------------
 */

static void disables(const char *keys, const char *const *environment, const char *why)
{
    char text[300];
    snprintf(text, sizeof text, "providers: [{name: p, %s}]", keys);
    struct loaded l = load_env(text, environment);
    assert_true(first(&l)->disabled);
    assert_text(first(&l)->disabled_why, why);
    assert_int_equal(l.findings.warnings, 1);
    loaded_free(&l);
}

static void test_disabled(void **state)
{
    static const char *const environment[] = {"EMPTY=", NULL};
    disables("api_key: k", NULL, "it has no base_url");
    disables("base_url: 'http://h/v1'", NULL, "it has no api_key");
    disables("base_url: 'http://h/v1', api_key: ''", NULL, "it has no api_key");
    disables("base_url: 'http://h/v1', api_key: '${EMPTY}'", environment,
             "the variable EMPTY is not set (providers[0].api_key)");
    disables("base_url: 'http://h/v1', api_key: '${NOPE:-}'", NULL, "it has no api_key");
    disables("base_url: '${NOPE:-}', api_key: k", NULL, "it has no base_url");
    disables("api_key: '${NOPE}'", NULL, "the variable NOPE is not set (providers[0].api_key)");
    disables(ONE ", headers: {X: '${NOPE}'}", NULL, "the variable NOPE is not set (providers[0].headers.X)");
    disables(ONE ", model_map: {a: '${NOPE}'}", NULL,
             "the variable NOPE is not set (providers[0].model_map.a)");
    struct loaded l = load_text("providers: [~, {name: p, " ONE "}]");
    assert_true(first(&l)->disabled);
    assert_false(l.config->providers[1].disabled); /* only the one it concerns */
    assert_true(l.config->has_providers);
    loaded_free(&l);
}

static void test_on_a_service(void **state)
{
    static const char *const environment[] = {"MADE_BASE_URL=http://m", NULL};
    struct loaded l =
        load_env("providers: [{name: p, service: local}, {name: q, service: made, api_key: k}]\n"
                 "services: {local: {base_url: 'http://h'}}\n",
                 environment);
    const struct provider_config *p = first(&l);
    assert_int_equal(l.findings.count, 0);
    assert_text(p->service, "local");
    assert_int_equal(p->base_url.host.n, 0);
    assert_false(p->disabled);
    assert_text(p[1].service, "made");
    assert_text(p[1].api_key, "k");
    loaded_free(&l);
    l = load_text("providers: [{service: a, base_url: 'http://h/v1', tls: {insecure_skip_verify: true}}]\n"
                  "services: {a: {base_url: 'http://a'}}");
    p = first(&l);
    assert_true(found(&l, SEVERITY_WARNING, "providers[0].base_url", "stands on a service"));
    assert_true(found(&l, SEVERITY_WARNING, "providers[0].tls", "stands on a service"));
    assert_int_equal(p->base_url_text.n + p->base_url.host.n, 0);
    assert_false(p->tls.insecure_skip_verify);
    loaded_free(&l);
    refuses("providers: [{service: olama}]\nservices: {ollama: {base_url: 'http://h'}}",
            "providers[0].service", "there is no service \"olama\"; did you mean ollama?");
    refuses("providers: [{service: x, " ONE "}]", "providers[0].service", "there is no service \"x\"");
}

/* ---- rules --------------------------------------------------------------------------------------------- */

static void test_nothing_splits_a_head(void **state)
{
    static const char *const own[] = {"Host", "content-length", "TRANSFER-ENCODING", "Connection", "Upgrade",
                                      "te",   "Accept-Encoding"};
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        char keys[200];
        snprintf(keys, sizeof keys, ONE ", headers: {%s: x}", own[i]);
        refuses_provider(keys, "headers", "is the gateway's own");
    }
    refuses_provider(ONE ", headers: {'X Y': a}", "headers", "\"X Y\" cannot be the name");
    refuses_provider(ONE ", headers: {'X:': a}", "headers", "cannot be the name");
    refuses_provider(ONE ", headers: {\"X\\r\\nY\": a}", "headers", "cannot be the name");
    refuses_provider(ONE ", headers: {'': a}", "headers", "cannot be the name");
    refuses_provider(ONE ", headers: {X: \"a\\r\\nEvil: b\"}", "headers", "a line break");
    refuses_provider(ONE ", headers: {X: \"a\\x01b\"}", "headers", "a line break");
    refuses_provider(ONE ", headers: [a]", "headers", "a map of names to texts");
    refuses_provider("base_url: 'http://h', api_key: \"k\\nEvil: b\"", "api_key", "a line break");
    refuses_provider(ONE ", api_version: '1&x=y'", "api_version", "a version such as");
    refuses_provider(ONE ", api_version: ''", "api_version", "not empty");
    refuses("routing: {health_check: {path: models}}", "routing.health_check.path", "begins with /");
    refuses("routing: {health_check: {path: \"/a b\"}}", "routing.health_check.path", "character");
    refuses("routing: {health_check: {path: \"/a\\r\\nX: y\"}}", "routing.health_check.path", "character");
    accepts("providers: [{" ONE ", headers: {X-A: \"tab\\tü\", x_b: ''}}]");
}

static void test_wrong_values(void **state)
{
    refuses_provider(ONE ", type: bedrock", "type", "openai, azure");
    refuses_provider(ONE ", weight: -1", "weight", "from 1");
    refuses_provider(ONE ", weight: many", "weight", "a whole number");
    refuses_provider(ONE ", max_concurrent: 0", "max_concurrent", "at least 1");
    refuses_provider(ONE ", stream_usage: sometimes", "stream_usage", "auto");
    refuses_provider(ONE ", model_map: {a: }", "model_map", "\"a\" has no model");
    refuses_provider(ONE ", model_map: [a]", "model_map", "a map of names to texts");
    refuses_provider("base_url: 'http://h?x=1', api_key: k", "base_url", "query");
    refuses_provider("base_url: 'h/v1', api_key: k", "base_url", "http://");
    refuses("timeouts: {request: 0}", "timeouts.request", "a time");
    refuses("timeouts: {first_byte: 0}", "timeouts.first_byte", "a time");
    refuses("queue: {max_concurrent: 0}", "queue.max_concurrent", "at least 1");
    refuses("queue: {timeout: -1}", "queue.timeout", "a time");
    refuses("routing: {circuit_breaker: {failures: 0}}", "routing.circuit_breaker.failures", "from 1");
}

/* ---- fingerprints -------------------------------------------------------------------------------------- */

static bool same(const char *one, const char *other)
{
    char a[300], b[300];
    snprintf(a, sizeof a, "services: {s: {base_url: 'http://s'}}\nproviders: [{name: p, %s}]", one);
    snprintf(b, sizeof b, "services: {s: {base_url: 'http://s'}}\nproviders: [{name: x}, {name: p, %s}]",
             other);
    struct loaded l = load_text(a), m = load_text(b);
    first(&l), first(&m);
    bool equal = str_eq(l.config->providers[0].fingerprint, m.config->providers[1].fingerprint);
    loaded_free(&l);
    loaded_free(&m);
    return equal;
}

static void test_fingerprints(void **state)
{
    assert_true(same(ONE, ONE));
    assert_true(same(ONE, "api_key: 'k', base_url: \"http://H:80/v1/\"")); /* the place does not count */
    assert_true(same(ONE, ONE ", weight: 3, fallback_only: true, max_concurrent: 2"));
    assert_true(same(ONE, ONE ", models: [a], model_map: {a: b}, stream_usage: never"));
    assert_true(same(ONE, ONE ", api_version: '2'")); /* says nothing to openai */
    assert_false(same(ONE, "base_url: 'http://h/v2', api_key: k"));
    assert_false(same(ONE, "base_url: 'https://h/v1', api_key: k"));
    assert_false(same(ONE, "base_url: 'http://h/v1', api_key: l"));
    assert_false(same(ONE, "base_url: 'http://h/v1'"));
    assert_false(same(ONE, ONE ", type: azure"));
    assert_false(same(ONE ", type: azure", ONE ", type: azure, api_version: '2'"));
    assert_false(same(ONE, ONE ", headers: {A: b}"));
    assert_false(same(ONE ", headers: {A: b}", ONE ", headers: {A: c}"));
    assert_false(same(ONE, ONE ", tls: {insecure_skip_verify: true}"));
    assert_false(same(ONE, ONE ", tls: {ca: /ca.pem}"));
    assert_false(same(ONE, "service: s, api_key: k"));
    assert_false(
        same("base_url: 'unix:/a.sock:/v1', api_key: k", "base_url: 'unix:/b.sock:/v1', api_key: k"));
    struct loaded l = load_text("providers: [{name: p, " ONE "}, {name: q, " ONE "}]");
    assert_false(str_eq(first(&l)[0].fingerprint, first(&l)[1].fingerprint)); /* two, with a state each */
    loaded_free(&l);
}

static void test_secrets_stay_secret(void **state)
{
    static const char *const environment[] = {"K=planted-1", NULL};
    struct loaded l = load_env("providers: [{name: p, base_url: 'http://h/v1', api_key: '${K}', headers: "
                               "{X: planted-2}}, {api_key: planted-3, weight: '${NOPE}'}]",
                               environment);
    struct buf text CLEANUP(buf_free) = BUF(0);
    assert_text(first(&l)->api_key, "planted-1");
    for (size_t i = 0; i < l.config->provider_count; i++)
        buf_add_str(&text, l.config->providers[i].fingerprint);
    buf_add_str(&text, l.config->process_fingerprint);
    findings_write(&l.findings, &text);
    findings_write_json(&l.findings, &text);
    assert_true(str_find_str(buf_str(&text), STR("planted")) == text.n);
    loaded_free(&l);
    l = load_text("providers: [{api_key: \"planted\\n4\", headers: {X: \"planted\\n5\"}, base_url: "
                  "'http://u:planted-6@h'}]");
    buf_clear(&text);
    findings_write(&l.findings, &text);
    assert_int_equal(l.findings.errors, 3);
    assert_true(str_find_str(buf_str(&text), STR("planted")) == text.n);
    loaded_free(&l);
}

/* ---- notices ------------------------------------------------------------------------------------------- */

static void test_only_what_is_not_active_is_said(void **state)
{
    struct loaded l =
        load_text("providers: [{name: p, " ONE "}]\nrouting: {strategy: weighted}\ntimeouts: {request: 1}\n"
                  "queue: {timeout: 1}\nmonitoring: {track_latency: true, track_errors: true}\n"
                  "clients: [{id: c, enabled: false}]\nstrategies: [{id: s}]\nauth: {anonymous: s}\n");
    assert_non_null(l.config);
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
    l = load_text("providers: [{name: p, " ONE "}]\ncache: {ttl: 1}\n");
    assert_int_equal(l.findings.count, 1);
    assert_true(found(&l, SEVERITY_NOTICE, "cache", "not active yet"));
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_azure_by_its_host),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_disabled),
        cmocka_unit_test(test_on_a_service),
        cmocka_unit_test(test_nothing_splits_a_head),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_secrets_stay_secret),
        cmocka_unit_test(test_only_what_is_not_active_is_said),
    };
    return cmocka_run_group_tests_name("config_providers", tests, NULL, NULL);
}
