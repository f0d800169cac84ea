/*
 * The rows of the route table: what an API call is, and what answers it. The gateway matches and authorises;
 * the handlers stand in gateway/ and admin/ and run on the worker's thread, inside the exchange's task.
 */
#ifndef HESTIA_GATEWAY_ROUTES_H
#define HESTIA_GATEWAY_ROUTES_H

#include "http/server.h"

struct book_client;
struct book_strategy;
struct service;
struct service_config;
struct snapshot;
struct worker;

/* What a call asked of a service, for the request's log line. */
struct api_asked {
    const struct snapshot_service *service; /* NULL: none */
    int attempts;
    int status;   /* of its answer; 0 = none came: */
    enum err err; /* why */
};

struct api_call {
    struct task *task;
    struct conn *conn;
    struct request *request;
    struct worker *worker;
    const struct snapshot *snapshot; /* the exchange's: lives as long as the call, whatever a reload does */
    struct service *service;         /* for {serviceId}, referenced by the gateway; NULL otherwise */
    const struct service_config *service_config;
    const struct api_route *route; /* the row that matched */
    struct str path_parameter;     /* the text that stood for the path's {name}, decoded; empty without one */
    const struct book_client *client;     /* who calls; NULL: an operator, or anybody */
    const struct book_strategy *strategy; /* the client's; NULL where the route is not ACCESS_LLM */
    struct str actor;                     /* whose key it was, for the audit trail; "anonymous" without one */
    struct error error;                   /* says why when the handler fails, or the service it asked */
    struct api_asked asked;               /* set by the dispatcher */
};

/* Answers a call: fills `response` (its body lives in call->request->arena), which the gateway sends. On an
   error the gateway answers with call->error instead. A handler that has sent its answer itself (a stream)
   returns OK with response->status = 0. */
typedef enum err api_handler(struct task *t, struct api_call *call, struct response *response);

enum api_access {
    ACCESS_OPEN,    /* anybody */
    ACCESS_KEY,     /* one of auth.api_keys, where keys are configured */
    ACCESS_METRICS, /* the same, unless auth.public_metrics */
    ACCESS_LLM,     /* a client's key where there are clients, or an operator's; auth.anonymous */
    ACCESS_ADMIN,   /* one of auth.admin_keys, where there are any, else as ACCESS_KEY */
};

/* Endpoints that go to the pool of providers. */
enum llm_endpoint { LLM_NONE, LLM_CHAT, LLM_COMPLETIONS, LLM_EMBEDDINGS };

enum { API_QUERY_MAX = 8 };

/* A query parameter: for /openapi.json, and for routes that refuse others. */
struct api_query {
    const char *name, *type, *description;
};

struct api_route {
    uint32_t methods; /* bits: 1 << METHOD_…; rows with other methods may have the same path */
    const char *path; /* "/v1/services/{serviceId}/status": at most one {name}, one whole segment; {+name} is
                         the rest */
    enum api_access access;
    api_handler *handler; /* NULL where `llm` says what it is */
    /* For /openapi.json. */
    const char *operation; /* operationId */
    const char *summary;
    int status;                 /* of success */
    const char *schema;         /* component schema of a JSON answer; NULL: `media_type` */
    const char *media_type;     /* of an answer that is no JSON; NULL: application/json */
    const char *request_schema; /* component schema of a JSON body; NULL: none is read */
    struct api_query query[API_QUERY_MAX];
    enum llm_endpoint llm; /* goes to the pool */
    api_handler *inner;    /* what a handler that only checks calls in the end; the gateway leaves it alone */
};

#endif
