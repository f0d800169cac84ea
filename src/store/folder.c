/* Files of the store: see folder.h. Only store_open and store_close call, on whatever thread they run. */
#include "store/folder.h"

#include "base/clock.h"
#include "loop/crypto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };
#define CLEAN "clean\n"

static void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum err fail(struct error *error, const char *what, const char *path)
{
    return error_set(error, ERR_STORE, "cannot %s %s: %s", what, path, strerror(errno));
}

static enum err name_make(char name[PATH_BYTES], const char *path, const char *suffix, struct error *error)
{
    int n = snprintf(name, PATH_BYTES, "%s%s", path, suffix);
    if (n < 0 || n >= PATH_BYTES)
        return error_set(error, ERR_STORE, "storage.path is too long");
    return OK;
}

enum err folder_path(struct buf *path, struct str configured, struct error *error)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (configured.n)
        buf_add_str(path, configured);
    else if (state && state[0] == '/') /* the specification ignores relative ones */
        buf_addf(path, "%s/hestia/hestia.db", state);
    else if (home && home[0])
        buf_addf(path, "%s/.local/state/hestia/hestia.db", home);
    else
        return error_set(error, ERR_STORE, "neither XDG_STATE_HOME nor HOME is set: set storage.path");
    if (buf_c(path)[0] == '\0')
        return error_set(error, ERR_NOMEM, "out of memory for the path of the store");
    return OK;
}

enum err folder_make(const char *path, struct error *error)
{
    char part[PATH_BYTES];
    TRY(name_make(part, path, "", error));
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return fail(error, "make the folder", part);
        *slash = '/';
    }
    return OK;
}

enum err folder_file(const char *path, struct error *error)
{
    CLEANUP(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, 0600) != 0)
        return fail(error, "write", path);
    return OK;
}

/* ---- the lock ------------------------------------------------------------------------------------------ */

/* The file says "clean" only while nobody has the store open: emptied, on disk, before it is used. */
static bool lock_take_mark(int fd)
{
    char text[sizeof CLEAN] = "";
    bool clean = pread(fd, text, sizeof CLEAN - 1, 0) == (ssize_t)sizeof CLEAN - 1 && !strcmp(text, CLEAN);
    if (clean && (ftruncate(fd, 0) != 0 || fdatasync(fd) != 0))
        return false;
    return clean;
}

enum err folder_lock(const char *path, int *lock, bool *was_clean, struct error *error)
{
    char name[PATH_BYTES];
    TRY(name_make(name, path, "-lock", error));
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(error, "write", name);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool taken = errno == EWOULDBLOCK;
        enum err err = taken ? error_set(error, ERR_STORE,
                                         "another gateway uses %s: give this one its own storage.path", path)
                             : fail(error, "lock", name);
        close(fd);
        return err;
    }
    *lock = fd;
    *was_clean = lock_take_mark(fd);
    return OK;
}

void folder_unlock(int lock, bool clean)
{
    if (lock < 0)
        return;
    /* When it cannot be written, the next start only looks more closely. */
    if (clean && pwrite(lock, CLEAN, sizeof CLEAN - 1, 0) != (ssize_t)sizeof CLEAN - 1)
        (void)!ftruncate(lock, 0);
    close(lock);
}

/* ---- the pepper ---------------------------------------------------------------------------------------- */

static enum err folder_sync(const char *path, struct error *error)
{
    char folder[PATH_BYTES];
    TRY(name_make(folder, path, "", error));
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    CLEANUP(fd_close) int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return fail(error, "write", slash ? folder : ".");
    return OK;
}

/* Under the lock, so a file left over from a start that was cut short is nobody's. */
static enum err pepper_make(const char *path, const char *name, uint8_t pepper[PEPPER_SIZE],
                            struct error *error)
{
    char draft[PATH_BYTES];
    TRY(name_make(draft, name, ".new", error));
    unlink(draft);
    CLEANUP(fd_close) int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(error, "make", draft);
    crypto_random(pepper, PEPPER_SIZE);
    if (write(fd, pepper, PEPPER_SIZE) != PEPPER_SIZE || fsync(fd) != 0 || rename(draft, name) != 0)
        return fail(error, "write", name);
    return folder_sync(path, error);
}

enum err folder_pepper(const char *path, uint8_t pepper[PEPPER_SIZE], bool *made, struct error *error)
{
    char name[PATH_BYTES];
    uint8_t bytes[PEPPER_SIZE + 1];
    TRY(name_make(name, path, "-pepper", error));
    CLEANUP(fd_close) int fd = open(name, O_RDONLY | O_CLOEXEC);
    *made = fd < 0 && errno == ENOENT;
    if (*made)
        return pepper_make(path, name, pepper, error);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (n < 0)
        return fail(error, "read", name);
    if (n != PEPPER_SIZE)
        return error_set(error, ERR_STORE,
                         "%s is damaged (it must have %d bytes): restore it, or remove it and give every "
                         "client a new key",
                         name, PEPPER_SIZE);
    memcpy(pepper, bytes, PEPPER_SIZE);
    return OK;
}

/* ---- a damaged database -------------------------------------------------------------------------------- */

static enum err move_one(const char *path, const char *to, const char *suffix, struct error *error)
{
    char from_name[PATH_BYTES], to_name[PATH_BYTES];
    TRY(name_make(from_name, path, suffix, error));
    TRY(name_make(to_name, to, suffix, error));
    if (rename(from_name, to_name) != 0 && errno != ENOENT)
        return fail(error, "move aside", from_name);
    return OK;
}

enum err folder_move_aside(const char *path, struct buf *to, struct error *error)
{
    buf_addf(to, "%s.damaged-", path);
    size_t start = to->n;
    clock_format(to, clock_wall_us());
    for (size_t i = start; buf_err(to) == OK && i < to->n; i++)
        if (to->p[i] == ':')
            to->p[i] = '-';
    if (buf_err(to) != OK)
        return error_set(error, ERR_NOMEM, "out of memory for the path of the store");
    const char *name = buf_c(to);
    TRY(move_one(path, name, "-wal", error));
    TRY(move_one(path, name, "-shm", error));
    return move_one(path, name, "", error);
}

bool folder_has_damaged(const char *path)
{
    CLEANUP(buf_free) struct buf folder = BUF(0), start = BUF(0);
    const char *slash = strrchr(path, '/');
    buf_add(&folder, path, slash ? (size_t)(slash - path) + 1 : 0);
    buf_addf(&start, "%s.damaged-", slash ? slash + 1 : path);
    DIR *d = opendir(folder.n ? buf_c(&folder) : ".");
    bool found = false;
    for (const struct dirent *e; d && !found && (e = readdir(d));)
        found = str_starts(str_from_c(e->d_name), buf_str(&start));
    if (d)
        closedir(d);
    return found;
}
