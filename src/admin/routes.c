/* The table of management routes. */
#include "admin/admin.h"
#include "admin/answer.h"
#include "admin/manage.h"

enum {
    GET = 1u << METHOD_GET | 1u << METHOD_HEAD,
    POST = 1u << METHOD_POST,
    PATCH = 1u << METHOD_PATCH,
    DELETE = 1u << METHOD_DELETE,
};

#define MANAGE(methods, path, inner_handler, operation, summary, status, ...)                                \
    {                                                                                                        \
        methods, "/admin/v1" path, ACCESS_ADMIN, manage_answer, operation, summary, status,                  \
            .inner = inner_handler, __VA_ARGS__                                                              \
    }
#define PAGED                                                                                                \
    {"after", "string", "`next` of the page before"},                                                        \
    {                                                                                                        \
        "limit", "integer", "Entries of a page: 1 to 1000"                                                   \
    }
#define PAGED_BY_TIME                                                                                        \
    {"before", "integer", "`next` of the page before"},                                                      \
    {                                                                                                        \
        "limit", "integer", "Entries of a page: 1 to 1000, else 100"                                         \
    }
#define SCOPE                                                                                                \
    {                                                                                                        \
        "scope", "string", "global, client, provider, model or strategy"                                     \
    }

const struct api_route admin_routes[] = {
    {GET, "/v1/services", ACCESS_KEY, services_answer, "listServices", "All services with their state", 200,
     .schema = "ServiceList"},
    {GET, "/v1/services/{serviceId}/status", ACCESS_KEY, status_answer, "getServiceStatus",
     "The state of a service", 200, .schema = "ServiceStatus"},
    {POST, "/v1/services/{serviceId}/start", ACCESS_KEY, start_answer, "startService",
     "Starts a service before it is needed", 202, .schema = "Message"},
    {POST, "/v1/services/{serviceId}/stop", ACCESS_KEY, stop_answer, "stopService",
     "Stops a service when its requests have ended", 202, .schema = "Message",
     .query = {{"force", "boolean", "Do not wait for requests in flight"}}},
    {GET, "/v1/services/{serviceId}/logs", ACCESS_KEY, logs_answer, "getServiceLogs",
     "What the service's processes have printed; with follow, one event per line as it comes", 200,
     .media_type = "text/plain",
     .query = {{"tail", "integer", "Only the last lines, this many"},
               {"follow", "boolean", "Stay, as text/event-stream"}}},
    {GET, "/v1/services/{serviceId}/metrics", ACCESS_KEY, service_metrics_answer, "getServiceMetrics",
     "The metrics of a service", 200, .schema = "ServiceMetrics"},
    {GET, "/v1/strategies", ACCESS_KEY, service_strategies_answer, "getServiceStrategies",
     "How services choose among their instances; what clients have is at /admin/v1/strategies", 200,
     .schema = "ServiceStrategies"},
    {GET, "/v1/metrics", ACCESS_KEY, metrics_answer, "getMetrics", "All metrics", 200, .schema = "Metrics"},
    {GET, "/metrics", ACCESS_METRICS, metrics_text_answer, "getPrometheusMetrics",
     "All metrics in Prometheus text format, or OpenMetrics by Accept", 200, .media_type = "text/plain"},
    {GET, "/health", ACCESS_OPEN, health_answer, "getHealth", "Whether the gateway runs", 200,
     .schema = "Health"},
    {GET, "/livez", ACCESS_OPEN, health_answer, "getLivez", "The same as /health", 200, .schema = "Health"},
    {GET, "/healthz", ACCESS_OPEN, health_answer, "getHealthz", "The same as /health", 200,
     .schema = "Health"},
    {GET, "/ready", ACCESS_OPEN, ready_answer, "getReady",
     "Whether the gateway takes requests: 503 while it is shutting down, or can start no service any more",
     200, .schema = "Health"},
    {GET, "/readyz", ACCESS_OPEN, ready_answer, "getReadyz", "The same as /ready", 200, .schema = "Health"},
    {GET, "/openapi.json", ACCESS_KEY, openapi_answer, "getOpenapi", "This document", 200,
     .schema = "Document"},
    MANAGE(GET, "/clients", clients_list, "listClients", "Clients, those of the configuration first", 200,
           .schema = "ClientList", .query = {{"name", "string", "Only those with exactly this name"}, PAGED}),
    MANAGE(POST, "/clients", clients_create, "createClient",
           "Makes a client; its key is in this answer and nowhere else", 201, .schema = "ClientWithKey",
           .request_schema = "ClientCreate"),
    MANAGE(GET, "/clients/{id}", client_show, "getClient", "A client", 200, .schema = "Client"),
    MANAGE(PATCH, "/clients/{id}", client_update, "updateClient", "Changes a client by a JSON merge patch",
           200, .schema = "Client", .request_schema = "ClientPatch"),
    MANAGE(DELETE, "/clients/{id}", client_delete, "deleteClient",
           "Deletes a client and the strategies it owns", 200, .schema = "Deleted"),
    MANAGE(POST, "/clients/{id}/rotate", client_rotate, "rotateClientKey",
           "Gives a client a new key; the old one is refused from then on", 200, .schema = "ClientWithKey"),
    MANAGE(GET, "/strategies", strategies_list, "listStrategies",
           "Strategies, those of the configuration first", 200, .schema = "StrategyList",
           .query = {{"name", "string", "Only those with exactly this name"}, PAGED}),
    MANAGE(POST, "/strategies", strategies_create, "createStrategy", "Makes a strategy", 201,
           .schema = "Strategy", .request_schema = "StrategyCreate"),
    MANAGE(GET, "/strategies/{id}", strategy_show, "getStrategy", "A strategy", 200, .schema = "Strategy"),
    MANAGE(PATCH, "/strategies/{id}", strategy_update, "updateStrategy",
           "Changes a strategy by a JSON merge patch", 200, .schema = "Strategy",
           .request_schema = "StrategyPatch"),
    MANAGE(DELETE, "/strategies/{id}", strategy_delete, "deleteStrategy",
           "Deletes a strategy that no client uses", 200, .schema = "Deleted"),
    MANAGE(GET, "/strategies/{id}/clients", strategy_clients, "listStrategyClients",
           "The clients that use a strategy", 200, .schema = "ClientList", .query = {PAGED}),
    MANAGE(GET, "/limits", limits_list, "listLimits", "Every limit with what is left of it", 200,
           .schema = "LimitList",
           .query = {{"strategy", "string", "Only those of the strategy with this id"},
                     {"client", "string", "Only those that bind the client with this id"}}),
    MANAGE(GET, "/providers", providers_list, "listManagedProviders", "Providers with their state", 200,
           .schema = "ProviderList"),
    MANAGE(GET, "/models", models_list, "listManagedModels", "Models with their prices", 200,
           .schema = "ManagedModelList"),
    MANAGE(GET, "/usage", usage_show, "getUsage", "What was used, by time", 200, .schema = "Usage",
           .query = {SCOPE,
                     {"id", "string", "Of the client, provider, model (provider/model) or strategy"},
                     {"from", "string", "A date (RFC 3339), or seconds since 1970"},
                     {"to", "string", "Not in any more; the present when it is absent"},
                     {"range", "string",
                      "Instead of both, the last: hour, day, week or month; day when all are absent"},
                     {"grain", "string", "auto, minute, hour or day"}}),
    MANAGE(GET, "/usage/ids", usage_ids_list, "listUsageIds", "What there is usage of", 200,
           .schema = "IdList", .query = {SCOPE}),
    MANAGE(GET, "/requests", requests_list, "listRequests",
           "Settled requests with their attempts, newest first", 200, .schema = "RequestList",
           .query = {{"client", "string", "Id of a client"},
                     {"strategy", "string", "Id of a strategy"},
                     {"provider", "string", "Name of the provider that answered"},
                     {"model", "string", "As asked for, or as sent"},
                     {"outcome", "string", "ok, failed, cancelled or aborted"},
                     {"request_id", "string", "The X-Request-ID"},
                     PAGED_BY_TIME}),
    MANAGE(GET, "/requests/{request_id}", request_show, "getRequest", "A settled request", 200,
           .schema = "Request"),
    MANAGE(GET, "/audit", audit_list, "listAudit", "Who changed what, newest first", 200,
           .schema = "AuditList", .query = {PAGED_BY_TIME}),
    MANAGE(GET, "/config", config_show, "getConfig", "The merged configuration as YAML, secrets masked", 200,
           .media_type = "text/plain"),
    MANAGE(GET, "/events", events_stream, "streamEvents", "Log lines from INFO on as they come", 200,
           .media_type = "text/event-stream",
           .query = {{"types", "string", "Only these event types: a,b"},
                     {"requests", "boolean", "request_end too"}}),
    {.path = NULL},
};
