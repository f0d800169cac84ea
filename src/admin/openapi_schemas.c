/* The component schemas of /openapi.json, written by hand as JSON. */
#include "admin/openapi.h"

/* JSON's tokens are C's tokens: the preprocessor makes the string. */
#define JSON_TEXT(...) #__VA_ARGS__

/* clang-format off */
static const struct openapi_schema schemas[] = {
    {"Error", JSON_TEXT({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]}
                }
            },
            "message": {"type": "string", "description": "The same sentence; answers to start and stop only"}
        }
    })},
    {"Message", JSON_TEXT({
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}}
    })},
    {"Health", JSON_TEXT({
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"type": "string", "const": "ok"}}
    })},
    {"ServiceStatus", JSON_TEXT({
        "type": "object",
        "required": ["serviceId", "state", "machineId", "readiness", "queuePending", "automation", "idleMs",
                     "inFlight", "stateAgeMs", "lastError", "retryAt"],
        "properties": {
            "serviceId": {"type": "string"},
            "state": {"type": "string", "enum": ["cold", "starting", "hot", "stopping"]},
            "machineId": {"type": "string"},
            "readiness": {"type": "string", "enum": ["ready", "not_ready"]},
            "queuePending": {"type": "integer", "description": "Requests held until the service is ready"},
            "automation": {
                "type": "object",
                "required": ["enabled"],
                "properties": {"enabled": {"type": "boolean"}}
            },
            "idleMs": {"type": "integer", "description": "Since the end of the last activity"},
            "inFlight": {"type": "integer"},
            "stateAgeMs": {"type": "integer"},
            "lastError": {"type": ["string", "null"]},
            "retryAt": {"type": ["string", "null"], "format": "date-time",
                        "description": "When the next start is tried after failures"}
        }
    })},
    {"ServiceList", JSON_TEXT({
        "type": "object",
        "required": ["services"],
        "properties": {
            "services": {"type": "array", "items": {"$ref": "#/components/schemas/ServiceStatus"}}
        }
    })},
    {"ServiceStrategies", JSON_TEXT({
        "type": "object",
        "required": ["loaded_strategies", "service_configurations"],
        "properties": {
            "loaded_strategies": {"type": "object"},
            "service_configurations": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["strategy", "instances", "base_url"],
                    "properties": {
                        "strategy": {"type": ["string", "null"]},
                        "instances": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["url", "weight"],
                                "properties": {
                                    "url": {"type": "string"},
                                    "weight": {"type": "integer"},
                                    "region": {"type": "string"}
                                }
                            }
                        },
                        "base_url": {"type": ["string", "null"]}
                    }
                }
            }
        }
    })},
    {"Counters", JSON_TEXT({
        "type": "object",
        "description": "From name or name[label=value,…] to a count or a sum of dollars",
        "additionalProperties": {
            "type": "object",
            "required": ["count", "timestamp"],
            "properties": {"count": {"type": "number"}, "timestamp": {"type": "string", "format": "date-time"}}
        }
    })},
    {"Gauges", JSON_TEXT({
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["value", "timestamp"],
            "properties": {"value": {"type": "number"}, "timestamp": {"type": "string", "format": "date-time"}}
        }
    })},
    {"Timers", JSON_TEXT({
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["count", "total_ms", "avg_ms", "min_ms", "max_ms", "timestamp"],
            "properties": {
                "count": {"type": "integer"},
                "total_ms": {"type": "number"},
                "avg_ms": {"type": "number"},
                "min_ms": {"type": "number"},
                "max_ms": {"type": "number"},
                "timestamp": {"type": "string", "format": "date-time"}
            }
        }
    })},
    {"Histograms", JSON_TEXT({
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["count", "p50", "p95", "p99", "timestamp"],
            "properties": {
                "count": {"type": "integer"},
                "p50": {"type": "number"},
                "p95": {"type": "number"},
                "p99": {"type": "number"},
                "timestamp": {"type": "string", "format": "date-time"}
            }
        }
    })},
    {"ServiceMetrics", JSON_TEXT({
        "type": "object",
        "required": ["counters", "timers", "gauges"],
        "properties": {
            "counters": {"$ref": "#/components/schemas/Counters"},
            "timers": {"$ref": "#/components/schemas/Timers"},
            "gauges": {"$ref": "#/components/schemas/Gauges"}
        }
    })},
    {"Metrics", JSON_TEXT({
        "type": "object",
        "required": ["counters", "gauges", "timers", "histograms", "services"],
        "properties": {
            "counters": {"$ref": "#/components/schemas/Counters"},
            "gauges": {"$ref": "#/components/schemas/Gauges"},
            "timers": {"$ref": "#/components/schemas/Timers"},
            "histograms": {"$ref": "#/components/schemas/Histograms"},
            "services": {
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/ServiceMetrics"}
            }
        }
    })},
    {"DispatchRequest", JSON_TEXT({
        "type": "object",
        "required": ["serviceId", "method", "path"],
        "properties": {
            "serviceId": {"type": "string"},
            "method": {"type": "string"},
            "path": {"type": "string", "description": "At the service; may hold a query"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"description": "Any JSON; a string is sent as it is"}
        }
    })},
    {"DispatchResponse", JSON_TEXT({
        "type": "object",
        "required": ["status", "headers", "body"],
        "properties": {
            "status": {"type": "integer"},
            "headers": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
            "body": {"description": "Parsed where the service answered with JSON, else its text"}
        }
    })},
    {"Document", JSON_TEXT({"type": "object"})},
};
/* clang-format on */

const struct openapi_schema *openapi_schemas(size_t *count)
{
    *count = COUNT_OF(schemas);
    return schemas;
}
