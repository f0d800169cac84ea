/* GET /openapi.json: generated from the route tables, so that it cannot miss a route. Pure but for the
 * handler. */
#include "admin/openapi.h"

#include "admin/answer.h"
#include "base/json.h"
#include "base/metric.h"
#include "gateway/worker.h"

enum {
    ANY = 1u << METHOD_GET | 1u << METHOD_POST | 1u << METHOD_PUT | 1u << METHOD_PATCH | 1u << METHOD_DELETE |
          1u << METHOD_OPTIONS | 1u << METHOD_HEAD,
};

/* The way through to a service: no row of a table, but part of the document. */
static const struct api_route through[] = {
    {ANY, "/services/{serviceId}/{path}", ACCESS_KEY, NULL, "proxy",
     "Passes any request on to the service, and starts the service first where it is cold", 200,
     .media_type = "*/*"},
    {.path = NULL},
};

static void write_parameter(struct json *j, const char *name, struct str in, const char *type,
                            const char *description)
{
    json_put_object(j);
    json_key_c(j, "name", name);
    json_key_str(j, "in", in);
    json_key_bool(j, "required", str_eq(in, STR("path")));
    json_key_c(j, "description", description);
    json_key_object(j, "schema");
    json_key_c(j, "type", type);
    json_end(j);
    json_end(j);
}

/* `name` stands behind its '{'; returns what stands behind its '}'. */
static const char *write_path_parameter(struct json *j, const char *name)
{
    static const char *const known[][2] = {
        {"serviceId", "Key of the service in the configuration"},
        {"path", "Path at the service; may hold slashes"},
        {"model", "Id of the model; may hold slashes"},
        {"request_id", "The X-Request-ID that the answer carried"},
    };
    struct str text = str_from_c(*name == '+' ? name + 1 : name);
    char copy[32];
    text = str_first(text, str_find(text, '}'));
    const char *description = "Its id";
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (str_eq(text, str_from_c(known[i][0])))
            description = known[i][1];
    write_parameter(j, str_to_c(text, copy, sizeof copy), STR("path"), "string", description);
    return text.p + text.n + 1;
}

static void write_parameters(struct json *j, const struct api_route *route)
{
    json_key_array(j, "parameters");
    for (const char *c = strchr(route->path, '{'); c; c = strchr(c, '{'))
        c = write_path_parameter(j, c + 1);
    for (int i = 0; i < API_QUERY_MAX && route->query[i].name; i++)
        write_parameter(j, route->query[i].name, STR("query"), route->query[i].type,
                        route->query[i].description);
    json_end(j);
}

/* "content": {"application/json": {"schema": …}} */
static void write_content(struct json *j, const char *media_type, const char *schema)
{
    struct buf reference = BUF(256);
    json_key_object(j, "content");
    json_key_object(j, media_type ? media_type : "application/json");
    json_key_object(j, "schema");
    if (schema) {
        buf_addf(&reference, "#/components/schemas/%s", schema);
        json_key_str(j, "$ref", buf_str(&reference));
    }
    json_end(j);
    json_end(j);
    json_end(j);
    buf_free(&reference);
}

static void write_responses(struct json *j, const struct api_route *route)
{
    int status = route->status ? route->status : 200;
    json_key_object(j, "responses");
    json_key_dynamic(j, label_text(label_number((unsigned)status)));
    json_put_object(j);
    json_key_c(j, "description", status_reason(status));
    write_content(j, route->media_type, route->schema);
    json_end(j);
    json_key_object(j, "default");
    json_key_c(j, "description", "An error that the gateway reports");
    write_content(j, NULL, "Error");
    json_end(j);
    json_end(j);
}

static void write_security(struct json *j, enum api_access access)
{
    static const char *const schemes[] = {"ApiKey", "Bearer"};
    json_key_array(j, "security");
    for (size_t i = 0; access != ACCESS_OPEN && i < COUNT_OF(schemes); i++) {
        json_put_object(j);
        json_key_array(j, schemes[i]);
        json_end(j);
        json_end(j);
    }
    json_end(j);
}

/* operationId is unique: rows with several methods put the method in front. */
static void write_operation_id(struct json *j, const struct api_route *route, struct str method)
{
    uint32_t methods = route->methods & ~(1u << METHOD_HEAD);
    bool is_shared = (methods & (methods - 1)) != 0;
    struct buf text = BUF(256);
    if (is_shared)
        buf_addf(&text, "%.*s_", STR_ARG(method));
    buf_add_c(&text, route->operation);
    json_key_str(j, "operationId", buf_str(&text));
    buf_free(&text);
}

static void write_operation(struct json *j, const struct api_route *route, enum method method)
{
    char name[16];
    struct str lower = str_make(name, MIN(method_name(method).n, sizeof name));
    for (size_t i = 0; i < lower.n; i++)
        name[i] = char_lower(method_name(method).p[i]);
    json_key_dynamic(j, lower);
    json_put_object(j);
    if (route->operation)
        write_operation_id(j, route, lower);
    json_key_c(j, "summary", route->summary ? route->summary : route->path);
    write_parameters(j, route);
    if (route->request_schema) {
        json_key_object(j, "requestBody");
        json_key_bool(j, "required", true);
        write_content(j, NULL, route->request_schema);
        json_end(j);
    }
    write_responses(j, route);
    write_security(j, route->access);
    json_end(j);
}

static bool path_is_repeated(const struct api_route *table, const struct api_route *route)
{
    for (const struct api_route *r = table; r < route; r++)
        if (strcmp(r->path, route->path) == 0)
            return true;
    return false;
}

/* All rows from `route` on that have its path. HEAD goes without saying wherever GET is. */
static void write_path(struct json *j, const struct api_route *route)
{
    struct buf path = BUF(256); /* {+name} is {name} in OpenAPI, which has no word for "the rest" */
    for (const char *c = route->path; *c; c++)
        if (*c != '+')
            buf_add_char(&path, *c);
    json_key_object(j, buf_c(&path));
    buf_free(&path);
    for (const struct api_route *r = route; r->path; r++) {
        for (int method = 0; method < METHOD_COUNT && strcmp(r->path, route->path) == 0; method++)
            if (r->methods >> method & 1 && method != METHOD_HEAD)
                write_operation(j, r, (enum method)method);
    }
    json_end(j);
}

static void write_schemas(struct json *j, const struct openapi_schema *schemas, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_key(j, schemas[i].name);
        json_raw(j, str_from_c(schemas[i].text));
    }
}

static void write_components(struct json *j)
{
    size_t count, manage_count;
    const struct openapi_schema *schemas = openapi_schemas(&count);
    const struct openapi_schema *of_manage = manage_schemas(&manage_count);
    json_key_object(j, "components");
    json_key_object(j, "schemas");
    write_schemas(j, schemas, count);
    write_schemas(j, of_manage, manage_count);
    json_end(j);
    json_key(j, "securitySchemes");
    json_raw(j, STR("{\"ApiKey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-API-Key\"},"
                    "\"Bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"}}"));
    json_end(j);
}

static void write_paths(struct json *j, const struct api_route *table)
{
    for (const struct api_route *route = table; route->path; route++)
        if (!path_is_repeated(table, route))
            write_path(j, route);
}

void openapi_write(struct buf *out, const struct api_route *const *tables, size_t table_count)
{
    struct json j = json_to(out);
    json_put_object(&j);
    json_key_c(&j, "openapi", "3.1.0");
    json_key_object(&j, "info");
    json_key_c(&j, "title", "Hestia");
    json_key_c(&j, "version", HESTIA_VERSION);
    json_key_c(&j, "description", "An on-demand gateway in front of your services.");
    json_end(&j);
    json_key_object(&j, "paths");
    write_paths(&j, through);
    for (size_t i = 0; i < table_count; i++)
        write_paths(&j, tables[i]);
    json_end(&j);
    write_components(&j);
    json_end(&j);
    buf_add_char(out, '\n');
}

enum err openapi_answer(struct task *t, struct api_call *call, struct response *response)
{
    const struct gateway *gateway = call->worker->gateway;
    struct buf body = BUF(ANSWER_MAX);
    openapi_write(&body, gateway->route_tables, gateway->route_table_count);
    return answer_send(call, response, 200, &body);
}
