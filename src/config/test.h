/* For the tests of config/: files in a folder of their own, loaded with an environment that the test gives.
 */
#ifndef HESTIA_CONFIG_TEST_H
#define HESTIA_CONFIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/finding.h"
#include "config/report.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct loaded {
    struct config *config;
    struct findings findings;
    char folder[64];
};

/* Files a.yml, b.yml, … with these texts; they are removed again at once. */
static inline struct loaded load_files(const char *const *texts, size_t count, const char *const *environment)
{
    struct loaded l = {.folder = "/tmp/hestia_config_XXXXXX"};
    char names[8][96];
    const char *files[8];
    assert_non_null(mkdtemp(l.folder));
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%s/%c.yml", l.folder, (int)('a' + i));
        FILE *file = fopen(names[i], "w");
        assert_non_null(file);
        fputs(texts[i], file);
        fclose(file);
        files[i] = names[i];
    }
    struct config_sources sources = {
        .files = files, .file_count = count, .environment = environment, .executable = "/opt/hestia/hestia"};
    l.config = config_load(&sources, &l.findings);
    for (size_t i = 0; i < count; i++)
        unlink(names[i]);
    rmdir(l.folder);
    return l;
}

static inline struct loaded load_text(const char *text)
{
    return load_files(&text, 1, NULL);
}

static inline struct loaded load_env(const char *text, const char *const *environment)
{
    return load_files(&text, 1, environment);
}

static inline void loaded_free(struct loaded *l)
{
    config_unref(l->config);
    findings_free(&l->findings);
}

/* Whether a finding of that severity has `key` exactly and `part` in its sentence. */
static inline bool found(const struct loaded *l, enum severity severity, const char *key, const char *part)
{
    for (size_t i = 0; i < l->findings.count; i++) {
        const struct finding *f = &l->findings.list[i];
        if (f->severity == severity && str_eq(f->key, str_from_c(key)) &&
            str_find_str(f->message, str_from_c(part)) < f->message.n)
            return true;
    }
    return false;
}

/* Where the first finding with that key stands, without the folder: "a.yml:3:5". */
static inline const char *place_of(const struct loaded *l, const char *key)
{
    for (size_t i = 0; i < l->findings.count; i++) {
        const struct finding *f = &l->findings.list[i];
        if (!str_eq(f->key, str_from_c(key)))
            continue;
        const char *slash = strrchr(f->where.p, '/');
        return slash ? slash + 1 : f->where.p;
    }
    return "no such finding";
}

static inline void assert_text(struct str text, const char *expected)
{
    char copy[400];
    assert_string_equal(str_to_c(text, copy, sizeof copy), expected);
}

static inline void print_findings(const struct loaded *l)
{
    struct buf text = BUF(0);
    findings_write(&l->findings, &text);
    fputs(buf_c(&text), stderr);
    buf_free(&text);
}

/* The text is refused, with this finding. */
static inline void refuses(const char *text, const char *key, const char *part)
{
    struct loaded l = load_text(text);
    if (l.config || !found(&l, SEVERITY_ERROR, key, part)) {
        fprintf(stderr, "not refused as it should be:\n%s\n", text);
        print_findings(&l);
        fail();
    }
    loaded_free(&l);
}

static inline void warns(const char *text, const char *key, const char *part)
{
    struct loaded l = load_text(text);
    if (!l.config || !found(&l, SEVERITY_WARNING, key, part)) {
        print_findings(&l);
        fail();
    }
    loaded_free(&l);
}

static inline void accepts(const char *text)
{
    struct loaded l = load_text(text);
    if (!l.config)
        print_findings(&l);
    assert_non_null(l.config);
    loaded_free(&l);
}

/* `path` below the project's root; `file` is the caller's __FILE__, relative to the build folder where tests
   run, or absolute. */
static inline const char *project_path(const char *file, const char *path)
{
    static char full[500];
    const char *end = strstr(file, "src/config/");
    int n = end ? (int)(end - file) : 0;
    snprintf(full, sizeof full, "%.*s%s%s", n, file, end ? "" : "../", path);
    return full;
}

static inline struct loaded load_file(const char *path, const char *const *environment)
{
    struct loaded l = {0};
    struct config_sources sources = {
        .files = &path, .file_count = 1, .environment = environment, .executable = "/opt/hestia/hestia"};
    l.config = config_load(&sources, &l.findings);
    return l;
}

#endif
