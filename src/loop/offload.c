/*
 * Blocking work (getaddrinfo, file and database calls) off the loops: a queue and up to four threads, made
 * when there is work and nobody idle. Called by tasks of any loop; stopped by main/.
 */
#include "loop/offload.h"

#include "loop/thread.h"

enum { OFFLOAD_THREADS = 4 };

/* Lies on the stack of the waiting task, which cannot go before the reply came. */
struct offload_job {
    struct list node;
    void (*work)(void *argument);
    void *argument;
    struct reply reply;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t arrived; /* a job, or stop */
    struct list queue;
    int queued; /* jobs nobody has taken */
    int idle;   /* threads that wait for one */
    pthread_t threads[OFFLOAD_THREADS];
    int thread_count;
    bool stop;
} pool = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER, .queue = LIST_INIT(pool.queue)};

/* NULL at the end. */
static struct offload_job *job_take(void)
{
    pthread_mutex_lock(&pool.mutex);
    pool.idle++;
    while (list_empty(&pool.queue) && !pool.stop)
        pthread_cond_wait(&pool.arrived, &pool.mutex);
    pool.idle--;
    struct list *node = list_pop_front(&pool.queue);
    pool.queued -= node != NULL;
    pthread_mutex_unlock(&pool.mutex);
    return node ? CONTAINER_OF(node, struct offload_job, node) : NULL;
}

static void offload_main(void *argument)
{
    struct offload_job *job;
    while ((job = job_take())) {
        job->work(job->argument);
        reply_send(&job->reply); /* the job is gone from here on */
    }
}

/* One more thread when the idle ones do not suffice. Fails only when there is none at all: else the job waits
   for its turn. Called with the mutex locked. */
static enum err pool_grow(void)
{
    if (pool.idle >= pool.queued || pool.thread_count == OFFLOAD_THREADS)
        return OK;
    enum err err = thread_start(&pool.threads[pool.thread_count], "hestia-offload", offload_main, NULL);
    pool.thread_count += err == OK;
    return pool.thread_count ? OK : err;
}

static enum err job_queue(struct offload_job *job)
{
    pthread_mutex_lock(&pool.mutex);
    list_push_back(&pool.queue, &job->node);
    pool.queued++;
    enum err err = pool_grow();
    if (err != OK) {
        list_remove(&job->node);
        pool.queued--;
    }
    pthread_cond_signal(&pool.arrived);
    pthread_mutex_unlock(&pool.mutex);
    return err;
}

enum err offload_run(struct task *t, void (*work)(void *argument), void *argument)
{
    struct offload_job job = {.work = work, .argument = argument};
    reply_init(&job.reply, t);
    TRY(job_queue(&job));
    while (!job.reply.done) {
        enum err err = task_park_shielded(t, CLOCK_NEVER);
        REQUIRE(err == OK);
    }
    return OK;
}

void offload_stop(void)
{
    pthread_mutex_lock(&pool.mutex);
    pool.stop = true;
    pthread_cond_broadcast(&pool.arrived);
    pthread_mutex_unlock(&pool.mutex);
    /* The loops have ended: nobody makes threads now. */
    for (int i = 0; i < pool.thread_count; i++)
        pthread_join(pool.threads[i], NULL);
    pool.thread_count = 0;
    pool.stop = false;
}
