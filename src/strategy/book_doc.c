/*
 * JSON documents of strategies and clients: parsing, merge patches (RFC 7396), ids and names. Pure.
 */
#include "strategy/book_inside.h"

void doc_free(json_t **doc)
{
    json_decref(*doc);
    *doc = NULL;
}

/* ---- parsing ----------------------------------------------------------------------------------------- */

enum err doc_parse(struct str text, json_t **doc, struct error *error)
{
    json_error_t why;
    *doc = NULL;
    if (text.n > BOOK_TEXT_MAX)
        return error_set(error, ERR_BAD_REQUEST, "the JSON document is larger than %d bytes", BOOK_TEXT_MAX);
    if (!json_text_is_shallow(text, BOOK_DEPTH_MAX))
        return error_set(error, ERR_BAD_REQUEST, "the JSON document is nested too deeply");
    *doc = text.n ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why) : json_object();
    if (!*doc && (!text.n || json_error_code(&why) == json_error_out_of_memory))
        return error_set(error, ERR_NOMEM, "no memory for a JSON document");
    if (!*doc)
        return error_set(error, ERR_BAD_REQUEST, "invalid JSON in line %d, column %d: %s", why.line,
                         why.column, why.text);
    if (json_is_object(*doc))
        return OK;
    doc_free(doc);
    return error_set(error, ERR_BAD_REQUEST, "a JSON object is expected");
}

/* ---- patches ----------------------------------------------------------------------------------------- */

/* The older word in a patch replaces what the newer word said. */
static const struct alias {
    const char *section, *old, *new;
} aliases[] = {
    {"allowed_models", "all_provider_models", "selected_providers"},
    {"allowed_models", "individual_models", "selected_models"},
    {"auto_config", "permission", "enabled"},
};

static void aliases_yield(json_t *doc, const json_t *patch)
{
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        const struct alias *a = &aliases[i];
        if (json_object_get(json_object_get(patch, a->section), a->old))
            json_object_del(json_object_get(doc, a->section), a->new);
    }
}

/* Who names models wants these and no others: "all" from before must not swallow the list. */
static enum err lists_mean_lists(json_t *doc, const json_t *patch)
{
    static const char *const lists[] = {"selected_providers", "selected_models", "all_provider_models",
                                        "individual_models"};
    const json_t *allowed = json_object_get(patch, "allowed_models");
    bool named = false;
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        named |= json_is_array(json_object_get(allowed, lists[i]));
    if (!named || json_object_get(allowed, "selected_all"))
        return OK;
    json_t *target = json_object_get(doc, "allowed_models");
    return json_object_set_new(target, "selected_all", json_false()) == 0 ? OK : ERR_NOMEM;
}

static enum err merge(json_t *doc, json_t *patch)
{
    const char *key;
    json_t *value;
    json_object_foreach(patch, key, value)
    {
        int failed = 0;
        if (json_is_null(value)) {
            json_object_del(doc, key);
        } else if (json_is_object(value)) {
            if (!json_is_object(json_object_get(doc, key)))
                failed = json_object_set_new(doc, key, json_object());
            if (!failed)
                TRY(merge(json_object_get(doc, key), value));
        } else {
            failed = json_object_set(doc, key, value);
        }
        if (failed)
            return ERR_NOMEM;
    }
    return OK;
}

enum err doc_patch(enum store_table table, json_t *doc, const json_t *patch, struct error *error)
{
    if (table == STORE_STRATEGIES)
        aliases_yield(doc, patch);
    enum err err = merge(doc, (json_t *)(uintptr_t)patch);
    if (err == OK && table == STORE_STRATEGIES)
        err = lists_mean_lists(doc, patch);
    return err == OK ? OK : error_set(error, err, "no memory for a change");
}

/* ---- members ----------------------------------------------------------------------------------------- */

struct str doc_text(const json_t *doc, const char *key)
{
    const json_t *value = json_object_get(doc, key);
    return json_is_string(value) ? str_make(json_string_value(value), json_string_length(value)) : STR_NONE;
}

enum err doc_set(json_t *doc, const char *key, struct str value)
{
    if (!value.n) {
        json_object_del(doc, key);
        return OK;
    }
    return json_object_set_new(doc, key, json_stringn(value.p, value.n)) == 0 ? OK : ERR_NOMEM;
}

/* C0, DEL and C1 (two bytes in UTF-8, which the parser has checked). */
static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
            return true;
    }
    return false;
}

static enum err refuse_name(struct error *error, const char *why)
{
    error_set(error, ERR_BAD_REQUEST, "name: %s", why);
    error->param = "name";
    return ERR_BAD_REQUEST;
}

enum err doc_name(json_t *doc, struct error *error)
{
    if (!json_is_string(json_object_get(doc, "name")))
        return refuse_name(error, "a text is required");
    struct str name = str_trim(doc_text(doc, "name"));
    if (!name.n)
        return refuse_name(error, "it must not be empty");
    if (name.n > BOOK_NAME_MAX)
        return refuse_name(error, "at most 200 bytes are allowed");
    if (has_control(name))
        return refuse_name(error, "control characters are not allowed");
    return doc_set(doc, "name", name) == OK ? OK : error_set(error, ERR_NOMEM, "no memory for a name");
}

bool book_id_is_sane(struct str id)
{
    bool only_dots = true;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_plain && c != '.' && c != '_' && c != '-')
            return false;
        only_dots &= c == '.';
    }
    return id.n > 0 && id.n <= BOOK_ID_MAX && !only_dots;
}
