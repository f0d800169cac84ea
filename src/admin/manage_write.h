/* The JSON of the management API. Pure. */
#ifndef HESTIA_ADMIN_MANAGE_WRITE_H
#define HESTIA_ADMIN_MANAGE_WRITE_H

#include "base/json.h"
#include "llm/price.h"
#include "strategy/book.h"
#include "strategy/provider.h"

/* Digits behind the point: a price of pico-dollars per token is 10^-6 dollars per million tokens. */
enum { PER_MILLION_DIGITS = 6 };

/* Wall clock; 0 prints null. */
void manage_write_time(struct json *j, const char *key, int64_t wall_us);
void manage_write_seconds(struct json *j, const char *key, int64_t seconds);
/* A date of RFC 3339 ("2026-01-31T10:00:00Z", "…+01:00", or the day alone), or seconds since 1970. */
bool manage_parse_time(struct str text, int64_t *seconds);

/* The members of an object that the caller opens and ends. */
void manage_write_client(struct json *j, const struct book_client *c, int64_t last_used_us);
void manage_write_strategy(struct json *j, const struct book_strategy *s);

/* What a strategy says that its author may not have meant, as sentences. */
struct pool_knowledge {
    bool (*has_provider)(const void *argument, struct str provider);
    bool (*serves)(const void *argument, struct str provider, struct str model);
    const void *argument;
};
void manage_write_warnings(struct json *j, const struct strategy_config *s,
                           const struct pool_knowledge *pool);
/* The same of a client. */
void manage_write_client_warnings(struct json *j, const struct client_config *c,
                                  const struct pool_knowledge *pool);

void manage_write_limit(struct json *j, const struct book_strategy *s, const struct limit_status *status);
void manage_write_provider(struct json *j, const struct provider_config *config,
                           const struct provider_status *status);
void manage_write_model(struct json *j, struct str id, struct str provider, const struct price *price);
/* A point with its `at`, or (at < 0) a total without. */
void manage_write_point(struct json *j, const struct usage_point *p);
void manage_add_point(struct usage_point *sum, const struct usage_point *p);
void manage_write_request(struct json *j, const struct request_row *row);
void manage_write_audit(struct json *j, const struct store_audit *a);

const char *manage_outcome_name(enum entry_outcome outcome); /* "ok" */

#endif
