/*
 * Metric cells: each thread counts in its own, without locks; a reader on any thread sums them up.
 * A metric is a row of metrics.def with up to four labels; a label value is a small number interned once
 * (label_intern), or a number itself (an HTTP status). Label sets are bounded: beyond the bound values become
 * "other".
 */
#ifndef HESTIA_BASE_METRIC_H
#define HESTIA_BASE_METRIC_H

#include "base/buf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_TIMER, METRIC_HISTOGRAM };
/* Bucket bounds of timers and histograms; DOLLARS: of counters and gauges that hold pico-dollars. */
enum metric_scale { SCALE_NONE, SCALE_DOLLARS, SCALE_LATENCY, SCALE_FINE, SCALE_BYTES };
enum metric_scope { SCOPE_GLOBAL, SCOPE_SERVICE, SCOPE_SERVICE_SUM };

enum metric {
#define M(id, kind, scale, scope, json_name, prometheus_name, ...) METRIC_##id,
#include "base/metrics.def"
#undef M
    METRIC_COUNT
};

enum { METRIC_LABELS_MAX = 4, LABEL_OTHER = 1 };
typedef uint16_t label; /* 0 = this label is absent */

/* Any thread, takes a lock: at config load or when a new value is first seen, never per request. At most
   4,096 values of at most 128 bytes (longer ones are cut); LABEL_OTHER beyond, 0 for an empty value. */
label label_intern(struct str value);
struct str label_text(label l);
/* Status codes and other small numbers (0..999, else LABEL_OTHER) are labels without interning. */
label label_number(unsigned number);

/* One thread's cells, at most 16,384; beyond, labels become "other". Every call takes a NULL set and does
   nothing. */
struct metric_set;
/* Registered for reading until the process ends; NULL when memory is short. */
struct metric_set *metric_set_new(void);
/* Coarse wall time for `updated_us` from now on: the thread's loop sets it at every turn. A set that has none
   (0) asks the system at every change. */
void metric_set_clock(struct metric_set *set, int64_t wall_us);

struct metric_labels {
    label of[METRIC_LABELS_MAX]; /* in the order of the row in metrics.def */
};

/* Counters: adds n. Own thread only. */
void metric_add(struct metric_set *set, enum metric m, struct metric_labels labels, uint64_t n);
/* Timers (nanoseconds) and histograms (bytes, counts). */
void metric_observe(struct metric_set *set, enum metric m, struct metric_labels labels, uint64_t value);
/* Gauges: the last value set, or a running difference; summed over threads. */
void metric_gauge_set(struct metric_set *set, enum metric m, struct metric_labels labels, int64_t value);
void metric_gauge_add(struct metric_set *set, enum metric m, struct metric_labels labels, int64_t difference);

#define LABELS(...) ((struct metric_labels){{__VA_ARGS__}})

/* ---- reading ------------------------------------------------------------------------------------ */

enum { METRIC_BUCKETS = 16 };

struct metric_value {
    enum metric metric;
    struct metric_labels labels;
    uint64_t count, sum, min, max;
    int64_t gauge;
    uint64_t buckets[METRIC_BUCKETS]; /* not cumulative; bounds: metric_bucket_bound */
    int64_t updated_us;               /* wall clock of the last change, coarse */
};
/* All cells of all threads, summed by metric and labels, sorted by metric and then labels. mem_free the
   result. NULL when memory is short or nothing was counted yet (count 0). */
struct metric_value *metric_read_all(size_t *count);
/* Upper bound of bucket i (nanoseconds or units); the last is infinite (UINT64_MAX). */
uint64_t metric_bucket_bound(enum metric m, int bucket);

struct metric_row {
    enum metric_kind kind;
    enum metric_scale scale;
    enum metric_scope scope;
    const char *json_name;                 /* as in the seed: "requests_total"; NULL = not in /v1/metrics */
    const char *prometheus_name;           /* "hestia_requests_total"; NULL = not in /metrics */
    const char *help;                      /* one sentence */
    const char *labels[METRIC_LABELS_MAX]; /* names; NULL = unused */
};
const struct metric_row *metric_row(enum metric m);

#endif
