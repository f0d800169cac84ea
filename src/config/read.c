/*
 * One strategy or client from JSON: the management API's bodies and the store's rows, by the tables that also
 * read the files. Called by the registry, any thread.
 */
#include "config/check.h"
#include "config/node_json.h"

static const struct finding *first_error(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        if (findings->list[i].severity == SEVERITY_ERROR)
            return &findings->list[i];
    return NULL;
}

/* Without a finding, or with one that could not be written down, memory was short. */
static enum err refuse(struct arena *arena, const struct findings *findings, struct error *error)
{
    const struct finding *f = first_error(findings);
    const char *param = f && f->key.n ? arena_c(arena, f->key) : NULL;
    if (!f || !f->message.n || (!f->key.n && str_eq(f->message, STR("out of memory"))))
        return error_set(error, ERR_NOMEM, "out of memory");
    if (param)
        error_set(error, ERR_BAD_REQUEST, "%.*s: %.*s", STR_ARG(f->key), STR_ARG(f->message));
    else
        error_set(error, ERR_BAD_REQUEST, "%.*s", STR_ARG(f->message));
    error->param = param;
    return error->err;
}

static enum err object_read(struct arena *arena, struct str json, const struct table *t, void *value,
                            struct error *error)
{
    struct arena scratch CLEANUP(arena_free) = {0};
    struct findings findings CLEANUP(findings_free) = {0};
    struct variables none = {0};
    struct decoder d = {.arena = arena, .findings = &findings, .variables = &none, .from_api = true};
    *error = (struct error){0};
    memset(value, 0, t->size);
    struct node *n = node_from_json(&scratch, json, error);
    if (!n)
        return error->err;
    decode_table(&d, t, n, value);
    if (buf_err(&d.process) != OK)
        finding_no_memory(&findings);
    buf_free(&d.process);
    return findings.errors ? refuse(arena, &findings, error) : OK;
}

enum err config_read_strategy(struct arena *arena, struct str json, struct strategy_config *strategy,
                              struct error *error)
{
    return object_read(arena, json, &schema_strategy, strategy, error);
}

enum err config_read_client(struct arena *arena, struct str json, struct client_config *client,
                            struct error *error)
{
    return object_read(arena, json, &schema_client, client, error);
}
