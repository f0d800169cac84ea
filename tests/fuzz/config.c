/*
 * A whole configuration: a snapshot or at least one finding, the same each time; what `config show` prints of
 * it is YAML, and has none of the secrets that the environment holds.
 */
#include "input_file.h"

#include "config/finding.h"
#include "config/report.h"
#include "config/yaml.h"

#define SECRET "Zq7-secret-of-the-environment"
static const char *const environment[] = {"A=b", "OPENAI_API_KEY=" SECRET, "X_BASE_URL=http://x",
                                          "EMPTY=", NULL};

static void check_findings(const struct findings *findings)
{
    CLEANUP(buf_free) struct buf text = BUF(0), json = BUF(0);
    size_t errors = 0;
    for (size_t i = 0; i < findings->count; i++) {
        REQUIRE(findings->list[i].message.n > 0);
        errors += findings->list[i].severity == SEVERITY_ERROR;
    }
    REQUIRE(errors <= findings->errors);
    findings_write(findings, &text);
    findings_write_json(findings, &json);
    REQUIRE(buf_err(&text) == OK && buf_err(&json) == OK);
}

static void check_snapshot(const struct config *c)
{
    REQUIRE(c->service_count == 0 || c->services);
    for (size_t i = 0; i < c->service_count; i++) {
        REQUIRE(c->services[i].id.n > 0);
        REQUIRE(map_get(&c->services_by_id, c->services[i].id) == &c->services[i]);
    }
    for (size_t i = 0; i < c->provider_count; i++) {
        REQUIRE(c->providers[i].name.n > 0 && c->providers[i].weight >= 1);
        REQUIRE(c->providers[i].disabled || c->providers[i].base_url.host.n || c->providers[i].service.n);
        for (size_t j = 0; j < i; j++)
            REQUIRE(!str_eq(c->providers[i].name, c->providers[j].name));
    }
    for (size_t i = 0; i < c->strategy_count; i++)
        for (size_t j = 0; j < c->strategies[i].limit_count; j++)
            REQUIRE(c->strategies[i].limits[j].value >= 1);
}

/* A file that is wrong is shown too. */
static void check_shown(struct str input, const struct config_sources *sources, bool is_good)
{
    static const struct source source = {.name = {"shown", 5}, .folder = {"/", 1}};
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(buf_free) struct buf text = BUF(0);
    CLEANUP(findings_free) struct findings findings = {0}, findings_again = {0};
    config_write_merged(sources, &text, &findings);
    REQUIRE(buf_err(&text) == OK);
    if (str_find_str(input, STR(SECRET)) ==
        input.n) /* what somebody typed in any place is no secret of ours */
        REQUIRE(str_find_str(buf_str(&text), STR(SECRET)) == text.n);
    if (!is_good)
        return;
    struct node *again = yaml_parse(&arena, &source, buf_str(&text), &findings_again);
    REQUIRE(again && findings_again.errors == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(findings_free) struct findings findings = {0}, findings_again = {0};
    const char *file = input_file(input_str(bytes, n));
    struct config_sources sources = {
        .files = &file, .file_count = 1, .environment = environment, .executable = "/opt/hestia"};
    struct config *c = config_load(&sources, &findings), *again = config_load(&sources, &findings_again);
    REQUIRE((c != NULL) == (findings.errors == 0));
    REQUIRE((c != NULL) == (again != NULL) && findings.count == findings_again.count);
    check_findings(&findings);
    if (c) {
        check_snapshot(c);
        REQUIRE(str_eq(c->process_fingerprint, again->process_fingerprint));
    }
    check_shown(input_str(bytes, n), &sources, c != NULL);
    config_unref(c);
    config_unref(again);
    return 0;
}
