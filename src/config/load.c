/* config_load(): sources to an immutable snapshot, and the snapshot's references. */
#include "config/assemble.h"
#include "config/check.h"

#include "base/mem.h"

struct config *config_ref(struct config *c)
{
    c->references++;
    return c;
}

void config_unref(struct config *c)
{
    if (!c || --c->references > 0)
        return;
    map_free(&c->services_by_id);
    map_free(&c->services_by_host);
    arena_free(&c->arena);
    mem_free(c);
}

/* What the assembly knows and the snapshot keeps. */
static void origin_keep(struct config *c, const struct assembly *a, struct findings *findings)
{
    c->folder = arena_str(&c->arena, a->folder);
    c->files.items = arena_alloc(&c->arena, a->files.count * sizeof(struct str) + 1);
    if (!c->files.items || !c->folder.p) {
        finding_no_memory(findings);
        return;
    }
    for (size_t i = 0; i < a->files.count; i++)
        c->files.items[c->files.count++] = arena_str(&c->arena, a->files.items[i]);
}

static void snapshot_fill(struct config *c, const struct assembly *a, struct findings *findings)
{
    struct decoder d = {.arena = &c->arena, .findings = findings, .variables = &a->variables};
    origin_keep(c, a, findings);
    d.folder = c->folder;
    decode_table(&d, &schema_root, a->root, c);
    if (!a->incomplete)
        config_check(&d, a->root, c);
    if (buf_err(&d.process) != OK)
        finding_no_memory(findings);
    c->process_fingerprint = arena_str(&c->arena, buf_str(&d.process));
    buf_free(&d.process);
}

struct config *config_load(const struct config_sources *sources, struct findings *findings)
{
    struct assembly a;
    size_t errors = findings->errors;
    struct config *c = mem_alloc(sizeof *c);
    if (!c) {
        finding_no_memory(findings);
        return NULL;
    }
    c->references = 1;
    /* Even when a file has an error, the rest is looked at: people see everything at once. */
    bool assembled = assemble(sources, &a, findings);
    if (a.root)
        snapshot_fill(c, &a, findings);
    assembly_free(&a);
    if (assembled && findings->errors == errors)
        return c;
    config_unref(c);
    return NULL;
}
