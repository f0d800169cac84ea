/* The list of findings: where, which key, one sentence. Owned by the caller of config_load(). */
#include "config/finding.h"

#include "base/mem.h"
#include "config/yaml.h"

#include <stdarg.h>
#include <stdio.h>

enum { FINDINGS_MAX = 500 };

static struct finding *finding_next(struct findings *f, enum severity severity)
{
    f->errors += severity == SEVERITY_ERROR;
    f->warnings += severity == SEVERITY_WARNING;
    if (f->count >= FINDINGS_MAX)
        return NULL;
    if (f->count == f->capacity) {
        size_t capacity = f->capacity ? 2 * f->capacity : 16;
        struct finding *list = mem_resize(f->list, capacity * sizeof *list);
        if (!list) {
            f->errors++; /* what cannot be told must not pass as fine */
            return NULL;
        }
        f->list = list;
        f->capacity = capacity;
    }
    return &f->list[f->count++];
}

static struct str place(struct findings *f, const struct node *at)
{
    if (!at || !at->source)
        return STR_NONE;
    if (at->line == 0)
        return arena_str(&f->arena, at->source->name);
    return arena_printf(&f->arena, "%.*s:%u:%u", STR_ARG(at->source->name), at->line, at->column);
}

void finding_add(struct findings *f, enum severity severity, const struct node *at, struct str key,
                 const char *format, ...)
{
    struct finding *finding = finding_next(f, severity);
    char sentence[800];
    va_list args;
    if (!finding)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    *finding = (struct finding){severity, place(f, at), arena_str(&f->arena, key),
                                arena_str(&f->arena, str_from_c(sentence))};
}

void finding_no_memory(struct findings *f)
{
    finding_add(f, SEVERITY_ERROR, NULL, STR_NONE, "out of memory");
}

void findings_free(struct findings *f)
{
    arena_free(&f->arena);
    mem_free(f->list);
    *f = (struct findings){0};
}
