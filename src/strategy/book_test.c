/* The book: what it is made of, what wins, what is put right, and who brings a key. */
#include "loop/crypto.h"
#include "strategy/book_test.h"

static struct strategy_config strategy_of(const char *id, const char *parent)
{
    return (struct strategy_config){.id = str_from_c(id),
                                    .name = str_from_c(id),
                                    .parent = str_from_c(parent),
                                    .allowed.selected_all = true,
                                    .fallback_on_other = true};
}

static struct client_config client_of(const char *id, const char *strategy)
{
    return (struct client_config){
        .id = str_from_c(id), .name = str_from_c(id), .enabled = true, .strategy_id = str_from_c(strategy)};
}

static struct config *empty_config(void)
{
    return books_config(NULL, 0, NULL, 0);
}

/* ---- default ------------------------------------------------------------------------------------------- */

static void test_default_is_made(void **state)
{
    books_begin(empty_config(), &shelf);
    const struct book_strategy *s = book_strategy(look(), STR("default"));
    assert_non_null(s);
    ASSERT_STR(s->config.name, "Default Strategy");
    assert_true(s->config.allowed.selected_all);
    assert_false(s->is_managed);
    assert_int_equal(s->revision, 1);
    assert_true(s->created_us > 0);
    assert_int_equal(shelf.writes, 1);
    assert_non_null(shelf_find(STORE_STRATEGIES, STR("default")));
    assert_true(shelf_says("strategy.create", STR("default")));
    ASSERT_STR(shelf.audits[0].actor, "start");
    books_restart(empty_config());
    assert_int_equal(shelf.writes, 1); /* it is there: nothing to write */
    assert_int_equal(book_strategy(look(), STR("default"))->revision, 1);
    assert_int_equal(book_strategy_count(seen), 1);
    assert_false(book_needs_keys(seen));
}

static void test_default_of_config(void **state)
{
    struct strategy_config s = strategy_of("default", "");
    books_begin(books_config(&s, 1, NULL, 0), &shelf);
    assert_int_equal(shelf.writes, 0);
    assert_true(book_strategy(look(), STR("default"))->is_managed);
    books_reload(empty_config()); /* the file does not have it any more */
    assert_false(book_strategy(look(), STR("default"))->is_managed);
    /* A change waits for what is written before it. */
    assert_int_equal(do_change(BOOK_STRATEGY_CREATE, STR_NONE, "{\"name\":\"x\"}"), OK);
    assert_non_null(shelf_find(STORE_STRATEGIES, STR("default")));
    assert_int_equal(shelf.writes, 2);
}

static void test_default_not_written(void **state)
{
    shelf.fails = true;
    books_begin(empty_config(), &shelf);
    assert_non_null(book_strategy(look(), STR("default")));
    assert_int_equal(logged_count("books_not_written"), 1);
    shelf.fails = false;
    assert_int_equal(do_change(BOOK_STRATEGY_CREATE, STR_NONE, "{\"name\":\"x\"}"), OK);
    assert_non_null(shelf_find(STORE_STRATEGIES, STR("default"))); /* made good on the way */
}

static void test_without_store(void **state)
{
    books_begin(empty_config(), NULL);
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"al\"}"), OK);
    const struct book_client *c = book_client_by_key(seen, str_from_c(answer.result.secret));
    assert_non_null(c);
    ASSERT_STR(c->config.name, "al");
    assert_int_equal(shelf.writes, 0);
}

/* ---- both sources -------------------------------------------------------------------------------------- */

static void test_order_and_hiding(void **state)
{
    shelf_add(STORE_STRATEGIES, "default", "{\"id\":\"default\",\"name\":\"D\"}");
    shelf_add(STORE_STRATEGIES, "x", "{\"id\":\"x\",\"name\":\"stored\"}");
    shelf_add(STORE_CLIENTS, "old", "{\"id\":\"old\",\"name\":\"Old\",\"strategy_id\":\"x\"}");
    shelf_add(STORE_CLIENTS, "same", "{\"id\":\"same\",\"name\":\"Stored\"}");
    struct strategy_config s = strategy_of("x", "");
    struct client_config c[] = {client_of("first", "x"), client_of("same", "default")};
    books_begin(books_config(&s, 1, c, 2), &shelf);
    look();
    assert_int_equal(book_strategy_count(seen), 2);
    ASSERT_STR(book_strategy_at(seen, 0)->config.id, "x");
    ASSERT_STR(book_strategy_at(seen, 1)->config.id, "default");
    assert_true(book_strategy_at(seen, 0)->is_managed);
    assert_int_equal(book_strategy_at(seen, 0)->revision, 0);
    assert_int_equal(book_strategy_at(seen, 0)->client_count, 2);
    assert_int_equal(book_client_count(seen), 3);
    ASSERT_STR(book_client_at(seen, 0)->config.id, "first");
    ASSERT_STR(book_client_at(seen, 1)->config.name, "same");
    assert_true(book_client_at(seen, 1)->is_managed);
    const struct book_client *old = book_client_at(seen, 2);
    ASSERT_STR(old->config.id, "old");
    assert_int_equal(old->revision, 7);
    assert_int_equal(old->created_us, 1000);
    assert_int_equal(old->updated_us, 2000);
    assert_ptr_equal(old->strategy, book_strategy(seen, STR("x")));
    assert_int_not_equal(old->label, 0);
    assert_int_equal(logged_count("\"strategy_hidden\""), 1);
    assert_int_equal(logged_count("\"client_hidden\""), 1);
    assert_true(str_starts(book_client_at(seen, 0)->definition, STR("{\"id\":\"first\"")));
    books_reload(books_config(&s, 1, c, 2));
    assert_int_equal(logged_count("\"strategy_hidden\""), 1); /* said once */
    books_reload(empty_config());
    ASSERT_STR(book_strategy(look(), STR("x"))->config.name, "stored"); /* no longer hidden */
    assert_int_equal(book_client_count(seen), 2);
    books_reload(books_config(&s, 1, c, 2));
    assert_int_equal(logged_count("\"strategy_hidden\""), 2); /* news again */
}

static void test_strategy_gone(void **state)
{
    struct strategy_config s = strategy_of("x", "");
    struct client_config c = client_of("yaml", "nowhere");
    shelf_add(STORE_CLIENTS, "api", "{\"id\":\"api\",\"name\":\"Api\",\"strategy_id\":\"x\"}");
    books_begin(books_config(&s, 1, &c, 1), &shelf);
    look();
    assert_ptr_equal(book_client(seen, STR("yaml"))->strategy, book_strategy(seen, STR("default")));
    ASSERT_STR(book_client(seen, STR("yaml"))->config.strategy_id, "default");
    assert_int_equal(logged_count("\"client_strategy_gone\""), 1);
    books_reload(books_config(NULL, 0, &c, 1));
    look();
    assert_ptr_equal(book_client(seen, STR("api"))->strategy, book_strategy(seen, STR("default")));
    assert_int_equal(logged_count("\"client_strategy_gone\""), 2);
    assert_int_equal(book_strategy(seen, STR("default"))->client_count, 2);
    books_reload(books_config(&s, 1, &c, 1)); /* and back: the choice was not forgotten */
    look();
    assert_ptr_equal(book_client(seen, STR("api"))->strategy, book_strategy(seen, STR("x")));
    assert_int_equal(do_change(BOOK_CLIENT_UPDATE, STR("api"), "{\"strategy_id\":\"x\"}"), OK);
    books_reload(books_config(NULL, 0, &c, 1));
    assert_int_equal(do_change(BOOK_CLIENT_UPDATE, STR("api"), "{\"enabled\":false}"), OK);
    assert_true(str_find_str(shelf_find(STORE_CLIENTS, STR("api"))->definition, STR("\"default\"")) <
                shelf_find(STORE_CLIENTS, STR("api"))->definition.n);
}

static void test_parent_gone(void **state)
{
    shelf_add(STORE_CLIENTS, "al", "{\"id\":\"al\",\"name\":\"Al\"}");
    shelf_add(STORE_STRATEGIES, "default", "{\"id\":\"default\",\"name\":\"D\"}");
    shelf_add(STORE_STRATEGIES, "a", "{\"id\":\"a\",\"name\":\"A\",\"parent\":\"al\"}");
    shelf_add(STORE_STRATEGIES, "b", "{\"id\":\"b\",\"name\":\"B\",\"parent\":\"nobody\"}");
    shelf_add(STORE_STRATEGIES, "c", "{\"id\":\"c\",\"name\":\"C\",\"parent\":\"yaml\"}");
    struct client_config yaml = client_of("yaml", "default");
    struct strategy_config m = strategy_of("m", "nobody");
    books_begin(books_config(&m, 1, &yaml, 1), &shelf);
    ASSERT_STR(book_strategy(look(), STR("a"))->config.parent, "al");
    ASSERT_STR(book_strategy(seen, STR("b"))->config.parent, "");
    ASSERT_STR(book_strategy(seen, STR("c"))->config.parent, "yaml");
    ASSERT_STR(book_strategy(seen, STR("m"))->config.parent, "");
    assert_int_equal(book_strategy(seen, STR("b"))->revision, 8);
    assert_int_equal(shelf_find(STORE_STRATEGIES, STR("b"))->revision, 8);
    struct str written = shelf_find(STORE_STRATEGIES, STR("b"))->definition;
    assert_int_equal(str_find_str(written, STR("parent")), written.n);
    assert_true(shelf_says("strategy.update", STR("b")));
    assert_int_equal(shelf.writes, 1);
    assert_int_equal(logged_count("\"strategy_parent_gone\""), 2);
    books_reload(empty_config()); /* the owner leaves with the file: shown as shared, not forgotten */
    ASSERT_STR(book_strategy(look(), STR("c"))->config.parent, "");
    books_reload(books_config(&m, 1, &yaml, 1));
    ASSERT_STR(book_strategy(look(), STR("c"))->config.parent, "yaml");
}

static void test_anonymous(void **state)
{
    struct config *c = empty_config();
    c->auth.anonymous = STR("default");
    books_begin(c, &shelf);
    look();
    assert_ptr_equal(book_anonymous(seen), book_strategy(seen, STR("default")));
    c = empty_config();
    c->auth.anonymous = STR("nobody");
    books_reload(c);
    assert_null(book_anonymous(look()));
    assert_int_equal(logged_count("\"anonymous_strategy_gone\""), 1);
    books_reload(empty_config());
    assert_null(book_anonymous(look()));
    assert_int_equal(logged_count("\"anonymous_strategy_gone\""), 1);
}

static void test_damaged_rows(void **state)
{
    static const struct {
        enum store_table table;
        const char *id, *definition;
    } bad[] = {
        {STORE_CLIENTS, "c1", "{\"id\":\"c1\",\"name\":"},
        {STORE_CLIENTS, "c2", "{\"id\":\"other\",\"name\":\"C\"}"},
        {STORE_CLIENTS, "c3",
         "{\"id\":\"c3\",\"name\":\"C\",\"key\":{\"lookup\":\"short\",\"hmac\":\"00\"}}"},
        {STORE_CLIENTS, "c4", "{\"id\":\"c4\",\"name\":\"C\",\"of_a_later_version\":1}"},
        {STORE_STRATEGIES, "s1", "[]"},
        {STORE_STRATEGIES, "s2", "{\"id\":\"s2\",\"name\":\"S\",\"rate_limits\":[{\"value\":-1}]}"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        shelf_add(bad[i].table, bad[i].id, bad[i].definition);
    shelf_add(STORE_CLIENTS, "good", "{\"id\":\"good\",\"name\":\"G\"}");
    books_begin(empty_config(), &shelf);
    assert_int_equal(book_client_count(look()), 1);
    assert_int_equal(book_strategy_count(seen), 1);
    assert_int_equal(logged_count("\"book_row_unreadable\""), COUNT_OF(bad));
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char id[32];
        snprintf(id, sizeof id, "_id\":\"%s\"", bad[i].id);
        assert_int_equal(logged_count(id), 1);
    }
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"n\",\"id\":\"c1\"}"), OK);
    assert_int_equal(answer.result.revision, 8); /* beyond the damaged one's */
}

static void test_tombstones(void **state)
{
    shelf_add(STORE_CLIENTS, "gone", "");
    shelf.rows[0].is_deleted = true;
    shelf.rows[0].revision = 41;
    books_begin(empty_config(), &shelf);
    assert_int_equal(book_client_count(look()), 0);
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"n\",\"id\":\"gone\"}"), OK);
    assert_int_equal(answer.result.revision, 42);
    assert_int_equal(do_change(BOOK_CLIENT_DELETE, STR("gone"), ""), OK);
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"n\",\"id\":\"gone\"}"), OK);
    assert_true(answer.result.revision > 42);
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"n2\",\"id\":\"fresh\"}"), OK);
    assert_int_equal(answer.result.revision, 1);
}

struct burial {
    uint64_t first, other;
};

static void bury_many_now(void *argument)
{
    struct burial *b = argument;
    for (int i = 0; i <= GRAVES_MAX; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        books_bury(registry, STORE_CLIENTS, str_from_c(id), 5);
    }
    b->first = books_first_revision(registry, STORE_CLIENTS, STR("c0"));
    b->other = books_first_revision(registry, STORE_STRATEGIES, STR("c0"));
}

static void test_many_graves(void **state)
{
    struct burial b;
    books_begin(empty_config(), &shelf);
    on_control(bury_many_now, &b);
    assert_int_equal(b.first, 6);
    assert_int_equal(b.other, 6); /* one grave for all */
}

/* ---- limits -------------------------------------------------------------------------------------------- */

#define LIMITED(value)                                                                                       \
    "{\"id\":\"s\",\"name\":\"S\",\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":" #value           \
    ",\"time_window\":\"hour\"},{\"limit_type\":\"total_tokens\",\"value\":1000,\"time_window\":\"day\"}]}"

static struct limit_status limit_of(const struct book *b, const char *id, size_t i)
{
    struct limit_status status;
    limiter_status(book_strategy(b, str_from_c(id))->limiter, i, clock_now(), &status);
    return status;
}

static void test_replay(void **state)
{
    int64_t now = clock_wall_us(), minute = 60000000;
    struct usage_recent used[] = {
        {STR("s"), now - 25 * 60 * minute, 100, 100, 100, 100}, /* two days ago: not asked for */
        {STR("s"), now - 120 * minute, 4, 40, 20, 0},           /* out of the hour, in the day */
        {STR("s"), now - 10 * minute, 2, 20, 10, 0},
        {STR("gone"), now - minute, 9, 9, 9, 9},
        {STR("s"), now + 10 * minute, 1, 5, 5, 0}, /* the clock was set back */
    };
    shelf_add(STORE_STRATEGIES, "s", LIMITED(10));
    shelf.recent = used;
    shelf.recent_count = COUNT_OF(used);
    books_begin(empty_config(), &shelf);
    assert_int_equal(limit_of(look(), "s", 0).used, 3);
    assert_int_equal(limit_of(seen, "s", 1).used, 100);
}

static void test_limiters_live_on(void **state)
{
    struct amounts one = {.of = {[LIMIT_REQUESTS] = 1}};
    struct limit_hold hold = {0};
    struct limit_refusal why;
    shelf_add(STORE_STRATEGIES, "s", LIMITED(10));
    books_begin(empty_config(), &shelf);
    struct limiter *l = book_strategy(look(), STR("s"))->limiter;
    assert_true(limiter_reserve(l, &one, false, clock_now(), &hold, &why));
    books_reload(empty_config());
    look();
    assert_ptr_equal(book_strategy(seen, STR("s"))->limiter, l);
    assert_int_equal(do_change(BOOK_STRATEGY_UPDATE, STR("s"), "{\"name\":\"other\"}"), OK);
    assert_ptr_equal(book_strategy(seen, STR("s"))->limiter, l); /* the limits are the same */
    assert_int_equal(do_change(BOOK_STRATEGY_UPDATE, STR("s"),
                               "{\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":2,"
                               "\"time_window\":\"hour\"}]}"),
                     OK);
    assert_ptr_not_equal(book_strategy(seen, STR("s"))->limiter, l);
    assert_int_equal(limiter_count(book_strategy(seen, STR("s"))->limiter), 1);
    struct limit_status status = limit_of(seen, "s", 0);
    assert_int_equal(status.config.value, 2);
    assert_int_equal(status.used + status.reserved, 1); /* and what runs is not forgotten */
    limiter_settle(&hold, &one, clock_now());
    assert_int_equal(limit_of(seen, "s", 0).used, 1);
    assert_int_equal(do_change(BOOK_STRATEGY_DELETE, STR("s"), ""), OK);
    assert_int_equal(do_change(BOOK_STRATEGY_CREATE, STR_NONE, LIMITED(10)), OK);
    assert_int_equal(limit_of(seen, "s", 0).used, 0); /* another strategy of the same id */
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

static void test_keys(void **state)
{
    char key[64], other[64];
    books_begin(empty_config(), &shelf);
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"al\",\"id\":\"al\"}"), OK);
    memcpy(key, answer.result.secret, sizeof key);
    assert_int_equal(strlen(key), KEY_SIZE);
    const struct book_client *al = book_client(seen, STR("al"));
    assert_ptr_equal(book_client_by_key(seen, str_from_c(key)), al);
    assert_int_equal(al->lookup.n, 8);
    /* every wrong key, also one of a known first part */
    for (size_t i = 0; i < KEY_SIZE; i++) {
        memcpy(other, key, sizeof key);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_null(book_client_by_key(seen, str_from_c(other)));
    }
    assert_null(book_client_by_key(seen, str_make(key, KEY_SIZE - 1)));
    assert_null(book_client_by_key(seen, STR_NONE));
    assert_null(book_client_by_key(seen, STR("hk_")));
    assert_null(book_client_by_key(seen, STR("hk_AAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")));
    assert_null(book_client_by_key(seen, STR("dummy")));
    books_restart(empty_config()); /* it survives in the store, as an HMAC */
    assert_non_null(book_client_by_key(look(), str_from_c(key)));
    struct str stored = shelf_find(STORE_CLIENTS, STR("al"))->definition;
    assert_int_equal(str_find_str(stored, str_from_c(key + 12)), stored.n);
    /* rotated */
    assert_int_equal(do_change(BOOK_CLIENT_ROTATE, STR("al"), ""), OK);
    assert_string_not_equal(answer.result.secret, key);
    assert_int_equal(answer.result.revision, 2);
    assert_null(book_client_by_key(seen, str_from_c(key)));
    memcpy(key, answer.result.secret, sizeof key);
    assert_non_null(book_client_by_key(seen, str_from_c(key)));
    assert_true(shelf_says("client.rotate", STR("al")));
    /* disabled, enabled */
    assert_int_equal(do_change(BOOK_CLIENT_UPDATE, STR("al"), "{\"enabled\":false}"), OK);
    assert_null(book_client_by_key(seen, str_from_c(key)));
    assert_true(book_needs_keys(seen));
    assert_int_equal(do_change(BOOK_CLIENT_UPDATE, STR("al"), "{\"enabled\":true}"), OK);
    assert_non_null(book_client_by_key(seen, str_from_c(key)));
    assert_int_equal(do_change(BOOK_CLIENT_DELETE, STR("al"), ""), OK);
    assert_null(book_client_by_key(seen, str_from_c(key)));
    /* and it stands nowhere */
    assert_int_equal(logged_count(key), 0);
    assert_int_equal(logged_count(key + 12), 0);
    assert_int_equal(logged_count("hmac"), 0);
    for (size_t i = 0; i < shelf.audit_count; i++) {
        struct str detail = shelf.audits[i].detail;
        assert_int_equal(str_find_str(detail, STR("hmac")), detail.n);
    }
}

static void test_keys_of_config(void **state)
{
    struct api_key keys[3] = {0};
    struct client_config c[] = {client_of("one", "default"), client_of("two", "default"),
                                client_of("off", "default")};
    crypto_sha256(STR("secret one"), keys[0].sha256);
    crypto_sha256(STR("secret two"), keys[1].sha256);
    crypto_sha256(STR("hk_moved"), keys[2].sha256);
    c[0].keys = &keys[0];
    c[0].key_count = 1;
    c[1].keys = &keys[1];
    c[1].key_count = 2;
    c[2].enabled = false;
    books_begin(books_config(NULL, 0, c, 3), &shelf);
    ASSERT_STR(book_client_by_key(look(), STR("secret one"))->config.id, "one");
    ASSERT_STR(book_client_by_key(seen, STR("secret two"))->config.id, "two");
    ASSERT_STR(book_client_by_key(seen, STR("hk_moved"))->config.id, "two");
    assert_null(book_client_by_key(seen, STR("secret three")));
    c[0].enabled = false;
    books_reload(books_config(NULL, 0, c, 3));
    assert_null(book_client_by_key(look(), STR("secret one")));
}

/* A book outlives its registry's interest in it. */
static void test_references(void **state)
{
    books_begin(empty_config(), &shelf);
    assert_int_equal(do_change(BOOK_CLIENT_CREATE, STR_NONE, "{\"name\":\"al\",\"id\":\"al\"}"), OK);
    char key[64];
    memcpy(key, answer.result.secret, sizeof key);
    struct book *old = book_ref(seen);
    assert_int_equal(do_change(BOOK_CLIENT_DELETE, STR("al"), ""), OK);
    books_reload(empty_config());
    ASSERT_STR(book_client_by_key(old, str_from_c(key))->config.name, "al");
    ASSERT_STR(book_client(old, STR("al"))->strategy->config.name, "al's strategy");
    book_unref(old);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, books_open, books_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_default_is_made),     TEST(test_default_of_config),
        TEST(test_default_not_written), TEST(test_without_store),
        TEST(test_order_and_hiding),    TEST(test_strategy_gone),
        TEST(test_parent_gone),         TEST(test_anonymous),
        TEST(test_damaged_rows),        TEST(test_tombstones),
        TEST(test_many_graves),         TEST(test_replay),
        TEST(test_limiters_live_on),    TEST(test_keys),
        TEST(test_keys_of_config),      TEST(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
