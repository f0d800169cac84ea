/*
 * Header fields once they are parsed: lookup, hop-by-hop rules, writing (head.h). Called on the thread that
 * owns the head; pure.
 */
#include "http/field.h"

#include "base/buf.h"
#include "http/chars.h"

/* Half a cache line each, text and all: the path of a request touches a dozen. */
static const struct {
    uint8_t n;
    char name[31];
} names[FIELD_COUNT] = {
    [FIELD_OTHER] = {0, ""},
#define F(id, name) [FIELD_##id] = {sizeof(name) - 1, name},
#include "http/field.def"
#undef F
};
_Static_assert(FIELD_NAME_MAX < 31, "the names fit");

/* A perfect hash. After a change of field.def the test of this file fails and prints this table and
   FIELD_FACTORS anew. */
const uint8_t field_slots[FIELD_SLOTS] = {
    [13] = FIELD_CONTENT_LENGTH,
    [16] = FIELD_TRANSFER_ENCODING,
    [22] = FIELD_X_FORWARDED_PREFIX,
    [40] = FIELD_CACHE_CONTROL,
    [46] = FIELD_X_API_KEY,
    [71] = FIELD_CONNECTION,
    [73] = FIELD_SEC_WEBSOCKET_KEY,
    [95] = FIELD_ORIGIN,
    [96] = FIELD_AUTHORIZATION,
    [113] = FIELD_PROXY_AUTHORIZATION,
    [117] = FIELD_X_REAL_IP,
    [120] = FIELD_X_FORWARDED_PROTO,
    [130] = FIELD_SEC_WEBSOCKET_VERSION,
    [134] = FIELD_PROXY_CONNECTION,
    [142] = FIELD_VIA,
    [146] = FIELD_LOCATION,
    [151] = FIELD_FORWARDED,
    [173] = FIELD_HTTP2_SETTINGS,
    [174] = FIELD_KEEP_ALIVE,
    [175] = FIELD_ACCEPT,
    [177] = FIELD_TRAILER,
    [179] = FIELD_EXPECT,
    [183] = FIELD_USER_AGENT,
    [184] = FIELD_PROXY_AUTHENTICATION_INFO,
    [188] = FIELD_X_REQUEST_ID,
    [191] = FIELD_TE,
    [194] = FIELD_SEC_FETCH_MODE,
    [195] = FIELD_RETRY_AFTER,
    [202] = FIELD_COOKIE,
    [204] = FIELD_X_FORWARDED_HOST,
    [215] = FIELD_PROXY_AUTHENTICATE,
    [219] = FIELD_ACCEPT_ENCODING,
    [221] = FIELD_IF_MATCH,
    [222] = FIELD_CONTENT_ENCODING,
    [225] = FIELD_X_FORWARDED_FOR,
    [227] = FIELD_SERVER,
    [228] = FIELD_MAX_FORWARDS,
    [231] = FIELD_SEC_WEBSOCKET_ACCEPT,
    [236] = FIELD_HOST,
    [237] = FIELD_DATE,
    [243] = FIELD_TRACEPARENT,
    [244] = FIELD_CONTENT_TYPE,
    [245] = FIELD_LAST_EVENT_ID,
    [249] = FIELD_UPGRADE,
};

static uint64_t load8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word | 0x2020202020202020u;
}

static uint32_t load4(const char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word | 0x20202020u;
}

/* Whether visible ASCII equals a known name. Those consist of a-z, 0-9 and '-', which have bit 5: but for
   controls, setting it makes no other byte equal to one of them. The last word overlaps the one before. */
static bool name_equals(const char *text, const char *name, size_t n)
{
    size_t i = 0;
    if (n >= 8) {
        for (; i < n - 8; i += 8)
            if (load8(text + i) != load8(name + i))
                return false;
        return load8(text + n - 8) == load8(name + n - 8);
    }
    if (n >= 4)
        return load4(text) == load4(name) && load4(text + n - 4) == load4(name + n - 4);
    while (i < n && (text[i] | 0x20) == name[i])
        i++;
    return i == n;
}

enum field_id field_id_find(struct str name)
{
    if (name.n == 0 || name.n > FIELD_NAME_MAX)
        return FIELD_OTHER;
    uint8_t id = field_slots[field_hash(name, FIELD_FACTORS)];
    return names[id].n == name.n && name_equals(name.p, names[id].name, name.n) ? (enum field_id)id
                                                                                : FIELD_OTHER;
}

/* --- lookup --- */

int head_next(const struct head *h, enum field_id id, int i)
{
    if (i < 0 && id != FIELD_OTHER)
        return h->first[id] - 1;
    for (i++; i < h->field_count; i++)
        if (h->fields[i].id == id)
            return i;
    return -1;
}

struct field *head_find(struct head *h, struct str name)
{
    for (int i = 0; i < h->field_count; i++)
        if (str_eq_nocase(h->fields[i].name, name))
            return &h->fields[i];
    return NULL;
}

bool head_has_element(const struct head *h, enum field_id id, struct str element)
{
    for (int i = head_next(h, id, -1); i >= 0; i = head_next(h, id, i)) {
        struct str rest = h->fields[i].value, each;
        while (str_next_element(&rest, &each))
            if (str_eq_nocase(each, element))
                return true;
    }
    return false;
}

bool head_keeps_alive(const struct head *h)
{
    if (!h->first[FIELD_CONNECTION])
        return h->minor > 0;
    if (head_has_element(h, FIELD_CONNECTION, STR("close")))
        return false;
    return h->minor > 0 || head_has_element(h, FIELD_CONNECTION, STR("keep-alive"));
}

/* --- hop by hop --- */

enum { CONNECTION_NAMES_MAX = 128, ALIAS_MAX = FIELD_NAME_MAX };

static const bool hop_by_hop[FIELD_COUNT] = {
    [FIELD_CONNECTION] = true,
    [FIELD_HTTP2_SETTINGS] = true,
    [FIELD_KEEP_ALIVE] = true,
    [FIELD_PROXY_AUTHENTICATE] = true,
    [FIELD_PROXY_AUTHENTICATION_INFO] = true,
    [FIELD_PROXY_AUTHORIZATION] = true,
    [FIELD_PROXY_CONNECTION] = true,
    [FIELD_TE] = true,
    [FIELD_TRAILER] = true,
    [FIELD_TRANSFER_ENCODING] = true,
    [FIELD_UPGRADE] = true,
};

/* A request whose Connection names one of these is an attack. */
static const bool never_named[FIELD_COUNT] = {
    [FIELD_AUTHORIZATION] = true,     [FIELD_CONTENT_LENGTH] = true, [FIELD_HOST] = true,
    [FIELD_TRANSFER_ENCODING] = true, [FIELD_X_API_KEY] = true,
};

/* Fields that we act upon or set: a backend of CGI's kind would take X_Api_Key for X-Api-Key. */
static const bool never_aliased[FIELD_COUNT] = {
    [FIELD_AUTHORIZATION] = true,     [FIELD_CONNECTION] = true, [FIELD_CONTENT_LENGTH] = true,
    [FIELD_FORWARDED] = true,         [FIELD_HOST] = true,       [FIELD_TE] = true,
    [FIELD_TRANSFER_ENCODING] = true, [FIELD_UPGRADE] = true,    [FIELD_VIA] = true,
    [FIELD_X_API_KEY] = true,         [FIELD_X_REAL_IP] = true,  [FIELD_X_REQUEST_ID] = true,
};

static void mark_named(struct head *h, struct str name)
{
    for (int i = 0; i < h->field_count; i++)
        if (str_eq_nocase(h->fields[i].name, name))
            h->fields[i].hop = true;
}

static enum err mark_connection_name(struct head *h, struct str name, bool is_request, struct error *error)
{
    enum field_id id = char_all(name, CHAR_TOKEN) ? field_id_find(name) : FIELD_OTHER;
    if (is_request && never_named[id])
        return error_set(error, ERR_HTTP_SYNTAX, "Connection names %s", names[id].name);
    /* A response's length is ours to tell anew (framing.h); it must not get lost on the way there. */
    if (id != FIELD_CONTENT_LENGTH && !hop_by_hop[id] && !str_eq_nocase(name, STR("close")))
        mark_named(h, name);
    return OK;
}

static enum err mark_connection(struct head *h, bool is_request, struct error *error)
{
    int count = 0;
    for (int i = head_next(h, FIELD_CONNECTION, -1); i >= 0; i = head_next(h, FIELD_CONNECTION, i)) {
        struct str rest = h->fields[i].value, name;
        while (str_next_element(&rest, &name)) {
            if (++count > CONNECTION_NAMES_MAX)
                return error_set(error, is_request ? ERR_HTTP_SYNTAX : ERR_UPSTREAM_PROTOCOL,
                                 "Connection names more than %d fields", CONNECTION_NAMES_MAX);
            TRY(mark_connection_name(h, name, is_request, error));
        }
    }
    return OK;
}

/* Whether the name, which has a '_', is one of ours when its '_' are taken for '-'. */
static bool is_alias(struct str name)
{
    char text[ALIAS_MAX] = {0};
    struct str plain = str_make(text, MIN(name.n, sizeof text));
    for (size_t i = 0; i < plain.n; i++)
        text[i] = name.p[i] == '_' ? '-' : name.p[i];
    return str_starts_nocase(plain, STR("x-hestia-")) || str_starts_nocase(plain, STR("x-forwarded-")) ||
           (plain.n == name.n && never_aliased[field_id_find(plain)]);
}

enum err head_mark_hops(struct head *h, bool is_request, struct error *error)
{
    for (int i = 0; i < h->field_count; i++) {
        struct field *f = &h->fields[i];
        f->hop = f->hop || hop_by_hop[f->id];
        if (!is_request || f->id != FIELD_OTHER)
            continue;
        if (str_find(f->name, '_') < f->name.n && is_alias(f->name))
            return error_set(error, ERR_HTTP_SYNTAX, "a header field's name mimics another with underscores");
        f->hop = f->hop || str_starts_nocase(f->name, STR("x-hestia-"));
    }
    return mark_connection(h, is_request, error);
}

void head_drop(struct head *h, enum field_id id)
{
    for (int i = head_next(h, id, -1); i >= 0; i = head_next(h, id, i))
        h->fields[i].hop = true;
}

/* --- writing --- */

void head_add(struct buf *out, struct str name, struct str value)
{
    if (!name.n || !char_all(name, CHAR_TOKEN) || !char_all(value, CHAR_VALUE)) {
        if (out->err == OK)
            out->err = ERR_SYNTAX;
        return;
    }
    buf_add_str(out, name);
    buf_add(out, ": ", 2);
    buf_add_str(out, value);
    buf_add(out, "\r\n", 2);
}

/* Behind the CRLF of the field's line, in the block that was parsed. */
static const char *line_end(const struct field *f)
{
    const char *p = f->value.p + f->value.n;
    while (*p == ' ' || *p == '\t')
        p++;
    return p + 2;
}

void head_copy_fields(struct buf *out, const struct head *h)
{
    const char *start = NULL, *end = NULL; /* of the run that is not yet written */
    for (int i = 0; i < h->field_count; i++) {
        const struct field *f = &h->fields[i];
        if (f->hop)
            continue;
        if (f->name.p != end) {
            buf_add(out, start, (size_t)(end - start));
            start = f->name.p;
        }
        end = line_end(f);
    }
    buf_add(out, start, (size_t)(end - start));
}
