/* Pages of the list of requests: as bytes, as they grow, damaged, and what is given again by the journal. */
#include "store/test.h"

#include "store/journal_fake.h"
#include "store/requests_test.h"

#define DAY INT64_C(86400)

/* ---- bytes --------------------------------------------------------------------------------------------- */

static struct {
    char bytes[1 << 16];
    size_t n;
    uint32_t count;
} made;

static void made_begin(void)
{
    memset(&made, 0, sizeof made);
    made.n = PAGE_HEADER_BYTES;
}

static void made_add(const struct request_row *row, const struct page_names *names)
{
    size_t n = page_row_write(made.bytes + made.n, NOON * US, row, names);
    assert_true(n <= PAGE_ROW_BYTES_MAX);
    made.n += n;
    made.count++;
}

static struct page made_page(void)
{
    page_header_write(made.bytes, made.n, 7, NOON * US, made.count);
    struct page page = {.boot = 7};
    assert_true(page_open(&page, str_make(made.bytes, made.n)));
    return page;
}

/* Everything at its largest, or at its smallest. */
static struct request_row extreme(bool large, struct page_names *names, const char *id)
{
    int64_t most = large ? INT64_MAX : INT64_MIN, number = large ? INT64_MAX : 0;
    struct request_row row = {.worker = large ? UINT32_MAX : 0, .sequence = large ? UINT64_MAX : 0};
    row.ended_us = most;
    row.open.at_us = large ? INT64_MIN : INT64_MAX;
    row.open.request_id = str_make(id, large ? ENTRY_TEXT_MAX : 0);
    row.open.stream = row.state.estimated = large;
    row.state.outcome = large ? ENTRY_ABORTED : ENTRY_OPEN;
    row.state.input_tokens = row.state.output_tokens = row.state.cached_tokens = most;
    row.state.reasoning_tokens = row.state.cost = most;
    row.state.duration_us = row.state.first_byte_us = large ? UINT64_MAX : 0;
    row.state.status = row.state.attempt_count = large ? INT32_MAX : 0;
    for (int i = 0; i < NAME_COUNT; i++)
        names->of[i] = number;
    for (int i = 0; i < ENTRY_ATTEMPTS_MAX; i++) {
        names->attempts[i] = (struct page_attempt){number, number, number};
        row.state.attempts[i].status = large ? INT32_MAX : 0;
    }
    return row;
}

static void assert_row(const struct page_row *got, const struct request_row *row,
                       const struct page_names *names)
{
    struct entry_state state;
    struct page_attempt attempts[ENTRY_ATTEMPTS_MAX];
    assert_true(page_row_rest(got, &state, attempts));
    assert_true(got->ended_us == row->ended_us && got->at_us == row->open.at_us);
    assert_true(got->worker == row->worker && got->sequence == row->sequence);
    assert_true(str_eq(got->request_id, row->open.request_id));
    assert_true(got->stream == row->open.stream && state.outcome == row->state.outcome);
    assert_memory_equal(got->names, names->of, sizeof names->of);
    assert_true(state.input_tokens == row->state.input_tokens && state.cost == row->state.cost);
    assert_true(state.output_tokens == row->state.output_tokens && state.estimated == row->state.estimated);
    assert_true(state.cached_tokens == row->state.cached_tokens);
    assert_true(state.reasoning_tokens == row->state.reasoning_tokens);
    assert_true(state.duration_us == row->state.duration_us);
    assert_true(state.first_byte_us == row->state.first_byte_us);
    assert_int_equal(state.status, row->state.status);
    assert_int_equal(state.attempt_count, row->state.attempt_count);
    for (int i = 0; i < MIN(state.attempt_count, (int)ENTRY_ATTEMPTS_MAX); i++) {
        assert_memory_equal(&attempts[i], &names->attempts[i], sizeof attempts[i]);
        assert_int_equal(state.attempts[i].status, row->state.attempts[i].status);
    }
}

static void rows_come_back_from_bytes(void **state)
{
    char id[ENTRY_TEXT_MAX];
    memset(id, 0xff, sizeof id);
    struct page_names names[3] = {{{1, 2, 3, 4, 5, 6}, {{0}}}};
    struct request_row rows[3] = {row_make(9, NOON * US - 3)};
    rows[1] = extreme(true, &names[1], id);
    rows[2] = extreme(false, &names[2], id);
    made_begin();
    for (int i = 0; i < 3; i++)
        made_add(&rows[i], &names[i]);
    struct page page = made_page();
    struct page_row row;
    for (int i = 0; i < 3; i++) {
        assert_true(page_next(&page, &row));
        assert_row(&row, &rows[i], &names[i]);
    }
    assert_false(page_next(&page, &row));
    assert_false(page.is_damaged);
}

static void every_changed_bit_is_seen(void **state)
{
    struct page_names names = {{1, 2, 3, 4, 5, 6}, {{0}}};
    made_begin();
    for (uint64_t i = 0; i < 3; i++) {
        struct request_row row = row_make(i, NOON * US);
        made_add(&row, &names);
    }
    made_page();
    for (size_t bit = 0; bit < made.n * 8; bit++) {
        struct page page = {.boot = 7};
        made.bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(page_open(&page, str_make(made.bytes, made.n)));
        made.bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    struct page page = {.boot = 7};
    for (size_t n = 0; n < made.n; n++)
        assert_false(page_open(&page, str_make(made.bytes, n)));
    page.boot = 8; /* another run's */
    assert_false(page_open(&page, str_make(made.bytes, made.n)));
}

/* Whoever writes a page with a valid checksum can write anything: it is read within its bounds. */
static void hostile_bytes_are_read_within_bounds(void **state)
{
    uint32_t dice = 12345;
    struct page_names names = {{1, 2, 3, 4, 5, 6}, {{1, 2, 3}}};
    for (int round = 0; round < 20000; round++) {
        made_begin();
        for (uint64_t i = 0; i < 3; i++) {
            struct request_row row = row_make(i, NOON * US);
            row.state.attempt_count = 1;
            made_add(&row, &names);
        }
        for (int i = 0; i < 1 + round % 4; i++) {
            dice = dice * 1664525 + 1013904223;
            made.bytes[PAGE_HEADER_BYTES + (dice >> 8) % (made.n - PAGE_HEADER_BYTES)] = (char)(dice >> 24);
        }
        made.n -= (dice >> 4) % 3 * ((dice >> 6) % 50);
        made.count += (dice >> 12) % 2;
        char *exact = malloc(made.n); /* so that one byte beyond is noticed */
        struct page page = made_page();
        memcpy(exact, made.bytes, made.n);
        assert_true(page_open(&page, str_make(exact, made.n)));
        struct page_row row;
        struct entry_state entry;
        struct page_attempt attempts[ENTRY_ATTEMPTS_MAX];
        int rows = 0;
        while (page_next(&page, &row)) {
            if (page_row_rest(&row, &entry, attempts))
                assert_true(entry.attempt_count >= 0 && entry.outcome <= ENTRY_ABORTED);
            rows++;
        }
        assert_true(rows <= 4);
        free(exact);
    }
}

/* ---- how they grow ------------------------------------------------------------------------------------- */

static struct asked ask_before(struct store *s, int64_t before_us, size_t limit)
{
    struct asked a = ask(s, (struct request_query){.outcome = -1, .before_us = before_us, .limit = limit});
    assert_int_equal(a.err, OK);
    return a;
}

/* How many rows a list of at most 1000 has; all is written then. */
static size_t count(struct store *s)
{
    CLEANUP(asked_free) struct asked a = ask_before(s, 0, 1000);
    return a.count;
}

static void settle(uint64_t boot, uint64_t from, uint64_t n, int64_t second)
{
    for (uint64_t i = from; i < from + n; i++) {
        struct request_row row = row_make(i, second * US);
        row.boot = boot;
        fake_settle(&row);
    }
}

#define PAGES(s) COUNT(s, "SELECT count(*) FROM request_pages")
#define ROWS(s) COUNT(s, "SELECT ifnull(sum(count), 0) FROM request_pages")
#define SUM(s) COUNT(s, "SELECT sum(requests) FROM usage WHERE grain = 3 AND tier = 0")

static void open_page_grows_until_it_is_big(void **state)
{
    struct store *s = store_new();
    uint64_t settled = 0;
    for (int i = 0; i < 12; i++) { /* 12 batches at least */
        settle(1, settled, 50, NOON);
        settled += 50;
        assert_int_equal(count(s), settled);
        if (i != 10) /* the page is big enough then, after one batch or after the first of two */
            assert_int_equal(PAGES(s), i < 10 ? 1 : 2);
    }
    settle(1, settled, 4400, NOON); /* 4100 would be one row too many for the page that is open */
    assert_true(count(s) >= 1000);
    assert_int_equal(ROWS(s), 5000);
    assert_true(PAGES(s) >= 3 && PAGES(s) <= 11);
    assert_true(COUNT(s, "SELECT max(count) FROM request_pages") <= 4096);
    assert_int_equal(SUM(s), 5000);
    store_close(s);
}

static void old_page_is_closed(void **state)
{
    struct store *s = store_new();
    settle(1, 0, 1, NOON);
    assert_int_equal(count(s), 1);
    s->pages.open.begun = clock_now() - 3601 * CLOCK_S; /* its thread waits for us */
    settle(1, 1, 1, NOON);
    assert_int_equal(count(s), 2);
    assert_int_equal(PAGES(s), 1);
    settle(1, 2, 1, NOON);
    assert_int_equal(count(s), 3);
    assert_int_equal(PAGES(s), 2);
    store_close(s);
}

static void each_run_has_its_pages(void **state)
{
    struct store *s = store_new();
    settle(1, 0, 3, NOON);
    settle(2, 0, 3, NOON);
    settle(1, 3, 3, NOON);
    assert_int_equal(count(s), 9);
    assert_int_equal(PAGES(s), 3);
    store_close(s);
    s = store_new();
    settle(1, 6, 1, NOON); /* a page that an earlier start began grows no more */
    assert_int_equal(count(s), 10);
    assert_int_equal(PAGES(s), 4);
    store_close(s);
}

struct retained {
    struct store *store;
    int64_t now_us;
};

static void retain_all(void *argument)
{
    struct retained *r = argument;
    bool more = true;
    while (more)
        assert_int_equal(retention_step(r->store, r->now_us, &more), OK);
}

/* A page goes with its newest row; the open one may be the one that goes. */
static void pages_go_with_their_newest_row(void **state)
{
    struct store *s = store_new();
    settle(1, 0, 5, NOON - 50 * DAY);
    settle(1, 5, 1, NOON);
    assert_int_equal(count(s), 6);
    store_ask(s, retain_all, &(struct retained){s, NOON * US});
    assert_int_equal(ROWS(s), 6);
    store_ask(s, retain_all, &(struct retained){s, (NOON + 31 * DAY) * US});
    assert_int_equal(ROWS(s), 0);
    settle(1, 6, 2, NOON + 31 * DAY);
    assert_int_equal(count(s), 2);
    assert_int_equal(ROWS(s), 2);
    store_close(s);
}

/* Somebody else's hand: the page is written again, and nothing of it is lost. */
static void open_page_may_be_gone(void **state)
{
    struct store *s = store_new();
    settle(1, 0, 2, NOON);
    assert_int_equal(count(s), 2);
    assert_int_equal(test_exec(s, "DELETE FROM request_pages"), OK);
    settle(1, 2, 1, NOON);
    assert_int_equal(count(s), 3);
    store_close(s);
}

/* ---- names --------------------------------------------------------------------------------------------- */

/* The journal uses its memory again: another name may stand where one stood. */
static void names_are_told_apart(void **state)
{
    enum { MODELS = 600 };
    static char client[] = "ann", models[MODELS][8];
    struct store *s = store_new();
    struct request_row row = row_make(1, NOON * US);
    row.open.client = str_from_c(client);
    fake_settle(&row);
    assert_int_equal(count(s), 1);
    fake_reset();
    memcpy(client, "bob", 3);
    row.sequence = 2;
    fake_settle(&row);
    assert_int_equal(count(s), 2);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM usage WHERE grain = 3 AND tier = 1 AND requests = 1"), 2);
    for (uint64_t i = 0; i < MODELS * 2; i++) {
        row = row_make(10 + i, NOON * US);
        snprintf(models[i % MODELS], sizeof models[0], "m%u", (unsigned)(i % MODELS));
        row.state.model = str_from_c(models[i % MODELS]);
        fake_settle(&row);
    }
    assert_true(count(s) >= 1000);
    assert_int_equal(COUNT(s, "SELECT count(*) FROM usage WHERE grain = 3 AND tier = 3"), MODELS + 1);
    assert_int_equal(COUNT(s, "SELECT max(requests) FROM usage WHERE grain = 3 AND tier = 3"), 2);
    store_close(s);
}

/* ---- lists over many of them --------------------------------------------------------------------------- */

/* Rows of four runs, mixed, with five at each microsecond: more than are kept before the older ones go. */
static void lists_go_over_pages(void **state)
{
    enum { N = 4900 };
    static bool seen[N];
    struct store *s = store_new();
    memset(seen, 0, sizeof seen);
    for (uint64_t i = 0; i < N; i++) {
        struct request_row row = row_make(i, NOON * US + (int64_t)(i * 1013 % N / 5));
        row.boot = 1 + i / 35 % 4;
        fake_settle(&row);
    }
    int64_t before = 0, last = INT64_MAX;
    size_t total = 0;
    while (total < N) {
        CLEANUP(asked_free) struct asked a = ask_before(s, before, 97);
        assert_true(a.count >= MIN(N - total, (size_t)97) && a.count <= 101);
        for (size_t i = 0; i < a.count; i++) {
            assert_true(a.rows[i].ended_us <= last && (i || a.rows[i].ended_us < last));
            last = a.rows[i].ended_us;
            assert_int_equal(a.rows[i].boot, 1 + a.rows[i].sequence / 35 % 4);
            assert_false(seen[a.rows[i].sequence]);
            seen[a.rows[i].sequence] = true;
        }
        total += a.count;
        before = last;
    }
    assert_int_equal(total, N);
    CLEANUP(asked_free) struct asked rest = ask_before(s, before, 97);
    assert_int_equal(rest.count, 0);
    store_close(s);
}

/* All at once: a list never ends between them. */
static void one_microsecond_may_hold_many(void **state)
{
    struct store *s = store_new();
    settle(1, 0, 4500, NOON);
    settle(1, 4500, 1, NOON + 1);
    CLEANUP(asked_free) struct asked a = ask_before(s, 0, 2);
    assert_int_equal(a.count, 4501);
    assert_int_equal(a.rows[0].sequence, 4500);
    CLEANUP(asked_free) struct asked b = ask_before(s, (NOON + 1) * US, 1);
    assert_int_equal(b.count, 4500);
    CLEANUP(asked_free) struct asked c = ask_before(s, NOON * US, 1);
    assert_int_equal(c.count, 0);
    store_close(s);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static void recent_add(void *argument, const struct usage_recent *u)
{
    *(int64_t *)argument += u->requests;
}

static int64_t recent(struct store *s)
{
    int64_t requests = 0;
    struct error error;
    assert_int_equal(store_recent(s, (NOON - DAY) * US, recent_add, &requests, &error), OK);
    return requests;
}

static void damaged_pages_are_left_out(void **state)
{
    struct store *s = store_new();
    for (uint64_t boot = 1; boot <= 4; boot++)
        settle(boot, 0, 10, NOON + (int64_t)boot);
    assert_int_equal(count(s), 40);
    assert_int_equal(recent(s), 40);
    assert_int_equal(
        test_exec(s, "UPDATE request_pages SET data = substr(data, 1, 100) || x'00' || substr(data, 102) "
                     "WHERE boot = 2; UPDATE request_pages SET data = x'' WHERE boot = 3"),
        OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(count(s), 20);
        assert_int_equal(recent(s), 20);
        assert_int_equal(log_count("requests_damaged"), 2); /* each once */
    }
    assert_int_equal(log_count("found so far: 2"), 1);
    assert_int_equal(test_exec(s, "UPDATE request_pages SET data = 'no bytes', last_us = -5 WHERE boot = 4; "
                                  "UPDATE request_pages SET boot = 99 WHERE boot = 1"),
                     OK);
    assert_int_equal(count(s), 0);
    assert_int_equal(log_count("requests_damaged"), 4);
    assert_true(store_is_well(s));
    settle(5, 0, 1, NOON);
    assert_int_equal(count(s), 1);
    store_close(s);
}

/* ---- what is given again ------------------------------------------------------------------------------- */

/* A crash between the commit and the mark: some of what is replayed is in pages, in any of them. */
static void replay_over_what_is_there(void **state)
{
    struct store *s = store_new();
    settle(1, 0, 600, NOON); /* a page that is full, and one of later */
    assert_int_equal(count(s), 600);
    settle(1, 600, 10, NOON + 500);
    assert_int_equal(count(s), 610);
    settle(2, 0, 10, NOON + 5);
    assert_int_equal(count(s), 620);
    fake_reset();
    store_close(s);
    static const uint64_t sequences[] = {605, 609, 610, 611, 0, 599};
    for (size_t i = 0; i < COUNT_OF(sequences); i++) {
        fake.old[i] = row_make(sequences[i], (sequences[i] < 600 ? NOON : NOON + 500) * US);
        fake.old[i].boot = 1;
    }
    fake.old[6] = row_make(3, (NOON + 5) * US);
    fake.old[7] = row_make(10, (NOON + 5) * US);
    fake.old[6].boot = fake.old[7].boot = 2;
    fake.old[8] = row_make(3, NOON * US); /* another worker's */
    fake.old[8].boot = 2;
    fake.old[8].worker = 7;
    fake.old[9] = row_make(3, NOON * US); /* a run that has no rows yet */
    fake.old[9].boot = 3;
    fake.old_count = 10;
    fake.forgets = true;
    for (int i = 0; i < 3; i++) {
        s = store_new();
        assert_int_equal(ROWS(s), 620 + 5); /* 610, 611 of run 1; 10 of run 2; another worker's; run 3 */
        assert_int_equal(SUM(s), 620 + 5);
        assert_int_equal(s->known.size, 0);
        store_close(s);
    }
}

struct doubt_made {
    struct store *store;
    size_t rows;
    int64_t ahead;
};

static void doubt_make(void *argument)
{
    struct doubt_made *d = argument;
    struct request_row row = row_make(0, NOON * US);
    d->store->doubt = (struct doubt){d->store->batch_number + d->ahead, 1, row.open.at_us, d->rows};
    pages_forget(&d->store->pages);
}

/* A commit said that it failed. It was done: its records come again, not all at once. */
static void commit_that_failed_may_be_in(void **state)
{
    struct store *s = store_new();
    settle(1, 0, 300, NOON);
    assert_int_equal(count(s), 300);
    fake_reset();
    store_ask(s, doubt_make, &(struct doubt_made){s, 300, 0});
    settle(1, 0, 200, NOON);
    assert_int_equal(count(s), 300);
    assert_int_equal(s->known.awaited, 100);
    settle(1, 300, 50, NOON);
    settle(1, 200, 100, NOON);
    assert_int_equal(count(s), 350);
    assert_int_equal(s->known.size, 0);
    assert_int_equal(SUM(s), 350);
    /* It was not done: the number is another one, and nothing is looked up. */
    store_ask(s, doubt_make, &(struct doubt_made){s, 50, 1});
    settle(1, 350, 50, NOON);
    assert_int_equal(count(s), 400);
    assert_int_equal(s->known.size, 0);
    assert_int_equal(SUM(s), 400);
    store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, folder_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_from_bytes),
        cmocka_unit_test(every_changed_bit_is_seen),
        cmocka_unit_test(hostile_bytes_are_read_within_bounds),
        TEST(open_page_grows_until_it_is_big),
        TEST(old_page_is_closed),
        TEST(each_run_has_its_pages),
        TEST(pages_go_with_their_newest_row),
        TEST(open_page_may_be_gone),
        TEST(names_are_told_apart),
        TEST(lists_go_over_pages),
        TEST(one_microsecond_may_hold_many),
        TEST(damaged_pages_are_left_out),
        TEST(replay_over_what_is_there),
        TEST(commit_that_failed_may_be_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
