/*
 * Gates. The fast path is one compare-and-swap on the gate's word by whoever enters or leaves, on any thread;
 * the queue belongs to the control thread. See gate.h.
 *
 * The queue is a ring of clients (keys). On the ring stands the first waiter of each key; the others of that
 * key stand behind it, in order of arrival. Whoever is served makes room for the next of its key, at the
 * ring's end. A waiter lives on its task's stack; control may use it from waiter_queue on until it has
 * granted it a slot (the answer comes back as a reply) or has taken it out in waiter_withdraw.
 */
#include "strategy/gate.h"

#include "base/mem.h"
#include "service/word.h"

enum { BUCKETS = 64 };

struct gate {
    service_word word; /* limit and slots taken; WORD_WATCHED while somebody queues */
    _Atomic uint64_t waiting;
    _Atomic int references;
    struct loop *control;
    struct message slot_message; /* holds a reference while it is under way */
    /* control */
    struct list ring;
    struct list buckets[BUCKETS]; /* the waiters on the ring, by key */
};

struct gate_waiter {
    struct list node;      /* on the ring, or in the `followers` of the first of its key */
    struct list bucket;    /* linked: it is the first of its key */
    struct list followers; /* of the first: those behind it */
    struct gate *gate;
    struct reply reply;
    uint64_t key;
    bool queued, granted, withdrawn;
};

static void slot_freed(struct message *m);

struct gate *gate_new(struct loop *control, uint64_t limit)
{
    struct gate *g = mem_alloc(sizeof *g);
    if (!g)
        return NULL;
    atomic_init(&g->references, 1);
    g->control = control;
    g->slot_message.on_arrival = slot_freed;
    list_init(&g->ring);
    for (int i = 0; i < BUCKETS; i++)
        list_init(&g->buckets[i]);
    word_set_limit(&g->word, limit);
    return g;
}

struct gate *gate_ref(struct gate *g)
{
    atomic_fetch_add_explicit(&g->references, 1, memory_order_relaxed);
    return g;
}

void gate_unref(struct gate *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) > 1)
        return;
    REQUIRE(list_empty(&g->ring));
    mem_free(g);
}

/* ---- control: the queue ------------------------------------------------------------------------------ */

static struct list *bucket_of(struct gate *g, uint64_t key)
{
    return &g->buckets[(key ^ key >> 32 ^ key >> 17) % BUCKETS];
}

static struct gate_waiter *first_of_key(struct gate *g, uint64_t key)
{
    LIST_EACH(node, bucket_of(g, key))
    {
        struct gate_waiter *w = CONTAINER_OF(node, struct gate_waiter, bucket);
        if (w->key == key)
            return w;
    }
    return NULL;
}

static void waiter_link(struct gate *g, struct gate_waiter *w)
{
    struct gate_waiter *first = first_of_key(g, w->key);
    list_init(&w->followers);
    if (first) {
        list_push_back(&first->followers, &w->node);
    } else {
        list_push_back(&g->ring, &w->node);
        list_push_back(bucket_of(g, w->key), &w->bucket);
    }
    atomic_fetch_add_explicit(&g->waiting, 1, memory_order_relaxed);
}

/* All of `from` moves to `to`, which is empty. */
static void list_take(struct list *to, struct list *from)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_init(from);
}

/* Takes w out; the next of its key follows it behind `at` on the ring (NULL: at the ring's end). */
static void waiter_unlink(struct gate *g, struct gate_waiter *w, struct list *at)
{
    atomic_fetch_sub_explicit(&g->waiting, 1, memory_order_relaxed);
    list_remove(&w->node);
    if (!list_linked(&w->bucket))
        return;
    list_remove(&w->bucket);
    struct list *node = list_pop_front(&w->followers);
    if (!node)
        return;
    struct gate_waiter *next = CONTAINER_OF(node, struct gate_waiter, node);
    list_take(&next->followers, &w->followers);
    list_push_back(bucket_of(g, next->key), &next->bucket);
    list_insert_after(at ? at : g->ring.prev, node);
}

static void gate_release(struct gate *g)
{
    /* The flag before the attempt: a slot given back after a failed attempt is then told to us. */
    if (!list_empty(&g->ring))
        word_set_flags(&g->word, WORD_WATCHED);
    while (!list_empty(&g->ring) && word_enter(&g->word, 0, 0)) {
        struct gate_waiter *w = CONTAINER_OF(g->ring.next, struct gate_waiter, node);
        waiter_unlink(g, w, NULL);
        w->granted = true;
        reply_send(&w->reply); /* w belongs to its task again */
    }
    if (list_empty(&g->ring))
        word_clear_flags(&g->word, WORD_WATCHED);
}

static void slot_freed(struct message *m)
{
    struct gate *g = CONTAINER_OF(m, struct gate, slot_message);
    word_clear_flags(&g->word, WORD_POSTED);
    gate_release(g);
    gate_unref(g);
}

static void waiter_queue(void *argument)
{
    struct gate_waiter *w = argument;
    struct gate *g = w->gate;
    if (list_empty(&g->ring) && word_enter(&g->word, 0, 0)) {
        w->granted = true;
        return;
    }
    w->queued = true;
    waiter_link(g, w);
    gate_release(g); /* a slot may have become free since */
}

static void waiter_withdraw(void *argument)
{
    struct gate_waiter *w = argument;
    if (w->granted)
        return; /* the answer is on its way */
    w->withdrawn = true;
    waiter_unlink(w->gate, w, w->node.prev);
    gate_release(w->gate);
}

void gate_set_limit(struct gate *g, uint64_t limit)
{
    word_set_limit(&g->word, limit);
    gate_release(g);
}

/* ---- any thread -------------------------------------------------------------------------------------- */

bool gate_enter_now(struct gate *g)
{
    return word_enter(&g->word, 0, WORD_WATCHED);
}

void gate_leave(struct gate *g)
{
    /* The caller's reference lasts until here, the message's from here on. */
    if (word_leave(&g->word))
        loop_post(gate_ref(g)->control, &g->slot_message);
}

struct gate_wait {
    const struct conn *client;
    uint64_t deadline, tick_ms;
    enum err (*on_wait)(struct task *t, void *argument);
    void *argument;
};

/* Until there is a slot, or the wait has no sense any more: OK, ERR_QUEUE_TIMEOUT, ERR_CANCELLED, or what
 * on_wait says. */
static enum err slot_await(struct task *t, struct gate_waiter *w, const struct gate_wait *wait)
{
    bool ticks = wait->on_wait && wait->tick_ms;
    uint64_t tick = ticks ? task_deadline(t, wait->tick_ms) : CLOCK_NEVER;
    while (!w->reply.done) {
        if (wait->client && conn_is_abandoned(wait->client))
            return ERR_CANCELLED;
        enum err err = task_park(t, MIN(wait->deadline, tick));
        if (w->reply.done)
            break;
        if (err == ERR_CANCELLED)
            return err;
        if (task_now(t) >= wait->deadline)
            return ERR_QUEUE_TIMEOUT;
        if (task_now(t) >= tick) {
            TRY(wait->on_wait(t, wait->argument));
            tick = task_deadline(t, wait->tick_ms);
        }
    }
    return OK;
}

/* A slot that came just now is used when only the time had run out; otherwise nobody wants it any more. */
static enum err waiter_leave(struct task *t, struct gate_waiter *w, enum err why)
{
    loop_call(t, w->gate->control, waiter_withdraw, w);
    while (!w->withdrawn && !w->reply.done) {
        enum err ignored = task_park_shielded(t, CLOCK_NEVER);
        (void)ignored;
    }
    if (w->withdrawn)
        return why;
    if (why == ERR_QUEUE_TIMEOUT)
        return OK;
    gate_leave(w->gate);
    return why;
}

enum err gate_enter(struct task *t, struct gate *g, uint64_t key, struct conn *client, uint64_t deadline,
                    enum err (*on_wait)(struct task *t, void *argument), void *argument, uint64_t tick_ms)
{
    if (gate_enter_now(g))
        return OK;
    struct gate_waiter w = {.gate = g, .key = key};
    struct gate_wait wait = {client, deadline, tick_ms, on_wait, argument};
    reply_init(&w.reply, t);
    loop_call(t, g->control, waiter_queue, &w);
    if (!w.queued)
        return OK;
    enum err err = slot_await(t, &w, &wait);
    return err == OK ? OK : waiter_leave(t, &w, err);
}

uint64_t gate_inside(const struct gate *g)
{
    return word_in_flight(atomic_load_explicit(&g->word, memory_order_relaxed));
}

uint64_t gate_waiting(const struct gate *g)
{
    return atomic_load_explicit(&g->waiting, memory_order_relaxed);
}

bool gate_is_full(const struct gate *g)
{
    uint64_t w = atomic_load_explicit(&g->word, memory_order_relaxed);
    return (w & WORD_WATCHED) || !word_has_room(w);
}
