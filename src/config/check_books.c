/*
 * What follows from the keys of strategies, clients and prices together. The finish functions run while one
 * of them is decoded, from a file or from JSON; books_check at the end of a load, over all of them.
 */
#include "config/check.h"
#include "config/name_set.h"

enum { NAME_BYTES_MAX = 200 };

/* ---- identity ------------------------------------------------------------------------------------------ */

static bool is_printable(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

static void label_check(struct decoder *d, const struct node *n, const char *key, struct str label)
{
    if (label.n > NAME_BYTES_MAX || !is_printable(label))
        decode_report(d, SEVERITY_ERROR, node_get(n, str_from_c(key)), key,
                      "has up to %d bytes and no control characters", NAME_BYTES_MAX);
    else if (label.n && str_trim(label).n == 0)
        decode_report(d, SEVERITY_ERROR, node_get(n, str_from_c(key)), key, "must not be blank");
}

/* Each stands in for the other; an id that the API does not get is made by the registry. */
static void identity_settle(struct decoder *d, const struct node *n, struct str *id, struct str *name)
{
    bool is_given = !node_is_null(node_get(n, STR("id"))) || !node_is_null(node_get(n, STR("name")));
    label_check(d, n, "id", *id);
    label_check(d, n, "name", *name);
    if (!name->n)
        *name = *id;
    if (!id->n && !d->from_api)
        *id = *name;
    if (!is_given && d->from_api)
        decode_report(d, SEVERITY_ERROR, n, "name", "is missing");
    else if (!is_given)
        decode_report(d, SEVERITY_ERROR, n, NULL, "needs an id or a name");
}

/* ---- strategies ---------------------------------------------------------------------------------------- */

typedef __typeof__(((struct strategy_config *)0)->allowed) allowed_type;
typedef __typeof__(((struct strategy_config *)0)->auto_config) auto_type;

void allowed_finish(struct decoder *d, const struct node *n, void *value)
{
    allowed_type *allowed = value;
    if (node_is_null(node_get(n, STR("selected_all"))))
        allowed->selected_all = node_is_null(n);
}

void routellm_finish(struct decoder *d, const struct node *n, void *value)
{
    union scalar enabled = {0};
    if (decode_peek(d, &schema_routellm, "enabled", n, &enabled) && enabled.yes)
        decode_report(d, SEVERITY_NOTICE, n, NULL, "accepted, not active yet (choosing by difficulty)");
}

static void permission_settle(struct decoder *d, const struct node *n, auto_type *config)
{
    enum { ALLOW, ASK }; /* as they stand in the table */
    union scalar permission = {0};
    const struct node *at = node_get(n, STR("permission"));
    if (!decode_peek(d, &schema_auto, "permission", n, &permission))
        return;
    if (permission.word == ASK)
        decode_report(d, SEVERITY_WARNING, at, "permission",
                      "there is nobody to ask: auto-routing stays off; write allow to turn it on");
    bool allowed = permission.word == ALLOW;
    if (!node_is_null(node_get(n, STR("enabled"))) && config->enabled != allowed)
        decode_report(d, SEVERITY_ERROR, at, "permission",
                      "says the opposite of enabled; keep one of the two");
    config->enabled = allowed;
}

/* The node of the k-th of `count` decoded items: placeholders are not among them. */
static const struct node *item_node(const struct node *list, size_t k, size_t count, size_t *index)
{
    *index = k;
    if (list && list->count == count)
        return list->items[k];
    for (size_t i = 0; list && i < list->count; i++) {
        if (node_is_ellipsis(list->items[i]) || k-- > 0)
            continue;
        *index = i;
        return list->items[i];
    }
    return list;
}

static void model_report(struct decoder *d, enum severity severity, const struct node *n, const char *key,
                         size_t k, const struct model_names *models, const char *what)
{
    size_t index;
    const struct model_name *model = &models->items[k];
    const struct node *item = item_node(node_get(n, str_from_c(key)), k, models->count, &index);
    size_t mark = decode_enter(d, str_from_c(key));
    decode_enter_index(d, index);
    decode_report(d, severity, item, NULL, "\"%.*s/%.*s\" %s", (int)MIN(model->provider.n, (size_t)100),
                  model->provider.p, (int)MIN(model->model.n, (size_t)200), model->model.p, what);
    decode_leave(d, mark);
}

void auto_finish(struct decoder *d, const struct node *n, void *value)
{
    auto_type *config = value;
    struct name_set seen CLEANUP(name_set_free) = {0};
    permission_settle(d, n, config);
    if (!is_printable(config->model_name) || config->model_name.n > NAME_BYTES_MAX)
        decode_report(d, SEVERITY_ERROR, node_get(n, STR("model_name")), "model_name",
                      "has up to %d bytes and no control characters", NAME_BYTES_MAX);
    for (size_t i = 0; i < config->prioritized.count; i++) {
        const struct model_name *model = &config->prioritized.items[i];
        if (!name_set_add(&seen, model->provider, model->model))
            model_report(d, SEVERITY_ERROR, n, "prioritized_models", i, &config->prioritized,
                         "was already given above");
    }
    for (size_t i = 0; i < config->available.count; i++) {
        const struct model_name *model = &config->available.items[i];
        if (name_set_has(&seen, model->provider, model->model))
            model_report(d, SEVERITY_ERROR, n, "available_models", i, &config->available,
                         "stands among the prioritized models too; keep it in one list");
    }
    if (seen.failed)
        finding_no_memory(d->findings);
}

static void limits_check(struct decoder *d, const struct node *n, const struct strategy_config *s)
{
    bool seen[LIMIT_KINDS][WINDOW_DAY + 1] = {{false}};
    const struct node *list = node_get(n, STR("rate_limits"));
    size_t mark = decode_enter(d, STR("rate_limits"));
    for (size_t i = 0; i < s->limit_count; i++) {
        const struct rate_limit_config *limit = &s->limits[i];
        size_t index;
        const struct node *item = item_node(list, i, s->limit_count, &index);
        if (seen[limit->kind][limit->window]) {
            size_t item_mark = decode_enter_index(d, index);
            decode_report(d, SEVERITY_ERROR, item, NULL,
                          "there is a limit of this type for the same window above; keep one of the two");
            decode_leave(d, item_mark);
        }
        seen[limit->kind][limit->window] = true;
    }
    decode_leave(d, mark);
}

/* A file's strategy that lets nothing through, wholly or in part, is rarely meant. */
static void allowed_check(struct decoder *d, const struct node *n, const struct strategy_config *s)
{
    struct name_set allowed CLEANUP(name_set_free) = {0};
    if (s->allowed.selected_all)
        return;
    if (s->allowed.providers.count + s->allowed.models.count == 0)
        decode_report(d, SEVERITY_WARNING, node_get(n, STR("allowed_models")), "allowed_models",
                      "the strategy \"%.*s\" allows no model at all; list some, or write selected_all: true",
                      STR_ARG(s->name));
    for (size_t i = 0; i < s->allowed.providers.count; i++)
        name_set_add(&allowed, s->allowed.providers.items[i], STR_NONE);
    for (size_t i = 0; i < s->allowed.models.count; i++)
        name_set_add(&allowed, s->allowed.models.items[i].provider, s->allowed.models.items[i].model);
    size_t mark = decode_enter(d, STR("auto_config"));
    for (size_t i = 0; i < s->auto_config.prioritized.count; i++) {
        const struct model_name *model = &s->auto_config.prioritized.items[i];
        if (!name_set_has(&allowed, model->provider, STR_NONE) &&
            !name_set_has(&allowed, model->provider, model->model))
            model_report(d, SEVERITY_WARNING, node_get(n, STR("auto_config")), "prioritized_models", i,
                         &s->auto_config.prioritized,
                         "is not among the strategy's allowed models: it is skipped");
    }
    decode_leave(d, mark);
    if (allowed.failed)
        finding_no_memory(d->findings);
}

void strategy_finish(struct decoder *d, const struct node *n, void *value)
{
    struct strategy_config *s = value;
    identity_settle(d, n, &s->id, &s->name);
    s->has_auto = !node_is_null(node_get(n, STR("auto_config")));
    limits_check(d, n, s);
    allowed_check(d, n, s);
}

/* ---- clients, prices, storage -------------------------------------------------------------------------- */

void client_finish(struct decoder *d, const struct node *n, void *value)
{
    struct client_config *c = value;
    identity_settle(d, n, &c->id, &c->name);
    if (!c->strategy_id.n)
        c->strategy_id = STR("default");
    if (d->unit && d->unit->disabled)
        c->enabled = false;
}

void price_finish(struct decoder *d, const struct node *n, void *value)
{
    const struct price_config *p = value;
    if (p->input < 0 && p->output < 0 && p->cached_input < 0 && p->reasoning < 0)
        decode_report(d, SEVERITY_WARNING, n, NULL, "gives no price: the catalog's holds");
}

void pricing_finish(struct decoder *d, const struct node *n, void *value)
{
    const struct pricing_config *pricing = value;
    struct name_set seen CLEANUP(name_set_free) = {0};
    for (size_t i = 0; i < pricing->override_count; i++) {
        const struct price_config *p = &pricing->overrides[i];
        if (!name_set_add(&seen, p->provider, p->model))
            decode_report(d, SEVERITY_ERROR, n, NULL, "the price of \"%.*s%s%.*s\" is given twice",
                          STR_ARG(p->provider), p->provider.n ? "/" : "", STR_ARG(p->model));
    }
    if (seen.failed)
        finding_no_memory(d->findings);
}

void storage_finish(struct decoder *d, const struct node *n, void *value)
{
    enum { REJECT = 1 }; /* as it stands in the table */
    struct storage_config *s = value;
    union scalar word = {0};
    s->reject_on_failure =
        decode_peek(d, &schema_storage, "on_store_failure", n, &word) && word.word == REJECT;
}

/* ---- all of them together ------------------------------------------------------------------------------ */

/* Decoded ids: those that were not given and those with variables count too. The map gets id -> value. */
static void id_add(struct decoder *d, const struct node *at, struct str id, const void *value,
                   struct map *values)
{
    if (!id.n)
        return;
    if (map_get(values, id))
        decode_report(d, SEVERITY_ERROR, at, NULL, "\"%.*s\" was already given; ids must differ",
                      STR_ARG(id));
    else if (map_put(values, id, (void *)(uintptr_t)value) != OK)
        finding_no_memory(d->findings);
}

/* "; did you mean X?" or nothing. */
static struct str id_suggest(struct decoder *d, const struct map *values, struct str id)
{
    struct str nearest = STR_NONE;
    int best = 4;
    MAP_EACH(entry, values)
    {
        int distance = str_distance(id, entry->key, best);
        if (distance < best) {
            best = distance;
            nearest = entry->key;
        }
    }
    return nearest.n ? arena_printf(d->arena, "; did you mean %.*s?", STR_ARG(nearest)) : STR_NONE;
}

static void strategy_exists(struct decoder *d, const struct node *at, const char *key, struct str id,
                            const struct map *strategies)
{
    if (!id.n || str_eq(id, STR("default")) || map_get(strategies, id))
        return;
    struct str suggestion = id_suggest(d, strategies, id);
    decode_report(
        d, SEVERITY_WARNING, at, key,
        "the configuration has no strategy \"%.*s\"; it may exist in the database, made through the "
        "management API%.*s",
        STR_ARG(id), STR_ARG(suggestion));
}

static void client_providers_check(struct decoder *d, const struct node *n,
                                   const struct client_config *client, const struct config *c)
{
    struct strs names = client->allowed_llm_providers;
    for (size_t i = 0; i < names.count; i++) {
        bool known = false;
        for (size_t k = 0; k < c->provider_count && !known; k++)
            known = str_eq_nocase(c->providers[k].name, names.items[i]);
        if (!known)
            decode_report(d, SEVERITY_WARNING, node_get(n, STR("allowed_llm_providers")),
                          "allowed_llm_providers", "there is no provider \"%.*s\"", STR_ARG(names.items[i]));
    }
}

/* A key says who comes: it belongs to one client. */
static void client_keys_check(struct decoder *d, const struct node *n, const struct client_config *client,
                              struct map *keys)
{
    for (size_t i = 0; i < client->key_count; i++) {
        struct str key = str_make((const char *)client->keys[i].sha256, sizeof client->keys[i].sha256);
        const struct client_config *other = map_get(keys, key);
        if (other)
            decode_report(d, SEVERITY_ERROR, node_get(n, STR("key")), "key",
                          "is the key of the client \"%.*s\" already", STR_ARG(other->id));
        else if (map_put(keys, key, (void *)(uintptr_t)client) != OK)
            finding_no_memory(d->findings);
    }
}

/* Keys are made for the clients of the API only. */
static void client_key_given(struct decoder *d, const struct node *n, const struct client_config *client)
{
    if (client->enabled && node_is_null(node_get(n, STR("key"))))
        decode_report(
            d, SEVERITY_WARNING, n, "key",
            "the client \"%.*s\" has none, so that nobody can call as it, and a client of a file is "
            "given none later: write sha256:HEX (hestia hash-key), or make the client with "
            "hestia clients create",
            STR_ARG(client->id));
}

static void strategies_check(struct decoder *d, const struct node *list, const struct config *c,
                             struct map *strategies)
{
    size_t mark = decode_enter(d, STR("strategies"));
    for (size_t i = 0; i < c->strategy_count; i++) {
        size_t index;
        const struct node *n = item_node(list, i, c->strategy_count, &index);
        id_add(d, n, c->strategies[i].id, &c->strategies[i], strategies);
    }
    decode_leave(d, mark);
}

static void clients_check(struct decoder *d, const struct node *list, const struct config *c,
                          const struct map *strategies, struct map *clients)
{
    struct map keys CLEANUP(map_free) = {0};
    size_t mark = decode_enter(d, STR("clients"));
    for (size_t i = 0; i < c->client_count; i++) {
        const struct client_config *client = &c->clients[i];
        size_t index;
        const struct node *n = item_node(list, i, c->client_count, &index);
        id_add(d, n, client->id, client, clients);
        size_t item = decode_enter_index(d, index);
        strategy_exists(d, node_get(n, STR("strategy_id")), "strategy_id", client->strategy_id, strategies);
        client_providers_check(d, n, client, c);
        client_key_given(d, n, client);
        client_keys_check(d, n, client, &keys);
        decode_leave(d, item);
    }
    decode_leave(d, mark);
}

static void parents_check(struct decoder *d, const struct node *list, const struct config *c,
                          const struct map *clients)
{
    size_t mark = decode_enter(d, STR("strategies"));
    for (size_t i = 0; i < c->strategy_count; i++) {
        struct str parent = c->strategies[i].parent;
        size_t index;
        const struct node *n = item_node(list, i, c->strategy_count, &index);
        if (!parent.n || map_get(clients, parent))
            continue;
        size_t item = decode_enter_index(d, index);
        decode_report(
            d, SEVERITY_WARNING, node_get(n, STR("parent")), "parent",
            "the configuration has no client \"%.*s\"; unless it exists in the database, the parent "
            "is cleared at start",
            STR_ARG(parent));
        decode_leave(d, item);
    }
    decode_leave(d, mark);
}

void books_check(struct decoder *d, const struct node *root, const struct config *c)
{
    struct map strategies CLEANUP(map_free) = {0}, clients CLEANUP(map_free) = {0};
    const struct node *strategy_list = node_get(root, STR("strategies"));
    strategies_check(d, strategy_list, c, &strategies);
    clients_check(d, node_get(root, STR("clients")), c, &strategies, &clients);
    parents_check(d, strategy_list, c, &clients);
    strategy_exists(d, node_find(root, "auth", "anonymous", NULL), "auth.anonymous", c->auth.anonymous,
                    &strategies);
}
