/*
 * What an upstream's error is about. The status decides first; only where one status stands for several
 * things (400, 403, 429 …) the answer is read: the fields of an error object that hold codes are compared
 * whole, and its sentences, or a body that is no JSON, are searched for phrases. No single words are searched
 * for: "token", "length" or "policy" occur in the names of models and in complaints about quite other things.
 * Called by the worker that got the answer. Pure, allocates nothing.
 */
#include "llm/error_class.h"

#include "llm/json_scan.h"

enum {
    CODES_MAX = 8,
    TEXTS_MAX = 4,
    TEXT_MAX = 2048, /* bytes of a sentence that are searched */
    KEYS_LIMIT = 4096,
};

/* Kinds of statuses: within one, the same signs mean the same. */
enum {
    ON_BAD = 1,   /* the request is said to be wrong */
    ON_KEY = 2,   /* the caller is said to be wrong */
    ON_LIMIT = 4, /* too much */
    ON_BROKEN = 8 /* 500: some servers answer so to what is really a wrong request */
};

static const struct {
    int from, to; /* both included */
    unsigned kind;
    enum error_class class;
} statuses[] = {
    {0, 0, 0, CLASS_UNREACHABLE},
    {200, 299, 0, CLASS_NONE},
    {400, 400, ON_BAD, CLASS_CLIENT},
    {401, 401, ON_KEY, CLASS_AUTH},
    {402, 402, 0, CLASS_QUOTA},
    {403, 403, ON_KEY, CLASS_AUTH},
    {404, 405, 0, CLASS_UNSUPPORTED},
    {408, 409, 0, CLASS_UNREACHABLE}, /* the next one may be faster, or have no conflict */
    {410, 410, 0, CLASS_UNSUPPORTED},
    {413, 413, ON_BAD, CLASS_CLIENT},
    {422, 422, ON_BAD, CLASS_CLIENT},
    {425, 425, 0, CLASS_UNREACHABLE},
    {429, 429, ON_LIMIT, CLASS_RATE_LIMITED},
    {498, 498, 0, CLASS_UNREACHABLE}, /* Groq: no capacity */
    {400, 499, 0, CLASS_CLIENT},
    {500, 500, ON_BROKEN, CLASS_OTHER},
    {501, 501, 0, CLASS_UNSUPPORTED},
    {502, 504, 0, CLASS_UNREACHABLE},
    {520, 524, 0, CLASS_UNREACHABLE}, /* a proxy in front of it has no answer */
    {529, 529, 0, CLASS_UNREACHABLE},
};

/* Values of code, type and status, compared whole. The first row that fits counts, before any phrase. */
static const struct {
    unsigned kinds;
    struct str code;
    enum error_class class;
} codes[] = {
#define C(kinds, text, class)                                                                                \
    {                                                                                                        \
        kinds, {text, sizeof text - 1}, class                                                                \
    }
    C(ON_BAD | ON_BROKEN, "context_length_exceeded", CLASS_CONTEXT_LENGTH),
    C(ON_BAD | ON_BROKEN, "exceed_context_size_error", CLASS_CONTEXT_LENGTH),
    C(ON_BAD, "string_above_max_length", CLASS_CONTEXT_LENGTH),
    C(ON_BAD | ON_KEY | ON_BROKEN, "content_filter", CLASS_POLICY),
    C(ON_BAD | ON_KEY | ON_BROKEN, "content_policy_violation", CLASS_POLICY),
    C(ON_BAD | ON_KEY, "policy_violation", CLASS_POLICY),
    C(ON_BAD | ON_KEY, "ResponsibleAIPolicyViolation", CLASS_POLICY),
    C(ON_BAD | ON_KEY, "moderation_blocked", CLASS_POLICY),
    C(ON_BAD | ON_KEY | ON_LIMIT, "insufficient_quota", CLASS_QUOTA),
    C(ON_BAD | ON_KEY | ON_LIMIT, "billing_hard_limit_reached", CLASS_QUOTA),
    C(ON_BAD | ON_KEY | ON_LIMIT, "billing_not_active", CLASS_QUOTA),
    C(ON_BAD | ON_KEY | ON_LIMIT, "billing_error", CLASS_QUOTA),
    C(ON_BAD | ON_KEY | ON_LIMIT, "insufficient_balance", CLASS_QUOTA),
    C(ON_BAD | ON_KEY | ON_LIMIT, "credits_exhausted", CLASS_QUOTA),
    C(ON_BAD, "rate_limit_exceeded",
      CLASS_RATE_LIMITED), /* Groq's 413: more than a minute's tokens at once */
    C(ON_BAD, "invalid_api_key", CLASS_AUTH),
    C(ON_BAD, "API_KEY_INVALID", CLASS_AUTH),
    C(ON_BAD, "model_not_found", CLASS_UNSUPPORTED),
    C(ON_BAD, "model_not_available", CLASS_UNSUPPORTED),
    C(ON_BAD, "model_decommissioned", CLASS_UNSUPPORTED),
    C(ON_BAD, "invalid_model", CLASS_UNSUPPORTED),
    C(ON_BAD, "DeploymentNotFound", CLASS_UNSUPPORTED),
    C(ON_BAD, "OperationNotSupported", CLASS_UNSUPPORTED),
    C(ON_BAD, "not_supported_error", CLASS_UNSUPPORTED),
#undef C
};

/* Parts of sentences, searched for in lower case. A row with a space or two in it matches no model's name. */
static const struct {
    unsigned kinds;
    struct str phrase;
    enum error_class class;
} phrases[] = {
#define P(kinds, text, class)                                                                                \
    {                                                                                                        \
        kinds, {text, sizeof text - 1}, class                                                                \
    }
    P(ON_BAD | ON_BROKEN, "maximum context length", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "maximum prompt length", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "maximum model length", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "context length exceeded", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "the context length", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "context window", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "context size", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "exceeds the context", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "too many tokens", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "prompt is too long", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_BROKEN, "input is too long", CLASS_CONTEXT_LENGTH),
    P(ON_BAD, "exceeds the maximum number of tokens", CLASS_CONTEXT_LENGTH),
    P(ON_BAD, "reduce the length of the messages", CLASS_CONTEXT_LENGTH),
    P(ON_BAD, "tokens + `max_new_tokens` must be", CLASS_CONTEXT_LENGTH),
    P(ON_BAD, "`inputs` must have less than", CLASS_CONTEXT_LENGTH),
    P(ON_BAD | ON_KEY | ON_BROKEN, "content management policy", CLASS_POLICY),
    P(ON_BAD | ON_KEY | ON_BROKEN, "content filtering policy", CLASS_POLICY),
    P(ON_BAD | ON_KEY | ON_BROKEN, "content policy violation", CLASS_POLICY),
    P(ON_BAD | ON_KEY, "violates our content policy", CLASS_POLICY),
    P(ON_BAD | ON_KEY, "violating our usage polic", CLASS_POLICY),
    P(ON_BAD | ON_KEY, "violates our usage polic", CLASS_POLICY),
    P(ON_BAD | ON_KEY, "violates usage guidelines", CLASS_POLICY),
    P(ON_BAD | ON_KEY, "our safety system", CLASS_POLICY),
    P(ON_KEY, "input was flagged", CLASS_POLICY),
    P(ON_KEY, "requires moderation", CLASS_POLICY),
    P(ON_BAD | ON_KEY | ON_LIMIT, "credit balance is too low", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "insufficient balance", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "insufficient credit", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "insufficient quota", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "credits are depleted", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "out of credits", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "used all available credits", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "have any credits", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "monthly spending limit", CLASS_QUOTA),
    P(ON_BAD | ON_KEY | ON_LIMIT, "billing hard limit", CLASS_QUOTA),
    /* Gemini says the words of a missing budget also of a minute's limit, but then when to come back. */
    P(ON_LIMIT, "please retry in", CLASS_RATE_LIMITED),
    P(ON_LIMIT, "exceeded your current quota", CLASS_QUOTA),
    P(ON_BAD, "api key not valid", CLASS_AUTH),
    P(ON_BAD, "api key expired", CLASS_AUTH),
    P(ON_BAD, "location is not supported", CLASS_UNSUPPORTED),
    P(ON_BAD, "does not support tools", CLASS_UNSUPPORTED),
    P(ON_BAD, "does not support chat", CLASS_UNSUPPORTED),
    P(ON_BAD, "does not support embeddings", CLASS_UNSUPPORTED),
    P(ON_BAD, "does not support image", CLASS_UNSUPPORTED),
    P(ON_BAD, "model not found", CLASS_UNSUPPORTED),
#undef P
};

/* What an answer says of its error. */
struct signs {
    struct str codes[CODES_MAX], texts[TEXTS_MAX];
    int code_count, text_count;
    int status;    /* of the error that an answer of 200 holds */
    bool error;    /* it has an error at its top */
    bool filtered; /* choices[0].finish_reason */
};

static void add_code(struct signs *s, struct str code)
{
    if (code.n && s->code_count < CODES_MAX)
        s->codes[s->code_count++] = code;
}

static void add_text(struct signs *s, struct str text)
{
    if (text.n && s->text_count < TEXTS_MAX)
        s->texts[s->text_count++] = str_first(text, TEXT_MAX);
}

/* ---- reading the body ---- */

/* A string's inside, escapes and all: what is looked for has none. */
static bool take_string(struct json_scan *s, struct str *raw)
{
    const char *start = s->p;
    struct str value;
    if (json_scan_value(s, &value)) {
        *raw = json_text_raw(value);
        return true;
    }
    *raw = str_make(start + 1, (size_t)(s->end - start - 1)); /* the body was cut off in it */
    return false;
}

/* The number of a code: "code": 402. */
static void add_number(struct signs *signs, struct str value)
{
    int number = 0;
    if (value.n != 3)
        return;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return;
        number = number * 10 + (value.p[i] - '0');
    }
    signs->status = number;
}

static bool key_is_one_of(struct str key, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(key, names[i]))
            return true;
    return false;
}

static const struct str code_keys[] = {{"code", 4}, {"type", 4}, {"status", 6}, {"reason", 6}};
static const struct str text_keys[] = {{"message", 7}, {"error", 5}, {"detail", 6}, {"raw", 3}};
static const struct str object_keys[] = {{"innererror", 10}, {"metadata", 8}, {"error", 5}};

/* False: the body is broken off or no JSON from here on; what was found until then counts. */
static bool read_field(struct json_scan *s, struct signs *signs, struct str key)
{
    struct str value = STR_NONE;
    char first = json_scan_peek(s);
    if (first != '"') {
        if (!json_scan_value(s, &value))
            return false;
        if (key_is_one_of(key, code_keys, COUNT_OF(code_keys)))
            add_number(signs, value);
        return true;
    }
    bool whole = take_string(s, &value);
    if (key_is_one_of(key, code_keys, COUNT_OF(code_keys)))
        add_code(signs, value);
    else if (key_is_one_of(key, text_keys, COUNT_OF(text_keys)))
        add_text(signs, value);
    return whole;
}

/* finish_reason of the first choice. */
static bool read_choices(struct json_scan *s, struct signs *signs)
{
    struct str value = STR_NONE;
    struct json_key key;
    if (!json_scan_value(s, &value))
        return false;
    struct json_scan choice = json_scan_of(str_from(value, 1), KEYS_LIMIT);
    if (!json_scan_open(&choice))
        return true;
    while (json_scan_member(&choice, &key) == JSON_MEMBER && json_scan_value(&choice, &value))
        if (str_eq(key.raw, STR("finish_reason")))
            signs->filtered = str_eq(value, STR("\"content_filter\""));
    return true;
}

/* The members of the object at s and, below it, of those that say more about the error. */
static void read_object(struct json_scan *s, struct signs *signs)
{
    struct json_key key;
    bool whole = json_scan_open(s);
    unsigned top = s->depth;
    while (whole && s->depth >= top) {
        enum json_step step = json_scan_member(s, &key);
        if (step == JSON_BROKEN)
            return;
        if (step == JSON_CLOSED)
            continue;
        char first = json_scan_peek(s);
        if (s->depth == top && str_eq(key.raw, STR("error")))
            signs->error = first == '{' || first == '"';
        if (first == '{' && key_is_one_of(key.raw, object_keys, COUNT_OF(object_keys)))
            whole = json_scan_open(s);
        else if (first == '[' && s->depth == top && str_eq(key.raw, STR("choices")))
            whole = read_choices(s, signs);
        else
            whole = read_field(s, signs, key.raw);
    }
}

static void read_body(struct str body, struct signs *signs)
{
    struct json_scan scan = json_scan_of(body, KEYS_LIMIT);
    char first = json_scan_peek(&scan);
    if (first == '[') /* Gemini may wrap its error in an array */
        scan = json_scan_of(str_from(body, (size_t)(scan.p + 1 - body.p)), KEYS_LIMIT);
    if (json_scan_peek(&scan) == '{')
        read_object(&scan, signs);
    else if (first != '[')
        add_text(signs, body);
}

/* ---- judging ---- */

static bool by_code(const struct signs *s, unsigned kind, enum error_class *class)
{
    for (size_t row = 0; row < COUNT_OF(codes); row++)
        for (int i = 0; codes[row].kinds & kind && i < s->code_count; i++)
            if (str_eq_nocase(s->codes[i], codes[row].code)) {
                *class = codes[row].class;
                return true;
            }
    return false;
}

static void by_phrase(const struct signs *s, unsigned kind, enum error_class *class)
{
    for (size_t row = 0; row < COUNT_OF(phrases); row++)
        for (int i = 0; phrases[row].kinds & kind && i < s->text_count; i++)
            if (str_find_str_nocase(s->texts[i], phrases[row].phrase) < s->texts[i].n) {
                *class = phrases[row].class;
                return;
            }
}

static enum error_class judge(int status, const struct signs *signs)
{
    size_t row = 0;
    while (row < COUNT_OF(statuses) && (status < statuses[row].from || status > statuses[row].to))
        row++;
    if (row == COUNT_OF(statuses))
        return CLASS_OTHER;
    enum error_class class = statuses[row].class;
    if (!by_code(signs, statuses[row].kind, &class))
        by_phrase(signs, statuses[row].kind, &class);
    return class;
}

/* An answer of 200 may hold an error all the same, or nothing as the content was refused. */
static enum error_class judge_good(const struct signs *signs)
{
    if (signs->error)
        return judge(signs->status >= 400 ? signs->status : 500, signs);
    return signs->filtered ? CLASS_POLICY : CLASS_NONE;
}

enum error_class error_class_of(int status, struct str body)
{
    struct signs signs = {0};
    if (body.n)
        read_body(body, &signs);
    return status >= 200 && status <= 299 ? judge_good(&signs) : judge(status, &signs);
}

bool error_class_retryable(enum error_class c, bool fallback_on_other)
{
    if (c == CLASS_OTHER)
        return fallback_on_other;
    return c != CLASS_NONE && c != CLASS_CLIENT;
}

const char *error_class_name(enum error_class c)
{
    static const char *const names[] = {
        [CLASS_NONE] = "none",
        [CLASS_RATE_LIMITED] = "rate_limited",
        [CLASS_QUOTA] = "quota_exceeded",
        [CLASS_POLICY] = "policy_violation",
        [CLASS_CONTEXT_LENGTH] = "context_length_exceeded",
        [CLASS_UNREACHABLE] = "unreachable",
        [CLASS_UNSUPPORTED] = "unsupported",
        [CLASS_AUTH] = "upstream_auth",
        [CLASS_OTHER] = "other",
        [CLASS_CLIENT] = "invalid_request",
    };
    return (size_t)c < COUNT_OF(names) ? names[c] : "other";
}
