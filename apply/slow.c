/* slow: rows that the guarded statement did not touch: locked, their exact version looked up, decided, written.  DESIGN 6.3. */
#include "apply/hide.h"

#include <stdio.h>
#include <string.h>

#include "conflict/standing.h"

struct standing *standing_of(struct arena *arena, const struct pgres *r, int row)
{
        struct standing *st = ARENA_NEW(arena, struct standing);
        st->xmin = (uint32_t)pgres_i64(r, row, LOCK_XMIN);
        st->ts_us = pgres_i64(r, row, LOCK_TS_US);
        st->origin = (uint32_t)pgres_i64(r, row, LOCK_ORIGIN);
        st->mine = pgres_text(r, row, LOCK_MINE)[0] == 't';
        st->old = pgres_text(r, row, LOCK_OLD)[0] == 't';
        if (!pgres_null(r, row, LOCK_IMAGE))
                st->image = arena_strdup(arena, pgres_text(r, row, LOCK_IMAGE));
        return st;
}

void pass_on_locked(void *ctx, void *arg, const struct pgres *r)
{
        struct pass *p = ctx;
        struct run *run = arg;
        for (int row = 0; row < pgres_rows(r); row++) {
                int64_t n = pgres_i64(r, row, LOCK_N);
                if (n >= 1 && n <= (int64_t)run->n)
                        run->nets[n - 1]->standing = standing_of(p->arena, r, row);
        }
}

/* Leaves those nets of a run whose row is not known. */
static void keep_unknown(struct run *r)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->n; i++)
                if (!r->nets[i]->standing)
                        r->nets[n++] = r->nets[i];
        r->n = n;
}

/* A run of which the guarded statement has written a part: the others are locked. Where that explains every net, the rest was written, and deletes
 * of the rest have nothing to do in any case; else some keys are absent, and the rest is locked by a run of its own. */
static void split(struct pass *p, struct run *r)
{
        struct run *rest = ARENA_NEW(p->arena, struct run);
        uint32_t n = 0;
        *rest = *r;
        rest->nets = ARENA_ARRAY(p->arena, struct net *, r->n);
        memcpy(rest->nets, r->nets, sizeof(struct net *) * r->n);
        keep_unknown(rest);
        for (uint32_t i = 0; i < r->n; i++)
                if (r->nets[i]->standing)
                        r->nets[n++] = r->nets[i];
        r->n = n;
        if (rest->n == r->touched || (rest->n && rest->nets[0]->del)) {
                for (uint32_t i = 0; i < rest->n; i++)
                        rest->nets[i]->settled = true;
                return;
        }
        rest->touched = 0;
        rest->kind = SQL_LOCK;
        r->next = rest;
}

static enum status lock_runs(struct pass *p, enum sql_kind kind, bool *any, struct err *e)
{
        enum status s = ST_OK;
        *any = false;
        for (struct run *r = p->runs; r && s == ST_OK; r = r->next) {
                if (!r->locked || r->kind != kind || !r->n)
                        continue;
                *any = true;
                s = pass_send_run(p, r, &p->w->guard, pass_on_locked, e);
        }
        return s == ST_OK && *any ? session_sync(p->a->db, p, e) : s;
}

/* Locks the rows of the nets that the guarded statements did not write: a row that they wrote is not locked again, which would be a write. */
static enum status lock_rest(struct pass *p, bool *any, struct err *e)
{
        bool rest;
        *any = false;
        for (struct run *r = p->runs; r; r = r->next) {
                if (!r->locked)
                        continue;
                *any = true;
                r->kind = r->touched ? SQL_LOCK_OTHERS : SQL_LOCK;
        }
        enum status s = lock_runs(p, SQL_LOCK_OTHERS, &rest, e);
        for (struct run *r = p->runs; r && s == ST_OK; r = r->next)
                if (r->locked && r->kind == SQL_LOCK_OTHERS)
                        split(p, r);
        return s == ST_OK ? lock_runs(p, SQL_LOCK, &rest, e) : s;
}

region_id pass_origin_region(const struct applier *a, uint32_t roident)
{
        for (unsigned i = 0; roident && i < a->regs.n; i++)
                if (a->origins.roident[i] == roident)
                        return (region_id){(uint8_t)i};
        return REGION_NONE;
}

static const struct vector *vector_of(const struct work *w, const struct net *n)
{
        return w->g->txs[n->tx].vec;
}

/* What the incoming version has seen; its own component is its own group. */
struct vector pass_seen_by(const struct work *w, const struct net *n)
{
        struct vector v = *vector_of(w, n);
        v.at[w->dot.region.i] = w->dot.hlc;
        return v;
}

static enum standing_answer judge(const struct pass *p, const struct standing *st, const struct vector *seen, struct dot *dot)
{
        const struct applier *a = p->a;
        struct standing_facts f = {
                .xmin = st->xmin, .ts_us = st->ts_us, .from = pass_origin_region(a, st->origin), .mine = st->mine, .old = st->old};
        struct standing_view v = {.me = a->me,
                                  .follower = a->follower,
                                  .incoming = p->w->dot,
                                  .seen = seen,
                                  .h = ownlog_h(a->own, seen->at[a->me.i]),
                                  .newest_xid = a->newest_xid,
                                  .greatest_dot_wins = true};
        return standing_judge(&f, &v, dot);
}

bool pass_needs_own_log(const struct pass *p, const struct fold_table *t, const struct net *n)
{
        const struct applier *a = p->a;
        const struct standing *st = n->standing;
        if (!t->map.target->multi || a->follower)
                return false;
        struct vector seen = pass_seen_by(p->w, n);
        if (!st)
                return !n->del && !n->fresh;
        struct dot dot;
        return judge(p, st, &seen, &dot) == STANDING_ASK_OWN_LOG && !ownlog_knows(a->own, st->ts_us, st->xmin);
}

void pass_lose(struct pass *p, struct loser l)
{
        if (p->nlosers == p->cap_losers) {
                size_t cap = p->cap_losers ? 2 * p->cap_losers : 16;
                struct loser *more = ARENA_ARRAY(p->arena, struct loser, cap);
                if (p->nlosers)
                        memcpy(more, p->losers, sizeof l * p->nlosers);
                p->losers = more;
                p->cap_losers = cap;
        }
        p->losers[p->nlosers++] = l;
        p->w->conflicts++;
}

enum conflict_kind pass_kind_of(const struct net *n)
{
        if (n->del)
                return CONFLICT_DELETE_ORIGIN_DIFFERS;
        return n->is_insert ? CONFLICT_INSERT_EXISTS : CONFLICT_UPDATE_ORIGIN_DIFFERS;
}

static enum status timestamp_gone(const struct pass *p, const struct fold_table *t, const struct net *n, struct err *e)
{
        return err_named(
                e, ST_DATA, "timestamp_gone",
                "table %s: the commit timestamp of a row that xid %u wrote is gone (VACUUM FREEZE) while older versions are not "
                "stable yet; make a new version of what shall stand%s: UPDATE %s SET (any column to itself) WHERE xmin = '%u'",
                t->map.target->name, n->standing->xmin, p->a->follower ? " in a leader, then here" : ", here", t->map.target->name,
                n->standing->xmin);
}

enum status pass_decide(struct pass *p, const struct fold_table *t, struct net *n, enum verdict *v, struct err *e)
{
        const struct standing *st = n->standing;
        struct vector seen = pass_seen_by(p->w, n);
        struct loser l = {.table = t, .net = n, .dot = p->w->dot, .kind = pass_kind_of(n), .winner_known = true};
        bool dominated = false;
        struct dot dot = {.region = p->a->me};
        enum status s = ST_OK;
        switch (judge(p, st, &seen, &dot)) {
        case STANDING_DOMINATED: dominated = true; break;
        case STANDING_DOT: break;
        case STANDING_ASK_OWN_LOG: s = own_dot(p->a, st->ts_us, st->xmin, t->rel, n, &dot, &dominated, e); break;
        case STANDING_TIMESTAMP_GONE: return timestamp_gone(p, t, n, e);
        case STANDING_WON_ALREADY:
                l.winner_known = false;
                l.winner.region = p->a->me;
                l.stands = st->image;
                *v = VERDICT_KEEP_MINE;
                pass_lose(p, l);
                return ST_OK;
        }
        if (s != ST_OK)
                return s;
        if (dominated && !st->mine && !p->a->follower && st->ts_us > (int64_t)p->w->dot.hlc.v)
                return err_named(e, ST_FATAL, "invariant",
                                 "table %s: a row of xid %u, written at %" PRId64 ", counts as seen by a change of HLC %" PRIu64
                                 " before it; this is a bug in pangea: nothing was written, please report it",
                                 t->map.target->name, st->xmin, st->ts_us, p->w->dot.hlc.v);
        *v = dominated ? VERDICT_OVERWRITE : lww_decide(dot, p->w->dot, &seen, &p->a->regs);
        switch (*v) {
        case VERDICT_OVERWRITE: break;
        case VERDICT_KEEP_MINE:
                l.winner = dot;
                l.stands = st->image;
                pass_lose(p, l);
                break;
        case VERDICT_TAKE_THEIRS:
                l.winner = p->w->dot;
                l.dot = dot;
                l.image = st->image ? st->image : "null";
                pass_lose(p, l);
                break;
        }
        return ST_OK;
}

static bool whole(const struct relation *rel, const struct value *row)
{
        for (uint16_t i = 0; i < rel->ncols; i++)
                if (row[i].kind == VALUE_UNSENT)
                        return false;
        return true;
}

/* An absent key: a delete leaves a tombstone only, a put writes the whole row. */
static enum status put_absent(struct pass *p, const struct fold_table *t, struct net *n, struct err *e)
{
        if (n->del) {
                n->settled = true;
                return ST_OK;
        }
        if (!whole(t->rel, n->row))
                return err_named(
                        e, ST_DATA, "row_refused",
                        "table %s: the row to be updated is not here and the update does not carry all of it (TOAST); the regions "
                        "differ: pangea verify names the rows",
                        t->map.target->name);
        n->key = n->row;
        pass_place(p, t, n, SQL_PUT_ABSENT);
        return ST_OK;
}

static enum status settle(struct pass *p, const struct fold_table *t, struct net *n, bool fast_tried, struct err *e)
{
        const struct target *target = t->map.target;
        enum verdict v = VERDICT_OVERWRITE;
        if (!n->standing)
                return put_absent(p, t, n, e);
        if (n->standing->mine && fast_tried) { /* the guarded statement wrote it */
                n->settled = true;
                return ST_OK;
        }
        if (target->multi) {
                enum status s = pass_decide(p, t, n, &v, e);
                if (s != ST_OK)
                        return s;
        }
        if (v == VERDICT_KEEP_MINE) {
                n->settled = n->lost = true;
                return ST_OK;
        }
        if (n->del || pass_replaces(p, target)) {
                pass_place(p, t, n, SQL_DELETE);
                if (!n->del)
                        return put_absent(p, t, n, e);
                return ST_OK;
        }
        if (!target->fixed)
                pass_place(p, t, n, SQL_UPDATE);
        return ST_OK;
}

enum status pass_check_touched(const struct pass *p, struct err *e)
{
        for (const struct run *r = p->runs; r; r = r->next)
                if (r->touched != (int64_t)r->n)
                        return err_set(e, ST_RETRY, "table %s: %" PRId64 " of %u rows were there to be written",
                                       r->table->map.target->name, r->touched, r->n);
        return ST_OK;
}

enum status pass_slow(struct pass *p, struct err *e)
{
        bool any, wait = false;
        enum status s = lock_rest(p, &any, e);
        if (s != ST_OK || !any)
                return s;
        for (struct run *r = p->runs; r; r = r->next)
                for (uint32_t n = 0; r->locked && n < r->n; n++)
                        wait |= pass_needs_own_log(p, r->table, r->nets[n]);
        if (wait)
                s = own_catch_up(p->a, e);
        struct run *locked = p->runs;
        pass_clear_runs(p);
        for (struct run *r = locked; r && s == ST_OK; r = r->next)
                for (uint32_t n = 0; r->locked && n < r->n && s == ST_OK; n++)
                        s = settle(p, r->table, r->nets[n], r->fast_tried, e);
        if (s == ST_OK)
                s = pass_hide(p, e);
        if (s == ST_OK)
                s = pass_send_runs(p, false, e);
        return s == ST_OK ? pass_check_touched(p, e) : s;
}
