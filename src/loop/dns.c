/* Names to addresses: numeric hosts at once, then a small cache, then c-ares; getaddrinfo on an offload
   thread where the system knows names that DNS does not. One per loop. */
#include "loop/dns.h"

#include "base/map.h"
#include "base/mem.h"
#include "loop/offload.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

enum { CACHE_MAX = 256, CACHE_SECONDS = 30, STALE_SECONDS = 600, HOST_MAX = 256 };

struct cached {
    char host[HOST_MAX];
    struct addresses addresses; /* port 0 */
    uint64_t fresh_until, stale_until;
};

/* One descriptor of c-ares in our epoll. */
struct ares_watch {
    struct watch watch;
    struct dns *dns;
    struct list node;
};

struct dns {
    struct loop *loop;
    ares_channel channel;
    struct list watches;
    struct timer timer;
    struct map cache; /* host -> struct cached * */
};

/* ---- c-ares in the loop ---------------------------------------------------------------------------------
 */

static void timer_plan(struct dns *d)
{
    struct timeval wait, longest = {.tv_sec = 5};
    struct timeval *next = ares_timeout(d->channel, &longest, &wait);
    if (!list_empty(&d->watches) && next)
        timer_set(
            d->loop, &d->timer,
            clock_after(d->loop->now, (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1));
}

static void ares_due(struct timer *timer)
{
    struct dns *d = CONTAINER_OF(timer, struct dns, timer);
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    timer_plan(d);
}

static void ares_event(struct watch *w, uint32_t events)
{
    struct dns *d = CONTAINER_OF(w, struct ares_watch, watch)->dns;
    ares_process_fd(d->channel, w->fd, w->fd);
    timer_plan(d);
}

static struct ares_watch *watch_of(struct dns *d, int fd)
{
    LIST_EACH(node, &d->watches)
    {
        struct ares_watch *w = CONTAINER_OF(node, struct ares_watch, node);
        if (w->watch.fd == fd)
            return w;
    }
    return NULL;
}

static void sock_state_changed(void *argument, ares_socket_t fd, int readable, int writable)
{
    struct dns *d = argument;
    struct ares_watch *w = watch_of(d, fd);
    if (!readable && !writable) {
        if (!w)
            return;
        watch_remove(d->loop, &w->watch);
        list_remove(&w->node);
        mem_free(w);
        return;
    }
    if (w || !(w = mem_alloc(sizeof *w)))
        return;
    w->dns = d;
    w->watch.on_event = ares_event;
    if (watch_add(d->loop, &w->watch, fd) != OK) {
        mem_free(w);
        return;
    }
    list_push_back(&d->watches, &w->node);
}

static struct dns *dns_new(struct loop *l)
{
    struct dns *d = mem_alloc(sizeof *d);
    if (!d)
        return NULL;
    struct ares_options options = {
        .sock_state_cb = sock_state_changed, .sock_state_cb_data = d, .timeout = 2000, .tries = 2};
    d->loop = l;
    list_init(&d->watches);
    d->timer.on_due = ares_due;
    if (ares_init_options(&d->channel, &options,
                          ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES) != ARES_SUCCESS) {
        mem_free(d);
        return NULL;
    }
    return d;
}

void dns_free(struct dns *d)
{
    if (!d)
        return;
    ares_destroy(d->channel);
    timer_remove(d->loop, &d->timer);
    MAP_EACH(entry, &d->cache)
    mem_free(entry->value);
    map_free(&d->cache);
    mem_free(d);
}

/* ---- the cache ------------------------------------------------------------------------------------------
 */

static void cache_clear(struct dns *d)
{
    MAP_EACH(entry, &d->cache)
    mem_free(entry->value);
    map_free(&d->cache);
}

static void cache_store(struct dns *d, const char *host, const struct addresses *addresses)
{
    struct cached *c = map_get(&d->cache, str_from_c(host));
    if (!c) {
        if (d->cache.count >= CACHE_MAX)
            cache_clear(d);
        c = mem_alloc(sizeof *c);
        if (!c)
            return;
        str_to_c(str_from_c(host), c->host, sizeof c->host);
        if (map_put(&d->cache, str_from_c(c->host), c) != OK) {
            mem_free(c);
            return;
        }
    }
    c->addresses = *addresses;
    c->fresh_until = d->loop->now + CACHE_SECONDS * CLOCK_S;
    c->stale_until = d->loop->now + STALE_SECONDS * CLOCK_S;
}

/* ---- one look-up ----------------------------------------------------------------------------------------
 */

/* Lives on the heap: when the asking task is cancelled, c-ares still calls back. */
struct lookup {
    struct task *task; /* NULL = nobody waits any more */
    bool done;
    int status;
    struct addresses found;
};

static void addresses_add(struct addresses *a, const struct sockaddr *sa, socklen_t length)
{
    if (a->count == DNS_ADDRESSES_MAX || length > sizeof(struct sockaddr_storage))
        return;
    memcpy(&a->list[a->count].storage, sa, length);
    a->list[a->count++].length = length;
}

static void lookup_done(void *argument, int status, int timeouts, struct ares_addrinfo *result)
{
    struct lookup *lookup = argument;
    lookup->status = status;
    for (struct ares_addrinfo_node *n = result ? result->nodes : NULL; n; n = n->ai_next)
        addresses_add(&lookup->found, n->ai_addr, n->ai_addrlen);
    if (result)
        ares_freeaddrinfo(result);
    lookup->done = true;
    if (lookup->task)
        task_wake(lookup->task);
    else
        mem_free(lookup);
}

static enum err lookup_wait(struct task *t, struct lookup *lookup, uint64_t deadline)
{
    while (!lookup->done) {
        enum err err = task_park(t, deadline);
        if (err != OK && !lookup->done) { /* both may happen in one turn: the answer counts */
            lookup->task = NULL;          /* the callback frees it */
            return err;
        }
    }
    return OK;
}

static enum err ask_ares(struct task *t, struct dns *d, const char *host, struct addresses *out, int *status,
                         uint64_t deadline)
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct lookup *lookup = mem_alloc(sizeof *lookup);
    if (!lookup)
        return ERR_NOMEM;
    lookup->task = t;
    ares_getaddrinfo(d->channel, host, NULL, &hints, lookup_done, lookup);
    timer_plan(d);
    TRY(lookup_wait(t, lookup, deadline));
    *status = lookup->status;
    *out = lookup->found;
    mem_free(lookup);
    return OK;
}

struct system_lookup {
    struct offload offload;
    char host[HOST_MAX];
    struct addresses found;
};

static void system_lookup_work(struct offload *o)
{
    struct system_lookup *lookup = CONTAINER_OF(o, struct system_lookup, offload);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo(lookup->host, NULL, &hints, &list) != 0)
        return;
    for (struct addrinfo *n = list; n; n = n->ai_next)
        addresses_add(&lookup->found, n->ai_addr, n->ai_addrlen);
    freeaddrinfo(list);
}

static void system_lookup_drop(struct offload *o)
{
    mem_free(CONTAINER_OF(o, struct system_lookup, offload));
}

static enum err ask_system(struct task *t, const char *host, struct addresses *out, uint64_t deadline)
{
    struct system_lookup *lookup = mem_alloc(sizeof *lookup);
    if (!lookup)
        return ERR_NOMEM;
    lookup->offload.work = system_lookup_work;
    lookup->offload.drop = system_lookup_drop;
    str_to_c(str_from_c(host), lookup->host, sizeof lookup->host);
    TRY(offload_run(t, &lookup->offload, deadline));
    *out = lookup->found;
    mem_free(lookup);
    return OK;
}

static void set_ports(struct addresses *a, uint16_t port)
{
    for (int i = 0; i < a->count; i++) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&a->list[i].storage;
        v4->sin_port = htons(port); /* the same place in sockaddr_in6 */
    }
}

/* c-ares first; names that only the system knows (mDNS, other nsswitch sources) second. */
static enum err resolve(struct task *t, struct dns *d, const char *host, struct addresses *out,
                        uint64_t deadline, struct error *error)
{
    int status = ARES_ENOTFOUND;
    bool is_local = str_ends(str_from_c(host), STR(".local"));
    out->count = 0;
    if (!is_local)
        TRY(ask_ares(t, d, host, out, &status, deadline));
    if (out->count == 0 && (is_local || status == ARES_ENOTFOUND || status == ARES_ENODATA))
        TRY(ask_system(t, host, out, deadline));
    if (out->count)
        return OK;
    return error_set(error, ERR_DNS, "the name %s could not be resolved: %s", host, ares_strerror(status));
}

enum err dns_resolve(struct task *t, struct str host, uint16_t port, struct addresses *out, uint64_t deadline,
                     struct error *error)
{
    char name[HOST_MAX];
    out->count = 1;
    if (address_parse_ip(host, port, &out->list[0]))
        return OK;
    if (host.n >= sizeof name)
        return error_set(error, ERR_DNS, "the host name is too long");
    str_to_c(host, name, sizeof name);
    struct loop *l = t->loop;
    if (!l->dns && !(l->dns = dns_new(l)))
        return ERR_NOMEM;
    struct cached *c = map_get(&l->dns->cache, host);
    if (c && c->fresh_until > l->now) {
        *out = c->addresses;
        set_ports(out, port);
        return OK;
    }
    enum err err = resolve(t, l->dns, name, out, deadline, error);
    if (err == OK) {
        cache_store(l->dns, name, out);
    } else {
        c = map_get(&l->dns->cache, host); /* it may have changed while we waited */
        if (err == ERR_CANCELLED || !c || c->stale_until < l->now)
            return err;
        *out = c->addresses; /* an answer that was right a while ago beats none */
    }
    set_ports(out, port);
    return OK;
}
