/* /admin/v1/clients. Worker threads, inside an exchange. */
#include "admin/manage.h"
#include "admin/manage_write.h"

#include "admin/answer.h"

static struct books *books_of(const struct api_call *call)
{
    return call->worker->gateway->books;
}

static enum err client_unknown(struct api_call *call, struct str id)
{
    return error_set(&call->error, ERR_CLIENT_NOT_FOUND, "Client not found: %.*s",
                     STR_ARG(str_first(id, 128)));
}

/* ---- looking ---------------------------------------------------------------------------------------------
 */

/* 0 where it was never used, and where there is no store that could tell. */
static void last_used(struct task *t, struct api_call *call, const struct str *ids, size_t count,
                      int64_t *at_us)
{
    struct store *store = call->worker->gateway->store;
    if (!store || store_last_used(t, store, ids, count, at_us) != OK)
        memset(at_us, 0, count * sizeof *at_us);
}

static void write_members(const struct api_call *call, struct json *j, const struct book_client *c,
                          int64_t used_us)
{
    struct pool_knowledge pool = manage_pool_knowledge(call);
    manage_write_client(j, c, used_us);
    manage_write_client_warnings(j, &c->config, &pool);
}

/* What stands on a page, collected before the store is asked: once for all of them. */
struct client_page {
    struct manage_page page;
    const struct book_client *clients[MANAGE_PAGE_MAX];
    struct str ids[MANAGE_PAGE_MAX];
    int64_t used[MANAGE_PAGE_MAX];
    size_t count;
};

static void page_collect(struct client_page *p, const struct book *book, const struct book_strategy *of,
                         struct str name)
{
    for (size_t i = 0; i < book_client_count(book) && !p->page.more; i++) {
        const struct book_client *c = book_client_at(book, i);
        if ((of && c->strategy != of) || (name.n && !str_eq(name, c->config.name)) ||
            !manage_page_takes(&p->page, c->config.id))
            continue;
        p->clients[p->count] = c;
        p->ids[p->count++] = c->config.id;
    }
}

enum err manage_send_clients(struct task *t, struct api_call *call, struct response *response,
                             const struct book_strategy *of, struct str name)
{
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    struct client_page *p = arena_alloc(&call->request->arena, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    p->count = 0;
    TRY(manage_page_begin(call, &p->page));
    page_collect(p, call->snapshot->book, of, name);
    last_used(t, call, p->ids, p->count, p->used);
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < p->count; i++) {
        json_put_object(&j);
        write_members(call, &j, p->clients[i], p->used[i]);
        json_end(&j);
    }
    return manage_page_send(&p->page, &j, call, response);
}

enum err clients_list(struct task *t, struct api_call *call, struct response *response)
{
    return manage_send_clients(t, call, response, NULL, manage_query(call, "name"));
}

enum err client_show(struct task *t, struct api_call *call, struct response *response)
{
    const struct book_client *c = book_client(call->snapshot->book, manage_id(call));
    if (!c)
        return client_unknown(call, manage_id(call));
    if (manage_tag(call, response, c->revision))
        return OK;
    int64_t used;
    last_used(t, call, &c->config.id, 1, &used);
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    write_members(call, &j, c, used);
    return manage_object_send(&j, call, response, 200);
}

/* ---- changing --------------------------------------------------------------------------------------------
 */

/* The client as it is now, with its new key where it has one. */
static enum err answer_changed(struct task *t, struct api_call *call, struct response *response, int status,
                               const struct book_result *result)
{
    MANAGE_FRESH(fresh);
    const struct book_client *c = book_client(fresh->shared->book, result->id);
    if (!c)
        return client_unknown(call, result->id); /* somebody was faster */
    int64_t used;
    last_used(t, call, &c->config.id, 1, &used);
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    write_members(call, &j, c, used);
    if (result->secret[0])
        json_key_c(&j, "key", result->secret);
    if (result->released.count)
        manage_put_released(&j, &result->released);
    manage_tag(call, response, c->revision);
    return manage_object_send(&j, call, response, status);
}

/* Of one that exists. */
static enum err client_change(struct task *t, struct api_call *call, enum book_action action, struct str body,
                              struct book_result *result)
{
    struct book_change change = {.action = action, .id = manage_id(call), .body = body, .actor = call->actor};
    const struct book_client *c = book_client(call->snapshot->book, change.id);
    if (!c)
        return client_unknown(call, change.id);
    TRY(manage_if_match(call, c->revision, &change.if_revision));
    return books_change(t, books_of(call), &change, &call->request->arena, result, &call->error);
}

enum err clients_create(struct task *t, struct api_call *call, struct response *response)
{
    struct buf body CLEANUP(buf_free) = {0};
    struct book_result result = {0};
    TRY(manage_body(t, call, &body));
    struct book_change change = {.action = BOOK_CLIENT_CREATE, .body = buf_str(&body), .actor = call->actor};
    TRY(books_change(t, books_of(call), &change, &call->request->arena, &result, &call->error));
    return answer_changed(t, call, response, 201, &result);
}

enum err client_update(struct task *t, struct api_call *call, struct response *response)
{
    struct buf body CLEANUP(buf_free) = {0};
    struct book_result result = {0};
    TRY(manage_body(t, call, &body));
    TRY(client_change(t, call, BOOK_CLIENT_UPDATE, buf_str(&body), &result));
    return answer_changed(t, call, response, 200, &result);
}

enum err client_rotate(struct task *t, struct api_call *call, struct response *response)
{
    struct book_result result = {0};
    TRY(client_change(t, call, BOOK_CLIENT_ROTATE, STR_NONE, &result));
    return answer_changed(t, call, response, 200, &result);
}

enum err client_delete(struct task *t, struct api_call *call, struct response *response)
{
    struct book_result result = {0};
    TRY(client_change(t, call, BOOK_CLIENT_DELETE, STR_NONE, &result));
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    json_key_str(&j, "id", manage_id(call));
    json_key_bool(&j, "deleted", true);
    manage_put_released(&j, &result.released);
    return manage_object_send(&j, call, response, 200);
}
