/* Reading into the scratch, writing straight to the kernel; copies only what must wait. One task at a time.
 */
#include "http/flow.h"

#include "base/mem.h"

enum { KEPT_SMALL = 16 << 10 /* a bigger buffer is not kept once it is empty */ };

static bool scratch_has_room(struct inflow *f)
{
    char *end = f->sock->loop->scratch + SCRATCH_SIZE;
    if (f->p + f->n < end)
        return true;
    memmove(f->sock->loop->scratch, f->p, f->n);
    f->p = f->sock->loop->scratch;
    return f->n < SCRATCH_SIZE;
}

/* Where the next bytes go and how many fit there. */
static enum err room_find(struct inflow *f, size_t max, char **p, size_t *room)
{
    if (f->n == 0) {
        struct scratch scratch = scratch_borrow(f->sock->loop);
        f->in_scratch = true;
        f->p = scratch.p;
    }
    if (f->in_scratch) {
        if (!scratch_has_room(f))
            return ERR_LIMIT;
        *p = f->p + f->n;
        *room = MIN(max, (size_t)(f->sock->loop->scratch + SCRATCH_SIZE - *p));
        return OK;
    }
    buf_consume(&f->kept, (size_t)(f->p - f->kept.p));
    if (!buf_reserve(&f->kept, MIN(max, (size_t)FLOW_HIGH_WATER)))
        return buf_err(&f->kept);
    f->p = f->kept.p;
    *p = f->kept.p + f->kept.n;
    *room = MIN(max, f->kept.cap - f->kept.n);
    return OK;
}

static void scratch_give_back(struct inflow *f)
{
    if (!f->in_scratch)
        return;
    f->in_scratch = false;
    scratch_return(f->sock->loop);
}

enum err inflow_fill_now(struct inflow *f, size_t max)
{
    char *p = NULL;
    size_t room = 0, got = 0;
    TRY(room_find(f, max, &p, &room));
    enum err err = sock_recv_now(f->sock, p, room, &got);
    if (err == OK) {
        f->n += got;
        if (!f->in_scratch)
            f->kept.n += got;
        return OK;
    }
    if (f->n == 0)
        scratch_give_back(f);
    if (err == ERR_END)
        f->ended = true;
    return err;
}

enum err inflow_fill(struct task *t, struct inflow *f, size_t max, uint64_t deadline)
{
    for (;;) {
        enum err err = inflow_fill_now(f, max);
        if (err != ERR_AGAIN)
            return err;
        TRY(inflow_settle(f));
        TRY(task_park(t, deadline));
    }
}

void inflow_consume(struct inflow *f, size_t n)
{
    REQUIRE(n <= f->n);
    f->p += n;
    f->n -= n;
    if (f->n)
        return;
    if (f->in_scratch)
        scratch_give_back(f);
    else if (f->kept.cap > KEPT_SMALL)
        buf_free(&f->kept);
    else
        buf_clear(&f->kept);
}

enum err inflow_settle(struct inflow *f)
{
    if (!f->in_scratch)
        return OK;
    if (f->n) {
        f->kept.max = FLOW_BUF_MAX;
        buf_clear(&f->kept);
        buf_add(&f->kept, f->p, f->n);
        if (buf_err(&f->kept) != OK) {
            f->n = 0;
            scratch_give_back(f);
            return buf_err(&f->kept);
        }
        f->p = f->kept.p;
    }
    scratch_give_back(f);
    return OK;
}

void inflow_free(struct inflow *f)
{
    scratch_give_back(f);
    buf_free(&f->kept);
    f->n = 0;
}

/* ---- writing --------------------------------------------------------------------------------------------
 */

static enum err keep_rest(struct outflow *f, struct iovec *parts, int count, size_t sent)
{
    f->pending.max = FLOW_BUF_MAX;
    for (int i = 0; i < count; i++) {
        size_t skip = MIN(sent, parts[i].iov_len);
        sent -= skip;
        buf_add(&f->pending, (char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
    }
    return buf_err(&f->pending);
}

/* One contiguous send costs the kernel less than a vector, by more than the copy of a small message. */
static struct iovec gather(struct loop *l, const struct iovec *parts, int count)
{
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        memcpy(l->gather + n, parts[i].iov_base, parts[i].iov_len);
        n += parts[i].iov_len;
    }
    return (struct iovec){l->gather, n};
}

enum err outflow_sendv(struct outflow *f, struct iovec *parts, int count)
{
    size_t sent = 0, total = 0;
    struct iovec whole;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (count > 1 && total <= GATHER_SIZE) {
        whole = gather(f->sock->loop, parts, count);
        parts = &whole;
        count = 1;
    }
    if (f->pending.n == 0 && total) {
        enum err err = sock_sendv_now(f->sock, parts, count, &sent);
        if (err != OK && err != ERR_AGAIN)
            return err;
        f->sent += sent;
    }
    return sent == total ? OK : keep_rest(f, parts, count, sent);
}

enum err outflow_send(struct outflow *f, struct str bytes)
{
    struct iovec part = {(void *)(uintptr_t)bytes.p, bytes.n};
    return outflow_sendv(f, &part, 1);
}

enum err outflow_flush_now(struct outflow *f)
{
    size_t at = 0;
    enum err err = OK;
    while (err == OK && at < f->pending.n) {
        struct iovec part = {f->pending.p + at, f->pending.n - at};
        size_t sent = 0;
        err = sock_sendv_now(f->sock, &part, 1, &sent);
        at += sent;
        if (err == OK && sent < part.iov_len)
            err = ERR_AGAIN;
    }
    f->sent += at;
    buf_consume(&f->pending, at);
    if (f->pending.n == 0 && f->pending.cap > KEPT_SMALL)
        buf_free(&f->pending);
    return err;
}

enum err outflow_flush(struct task *t, struct outflow *f, uint64_t deadline)
{
    for (;;) {
        enum err err = outflow_flush_now(f);
        if (err != ERR_AGAIN)
            return err;
        TRY(task_park(t, deadline));
    }
}

void outflow_free(struct outflow *f)
{
    buf_free(&f->pending);
}
