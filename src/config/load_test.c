/* config_load(): defaults, typing, every rule, suggestions, unset variables, merging, fingerprints. */
#include "config/test.h"

#include "base/num.h"

#include <sys/stat.h>

static struct service_config *service(const struct loaded *l, const char *id)
{
    if (!l->config)
        print_findings(l);
    assert_non_null(l->config);
    struct service_config *s = map_get(&l->config->services_by_id, str_from_c(id));
    assert_non_null(s);
    return s;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    struct loaded l = load_text("services: {a: {base_url: 'http://h'}}");
    struct service_config *s = service(&l, "a");
    const struct server_config *server = &l.config->server;
    assert_int_equal(server->listen.count, 1);
    assert_text(server->listen.items[0], "127.0.0.1:8080");
    assert_int_equal(server->workers, 0);
    assert_true(server->abort_on_half_close);
    assert_int_equal(server->drain_ms, 30000);
    assert_int_equal(server->limits.target, 8 << 10);
    assert_int_equal(server->limits.field, 16 << 10);
    assert_int_equal(server->limits.head, 32 << 10);
    assert_int_equal(server->limits.fields, 128);
    assert_int_equal(server->limits.body, 0);
    assert_int_equal(server->limits.llm_body, 32 << 20);
    assert_int_equal(server->limits.connections, 10000);
    assert_int_equal(server->limits.keepalive_requests, 10000);
    assert_int_equal(server->limits.connection_age_ms, 3600000);
    assert_int_equal(server->limits.connections_per_ip, 256);
    assert_int_equal(server->limits.connection_rate_per_ip, 50);
    assert_int_equal(server->limits.connection_burst_per_ip, 200);
    assert_int_equal(server->limits.errors_per_minute_per_ip, 20);
    assert_int_equal(server->limits.auth_failures_per_minute_per_ip, 20);
    assert_int_equal(server->timeouts.head, 10000);
    assert_int_equal(server->timeouts.keepalive, 60000);
    assert_int_equal(server->timeouts.stream_idle, 120000);
    assert_int_equal(server->timeouts.body_min_rate, 1024);
    assert_false(l.config->auth.allow_open);
    assert_int_equal(s->orchestrator, ORCHESTRATOR_NONE);
    assert_int_equal(s->retry_count, 1);
    assert_int_equal(s->retry_delay_ms, 0);
    assert_int_equal(s->warmup_ms, 0);
    assert_int_equal(s->idle_timeout_ms, 0);
    assert_int_equal(s->queue_size, 100);
    assert_int_equal(s->request_timeout_ms, 60000);
    assert_int_equal(s->start_timeout_ms, 120000);
    assert_int_equal(s->stop_timeout_ms, 10000);
    assert_int_equal(s->first_byte_timeout_ms, 300000);
    assert_int_equal(s->max_concurrent, 0);
    assert_true(s->waiting_page);
    assert_false(s->disabled);
    assert_false(s->uses_port);
    assert_int_equal(s->health_url.host.n, 0);
    assert_text(s->workdir, l.folder);
    assert_text(l.config->folder, l.folder);
    assert_int_equal(l.config->files.count, 1);
    loaded_free(&l);
}

static void test_typing(void **state)
{
    struct loaded l =
        load_text("services:\n  a:\n    base_url: \"https://Host:8443/v1/\"\n    retry_count: \"3\"\n"
                  "    queue_size: 5.0\n    idle_timeout_ms: 5m\n    request_timeout_seconds: 1.5\n"
                  "    waiting_page: no\n    hosts: Comfy.LAN\n"
                  "    wake_ignore: {methods: [head], paths: [/health], user_agents: [kuma]}\n"
                  "    tls: {ca: certs/ca.pem, insecure_skip_verify: true}\n"
                  "server: {limits: {body: 64KiB, head: 4096}, timeouts: {head: 250ms, "
                  "body_min_rate: 2KiB/s}, drain_seconds: 5}\n");
    struct service_config *s = service(&l, "a");
    assert_true(s->base_url.tls);
    assert_text(s->base_url.host, "host");
    assert_text(s->base_url.prefix, "/v1");
    assert_int_equal(s->retry_count, 3);
    assert_int_equal(s->queue_size, 5);
    assert_int_equal(s->idle_timeout_ms, 300000);
    assert_int_equal(s->request_timeout_ms, 1500);
    assert_false(s->waiting_page);
    assert_text(s->hosts.items[0], "comfy.lan");
    assert_ptr_equal(map_get(&l.config->services_by_host, STR("comfy.lan")), s);
    assert_text(s->wake_ignore.methods.items[0], "HEAD");
    assert_int_equal(s->wake_ignore.paths.count, 1);
    assert_true(s->tls.insecure_skip_verify);
    assert_int_equal(s->tls.ca.n, strlen(l.folder) + strlen("/certs/ca.pem"));
    assert_true(str_ends(s->tls.ca, STR("/certs/ca.pem")));
    assert_int_equal(l.config->server.limits.body, 65536);
    assert_int_equal(l.config->server.limits.head, 4096);
    assert_int_equal(l.config->server.timeouts.head, 250);
    assert_int_equal(l.config->server.timeouts.body_min_rate, 2048);
    assert_int_equal(l.config->server.drain_ms, 5000);
    loaded_free(&l);
}

static void test_process(void **state)
{
    struct loaded l = load_text("services:\n"
                                "  list:\n    command: [\"${HESTIA}\", mock-llm, \"--p=${PORT}\"]\n"
                                "  text:\n    command: '${HESTIA} \"a b\" ${PORT}'\n    workdir: sub\n"
                                "    base_url: unix:/tmp/x.sock:/v1\n    env: {A: 1, B: \"${PORT}\"}\n"
                                "    env_inherit: [CUDA_HOME]\n"
                                "  shell:\n    shell: true\n    command: exec x | y\n"
                                "    base_url: http://127.0.0.1:9\n");
    struct service_config *s = service(&l, "list");
    assert_int_equal(s->orchestrator, ORCHESTRATOR_PROCESS);
    assert_int_equal(s->command.count, 3);
    assert_text(s->command.items[0], "/opt/hestia/hestia");
    assert_text(s->command.items[2], "--p=${PORT}");
    assert_text(s->base_url_text, "http://127.0.0.1:${PORT}");
    assert_int_equal(s->base_url.host.n, 0);
    assert_true(s->uses_port);
    s = service(&l, "text");
    assert_int_equal(s->command.count, 3);
    assert_text(s->command.items[1], "a b");
    assert_true(s->base_url.is_unix);
    assert_true(s->uses_port);
    assert_int_equal(s->env_count, 2);
    assert_text(s->env[0].value, "1");
    assert_text(s->env[1].value, "${PORT}");
    assert_true(str_ends(s->workdir, STR("/sub")));
    s = service(&l, "shell");
    assert_true(s->shell);
    assert_int_equal(s->command.count, 1);
    assert_text(s->command.items[0], "exec x | y");
    assert_false(s->uses_port);
    loaded_free(&l);
}

static void test_zero_retries_are_one_attempt(void **state)
{
    struct loaded l = load_text("services: {a: {base_url: 'http://h', retry_count: 0}}");
    assert_int_equal(service(&l, "a")->retry_count, 1);
    loaded_free(&l);
}

static void test_instances(void **state)
{
    struct loaded l =
        load_text("services: {a: {instances: [{url: 'http://x:1', weight: 2, region: eu}, {url: "
                  "'http://y:2'}]}}");
    struct service_config *s = service(&l, "a");
    assert_int_equal(s->instance_count, 2);
    assert_int_equal(s->instances[0].weight, 2);
    assert_text(s->instances[0].region, "eu");
    assert_int_equal(s->instances[1].weight, 1);
    assert_int_equal(s->instances[1].url.port, 2);
    assert_false(s->disabled);
    loaded_free(&l);
}

/* ---- refused ------------------------------------------------------------------------------------------- */

static void test_suggestions(void **state)
{
    refuses("servces: {}", "servces", "did you mean services?");
    refuses("services: {a: {base_ur: x}}", "services.a.base_ur", "did you mean base_url?");
    refuses("services: {a: {base-url: x}}", "services.a.base-url", "did you mean base_url?");
    refuses("services: {a: {BASE_URL: x}}", "services.a.BASE_URL", "did you mean base_url?");
    refuses("server: {tls: {crt: x}}", "server.tls.crt", "did you mean cert?");
    refuses("providers: [{nam: x}]", "providers[0].nam", "did you mean name?");
    refuses("strategies: [{name: s, constraints: {max_token: 1}}]", "strategies[0].constraints.max_token",
            "did you mean max_tokens?");
    refuses("services: {a: {something_else_entirely: 1}}", "services.a.something_else_entirely",
            "unknown key");
}

static void test_wrong_values(void **state)
{
    refuses("services: {a: {retry_count: -1}}", "services.a.retry_count", "from 0 to 100, got \"-1\"");
    refuses("services: {a: {queue_size: 0}}", "services.a.queue_size", "whole number from 1");
    refuses("services: {a: {queue_size: 1.5}}", "services.a.queue_size", "whole number");
    refuses("services: {a: {request_timeout_seconds: 0}}", "services.a.request_timeout_seconds", "a time");
    refuses("services: {a: {idle_timeout_ms: -5}}", "services.a.idle_timeout_ms", "a time");
    refuses("services: {a: {waiting_page: maybe}}", "services.a.waiting_page", "true or false");
    refuses("services: {a: {orchestrator: podman}}", "services.a.orchestrator", "none, process, docker");
    refuses("services: {a: {base_url: [x]}}", "services.a.base_url", "got a list");
    refuses("services: {a: {base_url: 'ftp://x'}}", "services.a.base_url", "http://");
    refuses("services: {a: {base_url: 'http://u:p@x'}}", "services.a.base_url", "password");
    refuses("services: {a: {base_url: 'http://x:99999'}}", "services.a.base_url", "port");
    refuses("services: {a: 5}", "services.a", "expected a map, got a text");
    refuses("services: [a]", "services", "a map of names to maps, got a list");
    refuses("services: {a: {instances: [{url: 'http://x', weight: 0}]}}", "services.a.instances[0].weight",
            "from 1");
    refuses("services: {a: {instances: [{weight: 2}]}}", "services.a.instances[0].url", "is missing");
    refuses("server: {limits: {fields: 9999}}", "server.limits.fields", "from 8 to 256");
    refuses("server: {limits: {body: big}}", "server.limits.body", "a size");
    refuses("server: {limits: {connection_burst_per_ip: 0}}", "server.limits.connection_burst_per_ip",
            "from 1 to 1000000");
    refuses("monitoring: {log_level: LOUD}", "monitoring.log_level", "one of DEBUG");
    refuses("- a\n- b\n", "", "a map of sections");
    refuses("providers: [{name: a, base_url: 'http://x', api_key: k, weight: 0}]", "providers[0].weight",
            "from 1");
    refuses("timeouts: {request: never}", "timeouts.request", "a time");
    refuses("routing: {strategy: random}", "routing.strategy", "round_robin, weighted");
    refuses("strategies: [{name: s, rate_limits: [{limit_type: requests, value: 0, time_window: hour}]}]",
            "strategies[0].rate_limits[0].value", "a whole number, at least 1");
    refuses("strategies: [{name: s, auto_config: {prioritized_models: [gpt]}}]",
            "strategies[0].auto_config.prioritized_models[0]", "[provider, model]");
}

static void test_rules_of_services(void **state)
{
    refuses("services: {'a/b': {base_url: 'http://x'}}", "services.a/b", "letters, digits");
    refuses("services: {..: {base_url: 'http://x'}}", "services...", "begins with a letter");
    refuses(
        "services: {a: {base_url: 'http://x', hosts: [a.lan]}, b: {base_url: 'http://x', hosts: [A.lan]}}",
        "services.b.hosts", "belongs to the service \"a\"");
    refuses("services: {a: {base_url: 'http://x', hosts: ['a.lan:80']}}", "services.a.hosts", "no host name");
    refuses("services: {a: {orchestrator: process, base_url: 'http://x'}}", "services.a.orchestrator",
            "needs a command");
    refuses("services: {a: {base_url: 'http://127.0.0.1:${PORT}'}}", "services.a.base_url", "has no command");
    refuses("services: {a: {command: 'x \"y'}}", "services.a.command", "not closed");
    refuses("services: {a: {command: [a, b], shell: true}}", "services.a.command", "one text");
    refuses("services: {a: {command: x, env: {'A=B': c}}}", "services.a.env", "variable's name");
    refuses("services: {a: {base_url: 'http://x', wake_ignore: {methods: ['G T']}}}",
            "services.a.wake_ignore.methods", "a word such as GET");
    warns("services: {a: {}}", "services.a", "no base_url, command or instances");
    warns("services:\n  a:\n", "services.a", "no base_url, command or instances");
    warns("services: {a: {base_url: 'http://x', orchestrator: none, command: y}}", "services.a.command",
          "not used");
}

static void test_rules_of_the_server(void **state)
{
    refuses("server: {default_service: olama}\nservices: {ollama: {base_url: 'http://x'}}",
            "server.default_service", "did you mean ollama?");
    refuses("server: {default_service: x}", "server.default_service", "there is no service \"x\"");
    refuses("server: {tls: {cert: a.pem}}", "server.tls", "key is missing");
    refuses("server: {tls: {key: a.pem}}", "server.tls", "cert is missing");
    refuses("server: {listen: [8080]}", "server.listen", "HOST:PORT");
    refuses("server: {listen: '127.0.0.1:70000'}", "server.listen", "HOST:PORT");
    refuses("server: {listen: '::1:80'}", "server.listen", "[ADDRESS]:PORT");
    refuses("server: {listen: 'unix:x'}", "server.listen", "unix:/path");
    refuses("server: {listen: []}", "server.listen", "at least one");
    refuses("server: {trusted_proxies: [10.0.0.0/33]}", "server.trusted_proxies", "10.0.0.0/8");
    refuses("server: {trusted_proxies: [proxy.lan]}", "server.trusted_proxies", "neither an address");
    accepts("server: {trusted_proxies: [10.0.0.0/8, '::1', 'fd00::/8', 192.168.1.1]}");
    accepts("server: {listen: ['127.0.0.1:0', '[::1]:80', 'unix:/run/h.sock', 'localhost:1'], tls: {cert: a, "
            "key: b}}");
}

static void test_public_listener_needs_keys(void **state)
{
    static const char *const public[] = {"0.0.0.0:80", "[::]:80", "192.168.1.5:80", "myhost:80"};
    for (size_t i = 0; i < COUNT_OF(public); i++) {
        char text[200];
        snprintf(text, sizeof text, "server: {listen: ['127.0.0.1:1', '%s']}", public[i]);
        refuses(text, "server.listen", "auth.allow_open: true");
        snprintf(text, sizeof text, "server: {listen: '%s'}\nauth: {allow_open: true}", public[i]);
        accepts(text);
    }
    accepts("server: {listen: '0.0.0.0:80'}\nauth: {admin_keys: "
            "['sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']}");
    accepts("server: {listen: '0.0.0.0:80'}\nclients: [{id: a, name: b}]");
}

static void test_everything_at_once(void **state)
{
    struct loaded l =
        load_text("server:\n  listen: nowhere\n  worker: 2\nservices:\n  a:\n    retry_count: x\n"
                  "    retry_count: 2\n    queue_size: 0\n  b: 7\nauth:\n  api_keys: [plain]\n");
    assert_null(l.config);
    assert_int_equal(l.findings.errors, 7);
    assert_string_equal(place_of(&l, "server.worker"), "a.yml:3:3");
    assert_string_equal(place_of(&l, "server.listen"), "a.yml:2:11");
    assert_string_equal(place_of(&l, "services.a.retry_count"), "a.yml:7:5");
    assert_string_equal(place_of(&l, "services.a.queue_size"), "a.yml:8:17");
    assert_string_equal(place_of(&l, "services.b"), "a.yml:9:6");
    assert_string_equal(place_of(&l, "auth.api_keys[0]"), "a.yml:11:14");
    loaded_free(&l);
}

/* ---- variables ----------------------------------------------------------------------------------------- */

static void test_unset_variable_disables_the_service(void **state)
{
    struct loaded l =
        load_text("services:\n  a:\n    base_url: ${CLOUD_URL}\n  b:\n    base_url: http://x\n");
    assert_true(service(&l, "a")->disabled);
    assert_text(service(&l, "a")->disabled_why, "the variable CLOUD_URL is not set (services.a.base_url)");
    assert_false(service(&l, "b")->disabled);
    assert_int_equal(l.findings.warnings, 1);
    assert_true(found(&l, SEVERITY_WARNING, "services.a.base_url", "CLOUD_URL"));
    assert_string_equal(place_of(&l, "services.a.base_url"), "a.yml:3:15");
    loaded_free(&l);
    warns("providers: [{name: p, base_url: 'http://x', api_key: '${NOPE}'}]", "providers[0].api_key",
          "the provider \"p\" is disabled");
    warns("services: {a: {base_url: 'http://x', instances: [{url: '${NOPE}'}]}}",
          "services.a.instances[0].url", "the service \"a\" is disabled");
    refuses("server: {listen: ['${NOPE}']}", "server.listen[0]", "the variable NOPE is not set");
    refuses("auth: {api_keys: ['${NOPE}']}", "auth.api_keys[0]", "the variable NOPE is not set");
    refuses("services: {a: {base_url: '${NOPE'}}", "services.a.base_url", "${NAME:-default}");
}

static void test_values_are_typed_after_expansion(void **state)
{
    static const char *const environment[] = {"COUNT=4", "SHOW=off", "BAD=x", NULL};
    struct loaded l =
        load_env("services: {a: {base_url: 'http://${HOST:-h}:${P:-81}', retry_count: '${COUNT}', "
                 "waiting_page: '${SHOW}', queue_size: '${Q:-${COUNT}0}'}}",
                 environment);
    assert_text(service(&l, "a")->base_url.host_field, "h:81");
    assert_int_equal(service(&l, "a")->retry_count, 4);
    assert_int_equal(service(&l, "a")->queue_size, 40);
    assert_false(service(&l, "a")->waiting_page);
    loaded_free(&l);
    l = load_env("services: {a: {base_url: 'http://h', retry_count: '${BAD}'}}", environment);
    assert_null(l.config);
    assert_true(found(&l, SEVERITY_ERROR, "services.a.retry_count", "got \"${BAD}\" (after replacing"));
    loaded_free(&l);
}

static void test_port_is_kept_whatever_the_environment_says(void **state)
{
    static const char *const environment[] = {"PORT=1234", NULL};
    struct loaded l = load_env("services: {a: {command: [x, '${PORT}'], env: {P: '${PORT}'}, health_url: "
                               "'http://127.0.0.1:${PORT}/h', fallback_url: 'http://b:${PORT}'}}",
                               environment);
    struct service_config *s = service(&l, "a");
    assert_text(s->command.items[1], "${PORT}");
    assert_text(s->env[0].value, "${PORT}");
    assert_text(s->health_url_text, "http://127.0.0.1:${PORT}/h");
    assert_int_equal(s->fallback_url.port, 1234);
    loaded_free(&l);
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

static void test_keys(void **state)
{
    static const char *const environment[] = {
        "K=abc", "H=sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", NULL};
    struct loaded l =
        load_env("auth:\n  api_keys:\n    - ${K}\n    - ${H}\n"
                 "    - {name: ops, hash: \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9c"
                 "b410ff61f20015ad\"}\n  admin_keys: ${K}\n",
                 environment);
    assert_non_null(l.config);
    const struct auth_config *auth = &l.config->auth;
    assert_int_equal(auth->api_key_count, 3);
    assert_int_equal(auth->admin_key_count, 1);
    for (size_t i = 0; i < 3; i++) {
        char hex[65] = {0};
        num_to_hex(auth->api_keys[i].sha256, 32, hex);
        assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    assert_text(auth->api_keys[0].name, "auth.api_keys[0]");
    assert_text(auth->api_keys[2].name, "ops");
    loaded_free(&l);
}

static void test_plain_keys_are_refused(void **state)
{
    static const char *const wrong[] = {"auth: {api_keys: [sk-secret]}",
                                        "auth: {api_keys: ['${NOPE:-sk-secret}']}",
                                        "auth: {api_keys: [{name: a, hash: sk-secret}]}"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct loaded l = load_text(wrong[i]);
        struct buf text CLEANUP(buf_free) = BUF(0);
        assert_null(l.config);
        findings_write(&l.findings, &text);
        findings_write_json(&l.findings, &text);
        assert_true(str_find_str(buf_str(&text), STR("hestia hash-key")) < text.n);
        assert_true(str_find_str(buf_str(&text), STR("sk-secret")) == text.n);
        loaded_free(&l);
    }
    refuses("auth: {api_keys: ['sha256:abc']}", "auth.api_keys[0]", "64 hexadecimal digits");
    refuses("auth: {api_keys: [{name: a}]}", "auth.api_keys[0].hash", "is missing");
    refuses("auth: {api_keys: [{name: a, key: b}]}", "auth.api_keys[0]", "unknown key \"key\"");
}

/* ---- several files ------------------------------------------------------------------------------------- */

static void test_files_merge(void **state)
{
    const char *const texts[] = {"services: {a: {base_url: 'http://one', retry_count: 2, hosts: [x, y]}}\n"
                                 "providers: [{name: p, weight: 1}, {name: q}]\n",
                                 "services: {a: {retry_count: 5, hosts: [z]}, b: {base_url: 'http://two'}}\n"
                                 "providers: [{name: q, weight: 0}]\n"};
    struct loaded l = load_files(texts, 2, NULL);
    assert_null(l.config); /* weight 0, said of the second file */
    assert_string_equal(place_of(&l, "providers[1].weight"), "b.yml:2:31");
    loaded_free(&l);
    const char *const fine[] = {texts[0],
                                "services: {a: {retry_count: 5, hosts: [z]}, b: {base_url: 'http://two'}}\n"};
    l = load_files(fine, 2, NULL);
    assert_int_equal(service(&l, "a")->retry_count, 5);
    assert_text(service(&l, "a")->base_url.host, "one");
    assert_int_equal(service(&l, "a")->hosts.count, 1);
    assert_int_equal(l.config->service_count, 2);
    assert_int_equal(l.config->files.count, 2);
    assert_true(l.config->has_providers);
    assert_false(l.config->has_clients);
    loaded_free(&l);
}

static void test_one_broken_file_does_not_hide_the_other(void **state)
{
    const char *const texts[] = {"services: {a: [\n", "server: {defalt_service: a, default_service: a}\n"};
    struct loaded l = load_files(texts, 2, NULL);
    assert_null(l.config);
    assert_int_equal(l.findings.errors, 2); /* nothing about the service that the broken file may have */
    assert_true(found(&l, SEVERITY_ERROR, "server.defalt_service", "did you mean"));
    loaded_free(&l);
}

static void test_list_command_line_and_missing_file(void **state)
{
    const char *const files[] = {"/nonexistent/hestia.yml"}, *const listen[] = {"0.0.0.0:1", "127.0.0.1:2"};
    struct config_sources sources = {.files = files, .file_count = 1};
    struct loaded l = {0};
    assert_null(config_load(&sources, &l.findings));
    assert_text(l.findings.list[0].where, "/nonexistent/hestia.yml");
    loaded_free(&l);
    const char *const environment[] = {"HESTIA_CONFIG_PATH=/dev/null", NULL};
    struct loaded m = {0};
    sources = (struct config_sources){.environment = environment, .listen = listen, .listen_count = 2};
    assert_null(config_load(&sources, &m.findings));
    assert_true(found(&m, SEVERITY_ERROR, "server.listen", "0.0.0.0:1 can be reached by others"));
    assert_string_equal(place_of(&m, "server.listen"), "command line");
    loaded_free(&m);
    struct loaded n = {0};
    sources.listen = listen + 1;
    sources.listen_count = 1;
    n.config = config_load(&sources, &n.findings);
    assert_non_null(n.config);
    assert_text(n.config->server.listen.items[0], "127.0.0.1:2");
    loaded_free(&n);
}

/* ---- where files are looked for ------------------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_search_order(void **state)
{
    static const char *const folders[] = {"home", "home/.hulumanage", "xdg", "xdg/hestia"};
    static const char *const written[] = {"xdg/hestia/b.yml", "xdg/hestia/a.yml",
                                          "home/.hulumanage/proxy_config.yaml", "hestia_config.yml"};
    char root[] = "/tmp/hestia_search_XXXXXX", home[80], xdg[80], before[400];
    assert_non_null(mkdtemp(root));
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(root), 0);
    for (size_t i = 0; i < COUNT_OF(folders); i++)
        assert_int_equal(mkdir(folders[i], 0700), 0);
    snprintf(home, sizeof home, "HOME=%s/home", root);
    snprintf(xdg, sizeof xdg, "XDG_CONFIG_HOME=%s/xdg", root);
    const char *const environment[] = {home, xdg, NULL};
    struct config_sources sources = {.environment = environment};
    struct loaded l = {0};

    l.config = config_load(&sources, &l.findings); /* nothing: ollama */
    assert_int_equal(l.config->service_count, 1);
    assert_text(service(&l, "ollama")->base_url.origin, "http://localhost:11434");
    assert_text(l.config->folder, root);
    loaded_free(&l);

    write_file("xdg/hestia/b.yml", "services: {x: {base_url: 'http://b', retry_count: 2}}");
    write_file("xdg/hestia/a.yml", "services: {x: {base_url: 'http://a', queue_size: 3}}");
    write_file("home/.hulumanage/proxy_config.yaml", "services: {y: {base_url: 'http://y'}}");
    l = (struct loaded){0};
    l.config = config_load(&sources, &l.findings);
    assert_text(service(&l, "x")->base_url.host, "b"); /* b.yml over a.yml */
    assert_int_equal(service(&l, "x")->queue_size, 3);
    assert_text(service(&l, "y")->base_url.host, "y");
    assert_int_equal(l.config->service_count, 2);
    assert_int_equal(l.config->files.count, 3);
    assert_true(str_ends(l.config->folder, STR("/xdg/hestia")));
    loaded_free(&l);

    write_file("hestia_config.yml", "services: {z: {base_url: 'http://z'}}");
    l = (struct loaded){0};
    l.config = config_load(&sources, &l.findings);
    assert_int_equal(l.config->service_count, 2); /* y and z */
    assert_non_null(service(&l, "z"));
    loaded_free(&l);

    const char *const with_path[] = {home, "HESTIA_CONFIG_PATH=xdg/hestia/a.yml", NULL};
    sources.environment = with_path;
    l = (struct loaded){0};
    l.config = config_load(&sources, &l.findings);
    assert_int_equal(l.config->service_count, 1);
    assert_text(service(&l, "x")->base_url.host, "a");
    loaded_free(&l);

    for (size_t i = 0; i < COUNT_OF(written); i++)
        assert_int_equal(unlink(written[i]), 0);
    for (size_t i = COUNT_OF(folders); i > 0; i--)
        assert_int_equal(rmdir(folders[i - 1]), 0);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rmdir(root), 0);
}

/* ---- fingerprints and notices -------------------------------------------------------------------------- */

static void fingerprints_compare(const char *one, const char *other, bool same_restart, bool same_full)
{
    char a[300], b[300];
    snprintf(a, sizeof a, "services: {s: {%s}}", one);
    snprintf(b, sizeof b, "services: {s: {%s}}", other);
    struct loaded l = load_text(a), m = load_text(b);
    struct service_config *s = service(&l, "s"), *t = service(&m, "s");
    /* The default workdir is the folder of the file, which is another one for each load. */
    s->workdir = t->workdir;
    struct str x = s->restart_fingerprint, y = t->restart_fingerprint;
    x.n -= str_from_c(l.folder).n + 1, y.n -= str_from_c(m.folder).n + 1;
    assert_int_equal(str_eq(x, y), same_restart);
    x = s->full_fingerprint, y = t->full_fingerprint;
    x.n -= str_from_c(l.folder).n + 1, y.n -= str_from_c(m.folder).n + 1;
    assert_int_equal(str_eq(x, y), same_full);
    loaded_free(&l);
    loaded_free(&m);
}

static void test_fingerprints(void **state)
{
    fingerprints_compare("base_url: 'http://a'", "base_url: \"http://a\"", true, true);
    fingerprints_compare("base_url: 'http://a', idle_timeout_ms: 5m",
                         "idle_timeout_ms: 300000, base_url: http://a", true, true);
    fingerprints_compare("base_url: 'http://a', retry_count: 1", "base_url: 'http://a'", true, true);
    fingerprints_compare("base_url: 'http://a'", "base_url: 'http://a', retry_count: 2", true, false);
    fingerprints_compare("base_url: 'http://a'", "base_url: 'http://b'", false, false);
    fingerprints_compare("command: [a, b]", "command: [a, c]", false, false);
    fingerprints_compare("command: [a, b]", "command: a b", true, true);
    fingerprints_compare("command: [a, b]", "command: ['a b']", false, false);
    fingerprints_compare("command: [a], env: {X: 1}", "command: [a], env: {X: 2}", false, false);
    fingerprints_compare("command: [a]", "command: [a], hosts: [x]", true, false);
    fingerprints_compare("base_url: 'http://a', routing: {by_model: {m: u}}", "base_url: 'http://a'", true,
                         false);
}

static void test_process_fingerprint(void **state)
{
    struct loaded a = load_text("server: {workers: 2}"),
                  b = load_text("server: {workers: 2, drain_seconds: 9}"),
                  c = load_text("server: {workers: 3}");
    assert_true(str_eq(a.config->process_fingerprint, b.config->process_fingerprint));
    assert_false(str_eq(a.config->process_fingerprint, c.config->process_fingerprint));
    loaded_free(&a);
    loaded_free(&b);
    loaded_free(&c);
}

static void test_one_notice_per_feature(void **state)
{
    struct loaded l = load_text(
        "services: {a: {base_url: 'http://x', strategy: s, routing: {model_key: m}, semaphore_enabled: "
        "false, semaphore_machine_id: x}, b: {base_url: 'http://y', strategy: s}}\n"
        "providers: [{name: p, base_url: 'http://x', api_key: k}, {name: q, base_url: 'http://x', api_key: "
        "k}]\n"
        "cache: {any: thing}\nmachines: {gpu: {vram_mb: 1}}\nversion: 3\n");
    assert_non_null(l.config);
    size_t notices = 0;
    for (size_t i = 0; i < l.findings.count; i++)
        notices += l.findings.list[i].severity == SEVERITY_NOTICE;
    assert_int_equal(notices, 4);
    assert_true(found(&l, SEVERITY_NOTICE, "services.a.strategy", "accepted, not active yet"));
    assert_true(found(&l, SEVERITY_NOTICE, "services.a.semaphore_enabled", "accepted, not active yet"));
    assert_true(found(&l, SEVERITY_NOTICE, "cache", "accepted, not active yet"));
    assert_int_equal(l.findings.warnings, 0);
    loaded_free(&l);
    l = load_text("server: {workers: 1}\nauth: {allow_open: true}\nmonitoring: {log_level: INFO}\n"
                  "services: {a: {base_url: 'http://x'}}");
    assert_int_equal(l.findings.count, 0);
    loaded_free(&l);
}

static void test_names_in_lists_are_unique(void **state)
{
    refuses("providers:\n  - {name: a}\n  - {name: a}\n", "providers", "\"a\" was already given at");
    refuses("strategies:\n  - {id: x, name: a}\n  - {id: x, name: b}\n", "strategies",
            "\"x\" was already given");
    accepts("strategies:\n  - {id: x, name: a}\n  - {id: y, name: a}\n");
}

static void test_references(void **state)
{
    struct loaded l = load_text("{}");
    assert_ptr_equal(config_ref(l.config), l.config);
    config_unref(l.config);
    assert_text(l.config->server.listen.items[0], "127.0.0.1:8080");
    config_unref(NULL);
    loaded_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_typing),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_zero_retries_are_one_attempt),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_rules_of_services),
        cmocka_unit_test(test_rules_of_the_server),
        cmocka_unit_test(test_public_listener_needs_keys),
        cmocka_unit_test(test_everything_at_once),
        cmocka_unit_test(test_unset_variable_disables_the_service),
        cmocka_unit_test(test_values_are_typed_after_expansion),
        cmocka_unit_test(test_port_is_kept_whatever_the_environment_says),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_plain_keys_are_refused),
        cmocka_unit_test(test_files_merge),
        cmocka_unit_test(test_one_broken_file_does_not_hide_the_other),
        cmocka_unit_test(test_list_command_line_and_missing_file),
        cmocka_unit_test(test_search_order),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_process_fingerprint),
        cmocka_unit_test(test_one_notice_per_feature),
        cmocka_unit_test(test_names_in_lists_are_unique),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests_name("config_load", tests, NULL, NULL);
}
