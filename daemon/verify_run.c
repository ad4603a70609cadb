/* One comparison from its beginning to its answer: wait, read, and read what differs again until it is settled. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "daemon/verify.h"

#define AGAIN_MS 200
#define LOOK_MS 1000
/* A key that differs, was not written for this long and is covered by the marks of two readings, differs for good. */
#define SETTLED_US INT64_C(1500000)

struct verify {
        struct verify_opts opts;
        const struct topology *topology;
        size_t n; /* regions */
        struct vregion *regions;
        struct arena arena, readings[2]; /* the suspects of this reading and of the one before */
        unsigned reading;
        struct vplan *plan;
        size_t nplan;
        struct vanswer *answers;
        bool *todo;
        uint32_t **buckets;
        size_t *nbuckets;
        int64_t started_us, deadline_us;
        int64_t read_us; /* when the newest reading began */
        struct vwait wait;
        struct vreport report;
};

/* ---- set-up ------------------------------------------------------------------------------------------------------------------------- */
static void note(struct verify *v, const char *text)
{
        json_array_append_new(v->report.notes, verify_text(text));
        if (v->opts.say)
                v->opts.say(text);
}

static void note_silent(struct verify *v, const struct vregion *r, const char *agent, int64_t age_ms, bool *noted)
{
        if (*noted)
                return;
        *noted = true;
        char text[200], heard[64] = "never heard";
        if (age_ms >= 0)
                snprintf(heard, sizeof heard, "last heard %.1f s ago", (double)age_ms / 1000);
        snprintf(text, sizeof text, "no %s daemon in %s (%s): what is there is compared as it is", agent, r->region->name, heard);
        note(v, text);
}

static void note_daemons(struct verify *v)
{
        for (size_t r = 0; r < v->n; r++) {
                struct vregion *x = &v->regions[r];
                if (x->initialised && x->region->role == ROLE_LEADER && !x->capture_alive)
                        note_silent(v, x, "capture", x->capture_age_ms, &x->capture_noted);
                if (x->initialised && !x->apply_alive)
                        note_silent(v, x, "apply", x->apply_age_ms, &x->apply_noted);
        }
}

static enum status make_plan(struct verify *v, struct err *e)
{
        struct vcatalog catalogs[MAX_REGIONS];
        for (size_t r = 0; r < v->n; r++)
                if (verify_catalog(&v->regions[r], v->topology, &v->arena, &catalogs[r], e) != ST_OK)
                        return e->code;
        vplan_build(v->topology, catalogs, v->report.filter, &v->arena, &v->plan, &v->nplan);
        for (size_t r = 0; r < v->n; r++) {
                struct vregion *x = &v->regions[r];
                char text[128];
                x->plan = v->plan;
                x->nplan = v->nplan;
                if (!x->initialised) {
                        for (size_t i = 0; i < v->nplan; i++)
                                v->plan[i].apart &= ~(UINT32_C(1) << r); /* nothing there says what is its own */
                        snprintf(text, sizeof text, "region %s is not initialised: run `pangea init` there", x->region->name);
                        note(v, text);
                }
        }
        note_daemons(v);
        v->answers = ARENA_ARRAY(&v->arena, struct vanswer, v->nplan);
        v->todo = ARENA_ARRAY(&v->arena, bool, v->nplan);
        v->buckets = ARENA_ARRAY(&v->arena, uint32_t *, v->nplan);
        v->nbuckets = ARENA_ARRAY(&v->arena, size_t, v->nplan);
        for (size_t i = 0; i < v->nplan; i++) {
                if (v->opts.max_bytes && v->plan[i].bytes > v->opts.max_bytes && !v->plan[i].skipped)
                        v->plan[i].skipped = "too large to be compared in passing";
                v->todo[i] = !v->plan[i].skipped;
                v->answers[i].result = v->plan[i].skipped ? VERIFY_SKIPPED : VERIFY_UNSETTLED;
        }
        return ST_OK;
}

/* ---- one reading -------------------------------------------------------------------------------------------------------------------- */
static const char *bucket_of(const struct verify *v, size_t r, size_t i, uint32_t b)
{
        const char *s = v->regions[r].sums[i].buckets ? v->regions[r].sums[i].buckets[b] : NULL;
        return s ? s : "";
}

/* The buckets that are not the same in all regions that have the table. */
static void find_buckets(struct verify *v, size_t i, struct arena *a)
{
        const struct vplan *p = &v->plan[i];
        size_t first = (size_t)__builtin_ctz(p->present);
        v->buckets[i] = ARENA_ARRAY(a, uint32_t, UINT32_C(1) << p->bits);
        v->nbuckets[i] = 0;
        for (uint32_t b = 0; b < UINT32_C(1) << p->bits; b++) {
                bool equal = true;
                for (size_t r = first + 1; r < v->n && equal; r++)
                        equal = !(p->present >> r & 1) || strcmp(bucket_of(v, first, i, b), bucket_of(v, r, i, b)) == 0;
                if (!equal)
                        v->buckets[i][v->nbuckets[i]++] = b;
        }
}

/* Takes the totals over into the answer; true when all regions agree. */
static bool take_totals(struct verify *v, size_t i, int64_t now_us)
{
        const struct vplan *p = &v->plan[i];
        struct vanswer *x = &v->answers[i];
        const char *first = NULL;
        bool equal = true, rows = false;
        uint64_t print = 0;
        for (size_t r = 0; r < v->n; r++) {
                if (!(p->present >> r & 1))
                        continue;
                x->total[r] = arena_strdup(&v->arena, v->regions[r].sums[i].total);
                x->rows[r] = arena_strdup(&v->arena, v->regions[r].sums[i].rows);
                first = first ? first : x->total[r];
                equal = equal && strcmp(first, x->total[r]) == 0;
                rows = rows || strcmp(x->rows[r], "0") != 0;
                print = hash64(x->total[r], strlen(x->total[r]), print);
        }
        if (!x->read || print != x->print)
                x->since_us = now_us;
        x->print = print;
        /* a table that a region lacks altogether counts as empty there */
        return equal && (p->present == p->regions || !rows);
}

static void take_rows(struct verify *v, size_t i, int64_t now_us, struct arena *a)
{
        struct vanswer *x = &v->answers[i];
        struct ventries all[MAX_REGIONS];
        struct vsuspects now;
        size_t n = 0;
        bool whole = v->plan[i].present == v->plan[i].regions;
        for (size_t r = 0; r < v->n; r++) {
                if (!(v->plan[i].present >> r & 1))
                        continue;
                whole = whole && !v->regions[r].truncated[i];
                all[n++] = v->regions[r].entries[i];
        }
        vdiff_find(all, n, now_us, a, &now);
        if (x->followed)
                vdiff_narrow(&x->suspects, &now);
        x->suspects = now;
        x->followed = whole;
        if (whole && now.n == 0)
                x->result = VERIFY_IDENTICAL; /* each key was equal in one reading or the other */
}

/* How many readings of one table in one region there will be. */
static size_t tables_to_read(const struct verify *v, bool rows)
{
        size_t n = 0;
        for (size_t i = 0; i < v->nplan; i++)
                for (size_t r = 0; r < v->n && v->todo[i]; r++)
                        n += (v->plan[i].present >> v->regions[r].region->id.i & 1) && (!rows || v->nbuckets[i]);
        return n;
}

static enum status read_once(struct verify *v, struct err *e)
{
        struct arena *a = &v->readings[v->reading++ % 2];
        int64_t now_us = v->read_us = clock_mono_us();
        bool differ = false;
        arena_reset(a);
        for (size_t r = 0; r < v->n; r++) {
                v->regions[r].todo = v->todo;
                v->regions[r].progress = v->opts.progress;
        }
        progress_phase(v->opts.progress, "verify: reading every table in every region", tables_to_read(v, false));
        if (verify_read_sums(v->regions, v->n, e) != ST_OK)
                return e->code;
        for (size_t i = 0; i < v->nplan; i++) {
                v->nbuckets[i] = 0;
                if (!v->todo[i])
                        continue;
                bool equal = take_totals(v, i, now_us);
                v->answers[i].result = equal ? VERIFY_IDENTICAL : VERIFY_DIFFERENT;
                v->todo[i] = !equal;
                differ = differ || !equal;
                if (!equal)
                        find_buckets(v, i, a);
        }
        for (size_t r = 0; r < v->n; r++) {
                v->regions[r].buckets = v->buckets;
                v->regions[r].nbuckets = v->nbuckets;
        }
        if (differ)
                progress_phase(v->opts.progress, "verify: reading the rows of tables that differ", tables_to_read(v, true));
        if (differ && verify_read_rows(v->regions, v->n, e) != ST_OK)
                return e->code;
        for (size_t i = 0; i < v->nplan; i++) {
                if (!v->todo[i])
                        continue;
                take_rows(v, i, now_us, a);
                v->answers[i].read = true;
                v->todo[i] = v->answers[i].result != VERIFY_IDENTICAL;
        }
        return ST_OK;
}

/* ---- until they agree --------------------------------------------------------------------------------------------------------------- */
/* Does it differ in a way that a whole reading before the newest one has seen already, and nobody wrote since? */
static bool settled(const struct vanswer *x, int64_t read_us)
{
        if (!x->followed)
                return read_us - x->since_us >= SETTLED_US;
        for (size_t s = 0; s < x->suspects.n; s++)
                if (read_us - x->suspects.s[s].since_us >= SETTLED_US)
                        return true;
        return false;
}

/* Is there nothing left that another reading could tell? */
static bool finished(const struct verify *v)
{
        bool moves = false;
        for (size_t r = 0; r < v->n; r++)
                moves = moves || v->regions[r].apply_alive;
        for (size_t i = 0; i < v->nplan; i++)
                if (v->todo[i] && !settled(&v->answers[i], v->read_us))
                        return !moves;
        return true;
}

/* The first keys of a table, those that differ for good before those that still move. */
static enum status show_rows(struct verify *v, size_t i, struct err *e)
{
        const struct vsuspects *s = &v->answers[i].suspects;
        const char *ids[VERIFY_SHOWN];
        size_t n = 0;
        for (size_t k = 0; k < s->n && n < VERIFY_SHOWN; k++)
                if (v->read_us - s->s[k].since_us >= SETTLED_US)
                        ids[n++] = s->s[k].id;
        for (size_t k = 0; k < s->n && n < VERIFY_SHOWN; k++)
                if (v->read_us - s->s[k].since_us < SETTLED_US)
                        ids[n++] = s->s[k].id;
        if (!n)
                return ST_OK;
        return verify_read_values(v->regions, v->n, &v->plan[i], ids, n, &v->answers[i].differences, e);
}

static enum status wait_for_all(struct verify *v, struct err *e)
{
        progress_phase(v->opts.progress, "verify: waiting until every region has applied what was committed before", 0);
        enum status s = verify_wait(v->regions, v->n, v->topology, v->deadline_us, &v->wait, e);
        note_daemons(v);
        if (s == ST_RETRY) {
                v->report.timed_out = true;
                v->report.why = v->wait.why;
                return ST_OK;
        }
        v->report.waited = v->wait.pairs > 0;
        return s;
}

static enum status verify_all(struct verify *v, struct err *e)
{
        for (unsigned round = 1;; round++) {
                if (wait_for_all(v, e) != ST_OK || read_once(v, e) != ST_OK)
                        return e->code;
                bool last = finished(v);
                if (!last && !v->report.timed_out && (clock_mono_us() >= v->deadline_us || round == v->opts.max_rounds)) {
                        v->report.timed_out = true;
                        v->report.why =
                                "rows that differ are still being written: stop the writers, or give more time with --timeout";
                }
                last = last || v->report.timed_out;
                for (size_t i = 0; i < v->nplan && last; i++)
                        if (v->todo[i] && show_rows(v, i, e) != ST_OK)
                                return e->code;
                if (verify_read_end(v->regions, v->n, e) != ST_OK)
                        return e->code;
                if (last)
                        return ST_OK;
                poll(NULL, 0, v->opts.pause_ms ? v->opts.pause_ms : AGAIN_MS);
        }
}

static void note_own(struct verify *v)
{
        for (size_t i = 0; i < v->nplan; i++) {
                struct vplan *p = &v->plan[i];
                size_t own = v->answers[i].suspects.own;
                if (own)
                        p->note = arena_printf(&v->arena,
                                               "%s%s%zu row%s not compared: written in a region that does not send this table",
                                               p->note ? p->note : "", p->note ? "; " : "", own, own == 1 ? "" : "s");
        }
}

/* After a time-out a table that differs may still be on its way, unless nothing in it moved while the marks of two readings passed. */
static void settle_answers(struct verify *v)
{
        bool behind = v->report.why == v->wait.why;
        for (size_t i = 0; i < v->nplan; i++)
                if (v->todo[i] && v->report.timed_out && (behind || !settled(&v->answers[i], v->read_us)))
                        v->answers[i].result = VERIFY_UNSETTLED;
        note_own(v);
        v->report.plan = v->plan;
        v->report.nplan = v->nplan;
        v->report.answers = v->answers;
        v->report.seconds = (double)(clock_mono_us() - v->started_us) / 1e6;
}

/* ---- from outside --------------------------------------------------------------------------------------------------------------------- */
struct verify *verify_new(const struct topology *t, const struct verify_opts *o)
{
        struct verify *v = MEM_NEW(struct verify);
        v->topology = v->report.topology = t;
        v->opts = *o;
        v->started_us = clock_mono_us();
        v->deadline_us = v->started_us + INT64_C(1000000) * o->timeout_s;
        v->regions = mem_zalloc(sizeof *v->regions * t->nregions);
        v->report.notes = json_array();
        v->report.filter = o->filter;
        arena_init(&v->arena);
        arena_init(&v->readings[0]);
        arena_init(&v->readings[1]);
        return v;
}

void verify_free(struct verify *v)
{
        for (size_t i = 0; i < v->nplan && v->answers; i++)
                json_decref(v->answers[i].differences);
        for (size_t r = 0; r < v->n; r++)
                verify_close(&v->regions[r]);
        json_decref(v->report.notes);
        arena_release(&v->arena);
        arena_release(&v->readings[0]);
        arena_release(&v->readings[1]);
        free(v->regions);
        free(v);
}

enum status verify_connect(struct verify *v, struct err *e)
{
        for (size_t r = 0; r < v->topology->nregions; r++) {
                v->n = r + 1;
                if (verify_open(&v->regions[r], &v->topology->regions[r], e) != ST_OK)
                        return e->code;
        }
        return ST_OK;
}

struct vregion *verify_region(struct verify *v, region_id r)
{
        return &v->regions[r.i];
}

static bool all_live(const struct verify *v)
{
        for (size_t r = 0; r < v->n; r++)
                if (!v->regions[r].apply_alive || (v->regions[r].region->role == ROLE_LEADER && !v->regions[r].capture_alive))
                        return false;
        return true;
}

enum status verify_await_daemons(struct verify *v, struct err *e)
{
        while (!all_live(v)) {
                if (clock_mono_us() >= v->deadline_us)
                        return err_set(e, ST_RETRY, "not every region has its daemons yet");
                poll(NULL, 0, LOOK_MS);
                for (size_t r = 0; r < v->n; r++)
                        if (verify_daemons(&v->regions[r], e) != ST_OK)
                                return e->code;
        }
        return ST_OK;
}

enum status verify_compare(struct verify *v, struct err *e)
{
        if (make_plan(v, e) != ST_OK || verify_all(v, e) != ST_OK)
                return e->code;
        settle_answers(v);
        return ST_OK;
}

const struct vreport *verify_report(const struct verify *v)
{
        return &v->report;
}
