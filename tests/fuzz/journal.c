/*
 * A journal whose file somebody, or a crash, has been at. The input is a list of changes to a segment that
 * was written properly, four bytes each: what to do, where (two bytes), with what. Records that were not
 * touched come out as they were written; of the others nothing lies outside of the file; and what a replay of
 * the file gives is what stands in its image.
 */
#include "fuzz.h"
#include "base/log.h"
#include "store/journal_segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RECORDS = 12,
    SLOTS = RECORDS + 4, /* that changes can reach */
    SLOTS_BYTES = SLOTS * sizeof(struct slot),
    NAMES_REACHED = 2048,
    HEADER_REACHED = sizeof(struct segment_header) + 8,
    REPLAYS = 8, /* one input in so many goes through a file: that takes longer */
};

/* The parts of a segment in which there is anything. */
static const struct area {
    size_t at, n;
} areas[] = {{0, HEADER_REACHED}, {HEADER_BYTES, SLOTS_BYTES}, {NAMES_AT, NAMES_REACHED}};

static char folder[64], path[512];
static uint8_t written[SEGMENT_BYTES], damaged[SEGMENT_BYTES];
static struct journal_set *reader; /* a later run */

/* ---- the segment as it was written --------------------------------------------------------------------- */

static void write_record(struct journal *j, int i)
{
    static const char *const names[] = {"", "a", "client-one", "gpt-4o",
                                        "a much longer name than the others"};
    char id[32];
    struct journal_entry entry;
    struct entry_open open = {.at_us = 1000 + i, .stream = i & 1};
    struct entry_state state = {.input_tokens = i, .output_tokens = 2 * i, .cost = 1000 * i, .status = 200};
    open.request_id = str_make(id, (size_t)snprintf(id, sizeof id, "request-%d", i));
    open.client = str_from_c(names[i % 5]);
    open.model = str_from_c(names[(i + 1) % 5]);
    state.provider = open.client;
    state.model = open.model;
    state.attempt_count = i;
    for (int a = 0; a < MIN(i, (int)ENTRY_ATTEMPTS_MAX); a++)
        state.attempts[a] = (struct entry_attempt){open.client, open.model, STR("failed"), 500 + a};
    REQUIRE(journal_open(j, &open, &entry) == OK);
    for (int p = 0; p < i % 4; p++)
        journal_progress(&entry, &state);
    for (int p = 0; p < i % 3; p++)
        journal_count(&entry, 100 + p, 7);
    state.outcome = ENTRY_OK + (enum entry_outcome)(i % 3);
    if (i % 2)
        journal_settle(&entry, &state);
}

static void segment_find(void)
{
    DIR *d = opendir(folder);
    REQUIRE(d);
    for (struct dirent *e; (e = readdir(d));)
        if (str_ends(str_from_c(e->d_name), STR(".seg")))
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    closedir(d);
    REQUIRE(path[0]);
}

static void folder_remove(void)
{
    unlink(path);
    rmdir(folder);
}

static void log_nothing(struct str line)
{
    (void)line;
}

static void prepare(void)
{
    struct error error = {0};
    log_set_sink(log_nothing);
    strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/hestia-fuzz-XXXXXX" : "/tmp/hestia-fuzz-XXXXXX");
    REQUIRE(mkdtemp(folder));
    atexit(folder_remove);
    struct journal_set *set = journal_set_open(folder, 0x1234, &error);
    REQUIRE(set);
    struct journal *j = journal_set_writer(set, 0);
    REQUIRE(j);
    for (int i = 0; i < RECORDS; i++)
        write_record(j, i);
    journal_set_close(set);
    segment_find();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && read(fd, written, sizeof written) == sizeof written);
    close(fd);
    memcpy(damaged, written, sizeof damaged);
    reader = journal_set_open(folder, 0x5678, &error);
    REQUIRE(reader);
}

/* ---- changes ------------------------------------------------------------------------------------------- */

static uint8_t *place(unsigned area, unsigned where, size_t *room)
{
    const struct area *a = &areas[area % COUNT_OF(areas)];
    *room = a->n - where % a->n;
    return damaged + a->at + where % a->n;
}

static struct slot *slot_at(unsigned i)
{
    return (struct slot *)(void *)(damaged + HEADER_BYTES + i % SLOTS * sizeof(struct slot));
}

/* As if the wrong values had been written on purpose. */
static void slot_sign(struct slot *s, uint32_t salt)
{
    uint32_t seed = record_seed(salt, s->open.sequence);
    s->open.check = open_check(seed, &s->open);
    for (int i = 0; i < 2; i++) {
        s->states[i].check = state_check(seed, &s->states[i]);
        s->counts[i].check = count_check(seed, &s->counts[i]);
    }
}

static void name_sign(unsigned ref, uint32_t salt)
{
    size_t at = NAMES_AT + ref % (NAMES_REACHED / NAME_UNIT) * NAME_UNIT;
    struct segment_name *name = (void *)(damaged + at);
    if (at + sizeof *name + name->n <= sizeof damaged)
        name->check = name_check(salt, name->text, name->n);
}

/* Applies one change; *size is the file's. */
static void change(const uint8_t *c, size_t *size)
{
    struct segment_header *h = (void *)damaged;
    unsigned where = (unsigned)c[1] << 8 | c[2];
    size_t room, room_from;
    uint8_t *to = place(c[0] >> 4, where, &room), *from = place(c[0] >> 6, c[3] * 64u, &room_from);
    switch (c[0] & 7) {
    case 0:
        *to = c[3];
        break;
    case 1:
        *to ^= (uint8_t)(1 << (c[3] & 7));
        break;
    case 2:
        memset(to, c[3] & 0x80 ? 0xff : 0, MIN(room, (size_t)c[3] & 0x7f));
        break;
    case 3:
        memmove(to, from, MIN(MIN(room, room_from), (size_t)64));
        break;
    case 4: /* a file that is shorter, or longer, than it was */
        *size = c[3] & 1 ? SEGMENT_BYTES / 65536 * where : areas[c[3] % 3].at + where % 8192;
        break;
    case 5:
        slot_sign(slot_at(where), header_salt(h));
        break;
    case 6:
        name_sign(where, header_salt(h));
        break;
    default:
        h->check = header_check(h);
    }
}

/* ---- what must hold ------------------------------------------------------------------------------------ */

static void check_text(const struct segment_image *g, struct str text)
{
    REQUIRE(text.n <= ENTRY_TEXT_MAX && lies_in(text, str_make((const char *)g->bytes, g->n)));
}

static void check_row(const struct segment_image *g, const struct request_row *row)
{
    const struct entry_state *s = &row->state;
    REQUIRE(row->boot == g->boot && row->worker == g->worker && row->sequence != 0);
    REQUIRE(s->outcome <= ENTRY_ABORTED && s->attempt_count >= 0);
    check_text(g, row->open.request_id);
    check_text(g, row->open.client);
    check_text(g, row->open.strategy);
    check_text(g, row->open.model);
    check_text(g, row->open.endpoint);
    check_text(g, s->provider);
    check_text(g, s->model);
    for (int i = 0; i < MIN(s->attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        check_text(g, s->attempts[i].provider);
        check_text(g, s->attempts[i].model);
        check_text(g, s->attempts[i].outcome);
    }
}

static void require_same(const struct request_row *a, const struct request_row *b)
{
    const struct entry_state *s = &a->state, *t = &b->state;
    REQUIRE(a->sequence == b->sequence && a->open.at_us == b->open.at_us && a->ended_us == b->ended_us);
    REQUIRE(str_eq(a->open.request_id, b->open.request_id) && str_eq(a->open.client, b->open.client) &&
            str_eq(a->open.model, b->open.model));
    REQUIRE(s->input_tokens == t->input_tokens && s->output_tokens == t->output_tokens &&
            s->cost == t->cost && s->status == t->status && s->outcome == t->outcome &&
            s->attempt_count == t->attempt_count);
    REQUIRE(str_eq(s->provider, t->provider) && str_eq(s->model, t->model));
}

static struct segment_image image_of(const uint8_t *bytes)
{
    const struct segment_header *h = (const void *)bytes;
    return (struct segment_image){bytes, SEGMENT_BYTES, h->boot, h->worker, header_salt(h)};
}

static bool is_same(size_t at, size_t n)
{
    return memcmp(damaged + at, written + at, n) == 0;
}

/* Reads every record; how many of them a replay would give. */
static size_t check_image(uint64_t *sequences, size_t *faults)
{
    struct segment_image now = image_of(damaged), then = image_of(written);
    bool shared_is_same = is_same(0, HEADER_REACHED) && is_same(NAMES_AT, NAMES_REACHED);
    size_t given = 0, none = 0;
    *faults = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct request_row row, row_then;
        size_t faults_before = *faults;
        enum record record = record_read(&now, i, &row, faults);
        if (shared_is_same && is_same(HEADER_BYTES + i * sizeof(struct slot), sizeof(struct slot))) {
            REQUIRE(record == record_read(&then, i, &row_then, &none) && none == 0);
            REQUIRE(record == (i >= RECORDS ? RECORD_NONE : i % 2 ? RECORD_SETTLED : RECORD_OPEN));
            if (record != RECORD_NONE)
                require_same(&row, &row_then);
        }
        REQUIRE(record != RECORD_DAMAGED || *faults > faults_before);
        if (record != RECORD_OPEN && record != RECORD_SETTLED)
            continue;
        REQUIRE((record == RECORD_OPEN) == (row.state.outcome == ENTRY_OPEN));
        check_row(&now, &row);
        sequences[given++] = row.sequence;
    }
    return given;
}

struct replayed {
    size_t count;
    uint64_t sequences[SLOTS];
};

static enum err take_row(void *argument, const struct request_row *row)
{
    struct replayed *r = argument;
    REQUIRE(r->count < SLOTS && row->state.outcome != ENTRY_OPEN);
    r->sequences[r->count++] = row->sequence;
    return OK;
}

static bool header_is_good(void)
{
    const struct segment_header *h = (const void *)damaged;
    return h->magic == SEGMENT_MAGIC && h->version == SEGMENT_VERSION &&
           h->slot_bytes == sizeof(struct slot) && h->slot_count == SLOT_COUNT && h->check == header_check(h);
}

static void check_file(size_t size, const uint64_t *sequences, size_t given, size_t faults)
{
    struct replayed r = {0};
    struct error error = {0};
    size_t found = 0;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    for (size_t i = 0; i < COUNT_OF(areas); i++)
        REQUIRE(pwrite(fd, damaged + areas[i].at, areas[i].n, (off_t)areas[i].at) == (ssize_t)areas[i].n);
    REQUIRE(ftruncate(fd, (off_t)size) == 0);
    close(fd);
    REQUIRE(journal_set_replay(reader, take_row, &r, &found, &error) == OK);
    if (header_is_good()) {
        REQUIRE(r.count == given && memcmp(r.sequences, sequences, given * sizeof *sequences) == 0);
        REQUIRE(found == faults + (size < SEGMENT_BYTES));
    } else {
        REQUIRE(r.count == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    size_t size = SEGMENT_BYTES;
    size_t faults;
    uint64_t sequences[SLOTS];
    if (!reader)
        prepare();
    for (size_t i = 0; i + 4 <= n && i < 4 * 64; i += 4)
        change(bytes + i, &size);
    if (size < SEGMENT_BYTES)
        memset(damaged + size, 0, SEGMENT_BYTES - size);
    size_t given = check_image(sequences, &faults);
    if (size != SEGMENT_BYTES || str_hash(input_str(bytes, n)) % REPLAYS == 0)
        check_file(size, sequences, given, faults);
    for (size_t i = 0; i < COUNT_OF(areas); i++)
        memcpy(damaged + areas[i].at, written + areas[i].at, areas[i].n);
    return 0;
}
