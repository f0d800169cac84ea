/*
 * API keys in a configuration: "${VAR}", "sha256:HEX" or {name, hash}. A key that comes from the environment
 * is hashed here and forgotten; one that stands in the file is refused.
 */
#include "base/num.h"
#include "config/decode.h"
#include "loop/crypto.h"

#include <stdio.h>

static const struct field key_field = {.name = "key", .kind = FIELD_TEXT, .flags = F_SECRET};

static bool hash_parse(struct str text, uint8_t out[32])
{
    struct str prefix = STR("sha256:"), hex = str_from(text, prefix.n);
    if (!str_starts_nocase(text, prefix) || hex.n != 64)
        return false;
    for (size_t i = 0; i < 32; i++) {
        int high = num_hex_digit(hex.p[2 * i]), low = num_hex_digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void refuse_plain(struct decoder *d, const struct node *n)
{
    decode_report(
        d, SEVERITY_ERROR, n, NULL,
        "a key must not stand in the file as plain text: take it from the environment with ${VAR}, or "
        "write its hash as sha256:HEX (`hestia hash-key` makes one)");
}

static bool key_decode(struct decoder *d, const struct node *n, struct api_key *key)
{
    struct expansion used = {0};
    struct str text;
    if (!decode_text(d, &key_field, n, &text, &used))
        return false;
    if (hash_parse(text, key->sha256))
        return true;
    if (str_starts_nocase(text, STR("sha256:"))) {
        decode_report(d, SEVERITY_ERROR, n, NULL, "after sha256: there must be 64 hexadecimal digits");
        return false;
    }
    if (!used.used_variable || used.used_default) {
        refuse_plain(d, n);
        return false;
    }
    crypto_sha256(text, key->sha256);
    memset((char *)(uintptr_t)text.p, 0, text.n); /* the arena lives long */
    return true;
}

static bool entry_decode(struct decoder *d, const struct node *n, struct api_key *key)
{
    if (n->kind != NODE_MAP)
        return key_decode(d, n, key);
    struct node *name = node_get(n, STR("name")), *hash = node_get(n, STR("hash"));
    for (size_t i = 0; i < n->count; i++)
        if (n->items[i] != name && n->items[i] != hash)
            decode_report(d, SEVERITY_ERROR, n->keys[i], NULL,
                          "unknown key \"%.*s\"; an entry has name and hash", STR_ARG(n->keys[i]->text));
    if (!node_is_null(name) && !decode_text(d, &key_field, name, &key->name, NULL))
        return false;
    if (node_is_null(hash)) {
        decode_report(d, SEVERITY_ERROR, n, "hash", "is missing");
        return false;
    }
    return key_decode(d, hash, key);
}

static void key_record(struct decoder *d, const struct field *f, const struct api_key *key)
{
    char hex[64];
    num_to_hex(key->sha256, sizeof key->sha256, hex);
    decode_record(d, f, str_make(hex, sizeof hex));
}

void decode_keys(struct decoder *d, const struct field *f, const struct node *n, void *value)
{
    bool is_list = n && n->kind == NODE_LIST;
    size_t total = is_list ? n->count : 1, count = 0;
    if (node_is_null(n))
        return;
    if (d->from_api) {
        decode_report(d, SEVERITY_ERROR, n, NULL,
                      "a key cannot be given here: the gateway makes it and shows it once; only a "
                      "configuration file may bring its own");
        return;
    }
    struct api_key *keys = decode_alloc(d, total * sizeof *keys + 1);
    for (size_t i = 0; keys && i < total; i++) {
        size_t mark = is_list ? decode_enter_index(d, i) : d->path_length;
        if (entry_decode(d, is_list ? n->items[i] : n, &keys[count])) {
            if (keys[count].name.n == 0)
                keys[count].name = arena_str(d->arena, str_make(d->path, d->path_length));
            key_record(d, f, &keys[count++]);
        }
        decode_leave(d, mark);
    }
    if (value) {
        memcpy((char *)value + f->at, &keys, sizeof(void *));
        memcpy((char *)value + f->count_at, &count, sizeof count);
    }
}
