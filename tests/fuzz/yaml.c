/*
 * YAML to nodes: whatever stands in the text, the tree is within its limits and knows where it stands; the
 * text of a scalar is found again when it is written in quotes; laid over itself a tree keeps its shape.
 */
#include "fuzz.h"
#include "base/json.h"
#include "config/finding.h"
#include "config/yaml.h"

static const struct source source = {.name = {"input", 5}, .folder = {"/", 1}};

static uint64_t check_node(const struct node *n, int depth)
{
    uint64_t weight = 1;
    REQUIRE(n && n->source == &source && depth <= YAML_DEPTH_MAX + 1);
    REQUIRE(n->kind == NODE_SCALAR || !n->text.n);
    REQUIRE(n->kind != NODE_SCALAR || n->count == 0);
    REQUIRE(n->line > 0 && n->column > 0);
    for (size_t i = 0; i < n->count; i++) {
        weight += check_node(n->items[i], depth + 1);
        if (n->kind != NODE_MAP)
            continue;
        REQUIRE(n->keys[i]->kind == NODE_SCALAR && n->keys[i]->source == &source);
        REQUIRE(node_get(n, n->keys[i]->text) == n->items[i]);
        REQUIRE(node_key(n, n->keys[i]->text) == n->keys[i]);
    }
    return weight;
}

static void node_print(struct buf *out, const struct node *n)
{
    if (n->kind == NODE_SCALAR) {
        buf_add_char(out, '"');
        json_escape(out, n->text);
        buf_add_char(out, '"');
        return;
    }
    buf_add_char(out, n->kind == NODE_MAP ? '{' : '[');
    for (size_t i = 0; i < n->count; i++) {
        if (i)
            buf_add_char(out, ',');
        if (n->kind == NODE_MAP) {
            node_print(out, n->keys[i]);
            buf_add_c(out, ": ");
        }
        node_print(out, n->items[i]);
    }
    buf_add_char(out, n->kind == NODE_MAP ? '}' : ']');
}

static bool same_tree(const struct node *a, const struct node *b)
{
    if (a->kind != b->kind || a->count != b->count || !str_eq(a->text, b->text))
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!same_tree(a->items[i], b->items[i]) ||
            (a->kind == NODE_MAP && !same_tree(a->keys[i], b->keys[i])))
            return false;
    return true;
}

/* A key of more than 1024 bytes must not stand in a flow mapping. */
static bool is_printable(const struct node *n)
{
    for (size_t i = 0; i < n->count; i++)
        if (!is_printable(n->items[i]) || (n->kind == NODE_MAP && n->keys[i]->text.n > 150))
            return false;
    return true;
}

static void check_printed(struct arena *arena, const struct node *document)
{
    CLEANUP(findings_free) struct findings findings = {0};
    CLEANUP(buf_free) struct buf text = BUF(YAML_BYTES_MAX);
    if (!is_printable(document))
        return;
    node_print(&text, document);
    if (buf_err(&text) != OK)
        return;
    struct node *again = yaml_parse(arena, &source, buf_str(&text), &findings);
    REQUIRE(again && findings.errors == 0 && again->count == 1);
    REQUIRE(same_tree(document, again->items[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(findings_free) struct findings findings = {0};
    struct node *documents = yaml_parse(&arena, &source, input_str(bytes, n), &findings);
    REQUIRE(documents || findings.errors > 0);
    if (!documents)
        return 0;
    REQUIRE(documents->kind == NODE_LIST);
    for (size_t i = 0; i < documents->count; i++) {
        struct node *document = documents->items[i];
        REQUIRE(check_node(document, 1) <= YAML_NODES_MAX);
        REQUIRE(node_merge(&arena, document, document));
        if (findings.errors == 0)
            check_printed(&arena, document);
    }
    return 0;
}
