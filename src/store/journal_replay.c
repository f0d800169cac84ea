/*
 * What earlier runs left in the journal's folder: read at boot, before any worker writes. Files are copied,
 * not mapped: whatever happens to one while it is read is an error here, and not a signal.
 */
#include "store/journal_segment.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- which files there are ----------------------------------------------------------------------------- */

/* "BOOT-WORKER-NUMBER.seg", as segment_path writes it. */
static bool name_parse(struct str name, uint64_t *boot)
{
    uint64_t worker, number;
    if (name.n >= sizeof((struct old_segment *)0)->name || !str_ends(name, STR(".seg")))
        return false;
    struct str rest = str_first(name, name.n - STR(".seg").n);
    struct str hex = str_cut(&rest, '-');
    struct str decimal = str_cut(&rest, '-');
    if (hex.n != 16 || !num_parse_u64(decimal, &worker) || !num_parse_u64(rest, &number))
        return false;
    *boot = 0;
    for (size_t i = 0; i < hex.n; i++) {
        int digit = num_hex_digit(hex.p[i]);
        if (digit < 0)
            return false;
        *boot = *boot << 4 | (unsigned)digit;
    }
    return true;
}

static enum err old_add(struct journal_set *set, const char *name)
{
    if (set->old_count % 64 == 0) {
        struct old_segment *old = mem_resize(set->old, (set->old_count + 64) * sizeof *old);
        if (!old)
            return ERR_NOMEM;
        set->old = old;
    }
    struct old_segment *o = &set->old[set->old_count++];
    *o = (struct old_segment){0};
    str_to_c(str_from_c(name), o->name, sizeof o->name);
    return OK;
}

static enum err folder_list(struct journal_set *set, struct error *error)
{
    DIR *folder = opendir(set->folder);
    if (!folder)
        return error_set(error, ERR_STORE, "%s: %s", set->folder, strerror(errno));
    enum err err = OK;
    uint64_t boot;
    for (struct dirent *d; err == OK && (d = readdir(folder));)
        if (name_parse(str_from_c(d->d_name), &boot) && boot != set->boot)
            err = old_add(set, d->d_name);
    closedir(folder);
    return err == OK ? OK : error_set(error, err, "out of memory");
}

/* ---- one file ------------------------------------------------------------------------------------------ */

struct old_file {
    uint8_t *bytes; /* SEGMENT_BYTES at least; zeros where the file is too short */
    size_t n, room;
};

/* -1 when it cannot be opened or is no plain file. */
static int old_open(const struct journal_set *set, const struct old_segment *o, size_t *size)
{
    char path[PATH_MAX];
    struct stat st;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", set->folder, o->name) >= sizeof path)
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        *size = (size_t)MIN(st.st_size, (off_t)SEGMENT_MAPPED);
    return fd;
}

/* How many bytes of `n` could be read from the beginning. */
static size_t read_up_to(int fd, uint8_t *bytes, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, bytes + done, n - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

static bool header_is_valid(const struct segment_header *h)
{
    return h->magic == SEGMENT_MAGIC && h->version == SEGMENT_VERSION &&
           h->slot_bytes == sizeof(struct slot) && h->slot_count == SLOT_COUNT && h->check == header_check(h);
}

/* Where the file stands among the others. A file without a header, as a crash leaves one that was not used
   yet, has nothing to replay; a wrong header is damage. */
static void old_look(const struct journal_set *set, struct old_segment *o, size_t *damaged)
{
    struct segment_header h = {0};
    size_t size = 0;
    int fd = old_open(set, o, &size);
    size_t n = fd >= 0 ? read_up_to(fd, (uint8_t *)&h, sizeof h) : 0;
    if (fd >= 0)
        close(fd);
    o->is_unreadable = fd < 0 || (h.magic != 0 && (n < sizeof h || !header_is_valid(&h)));
    if (o->is_unreadable)
        (*damaged)++;
    o->boot = h.boot;
    o->begun_us = h.begun_us;
    o->number = h.number;
}

static int old_compare(const void *a, const void *b)
{
    const struct old_segment *x = a, *y = b;
    if (x->begun_us != y->begun_us)
        return x->begun_us < y->begun_us ? -1 : 1;
    if (x->boot != y->boot)
        return x->boot < y->boot ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static enum err old_read(const struct journal_set *set, const struct old_segment *o, struct old_file *file,
                         size_t *damaged)
{
    size_t size = 0;
    int fd = old_open(set, o, &size);
    file->n = MAX(size, (size_t)SEGMENT_BYTES);
    if (file->n > file->room) {
        uint8_t *bytes = mem_resize(file->bytes, file->n);
        if (!bytes) {
            if (fd >= 0)
                close(fd);
            return ERR_NOMEM;
        }
        file->bytes = bytes;
        file->room = file->n;
    }
    size_t got = fd >= 0 ? read_up_to(fd, file->bytes, size) : 0;
    if (fd >= 0)
        close(fd);
    memset(file->bytes + got, 0, file->n - got);
    const struct segment_header *h = (const void *)file->bytes;
    if (h->magic != 0 && (got < size || size < SEGMENT_BYTES))
        (*damaged)++;
    return OK;
}

static enum err records_give(const struct segment_image *image, journal_each *each, void *argument,
                             size_t *damaged)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct request_row row;
        enum record record = record_read(image, slot, &row, damaged);
        if (record == RECORD_OPEN)
            row.state.outcome = ENTRY_ABORTED;
        if (record == RECORD_OPEN || record == RECORD_SETTLED)
            TRY(each(argument, &row));
    }
    return OK;
}

/* No header, but records that nobody stored: the machine lost its power before the header was on the disk. */
static bool has_records(const struct segment_image *image)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct slot *s = image_slot(image, slot);
        if (s->open.sequence != 0 && s->stored != s->open.sequence)
            return true;
    }
    return false;
}

static enum err old_give(const struct journal_set *set, struct old_segment *o, struct old_file *file,
                         journal_each *each, void *argument, size_t *damaged)
{
    TRY(old_read(set, o, file, damaged));
    struct segment_header h;
    memcpy(&h, file->bytes, sizeof h);
    struct segment_image image = {file->bytes, file->n, h.boot, h.worker, header_salt(&h)};
    if (header_is_valid(&h))
        return records_give(&image, each, argument, damaged);
    o->is_unreadable = h.magic != 0 || has_records(&image);
    *damaged += o->is_unreadable;
    return OK;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

enum err journal_set_replay(struct journal_set *set, journal_each *each, void *argument, size_t *damaged,
                            struct error *error)
{
    size_t count = 0;
    if (!damaged)
        damaged = &count;
    *damaged = 0;
    set->old_count = 0;
    TRY(folder_list(set, error));
    for (size_t i = 0; i < set->old_count; i++)
        old_look(set, &set->old[i], damaged);
    if (set->old_count > 0)
        qsort(set->old, set->old_count, sizeof *set->old, old_compare);
    struct old_file file = {0};
    enum err err = OK;
    for (size_t i = 0; i < set->old_count && err == OK; i++)
        if (!set->old[i].is_unreadable)
            err = old_give(set, &set->old[i], &file, each, argument, damaged);
    mem_free(file.bytes);
    if (err != OK)
        error_set(error, err, "the journal of an earlier run could not be replayed");
    return err;
}

/* What could not be read at all is set aside for whoever wants to look at it, and not looked at again. */
void journal_set_forget_old(struct journal_set *set)
{
    char path[PATH_MAX], aside[PATH_MAX];
    for (size_t i = 0; i < set->old_count; i++) {
        const struct old_segment *o = &set->old[i];
        if ((size_t)snprintf(path, sizeof path, "%s/%s", set->folder, o->name) >= sizeof path ||
            (size_t)snprintf(aside, sizeof aside, "%s.damaged", path) >= sizeof aside)
            continue;
        if (o->is_unreadable ? rename(path, aside) != 0 : unlink(path) != 0)
            log_event(LOG_WARNING, "journal_remains", "%s: %s", path, strerror(errno));
    }
    mem_free(set->old);
    set->old = NULL;
    set->old_count = 0;
}
