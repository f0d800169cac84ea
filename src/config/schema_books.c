/* Field tables of clients, prices and the storage of accounts; the rules are in check_books.c. */
#include "config/check.h"

#define CLIENT(member) offsetof(struct client_config, member)
#define PRICE(member) offsetof(struct price_config, member)
#define PRICING(member) offsetof(struct pricing_config, member)
#define STORAGE(member) offsetof(struct storage_config, member)

/* ---- clients ------------------------------------------------------------------------------------------- */

static const struct field client_fields[] = {
    {.name = "id", .kind = FIELD_TEXT, .at = CLIENT(id), .min = 1, .doc = "Unique; the name when not given."},
    {.name = "name",
     .kind = FIELD_TEXT,
     .at = CLIENT(name),
     .min = 1,
     .doc = "For people; the id when not given."},
    {.name = "enabled",
     .kind = FIELD_BOOL,
     .at = CLIENT(enabled),
     .fallback = "true",
     .doc = "A disabled client's key is refused."},
    {.name = "strategy_id",
     .kind = FIELD_TEXT,
     .at = CLIENT(strategy_id),
     .fallback = "default",
     .doc = "Its strategy, of a file or made through the management API."},
    {.name = "key",
     .kind = FIELD_KEYS,
     .at = CLIENT(keys),
     .count_at = CLIENT(key_count),
     .flags = F_SECRET,
     .doc = "`${VAR}` or `sha256:HEX`; only in files."},
    {.name = "created_at",
     .kind = FIELD_TEXT,
     .flags = F_UNBOUND,
     .doc = "RFC 3339; kept for other programs."},
    {.name = "last_used",
     .kind = FIELD_TEXT,
     .flags = F_UNBOUND,
     .doc = "RFC 3339; kept for other programs."},
    {.name = "allowed_llm_providers",
     .kind = FIELD_TEXTS,
     .at = CLIENT(allowed_llm_providers),
     .doc = "Only these providers; none listed = all."},
    {.name = "allowed_mcp_servers",
     .kind = FIELD_TEXTS,
     .flags = F_UNBOUND,
     .doc = "Kept for other programs."},
    {.name = "mcp_deferred_loading",
     .kind = FIELD_BOOL,
     .flags = F_UNBOUND,
     .doc = "Kept for other programs."},
    {.name = "routing_config",
     .kind = FIELD_ANY,
     .flags = F_UNBOUND,
     .doc = "Older form of a strategy; kept, not used."},
};

const struct table schema_client = {
    .name = "client",
    .title = "clients[]",
    .doc = "Holders of API keys for the LLM routes.",
    TABLE_FIELDS(client_fields),
    .size = sizeof(struct client_config),
    .unit = "client",
    .item_id = "id",
    .ids_decoded = true,
    .finish = client_finish,
};

/* ---- prices -------------------------------------------------------------------------------------------- */

/* One dollar per million tokens is 10^6 pico-dollars per token. */
#define PER_MILLION .kind = FIELD_MONEY, .unit = 6
#define AMOUNTS                                                                                              \
    {.name = "input_per_million", PER_MILLION, .at = PRICE(input), .doc = "A million prompt tokens."},       \
        {.name = "output_per_million",                                                                       \
         PER_MILLION,                                                                                        \
         .at = PRICE(output),                                                                                \
         .doc = "A million completion tokens."},                                                             \
        {.name = "cached_input_per_million",                                                                 \
         PER_MILLION,                                                                                        \
         .at = PRICE(cached_input),                                                                          \
         .doc = "A million prompt tokens that the provider had cached."},                                    \
    {                                                                                                        \
        .name = "reasoning_per_million", PER_MILLION, .at = PRICE(reasoning),                                \
        .doc = "A million reasoning tokens."                                                                 \
    }

static const struct field price_fields[] = {AMOUNTS};

static const struct table schema_price = {
    .name = "price",
    .title = "pricing.providers.NAME.MODEL",
    .doc = "What a model of a provider costs; what is not given is as the catalog says.",
    TABLE_FIELDS(price_fields),
    .size = sizeof(struct price_config),
    .finish = price_finish,
};

static const struct field override_fields[] = {
    {.name = "provider", .kind = FIELD_TEXT, .at = PRICE(provider), .doc = "Its name; any when not given."},
    {.name = "model",
     .kind = FIELD_TEXT,
     .at = PRICE(model),
     .flags = F_REQUIRED,
     .min = 1,
     .doc = "The model, by the name that is sent to the provider."},
    AMOUNTS,
};

static const struct table schema_price_override = {
    .name = "price_override",
    .title = "pricing.overrides[]",
    .doc = "What a model costs; what is not given is as the catalog says.",
    TABLE_FIELDS(override_fields),
    .size = sizeof(struct price_config),
    .finish = price_finish,
};

static const struct field pricing_fields[] = {
    {.name = "import",
     .kind = FIELD_PATH,
     .at = PRICING(import),
     .doc = "A file in the format of LiteLLM's `model_prices_and_context_window.json`, over the built-in "
            "prices."},
    {.name = "overrides",
     .kind = FIELD_ITEMS,
     .at = PRICING(overrides),
     .count_at = PRICING(override_count),
     .table = &schema_price_override,
     .doc = "Prices that go over both."},
    {.name = "providers",
     .kind = FIELD_PRICES,
     .at = PRICING(overrides),
     .count_at = PRICING(override_count),
     .table = &schema_price,
     .doc = "The same, by provider and model."},
};

const struct table schema_pricing = {
    .name = "pricing",
    .title = "pricing",
    .doc = "Prices of models that differ from the built-in ones, in US dollars.",
    TABLE_FIELDS(pricing_fields),
    .size = sizeof(struct pricing_config),
    .finish = pricing_finish,
};

/* ---- storage ------------------------------------------------------------------------------------------- */

static const char *const on_store_failure[] = {"serve", "reject", NULL};

static const struct field storage_fields[] = {
    {.name = "path",
     .kind = FIELD_PATH,
     .at = STORAGE(path),
     .reload = RELOAD_PROCESS,
     .doc = "The database of accounts; `$XDG_STATE_HOME/hestia/hestia.db` when not given."},
    {.name = "on_store_failure",
     .kind = FIELD_WORD,
     .words = on_store_failure,
     .fallback = "serve",
     .flags = F_UNBOUND, /* a flag: storage_finish */
     .doc = "When accounts cannot be written: go on serving, or refuse LLM requests (503)."},
    {.name = "request_days",
     .kind = FIELD_COUNT,
     .at = STORAGE(request_days),
     .fallback = "30",
     .min = 1,
     .max = 3650,
     .doc = "How many days the list of requests is kept."},
};

const struct table schema_storage = {
    .name = "storage",
    .title = "storage",
    .doc = "Where accounts are kept.",
    TABLE_FIELDS(storage_fields),
    .size = sizeof(struct storage_config),
    .finish = storage_finish,
};
