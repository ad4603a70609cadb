/* sets: tables whose rule needs the siblings, as apply/sets.c and apply/setown.c go about them: the guarded statement for keys that are surely
 * closed; else the row locked (an absent key taken), the own log's queue processed first, then conflict/merge. */
#include <string.h>

#include "tests/simulation/sim.h"

/* One key on its way. */
struct at_key {
        struct world *w;
        struct region *r;
        struct apply_tx *tx;
        const struct incoming_net *in;
        struct row row; /* what stands; img NULL: none, or only our placeholder */
        struct dot row_dot;
        bool local, stale;
        struct version closed;
        struct key_state stands;
        uint8_t vid_at[VERSIONS]; /* of the siblings that stand */
};

const struct rule *rule_of_dot(const struct world *w, const struct region *r, unsigned key, struct dot dot)
{
        int gen = r->newest;
        if (dot.hlc.v && dot.region.i < w->set.regions) {
                const struct region *o = &w->r[dot.region.i];
                for (int i = 0; i < o->nlog; i++)
                        if (o->log[i]->kind == REC_GROUP && o->log[i]->hlc.v == dot.hlc.v)
                                gen = o->log[i]->gen;
        }
        return &w->set.rules->rule[table_of(key)][gen];
}

/* text_merge: what a version replaced is kept until it is stable. */
static bool keeps_olds(const struct rule *rule)
{
        for (uint16_t i = 0; i < rule->ncols; i++)
                if (rule->cols[i].rule == COLUMN_TEXT_MERGE || rule->cols[i].rule == COLUMN_TEXT_MERGE_WORDS)
                        return true;
        return false;
}

static const struct rule *newest(const struct world *w, const struct region *r, unsigned key)
{
        return rule_of_dot(w, r, key, (struct dot){.hlc = {0}});
}

static struct dot stamp(const struct apply_tx *tx)
{
        return (struct dot){.region = tx->origin, .hlc = tx->rec->hlc};
}

/* ---- the fast path ------------------------------------------------------------------------------------------------------------------------ */

static bool takes_fast_path(const struct at_key *k)
{
        const struct net *n = k->in->net;
        const struct db *d = k->tx->view;
        struct vector tombs = tombs_of(d, k->in->key), none = {.at = {{0}}};
        const struct rule *rule = newest(k->w, k->r, k->in->key);
        return !rule_keeps_dots(rule) && !keeps_olds(rule) && !n->fresh && !(n->had_del && !n->del) && d->sib[k->in->key].n == 0 &&
               memcmp(&tombs, &none, sizeof none) == 0;
}

static void leave_tomb(const struct at_key *k)
{
        tx_do(k->w, k->tx, (struct effect){.kind = FX_TOMB, .key = k->in->key, .dot = k->in->dot});
}

/* Did the guarded statement do it? */
static enum done fast(const struct at_key *k, bool *did)
{
        const struct row *row = &k->tx->view->row[k->in->key];
        *did = row->img && takes_fast_path(k) && guard(k->w, k->r, row, k->tx);
        if (!*did)
                return DONE;
        if (!db_lock(k->r, k->in->key, LOCK_APPLY))
                return BLOCK;
        write_row(k->w, k->tx, k->in);
        if (k->in->net->del)
                leave_tomb(k);
        return DONE;
}

/* ---- what stands -------------------------------------------------------------------------------------------------------------------------- */

static bool needs_own_log(const struct at_key *k)
{
        struct dot dot;
        if (k->r->follower)
                return false;
        if (!k->row.img)
                return !k->in->net->del;
        return judge_row(k->w, k->r, &k->row, k->in->dot, &k->in->seen, k->tx->xid, JUDGE_SET, &dot) == STANDING_ASK_OWN_LOG &&
               !own_knows(k->r, &k->row);
}

static void standing_version(struct at_key *k, bool own)
{
        k->local = false;
        k->row_dot = (struct dot){.region = {(uint8_t)id_of(k->w, k->r)}};
        if (!k->row.img)
                return;
        if (k->row.xid == k->tx->xid) {
                k->row_dot = stamp(k->tx);
                return;
        }
        switch (judge_row(k->w, k->r, &k->row, k->in->dot, &k->in->seen, k->tx->xid, own ? JUDGE_OWN : JUDGE_SET, &k->row_dot)) {
        case STANDING_DOT: return;
        case STANDING_ASK_OWN_LOG: {
                struct own_version o = own_version_of(k->w, k->r, &k->row, k->in->key);
                k->row_dot = o.dot;
                k->local = o.rec != NULL;
                return;
        }
        case STANDING_DOMINATED:
        case STANDING_TIMESTAMP_GONE:
        case STANDING_WON_ALREADY: break;
        }
        if (!own && !k->r->follower && k->row.ts > (int64_t)k->in->dot.hlc.v)
                world_fault(k->w, "INVARIANT: a row of xid %u, written at %d, counts as seen by %s:%u", (unsigned)k->row.xid,
                            (int)k->row.ts, k->w->regs.name[k->in->dot.region.i], (unsigned)k->in->dot.hlc.v);
}

/* Siblings when they are this row's, contributions, tombstones. */
static void load(struct at_key *k)
{
        const struct db *d = k->tx->view;
        unsigned key = k->in->key;
        const struct sibs *s = &d->sib[key];
        k->stands = (struct key_state){.tombs = tombs_of(d, key)};
        k->stale = s->n && (!k->row.img || s->xid != k->row.xid);
        if (!k->row.img)
                return;
        k->closed = (struct version){.dot = k->row_dot, .row = k->row.img, .rule = rule_of_dot(k->w, k->r, key, k->row_dot)};
        k->stands.row = k->row.img;
        k->stands.sibs = s->n && !k->stale ? s->v : &k->closed;
        k->stands.nsibs = s->n && !k->stale ? s->n : 1;
        if (s->n && !k->stale)
                memcpy(k->vid_at, s->vid, s->n);
        else
                k->vid_at[0] = (uint8_t)vid_of(&k->row);
        k->stands.ndots = d->cdot[key].n;
        k->stands.dots = d->cdot[key].dots;
}

/* ---- what is made of it ------------------------------------------------------------------------------------------------------------------- */

static bool same_dot(struct dot a, struct dot b)
{
        return a.hlc.v == b.hlc.v && a.region.i == b.region.i;
}

static uint8_t vid_of_dot(const struct at_key *k, struct dot dot)
{
        if (same_dot(dot, k->in->dot))
                return (uint8_t)k->in->vid;
        for (size_t i = 0; i < k->stands.nsibs; i++)
                if (same_dot(dot, k->stands.sibs[i].dot))
                        return k->vid_at[i];
        return VERSIONS - 1;
}

/* Must a set be remembered, because the row's xmin does not say all there is to know? */
static bool remembered(const struct at_key *k, const struct merge *m)
{
        if (!m->after.row || m->after.nsibs != 1)
                return m->after.row && m->after.nsibs > 1;
        bool written = m->act == MERGE_PUT;
        struct dot dot = m->after.sibs[0].dot, says = written ? stamp(k->tx) : k->row_dot;
        bool own = k->in->dot.region.i == id_of(k->w, k->r),
             goes_on = own && in_parts(k->w, k->in->rec) && same_dot(dot, k->in->dot);
        if (keeps_olds(newest(k->w, k->r, k->in->key)) && dot.hlc.v && (m->after.sibs[0].old || goes_on))
                return true; /* what it replaced stands nowhere else */
        if (!dot.hlc.v || (!written && (!k->tx->view->sib[k->in->key].n || k->stale)))
                return false;
        return !same_dot(dot, says);
}

static void store(struct at_key *k, const struct merge *m, uint64_t xid)
{
        unsigned key = k->in->key;
        bool had = k->tx->view->sib[key].n != 0, has = remembered(k, m);
        if (m->dots_changed)
                tx_do(k->w, k->tx, (struct effect){.kind = FX_DOTS, .key = key, .ndots = m->after.ndots, .dots = m->after.dots});
        if ((!had && !has) || (has && had && m->act == MERGE_KEEP && !m->sibs_changed && !k->stale))
                return;
        struct sibs s = {.xid = xid};
        if (has) {
                uint8_t *vid = ARENA_ARRAY(k->w->arena, uint8_t, m->after.nsibs);
                for (size_t i = 0; i < m->after.nsibs; i++)
                        vid[i] = vid_of_dot(k, m->after.sibs[i].dot);
                s = (struct sibs){.xid = xid, .n = m->after.nsibs, .v = m->after.sibs, .vid = vid};
        }
        tx_do(k->w, k->tx, (struct effect){.kind = FX_SIBS, .key = key, .sibs = s});
}

static void write(struct at_key *k, const struct merge *m, bool own)
{
        unsigned key = k->in->key;
        struct vset vids = {{0}};
        uint64_t xid = k->row.xid;
        for (size_t i = 0; i < m->after.nsibs; i++)
                vset_add(&vids, vid_of_dot(k, m->after.sibs[i].dot));
        for (size_t i = 0; i < m->nlosers; i++)
                tx_lose(k->w, k->tx, key, m->losers[i].dot, vid_of_dot(k, m->losers[i].dot));
        if (m->act == MERGE_PUT) {
                tx_put(k->w, k->tx, key, m->after.row, vids);
                xid = k->tx->xid;
        } else if (m->act == MERGE_DELETE) {
                tx_do(k->w, k->tx, (struct effect){.kind = FX_DROP, .key = key});
        } else if (k->row.img && m->after.nsibs && !own) {
                struct row same = k->row;
                same.vids = vids;
                tx_do(k->w, k->tx, (struct effect){.kind = FX_BACK, .key = key, .row = same});
        }
        store(k, m, xid);
}

static void merges(struct at_key *k, bool own)
{
        struct merge m;
        struct err e = {.code = ST_OK};
        const struct incoming_net *n = k->in;
        const struct rule *rule = newest(k->w, k->r, n->key);
        struct incoming in = {
                .had_del = n->net->had_del, .fresh = n->net->fresh, .is_insert = n->net->is_insert, .again = n->again};
        in.v = (struct version){.dot = n->dot, .seen = n->seen, .row = n->img, .old = n->img ? n->old : NULL};
        in.v.rule = rule_of_dot(k->w, k->r, n->key, n->dot);
        bool local = own && k->local && k->row_dot.hlc.v == n->dot.hlc.v;
        if (local && keeps_olds(rule) && k->stands.sibs == &k->closed)
                k->closed = in.v, k->closed.row = k->row.img; /* now it is known what it replaced */
        enum status s = own ? merge_own(rule, &k->stands, &in, local, &k->w->regs, k->w->arena, &m, &e)
                            : merge_remote(rule, &k->stands, &in, &k->w->regs, k->w->arena, &m, &e);
        if (s != ST_OK) {
                world_fault(k->w, "MERGE: %.200s", e.msg);
                return;
        }
        write(k, &m, own);
        if (!own && m.tomb)
                leave_tomb(k);
}

/* ---- a group of another region ---------------------------------------------------------------------------------------------------------- */

/* The row is locked, an absent key is taken: a placeholder waits for an insert in flight. */
static enum done lock(struct at_key *k)
{
        if (!db_lock(k->r, k->in->key, LOCK_APPLY))
                return BLOCK;
        k->row = k->tx->view->row[k->in->key];
        return DONE;
}

static enum done apply_keys(struct world *w, struct region *r, struct apply_tx *tx, struct at_key *keys, unsigned n)
{
        bool taken[KEYS] = {false}, wait = false;
        (void)w;
        for (unsigned i = 0; i < n; i++) {
                if (lock(&keys[i]) == BLOCK)
                        return BLOCK;
                taken[keys[i].in->key] = !keys[i].row.img;
                wait |= needs_own_log(&keys[i]);
        }
        if (!n)
                return DONE;
        if ((wait && !own_caught_up(r)) || (!r->follower && own_process_sets(w, r, tx, taken) == BLOCK))
                return BLOCK;
        for (unsigned i = 0; i < n; i++) {
                lock(&keys[i]);
                standing_version(&keys[i], false);
                load(&keys[i]);
                merges(&keys[i], false);
        }
        return DONE;
}

enum done sets_segment(struct world *w, struct region *r, struct apply_tx *tx, const struct segment *seg, bool again, bool slow)
{
        struct at_key *keys = ARENA_ARRAY(w->scratch, struct at_key, KEYS);
        unsigned n = 0;
        for (uint32_t t = 0; t < seg->ntables; t++) {
                unsigned table = table_index(w, &seg->tables[t]);
                for (uint32_t i = 0; !w->set.rules->lww[table] && i < seg->tables[t].n; i++) {
                        struct incoming_net *in = ARENA_NEW(w->scratch, struct incoming_net);
                        bool did = false;
                        *in = net_in(w, tx->rec, tx->origin, seg->tables[t].nets[i], table);
                        in->again = again;
                        struct at_key k = {.w = w, .r = r, .tx = tx, .in = in};
                        if (!slow && fast(&k, &did) == BLOCK)
                                return BLOCK;
                        if (!did)
                                keys[n++] = k;
                }
        }
        return apply_keys(w, r, tx, keys, n);
}

static void forget_dead(struct world *w, struct apply_tx *tx, unsigned key, const struct vector *seen)
{
        struct column_dot *left = ARENA_ARRAY(w->arena, struct column_dot, tx->view->cdot[key].n);
        size_t n = 0;
        for (size_t i = 0; i < tx->view->cdot[key].n; i++)
                if (!vector_covers(seen, tx->view->cdot[key].dots[i].dot))
                        left[n++] = tx->view->cdot[key].dots[i];
        if (n != tx->view->cdot[key].n)
                tx_do(w, tx, (struct effect){.kind = FX_DOTS, .key = key, .ndots = n, .dots = left});
}

/* The rows that the guard lets through go at once; the others, and open ones, each as a delete of its key. */
enum done sets_truncate(struct world *w, struct region *r, struct apply_tx *tx, const struct change *c, unsigned table, bool again)
{
        struct at_key *keys = ARENA_ARRAY(w->scratch, struct at_key, PER_TABLE);
        struct vector seen = {.at = {{0}}};
        unsigned n = 0;
        for (unsigned key = table * PER_TABLE; key < (table + 1) * PER_TABLE; key++)
                if (!db_lock(r, key, LOCK_APPLY))
                        return BLOCK; /* the table is locked against writers: an insert in flight must not be missed */
        for (unsigned key = table * PER_TABLE; key < (table + 1) * PER_TABLE; key++) {
                struct incoming_net *in = ARENA_NEW(w->scratch, struct incoming_net);
                const struct row *row = &tx->view->row[key];
                *in = truncate_in(w, tx->rec, tx->origin, c, key);
                in->again = again;
                seen = in->seen;
                if (!row->img)
                        continue;
                if (!db_lock(r, key, LOCK_APPLY))
                        return BLOCK;
                if (guard(w, r, row, tx) && !(tx->view->sib[key].n && tx->view->sib[key].xid == row->xid))
                        tx_do(w, tx, (struct effect){.kind = FX_DROP_ROW, .key = key});
                else
                        keys[n++] = (struct at_key){.w = w, .r = r, .tx = tx, .in = in};
        }
        if (apply_keys(w, r, tx, keys, n) == BLOCK)
                return BLOCK;
        for (unsigned key = table * PER_TABLE; key < (table + 1) * PER_TABLE; key++)
                forget_dead(w, tx, key, &seen);
        return DONE;
}

/* ---- the own log -------------------------------------------------------------------------------------------------------------------------- */

/* The region's own changes of these tables in one segment; taken: keys where only a placeholder stands. */
enum done sets_own(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in, const bool *taken)
{
        const struct net *net = in->net;
        struct at_key k = {.w = w, .r = r, .tx = tx, .in = in};
        struct vector tombs = tombs_of(tx->view, in->key), none = {.at = {{0}}};
        bool perhaps = !net->del && memcmp(&tombs, &none, sizeof none) != 0, open = tx->view->sib[in->key].n != 0;
        const struct rule *rule = newest(w, r, in->key);
        bool dots = rule_keeps_dots(rule), notes = dots || keeps_olds(rule);
        if (net->had_del && dots)
                forget_dead(w, tx, in->key, &in->seen);
        if ((taken && taken[in->key]) || (!perhaps && !open && (net->del || !notes)))
                return DONE;
        k.row = tx->view->row[in->key];
        if (k.row.img && lock(&k) == BLOCK)
                return BLOCK;
        if (!k.row.img && open)
                tx_do(w, tx, (struct effect){.kind = FX_SIBS, .key = in->key});
        if (!k.row.img || net->del)
                return DONE;
        if (perhaps && !own_caught_up(r))
                return BLOCK;
        if (keeps_olds(rule) && k.row.from.i == REGION_NONE.i && !own_knows(r, &k.row) && !own_caught_up(r))
                return BLOCK; /* by its time it may be another one's, that is not read yet */
        standing_version(&k, true);
        load(&k);
        merges(&k, true);
        return DONE;
}

void sets_own_truncate(struct world *w, struct apply_tx *tx, const struct incoming_net *in)
{
        forget_dead(w, tx, in->key, &in->seen);
}

/* ---- stability ------------------------------------------------------------------------------------------------------------------------------ */

void sets_stable(struct world *w, struct region *r, bool *did)
{
        const struct vector *stable = &r->a.stable;
        for (unsigned k = 0; k < KEYS; k++) {
                struct sibs *s = &r->d.sib[k];
                const struct row *row = &r->d.row[k];
                bool ours = row->img && row->xid == s->xid;
                bool says = !ours || row->from.i == REGION_NONE.i || (uint64_t)row->ts <= stable->at[row->from.i].v;
                if (s->n && says && merge_stable(s->v, s->n, stable) && !r->d.supp[k].row.img) {
                        memset(s, 0, sizeof *s);
                        *did = true;
                }
                size_t n = r->d.cdot[k].n;
                if (!n)
                        continue;
                struct column_dot *left = arena_copy(w->arena, r->d.cdot[k].dots, sizeof *left * n);
                merge_forget_dots(left, &n, stable);
                if (n == r->d.cdot[k].n)
                        continue;
                r->d.cdot[k].n = n;
                r->d.cdot[k].dots = left;
                *did = true;
        }
}
