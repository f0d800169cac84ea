/*
 * Everything of a table that is not a table itself: texts with their variables, typed scalars, lists and maps
 * of texts. Called by decode.c, field by field.
 */
#include "config/decode.h"

#include "config/words.h"

/* ---- text ---------------------------------------------------------------------------------------------- */

static void unset_variable(struct decoder *d, const struct node *n, struct str name)
{
    struct unit *u = d->unit;
    if (!u) {
        decode_report(d, SEVERITY_ERROR, n, NULL,
                      "the variable %.*s is not set; set it or write ${%.*s:-default}", STR_ARG(name),
                      STR_ARG(name));
        return;
    }
    decode_report(d, SEVERITY_WARNING, n, NULL, "the variable %.*s is not set: the %s \"%.*s\" is disabled",
                  STR_ARG(name), u->noun, STR_ARG(u->name));
    if (!u->disabled)
        u->why = arena_printf(d->arena, "the variable %.*s is not set (%s)", STR_ARG(name), d->path);
    u->disabled = true;
}

static bool expand_report(struct decoder *d, const struct node *n, struct expansion *e,
                          enum expand_result result)
{
    switch (result) {
    case EXPAND_OK:
        return true;
    case EXPAND_UNSET:
        unset_variable(d, n, e->missing);
        return false;
    case EXPAND_TOO_LONG:
        decode_report(d, SEVERITY_ERROR, n, NULL, "longer than 64 KiB after replacing the variables");
        return false;
    default:
        decode_report(d, SEVERITY_ERROR, n, NULL,
                      "not a valid reference to a variable; write ${NAME} or ${NAME:-default}, and $${ where "
                      "${ itself is meant");
        return false;
    }
}

static bool expand_text(struct decoder *d, const struct field *f, const struct node *n, struct str raw,
                        struct str *text, struct expansion *expansion)
{
    struct expansion own = {0}, *e = expansion ? expansion : &own;
    if (n->literal || str_find_str(raw, STR("${")) == raw.n) {
        *text = decode_keep(d, raw);
        return true;
    }
    struct buf out CLEANUP(buf_free) = BUF(EXPAND_BYTES_MAX + 1024);
    e->variables = d->variables;
    e->keep_port = f->flags & F_KEEP_PORT;
    if (!expand_report(d, n, e, text_expand(e, raw, &out)))
        return false;
    *text = decode_keep(d, buf_str(&out));
    return true;
}

bool decode_text(struct decoder *d, const struct field *f, const struct node *n, struct str *text,
                 struct expansion *expansion)
{
    if (n->kind == NODE_SCALAR)
        return expand_text(d, f, n, n->text, text, expansion);
    decode_report(d, SEVERITY_ERROR, n, NULL, "expected one value, got %s", node_kind_name(n));
    return false;
}

/* ---- single values ------------------------------------------------------------------------------------- */

static struct str path_resolve(struct decoder *d, const struct node *n, struct str text)
{
    struct str folder = n && n->source && n->source->folder.n ? n->source->folder : d->folder;
    if (text.n == 0 || text.p[0] == '/' || folder.n == 0)
        return text;
    struct str path = arena_printf(d->arena, "%.*s/%.*s", STR_ARG(folder), STR_ARG(text));
    if (!path.n)
        finding_no_memory(d->findings);
    return path;
}

/* A URL whose ${PORT} is not known yet is checked with a port in its place. */
static void url_decode(struct decoder *d, const struct field *f, const struct node *n, struct str text,
                       char *base)
{
    struct url parsed;
    struct error error = {0};
    struct str shape = text;
    size_t port = str_find_str(text, STR("${PORT}"));
    bool later = f->flags & F_KEEP_PORT && port < text.n;
    if (text.n == 0)
        return;
    if (later)
        shape = arena_printf(d->arena, "%.*s65535%.*s", (int)port, text.p, STR_ARG(str_from(text, port + 7)));
    if (url_parse(d->arena, shape, &parsed, &error) != OK) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "%s", error_text(&error));
        return;
    }
    if (url_has_query(&parsed) && !(f->flags & F_QUERY))
        decode_report(d, SEVERITY_ERROR, n, NULL, "the URL must not have a query");
    if (base && !later)
        memcpy(base + f->url_at, &parsed, sizeof parsed);
}

static void scalar_store(const struct field *f, const union scalar *value, char *base)
{
    char *slot = base + f->at;
    switch (f->kind) {
    case FIELD_BOOL:
        memcpy(slot, &value->yes, sizeof value->yes);
        break;
    case FIELD_WORD:
    case FIELD_LEVEL:
        memcpy(slot, &value->word, sizeof value->word);
        break;
    case FIELD_TEXT:
    case FIELD_PATH:
    case FIELD_URL:
        memcpy(slot, &value->text, sizeof value->text);
        break;
    default:
        memcpy(slot, &value->count, sizeof value->count); /* count, whole and number are 8 bytes each */
    }
}

static void scalar_keep(struct decoder *d, const struct field *f, const struct node *n, union scalar *value,
                        char *base)
{
    struct buf canonical CLEANUP(buf_free) = BUF(0);
    if (f->kind == FIELD_PATH)
        value->text = path_resolve(d, n, value->text);
    if (f->kind == FIELD_URL)
        url_decode(d, f, n, value->text, base);
    if (base)
        scalar_store(f, value, base);
    scalar_print(f, value, &canonical);
    if (buf_err(&canonical) != OK)
        finding_no_memory(d->findings);
    decode_record(d, f, buf_str(&canonical));
}

static void scalar_fallback(struct decoder *d, const struct field *f, char *base)
{
    char expected[200];
    union scalar value = {0};
    if (f->fallback)
        REQUIRE(scalar_parse(f, str_from_c(f->fallback), &value, expected, sizeof expected));
    else if (f->kind == FIELD_MONEY)
        value.whole = -1;
    scalar_keep(d, f, NULL, &value, base);
}

static void scalar_decode(struct decoder *d, const struct field *f, const struct node *n, char *base)
{
    char expected[200];
    union scalar value = {0};
    struct str text;
    if (node_is_null(n) || !decode_text(d, f, n, &text, NULL)) {
        scalar_fallback(d, f, base);
        return;
    }
    if (scalar_parse(f, text, &value, expected, sizeof expected)) {
        scalar_keep(d, f, n, &value, base);
        return;
    }
    const char *note = str_eq(text, n->text) ? "" : " (after replacing the variables)";
    if (f->flags & F_SECRET)
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected %s%s", expected, note);
    else
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected %s, got \"%.*s\"%s", expected,
                      (int)MIN(n->text.n, (size_t)60), n->text.p, note);
    scalar_fallback(d, f, base);
}

bool decode_peek(struct decoder *d, const struct table *t, const char *key, const struct node *n,
                 union scalar *value)
{
    char expected[200];
    struct buf text CLEANUP(buf_free) = BUF(EXPAND_BYTES_MAX + 1024);
    struct expansion e = {.variables = d->variables};
    const struct node *child = node_get(n, str_from_c(key));
    if (node_is_null(child) || child->kind != NODE_SCALAR)
        return false;
    if (child->literal)
        buf_add_str(&text, child->text);
    else if (text_expand(&e, child->text, &text) != EXPAND_OK)
        return false;
    return scalar_parse(table_field(t, str_from_c(key)), buf_str(&text), value, expected, sizeof expected);
}

/* ---- lists of texts ------------------------------------------------------------------------------------ */

/* Two lists that mean the same, one behind the other. */
static void texts_join(struct decoder *d, const struct strs *earlier, struct strs *list)
{
    size_t count = earlier->count + list->count;
    struct str *items = decode_alloc(d, count * sizeof *items + 1);
    if (!items)
        return;
    for (size_t i = 0; i < count; i++)
        items[i] = i < earlier->count ? earlier->items[i] : list->items[i - earlier->count];
    *list = (struct strs){items, count};
}

static void texts_keep(struct decoder *d, const struct field *f, struct strs list, char *base)
{
    for (size_t i = 0; i < list.count; i++)
        decode_record(d, f, list.items[i]);
    if (base && f->flags & F_JOIN)
        texts_join(d, (const struct strs *)(base + f->at), &list);
    if (base)
        memcpy(base + f->at, &list, sizeof list);
}

static void texts_decode(struct decoder *d, const struct field *f, const struct node *n, char *base)
{
    bool is_list = n && n->kind == NODE_LIST;
    size_t count = is_list ? n->count : 1;
    struct strs list = {.items = decode_alloc(d, count * sizeof(struct str) + 1)};
    if (!list.items)
        return;
    if (node_is_null(n)) {
        if (f->fallback)
            list.items[list.count++] = str_from_c(f->fallback);
    } else if (n->kind == NODE_MAP) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected a list of texts, got a map");
    } else {
        for (size_t i = 0; i < count; i++) {
            const struct node *item = is_list ? n->items[i] : n;
            size_t mark = is_list ? decode_enter_index(d, i) : d->path_length;
            if (!node_is_ellipsis(item) && decode_text(d, f, item, &list.items[list.count], NULL))
                list.count++;
            decode_leave(d, mark);
        }
    }
    texts_keep(d, f, list, base);
}

static bool command_is_shell(const struct node *parent)
{
    static const struct field shell = {.name = "shell", .kind = FIELD_BOOL};
    char expected[64];
    union scalar value = {0};
    struct node *n = node_get(parent, STR("shell"));
    return n && n->kind == NODE_SCALAR && scalar_parse(&shell, n->text, &value, expected, sizeof expected) &&
           value.yes;
}

static void command_decode(struct decoder *d, const struct field *f, const struct node *parent,
                           const struct node *n, char *base)
{
    struct strs words, list = {0};
    struct error error = {0};
    bool shell = command_is_shell(parent);
    if (shell && n && n->kind == NODE_LIST && n->count != 1)
        decode_report(d, SEVERITY_ERROR, n, NULL, "with shell: true the command is one text, not a list");
    if (node_is_null(n) || n->kind != NODE_SCALAR || shell) {
        texts_decode(d, f, n, base);
        return;
    }
    if (words_split(d->arena, n->text, &words, &error) != OK) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "%s", error_text(&error));
        return;
    }
    list.items = words.items;
    for (size_t i = 0; i < words.count; i++)
        if (expand_text(d, f, n, words.items[i], &list.items[list.count], NULL))
            list.count++;
    texts_keep(d, f, list, base);
}

/* ---- maps of texts ------------------------------------------------------------------------------------- */

static void pairs_decode(struct decoder *d, const struct field *f, const struct node *n, char *base)
{
    size_t count = 0;
    if (node_is_null(n))
        return;
    if (n->kind != NODE_MAP) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "expected a map of names to texts, got %s",
                      node_kind_name(n));
        return;
    }
    struct env_pair *pairs = decode_alloc(d, n->count * sizeof *pairs + 1);
    for (size_t i = 0; pairs && i < n->count; i++) {
        size_t mark = decode_enter(d, n->keys[i]->text);
        struct str value = STR_NONE;
        if (node_is_ellipsis(n->keys[i])) {
            decode_leave(d, mark);
            continue;
        }
        if (node_is_null(n->items[i]) || decode_text(d, f, n->items[i], &value, NULL)) {
            pairs[count++] = (struct env_pair){decode_keep(d, n->keys[i]->text), value};
            decode_record(d, f, value);
        }
        decode_leave(d, mark);
    }
    if (base) {
        memcpy(base + f->at, &pairs, sizeof(void *));
        memcpy(base + f->count_at, &count, sizeof count);
    }
}

/* Anything: only its references are looked at, and it counts in the fingerprint. */
static void any_decode(struct decoder *d, const struct field *f, const struct node *n)
{
    struct str text;
    for (size_t i = 0; n && i < n->count; i++) {
        size_t mark = n->kind == NODE_MAP ? decode_enter(d, n->keys[i]->text) : decode_enter_index(d, i);
        any_decode(d, f, n->items[i]);
        decode_leave(d, mark);
    }
    if (n && n->kind == NODE_SCALAR && !node_is_null(n) && decode_text(d, f, n, &text, NULL))
        decode_record(d, f, text);
}

void decode_value(struct decoder *d, const struct field *f, const struct node *parent, const struct node *n,
                  char *base)
{
    switch (f->kind) {
    case FIELD_TEXTS:
        texts_decode(d, f, n, base);
        break;
    case FIELD_COMMAND:
        command_decode(d, f, parent, n, base);
        break;
    case FIELD_PAIRS:
        pairs_decode(d, f, n, base);
        break;
    case FIELD_MODELS:
        decode_models(d, f, n, base);
        break;
    case FIELD_LIMIT:
        decode_limit(d, f, n, base);
        break;
    case FIELD_PRICES:
        decode_prices(d, f, n, base);
        break;
    case FIELD_KEYS:
        decode_keys(d, f, n, base);
        break;
    case FIELD_ANY:
        any_decode(d, f, n);
        break;
    default:
        scalar_decode(d, f, n, base);
    }
}
