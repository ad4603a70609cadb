#include "daemon/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

#define EVERY_US INT64_C(1000000)
#define PATIENCE_US INT64_C(3000000)
#define STALE_US INT64_C(4000000) /* what was read longer ago is not what is */
#define WANTED_US INT64_C(30000000)
#define CONNECT_S 3

struct watched {
        struct watch *watch;
        pthread_t thread;
        bool started;
        struct status_region mine;  /* the thread's */
        struct status_region shown; /* under the lock */
        int64_t read_at;            /* monotonic: when the last reading began, also one that failed; 0: none ended yet */
        int64_t docs_at;            /* the same of the documents that are shown */
        int64_t begun_at;           /* monotonic: when the thread was started */
        int socket;                 /* of mine.pg; -1: none. Under the lock */
};

struct watch {
        pthread_mutex_t lock;
        pthread_cond_t moved; /* somebody asks, something was read, or the end */
        const struct topology *topology;
        size_t n;
        struct watched *regions;
        int64_t wanted_until;
        bool end;
};

/* ---- one region's thread ------------------------------------------------------------------------------------------------------------ */
static void opened(void *ctx, int socket)
{
        struct watched *r = ctx;
        pthread_mutex_lock(&r->watch->lock);
        r->socket = socket;
        if (r->watch->end && socket >= 0)
                shutdown(socket, SHUT_RDWR);
        pthread_mutex_unlock(&r->watch->lock);
}

static void wait_until(struct watch *w, int64_t mono_us)
{
        struct timespec at = {.tv_sec = mono_us / 1000000, .tv_nsec = mono_us % 1000000 * 1000};
        pthread_cond_timedwait(&w->moved, &w->lock, &at);
}

/* Until the next look is due; false: the end. Under the lock. */
static bool wait_for_turn(struct watched *r, int64_t last)
{
        struct watch *w = r->watch;
        while (!w->end) {
                int64_t now = clock_mono_us(), due = last + EVERY_US;
                if (now < w->wanted_until && now >= due)
                        return true;
                if (now < w->wanted_until) {
                        wait_until(w, due);
                        continue;
                }
                if (r->mine.pg) { /* nobody looks: the database need not keep a session for us */
                        r->socket = -1;
                        pg_close(r->mine.pg);
                        r->mine.pg = NULL;
                }
                pthread_cond_wait(&w->moved, &w->lock);
        }
        return false;
}

/* What was read becomes what is shown. Under the lock. */
static void show(struct watched *r, int64_t began)
{
        const struct status_region *m = &r->mine;
        if (m->err.msg[0] && r->docs_at) { /* what it said last stays to be seen */
                r->shown.err = m->err;
        } else {
                status_region_forget(&r->shown);
                r->shown = *m;
                r->shown.pg = NULL;
                memset(r->mine.docs, 0, sizeof r->mine.docs); /* they are shown's now */
                if (!m->err.msg[0])
                        r->docs_at = began;
        }
        r->read_at = began;
        pthread_cond_broadcast(&r->watch->moved);
}

static void *region_thread(void *arg)
{
        struct watched *r = arg;
        struct watch *w = r->watch;
        int64_t began = INT64_MIN / 2;
        pthread_mutex_lock(&w->lock);
        while (wait_for_turn(r, began)) {
                began = clock_mono_us();
                pthread_mutex_unlock(&w->lock);
                status_region_read(&r->mine, CONNECT_S);
                pthread_mutex_lock(&w->lock);
                show(r, began);
        }
        r->socket = -1;
        pthread_mutex_unlock(&w->lock);
        status_region_close(&r->mine);
        return NULL;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------------------- */
/* Under the lock. */
static void want(struct watch *w, struct watched *r)
{
        if (w->end)
                return;
        w->wanted_until = clock_mono_us() + WANTED_US;
        if (!r->started) {
                r->begun_at = clock_mono_us();
                r->started = pthread_create(&r->thread, NULL, region_thread, r) == 0;
        }
        pthread_cond_broadcast(&w->moved);
}

/* What to show of a region now. Under the lock. */
static struct status_region look(const struct watched *r, int64_t now)
{
        struct status_region v = r->shown;
        double ago = (double)(now - (r->read_at ? r->read_at : r->begun_at)) / 1e6;
        v.region = r->mine.region;
        for (int a = 0; a < 2; a++)
                v.age_s[a] += (double)(now - r->docs_at) / 1e6;
        if (!r->read_at)
                err_set(&v.err, ST_RETRY, "region %s: no answer yet, asked %.0f s ago", v.region->name, ago);
        else if (!v.err.msg[0] && now - r->read_at > STALE_US)
                err_set(&v.err, ST_RETRY, "region %s: no answer for %.0f s", v.region->name, ago);
        return v;
}

/* Until every one of the n regions was read since `since`, or patience ends. Under the lock. */
static void wait_for_reading(struct watch *w, const struct watched *r, size_t n, int64_t since)
{
        int64_t until = clock_mono_us() + PATIENCE_US;
        for (size_t i = 0; i < n && !w->end;) {
                if (r[i].read_at >= since) {
                        i++;
                        continue;
                }
                if (clock_mono_us() >= until)
                        return;
                wait_until(w, until);
        }
}

json_t *watch_status(struct watch *w)
{
        struct buf problems;
        buf_init(&problems, 0);
        pthread_mutex_lock(&w->lock);
        int64_t asked = clock_mono_us();
        bool fresh = asked < w->wanted_until; /* then everybody reads once a second anyway */
        for (size_t i = 0; i < w->n; i++)
                want(w, &w->regions[i]);
        wait_for_reading(w, w->regions, w->n, fresh ? 1 : asked - EVERY_US);
        int64_t now = clock_mono_us();
        struct status_view v = {.topology = w->topology, .problems = &problems};
        v.regions = mem_zalloc(sizeof *v.regions * w->n);
        for (size_t i = 0; i < w->n; i++)
                v.regions[i] = look(&w->regions[i], now);
        status_problems(&v);
        json_t *j = status_json(&v);
        pthread_mutex_unlock(&w->lock);
        free(v.regions);
        buf_release(&problems);
        return j;
}

void watch_region(struct watch *w, region_id id, void (*fn)(void *ctx, const struct status_region *r), void *ctx)
{
        struct watched *r = &w->regions[id.i];
        pthread_mutex_lock(&w->lock);
        int64_t asked = clock_mono_us();
        want(w, r);
        wait_for_reading(w, r, 1, asked - 2 * EVERY_US);
        struct status_region v = look(r, clock_mono_us());
        if (!v.err.msg[0] && r->read_at < asked - PATIENCE_US)
                err_set(&v.err, ST_RETRY, "region %s: its database does not answer", v.region->name);
        fn(ctx, &v);
        pthread_mutex_unlock(&w->lock);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------------------- */
struct watch *watch_start(const struct topology *t)
{
        struct watch *w = MEM_NEW(struct watch);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->moved, &attr);
        pthread_condattr_destroy(&attr);
        w->topology = t;
        w->n = t->nregions;
        w->regions = mem_zalloc(sizeof *w->regions * w->n);
        for (size_t i = 0; i < w->n; i++) {
                struct watched *r = &w->regions[i];
                r->watch = w;
                r->socket = -1;
                r->mine = (struct status_region){.region = &t->regions[i], .opened = opened, .ctx = r};
                r->shown.region = &t->regions[i];
        }
        return w;
}

void watch_end(struct watch *w)
{
        pthread_mutex_lock(&w->lock);
        w->end = true;
        pthread_cond_broadcast(&w->moved);
        for (size_t i = 0; i < w->n; i++)
                if (w->regions[i].socket >= 0) /* a server that does not answer must not hold us up */
                        shutdown(w->regions[i].socket, SHUT_RDWR);
        pthread_mutex_unlock(&w->lock);
}

void watch_stop(struct watch *w)
{
        if (!w)
                return;
        watch_end(w);
        for (size_t i = 0; i < w->n; i++) {
                if (w->regions[i].started)
                        pthread_join(w->regions[i].thread, NULL);
                status_region_close(&w->regions[i].shown);
        }
        pthread_cond_destroy(&w->moved);
        pthread_mutex_destroy(&w->lock);
        free(w->regions);
        free(w);
}
