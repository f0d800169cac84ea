/*
 * Which files make up the configuration: -c, else HESTIA_CONFIG_PATH, else ./hestia_config.yml or the *.yml
 * in the user's configuration folder, with hulumanage's file below them.
 */
#include "config/assemble.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct str folder_current(struct arena *arena)
{
    char path[PATH_MAX];
    return getcwd(path, sizeof path) ? arena_str(arena, str_from_c(path)) : STR("/");
}

struct str path_folder(struct str path)
{
    while (path.n > 1 && path.p[path.n - 1] != '/')
        path.n--;
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static struct str path_absolute(struct arena *arena, struct str path)
{
    while (str_starts(path, STR("./")))
        path = str_from(path, 2);
    if (path.n && path.p[0] == '/')
        return path;
    struct str folder = folder_current(arena);
    return arena_printf(arena, "%.*s/%.*s", STR_ARG(str_eq(folder, STR("/")) ? STR_NONE : folder),
                        STR_ARG(path));
}

static enum err files_add(struct arena *arena, struct config_files *files, struct str name,
                          struct error *error)
{
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? 2 * files->capacity : 8;
        struct config_file *list = arena_alloc(arena, capacity * sizeof *list);
        if (!list)
            return error_set(error, ERR_NOMEM, "out of memory");
        if (files->count)
            memcpy(list, files->list, files->count * sizeof *list);
        files->list = list;
        files->capacity = capacity;
    }
    struct str copy = arena_str(arena, name), path = path_absolute(arena, copy);
    if (!path.n)
        return error_set(error, ERR_NOMEM, "out of memory");
    files->list[files->count++] = (struct config_file){copy, path};
    return OK;
}

static bool file_exists(struct str path)
{
    char text[PATH_MAX];
    return path.n < sizeof text && access(str_to_c(path, text, sizeof text), F_OK) == 0;
}

/* Names that contain * or ? themselves are the user's folder: they are taken literally. */
static enum err add_folder(struct arena *arena, struct config_files *files, struct str folder,
                           struct error *error)
{
    glob_t found = {0};
    enum err err = OK;
    struct buf pattern CLEANUP(buf_free) = BUF(4 * PATH_MAX);
    for (size_t i = 0; i < folder.n; i++) {
        if (strchr("*?[\\", folder.p[i]))
            buf_add_char(&pattern, '\\');
        buf_add_char(&pattern, folder.p[i]);
    }
    buf_add_c(&pattern, "/*.yml");
    if (buf_err(&pattern) != OK)
        return error_set(error, ERR_NOMEM, "out of memory");
    if (glob(buf_c(&pattern), 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && err == OK; i++)
            err = files_add(arena, files, str_from_c(found.gl_pathv[i]), error);
    globfree(&found);
    return err;
}

static enum err search(struct arena *arena, const struct variables *v, struct config_files *files,
                       struct error *error)
{
    struct str home = variables_get(v, STR("HOME")), folder = variables_get(v, STR("XDG_CONFIG_HOME"));
    struct str own = STR("hestia_config.yml");
    if (home.n) {
        struct str proxy = arena_printf(arena, "%.*s/.hulumanage/proxy_config.yaml", STR_ARG(home));
        if (file_exists(proxy))
            TRY(files_add(arena, files, proxy, error));
        if (!folder.n)
            folder = arena_printf(arena, "%.*s/.config", STR_ARG(home));
    }
    files->main = files->count;
    if (file_exists(own))
        return files_add(arena, files, own, error);
    return folder.n ? add_folder(arena, files, arena_printf(arena, "%.*s/hestia", STR_ARG(folder)), error)
                    : OK;
}

enum err files_choose(struct arena *arena, const struct config_sources *sources, struct config_files *files,
                      struct error *error)
{
    struct variables v = {.environment = sources->environment};
    struct str given = variables_get(&v, STR("HESTIA_CONFIG_PATH"));
    for (size_t i = 0; i < sources->file_count; i++)
        TRY(files_add(arena, files, str_from_c(sources->files[i]), error));
    if (files->count)
        return OK;
    return given.n ? files_add(arena, files, given, error) : search(arena, &v, files, error);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static enum err read_all(int fd, struct arena *arena, struct str *text, struct error *error)
{
    struct buf content CLEANUP(buf_free) = BUF(YAML_BYTES_MAX + (64 << 10));
    ssize_t n;
    do {
        if (!buf_reserve(&content, 16 << 10))
            return error_set(error, ERR_LIMIT, "the file is larger than 4 MiB");
        n = read(fd, content.p + content.n, 16 << 10);
        if (n > 0)
            content.n += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        return error_set(error, ERR_IO, "cannot be read: %s", strerror(errno));
    *text = arena_str(arena, buf_str(&content));
    return text->p ? OK : error_set(error, ERR_NOMEM, "out of memory");
}

enum err file_read(struct arena *arena, struct str path, struct str *text, struct error *error)
{
    char name[PATH_MAX];
    struct stat status;
    if (path.n >= sizeof name)
        return error_set(error, ERR_IO, "cannot be read: the name is too long");
    int fd = open(str_to_c(path, name, sizeof name), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(error, ERR_IO, "cannot be read: %s", strerror(errno));
    enum err err = OK;
    if (fstat(fd, &status) != 0 || S_ISDIR(status.st_mode))
        err = error_set(error, ERR_IO, "cannot be read: it is a folder");
    else
        err = read_all(fd, arena, text, error);
    close(fd);
    return err;
}
