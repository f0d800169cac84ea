/* One completion over the pool: what the files gateway/llm*.c share. Kept with its exchange for the next. */
#ifndef HESTIA_GATEWAY_LLM_H
#define HESTIA_GATEWAY_LLM_H

#include "gateway/exchange.h"
#include "llm/approach.h"
#include "llm/body.h"
#include "llm/error_class.h"
#include "llm/price.h"
#include "llm/usage.h"
#include "store/journal.h"
#include "strategy/limit.h"
#include "strategy/provider.h"

enum { LLM_ATTEMPTS_MAX = 32, LLM_ERROR_BODY_MAX = 1 << 20 };

/* An attempt that did not serve: for the common answer, the log and the list of reasons. */
struct llm_failure {
    struct str provider, model;    /* model: as it was sent; of the strategy's list where nothing was */
    const char *outcome;           /* "failed", "rate_limited", "skipped_resting", … */
    int status;                    /* 0 = no answer */
    struct str why;                /* one sentence */
    struct str fields;             /* its other header fields, complete lines */
    struct str content_type, body; /* of its error answer, with the provider's key masked */
};

struct llm_call {
    struct exchange *x;
    struct llm_body body;
    struct str model; /* as the pool looks it up */
    bool is_auto;     /* the strategy's virtual model was asked for */

    struct provider_tour tour;
    struct provider
        *provider; /* of the attempt under way: its slot and trial are ours until provider_report */
    struct str sent_model;
    uint64_t attempt_started;
    int failure_count;
    label failed_label;           /* of the provider that failed last, 0 = none yet */
    const char *failed_result;    /* how */
    bool answer_is_final;         /* the last failure is the client's: no other provider is asked */
    enum error_class error_class; /* of the last failure */

    struct limit_hold hold;     /* what the strategy's limits keep free for it */
    struct journal_entry entry; /* its record in the ledger */
    struct str served;          /* the provider that answers; empty = nobody yet */
    label served_label;
    struct price price;         /* there */
    uint64_t head_ns;           /* until the answer began; 0 = none yet */
    enum entry_outcome outcome; /* ENTRY_OPEN: nobody has said how it ended */
    bool is_settled;

    struct gate *gate;  /* entered; NULL = not */
    uint64_t queued_ns; /* waiting: pool, slot, cold service */
    bool committed;     /* a 200 with keep-alive comments has gone out */

    struct event_filter events;
    struct usage_reader usage;
    bool is_readable; /* the answer is not compressed: usage can be read */
    bool is_stream;   /* the answer is one */
    int upstream_status;
    bool keeps_alive; /* the upstream's connection, as its answer says */

    /* From here on nothing is cleared between two requests. */
    struct llm_failure failures[LLM_ATTEMPTS_MAX]; /* failure_count of them */
    struct buf raw;                                /* the request body */
    struct buf held;                               /* the answer's first event */
    struct buf filtered;                           /* what the event filter let through */
};

/* llm_attempt.c: one provider, from the connection to a head (and, of a stream, a first event) that is worth
   passing on. OK, or ERR_UPSTREAM_… with the failure recorded, ERR_CANCELLED. */
enum err llm_attempt(struct task *t, struct llm_call *l) MUST_CHECK;
/* Ends the attempt under way for the provider's record. */
void llm_report(struct llm_call *l, enum provider_outcome outcome, const char *result,
                uint64_t retry_after_ms, const char *why);
/* For metrics: "ok", or the class of the error. `status`: of the answer, 0 = none came and `err` says why. */
const char *llm_result(enum provider_outcome outcome, int status, enum err err);

/* llm_forward.c */
enum err llm_forward_request(struct llm_call *l, const struct url *url, struct llm_parts *parts) MUST_CHECK;
enum err llm_forward_response(struct llm_call *l, struct head *response) MUST_CHECK;
void llm_add_fields(const struct llm_call *l, struct buf *out);
/* Of an error answer: the fields that are passed on with it, in the arena. */
struct str llm_error_fields(struct llm_call *l, struct head *response);
/* A copy with every occurrence of the provider's key replaced by ***. */
struct str llm_mask(struct llm_call *l, struct str text);

/* llm_account.c. Admission reserves in the strategy's limits: ERR_RATE_LIMIT, ERR_INSUFFICIENT_QUOTA; it
   costs nothing where there are none. */
enum err llm_account_admit(struct llm_call *l) MUST_CHECK;
/* Before an upstream is called. ERR_STORE where storage.on_store_failure says reject. */
enum err llm_account_open(struct llm_call *l) MUST_CHECK;
/* Somebody answers: before the client sees a byte of it. */
void llm_account_answer(struct llm_call *l);
/* A piece of the answer is about to go to the client. With the last one the account is settled. */
void llm_account_count(struct llm_call *l);
/* Once, whatever happened, and before the client hears of it where that is possible: ledger, limits, metrics.
 */
void llm_account_settle(struct llm_call *l);
/* x-ratelimit-… of the strategy's limits. */
void llm_account_fields(const struct llm_call *l, struct buf *out);

/* llm_select.c: what the caller's strategy allows (403, 404, 503); and whether the virtual model is meant. */
enum err llm_select(struct llm_call *l) MUST_CHECK;
/* For lists of models, too. */
struct provider_filter llm_filter(const struct book_client *client, const struct book_strategy *strategy);

/* llm_auto.c: one model of the strategy after the other. As llm_tour. */
enum err llm_auto_tour(struct task *t, struct llm_call *l) MUST_CHECK;
/* The answer when none of them served: the last one's status, every attempt by name. */
enum err llm_auto_answer(struct task *t, struct llm_call *l) MUST_CHECK;

/* Served, or failed in a way that no other provider or model could mend: nobody else is asked. */
static inline bool llm_is_over(enum err err)
{
    return err == OK || err == ERR_CANCELLED || err == ERR_BAD_REQUEST || err == ERR_NOMEM;
}
/* llm.c: one provider after the other for l->model until one answers. */
enum err llm_tour(struct task *t, struct llm_call *l) MUST_CHECK;
/* llm.c: keep-alive comments while a stream's client waits (gate, cold service). */
enum err llm_keep_alive(struct task *t, void *call) MUST_CHECK;
uint64_t llm_tick_ms(const struct llm_call *l);

#endif
