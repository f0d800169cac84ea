/*
 * Tells that one of some files may have changed, so that main/ can reload. Two ways, because neither sees
 * all: inotify on the folders (an editor replaces the file, so a watch on the file itself would go with the
 * old one), and a look at the files every 2 s (bind mounts, network file systems, symlinks whose target
 * moves). Lives on one loop.
 */
#include "loop/thread.h"

#include "base/mem.h"

#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOOK_MS = 2000,   /* between two looks at the files */
    SETTLE_MS = 50,   /* from the first event to on_change: an editor's write is several events */
    EVENTS_MAX = 4096 /* bytes of events per read */
};

/* What tells one content of a file from the next; all zero when there is no file. */
struct file_mark {
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct file_watch_entry {
    char *path;
    const char *name; /* the last part, in path */
    int folder;       /* inotify's number of the folder, -1 = not watched */
    struct file_mark mark;
};

static struct file_mark mark_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct file_mark){0};
    return (struct file_mark){.inode = st.st_ino, .size = st.st_size, .changed = st.st_mtim};
}

static bool mark_eq(const struct file_mark *a, const struct file_mark *b)
{
    return a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Remembers how the file is now; true when that is news. */
static bool entry_look(struct file_watch_entry *e)
{
    struct file_mark mark = mark_of(e->path);
    bool same = mark_eq(&mark, &e->mark);
    e->mark = mark;
    return !same;
}

/* Again at each look: a folder that was replaced is a new one, a known one costs nothing. Without a watch
   (the system's limit, no such folder) the looks have to do. */
static void entry_watch_folder(struct file_watch_entry *e, int fd)
{
    char folder[PATH_MAX];
    size_t n = (size_t)(e->name - e->path);
    if (fd < 0 || n >= sizeof folder)
        return;
    str_to_c(n ? str_make(e->path, n) : STR("."), folder, sizeof folder);
    e->folder = inotify_add_watch(fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO);
}

static bool look_at_all(struct file_watch *f)
{
    bool news = false;
    for (int i = 0; i < f->count; i++) {
        entry_watch_folder(&f->entries[i], f->watch.fd);
        news |= entry_look(&f->entries[i]);
    }
    return news;
}

/* on_change comes last: it may close the watch. */
static void file_watch_on_due(struct timer *timer)
{
    struct file_watch *f = CONTAINER_OF(timer, struct file_watch, timer);
    bool news = look_at_all(f) || f->pending;
    f->pending = false;
    timer_set(f->loop, &f->timer, clock_after(loop_now(f->loop), LOOK_MS));
    if (news)
        f->on_change(f);
}

static bool event_concerns(const struct file_watch *f, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW)
        return true;
    for (int i = 0; i < f->count; i++)
        if (event->len && event->wd == f->entries[i].folder && strcmp(event->name, f->entries[i].name) == 0)
            return true;
    return false;
}

/* The first event sets the time: a file that is written without pause must not put it off for ever. */
static void file_watch_expect(struct file_watch *f)
{
    if (f->pending)
        return;
    f->pending = true;
    timer_set(f->loop, &f->timer, clock_after(loop_now(f->loop), SETTLE_MS));
}

static void file_watch_on_event(struct watch *w, uint32_t events)
{
    struct file_watch *f = CONTAINER_OF(w, struct file_watch, watch);
    _Alignas(struct inotify_event) char bytes[EVENTS_MAX];
    ssize_t n;
    while ((n = read(w->fd, bytes, sizeof bytes)) > 0)
        for (char *at = bytes; at < bytes + n;) {
            const struct inotify_event *event = (const void *)at;
            if (event_concerns(f, event))
                file_watch_expect(f);
            at += sizeof *event + event->len;
        }
}

static char *path_copy(const char *path)
{
    size_t n = strlen(path) + 1;
    char *copy = mem_alloc(n);
    return copy ? memcpy(copy, path, n) : NULL;
}

static void entries_free(struct file_watch *f)
{
    for (int i = 0; i < f->count; i++)
        mem_free(f->entries[i].path);
    mem_free(f->entries);
    f->entries = NULL;
    f->count = 0;
}

static enum err entries_make(struct file_watch *f, const char *const *paths, int count)
{
    f->count = 0;
    f->entries = mem_alloc((size_t)count * sizeof *f->entries);
    if (!f->entries)
        return ERR_NOMEM;
    for (; f->count < count; f->count++) {
        struct file_watch_entry *e = &f->entries[f->count];
        e->path = path_copy(paths[f->count]);
        if (!e->path)
            return ERR_NOMEM;
        const char *slash = strrchr(e->path, '/');
        e->name = slash ? slash + 1 : e->path;
        e->folder = -1;
    }
    return OK;
}

/* Without inotify (the user's limit is reached) the looks alone remain. */
static void inotify_open(struct file_watch *f)
{
    f->watch = (struct watch){.on_event = file_watch_on_event, .fd = -1};
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return;
    if (watch_add(f->loop, &f->watch, fd) == OK)
        return;
    close(fd);
    f->watch.fd = -1;
}

enum err file_watch_open(struct loop *l, struct file_watch *f, const char *const *paths, int count)
{
    f->loop = l;
    f->pending = false;
    f->timer = (struct timer){.on_due = file_watch_on_due, .due = CLOCK_NEVER};
    enum err err = entries_make(f, paths, count);
    if (err != OK) {
        entries_free(f);
        return err;
    }
    inotify_open(f);
    look_at_all(f);
    timer_set(l, &f->timer, clock_after(loop_now(l), LOOK_MS));
    return OK;
}

void file_watch_close(struct file_watch *f)
{
    int fd = f->watch.fd;
    if (fd >= 0) {
        watch_remove(f->loop, &f->watch);
        close(fd);
        f->watch.fd = -1;
    }
    timer_remove(f->loop, &f->timer);
    entries_free(f);
}
