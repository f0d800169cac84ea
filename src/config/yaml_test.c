/* YAML to nodes: positions, quotes, duplicates, aliases, limits; and merging of trees. */
#include "config/test.h"

#include "config/yaml.h"

static const struct source source = {.name = STR("x.yml")};

struct parsed {
    struct arena arena;
    struct findings findings;
    struct node *list;
};

static struct parsed parse(const char *text)
{
    struct parsed p = {0};
    p.list = yaml_parse(&p.arena, &source, str_from_c(text), &p.findings);
    return p;
}

static void parsed_free(struct parsed *p)
{
    arena_free(&p->arena);
    findings_free(&p->findings);
}

static bool parse_fails(const char *text, const char *where, const char *part)
{
    struct parsed p = parse(text);
    bool fits = p.findings.errors == 1 && str_eq(p.findings.list[0].where, str_from_c(where)) &&
                str_find_str(p.findings.list[0].message, str_from_c(part)) < p.findings.list[0].message.n;
    if (!fits && p.findings.count)
        fprintf(stderr, "%.*s: %.*s\n", STR_ARG(p.findings.list[0].where),
                STR_ARG(p.findings.list[0].message));
    parsed_free(&p);
    return fits;
}

static void test_positions(void **state)
{
    struct parsed p = parse("server:\n  tls:\n    cert: \"a\"\nlist:\n  - one\n  - {k: v}\n");
    assert_non_null(p.list);
    assert_int_equal(p.list->count, 1);
    struct node *root = p.list->items[0], *cert = node_find(root, "server", "tls", "cert", NULL);
    assert_int_equal(cert->line, 3);
    assert_int_equal(cert->column, 11);
    assert_true(cert->quoted);
    assert_int_equal(node_key(root, STR("list"))->line, 4);
    struct node *list = node_get(root, STR("list"));
    assert_int_equal(list->items[0]->column, 5);
    assert_false(list->items[0]->quoted);
    assert_text(node_get(list->items[1], STR("k"))->text, "v");
    assert_null(node_find(root, "server", "nope", "cert", NULL));
    parsed_free(&p);
}

static void test_scalars_stay_text(void **state)
{
    struct parsed p = parse("a: 12345\nb: yes\nc: ~\nd: ''\ne:\nf: |\n  null\ng: !!str 7\nh: \"null\"\n");
    struct node *root = p.list->items[0];
    assert_text(node_get(root, STR("a"))->text, "12345");
    assert_text(node_get(root, STR("b"))->text, "yes");
    assert_true(node_is_null(node_get(root, STR("c"))));
    assert_false(node_is_null(node_get(root, STR("d"))));
    assert_true(node_is_null(node_get(root, STR("e"))));
    assert_false(node_is_null(node_get(root, STR("f"))));
    assert_true(node_get(root, STR("g"))->quoted);
    assert_false(node_is_null(node_get(root, STR("h"))));
    parsed_free(&p);
}

static void test_empty_and_several_documents(void **state)
{
    struct parsed p = parse(""), q = parse("# only a comment\n"), r = parse("a: 1\n---\na: 2\n---\nb: 3\n");
    assert_int_equal(p.list->count, 0);
    assert_int_equal(q.list->count, 0);
    assert_int_equal(r.list->count, 3);
    parsed_free(&p);
    parsed_free(&q);
    parsed_free(&r);
}

static void test_duplicate_names_both_places(void **state)
{
    struct parsed p = parse("services:\n  a:\n    x: 1\n    y: 2\n    x: 3\n");
    assert_non_null(p.list);
    assert_int_equal(p.findings.errors, 1);
    assert_text(p.findings.list[0].where, "x.yml:5:5");
    assert_text(p.findings.list[0].key, "services.a.x");
    assert_true(str_find_str(p.findings.list[0].message, STR("x.yml:3:5")) < p.findings.list[0].message.n);
    assert_text(node_find(p.list->items[0], "services", "a", "x", NULL)->text, "1");
    parsed_free(&p);
}

static void test_syntax_errors_have_a_place(void **state)
{
    assert_true(parse_fails("a: [1, 2\nb: 3\n", "x.yml:2:2", "not valid YAML"));
    assert_true(parse_fails("a: 1\nb: 2\nc: \xff\n", "x.yml:3:4", "not valid YAML"));
    assert_true(parse_fails("a: 1\nb: \"\xc3\xbc \xc3(\"\n", "x.yml:2:8", "not valid YAML"));
    assert_true(parse_fails("\xff", "x.yml:1:1", "not valid YAML"));
    assert_true(parse_fails("a: 1\nb: \x01\n", "x.yml:2:4", "not valid YAML"));
    assert_true(parse_fails("a:\n\t- b\n", "x.yml:2:1", "cannot start any token"));
    assert_true(parse_fails("a: !mine 3\n", "x.yml:1:4", "tags"));
    assert_true(parse_fails("? [a, b]\n: c\n", "x.yml:1:3", "a key must be plain text"));
    assert_true(parse_fails("a: \"x\\0y\"\n", "x.yml:1:4", "NUL"));
}

static void test_aliases(void **state)
{
    struct parsed p = parse("base: &b {x: 1, y: 2}\none: *b\ntwo:\n  <<: *b\n  y: 3\n");
    struct node *root = p.list->items[0];
    assert_text(node_find(root, "one", "x", NULL)->text, "1");
    assert_text(node_find(root, "two", "x", NULL)->text, "1");
    assert_text(node_find(root, "two", "y", NULL)->text, "3");
    assert_null(node_find(root, "two", "<<", NULL));
    parsed_free(&p);
    assert_true(parse_fails("a: *nowhere\n", "x.yml:1:4", "not seen before"));
    assert_true(parse_fails("a: &a [1, *a]\n", "x.yml:1:11", "inside its own anchor"));
    assert_true(parse_fails("a: &a 1\n---\nb: *a\n", "x.yml:3:4", "not seen before"));
}

static void test_alias_bomb_ends(void **state)
{
    struct buf text = BUF(0);
    buf_add_c(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++) {
        buf_addf(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            buf_addf(&text, "%s*a%d", j ? ", " : "", i - 1);
        buf_add_c(&text, "]\n");
    }
    struct parsed p = parse(buf_c(&text));
    assert_null(p.list);
    assert_int_equal(p.findings.errors, 1);
    assert_true(p.arena.used < 1 << 20);
    parsed_free(&p);
    buf_free(&text);
}

static void test_depth_ends(void **state)
{
    struct buf text = BUF(0);
    for (int i = 0; i < 100000; i++)
        buf_add_c(&text, "[");
    struct parsed p = parse(buf_c(&text));
    assert_null(p.list);
    assert_int_equal(p.findings.errors, 1);
    parsed_free(&p);
    buf_free(&text);
}

static void test_size_ends(void **state)
{
    struct buf text = BUF(8 << 20);
    REQUIRE(buf_reserve(&text, YAML_BYTES_MAX + 1));
    memset(text.p, ' ', YAML_BYTES_MAX + 1);
    text.n = YAML_BYTES_MAX + 1;
    struct parsed p = {0};
    p.list = yaml_parse(&p.arena, &source, buf_str(&text), &p.findings);
    assert_null(p.list);
    parsed_free(&p);
    buf_free(&text);
}

/* ---- merging ------------------------------------------------------------------------------------------- */

static void test_merge(void **state)
{
    struct parsed p =
        parse("m: {a: 1, b: {c: 2}}\nl: [1, 2]\nn:\n  - {name: x, v: 1}\n  - {name: y, v: 2}\nz: 5\n"
              "---\n"
              "m: {b: {d: 3}}\nl: [9]\nn:\n  - {name: y, w: 7}\n  - {name: new}\nz: ~\nk: ~\n");
    struct node *m = node_merge(&p.arena, p.list->items[0], p.list->items[1]);
    assert_text(node_find(m, "m", "a", NULL)->text, "1");
    assert_text(node_find(m, "m", "b", "c", NULL)->text, "2");
    assert_text(node_find(m, "m", "b", "d", NULL)->text, "3");
    assert_int_equal(node_get(m, STR("l"))->count, 1);
    struct node *n = node_get(m, STR("n"));
    assert_int_equal(n->count, 3);
    assert_text(node_get(n->items[1], STR("v"))->text, "2");
    assert_text(node_get(n->items[1], STR("w"))->text, "7");
    assert_text(node_get(n->items[2], STR("name"))->text, "new");
    assert_true(node_is_null(node_get(m, STR("z"))));
    assert_int_equal(node_find(p.list->items[0], "m", "b", NULL)->count, 1); /* unchanged */
    parsed_free(&p);
}

static void test_merge_null_keeps_a_map(void **state)
{
    struct parsed p = parse("services: {a: {x: 1}}\n---\nservices:\n");
    struct node *m = node_merge(&p.arena, p.list->items[0], p.list->items[1]);
    assert_non_null(node_find(m, "services", "a", "x", NULL));
    parsed_free(&p);
}

static void test_merge_by_id_first(void **state)
{
    struct parsed p = parse("[{id: a, name: n}, {id: b, name: n}]\n---\n[{id: b, name: n, v: 1}]\n");
    struct node *m = node_merge(&p.arena, p.list->items[0], p.list->items[1]);
    assert_int_equal(m->count, 2);
    assert_null(node_get(m->items[0], STR("v")));
    assert_text(node_get(m->items[1], STR("v"))->text, "1");
    parsed_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_scalars_stay_text),
        cmocka_unit_test(test_empty_and_several_documents),
        cmocka_unit_test(test_duplicate_names_both_places),
        cmocka_unit_test(test_syntax_errors_have_a_place),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_alias_bomb_ends),
        cmocka_unit_test(test_depth_ends),
        cmocka_unit_test(test_size_ends),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_null_keeps_a_map),
        cmocka_unit_test(test_merge_by_id_first),
    };
    return cmocka_run_group_tests_name("config_yaml", tests, NULL, NULL);
}
