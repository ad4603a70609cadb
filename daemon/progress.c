#include "daemon/progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define LINE_EVERY_US INT64_C(10000000)
#define BAR_EVERY_US 250000
#define BAR_AFTER_US 1000000 /* what is quicker needs no bar */
#define BAR_CELLS 20

struct progress {
        pthread_mutex_t lock;
        pthread_cond_t ending;
        pthread_t thread;
        bool started, end, shown;
        struct progress_opts opts;
        int64_t began_us;
        char what[300];
        size_t done, total;
};

void progress_line(const char *what, size_t done, size_t total, int64_t seconds, int width, char *out, size_t size)
{
        char bar[BAR_CELLS + 3] = "", count[64] = "";
        if (total) {
                size_t full = done >= total ? BAR_CELLS : done * BAR_CELLS / total;
                bar[0] = '[';
                memset(bar + 1, '#', full);
                memset(bar + 1 + full, '.', BAR_CELLS - full);
                bar[1 + BAR_CELLS] = ']'; /* the rest is zero */
                snprintf(count, sizeof count, " %zu/%zu,", done, total);
        }
        snprintf(out, size, "%s: %s%s%s%lld s", what, total ? bar : "", count, total ? " " : "", (long long)seconds);
        if (width > 0 && strlen(out) >= (size_t)width && (size_t)width < size)
                out[width - 1] = 0;
}

static int terminal_width(void)
{
        struct winsize w = {0};
        return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

/* With the lock. */
static void say(struct progress *p)
{
        char line[500];
        FILE *out = p->opts.out ? p->opts.out : stderr;
        progress_line(p->what, p->done, p->total, (clock_mono_us() - p->began_us) / 1000000, p->opts.bar ? terminal_width() : 0,
                      line, sizeof line);
        fprintf(out, p->opts.bar ? "\r%s\033[K" : "%s\n", line);
        fflush(out);
        p->shown = true;
}

/* True when the end was asked for. */
static bool wait_until(struct progress *p, int64_t us)
{
        struct timespec at = {us / 1000000, us % 1000000 * 1000};
        while (!p->end)
                if (pthread_cond_timedwait(&p->ending, &p->lock, &at) == ETIMEDOUT)
                        return p->end;
        return true;
}

static void *tell(void *arg)
{
        struct progress *p = arg;
        int64_t first = p->opts.bar && p->opts.every_us == BAR_EVERY_US ? BAR_AFTER_US : p->opts.every_us;
        pthread_mutex_lock(&p->lock);
        for (int64_t at = p->began_us + first; !wait_until(p, at); at += p->opts.every_us)
                say(p);
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

struct progress *progress_begin_with(const char *what, const struct progress_opts *o)
{
        struct progress *p = MEM_NEW(struct progress);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->ending, &attr);
        pthread_condattr_destroy(&attr);
        p->opts = *o;
        if (!p->opts.every_us)
                p->opts.every_us = o->bar ? BAR_EVERY_US : LINE_EVERY_US;
        p->began_us = clock_mono_us();
        snprintf(p->what, sizeof p->what, "%s", what);
        p->started = pthread_create(&p->thread, NULL, tell, p) == 0;
        return p;
}

struct progress *progress_begin(const char *what)
{
        const char *term = getenv("TERM");
        bool bar = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
        return progress_begin_with(what, &(struct progress_opts){.bar = bar});
}

void progress_phase(struct progress *p, const char *what, size_t total)
{
        if (!p)
                return;
        pthread_mutex_lock(&p->lock);
        snprintf(p->what, sizeof p->what, "%s", what);
        p->done = 0;
        p->total = total;
        pthread_mutex_unlock(&p->lock);
}

void progress_step(struct progress *p)
{
        if (!p)
                return;
        pthread_mutex_lock(&p->lock);
        p->done++;
        pthread_mutex_unlock(&p->lock);
}

void progress_end(struct progress *p)
{
        if (!p)
                return;
        pthread_mutex_lock(&p->lock);
        p->end = true;
        pthread_cond_signal(&p->ending);
        pthread_mutex_unlock(&p->lock);
        if (p->started)
                pthread_join(p->thread, NULL);
        if (p->shown && p->opts.bar)
                fputs("\r\033[K", p->opts.out ? p->opts.out : stderr);
        pthread_mutex_destroy(&p->lock);
        pthread_cond_destroy(&p->ending);
        free(p);
}
