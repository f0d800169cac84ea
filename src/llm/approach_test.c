/* approach.c: the tables of the contract, and what is decided beyond them. */
#include "llm/test.h"
#include "llm/approach.h"

#include <stdio.h>

struct row {
    const char *model, *field, *flag, *wrap;
    bool listed;
    enum err err;
    const char *want;  /* the model that is left; on error a part of the sentence */
    const char *param; /* on error */
};

static const struct row rows[] = {
    /* no approach */
    {.model = "gpt-4", .want = "gpt-4"},
    {.model = "openai/gpt-4o", .want = "openai/gpt-4o"},
    {.model = "foo-bar", .want = "foo-bar"},
    {.model = "auto", .want = "auto"},
    {.model = "gpt-4&x|y", .want = "gpt-4&x|y"},
    {.model = "re2x-7b", .want = "re2x-7b"},
    {.model = "Proxy-gpt-4", .want = "Proxy-gpt-4"},
    {.model = "-gpt", .want = "-gpt"},
    {.model = "gpt-4-proxy", .want = "gpt-4-proxy"},
    /* the pool */
    {.model = "proxy-gpt-4", .want = "gpt-4"},
    {.model = "proxy-openai/gpt-4o", .want = "openai/gpt-4o"},
    {.model = "none-gpt-4", .want = "gpt-4"},
    {.model = "gpt-4", .field = "proxy", .want = "gpt-4"},
    {.model = "gpt-4", .field = "none", .want = "gpt-4"},
    {.model = "gpt-4", .flag = "proxy", .want = "gpt-4"},
    {.model = "proxy-gpt-4", .flag = "proxy", .want = "gpt-4"},
    {.model = "proxy-gpt-4", .flag = "none", .want = "gpt-4"},
    {.model = "proxy-gpt-4", .flag = "auto", .field = "auto", .want = "gpt-4"},
    {.model = "proxy-proxy-gpt-4", .want = "gpt-4"},
    {.model = "proxy&proxy-gpt-4", .want = "gpt-4"},
    {.model = "proxy|proxy-gpt-4", .want = "gpt-4"},
    {.model = "gpt-4", .field = "proxy", .flag = "moa", .want = "gpt-4"},
    /* a listed model wins over a slug; `none-` is the way around a slug */
    {.model = "moa-7b", .listed = true, .want = "moa-7b"},
    {.model = "proxy-gpt-4", .listed = true, .want = "proxy-gpt-4"},
    {.model = "bon&moa-x", .listed = true, .want = "bon&moa-x"},
    {.model = "moa-7b", .listed = true, .flag = "proxy", .want = "moa-7b"},
    {.model = "none-moa-7b", .want = "moa-7b"},
    {.model = "none-none-7b", .want = "none-7b"},
    {.model = "none-moa-7b", .flag = "proxy", .want = "moa-7b"},
    {.model = "none-moa-7b", .flag = "none", .want = "moa-7b"},
    {.model = "proxy-none-moa-7b", .want = "moa-7b"},
    {.model = "moa-7b", .field = "none", .want = "moa-7b"},
    /* known, not built */
    {.model = "moa-gpt-4", .err = ERR_NOT_AVAILABLE, .want = "'moa'", .param = "model"},
    {.model = "bon&proxy-gpt-4", .err = ERR_NOT_AVAILABLE, .want = "'bon'", .param = "model"},
    {.model = "proxy&bon-gpt-4", .err = ERR_NOT_AVAILABLE, .want = "'bon'", .param = "model"},
    {.model = "bon|moa|re2-gpt-4", .err = ERR_NOT_AVAILABLE, .want = "'bon'", .param = "model"},
    {.model = "bon&moa|re2-gpt-4", .err = ERR_NOT_AVAILABLE, .want = "'bon'", .param = "model"},
    {.model = "proxy-moa-gpt-4", .err = ERR_NOT_AVAILABLE, .want = "'moa'", .param = "model"},
    {.model = "proxy-bon&moa-gpt-4", .err = ERR_NOT_AVAILABLE, .want = "'bon'", .param = "model"},
    {.model = "re2-gpt-4-moa", .err = ERR_NOT_AVAILABLE, .want = "'re2'", .param = "model"},
    {.model = "moa-gpt-4", .flag = "proxy", .err = ERR_NOT_AVAILABLE, .want = "'moa'", .param = "model"},
    {.model = "gpt-4",
     .field = "moa",
     .err = ERR_NOT_AVAILABLE,
     .want = "'moa'",
     .param = "hulumanage_approach"},
    {.model = "gpt-4",
     .field = "proxy&re2",
     .err = ERR_NOT_AVAILABLE,
     .want = "'re2'",
     .param = "hulumanage_approach"},
    {.model = "gpt-4",
     .field = "proxy-re2",
     .err = ERR_NOT_AVAILABLE,
     .want = "'re2'",
     .param = "hulumanage_approach"},
    {.model = "moa-7b",
     .field = "bon",
     .listed = true,
     .err = ERR_NOT_AVAILABLE,
     .want = "'bon'",
     .param = "hulumanage_approach"},
    /* wrong */
    {.model = "foo&bar-gpt-4", .err = ERR_BAD_REQUEST, .want = "'foo' is unknown", .param = "model"},
    {.model = "moa&bar-gpt-4", .err = ERR_BAD_REQUEST, .want = "'bar' is unknown", .param = "model"},
    {.model = "proxy-moa|bar-x", .err = ERR_BAD_REQUEST, .want = "'bar' is unknown", .param = "model"},
    {.model = "gpt|4o", .err = ERR_BAD_REQUEST, .want = "'gpt' is unknown", .param = "model"},
    {.model = "bon&-gpt-4", .err = ERR_BAD_REQUEST, .want = "empty name", .param = "model"},
    {.model = "&bon-gpt-4", .err = ERR_BAD_REQUEST, .want = "empty name", .param = "model"},
    {.model = "bon||moa-gpt-4", .err = ERR_BAD_REQUEST, .want = "empty name", .param = "model"},
    {.model = "none&re2-x", .err = ERR_BAD_REQUEST, .want = "'none'", .param = "model"},
    {.model = "proxy|none-x", .err = ERR_BAD_REQUEST, .want = "'none'", .param = "model"},
    {.model = "moa-none-x", .err = ERR_BAD_REQUEST, .want = "'none'", .param = "model"},
    {.model = "none-x", .field = "moa", .err = ERR_BAD_REQUEST, .want = "'none'", .param = "model"},
    {.model = "gpt-4",
     .field = "none-moa",
     .err = ERR_BAD_REQUEST,
     .want = "'none'",
     .param = "hulumanage_approach"},
    {.model = "gpt-4",
     .field = "foo",
     .err = ERR_BAD_REQUEST,
     .want = "'foo' is unknown",
     .param = "hulumanage_approach"},
    {.model = "moa-gpt-4",
     .field = "moa&foo",
     .err = ERR_BAD_REQUEST,
     .want = "'foo' is unknown",
     .param = "hulumanage_approach"},
    {.model = "moa-gpt-4",
     .flag = "nope",
     .err = ERR_BAD_REQUEST,
     .want = "'nope' is unknown",
     .param = "hulumanage_approach"},
    {.model =
         "proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy-x",
     .want = "x"},
    {.model =
         "proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|proxy|"
         "proxy-x",
     .err = ERR_BAD_REQUEST,
     .want = "at most 16",
     .param = "model"},
    /* no model left */
    {.model = "proxy", .err = ERR_BAD_REQUEST, .want = "no model is left of 'proxy'", .param = "model"},
    {.model = "proxy-", .err = ERR_BAD_REQUEST, .want = "no model is left", .param = "model"},
    {.model = "moa-", .err = ERR_BAD_REQUEST, .want = "no model is left", .param = "model"},
    {.model = "none-", .err = ERR_BAD_REQUEST, .want = "no model is left", .param = "model"},
    {.model = "", .err = ERR_BAD_REQUEST, .want = "no model is left", .param = "model"},
    /* proxy_wrap: consulted where there is a proxy, checked always */
    {.model = "proxy-gpt-4", .wrap = "none", .want = "gpt-4"},
    {.model = "proxy-gpt-4", .wrap = "proxy", .want = "gpt-4"},
    {.model = "gpt-4", .wrap = "moa", .want = "gpt-4"},
    {.model = "gpt-4",
     .wrap = "foo",
     .err = ERR_BAD_REQUEST,
     .want = "'foo' is unknown",
     .param = "proxy_wrap"},
    {.model = "gpt-4",
     .field = "proxy",
     .wrap = "moa",
     .err = ERR_NOT_AVAILABLE,
     .want = "'moa'",
     .param = "proxy_wrap"},
    {.model = "gpt-4",
     .flag = "proxy",
     .wrap = "moa&re2|bon",
     .err = ERR_NOT_AVAILABLE,
     .want = "'moa'",
     .param = "proxy_wrap"},
    {.model = "gpt-4",
     .field = "proxy",
     .wrap = "moa&foo",
     .err = ERR_BAD_REQUEST,
     .want = "'foo' is unknown",
     .param = "proxy_wrap"},
    {.model = "gpt-4",
     .field = "proxy",
     .wrap = "moa&none",
     .err = ERR_BAD_REQUEST,
     .want = "'none'",
     .param = "proxy_wrap"},
    {.model = "gpt-4",
     .field = "proxy",
     .wrap = "moa-gpt",
     .err = ERR_BAD_REQUEST,
     .want = "'moa-gpt' is unknown",
     .param = "proxy_wrap"},
};

static void check_row(const struct row *row)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct approach_plan plan;
    struct error error = {0};
    const char *param = "unset";
    CHECK_ERR(approach_parse(&arena, str_from_c(row->model), str_from_c(row->field), row->flag,
                             str_from_c(row->wrap), row->listed, &plan, &param, &error),
              row->err, row->model);
    if (row->err == OK) {
        CHECK_STR(plan.model, row->want, row->model);
        assert_null(param);
        return;
    }
    assert_int_equal(error.err, row->err);
    CHECK_STR(str_from_c(param), row->param, row->model);
    if (!strstr(error.why, row->want))
        CHECK_STR(str_from_c(error.why), row->want, row->model);
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_row(&rows[i]);
}

/* Section 4 of the contract. */
static void test_slugs(void **state)
{
    static const char known[] =
        "none proxy bon moa self_consistency cot_reflection re2 rto leap plansearch pvg mcts rstar "
        "majority_voting genselect deepthink cepo mars spl memory longcepo compact readurls web_search "
        "deep_research mcp privacy json router executecode coc z3 cot_decoding entropy_decoding thinkdeeper "
        "autothink deepconf";
    struct str rest = str_from_c(known);
    int count = 0;
    while (rest.n) {
        struct str slug = str_cut(&rest, ' ');
        assert_true(approach_is_known(slug));
        count++;
        if (count <= 2)
            continue;
        CLEANUP(arena_free) struct arena arena = {0};
        char name[64];
        snprintf(name, sizeof name, "'%.*s'", STR_ARG(slug));
        struct row row = {
            .model = "m", .err = ERR_NOT_AVAILABLE, .want = name, .param = "hulumanage_approach"};
        row.field = arena_c(&arena, slug);
        check_row(&row);
    }
    assert_int_equal(count, 37);
    assert_false(approach_is_known(STR("")));
    assert_false(approach_is_known(STR("auto")));
    assert_false(approach_is_known(STR("MOA")));
    assert_false(approach_is_known(STR("mo")));
}

/* The plan itself, which the approaches to come will follow. */
static void test_plan(void **state)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct approach_plan plan;
    struct error error = {0};
    const char *param;
    assert_int_equal(approach_parse(&arena, STR("bon&moa|re2-gpt-4"), STR_NONE, NULL, STR_NONE, false, &plan,
                                    &param, &error),
                     ERR_NOT_AVAILABLE);
    assert_int_equal(plan.stage_count, 3);
    CHECK_STR(plan.stages[0], "bon", "first");
    CHECK_STR(plan.stages[2], "re2", "last");
    assert_true(plan.is_or);
    assert_int_equal(plan.alternatives, 1 << 2);
    CHECK_STR(plan.model, "gpt-4", "model");

    assert_int_equal(approach_parse(&arena, STR("proxy-bon&moa-gpt-4"), STR_NONE, NULL, STR_NONE, false,
                                    &plan, &param, &error),
                     ERR_NOT_AVAILABLE);
    CHECK_STR(plan.wrap, "bon&moa", "wrap");
    assert_false(plan.is_or);

    assert_int_equal(
        approach_parse(&arena, STR("gpt-4"), STR_NONE, NULL, STR("moa"), false, &plan, &param, &error), OK);
    CHECK_STR(plan.stages[0], "none", "nothing asked for");
    CHECK_INT(plan.wrap.n, 0, "no proxy, no wrap");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_slugs),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
