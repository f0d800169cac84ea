/*
 * What is remembered of the addresses that clients come from: how many connections each has, how fast new
 * ones come, and who broke the rules too often. One table for all workers, in shards with a lock each that is
 * held for some instructions only. Nothing is allocated after peers_new: when a shard is full, the entry that
 * has been without a connection for longest is forgotten. An IPv6 address counts by its /64. Times are
 * monotonic nanoseconds and may be coarse. Called by the gateway when a connection comes or goes, on a syntax
 * error and on a key that was not seen on its connection before; any thread. The caller leaves out whom no
 * limit binds.
 */
#ifndef HESTIA_HTTP_PEERS_H
#define HESTIA_HTTP_PEERS_H

#include "loop/sock.h"

struct peers; /* the table */
struct peer;  /* one entry; stays where it is as long as a connection holds it */

/* 0 switches a limit off. */
struct peer_limits {
    uint64_t connections;   /* at once */
    uint64_t rate, burst;   /* new connections per second, and how many may come together */
    uint64_t errors;        /* syntax errors per minute; beyond them no connection for PEER_PENALTY_MS */
    uint64_t auth_failures; /* wrong keys per minute; beyond them no key is looked at for PEER_PENALTY_MS */
};

enum { PEER_PENALTY_MS = 60000, PEERS_SHARDS = 64, PEERS_PER_SHARD = 1024 };

enum peer_verdict {
    PEER_WELCOME,
    PEER_TOO_MANY, /* connections at once */
    PEER_TOO_FAST, /* new connections */
    PEER_BANNED,   /* for its syntax errors */
};

struct peer_admission {
    enum peer_verdict verdict;
    bool first;        /* no such refusal within the last minute: worth a line in the log */
    struct peer *peer; /* welcome: to be given back with peer_leave; NULL: not counted */
};

/* Both powers of two. NULL when memory is short. */
struct peers *peers_new(size_t shards, size_t per_shard);
void peers_free(struct peers *p);

/* A new connection. One that finds its shard full of connected peers is welcome and not counted. */
struct peer_admission peers_admit(struct peers *p, const struct address *address,
                                  const struct peer_limits *limits, uint64_t now);
/* That connection is closed. */
void peer_leave(struct peer *peer);

/* Counts a fault; true for the one that begins a penalty. */
bool peer_erred(struct peer *peer, const struct peer_limits *limits, uint64_t now);
bool peer_auth_failed(struct peer *peer, const struct peer_limits *limits, uint64_t now);
/* Nanoseconds until keys of this peer are looked at again; 0 = they are now. Takes no lock. */
uint64_t peer_auth_wait(const struct peer *peer, const struct peer_limits *limits, uint64_t now);

#endif
