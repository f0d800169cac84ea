/*
 * Definitions of strategies and clients as JSON, in one normal form: what the store keeps, what the audit
 * trail shows, what a patch is merged into. Keys that the structs do not have (LlamaFarm's, and those kept
 * for other programs) are carried along. Control thread.
 */
#include "strategy/book_inside.h"

#include "base/num.h"

#include <stdlib.h>

static bool is_among(const char *key, const char *const *known)
{
    while (*known && strcmp(*known, key) != 0)
        known++;
    return *known != NULL;
}

/* What `doc` has besides the known keys. */
static void others_print(struct json *j, const json_t *doc, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)doc, key, value)
    {
        if (is_among(key, known))
            continue;
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        if (!text) {
            j->out->err = ERR_NOMEM;
            return;
        }
        json_key_dynamic(j, str_from_c(key));
        json_raw(j, str_from_c(text));
        free(text);
    }
}

static void texts_print(struct json *j, const char *key, const struct strs *list)
{
    json_key_array(j, key);
    for (size_t i = 0; i < list->count; i++)
        json_str(j, list->items[i]);
    json_end(j);
}

static void models_print(struct json *j, const char *key, const struct model_names *list)
{
    json_key_array(j, key);
    for (size_t i = 0; i < list->count; i++) {
        json_put_array(j);
        json_str(j, list->items[i].provider);
        json_str(j, list->items[i].model);
        json_end(j);
    }
    json_end(j);
}

void strategy_write_allowed(struct json *j, const struct strategy_config *s)
{
    json_key_object(j, "allowed_models");
    json_key_bool(j, "selected_all", s->allowed.selected_all);
    texts_print(j, "selected_providers", &s->allowed.providers);
    models_print(j, "selected_models", &s->allowed.models);
    json_end(j);
}

void strategy_write_auto(struct json *j, const struct strategy_config *s)
{
    json_key_bool(j, "enabled", s->auto_config.enabled);
    json_key_str(j, "model_name", s->auto_config.model_name);
    models_print(j, "prioritized_models", &s->auto_config.prioritized);
    models_print(j, "available_models", &s->auto_config.available);
}

static void auto_print(struct json *j, const struct strategy_config *s, const json_t *doc)
{
    static const char *const known[] = {"enabled",          "permission", "model_name", "prioritized_models",
                                        "available_models", NULL};
    if (!s->has_auto)
        return;
    json_key_object(j, "auto_config");
    strategy_write_auto(j, s);
    others_print(j, json_object_get(doc, "auto_config"), known);
    json_end(j);
}

void strategy_write_limit(struct json *j, const struct rate_limit_config *limit)
{
    json_key_c(j, "limit_type", limit_kind_name(limit->kind));
    json_key_decimal(j, "value", limit->value, limit_digits(limit->kind));
    json_key_c(j, "time_window", limit_window_name(limit->window));
    json_key_bool(j, "enabled", limit->enabled);
}

void strategy_write_limits(struct json *j, const struct strategy_config *s)
{
    json_key_array(j, "rate_limits");
    for (size_t i = 0; i < s->limit_count; i++) {
        json_put_object(j);
        strategy_write_limit(j, &s->limits[i]);
        json_end(j);
    }
    json_end(j);
}

void strategy_print(struct buf *out, const struct strategy_config *s, const json_t *doc)
{
    static const char *const known[] = {
        "id", "name", "parent", "allowed_models", "auto_config", "rate_limits", "fallback_on_other", NULL};
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_str(&j, "id", s->id);
    json_key_str(&j, "name", s->name);
    if (s->parent.n)
        json_key_str(&j, "parent", s->parent);
    strategy_write_allowed(&j, s);
    auto_print(&j, s, doc);
    strategy_write_limits(&j, s);
    json_key_bool(&j, "fallback_on_other", s->fallback_on_other);
    others_print(&j, doc, known);
    json_end(&j);
}

static void key_print(struct json *j, const struct book_key *key)
{
    char hex[2 * sizeof key->hmac];
    num_to_hex(key->hmac, sizeof key->hmac, hex);
    json_key_object(j, "key");
    json_key_str(j, "lookup", str_make(key->lookup, sizeof key->lookup));
    json_key_str(j, "hmac", str_make(hex, sizeof hex));
    json_end(j);
}

void client_print(struct buf *out, const struct client_config *c, const struct book_key *key,
                  const json_t *doc)
{
    /* When it was made and last used is known better elsewhere. */
    static const char *const known[] = {
        "id",         "name",      "enabled", "strategy_id", "allowed_llm_providers",
        "created_at", "last_used", "key",     NULL};
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_str(&j, "id", c->id);
    json_key_str(&j, "name", c->name);
    json_key_bool(&j, "enabled", c->enabled);
    json_key_str(&j, "strategy_id", c->strategy_id);
    texts_print(&j, "allowed_llm_providers", &c->allowed_llm_providers);
    others_print(&j, doc, known);
    if (key && key->is_set)
        key_print(&j, key);
    json_end(&j);
}
