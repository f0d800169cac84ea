/*
 * Metric cells. A set belongs to one thread, which alone writes its cells and its index; readers on any
 * thread walk the sets and their cells, both of which are lists that only grow at the head and never lose a
 * member. The interned label texts are the only thing behind a lock.
 */
#include "base/metric.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- rows --------------------------------------------------------------------------------------- */

static const struct metric_row rows[METRIC_COUNT] = {
#define M(id, kind_, scale_, scope_, json, prometheus, help_, ...)                                           \
    [METRIC_##id] = {.kind = METRIC_##kind_,                                                                 \
                     .scale = SCALE_##scale_,                                                                \
                     .scope = SCOPE_##scope_,                                                                \
                     .json_name = json,                                                                      \
                     .prometheus_name = prometheus,                                                          \
                     .help = help_,                                                                          \
                     .labels = {__VA_ARGS__}},
#include "base/metrics.def"
#undef M
};

const struct metric_row *metric_row(enum metric m)
{
    REQUIRE((unsigned)m < METRIC_COUNT);
    return &rows[m];
}

#define US ((uint64_t)1000)
#define MS CLOCK_MS
#define KI ((uint64_t)1024)

static const uint64_t bounds[][METRIC_BUCKETS] = {
    [SCALE_NONE] = {[METRIC_BUCKETS - 1] = UINT64_MAX},
    [SCALE_DOLLARS] = {[METRIC_BUCKETS - 1] = UINT64_MAX},
    [SCALE_LATENCY] = {MS, 2500 * US, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS,
                       1000 * MS, 2500 * MS, 5000 * MS, 10000 * MS, 30000 * MS, 120000 * MS, UINT64_MAX},
    [SCALE_FINE] = {5 * US, 10 * US, 20 * US, 50 * US, 100 * US, 200 * US, 500 * US, MS, 2 * MS, 5 * MS,
                    10 * MS, 50 * MS, 100 * MS, 500 * MS, 1000 * MS, UINT64_MAX},
    [SCALE_BYTES] = {64, 256, KI, 4 * KI, 16 * KI, 64 * KI, 256 * KI, KI *KI, 4 * KI *KI, 16 * KI *KI,
                     64 * KI *KI, 256 * KI *KI, KI *KI *KI, 4 * KI *KI *KI, 16 * KI *KI *KI, UINT64_MAX},
};

static bool has_buckets(enum metric m)
{
    return rows[m].scale > SCALE_DOLLARS;
}

uint64_t metric_bucket_bound(enum metric m, int bucket)
{
    REQUIRE(bucket >= 0 && bucket < METRIC_BUCKETS);
    return bounds[metric_row(m)->scale][bucket];
}

/* ---- labels ------------------------------------------------------------------------------------- */

enum {
    LABEL_FIRST = LABEL_OTHER + 1,
    LABEL_VALUES_MAX = 4096,
    LABEL_BYTES_MAX = 128,
    LABEL_NUMBER = 8192, /* the label of number 0 */
    LABEL_NUMBERS = 1000,
    LABEL_BITS = 14, /* every label is smaller than 1 << 14 */
};
_Static_assert(LABEL_FIRST + LABEL_VALUES_MAX <= LABEL_NUMBER, "texts and numbers do not overlap");
_Static_assert(LABEL_NUMBER + LABEL_NUMBERS <= 1 << LABEL_BITS, "labels fit a packed key");
_Static_assert(METRIC_COUNT < 256, "metrics fit a packed key");

static pthread_mutex_t intern_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map intern_labels;                  /* text -> label; under intern_lock */
static struct str intern_texts[LABEL_VALUES_MAX]; /* a slot is written once, before its label is out */
static char number_texts[LABEL_NUMBERS][4];       /* under number_once */
static pthread_once_t number_once = PTHREAD_ONCE_INIT;

static label intern_new(struct str value)
{
    size_t index = intern_labels.count;
    char *text = index < LABEL_VALUES_MAX ? mem_alloc(value.n) : NULL;
    if (!text)
        return LABEL_OTHER;
    memcpy(text, value.p, value.n);
    struct str copy = str_make(text, value.n);
    if (map_put(&intern_labels, copy, (void *)(uintptr_t)(LABEL_FIRST + index)) != OK) {
        mem_free(text);
        return LABEL_OTHER;
    }
    intern_texts[index] = copy;
    return (label)(LABEL_FIRST + index);
}

/* Not longer than a label may be, and not cut inside a character of UTF-8. */
static struct str text_cut(struct str text)
{
    if (text.n <= LABEL_BYTES_MAX)
        return text;
    size_t n = LABEL_BYTES_MAX;
    while (n > 0 && ((uint8_t)text.p[n] & 0xc0) == 0x80)
        n--;
    return str_first(text, n);
}

label label_intern(struct str value)
{
    value = text_cut(value);
    if (value.n == 0)
        return 0;
    pthread_mutex_lock(&intern_lock);
    label found = (label)(uintptr_t)map_get(&intern_labels, value);
    if (!found)
        found = intern_new(value);
    pthread_mutex_unlock(&intern_lock);
    return found;
}

label label_number(unsigned number)
{
    return number < LABEL_NUMBERS ? (label)(LABEL_NUMBER + number) : LABEL_OTHER;
}

static void number_fill(void)
{
    for (int i = 0; i < LABEL_NUMBERS; i++) {
        char *text = number_texts[i];
        if (i >= 100)
            *text++ = (char)('0' + i / 100);
        if (i >= 10)
            *text++ = (char)('0' + i / 10 % 10);
        *text = (char)('0' + i % 10);
    }
}

struct str label_text(label l)
{
    if (l >= LABEL_NUMBER && l < LABEL_NUMBER + LABEL_NUMBERS) {
        pthread_once(&number_once, number_fill);
        return str_from_c(number_texts[l - LABEL_NUMBER]);
    }
    if (l >= LABEL_FIRST && l < LABEL_FIRST + LABEL_VALUES_MAX)
        return intern_texts[l - LABEL_FIRST];
    return l == LABEL_OTHER ? STR("other") : STR_NONE;
}

/* ---- cells -------------------------------------------------------------------------------------- */

/* Written by one thread with plain atomic stores, read by all: no read-modify-write is needed. A counter or
   gauge fits one cache line. */
struct cell {
    uint64_t key;
    struct cell *next;
    _Atomic uint64_t count; /* counters; timers and histograms count in their buckets */
    _Atomic int64_t gauge;
    _Atomic int64_t updated_us;
    _Atomic uint64_t sum, min, max;
    _Atomic uint64_t buckets[]; /* timers and histograms: METRIC_BUCKETS */
};

struct slot {
    uint64_t key; /* 0 = free: metric and labels are packed so that a key is never 0 */
    struct cell *cell;
};

enum { CELLS_MAX = 16384, SLOTS_MIN = 256 };

struct metric_set {
    struct metric_set *next;
    _Atomic(struct cell *) cells; /* newest first */
    struct slot *slots;           /* a power of two; own thread */
    size_t slot_count, cell_count;
    int64_t wall_us;
};

static _Atomic(struct metric_set *) sets; /* newest first */

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

struct metric_set *metric_set_new(void)
{
    struct metric_set *set = mem_alloc(sizeof *set);
    struct slot *slots = mem_alloc(SLOTS_MIN * sizeof *slots);
    if (!set || !slots) {
        mem_free(set);
        mem_free(slots);
        return NULL;
    }
    set->slots = slots;
    set->slot_count = SLOTS_MIN;
    set->next = atomic_load(&sets);
    while (!atomic_compare_exchange_weak(&sets, &set->next, set))
        ;
    return set;
}

void metric_set_clock(struct metric_set *set, int64_t wall_us)
{
    if (set)
        set->wall_us = wall_us;
}

static inline uint64_t key_pack(enum metric m, const struct metric_labels *labels)
{
    uint64_t key = (uint64_t)m + 1;
    for (int i = 0; i < METRIC_LABELS_MAX; i++)
        key = key << LABEL_BITS | (labels->of[i] & ((1u << LABEL_BITS) - 1));
    return key;
}

static void key_unpack(uint64_t key, enum metric *m, struct metric_labels *labels)
{
    for (int i = METRIC_LABELS_MAX - 1; i >= 0; i--) {
        labels->of[i] = (label)(key & ((1u << LABEL_BITS) - 1));
        key >>= LABEL_BITS;
    }
    *m = (enum metric)(key - 1);
}

/* The slot with that key, or the free one where it belongs. */
static inline struct slot *slot_find(struct slot *slots, size_t slot_count, uint64_t key)
{
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    size_t at = (hash >> 32 ^ hash >> 52) & (slot_count - 1);
    while (slots[at].key && slots[at].key != key)
        at = (at + 1) & (slot_count - 1);
    return &slots[at];
}

/* Keeps the index at most half full. */
static bool slots_make_room(struct metric_set *set)
{
    if (set->cell_count * 2 < set->slot_count)
        return true;
    size_t count = set->slot_count * 2;
    struct slot *slots = mem_alloc(count * sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < set->slot_count; i++) {
        if (set->slots[i].key)
            *slot_find(slots, count, set->slots[i].key) = set->slots[i];
    }
    mem_free(set->slots);
    set->slots = slots;
    set->slot_count = count;
    return true;
}

static struct cell *cell_new(struct metric_set *set, enum metric m, uint64_t key)
{
    struct cell *cell =
        mem_alloc(sizeof *cell + (has_buckets(m) ? METRIC_BUCKETS * sizeof cell->buckets[0] : 0));
    if (!cell || !slots_make_room(set)) {
        mem_free(cell);
        return NULL;
    }
    cell->key = key;
    STORE(cell->min, UINT64_MAX);
    *slot_find(set->slots, set->slot_count, key) = (struct slot){key, cell};
    set->cell_count++;
    cell->next = LOAD(set->cells);
    atomic_store_explicit(&set->cells, cell, memory_order_release);
    return cell;
}

/* First sight of a label set. Beyond the bound its labels become "other"; NULL when memory is short: the
   change is lost, the process goes on. */
static __attribute__((noinline)) struct cell *cell_add(struct metric_set *set, enum metric m,
                                                       const struct metric_labels *labels)
{
    struct metric_labels used = *labels;
    for (int i = 0; i < METRIC_LABELS_MAX && set->cell_count >= CELLS_MAX; i++)
        used.of[i] = used.of[i] ? LABEL_OTHER : 0;
    uint64_t key = key_pack(m, &used);
    struct slot *slot = slot_find(set->slots, set->slot_count, key);
    return slot->key ? slot->cell : cell_new(set, m, key);
}

static inline struct cell *cell_get(struct metric_set *set, enum metric m, const struct metric_labels *labels)
{
    if (UNLIKELY(!set))
        return NULL;
    struct slot *slot = slot_find(set->slots, set->slot_count, key_pack(m, labels));
    return LIKELY(slot->key != 0) ? slot->cell : cell_add(set, m, labels);
}

static inline void cell_touch(struct cell *cell, const struct metric_set *set)
{
    STORE(cell->updated_us, LIKELY(set->wall_us) ? set->wall_us : clock_wall_us());
}

void metric_add(struct metric_set *set, enum metric m, struct metric_labels labels, uint64_t n)
{
    struct cell *cell = cell_get(set, m, &labels);
    if (!cell)
        return;
    STORE(cell->count, LOAD(cell->count) + n);
    cell_touch(cell, set);
}

void metric_observe(struct metric_set *set, enum metric m, struct metric_labels labels, uint64_t value)
{
    REQUIRE(has_buckets(m));
    struct cell *cell = cell_get(set, m, &labels);
    if (!cell)
        return;
    const uint64_t *upper = bounds[rows[m].scale];
    int bucket = 0;
    for (int i = 0; i < METRIC_BUCKETS - 1; i++)
        bucket += value > upper[i];
    STORE(cell->sum, LOAD(cell->sum) + value);
    if (value < LOAD(cell->min))
        STORE(cell->min, value);
    if (value > LOAD(cell->max))
        STORE(cell->max, value);
    cell_touch(cell, set);
    /* Last and with release: whoever sees this value counted finds it in sum, min and max too. */
    atomic_store_explicit(&cell->buckets[bucket], LOAD(cell->buckets[bucket]) + 1, memory_order_release);
}

void metric_gauge_set(struct metric_set *set, enum metric m, struct metric_labels labels, int64_t value)
{
    struct cell *cell = cell_get(set, m, &labels);
    if (!cell)
        return;
    STORE(cell->gauge, value);
    cell_touch(cell, set);
}

void metric_gauge_add(struct metric_set *set, enum metric m, struct metric_labels labels, int64_t difference)
{
    struct cell *cell = cell_get(set, m, &labels);
    if (!cell)
        return;
    STORE(cell->gauge, LOAD(cell->gauge) + difference);
    cell_touch(cell, set);
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void value_from_cell(struct metric_value *value, struct cell *cell)
{
    *value = (struct metric_value){0};
    key_unpack(cell->key, &value->metric, &value->labels);
    value->count = LOAD(cell->count);
    if (has_buckets(value->metric)) {
        value->count = 0;
        for (int i = 0; i < METRIC_BUCKETS; i++) {
            value->buckets[i] = atomic_load_explicit(&cell->buckets[i], memory_order_acquire);
            value->count += value->buckets[i];
        }
    }
    value->sum = LOAD(cell->sum);
    value->min = LOAD(cell->min);
    value->max = LOAD(cell->max);
    value->gauge = LOAD(cell->gauge);
    value->updated_us = LOAD(cell->updated_us);
}

static int value_compare(const void *a, const void *b)
{
    const struct metric_value *left = a, *right = b;
    uint64_t x = key_pack(left->metric, &left->labels), y = key_pack(right->metric, &right->labels);
    return (x > y) - (x < y);
}

static void value_merge(struct metric_value *into, const struct metric_value *from)
{
    into->count += from->count;
    into->sum += from->sum;
    into->min = MIN(into->min, from->min);
    into->max = MAX(into->max, from->max);
    into->gauge += from->gauge;
    into->updated_us = MAX(into->updated_us, from->updated_us);
    for (int i = 0; i < METRIC_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

static size_t values_merge_equal(struct metric_value *values, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept && value_compare(&values[kept - 1], &values[i]) == 0)
            value_merge(&values[kept - 1], &values[i]);
        else
            values[kept++] = values[i];
    }
    return kept;
}

/* Copies the cells of one set behind the `count` values that are there. NULL when memory is short: the old
   values are freed. */
static struct metric_value *values_append(struct metric_value *values, size_t *count, struct metric_set *set)
{
    size_t n = 0;
    struct cell *first = atomic_load_explicit(&set->cells, memory_order_acquire);
    for (struct cell *cell = first; cell; cell = cell->next)
        n++;
    struct metric_value *grown = mem_resize(values, MAX((*count + n) * sizeof *grown, (size_t)1));
    if (!grown) {
        mem_free(values);
        *count = 0;
        return NULL;
    }
    for (struct cell *cell = first; cell; cell = cell->next)
        value_from_cell(&grown[(*count)++], cell);
    return grown;
}

struct metric_value *metric_read_all(size_t *count)
{
    struct metric_value *values = NULL;
    *count = 0;
    for (struct metric_set *set = atomic_load(&sets); set; set = set->next) {
        values = values_append(values, count, set);
        if (!values)
            return NULL;
    }
    if (values)
        qsort(values, *count, sizeof *values, value_compare);
    *count = values_merge_equal(values, *count);
    return values;
}
