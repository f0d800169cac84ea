/* Stackful tasks: stacks, the switch, parking. Each task stays on its loop's thread for life. */
#include "loop/task_private.h"

#include "base/mem.h"

#include <sys/mman.h>
#include <unistd.h>

#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef HAVE_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#if defined(HAVE_ASAN) || defined(HAVE_TSAN)
enum { STACK_SIZE = 256 << 10 };
#else
enum { STACK_SIZE = 64 << 10 };
#endif
enum {
    GUARD_SIZE = 4096,
    WARM_STACKS = 64,   /* always kept for the next rush */
    TRIM_MS = 1000,     /* free stacks that a whole such period did not need go back to the kernel, */
    TRIM_AT_ONCE = 256, /* so many at a time */
};

/* ---- the switch -----------------------------------------------------------------------------------------
 */

#if defined(__x86_64__)
void task_switch(void **save, void *load);
/* Callee-saved registers of the System V ABI; the rest is the compiler's business. */
__asm__(".text\n.globl task_switch\n.hidden task_switch\n.type task_switch,@function\ntask_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
        ".size task_switch,.-task_switch\n");

static void *stack_prepare(char *top, void (*entry)(void))
{
    void **sp = (void **)(void *)top;
    *--sp = NULL;                     /* the entry's return address; keeps the ABI's alignment */
    *--sp = (void *)(uintptr_t)entry; /* where the first switch "returns" to */
    for (int i = 0; i < 6; i++)
        *--sp = NULL;
    return sp;
}
#elif defined(__aarch64__)
void task_switch(void **save, void *load);
__asm__(".text\n.globl task_switch\n.hidden task_switch\n.type task_switch,%function\ntask_switch:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n  str x9, [x0]\n  mov sp, x1\n"
        "  ldp x19, x20, [sp]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n"
        "  ldp d14, d15, [sp, #144]\n  add sp, sp, #160\n  ret\n"
        ".size task_switch,.-task_switch\n");

static void *stack_prepare(char *top, void (*entry)(void))
{
    char *sp = top - 160;
    memset(sp, 0, 160);
    void *link = (void *)(uintptr_t)entry;
    memcpy(sp + 88, &link, sizeof link); /* x30 */
    return sp;
}
#else
#include <ucontext.h>

static void task_switch(void **save, void *load)
{
    ucontext_t here; /* lives on the stack that is left */
    *save = &here;
    swapcontext(&here, load);
}

static void *stack_prepare(char *top, void (*entry)(void))
{
    ucontext_t *u = (ucontext_t *)(void *)((uintptr_t)(top - sizeof *u) & ~(uintptr_t)63);
    getcontext(u);
    u->uc_stack.ss_sp = top - STACK_SIZE;
    u->uc_stack.ss_size = (size_t)((char *)u - (top - STACK_SIZE));
    u->uc_link = NULL;
    makecontext(u, entry, 0);
    return u;
}
#endif

/* The loop whose stack this thread's tasks switch back to; set for the time of a switch into a task. */
static _Thread_local struct loop *entering;

/* Each thread's own stack, as the sanitizers want to know it. */
#ifdef HAVE_ASAN
static _Thread_local const void *home_bottom;
static _Thread_local size_t home_size;
#endif
#ifdef HAVE_TSAN
static _Thread_local void *home_fiber;
#endif
static _Thread_local void *home_context;

static void switch_to_task(struct task *t)
{
    entering = t->loop;
    t->loop->current = t;
#ifdef HAVE_TSAN
    home_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(t->sanitizer, 0);
#endif
#ifdef HAVE_ASAN
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, t->stack, STACK_SIZE);
#endif
    task_switch(&home_context, t->context);
#ifdef HAVE_ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    t->loop->current = NULL;
}

static void switch_to_loop(struct task *t)
{
    REQUIRE(!t->loop->scratch_lent);
#ifdef HAVE_TSAN
    __tsan_switch_to_fiber(home_fiber, 0);
#endif
#ifdef HAVE_ASAN
    void *fake = NULL;
    __sanitizer_start_switch_fiber(t->finished ? NULL : &fake, home_bottom, home_size);
#endif
    task_switch(&t->context, home_context);
#ifdef HAVE_ASAN
    __sanitizer_finish_switch_fiber(fake, &home_bottom, &home_size);
#endif
}

bool task_stack_here(struct stack_bounds *stack)
{
    const struct task *t = entering ? entering->current : NULL;
    if (!t)
        return false;
    uintptr_t low = (uintptr_t)t->stack;
    *stack = (struct stack_bounds){low - GUARD_SIZE, low, low + STACK_SIZE};
    return true;
}

/* Bottom frame of every task. A task that ends stays in the pool and starts over from here. */
static void task_entry(void)
{
#ifdef HAVE_ASAN
    __sanitizer_finish_switch_fiber(NULL, &home_bottom, &home_size);
#endif
    struct task *t = entering->current;
    t->fn(t, t->argument);
    t->finished = true;
    switch_to_loop(t);
    REQUIRE(!"a finished task was resumed");
}

/* ---- life -----------------------------------------------------------------------------------------------
 */

static void task_deadline_due(struct timer *timer)
{
    struct task *t = CONTAINER_OF(timer, struct task, timer);
    if (!t->parked || t->woken) /* what it waits for is there, late as we all are */
        return;
    t->timed_out = true;
    task_wake(t);
}

static struct task *task_new(struct loop *l)
{
    struct task *t = mem_alloc(sizeof *t);
    if (!t)
        return NULL;
    char *map = mmap(NULL, STACK_SIZE + GUARD_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, GUARD_SIZE, PROT_NONE) != 0) {
        if (map != MAP_FAILED)
            munmap(map, STACK_SIZE + GUARD_SIZE);
        mem_free(t);
        return NULL;
    }
    t->stack = map + GUARD_SIZE;
    t->loop = l;
    t->timer.on_due = task_deadline_due;
    t->timer.due = CLOCK_NEVER;
#ifdef HAVE_TSAN
    t->sanitizer = __tsan_create_fiber(0);
#endif
#ifdef VALGRIND_STACK_REGISTER
    VALGRIND_STACK_REGISTER(t->stack, t->stack + STACK_SIZE);
#endif
    return t;
}

static void task_free(struct task *t)
{
    timer_remove(t->loop, &t->timer);
#ifdef HAVE_TSAN
    __tsan_destroy_fiber(t->sanitizer);
#endif
    munmap(t->stack - GUARD_SIZE, STACK_SIZE + GUARD_SIZE);
    mem_free(t);
}

static struct task *task_take(struct loop *l, task_fn *fn, void *argument)
{
    struct list *node = list_pop_front(&l->free_tasks);
    struct task *t = node ? CONTAINER_OF(node, struct task, node) : task_new(l);
    if (!t)
        return NULL;
    if (node && --l->free_task_count < l->free_task_low)
        l->free_task_low = l->free_task_count;
    t->fn = fn;
    t->argument = argument;
    t->parked = t->woken = t->timed_out = t->cancelled = t->finished = false;
#ifdef HAVE_ASAN
    __asan_unpoison_memory_region(t->stack, STACK_SIZE); /* frames of the last user never returned */
#endif
    t->context = stack_prepare(t->stack + STACK_SIZE, task_entry);
    l->task_count++;
    return t;
}

/* The newest free stack is taken first, so those at the far end have rested longest. */
static void tasks_trim(struct timer *timer)
{
    struct loop *l = CONTAINER_OF(timer, struct loop, trim_timer);
    size_t unused = MIN(l->free_task_low, l->free_task_count);
    for (int i = 0; i < TRIM_AT_ONCE && unused > WARM_STACKS; i++, unused--) {
        struct task *t = CONTAINER_OF(l->free_tasks.prev, struct task, node);
        list_remove(&t->node);
        l->free_task_count--;
        task_free(t);
    }
    l->free_task_low = l->free_task_count;
    if (l->free_task_count > WARM_STACKS)
        timer_set(l, timer, clock_after(l->now, TRIM_MS));
}

static void task_pool(struct task *t)
{
    struct loop *l = t->loop;
    l->task_count--;
    timer_off(&t->timer);
    list_push_front(&l->free_tasks, &t->node);
    if (++l->free_task_count > WARM_STACKS && !l->trim_timer.index) {
        l->trim_timer.on_due = tasks_trim;
        timer_set(l, &l->trim_timer, clock_after(l->now, TRIM_MS));
    }
}

void task_run(struct task *t)
{
    t->woken = false;
    switch_to_task(t);
    if (t->finished)
        task_pool(t);
}

void tasks_free(struct loop *l)
{
    struct list *node;
    if (entering == l)
        entering = NULL;
    timer_remove(l, &l->trim_timer);
    while ((node = list_pop_front(&l->free_tasks)))
        task_free(CONTAINER_OF(node, struct task, node));
}

struct task *task_spawn(struct loop *l, task_fn *fn, void *argument)
{
    struct task *t = task_take(l, fn, argument);
    if (!t)
        return NULL;
    t->woken = true;
    list_push_back(&l->run_queue, &t->node);
    return t;
}

struct task *task_start(struct loop *l, task_fn *fn, void *argument)
{
    REQUIRE(!l->current);
    struct task *t = task_take(l, fn, argument);
    if (t)
        task_run(t);
    return t;
}

/* ---- waiting --------------------------------------------------------------------------------------------
 */

static enum err park(struct task *t, uint64_t deadline)
{
    REQUIRE(t->loop->current == t);
    if (deadline <= t->loop->now)
        return ERR_TIMEOUT;
    t->timed_out = false;
    t->parked = true;
    timer_set(t->loop, &t->timer, deadline);
    switch_to_loop(t);
    t->parked = false;
    timer_off(&t->timer);
    return t->timed_out ? ERR_TIMEOUT : OK;
}

enum err task_park(struct task *t, uint64_t deadline)
{
    if (t->cancelled)
        return ERR_CANCELLED;
    enum err err = park(t, deadline);
    return t->cancelled ? ERR_CANCELLED : err;
}

enum err task_park_shielded(struct task *t, uint64_t deadline)
{
    return park(t, deadline);
}

enum err task_yield(struct task *t)
{
    if (t->cancelled)
        return ERR_CANCELLED;
    t->parked = true;
    task_wake(t);
    switch_to_loop(t);
    t->parked = false;
    return t->cancelled ? ERR_CANCELLED : OK;
}

enum err task_sleep(struct task *t, uint64_t ms)
{
    uint64_t end = task_deadline(t, ms);
    while (task_now(t) < end) {
        enum err err = task_park(t, end);
        if (err == ERR_CANCELLED)
            return err;
    }
    return OK;
}

void task_wake(struct task *t)
{
    if (!t->parked || t->woken)
        return;
    t->woken = true;
    list_push_back(&t->loop->run_queue, &t->node);
}

void task_cancel(struct task *t)
{
    t->cancelled = true;
    task_wake(t);
}

/* ---- answers from other threads --------------------------------------------------------------------------
 */

static void reply_arrived(struct message *m)
{
    struct reply *r = CONTAINER_OF(m, struct reply, message);
    r->done = true;
    task_wake(r->task);
}

void reply_init(struct reply *r, struct task *t)
{
    *r = (struct reply){.message.on_arrival = reply_arrived, .task = t};
}

void reply_send(struct reply *r)
{
    loop_post(r->task->loop, &r->message);
}

struct call {
    struct message message;
    struct reply reply;
    void (*fn)(void *argument);
    void *argument;
};

static void call_arrived(struct message *m)
{
    struct call *call = CONTAINER_OF(m, struct call, message);
    call->fn(call->argument);
    reply_send(&call->reply);
}

void loop_call(struct task *t, struct loop *target, void (*fn)(void *argument), void *argument)
{
    struct call call = {.message.on_arrival = call_arrived, .fn = fn, .argument = argument};
    reply_init(&call.reply, t);
    loop_post(target, &call.message);
    while (!call.reply.done) {
        /* Only the answer ends this wait: the call lies on this stack. */
        enum err ignored = task_park_shielded(t, CLOCK_NEVER);
        (void)ignored;
    }
}
