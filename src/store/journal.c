/*
 * The journal as a worker writes it: memory copies into its segments, no lock, and no system call unless a
 * new segment is needed and the store's thread has none ready. One journal per worker, all on its thread.
 */
#include "store/journal_segment.h"

#include "base/clock.h"
#include "base/log.h"

/* ---- the present segment ------------------------------------------------------------------------------- */

static struct segment *spare_take(struct journal *j)
{
    uint32_t taken = atomic_load_explicit(&j->spares_taken, memory_order_relaxed);
    if (taken == atomic_load_explicit(&j->spares_made, memory_order_acquire))
        return NULL;
    struct segment *s = j->spares[taken % SPARES_MAX];
    atomic_store_explicit(&j->spares_taken, taken + 1, memory_order_release);
    return s;
}

static void journal_has_failed(struct journal *j, const struct error *error)
{
    j->retry_at = clock_now() + CLOCK_S;
    if (!j->is_failing)
        log_event(LOG_ERROR, "journal_unavailable", "accounts cannot be written: %s", error_text(error));
    j->is_failing = true;
}

static void journal_works(struct journal *j)
{
    if (j->is_failing)
        log_event(LOG_INFO, "journal_recovered", "accounts are written again");
    j->is_failing = false;
    j->retry_at = 0;
}

/* A spare one costs nothing and is looked for each time; a file is tried for once a second after a failure.
 */
static struct segment *segment_obtain(struct journal *j)
{
    struct segment *s = spare_take(j);
    if (s)
        return s;
    if (j->retry_at != 0 && clock_now() < j->retry_at)
        return NULL;
    struct error error = {0};
    if (segment_make(j->set, j->worker, &s, &error) == OK)
        return s;
    journal_has_failed(j, &error);
    return NULL;
}

static void inbox_put(struct journal *j, struct segment *s)
{
    struct segment *head = atomic_load_explicit(&j->inbox, memory_order_relaxed);
    do
        s->next = head;
    while (!atomic_compare_exchange_weak_explicit(&j->inbox, &head, s, memory_order_release,
                                                  memory_order_relaxed));
}

/* The old one is closed even when there is no other: once stored it comes back as a spare. */
static struct segment *segment_change(struct journal *j)
{
    if (j->current)
        atomic_store_explicit(&j->current->closed, true, memory_order_release);
    struct segment *s = j->current = segment_obtain(j);
    if (!s)
        return NULL;
    journal_works(j);
    segment_begin(s, j->sequence + 1);
    inbox_put(j, s);
    return s;
}

static struct segment *segment_present(struct journal *j)
{
    struct segment *s = j->current;
    if (LIKELY(s && s->used < SLOT_COUNT && s->names_used <= NAMES_BYTES - NAMES_RESERVE &&
               !atomic_load_explicit(&s->lost, memory_order_relaxed)))
        return s;
    return segment_change(j);
}

/* ---- records ------------------------------------------------------------------------------------------- */

/* Nothing in it is of this record yet. What stood there before is marked as stored, until the new sequence
   number says otherwise. */
static void slot_clear(struct slot *slot)
{
    slot->version = 0;
    slot->state_turn = slot->count_turn = 0;
    slot->counts[0].version = slot->counts[1].version = 0;
    slot->states[0].version = slot->states[1].version = 0;
}

static void open_write(struct segment *s, struct slot *slot, uint64_t sequence, const struct entry_open *open)
{
    struct str id = str_first(open->request_id, ENTRY_TEXT_MAX);
    struct slot_open o = {
        .request_id_n = (uint8_t)id.n,
        .stream = open->stream,
        .at_us = open->at_us,
        .client = segment_name(s, open->client),
        .strategy = segment_name(s, open->strategy),
        .model = segment_name(s, open->model),
        .endpoint = segment_name(s, open->endpoint),
    };
    if (id.n)
        memcpy(o.request_id, id.p, id.n);
    o.check = open_check(record_seed(s->salt, sequence), &o);
    slot_clear(slot);
    memcpy(&slot->open.check, &o.check, offsetof(struct slot_open, request_id) + id.n - sizeof o.sequence);
    __atomic_store_n(&slot->open.sequence, sequence, __ATOMIC_RELEASE);
}

enum err journal_open(struct journal *j, const struct entry_open *open, struct journal_entry *entry)
{
    *entry = (struct journal_entry){0};
    struct segment *s = j ? segment_present(j) : NULL;
    if (UNLIKELY(!s))
        return ERR_STORE;
    uint32_t slot = s->used++;
    open_write(s, segment_slot(s, slot), ++j->sequence, open);
    atomic_store_explicit(&s->opened, s->used, memory_order_relaxed);
    if (UNLIKELY(s->used % SEGMENT_QUARTER == 0 && j->set->on_fill))
        j->set->on_fill(j->set->owner);
    *entry = (struct journal_entry){.journal = j, .segment = s, .slot = slot};
    slot_fetch(segment_slot(s, MIN(slot + 1, (uint32_t)SLOT_COUNT - 1)));
    return OK;
}

/* The last attempt is who answers: mostly the very text that has just been looked up. */
static name_ref name_again(struct segment *s, struct str text, struct str known, name_ref ref)
{
    return text.p == known.p && text.n == known.n ? ref : segment_name(s, text);
}

static void state_write(struct segment *s, struct slot *slot, const struct entry_state *state,
                        enum entry_outcome outcome)
{
    struct slot_state cell; /* built here: reading back what goes to the slot would wait for its memory */
    size_t attempts = (size_t)MAX(0, MIN(state->attempt_count, (int)ENTRY_ATTEMPTS_MAX));
    cell.version = ++slot->version;
    cell.input_tokens = state->input_tokens;
    cell.output_tokens = state->output_tokens;
    cell.cached_tokens = state->cached_tokens;
    cell.reasoning_tokens = state->reasoning_tokens;
    cell.cost = state->cost;
    cell.duration_us = state->duration_us;
    cell.first_byte_us = state->first_byte_us;
    cell.status = state->status;
    cell.outcome = (uint8_t)outcome;
    cell.estimated = state->estimated;
    cell.none = 0;
    cell.attempt_count = state->attempt_count;
    cell.provider = segment_name(s, state->provider);
    cell.model = segment_name(s, state->model);
    for (size_t i = 0; i < attempts; i++) {
        const struct entry_attempt *a = &state->attempts[i];
        cell.attempts[i].provider = name_again(s, a->provider, state->provider, cell.provider);
        cell.attempts[i].model = name_again(s, a->model, state->model, cell.model);
        cell.attempts[i].outcome = segment_name(s, a->outcome);
        cell.attempts[i].status = a->status;
    }
    cell.check = state_check(record_seed(s->salt, slot->open.sequence), &cell);
    memcpy(&slot->states[slot->state_turn & 1], &cell,
           offsetof(struct slot_state, attempts) + attempts * sizeof cell.attempts[0]);
    slot->state_turn ^= 1;
}

void journal_progress(struct journal_entry *entry, const struct entry_state *state)
{
    if (!entry->journal)
        return;
    struct segment *s = entry->segment;
    state_write(s, segment_slot(s, entry->slot), state, ENTRY_OPEN);
}

void journal_count(struct journal_entry *entry, int64_t output_tokens, int64_t cost)
{
    if (!entry->journal)
        return;
    struct segment *s = entry->segment;
    struct slot *slot = segment_slot(s, entry->slot);
    struct slot_count *cell = &slot->counts[slot->count_turn & 1];
    cell->version = ++slot->version;
    cell->output_tokens = output_tokens;
    cell->cost = cost;
    cell->check = count_check(record_seed(s->salt, slot->open.sequence), cell);
    slot->count_turn ^= 1;
}

void journal_settle(struct journal_entry *entry, const struct entry_state *state)
{
    struct journal *j = entry->journal;
    if (!j)
        return;
    struct segment *s = entry->segment;
    uint32_t settled = atomic_load_explicit(&s->settled, memory_order_relaxed);
    state_write(s, segment_slot(s, entry->slot), state,
                state->outcome == ENTRY_OPEN ? ENTRY_FAILED : state->outcome);
    s->queue[settled] = (uint16_t)entry->slot;
    /* From here on the store's thread may take the segment away. */
    atomic_store_explicit(&s->settled, settled + 1, memory_order_release);
    atomic_store_explicit(&j->settled, atomic_load_explicit(&j->settled, memory_order_relaxed) + 1,
                          memory_order_release);
    *entry = (struct journal_entry){0};
}
