/* The JSON form of a service's status. Pure. */
#include "admin/status.h"

static const char *state_name(enum service_state state)
{
    static const char *const names[] = {
        [SERVICE_COLD] = "cold",
        [SERVICE_STARTING] = "starting",
        [SERVICE_HOT] = "hot",
        [SERVICE_STOPPING] = "stopping",
    };
    return names[state];
}

static void retry_at_write(struct json *j, int64_t wall_us)
{
    struct buf text = BUF(64);
    if (wall_us) {
        clock_format(&text, wall_us);
        json_key_str(j, "retryAt", buf_str(&text));
    } else {
        json_key_null(j, "retryAt");
    }
    buf_free(&text);
}

void status_write(struct json *j, const struct service_status *status)
{
    json_put_object(j);
    json_key_str(j, "serviceId", status->id);
    json_key_c(j, "state", state_name(status->state));
    json_key_str(j, "machineId", status->machine_id.n ? status->machine_id : STR("local"));
    json_key_c(j, "readiness", status->ready ? "ready" : "not_ready");
    json_key_u64(j, "queuePending", status->queue_pending);
    json_key_object(j, "automation");
    json_key_bool(j, "enabled", false);
    json_end(j);
    json_key_u64(j, "idleMs", status->idle_ms);
    json_key_u64(j, "inFlight", status->in_flight);
    json_key_u64(j, "stateAgeMs", status->state_age_ms);
    if (status->has_last_error)
        json_key_str(j, "lastError", status->last_error);
    else
        json_key_null(j, "lastError");
    retry_at_write(j, status->retry_at_us);
    json_end(j);
}
