/* The usage reader: no cut changes what it reads, and where jansson takes the text, it reads the same
 * numbers. */
#include "fuzz.h"
#include "llm/usage.h"

#include <jansson.h>

static void require_same(const struct usage_reader *a, const struct usage_reader *b)
{
    const struct llm_usage *u = &a->usage, *v = &b->usage;
    REQUIRE(u->known == v->known && u->prompt_tokens == v->prompt_tokens &&
            u->completion_tokens == v->completion_tokens && u->total_tokens == v->total_tokens &&
            u->cached_tokens == v->cached_tokens && u->reasoning_tokens == v->reasoning_tokens);
    REQUIRE(a->broken == b->broken && a->complete == b->complete && a->has_error == b->has_error &&
            a->empty_choices == b->empty_choices);
}

static void feed(struct usage_reader *r, struct str part)
{
    char *copy = exact_copy(part);
    usage_reader_feed(r, str_make(copy, part.n));
    mem_free(copy);
}

static void check_count(const json_t *object, const char *name, bool has_point, uint64_t read)
{
    const json_t *value = json_object_get(object, name);
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        REQUIRE((uint64_t)json_integer_value(value) == read);
    else if (!json_is_real(value))
        REQUIRE(read == 0);
    else if (!has_point)
        REQUIRE(read == 0); /* one with an exponent is left alone */
}

/* A key with an escape in it is none of those looked for; jansson would undo it. */
static void check_meaning(struct str text, const struct usage_reader *r)
{
    json_error_t why;
    json_t *root = memchr(text.p, '\\', text.n)
                       ? NULL
                       : json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (json_is_object(root)) {
        const json_t *usage = json_object_get(root, "usage"), *error = json_object_get(root, "error");
        bool has_point = memchr(text.p, '.', text.n) != NULL;
        const json_t *choices = json_object_get(root, "choices");
        REQUIRE(r->complete && !r->broken);
        REQUIRE(r->has_error == (json_is_object(error) || json_is_string(error)));
        REQUIRE(r->empty_choices == (json_is_array(choices) && json_array_size(choices) == 0));
        REQUIRE(!r->usage.known || json_is_object(usage));
        check_count(usage, "prompt_tokens", has_point, r->usage.prompt_tokens);
        check_count(usage, "completion_tokens", has_point, r->usage.completion_tokens);
        check_count(usage, "total_tokens", has_point, r->usage.total_tokens);
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str text = input_str(bytes, n);
    struct usage_reader whole = {0}, bytewise = {0};
    usage_reader_feed(&whole, text);
    for (size_t i = 0; i < n; i++)
        feed(&bytewise, str_make(text.p + i, 1));
    require_same(&whole, &bytewise);
    for (struct cuts c = cuts_of(text); cuts_next(&c);) {
        struct usage_reader two = {0};
        feed(&two, str_first(text, c.at));
        feed(&two, str_from(text, c.at));
        require_same(&whole, &two);
    }
    if (n)
        check_meaning(text, &whole);
    return 0;
}
