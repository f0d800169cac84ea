/*
 * The book: clients and strategies, from the configuration and from the management API, as one immutable
 * whole that is part of a snapshot; and the registry that changes it. The control thread owns the registry;
 * a change is checked as a whole, written to the store, and only then seen by anybody. What the configuration
 * defines is read-only in the API.
 */
#ifndef HESTIA_STRATEGY_BOOK_H
#define HESTIA_STRATEGY_BOOK_H

#include "store/store.h"
#include "strategy/limit.h"

struct book_strategy {
    struct strategy_config config; /* texts live as long as the book */
    struct limiter *limiter;       /* a reference */
    uint64_t revision;             /* 0 = from the configuration */
    int64_t created_us, updated_us;
    bool is_managed; /* by the configuration */
    uint32_t label;  /* metric label of the id */
    uint32_t client_count;
    struct str definition; /* JSON, in its normal form */
};

struct book_client {
    struct client_config config;
    const struct book_strategy *strategy; /* never NULL: one that is gone is replaced by default */
    struct str lookup;                    /* the public part of its key, after "hk_"; empty: none */
    uint8_t hmac[32];                     /* HMAC-SHA256(pepper, key) */
    uint64_t revision;
    int64_t created_us, updated_us;
    bool is_managed;
    uint32_t label;
    struct str definition; /* JSON, in its normal form, without the key */
};

struct book; /* reference-counted, immutable but for the limiters */
struct book *book_ref(struct book *b);
void book_unref(struct book *b);

/* ---- reading (any thread) ------------------------------------------------------------------------------ */

/* Who brings this key: NULL when nobody does, or a disabled client. Constant time in what it compares; costs
   a hash: cache it per connection under the snapshot's epoch. */
const struct book_client *book_client_by_key(const struct book *b, struct str key);
/* "hk_…": a key of ours, known or not. */
bool book_key_is_ours(struct str key);
/* There are clients, or there may be some that are out of reach: then the LLM routes need a key. */
bool book_needs_keys(const struct book *b);
const struct book_client *book_client(const struct book *b, struct str id);
const struct book_strategy *book_strategy(const struct book *b, struct str id);
const struct book_strategy *book_anonymous(const struct book *b); /* auth.anonymous; NULL = none */
size_t book_client_count(const struct book *b);
const struct book_client *book_client_at(const struct book *b,
                                         size_t i); /* configuration first, then by age */
size_t book_strategy_count(const struct book *b);
const struct book_strategy *book_strategy_at(const struct book *b, size_t i);

/* ---- selection (select.c; pure) ------------------------------------------------------------------------ */

/* Whether the strategy allows this provider's model: all, a whole provider, or the exact pair; ASCII case
   does not matter (contract/localrouter 1.2). */
bool strategy_allows(const struct strategy_config *s, struct str provider, struct str model);
/* Whether the client may use the provider at all (allowed_llm_providers). */
bool client_allows(const struct client_config *c, struct str provider);
/* "localrouter/auto", "hestia/auto", and with model_name "localrouter/NAME": the strategy's virtual model. */
bool strategy_is_auto(const struct strategy_config *s, struct str model);
/* Contract 3.2, for a bare name that no allowed provider serves as it stands: both sides without what stands
   before the first '/', without ":tag", in lower case; the first of the strategy's pairs that fits. False:
   none. */
bool strategy_resolve(const struct strategy_config *s, struct str model, struct model_name *found);

/* ---- as JSON (book_text.c; pure): the store and the API say the same -------------------------------------
 */

struct json;
void strategy_write_allowed(struct json *j, const struct strategy_config *s); /* "allowed_models":{…} */
void strategy_write_auto(struct json *j, const struct strategy_config *s);    /* the members of auto_config */
void strategy_write_limits(struct json *j, const struct strategy_config *s);  /* "rate_limits":[…] */
void strategy_write_limit(struct json *j, const struct rate_limit_config *limit); /* the members of one */

/* ---- the registry (control thread but for books_change) ------------------------------------------------ */

struct books;

struct books *books_new(struct loop *control, struct store *store); /* store: NULL = nothing is kept */
/* Before books_load: see store_misses_clients. */
void books_miss_clients(struct books *all);
/* Boot: rows of the store, counters of the last day; makes `default` where there is none, clears parents that
   are gone, and writes that down. */
enum err books_load(struct books *all, const struct config *config, struct error *error) MUST_CHECK;
/* The book of a configuration, a reference for the caller: boot after books_load, and each reload. NULL with
   the reason, and then nothing has changed. */
struct book *books_apply(struct books *all, struct config *config, struct error *error);
void books_free(struct books *all);
/* Set by main/: a change is written; build a snapshot with books_current() (a reference) and give it to the
   workers; post `done` to its loop when the last has it. Control thread. */
struct books_publisher {
    void (*publish)(void *argument, void (*done)(void *done_argument), void *done_argument);
    void *argument;
};
void books_on_change(struct books *all, struct books_publisher publisher);
struct book *books_current(struct books *all);

enum book_action {
    BOOK_CLIENT_CREATE, /* body {name, id?, strategy_id?, enabled?…}; without strategy_id an owned strategy
                           "NAME's strategy" is made with it */
    BOOK_CLIENT_UPDATE, /* body: JSON merge patch (RFC 7396); strategy_id assigns (contract 1.6) */
    BOOK_CLIENT_DELETE, /* its owned strategies go too; one that others use is made shared instead */
    BOOK_CLIENT_ROTATE, /* a new key; the old one is refused from then on */
    BOOK_STRATEGY_CREATE, /* body {name, …} or {parent}: then the name is the client's */
    BOOK_STRATEGY_UPDATE, /* merge patch; a rename of an owned one away from its own name clears the parent */
    BOOK_STRATEGY_DELETE, /* not `default`, not one that a client uses: ERR_CONFLICT */
};
struct book_change {
    enum book_action action;
    struct str id;        /* of what is changed; empty when it is created */
    struct str body;      /* JSON; empty: none */
    uint64_t if_revision; /* 0 = whatever it is; else ERR_PRECONDITION */
    struct str actor;     /* for the audit trail */
};
struct book_result {
    struct str id; /* in the arena */
    uint64_t revision;
    char secret[64];      /* the key, after create and rotate: shown this once */
    struct strs released; /* strategies that lost their parent, for the answer */
};
/* From a task on any loop. OK when the change is durable and every worker has it. ERR_CLIENT_NOT_FOUND,
   ERR_STRATEGY_NOT_FOUND, ERR_BAD_REQUEST (param names the field), ERR_CONFLICT, ERR_MANAGED_BY_CONFIG,
   ERR_PRECONDITION, ERR_STORE. */
enum err books_change(struct task *t, struct books *all, const struct book_change *change,
                      struct arena *arena, struct book_result *result, struct error *error) MUST_CHECK;

#endif
