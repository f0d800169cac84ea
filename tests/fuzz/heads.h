/* Heads of messages for the targets that need one: parsed, checked, written down and read again. Pure. */
#ifndef HESTIA_FUZZ_HEADS_H
#define HESTIA_FUZZ_HEADS_H

#include "fuzz.h"
#include "http/head.h"

/* Low enough to be reached; what is written down again is never longer. */
static const struct head_limits narrow_limits = {1000, 500, 2000, 20};
static const struct head_limits wide_limits = {16 << 10, 16 << 10, 64 << 10, 256};

/* Length of the complete head at the start of `bytes`, 0 = none: the same however they arrive. */
static inline size_t heads_find_end(struct str bytes)
{
    size_t scanned = 0, bytewise_scanned = 0, bytewise = 0;
    size_t whole = head_find_end(bytes, &scanned);
    for (size_t i = 1; i <= bytes.n && !bytewise; i++)
        bytewise = head_find_end(str_first(bytes, i), &bytewise_scanned);
    REQUIRE(whole == bytewise && whole <= bytes.n);
    return whole;
}

/* Every span lies in the block; nothing that could be taken for a line end or a control has come through. */
static inline void heads_check_fields(const struct head *h, struct str block)
{
    REQUIRE(h->field_count >= 0 && h->field_count <= HEAD_FIELDS_MAX);
    for (int i = 0; i < h->field_count; i++) {
        const struct field *f = &h->fields[i];
        REQUIRE(f->name.n > 0 && lies_in(f->name, block) && lies_in(f->value, block));
        for (size_t j = 0; j < f->name.n; j++)
            REQUIRE(f->name.p[j] > 0x20 && f->name.p[j] < 0x7f && f->name.p[j] != ':');
        for (size_t j = 0; j < f->value.n; j++) {
            uint8_t c = (uint8_t)f->value.p[j];
            REQUIRE((c >= 0x20 || c == '\t') && c != 0x7f);
        }
        REQUIRE(str_eq(str_trim(f->value), f->value));
    }
    for (int id = 1; id < FIELD_COUNT; id++) {
        int count = 0;
        for (int i = head_next(h, (enum field_id)id, -1); i >= 0; i = head_next(h, (enum field_id)id, i))
            REQUIRE(h->fields[i].id == id && (count++ || h->first[id] == i + 1));
        REQUIRE((h->first[id] != 0) == (count > 0));
    }
}

static inline void heads_print_fields(struct buf *out, const struct head *h)
{
    for (int i = 0; i < h->field_count; i++)
        head_add(out, h->fields[i].name, h->fields[i].value);
    buf_add_c(out, "\r\n");
    REQUIRE(buf_err(out) == OK); /* head_add refuses nothing that a parser took */
}

/* The fields of `again` are those of `h`, without the hops where `forwarded`. */
static inline void heads_require_same(const struct head *h, const struct head *again, bool forwarded)
{
    int kept = 0;
    for (int i = 0; i < h->field_count; i++) {
        if (forwarded && h->fields[i].hop)
            continue;
        REQUIRE(kept < again->field_count);
        REQUIRE(str_eq(h->fields[i].name, again->fields[kept].name));
        REQUIRE(str_eq(h->fields[i].value, again->fields[kept].value));
        REQUIRE(h->fields[i].id == again->fields[kept].id);
        kept++;
    }
    REQUIRE(kept == again->field_count);
}

/* What would be forwarded is a head again, with the same fields but for the hops, and none of those that say
   something to the next hop only. */
static inline void heads_check_forwarded(const struct head *h)
{
    static struct head again;
    CLEANUP(buf_free) struct buf out = BUF(0);
    struct error error = {0};
    buf_add_c(&out, "HTTP/1.1 200 OK\r\n");
    head_copy_fields(&out, h);
    buf_add_c(&out, "\r\n");
    size_t scanned = 0;
    REQUIRE(head_find_end(buf_str(&out), &scanned) == out.n);
    REQUIRE(head_parse_response(buf_str(&out), &wide_limits, &again, &error) == OK);
    heads_require_same(h, &again, true);
    REQUIRE(!again.first[FIELD_CONNECTION] && !again.first[FIELD_TRANSFER_ENCODING] &&
            !again.first[FIELD_UPGRADE] && !again.first[FIELD_TE] && !again.first[FIELD_TRAILER]);
    for (int i = 0; i < h->field_count; i++) { /* no field that Connection names */
        struct str rest = h->fields[i].value, name;
        while (h->fields[i].id == FIELD_CONNECTION && str_next_element(&rest, &name))
            REQUIRE(str_eq_nocase(name, STR("content-length")) || !head_find(&again, name));
    }
}

#endif
