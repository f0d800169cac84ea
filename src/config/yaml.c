/*
 * libyaml's events to a node tree. Owns the parser while it runs; the tree belongs to the caller's arena.
 */
#include "config/yaml.h"

#include "config/finding.h"

#include <stdio.h>
#include <yaml.h>

struct composer {
    yaml_parser_t parser;
    struct arena *arena;
    const struct source *source;
    struct str text;
    struct findings *findings;
    struct map anchors; /* name -> node; its weight is 0 until it is complete */
    bool failed;        /* nothing sensible can follow */
    char path[256];     /* of the value being read: "services.ollama" */
    size_t path_length;
};

struct children {
    struct node **keys, **items;
    size_t count, capacity;
    bool is_map;
};

static struct node *compose(struct composer *c, yaml_event_t *event, int depth);

static struct node *node_at(struct composer *c, enum node_kind kind, const yaml_mark_t *mark)
{
    struct node *n = arena_alloc(c->arena, sizeof *n);
    if (!n) {
        c->failed = true;
        finding_no_memory(c->findings);
        return NULL;
    }
    n->kind = kind;
    n->source = c->source;
    n->line = (unsigned)mark->line + 1;
    n->column = (unsigned)mark->column + 1;
    return n;
}

static void *fail_at(struct composer *c, const yaml_mark_t *mark, const char *sentence)
{
    struct node at = {
        .source = c->source, .line = (unsigned)mark->line + 1, .column = (unsigned)mark->column + 1};
    if (!c->failed)
        finding_add(c->findings, SEVERITY_ERROR, &at, STR_NONE, "%s", sentence);
    c->failed = true;
    return NULL;
}

/* Bytes that are no text stop the reader, which knows its offset, before there is a mark. */
static yaml_mark_t mark_at(struct str text, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < MIN(offset, text.n); i++) {
        bool ends_line = text.p[i] == '\n';
        bool begins_character = ((unsigned char)text.p[i] & 0xc0) != 0x80;
        mark.line += ends_line;
        mark.column = ends_line ? 0 : mark.column + begins_character;
    }
    return mark;
}

static yaml_mark_t problem_mark(const struct composer *c)
{
    const yaml_parser_t *p = &c->parser;
    if (p->error == YAML_READER_ERROR)
        return mark_at(c->text, p->problem_offset);
    return p->problem_mark.line || p->problem_mark.column ? p->problem_mark : p->mark;
}

static bool next_event(struct composer *c, yaml_event_t *event)
{
    if (c->failed)
        return false;
    if (yaml_parser_parse(&c->parser, event))
        return true;
    yaml_mark_t mark = problem_mark(c);
    char sentence[200];
    snprintf(sentence, sizeof sentence, "not valid YAML: %s%s%s",
             c->parser.problem ? c->parser.problem : "out of memory", c->parser.context ? " " : "",
             c->parser.context ? c->parser.context : "");
    fail_at(c, &mark, sentence);
    return false;
}

static void children_add(struct composer *c, struct children *list, struct node *key, struct node *item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 8;
        struct node **both = arena_alloc(c->arena, 2 * capacity * sizeof *both);
        if (!both) {
            c->failed = true;
            finding_no_memory(c->findings);
            return;
        }
        for (size_t i = 0; i < list->count; i++) {
            both[i] = list->items[i];
            both[capacity + i] = list->keys[i];
        }
        list->items = both;
        list->keys = both + capacity;
        list->capacity = capacity;
    }
    list->items[list->count] = item;
    list->keys[list->count++] = key;
}

static void anchor_add(struct composer *c, const yaml_char_t *name, struct node *n)
{
    if (!name)
        return;
    struct str copy = arena_str(c->arena, str_from_c((const char *)name));
    if (map_put(&c->anchors, copy, n) != OK) {
        c->failed = true;
        finding_no_memory(c->findings);
    }
}

static struct node *compose_alias(struct composer *c, const yaml_event_t *event)
{
    struct node *n = map_get(&c->anchors, str_from_c((const char *)event->data.alias.anchor));
    if (!n)
        return fail_at(c, &event->start_mark, "the alias names an anchor that was not seen before");
    if (n->weight == 0)
        return fail_at(c, &event->start_mark, "the alias stands inside its own anchor");
    return n;
}

/* Only the standard tags of YAML pass; !!str is a way of quoting. */
static bool tag_apply(struct composer *c, struct node *n, const yaml_char_t *tag, const yaml_mark_t *mark)
{
    struct str name = str_from_c((const char *)tag);
    if (name.n == 0)
        return true;
    if (str_eq(name, STR("!")) || str_eq(name, STR("tag:yaml.org,2002:str")))
        n->quoted = true;
    else if (!str_starts(name, STR("tag:yaml.org,2002:")))
        return fail_at(c, mark, "tags of one's own (!name) are not used here") != NULL;
    return true;
}

static struct node *compose_scalar(struct composer *c, const yaml_event_t *event)
{
    struct node *n = node_at(c, NODE_SCALAR, &event->start_mark);
    if (!n)
        return NULL;
    struct str text = str_make((const char *)event->data.scalar.value, event->data.scalar.length);
    n->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    n->text = arena_str(c->arena, text);
    n->weight = 1;
    if (text.n && !n->text.p) {
        c->failed = true;
        finding_no_memory(c->findings);
    }
    if (str_find(text, '\0') < text.n)
        return fail_at(c, &event->start_mark, "a value must not contain a NUL character");
    if (!tag_apply(c, n, event->data.scalar.tag, &event->start_mark))
        return NULL;
    anchor_add(c, event->data.scalar.anchor, n);
    return n;
}

/* "<<: *base": what the base has and the map does not. */
static void merge_base(struct composer *c, struct children *list, struct map *seen, struct node *base)
{
    if (base->kind == NODE_LIST) {
        for (size_t i = 0; i < base->count; i++)
            merge_base(c, list, seen, base->items[i]);
        return;
    }
    if (base->kind != NODE_MAP) {
        finding_add(c->findings, SEVERITY_ERROR, base, STR("<<"), "only a map can be merged with <<");
        return;
    }
    for (size_t i = 0; i < base->count && !c->failed; i++) {
        if (map_get(seen, base->keys[i]->text))
            continue;
        children_add(c, list, base->keys[i], base->items[i]);
        c->failed |= map_put(seen, base->keys[i]->text, base->keys[i]) != OK;
    }
}

/* Goes one key down; returns the length to come back to. */
static size_t path_push(struct composer *c, struct str key)
{
    size_t before = c->path_length, room = sizeof c->path - 1 - before;
    if (before && room) {
        c->path[c->path_length++] = '.';
        room--;
    }
    size_t n = MIN(room, key.n);
    if (n)
        memcpy(c->path + c->path_length, key.p, n);
    c->path_length += n;
    return before;
}

/* Finds keys that were given twice and replaces << by what it stands for. */
static void map_settle(struct composer *c, struct children *list)
{
    struct map seen CLEANUP(map_free) = {0};
    struct children bases = {0};
    size_t kept = 0;
    for (size_t i = 0; i < list->count && !c->failed; i++) {
        struct node *key = list->keys[i], *earlier = map_get(&seen, key->text);
        if (earlier) {
            size_t before = path_push(c, key->text);
            finding_add(c->findings, SEVERITY_ERROR, key, str_make(c->path, c->path_length),
                        "the key was already given at %.*s:%u:%u; keep one of the two",
                        STR_ARG(earlier->source->name), earlier->line, earlier->column);
            c->path_length = before;
            continue;
        }
        if (!key->quoted && str_eq(key->text, STR("<<"))) {
            children_add(c, &bases, key, list->items[i]);
            continue;
        }
        c->failed |= map_put(&seen, key->text, key) != OK;
        list->items[kept] = list->items[i];
        list->keys[kept++] = key;
    }
    list->count = kept;
    for (size_t i = 0; i < bases.count && !c->failed; i++)
        merge_base(c, list, &seen, bases.items[i]);
}

static void compose_children(struct composer *c, struct children *list, yaml_event_type_t end, int depth)
{
    yaml_event_t event;
    struct node *key = NULL;
    while (next_event(c, &event)) {
        if (event.type == end) {
            yaml_event_delete(&event);
            return;
        }
        size_t before = key ? path_push(c, key->text) : c->path_length;
        struct node *n = compose(c, &event, depth);
        yaml_mark_t mark = event.start_mark;
        c->path_length = before;
        yaml_event_delete(&event);
        if (!n)
            return;
        if (!list->is_map) {
            children_add(c, list, NULL, n);
        } else if (key) {
            children_add(c, list, key, n);
            key = NULL;
        } else if (n->kind != NODE_SCALAR) {
            fail_at(c, &mark, "a key must be plain text, not a list or a map");
        } else {
            key = n;
        }
    }
}

static struct node *compose_container(struct composer *c, const yaml_event_t *event, int depth)
{
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    struct children list = {.is_map = is_map};
    struct node *n = node_at(c, is_map ? NODE_MAP : NODE_LIST, &event->start_mark);
    if (!n)
        return NULL;
    if (depth >= YAML_DEPTH_MAX)
        return fail_at(c, &event->start_mark, "nested too deeply");
    const yaml_char_t *tag = is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    if (!tag_apply(c, n, tag, &event->start_mark))
        return NULL;
    anchor_add(c, is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor, n);
    compose_children(c, &list, is_map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth + 1);
    if (is_map && !c->failed)
        map_settle(c, &list);
    if (c->failed)
        return NULL;
    uint64_t weight = 1;
    for (size_t i = 0; i < list.count; i++)
        weight += list.items[i]->weight;
    if (weight > YAML_NODES_MAX)
        return fail_at(c, &event->start_mark, "too many values (aliases are counted wherever they are used)");
    n->weight = (uint32_t)weight;
    n->items = list.items;
    n->keys = is_map ? list.keys : NULL;
    n->count = list.count;
    return n;
}

static struct node *compose(struct composer *c, yaml_event_t *event, int depth)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return compose_alias(c, event);
    case YAML_SCALAR_EVENT:
        return compose_scalar(c, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return compose_container(c, event, depth);
    default:
        return fail_at(c, &event->start_mark, "not valid YAML: a value was expected");
    }
}

static void compose_documents(struct composer *c, struct children *documents)
{
    yaml_event_t event;
    bool more = true;
    while (more && next_event(c, &event)) {
        yaml_event_type_t type = event.type;
        bool is_content = type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT ||
                          type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT;
        struct node *n = is_content ? compose(c, &event, 0) : NULL;
        yaml_event_delete(&event);
        if (n)
            children_add(c, documents, NULL, n);
        if (type == YAML_DOCUMENT_END_EVENT) {
            map_free(&c->anchors); /* anchors end with their document */
            c->anchors = (struct map){0};
        }
        more = type != YAML_STREAM_END_EVENT;
    }
}

struct node *yaml_parse(struct arena *arena, const struct source *source, struct str text,
                        struct findings *findings)
{
    struct composer c = {.arena = arena, .source = source, .text = text, .findings = findings};
    struct children documents = {0};
    yaml_mark_t start = {0};
    size_t errors = findings->errors;
    struct node *list = node_at(&c, NODE_LIST, &start);
    if (text.n > YAML_BYTES_MAX)
        return fail_at(&c, &start, "the file is larger than 4 MiB");
    if (!list || !yaml_parser_initialize(&c.parser)) {
        finding_no_memory(findings);
        return NULL;
    }
    yaml_parser_set_input_string(&c.parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    compose_documents(&c, &documents);
    yaml_parser_delete(&c.parser);
    map_free(&c.anchors);
    if (c.failed && findings->errors == errors)
        finding_no_memory(findings);
    list->items = documents.items;
    list->count = documents.count;
    return c.failed ? NULL : list;
}
