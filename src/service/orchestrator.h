/*
 * What starts and stops a service, behind one small interface: docker, kubernetes, systemd, semaphore and
 * wake_on_lan become one file each. All calls run on the control thread and return at once; results come as
 * callbacks on the same loop, never from inside a call. Readiness never belongs to an orchestrator: the
 * service asks its health URL after `on_started`.
 */
#ifndef HESTIA_SERVICE_ORCHESTRATOR_H
#define HESTIA_SERVICE_ORCHESTRATOR_H

#include "config/config.h"
#include "loop/shepherd.h"

struct services;
struct orchestration; /* one running thing: from start to on_failed or on_stopped */

/* What it tells the service (service.c implements these; `owner` is what orchestrator->start was given). */
struct orchestration_events {
    /* The backend exists; ${PORT} is known (0 = the URLs are as configured). Now the service probes. */
    void (*on_started)(void *owner, uint16_t port);
    /* It could not be started; nothing is left running. The service frees it inside this call. */
    void (*on_failed)(void *owner, const struct error *error);
    /* It ended by itself (crash or exit), or after stop(); nothing is left running. `reason` is one sentence.
       The service frees it inside this call. */
    void (*on_stopped)(void *owner, struct str reason, bool by_itself);
    /* Output of the backend, any split. */
    void (*on_output)(void *owner, struct str bytes);
};

struct orchestrator {
    const char *name;    /* "process" */
    bool is_built;       /* false: a request is answered with ERR_NOT_AVAILABLE */
    bool is_local;       /* poll readiness every 20 ms at first */
    bool is_external;    /* nothing of ours runs: stopping it is only a change of state */
    bool adopts_running; /* what answers at a fixed base_url already is used, and never stopped */
    /* NULL with the reason in `error` (ERR_START_FAILED, ERR_NOMEM). `config` is valid during the call. */
    struct orchestration *(*start)(struct services *all, const struct service_config *config, void *owner,
                                   const struct orchestration_events *events, struct error *error);
    /* Ends it gracefully within grace_ms, then by force; on_stopped (or on_failed) follows in any case. 0: by
       force at once. May be called again with less grace. Not for external ones. */
    void (*stop)(struct orchestration *o, uint64_t grace_ms);
    /* Frees it: inside on_failed or on_stopped, or, for external ones, at any time. */
    void (*free)(struct orchestration *o);
};

/* Never NULL; see is_built. */
const struct orchestrator *orchestrator_find(enum orchestrator_kind kind);

/* What orchestrators may use of the registry. */
struct loop *services_loop(struct services *all);
struct shepherd *services_shepherd(struct services *all);

extern const struct orchestrator orchestrator_none, orchestrator_process;

#endif
