/*
 * Prices: three lists by name (the catalog compiled in, an import over it, the configuration's overrides over
 * both), a lookup that also tries the name without date, tag and path, and the arithmetic. Built by the
 * control thread at boot and reload, read by every worker: immutable then, a lookup allocates nothing.
 */
#include "llm/price.h"

#include "base/mem.h"
#include "llm/price_list.h"

#define NONE (-1.0)
/* Dollars per million tokens are millions of pico-dollars per token. */
#define PICO(dollars) ((dollars) < 0 ? -1 : (int64_t)((dollars)*1e6 + 0.5))

static const struct {
    const char *family, *model;
    struct price price;
} catalog_rows[] = {
#define M(family, model, input, output, cached_input, reasoning, context_window, max_output)                 \
    {family,                                                                                                 \
     model,                                                                                                  \
     {PICO(input), PICO(output), PICO(cached_input), PICO(reasoning), context_window, max_output, true,      \
      false}},
#include "llm/prices.def"
#undef M
};

struct prices {
    struct arena arena;
    _Atomic int references;
    struct map catalog, imported; /* "model", "family/model" -> struct price * */
    struct map overrides;         /* "provider\nmodel", "\nmodel" -> struct price_config * */
};

/* ---- lists --------------------------------------------------------------------------------------------- */

/* False: it is longer than dst. */
static bool name_lower(struct str name, char *dst, size_t dst_size, struct str *lower)
{
    if (name.n > dst_size)
        return false;
    for (size_t i = 0; i < name.n; i++)
        dst[i] = char_lower(name.p[i]);
    *lower = str_make(dst, name.n);
    return true;
}

enum err price_list_put(struct arena *arena, struct map *list, struct str name, const struct price *price)
{
    char lower[PRICE_NAME_MAX];
    struct str key;
    if (!name_lower(name, lower, sizeof lower, &key))
        return OK; /* no lookup could ever find it */
    struct price *there = map_get(list, key);
    if (there) {
        *there = *price;
        return OK;
    }
    struct price *copy = arena_alloc(arena, sizeof *copy);
    key = arena_str(arena, key);
    if (!copy || !key.p)
        return ERR_NOMEM;
    *copy = *price;
    return map_put(list, key, copy);
}

/* "first" + separator + "second" in dst; empty when it does not fit. */
static struct str name_join(char *dst, struct str first, char separator, struct str second)
{
    if (first.n + 1 + second.n > PRICE_NAME_MAX)
        return STR_NONE;
    if (first.n)
        memcpy(dst, first.p, first.n);
    dst[first.n] = separator;
    if (second.n)
        memcpy(dst + first.n + 1, second.p, second.n);
    return str_make(dst, first.n + 1 + second.n);
}

/* ---- building ------------------------------------------------------------------------------------------ */

static enum err catalog_fill(struct prices *p)
{
    for (size_t i = 0; i < COUNT_OF(catalog_rows); i++) {
        char joined[PRICE_NAME_MAX];
        struct str family = str_from_c(catalog_rows[i].family), name = str_from_c(catalog_rows[i].model);
        if (family.n)
            name = name_join(joined, family, '/', name);
        TRY(price_list_put(&p->arena, &p->catalog, name, &catalog_rows[i].price));
    }
    return OK;
}

static enum err overrides_fill(struct prices *p, const struct pricing_config *config)
{
    for (size_t i = 0; i < config->override_count; i++) {
        char joined[PRICE_NAME_MAX], lower[PRICE_NAME_MAX];
        const struct price_config *o = &config->overrides[i];
        struct str key = name_join(joined, o->provider, '\n', o->model);
        struct price_config *copy = arena_alloc(&p->arena, sizeof *copy);
        if (!key.n || !name_lower(key, lower, sizeof lower, &key))
            continue;
        key = arena_str(&p->arena, key);
        if (!copy || !key.p)
            return ERR_NOMEM;
        *copy = *o;
        copy->provider = copy->model = STR_NONE; /* the configuration does not live as long */
        TRY(map_put(&p->overrides, key, copy));
    }
    return OK;
}

static enum err prices_fill(struct prices *p, const struct pricing_config *config, struct error *error)
{
    enum err err = catalog_fill(p);
    if (err == OK)
        err = overrides_fill(p, config);
    if (err != OK)
        return error_set(error, err, "out of memory");
    return config->import.n ? price_import(&p->arena, config->import, &p->imported, error) : OK;
}

struct prices *prices_new(const struct pricing_config *config, struct error *error)
{
    struct prices *p = mem_alloc(sizeof *p);
    if (!p) {
        error_set(error, ERR_NOMEM, "out of memory");
        return NULL;
    }
    p->references = 1;
    if (prices_fill(p, config, error) == OK)
        return p;
    prices_unref(p);
    return NULL;
}

struct prices *prices_ref(struct prices *p)
{
    p->references++;
    return p;
}

void prices_unref(struct prices *p)
{
    if (!p || --p->references > 0)
        return;
    map_free(&p->catalog);
    map_free(&p->imported);
    map_free(&p->overrides);
    arena_free(&p->arena);
    mem_free(p);
}

/* ---- names --------------------------------------------------------------------------------------------- */

/* The number of that many digits at s.p + at, which must be there; -1: they are none. */
static int digits_at(struct str s, size_t at, size_t count)
{
    int number = 0;
    for (size_t i = at; i < at + count; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        number = number * 10 + (s.p[i] - '0');
    }
    return number;
}

static bool is_year(int number)
{
    return number >= 2020 && number < 2100;
}

static bool is_month(int number)
{
    return number >= 1 && number <= 12;
}

static bool is_day(int number)
{
    return number >= 1 && number <= 31;
}

/* Y year, y the last two digits of one, M month, D day; all else stands for itself. */
static bool matches_date(struct str tail, const char *form)
{
    for (size_t at = 0; *form; form++) {
        size_t digits = *form == 'Y' ? 4 : strchr("yMD", *form) ? 2 : 0;
        int number = digits ? digits_at(tail, at, digits) : 0;
        if (!digits && tail.p[at] != *form)
            return false;
        if ((*form == 'Y' && !is_year(number)) || (*form == 'y' && !is_year(2000 + number)) ||
            (*form == 'M' && !is_month(number)) || (*form == 'D' && !is_day(number)))
            return false;
        at += digits ? digits : 1;
    }
    return true;
}

/* The name without a date at its end: gpt-4o-2024-08-06, claude-opus-4-20250514, gpt-4-0613 … */
static struct str without_date(struct str name)
{
    static const struct {
        const char *form;
        size_t n;
    } forms[] = {
        {"-Y-M-D", 11}, {"-YMD", 9}, {"@YMD", 9}, {"-M-Y", 8}, {"-M-D", 6}, {"-MD", 5}, {"-yM", 5},
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        if (name.n > forms[i].n && matches_date(str_from(name, name.n - forms[i].n), forms[i].form))
            return str_first(name, name.n - forms[i].n);
    if (name.n > 7 && str_ends(name, STR("-latest")))
        return str_first(name, name.n - 7);
    return name;
}

/* The forms of a name that are looked up, in this order. */
struct names {
    struct str of[4];
    int count;
};

static void names_add(struct names *names, struct str name)
{
    for (int i = 0; i < names->count; i++)
        if (name.n == names->of[i].n)
            return; /* parts of one name: of equal length, the same */
    if (name.n)
        names->of[names->count++] = name;
}

static struct names names_of(struct str model)
{
    struct names names = {0};
    const char *slash = model.n ? memrchr(model.p, '/', model.n) : NULL;
    size_t path = slash ? (size_t)(slash + 1 - model.p) : 0;
    struct str last = str_from(model, path);
    struct str bare = without_date(str_first(last, str_find(last, ':')));
    if (!bare.n)
        bare = last;
    names_add(&names, model);
    names_add(&names, str_first(model, path + bare.n));
    names_add(&names, last);
    names_add(&names, bare);
    return names;
}

/* "groq" of "groq-2": providers have names of their owner's choice. */
static struct str family_of(struct str provider)
{
    size_t n = 0;
    while (n < provider.n && provider.p[n] >= 'a' && provider.p[n] <= 'z')
        n++;
    return str_first(provider, n);
}

/* ---- looking up ---------------------------------------------------------------------------------------- */

static const struct price *list_find(const struct map *list, struct str provider, struct str name)
{
    char joined[PRICE_NAME_MAX];
    const struct price *row = NULL;
    struct str family = family_of(provider);
    if (!list->count)
        return NULL;
    if (provider.n)
        row = map_get(list, name_join(joined, provider, '/', name));
    if (!row && family.n && family.n < provider.n)
        row = map_get(list, name_join(joined, family, '/', name));
    return row ? row : map_get(list, name);
}

static void apply(const struct price_config *o, struct price *price)
{
    if (!o || (o->input < 0 && o->output < 0 && o->cached_input < 0 && o->reasoning < 0))
        return;
    if (!price->known)
        price->cached_input = price->reasoning = -1;
    if (o->input >= 0)
        price->input = o->input;
    if (o->output >= 0)
        price->output = o->output;
    if (o->cached_input >= 0)
        price->cached_input = o->cached_input;
    else if (o->input >= 0 && price->cached_input > price->input)
        price->cached_input = -1; /* of the old price; cached tokens never cost more than others */
    if (o->reasoning >= 0)
        price->reasoning = o->reasoning;
    price->known = price->overridden = true;
}

static const struct price_config *override_find(const struct prices *p, struct str provider,
                                                const struct names *names)
{
    char joined[PRICE_NAME_MAX];
    for (int i = 0; p->overrides.count && i < names->count; i++) {
        const struct price_config *o =
            map_get(&p->overrides, name_join(joined, provider, '\n', names->of[i]));
        if (o)
            return o;
    }
    return NULL;
}

struct price prices_find(const struct prices *p, struct str provider, struct str model)
{
    char lower_provider[PRICE_NAME_MAX], lower_model[PRICE_NAME_MAX];
    struct price price = {0};
    const struct price *row = NULL;
    if (!name_lower(provider, lower_provider, sizeof lower_provider, &provider) ||
        !name_lower(model, lower_model, sizeof lower_model, &model))
        return price;
    struct names names = names_of(model);
    for (int i = 0; i < names.count && !row; i++) {
        row = list_find(&p->imported, provider, names.of[i]);
        if (!row)
            row = list_find(&p->catalog, provider, names.of[i]);
    }
    if (row)
        price = *row;
    apply(override_find(p, STR_NONE, &names), &price);
    if (provider.n)
        apply(override_find(p, provider, &names), &price);
    return price;
}

/* ---- arithmetic ---------------------------------------------------------------------------------------- */

/* sum + count * price */
static int64_t add_cost(int64_t sum, uint64_t count, int64_t price)
{
    int64_t cost, total;
    if (price <= 0 || !count)
        return sum;
    if (__builtin_mul_overflow(count, price, &cost) || __builtin_add_overflow(sum, cost, &total))
        return INT64_MAX;
    return total;
}

int64_t price_cost(const struct price *p, const struct llm_usage *usage)
{
    uint64_t cached = MIN(usage->cached_tokens, usage->prompt_tokens);
    uint64_t reasoning = MIN(usage->reasoning_tokens, usage->completion_tokens);
    int64_t cost = add_cost(0, usage->prompt_tokens - cached, p->input);
    cost = add_cost(cost, cached, p->cached_input < 0 ? p->input : p->cached_input);
    cost = add_cost(cost, usage->completion_tokens - reasoning, p->output);
    return add_cost(cost, reasoning, p->reasoning < 0 ? p->output : p->reasoning);
}
