/* write: the net effects of one group inside its transaction.  DESIGN 6.2 - 6.4.
 *
 *   tombstones      what a later, unseen delete kills is recorded and not written
 *   waiting         what comes for a row that waits outside its table is decided there
 *   fast            one guarded statement for each (table, operation, columns): who is touched is settled; while a table meets conflicts it
 *                   says who that is.  New rows are inserted as if their keys were absent; one that is not sends the group back, to ask
 *   lock            the rows that were not touched, locked in key order, with what their xmin says
 *   own log         is read to the insert position when a locked row was written locally (at most 50 ms: the locks are held)
 *   decide          dominated, or concurrent: last write wins, the loser is recorded
 *   hide            in the third try of a group that violates a unique key: who may not be visible goes to wait
 *   write           without a guard: the rows are locked
 *
 * Tables whose rule needs the siblings: apply/sets.c. */
#include "apply/hide.h"
#include "apply/sets.h"

#include <stdio.h>
#include <string.h>

#include "base/failpoint.h"

#define LOCK_FIRST_TRIES 3
#define MEETS 16 /* batches */
#define WARY_MIN 16
#define WARY_MAX 65536

static void on_touched(void *ctx, void *arg, const struct pgres *r)
{
        struct run *run = arg;
        (void)ctx;
        run->touched = pgres_affected(r);
        for (int row = 0; run->tell && row < pgres_rows(r); row++)
                run->nets[pgres_i64(r, row, 0) - 1]->written = true;
}

/* ---- runs ------------------------------------------------------------------------------------------------------------------------ */

static struct run *new_run(struct pass *p, const struct fold_table *t, enum sql_kind kind, uint32_t room)
{
        struct run *run = ARENA_NEW(p->arena, struct run);
        *run = (struct run){.w = p->w, .table = t, .kind = kind};
        run->nets = ARENA_ARRAY(p->arena, struct net *, room);
        *p->tail = run;
        p->tail = &run->next;
        return run;
}

void pass_clear_runs(struct pass *p)
{
        p->runs = NULL;
        p->tail = &p->runs;
}

/* The open run that this net fits into, or a new one. */
void pass_place(struct pass *p, const struct fold_table *t, struct net *n, enum sql_kind kind)
{
        for (struct run *r = p->runs; r; r = r->next) {
                if (r->table != t || r->kind != kind)
                        continue;
                bool moves = n->key != n->row, r_moves = r->nets[0]->key != r->nets[0]->row;
                if (kind != SQL_UPDATE || (moves == r_moves && sql_same_columns(t->rel, r->nets[0]->row, n->row))) {
                        r->nets[r->n++] = n;
                        return;
                }
        }
        struct run *r = new_run(p, t, kind, t->n);
        r->nets[r->n++] = n;
}

static const struct sql_guard *guard_of(const struct run *r)
{
        return r->table->map.target->multi && r->kind != SQL_INSERT ? &r->w->guard : NULL;
}

enum status pass_send_run(struct pass *p, struct run *r, const struct sql_guard *guard, on_result *fn, struct err *e)
{
        struct sql_batch b = {.kind = r->kind, .table = r->table, .nets = r->nets, .n = r->n, .guard = guard, .tell = r->tell};
        return sql_send(p->a->db, &p->a->origins, &b, fn, r, e);
}

/* Deletes of all tables first, then updates, then inserts. */
enum status pass_send_runs(struct pass *p, bool guarded, struct err *e)
{
        static const enum sql_kind order[] = {SQL_DELETE, SQL_UPDATE, SQL_UPSERT, SQL_PUT_ABSENT, SQL_INSERT};
        for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
                for (struct run *r = p->runs; r; r = r->next) {
                        if (r->kind != order[k])
                                continue;
                        enum status s = pass_send_run(p, r, guarded ? guard_of(r) : NULL, on_touched, e);
                        if (s != ST_OK)
                                return s;
                }
        }
        return session_sync(p->a->db, p, e);
}

bool pass_replaces(const struct pass *p, const struct target *t)
{
        return t->replaces || ((p->w->replace || (t->deferrable && t->multi)) && t->unique_extra);
}

/* A new row's key is seldom there, and an INSERT that asks (ON CONFLICT) costs PostgreSQL nearly twice as much as one that does not. When one
 * is there the group is rolled back and tried again, and the table's inserts ask for a while: the longer the more often that happens. */
static bool bold(const struct pass *p, const struct fold_table *t)
{
        return p->w->bold && !t->map.target->wary;
}

static void met_existing(struct pass *p, const struct err *e)
{
        for (struct run *r = p->runs; r && strcmp(e->sqlstate, "23505") == 0; r = r->next) {
                struct target *t = r->table->map.target;
                if (r->kind != SQL_INSERT || !r->table->rel->nkeys)
                        continue;
                t->wariness = t->wariness < WARY_MIN ? WARY_MIN : t->wariness < WARY_MAX ? 2 * t->wariness : WARY_MAX;
                t->wary = t->wariness;
                p->w->met = true;
        }
}

/* A batch of inserts is through: every one that met nothing takes a little wariness away. */
static void inserted(const struct run *r)
{
        struct target *t = r->table->map.target;
        if (r->kind == SQL_UPSERT)
                t->wary -= t->wary != 0;
        else if (r->kind == SQL_INSERT)
                t->wariness -= t->wariness != 0;
}

static enum sql_kind fast_kind(const struct pass *p, const struct fold_table *t, const struct net *n)
{
        if (t->rel->nkeys == 0)
                return SQL_INSERT;
        if (n->del)
                return SQL_DELETE;
        if (t->map.target->set)
                return SQL_UPDATE;
        if (!n->fresh)
                return SQL_UPDATE;
        return n->is_insert && !n->had_del && bold(p, t) ? SQL_INSERT : SQL_UPSERT;
}

/* Rows that go the exact way at once: those that are replaced, and, from the fourth try of a group on, all that others write too: locked
 * in key order before anything else, so that a hot row does not starve the group. */
static bool lock_first(const struct pass *p, const struct fold_table *t)
{
        const struct target *target = t->map.target;
        return t->rel->nkeys && (pass_replaces(p, target) || (target->multi && p->w->o && p->w->o->tries >= LOCK_FIRST_TRIES));
}

/* While a table meets conflicts, its statements say what they wrote: that costs less than to look at every row of a batch again. */
static void expect(struct pass *p)
{
        for (struct run *r = p->runs; r; r = r->next) {
                struct target *t = r->table->map.target;
                r->tell = t->meets && (r->kind == SQL_UPDATE || r->kind == SQL_DELETE);
                t->meets -= t->meets != 0;
        }
}

/* The nets that were written are done with; the others stay in the run. */
static void settle_written(struct run *r)
{
        uint32_t n = 0;
        bool set = r->table->map.target->set != NULL, all = !r->locked;
        for (uint32_t i = 0; i < r->n; i++) {
                struct net *net = r->nets[i];
                if (all || net->written) {
                        net->settled = true;
                        net->tomb = set && net->del;
                } else {
                        r->nets[n++] = net;
                }
        }
        r->n = n;
        if (r->tell)
                r->touched = 0; /* none of those that are left */
}

static enum status fast(struct pass *p, struct err *e)
{
        pass_clear_runs(p);
        for (uint32_t i = 0; i < p->seg->ntables; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                meter_rows(&p->a->meter, t->map.target->name, t->n);
                for (uint32_t n = 0; n < t->n; n++) {
                        struct net *net = t->nets[n];
                        bool first = lock_first(p, t);
                        p->w->rows++;
                        p->w->ops[net->del ? METER_DELETE : net->is_insert ? METER_INSERT : METER_UPDATE]++;
                        if (net->settled || (t->map.target->set && (first || !set_takes_fast_path(p, t, net))))
                                continue; /* the second: pass_sets */
                        net->fast_tried = !first;
                        pass_place(p, t, net, first ? SQL_LOCK : fast_kind(p, t, net));
                }
        }
        expect(p);
        enum status s = pass_send_runs(p, true, e);
        if (s != ST_OK)
                met_existing(p, e);
        for (struct run *r = p->runs; s == ST_OK && r; r = r->next) {
                struct target *target = r->table->map.target;
                inserted(r);
                r->fast_tried = r->kind != SQL_LOCK;
                r->locked = r->kind == SQL_LOCK || (r->touched < (int64_t)r->n && !(r->kind == SQL_UPSERT && !target->multi));
                if (r->locked && r->fast_tried)
                        target->meets = MEETS;
                settle_written(r);
                if (target->set && r->locked)
                        p->seg->tables[r->table - p->seg->tables].touched += r->touched;
                r->locked &= !target->set; /* pass_sets looks at them */
        }
        return s;
}

static enum status write_segment(struct work *w, const struct segment *seg, bool again, struct arena *arena, struct err *e)
{
        struct pass p = {.w = w, .a = w->a, .arena = arena, .seg = seg, .again = again};
        pass_clear_runs(&p);
        enum status s = pass_hold_against_tombs(&p, e);
        if (s == ST_OK)
                s = pass_waiting(&p, e);
        if (s == ST_OK && seg->ntables)
                s = fast(&p, e);
        FAILPOINT("apply.midrows");
        if (s == ST_OK)
                s = pass_slow(&p, e);
        if (s == ST_OK)
                s = pass_sets(&p, e);
        if (s == ST_OK)
                s = pass_leave_tombs(&p, e);
        w->ops[METER_TRUNCATE] += seg->truncate != NULL;
        if (seg->truncate || seg->keyless)
                meter_rows(&w->a->meter, seg->map.target->name, 1);
        if (seg->keyless)
                w->ops[seg->keyless->op == CHANGE_DELETE ? METER_DELETE : METER_UPDATE]++;
        p.again |= seg->ntables != 0; /* what the segment has written just now */
        if (s == ST_OK && seg->truncate)
                s = pass_truncate(&p, e);
        if (s == ST_OK && seg->keyless)
                s = pass_keyless(&p, e);
        if (s == ST_OK)
                pass_waiting_touched(&p);
        if (s == ST_OK && p.nlosers)
                s = losers_record(w, p.losers, p.nlosers, e);
        return s;
}

struct map_ctx {
        struct applier *a;
        region_id origin;
        struct arena *arena;
};

static enum status map_relation(void *ctx, const struct relation *rel, struct mapping *out, struct err *e)
{
        struct map_ctx *m = ctx;
        return catalog_map(m->a->catalog, m->a->side, rel, m->origin, m->arena, out, e);
}

enum status write_group(struct work *w, const struct group *g, struct err *e)
{
        struct arena *arena = &w->a->arena;
        struct map_ctx m = {.a = w->a, .origin = w->dot.region, .arena = arena};
        struct segment *seg = NULL;
        w->g = g;
        enum status s = fold_group(g, arena, map_relation, &m, &seg, e);
        bool again = g->chunk != 0;
        for (; s == ST_OK && seg; seg = seg->next, again = true)
                s = write_segment(w, seg, again, arena, e);
        return s;
}
