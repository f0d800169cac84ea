/* The journal's records: every field comes back, from the living segments and from what a run left behind. */
#include "store/journal_test.h"

static void fields_come_back(void **state)
{
    struct journal_set *set = set_open(1);
    entries_write(writer_of(set, 0), 0, 2000);
    assert_int_equal(journal_set_pending(set), 2000);
    assert_int_equal(scan_count(set, SIZE_MAX), 2000);
    journal_set_mark(set);
    assert_int_equal(journal_set_pending(set), 0);
    assert_int_equal(scan_count(set, SIZE_MAX), 0);
    journal_set_close(set);
    assert_int_equal(files_each(NULL), 0);
}

static void fields_come_back_after_a_restart(void **state)
{
    struct journal_set *set = set_open(1);
    entries_write(writer_of(set, 0), 0, 2000);
    entries_write(writer_of(set, 3), 5000, 100);
    journal_set_close(set);
    uint64_t count = 0;
    replay(count_exact, &count, 0);
    assert_int_equal(count, 2100);
}

static enum err check_key(void *argument, const struct request_row *row)
{
    uint64_t *expected = argument;
    assert_int_equal(row->boot, 77);
    assert_int_equal(row->worker, 5);
    assert_int_equal(row->sequence, ++*expected);
    return OK;
}

static void rows_carry_the_key_of_their_run(void **state)
{
    struct journal_set *set = set_open(77);
    entries_write(writer_of(set, 5), 0, SLOT_COUNT + 10);
    uint64_t sequence = 0;
    assert_int_equal(journal_set_scan(set, SIZE_MAX, check_key, &sequence), OK);
    assert_int_equal(sequence, SLOT_COUNT + 10);
    journal_set_close(set);
    sequence = 0;
    replay(check_key, &sequence, 0);
    assert_int_equal(sequence, SLOT_COUNT + 10);
}

/* ---- texts --------------------------------------------------------------------------------------------- */

static char long_text[300];

static enum err check_cut(void *argument, const struct request_row *row)
{
    struct str cut = str_make(long_text, ENTRY_TEXT_MAX);
    assert_text(row->open.request_id, cut);
    assert_text(row->open.client, cut);
    assert_text(row->open.strategy, STR_NONE);
    assert_text(row->state.provider, cut);
    assert_text(row->state.attempts[0].outcome, cut);
    assert_int_equal(row->state.attempt_count, 0x7fffffff);
    assert_int_equal(row->state.cost, INT64_MIN);
    assert_int_equal(row->state.output_tokens, INT64_MAX);
    assert_int_equal(row->ended_us, INT64_MAX); /* and not beyond */
    (*(int *)argument)++;
    return OK;
}

static void long_texts_are_cut_and_numbers_are_not(void **state)
{
    memset(long_text, 'x', sizeof long_text);
    struct str text = str_make(long_text, sizeof long_text);
    struct entry_open open = {.request_id = text, .client = text, .at_us = INT64_MAX - 1};
    struct entry_state end = {.provider = text,
                              .outcome = ENTRY_OK,
                              .attempt_count = 0x7fffffff,
                              .cost = INT64_MIN,
                              .output_tokens = INT64_MAX,
                              .duration_us = UINT64_MAX};
    for (int i = 0; i < ENTRY_ATTEMPTS_MAX; i++)
        end.attempts[i].outcome = text;
    struct journal_set *set = set_open(1);
    struct journal_entry entry;
    assert_int_equal(journal_open(writer_of(set, 0), &open, &entry), OK);
    journal_settle(&entry, &end);
    int count = 0;
    assert_int_equal(journal_set_scan(set, 1, check_cut, &count), OK);
    journal_set_close(set);
    replay(check_cut, &count, 0);
    assert_int_equal(count, 2);
}

static void an_entry_outside_the_journal_is_ignored(void **state)
{
    struct journal_entry entry = {0};
    struct entry_state end = {.outcome = ENTRY_OK};
    journal_progress(&entry, &end);
    journal_count(&entry, 1, 1);
    journal_settle(&entry, &end);
    assert_int_equal(journal_open(NULL, &(struct entry_open){0}, &entry), ERR_STORE);
    assert_null(entry.journal);
}

/* An entry stays in the segment in which it was begun, with the names it learns afterwards. */
static void names_survive_the_change_of_segments(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    struct journal_entry first = entry_begin(j, 1000000);
    void *segment = first.segment;
    entries_write(j, 0, SLOT_COUNT);
    assert_ptr_not_equal(j->current, segment);
    entry_end(&first, 1000000);
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT + 1);
    journal_set_close(set);
    uint64_t count = 0;
    replay(count_exact, &count, 0);
    assert_int_equal(count, SLOT_COUNT + 1);
}

/* All names of an entry at their full length, and of nobody else: number, then place. */
struct wide {
    char texts[2 + 3 * ENTRY_ATTEMPTS_MAX][ENTRY_TEXT_MAX];
    struct entry_state state;
};

static void wide_make(struct wide *w, uint32_t number)
{
    for (size_t i = 0; i < COUNT_OF(w->texts); i++) {
        memset(w->texts[i], 'a' + (int)i, ENTRY_TEXT_MAX);
        memcpy(w->texts[i], &number, sizeof number);
    }
    struct str text[COUNT_OF(w->texts)];
    for (size_t i = 0; i < COUNT_OF(text); i++)
        text[i] = str_make(w->texts[i], ENTRY_TEXT_MAX);
    w->state = (struct entry_state){
        .provider = text[0], .model = text[1], .outcome = ENTRY_OK, .attempt_count = ENTRY_ATTEMPTS_MAX};
    for (int i = 0; i < ENTRY_ATTEMPTS_MAX; i++)
        w->state.attempts[i] = (struct entry_attempt){text[2 + i * 3], text[3 + i * 3], text[4 + i * 3], i};
}

static enum err check_wide(void *argument, const struct request_row *row)
{
    struct wide w;
    wide_make(&w, (uint32_t)row->open.at_us);
    assert_state(&row->state, &w.state);
    (*(uint64_t *)argument)++;
    return OK;
}

/* The worst that can be asked of one segment: it grows, and no name is lost. */
static void a_segment_holds_all_names_at_full_length(void **state)
{
    static struct journal_entry entries[SLOT_COUNT];
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    for (uint32_t i = 0; i < SLOT_COUNT; i++)
        assert_int_equal(journal_open(j, &(struct entry_open){.at_us = i}, &entries[i]), OK);
    assert_ptr_equal(entries[0].segment, entries[SLOT_COUNT - 1].segment);
    struct wide w;
    for (uint32_t i = 0; i < SLOT_COUNT; i++) {
        wide_make(&w, i);
        journal_settle(&entries[i], &w.state);
    }
    assert_true(journal_set_bytes(set) > SEGMENT_BYTES * 4);
    uint64_t count = 0;
    assert_int_equal(journal_set_scan(set, SIZE_MAX, check_wide, &count), OK);
    assert_int_equal(count, SLOT_COUNT);
    journal_set_close(set);
    replay(check_wide, &count, 0);
    assert_int_equal(count, 2 * SLOT_COUNT);
}

/* Not by the number of slots alone: the names of those to come need room. */
static void a_segment_full_of_names_is_left(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    struct wide w;
    uint64_t count = 0;
    for (uint32_t i = 0; i < 600; i++) {
        struct journal_entry entry;
        assert_int_equal(journal_open(j, &(struct entry_open){.at_us = i}, &entry), OK);
        wide_make(&w, i);
        journal_settle(&entry, &w.state);
    }
    assert_int_equal(journal_set_bytes(set), files_each(NULL) * SEGMENT_BYTES);
    assert_true(files_each(NULL) > 1);
    assert_int_equal(journal_set_scan(set, SIZE_MAX, check_wide, &count), OK);
    assert_int_equal(count, 600);
    journal_set_close(set);
}

/* ---- progress ------------------------------------------------------------------------------------------ */

struct last {
    struct request_row row;
    int count;
};

static enum err keep_last(void *argument, const struct request_row *row)
{
    struct last *last = argument;
    last->row = *row;
    last->row.open.client = last->row.state.provider = STR_NONE; /* their bytes are gone by then */
    last->count++;
    return OK;
}

static struct entry_state tokens(int64_t output, uint64_t duration_us)
{
    return (struct entry_state){.output_tokens = output, .cost = output * 10, .duration_us = duration_us};
}

/* What a run leaves of one entry, after `steps` of: begun, count 1, state 2, count 3, count 4, state 5. */
static struct last left_after(int steps)
{
    files_each(file_remove);
    struct journal_set *set = set_open(1);
    struct journal_entry entry = entry_begin(writer_of(set, 0), 40);
    struct entry_state two = tokens(2, 200), five = tokens(5, 500);
    if (steps > 0)
        journal_count(&entry, 1, 10);
    if (steps > 1)
        journal_progress(&entry, &two);
    if (steps > 2)
        journal_count(&entry, 3, 30);
    if (steps > 3)
        journal_count(&entry, 4, 40);
    if (steps > 4)
        journal_progress(&entry, &five);
    struct last last = {0};
    assert_int_equal(journal_set_scan(set, SIZE_MAX, keep_last, &last), OK);
    assert_int_equal(last.count, 0); /* nothing to store yet */
    journal_set_close(set);
    replay(keep_last, &last, 0);
    return last;
}

static void an_open_entry_counts_with_its_last_progress(void **state)
{
    static const uint64_t durations[] = {0, 0, 200, 200, 200, 500};
    for (int steps = 0; steps <= 5; steps++) {
        struct last last = left_after(steps);
        assert_int_equal(last.count, 1);
        assert_int_equal(last.row.state.outcome, ENTRY_ABORTED);
        assert_int_equal(last.row.state.output_tokens, steps);
        assert_int_equal(last.row.state.cost, steps * 10);
        assert_int_equal(last.row.state.duration_us, durations[steps]);
        assert_int_equal(last.row.ended_us, 40 + durations[steps]);
    }
}

static void progress_never_settles(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal_entry entry = entry_begin(writer_of(set, 0), 1);
    struct entry_state said_ok = {.outcome = ENTRY_OK};
    journal_progress(&entry, &said_ok);
    assert_int_equal(journal_set_pending(set), 0);
    journal_set_close(set);
    struct last last = {0};
    replay(keep_last, &last, 0);
    assert_int_equal(last.row.state.outcome, ENTRY_ABORTED);
}

static void an_end_without_outcome_is_a_failure(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal_entry entry = entry_begin(writer_of(set, 0), 1);
    struct entry_state end = {0};
    struct last last = {0};
    journal_settle(&entry, &end);
    assert_int_equal(journal_set_scan(set, SIZE_MAX, keep_last, &last), OK);
    assert_int_equal(last.count, 1);
    assert_int_equal(last.row.state.outcome, ENTRY_FAILED);
    journal_set_close(set);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static char only_file[512];

static void file_keep(const char *path)
{
    strcpy(only_file, path);
}

/* Turns a bit of the file of which there is one. */
static void file_spoil(size_t at)
{
    uint8_t byte;
    assert_int_equal(files_each(file_keep), 1);
    int fd = open(only_file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

#define FIELD_AT(field) (HEADER_BYTES + offsetof(struct slot, field)) /* in the first slot */

/* Two states and two counts, written 2, 5 (states), 3, 4 (counts), then one or the other is torn. */
static struct last left_after_tear(size_t at, bool settled)
{
    files_each(file_remove);
    struct journal_set *set = set_open(1);
    struct journal_entry entry = entry_begin(writer_of(set, 0), 40);
    struct entry_state two = tokens(2, 200), five = tokens(5, 500);
    journal_progress(&entry, &two);
    journal_count(&entry, 3, 30);
    journal_count(&entry, 4, 40);
    five.outcome = ENTRY_OK;
    if (settled)
        journal_settle(&entry, &five);
    journal_set_close(set);
    file_spoil(at);
    struct last last = {0};
    replay(keep_last, &last, 1);
    return last;
}

static void a_torn_write_leaves_what_was_before(void **state)
{
    struct last last = left_after_tear(FIELD_AT(states[1].cost), true);
    assert_int_equal(last.row.state.outcome, ENTRY_ABORTED);
    assert_int_equal(last.row.state.output_tokens, 4); /* the newest count is newer than the older state */
    last = left_after_tear(FIELD_AT(counts[1].output_tokens), false);
    assert_int_equal(last.row.state.output_tokens, 3);
    last = left_after_tear(FIELD_AT(counts[0].version), false);
    assert_int_equal(last.row.state.output_tokens, 4);
    last = left_after_tear(FIELD_AT(states[0].check), false);
    assert_int_equal(last.row.state.output_tokens, 4);
    assert_int_equal(last.row.state.duration_us, 0);
    last = left_after_tear(FIELD_AT(states[0].provider), true); /* the older one does not matter */
    assert_int_equal(last.row.state.outcome, ENTRY_OK);
    assert_int_equal(last.row.state.output_tokens, 5);
    last = left_after_tear(FIELD_AT(open.at_us), true);
    assert_int_equal(last.count, 0);
}

static void a_damaged_name_leaves_the_numbers(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal_entry entry;
    struct entry_state end = tokens(7, 1);
    end.outcome = ENTRY_OK;
    assert_int_equal(journal_open(writer_of(set, 0), &(struct entry_open){.client = STR("somebody")}, &entry),
                     OK);
    journal_settle(&entry, &end);
    journal_set_close(set);
    file_spoil(NAMES_AT + NAME_UNIT + sizeof(struct segment_name) + 3);
    struct last last = {0};
    replay(keep_last, &last, 1);
    assert_int_equal(last.count, 1);
    assert_int_equal(last.row.state.output_tokens, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
        TEST(fields_come_back),
        TEST(fields_come_back_after_a_restart),
        TEST(rows_carry_the_key_of_their_run),
        TEST(long_texts_are_cut_and_numbers_are_not),
        TEST(an_entry_outside_the_journal_is_ignored),
        TEST(names_survive_the_change_of_segments),
        TEST(a_segment_holds_all_names_at_full_length),
        TEST(a_segment_full_of_names_is_left),
        TEST(an_open_entry_counts_with_its_last_progress),
        TEST(progress_never_settles),
        TEST(an_end_without_outcome_is_a_failure),
        TEST(a_torn_write_leaves_what_was_before),
        TEST(a_damaged_name_leaves_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
