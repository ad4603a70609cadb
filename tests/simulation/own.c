/* own: a region's own log: who wrote a local row, H, what is held against what was applied meanwhile (apply/repair.c), and what is stable and
 * may be forgotten (conflict/stable). */
#include <string.h>

#include "conflict/stable.h"
#include "tests/simulation/sim.h"

static const struct rec *own_rec(const struct region *r, int i)
{
        return r->log[r->a.own_recs[i]];
}

bool own_read(struct world *w, struct region *r)
{
        struct apply *a = &r->a;
        const struct rec *rec = r->follower ? NULL : reader_peek(&a->own, r);
        (void)w;
        if (!rec || a->nown == LOG_MAX)
                return false;
        a->own_recs[a->nown++] = a->own.pos++;
        a->own_lsn = rec->lsn > a->own_lsn ? rec->lsn : a->own_lsn;
        return true;
}

bool own_caught_up(const struct region *r)
{
        return r->a.own_lsn >= r->d.last_local_lsn;
}

/* The largest xmin of a PROGRESS whose insert position is not behind the first transaction after group v (apply/ownlog.c). */
uint64_t own_h(const struct region *r, hlc_t v)
{
        uint64_t h = 0;
        hlc_t last = {0};
        for (int i = 0; i < r->a.nown; i++) {
                const struct rec *p = own_rec(r, i);
                if (p->kind != REC_PROGRESS || !p->xmin || p->xmin <= h)
                        continue;
                last.v = 0;
                for (int k = 0; k < i; k++)
                        if (own_rec(r, k)->kind == REC_GROUP && own_rec(r, k)->first_commit < p->xmin_lsn)
                                last = own_rec(r, k)->hlc;
                if (last.v <= v.v)
                        h = p->xmin;
        }
        return h;
}

bool own_knows(const struct region *r, const struct row *row)
{
        for (int i = r->a.own_forgot; i < r->a.nown; i++) {
                const struct rec *p = own_rec(r, i);
                for (uint32_t t = 0; p->kind == REC_GROUP && t < p->g.ntxs; t++)
                        if (p->g.txs[t].commit_us == row->ts && p->g.txs[t].xid.v == row->xid)
                                return true;
        }
        return false;
}

static hlc_t own_hlc(const struct world *w, const struct region *r)
{
        hlc_t h = r->a.applied.at[id_of(w, r)];
        for (int i = r->a.own_forgot; i < r->a.nown; i++)
                h = hlc_max(h, own_rec(r, i)->vec.at[id_of(w, r)]);
        return h;
}

/* A commit of these groups is not visible yet. */
static bool hidden(const struct region *r, int i)
{
        const struct rec *p = own_rec(r, i);
        for (uint32_t t = 0; p->kind == REC_GROUP && t < p->g.ntxs; t++)
                if (db_hides(r, p->g.txs[t].xid.v))
                        return true;
        return false;
}

bool own_visible(const struct world *w, const struct region *r, hlc_t upto)
{
        for (int i = r->a.own_forgot; i < r->a.nown; i++)
                if (own_rec(r, i)->hlc.v <= upto.v && hidden(r, i))
                        return false;
        return upto.v <= own_hlc(w, r).v;
}

static bool touches(const struct world *w, const struct rec *p, uint32_t tx, unsigned key)
{
        for (uint32_t i = 0; i < p->g.nchanges; i++) {
                const struct change *c = &p->g.changes[i];
                if (c->tx != tx || c->rel != &w->set.rules->rels[table_of(key)])
                        continue;
                for (int k = 0; k < 2; k++) {
                        const struct value *row = k ? c->old : c->row;
                        if (row && row[C_K].data[0] == (uint8_t)('1' + key % PER_TABLE))
                                return true;
                }
        }
        return false;
}

bool own_speaks_of(const struct world *w, const struct region *r, unsigned key)
{
        for (int i = r->a.own_done; i < r->a.nown; i++)
                for (uint32_t t = 0; own_rec(r, i)->kind == REC_GROUP && t < own_rec(r, i)->g.ntxs; t++)
                        if (touches(w, own_rec(r, i), t, key))
                                return true;
        return false;
}

struct own_version own_version_of(const struct world *w, const struct region *r, const struct row *row, unsigned key)
{
        const struct rec *by_key = NULL;
        for (int i = r->a.own_forgot; i < r->a.nown; i++) {
                const struct rec *p = own_rec(r, i);
                for (uint32_t t = 0; p->kind == REC_GROUP && t < p->g.ntxs; t++) {
                        if (p->g.txs[t].commit_us != row->ts)
                                continue;
                        if (p->g.txs[t].xid.v == row->xid)
                                return (struct own_version){p, {.region = {(uint8_t)id_of(w, r)}, .hlc = p->hlc}};
                        if (touches(w, p, t, key))
                                by_key = p;
                }
        }
        return (struct own_version){by_key, {.region = {(uint8_t)id_of(w, r)}, .hlc = {by_key ? by_key->hlc.v : 0}}};
}

/* ---- repairs ----------------------------------------------------------------------------------------------------------------------------- */

/* A local delete against the row that stands. */
static enum done judge_delete(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in, bool *lost)
{
        const struct row *row = &tx->view->row[in->key];
        if (!row->img)
                return DONE;
        if (!db_lock(r, in->key, LOCK_APPLY))
                return BLOCK;
        if (row->from.i == REGION_NONE.i || row->from.i == id_of(w, r) || row->xid == tx->xid || row->xid < r->d.stable_xid)
                return DONE;
        struct dot dot = {.region = row->from, .hlc = {(uint64_t)row->ts}};
        switch (lww_decide(dot, in->dot, &in->seen, &w->regs)) {
        case VERDICT_OVERWRITE: break;
        case VERDICT_KEEP_MINE:
                tx_lose(w, tx, in->key, in->dot, in->vid);
                *lost = true;
                break;
        case VERDICT_TAKE_THEIRS:
                tx_lose(w, tx, in->key, dot, vid_of(row));
                tx_do(w, tx, (struct effect){.kind = FX_DROP, .key = in->key});
                break;
        }
        return DONE;
}

/* A local put that a tombstone kills: the row goes, if it is still the one that this group wrote. */
static enum done judge_put(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in)
{
        const struct row *row = &tx->view->row[in->key];
        struct vector tombs = tombs_of(tx->view, in->key);
        struct dot killer;
        tombs.at[in->dot.region.i].v = 0;
        if (!lww_killed(&tombs, in->dot, &in->seen, &w->regs, &killer) || !row->img)
                return DONE;
        if (!db_lock(r, in->key, LOCK_APPLY) || !own_caught_up(r))
                return BLOCK;
        if (row->from.i != REGION_NONE.i)
                return DONE;
        struct own_version o = own_version_of(w, r, row, in->key);
        if (!o.rec || o.dot.hlc.v != in->dot.hlc.v)
                return DONE;
        tx_do(w, tx, (struct effect){.kind = FX_DROP, .key = in->key});
        tx_lose(w, tx, in->key, in->dot, in->vid);
        return DONE;
}

/* The own TRUNCATE against rows that others wrote meanwhile; local rows were written after it. */
static enum done own_truncate(struct world *w, struct region *r, struct apply_tx *tx, const struct rec *rec,
                              const struct segment *seg, bool registers)
{
        unsigned t = (unsigned)(seg->map.target - w->set.rules->targets);
        region_id me = {(uint8_t)id_of(w, r)};
        if (w->set.rules->lww[t] && !registers)
                return DONE;
        for (unsigned k = t * PER_TABLE; k < (t + 1) * PER_TABLE; k++) {
                const struct row *row = &tx->view->row[k];
                struct incoming_net in = truncate_in(w, rec, me, seg->truncate, k);
                if (!w->set.rules->lww[t])
                        sets_own_truncate(w, tx, &in);
                else
                        unique_truncate(w, tx, &in, true);
                if (!w->set.rules->lww[t] || !row->img)
                        continue;
                if (!db_lock(r, k, LOCK_APPLY))
                        return BLOCK;
                struct dot dot = {.region = row->from, .hlc = {(uint64_t)row->ts}};
                if (row->from.i == REGION_NONE.i || row->from.i == id_of(w, r) || row->xid < r->d.stable_xid ||
                    row->xid == tx->xid || lww_decide(dot, in.dot, &in.seen, &w->regs) != VERDICT_TAKE_THEIRS)
                        continue;
                tx_lose(w, tx, k, dot, vid_of(row));
                tx_do(w, tx, (struct effect){.kind = FX_DROP, .key = k});
        }
        tx_do(w, tx, (struct effect){.kind = FX_TTOMB, .key = t * PER_TABLE, .dot = {.region = me, .hlc = rec->hlc}});
        return DONE;
}

static enum done repair_lww(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in)
{
        bool lost = false;
        if (w->set.rules->unique && unique_own(w, r, tx, in) == BLOCK)
                return BLOCK;
        if (in->net->del && judge_delete(w, r, tx, in, &lost) == BLOCK)
                return BLOCK;
        if (!in->net->del && judge_put(w, r, tx, in) == BLOCK)
                return BLOCK;
        return DONE;
}

/* sets: the tables whose rule needs siblings; registers: the others. */
static enum done repair(struct world *w, struct region *r, struct apply_tx *tx, const struct rec *rec, const bool *taken, bool sets,
                        bool registers)
{
        region_id me = {(uint8_t)id_of(w, r)};
        bool again = false;
        sets &= rec->hlc.v > r->d.own_parts.v;
        for (const struct segment *seg = fold_rec(w, rec); seg; seg = seg->next, again = true) {
                for (uint32_t t = 0; t < seg->ntables; t++)
                        for (uint32_t n = 0; n < seg->tables[t].n; n++) {
                                unsigned table = table_index(w, &seg->tables[t]);
                                struct incoming_net in = net_in(w, rec, me, seg->tables[t].nets[n], table);
                                bool lww = w->set.rules->lww[table];
                                in.again = again;
                                if (lww && registers && repair_lww(w, r, tx, &in) == BLOCK)
                                        return BLOCK;
                                if (!lww && sets && sets_own(w, r, tx, &in, taken) == BLOCK)
                                        return BLOCK;
                                if (!lww && sets && again)
                                        tx->own_parts = rec->hlc;
                                if (in.net->had_del && (lww ? registers : true))
                                        tx_do(w, tx, (struct effect){.kind = FX_TOMB, .key = in.key, .dot = in.dot});
                        }
                if (seg->truncate && own_truncate(w, r, tx, rec, seg, registers) == BLOCK)
                        return BLOCK;
        }
        return DONE;
}

enum done own_process_sets(struct world *w, struct region *r, struct apply_tx *tx, const bool *taken)
{
        struct apply *a = &r->a;
        int from = a->own_done > a->sets_done ? a->own_done : a->sets_done;
        from = tx->sets_ahead > from ? tx->sets_ahead : from;
        for (int i = from; i < a->nown; i++)
                if (own_rec(r, i)->kind == REC_GROUP && repair(w, r, tx, own_rec(r, i), taken, true, false) == BLOCK)
                        return BLOCK;
        tx->sets_ahead = a->nown;
        return DONE;
}

bool own_fix(struct world *w, struct region *r)
{
        struct apply *a = &r->a;
        if (a->tx.open || a->own_done == a->nown || r->nwal >= WAL_MAX - 1)
                return false;
        const struct rec *rec = own_rec(r, a->own_done);
        region_id me = {(uint8_t)id_of(w, r)};
        if (rec->kind == REC_GROUP) {
                struct apply_tx tx;
                tx_begin(w, r, &tx, me, rec);
                enum done d = repair(w, r, &tx, rec, NULL, a->own_done >= a->sets_done, true);
                if (d == BLOCK || (!tx.first && !tx.own_parts.v))
                        tx_undo(r, &tx);
                else
                        tx_commit(w, r, &tx, rec->hlc);
                if (d == BLOCK)
                        return false;
                a->todo_unique = true;
        }
        a->own_done++;
        vector_join(&a->seen[me.i], &rec->vec);
        a->applied.at[me.i] = hlc_max(a->applied.at[me.i], rec->hlc);
        return true;
}

/* ---- stability ----------------------------------------------------------------------------------------------------------------------------- */

/* Every version written by an xid below it is stable (apply/stability.c). */
static void move_stable_xid(struct world *w, struct region *r)
{
        struct apply *a = &r->a;
        int n = 0;
        if (!vector_le(&a->at_start, &a->stable))
                return;
        while (n < a->npending && vector_covers(&a->stable, a->pending[n].need))
                n++;
        uint64_t s = n < a->npending ? a->pending[n].xid : n ? a->pending[n - 1].xid : a->start_xid;
        memmove(a->pending, a->pending + n, sizeof *a->pending * (size_t)(a->npending - n));
        a->npending -= n;
        if (!r->follower) {
                uint64_t h = own_h(r, a->stable.at[id_of(w, r)]);
                s = h < s ? h : s;
        }
        r->d.stable_xid = s > r->d.stable_xid ? s : r->d.stable_xid;
}

static bool forget_tombs(struct world *w, struct region *r)
{
        bool did = false;
        for (unsigned k = 0; k < KEYS + TABLES; k++) {
                struct vector *t = k < KEYS ? &r->d.tomb[k] : &r->d.ttomb[k - KEYS];
                for (unsigned o = 0; o < w->set.regions; o++) {
                        if (!t->at[o].v || t->at[o].v > r->a.stable.at[o].v)
                                continue;
                        for (unsigned i = k < KEYS ? k : (k - KEYS) * PER_TABLE;
                             i < (k < KEYS ? k + 1 : (k - KEYS + 1) * PER_TABLE); i++)
                                oracle_forgets(w, r, i, (region_id){(uint8_t)o}, t->at[o]);
                        t->at[o].v = 0;
                        did = true;
                }
        }
        return did;
}

static bool move_own_position(struct world *w, struct region *r)
{
        struct apply *a = &r->a;
        unsigned me = id_of(w, r);
        int best = -1;
        for (int i = a->own_forgot; i < a->own_done && !hidden(r, i); i++)
                if (own_rec(r, i)->kind == REC_GROUP && own_rec(r, i)->hlc.v <= a->stable.at[me].v)
                        best = i;
        if (best < 0)
                return false;
        const struct rec *p = own_rec(r, best);
        r->d.at[me] = (struct position){.pos = a->own_recs[best] + 1, .epoch = p->epoch, .lsn = p->lsn, .hlc = p->hlc};
        a->own_forgot = best + 1;
        return true;
}

bool stability_turn_of(struct world *w, struct region *r)
{
        struct apply *a = &r->a;
        struct vector before = a->stable;
        uint32_t leaders = 0;
        if (a->tx.open || r->nwal >= WAL_MAX - 1)
                return false;
        for (unsigned i = 0; i < w->set.regions; i++)
                leaders |= w->r[i].follower ? 0 : 1u << i;
        stable_vector(a->seen, leaders, &a->stable);
        vector_join(&a->stable, &before);
        move_stable_xid(w, r);
        bool did = !r->follower && move_own_position(w, r);
        did |= forget_tombs(w, r);
        sets_stable(w, r, &did);
        if (did)
                db_wal(w, r, (struct wal){.origin = {(uint8_t)id_of(w, r)}, .hlc = r->d.at[id_of(w, r)].hlc});
        return did;
}
