/*
 * A price list in LiteLLM's format: one object, of each model what it costs in dollars per token as a JSON
 * number. The numbers are read as decimal text, so that 1.5e-07 is 150,000 pico-dollars and no less. Its
 * names are those of models, or "provider/model" where others sell one of that name too: the lookup tries
 * both. Control thread, blocking.
 */
#include "llm/price_list.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "llm/json_scan.h"

enum { FILE_MAX = 32 << 20, READ_SIZE = 64 << 10 };

enum field {
    FIELD_INPUT,
    FIELD_OUTPUT,
    FIELD_CACHED,
    FIELD_REASONING,
    FIELD_PRICES, /* those before it are dollars, those behind it tokens */
    FIELD_MAX_INPUT = FIELD_PRICES,
    FIELD_MAX_OUTPUT,
    FIELD_MAX_TOKENS,
    FIELD_COUNT
};

static const struct str field_names[] = {
    [FIELD_INPUT] = {"input_cost_per_token", 20},
    [FIELD_OUTPUT] = {"output_cost_per_token", 21},
    [FIELD_CACHED] = {"cache_read_input_token_cost", 27},
    [FIELD_REASONING] = {"output_cost_per_reasoning_token", 31},
    [FIELD_MAX_INPUT] = {"max_input_tokens", 16},
    [FIELD_MAX_OUTPUT] = {"max_output_tokens", 17},
    [FIELD_MAX_TOKENS] = {"max_tokens", 10},
};

/* ---- entries ------------------------------------------------------------------------------------------- */

/* Times 10^places. */
static bool read_number(struct str value, int places, int64_t *number)
{
    return value.p[0] != '-' && num_parse_decimal(value, places, number, NULL);
}

/* False: it is no price. A size that is no number is unknown, and null is as good as nothing. */
static bool read_field(enum field field, struct str value, int64_t *number)
{
    *number = -1;
    if (str_eq(value, STR("null")))
        return true;
    if (field >= FIELD_PRICES) {
        if (!read_number(value, 0, number) || *number > UINT32_MAX)
            *number = -1;
        return true;
    }
    return read_number(value, 12, number);
}

enum entry { ENTRY_GOOD, ENTRY_OTHER /* not sold by the token */, ENTRY_BAD };

static uint32_t first_known(int64_t a, int64_t b)
{
    return (uint32_t)(a >= 0 ? a : MAX(b, 0));
}

/* `entry` was checked to be JSON. */
static enum entry read_entry(struct str entry, struct price *price)
{
    int64_t of[FIELD_COUNT];
    struct json_scan s = json_scan_of(entry, UINT32_MAX);
    struct json_key key;
    struct str value;
    memset(of, -1, sizeof of);
    if (!json_scan_open(&s))
        return ENTRY_BAD;
    while (json_scan_member(&s, &key) == JSON_MEMBER && json_scan_value(&s, &value))
        for (int field = 0; field < FIELD_COUNT; field++)
            if (str_eq(key.raw, field_names[field]) && !read_field((enum field)field, value, &of[field]))
                return ENTRY_BAD;
    if (of[FIELD_INPUT] < 0 && of[FIELD_OUTPUT] < 0)
        return ENTRY_OTHER;
    *price = (struct price){
        .input = MAX(of[FIELD_INPUT], 0),
        .output = MAX(of[FIELD_OUTPUT], 0),
        .cached_input = of[FIELD_CACHED],
        .reasoning = of[FIELD_REASONING],
        .context_window = first_known(of[FIELD_MAX_INPUT], of[FIELD_MAX_TOKENS]),
        .max_output = first_known(of[FIELD_MAX_OUTPUT], of[FIELD_MAX_TOKENS]),
        .known = true,
    };
    return ENTRY_GOOD;
}

struct counts {
    size_t good, bad;
};

static enum err take_entry(struct arena *arena, struct map *list, struct str name, struct str value,
                           struct counts *counts)
{
    struct price price;
    if (str_eq(name, STR("sample_spec")))
        return OK;
    enum entry entry = name.n && name.n <= PRICE_NAME_MAX ? read_entry(value, &price) : ENTRY_BAD;
    counts->good += entry == ENTRY_GOOD;
    counts->bad += entry == ENTRY_BAD;
    if (entry != ENTRY_GOOD)
        return OK;
    return price_list_put(arena, list, name, &price);
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static enum err read_all(int fd, struct buf *content, struct error *error)
{
    ssize_t n;
    do {
        if (!buf_reserve(content, READ_SIZE))
            return error_set(error, buf_err(content) == ERR_LIMIT ? ERR_CONFIG : ERR_NOMEM,
                             "the price list is larger than 32 MiB, or there is no memory for it");
        n = read(fd, content->p + content->n, READ_SIZE);
        if (n > 0)
            content->n += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        return error_set(error, ERR_CONFIG, "cannot be read: %s", strerror(errno));
    return content->n <= FILE_MAX ? OK : error_set(error, ERR_CONFIG, "it is larger than 32 MiB");
}

static enum err read_file(struct str path, struct buf *content, struct error *error)
{
    char name[4096];
    struct stat status;
    if (path.n >= sizeof name)
        return error_set(error, ERR_CONFIG, "the name is too long");
    int fd = open(str_to_c(path, name, sizeof name), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(error, ERR_CONFIG, "cannot be read: %s", strerror(errno));
    enum err err = fstat(fd, &status) == 0 && S_ISREG(status.st_mode)
                       ? read_all(fd, content, error)
                       : error_set(error, ERR_CONFIG, "it is no regular file");
    close(fd);
    return err;
}

static enum err fail_at(const struct json_scan *s, struct error *error)
{
    size_t line = 1, column = 1;
    for (const char *p = s->start; p < s->p; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    return error_set(error, ERR_CONFIG, "line %zu, column %zu: %s", line, column, s->why);
}

static enum err read_list(struct arena *arena, struct str text, struct map *list, struct counts *counts,
                          struct error *error)
{
    struct json_scan s = json_scan_of(text, UINT32_MAX);
    enum json_step step = json_scan_open(&s) ? JSON_MEMBER : JSON_BROKEN;
    struct json_key key;
    struct str value;
    while (step == JSON_MEMBER && (step = json_scan_member(&s, &key)) == JSON_MEMBER) {
        if (!json_scan_value(&s, &value))
            return fail_at(&s, error);
        struct str name = json_text_str(arena, key.raw, NULL);
        if (!name.p || take_entry(arena, list, name, value, counts) != OK)
            return error_set(error, ERR_NOMEM, "out of memory");
    }
    return step == JSON_CLOSED && json_scan_end(&s) ? OK : fail_at(&s, error);
}

enum err price_import(struct arena *arena, struct str path, struct map *list, struct error *error)
{
    CLEANUP(buf_free) struct buf content = BUF(FILE_MAX + 2 * READ_SIZE);
    struct error why = {0};
    struct counts counts = {0};
    enum err err = read_file(path, &content, &why);
    if (err == OK)
        err = read_list(arena, buf_str(&content), list, &counts, &why);
    if (err != OK)
        return error_set(error, err, "the price list %.*s: %s", STR_ARG(path), error_text(&why));
    if (counts.bad)
        log_event(LOG_WARNING, "price_list_entries_skipped",
                  "%zu entries of the price list %.*s make no sense and were left out", counts.bad,
                  STR_ARG(path));
    log_event(LOG_INFO, "price_list_read", "%zu prices were read from %.*s", counts.good, STR_ARG(path));
    return OK;
}
