/* /admin/v1/strategies, and what is left of their limits. Worker threads, inside an exchange. */
#include "admin/manage.h"
#include "admin/manage_write.h"

#include "admin/answer.h"

static struct books *books_of(const struct api_call *call)
{
    return call->worker->gateway->books;
}

static enum err strategy_unknown(struct api_call *call, struct str id)
{
    return error_set(&call->error, ERR_STRATEGY_NOT_FOUND, "Strategy not found: %.*s",
                     STR_ARG(str_first(id, 128)));
}

/* ---- looking ---------------------------------------------------------------------------------------------
 */

static bool pool_has_provider(const void *argument, struct str name)
{
    const struct provider_pool *pool = argument;
    for (size_t i = 0; i < provider_pool_count(pool); i++) {
        const struct provider_config *config = provider_config_of(provider_at(pool, i));
        if (!config->disabled && str_eq_nocase(config->name, name))
            return true;
    }
    return false;
}

static bool pool_serves(const void *argument, struct str provider, struct str model)
{
    struct provider_filter filter = {manage_is_provider, &provider};
    return provider_pool_knows((struct provider_pool *)(uintptr_t)argument, &filter, model);
}

struct pool_knowledge manage_pool_knowledge(const struct api_call *call)
{
    return (struct pool_knowledge){pool_has_provider, pool_serves, call->snapshot->providers};
}

static void write_members(struct api_call *call, struct json *j, const struct book_strategy *s)
{
    struct pool_knowledge pool = manage_pool_knowledge(call);
    manage_write_strategy(j, s);
    manage_write_warnings(j, &s->config, &pool);
}

void manage_put_strategy(struct api_call *call, struct json *j, const struct book_strategy *s)
{
    json_put_object(j);
    write_members(call, j, s);
    json_end(j);
}

enum err strategies_list(struct task *t, struct api_call *call, struct response *response)
{
    const struct book *book = call->snapshot->book;
    struct str name = manage_query(call, "name");
    struct manage_page page;
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    TRY(manage_page_begin(call, &page));
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < book_strategy_count(book) && !page.more; i++) {
        const struct book_strategy *s = book_strategy_at(book, i);
        if ((!name.n || str_eq(name, s->config.name)) && manage_page_takes(&page, s->config.id))
            manage_put_strategy(call, &j, s);
    }
    return manage_page_send(&page, &j, call, response);
}

enum err strategy_show(struct task *t, struct api_call *call, struct response *response)
{
    const struct book_strategy *s = book_strategy(call->snapshot->book, manage_id(call));
    if (!s)
        return strategy_unknown(call, manage_id(call));
    if (manage_tag(call, response, s->revision))
        return OK;
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    write_members(call, &j, s);
    return manage_object_send(&j, call, response, 200);
}

enum err strategy_clients(struct task *t, struct api_call *call, struct response *response)
{
    const struct book_strategy *s = book_strategy(call->snapshot->book, manage_id(call));
    return s ? manage_send_clients(t, call, response, s, STR_NONE) : strategy_unknown(call, manage_id(call));
}

/* ---- changing --------------------------------------------------------------------------------------------
 */

static enum err answer_changed(struct api_call *call, struct response *response, int status,
                               const struct book_result *result)
{
    MANAGE_FRESH(fresh);
    const struct book_strategy *s = book_strategy(fresh->shared->book, result->id);
    if (!s)
        return strategy_unknown(call, result->id); /* somebody was faster */
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    write_members(call, &j, s);
    manage_tag(call, response, s->revision);
    return manage_object_send(&j, call, response, status);
}

/* Of one that exists. */
static enum err strategy_change(struct task *t, struct api_call *call, enum book_action action,
                                struct str body, struct book_result *result)
{
    struct book_change change = {.action = action, .id = manage_id(call), .body = body, .actor = call->actor};
    const struct book_strategy *s = book_strategy(call->snapshot->book, change.id);
    if (!s)
        return strategy_unknown(call, change.id);
    TRY(manage_if_match(call, s->revision, &change.if_revision));
    return books_change(t, books_of(call), &change, &call->request->arena, result, &call->error);
}

enum err strategies_create(struct task *t, struct api_call *call, struct response *response)
{
    struct buf body CLEANUP(buf_free) = {0};
    struct book_result result = {0};
    TRY(manage_body(t, call, &body));
    struct book_change change = {
        .action = BOOK_STRATEGY_CREATE, .body = buf_str(&body), .actor = call->actor};
    TRY(books_change(t, books_of(call), &change, &call->request->arena, &result, &call->error));
    return answer_changed(call, response, 201, &result);
}

enum err strategy_update(struct task *t, struct api_call *call, struct response *response)
{
    struct buf body CLEANUP(buf_free) = {0};
    struct book_result result = {0};
    TRY(manage_body(t, call, &body));
    TRY(strategy_change(t, call, BOOK_STRATEGY_UPDATE, buf_str(&body), &result));
    return answer_changed(call, response, 200, &result);
}

enum err strategy_delete(struct task *t, struct api_call *call, struct response *response)
{
    struct book_result result = {0};
    TRY(strategy_change(t, call, BOOK_STRATEGY_DELETE, STR_NONE, &result));
    struct buf body = BUF(ANSWER_MAX);
    struct json j = json_to(&body);
    json_put_object(&j);
    json_key_str(&j, "id", manage_id(call));
    json_key_bool(&j, "deleted", true);
    return manage_object_send(&j, call, response, 200);
}

/* ---- limits ----------------------------------------------------------------------------------------------
 */

static void put_limits(struct task *t, struct json *j, const struct book_strategy *s)
{
    for (size_t i = 0; s->limiter && i < limiter_count(s->limiter); i++) {
        struct limit_status status = {0};
        limiter_status(s->limiter, i, task_now(t), &status);
        manage_write_limit(j, s, &status);
    }
}

/* The one strategy that ?strategy= or ?client= means; NULL when neither is there. */
static enum err find_strategy(struct api_call *call, const struct book_strategy **only)
{
    struct str strategy = manage_query(call, "strategy"), client = manage_query(call, "client");
    *only = NULL;
    if (strategy.n && client.n)
        return manage_refuse(call, "client", "give a strategy or a client, not both");
    if (strategy.n && !(*only = book_strategy(call->snapshot->book, strategy)))
        return strategy_unknown(call, strategy);
    if (!client.n)
        return OK;
    const struct book_client *c = book_client(call->snapshot->book, client);
    if (!c)
        return error_set(&call->error, ERR_CLIENT_NOT_FOUND, "Client not found: %.*s",
                         STR_ARG(str_first(client, 128)));
    *only = c->strategy;
    return OK;
}

enum err limits_list(struct task *t, struct api_call *call, struct response *response)
{
    const struct book *book = call->snapshot->book;
    const struct book_strategy *only;
    struct buf body = BUF(ANSWER_MAX);
    struct json j;
    TRY(find_strategy(call, &only));
    manage_list_begin(&j, &body);
    for (size_t i = 0; i < book_strategy_count(book); i++)
        if (!only || book_strategy_at(book, i) == only)
            put_limits(t, &j, book_strategy_at(book, i));
    return manage_list_send(&j, call, response, STR_NONE);
}
