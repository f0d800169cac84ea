/*
 * One pass over the body of an LLM request: what it says to Hestia, and whether it is JSON at all. Called by
 * a worker before any provider is chosen. Pure.
 */
#include "llm/body.h"

#include "base/num.h"
#include "llm/json_scan.h"

enum key {
    KEY_MODEL,
    KEY_STREAM,
    KEY_STREAM_OPTIONS,
    KEY_APPROACH,
    KEY_PROXY_WRAP, /* the three names of one thing, in the order in which they count */
    KEY_WRAPPED_APPROACH,
    KEY_WRAP,
    KEY_EXTRA_BODY,
    KEY_MAX_COMPLETION_TOKENS,
    KEY_MAX_TOKENS,
    KEY_USER,
    KEY_MESSAGES,
    KEY_PROMPT,
    KEY_INPUT,
    KEY_INCLUDE_USAGE, /* only inside stream_options */
    KEY_OTHER
};

static const struct str key_names[] = {
    [KEY_MODEL] = {"model", 5},
    [KEY_STREAM] = {"stream", 6},
    [KEY_STREAM_OPTIONS] = {"stream_options", 14},
    [KEY_APPROACH] = {"hulumanage_approach", 19},
    [KEY_PROXY_WRAP] = {"proxy_wrap", 10},
    [KEY_WRAPPED_APPROACH] = {"wrapped_approach", 16},
    [KEY_WRAP] = {"wrap", 4},
    [KEY_EXTRA_BODY] = {"extra_body", 10},
    [KEY_MAX_COMPLETION_TOKENS] = {"max_completion_tokens", 21},
    [KEY_MAX_TOKENS] = {"max_tokens", 10},
    [KEY_USER] = {"user", 4},
    [KEY_MESSAGES] = {"messages", 8},
    [KEY_PROMPT] = {"prompt", 6},
    [KEY_INPUT] = {"input", 5},
    [KEY_INCLUDE_USAGE] = {"include_usage", 13},
};

enum { KEY_NAME_MAX = 21 };

struct reader {
    struct json_scan scan;
    struct llm_body *body;
    struct arena *arena;
    const char **param;
    struct error *error;
    struct str extra_approach, extra_wrap[3], wrap[3]; /* decoded */
    uint64_t max_tokens;
    uint32_t seen, extra_seen; /* bit of each enum key */
};

static enum err fail_json(struct reader *r)
{
    *r->param = NULL;
    if (r->scan.p == r->scan.start && r->scan.p == r->scan.end)
        return error_set(r->error, ERR_BAD_REQUEST, "the request body is empty; it must be a JSON object");
    return error_set(r->error, ERR_BAD_REQUEST, "the request body is not valid JSON: %s (at byte %zu)",
                     r->scan.why, (size_t)(r->scan.p - r->scan.start));
}

static enum err fail_field(struct reader *r, enum key key, const char *why)
{
    *r->param = key_names[key].p;
    return error_set(r->error, ERR_BAD_REQUEST, "%s %s", key_names[key].p, why);
}

/* The keys that are so long, a bit each: most keys are compared with one name or none. */
static const uint16_t keys_by_length[KEY_NAME_MAX + 1] = {
    [4] = 1 << KEY_WRAP | 1 << KEY_USER,
    [5] = 1 << KEY_MODEL | 1 << KEY_INPUT,
    [6] = 1 << KEY_STREAM | 1 << KEY_PROMPT,
    [8] = 1 << KEY_MESSAGES,
    [10] = 1 << KEY_PROXY_WRAP | 1 << KEY_EXTRA_BODY | 1 << KEY_MAX_TOKENS,
    [13] = 1 << KEY_INCLUDE_USAGE,
    [14] = 1 << KEY_STREAM_OPTIONS,
    [16] = 1 << KEY_WRAPPED_APPROACH,
    [19] = 1 << KEY_APPROACH,
    [21] = 1 << KEY_MAX_COMPLETION_TOKENS,
};

static enum key key_find(struct str name)
{
    if (name.n > KEY_NAME_MAX)
        return KEY_OTHER;
    for (unsigned left = keys_by_length[name.n]; left; left &= left - 1) {
        enum key key = (enum key)__builtin_ctz(left);
        size_t i = 0;
        while (i < name.n && name.p[i] == key_names[key].p[i]) /* too short for a call of memcmp to pay */
            i++;
        if (i == name.n)
            return key;
    }
    return KEY_OTHER;
}

/* "mod\u0065l" is the key model: no upstream must see a name that we did not. */
static enum key key_of(struct str raw)
{
    char name[6 * KEY_NAME_MAX];
    enum key key = key_find(raw);
    if (LIKELY(key != KEY_OTHER) || raw.n > sizeof name || str_find(raw, '\\') == raw.n)
        return key;
    return key_find(str_make(name, json_text_decode(raw, name, NULL)));
}

static bool is_null(struct str value)
{
    return value.p[0] == 'n';
}

static bool is_bool_or_null(struct str value)
{
    return value.p[0] == 't' || value.p[0] == 'f' || is_null(value);
}

static bool has_controls(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static enum err read_model(struct reader *r, struct llm_member member)
{
    bool clean = true;
    if (member.value.p[0] != '"')
        return fail_field(r, KEY_MODEL, "must be a string");
    struct str raw = json_text_raw(member.value);
    if (raw.n > (size_t)6 * LLM_MODEL_MAX)
        return fail_field(r, KEY_MODEL, "is too long");
    struct str model = json_text_str(r->arena, raw, &clean);
    if (!model.p)
        return ERR_NOMEM;
    if (!model.n)
        return fail_field(r, KEY_MODEL, "must not be empty");
    if (model.n > LLM_MODEL_MAX)
        return fail_field(r, KEY_MODEL, "is too long");
    if (!clean || has_controls(model))
        return fail_field(r, KEY_MODEL, "has characters that no model name has");
    r->body->model = model;
    r->body->model_at = member;
    return OK;
}

/* A string that may be null or absent: empty then. */
static enum err read_text(struct reader *r, enum key key, struct str value, struct str *text)
{
    if (is_null(value))
        return OK;
    if (value.p[0] != '"')
        return fail_field(r, key, "must be a string");
    *text = json_text_str(r->arena, json_text_raw(value), NULL);
    return text->p ? OK : ERR_NOMEM;
}

/* For the next member: its key, and its value's and its own span. */
static enum json_step next_member(struct json_scan *s, enum key *key, struct llm_member *member)
{
    struct json_key name;
    enum json_step step = json_scan_member(s, &name);
    if (step != JSON_MEMBER)
        return step;
    *key = key_of(name.raw);
    if (!json_scan_value(s, &member->value))
        return JSON_BROKEN;
    member->whole = str_make(name.at, (size_t)(member->value.p + member->value.n - name.at));
    return JSON_MEMBER;
}

/* A scan over a value that was checked already, and so cannot fail. */
static struct json_scan scan_again(struct str value)
{
    struct json_scan s = json_scan_of(value, LLM_KEYS_MAX);
    REQUIRE(json_scan_open(&s));
    return s;
}

static enum err read_stream_options(struct reader *r, struct llm_member member)
{
    r->body->stream_options = member;
    if (is_null(member.value))
        return OK;
    if (member.value.p[0] != '{')
        return fail_field(r, KEY_STREAM_OPTIONS, "must be an object");
    r->body->has_stream_options = r->body->stream_options_empty = true;
    struct json_scan s = scan_again(member.value);
    enum key key;
    struct llm_member option;
    while (next_member(&s, &key, &option) == JSON_MEMBER) {
        r->body->stream_options_empty = false;
        if (key != KEY_INCLUDE_USAGE)
            continue;
        if (r->body->include_usage_at.n)
            return fail_field(r, KEY_STREAM_OPTIONS, "has include_usage twice");
        if (!is_bool_or_null(option.value))
            return fail_field(r, KEY_STREAM_OPTIONS, "has an include_usage that is neither true nor false");
        r->body->include_usage_at = option.value;
        r->body->include_usage = option.value.p[0] == 't';
    }
    return OK;
}

static bool is_private(enum key key)
{
    return key >= KEY_APPROACH && key <= KEY_WRAP;
}

static enum err mark_seen(struct reader *r, uint32_t *seen, enum key key)
{
    if (*seen >> key & 1)
        return fail_field(r, key, "stands twice in the request body");
    *seen |= (uint32_t)1 << key;
    return OK;
}

/* The original's document puts our fields there literally, and some SDKs send them so. */
static enum err read_extra_body(struct reader *r, struct llm_member member)
{
    struct llm_body *body = r->body;
    if (member.value.p[0] != '{')
        return OK;
    struct json_scan s = scan_again(member.value);
    enum key key;
    struct llm_member inner;
    while (next_member(&s, &key, &inner) == JSON_MEMBER) {
        body->extra_count++;
        if (!is_private(key))
            continue;
        TRY(mark_seen(r, &r->extra_seen, key));
        body->extra_body = member;
        body->extra_private[body->extra_private_count++] = inner;
        struct str *text = key == KEY_APPROACH ? &r->extra_approach : &r->extra_wrap[key - KEY_PROXY_WRAP];
        TRY(read_text(r, key, inner.value, text));
    }
    return OK;
}

/* What is no plain count of tokens is left to the upstream to judge. */
static uint64_t read_count(struct str value)
{
    uint64_t count = 0;
    return num_parse_u64(value, &count) ? count : 0;
}

static enum err read_private(struct reader *r, enum key key, struct llm_member member)
{
    if (key == KEY_APPROACH) {
        r->body->approach = member;
        return read_text(r, key, member.value, &r->body->approach_text);
    }
    r->body->wrap[key - KEY_PROXY_WRAP] = member;
    return read_text(r, key, member.value, &r->wrap[key - KEY_PROXY_WRAP]);
}

static enum err read_member(struct reader *r, enum key key, struct llm_member member)
{
    struct llm_body *body = r->body;
    TRY(mark_seen(r, &r->seen, key));
    switch (key) {
    case KEY_MODEL:
        return read_model(r, member);
    case KEY_STREAM:
        body->stream = member.value.p[0] == 't';
        return is_bool_or_null(member.value) ? OK : fail_field(r, key, "must be true or false");
    case KEY_STREAM_OPTIONS:
        return read_stream_options(r, member);
    case KEY_EXTRA_BODY:
        return read_extra_body(r, member);
    case KEY_MAX_COMPLETION_TOKENS:
        body->max_tokens = read_count(member.value);
        return OK;
    case KEY_MAX_TOKENS:
        r->max_tokens = read_count(member.value);
        return OK;
    case KEY_USER: /* only a label for us: of another type, it is the upstream's matter */
        return member.value.p[0] == '"' ? read_text(r, key, member.value, &body->user) : OK;
    case KEY_MESSAGES:
    case KEY_PROMPT:
    case KEY_INPUT:
        body->prompt_bytes += member.value.n;
        return OK;
    default:
        return read_private(r, key, member);
    }
}

static void choose_texts(struct reader *r)
{
    struct llm_body *body = r->body;
    if (!body->approach_text.n)
        body->approach_text = r->extra_approach;
    for (int i = 0; i < 3 && !body->wrap_text.n; i++)
        body->wrap_text = r->wrap[i];
    for (int i = 0; i < 3 && !body->wrap_text.n; i++)
        body->wrap_text = r->extra_wrap[i];
    if (!body->max_tokens)
        body->max_tokens = r->max_tokens;
}

static enum err read_body(struct reader *r)
{
    if (!json_scan_open(&r->scan))
        return fail_json(r);
    for (;;) {
        enum key key;
        struct llm_member member;
        enum json_step step = next_member(&r->scan, &key, &member);
        if (step == JSON_BROKEN || (step == JSON_CLOSED && !json_scan_end(&r->scan)))
            return fail_json(r);
        if (step == JSON_CLOSED)
            break;
        if (key < KEY_INCLUDE_USAGE)
            TRY(read_member(r, key, member));
    }
    if (!(r->seen >> KEY_MODEL & 1))
        return fail_field(r, KEY_MODEL, "is missing: the request must name one");
    choose_texts(r);
    return OK;
}

enum err llm_body_scan(struct arena *arena, struct str text, struct llm_body *body, const char **param,
                       struct error *error)
{
    memset(body, 0, sizeof *body);
    body->text = text;
    *param = NULL;
    struct reader r = {.scan = json_scan_of(text, LLM_KEYS_MAX),
                       .body = body,
                       .arena = arena,
                       .param = param,
                       .error = error};
    enum err err = read_body(&r);
    return err == ERR_NOMEM ? error_set(error, err, "%s", "") : err;
}
