/*
 * How long a body is, against a second reading of RFC 9112 section 6 that shares nothing with the first: it
 * looks at the fields' names and texts only. The input is a head of either kind; "HTTP/" begins a response.
 */
#include "heads.h"

#include "http/framing.h"

enum { LIMIT = 5000 };

/* What a head says about its body. */
struct said {
    int codings, lengths;
    bool chunked; /* the last coding field is `chunked` alone */
    bool number;  /* the last length is a number that can be */
    bool tab;     /* a TAB stands behind one of them */
    uint64_t length;
};

static bool read_digits(struct str text, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || i >= 19)
            return false;
        *value = *value * 10 + (uint64_t)(text.p[i] - '0');
    }
    return text.n > 0 && *value <= INT64_MAX;
}

static bool tab_behind(struct str value)
{
    const char *p = value.p + value.n;
    bool tab = false;
    for (; *p != '\r'; p++)
        tab |= *p == '\t';
    return tab;
}

static struct said said_of(const struct head *h)
{
    struct said s = {0};
    for (int i = 0; i < h->field_count; i++) {
        struct str name = h->fields[i].name, value = h->fields[i].value;
        if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
            s.codings++;
            s.chunked = str_eq_nocase(value, STR("chunked"));
            s.tab |= tab_behind(value);
        } else if (str_eq_nocase(name, STR("Content-Length"))) {
            s.lengths++;
            s.number = read_digits(value, &s.length);
            s.tab |= tab_behind(value);
        }
    }
    return s;
}

static bool says_upgrade(const struct head *h)
{
    struct head *head = (struct head *)(uintptr_t)h;
    return head_find(head, STR("Upgrade")) && head_has_element(h, FIELD_CONNECTION, STR("upgrade"));
}

static void check_request(const struct head *h)
{
    struct error error = {0};
    struct framing f, open;
    struct said s = said_of(h);
    enum err unlimited = framing_of_request(h, 0, &open, &error);
    enum err err = framing_of_request(h, LIMIT, &f, &error);
    bool good_coding = s.codings == 1 && s.chunked && s.lengths == 0 && h->minor == 1;
    bool good_length = s.codings == 0 && s.lengths == 1 && s.number;
    REQUIRE(err == OK || err == ERR_HTTP_SYNTAX || err == ERR_NOT_IMPLEMENTED || err == ERR_BODY_TOO_LARGE);
    if (err != OK)
        require_sentence(err, &error);
    REQUIRE((err == ERR_BODY_TOO_LARGE) == (unlimited == OK && open.length > LIMIT));
    REQUIRE(err != ERR_NOT_IMPLEMENTED || (s.codings > 0 && s.lengths == 0 && h->minor == 1));
    if (s.codings == 0 && s.lengths == 0)
        REQUIRE(unlimited == OK && open.kind == BODY_NONE && open.length == 0);
    else if (unlimited == OK && s.codings)
        REQUIRE(good_coding && open.kind == BODY_CHUNKED);
    else if (unlimited == OK)
        REQUIRE(good_length && open.kind == BODY_LENGTH && open.length == s.length);
    else
        REQUIRE((!good_coding && !good_length) || s.tab || says_upgrade(h));
}

static void check_response(const struct head *h, enum method method)
{
    struct error error = {0};
    struct framing f;
    struct said s = said_of(h);
    enum err err = framing_of_response(h, method, &f, &error);
    bool bodiless = method == METHOD_HEAD || h->status / 100 == 1 || h->status == 204 || h->status == 304;
    REQUIRE(err == OK || err == ERR_UPSTREAM_PROTOCOL);
    if (err != OK) {
        require_sentence(err, &error);
        REQUIRE(s.codings > 0 || s.lengths > 0);
    } else if (bodiless) {
        REQUIRE(f.kind == BODY_NONE && f.length == 0);
    } else if (s.codings) {
        REQUIRE(f.kind == BODY_CHUNKED && s.codings == 1 && s.chunked && !s.lengths && h->minor == 1);
    } else if (s.lengths) {
        REQUIRE(f.kind == BODY_LENGTH && s.lengths == 1 && s.number && f.length == s.length);
    } else {
        REQUIRE(f.kind == BODY_UNTIL_CLOSE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct head h;
    struct error error = {0};
    struct str all = input_str(bytes, n);
    size_t scanned = 0, end = head_find_end(all, &scanned);
    char *copy = exact_copy(str_first(all, end));
    struct str block = str_make(copy, end);
    if (!end) {
        ;
    } else if (str_starts(all, STR("HTTP/"))) {
        if (head_parse_response(block, &wide_limits, &h, &error) == OK)
            for (int method = 0; method < METHOD_COUNT; method++)
                check_response(&h, (enum method)method);
    } else if (head_parse_request(block, &wide_limits, &h, &error) == OK) {
        check_request(&h);
    }
    mem_free(copy);
    return 0;
}
