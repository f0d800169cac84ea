/* Turning a rendered body into a response. Worker threads, inside an exchange. */
#include "admin/answer.h"

enum err answer_send(struct api_call *call, struct response *response, int status, struct buf *body)
{
    enum err err = buf_err(body);
    if (err == OK) {
        response->status = status;
        response->body = arena_str(&call->request->arena, buf_str(body));
        if (body->n && !response->body.p)
            err = ERR_NOMEM;
    }
    buf_free(body);
    return err == OK ? OK : error_set(&call->error, err == ERR_LIMIT ? ERR_INTERNAL : err, "%s", "");
}

bool answer_query_flag(struct api_call *call, struct str name)
{
    struct str value;
    if (!query_get(&call->request->arena, call->request->target.query, name, &value))
        return false;
    return value.n == 0 || str_eq(value, STR("1")) || str_eq_nocase(value, STR("true")) ||
           str_eq_nocase(value, STR("yes")) || str_eq_nocase(value, STR("on"));
}
