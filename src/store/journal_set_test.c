/* Scan and mark, the round of the segments, and what happens when the disk does not play along. */
#include "store/journal_test.h"

#include "base/clock.h"
#include "base/mem.h"

#include <signal.h>
#include <sys/resource.h>

/* ---- scan and mark ------------------------------------------------------------------------------------- */

static enum err refuse_the_third(void *argument, const struct request_row *row)
{
    return ++*(int *)argument == 3 ? ERR_IO : OK;
}

static void what_was_not_marked_is_given_again(void **state)
{
    struct journal_set *set = set_open(1);
    entries_write(writer_of(set, 0), 0, 10);
    assert_int_equal(scan_count(set, 4), 4);
    assert_int_equal(scan_count(set, SIZE_MAX), 10);
    int calls = 0;
    assert_int_equal(journal_set_scan(set, SIZE_MAX, refuse_the_third, &calls), ERR_IO);
    journal_set_mark(set); /* of a scan that failed nothing is marked */
    assert_int_equal(journal_set_pending(set), 10);
    assert_int_equal(scan_count(set, 7), 7);
    journal_set_mark(set);
    assert_int_equal(journal_set_pending(set), 3);
    assert_int_equal(scan_count(set, SIZE_MAX), 3);
    assert_int_equal(scan_count(set, 0), 0);
    journal_set_close(set);
}

static enum err collect_workers(void *argument, const struct request_row *row)
{
    ((int *)argument)[row->worker]++;
    return OK;
}

static void a_small_scan_serves_each_worker_in_turn(void **state)
{
    struct journal_set *set = set_open(1);
    int served[3] = {0};
    for (unsigned w = 0; w < 3; w++)
        entries_write(writer_of(set, w), 0, 100);
    assert_ptr_equal(writer_of(set, 1), writer_of(set, 1));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(journal_set_scan(set, 10, collect_workers, served), OK);
        journal_set_mark(set);
    }
    for (int w = 0; w < 3; w++)
        assert_int_equal(served[w], 10);
    journal_set_close(set);
}

static enum err count_any(void *argument, const struct request_row *row)
{
    (*(uint64_t *)argument)++;
    return OK;
}

static void what_is_marked_is_not_replayed(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    entries_write(j, 0, 50);
    struct journal_entry open = entry_begin(j, 99);
    assert_int_equal(scan_count(set, 30), 30);
    journal_set_mark(set);
    assert_non_null(open.journal);
    journal_set_close(set);
    uint64_t count = 0;
    replay(count_any, &count, 0);
    assert_int_equal(count, 21);
}

/* ---- the round of the segments ------------------------------------------------------------------------- */

static void segments_go_round(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    uint64_t count = 0;
    for (uint64_t i = 0; i < 15; i++) {
        entries_write(j, i * 2000, 2000);
        count += scan_count(set, SIZE_MAX);
        journal_set_mark(set);
        assert_true(files_each(NULL) <= 3);
    }
    assert_int_equal(count, 30000);
    assert_int_equal(journal_set_bytes(set), files_each(NULL) * SEGMENT_BYTES);
    assert_true(j->current->number < 3); /* the same few files all the time */
    journal_set_close(set);
    assert_int_equal(files_each(NULL), 0);
}

static void a_long_stream_does_not_hold_up_the_others(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    struct journal_entry stream = entry_begin(j, 1);
    for (uint64_t i = 0; i < 8; i++) {
        entries_write(j, i * SLOT_COUNT, SLOT_COUNT);
        journal_count(&stream, (int64_t)i, 0);
        assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT);
        journal_set_mark(set);
    }
    assert_true(files_each(NULL) <= 2 + SPARES_MAX);
    entry_end(&stream, 1);
    assert_int_equal(scan_count(set, SIZE_MAX), 1);
    journal_set_close(set);
}

/* After a rush no more than a few are kept. */
static void segments_beyond_the_spare_ones_are_removed(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    entries_write(j, 0, (uint64_t)SLOT_COUNT * 7);
    assert_int_equal(files_each(NULL), 7);
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT * 7);
    journal_set_mark(set);
    assert_int_equal(files_each(NULL), 1 + SPARES_MAX);
    assert_int_equal(journal_set_bytes(set), (1 + SPARES_MAX) * SEGMENT_BYTES);
    entries_write(j, 0, (uint64_t)SLOT_COUNT * 3);
    assert_int_equal(files_each(NULL), 1 + SPARES_MAX);
    journal_set_close(set);
}

static void the_next_segment_is_made_in_advance(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    entries_write(j, 0, SLOT_COUNT / 2);
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT / 2);
    assert_int_equal(files_each(NULL), 1);
    journal_set_mark(set);
    assert_int_equal(files_each(NULL), 2);
    j->retry_at = CLOCK_NEVER; /* it could not make one itself */
    entries_write(j, 0, SLOT_COUNT);
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT);
    journal_set_close(set);
}

/* A segment that comes round still has the records of its last turn behind the new ones. */
static void what_an_earlier_turn_left_is_not_replayed(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    j->spare_retry_at = CLOCK_NEVER; /* the only spare one is the one that comes back */
    entries_write(j, 0, SLOT_COUNT + 1);
    struct segment *first = j->segments ? j->segments : atomic_load(&j->inbox)->next;
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT + 1);
    journal_set_mark(set);
    entries_write(j, 0, SLOT_COUNT - 1);
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT - 1);
    journal_set_mark(set);
    entries_write(j, 7, 5);
    assert_ptr_equal(j->current, first);
    struct journal_entry open = entry_begin(j, 99);
    assert_non_null(open.journal);
    journal_set_close(set);
    uint64_t count = 0;
    replay(count_any, &count, 0);
    assert_int_equal(count, 6);
}

static void count_fill(void *owner)
{
    ++*(int *)owner;
}

static void each_quarter_of_a_segment_is_told(void **state)
{
    struct journal_set *set = set_open(1);
    int told = 0;
    journal_set_on_fill(set, count_fill, &told);
    struct journal *j = writer_of(set, 0);
    entries_write(j, 0, SEGMENT_QUARTER - 1);
    assert_int_equal(told, 0);
    entries_write(j, 0, 1);
    assert_int_equal(told, 1);
    entries_write(j, 0, SLOT_COUNT - SEGMENT_QUARTER);
    assert_int_equal(told, 4);
    entries_write(j, 0, SEGMENT_QUARTER);
    assert_int_equal(told, 5);
    journal_set_close(set);
}

/* ---- faults -------------------------------------------------------------------------------------------- */

static struct rlimit files_may_grow_to(rlim_t bytes)
{
    struct rlimit before, now;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    now = (struct rlimit){bytes, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    return before;
}

static bool can_open(struct journal *j)
{
    struct journal_entry entry;
    struct entry_state end = {.outcome = ENTRY_OK};
    enum err err = journal_open(j, &(struct entry_open){.at_us = 1}, &entry);
    assert_true(err == OK || (err == ERR_STORE && !entry.journal));
    journal_settle(&entry, &end);
    return err == OK;
}

static void a_full_disk_is_noticed_and_its_end_too(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    struct rlimit before = files_may_grow_to(SEGMENT_BYTES / 2);
    uint64_t now = clock_now();
    bool opened = can_open(j);
    files_may_grow_to(before.rlim_cur);
    assert_false(opened);
    assert_true(j->retry_at >= now + CLOCK_S);
    assert_int_equal(files_each(NULL), 0);
    assert_int_equal(journal_set_bytes(set), 0);
    j->retry_at = CLOCK_NEVER;
    assert_false(can_open(j)); /* not before its time */
    j->retry_at = 1;
    assert_true(can_open(j));
    assert_false(j->is_failing);
    journal_set_close(set);
}

/* What is under way when the disk fills up is written to its end; the one segment there is goes on. */
static void a_full_disk_leaves_the_segments_there_are(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    struct journal_entry entry = entry_begin(j, 7);
    entries_write(j, 0, SLOT_COUNT - 1);
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT - 1);
    j->spare_retry_at = j->retry_at = CLOCK_NEVER;
    journal_set_mark(set);
    assert_false(can_open(j));
    entry_end(&entry, 7);
    assert_int_equal(scan_count(set, SIZE_MAX), 1);
    journal_set_mark(set);
    assert_true(can_open(j));
    assert_int_equal(files_each(NULL), 1);
    journal_set_close(set);
}

/* The same when all of it had been stored before the segment was found full: a scan alone gives it back. */
static void a_stored_segment_comes_back_without_news(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    entries_write(j, 0, SLOT_COUNT);
    assert_int_equal(scan_count(set, SIZE_MAX), SLOT_COUNT);
    j->spare_retry_at = j->retry_at = CLOCK_NEVER;
    journal_set_mark(set);
    assert_false(can_open(j));
    assert_int_equal(scan_count(set, SIZE_MAX), 0);
    assert_true(can_open(j));
    journal_set_close(set);
}

/* Names that find no room leave the numbers whole, and come when there is room again. */
static void a_full_disk_never_loses_numbers(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    struct journal_entry entry = entry_begin(j, 5);
    struct segment *s = entry.segment;
    s->names_used = NAMES_BYTES; /* as after very many names */
    struct rlimit before = files_may_grow_to(SEGMENT_BYTES);
    struct sample x;
    sample_make(&x, 5);
    x.state.provider = STR("nobody knows it yet");
    journal_progress(&entry, &x.state);
    files_may_grow_to(before.rlim_cur);
    assert_int_equal(segment_slot(s, 0)->states[0].provider, 0);
    assert_int_equal(segment_slot(s, 0)->states[0].cost, x.state.cost);
    s->grow_at = 0;
    entry_end(&entry, 5);
    assert_int_equal(scan_count(set, SIZE_MAX), 1);
    assert_int_equal(journal_set_bytes(set), SEGMENT_BYTES + NAMES_GROWTH);
    journal_set_close(set);
}

static void the_maximum_holds_until_the_database_has_caught_up(void **state)
{
    struct journal_set *set = set_open(1);
    assert_int_equal(set->bytes_max, JOURNAL_BYTES_MAX);
    struct journal *j = writer_of(set, 0), *other = writer_of(set, 1);
    set->bytes_max = 3 * SEGMENT_BYTES;
    entries_write(other, 0, 1);
    entries_write(j, 0, 2 * SLOT_COUNT);
    assert_false(can_open(j));
    assert_int_equal(journal_set_bytes(set), 3 * SEGMENT_BYTES);
    entries_write(other, 1, 1);
    assert_int_equal(scan_count(set, SIZE_MAX), 2 * SLOT_COUNT + 2);
    journal_set_mark(set);
    assert_true(can_open(j));
    journal_set_close(set);
}

static void many_workers_have_a_few_segments_each(void **state)
{
    struct journal_set *set = set_open(1);
    writer_of(set, JOURNALS_MAX - 1);
    assert_int_equal(set->bytes_max, (uint64_t)JOURNALS_MAX * JOURNAL_SEGMENTS_EACH * SEGMENT_BYTES);
    assert_null(journal_set_writer(set, JOURNALS_MAX));
    journal_set_close(set);
}

static void a_file_that_vanishes_takes_no_more_entries(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    entries_write(j, 0, 1);
    struct segment *s = j->current;
    assert_int_equal(scan_count(set, SIZE_MAX), 1);
    assert_int_equal(files_each(file_remove), 1);
    set->look_at = 0;
    journal_set_mark(set);
    entries_write(j, 1, 1);
    assert_int_equal(files_each(NULL), 1);
    assert_ptr_not_equal(j->current, s);
    assert_int_equal(scan_count(set, SIZE_MAX), 1);
    journal_set_mark(set);
    assert_int_equal(files_each(NULL), 1); /* the lost one is not kept as a spare */
    assert_int_equal(journal_set_bytes(set), SEGMENT_BYTES);
    journal_set_close(set);
}

static void a_folder_that_vanishes_is_made_again(void **state)
{
    struct journal_set *set = set_open(1);
    assert_int_equal(rmdir(folder), 0);
    entries_write(writer_of(set, 0), 0, 1);
    assert_int_equal(files_each(NULL), 1);
    struct stat st;
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    journal_set_close(set);
}

static void a_folder_that_cannot_be_made_is_said(void **state)
{
    char path[128];
    struct error error = {0};
    snprintf(path, sizeof path, "%s/a/b", folder);
    assert_null(journal_set_open(path, 1, &error));
    assert_int_equal(error.err, ERR_STORE);
    assert_non_null(strstr(error.why, path));
    snprintf(path, sizeof path, "%s/file", folder);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_null(journal_set_open(path, 1, &error));
}

static void allocation_fails(int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    setenv("HESTIA_OOM_AT", text, 1);
    mem_init();
}

/* Set, folder, journal, segment: whichever is refused, what comes after works or says why not. */
static void short_memory_is_survived(void **state)
{
    for (int n = 1; n <= 5; n++) {
        struct error error = {0};
        allocation_fails(n);
        struct journal_set *set = journal_set_open(folder, 1, &error);
        assert_int_equal(set ? OK : error.err, n <= 2 ? ERR_NOMEM : OK);
        struct journal *j = set ? journal_set_writer(set, 0) : NULL;
        assert_int_equal(!!j, n > 3);
        struct journal_entry entry = {0};
        enum err err = journal_open(j, &(struct entry_open){0}, &entry);
        assert_int_equal(err, n <= 4 ? ERR_STORE : OK);
        allocation_fails(0);
        if (set)
            assert_int_equal(journal_set_bytes(set), err == OK ? SEGMENT_BYTES : 0);
        journal_set_close(set);
    }
    assert_int_equal(files_each(NULL), 1);
    for (int n = 1; n <= 3; n++) {
        struct journal_set *set = set_open(2);
        struct error error = {0};
        uint64_t count = 0;
        allocation_fails(n);
        enum err err = journal_set_replay(set, count_any, &count, NULL, &error);
        allocation_fails(0);
        assert_int_equal(err, n <= 2 ? ERR_NOMEM : OK);
        assert_int_equal(count, n <= 2 ? 0 : 1);
        journal_set_close(set);
    }
}

/* ---- what an earlier run left -------------------------------------------------------------------------- */

static int files_ending(const char *end)
{
    DIR *d = opendir(folder);
    int count = 0;
    for (struct dirent *e; (e = readdir(d));)
        count += str_ends(str_from_c(e->d_name), str_from_c(end));
    closedir(d);
    return count;
}

static void what_was_replayed_can_be_forgotten(void **state)
{
    struct journal_set *set = set_open(1);
    entries_write(writer_of(set, 0), 0, 10);
    journal_set_close(set);
    set = set_open(2);
    struct error error = {0};
    uint64_t count = 0;
    assert_int_equal(journal_set_replay(set, count_exact, &count, NULL, &error), OK);
    assert_int_equal(journal_set_replay(set, count_exact, &count, NULL, &error), OK);
    assert_int_equal(count, 20); /* nothing is removed before it is said */
    entries_write(writer_of(set, 0), 0, 1);
    journal_set_forget_old(set);
    assert_int_equal(files_each(NULL), 1); /* our own */
    journal_set_close(set);
}

static enum err refuse(void *argument, const struct request_row *row)
{
    return ERR_STORE;
}

static void a_replay_that_fails_says_so(void **state)
{
    struct journal_set *set = set_open(1);
    entries_write(writer_of(set, 0), 0, 10);
    journal_set_close(set);
    set = set_open(2);
    struct error error = {0};
    assert_int_equal(journal_set_replay(set, refuse, NULL, NULL, &error), ERR_STORE);
    journal_set_close(set);
    assert_int_equal(files_each(NULL), 1);
}

struct order {
    uint64_t boots[3];
    int count;
};

static enum err note_boot(void *argument, const struct request_row *row)
{
    struct order *o = argument;
    o->boots[o->count++] = row->boot;
    return OK;
}

static void the_oldest_run_comes_first(void **state)
{
    static const uint64_t boots[] = {500, 3, 0xffffffffffffffff};
    for (int i = 0; i < 3; i++) {
        struct journal_set *set = set_open(boots[i]);
        entries_write(writer_of(set, 0), 0, 1);
        /* Wall time may stand still between them: the order must not depend on it in this test. */
        struct segment_header *h = (void *)writer_of(set, 0)->current->map;
        h->begun_us = 1000 + i;
        h->check = header_check(h);
        journal_set_close(set);
    }
    struct order o = {0};
    replay(note_boot, &o, 0);
    assert_int_equal(o.count, 3);
    assert_memory_equal(o.boots, boots, sizeof boots);
}

static void put_file(const char *name, const void *bytes, size_t n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static void foreign_files_do_no_harm(void **state)
{
    static uint8_t zeros[10000];
    put_file("0000000000000001-0000-0000000000.seg", "", 0); /* killed before anything was in it */
    put_file("0000000000000001-0000-0000000001.seg", zeros, sizeof zeros);  /* the same, later */
    put_file("0000000000000001-0000-0000000002.seg", "not a journal", 13);  /* damaged */
    put_file("0000000000000001-0000-0000000003.seg", "HTIAJNL1 short", 14); /* damaged */
    put_file("notes.txt", "leave me", 8);
    put_file("0000000000000001-0000-x.seg", "leave me too", 12);
    char path[512];
    snprintf(path, sizeof path, "%s/0000000000000001-0000-0000000004.seg", folder);
    assert_int_equal(symlink("/dev/zero", path), 0); /* damaged */
    struct journal_set *set = set_open(2);
    struct error error = {0};
    uint64_t count = 0;
    size_t damaged = 0;
    assert_int_equal(journal_set_replay(set, count_exact, &count, &damaged, &error), OK);
    assert_int_equal(damaged, 3);
    assert_int_equal(count, 0);
    journal_set_forget_old(set);
    assert_int_equal(files_each(NULL), 5);
    assert_int_equal(files_ending(".damaged"), 3);
    damaged = 0;
    assert_int_equal(journal_set_replay(set, count_exact, &count, &damaged, &error), OK);
    assert_int_equal(damaged, 0);
    journal_set_close(set);
}

static void cut_in_half(const char *path)
{
    assert_int_equal(truncate(path, HEADER_BYTES + 100 * sizeof(struct slot)), 0);
}

/* Names stand at the end: what is left are the numbers of the first hundred. */
static void a_short_file_gives_what_it_has(void **state)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    for (int i = 0; i < 300; i++)
        assert_true(can_open(j));
    journal_set_close(set);
    files_each(cut_in_half);
    uint64_t count = 0;
    replay(count_any, &count, 1);
    assert_int_equal(count, 100);
}

static void header_wipe(const char *path)
{
    static uint8_t zeros[HEADER_BYTES];
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, zeros, sizeof zeros), sizeof zeros);
    close(fd);
}

/* A power cut may lose the header and keep the records: they are not thrown away unseen. */
static void records_without_a_header_are_set_aside(void **state)
{
    struct journal_set *set = set_open(1);
    entries_write(writer_of(set, 0), 0, 10);
    journal_set_close(set);
    files_each(header_wipe);
    set = set_open(2);
    struct error error = {0};
    uint64_t count = 0;
    size_t damaged = 0;
    assert_int_equal(journal_set_replay(set, count_exact, &count, &damaged, &error), OK);
    assert_int_equal(damaged, 1);
    journal_set_forget_old(set);
    assert_int_equal(files_ending(".damaged"), 1);
    journal_set_close(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
        TEST(what_was_not_marked_is_given_again),
        TEST(a_small_scan_serves_each_worker_in_turn),
        TEST(what_is_marked_is_not_replayed),
        TEST(segments_go_round),
        TEST(a_long_stream_does_not_hold_up_the_others),
        TEST(segments_beyond_the_spare_ones_are_removed),
        TEST(the_next_segment_is_made_in_advance),
        TEST(what_an_earlier_turn_left_is_not_replayed),
        TEST(each_quarter_of_a_segment_is_told),
        TEST(a_full_disk_is_noticed_and_its_end_too),
        TEST(a_full_disk_leaves_the_segments_there_are),
        TEST(a_stored_segment_comes_back_without_news),
        TEST(a_full_disk_never_loses_numbers),
        TEST(the_maximum_holds_until_the_database_has_caught_up),
        TEST(many_workers_have_a_few_segments_each),
        TEST(a_file_that_vanishes_takes_no_more_entries),
        TEST(a_folder_that_vanishes_is_made_again),
        TEST(a_folder_that_cannot_be_made_is_said),
        TEST(short_memory_is_survived),
        TEST(what_was_replayed_can_be_forgotten),
        TEST(a_replay_that_fails_says_so),
        TEST(the_oldest_run_comes_first),
        TEST(foreign_files_do_no_harm),
        TEST(a_short_file_gives_what_it_has),
        TEST(records_without_a_header_are_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
