/* Arguments and environment of a child. See child_texts.h. */
#include "service/child_texts.h"

#include "base/mem.h"
#include "service/placement.h"

const char *const *child_arguments(struct arena *arena, const struct service_config *config, uint16_t port)
{
    size_t head = config->shell ? 2 : 0,
           count = config->shell ? MIN(config->command.count, 1) : config->command.count;
    const char **argv = arena_alloc(arena, (head + count + 1) * sizeof *argv);
    if (!argv)
        return NULL;
    if (config->shell) {
        argv[0] = "/bin/sh";
        argv[1] = "-c";
    }
    for (size_t i = 0; i < count; i++) {
        argv[head + i] = port_substitute(arena, config->command.items[i], port).p; /* NUL-terminated */
        if (!argv[head + i])
            return NULL;
    }
    return argv;
}

/* ---- environment ------------------------------------------------------------------------------------- */

struct environment {
    struct arena *arena;
    struct map by_name; /* name -> "NAME=value" */
    bool failed;
};

static void environment_set(struct environment *e, struct str name, struct str value)
{
    struct str text = arena_printf(e->arena, "%.*s=%.*s", STR_ARG(name), STR_ARG(value));
    if (!text.p || map_put(&e->by_name, str_first(text, name.n), (void *)(uintptr_t)text.p) != OK)
        e->failed = true;
}

static bool is_inherited(struct str name, const struct strs *more)
{
    static const char *const names[] = {"PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(name, str_from_c(names[i])))
            return true;
    for (size_t i = 0; i < more->count; i++)
        if (str_eq(name, more->items[i]))
            return true;
    return str_starts(name, STR("CUDA_")) || str_starts(name, STR("HF_"));
}

static void environment_inherit(struct environment *e, const struct strs *more, const char *const *parent)
{
    for (; parent && *parent; parent++) {
        struct str rest = str_from_c(*parent), name = str_cut(&rest, '=');
        if (is_inherited(name, more))
            environment_set(e, name, rest);
    }
}

static void environment_port(struct environment *e, const struct service_config *config, uint16_t port)
{
    if (!port)
        port = config->base_url.is_unix ? 0 : config->base_url.port;
    struct str text = port ? arena_printf(e->arena, "%u", (unsigned)port) : STR_NONE;
    if (text.n)
        environment_set(e, STR("PORT"), text);
}

static const char *const *environment_list(struct environment *e)
{
    const char **list = arena_alloc(e->arena, (e->by_name.count + 1) * sizeof *list);
    for (size_t i = 0; list && i < e->by_name.count; i++)
        list[i] = e->by_name.entries[i].value;
    return list;
}

const char *const *child_environment(struct arena *arena, const struct service_config *config, uint16_t port,
                                     const char *const *parent)
{
    struct environment e = {.arena = arena};
    environment_inherit(&e, &config->env_inherit, parent);
    environment_port(&e, config, port);
    for (size_t i = 0; i < config->env_count; i++)
        environment_set(&e, config->env[i].name, port_substitute(arena, config->env[i].value, port));
    const char *const *list = e.failed ? NULL : environment_list(&e);
    map_free(&e.by_name);
    return list;
}
