/* The table of management routes. */
#include "admin/admin.h"
#include "admin/answer.h"

enum { GET = 1u << METHOD_GET | 1u << METHOD_HEAD, POST = 1u << METHOD_POST };

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
    {GET, "/v1/metrics", ACCESS_KEY, metrics_answer, "getMetrics", "All metrics", 200, .schema = "Metrics"},
    {GET, "/metrics", ACCESS_METRICS, metrics_text_answer, "getPrometheusMetrics",
     "All metrics in Prometheus text format, or OpenMetrics by Accept", 200, .media_type = "text/plain"},
    {GET, "/health", ACCESS_OPEN, health_answer, "getHealth", "Whether the gateway runs", 200,
     .schema = "Health"},
    {GET, "/livez", ACCESS_OPEN, health_answer, "getLivez", "The same as /health", 200, .schema = "Health"},
    {GET, "/healthz", ACCESS_OPEN, health_answer, "getHealthz", "The same as /health", 200,
     .schema = "Health"},
    {GET, "/ready", ACCESS_OPEN, ready_answer, "getReady",
     "Whether the gateway takes requests: 503 while it is shutting down", 200, .schema = "Health"},
    {GET, "/readyz", ACCESS_OPEN, ready_answer, "getReadyz", "The same as /ready", 200, .schema = "Health"},
    {GET, "/openapi.json", ACCESS_KEY, openapi_answer, "getOpenapi", "This document", 200,
     .schema = "Document"},
    {.path = NULL},
};
