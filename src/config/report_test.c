/* What is printed: findings, the merged configuration with masked secrets, the documentation, JSON Schema. */
#include "config/test.h"

#include "config/tables.h"

#include <jansson.h>

static bool holds(const struct buf *text, const char *part)
{
    return str_find_str(buf_str(text), str_from_c(part)) < text->n;
}

static void test_findings(void **state)
{
    struct loaded l = load_text("services: {a: {base_ur: \"x\"}}");
    struct buf text CLEANUP(buf_free) = BUF(0), json CLEANUP(buf_free) = BUF(0);
    findings_write(&l.findings, &text);
    assert_true(str_starts(buf_str(&text), STR("error: ")));
    assert_true(holds(&text, "/a.yml:1:16: services.a.base_ur: unknown key; did you mean base_url?\n"));
    findings_write_json(&l.findings, &json);
    json_t *root = json_loadb(json.p, json.n, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_false(json_object_get(root, "valid")));
    assert_int_equal(json_integer_value(json_object_get(root, "errors")), 1);
    json_t *first = json_array_get(json_object_get(root, "findings"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "severity")), "error");
    assert_string_equal(json_string_value(json_object_get(first, "key")), "services.a.base_ur");
    json_decref(root);
    loaded_free(&l);
}

static void show(const char *text, const char *const *environment, struct buf *out)
{
    char path[] = "/tmp/hestia_show_XXXXXX";
    const char *files[] = {path};
    struct findings findings = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    struct config_sources sources = {
        .files = files, .file_count = 1, .environment = environment, .executable = "/opt/hestia"};
    config_write_merged(&sources, out, &findings);
    unlink(path);
    findings_free(&findings);
}

static void test_show(void **state)
{
    static const char *const environment[] = {"UP=http://up:1", "P_KEY=planted-1", "A_RETRY_COUNT=4",
                                              "SEMAPHORE_PASSWORD=planted-2", NULL};
    struct buf out CLEANUP(buf_free) = BUF(0);
    show("services:\n  a:\n    base_url: ${UP}\n    retry_count: 2\n"
         "    command: [x, \"--key=${P_KEY}\", \"${PORT}\"]\n    env: {HF_TOKEN: planted-3, MODE: fast}\n"
         "providers:\n  - name: p\n    api_key: ${P_KEY}\n    headers: {X: planted-4}\n"
         "  - {name: q, api_key: planted-5, base_url: \"http://u:planted-6@h/v1\"}\n"
         "auth: {api_keys: [planted-7, \"${NOPE:-planted-8}\"]}\n"
         "strategies: [{name: s, components: {cloud_api: {config: {api_key: planted-9, max_tokens: "
         "4096}}}}]\n",
         environment, &out);
    assert_false(holds(&out, "planted"));
    assert_true(holds(&out, "base_url: http://up:1"));
    assert_true(holds(&out, "retry_count: \"4\"  # environment A_RETRY_COUNT\n"));
    assert_true(holds(&out, "${PORT}"));
    assert_true(holds(&out, "MODE: fast"));
    assert_true(holds(&out, "max_tokens: 4096"));
    assert_true(holds(&out, "  - name: p"));
}

/* What is shown is YAML that loads to the same configuration. */
static void test_show_loads_again(void **state)
{
    struct buf out CLEANUP(buf_free) = BUF(0);
    const char *text =
        "services:\n  a: {base_url: 'http://h', hosts: [x.lan, y.lan], env: {}, command: 'x \"y z\"',\n"
        "      wake_ignore: {paths: ['/a: b', '# c', '\"q\"']}}\n  b: {instances: [{url: 'http://i', "
        "weight: 3}]}\nproviders: [{name: p, base_url: 'http://x', api_key: k, models: [[], {}, 'null']}]\n";
    show(text, NULL, &out);
    struct loaded one = load_text(text), two = load_text(buf_c(&out));
    struct loaded *both[] = {&one, &two};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(both[i]->findings.errors, 2); /* models: [[], {}] */
    loaded_free(&one);
    loaded_free(&two);
    buf_clear(&out);
    text = "services:\n  a: {base_url: 'http://h', hosts: [x.lan, y.lan], env: {}, command: [x, 'y z'],\n"
           "      wake_ignore: {paths: ['/a: b', '# c', '\"q\"', 'true', '- x']}}\n  b: {instances: [{url: "
           "'http://i', "
           "weight: 3}]}\n";
    show(text, NULL, &out);
    one = load_text(text);
    two = load_text(buf_c(&out));
    assert_non_null(one.config);
    assert_non_null(two.config);
    struct wake_ignore *x = &one.config->services[0].wake_ignore, *y = &two.config->services[0].wake_ignore;
    assert_int_equal(x->paths.count, 5);
    assert_int_equal(y->paths.count, 5);
    for (size_t i = 0; i < x->paths.count; i++)
        assert_true(str_eq(x->paths.items[i], y->paths.items[i]));
    assert_true(str_eq(one.config->services[0].command.items[1], two.config->services[0].command.items[1]));
    assert_int_equal(two.config->services[1].instances[0].weight, 3);
    loaded_free(&one);
    loaded_free(&two);
}

static void test_tables_are_complete(void **state)
{
    struct tables all;
    tables_collect(&all);
    assert_true(all.count > 20);
    for (size_t i = 0; i < all.count; i++) {
        const struct table *t = all.list[i];
        assert_non_null(t->title);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(t->name, all.list[k]->name);
        for (size_t k = 0; k < t->count; k++) {
            const struct field *f = &t->fields[k];
            assert_non_null(f->doc);
            assert_ptr_equal(table_field(t, str_from_c(f->name)), f); /* no name twice */
            assert_true(f->kind != FIELD_WORD || f->words);
            assert_true(f->kind != FIELD_DURATION || f->unit);
            assert_int_equal(f->kind == FIELD_TABLE || f->kind == FIELD_ITEMS || f->kind == FIELD_NAMED ||
                                 f->kind == FIELD_PRICES,
                             !!f->table);
            assert_int_equal(f->doc[strlen(f->doc) - 1], '.'); /* a sentence */
        }
    }
}

static void test_schema(void **state)
{
    struct buf out CLEANUP(buf_free) = BUF(0);
    config_write_schema(&out);
    assert_int_equal(buf_err(&out), OK);
    json_error_t error;
    json_t *root = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    json_t *services = json_object_get(json_object_get(root, "properties"), "services");
    json_t *either = json_object_get(json_object_get(services, "additionalProperties"), "anyOf");
    assert_string_equal(json_string_value(json_object_get(json_array_get(either, 0), "$ref")),
                        "#/$defs/service");
    json_t *service = json_object_get(json_object_get(root, "$defs"), "service");
    json_t *queue = json_object_get(json_object_get(service, "properties"), "queue_size");
    assert_int_equal((int)json_number_value(json_object_get(queue, "minimum")), 1);
    assert_string_equal(json_string_value(json_object_get(queue, "default")), "100");
    json_decref(root);
}

/* docs/config.md is `hestia config doc`: after a change of the tables it is written again. */
static void test_doc_is_current(void **state)
{
    struct buf out CLEANUP(buf_free) = BUF(0), file CLEANUP(buf_free) = BUF(0);
    config_write_doc(&out);
    assert_true(holds(&out, "## services.ID\n"));
    assert_true(holds(&out, "| `queue_size` |"));
    FILE *page = fopen(project_path(__FILE__, "docs/config.md"), "r");
    assert_non_null(page);
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, page)) > 0;)
        buf_add(&file, part, n);
    fclose(page);
    if (!str_eq(buf_str(&out), buf_str(&file)))
        fail_msg("docs/config.md is not what the tables say: run `hestia config doc > docs/config.md`");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_findings),         cmocka_unit_test(test_show),
        cmocka_unit_test(test_show_loads_again), cmocka_unit_test(test_tables_are_complete),
        cmocka_unit_test(test_schema),           cmocka_unit_test(test_doc_is_current),
    };
    return cmocka_run_group_tests_name("config_report", tests, NULL, NULL);
}
