/*
 * URLs of the configuration, and the Location of an upstream's answer, which is anybody's. The input: a URL,
 * a line end, a Location.
 */
#include "fuzz.h"
#include "http/url.h"

static void check_url(struct arena *arena, struct str text)
{
    struct error error = {0};
    struct url url, again;
    if (url_parse(arena, text, &url, &error) != OK) {
        require_sentence(ERR_CONFIG, &error);
        return;
    }
    REQUIRE(url.host.n && url.host_field.n && !memchr(url.host.p, '\0', url.host.n));
    for (size_t i = 0; i < url.host_field.n; i++)
        REQUIRE(url.host_field.p[i] > 0x20 && url.host_field.p[i] < 0x7f);
    REQUIRE(!url.prefix.n || (url.prefix.p[0] == '/' && !str_ends(url.prefix, STR("/"))));
    REQUIRE(url.target.n && url.target.p[0] == '/');
    for (size_t i = 0; i < url.target.n; i++)
        REQUIRE(url.target.p[i] > 0x20 && url.target.p[i] < 0x7f);
    if (url.is_unix)
        return;
    REQUIRE(url.port);
    struct str whole = arena_printf(arena, "%.*s%.*s", STR_ARG(url.origin), STR_ARG(url.target));
    REQUIRE(url_parse(arena, whole, &again, &error) == OK);
    REQUIRE(again.tls == url.tls && again.port == url.port && str_eq(again.host, url.host));
    REQUIRE(str_eq(again.prefix, url.prefix) && str_eq(again.target, url.target));
}

static void check_location(struct arena *arena, struct str location)
{
    struct error error = {0};
    struct url upstream;
    REQUIRE(url_parse(arena, STR("http://name:8080/v1"), &upstream, &error) == OK);
    struct str out = url_rewrite_location(arena, &upstream, STR("/services/x"), location);
    if (out.p == location.p)
        REQUIRE(out.n == location.n);
    else
        REQUIRE(str_starts(out, STR("/services/x/")) && out.n <= location.n + 12);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct str location = input_str(bytes, n), url = str_cut(&location, '\n');
    check_url(&arena, url);
    check_location(&arena, location);
    return 0;
}
