/* The event loop: epoll, timers, run queue, mailbox. Runs on the thread that owns it. */
#include "loop/loop.h"

#include "base/mem.h"
#include "loop/dns.h"
#include "loop/task.h"
#include "loop/task_private.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 256, TIMERS_MIN = 64 };

/* ---- watches --------------------------------------------------------------------------------------------
 */

enum err watch_add(struct loop *l, struct watch *w, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = w};
    w->fd = fd;
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? OK : ERR_IO;
}

enum err watch_add_shared(struct loop *l, struct watch *w, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = w};
    w->fd = fd;
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? OK : ERR_IO;
}

void watch_forget(struct loop *l, struct watch *w)
{
    struct epoll_event *batch = l->batch;
    for (int i = l->batch_at; i < l->batch_count; i++)
        if (batch[i].data.ptr == w)
            batch[i].data.ptr = NULL;
}

void watch_remove(struct loop *l, struct watch *w)
{
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    watch_forget(l, w);
}

static void events_dispatch(struct loop *l, struct epoll_event *events, int count)
{
    l->batch = events;
    l->batch_count = count;
    for (int i = 0; i < count; i++) {
        struct watch *w = events[i].data.ptr;
        l->batch_at = i + 1;
        if (w)
            w->on_event(w, events[i].events);
    }
    l->batch_count = 0;
}

/* ---- timers: a binary heap on `armed` -------------------------------------------------------------------
 */

static void heap_put(struct loop *l, uint32_t at, struct timer *timer)
{
    l->timers[at] = timer;
    timer->index = at + 1;
}

static void heap_up(struct loop *l, uint32_t at)
{
    struct timer *timer = l->timers[at];
    while (at > 0 && l->timers[(at - 1) / 2]->armed > timer->armed) {
        heap_put(l, at, l->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(l, at, timer);
}

static void heap_down(struct loop *l, uint32_t at)
{
    struct timer *timer = l->timers[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < l->timer_count && l->timers[child + 1]->armed < l->timers[child]->armed)
            child++;
        if (child >= l->timer_count || l->timers[child]->armed >= timer->armed)
            break;
        heap_put(l, at, l->timers[child]);
        at = child;
    }
    heap_put(l, at, timer);
}

/* A timer without memory for its place could never fire: better to stop than to wait for ever. So there is
   room for a quarter more than are set, and memory may be short for as long as that lasts. */
static void heap_reserve(struct loop *l)
{
    if (l->timer_count < l->timer_capacity / 4 * 3)
        return;
    uint32_t capacity = l->timer_capacity * 2;
    struct timer **grown = mem_resize(l->timers, capacity * sizeof *grown);
    if (grown) {
        l->timers = grown;
        l->timer_capacity = capacity;
    }
    REQUIRE(l->timer_count < l->timer_capacity);
}

void timer_set(struct loop *l, struct timer *timer, uint64_t due)
{
    timer->due = due;
    if (due == CLOCK_NEVER || (timer->index && due >= timer->armed))
        return;
    timer->armed = due;
    if (!timer->index) {
        heap_reserve(l);
        heap_put(l, l->timer_count++, timer);
    }
    heap_up(l, timer->index - 1);
}

void timer_off(struct timer *timer)
{
    timer->due = CLOCK_NEVER;
}

void timer_remove(struct loop *l, struct timer *timer)
{
    timer->due = CLOCK_NEVER;
    if (!timer->index)
        return;
    uint32_t at = timer->index - 1;
    timer->index = 0;
    struct timer *last = l->timers[--l->timer_count];
    if (last == timer)
        return;
    heap_put(l, at, last);
    heap_up(l, at);
    heap_down(l, last->index - 1);
}

/* Each of them once at most: one that sets itself to a time that has passed waits for the next turn, and
   messages get theirs. */
static void timers_run(struct loop *l)
{
    for (uint32_t left = l->timer_count; left && l->timer_count && l->timers[0]->armed <= l->now; left--) {
        struct timer *timer = l->timers[0];
        if (timer->due == CLOCK_NEVER) {
            timer_remove(l, timer);
        } else if (timer->due > l->now) { /* moved later since it was armed */
            timer->armed = timer->due;
            heap_down(l, 0);
        } else {
            timer_remove(l, timer);
            timer->on_due(timer);
        }
    }
}

/* ---- mailbox --------------------------------------------------------------------------------------------
 */

/* Once the message is in, the loop may act on it, end and be freed, while we are still about to wake it. */
void loop_post(struct loop *l, struct message *m)
{
    atomic_fetch_add_explicit(&l->posting, 1, memory_order_relaxed);
    struct message *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
    do
        m->next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->inbox, &head, m, memory_order_release,
                                                  memory_order_relaxed));
    /* The first message since the loop emptied its inbox wakes it; the others ride along. */
    if (!head) {
        uint64_t one = 1;
        ssize_t n = write(l->wake_fd, &one, sizeof one);
        (void)n; /* EAGAIN: the counter is full, the loop is awake anyway */
    }
    atomic_fetch_sub_explicit(&l->posting, 1, memory_order_release);
}

static void inbox_run(struct loop *l)
{
    struct message *newest = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acquire);
    struct message *oldest = NULL;
    while (newest) {
        struct message *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct message *next = oldest->next;
        oldest->on_arrival(oldest);
        oldest = next;
    }
}

static void wake_event(struct watch *w, uint32_t events)
{
    uint64_t count;
    ssize_t n = read(w->fd, &count, sizeof count);
    (void)n;
}

/* ---- the loop -------------------------------------------------------------------------------------------
 */

struct loop *loop_new(void)
{
    struct loop *l = mem_alloc(sizeof *l);
    if (!l)
        return NULL;
    l->now = clock_now();
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->scratch = mem_alloc(SCRATCH_SIZE);
    l->gather = mem_alloc(GATHER_SIZE);
    l->timers = mem_alloc(TIMERS_MIN * sizeof *l->timers);
    l->timer_capacity = TIMERS_MIN;
    list_init(&l->run_queue);
    list_init(&l->free_tasks);
    l->wake_watch.on_event = wake_event;
    if (l->epoll_fd < 0 || l->wake_fd < 0 || !l->scratch || !l->gather || !l->timers ||
        watch_add(l, &l->wake_watch, l->wake_fd) != OK) {
        loop_free(l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    while (atomic_load_explicit(&l->posting, memory_order_acquire))
        sched_yield();
    dns_free(l->dns);
    tasks_free(l);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    mem_free(l->timers);
    mem_free(l->scratch);
    mem_free(l->gather);
    mem_free(l);
}

/* Only the tasks that are ready now: one that yields comes back after the next look at epoll. */
static void tasks_run(struct loop *l)
{
    struct list ready;
    if (list_empty(&l->run_queue))
        return;
    ready = l->run_queue;
    ready.next->prev = ready.prev->next = &ready;
    list_init(&l->run_queue);
    struct list *node;
    while ((node = list_pop_front(&ready)))
        task_run(CONTAINER_OF(node, struct task, node));
}

static int sleep_ms(struct loop *l)
{
    if (!list_empty(&l->run_queue) || atomic_load_explicit(&l->inbox, memory_order_relaxed))
        return 0;
    if (!l->timer_count)
        return -1;
    uint64_t first = l->timers[0]->armed;
    if (first <= l->now)
        return 0;
    uint64_t ms = (first - l->now + CLOCK_MS - 1) / CLOCK_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

/* Told to stop, the last task has ended, and the last message is read: each may hold something that it alone
   frees. */
static bool is_over(const struct loop *l)
{
    return l->stop && !l->task_count && !atomic_load_explicit(&l->inbox, memory_order_relaxed);
}

void loop_run(struct loop *l)
{
    struct epoll_event events[BATCH];
    l->stop = false;
    l->now = clock_now();
    while (!is_over(l)) {
        inbox_run(l);
        timers_run(l);
        tasks_run(l);
        if (l->before_sleep)
            l->before_sleep(l);
        int count = epoll_wait(l->epoll_fd, events, BATCH, is_over(l) ? 0 : sleep_ms(l));
        REQUIRE(count >= 0 || errno == EINTR);
        l->now = clock_now();
        events_dispatch(l, events, MAX(count, 0));
    }
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}
