/* Which row or service a request is for. Pure look-ups in the exchange's snapshot. */
#include "gateway/exchange.h"

static const char proxied_label[] = "/services/{serviceId}/…";

/* Host without port, lower case, in the arena. */
static struct str host_key(struct exchange *x)
{
    struct str name;
    uint16_t port;
    if (!host_parse(head_value(&x->request.head, FIELD_HOST), &name, &port))
        return STR_NONE;
    char *copy = arena_c(&x->request.arena, name);
    for (size_t i = 0; copy && i < name.n; i++)
        copy[i] = char_lower(copy[i]);
    return str_make(copy, copy ? name.n : 0);
}

static void choose_service(struct exchange *x, struct snapshot_service *service, struct str path,
                           bool mounted)
{
    x->route.kind = ROUTE_SERVICE;
    x->route.service = service;
    x->route.path = path;
    x->route.mounted = mounted;
    x->route.label_path = proxied_label;
}

static struct snapshot_service *service_find(struct exchange *x, struct str id)
{
    struct snapshot_service *found = map_get(&x->snapshot->by_id, id);
    if (!found)
        found = map_get(&x->snapshot->by_id, percent_decode(&x->request.arena, id));
    return found;
}

static enum err service_unknown(struct exchange *x, struct str id)
{
    return error_set(&x->error, ERR_SERVICE_NOT_FOUND,
                     "Service not found in configuration: %.*s (GET /v1/services lists them)",
                     STR_ARG(str_first(id, 128)));
}

/* /services/{id}/… */
static enum err route_mounted(struct exchange *x, struct str rest)
{
    size_t slash = str_find(rest, '/');
    struct str id = str_first(rest, slash);
    struct snapshot_service *service = service_find(x, id);
    if (!service)
        return service_unknown(x, id);
    if (slash == rest.n) {
        x->route.kind = ROUTE_REDIRECT;
        x->route.service = service;
        x->route.label_path = "/services/{serviceId}";
        return OK;
    }
    choose_service(x, service, str_from(rest, slash), true);
    return OK;
}

/* Whether `path` is the template; then its one {name} segment is in *parameter. */
static bool template_matches(const char *template, struct str path, struct str *parameter)
{
    struct str left = str_from_c(template);
    size_t open = str_find(left, '{');
    if (open == left.n)
        return str_eq(left, path);
    struct str tail = str_from(left, str_find(left, '}') + 1);
    if (!str_starts(path, str_first(left, open)) || path.n < open + tail.n + 1)
        return false;
    struct str middle = str_from(path, open);
    if (left.p[open + 1] == '+') { /* ids with slashes */
        *parameter = str_first(middle, middle.n - tail.n);
        return parameter->n && str_ends(middle, tail);
    }
    *parameter = str_first(middle, str_find(middle, '/'));
    return parameter->n && str_eq(str_from(middle, parameter->n), tail);
}

static enum err choose_api(struct exchange *x, const struct api_route *row)
{
    x->route.api = row;
    x->route.kind = row->llm ? ROUTE_LLM : ROUTE_API;
    x->route.label_path = row->path;
    if (!x->route.parameter.n || !str_starts(str_from_c(row->path), STR("/v1/services/")))
        return OK;
    x->route.service = service_find(x, x->route.parameter);
    return x->route.service ? OK : service_unknown(x, x->route.parameter);
}

/* OK, ERR_METHOD_NOT_ALLOWED (the path is known), ERR_NOT_FOUND. */
static enum err route_api(struct exchange *x, struct str path)
{
    uint32_t bit = 1u << x->request.head.method;
    if (x->request.head.method == METHOD_HEAD)
        bit |= 1u << METHOD_GET;
    for (size_t i = 0; i < x->worker->gateway->route_table_count; i++) {
        for (const struct api_route *row = x->worker->gateway->route_tables[i]; row->path; row++) {
            struct str parameter = STR_NONE;
            if (!template_matches(row->path, path, &parameter))
                continue;
            x->route.parameter = parameter;
            if (row->methods & bit)
                return choose_api(x, row);
            x->route.allowed |= row->methods;
        }
    }
    return x->route.allowed ? ERR_METHOD_NOT_ALLOWED : ERR_NOT_FOUND;
}

enum err route_find(struct exchange *x)
{
    static const struct str mount = {"/services/", 10};
    struct target *target = &x->request.target;
    x->route.label_path = "other";
    if (x->request.head.method == METHOD_OPTIONS &&
        (str_eq(target->path, STR("*")) ||
         str_eq(head_value(&x->request.head, FIELD_MAX_FORWARDS), STR("0")))) {
        x->route.kind = ROUTE_OPTIONS;
        x->route.label_path = "*";
        return OK;
    }
    if (x->snapshot->by_host.count) {
        struct snapshot_service *by_host = map_get(&x->snapshot->by_host, host_key(x));
        if (by_host) {
            choose_service(x, by_host, target->path, false);
            return OK;
        }
    }
    if (str_starts(target->path, mount))
        return route_mounted(x, str_from(target->path, mount.n));
    enum err err = route_api(x, target->path);
    if (err == ERR_NOT_FOUND && x->snapshot->default_service) {
        choose_service(x, x->snapshot->default_service, target->path, false);
        return OK;
    }
    if (err == ERR_NOT_FOUND)
        return error_set(&x->error, err,
                         "no such route; services are under /services/{id}/, the API under /v1/");
    return err;
}
