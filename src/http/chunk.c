/*
 * The chunked coding (chunk.h): a state machine over single bytes, but for the data, which passes in spans.
 * Called by the body readers on the exchange's thread; pure.
 */
#include "http/chunk.h"

#include "base/num.h"
#include "http/chars.h"
#include "http/field.h"

enum {
    SIZE_DIGITS_MAX = 16,
    EXTENSION_MAX = 256,
    EXTENSION_TOTAL_MAX = 16 << 10,
    TRAILERS_MAX = 8 << 10,
};

enum state {
    SIZE = 0,
    EXTENSION_NAME,
    EXTENSION_VALUE,
    EXTENSION_QUOTED,
    EXTENSION_CLOSED, /* behind the closing quote */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    DONE,
    BROKEN,
};

static enum err refuse(struct error *error, const char *why)
{
    return error_set(error, ERR_SYNTAX, "chunked body: %s", why);
}

static enum err limit(struct error *error, const char *why)
{
    return error_set(error, ERR_LIMIT, "chunked body: %s", why);
}

static enum err expect(struct chunked *c, char byte, char wanted, enum state next, struct error *error)
{
    if (byte != wanted)
        return refuse(error, "a line or chunk does not end in CR LF");
    c->state = next;
    return OK;
}

static enum err step_size(struct chunked *c, char byte, struct error *error)
{
    int digit = num_hex_digit(byte);
    if (digit >= 0) {
        if (++c->digits > SIZE_DIGITS_MAX)
            return limit(error, "more than 16 digits of size");
        c->left = c->left * 16 + (unsigned)digit;
        return OK;
    }
    if (c->digits == 0 || (byte != ';' && byte != '\r'))
        return refuse(error, "malformed chunk size");
    c->state = byte == ';' ? EXTENSION_NAME : SIZE_LF;
    c->extension_bytes = 0;
    c->seen = false;
    return OK;
}

/* The end of the size's line. */
static enum err step_size_lf(struct chunked *c, char byte, struct error *error)
{
    TRY(expect(c, byte, '\n', c->left ? DATA : TRAILER_START, error));
    c->digits = 0;
    return c->left > INT64_MAX ? limit(error, "a chunk of more than 2^63 bytes") : OK;
}

/* A part of an extension ended in `byte`. */
static enum err end_extension_part(struct chunked *c, char byte, struct error *error)
{
    if (c->state == EXTENSION_NAME && byte == '=' && c->seen)
        c->state = EXTENSION_VALUE;
    else if (byte == ';' && c->seen)
        c->state = EXTENSION_NAME;
    else if (byte == '\r' && c->seen)
        c->state = SIZE_LF;
    else
        return refuse(error, "malformed chunk extension");
    c->seen = false;
    return OK;
}

static enum err step_extension_text(struct chunked *c, char byte, struct error *error)
{
    if (c->state != EXTENSION_CLOSED && char_is(byte, CHAR_TOKEN)) {
        c->seen = true;
        return OK;
    }
    if (c->state == EXTENSION_VALUE && byte == '"' && !c->seen) {
        c->state = EXTENSION_QUOTED;
        return OK;
    }
    return end_extension_part(c, byte, error);
}

/* No backslash: what it protects is read in two ways out there. */
static enum err step_extension_quoted(struct chunked *c, char byte, struct error *error)
{
    if (!char_is(byte, CHAR_VALUE) || byte == '\\')
        return refuse(error, "malformed chunk extension");
    if (byte == '"') {
        c->state = EXTENSION_CLOSED;
        c->seen = true;
    }
    return OK;
}

static enum err step_extension(struct chunked *c, char byte, struct error *error)
{
    /* The first ';' was not counted; the CR at the end is. */
    if (++c->extension_bytes > EXTENSION_MAX || ++c->extension_total > EXTENSION_TOTAL_MAX)
        return limit(error, "chunk extensions are too long");
    if (c->state == EXTENSION_QUOTED)
        return step_extension_quoted(c, byte, error);
    return step_extension_text(c, byte, error);
}

/* A trailer by which whoever merges it into the head would misread the message (RFC 9110 6.5.1). */
static bool trailer_is_forbidden(const struct chunked *c)
{
    static const bool forbidden[FIELD_COUNT] = {
        [FIELD_AUTHORIZATION] = true,     [FIELD_CONNECTION] = true, [FIELD_CONTENT_ENCODING] = true,
        [FIELD_CONTENT_LENGTH] = true,    [FIELD_COOKIE] = true,     [FIELD_HOST] = true,
        [FIELD_KEEP_ALIVE] = true,        [FIELD_TE] = true,         [FIELD_TRAILER] = true,
        [FIELD_TRANSFER_ENCODING] = true, [FIELD_UPGRADE] = true,
    };
    return forbidden[field_id_find(str_make(c->name, c->name_length))];
}

static enum err step_trailer_name(struct chunked *c, char byte, struct error *error)
{
    if (char_is(byte, CHAR_TOKEN)) {
        c->state = TRAILER_NAME;
        if (c->name_length < CHUNK_NAME_MAX)
            c->name[c->name_length++] = byte;
        return OK;
    }
    if (byte != ':' || c->state == TRAILER_START)
        return refuse(error, "malformed trailer");
    if (trailer_is_forbidden(c))
        return refuse(error, "a trailer that may only be a header");
    c->state = TRAILER_VALUE;
    c->name_length = 0;
    return OK;
}

static enum err step_trailer(struct chunked *c, char byte, struct error *error)
{
    if (c->state == TRAILER_START && byte == '\r') {
        c->state = LAST_LF;
        return OK;
    }
    if (++c->trailer_bytes > TRAILERS_MAX)
        return limit(error, "the trailers are too long");
    if (c->state == TRAILER_LF)
        return expect(c, byte, '\n', TRAILER_START, error);
    if (c->state != TRAILER_VALUE)
        return step_trailer_name(c, byte, error);
    if (char_is(byte, CHAR_VALUE))
        return OK;
    return expect(c, byte, '\r', TRAILER_LF, error);
}

/* One byte that is not data. *keep: it is to be forwarded. */
static enum err step(struct chunked *c, char byte, bool *keep, struct error *error)
{
    *keep = c->keep_frames;
    switch ((enum state)c->state) {
    case SIZE:
        TRY(step_size(c, byte, error));
        *keep = c->keep_frames && c->state != EXTENSION_NAME;
        return OK;
    case EXTENSION_NAME:
    case EXTENSION_VALUE:
    case EXTENSION_QUOTED:
    case EXTENSION_CLOSED:
        TRY(step_extension(c, byte, error));
        *keep = c->keep_frames && c->state == SIZE_LF; /* the CR */
        return OK;
    case SIZE_LF:
        return step_size_lf(c, byte, error);
    case DATA_CR:
        return expect(c, byte, '\r', DATA_LF, error);
    case DATA_LF:
        return expect(c, byte, '\n', SIZE, error);
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
        TRY(step_trailer(c, byte, error));
        *keep = c->keep_frames && (c->keep_trailers || c->state == LAST_LF);
        return OK;
    case LAST_LF:
        return expect(c, byte, '\n', DONE, error);
    case DATA:
    case DONE:
    case BROKEN:
        break;
    }
    return refuse(error, "it was broken before");
}

/* Lets data pass: at most n bytes from `from` to `to`, which may overlap. Returns how many. */
static size_t pass_data(struct chunked *c, char *to, const char *from, size_t n)
{
    size_t part = c->left < n ? (size_t)c->left : n;
    if (to != from)
        memmove(to, from, part);
    c->left -= part;
    c->data_bytes += part;
    if (c->left == 0)
        c->state = DATA_CR;
    return part;
}

enum err chunk_filter(struct chunked *c, char *p, size_t n, size_t *used, size_t *kept, bool *done,
                      struct error *error)
{
    size_t in = 0, out = 0;
    enum err err = OK;
    while (in < n && c->state != DONE) {
        bool keep;
        if (c->state == DATA) {
            size_t part = pass_data(c, p + out, p + in, n - in);
            in += part;
            out += part;
            continue;
        }
        err = step(c, p[in], &keep, error);
        if (err != OK)
            break;
        if (keep)
            p[out++] = p[in];
        in++;
    }
    if (err != OK)
        c->state = BROKEN;
    *used = in;
    *kept = out;
    *done = c->state == DONE;
    return err;
}

bool chunk_at_boundary(const struct chunked *c)
{
    return c->state == SIZE && c->digits == 0;
}

size_t chunk_head(uint64_t size, char *dst)
{
    unsigned digits = 1;
    while (digits < SIZE_DIGITS_MAX && size >> (4 * digits))
        digits++;
    for (unsigned i = 0; i < digits; i++)
        dst[i] = "0123456789abcdef"[(size >> (4 * (digits - 1 - i))) & 15];
    dst[digits] = '\r';
    dst[digits + 1] = '\n';
    return digits + 2;
}
