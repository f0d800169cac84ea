/*
 * The kinds of values that only strategies and prices have: lists of models, limits, prices by provider.
 * Called by decode_value.c, field by field.
 */
#include "base/num.h"
#include "config/decode.h"

enum { DOLLAR_PLACES = 12 }; /* a dollar is 10^12 pico-dollars */

/* ---- models -------------------------------------------------------------------------------------------- */

static bool pair_decode(struct decoder *d, const struct field *f, const struct node *n,
                        struct model_name *model)
{
    struct str *parts[] = {&model->provider, &model->model};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        size_t mark = decode_enter_index(d, i);
        bool decoded = decode_text(d, f, n->items[i], parts[i], NULL);
        decode_leave(d, mark);
        if (!decoded)
            return false;
    }
    return true;
}

/* "provider/model": what stands behind the first '/' is the model, whatever it holds. */
static bool path_decode(struct decoder *d, const struct field *f, const struct node *n,
                        struct model_name *model)
{
    if (!decode_text(d, f, n, &model->model, NULL))
        return false;
    if (str_find(model->model, '/') < model->model.n)
        model->provider = str_cut(&model->model, '/');
    return true;
}

static bool model_decode(struct decoder *d, const struct field *f, const struct node *n,
                         struct model_name *model)
{
    bool is_pair = n->kind == NODE_LIST && n->count == 2 && n->items[0]->kind == NODE_SCALAR &&
                   n->items[1]->kind == NODE_SCALAR;
    if (is_pair || n->kind == NODE_SCALAR) {
        if (!(is_pair ? pair_decode(d, f, n, model) : path_decode(d, f, n, model)))
            return false;
        bool is_empty = is_pair && (node_is_null(n->items[0]) || node_is_null(n->items[1]));
        if (model->provider.n && model->model.n && !is_empty)
            return true;
    }
    decode_report(d, SEVERITY_ERROR, n, NULL, "expected [provider, model] or \"provider/model\"");
    return false;
}

static void models_keep(struct decoder *d, const struct field *f, struct model_names list, void *value)
{
    struct model_names *slot = (struct model_names *)((char *)value + f->at);
    size_t earlier = f->flags & F_JOIN ? slot->count : 0, count = earlier + list.count;
    struct model_name *items = decode_alloc(d, count * sizeof *items + 1);
    if (!items)
        return;
    for (size_t i = 0; i < count; i++)
        items[i] = i < earlier ? slot->items[i] : list.items[i - earlier];
    *slot = (struct model_names){items, count};
}

void decode_models(struct decoder *d, const struct field *f, const struct node *n, void *value)
{
    struct model_names list = {0};
    if (node_is_null(n))
        return;
    if (n->kind != NODE_LIST) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected a list of [provider, model] pairs, got %s",
                      node_kind_name(n));
        return;
    }
    list.items = decode_alloc(d, n->count * sizeof *list.items + 1);
    for (size_t i = 0; list.items && i < n->count; i++) {
        size_t mark = decode_enter_index(d, i);
        if (!node_is_ellipsis(n->items[i]) && model_decode(d, f, n->items[i], &list.items[list.count]))
            list.count++;
        decode_leave(d, mark);
    }
    if (value)
        models_keep(d, f, list, value);
}

/* ---- limits -------------------------------------------------------------------------------------------- */

void decode_limit(struct decoder *d, const struct field *f, const struct node *n, void *value)
{
    struct rate_limit_config *limit = value;
    bool is_cost = limit->kind == LIMIT_COST, exact;
    int64_t amount;
    struct str text;
    if (node_is_null(n) || !decode_text(d, f, n, &text, NULL))
        return;
    if (num_parse_decimal(str_trim(text), is_cost ? DOLLAR_PLACES : 0, &amount, &exact) && amount >= 1 &&
        (is_cost || exact)) {
        limit->value = amount;
        return;
    }
    decode_report(d, SEVERITY_ERROR, n, NULL, "expected %s, got \"%.*s\"",
                  is_cost ? "an amount in US dollars, more than 0 and at most 9223372"
                          : "a whole number, at least 1",
                  (int)MIN(n->text.n, (size_t)60), n->text.p ? n->text.p : "");
}

/* ---- prices -------------------------------------------------------------------------------------------- */

static void price_decode(struct decoder *d, const struct table *t, const struct node *n, struct str provider,
                         struct str model, struct pricing_config *pricing)
{
    struct price_config *price = &pricing->overrides[pricing->override_count];
    if (!node_is_null(n) && n->kind != NODE_MAP) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected a map, got %s", node_kind_name(n));
        return;
    }
    *price = (struct price_config){.provider = decode_keep(d, provider), .model = decode_keep(d, model)};
    decode_table(d, t, n, price);
    pricing->override_count++;
}

static void provider_prices_decode(struct decoder *d, const struct table *t, struct str provider,
                                   const struct node *n, struct pricing_config *pricing)
{
    if (node_is_null(n))
        return;
    if (n->kind != NODE_MAP) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected a map of models to maps, got %s",
                      node_kind_name(n));
        return;
    }
    for (size_t i = 0; i < n->count; i++) {
        size_t mark = decode_enter(d, n->keys[i]->text);
        if (!node_is_ellipsis(n->keys[i]))
            price_decode(d, t, n->items[i], provider, n->keys[i]->text, pricing);
        decode_leave(d, mark);
    }
}

void decode_prices(struct decoder *d, const struct field *f, const struct node *n, void *value)
{
    struct pricing_config *pricing = value;
    size_t room = pricing->override_count;
    if (node_is_null(n))
        return;
    if (n->kind != NODE_MAP) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected a map of providers to maps of models, got %s",
                      node_kind_name(n));
        return;
    }
    for (size_t i = 0; i < n->count; i++)
        room += n->items[i]->count;
    struct price_config *list = decode_alloc(d, room * sizeof *list + 1);
    if (!list)
        return;
    for (size_t i = 0; i < pricing->override_count; i++)
        list[i] = pricing->overrides[i];
    pricing->overrides = list;
    for (size_t i = 0; i < n->count; i++) {
        size_t mark = decode_enter(d, n->keys[i]->text);
        if (!node_is_ellipsis(n->keys[i]))
            provider_prices_decode(d, f->table, n->keys[i]->text, n->items[i], pricing);
        decode_leave(d, mark);
    }
}
