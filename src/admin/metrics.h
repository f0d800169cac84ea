/* The two expositions of the metric cells. Pure: they write what they are given. */
#ifndef HESTIA_ADMIN_METRICS_H
#define HESTIA_ADMIN_METRICS_H

#include "admin/process.h"
#include "base/metric.h"

/* What metric_read_all gave, and what the system says; `usage` may be NULL. */
struct metrics_reading {
    const struct metric_value *values; /* sorted by metric and labels */
    size_t count;
    const struct process_usage *usage;
    int64_t now_us; /* wall clock */
};

/* GET /v1/metrics: counters, gauges, timers, histograms, services. */
void metrics_write_json(struct buf *out, const struct metrics_reading *reading);
/* GET /v1/services/{id}/metrics: counters, timers, gauges of one service. */
void metrics_write_json_service(struct buf *out, const struct metrics_reading *reading, label service);
/* GET /metrics: Prometheus text 0.0.4, or OpenMetrics 1.0. */
void metrics_write_text(struct buf *out, const struct metrics_reading *reading, bool openmetrics);
/* Whether this Accept field asks for OpenMetrics rather than text. */
bool metrics_accept_openmetrics(struct str accept);

#endif
