/*
 * Makes, recycles and removes segment files, and puts names into them. Called by a worker (its own segments)
 * and by the store's thread (spare ones, and those that are stored whole): never both at once for the same
 * segment.
 */
#include "store/journal_segment.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

static bool segment_path(const struct journal_set *set, uint32_t worker, uint64_t number, char *path,
                         size_t size)
{
    int n = snprintf(path, size, "%s/%016llx-%04u-%010llu.seg", set->folder, (unsigned long long)set->boot,
                     worker, (unsigned long long)number);
    return n > 0 && (size_t)n < size;
}

/* Blocks for all of it now: a full disk is an error here, and never a SIGBUS at a later write. */
static int file_extend(int fd, off_t from, off_t n)
{
    int failed;
    do
        failed = posix_fallocate(fd, from, n);
    while (failed == EINTR);
    return failed;
}

/* A folder that was removed meanwhile is made again. */
static int file_open(const struct journal_set *set, const char *path)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags, 0600);
    if (fd < 0 && errno == ENOENT && mkdir(set->folder, 0700) == 0)
        fd = open(path, flags, 0600);
    return fd;
}

/* Sets fd and map; 0 or the errno. */
static int segment_map(struct segment *s, const char *path)
{
    s->fd = file_open(s->set, path);
    if (s->fd < 0)
        return errno;
    int failed = file_extend(s->fd, 0, SEGMENT_BYTES);
    if (failed)
        return failed;
    /* More than the file: when it grows, the rest is there without another call. */
    void *map = mmap(NULL, SEGMENT_MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (map == MAP_FAILED)
        return errno;
    s->map = map;
    return 0;
}

static void segment_unmap(struct segment *s)
{
    if (s->map)
        munmap(s->map, SEGMENT_MAPPED);
    if (s->fd >= 0)
        close(s->fd);
    atomic_fetch_sub_explicit(&s->set->bytes, atomic_load(&s->file_bytes), memory_order_relaxed);
    mem_free(s);
}

static bool bytes_take(struct journal_set *set, uint64_t n)
{
    uint64_t before = atomic_fetch_add_explicit(&set->bytes, n, memory_order_relaxed);
    if (before + n <= set->bytes_max)
        return true;
    atomic_fetch_sub_explicit(&set->bytes, n, memory_order_relaxed);
    return false;
}

static enum err segment_put_on_disk(struct segment *s, struct error *error)
{
    char path[PATH_MAX];
    if (!segment_path(s->set, s->worker, s->number, path, sizeof path))
        return error_set(error, ERR_STORE, "%s: the path is too long", s->set->folder);
    int failed = segment_map(s, path);
    if (!failed)
        return OK;
    if (s->fd >= 0)
        unlink(path);
    return error_set(error, ERR_STORE, "%s: %s", path, strerror(failed));
}

enum err segment_make(struct journal_set *set, uint32_t worker, struct segment **segment, struct error *error)
{
    if (!bytes_take(set, SEGMENT_BYTES))
        return error_set(error, ERR_STORE, "the journal has reached its maximum of %llu MiB",
                         (unsigned long long)(set->bytes_max >> 20));
    struct segment *s = mem_alloc(sizeof *s);
    if (!s) {
        atomic_fetch_sub_explicit(&set->bytes, SEGMENT_BYTES, memory_order_relaxed);
        return error_set(error, ERR_STORE, "out of memory");
    }
    s->set = set;
    s->fd = -1;
    s->worker = worker;
    s->number = atomic_fetch_add_explicit(&set->next_number, 1, memory_order_relaxed);
    s->names_used = NAME_UNIT; /* reference 0 is the empty name */
    atomic_store_explicit(&s->file_bytes, SEGMENT_BYTES, memory_order_relaxed);
    enum err err = segment_put_on_disk(s, error);
    if (err == OK)
        *segment = s;
    else
        segment_unmap(s);
    return err;
}

void segment_warm(struct segment *s)
{
    for (size_t at = 0; at < SEGMENT_BYTES; at += PAGE)
        *(volatile uint8_t *)(s->map + at) = 0;
}

bool segment_file_is_gone(const struct segment *s)
{
    struct stat st;
    return fstat(s->fd, &st) != 0 || st.st_nlink == 0 || st.st_size < SEGMENT_BYTES;
}

bool segment_recycle(struct segment *s)
{
    if (atomic_load(&s->file_bytes) != SEGMENT_BYTES || segment_file_is_gone(s))
        return false;
    struct segment_header *header = (void *)s->map;
    /* A kill from here on leaves a file without anything in it. The records stay until they are written over:
       each is marked as stored. */
    __atomic_store_n(&header->magic, 0, __ATOMIC_SEQ_CST);
    s->used = 0;
    s->names_used = NAME_UNIT;
    s->grow_at = 0;
    atomic_store_explicit(&s->opened, 0, memory_order_relaxed);
    atomic_store_explicit(&s->settled, 0, memory_order_relaxed);
    atomic_store_explicit(&s->closed, false, memory_order_relaxed);
    memset(s->seats, 0, sizeof s->seats);
    s->scanned = s->marked = 0;
    s->next = NULL;
    return true;
}

void segment_destroy(struct segment *s)
{
    char path[PATH_MAX];
    if (segment_path(s->set, s->worker, s->number, path, sizeof path))
        unlink(path);
    segment_unmap(s);
}

void segment_leave(struct segment *s)
{
    segment_unmap(s);
}

void segment_begin(struct segment *s, uint64_t sequence)
{
    struct segment_header *header = (void *)s->map;
    struct segment_header h = {
        .magic = SEGMENT_MAGIC,
        .version = SEGMENT_VERSION,
        .slot_bytes = sizeof(struct slot),
        .slot_count = SLOT_COUNT,
        .worker = s->worker,
        .boot = s->set->boot,
        .number = s->number,
        .sequence = sequence,
        .begun_us = clock_wall_us(),
    };
    h.check = header_check(&h);
    s->salt = header_salt(&h);
    memcpy((uint8_t *)header + sizeof h.magic, (const uint8_t *)&h + sizeof h.magic,
           sizeof h - sizeof h.magic);
    __atomic_store_n(&header->magic, SEGMENT_MAGIC, __ATOMIC_RELEASE);
}

/* Past the maximum of all segments too: an entry that was begun keeps its names. */
static bool segment_grow(struct segment *s)
{
    uint32_t bytes = atomic_load_explicit(&s->file_bytes, memory_order_relaxed);
    uint64_t now = clock_now();
    if (bytes >= SEGMENT_MAPPED || now < s->grow_at)
        return false;
    if (file_extend(s->fd, bytes, NAMES_GROWTH) != 0) {
        s->grow_at = now + CLOCK_S;
        return false;
    }
    atomic_store_explicit(&s->file_bytes, bytes + NAMES_GROWTH, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->set->bytes, NAMES_GROWTH, memory_order_relaxed);
    return true;
}

static bool name_stands(const struct segment *s, name_ref ref, struct str text)
{
    const struct segment_name *name = (const void *)(s->map + NAMES_AT + (size_t)ref * NAME_UNIT);
    return name->n == text.n && memcmp(name->text, text.p, text.n) == 0;
}

/* A name's seat is the first of a few that is free or its own; when none is, it drives the first one's owner
   out, who is written once more when he comes again. */
static struct name_seat *name_find(struct segment *s, uint32_t check, struct str text)
{
    struct name_seat *own = &s->seats[check % NAME_SEATS];
    for (uint32_t i = 0; i < NAME_PROBES; i++) {
        struct name_seat *seat = &s->seats[(check + i) % NAME_SEATS];
        if (seat->ref == 0 || (seat->check == check && name_stands(s, seat->ref, text)))
            return seat;
    }
    own->ref = 0;
    return own;
}

/* 0: no room. */
static name_ref name_append(struct segment *s, uint32_t check, struct str text)
{
    uint32_t bytes = (uint32_t)(sizeof(struct segment_name) + text.n + NAME_UNIT - 1) / NAME_UNIT * NAME_UNIT;
    uint32_t room = atomic_load_explicit(&s->file_bytes, memory_order_relaxed) - NAMES_AT - s->names_used;
    if (bytes > room && !segment_grow(s))
        return 0;
    name_ref ref = s->names_used / NAME_UNIT;
    struct segment_name *name = (void *)(s->map + NAMES_AT + s->names_used);
    name->n = (uint16_t)text.n;
    name->check = check;
    memcpy(name->text, text.p, text.n);
    s->names_used += bytes;
    return ref;
}

name_ref segment_name(struct segment *s, struct str text)
{
    text = str_first(text, ENTRY_TEXT_MAX);
    if (text.n == 0)
        return 0;
    uint32_t check = name_check(s->salt, text.p, text.n);
    struct name_seat *seat = name_find(s, check, text);
    if (seat->ref == 0)
        *seat = (struct name_seat){check, name_append(s, check, text)};
    return seat->ref;
}
