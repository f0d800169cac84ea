/*
 * Blocking work (getaddrinfo, reading files) off the loops: a queue and up to four threads, made when there
 * is work and nobody idle. Called by tasks of any loop; stopped by main/.
 */
#include "loop/offload.h"

#include "loop/thread.h"

static struct {
    pthread_mutex_t mutex;  /* also over the state of every job */
    pthread_cond_t arrived; /* a job, or stop */
    pthread_cond_t ended;   /* a thread */
    struct list queue;
    int queued;  /* jobs nobody has taken */
    int threads; /* of which */
    int idle;    /* wait for one */
    int working; /* do one */
    bool stop;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .arrived = PTHREAD_COND_INITIALIZER,
          .ended = PTHREAD_COND_INITIALIZER,
          .queue = LIST_INIT(pool.queue)};

/* ---- the threads --------------------------------------------------------------------------------------- */

/* NULL at the end. */
static struct offload *job_take(void)
{
    pthread_mutex_lock(&pool.mutex);
    pool.idle++;
    while (list_empty(&pool.queue) && !pool.stop)
        pthread_cond_wait(&pool.arrived, &pool.mutex);
    pool.idle--;
    struct list *node = list_pop_front(&pool.queue);
    struct offload *o = node ? CONTAINER_OF(node, struct offload, node) : NULL;
    if (o) {
        o->state = OFFLOAD_RUNNING;
        pool.queued--;
        pool.working++;
    } else {
        pool.threads--;
        pthread_cond_signal(&pool.ended);
    }
    pthread_mutex_unlock(&pool.mutex);
    return o;
}

/* Whoever left a job has perhaps taken its loop along. */
static void job_end(struct offload *o)
{
    pthread_mutex_lock(&pool.mutex);
    bool was_left = o->state == OFFLOAD_LEFT;
    o->state = OFFLOAD_DONE;
    pool.working--;
    pthread_mutex_unlock(&pool.mutex);
    if (was_left)
        o->drop(o);
    else
        reply_send(&o->reply); /* the job is gone from here on */
}

static void offload_main(void *argument)
{
    struct offload *o;
    while ((o = job_take())) {
        o->work(o);
        job_end(o);
    }
}

/* One more thread when the idle ones do not suffice. Fails only when there is none at all: else the job waits
   for its turn. Called with the mutex locked. */
static enum err pool_grow(void)
{
    pthread_t thread;
    if (pool.idle >= pool.queued || pool.threads == OFFLOAD_THREADS)
        return OK;
    pool.stop = false;
    enum err err = thread_start(&thread, "hestia-offload", offload_main, NULL);
    if (err == OK) {
        pthread_detach(thread);
        pool.threads++;
    }
    return pool.threads ? OK : err;
}

void offload_stop(void)
{
    pthread_mutex_lock(&pool.mutex);
    pool.stop = true;
    pthread_cond_broadcast(&pool.arrived);
    while (pool.threads > pool.working) /* what they do was left */
        pthread_cond_wait(&pool.ended, &pool.mutex);
    pthread_mutex_unlock(&pool.mutex);
}

/* ---- the waiting task ---------------------------------------------------------------------------------- */

static enum err job_queue(struct offload *o)
{
    pthread_mutex_lock(&pool.mutex);
    list_push_back(&pool.queue, &o->node);
    pool.queued++;
    enum err err = pool_grow();
    if (err != OK) {
        list_remove(&o->node);
        pool.queued--;
    }
    pthread_cond_signal(&pool.arrived);
    pthread_mutex_unlock(&pool.mutex);
    return err;
}

/* False when its reply is already under way. */
static bool job_leave(struct offload *o)
{
    pthread_mutex_lock(&pool.mutex);
    bool is_queued = o->state == OFFLOAD_QUEUED, is_done = o->state == OFFLOAD_DONE;
    if (is_queued) {
        list_remove(&o->node);
        pool.queued--;
    } else if (!is_done) {
        o->state = OFFLOAD_LEFT;
    }
    pthread_mutex_unlock(&pool.mutex);
    if (is_queued)
        o->drop(o);
    return !is_done;
}

enum err offload_run(struct task *t, struct offload *o, uint64_t deadline)
{
    reply_init(&o->reply, t);
    o->state = OFFLOAD_QUEUED;
    enum err err = job_queue(o);
    if (err != OK)
        o->drop(o);
    TRY(err);
    while (!o->reply.done && err == OK) {
        err = task_park(t, deadline);
        if (err != OK && job_leave(o))
            return err;
    }
    while (!o->reply.done) { /* late, but it comes at once */
        err = task_park_shielded(t, CLOCK_NEVER);
        REQUIRE(err == OK);
    }
    return OK;
}
