#include "daemon/first.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/verify.h"

#define AFTER_MS 10000 /* the agents come first; what runs for a moment only is not compared */
#define AGAIN_MS 10000 /* a region that does not answer is asked again */
#define WITHIN_S 600   /* for all daemons to come up */
#define COMPARE_S 120
#define ROUNDS 3
#define PAUSE_MS 2000
#define LARGEST (INT64_C(64) << 20) /* bytes of a table that is compared in passing */
#define KEYS_MAX 300                /* characters of keys in a log line */

/* ---- what was found ------------------------------------------------------------------------------------------------------------------ */
static void first_keys(const struct vanswer *x, char *out, size_t size)
{
        size_t i, n = 0;
        json_t *d;
        out[0] = 0;
        json_array_foreach(x->differences, i, d)
        {
                char *key = json_dumps(json_object_get(d, "key"), JSON_COMPACT | JSON_ENCODE_ANY);
                if (key && n + strlen(key) + 2 < size)
                        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " " : "", key);
                free(key);
        }
}

static void tell(const struct vreport *r)
{
        size_t different = 0, moving = 0, left_out = 0;
        for (size_t i = 0; i < r->nplan; i++) {
                const struct vplan *p = &r->plan[i];
                const struct vanswer *x = &r->answers[i];
                char keys[KEYS_MAX];
                moving += x->result == VERIFY_UNSETTLED;
                left_out += x->result == VERIFY_SKIPPED;
                if (x->result == VERIFY_SKIPPED)
                        log_event(LOG_INFO, "first.left_out", "table=%s.%s\twhy=%s\ttodo=pangea verify", p->schema, p->name,
                                  p->skipped);
                if (x->result != VERIFY_DIFFERENT)
                        continue;
                different++;
                first_keys(x, keys, sizeof keys);
                log_event(LOG_WARN, "first.differs", "table=%s.%s\tkeys=%s\twhy=%s\ttodo=%s", p->schema, p->name, keys,
                          "its rows are not the same in all regions: they were not equal when the regions were initialised",
                          "`pangea verify` shows the rows; correct them in one region, and the change goes to the others");
        }
        log_event(different ? LOG_WARN : LOG_INFO, "first.compared",
                  "tables=%zu\tdifferent=%zu\tstill_moving=%zu\tleft_out=%zu\tseconds=%.1f", r->nplan, different, moving, left_out,
                  r->seconds);
}

/* ---- the child ----------------------------------------------------------------------------------------------------------------------- */
/* One of the regions compares: a lock in the first one's database, for as long as the session lives. */
static enum status my_turn(struct verify *v, bool *mine, struct err *e)
{
        struct pgres *res = NULL;
        enum status st =
                pg_exec(verify_region(v, (region_id){0})->pg, "SELECT pg_catalog.pg_try_advisory_lock(1885433703, 2)", &res, e);
        *mine = st == ST_OK && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        return st;
}

static enum status compare(const struct topology *t, struct err *e)
{
        struct verify_opts o = {.timeout_s = COMPARE_S, .max_bytes = LARGEST, .max_rounds = ROUNDS, .pause_ms = PAUSE_MS};
        struct verify *v = verify_new(t, &o);
        enum status st = verify_connect(v, e);
        if (st == ST_OK)
                st = verify_compare(v, e);
        if (st == ST_OK)
                tell(verify_report(v));
        verify_free(v);
        return st;
}

/* *done: there is nothing more to do, whatever it returns. */
static enum status try_once(const struct topology *t, int64_t until, bool *done, struct err *e)
{
        int64_t left_s = (until - clock_mono_us()) / 1000000;
        struct verify_opts o = {.timeout_s = left_s > 0 ? (int)left_s : 0};
        struct verify *v = verify_new(t, &o);
        bool mine = false;
        enum status st = verify_connect(v, e);
        if (st == ST_OK)
                st = my_turn(v, &mine, e);
        *done = st == ST_OK && !mine;
        if (mine && (st = verify_await_daemons(v, e)) == ST_OK) {
                st = compare(t, e);
                *done = true;
        }
        verify_free(v);
        return st;
}

static void child(const struct topology *t)
{
        struct err e = {0};
        int64_t until;
        bool done = false;
        poll(NULL, 0, AFTER_MS);
        for (until = clock_mono_us() + INT64_C(1000000) * WITHIN_S;;) {
                enum status st = try_once(t, until, &done, &e);
                if (st != ST_OK && (done || clock_mono_us() >= until))
                        log_event(LOG_INFO, "first.not_compared", "why=%s\ttodo=%s", e.msg,
                                  "when every region runs: `pangea verify` says whether the tables are the same");
                if (done || clock_mono_us() >= until)
                        return;
                poll(NULL, 0, AGAIN_MS);
        }
}

static void become_child(pid_t parent)
{
        static const int mine[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
        sigset_t none;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* it ended before it could be tied to us */
                _exit(0);
        for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
                signal(mine[i], SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_NAME, "pangea-first");
        if (nice(10) == -1)
                log_event(LOG_DEBUG, "first.not_nice", "why=%m");
}

void first_compare(const struct topology *t, const struct region *me)
{
        pid_t parent = getpid();
        if (t->nregions < 2)
                return;
        signal(SIGCHLD, SIG_IGN); /* nobody waits for it */
        pid_t pid = fork();
        if (pid < 0)
                log_event(LOG_INFO, "first.not_compared", "region=%s\twhy=%m", me->name);
        if (pid != 0)
                return;
        become_child(parent);
        child(t);
        _exit(0);
}
