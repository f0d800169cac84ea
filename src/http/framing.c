/* How long a message's body is (framing.h). Called once per head, on the thread that owns it; pure. */
#include "http/framing.h"

#include "base/num.h"
#include "http/chars.h"

enum { LENGTH_DIGITS_MAX = 19 };

/* What Transfer-Encoding says. */
enum coding { CODING_CHUNKED, CODING_UNKNOWN, CODING_MALFORMED };

/* Several codings, or one that is not ours: only to tell 400 from 501, for it is refused either way. */
static enum coding classify_codings(const struct head *h)
{
    bool chunked = false;
    for (int i = head_next(h, FIELD_TRANSFER_ENCODING, -1); i >= 0;
         i = head_next(h, FIELD_TRANSFER_ENCODING, i)) {
        struct str rest = h->fields[i].value;
        do {
            bool last = str_find(rest, ',') == rest.n;
            struct str coding = str_trim(str_cut(&rest, ','));
            if (!coding.n || !char_all(coding, CHAR_TOKEN) || chunked)
                return CODING_MALFORMED; /* `chunked` must be the last, and once */
            chunked = str_eq_nocase(coding, STR("chunked"));
            if (last)
                break;
        } while (true);
    }
    return CODING_UNKNOWN;
}

/* A TAB behind the value is white space by the letter, but some take it for a part of the value: in the
   fields that say where a message ends, nobody sends it who means well. The value lies in the head that was
   parsed. */
static bool tab_follows(const struct field *f)
{
    const char *p = f->value.p + f->value.n;
    while (*p == ' ')
        p++;
    return *p == '\t';
}

static enum coding read_coding(const struct head *h)
{
    bool once = head_next(h, FIELD_TRANSFER_ENCODING, h->first[FIELD_TRANSFER_ENCODING] - 1) < 0;
    const struct field *f = &h->fields[h->first[FIELD_TRANSFER_ENCODING] - 1];
    if (once && str_eq_nocase(f->value, STR("chunked")))
        return tab_follows(f) ? CODING_MALFORMED : CODING_CHUNKED;
    return classify_codings(h);
}

/* One Content-Length field of digits only. */
static bool read_length(const struct head *h, uint64_t *length)
{
    int first = h->first[FIELD_CONTENT_LENGTH] - 1;
    const struct field *f = &h->fields[first];
    return head_next(h, FIELD_CONTENT_LENGTH, first) < 0 && f->value.n <= LENGTH_DIGITS_MAX &&
           num_parse_u64(f->value, length) && *length <= INT64_MAX && !tab_follows(f);
}

static enum err read_request_coding(const struct head *h, struct error *error)
{
    if (h->minor == 0)
        return error_set(error, ERR_HTTP_SYNTAX, "Transfer-Encoding in HTTP/1.0");
    if (h->first[FIELD_CONTENT_LENGTH])
        return error_set(error, ERR_HTTP_SYNTAX, "both Transfer-Encoding and Content-Length");
    enum coding coding = read_coding(h);
    if (coding == CODING_CHUNKED)
        return OK;
    if (coding == CODING_UNKNOWN)
        return error_set(error, ERR_NOT_IMPLEMENTED, "only the transfer coding chunked is known here");
    return error_set(error, ERR_HTTP_SYNTAX, "malformed Transfer-Encoding");
}

static bool wants_upgrade(const struct head *h)
{
    return h->first[FIELD_UPGRADE] && head_has_element(h, FIELD_CONNECTION, STR("upgrade"));
}

enum err framing_of_request(const struct head *h, uint64_t max_body, struct framing *f, struct error *error)
{
    *f = (struct framing){.kind = BODY_NONE};
    if (h->first[FIELD_TRANSFER_ENCODING]) {
        TRY(read_request_coding(h, error));
        f->kind = BODY_CHUNKED;
    } else if (h->first[FIELD_CONTENT_LENGTH]) {
        if (!read_length(h, &f->length))
            return error_set(error, ERR_HTTP_SYNTAX, "malformed Content-Length");
        f->kind = BODY_LENGTH;
    } else {
        return OK;
    }
    if (wants_upgrade(h) && (f->kind == BODY_CHUNKED || f->length > 0))
        return error_set(error, ERR_HTTP_SYNTAX, "a body in an upgrade request");
    if (max_body && f->length > max_body)
        return error_set(error, ERR_BODY_TOO_LARGE, "the body is longer than %llu bytes",
                         (unsigned long long)max_body);
    return OK;
}

enum err framing_of_response(const struct head *h, enum method method, struct framing *f, struct error *error)
{
    bool empty = h->status < 200 || h->status == 204; /* and without Content-Length (RFC 9110 8.6) */
    bool bodiless = empty || h->status == 304 || method == METHOD_HEAD;
    uint64_t length = 0;

    *f = (struct framing){.kind = bodiless ? BODY_NONE : BODY_UNTIL_CLOSE};
    if (empty)
        return OK;
    /* To HEAD and in a 304 it is passed on, so it has to be right even there. */
    if (h->first[FIELD_CONTENT_LENGTH] && !read_length(h, &length))
        return error_set(error, ERR_UPSTREAM_PROTOCOL, "malformed Content-Length");
    if (bodiless)
        return OK;
    if (h->first[FIELD_TRANSFER_ENCODING]) {
        if (h->minor == 0 || h->first[FIELD_CONTENT_LENGTH] || read_coding(h) != CODING_CHUNKED)
            return error_set(error, ERR_UPSTREAM_PROTOCOL, "a Transfer-Encoding that cannot be trusted");
        f->kind = BODY_CHUNKED;
    } else if (h->first[FIELD_CONTENT_LENGTH]) {
        *f = (struct framing){BODY_LENGTH, length};
    }
    return OK;
}
