/* URLs of upstreams (url.h): called by the config loader, and for each upstream response with a Location.
 * Pure. */
#include "http/url.h"

#include "http/chars.h"
#include "http/target.h"

enum { SOCKET_PATH_MAX = 107 /* sun_path less its NUL */ };

static enum err lower_copy(struct arena *arena, struct str s, struct str *copy, struct error *error)
{
    char *p = arena_c(arena, s);
    if (!p)
        return error_set(error, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < s.n; i++)
        p[i] = char_lower(p[i]);
    *copy = str_make(p, s.n);
    return OK;
}

static bool has_dot_segment(struct str path)
{
    while (path.n) {
        struct str segment = str_cut(&path, '/');
        if (str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
            return true;
    }
    return false;
}

/* Requests are appended to the prefix as they are: it must be in canonical form already. */
static enum err check_path(struct str text, struct error *error)
{
    if (text.n == 0)
        return OK;
    if (!char_all(text, CHAR_PATH) || str_find(text, '%') < text.n)
        return error_set(error, ERR_CONFIG, "the path has a character that may not stand in it");
    if (has_dot_segment(text))
        return error_set(error, ERR_CONFIG, "the path must not contain . or .. segments");
    return OK;
}

static enum err parse_path(struct arena *arena, struct str text, struct url *url, struct error *error)
{
    struct str query = str_from(text, str_find(text, '?'));
    text = str_first(text, text.n - query.n);
    if (query.n && !char_all(str_from(query, 1), CHAR_QUERY))
        return error_set(error, ERR_CONFIG, "the query has a character that may not stand in it");
    TRY(check_path(text, error));
    url->target = arena_printf(arena, "%.*s%.*s", STR_ARG(text.n ? text : STR("/")), STR_ARG(query));
    if (!url->target.n)
        return error_set(error, ERR_NOMEM, "out of memory");
    while (text.n && text.p[text.n - 1] == '/')
        text.n--;
    url->prefix = arena_str(arena, text);
    return text.n && !url->prefix.n ? error_set(error, ERR_NOMEM, "out of memory") : OK;
}

static enum err parse_unix(struct arena *arena, struct str rest, struct url *url, struct error *error)
{
    struct str path = str_first(rest, str_find_str(rest, STR(":/")));
    if (path.n < 2 || path.p[0] != '/')
        return error_set(error, ERR_CONFIG, "unix: must be followed by the absolute path of a socket");
    if (path.n > SOCKET_PATH_MAX || memchr(path.p, '\0', path.n))
        return error_set(error, ERR_CONFIG, "the socket's path is longer than %d bytes", SOCKET_PATH_MAX);
    url->is_unix = true;
    url->host = arena_str(arena, path);
    url->host_field = STR("localhost");
    if (!url->host.n)
        return error_set(error, ERR_NOMEM, "out of memory");
    return parse_path(arena, str_from(rest, path.n + 1), url, error);
}

static enum err format_origin(struct arena *arena, struct url *url, bool bracketed, struct error *error)
{
    bool is_default = url->port == (url->tls ? 443 : 80);
    const char *open = bracketed ? "[" : "", *close = bracketed ? "]" : "";
    url->host_field =
        is_default ? arena_printf(arena, "%s%.*s%s", open, STR_ARG(url->host), close)
                   : arena_printf(arena, "%s%.*s%s:%u", open, STR_ARG(url->host), close, (unsigned)url->port);
    url->origin = arena_printf(arena, "%s://%.*s", url->tls ? "https" : "http", STR_ARG(url->host_field));
    if (!url->host_field.n || !url->origin.n)
        return error_set(error, ERR_NOMEM, "out of memory");
    return OK;
}

/* Length of the part of `rest` before the path, the query or the fragment. */
static size_t authority_length(struct str rest)
{
    size_t n = 0;
    while (n < rest.n && !strchr("/?#", rest.p[n]))
        n++;
    return n;
}

static enum err parse_authority(struct arena *arena, struct str authority, struct url *url,
                                struct error *error)
{
    struct str name;
    if (str_find(authority, '@') < authority.n)
        return error_set(error, ERR_CONFIG, "user and password must not stand in the URL");
    if (!host_parse(authority, &name, &url->port) || authority.p[authority.n - 1] == ':')
        return error_set(error, ERR_CONFIG,
                         "the URL has no valid host and port (host, host:port, [address])");
    if (!url->port)
        url->port = url->tls ? 443 : 80;
    TRY(lower_copy(arena, name, &url->host, error));
    return format_origin(arena, url, authority.p[0] == '[', error);
}

enum err url_parse(struct arena *arena, struct str text, struct url *url, struct error *error)
{
    *url = (struct url){0};
    if (str_starts_nocase(text, STR("unix:")))
        return parse_unix(arena, str_from(text, 5), url, error);
    url->tls = str_starts_nocase(text, STR("https://"));
    if (!url->tls && !str_starts_nocase(text, STR("http://")))
        return error_set(error, ERR_CONFIG, "the URL must begin with http://, https:// or unix:/");
    struct str rest = str_from(text, url->tls ? 8 : 7);
    if (str_find(rest, '#') < rest.n)
        return error_set(error, ERR_CONFIG, "the URL must not have a fragment");
    size_t n = authority_length(rest);
    TRY(parse_authority(arena, str_first(rest, n), url, error));
    return parse_path(arena, str_from(rest, n), url, error);
}

bool url_has_query(const struct url *url)
{
    return str_find(url->target, '?') < url->target.n;
}

/* When `location` is absolute to the upstream's origin: *path is what follows it. */
static bool cut_origin(const struct url *upstream, struct str location, struct str *path)
{
    struct str scheme = upstream->tls ? STR("https://") : STR("http://"), name;
    uint16_t port;
    if (upstream->is_unix || !str_starts_nocase(location, scheme))
        return false;
    struct str rest = str_from(location, scheme.n);
    size_t n = authority_length(rest);
    if (!host_parse(str_first(rest, n), &name, &port) || !str_eq_nocase(name, upstream->host))
        return false;
    *path = str_from(rest, n);
    return (port ? port : upstream->tls ? 443 : 80) == upstream->port;
}

/* The prefix ends where a segment of the path ends. */
static bool has_prefix(struct str path, struct str prefix)
{
    return str_starts(path, prefix) && (path.n == prefix.n || strchr("/?#", path.p[prefix.n]));
}

struct str url_rewrite_location(struct arena *arena, const struct url *upstream, struct str mount,
                                struct str location)
{
    struct str path = location;
    bool absolute = cut_origin(upstream, location, &path);
    /* "//host" and "/\host" name another host to a browser. */
    bool path_absolute =
        location.n && location.p[0] == '/' && !(location.n > 1 && strchr("/\\", location.p[1]));
    if (!absolute && !path_absolute)
        return location;
    if (has_prefix(path, upstream->prefix))
        path = str_from(path, upstream->prefix.n);
    if (!mount.n && path.n > 1 && path.p[0] == '/' && strchr("/\\", path.p[1]))
        return location;
    return arena_printf(arena, "%.*s%s%.*s", STR_ARG(mount), path.n && path.p[0] == '/' ? "" : "/",
                        STR_ARG(path));
}
