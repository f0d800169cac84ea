/* Asking for the list of requests, as the tests of the store do. */
#ifndef HESTIA_STORE_REQUESTS_TEST_H
#define HESTIA_STORE_REQUESTS_TEST_H

#include "store/test.h"

struct asked {
    struct store *store;
    struct request_query query;
    struct arena arena;
    struct request_row *rows;
    size_t count;
    enum err err;
    struct error error;
};

static inline void asked_main(struct task *t, void *argument)
{
    struct asked *a = argument;
    a->err = store_requests(t, a->store, &a->query, &a->arena, &a->rows, &a->count, &a->error);
}

static inline struct asked ask(struct store *s, struct request_query query)
{
    struct asked a = {.store = s, .query = query};
    run_task(asked_main, &a);
    return a;
}

static inline void asked_free(struct asked *a)
{
    arena_free(&a->arena);
}

#endif
