/* file_watch on a real loop and a real folder. */
#include "loop/thread.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct loop *l;
static struct file_watch f;
static struct timer guard;
static int changes;
static bool close_on_change, expired;
static char folder[64], config[128], other[128], spare[128], late[128], late_file[160];

static void on_change(struct file_watch *w)
{
    changes++;
    if (close_on_change)
        file_watch_close(w);
    loop_stop(l);
}

static void on_guard(struct timer *timer)
{
    expired = true;
    loop_stop(l);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* Runs until a change is told or `ms` have passed; how many were told. */
static int told_within(uint64_t ms)
{
    changes = 0;
    expired = false;
    timer_set(l, &guard, clock_after(clock_now(), ms));
    while (!changes && !expired)
        loop_run(l);
    timer_remove(l, &guard);
    return changes;
}

static int setup(void **state)
{
    strcpy(folder, "/tmp/hestia-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(config, sizeof config, "%s/hestia_config.yml", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    snprintf(spare, sizeof spare, "%s/spare", folder);
    snprintf(late, sizeof late, "%s/late", folder);
    snprintf(late_file, sizeof late_file, "%s/more.yml", late);
    put(config, "a: 1\n");
    guard = (struct timer){.on_due = on_guard, .due = CLOCK_NEVER};
    close_on_change = false;
    l = loop_new();
    f = (struct file_watch){.on_change = on_change};
    return l && file_watch_open(l, &f, (const char *const[]){config, late_file}, 2) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    file_watch_close(&f);
    loop_free(l);
    unlink(config);
    unlink(other);
    unlink(spare);
    unlink(late_file);
    rmdir(late);
    return rmdir(folder);
}

/* Inotify tells well before the look at the files after 2 s. */
enum { SOON = 1500, LOOK = 10000 };

static void replaced_by_rename(void **state)
{
    put(spare, "a: 2\n");
    assert_int_equal(rename(spare, config), 0);
    assert_int_equal(told_within(SOON), 1);
    put(spare, "a: 3\n");
    assert_int_equal(rename(spare, config), 0);
    assert_int_equal(told_within(SOON), 1);
}

static void written_in_place(void **state)
{
    put(config, "a: 2\n");
    assert_int_equal(told_within(SOON), 1);
}

static void several_writes_are_one_change(void **state)
{
    for (int i = 0; i < 20; i++)
        put(config, "a: 2\n");
    assert_int_equal(told_within(SOON), 1);
    assert_int_equal(told_within(200), 0);
}

static void others_do_not_concern(void **state)
{
    put(other, "x");
    assert_int_equal(told_within(300), 0);
    put(config, "a: 2\n"); /* it was listening */
    assert_int_equal(told_within(SOON), 1);
}

/* Only a look sees it: the folder was not there to be watched. */
static void folder_made_later(void **state)
{
    mkdir(late, 0755);
    put(late_file, "b: 1\n");
    assert_int_equal(told_within(LOOK), 1);
    put(late_file, "b: 2\n");
    assert_int_equal(told_within(SOON), 1);
}

/* As a mounted ConfigMap changes: no event carries the file's name. */
static void target_of_symlink(void **state)
{
    assert_int_equal(mkdir(late, 0755), 0);
    put(late_file, "a: 1\n");
    unlink(config);
    assert_int_equal(symlink("late/more.yml", config), 0);
    assert_int_equal(told_within(LOOK), 1);
    struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, late_file, past, 0), 0);
    assert_int_equal(told_within(LOOK), 1);
}

static void removed(void **state)
{
    unlink(config);
    assert_int_equal(told_within(LOOK), 1);
}

static void closed_by_its_own_callback(void **state)
{
    close_on_change = true;
    put(config, "a: 2\n");
    assert_int_equal(told_within(SOON), 1);
    put(config, "a: 3\n");
    assert_int_equal(told_within(200), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replaced_by_rename),
        TEST(written_in_place),
        TEST(several_writes_are_one_change),
        TEST(others_do_not_concern),
        TEST(folder_made_later),
        TEST(target_of_symlink),
        TEST(removed),
        TEST(closed_by_its_own_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
