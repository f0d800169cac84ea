/*
 * What follows from a service's keys together: its orchestrator, default URLs, whether it can run at all, and
 * its fingerprints. Runs while the load decodes, once per service.
 */
#include "config/check.h"

#include <ctype.h>

static void service_disable(struct decoder *d, struct service_config *s, struct str why)
{
    if (s->disabled)
        return;
    s->disabled = true;
    s->disabled_why = why;
}

static void id_check(struct decoder *d, const struct node *n, const struct service_config *s)
{
    bool fine = s->id.n > 0 && s->id.n <= 64 && isalnum((unsigned char)s->id.p[0]);
    for (size_t i = 0; i < s->id.n; i++)
        fine = fine && (isalnum((unsigned char)s->id.p[i]) || strchr("._-", s->id.p[i]));
    if (!fine)
        decode_report(
            d, SEVERITY_ERROR, n, NULL,
            "a service's id has up to 64 letters, digits, '.', '_' and '-', and begins with a letter or "
            "a digit");
}

static bool has_port(struct str text)
{
    return str_find_str(text, STR("${PORT}")) < text.n;
}

static bool uses_port(const struct service_config *s)
{
    if (has_port(s->base_url_text) || has_port(s->health_url_text))
        return true;
    for (size_t i = 0; i < s->command.count; i++)
        if (has_port(s->command.items[i]))
            return true;
    for (size_t i = 0; i < s->env_count; i++)
        if (has_port(s->env[i].value))
            return true;
    return false;
}

static void orchestrator_settle(struct decoder *d, const struct node *n, struct service_config *s)
{
    struct node *given = node_get(n, STR("orchestrator"));
    if (node_is_null(given)) {
        s->orchestrator = s->semaphore_enabled ? ORCHESTRATOR_SEMAPHORE
                          : s->command.count   ? ORCHESTRATOR_PROCESS
                                               : ORCHESTRATOR_NONE;
        return;
    }
    if (s->orchestrator == ORCHESTRATOR_PROCESS && s->command.count == 0 && !d->unit->disabled)
        decode_report(d, SEVERITY_ERROR, given, "orchestrator", "a process needs a command");
    if (s->orchestrator != ORCHESTRATOR_PROCESS && s->command.count)
        decode_report(d, SEVERITY_WARNING, node_get(n, STR("command")), "command",
                      "is not used: the orchestrator is not process");
}

static void urls_settle(struct decoder *d, const struct node *n, struct service_config *s)
{
    bool is_process = s->orchestrator == ORCHESTRATOR_PROCESS;
    if (is_process && s->base_url_text.n == 0 && s->instance_count == 0)
        s->base_url_text = STR("http://127.0.0.1:${PORT}");
    s->uses_port = uses_port(s);
    const char *const urls[] = {"base_url", "health_url"};
    const struct str texts[] = {s->base_url_text, s->health_url_text};
    for (size_t i = 0; i < COUNT_OF(urls) && !is_process; i++)
        if (has_port(texts[i]))
            decode_report(d, SEVERITY_ERROR, node_get(n, str_from_c(urls[i])), urls[i],
                          "${PORT} is the port of a started process, and this service has no command");
    if (s->base_url_text.n || s->instance_count || s->command.count || s->disabled)
        return;
    decode_report(d, SEVERITY_WARNING, n, NULL,
                  "has no base_url, command or instances: requests to it are answered with 503");
    service_disable(d, s, STR("the service has no base_url, command or instances"));
}

static void instances_check(struct decoder *d, const struct node *n, const struct service_config *s)
{
    if (s->instance_count > INSTANCES_MAX)
        decode_report(d, SEVERITY_ERROR, node_get(n, STR("instances")), "instances",
                      "%zu of them; a service has at most %d", s->instance_count, INSTANCES_MAX);
}

static void lower_all(struct strs list)
{
    for (size_t i = 0; i < list.count; i++)
        for (size_t j = 0; j < list.items[i].n; j++) {
            char *c = (char *)(uintptr_t)list.items[i].p + j; /* the decoder's own copy */
            *c = char_lower(*c);
        }
}

static void hosts_check(struct decoder *d, const struct node *n, struct service_config *s)
{
    lower_all(s->hosts);
    for (size_t i = 0; i < s->hosts.count; i++) {
        struct str host = s->hosts.items[i];
        bool fine = host.n > 0 && host.n <= 253;
        for (size_t j = 0; j < host.n; j++)
            fine = fine && (isalnum((unsigned char)host.p[j]) || strchr("-._", host.p[j]));
        if (!fine)
            decode_report(d, SEVERITY_ERROR, node_get(n, STR("hosts")), "hosts",
                          "\"%.*s\" is no host name (no port, no path, no *)", (int)MIN(host.n, (size_t)60),
                          host.p);
    }
}

static void methods_check(struct decoder *d, const struct node *n, struct strs methods)
{
    for (size_t i = 0; i < methods.count; i++) {
        char *p = (char *)(uintptr_t)methods.items[i].p; /* the decoder's own copy */
        bool fine = methods.items[i].n > 0;
        for (size_t j = 0; j < methods.items[i].n; j++) {
            p[j] = (char)toupper((unsigned char)p[j]);
            fine = fine && p[j] >= 'A' && p[j] <= 'Z';
        }
        if (!fine)
            decode_report(d, SEVERITY_ERROR, node_find(n, "wake_ignore", "methods", NULL),
                          "wake_ignore.methods", "a method is a word such as GET or HEAD");
    }
}

static void names_check(struct decoder *d, const struct node *n, const struct service_config *s)
{
    for (size_t i = 0; i < s->env_count + s->env_inherit.count; i++) {
        bool inherited = i >= s->env_count;
        struct str name = inherited ? s->env_inherit.items[i - s->env_count] : s->env[i].name;
        if (name.n && str_find(name, '=') == name.n && str_find(name, ' ') == name.n)
            continue;
        const char *key = inherited ? "env_inherit" : "env";
        decode_report(d, SEVERITY_ERROR, node_get(n, str_from_c(key)), key,
                      "\"%.*s\" cannot be a variable's name", (int)MIN(name.n, (size_t)60), name.p);
    }
}

/* A variable may leave it empty on purpose; '' cannot be meant. */
static void command_check(struct decoder *d, const struct node *n, const struct service_config *s)
{
    const struct node *given = node_get(n, STR("command"));
    bool is_blank = !node_is_null(given) && given->kind == NODE_SCALAR && str_trim(given->text).n == 0;
    bool has_program = s->command.count == 0 || str_trim(s->command.items[0]).n > 0;
    if (is_blank || (!has_program && !d->unit->disabled))
        decode_report(d, SEVERITY_ERROR, given, "command",
                      "begins with the program to start, and that is empty");
}

static void fingerprints_keep(struct decoder *d, struct service_config *s)
{
    static const struct field folder = {.name = "workdir", .kind = FIELD_PATH, .reload = RELOAD_SERVICE};
    if (s->workdir.n == 0) {
        s->workdir = d->folder;
        decode_record(d, &folder, s->workdir);
    }
    if (buf_err(d->full) != OK || buf_err(d->restart) != OK)
        finding_no_memory(d->findings);
    s->full_fingerprint = arena_str(d->arena, buf_str(d->full));
    s->restart_fingerprint = arena_str(d->arena, buf_str(d->restart));
}

void service_finish(struct decoder *d, const struct node *n, void *value)
{
    struct service_config *s = value;
    id_check(d, n, s);
    if (d->unit->disabled)
        service_disable(d, s, d->unit->why);
    command_check(d, n, s);
    orchestrator_settle(d, n, s);
    urls_settle(d, n, s);
    instances_check(d, n, s);
    s->retry_count = MAX(s->retry_count, (uint64_t)1);
    hosts_check(d, n, s);
    methods_check(d, n, s->wake_ignore.methods);
    names_check(d, n, s);
    fingerprints_keep(d, s);
}
