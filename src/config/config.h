/*
 * The configuration as the rest of the program sees it: one immutable snapshot, reference-counted, built from
 * YAML files and the environment by config_load(), then shared by all threads. Every struct here is described
 * by a field table in config/schema_*.c (name, type, default, range, reload class, secret, doc sentence);
 * nothing else knows the keys.
 */
#ifndef HESTIA_CONFIG_CONFIG_H
#define HESTIA_CONFIG_CONFIG_H

#include "base/arena.h"
#include "base/log.h"
#include "base/map.h"
#include "http/url.h"

struct strs { /* a list of strings */
    struct str *items;
    size_t count;
};

struct env_pair {
    struct str name, value;
};

struct limits_config {
    uint64_t target, field, head, fields; /* bytes, bytes, bytes, count */
    uint64_t body, llm_body;              /* bytes; 0 = no limit */
    uint64_t connections;                 /* client connections, all workers together */
    uint64_t keepalive_requests;          /* requests on one connection */
    uint64_t connection_age_ms;           /* 0 = any age; so are the next, by client address */
    uint64_t connections_per_ip, connection_rate_per_ip, connection_burst_per_ip;
    uint64_t errors_per_minute_per_ip, auth_failures_per_minute_per_ip;
};

struct timeouts_config { /* milliseconds */
    uint64_t head, keepalive, stream_idle;
    uint64_t body_min_rate; /* bytes per second, after 10 s of grace; 0 = off */
};

struct server_config {
    struct strs listen; /* "127.0.0.1:8080", "[::1]:80", "unix:/path" */
    uint64_t workers;   /* 0 = one per core */
    struct {
        struct str cert, key; /* PEM files, absolute; both empty = plain HTTP */
    } tls;
    struct strs trusted_proxies; /* addresses or CIDR */
    struct str default_service;  /* id or empty */
    struct str user;             /* to become after the listeners are open; empty = stay */
    bool abort_on_half_close;
    uint64_t drain_ms;
    struct limits_config limits;
    struct timeouts_config timeouts;
};

struct api_key {
    struct str name; /* for logs: "auth.api_keys[0]" when none is given */
    uint8_t sha256[32];
};

struct auth_config {
    struct api_key *api_keys, *admin_keys;
    size_t api_key_count, admin_key_count;
    bool allow_open, public_metrics;
    struct str anonymous; /* strategy id */
};

enum orchestrator_kind {
    ORCHESTRATOR_NONE,
    ORCHESTRATOR_PROCESS,
    /* Accepted, not built yet: a start answers 501. */
    ORCHESTRATOR_DOCKER,
    ORCHESTRATOR_KUBERNETES,
    ORCHESTRATOR_SYSTEMD,
    ORCHESTRATOR_SEMAPHORE,
    ORCHESTRATOR_WAKE_ON_LAN,
};

enum { INSTANCES_MAX = 256 };

struct instance_config {
    struct str url_text;
    struct url url;
    uint64_t weight; /* >= 1 */
    struct str region;
};

struct wake_ignore {
    struct strs paths;       /* globs on the path under the service: "/health", "/metrics*" */
    struct strs methods;     /* "HEAD", "OPTIONS" */
    struct strs user_agents; /* case-insensitive substrings */
};

struct tls_options {
    struct str ca; /* PEM file, absolute; empty = the system's */
    bool insecure_skip_verify;
    bool allow_unclean_close; /* an answer that ends with the connection is whole without TLS's good-bye */
};

struct service_config {
    struct str id;
    bool disabled;           /* an unset variable without default, or no URL, command or instances */
    struct str disabled_why; /* the sentence for logs and 503 */
    enum orchestrator_kind orchestrator;

    struct str base_url_text; /* may contain ${PORT}: then `base_url` is empty until a start has a port */
    struct url base_url;
    struct str health_url_text;
    struct url health_url;
    struct str fallback_url_text;
    struct url fallback_url; /* host.n == 0: none */
    struct instance_config *instances;
    size_t instance_count;

    /* process */
    struct strs command; /* argv, ${PORT} not replaced yet; with `shell` one string for /bin/sh -c */
    bool shell;
    struct env_pair *env; /* ${PORT} not replaced yet */
    size_t env_count;
    struct strs env_inherit;
    struct str workdir; /* absolute */
    bool uses_port;     /* ${PORT} occurs in command, env, base_url or health_url */

    uint64_t retry_count; /* total attempts, at least 1 */
    uint64_t retry_delay_ms;
    uint64_t warmup_ms;
    uint64_t idle_timeout_ms; /* 0 = never */
    uint64_t queue_size;
    uint64_t request_timeout_ms; /* longest wait in the queue */
    uint64_t start_timeout_ms;
    uint64_t stop_timeout_ms;
    uint64_t first_byte_timeout_ms;
    uint64_t max_concurrent; /* 0 = no limit */
    struct strs hosts;       /* lower case, without port */
    bool waiting_page;
    struct wake_ignore wake_ignore;
    struct tls_options tls;

    struct str strategy; /* loads before the feature exists */
    bool semaphore_enabled;
    struct str semaphore_machine_id;

    /* Canonical texts of all keys that need a restart of the service, and of all keys: equal texts, equal
     * config. */
    struct str restart_fingerprint, full_fingerprint;
};

struct monitoring_config {
    enum log_level log_level;
    bool log_level_set;
    bool track_latency, track_errors;
};

/* ---- the pool of providers -------------------------------------------------------------------------------
 */

enum { PROVIDERS_MAX = 256 };

enum provider_type { PROVIDER_OPENAI, PROVIDER_AZURE };

enum stream_usage { STREAM_USAGE_NEVER, STREAM_USAGE_AUTO };

struct provider_config {
    struct str name;         /* unique, never empty */
    bool disabled;           /* no URL, no key, an unset variable */
    struct str disabled_why; /* "it has no api_key" */
    enum provider_type type; /* where none is given, azure when the host ends in .openai.azure.com */
    struct str base_url_text;
    struct url base_url;        /* both empty when it stands on a service */
    struct str service;         /* id of a service that exists, or empty */
    struct str api_key;         /* secret; may be empty on a service */
    struct str api_version;     /* of azure; never empty, needs no escaping in a URL */
    struct strs models;         /* what it serves; empty = asked from it */
    struct env_pair *model_map; /* requested model -> its name there; exact */
    size_t model_map_count;
    struct env_pair *headers; /* added to its requests, fit for a head as they are; values are secret */
    size_t header_count;
    uint64_t weight; /* >= 1 */
    bool fallback_only;
    uint64_t max_concurrent;        /* 0 = no limit */
    enum stream_usage stream_usage; /* auto: add stream_options.include_usage where the client did not ask */
    struct tls_options tls;
    /* Of its name and of what decides where its requests go and as whom, secrets hashed: equal texts, the
     * same provider, its state survives a reload. Models, weight, limits and the like may differ. */
    struct str fingerprint;
};

enum routing_strategy {
    ROUTING_ROUND_ROBIN,
    ROUTING_WEIGHTED,
    ROUTING_FAILOVER,
    ROUTING_LEAST_BUSY,
    ROUTING_LATENCY
};

struct routing_config {
    enum routing_strategy strategy;
    struct {
        bool enabled;
        uint64_t interval_ms, timeout_ms;
        struct str path; /* below the provider's base URL, fit for a request line: "/models" */
    } health_check;
    struct {
        uint64_t failures, window_ms, open_ms;
    } circuit_breaker;
};

struct llm_timeouts_config { /* milliseconds */
    uint64_t request, connect, first_byte, stream_idle;
};

struct llm_queue_config {
    uint64_t max_concurrent; /* of the whole pool */
    uint64_t timeout_ms, slot_wait_ms, keepalive_ms /* 0 = never */;
};

/* ---- the books: strategies, clients, prices, storage -----------------------------------------------------
 */

struct model_name { /* one provider's model, both parts as written; compared without regard to ASCII case */
    struct str provider, model;
};
struct model_names {
    struct model_name *items;
    size_t count;
};

enum limit_kind { LIMIT_REQUESTS, LIMIT_INPUT_TOKENS, LIMIT_OUTPUT_TOKENS, LIMIT_TOTAL_TOKENS, LIMIT_COST };
enum { LIMIT_KINDS = 5 };
enum limit_window { WINDOW_MINUTE, WINDOW_HOUR, WINDOW_DAY };

struct rate_limit_config {
    enum limit_kind kind;
    enum limit_window window;
    int64_t value; /* requests, tokens, or pico-dollars; >= 1 */
    bool enabled;
};

/* A named recipe (LocalRouter's model; the keys of LlamaFarm are only checked so far). */
struct strategy_config {
    struct str id;     /* unique; the name where none was given */
    struct str name;   /* for people, never empty */
    struct str parent; /* id of the client that owns it; empty = shared */
    struct {
        bool selected_all; /* also when allowed_models is not given; then the lists are not looked at */
        struct strs providers;
        struct model_names models;
    } allowed;
    bool has_auto; /* auto_config was given */
    struct {
        bool enabled;
        struct str model_name; /* after "localrouter/"; "auto" */
        struct model_names prioritized, available;
    } auto_config;
    struct rate_limit_config *limits;
    size_t limit_count;
    bool fallback_on_other;
};

struct client_config {
    struct str id, name; /* id: unique; the name where none was given, and the other way round */
    bool enabled;
    struct str strategy_id;            /* "default" where none was given */
    struct api_key *keys;              /* sha256 of the whole key */
    size_t key_count;                  /* 0: a client without a key (yet) */
    struct strs allowed_llm_providers; /* empty = all */
};

struct price_config {           /* pico-dollars per token; -1 = as the catalog says */
    struct str provider, model; /* provider empty: any */
    int64_t input, output, cached_input, reasoning;
};

struct pricing_config {
    struct price_config *overrides;
    size_t override_count;
    struct str import; /* a file in the format of LiteLLM's model_prices_and_context_window.json; absolute */
};

struct storage_config {
    struct str path;        /* absolute; empty = the default place, see store.h */
    bool reject_on_failure; /* accounts cannot be written: LLM requests get 503 */
    uint64_t request_days;  /* how long the list of requests is kept */
};

struct config {
    struct arena arena;
    _Atomic int references;
    struct server_config server;
    struct auth_config auth;
    struct service_config *services; /* in file order, then those made by the environment */
    size_t service_count;
    struct map services_by_id;   /* id -> struct service_config * */
    struct map services_by_host; /* lower-case host -> struct service_config * */
    struct monitoring_config monitoring;
    struct provider_config *providers; /* in file order */
    size_t provider_count;
    struct routing_config routing;
    struct llm_timeouts_config timeouts;
    struct llm_queue_config queue;
    struct strategy_config *strategies; /* in file order */
    size_t strategy_count;
    struct client_config *clients;
    size_t client_count;
    struct pricing_config pricing;
    struct storage_config storage;
    struct strs files;               /* absolute paths that were read, for the file watch */
    struct str folder;               /* of the first file: relative paths start here */
    bool has_clients, has_providers; /* present in the files */
    /* Canonical text of what only a restart of the process applies (listen, workers, …): a reload that
     * changes it says so. */
    struct str process_fingerprint;
};

struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/* A strategy or a client from the JSON of the management API or of the store, by the same tables as YAML but
   without ${VAR}. Everything in the arena. ERR_BAD_REQUEST with a sentence that names the field (error->param
   too, in the arena), ERR_NOMEM. */
enum err config_read_strategy(struct arena *arena, struct str json, struct strategy_config *strategy,
                              struct error *error) MUST_CHECK;
enum err config_read_client(struct arena *arena, struct str json, struct client_config *client,
                            struct error *error) MUST_CHECK;

/* Whether only this machine can reach a listener: loopback, localhost, a Unix socket. */
bool config_listen_is_local(struct str address);

/* ---- loading ------------------------------------------------------------------------------------------- */

enum severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTICE /* accepted, not active yet */ };

struct finding {
    enum severity severity;
    struct str where;   /* "hestia_config.yml:12:5", or "environment" */
    struct str key;     /* "services.ollama.base_url" */
    struct str message; /* one sentence, with a suggestion where there is one */
};

struct findings {
    struct arena arena;
    struct finding *list;
    size_t count, capacity;
    size_t errors, warnings;
};
void findings_free(struct findings *f);

struct config_sources {
    const char *const *files; /* from -c; count 0 = HESTIA_CONFIG_PATH, else the search order of design.md */
    size_t file_count;
    const char *const *environment; /* "NAME=value", NULL-terminated; usually environ */
    const char *executable;         /* for ${HESTIA} */
    const char *const *listen;      /* from --listen, --host, --port: in place of server.listen */
    size_t listen_count;            /* 0 = none */
};

/* Reads, merges, interpolates and checks everything and collects every finding (findings must be zeroed).
   Returns a snapshot with one reference, or NULL when there was an error. Blocking file I/O: start-up, or the
   control thread. */
struct config *config_load(const struct config_sources *sources, struct findings *findings);

#endif
