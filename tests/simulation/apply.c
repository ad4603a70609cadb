/* apply: one group of another region in one transaction, as apply/write.c does it: held against the tombstones, the guarded statement, then the
 * slow path. What it decides with is the product's: apply/fold, conflict/standing, conflict/lww. */
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/sim.h"

/* ---- a transaction ------------------------------------------------------------------------------------------------------------------- */

void tx_begin(struct world *w, struct region *r, struct apply_tx *tx, region_id origin, const struct rec *rec)
{
        *tx = (struct apply_tx){.open = true, .origin = origin, .rec = rec};
        arena_reset(w->scratch);
        tx->xid = r->d.next_xid++;
        tx->tail = &tx->first;
        tx->view = arena_copy(w->scratch, &r->d, sizeof r->d);
}

struct effect *tx_do(struct world *w, struct apply_tx *tx, struct effect fx)
{
        struct effect *e = arena_copy(w->arena, &fx, sizeof fx);
        *tx->tail = e;
        tx->tail = &e->next;
        db_effect(tx->view, e);
        return e;
}

void tx_put(struct world *w, struct apply_tx *tx, unsigned key, image img, struct vset vids)
{
        tx_do(w, tx,
              (struct effect){
                      .kind = FX_PUT,
                      .key = key,
                      .row = {.img = img, .xid = tx->xid, .from = tx->origin, .ts = (int64_t)tx->rec->hlc.v, .vids = vids}});
}

void tx_lose(struct world *w, struct apply_tx *tx, unsigned key, struct dot dot, unsigned vid)
{
        tx_do(w, tx, (struct effect){.kind = FX_LOSE, .key = key, .dot = dot, .vid = vid});
}

static void record(struct world *w, struct db *d, const struct effect *fx)
{
        for (const struct lost *l = d->losers; l; l = l->next)
                if (l->key == fx->key && l->dot.hlc.v == fx->dot.hlc.v && l->dot.region.i == fx->dot.region.i)
                        return;
        struct lost *l = ARENA_NEW(w->arena, struct lost);
        *l = (struct lost){.next = d->losers, .key = fx->key, .vid = fx->vid, .dot = fx->dot};
        d->losers = l;
}

void tx_commit(struct world *w, struct region *r, struct apply_tx *tx, hlc_t hlc)
{
        for (const struct effect *fx = tx->first; fx; fx = fx->next) {
                db_effect(&r->d, fx);
                if (fx->kind == FX_LOSE)
                        record(w, &r->d, fx);
        }
        r->d.own_parts = hlc_max(r->d.own_parts, tx->own_parts);
        tx->open = false;
        db_unlock(r, LOCK_APPLY);
        db_wal(w, r, (struct wal){.origin = tx->origin, .hlc = hlc});
}

/* Rolled back before it wrote anything: its xid was never assigned. */
void tx_undo(struct region *r, struct apply_tx *tx)
{
        memset(tx, 0, sizeof *tx);
        db_unlock(r, LOCK_APPLY);
        r->d.next_xid--;
}

void apply_reset(struct world *w, struct region *r, int back)
{
        struct apply *a = &r->a;
        unsigned me = id_of(w, r);
        if (a->tx.open) /* it aborts, which is in the WAL: its xid is not used again */
                db_wal(w, r, (struct wal){.origin = {(uint8_t)me}});
        db_unlock(r, LOCK_APPLY);
        memset(a, 0, sizeof *a);
        for (unsigned o = 0; o < w->set.regions; o++) {
                const struct position *p = &r->d.at[o];
                a->cur[o] = (struct reader){.pos = p->pos > back ? p->pos - back : 0, .epoch = p->epoch};
                a->applied.at[o] = p->hlc;
        }
        a->own = (struct reader){.pos = r->d.at[me].pos, .epoch = r->d.at[me].epoch};
        a->own_lsn = r->d.at[me].lsn;
        if (a->own.pos > 0) { /* the record that the position names is there already, and processed */
                a->seen[me] = r->log[a->own.pos - 1]->vec;
                a->own_recs[a->nown++] = a->own.pos - 1;
                a->own_done = a->own_forgot = 1;
        }
        a->at_start = a->applied;
        a->at_start.at[me].v = 0;
        a->start_xid = r->d.next_xid;
        a->todo_unique = true;
}

/* ---- nets ---------------------------------------------------------------------------------------------------------------------------- */

static enum status map_all(void *ctx, const struct relation *rel, struct mapping *out, struct err *e)
{
        struct world *w = ctx;
        (void)e;
        *out = (struct mapping){.target = (struct target *)&w->set.rules->targets[rel - w->set.rules->rels], .applied = true};
        return ST_OK;
}

static bool same_key(const struct value *a, const struct value *b)
{
        return a && b && a[C_K].len == b[C_K].len && memcmp(a[C_K].data, b[C_K].data, a[C_K].len) == 0;
}

static struct segment *fold_part(struct world *w, const struct rec *rec, uint32_t from, uint32_t to)
{
        struct segment *seg = NULL;
        struct err e;
        struct group *part = arena_copy(w->scratch, &rec->g, sizeof rec->g);
        part->changes += from;
        part->nchanges = to - from;
        if (fold_group(part, w->scratch, map_all, w, &seg, &e) != ST_OK)
                world_fault(w, "fold: %s", e.msg);
        return seg;
}

static bool touches_both(const struct group *g, uint32_t half)
{
        for (uint32_t i = 0; i < half; i++)
                for (uint32_t k = half; k < g->nchanges; k++) {
                        const struct change *a = &g->changes[i], *b = &g->changes[k];
                        if (a->rel == b->rel && (same_key(a->row ? a->row : a->old, b->row ? b->row : b->old) ||
                                                 a->op == CHANGE_TRUNCATE || b->op == CHANGE_TRUNCATE))
                                return true;
                }
        return false;
}

/* A group of one large transaction comes in chunks, here in two. What they do to one key is folded in the oracle, which takes away and adds
 * nothing in between: where that leaves dots, the group stays whole. */
static uint32_t first_part(const struct world *w, const struct rec *rec)
{
        uint32_t half = w->set.chunks && rec->g.ntxs == 1 ? rec->g.nchanges / 2 : 0;
        for (unsigned t = 0; t < TABLES; t++)
                if (half && rule_keeps_dots(&w->set.rules->rule[t][0]) && touches_both(&rec->g, half))
                        half = 0;
        return half;
}

bool in_parts(const struct world *w, const struct rec *rec)
{
        return first_part(w, rec) != 0;
}

struct segment *fold_rec(struct world *w, const struct rec *rec)
{
        uint32_t half = first_part(w, rec);
        struct segment *rest = fold_part(w, rec, half, rec->g.nchanges);
        struct segment *first = half ? fold_part(w, rec, 0, half) : NULL, *last = first;
        while (last && last->next)
                last = last->next;
        if (last)
                last->next = rest;
        return first ? first : rest;
}

unsigned table_index(const struct world *w, const struct fold_table *t)
{
        return (unsigned)(t->map.target - w->set.rules->targets);
}

static image cells(struct world *w, const struct value *v)
{
        if (!v)
                return NULL;
        struct cell *c = ARENA_ARRAY(w->arena, struct cell, NCOLS);
        for (unsigned i = 0; i < NCOLS; i++)
                if (v[i].kind == VALUE_TEXT)
                        c[i] = (struct cell){.data = (const char *)v[i].data, .len = v[i].len};
        return c;
}

struct incoming_net net_in(struct world *w, const struct rec *rec, region_id origin, const struct net *n, unsigned table)
{
        struct incoming_net in = {.net = n, .rec = rec, .dot = {.region = origin, .hlc = rec->hlc}, .seen = *rec->g.txs[n->tx].vec};
        in.seen.at[origin.i] = rec->hlc;
        in.key = table * PER_TABLE + (unsigned)atoi((const char *)n->key[C_K].data) - 1;
        for (uint32_t i = rec->g.nchanges; i > 0; i--) {
                const struct change *c = &rec->g.changes[i - 1];
                if (n->del ? c->old != n->old : c->row != n->row)
                        continue;
                bool moved = c->op == CHANGE_UPDATE && !same_key(c->row, c->old);
                in.vid = rec->vids[i - 1] + (unsigned)(!n->del && moved);
                in.old = n->del ? cells(w, n->old) : cells(w, n->before);
                break;
        }
        in.img = n->del ? NULL : cells(w, n->row);
        bool goes_on = !n->del && in_parts(w, rec); /* a later part may make the same version of it */
        for (uint32_t i = rec->g.nchanges; goes_on && i > 0; i--) {
                const struct change *c = &rec->g.changes[i - 1];
                if (c->rel != &w->set.rules->rels[table] || !same_key(c->row ? c->row : c->old, n->row))
                        continue;
                if (c->op == CHANGE_INSERT || c->op == CHANGE_UPDATE)
                        in.vid = rec->vids[i - 1] + (unsigned)(c->op == CHANGE_UPDATE && !same_key(c->row, c->old));
                break;
        }
        return in;
}

/* A TRUNCATE as the delete of one key. */
struct incoming_net truncate_in(struct world *w, const struct rec *rec, region_id origin, const struct change *c, unsigned key)
{
        struct net *n = ARENA_NEW(w->scratch, struct net);
        *n = (struct net){.del = true, .had_del = true, .tx = c->tx};
        struct incoming_net in = {.net = n, .rec = rec, .key = key, .dot = {.region = origin, .hlc = rec->hlc}};
        in.seen = *rec->g.txs[c->tx].vec;
        in.seen.at[origin.i] = rec->hlc;
        in.vid = rec->vids[c - rec->g.changes] + key % PER_TABLE;
        return in;
}

struct vector tombs_of(const struct db *d, unsigned key)
{
        struct vector v = d->tomb[key];
        vector_join(&v, &d->ttomb[table_of(key)]);
        return v;
}

/* ---- the guard, and the slow path ------------------------------------------------------------------------------------------------------ */

/* As apply/sql.c writes it into the statement: with the vector of the group's first transaction. */
bool guard(const struct world *w, const struct region *r, const struct row *row, const struct apply_tx *tx)
{
        const struct vector *v = tx->rec->g.txs[0].vec;
        if (row->xid < r->d.stable_xid || row->xid == tx->xid)
                return true;
        if (row->from.i != REGION_NONE.i)
                return row->from.i == tx->origin.i || (uint64_t)row->ts <= v->at[row->from.i].v;
        return (uint64_t)row->ts <= tx->rec->hlc.v && row->xid < own_h(r, v->at[id_of(w, r)]);
}

enum standing_answer judge_row(const struct world *w, const struct region *r, const struct row *row, struct dot incoming,
                               const struct vector *seen, uint64_t mine, enum judging how, struct dot *dot)
{
        struct standing_facts f = {.xmin = (uint32_t)row->xid,
                                   .ts_us = row->ts,
                                   .from = row->from,
                                   .mine = row->xid == mine,
                                   .old = row->xid < r->d.stable_xid};
        struct standing_view v = {.me = {(uint8_t)id_of(w, r)},
                                  .follower = r->follower,
                                  .incoming = incoming,
                                  .seen = seen,
                                  .h = {how == JUDGE_OWN ? 0 : own_h(r, seen->at[id_of(w, r)])},
                                  .newest_xid = {r->d.next_xid},
                                  .greatest_dot_wins = how == JUDGE_LWW};
        return standing_judge(&f, &v, dot);
}

unsigned vid_of(const struct row *row)
{
        for (unsigned i = 0; i < VERSIONS; i++)
                if (vset_has(&row->vids, i))
                        return i;
        return VERSIONS - 1;
}

/* pass_decide */
static enum done decide(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in,
                        const struct row *row, enum verdict *v)
{
        struct dot dot = {.hlc = {0}};
        bool dominated = false;
        switch (judge_row(w, r, row, in->dot, &in->seen, tx->xid, JUDGE_LWW, &dot)) {
        case STANDING_DOMINATED: dominated = true; break;
        case STANDING_DOT: break;
        case STANDING_TIMESTAMP_GONE: world_fault(w, "INVARIANT: no timestamp is ever lost here"); return BLOCK;
        case STANDING_WON_ALREADY:
                *v = VERDICT_KEEP_MINE;
                if (in->net->key)
                        tx_lose(w, tx, in->key, in->dot, in->vid);
                return DONE;
        case STANDING_ASK_OWN_LOG:
                if (!own_knows(r, row) && !own_caught_up(r))
                        return BLOCK;
                struct own_version o = own_version_of(w, r, row, in->key);
                dominated = !o.rec;
                dot = o.dot;
                break;
        }
        if (dominated && row->xid != tx->xid && !r->follower && row->ts > (int64_t)in->dot.hlc.v)
                world_fault(w, "INVARIANT: a row of xid %u, written at %d, counts as seen by %s:%u", (unsigned)row->xid,
                            (int)row->ts, w->regs.name[in->dot.region.i], (unsigned)in->dot.hlc.v);
        *v = dominated ? VERDICT_OVERWRITE : lww_decide(dot, in->dot, &in->seen, &w->regs);
        if (*v == VERDICT_KEEP_MINE && in->net->key)
                tx_lose(w, tx, in->key, in->dot, in->vid);
        if (*v == VERDICT_TAKE_THEIRS)
                tx_lose(w, tx, in->key, dot, vid_of(row));
        return DONE;
}

void write_row(struct world *w, struct apply_tx *tx, const struct incoming_net *in)
{
        struct vset vids = {{0}};
        if (in->net->del) {
                if (tx->view->row[in->key].img)
                        tx_do(w, tx, (struct effect){.kind = FX_DROP, .key = in->key});
                return;
        }
        vset_add(&vids, in->vid);
        tx_put(w, tx, in->key, in->img, vids);
}

static enum done lww_apply(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in, bool slow)
{
        const struct row *row = &tx->view->row[in->key];
        struct vector tombs = tombs_of(tx->view, in->key);
        struct dot killer;
        enum verdict v = VERDICT_OVERWRITE;
        tombs.at[in->dot.region.i].v = 0;
        if (!in->net->del && lww_killed(&tombs, in->dot, &in->seen, &w->regs, &killer)) {
                tx_lose(w, tx, in->key, in->dot, in->vid);
                return DONE;
        }
        bool waits = false;
        if (w->set.rules->unique && unique_waiting(w, r, tx, in, &waits) == BLOCK)
                return BLOCK;
        if (waits)
                return DONE;
        if (row->img) {
                if (!db_lock(r, in->key, LOCK_APPLY))
                        return BLOCK;
                if ((slow || !guard(w, r, row, tx)) && decide(w, r, tx, in, row, &v) == BLOCK)
                        return BLOCK;
        } else if (!in->net->del) {
                if (!db_lock(r, in->key, LOCK_APPLY) || (!r->follower && !in->net->fresh && !own_caught_up(r)))
                        return BLOCK;
        }
        if (v == VERDICT_KEEP_MINE)
                return DONE;
        write_row(w, tx, in);
        if (in->net->del)
                tx_do(w, tx, (struct effect){.kind = FX_TOMB, .key = in->key, .dot = in->dot});
        return DONE;
}

static enum done truncate(struct world *w, struct region *r, struct apply_tx *tx, const struct segment *seg, bool again)
{
        unsigned t = (unsigned)(seg->map.target - w->set.rules->targets);
        enum verdict v;
        if (!w->set.rules->lww[t] && sets_truncate(w, r, tx, seg->truncate, t, again) == BLOCK)
                return BLOCK;
        for (unsigned k = t * PER_TABLE; w->set.rules->lww[t] && k < (t + 1) * PER_TABLE; k++) {
                const struct row *row = &tx->view->row[k];
                struct incoming_net in = truncate_in(w, tx->rec, tx->origin, seg->truncate, k);
                unique_truncate(w, tx, &in, false);
                if (!row->img)
                        continue;
                if (!db_lock(r, k, LOCK_APPLY))
                        return BLOCK;
                v = VERDICT_OVERWRITE;
                if (!guard(w, r, row, tx) && decide(w, r, tx, &in, row, &v) == BLOCK)
                        return BLOCK;
                if (v != VERDICT_KEEP_MINE)
                        tx_do(w, tx, (struct effect){.kind = FX_DROP, .key = k});
        }
        tx_do(w, tx, (struct effect){.kind = FX_TTOMB, .key = t * PER_TABLE, .dot = {.region = tx->origin, .hlc = tx->rec->hlc}});
        return DONE;
}

/* ---- a group --------------------------------------------------------------------------------------------------------------------------- */

static enum done segment_apply(struct world *w, struct region *r, struct apply_tx *tx, const struct segment *seg, bool again,
                               bool slow)
{
        for (uint32_t t = 0; t < seg->ntables; t++) {
                unsigned table = table_index(w, &seg->tables[t]);
                for (uint32_t n = 0; w->set.rules->lww[table] && n < seg->tables[t].n; n++) {
                        struct incoming_net in = net_in(w, tx->rec, tx->origin, seg->tables[t].nets[n], table);
                        if (lww_apply(w, r, tx, &in, slow) == BLOCK)
                                return BLOCK;
                }
        }
        if (sets_segment(w, r, tx, seg, again, slow) == BLOCK || (w->set.rules->unique && unique_fix(w, r, tx) == BLOCK))
                return BLOCK;
        return seg->truncate ? truncate(w, r, tx, seg, again || seg->ntables != 0)
                             : DONE; /* what the segment has written just now */
}

static bool causally_ready(const struct world *w, const struct region *r, unsigned o, const struct rec *rec)
{
        for (unsigned x = 0; x < w->set.regions; x++)
                if (x != o && x != id_of(w, r) && rec->vec.at[x].v > r->a.applied.at[x].v)
                        return false;
        return true;
}

static bool causally_visible(const struct world *w, const struct region *r, const struct rec *rec)
{
        return r->follower || own_visible(w, r, rec->vec.at[id_of(w, r)]);
}

static void processed(struct region *r, unsigned o, const struct rec *rec)
{
        vector_join(&r->a.seen[o], &rec->vec);
        r->a.cur[o].pos++;
}

bool apply_exec(struct world *w, struct region *r, unsigned o, bool slow)
{
        struct apply *a = &r->a;
        const struct rec *rec = a->tx.open ? NULL : reader_peek(&a->cur[o], &w->r[o]);
        if (!rec)
                return false;
        if (rec->kind == REC_PROGRESS || rec->lsn <= r->d.at[o].lsn) { /* delivered twice, or read again after a restart */
                processed(r, o, rec);
                return true;
        }
        if (!causally_ready(w, r, o, rec) || !causally_visible(w, r, rec))
                return false;
        tx_begin(w, r, &a->tx, (region_id){(uint8_t)o}, rec);
        int newest = r->newest;
        r->newest = rec->gen > r->newest ? rec->gen : r->newest;
        enum done d = DONE;
        bool again = false;
        for (const struct segment *seg = fold_rec(w, rec); seg && d == DONE; seg = seg->next, again = true)
                d = segment_apply(w, r, &a->tx, seg, again, slow);
        if (d == BLOCK) {
                r->newest = newest;
                tx_undo(r, &a->tx);
                return false;
        }
        return true;
}

bool apply_done(struct world *w, struct region *r)
{
        struct apply *a = &r->a;
        if (!a->tx.open || r->nwal >= WAL_MAX - 1)
                return false;
        unsigned o = a->tx.origin.i;
        const struct rec *rec = a->tx.rec;
        r->d.at[o] = (struct position){.pos = a->cur[o].pos + 1, .epoch = a->cur[o].epoch, .lsn = rec->lsn, .hlc = rec->hlc};
        oracle_causal(w, r, rec);
        vset_join(&r->known, &rec->all);
        tx_commit(w, r, &a->tx, rec->hlc);
        a->applied.at[o] = rec->hlc;
        a->pending[a->npending].xid = a->tx.xid;
        a->pending[a->npending++].need = (struct dot){.region = {(uint8_t)o}, .hlc = rec->hlc};
        processed(r, o, rec);
        a->todo_unique = true;
        a->sets_done = a->tx.sets_ahead > a->sets_done ? a->tx.sets_ahead : a->sets_done;
        memset(&a->tx, 0, sizeof a->tx);
        return true;
}
