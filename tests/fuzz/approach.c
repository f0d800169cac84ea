/*
 * The grammar of approaches. The input: the model string, the body's field, the server's flag and the wrap,
 * each on a line of its own.
 */
#include "fuzz.h"
#include "llm/approach.h"

static void check_plan(const struct approach_plan *plan, struct str model)
{
    REQUIRE(plan->stage_count >= 1 && plan->stage_count <= APPROACH_STAGES_MAX);
    for (int i = 0; i < plan->stage_count; i++)
        REQUIRE(str_eq(plan->stages[i], STR("none")) || str_eq(plan->stages[i], STR("proxy")));
    REQUIRE(plan->is_or == (plan->alternatives != 0));
    REQUIRE((plan->alternatives & 1) == 0 && plan->alternatives >> plan->stage_count == 0);
    REQUIRE(plan->model.n > 0 && str_ends(model, plan->model) && lies_in(plan->model, model));
}

static void check_listed(struct arena *arena, struct str model)
{
    CLEANUP(buf_free) struct buf prefixed = BUF(0);
    struct approach_plan plan;
    struct error error = {0};
    const char *param;
    /* A listed model is never taken apart, and behind `none-` nothing is. */
    REQUIRE(approach_parse(arena, model, STR_NONE, NULL, STR_NONE, true, &plan, &param, &error) == OK);
    REQUIRE(str_eq(plan.model, model) && plan.stage_count == 1);
    buf_add_c(&prefixed, "none-");
    buf_add_str(&prefixed, model);
    struct str whole = buf_str(&prefixed);
    REQUIRE(approach_parse(arena, whole, STR_NONE, NULL, STR_NONE, false, &plan, &param, &error) == OK);
    REQUIRE(str_eq(plan.model, model) && plan.stage_count == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    struct approach_plan plan;
    struct error error = {0};
    const char *param = NULL;
    char flag[64];
    struct str wrap = input_str(bytes, n);
    struct str model = str_cut(&wrap, '\n'), field = str_cut(&wrap, '\n'), line = str_cut(&wrap, '\n');
    str_to_c(line, flag, sizeof flag);
    for (int listed = 0; listed <= 1; listed++) {
        enum err err =
            approach_parse(&arena, model, field, line.n ? flag : NULL, wrap, listed, &plan, &param, &error);
        if (err == OK) {
            REQUIRE(!param);
            check_plan(&plan, model);
        } else {
            REQUIRE(err == ERR_BAD_REQUEST || err == ERR_NOT_AVAILABLE);
            REQUIRE(param && (strcmp(param, "model") == 0 || strcmp(param, "hulumanage_approach") == 0 ||
                              strcmp(param, "proxy_wrap") == 0));
            require_sentence(err, &error);
        }
    }
    if (model.n)
        check_listed(&arena, model);
    return 0;
}
