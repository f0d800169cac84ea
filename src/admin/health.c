/* GET /health and /ready, with their other names. Open to everybody, so they say nothing else. */
#include "admin/answer.h"
#include "gateway/worker.h"
#include "loop/shepherd.h"

static enum err answer_ok(struct response *response)
{
    response->status = 200;
    response->body = STR("{\"status\":\"ok\"}\n");
    return OK;
}

enum err health_answer(struct task *t, struct api_call *call, struct response *response)
{
    return answer_ok(response);
}

enum err ready_answer(struct task *t, struct api_call *call, struct response *response)
{
    if (worker_is_draining(call->worker))
        return error_set(&call->error, ERR_DRAINING, "%s", "");
    if (shepherd_is_lost(call->worker->gateway->shepherd))
        return error_set(&call->error, ERR_SHEPHERD_LOST, "%s", "");
    return answer_ok(response);
}
