/*
 * Bodies of LLM requests: what we take, jansson takes, and reads the same model out of it; what a splice
 * makes is JSON again, has the new model and nothing of ours, and in everything else is the document it was.
 */
#include "fuzz.h"
#include "llm/body.h"

#include <jansson.h>

static const char *const private_names[] = {"hulumanage_approach", "proxy_wrap", "wrapped_approach", "wrap"};

static void free_json(json_t **value)
{
    json_decref(*value);
}

static json_t *load(struct str text, json_error_t *why)
{
    return json_loadb(text.p, text.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, why);
}

static size_t remove_private(json_t *object)
{
    size_t before = json_object_size(object);
    for (size_t i = 0; i < COUNT_OF(private_names); i++)
        json_object_del(object, private_names[i]);
    return before - json_object_size(object);
}

/* What the splice must amount to. */
static void apply_rules(json_t *root, struct str model, bool add_usage)
{
    json_t *extra = json_object_get(root, "extra_body"), *options = json_object_get(root, "stream_options");
    json_object_set_new(root, "model", json_stringn(model.p, model.n));
    remove_private(root);
    if (json_is_object(extra) && remove_private(extra) && json_object_size(extra) == 0)
        json_object_del(root, "extra_body");
    if (add_usage && !json_is_object(options)) {
        json_object_set_new(root, "stream_options", json_object());
        options = json_object_get(root, "stream_options");
    }
    if (add_usage)
        json_object_set_new(options, "include_usage", json_true());
}

/* `root`: the body as jansson reads it, or NULL where it cannot (a lone surrogate, a number too large). */
static void check_splice(const struct llm_body *body, const json_t *root, struct str model, bool add_usage)
{
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(buf_free) struct buf out = BUF(0);
    CLEANUP(free_json) json_t *wanted = json_deep_copy(root), *got = NULL;
    struct llm_parts parts;
    struct llm_body again;
    struct error error = {0};
    const char *param;
    json_error_t why;
    REQUIRE(llm_body_splice(&arena, body, model, add_usage, &parts) == OK);
    REQUIRE(parts.count > 0 && parts.count <= LLM_PARTS_MAX);
    for (int i = 0; i < parts.count; i++)
        buf_add_str(&out, parts.part[i]);
    REQUIRE(parts.total == out.n);
    REQUIRE(llm_body_scan(&arena, buf_str(&out), &again, &param, &error) == OK);
    REQUIRE(str_eq(again.model, model) && again.stream == body->stream);
    REQUIRE(!again.approach_text.n && !again.wrap_text.n && !again.extra_private_count);
    REQUIRE(again.max_tokens == body->max_tokens && again.prompt_bytes == body->prompt_bytes);
    REQUIRE(str_eq(again.user, body->user));
    REQUIRE(again.include_usage == (add_usage || body->include_usage));
    if (!root)
        return;
    got = load(buf_str(&out), &why);
    apply_rules(wanted, model, add_usage);
    REQUIRE(got && json_equal(got, wanted));
}

/* What only one of the two refuses: our limits and fields; for jansson lone surrogates, large numbers and
   keys with a NUL. */
static bool ours_is_stricter(const char *param, const struct error *error, struct str text)
{
    return param || strstr(error->why, "levels deep") || strstr(error->why, "byte order mark") ||
           strstr(error->why, "not an object") || strstr(error->why, "keys") || memchr(text.p, 0, text.n);
}

static bool theirs_is_stricter(const json_error_t *why)
{
    return json_error_code(why) == json_error_numeric_overflow ||
           json_error_code(why) == json_error_null_byte_in_key || strstr(why->text, "invalid Unicode");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(free_json) json_t *root = NULL;
    struct llm_body body;
    struct error error = {0};
    const char *param = NULL;
    json_error_t why;
    struct str text = input_str(bytes, n);
    enum err err = llm_body_scan(&arena, text, &body, &param, &error);
    root = load(text, &why);
    if (err != OK) {
        REQUIRE(err == ERR_BAD_REQUEST);
        require_sentence(err, &error);
        REQUIRE(!root || ours_is_stricter(param, &error, text));
        return 0;
    }
    REQUIRE(root || theirs_is_stricter(&why));
    REQUIRE(body.model.n > 0 && body.model.n <= LLM_MODEL_MAX);
    if (root) {
        const json_t *model = json_object_get(root, "model");
        REQUIRE(str_eq(str_make(json_string_value(model), json_string_length(model)), body.model));
        REQUIRE(json_is_true(json_object_get(root, "stream")) == body.stream);
    }
    check_splice(&body, root, STR("new \"name\""), true);
    check_splice(&body, root, STR("new/name:1"), false);
    check_splice(&body, root, body.model, true);
    check_splice(&body, root, body.model, false);
    return 0;
}
