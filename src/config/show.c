/*
 * `hestia config show`: the merged tree as YAML, variables replaced, secrets masked, each value with the
 * place it came from. Walks the tree beside the tables, which know what is secret.
 */
#include "base/json.h"
#include "config/assemble.h"
#include "config/finding.h"
#include "config/report.h"
#include "config/schema.h"

#define MASK "********"

struct show {
    const struct variables *variables;
    struct buf *out;
    bool behind_dash; /* the next key stands behind the "- " of its list item */
};

static void show_node(struct show *s, const struct field *f, const struct table *t, const struct node *n,
                      bool secret, int indent);

static bool is_plain(struct str text, bool quoted)
{
    if (quoted || text.n == 0 || text.n > 100)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = char_lower(text.p[i]);
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '/' || c == '.';
        if (!word && !(i > 0 && i + 1 < text.n && strchr(":-+,", c)))
            return false;
    }
    return true;
}

static void write_place(struct show *s, const struct node *n)
{
    const struct source *source = n->source;
    if (!source)
        return;
    buf_addf(s->out, "  # %.*s", STR_ARG(source->name));
    if (n->line)
        buf_addf(s->out, ":%u", n->line);
    if (source->variable.n)
        buf_addf(s->out, " %.*s", STR_ARG(source->variable));
}

static bool is_reference(struct str text)
{
    return str_starts(text, STR("${")) && text_reference_length(text) == text.n;
}

/* A password in a URL is refused when the file is checked, but shown it must not be either. */
static void mask_user(struct buf *text)
{
    struct str all = buf_str(text);
    size_t start = str_find_str(all, STR("://")) + 3;
    struct str authority = str_from(all, start);
    authority = str_first(authority, str_find(authority, '/'));
    size_t at = str_find(authority, '@');
    if (start <= all.n && at < authority.n)
        memset(text->p + start, '*', at);
}

/* The text to show: a variable's value, a mask, or the reference itself where the variable is unset. */
static void shown_text(struct show *s, const struct field *f, const struct node *n, bool secret,
                       struct buf *text)
{
    struct expansion e = {
        .variables = s->variables, .keep_port = f && f->flags & F_KEEP_PORT, .mask_secrets = true};
    bool masked = secret && n->text.n && (n->literal || !is_reference(n->text));
    if (!masked && !n->literal) {
        if (text_expand(&e, n->text, text) != EXPAND_OK) {
            buf_clear(text);
            buf_add_str(text, n->text);
        }
        masked = secret && (e.used_variable || e.used_default);
    } else if (!masked) {
        buf_add_str(text, n->text);
    }
    if (masked) {
        buf_clear(text);
        buf_add_c(text, MASK);
    }
    mask_user(text);
}

static void write_text(struct show *s, struct str text, bool quoted)
{
    if (is_plain(text, quoted)) {
        buf_add_str(s->out, text);
        return;
    }
    buf_add_char(s->out, '"');
    json_escape(s->out, text);
    buf_add_char(s->out, '"');
}

static void show_scalar(struct show *s, const struct field *f, const struct node *n, bool secret)
{
    struct buf text CLEANUP(buf_free) = BUF(EXPAND_BYTES_MAX + 1024);
    if (node_is_null(n)) {
        buf_add_c(s->out, "null");
    } else {
        shown_text(s, f, n, secret, &text);
        write_text(s, buf_str(&text), n->quoted);
    }
    write_place(s, n);
    buf_add_char(s->out, '\n');
}

static void write_indent(struct show *s, int indent)
{
    for (int i = 0; i < indent && !s->behind_dash; i++)
        buf_add_c(s->out, "  ");
    s->behind_dash = false;
}

static void show_map(struct show *s, const struct field *f, const struct table *t, const struct node *n,
                     bool secret, int indent)
{
    for (size_t i = 0; i < n->count; i++) {
        struct str key = n->keys[i]->text;
        const struct field *child = t ? table_field(t, key) : NULL;
        bool named = f && f->kind == FIELD_NAMED && !t;
        bool hidden = secret || (child ? child->flags & F_SECRET : !named && variable_is_secret(key));
        write_indent(s, indent);
        write_text(s, key, false);
        buf_add_char(s->out, ':');
        if (named)
            show_node(s, NULL, f->table, n->items[i], hidden, indent + 1);
        else
            show_node(s,
                      child                         ? child
                      : f && f->kind == FIELD_PAIRS ? f
                                                    : NULL,
                      NULL, n->items[i], hidden, indent + 1);
    }
}

static void show_list(struct show *s, const struct field *f, const struct node *n, bool secret, int indent)
{
    for (size_t i = 0; i < n->count; i++) {
        write_indent(s, indent);
        buf_add_char(s->out, '-');
        s->behind_dash = n->items[i]->kind != NODE_SCALAR && n->items[i]->count > 0;
        show_node(s, f, f && f->kind == FIELD_ITEMS ? f->table : NULL, n->items[i], secret, indent + 1);
    }
}

/* Behind "key:" or "-": the value on the same line, or a block on the lines below. */
static void show_node(struct show *s, const struct field *f, const struct table *t, const struct node *n,
                      bool secret, int indent)
{
    if (f && f->kind == FIELD_TABLE && !t)
        t = f->table;
    if (n->kind == NODE_SCALAR) {
        buf_add_char(s->out, ' ');
        show_scalar(s, f, n, secret);
    } else if (n->count == 0) {
        buf_add_c(s->out, n->kind == NODE_MAP ? " {}\n" : " []\n");
    } else {
        buf_add_char(s->out, s->behind_dash ? ' ' : '\n');
        if (n->kind == NODE_MAP)
            show_map(s, f, t, n, secret, indent);
        else
            show_list(s, f, n, secret, indent);
    }
}

void config_write_merged(const struct config_sources *sources, struct buf *out, struct findings *findings)
{
    struct assembly a;
    (void)!assemble(sources, &a, findings);
    struct show s = {&a.variables, out};
    for (size_t i = 0; i < a.files.count; i++)
        buf_addf(out, "# %.*s\n", STR_ARG(a.files.items[i]));
    if (a.root && a.root->count)
        show_map(&s, NULL, &schema_root, a.root, false, 0);
    assembly_free(&a);
}
