/* Model lists. See model_list.h. Parsing on the control thread, looking on any. */
#include "strategy/model_list.h"

#include "base/json.h"
#include "base/mem.h"

#include <jansson.h>

enum { JSON_DEPTH_MAX = 32 };

/* ---- parsing ----------------------------------------------------------------------------------------- */

static const json_t *array_of(const json_t *root)
{
    const json_t *data = json_object_get(root, "data");
    const json_t *models = json_object_get(root, "models");
    return json_is_array(root) ? root : json_is_array(data) ? data : json_is_array(models) ? models : NULL;
}

static struct str text_of(const json_t *value)
{
    return json_is_string(value) ? str_make(json_string_value(value), json_string_length(value)) : STR_NONE;
}

static struct str id_of(const json_t *item)
{
    static const char *const keys[] = {"id", "name", "model"};
    struct str id = text_of(item);
    for (size_t i = 0; id.n == 0 && i < COUNT_OF(keys); i++)
        id = text_of(json_object_get(item, keys[i]));
    return id;
}

/* A name that could not stand in a header or a log line is no model's. */
static bool id_is_sane(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if ((unsigned char)id.p[i] < 0x20 || id.p[i] == 0x7f)
            return false;
    return id.n > 0 && id.n <= MODEL_ID_MAX;
}

static enum err list_add(struct model_list *l, const json_t *item)
{
    struct str id = id_of(item);
    struct listed_model *m = &l->items[l->count];
    if (!id_is_sane(id) || map_get(&l->by_id, id))
        return OK;
    const json_t *created = json_object_get(item, "created");
    m->created =
        json_is_integer(created) && json_integer_value(created) > 0 ? json_integer_value(created) : 0;
    m->id = arena_str(&l->arena, id);
    if (!m->id.p)
        return ERR_NOMEM;
    TRY(map_put(&l->by_id, m->id, m));
    l->count++;
    return OK;
}

static enum err list_fill(struct model_list *l, const json_t *array)
{
    size_t n = MIN(json_array_size(array), (size_t)MODEL_LIST_COUNT);
    l->items = arena_alloc(&l->arena, (n + 1) * sizeof *l->items);
    if (!l->items)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        TRY(list_add(l, json_array_get(array, i)));
    return OK;
}

static struct model_list *list_from(const json_t *root, struct error *error)
{
    const json_t *array = array_of(root);
    if (!array) {
        error_set(error, ERR_SYNTAX, "it is no list of models");
        return NULL;
    }
    struct model_list *l = mem_alloc(sizeof *l);
    if (l && list_fill(l, array) == OK)
        return l;
    model_list_free(l);
    error_set(error, ERR_NOMEM, "out of memory");
    return NULL;
}

struct model_list *model_list_parse(struct str json, struct error *error)
{
    json_error_t where;
    json_t *root = json_text_is_shallow(json, JSON_DEPTH_MAX)
                       ? json_loadb(json.p ? json.p : "", json.n, 0, &where)
                       : NULL;
    if (!root) {
        error_set(error, ERR_SYNTAX, "it is not valid JSON");
        return NULL;
    }
    struct model_list *l = list_from(root, error);
    json_decref(root);
    return l;
}

void model_list_free(struct model_list *l)
{
    if (!l)
        return;
    map_free(&l->by_id);
    arena_free(&l->arena);
    mem_free(l);
}

static bool has_joined(const struct model_list *l, struct str a, struct str b)
{
    char text[2 * MODEL_ID_MAX];
    memcpy(text, a.p, a.n);
    memcpy(text + a.n, b.p, b.n);
    return map_get(&l->by_id, str_make(text, a.n + b.n)) != NULL;
}

bool model_list_has(const struct model_list *l, struct str model)
{
    if (model.n == 0 || model.n > MODEL_ID_MAX)
        return false;
    return map_get(&l->by_id, model) || has_joined(l, model, STR(":latest")) ||
           has_joined(l, STR("models/"), model);
}

/* ---- the shelf --------------------------------------------------------------------------------------- */

const struct model_list *model_shelf_look(struct model_shelf *s)
{
    atomic_fetch_add_explicit(&s->readers, 1, memory_order_acq_rel);
    return atomic_load_explicit(&s->current, memory_order_acquire);
}

void model_shelf_done(struct model_shelf *s)
{
    atomic_fetch_sub_explicit(&s->readers, 1, memory_order_acq_rel);
}

/* The count is read by a read-modify-write: who begins to look after it, happens after the exchange of
 * `current` and sees the new list. */
bool model_shelf_sweep(struct model_shelf *s)
{
    if (s->old && atomic_fetch_add_explicit(&s->readers, 0, memory_order_acq_rel) != 0)
        return false;
    while (s->old) {
        struct model_list *l = s->old;
        s->old = l->next;
        model_list_free(l);
    }
    return true;
}

void model_shelf_put(struct model_shelf *s, struct model_list *l)
{
    struct model_list *before = atomic_exchange_explicit(&s->current, l, memory_order_acq_rel);
    if (!before)
        return;
    before->next = s->old;
    s->old = before;
    model_shelf_sweep(s);
}

void model_shelf_free(struct model_shelf *s)
{
    model_list_free(atomic_exchange(&s->current, NULL));
    model_shelf_sweep(s);
}
