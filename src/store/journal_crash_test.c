/* A kill -9 at any moment loses nothing that was said, and no file, whatever is in it, does harm. */
#include "store/journal_test.h"

#include "base/clock.h"

#include <signal.h>
#include <sys/wait.h>

enum { KILLS = 20, ROUND = 40, NUMBERS_MAX = 1 << 21 };

static uint32_t dice_seed;

static uint32_t dice(void)
{
    dice_seed = dice_seed * 1664525 + 1013904223;
    return dice_seed >> 8;
}

/* ---- kill -9 ------------------------------------------------------------------------------------------- */

/* What the child says after each step, as a client would see it. */
struct report {
    enum { SAID_SETTLED, SAID_COUNTED, SAID_STORED } what;
    uint32_t number;
    int64_t output_tokens;
};

static void say(int pipe_end, struct report r)
{
    if (write(pipe_end, &r, sizeof r) != sizeof r)
        _exit(1);
}

static enum err say_stored(void *argument, const struct request_row *row)
{
    say(*(int *)argument, (struct report){SAID_STORED, (uint32_t)row->open.at_us, row->state.output_tokens});
    return OK;
}

/* Small names: a record must be quick enough that the kill falls into the middle of the writing. */
static struct entry_state state_of(uint32_t number)
{
    struct entry_state s = {.provider = STR("p"), .outcome = ENTRY_OK, .attempt_count = 1};
    s.input_tokens = number;
    s.output_tokens = (int64_t)number * 3;
    s.cost = -(int64_t)number;
    s.attempts[0] = (struct entry_attempt){STR("p"), STR("m"), STR("ok"), 200};
    return s;
}

/* Several entries are open at a time; every 5000 the settled ones are "stored", which moves the segments on.
 */
static void write_for_ever(int pipe_end)
{
    struct error error = {0};
    struct journal_set *set = journal_set_open(folder, 1, &error);
    struct journal *j = set ? journal_set_writer(set, 0) : NULL;
    struct journal_entry entries[ROUND] = {0};
    for (uint32_t number = 0; j && number < NUMBERS_MAX; number++) {
        struct journal_entry *entry = &entries[number % ROUND];
        if (entry->journal) {
            struct entry_state s = state_of(number - ROUND);
            journal_settle(entry, &s);
            say(pipe_end, (struct report){SAID_SETTLED, number - ROUND, s.output_tokens});
        }
        if (journal_open(j, &(struct entry_open){.at_us = number, .model = STR("m")}, entry) != OK)
            _exit(1);
        journal_count(&entries[number / 2 % ROUND], number, 0);
        journal_count(entry, number, 1);
        say(pipe_end, (struct report){SAID_COUNTED, number, number});
        if (number % 5000 == 4999) {
            if (journal_set_scan(set, SIZE_MAX, say_stored, &pipe_end) != OK)
                _exit(1);
            journal_set_mark(set);
        }
    }
    _exit(2);
}

enum { SEEN_SETTLED = 1, SEEN_COUNTED = 2, SEEN_STORED = 4, SEEN_REPLAYED = 8 };
static uint8_t seen[NUMBERS_MAX];

static enum err check_replayed(void *argument, const struct request_row *row)
{
    uint32_t number = (uint32_t)row->open.at_us;
    assert_true(number < NUMBERS_MAX);
    assert_int_equal(row->sequence, number + 1);
    assert_int_equal(seen[number] & SEEN_REPLAYED, 0); /* once */
    if (seen[number] & (SEEN_SETTLED | SEEN_STORED))
        assert_int_equal(row->state.outcome, ENTRY_OK);
    if (row->state.outcome == ENTRY_OK) {
        struct entry_state s = state_of(number);
        assert_state(&row->state, &s);
    } else if (seen[number] & SEEN_COUNTED) {
        assert_true(row->state.output_tokens >= 0);
        assert_true(row->state.output_tokens >= number); /* never less than the client was told */
    }
    assert_text(row->open.model, STR("m"));
    seen[number] |= SEEN_REPLAYED;
    (*(uint64_t *)argument)++;
    return OK;
}

static void reports_read(int pipe_end, uint64_t until)
{
    struct report r;
    while (clock_now() < until && read(pipe_end, &r, sizeof r) == sizeof r) {
        static const uint8_t bits[] = {SEEN_SETTLED, SEEN_COUNTED, SEEN_STORED};
        assert_true(r.number < NUMBERS_MAX);
        seen[r.number] |= bits[r.what];
    }
}

/* Everything that was said is in the replay or was stored. */
static void check_nothing_is_missing(void)
{
    for (uint32_t i = 0; i < NUMBERS_MAX; i++)
        if (seen[i] && !(seen[i] & (SEEN_REPLAYED | SEEN_STORED)))
            fail_msg("number %u is lost", i);
}

static void run_and_kill(void)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        write_for_ever(ends[1]);
    }
    close(ends[1]);
    memset(seen, 0, sizeof seen);
    struct report first;
    assert_int_equal(read(ends[0], &first, sizeof first), sizeof first); /* it is at work */
    seen[first.number] |= SEEN_COUNTED;
    reports_read(ends[0], clock_after(clock_now(), dice() % 60));
    kill(child, SIGKILL);
    reports_read(ends[0], CLOCK_NEVER);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_kill_loses_nothing(void **state)
{
    for (int i = 0; i < KILLS; i++) {
        run_and_kill();
        struct journal_set *set = set_open(2);
        struct error error = {0};
        uint64_t count = 0;
        size_t damaged = 0;
        assert_int_equal(journal_set_replay(set, check_replayed, &count, &damaged, &error), OK);
        assert_true(damaged <= 2); /* the cell that was being written, the file that was being recycled */
        check_nothing_is_missing();
        journal_set_forget_old(set);
        journal_set_close(set);
        assert_int_equal(files_each(NULL), 0);
    }
}

/* ---- damaged files ------------------------------------------------------------------------------------- */

static char only_file[512];

static void file_keep(const char *path)
{
    strcpy(only_file, path);
}

/* Where to hit: mostly where something stands, and seldom the header, which would be the end of it. */
static off_t dice_place(void)
{
    static const uint32_t begins[] = {HEADER_BYTES, NAMES_AT, 0};
    static const uint32_t lengths[] = {200 * sizeof(struct slot), 8192, SEGMENT_BYTES};
    if (dice() % 64 == 0)
        return (off_t)(dice() % sizeof(struct segment_header));
    uint32_t i = dice() % COUNT_OF(begins);
    return (off_t)(begins[i] + dice() % lengths[i]);
}

static void bytes_spoil(int fd, uint32_t count)
{
    uint8_t bytes[16];
    for (uint32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = dice() % 3 ? (uint8_t)dice() : 0xff;
        assert_true(pwrite(fd, bytes, 1 + dice() % sizeof bytes, dice_place()) > 0);
    }
}

/* A row that is given is one that was written; only its names may be missing. */
static enum err check_plausible(void *argument, const struct request_row *row)
{
    struct sample x;
    sample_make(&x, (uint64_t)row->open.at_us);
    assert_true(row->open.at_us < 200);
    assert_text(row->open.request_id, x.open.request_id);
    if (row->open.model.n)
        assert_text(row->open.model, x.open.model);
    if (row->state.outcome != ENTRY_ABORTED)
        assert_int_equal(row->state.cost, x.state.cost);
    (*(uint64_t *)argument)++;
    return OK;
}

static void file_fill(void)
{
    struct journal_set *set = set_open(1);
    struct journal *j = writer_of(set, 0);
    for (uint64_t i = 0; i < 200; i++) {
        struct journal_entry entry = entry_begin(j, i);
        struct sample x;
        sample_make(&x, i);
        journal_progress(&entry, &x.state);
        journal_count(&entry, x.state.output_tokens, x.state.cost);
        entry_end(&entry, i);
    }
    journal_set_close(set);
    assert_int_equal(files_each(file_keep), 1);
}

static void damage_at_random_does_no_harm(void **state)
{
    file_fill();
    int fd = open(only_file, O_RDWR | O_CLOEXEC);
    struct error error = {0};
    static uint8_t good[SEGMENT_BYTES];
    assert_int_equal(pread(fd, good, sizeof good, 0), sizeof good);
    uint64_t given = 0;
    size_t damaged_in_all = 0;
    for (int round = 0; round < 100; round++) {
        uint64_t count = 0;
        size_t damaged = 0;
        assert_int_equal(pwrite(fd, good, sizeof good, 0), sizeof good);
        bytes_spoil(fd, 1 + dice() % 40);
        if (round % 5 == 0)
            assert_int_equal(ftruncate(fd, (off_t)(dice() % SEGMENT_BYTES)), 0);
        struct journal_set *set = set_open(2);
        assert_int_equal(journal_set_replay(set, check_plausible, &count, &damaged, &error), OK);
        assert_true(count <= 200);
        given += count;
        damaged_in_all += damaged;
        journal_set_close(set);
    }
    close(fd);
    assert_true(given > 1000);
    assert_true(damaged_in_all > 50);
}

static enum err copy_row(void *argument, const struct request_row *row)
{
    assert_in_range(row->state.outcome, ENTRY_OK, ENTRY_ABORTED);
    assert_true(row->open.model.n <= ENTRY_TEXT_MAX && row->open.request_id.n <= ENTRY_TEXT_MAX);
    for (size_t i = 0; i < row->open.model.n; i++)
        assert_in_range((uint8_t)row->open.model.p[i], 0, 255); /* it can be read */
    assert_true(row->state.attempt_count >= 0);
    *(struct request_row *)argument = *row;
    return OK;
}

/* Checks that are right over nonsense: as somebody could write who means harm. */
static void nonsense_with_right_checks_does_no_harm(void **state)
{
    file_fill();
    int fd = open(only_file, O_RDWR | O_CLOEXEC);
    static _Alignas(8) uint8_t bytes[SEGMENT_BYTES];
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), sizeof bytes);
    uint32_t salt = header_salt((struct segment_header *)(void *)bytes);
    /* Names of every length, and of more than the file has. */
    for (uint32_t i = 0; i < 1000; i++) {
        struct segment_name *name =
            (struct segment_name *)(void *)(bytes + SEGMENT_BYTES - (i + 1) * NAME_UNIT);
        name->n = (uint16_t)dice();
        name->check = name_check(salt, name->text, MIN(name->n, i * NAME_UNIT));
    }
    for (uint32_t i = 0; i < SLOT_COUNT; i++) {
        struct slot *s = (struct slot *)(void *)(bytes + HEADER_BYTES + i * sizeof *s);
        for (size_t k = 0; k < sizeof *s; k++)
            ((uint8_t *)s)[k] = dice() % 3 ? (uint8_t)dice() : 0xff;
        uint32_t seed = record_seed(salt, s->open.sequence);
        s->open.model = (NAMES_BYTES / NAME_UNIT) - dice() % 1002;
        s->open.check = open_check(seed, &s->open);
        for (int c = 0; c < 2; c++) {
            s->states[c].outcome %= 8;
            s->states[c].check = state_check(seed, &s->states[c]);
            s->counts[c].check = count_check(seed, &s->counts[c]);
        }
    }
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    close(fd);
    struct journal_set *set = set_open(2);
    struct error error = {0};
    struct request_row last = {0};
    size_t damaged = 0;
    assert_int_equal(journal_set_replay(set, copy_row, &last, &damaged, &error), OK);
    assert_true(last.sequence != 0 && damaged > 0);
    journal_set_close(set);
}

/* ---- the check itself ---------------------------------------------------------------------------------- */

static void the_check_is_crc32c(void **state)
{
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_table(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)dice();
    for (size_t n = 0; n < 200; n++)
        assert_int_equal(crc32c(dice_seed, bytes + n % 13, n), crc32c_table(dice_seed, bytes + n % 13, n));
}

int main(void)
{
    dice_seed = (uint32_t)clock_now() ^ (uint32_t)getpid();
    printf("dice %u\n", dice_seed); /* to be put here when a run has failed */
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
        TEST(a_kill_loses_nothing),
        TEST(damage_at_random_does_no_harm),
        TEST(nonsense_with_right_checks_does_no_harm),
        TEST(the_check_is_crc32c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
