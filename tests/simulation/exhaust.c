/* exhaust: all interleavings of small histories: two transactions in each of two regions, or one or two in each of three, on one or two keys.
 * Steps that are explored: a local transaction (or its execution and its commit), publishing what was committed as one group, reading and
 * processing the own log, executing an apply transaction, its commit, forgetting what is stable. States that were met already are not gone on
 * from: the clock stands still, so that they can meet. (Execution and commit are one step unless the script says split.) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "tests/simulation/sim.h"

enum { DEPTH = 80, TRACE = 600, SEEN_BITS = 22 };

struct search {
        struct world *at[DEPTH];
        struct arena arena[DEPTH], scratch;
        uint64_t *seen; /* hashes, open addressing */
        size_t nseen, limit;
        const struct script *script;
        unsigned done[REGIONS]; /* how far the scripts are, of the state that is gone on from */
        struct step trace[TRACE];
        unsigned n;
        struct buf key;
        uint64_t ends;
        bool full;
        char why[240];
};

/* ---- what makes two states the same -------------------------------------------------------------------------------------------------------- */

static void put_image(struct buf *b, image img)
{
        buf_put_u8(b, img != NULL);
        for (unsigned c = 0; img && c < NCOLS; c++) {
                buf_put_u8(b, img[c].data != NULL);
                if (img[c].data)
                        buf_put_bytes(b, img[c].data, img[c].len);
        }
}

static void put_dot(struct buf *b, struct dot d)
{
        buf_put_u8(b, d.region.i);
        buf_put_varint(b, d.hlc.v);
}

static void put_vector(struct buf *b, const struct vector *v)
{
        for (unsigned i = 0; i < REGIONS; i++)
                buf_put_varint(b, v->at[i].v);
}

static void put_row(struct buf *b, const struct row *row)
{
        put_image(b, row->img);
        if (!row->img)
                return;
        buf_put_varint(b, row->xid);
        buf_put_u8(b, row->from.i);
        buf_put_varint(b, (uint64_t)row->ts);
}

static void put_sibs(struct buf *b, const struct sibs *s)
{
        buf_put_varint(b, s->n ? s->xid : 0);
        for (size_t i = 0; i < s->n; i++) {
                put_dot(b, s->v[i].dot);
                put_image(b, s->v[i].row);
        }
}

static void put_dots(struct buf *b, const struct column_dot *d, size_t n)
{
        buf_put_varint(b, n);
        for (size_t i = 0; i < n; i++) {
                buf_put_varint(b, d[i].col);
                buf_put_bytes(b, d[i].element.data, d[i].element.len);
                put_dot(b, d[i].dot);
        }
}

static void put_db(struct buf *b, const struct db *d)
{
        unsigned n = 0;
        for (unsigned k = 0; k < KEYS; k++) {
                put_row(b, &d->row[k]);
                put_vector(b, &d->tomb[k]);
                put_sibs(b, &d->sib[k]);
                put_dots(b, d->cdot[k].dots, d->cdot[k].n);
        }
        for (unsigned t = 0; t < TABLES; t++)
                put_vector(b, &d->ttomb[t]);
        for (unsigned r = 0; r < REGIONS; r++)
                buf_put_varint(b, (uint64_t)d->at[r].pos);
        buf_put_varint(b, d->next_xid);
        buf_put_varint(b, d->stable_xid);
        uint64_t sum = 0; /* of a set: the order in which they were recorded does not matter */
        for (const struct lost *l = d->losers; l; l = l->next, n++)
                sum += hash64(&l->dot.hlc.v, sizeof l->dot.hlc.v, l->dot.region.i * 100u + l->key);
        buf_put_u64(b, sum + n);
}

static void put_region(struct buf *b, const struct world *w, const struct region *r)
{
        const struct capture *c = &r->cap[0];
        const struct apply *a = &r->a;
        put_db(b, &r->d);
        for (int i = 0; i < 2; i++) {
                buf_put_varint(b, r->running[i].xid);
                buf_put_u8(b, r->running[i].committed);
                for (unsigned k = 0; r->running[i].xid && k < r->running[i].n; k++) {
                        buf_put_u8(b, (uint8_t)r->running[i].w[k].key);
                        put_image(b, r->running[i].w[k].img);
                }
        }
        buf_put_varint(b, (uint64_t)r->nwal);
        buf_put_varint(b, (uint64_t)(c->pos + 1));
        buf_put_varint(b, c->hlc.v);
        put_vector(b, &c->vec);
        for (int i = 0; i < r->nlog; i++) {
                buf_put_u8(b, (uint8_t)r->log[i]->kind);
                buf_put_varint(b, r->log[i]->hlc.v);
                buf_put_varint(b, r->log[i]->lsn);
                put_vector(b, &r->log[i]->vec);
        }
        for (unsigned o = 0; o < w->set.regions; o++) {
                buf_put_varint(b, (uint64_t)a->cur[o].pos);
                put_vector(b, &a->seen[o]);
        }
        buf_put_varint(b, (uint64_t)a->nown);
        buf_put_varint(b, (uint64_t)a->own_done);
        buf_put_varint(b, (uint64_t)a->sets_done);
        buf_put_u8(b, a->tx.open);
        for (const struct effect *fx = a->tx.open ? a->tx.first : NULL; fx; fx = fx->next) {
                buf_put_u8(b, (uint8_t)fx->kind);
                buf_put_u8(b, (uint8_t)fx->key);
                put_row(b, &fx->row);
                put_sibs(b, &fx->sibs);
                put_dots(b, fx->dots, fx->ndots);
                put_dot(b, fx->dot);
        }
}

static bool is_new(struct search *s, const struct world *w)
{
        buf_reset(&s->key);
        for (unsigned i = 0; i < w->set.regions; i++) {
                buf_put_u8(&s->key, (uint8_t)s->done[i]);
                put_region(&s->key, w, &w->r[i]);
        }
        uint64_t h = hash64(s->key.data, s->key.len, 1) | 1, mask = (UINT64_C(1) << SEEN_BITS) - 1;
        for (uint64_t at = h >> 20 & mask;; at = (at + 1) & mask) {
                if (s->seen[at] == h)
                        return false;
                if (s->seen[at])
                        continue;
                s->seen[at] = h;
                s->nseen++;
                return true;
        }
}

/* Only what is used of it. */
static void copy_world(struct world *to, const struct world *from)
{
        memcpy(to->r, from->r, sizeof *from->r * from->set.regions);
        memcpy(to->v, from->v, sizeof *from->v * from->nv);
        to->set = from->set;
        to->nv = from->nv;
        to->ngroups = from->ngroups;
        to->accounted = from->accounted;
        to->now = from->now;
        to->nfaults = from->nfaults;
        memcpy(to->fault, from->fault, sizeof from->fault[0] * from->nfaults);
        to->regs = from->regs;
        to->scratch = from->scratch;
}

/* ---- steps ----------------------------------------------------------------------------------------------------------------------------------- */

enum { DO_TX, DO_COMMIT, DO_PUBLISH, DO_OWN, DO_DONE, DO_STABLE, DO_EXEC }; /* DO_EXEC + o: the next record of o */

static bool simple(struct search *s, struct world *w, struct step step)
{
        if (s->n == TRACE || !world_step(w, &step))
                return false;
        s->trace[s->n++] = step;
        return true;
}

static bool all(struct search *s, struct world *w, enum step_kind kind, unsigned r)
{
        bool did = false;
        while (simple(s, w, (struct step){.kind = kind, .r = (uint8_t)r}))
                did = true;
        return did;
}

/* Could it do something? Asked before the world is copied. */
static bool may(const struct search *s, const struct world *w, unsigned r, unsigned what)
{
        const struct region *x = &w->r[r];
        const struct apply *a = &x->a;
        switch (what) {
        case DO_TX: return s->done[r] < s->script->txs[r] && !db_any_running(x);
        case DO_COMMIT: return db_any_running(x);
        case DO_PUBLISH: return x->cap[0].pos < x->nwal || x->cap[0].npending;
        case DO_OWN: return a->own.pos < x->nlog || a->own_done < a->nown;
        case DO_DONE: return a->tx.open;
        case DO_STABLE: return s->script->acks && !a->tx.open;
        default: what -= DO_EXEC; return what != r && what < w->set.regions && !a->tx.open && a->cur[what].pos < w->r[what].nlog;
        }
}

static bool take(struct search *s, struct world *w, unsigned r, unsigned what)
{
        const struct script *x = s->script;
        struct step step = {.r = (uint8_t)r};
        bool did;
        switch (what) {
        case DO_TX:
                if (s->done[r] == x->txs[r] || db_any_running(&w->r[r]))
                        return false;
                step.kind = x->split ? STEP_BEGIN : STEP_TX;
                step.nops = x->nops[r][s->done[r]];
                memcpy(step.ops, x->ops[r][s->done[r]], sizeof step.ops);
                s->done[r]++;
                simple(s, w, step); /* an operation that finds nothing to do is a transaction that does nothing */
                return true;
        case DO_COMMIT:
                step.kind = STEP_COMMIT;
                step.late = true;
                if (simple(s, w, step))
                        return true;
                step.kind = STEP_SHOW;
                return simple(s, w, step);
        case DO_PUBLISH:
                did = all(s, w, STEP_DECODE, r);
                step.kind = STEP_CLOSE;
                if (simple(s, w, step))
                        return true;
                step.kind = STEP_PROGRESS;
                return (x->acks && simple(s, w, step)) || did;
        case DO_OWN: did = all(s, w, STEP_OWNREAD, r); return all(s, w, STEP_OWNFIX, r) || did;
        case DO_DONE:
        case DO_STABLE:
                step.kind = what == DO_DONE ? STEP_DONE : STEP_STABLE;
                return (what == DO_DONE || x->acks) && simple(s, w, step);
        default:
                step.kind = STEP_EXEC;
                step.o = (uint8_t)(what - DO_EXEC);
                if (!simple(s, w, step))
                        return false;
                step.kind = STEP_DONE;
                return s->script->split || simple(s, w, step) || true;
        }
}

static bool at_the_end(struct search *s, unsigned depth)
{
        struct world *w = s->at[depth + 1];
        copy_world(w, s->at[depth]);
        arena_reset(&s->arena[depth + 1]);
        w->arena = &s->arena[depth + 1];
        s->ends++;
        world_rest(w);
        if (!w->nfaults)
                return true;
        snprintf(s->why, sizeof s->why, "%s", w->fault[0]);
        return false;
}

/* False: a state that is wrong was found; s->trace leads there. */
static bool explore(struct search *s, unsigned depth)
{
        bool moved = false;
        unsigned n = s->n, done[REGIONS];
        if (depth + 2 >= DEPTH || s->nseen >= s->limit) {
                s->full = true;
                return true;
        }
        memcpy(done, s->done, sizeof done);
        for (unsigned r = 0; r < s->at[depth]->set.regions; r++)
                for (unsigned what = 0; what < DO_EXEC + REGIONS; what++) {
                        struct world *w = s->at[depth + 1];
                        if (!may(s, s->at[depth], r, what))
                                continue;
                        copy_world(w, s->at[depth]);
                        arena_reset(&s->arena[depth + 1]);
                        w->arena = &s->arena[depth + 1];
                        if (take(s, w, r, what)) {
                                moved = true;
                                if (is_new(s, w) && !explore(s, depth + 1))
                                        return false;
                        }
                        s->n = n;
                        memcpy(s->done, done, sizeof done);
                }
        return moved || at_the_end(s, depth);
}

struct search *search_new(void)
{
        struct search *s = MEM_NEW(struct search);
        s->seen = mem_zalloc(sizeof *s->seen << SEEN_BITS);
        buf_init(&s->key, 0);
        arena_init(&s->scratch);
        for (unsigned i = 0; i < DEPTH; i++) {
                s->at[i] = mem_alloc(sizeof *s->at[i]);
                arena_init(&s->arena[i]);
        }
        return s;
}

void search_free(struct search *s)
{
        for (unsigned i = 0; i < DEPTH; i++) {
                free(s->at[i]);
                arena_release(&s->arena[i]);
        }
        arena_release(&s->scratch);
        buf_release(&s->key);
        free(s->seen);
        free(s);
}

struct explored exhaust(struct search *s, const struct setup *set, const struct script *script, size_t limit)
{
        struct explored out = {.trace = s->trace};
        memset(s->seen, 0, sizeof *s->seen << SEEN_BITS);
        memset(s->done, 0, sizeof s->done);
        s->script = script;
        s->limit = limit < ((size_t)1 << SEEN_BITS) / 2 ? limit : ((size_t)1 << SEEN_BITS) / 2;
        s->nseen = s->n = 0;
        s->ends = 0;
        s->full = false;
        s->why[0] = 0;
        arena_reset(&s->arena[0]);
        world_init(s->at[0], set, &s->arena[0], &s->scratch);
        out.right = explore(s, 0);
        out.states = s->nseen;
        out.ends = s->ends;
        out.complete = !s->full;
        out.n = s->n;
        return out;
}
