/* What the handlers of this folder share, and their declarations for the route table. */
#ifndef HESTIA_ADMIN_ANSWER_H
#define HESTIA_ADMIN_ANSWER_H

#include "gateway/routes.h"

enum { ANSWER_MAX = 16 << 20 /* bytes of one answer */ };

/* Moves a rendered body into the exchange's arena and frees it; sets the status unless one is set. The body's
   own error (memory, size) becomes the call's. */
enum err answer_send(struct api_call *call, struct response *response, int status,
                     struct buf *body) MUST_CHECK;
/* ?name=1, true, yes or on, or the name alone. */
bool answer_query_flag(struct api_call *call, struct str name);

api_handler health_answer, ready_answer;
api_handler services_answer, service_strategies_answer, status_answer, start_answer, stop_answer;
api_handler logs_answer;
api_handler metrics_answer, service_metrics_answer, metrics_text_answer;
api_handler openapi_answer;

#endif
