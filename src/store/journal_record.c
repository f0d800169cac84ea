/*
 * Reads records out of a segment, trusting nothing but checksums: the image may be a file that a crash, a
 * full disk or somebody's hand has been at. Pure; the store's thread and, at boot, the one that replays.
 */
#include "store/journal_layout.h"

static uint32_t check_from(uint32_t seed, const void *from, const void *end)
{
    return crc32c(seed, from, (size_t)((const char *)end - (const char *)from));
}

uint32_t header_check(const struct segment_header *h)
{
    return check_from(0, h, &h->check);
}

uint32_t header_salt(const struct segment_header *h)
{
    uint32_t salt = crc32c(h->worker, &h->boot, sizeof h->boot);
    return crc32c(crc32c(salt, &h->number, sizeof h->number), &h->sequence, sizeof h->sequence);
}

uint32_t name_check(uint32_t salt, const char *text, size_t n)
{
    return crc32c(salt + (uint32_t)n, text, n);
}

uint32_t record_seed(uint32_t salt, uint64_t sequence)
{
    return crc32c(salt, &sequence, sizeof sequence);
}

uint32_t open_check(uint32_t seed, const struct slot_open *o)
{
    return check_from(seed, &o->request_id_n, o->request_id + MIN(o->request_id_n, ENTRY_TEXT_MAX));
}

uint32_t state_check(uint32_t seed, const struct slot_state *s)
{
    int32_t attempts = MAX(0, MIN(s->attempt_count, (int32_t)ENTRY_ATTEMPTS_MAX));
    return check_from(seed, &s->version, s->attempts + attempts);
}

uint32_t count_check(uint32_t seed, const struct slot_count *c)
{
    return check_from(seed, &c->version, c + 1);
}

/* The empty text stands for one that cannot be read. */
static struct str name_read(const struct segment_image *g, name_ref ref, size_t *damaged)
{
    if (ref == 0)
        return STR_NONE;
    size_t at = NAMES_AT + (size_t)ref * NAME_UNIT;
    const struct segment_name *name = at + sizeof *name <= g->n ? (const void *)(g->bytes + at) : NULL;
    if (name && name->n <= ENTRY_TEXT_MAX && at + sizeof *name + name->n <= g->n &&
        name->check == name_check(g->salt, name->text, name->n))
        return str_make(name->text, name->n);
    (*damaged)++;
    return STR_NONE;
}

static void open_read(const struct segment_image *g, const struct slot_open *o, struct entry_open *open,
                      size_t *damaged)
{
    *open = (struct entry_open){
        .at_us = o->at_us,
        .request_id = str_make(o->request_id, o->request_id_n),
        .client = name_read(g, o->client, damaged),
        .strategy = name_read(g, o->strategy, damaged),
        .model = name_read(g, o->model, damaged),
        .endpoint = name_read(g, o->endpoint, damaged),
        .stream = o->stream != 0,
    };
}

/* NULL: neither cell was ever written whole. */
static const struct slot_state *state_newest(const struct slot *s, uint32_t seed, size_t *damaged)
{
    const struct slot_state *newest = NULL;
    for (int i = 0; i < 2; i++) {
        const struct slot_state *cell = &s->states[i];
        if (cell->version == 0)
            continue;
        if (cell->check != state_check(seed, cell) || cell->outcome > ENTRY_ABORTED)
            (*damaged)++;
        else if (!newest || cell->version > newest->version)
            newest = cell;
    }
    return newest;
}

/* NULL: none that is newer than `version`. */
static const struct slot_count *count_newest(const struct slot *s, uint32_t seed, uint32_t version,
                                             size_t *damaged)
{
    const struct slot_count *newest = NULL;
    for (int i = 0; i < 2; i++) {
        const struct slot_count *cell = &s->counts[i];
        if (cell->version == 0)
            continue;
        if (cell->check != count_check(seed, cell))
            (*damaged)++;
        else if (cell->version > version && (!newest || cell->version > newest->version))
            newest = cell;
    }
    return newest;
}

static void state_read(const struct segment_image *g, const struct slot_state *cell,
                       struct entry_state *state, size_t *damaged)
{
    *state = (struct entry_state){
        .provider = name_read(g, cell->provider, damaged),
        .model = name_read(g, cell->model, damaged),
        .input_tokens = cell->input_tokens,
        .output_tokens = cell->output_tokens,
        .cached_tokens = cell->cached_tokens,
        .reasoning_tokens = cell->reasoning_tokens,
        .cost = cell->cost,
        .duration_us = cell->duration_us,
        .first_byte_us = cell->first_byte_us,
        .status = cell->status,
        .outcome = (enum entry_outcome)cell->outcome,
        .estimated = cell->estimated != 0,
        .attempt_count = MAX(cell->attempt_count, 0),
    };
    for (int i = 0; i < MIN(state->attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++)
        state->attempts[i] = (struct entry_attempt){
            .provider = name_read(g, cell->attempts[i].provider, damaged),
            .model = name_read(g, cell->attempts[i].model, damaged),
            .outcome = name_read(g, cell->attempts[i].outcome, damaged),
            .status = cell->attempts[i].status,
        };
}

static int64_t ended_us(int64_t at_us, uint64_t duration_us)
{
    int64_t duration = duration_us > INT64_MAX ? INT64_MAX : (int64_t)duration_us, ended;
    return __builtin_add_overflow(at_us, duration, &ended) ? INT64_MAX : ended;
}

enum record record_read(const struct segment_image *g, uint32_t slot, struct request_row *row,
                        size_t *damaged)
{
    const struct slot *s = image_slot(g, slot);
    uint64_t sequence = s->open.sequence;
    if (sequence == 0)
        return RECORD_NONE;
    if (s->stored == sequence)
        return RECORD_STORED;
    uint32_t seed = record_seed(g->salt, sequence);
    if (s->open.request_id_n > ENTRY_TEXT_MAX || s->open.check != open_check(seed, &s->open)) {
        (*damaged)++;
        return RECORD_DAMAGED;
    }
    *row = (struct request_row){.boot = g->boot, .worker = g->worker, .sequence = sequence};
    open_read(g, &s->open, &row->open, damaged);
    const struct slot_state *state = state_newest(s, seed, damaged);
    if (state)
        state_read(g, state, &row->state, damaged);
    bool is_settled = row->state.outcome != ENTRY_OPEN;
    const struct slot_count *count =
        is_settled ? NULL : count_newest(s, seed, state ? state->version : 0, damaged);
    if (count) {
        row->state.output_tokens = count->output_tokens;
        row->state.cost = count->cost;
    }
    row->ended_us = ended_us(row->open.at_us, row->state.duration_us);
    return is_settled ? RECORD_SETTLED : RECORD_OPEN;
}
