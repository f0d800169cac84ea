/*
 * The log's way to standard output. Any thread hands over finished lines (log_end calls sink_queue), which
 * costs a copy under a mutex and never waits for the reader; one thread of its own writes them, as many per
 * write() as there are. Started and stopped by main/.
 */
#include "base/log.h"
#include "loop/thread.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG_MAX = 4 << 20, /* bytes queued and being written */
    KEEP_MAX = 256 << 10,  /* a buffer grown beyond by a burst is given back */
    REPORT_MAX = 4 << 10,  /* room for the line that tells of the loss */
    FLUSH_SECONDS = 2,
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* the queue got its first line, stop, finished */
    pthread_t thread;
    struct buf queue;
    size_t writing;   /* bytes the thread has taken and not yet written */
    uint64_t dropped; /* lines, since the last report */
    bool stop, finished;
} writer = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local bool is_writer;

/* ---- from any thread ----------------------------------------------------------------------------------- */

static bool has_room(size_t n)
{
    /* The report of a loss is let in when nothing else is, or it would be lost like the rest. */
    return is_writer || writer.queue.n + writer.writing + n <= BACKLOG_MAX;
}

static void sink_queue(struct str line)
{
    pthread_mutex_lock(&writer.mutex);
    if (has_room(line.n) && buf_reserve(&writer.queue, line.n)) {
        bool first = writer.queue.n == 0;
        buf_add_str(&writer.queue, line);
        if (first)
            pthread_cond_broadcast(&writer.changed);
    } else {
        writer.queue.err = OK; /* one line is lost, the buffer stays good */
        writer.dropped++;
    }
    pthread_mutex_unlock(&writer.mutex);
}

/* After a flush that did not end in time: standard output would block whoever writes to it. */
static void sink_discard(struct str line) {}

/* ---- the thread ---------------------------------------------------------------------------------------- */

/* False when the rest cannot be written: the reader is gone or the disk is full. It may come back, so the
   thread goes on with the next lines. */
static bool write_wait(void)
{
    if (errno == EINTR)
        return true;
    if (errno != EAGAIN)
        return false;
    /* Whoever shares the descriptor made it non-blocking. */
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    poll(&p, 1, 1000);
    return true;
}

static void write_all(struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(STDOUT_FILENO, bytes.p, bytes.n);
        if (n > 0)
            bytes = str_from(bytes, (size_t)n);
        else if (n == 0 || !write_wait())
            return;
    }
}

static void report_loss(uint64_t lines)
{
    struct log_line l;
    if (log_begin(&l, LOG_WARNING, "log_dropped", "%llu log lines were lost: standard output was not read",
                  (unsigned long long)lines)) {
        json_key_u64(&l.json, "lines", lines);
        log_end(&l);
    }
}

/* Waits for lines and takes them all; false when nothing is left and the end is near. */
static bool writer_take(struct buf *batch)
{
    struct buf empty = *batch;
    pthread_mutex_lock(&writer.mutex);
    while (writer.queue.n == 0 && !writer.stop)
        pthread_cond_wait(&writer.changed, &writer.mutex);
    *batch = writer.queue;
    writer.queue = empty;
    writer.writing = batch->n;
    pthread_mutex_unlock(&writer.mutex);
    return batch->n > 0;
}

static void writer_settle(struct buf *batch)
{
    buf_clear(batch);
    if (batch->cap > KEEP_MAX)
        buf_free(batch);
    pthread_mutex_lock(&writer.mutex);
    uint64_t dropped = writer.dropped;
    writer.dropped = 0;
    writer.writing = 0;
    pthread_mutex_unlock(&writer.mutex);
    if (dropped)
        report_loss(dropped);
}

static void writer_main(void *argument)
{
    struct buf batch = BUF(BACKLOG_MAX + REPORT_MAX);
    is_writer = true;
    while (writer_take(&batch)) {
        write_all(buf_str(&batch));
        writer_settle(&batch);
    }
    buf_free(&batch);
    pthread_mutex_lock(&writer.mutex);
    writer.finished = true;
    pthread_cond_broadcast(&writer.changed);
    pthread_mutex_unlock(&writer.mutex);
}

/* ---- start and stop ------------------------------------------------------------------------------------ */

enum err log_writer_start(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&writer.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    writer.queue = BUF(BACKLOG_MAX + REPORT_MAX);
    writer.stop = writer.finished = false;
    TRY(thread_start(&writer.thread, "hestia-log", writer_main, NULL));
    log_set_sink(sink_queue);
    return OK;
}

/* Called and left with the mutex locked. */
static void wait_finished(void)
{
    struct timespec limit;
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += FLUSH_SECONDS;
    while (!writer.finished)
        if (pthread_cond_timedwait(&writer.changed, &writer.mutex, &limit) == ETIMEDOUT)
            return;
}

void log_writer_stop(void)
{
    pthread_mutex_lock(&writer.mutex);
    writer.stop = true;
    pthread_cond_broadcast(&writer.changed);
    wait_finished();
    bool finished = writer.finished;
    pthread_mutex_unlock(&writer.mutex);
    log_set_sink(finished ? NULL : sink_discard);
    if (!finished) {
        /* It hangs in write(); exit ends it. */
        pthread_detach(writer.thread);
        return;
    }
    pthread_join(writer.thread, NULL);
    buf_free(&writer.queue);
    pthread_cond_destroy(&writer.changed);
}
