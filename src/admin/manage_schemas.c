/* The component schemas of the management API in /openapi.json, written by hand as JSON. */
#include "admin/openapi.h"

#define JSON_TEXT(...) #__VA_ARGS__
#define LIST_OF(schema)                                                                                      \
    "{\"type\":\"object\",\"required\":[\"data\",\"next\"],\"properties\":{\"data\":{\"type\":\"array\","    \
    "\"items\":{\"$ref\":\"#/components/schemas/" schema "\"}},\"next\":{\"type\":[\"string\",\"null\"],"    \
    "\"description\":\"Where the next page begins\"}}}"

/* clang-format off */
static const struct openapi_schema schemas[] = {
    {"Client", JSON_TEXT({
        "type": "object",
        "required": ["id", "name", "enabled", "strategy_id", "allowed_llm_providers", "key_hint", "created_at",
                     "updated_at", "last_used", "managed_by_config", "revision", "warnings"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "enabled": {"type": "boolean"},
            "strategy_id": {"type": "string"},
            "allowed_llm_providers": {"type": "array", "items": {"type": "string"},
                                      "description": "Only these; none listed: all"},
            "key_hint": {"type": ["string", "null"], "description": "The public part of its key"},
            "created_at": {"type": ["string", "null"], "format": "date-time"},
            "updated_at": {"type": ["string", "null"], "format": "date-time"},
            "last_used": {"type": ["string", "null"], "format": "date-time"},
            "managed_by_config": {"type": "boolean", "description": "Read-only here: the configuration defines it"},
            "revision": {"type": "integer", "description": "The ETag; 0 of what the configuration defines"},
            "warnings": {"type": "array", "items": {"type": "string"}},
            "released_strategies": {"type": "array", "items": {"type": "string"},
                                    "description": "Strategies that this change made shared; absent without any"}
        }
    })},
    {"ClientWithKey", JSON_TEXT({
        "allOf": [
            {"$ref": "#/components/schemas/Client"},
            {"type": "object", "required": ["key"],
             "properties": {"key": {"type": "string", "description": "Shown this once"}}}
        ]
    })},
    {"ClientList", LIST_OF("Client")},
    {"ClientCreate", JSON_TEXT({
        "type": "object",
        "required": ["name"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "enabled": {"type": "boolean"},
            "strategy_id": {"type": "string", "description": "Without it a strategy of its own is made"},
            "allowed_llm_providers": {"type": "array", "items": {"type": "string"}}
        }
    })},
    {"ClientPatch", JSON_TEXT({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "enabled": {"type": "boolean"},
            "strategy_id": {"type": "string"},
            "allowed_llm_providers": {"type": ["array", "null"], "items": {"type": "string"}}
        }
    })},
    {"ModelPair", JSON_TEXT({
        "type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2,
        "description": "Provider and model"
    })},
    {"AllowedModels", JSON_TEXT({
        "type": "object",
        "properties": {
            "selected_all": {"type": "boolean"},
            "selected_providers": {"type": "array", "items": {"type": "string"}},
            "selected_models": {"type": "array", "items": {"$ref": "#/components/schemas/ModelPair"}}
        }
    })},
    {"AutoConfig", JSON_TEXT({
        "type": ["object", "null"],
        "properties": {
            "enabled": {"type": "boolean"},
            "model_name": {"type": "string"},
            "prioritized_models": {"type": "array", "items": {"$ref": "#/components/schemas/ModelPair"}},
            "available_models": {"type": "array", "items": {"$ref": "#/components/schemas/ModelPair"}}
        }
    })},
    {"RateLimit", JSON_TEXT({
        "type": "object",
        "required": ["limit_type", "value", "time_window"],
        "properties": {
            "limit_type": {"type": "string",
                           "enum": ["requests", "input_tokens", "output_tokens", "total_tokens", "cost"]},
            "value": {"type": "number", "description": "Requests, tokens or US dollars"},
            "time_window": {"type": "string", "enum": ["minute", "hour", "day"]},
            "enabled": {"type": "boolean"}
        }
    })},
    {"Strategy", JSON_TEXT({
        "type": "object",
        "required": ["id", "name", "parent", "allowed_models", "auto_config", "rate_limits", "fallback_on_other",
                     "client_count", "managed_by_config", "revision", "created_at", "updated_at", "warnings"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "parent": {"type": ["string", "null"], "description": "The client that owns it"},
            "allowed_models": {"$ref": "#/components/schemas/AllowedModels"},
            "auto_config": {"$ref": "#/components/schemas/AutoConfig"},
            "rate_limits": {"type": "array", "items": {"$ref": "#/components/schemas/RateLimit"}},
            "fallback_on_other": {"type": "boolean"},
            "client_count": {"type": "integer"},
            "managed_by_config": {"type": "boolean"},
            "revision": {"type": "integer"},
            "created_at": {"type": ["string", "null"], "format": "date-time"},
            "updated_at": {"type": ["string", "null"], "format": "date-time"},
            "warnings": {"type": "array", "items": {"type": "string"}}
        }
    })},
    {"StrategyList", LIST_OF("Strategy")},
    {"StrategyPatch", JSON_TEXT({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "parent": {"type": ["string", "null"]},
            "allowed_models": {"$ref": "#/components/schemas/AllowedModels"},
            "auto_config": {"$ref": "#/components/schemas/AutoConfig"},
            "rate_limits": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/RateLimit"}},
            "fallback_on_other": {"type": "boolean"}
        }
    })},
    {"StrategyCreate", JSON_TEXT({
        "allOf": [
            {"$ref": "#/components/schemas/StrategyPatch"},
            {"type": "object", "properties": {"id": {"type": "string"}}}
        ],
        "anyOf": [{"required": ["name"]}, {"required": ["parent"]}]
    })},
    {"Deleted", JSON_TEXT({
        "type": "object",
        "required": ["id", "deleted"],
        "properties": {
            "id": {"type": "string"},
            "deleted": {"type": "boolean", "const": true},
            "released_strategies": {"type": "array", "items": {"type": "string"}}
        }
    })},
    {"Limit", JSON_TEXT({
        "type": "object",
        "required": ["strategy_id", "strategy_name", "limit_type", "value", "time_window", "enabled", "used",
                     "reserved", "remaining", "reset_seconds"],
        "properties": {
            "strategy_id": {"type": "string"},
            "strategy_name": {"type": "string"},
            "limit_type": {"type": "string"},
            "value": {"type": "number"},
            "time_window": {"type": "string"},
            "enabled": {"type": "boolean"},
            "used": {"type": "number"},
            "reserved": {"type": "number", "description": "By requests under way"},
            "remaining": {"type": "number"},
            "reset_seconds": {"type": "integer", "description": "Until the oldest use leaves the window"}
        }
    })},
    {"LimitList", LIST_OF("Limit")},
    {"Provider", JSON_TEXT({
        "type": "object",
        "required": ["name", "type", "service", "healthy", "disabled", "auth_failed", "fallback_only", "weight",
                     "max_concurrent", "breaker", "cooldown_ms", "in_flight", "waiting", "requests", "failures",
                     "avg_latency_ms", "avg_first_byte_ms", "models", "last_check", "last_error"],
        "properties": {
            "name": {"type": "string"},
            "type": {"type": "string", "enum": ["openai", "azure"]},
            "service": {"type": ["string", "null"]},
            "healthy": {"type": "boolean"},
            "disabled": {"type": "boolean"},
            "auth_failed": {"type": "boolean"},
            "fallback_only": {"type": "boolean"},
            "weight": {"type": "integer"},
            "max_concurrent": {"type": "integer", "description": "0: no limit"},
            "breaker": {"type": "string", "enum": ["closed", "half_open", "open"]},
            "cooldown_ms": {"type": "integer"},
            "in_flight": {"type": "integer"},
            "waiting": {"type": "integer"},
            "requests": {"type": "integer"},
            "failures": {"type": "integer"},
            "avg_latency_ms": {"type": "number"},
            "avg_first_byte_ms": {"type": "number"},
            "models": {"type": "integer"},
            "last_check": {"type": ["string", "null"], "format": "date-time"},
            "last_error": {"type": ["string", "null"]}
        }
    })},
    {"ProviderList", LIST_OF("Provider")},
    {"ManagedModel", JSON_TEXT({
        "type": "object",
        "required": ["id", "provider", "input_per_million", "output_per_million", "context_window"],
        "properties": {
            "id": {"type": "string"},
            "provider": {"type": "string"},
            "input_per_million": {"type": ["number", "null"], "description": "US dollars; null: unknown"},
            "output_per_million": {"type": ["number", "null"]},
            "context_window": {"type": ["integer", "null"]}
        }
    })},
    {"ManagedModelList", LIST_OF("ManagedModel")},
    {"UsagePoint", JSON_TEXT({
        "type": "object",
        "required": ["requests", "ok", "failed", "cancelled", "aborted", "input_tokens", "output_tokens",
                     "cached_tokens", "reasoning_tokens", "cost", "latency_ms", "first_byte_ms"],
        "properties": {
            "at": {"type": "string", "format": "date-time", "description": "Beginning; a total has none"},
            "requests": {"type": "integer"},
            "ok": {"type": "integer"},
            "failed": {"type": "integer"},
            "cancelled": {"type": "integer", "description": "The client left"},
            "aborted": {"type": "integer", "description": "The gateway died meanwhile"},
            "input_tokens": {"type": "integer"},
            "output_tokens": {"type": "integer"},
            "cached_tokens": {"type": "integer"},
            "reasoning_tokens": {"type": "integer"},
            "cost": {"type": "number", "description": "US dollars"},
            "latency_ms": {
                "type": "object",
                "required": ["avg", "p50", "p95", "p99"],
                "properties": {
                    "avg": {"type": ["number", "null"]},
                    "p50": {"type": ["number", "null"]},
                    "p95": {"type": ["number", "null"]},
                    "p99": {"type": ["number", "null"]}
                }
            },
            "first_byte_ms": {"type": ["number", "null"], "description": "Average"}
        }
    })},
    {"Usage", JSON_TEXT({
        "type": "object",
        "required": ["scope", "id", "grain", "from", "to", "data", "total"],
        "properties": {
            "scope": {"type": "string"},
            "id": {"type": ["string", "null"]},
            "grain": {"type": "string", "enum": ["minute", "hour", "day"]},
            "from": {"type": "string", "format": "date-time"},
            "to": {"type": "string", "format": "date-time"},
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/UsagePoint"}},
            "total": {"$ref": "#/components/schemas/UsagePoint"}
        }
    })},
    {"IdList", JSON_TEXT({
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": {"type": "string"}},
            "next": {"type": ["string", "null"]}
        }
    })},
    {"Request", JSON_TEXT({
        "type": "object",
        "required": ["request_id", "at", "ended_at", "client", "strategy", "endpoint", "stream", "model", "provider",
                     "provider_model", "outcome", "status", "input_tokens", "output_tokens", "cached_tokens",
                     "reasoning_tokens", "estimated", "cost", "duration_ms", "first_byte_ms", "attempt_count",
                     "attempts"],
        "properties": {
            "request_id": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "ended_at": {"type": ["string", "null"], "format": "date-time"},
            "client": {"type": ["string", "null"]},
            "strategy": {"type": ["string", "null"]},
            "endpoint": {"type": "string"},
            "stream": {"type": "boolean"},
            "model": {"type": "string", "description": "As asked for"},
            "provider": {"type": ["string", "null"], "description": "Who answered"},
            "provider_model": {"type": ["string", "null"], "description": "As sent"},
            "outcome": {"type": "string", "enum": ["ok", "failed", "cancelled", "aborted"]},
            "status": {"type": ["integer", "null"]},
            "input_tokens": {"type": "integer"},
            "output_tokens": {"type": "integer"},
            "cached_tokens": {"type": "integer"},
            "reasoning_tokens": {"type": "integer"},
            "estimated": {"type": "boolean", "description": "The provider gave no token counts"},
            "cost": {"type": "number", "description": "US dollars"},
            "duration_ms": {"type": "number"},
            "first_byte_ms": {"type": ["number", "null"]},
            "attempt_count": {"type": "integer", "description": "Of more than 8 only this number is kept"},
            "attempts": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["provider", "model", "outcome", "status"],
                    "properties": {
                        "provider": {"type": "string"},
                        "model": {"type": "string"},
                        "outcome": {"type": "string"},
                        "status": {"type": ["integer", "null"]}
                    }
                }
            }
        }
    })},
    {"RequestList", LIST_OF("Request")},
    {"Audit", JSON_TEXT({
        "type": "object",
        "required": ["at", "actor", "action", "target", "detail"],
        "properties": {
            "at": {"type": "string", "format": "date-time"},
            "actor": {"type": "string", "description": "The name of the key"},
            "action": {"type": "string"},
            "target": {"type": "string"},
            "detail": {"description": "What it is since"}
        }
    })},
    {"AuditList", LIST_OF("Audit")},
};
/* clang-format on */

const struct openapi_schema *manage_schemas(size_t *count)
{
    *count = COUNT_OF(schemas);
    return schemas;
}
