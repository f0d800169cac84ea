/*
 * A snapshot: one configuration with the services that belong to it, immutable, shared by all workers. Built
 * by the control thread; each worker holds one (worker.c) and every exchange uses the one it began with.
 */
#ifndef HESTIA_GATEWAY_SNAPSHOT_H
#define HESTIA_GATEWAY_SNAPSHOT_H

#include "http/peers.h"
#include "llm/price.h"
#include "service/service.h"
#include "strategy/book.h"
#include "strategy/provider.h"

struct snapshot_service {
    const struct service_config *config;
    struct service *service;       /* a reference */
    const struct origin *fallback; /* NULL = none */
    uint32_t label;                /* metric label of the id */
};

struct network { /* of trusted_proxies */
    uint8_t bytes[16];
    int bits, length; /* length: 4 or 16 bytes */
};

struct snapshot {
    _Atomic int references;
    uint64_t epoch;        /* grows with each load: caches compare it */
    struct config *config; /* a reference */
    struct snapshot_service *services;
    size_t service_count;
    struct map by_id, by_host;                /* -> struct snapshot_service * */
    struct snapshot_service *default_service; /* or NULL */
    struct network *trusted;
    size_t trusted_count;
    struct provider_pool *providers;
    struct snapshot *base; /* the one that this was made from with another book: it owns all but the book */
    struct book *book;     /* clients and strategies */
    bool needs_key;        /* operators' routes want a key: one is configured, or there are clients and others
                              than this machine can reach us */
    bool llm_needs_key;    /* so do the LLM routes: there are clients, or keys */
    const struct book_strategy *operators_strategy; /* `default`: for operators' keys */
    const struct book_strategy *open_strategy; /* for those without a key: auth.anonymous, else `default` */
    struct prices *prices;                     /* of models */
    struct tls_context *tls;                   /* of the listeners; NULL = plain */
    struct server_settings settings;
    struct peer_limits peer_limits;
};

/* Control thread. In two steps, as what fails must change nothing that is in force. First all that can fail
   for a reason outside (TLS files, price lists): NULL with that reason. Takes its own reference to the
   configuration. */
struct snapshot *snapshot_new(struct config *config, struct error *error);

struct snapshot_sources {
    struct services *services;
    struct providers *providers;
    struct books *books;
};
/* Then the services, providers and clients, which are told to be as the configuration says. For want of
   memory it may fail half-way: give them the old configuration again. */
enum err snapshot_complete(struct snapshot *s, const struct snapshot_sources *from,
                           struct error *error) MUST_CHECK;
/* The same with another book (a reference is taken): cheap, and nothing of it can fail but memory. */
struct snapshot *snapshot_with_book(struct snapshot *old, struct book *book);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);
bool snapshot_trusts(const struct snapshot *s, const struct address *peer);

#endif
