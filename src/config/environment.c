/*
 * Variables of the environment as configuration: <SERVICE>_<KEY> for the keys of services marked F_ENV, the
 * semaphore_* keys of the top level, the log level, and what hulumanage listens on. Pure but for the
 * findings.
 */
#include "config/assemble.h"
#include "config/check.h"
#include "config/finding.h"
#include "config/schema.h"

#include <ctype.h>

struct overlay {
    struct arena *arena;
    struct findings *findings;
    const struct node *root;
    struct str folder;
    struct map services; /* id -> struct node *, a map */
    struct node *top;    /* keys of the top level, and services */
    size_t room;         /* keys that one service can get */
};

/* A `const struct source` per variable, so that a finding can name it. */
static struct source *variable_source(struct overlay *o, struct str variable)
{
    struct source *source = arena_alloc(o->arena, sizeof *source);
    if (source)
        *source = (struct source){
            .name = STR("environment"), .folder = o->folder, .variable = arena_str(o->arena, variable)};
    else
        finding_no_memory(o->findings);
    return source;
}

static struct node *key_node(struct overlay *o, const struct source *source, struct str name)
{
    return node_scalar(o->arena, source, name);
}

static void warn_value(struct overlay *o, const struct source *source, struct str key, const char *what,
                       const char *detail)
{
    struct node at = {.source = source};
    finding_add(o->findings, SEVERITY_WARNING, &at, key, "%.*s %s%s; it is ignored",
                STR_ARG(source->variable), what, detail);
}

/* Whether a variable points a service at the gateway's own route for it: the quickstart tells clients to. */
static bool points_at_itself(struct str id, const struct url *url)
{
    bool local = str_eq(url->host, STR("localhost")) || str_eq(url->host, STR("::1")) ||
                 str_starts(url->host, STR("127."));
    return local && str_starts(url->prefix, STR("/services/")) && str_eq(str_from(url->prefix, 10), id);
}

/* Says why not. */
static bool value_fits(struct overlay *o, const struct source *source, const struct field *f, struct str id,
                       struct str key, struct str value)
{
    char expected[200];
    union scalar parsed;
    struct url url;
    struct error error = {0};
    if (!scalar_parse(f, value, &parsed, expected, sizeof expected)) {
        warn_value(o, source, key, "is not valid, expected ", expected);
        return false;
    }
    bool has_port = f->flags & F_KEEP_PORT && str_find_str(value, STR("${PORT}")) < value.n;
    if (f->kind != FIELD_URL || value.n == 0 || has_port)
        return true;
    if (url_parse(o->arena, value, &url, &error) != OK) {
        warn_value(o, source, key, "is not valid: ", error_text(&error));
        return false;
    }
    if (id.n && points_at_itself(id, &url)) {
        warn_value(o, source, key, "points at this gateway's own route for the service", "");
        return false;
    }
    return true;
}

/* ---- services ------------------------------------------------------------------------------------------ */

static const struct str reserved[] = {STR("SEMAPHORE_"), STR("HESTIA_"),    STR("HULUMANAGE_"),
                                      STR("OPENAI_"),    STR("ANTHROPIC_"), STR("AZURE_")};

static bool is_reserved(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (str_starts_nocase(name, reserved[i]))
            return true;
    return false;
}

/* "base_url" is at the end of "MY_SVC_BASE_URL": the prefix is "MY_SVC". */
static bool suffix_matches(struct str name, const char *key, struct str *prefix)
{
    size_t n = strlen(key);
    if (name.n < n + 2 || name.p[name.n - n - 1] != '_')
        return false;
    for (size_t i = 0; i < n; i++)
        if (name.p[name.n - n + i] != toupper((unsigned char)key[i]))
            return false;
    *prefix = str_first(name, name.n - n - 1);
    return true;
}

static const struct field *service_field(struct str name, struct str *prefix)
{
    const struct field *found = NULL;
    struct str shorter;
    prefix->n = SIZE_MAX;
    for (size_t i = 0; i < schema_service.count; i++) {
        const struct field *f = &schema_service.fields[i];
        if (!(f->flags & F_ENV) || !suffix_matches(name, f->name, &shorter) || shorter.n >= prefix->n)
            continue;
        *prefix = shorter;
        found = f;
    }
    return found;
}

/* MY_SVC reaches my-svc, my_svc, My.Svc. */
static bool prefix_is_id(struct str prefix, struct str id)
{
    if (prefix.n != id.n)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char a = char_lower(prefix.p[i]), b = char_lower(id.p[i]);
        if (a != (isalnum((unsigned char)b) ? b : '_'))
            return false;
    }
    return true;
}

static void service_put(struct overlay *o, const struct source *source, const struct field *f, struct str id,
                        struct str value)
{
    struct str key = arena_printf(o->arena, "services.%.*s.%s", STR_ARG(id), f->name);
    if (!value_fits(o, source, f, id, key, value))
        return;
    struct node *service = map_get(&o->services, id);
    if (!service) {
        service = node_map(o->arena, source, o->room);
        if (!service || map_put(&o->services, id, service) != OK) {
            finding_no_memory(o->findings);
            return;
        }
    }
    struct node *name = key_node(o, source, str_from_c(f->name)),
                *text = node_scalar(o->arena, source, value);
    if (name && text &&
        !node_get(service, name->text)) /* of two equal names the first counts, as in getenv */
        node_put(service, name, text);
}

/* The id that a prefix makes when no service has it yet: MY_SVC -> my-svc. */
static struct str prefix_to_id(struct overlay *o, struct str prefix)
{
    char *id = arena_c(o->arena, prefix);
    for (size_t i = 0; id && i < prefix.n; i++)
        id[i] = id[i] == '_' ? '-' : char_lower(id[i]);
    return str_make(id, id ? prefix.n : 0);
}

static void service_variable(struct overlay *o, struct str name, struct str value)
{
    struct str prefix;
    const struct node *services = node_get(o->root, STR("services"));
    const struct field *f = service_field(name, &prefix);
    bool known = false;
    if (!f || is_reserved(name) || !isalnum((unsigned char)prefix.p[0]))
        return;
    struct source *source = variable_source(o, name);
    for (size_t i = 0; source && services && services->kind == NODE_MAP && i < services->count; i++) {
        if (!prefix_is_id(prefix, services->keys[i]->text))
            continue;
        known = true;
        service_put(o, source, f, services->keys[i]->text, value);
    }
    if (source && !known)
        service_put(o, source, f, prefix_to_id(o, prefix), value);
}

/* ---- top level ----------------------------------------------------------------------------------------- */

static void top_variable(struct overlay *o, struct str name, struct str value)
{
    for (size_t i = 0; i < schema_root.count; i++) {
        const struct field *f = &schema_root.fields[i];
        if (!(f->flags & F_ENV) || !str_eq_nocase(name, str_from_c(f->name)) || name.p[0] != 'S')
            continue;
        struct source *source = variable_source(o, name);
        if (!source || !value_fits(o, source, f, STR_NONE, str_from_c(f->name), value))
            return;
        struct node *key = key_node(o, source, str_from_c(f->name));
        struct node *text = node_scalar(o->arena, source, value);
        if (key && text)
            node_put(o->top, key, text);
    }
}

static bool log_level_put(struct overlay *o, struct str name, struct str value)
{
    const struct field *f = table_field(&schema_monitoring, STR("log_level"));
    struct source *source = variable_source(o, name);
    if (!source || !value_fits(o, source, f, STR_NONE, STR("monitoring.log_level"), value))
        return false;
    struct node *monitoring = node_map(o->arena, source, 1), *key = key_node(o, source, STR("monitoring"));
    struct node *level = key_node(o, source, STR("log_level")), *text = node_scalar(o->arena, source, value);
    if (!monitoring || !key || !level || !text)
        return false;
    node_put(monitoring, level, text);
    node_put(o->top, key, monitoring);
    return true;
}

/* The two levels that only hulumanage has. */
static struct str level_name(struct str value)
{
    if (str_eq_nocase(value, STR("notset")))
        return STR("DEBUG");
    return str_eq_nocase(value, STR("critical")) ? STR("ERROR") : value;
}

static void log_level_variables(struct overlay *o, const struct variables *variables)
{
    static const struct str names[] = {STR("HESTIA_LOG_LEVEL"), STR("HULUMANAGE_LOG_LEVEL"),
                                       STR("hulumanage_LOG_LEVEL"), STR("HULUMANAGE_LOG"),
                                       STR("hulumanage_LOG")};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct str value = variables_get(variables, names[i]);
        if (value.n && log_level_put(o, names[i], level_name(value)))
            return;
    }
}

/* In either spelling; `name` tells which. */
static struct str hulumanage_variable(const struct variables *variables, const struct str names[2],
                                      struct str *name)
{
    struct str value = variables_get(variables, names[0]);
    if (value.n)
        *name = names[0];
    else if ((value = variables_get(variables, names[1])).n)
        *name = names[1];
    return value;
}

static void listen_put(struct overlay *o, struct source *source, struct str address)
{
    struct node *server = node_map(o->arena, source, 1), *key = key_node(o, source, STR("server"));
    struct node *listen = key_node(o, source, STR("listen")), *text = node_scalar(o->arena, source, address);
    if (!server || !key || !listen || !text)
        return;
    node_put(server, listen, text);
    node_put(o->top, key, server);
}

/* Where hulumanage would listen: each has its default, as there. */
static void listen_variables(struct overlay *o, const struct variables *variables)
{
    static const struct str hosts[] = {STR("HULUMANAGE_HOST"), STR("hulumanage_HOST")};
    static const struct str ports[] = {STR("HULUMANAGE_PORT"), STR("hulumanage_PORT")};
    struct str name = STR_NONE;
    struct str host = hulumanage_variable(variables, hosts, &name);
    struct str port = hulumanage_variable(variables, ports, &name);
    if (!name.n)
        return;
    bool is_v6 = str_find(host, ':') < host.n && host.p[0] != '[';
    struct str address =
        arena_printf(o->arena, "%s%.*s%s:%.*s", is_v6 ? "[" : "", STR_ARG(host.n ? host : STR("127.0.0.1")),
                     is_v6 ? "]" : "", STR_ARG(port.n ? port : STR("8000")));
    struct source *source = variable_source(o, name);
    if (!source)
        return;
    if (config_listen_is_valid(address))
        listen_put(o, source, address);
    else
        warn_value(o, source, STR("server.listen"), "is not valid, expected ", "a host's address and a port");
}

static void services_put(struct overlay *o)
{
    static const struct source source = {.name = STR("environment")};
    if (o->services.count == 0)
        return;
    struct node *services = node_map(o->arena, &source, o->services.count);
    struct node *key = key_node(o, &source, STR("services"));
    MAP_EACH(entry, &o->services)
    {
        struct node *service = entry->value, *id = key_node(o, service->source, entry->key);
        if (services && id && service->count)
            node_put(services, id, service);
    }
    if (services && key)
        node_put(o->top, key, services);
}

struct node *environment_tree(struct arena *arena, const struct variables *variables, const struct node *root,
                              struct str folder, struct findings *findings)
{
    static const struct source source = {.name = STR("environment")};
    struct overlay o = {.arena = arena, .findings = findings, .root = root, .folder = folder};
    o.room = schema_service.count;
    o.top = node_map(arena, &source, schema_root.count + 2);
    if (!o.top) {
        finding_no_memory(findings);
        return NULL;
    }
    for (const char *const *pair = variables->environment; pair && *pair; pair++) {
        struct str value = str_from_c(*pair), name = str_cut(&value, '=');
        if (name.n == 0)
            continue;
        service_variable(&o, name, value);
        top_variable(&o, name, value);
    }
    log_level_variables(&o, variables);
    listen_variables(&o, variables);
    services_put(&o);
    map_free(&o.services);
    return o.top->count ? o.top : NULL;
}
