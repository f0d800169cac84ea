/* Workers write while the store's thread reads, stores and recycles: each record comes exactly once, whole.
   Also the subject of a run under TSan. */
#include "store/journal_test.h"

#include <pthread.h>
#include <sched.h>

enum { WORKERS = 2, RECORDS = 52000, ABREAST = 50 };

static struct journal_set *set;
static _Atomic int working;

/* Entries end in another order than they began in, some long after their segment's turn. */
static void *work(void *argument)
{
    struct journal *j = argument;
    struct journal_entry entries[ABREAST] = {0};
    uint64_t numbers[ABREAST] = {0};
    struct sample x;
    for (uint64_t number = 0; number < RECORDS; number++) {
        size_t seat = number % 1000 == 0 ? 0 : 1 + (number * 7 + number / 3) % (ABREAST - 1);
        if (entries[seat].journal) {
            sample_make(&x, numbers[seat]);
            journal_settle(&entries[seat], &x.state);
        }
        sample_make(&x, number);
        while (journal_open(j, &x.open, &entries[seat]) != OK)
            sched_yield(); /* the maximum: the reader will make room */
        numbers[seat] = number;
        journal_progress(&entries[seat], &x.state);
        journal_count(&entries[seat], 1, 2);
    }
    for (size_t i = 0; i < ABREAST; i++)
        if (entries[i].journal) {
            sample_make(&x, numbers[i]);
            journal_settle(&entries[i], &x.state);
        }
    atomic_fetch_sub(&working, 1);
    return NULL;
}

enum { BATCH = 5000 };
static uint8_t seen[WORKERS][RECORDS];
static uint8_t *batch[BATCH]; /* places in `seen` of what the last scan gave */
static size_t taken;

static enum err take(void *argument, const struct request_row *row)
{
    uint64_t count = 0;
    assert_int_equal(count_exact(&count, row), OK);
    assert_in_range(row->worker, 0, WORKERS - 1);
    assert_in_range(row->open.at_us, 0, RECORDS - 1);
    assert_int_equal(row->sequence, row->open.at_us + 1);
    batch[taken++] = &seen[row->worker][row->open.at_us];
    return OK;
}

static void taken_is_stored(void)
{
    for (size_t i = 0; i < taken; i++)
        assert_int_equal((*batch[i])++, 0);
    journal_set_mark(set);
}

/* Now and then a batch fails and is taken again. */
static void read_until_the_end(void)
{
    bool last = false;
    for (int round = 0; !last || journal_set_pending(set) > 0; round++) {
        last = atomic_load(&working) == 0;
        taken = 0;
        assert_int_equal(journal_set_scan(set, BATCH, take, NULL), OK);
        if (taken == 0)
            sched_yield();
        else if (round % 5 != 4)
            taken_is_stored();
    }
}

static void each_record_comes_once(void **state)
{
    pthread_t threads[WORKERS];
    set = set_open(1);
    struct journal *journals[WORKERS];
    for (unsigned w = 0; w < WORKERS; w++)
        journals[w] = writer_of(set, w);
    set->bytes_max = 10 * SEGMENT_BYTES;
    atomic_store(&working, WORKERS);
    for (int w = 0; w < WORKERS; w++)
        assert_int_equal(pthread_create(&threads[w], NULL, work, journals[w]), 0);
    read_until_the_end();
    for (int w = 0; w < WORKERS; w++)
        pthread_join(threads[w], NULL);
    for (int w = 0; w < WORKERS; w++)
        for (int i = 0; i < RECORDS; i++)
            if (!seen[w][i])
                fail_msg("worker %d: record %d never came", w, i);
    journal_set_close(set);
    assert_int_equal(files_each(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_record_comes_once, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
