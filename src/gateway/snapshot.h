/*
 * A snapshot: one configuration with the services that belong to it, immutable, shared by all workers. Built
 * by the control thread; each worker holds one (worker.c) and every exchange uses the one it began with.
 */
#ifndef HESTIA_GATEWAY_SNAPSHOT_H
#define HESTIA_GATEWAY_SNAPSHOT_H

#include "http/peers.h"
#include "service/service.h"
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
    struct tls_context *tls; /* of the listeners; NULL = plain */
    struct server_settings settings;
    struct peer_limits peer_limits;
};

/* Control thread, after services_apply. NULL with the reason (TLS files, memory). Takes its own reference to
 * config. */
struct snapshot *snapshot_new(struct config *config, struct services *services, struct providers *providers,
                              struct error *error);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);
bool snapshot_trusts(const struct snapshot *s, const struct address *peer);
bool snapshot_needs_key(const struct snapshot *s); /* some key is configured */

#endif
