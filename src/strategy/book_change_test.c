/* The life of clients and strategies: every rule, and everything that is refused. */
#include "strategy/book_test.h"

static struct kept kept_a, kept_b, kept_c;

static int begin(void **state)
{
    static struct strategy_config s = {
        .id = {"yaml-s", 6}, .name = {"Yaml S", 6}, .allowed.selected_all = true};
    static struct client_config c = {
        .id = {"yaml-c", 6}, .name = {"Yaml C", 6}, .enabled = true, .strategy_id = {"yaml-s", 6}};
    if (books_open(state) != 0)
        return -1;
    books_begin(books_config(&s, 1, &c, 1), &shelf);
    look();
    return 0;
}

static struct str made(enum book_action action, const char *body, struct kept *k)
{
    if (do_change(action, STR_NONE, body) != OK)
        fail_msg("%s: %s", body, error_text(&answer.error));
    return keep(k, answer.result.id);
}

static struct str client(const char *body, struct kept *k)
{
    return made(BOOK_CLIENT_CREATE, body, k);
}

static struct str strategy(const char *body, struct kept *k)
{
    return made(BOOK_STRATEGY_CREATE, body, k);
}

static void changed(enum book_action action, struct str id, const char *body)
{
    if (do_change(action, id, body) != OK)
        fail_msg("%s: %s", body, error_text(&answer.error));
}

static struct str strategy_of_client(struct str id)
{
    return book_client(seen, id)->config.strategy_id;
}

static const struct strategy_config *config_of(struct str strategy)
{
    const struct book_strategy *s = book_strategy(seen, strategy);
    assert_non_null(s);
    return &s->config;
}

/* ---- clients ------------------------------------------------------------------------------------------- */

static void test_create_with_owned(void **state)
{
    int writes = shelf.writes;
    struct str al = client("{\"name\":\" Al \"}", &kept_a);
    assert_int_equal(al.n, 36);
    assert_int_equal(strlen(answer.result.secret), KEY_SIZE);
    assert_int_equal(answer.result.revision, 1);
    assert_int_equal(answer.result.released.count, 0);
    assert_int_equal(shelf.writes, writes + 1); /* both in one transaction */
    const struct book_client *c = book_client(seen, al);
    ASSERT_STR(c->config.name, "Al");
    assert_true(c->config.enabled && !c->is_managed);
    assert_true(c->created_us > 0 && c->created_us == c->updated_us);
    ASSERT_STR(c->strategy->config.name, "Al's strategy");
    assert_true(str_eq(c->strategy->config.parent, al));
    assert_true(c->strategy->config.allowed.selected_all);
    assert_false(c->strategy->config.has_auto);
    assert_int_equal(c->strategy->config.limit_count, 0);
    assert_int_equal(c->strategy->config.id.n, 36);
    assert_int_equal(c->strategy->client_count, 1);
    assert_true(shelf_says("client.create", al));
    assert_true(shelf_says("strategy.create", c->strategy->config.id));
    ASSERT_STR(shelf.audits[shelf.audit_count - 1].actor, "tester");
    assert_int_equal(logged_count("\"client_created\""), 1);
    assert_int_equal(logged_count("\"strategy_created\""), 2); /* and `default` at start */
    assert_int_equal(published_count, 1);
}

static void test_create_with_strategy(void **state)
{
    size_t strategies = book_strategy_count(seen);
    struct str al = client("{\"name\":\"Al\",\"id\":\"al\",\"strategy_id\":\"default\",\"enabled\":false,"
                           "\"allowed_llm_providers\":[\"openai\"]}",
                           &kept_a);
    ASSERT_STR(al, "al");
    ASSERT_STR(strategy_of_client(al), "default");
    assert_false(book_client(seen, al)->config.enabled);
    ASSERT_STR(book_client(seen, al)->config.allowed_llm_providers.items[0], "openai");
    assert_int_equal(book_strategy_count(seen), strategies);
    client("{\"name\":\"Bo\",\"id\":\"bo\",\"strategy_id\":\"yaml-s\"}", &kept_b);
    assert_int_equal(book_strategy(seen, STR("yaml-s"))->client_count, 2);
}

static void test_create_takes_anothers(void **state)
{
    struct str al = client("{\"name\":\"Al\"}", &kept_a);
    struct str own = keep(&kept_b, strategy_of_client(al));
    char body[128];
    snprintf(body, sizeof body, "{\"name\":\"Bo\",\"strategy_id\":\"%s\"}", own.p);
    client(body, &kept_c);
    assert_int_equal(answer.result.released.count, 1);
    assert_true(str_eq(answer.result.released.items[0], own));
    ASSERT_STR(config_of(own)->parent, "");
    assert_int_equal(book_strategy(seen, own)->client_count, 2);
}

static void test_client_refused(void **state)
{
    char name[256], body[400];
    client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_a);
    static const struct {
        const char *body, *param;
        enum err err;
    } bad[] = {
        {"", "name", ERR_BAD_REQUEST},
        {"{}", "name", ERR_BAD_REQUEST},
        {"{\"name\":\"\"}", "name", ERR_BAD_REQUEST},
        {"{\"name\":\"  \"}", "name", ERR_BAD_REQUEST},
        {"{\"name\":7}", "name", ERR_BAD_REQUEST},
        {"{\"name\":null}", "name", ERR_BAD_REQUEST},
        {"{\"name\":\"a\\u0000b\"}", NULL, ERR_BAD_REQUEST},
        {"{\"name\":\"a\\u001bb\"}", "name", ERR_BAD_REQUEST},
        {"{\"name\":\"\xff\"}", NULL, ERR_BAD_REQUEST},
        {"{\"name\":\"Al\"}", "name", ERR_CONFLICT},
        {"{\"name\":\" Al\"}", "name", ERR_CONFLICT},
        {"{\"name\":\"Yaml C\"}", "name", ERR_CONFLICT},
        {"{\"name\":\"n\",\"id\":\"al\"}", "id", ERR_CONFLICT},
        {"{\"name\":\"n\",\"id\":\"yaml-c\"}", "id", ERR_CONFLICT},
        {"{\"name\":\"n\",\"id\":\"a/b\"}", "id", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"id\":\"\"}", "id", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"id\":5}", "id", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"strategy_id\":\"nowhere\"}", "strategy_id", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"strategy_id\":\"\"}", "strategy_id", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"strategy_id\":5}", "strategy_id", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"enabled\":\"maybe\"}", "enabled", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"allowed_llm_providers\":{}}", "allowed_llm_providers", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"key\":\"sha256:00\"}", "key", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"key\":null}", "key", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"colour\":1}", "colour", ERR_BAD_REQUEST},
        {"{\"name\":\"n\"", NULL, ERR_BAD_REQUEST},
        {"[]", NULL, ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"name\":\"m\"}", NULL, ERR_BAD_REQUEST},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_refused(BOOK_CLIENT_CREATE, STR_NONE, bad[i].body, bad[i].err, bad[i].param);
    memset(name, 'x', 201);
    snprintf(body, sizeof body, "{\"name\":\"%.201s\"}", name);
    assert_refused(BOOK_CLIENT_CREATE, STR_NONE, body, ERR_BAD_REQUEST, "name");
    snprintf(body, sizeof body, "{\"name\":\"%.200s\"}", name);
    client(body, &kept_b); /* and its strategy's name is good, too */
    assert_int_equal(config_of(strategy_of_client(str_from_c(kept_b.text)))->name.n, 200);
}

static void test_client_update(void **state)
{
    struct str al = client("{\"name\":\"Al\"}", &kept_a);
    struct str own = keep(&kept_b, strategy_of_client(al));
    changed(BOOK_CLIENT_UPDATE, al, "{\"enabled\":false,\"allowed_llm_providers\":[\"a\",\"b\"]}");
    assert_int_equal(answer.result.revision, 2);
    assert_int_equal(answer.result.secret[0], 0);
    assert_int_equal(book_client(seen, al)->revision, 2);
    assert_false(book_client(seen, al)->config.enabled);
    assert_int_equal(book_client(seen, al)->config.allowed_llm_providers.count, 2);
    assert_true(book_client(seen, al)->updated_us >= book_client(seen, al)->created_us);
    changed(BOOK_CLIENT_UPDATE, al, "{\"enabled\":null,\"allowed_llm_providers\":null}");
    assert_true(book_client(seen, al)->config.enabled);
    assert_int_equal(book_client(seen, al)->config.allowed_llm_providers.count, 0);
    /* its strategy is renamed with it */
    changed(BOOK_CLIENT_UPDATE, al, "{\"name\":\"Alice\"}");
    ASSERT_STR(book_client(seen, al)->config.name, "Alice");
    ASSERT_STR(config_of(own)->name, "Alice's strategy");
    assert_true(str_eq(config_of(own)->parent, al));
    assert_int_equal(book_strategy(seen, own)->revision, 2);
    /* unless it has a name of its own */
    changed(BOOK_STRATEGY_UPDATE, own, "{\"name\":\"Mine\"}");
    changed(BOOK_CLIENT_UPDATE, al, "{\"name\":\"Al\"}");
    ASSERT_STR(config_of(own)->name, "Mine");
    assert_int_equal(logged_count("\"client_updated\""), 4);
}

/* An older store may have an owned strategy with a name of its own. */
static void test_owned_with_own_name(void **state)
{
    client("{\"name\":\"Al\",\"id\":\"al\",\"strategy_id\":\"default\"}", &kept_a);
    shelf_add(STORE_STRATEGIES, "odd", "{\"id\":\"odd\",\"name\":\"Odd\",\"parent\":\"al\"}");
    books_restart(books_config(NULL, 0, NULL, 0));
    changed(BOOK_CLIENT_UPDATE, STR("al"), "{\"name\":\"Alice\"}");
    ASSERT_STR(config_of(STR("odd"))->name, "Odd");
    changed(BOOK_STRATEGY_UPDATE, STR("odd"), "{\"name\":\"Alice's strategy\"}");
    ASSERT_STR(config_of(STR("odd"))->parent, "al"); /* its client's name for it is no name of its own */
    changed(BOOK_STRATEGY_UPDATE, STR("odd"), "{\"name\":\"Odd\"}");
    ASSERT_STR(config_of(STR("odd"))->parent, "");
}

static void test_nothing_to_do(void **state)
{
    struct str al = client("{\"name\":\"Al\"}", &kept_a);
    int writes = shelf.writes, published_before = published_count;
    char body[200];
    snprintf(body, sizeof body, "{\"strategy_id\":\"%s\",\"id\":\"%s\",\"name\":\"Al\"}",
             keep(&kept_b, strategy_of_client(al)).p, al.p);
    changed(BOOK_CLIENT_UPDATE, al, body);
    assert_int_equal(answer.result.revision, 1);
    assert_true(str_eq(answer.result.id, al));
    changed(BOOK_CLIENT_UPDATE, al, "");
    assert_int_equal(shelf.writes, writes);
    assert_int_equal(published_count, published_before);
}

static void test_client_update_refused(void **state)
{
    struct str al = client("{\"name\":\"Al\"}", &kept_a);
    client("{\"name\":\"Bo\"}", &kept_b);
    static const struct {
        const char *body, *param;
        enum err err;
    } bad[] = {
        {"{\"id\":\"other\"}", "id", ERR_BAD_REQUEST},
        {"{\"id\":null}", "id", ERR_BAD_REQUEST},
        {"{\"key\":{}}", "key", ERR_BAD_REQUEST},
        {"{\"name\":null}", "name", ERR_BAD_REQUEST},
        {"{\"name\":\"Bo\"}", "name", ERR_CONFLICT},
        {"{\"name\":\"\"}", "name", ERR_BAD_REQUEST},
        {"{\"name\":\"Yaml C\"}", "name", ERR_CONFLICT},
        {"{\"enabled\":3}", "enabled", ERR_BAD_REQUEST},
        {"{\"strategy_id\":\"x\"}", "strategy_id", ERR_BAD_REQUEST},
        {"{\"strategy_id\":5}", "strategy_id", ERR_BAD_REQUEST},
        {"{\"revision\":5}", "revision", ERR_BAD_REQUEST},
        {"nonsense", NULL, ERR_BAD_REQUEST},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_refused(BOOK_CLIENT_UPDATE, al, bad[i].body, bad[i].err, bad[i].param);
    assert_refused(BOOK_CLIENT_UPDATE, STR("nobody"), "{}", ERR_CLIENT_NOT_FOUND, NULL);
    assert_refused(BOOK_CLIENT_DELETE, STR("nobody"), "", ERR_CLIENT_NOT_FOUND, NULL);
    assert_refused(BOOK_CLIENT_ROTATE, STR_NONE, "", ERR_CLIENT_NOT_FOUND, NULL);
}

static void test_assign(void **state)
{
    struct str al = client("{\"name\":\"Al\"}", &kept_a);
    struct str own = keep(&kept_b, strategy_of_client(al));
    client("{\"name\":\"Bo\",\"id\":\"bo\"}", &kept_c);
    struct str bos = keep(&kept_c, strategy_of_client(STR("bo")));
    char body[128];
    /* away from its own: that one stays its own */
    changed(BOOK_CLIENT_UPDATE, al, "{\"strategy_id\":\"yaml-s\"}");
    assert_int_equal(answer.result.released.count, 0);
    assert_true(str_eq(config_of(own)->parent, al));
    assert_int_equal(book_strategy(seen, own)->client_count, 0);
    /* back */
    snprintf(body, sizeof body, "{\"strategy_id\":\"%s\"}", own.p);
    changed(BOOK_CLIENT_UPDATE, al, body);
    assert_true(str_eq(config_of(own)->parent, al));
    /* another's becomes a shared one */
    snprintf(body, sizeof body, "{\"strategy_id\":\"%s\"}", bos.p);
    changed(BOOK_CLIENT_UPDATE, al, body);
    assert_int_equal(answer.result.released.count, 1);
    assert_true(str_eq(answer.result.released.items[0], bos));
    ASSERT_STR(config_of(bos)->parent, "");
    assert_int_equal(book_strategy(seen, bos)->client_count, 2);
    assert_true(shelf_says("strategy.update", bos));
    /* null is the default */
    changed(BOOK_CLIENT_UPDATE, al, "{\"strategy_id\":null}");
    ASSERT_STR(strategy_of_client(al), "default");
}

static void test_delete_cascades(void **state)
{
    struct str al = client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_a);
    struct str own = keep(&kept_b, strategy_of_client(al));
    struct str second = strategy("{\"parent\":\"al\"}", &kept_c);
    size_t strategies = book_strategy_count(seen);
    int writes = shelf.writes;
    changed(BOOK_CLIENT_DELETE, al, "");
    assert_int_equal(shelf.writes, writes + 1);
    ASSERT_STR(answer.result.id, "al");
    assert_int_equal(answer.result.released.count, 0);
    assert_null(book_client(seen, al));
    assert_null(book_strategy(seen, own));
    assert_null(book_strategy(seen, second));
    assert_int_equal(book_strategy_count(seen), strategies - 2);
    assert_null(shelf_find(STORE_CLIENTS, al));
    assert_int_equal(shelf.deleted_revision, 2);
    assert_null(shelf_find(STORE_STRATEGIES, own));
    assert_true(shelf_says("client.delete", al));
    assert_true(shelf_says("strategy.delete", own));
    assert_int_equal(logged_count("\"client_deleted\""), 1);
    assert_int_equal(logged_count("\"strategy_deleted\""), 2);
}

static void test_delete_releases(void **state)
{
    struct str al = client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_a);
    struct str second = strategy("{\"parent\":\"al\",\"id\":\"second\"}", &kept_b);
    client("{\"name\":\"Bo\",\"id\":\"bo\"}", &kept_c);
    changed(BOOK_CLIENT_UPDATE, STR("bo"), "{\"strategy_id\":\"second\"}");
    ASSERT_STR(config_of(second)->parent, ""); /* shared by the assignment already */
    /* owned and used by another at once: only out of an older store */
    struct store_row *row = shelf_find(STORE_STRATEGIES, second);
    row->definition = STR("{\"id\":\"second\",\"name\":\"Al's strategy\",\"parent\":\"al\"}");
    books_restart(books_config(NULL, 0, NULL, 0));
    changed(BOOK_CLIENT_DELETE, al, "");
    assert_int_equal(answer.result.released.count, 1);
    ASSERT_STR(answer.result.released.items[0], "second");
    ASSERT_STR(config_of(second)->parent, "");
    ASSERT_STR(strategy_of_client(STR("bo")), "second");
    row = shelf_find(STORE_STRATEGIES, second);
    assert_int_equal(str_find_str(row->definition, STR("parent")), row->definition.n);
}

static void test_delete_spares_anonymous(void **state)
{
    struct str al = client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_a);
    struct str own = keep(&kept_b, strategy_of_client(al));
    struct config *c = books_config(NULL, 0, NULL, 0);
    c->auth.anonymous = arena_str(&c->arena, own);
    books_reload(c);
    look();
    changed(BOOK_CLIENT_DELETE, al, "");
    assert_ptr_equal(book_anonymous(seen), book_strategy(seen, own));
    assert_refused(BOOK_STRATEGY_DELETE, own, "", ERR_CONFLICT, NULL);
}

/* ---- strategies ---------------------------------------------------------------------------------------- */

static void test_strategy_create(void **state)
{
    struct str s = strategy("{\"name\":\"Fast\",\"description\":\"d\",\"allowed_models\":"
                            "{\"selected_models\":[[\"openai\",\"gpt\"]]},\"rate_limits\":"
                            "[{\"limit_type\":\"cost\",\"value\":0.1,\"time_window\":\"day\"}]}",
                            &kept_a);
    assert_int_equal(s.n, 36);
    assert_int_equal(answer.result.secret[0], 0);
    assert_false(config_of(s)->allowed.selected_all);
    assert_int_equal(config_of(s)->limits[0].value, 100000000000);
    ASSERT_STR(config_of(s)->parent, "");
    assert_true(str_find_str(book_strategy(seen, s)->definition, STR("\"description\":\"d\"")) <
                book_strategy(seen, s)->definition.n);
    books_restart(books_config(NULL, 0, NULL, 0));
    look();
    assert_int_equal(config_of(s)->limits[0].value, 100000000000);
    ASSERT_STR(config_of(s)->allowed.models.items[0].model, "gpt");
    strategy("{\"name\":\"All\",\"id\":\"all\"}", &kept_b);
    assert_true(config_of(STR("all"))->allowed.selected_all);
}

static void test_strategy_for_client(void **state)
{
    client("{\"name\":\"Al\",\"id\":\"al\",\"strategy_id\":\"default\"}", &kept_a);
    struct str s = strategy("{\"parent\":\"al\",\"name\":\"not this\"}", &kept_b);
    ASSERT_STR(config_of(s)->name, "Al's strategy");
    ASSERT_STR(config_of(s)->parent, "al");
    ASSERT_STR(strategy_of_client(STR("al")), "default"); /* made, not assigned */
    struct str y = strategy("{\"parent\":\"yaml-c\"}", &kept_c);
    ASSERT_STR(config_of(y)->name, "Yaml C's strategy");
}

static void test_strategy_refused(void **state)
{
    strategy("{\"name\":\"Fast\",\"id\":\"fast\"}", &kept_a);
    static const struct {
        const char *body, *param;
        enum err err;
    } bad[] = {
        {"{}", "name", ERR_BAD_REQUEST},
        {"{\"name\":\"Fast\"}", "name", ERR_CONFLICT},
        {"{\"name\":\"Yaml S\"}", "name", ERR_CONFLICT},
        {"{\"name\":\"Default Strategy\"}", "name", ERR_CONFLICT},
        {"{\"name\":\"n\",\"id\":\"default\"}", "id", ERR_CONFLICT},
        {"{\"name\":\"n\",\"id\":\"fast\"}", "id", ERR_CONFLICT},
        {"{\"name\":\"n\",\"id\":\"..\"}", "id", ERR_BAD_REQUEST},
        {"{\"parent\":\"nobody\"}", "parent", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"parent\":5}", "parent", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":0,\"time_window\":"
         "\"day\"}]}",
         "rate_limits[0].value", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":-3,\"time_window\":"
         "\"day\"}]}",
         "rate_limits[0].value", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"apples\",\"value\":1,\"time_window\":"
         "\"day\"}]}",
         "rate_limits[0].limit_type", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":NaN,\"time_window\":"
         "\"day\"}]}",
         NULL, ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"auto_config\":{\"prioritized_models\":[[\"a\",\"b\"],[\"A\",\"B\"]]}}",
         "auto_config.prioritized_models[1]", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"auto_config\":{\"prioritized_models\":[[\"a\",\"b\"]],\"available_models\":"
         "[[\"a\",\"b\"]]}}",
         "auto_config.available_models[0]", ERR_BAD_REQUEST},
        {"{\"name\":\"n\",\"clients\":[]}", "clients", ERR_BAD_REQUEST},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_refused(BOOK_STRATEGY_CREATE, STR_NONE, bad[i].body, bad[i].err, bad[i].param);
    assert_refused(BOOK_STRATEGY_CREATE, STR_NONE, "{\"parent\":\"nobody\"}", ERR_BAD_REQUEST, NULL);
    assert_non_null(strstr(error_text(&answer.error), "Parent client not found: nobody"));
}

static void test_strategy_update(void **state)
{
    struct str s = strategy("{\"name\":\"Fast\",\"auto_config\":{\"enabled\":true}}", &kept_a);
    changed(
        BOOK_STRATEGY_UPDATE, s,
        "{\"auto_config\":{\"prioritized_models\":[[\"a\",\"b\"]],\"routellm_config\":{\"threshold\":0.5}}}");
    assert_true(config_of(s)->auto_config.enabled);
    assert_int_equal(config_of(s)->auto_config.prioritized.count, 1);
    changed(BOOK_STRATEGY_UPDATE, s, "{\"auto_config\":{\"enabled\":false}}");
    struct str text = book_strategy(seen, s)->definition;
    assert_true(str_find_str(text, STR("\"threshold\":0.5")) < text.n); /* switching off forgets nothing */
    changed(BOOK_STRATEGY_UPDATE, s, "{\"auto_config\":null}");
    assert_false(config_of(s)->has_auto);
    changed(BOOK_STRATEGY_UPDATE, s, "{\"allowed_models\":{\"selected_providers\":[\"openai\"]}}");
    assert_false(config_of(s)->allowed.selected_all);
    changed(BOOK_STRATEGY_UPDATE, s, "{\"allowed_models\":null}");
    assert_true(config_of(s)->allowed.selected_all);
    changed(BOOK_STRATEGY_UPDATE, STR("default"), "{\"name\":\"Everybody\",\"fallback_on_other\":false}");
    ASSERT_STR(config_of(STR("default"))->name, "Everybody");
    assert_false(config_of(STR("default"))->fallback_on_other);
}

static void test_strategy_update_refused(void **state)
{
    client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_b);
    struct str s = strategy("{\"name\":\"Fast\"}", &kept_a);
    static const struct {
        const char *body, *param;
        enum err err;
    } bad[] = {
        {"{\"id\":\"x\"}", "id", ERR_BAD_REQUEST},
        {"{\"parent\":\"al\"}", "parent", ERR_BAD_REQUEST},
        {"{\"parent\":5}", "parent", ERR_BAD_REQUEST},
        {"{\"name\":\"Al's strategy\"}", "name", ERR_CONFLICT},
        {"{\"name\":\"\"}", "name", ERR_BAD_REQUEST},
        {"{\"rate_limits\":5}", "rate_limits", ERR_BAD_REQUEST},
        {"{\"allowed_models\":{\"selected_models\":[[\"a\"]]}}", "allowed_models.selected_models[0]",
         ERR_BAD_REQUEST},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_refused(BOOK_STRATEGY_UPDATE, s, bad[i].body, bad[i].err, bad[i].param);
    assert_refused(BOOK_STRATEGY_UPDATE, STR("x"), "{}", ERR_STRATEGY_NOT_FOUND, NULL);
}

static void test_rename_ends_ownership(void **state)
{
    struct str al = client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_a);
    struct str own = keep(&kept_b, strategy_of_client(al));
    changed(BOOK_STRATEGY_UPDATE, own, "{\"name\":\"Al's strategy\"}");
    ASSERT_STR(config_of(own)->parent, "al"); /* no new name */
    changed(BOOK_STRATEGY_UPDATE, own, "{\"fallback_on_other\":false}");
    ASSERT_STR(config_of(own)->parent, "al");
    changed(BOOK_STRATEGY_UPDATE, own, "{\"name\":\"Team\"}");
    ASSERT_STR(config_of(own)->parent, "");
    ASSERT_STR(config_of(own)->name, "Team");
    assert_int_equal(answer.result.released.count, 1);
    assert_true(str_eq(answer.result.released.items[0], own));
    changed(BOOK_CLIENT_DELETE, al, "");
    assert_non_null(book_strategy(seen, own)); /* shared ones stay */
    /* the owner can be taken away without a name */
    client("{\"name\":\"Bo\",\"id\":\"bo\"}", &kept_a);
    own = keep(&kept_b, strategy_of_client(STR("bo")));
    changed(BOOK_STRATEGY_UPDATE, own, "{\"parent\":null}");
    ASSERT_STR(config_of(own)->parent, "");
    assert_int_equal(answer.result.released.count, 1);
}

static void test_strategy_delete(void **state)
{
    struct str s = strategy("{\"name\":\"Fast\"}", &kept_a);
    char body[128];
    assert_refused(BOOK_STRATEGY_DELETE, STR("default"), "", ERR_CONFLICT, NULL);
    assert_string_equal(error_text(&answer.error), "Cannot delete the default strategy");
    assert_refused(BOOK_STRATEGY_DELETE, STR("nowhere"), "", ERR_STRATEGY_NOT_FOUND, NULL);
    snprintf(body, sizeof body, "{\"name\":\"Al\",\"strategy_id\":\"%s\",\"enabled\":false}", s.p);
    client(body, &kept_b);
    assert_refused(BOOK_STRATEGY_DELETE, s, "", ERR_CONFLICT, NULL);
    assert_string_equal(error_text(&answer.error), "Cannot delete strategy: 1 client(s) are using it");
    changed(BOOK_CLIENT_UPDATE, str_from_c(kept_b.text), "{\"strategy_id\":\"default\"}");
    changed(BOOK_STRATEGY_DELETE, s, "");
    assert_null(book_strategy(seen, s));
    assert_null(shelf_find(STORE_STRATEGIES, s));
}

/* ---- what both have ------------------------------------------------------------------------------------ */

static void test_managed(void **state)
{
    static const enum book_action actions[] = {BOOK_CLIENT_UPDATE, BOOK_CLIENT_DELETE, BOOK_CLIENT_ROTATE};
    for (size_t i = 0; i < COUNT_OF(actions); i++)
        assert_refused(actions[i], STR("yaml-c"), "{\"enabled\":false}", ERR_MANAGED_BY_CONFIG, NULL);
    assert_refused(BOOK_STRATEGY_UPDATE, STR("yaml-s"), "{\"name\":\"x\"}", ERR_MANAGED_BY_CONFIG, NULL);
    assert_refused(BOOK_STRATEGY_DELETE, STR("yaml-s"), "", ERR_MANAGED_BY_CONFIG, NULL);
    /* a stored one behind it is not touched either */
    client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_a);
    struct client_config c = {
        .id = STR("al"), .name = STR("al"), .enabled = true, .strategy_id = STR("default")};
    books_reload(books_config(NULL, 0, &c, 1));
    assert_refused(BOOK_CLIENT_DELETE, STR("al"), "", ERR_MANAGED_BY_CONFIG, NULL);
}

static void test_if_match(void **state)
{
    struct str al = client("{\"name\":\"Al\",\"id\":\"al\"}", &kept_a);
    struct str own = keep(&kept_b, strategy_of_client(al));
    struct asked a = asked_make(BOOK_CLIENT_UPDATE, al, "{\"enabled\":false}");
    a.change.if_revision = 2;
    int writes = shelf.writes;
    do_asked(a);
    assert_int_equal(answer.err, ERR_PRECONDITION);
    assert_int_equal(shelf.writes, writes);
    a.change.if_revision = 1;
    do_asked(a);
    assert_int_equal(answer.err, OK);
    do_asked(a); /* the same once more: it is at 2 now */
    assert_int_equal(answer.err, ERR_PRECONDITION);
    assert_non_null(strstr(error_text(&answer.error), "its revision is 2, not 1"));
    static const enum book_action of_client[] = {BOOK_CLIENT_DELETE, BOOK_CLIENT_ROTATE};
    static const enum book_action of_strategy[] = {BOOK_STRATEGY_UPDATE, BOOK_STRATEGY_DELETE};
    for (size_t i = 0; i < 4; i++) {
        a = asked_make(i < 2 ? of_client[i] : of_strategy[i - 2], i < 2 ? al : own, "");
        a.change.if_revision = 9;
        do_asked(a);
        assert_int_equal(answer.err, ERR_PRECONDITION);
    }
    assert_non_null(book_client(seen, al));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, books_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create_with_owned),
        TEST(test_create_with_strategy),
        TEST(test_create_takes_anothers),
        TEST(test_client_refused),
        TEST(test_client_update),
        TEST(test_nothing_to_do),
        TEST(test_owned_with_own_name),
        TEST(test_client_update_refused),
        TEST(test_assign),
        TEST(test_delete_cascades),
        TEST(test_delete_releases),
        TEST(test_delete_spares_anonymous),
        TEST(test_strategy_create),
        TEST(test_strategy_for_client),
        TEST(test_strategy_refused),
        TEST(test_strategy_update),
        TEST(test_strategy_update_refused),
        TEST(test_rename_ends_ownership),
        TEST(test_strategy_delete),
        TEST(test_managed),
        TEST(test_if_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
