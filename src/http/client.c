/* Origins and the pool of kept-alive upstream connections. Origins belong to the control thread, a pool to
 * its loop. */
#include "http/client.h"

#include "base/map.h"
#include "base/mem.h"
#include "loop/dns.h"

#include <stdio.h>
#include <unistd.h>

enum { IDLE_MS = 60000, IDLE_PER_ORIGIN = 2048 };

/* ---- origins --------------------------------------------------------------------------------------------
 */

static struct map origins; /* key -> struct origin *, for the life of the process */
static struct arena origins_arena;

static struct origin *origin_new(const struct url *url, const struct tls_client_options *tls, struct str key,
                                 struct error *error)
{
    struct origin *o = arena_alloc(&origins_arena, sizeof *o);
    if (!o)
        return NULL;
    if (url->tls && !(o->tls = tls_context_client(tls, error)))
        return NULL;
    o->id = (uint32_t)origins.count;
    o->allow_unclean_close = tls->allow_unclean_close;
    o->url = *url;
    o->url.host = arena_str(&origins_arena, url->host);
    o->url.host_field = arena_str(&origins_arena, url->host_field);
    o->url.origin = arena_str(&origins_arena, url->origin);
    o->url.prefix = STR_NONE;
    o->name = url->is_unix ? arena_printf(&origins_arena, "unix:%.*s", STR_ARG(url->host)) : o->url.origin;
    key = arena_str(&origins_arena, key);
    return key.p && map_put(&origins, key, o) == OK ? o : NULL;
}

struct origin *origin_intern(const struct url *url, const struct tls_client_options *tls, struct error *error)
{
    static const struct tls_client_options none;
    struct buf key = BUF(16 << 10);
    tls = tls ? tls : &none;
    buf_addf(&key, "%s%.*s:%u",
             url->tls       ? "tls:"
             : url->is_unix ? "unix:"
                            : "",
             STR_ARG(url->host), url->port);
    if (url->tls)
        buf_addf(&key, " %.*s %d %d", STR_ARG(tls->ca_file), tls->insecure_skip_verify,
                 tls->allow_unclean_close);
    error_set(error, ERR_NOMEM, "out of memory");
    struct origin *o = NULL;
    if (buf_err(&key) == OK)
        o = map_get(&origins, buf_str(&key));
    if (!o && buf_err(&key) == OK)
        o = origin_new(url, tls, buf_str(&key), error);
    buf_free(&key);
    return o;
}

void origins_free(void)
{
    MAP_EACH(entry, &origins)
    {
        struct origin *o = entry->value;
        tls_context_unref(o->tls);
    }
    map_free(&origins);
    arena_free(&origins_arena);
}

/* ---- the pool -------------------------------------------------------------------------------------------
 */

struct idle_list {
    struct list list;
    uint32_t count;
};

struct pool {
    struct loop *loop;
    struct idle_list **slots; /* by origin id; each NULL until used */
    uint32_t slot_count;
};

struct pool *pool_new(struct loop *l)
{
    struct pool *p = mem_alloc(sizeof *p);
    if (p)
        p->loop = l;
    return p;
}

static struct idle_list *idle_of(struct pool *p, const struct origin *origin)
{
    if (origin->id >= p->slot_count) {
        uint32_t count = MAX(origin->id + 1, p->slot_count * 2);
        struct idle_list **grown = mem_resize(p->slots, count * sizeof *grown);
        if (!grown)
            return NULL;
        memset(grown + p->slot_count, 0, (count - p->slot_count) * sizeof *grown);
        p->slots = grown;
        p->slot_count = count;
    }
    if (!p->slots[origin->id]) {
        struct idle_list *idle = mem_alloc(sizeof *idle);
        if (!idle)
            return NULL;
        list_init(&idle->list);
        p->slots[origin->id] = idle;
    }
    return p->slots[origin->id];
}

static void upstream_close(struct upstream *u)
{
    if (list_linked(&u->node)) {
        list_remove(&u->node);
        u->pool->slots[u->origin->id]->count--;
    }
    inflow_free(&u->in); /* before the socket forgets the loop whose scratch may be lent */
    sock_close(&u->sock);
    outflow_free(&u->out);
    timer_remove(u->pool->loop, &u->idle);
    mem_free(u);
}

void pool_close_idle(struct pool *p, const struct origin *origin)
{
    for (uint32_t id = 0; id < p->slot_count; id++) {
        if (!p->slots[id] || (origin && origin->id != id))
            continue;
        LIST_EACH_SAFE(node, &p->slots[id]->list)
        upstream_close(CONTAINER_OF(node, struct upstream, node));
    }
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pool_close_idle(p, NULL);
    for (uint32_t id = 0; id < p->slot_count; id++)
        mem_free(p->slots[id]);
    mem_free(p->slots);
    mem_free(p);
}

/* An idle connection says something only when it is over. */
static void idle_event(struct sock *s)
{
    if (s->readable)
        upstream_close(CONTAINER_OF(s, struct upstream, sock));
}

static void idle_due(struct timer *timer)
{
    struct upstream *u = CONTAINER_OF(timer, struct upstream, idle);
    if (list_linked(&u->node))
        upstream_close(u);
}

static struct upstream *idle_take(struct pool *p, const struct origin *origin)
{
    struct idle_list *idle = origin->id < p->slot_count ? p->slots[origin->id] : NULL;
    struct list *node = idle ? list_pop_front(&idle->list) : NULL;
    if (!node)
        return NULL;
    idle->count--;
    struct upstream *u = CONTAINER_OF(node, struct upstream, node);
    timer_off(&u->idle);
    u->reused = true;
    return u;
}

/* ---- connecting -----------------------------------------------------------------------------------------
 */

static enum err connect_one(struct task *t, struct upstream *u, const struct address *to, bool with_tls,
                            uint64_t deadline, struct error *error)
{
    char name[256];
    enum err err = sock_connect(t, &u->sock, to, deadline);
    if (err == OK && with_tls && u->origin->tls) {
        str_to_c(u->origin->url.host, name, sizeof name);
        error->why[0] = '\0';
        u->sock.tls_lenient = u->origin->allow_unclean_close;
        err = tls_connect(t, &u->sock, u->origin->tls, name, deadline, error);
        if (err != OK)
            sock_close(&u->sock);
        if (err == ERR_TLS)
            return err;
    }
    if (err != OK && err != ERR_CANCELLED)
        error_set(error, err, "%.*s: %s", STR_ARG(u->origin->name),
                  err == ERR_TIMEOUT ? "connect timed out" : err_row(err)->text);
    return err;
}

static enum err addresses_of(struct task *t, const struct origin *origin, struct addresses *list,
                             uint64_t deadline, struct error *error)
{
    char path[256];
    if (!origin->url.is_unix)
        return dns_resolve(t, origin->url.host, origin->url.port, list, deadline, error);
    int n = snprintf(path, sizeof path, "unix:%.*s", STR_ARG(origin->url.host));
    list->count = 1;
    return address_parse(str_make(path, (size_t)n), &list->list[0])
               ? OK
               : error_set(error, ERR_DNS, "the socket path is too long: %.*s", STR_ARG(origin->url.host));
}

static enum err upstream_connect(struct task *t, struct upstream *u, bool with_tls, uint64_t deadline,
                                 struct error *error)
{
    struct addresses addresses;
    enum err err = addresses_of(t, u->origin, &addresses, deadline, error);
    if (err != OK)
        return err;
    for (int i = 0; i < addresses.count; i++) {
        err = connect_one(t, u, &addresses.list[i], with_tls, deadline, error);
        if (err == OK || err == ERR_CANCELLED || err == ERR_TIMEOUT)
            return err;
    }
    return err;
}

static struct upstream *upstream_new(struct pool *p, const struct origin *origin)
{
    struct upstream *u = mem_alloc(sizeof *u);
    if (!u)
        return NULL;
    u->pool = p;
    u->origin = origin;
    u->in.sock = u->out.sock = &u->sock;
    u->idle.on_due = idle_due;
    u->idle.due = CLOCK_NEVER;
    return u;
}

struct upstream *upstream_take(struct task *t, struct pool *p, const struct origin *origin)
{
    struct upstream *u = idle_take(p, origin);
    if (u)
        sock_attach(&u->sock, t);
    return u;
}

static enum err unreachable(enum err err, struct error *error)
{
    if (err == ERR_CANCELLED || err == ERR_NOMEM)
        return err;
    error->err = ERR_UPSTREAM_UNREACHABLE; /* the sentence stays */
    return ERR_UPSTREAM_UNREACHABLE;
}

enum err upstream_acquire(struct task *t, struct pool *p, const struct origin *origin, bool fresh,
                          uint64_t deadline, struct upstream **out, struct error *error)
{
    *out = fresh ? NULL : upstream_take(t, p, origin);
    if (*out)
        return OK;
    struct upstream *u = upstream_new(p, origin);
    if (!u)
        return ERR_NOMEM;
    u->sock.on_event = idle_event;
    enum err err = upstream_connect(t, u, true, deadline, error);
    if (err == OK) {
        *out = u;
        return OK;
    }
    upstream_close(u);
    return unreachable(err, error);
}

enum err upstream_try(struct task *t, struct pool *p, const struct origin *origin, uint64_t deadline,
                      struct error *error)
{
    struct upstream *u = upstream_new(p, origin);
    if (!u)
        return ERR_NOMEM;
    u->sock.on_event = idle_event;
    enum err err = upstream_connect(t, u, false, deadline, error);
    upstream_close(u);
    return err == OK ? OK : unreachable(err, error);
}

void upstream_release(struct upstream *u, bool reusable)
{
    struct idle_list *idle = NULL;
    if (reusable && u->in.n == 0 && u->out.pending.n == 0 && !u->sock.peer_closed && !u->sock.readable)
        idle = idle_of(u->pool, u->origin);
    if (!idle || idle->count >= IDLE_PER_ORIGIN) {
        upstream_close(u);
        return;
    }
    u->requests++;
    sock_attach(&u->sock, NULL);
    inflow_free(&u->in);
    list_push_front(&idle->list, &u->node);
    idle->count++;
    timer_set(u->pool->loop, &u->idle, clock_after(u->pool->loop->now, IDLE_MS));
}
