/* Which models a strategy and a client may use: the pure part of book.h. Any thread. */
#include "strategy/book.h"

static const struct str auto_name = {"auto", 4};

static bool strs_have(const struct strs *list, struct str text)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq_nocase(list->items[i], text))
            return true;
    return false;
}

/* "auto" of either prefix, and the strategy's own name of ours: `prefix` is what stands before the '/'. */
static bool auto_matches(const struct strategy_config *s, struct str prefix, struct str name)
{
    if (str_eq_nocase(prefix, STR("hestia")))
        return str_eq_nocase(name, auto_name);
    if (!str_eq_nocase(prefix, STR("localrouter")))
        return false;
    struct str own = s->auto_config.model_name;
    return str_eq_nocase(name, auto_name) || (own.n && str_eq_nocase(name, own));
}

bool strategy_is_auto(const struct strategy_config *s, struct str model)
{
    /* Ordinary names are told apart by a byte. */
    char first = model.n ? char_lower(model.p[0]) : 0;
    if (first != 'l' && first != 'h')
        return false;
    struct str rest = model, prefix = str_cut(&rest, '/');
    return auto_matches(s, prefix, rest);
}

bool strategy_allows(const struct strategy_config *s, struct str provider, struct str model)
{
    if (auto_matches(s, provider, model))
        return s->has_auto && s->auto_config.enabled;
    if (s->allowed.selected_all || strs_have(&s->allowed.providers, provider))
        return true;
    for (size_t i = 0; i < s->allowed.models.count; i++) {
        const struct model_name *pair = &s->allowed.models.items[i];
        if (str_eq_nocase(pair->provider, provider) && str_eq_nocase(pair->model, model))
            return true;
    }
    return false;
}

bool client_allows(const struct client_config *c, struct str provider)
{
    return c->allowed_llm_providers.count == 0 || strs_have(&c->allowed_llm_providers, provider);
}

/* Without "vendor/" and ":tag". */
static struct str model_core(struct str model)
{
    size_t slash = str_find(model, '/');
    if (slash < model.n)
        model = str_from(model, slash + 1);
    return str_first(model, str_find(model, ':'));
}

bool strategy_resolve(const struct strategy_config *s, struct str model, struct model_name *found)
{
    struct str core = model_core(model);
    const struct model_name *first = NULL;
    if (s->allowed.selected_all || core.n == 0)
        return false;
    for (size_t i = 0; i < s->allowed.models.count; i++) {
        const struct model_name *pair = &s->allowed.models.items[i];
        if (str_eq_nocase(pair->model, model)) { /* as it stands: before what is only alike */
            first = pair;
            break;
        }
        if (!first && str_eq_nocase(model_core(pair->model), core))
            first = pair;
    }
    if (first)
        *found = *first;
    return first != NULL;
}
