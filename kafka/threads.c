/* threads: only for SAN=thread. librdkafka starts its threads and takes its locks by C11's <threads.h>, which the thread sanitizer of
 * GCC 12 does not know: a thread that it has not seen starting ends the process at the first malloc. Here the same functions go by way
 * of pthreads, which it does know; in glibc the objects behind both are the same. */
#include "kafka/client.h"

#ifdef __SANITIZE_THREAD__
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

#include "base/mem.h"

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t), "glibc: one layout for both");

struct start {
        thrd_start_t run;
        void *arg;
};

static void *run(void *arg)
{
        struct start s = *(struct start *)arg;
        free(arg);
        return (void *)(intptr_t)s.run(s.arg);
}

int thrd_create(thrd_t *t, thrd_start_t f, void *arg)
{
        struct start *s = MEM_NEW(struct start);
        *s = (struct start){.run = f, .arg = arg};
        if (!pthread_create(t, NULL, run, s))
                return thrd_success;
        free(s);
        return thrd_error;
}

int thrd_join(thrd_t t, int *result)
{
        void *got;
        if (pthread_join(t, &got))
                return thrd_error;
        if (result)
                *result = (int)(intptr_t)got;
        return thrd_success;
}

int mtx_init(mtx_t *m, int type)
{
        pthread_mutexattr_t a;
        pthread_mutexattr_init(&a);
        if (type & mtx_recursive)
                pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
        int rc = pthread_mutex_init((pthread_mutex_t *)m, &a);
        pthread_mutexattr_destroy(&a);
        return rc ? thrd_error : thrd_success;
}

int mtx_lock(mtx_t *m)
{
        return pthread_mutex_lock((pthread_mutex_t *)m) ? thrd_error : thrd_success;
}

int mtx_unlock(mtx_t *m)
{
        return pthread_mutex_unlock((pthread_mutex_t *)m) ? thrd_error : thrd_success;
}

void mtx_destroy(mtx_t *m)
{
        pthread_mutex_destroy((pthread_mutex_t *)m);
}

int cnd_init(cnd_t *c)
{
        return pthread_cond_init((pthread_cond_t *)c, NULL) ? thrd_error : thrd_success;
}

int cnd_signal(cnd_t *c)
{
        return pthread_cond_signal((pthread_cond_t *)c) ? thrd_error : thrd_success;
}

int cnd_broadcast(cnd_t *c)
{
        return pthread_cond_broadcast((pthread_cond_t *)c) ? thrd_error : thrd_success;
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
        return pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m) ? thrd_error : thrd_success;
}

int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
        int rc = pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until);
        return rc == ETIMEDOUT ? thrd_timedout : rc ? thrd_error : thrd_success;
}

void cnd_destroy(cnd_t *c)
{
        pthread_cond_destroy((pthread_cond_t *)c);
}
#endif

void client_threads(void)
{
        /* called by client_open, so that the linker takes this file out of its archive before it comes to librdkafka */
}
