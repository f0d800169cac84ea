/*
 * A price list of somebody else's: taken or refused with a place, never half; every price that it gives is
 * found by its name in any case, and what tokens cost is never negative.
 */
#include "input_file.h"

#include "llm/price_list.h"

static void check_price(const struct price *p)
{
    static const struct llm_usage usages[] = {
        {true, 1000, 1000, 2000, 0, 0},
        {true, 1000, 1000, 2000, 5000, 5000},
        {true, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
    };
    REQUIRE(p->known && p->input >= 0 && p->output >= 0 && p->cached_input >= -1 && p->reasoning >= -1);
    for (size_t i = 0; i < COUNT_OF(usages); i++)
        REQUIRE(price_cost(p, &usages[i]) >= 0);
}

static bool same_price(const struct price *a, const struct price *b)
{
    return a->input == b->input && a->output == b->output && a->cached_input == b->cached_input &&
           a->reasoning == b->reasoning && a->context_window == b->context_window &&
           a->max_output == b->max_output && a->known == b->known;
}

static void check_found(const struct prices *prices, struct str name, const struct price *price)
{
    char *upper = exact_copy(name);
    for (size_t i = 0; i < name.n; i++) {
        REQUIRE(name.p[i] == char_lower(name.p[i]));
        upper[i] = name.p[i] >= 'a' && name.p[i] <= 'z' ? (char)(name.p[i] & ~0x20) : name.p[i];
    }
    struct price found = prices_find(prices, STR_NONE, name);
    struct price again = prices_find(prices, STR_NONE, str_make(upper, name.n));
    REQUIRE(same_price(&found, price) && same_price(&again, price) && !found.overridden);
    mem_free(upper);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(map_free) struct map list = {0};
    struct error error = {0}, why = {0};
    const char *path = input_file(input_str(bytes, n));
    enum err err = price_import(&arena, str_from_c(path), &list, &error);
    struct pricing_config config = {.import = str_from_c(path)};
    struct prices *prices = prices_new(&config, &why);
    REQUIRE((err == OK) == (prices != NULL));
    if (err != OK) {
        REQUIRE(err == ERR_CONFIG);
        require_sentence(err, &error);
        require_sentence(err, &why);
    }
    MAP_EACH(entry, &list)
    {
        check_price(entry->value);
        if (prices)
            check_found(prices, entry->key, entry->value);
    }
    prices_unref(prices);
    return 0;
}
