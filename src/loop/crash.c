/*
 * The report of a crash: see crash.h. The handler runs on a stack of its own, on whatever thread broke, and
 * calls nothing that could wait for a lock. One thread reports; an alarm ends the process when the reader of
 * standard error does not read.
 */
#include "loop/crash.h"

#include "base/clock.h"
#include "loop/crash_frames.h"
#include "loop/task_private.h"
#include "loop/trail.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_MAX = 320, /* 256 workers and what serves them */
    STACK_BYTES = 64 << 10,
    FRAMES_MAX = 64,
    PATIENCE_S = 10,
    OVERFLOW_BYTES = 64 << 10, /* so far below a thread's stack an access still counts as its overflow */
};

struct crash_thread {
    atomic_bool taken;
    char name[16];
    struct stack_bounds stack; /* of the thread itself */
    void *handler_stack;
    struct trail trail;
};

static struct crash_thread threads[THREADS_MAX]; /* pages that nobody wrote to cost nothing */
static _Thread_local struct crash_thread *thread_here;
_Thread_local struct trail *trail_here;
const char trail_no_id[TRAIL_ID];
static bool installed;
static _Atomic int reporter; /* the thread that reports */

static const struct {
    int number;
    const char *name;
} crash_signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"}, {SIGABRT, "SIGABRT"}};

static const char *const trail_names[TRAIL_CODES] = {
    [TRAIL_ACCEPT] = "accept", [TRAIL_REQUEST] = "request", [TRAIL_FORWARD] = "forward",
    [TRAIL_ANSWER] = "answer", [TRAIL_END] = "end",
};

/* ---- text without stdio ---------------------------------------------------------------------------------
 */

static struct {
    char text[512];
    size_t n;
} line;

static void say(const char *text)
{
    size_t n = MIN(strlen(text), sizeof line.text - 1 - line.n);
    memcpy(line.text + line.n, text, n);
    line.n += n;
}

static void say_number(uint64_t value, unsigned base, size_t width)
{
    char text[24];
    size_t at = sizeof text;
    text[--at] = '\0';
    do {
        text[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value || sizeof text - 1 - at < width);
    say(text + at);
}

static void say_signed(int64_t value)
{
    if (value < 0)
        say("-");
    say_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, 1);
}

static void say_address(uintptr_t address)
{
    say("0x");
    say_number(address, 16, 1);
}

static void line_begin(const char *text)
{
    line.n = 0;
    say("crash: ");
    say(text);
}

static void line_end(void)
{
    line.text[line.n++] = '\n';
    for (size_t at = 0; at < line.n;) {
        ssize_t n = write(STDERR_FILENO, line.text + at, line.n - at);
        if (n <= 0 && errno != EINTR)
            return;
        at += (size_t)MAX(n, 0);
    }
}

/* ---- the report -----------------------------------------------------------------------------------------
 */

static const char *signal_name(int number)
{
    for (size_t i = 0; i < COUNT_OF(crash_signals); i++)
        if (crash_signals[i].number == number)
            return crash_signals[i].name;
    return "signal";
}

static void report_signal(int number, const siginfo_t *info)
{
    line_begin("hestia " HESTIA_VERSION " crashed: ");
    say(signal_name(number));
    if (info->si_code == SI_USER || info->si_code == SI_TKILL || info->si_code == SI_QUEUE) {
        say(" sent by process ");
        say_signed(info->si_pid);
    } else {
        say(" at address ");
        say_address((uintptr_t)info->si_addr);
        say(number != SIGSEGV              ? ""
            : info->si_code == SEGV_MAPERR ? " (nothing is there)"
            : info->si_code == SEGV_ACCERR ? " (not permitted)"
                                           : " (or beyond all addresses)");
    }
    line_end();
    line_begin("build id ");
    say(build_id());
    say(", process ");
    say_signed(getpid());
    say(", thread ");
    say(thread_here ? thread_here->name : "unnamed");
    say(" (");
    say_signed(gettid());
    say(")");
    line_end();
}

/* The stack that was in use: the task's, when the stack pointer is there. */
static bool stack_find(uintptr_t pointer, struct stack_bounds *stack, bool *is_task)
{
    *is_task = task_stack_here(stack);
    if (*is_task && pointer >= stack->guard && pointer <= stack->high)
        return true;
    *is_task = false;
    if (!thread_here)
        return false;
    *stack = thread_here->stack;
    return pointer >= stack->guard && pointer <= stack->high;
}

static void report_overflow(const siginfo_t *info, const struct stack_bounds *stack, bool is_task)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    if (info->si_code <= 0 || address < stack->guard || address >= stack->low)
        return;
    line_begin(is_task ? "task stack overflow" : "thread stack overflow");
    line_end();
}

static void report_frame(size_t index, uintptr_t address)
{
    const struct module *m = module_at(address);
    line_begin("  #");
    say_number(index, 10, 1);
    say(" ");
    say(m ? m->name : "?");
    say("+");
    say_address(m ? address - m->base : address);
    line_end();
}

static void report_frames(int number, const siginfo_t *info, const void *context)
{
    uintptr_t frames[FRAMES_MAX];
    struct stack_bounds stack;
    bool is_task;
    struct position at = position_of(context);
    bool known = stack_find(at.stack, &stack, &is_task);
    if (known && (number == SIGSEGV || number == SIGBUS))
        report_overflow(info, &stack, is_task);
    line_begin(is_task ? "frames of the task" : "frames");
    say(" (addr2line -Cfie hestia OFFSET tells the lines):");
    line_end();
    size_t count = 1;
    frames[0] = at.code;
    if (known)
        count = frames_walk(at, &stack, frames, FRAMES_MAX);
    for (size_t i = 0; i < count; i++)
        report_frame(i, frames[i]);
}

/* In seconds before now, as "1.234567". */
static void say_age(uint64_t now, uint64_t at)
{
    uint64_t us = now > at ? (now - at) / 1000 : 0;
    say_number(us / 1000000, 10, 1);
    say(".");
    say_number(us % 1000000, 10, 6);
}

static void report_event(const struct trail_event *event, uint64_t now)
{
    char id[TRAIL_ID];
    memcpy(id, event->id, sizeof id);
    id[sizeof id - 1] = '\0';
    line_begin("  ");
    say_age(now, event->at);
    say(" s ago ");
    say(event->code < TRAIL_CODES ? trail_names[event->code] : "?");
    say(" ");
    say_signed(event->number);
    say(" ");
    say(id);
    line_end();
}

/* Other threads go on: the oldest event may be overwritten just now, so it is left out. */
static void report_trail(const struct crash_thread *thread, uint64_t now)
{
    uint32_t count = atomic_load_explicit(&thread->trail.count, memory_order_acquire);
    uint32_t shown = MIN(count, (uint32_t)TRAIL_EVENTS - 1);
    if (!count)
        return;
    line_begin("last events of ");
    say(thread->name);
    say(", the newest first:");
    line_end();
    for (uint32_t i = 1; i <= shown; i++)
        report_event(&thread->trail.events[(count - i) % TRAIL_EVENTS], now);
}

/* This thread's first: a reader may stop listening. */
static void report_trails(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t now = (uint64_t)t.tv_sec * CLOCK_S + (uint64_t)t.tv_nsec;
    if (thread_here)
        report_trail(thread_here, now);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        if (&threads[i] != thread_here && atomic_load(&threads[i].taken))
            report_trail(&threads[i], now);
}

/* ---- the handler ----------------------------------------------------------------------------------------
 */

static void patience_limit(void)
{
    sigset_t alarm_only;
    signal(SIGALRM, SIG_DFL);
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    alarm(PATIENCE_S);
}

/* The first process of a container has no default end, hence the last line. */
_Noreturn static void die(int number)
{
    sigset_t this_only;
    signal(number, SIG_DFL);
    sigemptyset(&this_only);
    sigaddset(&this_only, number);
    pthread_sigmask(SIG_UNBLOCK, &this_only, NULL);
    syscall(SYS_tgkill, getpid(), gettid(), number);
    _exit(128 + number);
}

static void crash_handle(int number, siginfo_t *info, void *context)
{
    int nobody = 0;
    while (!atomic_compare_exchange_strong(&reporter, &nobody, gettid())) {
        pause(); /* another thread reports, and ends us all */
        nobody = 0;
    }
    patience_limit();
    report_signal(number, info);
    report_frames(number, info, context);
    report_trails();
    line_begin("end of the report");
    line_end();
    die(number);
}

void crash_signals_spare(sigset_t *set)
{
    for (size_t i = 0; i < COUNT_OF(crash_signals); i++)
        sigdelset(set, crash_signals[i].number);
}

void crash_install(const char *name, bool even_sanitized)
{
#if defined(HAVE_ASAN) || defined(HAVE_TSAN)
    installed = even_sanitized;
#else
    installed = true;
#endif
    crash_thread_begin(name);
    if (!installed)
        return;
    modules_find();
    struct sigaction action = {.sa_sigaction = crash_handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < COUNT_OF(crash_signals); i++)
        sigaction(crash_signals[i].number, &action, NULL);
}

/* ---- threads --------------------------------------------------------------------------------------------
 */

static struct crash_thread *thread_take(void)
{
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        if (!atomic_exchange(&threads[i].taken, true))
            return &threads[i];
    return NULL;
}

static struct stack_bounds own_stack(void)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &size);
        pthread_attr_destroy(&attributes);
    }
    uintptr_t from = (uintptr_t)low;
    return (struct stack_bounds){from - MIN(from, (uintptr_t)OVERFLOW_BYTES), from, from + size};
}

static void handler_stack_use(struct crash_thread *thread)
{
    void *stack =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        return; /* then an overflow of this thread's stack goes without a report */
    thread->handler_stack = stack;
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = STACK_BYTES}, NULL);
}

void crash_thread_begin(const char *name)
{
    struct crash_thread *thread = thread_take();
    if (!thread)
        return; /* its crash is reported without name and events */
    size_t n = MIN(strlen(name), sizeof thread->name - 1);
    memcpy(thread->name, name, n);
    thread->name[n] = '\0';
    atomic_store(&thread->trail.count, 0);
    if (installed) {
        thread->stack = own_stack();
        handler_stack_use(thread);
    }
    thread_here = thread;
    trail_here = &thread->trail;
}

void crash_thread_end(void)
{
    struct crash_thread *thread = thread_here;
    if (!thread)
        return;
    thread_here = NULL;
    trail_here = NULL;
    if (thread->handler_stack) {
        sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
        munmap(thread->handler_stack, STACK_BYTES);
        thread->handler_stack = NULL;
    }
    atomic_store(&thread->taken, false);
}
