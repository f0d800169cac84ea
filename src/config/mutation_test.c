/*
 * Truncated and mutated configurations: the loader finds fault or not, but never crashes, leaks or hangs. The
 * sequence is fixed; the whole is bounded to about two seconds.
 */
#include "config/test.h"

#include "base/clock.h"
#include "config/yaml.h"

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t random_next(void) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1du;
}

static void mutate(struct buf *text)
{
    static const char *const pieces[] = {"\n",     "  ",
                                         "- ",     ": ",
                                         "{",      "}",
                                         "[",      "]",
                                         "${",     "}",
                                         "&a ",    "*a",
                                         "<<: *a", "\"",
                                         "'",      "|\n",
                                         "#",      "\t",
                                         "null",   "...",
                                         "---\n",  "\xff",
                                         "!!str ", "${PORT}",
                                         "-1",     "99999999999999999999",
                                         "sha256:"};
    size_t at = text->n ? random_next() % text->n : 0;
    switch (random_next() % 4) {
    case 0:
        buf_truncate(text, at);
        break;
    case 1: /* one byte changed */
        if (text->n)
            text->p[at] = (char)random_next();
        break;
    case 2: { /* something put in */
        struct buf tail CLEANUP(buf_free) = BUF(0);
        buf_add_str(&tail, str_from(buf_str(text), at));
        buf_truncate(text, at);
        buf_add_c(text, pieces[random_next() % COUNT_OF(pieces)]);
        buf_add_str(text, buf_str(&tail));
        break;
    }
    default: { /* a piece cut out */
        struct buf tail CLEANUP(buf_free) = BUF(0);
        buf_add_str(&tail, str_from(buf_str(text), at + random_next() % 20));
        buf_truncate(text, at);
        buf_add_str(text, buf_str(&tail));
    }
    }
}

static void load_bytes(struct str text)
{
    static const char *const environment[] = {"A=b", "OPENAI_API_KEY=k", "X_BASE_URL=http://x", NULL};
    char path[] = "/tmp/hestia_mutation_XXXXXX";
    const char *files[] = {path};
    struct findings findings = {0}, merged_findings = {0};
    struct buf merged CLEANUP(buf_free) = BUF(0);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.p, text.n), text.n);
    close(fd);
    struct config_sources sources = {
        .files = files, .file_count = 1, .environment = environment, .executable = "/opt/hestia"};
    struct config *c = config_load(&sources, &findings);
    assert_int_equal(c != NULL, findings.errors == 0);
    config_write_merged(&sources, &merged, &merged_findings);
    assert_int_equal(buf_err(&merged), OK);
    config_unref(c);
    findings_free(&findings);
    findings_free(&merged_findings);
    unlink(path);
}

static void read_whole(const char *path, struct buf *text)
{
    char part[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;)
        buf_add(text, part, n);
    fclose(file);
}

static void test_mutations(void **state)
{
    glob_t found;
    uint64_t end = clock_now() + 2 * CLOCK_S;
    size_t rounds = 0;
    assert_int_equal(glob(project_path(__FILE__, "tests/fixtures/seeds/*.yml"), 0, NULL, &found), 0);
    assert_int_equal(glob(project_path(__FILE__, "hestia_config.yml"), GLOB_APPEND, NULL, &found), 0);
    for (; rounds < 20000 && clock_now() < end; rounds++) {
        struct buf text CLEANUP(buf_free) = BUF(0);
        read_whole(found.gl_pathv[rounds % found.gl_pathc], &text);
        for (size_t i = random_next() % 4 + 1; i > 0; i--)
            mutate(&text);
        load_bytes(buf_str(&text));
    }
    globfree(&found);
    assert_true(rounds >= 53); /* every file at least once */
}

static void test_truncations(void **state)
{
    struct buf text CLEANUP(buf_free) = BUF(0);
    read_whole(project_path(__FILE__, "hestia_config.yml"), &text);
    for (size_t n = 0; n <= text.n; n += 7)
        load_bytes(str_first(buf_str(&text), n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations), cmocka_unit_test(test_truncations)};
    return cmocka_run_group_tests_name("config_mutation", tests, NULL, NULL);
}
