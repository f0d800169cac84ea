/*
 * The management API under /admin/v1: clients, strategies, limits, providers, models, usage, requests, audit,
 * configuration, events. Every row of it goes through manage_answer, which checks what all have in common;
 * then its `inner` answers. Worker threads, inside an exchange.
 */
#ifndef HESTIA_ADMIN_MANAGE_H
#define HESTIA_ADMIN_MANAGE_H

#include "base/json.h"
#include "gateway/worker.h"

enum {
    MANAGE_BODY_MAX = 1 << 20,
    MANAGE_PAGE = 100, /* entries of a list of requests or of the audit trail when nobody says how many */
    MANAGE_PAGE_MAX = 1000,
};

/* The handler of every row: Host and Origin (DNS rebinding, cross-site requests), the names of the query's
   parameters, the type of the body; Cache-Control: no-store on what the row's `inner` answers. */
api_handler manage_answer;

api_handler clients_list, clients_create, client_show, client_update, client_delete, client_rotate;
api_handler strategies_list, strategies_create, strategy_show, strategy_update, strategy_delete,
    strategy_clients;
api_handler limits_list, providers_list, models_list, config_show;
api_handler usage_show, usage_ids_list;
api_handler requests_list, request_show, audit_list;
api_handler events_stream;

/* ---- what the rows read (manage.c) -----------------------------------------------------------------------
 */

/* Whether a request with this Host comes from a page that was sent to us under its own name: false for what
   only this machine or an address of it can be called. `listen`: server.listen. Pure. */
bool manage_host_is_ours(struct str host, const struct strs *listen);
/* Whether the page of that Origin has this Host. Pure. */
bool manage_origin_is_same(struct str origin, struct str host);

/* ERR_BAD_REQUEST with the name of the parameter (a constant). */
enum err manage_refuse(struct api_call *call, const char *param, const char *format, ...) PRINTF_LIKE(3, 4);
/* The decoded value of a query parameter; empty when it is absent or empty. */
struct str manage_query(struct api_call *call, const char *name);
/* A number of it, `otherwise` when it is absent. */
enum err manage_query_number(struct api_call *call, const char *name, uint64_t smallest, uint64_t largest,
                             uint64_t otherwise, uint64_t *value) MUST_CHECK;
/* The number of the word in `words` (count of them), `otherwise` when the parameter is absent. */
enum err manage_query_word(struct api_call *call, const char *name, const char *const *words, int count,
                           int otherwise, int *number) MUST_CHECK;
/* The path's {id}, decoded. */
struct str manage_id(struct api_call *call);
/* The whole body, not empty. */
enum err manage_body(struct task *t, struct api_call *call, struct buf *body) MUST_CHECK;
/* The store, or ERR_STORE. */
enum err manage_store(struct api_call *call, struct store **store) MUST_CHECK;

/* ---- revisions -------------------------------------------------------------------------------------------
 */

/* What If-Match asks for: *revision is 0 when it asks for nothing. `present` is the object's as this worker
   knows it. ERR_PRECONDITION when no revision of it can be meant. */
enum err manage_if_match(struct api_call *call, uint64_t present, uint64_t *revision) MUST_CHECK;
/* Adds the ETag; true when If-None-Match of a GET names it, and then the answer (304) is complete. What comes
   from the configuration (revision 0) changes without one, so it is always shown. */
bool manage_tag(struct api_call *call, struct response *response, uint64_t revision);

/* ---- answers ---------------------------------------------------------------------------------------------
 */

/* {"data":[ … */
void manage_list_begin(struct json *j, struct buf *body);
/* … ],"next":…}, empty: null; then as answer_send. */
enum err manage_list_send(struct json *j, struct api_call *call, struct response *response, struct str next);
/* Ends the object and sends it. */
enum err manage_object_send(struct json *j, struct api_call *call, struct response *response, int status);

/* A page of a list in memory: from behind the entry that ?after= names, at most ?limit= entries. */
struct manage_page {
    struct str after;
    uint64_t limit;
    bool open;       /* the entry `after` has gone by */
    uint64_t count;  /* taken so far */
    struct str last; /* the last one taken */
    bool more;
};
enum err manage_page_begin(struct api_call *call, struct manage_page *page) MUST_CHECK;
/* Whether the entry with that id stands on the page. Once for each entry that fits, in order. */
bool manage_page_takes(struct manage_page *page, struct str id);
/* Sends the list. ERR_BAD_REQUEST: there is no entry `after`. */
enum err manage_page_send(struct manage_page *page, struct json *j, struct api_call *call,
                          struct response *response);

/* After books_change: this worker's snapshot of now, held until the variable goes. */
#define MANAGE_FRESH(variable)                                                                               \
    struct held_snapshot *variable CLEANUP(manage_let_go) = worker_hold(call->worker)
void manage_let_go(struct held_snapshot **held);

/* A page of the clients of a strategy (NULL: of all) that have a name (empty: any). manage_clients.c */
enum err manage_send_clients(struct task *t, struct api_call *call, struct response *response,
                             const struct book_strategy *of, struct str name);
/* What warnings go by (manage_strategies.c). */
struct pool_knowledge manage_pool_knowledge(const struct api_call *call);
/* One strategy into a list (manage_strategies.c). */
void manage_put_strategy(struct api_call *call, struct json *j, const struct book_strategy *s);
/* A filter of the pool: only the provider whose name `owner` (a struct str *) is. */
bool manage_is_provider(const void *owner, const struct provider_config *provider, struct str model);
/* The strategies that a change left without their owner. */
void manage_put_released(struct json *j, const struct strs *released);

#endif
