/*
 * What the life of services leaves in the log and in the metrics (contract of section 6.3, details.md
 * section 6). One function per event; control thread, but for the gauge of requests in flight.
 */
#ifndef HESTIA_SERVICE_EVENTS_H
#define HESTIA_SERVICE_EVENTS_H

#include "service/inside.h"

const char *service_state_name(enum service_state state);

void event_start(struct service *s, const char *method);
void event_start_ended(struct service *s, const char *result); /* "ok", "failed", "timeout", "cancelled" */
void event_ready(struct service *s, uint64_t duration_ns);
void event_stop(struct service *s, const char *reason);
void event_error(struct service *s, const char *what);
void event_state_change(struct service *s, enum service_state from, enum service_state to, const char *reason,
                        uint64_t idle_ms);
/* It is in the configuration no more: its gauges go to nothing. */
void event_removed(struct service *s);

void event_queued(struct service *s, const char *request_id);
void event_dequeued(struct service *s, const char *request_id, uint64_t waited_ns);
void event_queue_timeout(struct service *s, const char *request_id, uint64_t waited_ns);
void event_queue_size(struct service *s);

void event_health_check(struct service *s, bool ok, bool is_news, uint64_t duration_ns, const char *why);
/* A line that the service printed; rate-bounded by the caller. */
void event_output(struct service *s, struct str line);
void event_output_dropped(struct service *s, unsigned lines);

#endif
