/*
 * Request targets: the canonical form stays what it is when read again, has no dot segment and no byte that
 * may not stand there. The input: "METHOD TARGET", a line end, the Host. The target is also read as a query,
 * and as bytes to be encoded.
 */
#include "fuzz.h"
#include "http/target.h"

static enum method method_read(struct str word)
{
    for (int i = 0; i < METHOD_COUNT; i++)
        if (str_eq(method_name((enum method)i), word))
            return (enum method)i;
    return METHOD_GET;
}

static bool is_unreserved(char c)
{
    return (char_lower(c) >= 'a' && char_lower(c) <= 'z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~", c));
}

static void check_path(struct arena *arena, struct str path)
{
    REQUIRE(path.n > 0 && path.p[0] == '/');
    for (size_t i = 0; i < path.n; i++)
        REQUIRE(path.p[i] > 0x20 && path.p[i] < 0x7f && !memchr("\"<>\\^`{|}#?", path.p[i], 11));
    REQUIRE(str_find_str(path, STR("/../")) == path.n && str_find_str(path, STR("/./")) == path.n);
    REQUIRE(!str_ends(path, STR("/..")) && !str_ends(path, STR("/.")));
    for (size_t i = 0; i + 2 < path.n; i++) { /* what needs no percent sign has none */
        struct str byte = percent_decode(arena, str_make(path.p + i, 3));
        REQUIRE(path.p[i] != '%' || (byte.n == 1 && !is_unreserved(byte.p[0])));
    }
    struct str decoded = percent_decode(arena, path);
    REQUIRE(decoded.n <= path.n);
    REQUIRE(!memchr(decoded.p, '\0', decoded.n) && !memchr(decoded.p, '\r', decoded.n) &&
            !memchr(decoded.p, '\n', decoded.n));
}

static void check_canonical(struct arena *arena, const struct target *t, struct str host)
{
    CLEANUP(buf_free) struct buf whole = BUF(0);
    struct target again;
    struct error error = {0};
    check_path(arena, t->path);
    REQUIRE(t->has_query || !t->query.n);
    buf_add_str(&whole, t->path);
    if (t->has_query)
        buf_add_char(&whole, '?');
    buf_add_str(&whole, t->query);
    REQUIRE(target_parse(arena, METHOD_GET, buf_str(&whole), host, &again, &error) == OK);
    REQUIRE(!again.rewritten && str_eq(again.path, t->path) && str_eq(again.query, t->query));
    REQUIRE(again.has_query == t->has_query && again.authority.n == 0);
}

static void check_bytes(struct arena *arena, struct str text)
{
    CLEANUP(buf_free) struct buf encoded = BUF(0);
    struct str value;
    percent_encode(&encoded, text);
    REQUIRE(buf_err(&encoded) == OK && str_eq(percent_decode(arena, buf_str(&encoded)), text));
    for (size_t i = 0; i < encoded.n; i++)
        REQUIRE(encoded.p[i] > 0x20 && encoded.p[i] < 0x7f);
    struct str name = str_first(text, str_find(text, '='));
    if (query_get(arena, text, name, &value))
        REQUIRE(value.n <= text.n);
}

static void check_host(struct str host)
{
    CLEANUP(buf_free) struct buf whole = BUF(0);
    struct str name, name_again;
    uint16_t port, port_again;
    if (!host_parse(host, &name, &port))
        return;
    REQUIRE(name.n > 0 && lies_in(name, host));
    bool bracketed = host.p[0] == '[';
    buf_addf(&whole, port ? "%s%.*s%s:%u" : "%s%.*s%s", bracketed && name.p[0] != '[' ? "[" : "",
             STR_ARG(name), bracketed && name.p[0] != '[' ? "]" : "", port);
    REQUIRE(host_parse(buf_str(&whole), &name_again, &port_again));
    REQUIRE(str_eq(name, name_again) && port == port_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct error error = {0};
    struct target t;
    struct str host = input_str(bytes, n), raw = str_cut(&host, '\n');
    enum method method = method_read(str_first(raw, str_find(raw, ' ')));
    raw = str_from(raw, str_find(raw, ' ') + 1);
    enum err err = target_parse(&arena, method, raw, host, &t, &error);
    if (err != OK) {
        REQUIRE(err == ERR_HTTP_SYNTAX);
        require_sentence(err, &error);
    } else if (str_eq(t.path, STR("*"))) {
        REQUIRE(method == METHOD_OPTIONS);
    } else {
        check_canonical(&arena, &t, host);
        REQUIRE(t.rewritten || str_starts(str_from(raw, str_find_str(raw, t.path)), t.path));
    }
    check_host(host);
    check_bytes(&arena, raw);
    return 0;
}
