/*
 * The usage reader: follows the nesting of a JSON answer and reads the few numbers that matter, a byte at a
 * time where it matters and up to 64 elsewhere. It serves the relay of plain answers and the event filter. A
 * key with an escape in it is none of ours: no upstream writes `usage` that way. Pure.
 */
#include "llm/usage.h"

#include "base/num.h"
#include "http/scan.h"
#include "llm/json_skip.h"

enum { KEY_NOT_OURS = UINT8_MAX }; /* as a length of a key: too long or with an escape */

enum state { STATE_BETWEEN, STATE_KEY, STATE_STRING, STATE_NUMBER };

enum place {
    PLACE_OTHER,
    PLACE_ROOT,
    PLACE_USAGE,
    PLACE_PROMPT_DETAILS,
    PLACE_COMPLETION_DETAILS,
    PLACE_CHOICES
};

/* What the value behind a key is. */
enum wanted {
    WANTED_NOTHING,
    WANTED_USAGE,
    WANTED_CHOICES,
    WANTED_ERROR,
    WANTED_PROMPT_DETAILS,
    WANTED_COMPLETION_DETAILS,
    WANTED_PROMPT, /* the numbers, from here on */
    WANTED_COMPLETION,
    WANTED_TOTAL,
    WANTED_CACHED,
    WANTED_REASONING
};

struct key_row {
    struct str key;
    enum wanted wanted;
};

static const struct key_row keys[][6] = {
    [PLACE_ROOT] = {{{"usage", 5}, WANTED_USAGE},
                    {{"choices", 7}, WANTED_CHOICES},
                    {{"error", 5}, WANTED_ERROR}},
    [PLACE_USAGE] = {{{"prompt_tokens", 13}, WANTED_PROMPT},
                     {{"completion_tokens", 17}, WANTED_COMPLETION},
                     {{"total_tokens", 12}, WANTED_TOTAL},
                     {{"prompt_tokens_details", 21}, WANTED_PROMPT_DETAILS},
                     {{"completion_tokens_details", 25}, WANTED_COMPLETION_DETAILS}},
    [PLACE_PROMPT_DETAILS] = {{{"cached_tokens", 13}, WANTED_CACHED}},
    [PLACE_COMPLETION_DETAILS] = {{{"reasoning_tokens", 16}, WANTED_REASONING}},
};

static enum place place_at(const struct usage_reader *r)
{
    return r->depth > 0 && r->depth <= COUNT_OF(r->places) ? r->places[r->depth - 1] : PLACE_OTHER;
}

/* Places whose keys are looked at: always objects. */
static bool has_keys(enum place place)
{
    return place >= PLACE_ROOT && place <= PLACE_COMPLETION_DETAILS;
}

/* `place` has keys. */
static enum wanted key_meaning(enum place place, struct str key)
{
    for (const struct key_row *row = keys[place]; row->key.n; row++)
        if (row->key.n == key.n && memcmp(row->key.p, key.p, key.n) == 0)
            return row->wanted;
    return WANTED_NOTHING;
}

static enum place object_place(const struct usage_reader *r)
{
    if (r->depth == 0)
        return PLACE_ROOT;
    switch (r->wanted) {
    case WANTED_USAGE:
        return PLACE_USAGE;
    case WANTED_PROMPT_DETAILS:
        return PLACE_PROMPT_DETAILS;
    case WANTED_COMPLETION_DETAILS:
        return PLACE_COMPLETION_DETAILS;
    default:
        return PLACE_OTHER;
    }
}

/* A second usage object replaces the first, as in any parser. */
static void open_container(struct usage_reader *r, bool object)
{
    enum place place = object ? object_place(r) : PLACE_OTHER;
    if (!object && r->wanted == WANTED_CHOICES)
        place = PLACE_CHOICES;
    if (r->depth == UINT32_MAX) {
        r->broken = true;
        return;
    }
    if (r->depth < COUNT_OF(r->places))
        r->places[r->depth] = (uint8_t)place;
    r->depth++;
    r->expect_key = has_keys(place);
    r->has_error |= object && r->wanted == WANTED_ERROR;
    if (place == PLACE_USAGE) {
        r->usage = (struct llm_usage){0};
        r->counted = false;
    }
    r->empty_choices |= place == PLACE_CHOICES;
    r->wanted = WANTED_NOTHING;
}

static void close_container(struct usage_reader *r)
{
    if (r->depth == 0) {
        r->broken = true;
        return;
    }
    if (place_at(r) == PLACE_USAGE)
        r->usage.known = r->counted;
    r->depth--;
    r->expect_key = false;
    r->wanted = WANTED_NOTHING;
    r->complete = r->depth == 0;
}

static void number_end(struct usage_reader *r)
{
    struct llm_usage *u = &r->usage;
    uint64_t *const to[] = {
        [WANTED_PROMPT] = &u->prompt_tokens,       [WANTED_COMPLETION] = &u->completion_tokens,
        [WANTED_TOTAL] = &u->total_tokens,         [WANTED_CACHED] = &u->cached_tokens,
        [WANTED_REASONING] = &u->reasoning_tokens,
    };
    *to[r->wanted] = r->number;
    r->counted = true;
    r->wanted = WANTED_NOTHING;
    r->state = STATE_BETWEEN;
}

static void string_begin(struct usage_reader *r)
{
    r->has_error |= r->wanted == WANTED_ERROR;
    r->wanted = WANTED_NOTHING;
    r->key_n = 0;
    r->state = r->expect_key ? STATE_KEY : STATE_STRING;
}

/* A byte outside of strings and of numbers that matter. */
static void read_between(struct usage_reader *r, char c)
{
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
        return;
    if (r->complete) {
        r->broken = true;
        return;
    }
    if (c != ']' && place_at(r) == PLACE_CHOICES) {
        r->empty_choices = false;
        r->places[r->depth - 1] = PLACE_OTHER; /* what more there is does not matter */
    }
    if (c == '"') {
        string_begin(r);
    } else if (c == '{' || c == '[') {
        open_container(r, c == '{');
    } else if (c == '}' || c == ']') {
        close_container(r);
    } else if (c == ',') {
        r->wanted = WANTED_NOTHING;
        r->expect_key = has_keys(place_at(r));
    } else if (r->depth == 0) {
        r->broken = true; /* nothing but an object or array can be of interest */
    } else if (r->wanted >= WANTED_PROMPT && c >= '0' && c <= '9') {
        r->number = (uint64_t)(c - '0');
        r->state = STATE_NUMBER;
    } else if (c == '-') {
        r->wanted = WANTED_NOTHING; /* no count */
    }
}

/* The whole part of a number counts; one with an exponent is left alone. */
static const char *read_number(struct usage_reader *r, const char *p, const char *end)
{
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        r->number = r->number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : r->number * 10 + digit;
    }
    if (p == end)
        return p;
    if ((*p | 0x20) == 'e') {
        r->wanted = WANTED_NOTHING;
        r->state = STATE_BETWEEN;
    } else {
        number_end(r);
    }
    return p;
}

static inline const char *find_quote(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p);
        size_t at = scan_first((scan_block)((b == '"') | (b == '\\')));
        if (at < SCAN_BLOCK)
            return p + at;
    }
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

static const char *read_string(struct usage_reader *r, const char *p, const char *end)
{
    for (; p < end; p++) {
        if (r->escaped) {
            r->escaped = false;
            continue;
        }
        p = find_quote(p, end);
        if (p == end)
            break;
        if (*p == '"') {
            r->state = STATE_BETWEEN;
            return p + 1;
        }
        r->escaped = true;
    }
    return p;
}

static void key_add(struct usage_reader *r, const char *p, size_t n)
{
    if (r->key_n == KEY_NOT_OURS || n > sizeof r->key - r->key_n) {
        r->key_n = KEY_NOT_OURS;
        return;
    }
    memcpy(r->key + r->key_n, p, n);
    r->key_n += (uint8_t)n;
}

static const char *read_key(struct usage_reader *r, const char *p, const char *end)
{
    const char *stop = r->escaped ? p : find_quote(p, end);
    key_add(r, p, (size_t)(stop - p));
    if (stop == end)
        return end;
    if (r->escaped || *stop == '\\') {
        r->escaped = !r->escaped;
        r->key_n = KEY_NOT_OURS;
        return stop + 1;
    }
    r->wanted = (uint8_t)key_meaning(place_at(r), str_make(r->key, r->key_n == KEY_NOT_OURS ? 0 : r->key_n));
    r->expect_key = false;
    r->state = STATE_BETWEEN;
    return stop + 1;
}

/* ---- more than a byte at a time: each step is what the functions above would do with the same bytes -------
 */

static const bool separators[256] = {
    ['"'] = true, [','] = true, ['{'] = true, ['}'] = true, ['['] = true, [']'] = true};

static inline bool is_separator(char c)
{
    return separators[(uint8_t)c];
}

/* To the next byte that changes the nesting, begins a string or separates: all that matters where no value is
   wanted. Most often it is near. */
static inline const char *skip_values(const char *p, const char *end)
{
    enum { NEAR = 12 };
    for (const char *near = end - p > NEAR ? p + NEAR : end; p < near; p++)
        if (is_separator(*p))
            return p;
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p), folded = b | 0x20;
        size_t at = scan_first((scan_block)((b == '"') | (b == ',') | (folded == '{') | (folded == '}')));
        if (at < SCAN_BLOCK)
            return p + at;
    }
    while (p < end && !is_separator(*p))
        p++;
    return p;
}

/* The same where commas do not matter either. */
static const char *skip_other(const char *p, const char *end)
{
    for (; end - p >= SCAN_BLOCK; p += SCAN_BLOCK) {
        scan_block b = scan_load(p), folded = b | 0x20;
        size_t at = scan_first((scan_block)((b == '"') | (folded == '{') | (folded == '}')));
        if (at < SCAN_BLOCK)
            return p + at;
    }
    while (p < end && (*p == ',' || !is_separator(*p)))
        p++;
    return p;
}

/* The innermost container that matters, by its depth; 0: none does. */
static uint32_t floor_of(const struct usage_reader *r)
{
    uint32_t floor = MIN(r->depth, (uint32_t)COUNT_OF(r->places));
    while (floor > 0 && r->places[floor - 1] == PLACE_OTHER)
        floor--;
    return floor;
}

/* Inside of what does not matter, in a string of it or not: in blocks as far as they go. */
static const char *skip_nested(struct usage_reader *r, const char *p, const char *end)
{
    struct json_nest nest = {r->depth, r->state == STATE_STRING, r->escaped};
    uint32_t floor = floor_of(r);
    const char *stop = json_skip_nested(p, end, floor, &nest);
    if (stop == p)
        return p;
    for (size_t i = floor; i < COUNT_OF(r->places); i++)
        r->places[i] = PLACE_OTHER; /* whatever containers are open there now */
    r->depth = nest.depth;
    r->state = nest.in_string ? STATE_STRING : STATE_BETWEEN;
    r->escaped = nest.escaped;
    r->complete = nest.depth == 0;
    return stop;
}

static const char *read_other(struct usage_reader *r, const char *p, const char *end)
{
    const char *stop = skip_nested(r, p, end);
    if (stop != p)
        return stop;
    p = skip_other(p, end);
    if (p == end)
        return p;
    read_between(r, *p);
    return p + 1;
}

/* p at the quote where a string begins. */
static inline const char *take_string(struct usage_reader *r, const char *p, const char *end)
{
    const char *stop = find_quote(p + 1, end);
    if (stop == end || *stop == '\\') { /* not so simple */
        string_begin(r);
        return p + 1;
    }
    if (r->expect_key) {
        r->wanted = (uint8_t)key_meaning(place_at(r), str_make(p + 1, (size_t)(stop - p - 1)));
        r->expect_key = false;
    } else {
        r->has_error |= r->wanted == WANTED_ERROR;
        r->wanted = WANTED_NOTHING;
    }
    return stop + 1;
}

/* Among the members of an object that matters, as long as it is the innermost. */
static const char *read_members(struct usage_reader *r, const char *p, const char *end)
{
    const uint32_t depth = r->depth;
    while (r->depth == depth && r->state == STATE_BETWEEN) {
        if (r->wanted == WANTED_NOTHING)
            p = skip_values(p, end);
        else
            while (p < end && (*p == ':' || *p == ' '))
                p++;
        if (p == end)
            break;
        if (*p == '"') {
            p = take_string(r, p, end);
        } else if (*p == ',') {
            r->wanted = WANTED_NOTHING;
            r->expect_key = true;
            p++;
        } else {
            read_between(r, *p++);
            if (r->state == STATE_NUMBER)
                p = read_number(r, p, end);
        }
    }
    return p;
}

static const char *read_outside(struct usage_reader *r, const char *p, const char *end)
{
    enum place place = place_at(r);
    if (has_keys(place))
        return read_members(r, p, end);
    if (r->depth > 0 && place == PLACE_OTHER)
        return read_other(r, p, end);
    read_between(r, *p);
    return p + 1;
}

void usage_reader_feed(struct usage_reader *r, struct str bytes)
{
    const char *p = bytes.p, *end = p + bytes.n, *stop;
    while (p < end && !r->broken) {
        switch ((enum state)r->state) {
        case STATE_BETWEEN:
            p = read_outside(r, p, end);
            break;
        case STATE_KEY:
            p = read_key(r, p, end);
            break;
        case STATE_STRING:
            stop = r->depth > 0 && place_at(r) == PLACE_OTHER ? skip_nested(r, p, end) : p;
            p = stop != p ? stop : read_string(r, p, end);
            break;
        case STATE_NUMBER:
            p = read_number(r, p, end);
            break;
        }
    }
}
