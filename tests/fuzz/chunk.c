/*
 * Chunked bodies: the same result whole, in two parts cut anywhere, and byte by byte; what comes out is what
 * a plain reading of the wire finds; what is forwarded as chunks is the same body again, and plain.
 */
#include "fuzz.h"
#include "http/chunk.h"

struct result {
    enum err err;
    bool done;
    size_t used;
    struct buf out;
};

static void result_free(struct result *r)
{
    buf_free(&r->out);
}

/* Feeds parts[0], the rest in parts of `step` bytes. */
static struct result decode(struct str wire, struct chunked c, size_t first, size_t step)
{
    struct result r = {.out = BUF(0)};
    struct error error = {0};
    for (size_t at = 0; at < wire.n && r.err == OK && !r.done;) {
        size_t used = 0, kept = 0, part = MIN(at == 0 && first ? first : step, wire.n - at);
        char *bytes = exact_copy(str_make(wire.p + at, part));
        r.err = chunk_filter(&c, bytes, part, &used, &kept, &r.done, &error);
        REQUIRE(kept <= used && used <= part);
        REQUIRE(used == part || r.done || r.err != OK);
        buf_add(&r.out, bytes, kept);
        r.used += used;
        at += part;
        mem_free(bytes);
    }
    if (r.err != OK) {
        size_t used, kept;
        char more[] = "0\r\n\r\n";
        REQUIRE(r.err == ERR_SYNTAX || r.err == ERR_LIMIT);
        require_sentence(r.err, &error);
        REQUIRE(chunk_filter(&c, more, 5, &used, &kept, &r.done, &error) != OK && used == 0 && kept == 0);
        r.done = false;
    }
    if (!c.keep_frames)
        REQUIRE(c.data_bytes == r.out.n);
    return r;
}

static void require_same(const struct result *a, const struct result *b)
{
    REQUIRE(a->err == b->err && a->done == b->done && a->used == b->used);
    REQUIRE(str_eq(buf_str(&a->out), buf_str(&b->out)));
}

/* The whole, having checked that no cut changes it; free its `out`. */
static struct result decode_all_ways(struct str wire, struct chunked c)
{
    struct result whole = decode(wire, c, 0, SIZE_MAX);
    CLEANUP(result_free) struct result bytewise = decode(wire, c, 0, 1);
    require_same(&whole, &bytewise);
    for (struct cuts cut = cuts_of(wire); cuts_next(&cut);) {
        CLEANUP(result_free) struct result two = decode(wire, c, cut.at, SIZE_MAX);
        require_same(&whole, &two);
    }
    return whole;
}

static size_t line_end(struct str wire, size_t at)
{
    size_t n = str_find_str(str_from(wire, at), STR("\r\n"));
    REQUIRE(at + n < wire.n);
    return at + n;
}

/* A body that was taken, read in the plainest way: the data, and where it ends. `bare`: it must have neither
   extensions nor, without `trailers`, trailers. */
static size_t read_plainly(struct str wire, bool bare, bool trailers, struct buf *data)
{
    size_t at = 0, end;
    for (;;) {
        uint64_t size = 0;
        end = line_end(wire, at);
        for (char c; at < end && (c = char_lower(wire.p[at])) != ';' && c != ' ' && c != '\t'; at++) {
            REQUIRE((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
            size = size * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        REQUIRE(at == end || !bare);
        at = end + 2;
        if (size == 0)
            break;
        REQUIRE(size <= wire.n - at);
        buf_add_str(data, str_make(wire.p + at, size));
        at += size;
        REQUIRE(str_starts(str_from(wire, at), STR("\r\n")));
        at += 2;
    }
    while ((end = line_end(wire, at)) != at) {
        REQUIRE(trailers);
        at = end + 2;
    }
    return at + 2;
}

static void check_framed(struct str wire, const struct result *plain, bool keep_trailers)
{
    struct chunked framed = {.keep_frames = true, .keep_trailers = keep_trailers};
    CLEANUP(result_free) struct result kept = decode_all_ways(wire, framed);
    REQUIRE(kept.err == plain->err && kept.done == plain->done && kept.used == plain->used);
    if (!kept.done)
        return;
    CLEANUP(buf_free) struct buf data = BUF(0);
    REQUIRE(read_plainly(buf_str(&kept.out), true, keep_trailers, &data) == kept.out.n);
    REQUIRE(str_eq(buf_str(&data), buf_str(&plain->out)));
    CLEANUP(result_free) struct result again = decode(buf_str(&kept.out), (struct chunked){0}, 0, SIZE_MAX);
    REQUIRE(again.done && again.used == kept.out.n);
    REQUIRE(str_eq(buf_str(&again.out), buf_str(&plain->out)));
    CLEANUP(result_free) struct result stable = decode(buf_str(&kept.out), framed, 0, SIZE_MAX);
    REQUIRE(stable.done && str_eq(buf_str(&stable.out), buf_str(&kept.out)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str wire = input_str(bytes, n);
    CLEANUP(result_free) struct result plain = decode_all_ways(wire, (struct chunked){0});
    if (plain.done) {
        CLEANUP(buf_free) struct buf data = BUF(0);
        REQUIRE(read_plainly(wire, false, true, &data) == plain.used);
        REQUIRE(str_eq(buf_str(&data), buf_str(&plain.out)));
    }
    check_framed(wire, &plain, false);
    check_framed(wire, &plain, true);
    return 0;
}
