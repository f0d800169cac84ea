/* The other end of $NOTIFY_SOCKET: see notify.h. Control thread, but for heartbeat_arrived. */
#include "main/notify.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BEATS_PER_PERIOD = 4 };

/* Goes round: control sends it to the worker's loop, which marks it as taken. */
struct heartbeat {
    struct message message;
    struct loop *loop;
    atomic_bool under_way;
};

static struct {
    int fd; /* -1 = nobody listens */
    struct sockaddr_un address;
    socklen_t length;
    uint64_t period_ms; /* between two beats; 0 = no watchdog */
    struct timer timer;
    struct loop *control;
    struct heartbeat *beats; /* one per worker */
    size_t count;
} notifier = {.fd = -1};

static void notify_send(const char *text)
{
    if (notifier.fd >= 0) /* a service manager that does not read is not worth waiting for */
        (void)!sendto(notifier.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                      (const struct sockaddr *)&notifier.address, notifier.length);
}

/* A path, or '@' and the name of an abstract one. */
static bool address_read(const char *text)
{
    size_t n = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || n < 2 || n >= sizeof notifier.address.sun_path)
        return false;
    notifier.address.sun_family = AF_UNIX;
    memcpy(notifier.address.sun_path, text, n + 1);
    notifier.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (text[0] == '/'));
    if (text[0] == '@')
        notifier.address.sun_path[0] = '\0';
    return true;
}

static uint64_t number_of(const char *name)
{
    uint64_t value = 0;
    const char *text = getenv(name);
    return text && num_parse_u64(str_from_c(text), &value) ? value : 0;
}

void notify_open(void)
{
    const char *text = getenv("NOTIFY_SOCKET");
    uint64_t pid = number_of("WATCHDOG_PID"), period_us = number_of("WATCHDOG_USEC");
    if (text && address_read(text))
        notifier.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (pid && pid != (uint64_t)getpid())
        period_us = 0; /* it is meant for another process */
    notifier.period_ms = period_us ? MAX(period_us / 1000 / BEATS_PER_PERIOD, (uint64_t)1) : 0;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* ---- the watchdog ---------------------------------------------------------------------------------------
 */

/* Worker thread: its loop has turned. */
static void heartbeat_arrived(struct message *m)
{
    struct heartbeat *beat = CONTAINER_OF(m, struct heartbeat, message);
    atomic_store(&beat->under_way, false);
}

/* One worker that has not taken its last heartbeat silences us all. */
static void watchdog_due(struct timer *timer)
{
    bool all_turn = true;
    for (size_t i = 0; i < notifier.count; i++)
        all_turn &= !atomic_load(&notifier.beats[i].under_way);
    if (all_turn)
        notify_send("WATCHDOG=1");
    for (size_t i = 0; i < notifier.count; i++)
        if (!atomic_exchange(&notifier.beats[i].under_way, true))
            loop_post(notifier.beats[i].loop, &notifier.beats[i].message);
    timer_set(notifier.control, timer, clock_after(notifier.control->now, notifier.period_ms));
}

static void watchdog_start(struct loop *control, struct worker *const *workers, size_t count)
{
    notifier.beats = mem_alloc(count * sizeof *notifier.beats);
    if (!notifier.beats)
        return; /* without a sign of life, systemd starts us again */
    for (size_t i = 0; i < count; i++) {
        notifier.beats[i].message.on_arrival = heartbeat_arrived;
        notifier.beats[i].loop = workers[i]->loop;
    }
    notifier.control = control;
    notifier.count = count;
    notifier.timer.on_due = watchdog_due;
    timer_set(control, &notifier.timer, clock_after(control->now, notifier.period_ms));
}

/* ---- what happens ---------------------------------------------------------------------------------------
 */

void notify_ready(struct loop *control, struct worker *const *workers, size_t count)
{
    if (notifier.fd < 0)
        return;
    notify_send("READY=1");
    if (notifier.period_ms)
        watchdog_start(control, workers, count);
}

void notify_reloading(void)
{
    char text[64];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(clock_now() / 1000));
    notify_send(text);
}

void notify_reloaded(void)
{
    notify_send("READY=1");
}

void notify_stopping(void)
{
    notify_send("STOPPING=1");
}

/* After the workers' threads, before the control loop's end: heartbeats may still lie in an inbox. */
void notify_close(void)
{
    if (notifier.control)
        timer_remove(notifier.control, &notifier.timer);
    mem_free(notifier.beats);
    notifier.beats = NULL;
    notifier.count = 0;
    if (notifier.fd >= 0)
        close(notifier.fd);
    notifier.fd = -1;
}
