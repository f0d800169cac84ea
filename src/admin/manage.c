/* What all routes of the management API have in common: who may come, what they may say, how answers begin
 * and end. Worker threads, inside an exchange. */
#include "admin/manage.h"

#include "admin/answer.h"
#include "base/num.h"
#include "loop/sock.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- who may come ---------------------------------------------------------------------------------------
 */

static bool host_is_listened_at(struct str name, const struct strs *listen)
{
    for (size_t i = 0; i < listen->count; i++) {
        struct str item = listen->items[i], host;
        uint16_t port;
        if (!str_starts(item, STR("unix:")) && host_parse(item, &host, &port) && str_eq_nocase(host, name))
            return true;
    }
    return false;
}

bool manage_host_is_ours(struct str host, const struct strs *listen)
{
    struct address address;
    struct str name;
    uint16_t port;
    if (!host_parse(host, &name, &port))
        return false;
    if (str_ends(name, STR("."))) /* the root's dot */
        name.n--;
    if (address_parse_ip(name, 0, &address) || str_eq_nocase(name, STR("localhost")))
        return true;
    if (name.n > 10 && str_eq_nocase(str_from(name, name.n - 10), STR(".localhost")))
        return true;
    return host_is_listened_at(name, listen);
}

bool manage_origin_is_same(struct str origin, struct str host)
{
    struct str name, other;
    uint16_t port, other_port, usual;
    if (str_starts_nocase(origin, STR("http://")))
        usual = 80;
    else if (str_starts_nocase(origin, STR("https://")))
        usual = 443;
    else
        return false; /* "null", an extension, … */
    origin = str_from(origin, usual == 80 ? 7 : 8);
    if (!host_parse(origin, &name, &port) || !host_parse(host, &other, &other_port))
        return false;
    return str_eq_nocase(name, other) && (port ? port : usual) == (other_port ? other_port : usual);
}

/* A page that had its own name resolved to our address reads us as if it were itself; but it has no key, and
   no browser speaks to a Unix socket. */
static enum err check_host(struct api_call *call)
{
    struct str host = head_value(&call->request->head, FIELD_HOST);
    bool has_key = call->actor.n && !str_eq(call->actor, STR("anonymous"));
    if (has_key || str_eq(conn_peer(call->conn), STR("unix")) ||
        manage_host_is_ours(host, &call->snapshot->config->server.listen))
        return OK;
    return error_set(&call->error, ERR_MISDIRECTED,
                     "without a key the management API is served under addresses, localhost and the names of "
                     "server.listen only, not under %.*s",
                     STR_ARG(str_first(host, 128)));
}

static enum err check_origin(struct api_call *call)
{
    struct head *head = &call->request->head;
    struct str origin = head_value(head, FIELD_ORIGIN);
    if (head->method == METHOD_GET || head->method == METHOD_HEAD || !head_field(head, FIELD_ORIGIN) ||
        manage_origin_is_same(origin, head_value(head, FIELD_HOST)))
        return OK;
    return error_set(&call->error, ERR_PERMISSION, "a page of another origin (%.*s) may change nothing here",
                     STR_ARG(str_first(origin, 128)));
}

/* ---- what they may say ----------------------------------------------------------------------------------
 */

enum err manage_refuse(struct api_call *call, const char *param, const char *format, ...)
{
    char why[sizeof call->error.why];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    error_set(&call->error, ERR_BAD_REQUEST, "%s: %s", param, why);
    call->error.param = param;
    return ERR_BAD_REQUEST;
}

static bool route_has_query(const struct api_route *route, struct str name)
{
    for (int i = 0; i < API_QUERY_MAX && route->query[i].name; i++)
        if (str_eq(str_from_c(route->query[i].name), name))
            return true;
    return false;
}

static enum err check_query(struct api_call *call)
{
    struct arena *arena = &call->request->arena;
    struct str query = call->request->target.query;
    while (query.n) {
        struct str pair = str_cut(&query, '&');
        struct str name = percent_decode(arena, str_cut(&pair, '='));
        if (!name.n || route_has_query(call->route, name))
            continue;
        const char *param = arena_c(arena, str_first(name, 64));
        return param ? manage_refuse(call, param, "this route has no such parameter") : ERR_NOMEM;
    }
    return OK;
}

/* A form of another page can send text, but not this type (without asking first). */
static enum err check_type(struct api_call *call)
{
    struct str type = head_value(&call->request->head, FIELD_CONTENT_TYPE);
    struct str media = str_trim(str_first(type, str_find(type, ';')));
    if (!call->route->request_schema || str_eq_nocase(media, STR("application/json")) ||
        str_eq_nocase(media, STR("application/merge-patch+json")))
        return OK;
    error_set(&call->error, ERR_UNPROCESSABLE, "Content-Type must be application/json");
    call->error.param = "Content-Type";
    return ERR_UNPROCESSABLE;
}

enum err manage_answer(struct task *t, struct api_call *call, struct response *response)
{
    TRY(check_host(call));
    TRY(check_origin(call));
    TRY(check_query(call));
    TRY(check_type(call));
    head_add(&response->fields, STR("Cache-Control"), STR("no-store"));
    return call->route->inner(t, call, response);
}

/* ---- what the rows read ---------------------------------------------------------------------------------
 */

struct str manage_query(struct api_call *call, const char *name)
{
    struct str value = STR_NONE;
    query_get(&call->request->arena, call->request->target.query, str_from_c(name), &value);
    return value;
}

enum err manage_query_number(struct api_call *call, const char *name, uint64_t smallest, uint64_t largest,
                             uint64_t otherwise, uint64_t *value)
{
    struct str text = manage_query(call, name);
    *value = otherwise;
    if (!text.n || (num_parse_u64(text, value) && *value >= smallest && *value <= largest))
        return OK;
    return manage_refuse(call, name, "must be a number from %llu to %llu", (unsigned long long)smallest,
                         (unsigned long long)largest);
}

enum err manage_query_word(struct api_call *call, const char *name, const char *const *words, int count,
                           int otherwise, int *number)
{
    struct str text = manage_query(call, name);
    struct buf list CLEANUP(buf_free) = BUF(1024);
    *number = otherwise;
    for (int i = 0; i < count; i++) {
        buf_addf(&list, "%s%s", i ? ", " : "", words[i]);
        if (!str_eq(text, str_from_c(words[i])))
            continue;
        *number = i;
        return OK;
    }
    return text.n ? manage_refuse(call, name, "must be one of %s", buf_c(&list)) : OK;
}

struct str manage_id(struct api_call *call)
{
    return percent_decode(&call->request->arena, call->path_parameter);
}

enum err manage_body(struct task *t, struct api_call *call, struct buf *body)
{
    *body = BUF(MANAGE_BODY_MAX);
    TRY(request_read_body(t, call->conn, call->request, body, &call->error));
    if (str_trim(buf_str(body)).n)
        return OK;
    return error_set(&call->error, ERR_UNPROCESSABLE, "the body must be a JSON object");
}

enum err manage_store(struct api_call *call, struct store **store)
{
    *store = call->worker->gateway->store;
    return *store ? OK : error_set(&call->error, ERR_STORE, "no store: accounts are not kept");
}

/* ---- revisions ------------------------------------------------------------------------------------------
 */

/* "17" with its quotes. */
static bool tag_parse(struct str tag, uint64_t *revision)
{
    return tag.n > 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"' &&
           num_parse_u64(str_make(tag.p + 1, tag.n - 2), revision);
}

enum err manage_if_match(struct api_call *call, uint64_t present, uint64_t *revision)
{
    struct str list = head_value(&call->request->head, FIELD_IF_MATCH), tag;
    bool found = !head_field(&call->request->head, FIELD_IF_MATCH) || str_eq(list, STR("*"));
    *revision = 0;
    while (!found && str_next_element(&list, &tag)) {
        uint64_t number;
        if (!tag_parse(tag, &number))
            continue;
        found = number == present;
        if (number == present || !*revision)
            *revision = number; /* the registry has the last word: it may know a later one than we do */
    }
    if (found || *revision)
        return OK;
    return error_set(&call->error, ERR_PRECONDITION, "If-Match names no revision of it; it is at \"%llu\"",
                     (unsigned long long)present);
}

bool manage_tag(struct api_call *call, struct response *response, uint64_t revision)
{
    struct head *head = &call->request->head;
    struct field *asked = head_find(head, STR("If-None-Match"));
    struct str list = asked ? asked->value : STR_NONE, tag;
    char text[32];
    snprintf(text, sizeof text, "\"%llu\"", (unsigned long long)revision);
    head_add(&response->fields, STR("ETag"), str_from_c(text));
    if (!revision || (head->method != METHOD_GET && head->method != METHOD_HEAD))
        return false;
    while (str_next_element(&list, &tag)) {
        if (str_starts(tag, STR("W/")))
            tag = str_from(tag, 2);
        if (!str_eq(tag, str_from_c(text)))
            continue;
        response->status = 304;
        return true;
    }
    return false;
}

/* ---- answers --------------------------------------------------------------------------------------------
 */

void manage_list_begin(struct json *j, struct buf *body)
{
    *j = json_to(body);
    json_put_object(j);
    json_key_array(j, "data");
}

enum err manage_list_send(struct json *j, struct api_call *call, struct response *response, struct str next)
{
    json_end(j);
    if (next.n)
        json_key_str(j, "next", next);
    else
        json_key_null(j, "next");
    return manage_object_send(j, call, response, 200);
}

enum err manage_object_send(struct json *j, struct api_call *call, struct response *response, int status)
{
    json_end(j);
    buf_add_char(j->out, '\n');
    return answer_send(call, response, status, j->out);
}

enum err manage_page_begin(struct api_call *call, struct manage_page *page)
{
    *page = (struct manage_page){.after = manage_query(call, "after")};
    page->open = !page->after.n;
    return manage_query_number(call, "limit", 1, MANAGE_PAGE_MAX, MANAGE_PAGE_MAX, &page->limit);
}

bool manage_page_takes(struct manage_page *page, struct str id)
{
    if (!page->open) {
        page->open = str_eq(id, page->after);
        return false;
    }
    page->more = page->count == page->limit;
    if (page->more)
        return false;
    page->count++;
    page->last = id;
    return true;
}

enum err manage_page_send(struct manage_page *page, struct json *j, struct api_call *call,
                          struct response *response)
{
    if (page->open)
        return manage_list_send(j, call, response, page->more ? page->last : STR_NONE);
    buf_free(j->out);
    return manage_refuse(call, "after", "there is no such entry (any more); begin again without it");
}

void manage_let_go(struct held_snapshot **held)
{
    worker_let_go(*held);
}

void manage_put_released(struct json *j, const struct strs *released)
{
    json_key_array(j, "released_strategies");
    for (size_t i = 0; i < released->count; i++)
        json_str(j, released->items[i]);
    json_end(j);
}
