/* docs/config.md from the field tables. Pure. */
#include "config/report.h"
#include "config/tables.h"

#include <ctype.h>

static void collect(struct tables *all, const struct table *t, bool later)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i] == t)
            return;
    REQUIRE(all->count < TABLES_MAX);
    all->later[all->count] = later;
    all->list[all->count++] = t;
    for (size_t i = 0; i < t->count; i++)
        if (t->fields[i].table)
            collect(all, t->fields[i].table, later || t->fields[i].later);
}

void tables_collect(struct tables *all)
{
    all->count = 0;
    collect(all, &schema_root, false);
}

/* ---- one row ------------------------------------------------------------------------------------------- */

static void write_words(struct buf *out, const struct field *f)
{
    for (int i = 0; f->words[i]; i++)
        buf_addf(out, "%s`%s`", i ? ", " : "", f->words[i]);
}

static void write_range(struct buf *out, const struct field *f)
{
    if (f->max > 0)
        buf_addf(out, ", %.15g to %.15g", f->min, f->max);
    else if (f->min >= 1)
        buf_addf(out, ", at least %.15g", f->min);
    else if (f->min > 0)
        buf_add_c(out, ", more than 0");
}

/* The anchor that a heading gets: lower case, blanks to '-', punctuation dropped. */
static void write_anchor(struct buf *out, const char *title)
{
    for (; *title; title++) {
        unsigned char c = (unsigned char)*title;
        if (isalnum(c) || c == '_' || c == '-')
            buf_add_char(out, (char)tolower(c));
        else if (c == ' ')
            buf_add_char(out, '-');
    }
}

static void write_link(struct buf *out, const char *what, const struct table *t)
{
    buf_addf(out, "%s [%s](#", what, t->title);
    write_anchor(out, t->title);
    buf_add_char(out, ')');
}

static void write_type(struct buf *out, const struct field *f)
{
    static const char *const names[] = {
        [FIELD_TEXT] = "text",
        [FIELD_PATH] = "path",
        [FIELD_URL] = "URL",
        [FIELD_BOOL] = "true, false",
        [FIELD_COUNT] = "whole number",
        [FIELD_WHOLE] = "whole number",
        [FIELD_NUMBER] = "number",
        [FIELD_SIZE] = "size",
        [FIELD_RATE] = "size per second",
        [FIELD_LEVEL] = "`DEBUG`, `INFO`, `WARNING`, `ERROR`",
        [FIELD_TEXTS] = "list of texts",
        [FIELD_COMMAND] = "list of texts, or text",
        [FIELD_PAIRS] = "map of texts",
        [FIELD_MODELS] = "list of [provider, model]",
        [FIELD_MONEY] = "US dollars",
        [FIELD_LIMIT] = "number",
        [FIELD_PRICES] = "map of providers to maps of models to",
        [FIELD_TABLE] = "map:",
        [FIELD_ITEMS] = "list of maps:",
        [FIELD_NAMED] = "map of names to maps:",
        [FIELD_KEYS] = "list of keys",
        [FIELD_ANY] = "anything",
    };
    if (f->kind == FIELD_WORD)
        write_words(out, f);
    else if (f->kind == FIELD_DURATION)
        buf_add_c(out, f->unit == 1 ? "time (ms)" : "time (s)");
    else if (f->table)
        write_link(out, names[f->kind], f->table);
    else
        buf_add_c(out, names[f->kind]);
    if (f->kind == FIELD_COUNT || f->kind == FIELD_WHOLE || f->kind == FIELD_NUMBER ||
        f->kind == FIELD_LIMIT || f->kind == FIELD_SIZE || f->kind == FIELD_DURATION || f->kind == FIELD_RATE)
        write_range(out, f);
}

/* `|` would end the cell. */
static void write_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

static void write_row(struct buf *out, const struct table *t, const struct field *f, bool later)
{
    static const char *const reloads[] = {"live", "restarts the service", "restart Hestia"};
    buf_addf(out, "| `%s` | ", f->name);
    write_type(out, f);
    buf_add_c(out, " | ");
    if (f->fallback)
        buf_addf(out, "`%s`", f->fallback);
    else if (f->flags & F_REQUIRED)
        buf_add_c(out, "required");
    buf_addf(out, " | %s | ", later || f->later ? "not active yet" : f->table ? "" : reloads[f->reload]);
    write_cell(out, f->doc);
    if (f->flags & F_ENV && t->is_service) {
        buf_add_c(out, " Variable `<SERVICE>_");
        for (const char *p = f->name; *p; p++)
            buf_add_char(out, (char)toupper((unsigned char)*p));
        buf_add_c(out, "`.");
    }
    if (f->flags & F_SECRET)
        buf_add_c(out, " Secret: never shown.");
    buf_add_c(out, " |\n");
}

/* ---- the page ------------------------------------------------------------------------------------------ */

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "This page is written by `hestia config doc` from the tables that also read the file; a test compares "
    "them.\n"
    "`hestia config schema` prints the same as JSON Schema, `hestia validate-config FILE…` checks files, "
    "and\n"
    "`hestia config show` prints what came out of all sources.\n"
    "\n"
    "## Where it comes from\n"
    "\n"
    "1. The files of `-c FILE` (several are laid over one another, later ones win).\n"
    "2. Without `-c`: the file that `HESTIA_CONFIG_PATH` names.\n"
    "3. Without both: `./hestia_config.yml`; where there is none, every `*.yml` in "
    "`$XDG_CONFIG_HOME/hestia`\n"
    "   (`~/.config/hestia`), in order of their names. `~/.hulumanage/proxy_config.yaml` lies below them.\n"
    "4. With no file at all there is one service, `ollama`, at `http://localhost:11434`.\n"
    "\n"
    "Environment variables win over files, files over defaults. Files merge like this: maps key by key, "
    "lists of\n"
    "items with an `id` or a `name` item by item, other lists are replaced; `null` resets a value. A file "
    "may hold\n"
    "several YAML documents, merged likewise. Unknown keys and keys given twice are errors.\n"
    "\n"
    "## Values\n"
    "\n"
    "- `${NAME}` is replaced by the variable, `${NAME:-default}` by the default when the variable is unset "
    "or empty;\n"
    "  defaults may hold further references, and `$${` is a plain `${`. Values get their type afterwards.\n"
    "- An unset variable without default disables the service (provider, …) that needs it, with a warning; "
    "anywhere\n"
    "  else it is an error.\n"
    "- `${PORT}` in `command`, `env`, `base_url` and `health_url` of a service is the port allocated at each "
    "start;\n"
    "  `${HESTIA}` is the program itself.\n"
    "- Times: a bare number in the unit that is named, or `250ms`, `30s`, `5m`, `2h`, `1d`. Sizes: bytes, or "
    "`64KiB`,\n"
    "  `32MiB`, `10KB`. Relative paths start at the folder of the file they stand in.\n"
    "\n"
    "## Services from the environment\n"
    "\n"
    "`<SERVICE>_<KEY>` sets a key of a service: `MY_SVC_BASE_URL` is `base_url` of `my-svc`, which is made "
    "when no\n"
    "file has it; an existing `my_svc` is reached too. `SEMAPHORE_`, `HESTIA_`, `HULUMANAGE_`, `OPENAI_`, "
    "`ANTHROPIC_` and\n"
    "`AZURE_` never begin a service. A bad value is a warning and is ignored. `HESTIA_LOG_LEVEL` sets the "
    "log level.\n"
    "\n"
    "Of hulumanage's variables (`HULUMANAGE_` or `hulumanage_`) these count: `HULUMANAGE_HOST` and "
    "`HULUMANAGE_PORT` give\n"
    "`server.listen` (`127.0.0.1` and `8000` where one of them is not set), `HULUMANAGE_LOG` or "
    "`HULUMANAGE_LOG_LEVEL` the log\n"
    "level, `HULUMANAGE_APPROACH` the approach, and `${NAME}` takes any. Options of the command line win.\n"
    "\n"
    "## Reload\n"
    "\n"
    "On SIGHUP and when a file changes. *live*: at once. *restarts the service*: that service, when it is "
    "idle or hot.\n"
    "*restart Hestia*: only a new process takes it. *not active yet*: checked and accepted, used by a later "
    "version.\n";

void config_write_doc(struct buf *out)
{
    struct tables all;
    tables_collect(&all);
    buf_add_c(out, introduction);
    for (size_t i = 0; i < all.count; i++) {
        const struct table *t = all.list[i];
        buf_addf(out, "\n## %s\n\n%s%s\n\n", t->title, t->doc,
                 t->open ? " Other keys are accepted as they are." : "");
        buf_add_c(out, "| key | type | default | reload | meaning |\n|---|---|---|---|---|\n");
        for (size_t k = 0; k < t->count; k++)
            write_row(out, t, &t->fields[k], all.later[i]);
    }
}
