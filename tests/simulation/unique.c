/* unique: rows of several regions that hold one unique value, as apply/hide.c, apply/waiting.c and apply/visible.c go about them under last write
 * wins: in the order of the keys (conflict/merge.h, unique_keep) a row is visible when no visible row before it holds one of its values; the
 * others wait whole, each a register of its own. */
#include <string.h>

#include "tests/simulation/sim.h"

struct clash {
        const struct world *w;
        unsigned key[2 * PER_TABLE];
        image img[2 * PER_TABLE];
        unsigned n;
};

static bool clashes(void *ctx, size_t i, size_t j)
{
        const struct clash *c = ctx;
        return row_clash(c->w, c->key[i], c->img[i], c->key[j], c->img[j]);
}

static void add(struct clash *c, unsigned key, image img)
{
        c->key[c->n] = key;
        c->img[c->n++] = img;
}

static void decide(struct clash *c, bool keep[2 * PER_TABLE])
{
        struct unique_row rows[2 * PER_TABLE];
        for (unsigned i = 0; i < c->n; i++)
                rows[i] = (struct unique_row){.key = (const uint8_t *)c->img[i][C_K].data, .klen = c->img[i][C_K].len};
        unique_keep(rows, c->n, clashes, c, keep);
}

/* The values of a row that is to be visible: a local transaction may be writing them. */
static bool take_values(struct region *r, unsigned key, image img)
{
        for (unsigned c = 0; c < 2; c++) {
                int v = unique_value(&img[C_U + c]);
                int *l = v < 0 ? NULL : &r->ulock[table_of(key)][c][v];
                if (l && *l != LOCK_FREE && *l != LOCK_APPLY)
                        return false;
                if (l)
                        *l = LOCK_APPLY;
        }
        return true;
}

/* A row leaves its table; its dot, when it was written locally, is asked of the own log. */
static enum done hide(struct world *w, struct region *r, struct apply_tx *tx, unsigned key)
{
        const struct row *row = &tx->view->row[key];
        struct vector none = {.at = {{0}}};
        struct dot dot = {.region = tx->origin, .hlc = tx->rec ? tx->rec->hlc : (hlc_t){0}};
        if (!db_lock(r, key, LOCK_APPLY))
                return BLOCK;
        if (row->xid != tx->xid) { /* one whose dot is forgotten is stable: any stable dot will do */
                enum standing_answer a = judge_row(w, r, row, dot, &none, tx->xid, JUDGE_OWN, &dot);
                if (a == STANDING_ASK_OWN_LOG && !own_knows(r, row) && !own_caught_up(r))
                        return BLOCK;
                struct own_version o = {NULL, {.hlc = {0}}};
                if (a == STANDING_ASK_OWN_LOG)
                        o = own_version_of(w, r, row, key);
                bool local = row->from.i == REGION_NONE.i;
                dot = (struct dot){.region = local ? (region_id){(uint8_t)id_of(w, r)} : row->from, .hlc = {(uint64_t)row->ts}};
                if (o.rec)
                        dot = o.dot;
        }
        tx_lose(w, tx, key, dot, vid_of(row));
        tx_do(w, tx, (struct effect){.kind = FX_HIDE, .key = key, .row = *row, .dot = dot});
        return DONE;
}

/* ---- a group ---------------------------------------------------------------------------------------------------------------------------- */

/* What the segment has written may not clash with what is visible. */
enum done unique_fix(struct world *w, struct region *r, struct apply_tx *tx)
{
        for (unsigned t = 0; t < TABLES; t++) {
                struct clash c = {.w = w};
                bool keep[2 * PER_TABLE];
                for (unsigned k = t * PER_TABLE; k < (t + 1) * PER_TABLE; k++)
                        if (tx->view->row[k].img)
                                add(&c, k, tx->view->row[k].img);
                decide(&c, keep);
                for (unsigned i = 0; i < c.n; i++) {
                        bool mine = tx->view->row[c.key[i]].xid == tx->xid;
                        if (!keep[i] && hide(w, r, tx, c.key[i]) == BLOCK)
                                return BLOCK;
                        if (keep[i] && mine && !take_values(r, c.key[i], c.img[i]))
                                return BLOCK;
                }
        }
        return DONE;
}

/* A change of a key whose row waits. *waits: it was one, and is decided. */
enum done unique_waiting(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in, bool *waits)
{
        const struct dot dot = tx->view->supp[in->key].dot;
        const struct row was = tx->view->supp[in->key].row;
        struct row row = {.img = in->img};
        *waits = was.img != NULL;
        if (!*waits)
                return DONE;
        if (tx->view->row[in->key].img) /* inserted anew, locally: the own log will say which of both it is */
                return BLOCK;
        enum verdict v = lww_decide(dot, in->dot, &in->seen, &w->regs);
        (void)r;
        if (v == VERDICT_KEEP_MINE) {
                tx_lose(w, tx, in->key, in->dot, in->vid);
                return DONE;
        }
        if (v == VERDICT_TAKE_THEIRS)
                tx_lose(w, tx, in->key, dot, vid_of(&was));
        vset_add(&row.vids, in->vid);
        if (in->net->del) {
                tx_do(w, tx, (struct effect){.kind = FX_UNHIDE, .key = in->key});
                tx_do(w, tx, (struct effect){.kind = FX_TOMB, .key = in->key, .dot = in->dot});
        } else {
                tx_lose(w, tx, in->key, in->dot, in->vid); /* it waits too, and an insert of its key here would pass over it */
                tx_do(w, tx, (struct effect){.kind = FX_WAIT, .key = in->key, .row = row, .dot = in->dot});
        }
        return DONE;
}

void unique_truncate(struct world *w, struct apply_tx *tx, const struct incoming_net *in, bool own)
{
        const struct row was = tx->view->supp[in->key].row;
        const struct dot dot = tx->view->supp[in->key].dot;
        if (!was.img || (own && dot_cmp(dot, in->dot, &w->regs) == 0)) /* written by the group after its TRUNCATE */
                return;
        enum verdict v = lww_decide(dot, in->dot, &in->seen, &w->regs);
        if (v == VERDICT_KEEP_MINE)
                return;
        if (v == VERDICT_TAKE_THEIRS)
                tx_lose(w, tx, in->key, dot, vid_of(&was));
        tx_do(w, tx, (struct effect){.kind = FX_UNHIDE, .key = in->key});
}

/* ---- the own log -------------------------------------------------------------------------------------------------------------------------- */

/* The local row that stands lost against the waiting one, which it has not seen: it goes, if it is still the one that this group wrote. */
static enum done local_lost(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in)
{
        const struct row *row = &tx->view->row[in->key];
        if (in->net->del)
                tx_lose(w, tx, in->key, in->dot, in->vid);
        if (in->net->del || !row->img || row->from.i != REGION_NONE.i)
                return DONE;
        if (!db_lock(r, in->key, LOCK_APPLY) || !own_caught_up(r))
                return BLOCK;
        struct own_version o = own_version_of(w, r, row, in->key);
        if (!o.rec || o.dot.hlc.v != in->dot.hlc.v)
                return DONE;
        tx_lose(w, tx, in->key, in->dot, in->vid);
        tx_do(w, tx, (struct effect){.kind = FX_DROP_ROW, .key = in->key});
        return DONE;
}

enum done unique_own(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in)
{
        const struct row was = tx->view->supp[in->key].row;
        const struct dot dot = tx->view->supp[in->key].dot;
        struct vector tombs = tombs_of(tx->view, in->key);
        struct dot killer;
        if (!was.img)
                return DONE;
        int order = dot_cmp(in->dot, dot, &w->regs);
        if (order < 0)
                return local_lost(w, r, tx, in);
        tombs.at[in->dot.region.i].v = 0;
        if (order == 0 && (in->net->del || !lww_killed(&tombs, in->dot, &in->seen, &w->regs, &killer)))
                return DONE;
        if (order == 0)
                tx_lose(w, tx, in->key, in->dot, in->vid);
        else if (!vector_covers(&in->seen, dot))
                tx_lose(w, tx, in->key, dot, vid_of(&was));
        tx_do(w, tx, (struct effect){.kind = FX_UNHIDE, .key = in->key});
        return DONE;
}

/* ---- who comes back ------------------------------------------------------------------------------------------------------------------------ */

static enum done come_back(struct world *w, struct region *r, unsigned key, const struct clash *c, const bool *keep)
{
        const struct row waits = r->d.supp[key].row;
        struct dot dot = r->d.supp[key].dot;
        struct apply_tx tx;
        struct row row = waits;
        tx_begin(w, r, &tx, dot.region, NULL);
        enum done d = db_lock(r, key, LOCK_APPLY) && take_values(r, key, waits.img) ? DONE : BLOCK;
        for (unsigned i = 0; i < c->n && d == DONE; i++)
                if (!keep[i] && c->key[i] != key && tx.view->row[c->key[i]].img &&
                    row_clash(w, key, waits.img, c->key[i], tx.view->row[c->key[i]].img))
                        d = hide(w, r, &tx, c->key[i]);
        if (d == DONE && (r->d.row[key].img || (!r->follower && (!own_caught_up(r) || own_speaks_of(w, r, key)))))
                d = BLOCK;
        if (d == BLOCK) {
                tx_undo(r, &tx);
                return BLOCK;
        }
        row.xid = tx.xid;
        row.from = dot.region;
        row.ts = (int64_t)dot.hlc.v;
        tx_do(w, &tx, (struct effect){.kind = FX_BACK, .key = key, .row = row});
        r->a.pending[r->a.npending].xid = tx.xid;
        r->a.pending[r->a.npending++].need = dot;
        tx_commit(w, r, &tx, dot.hlc);
        return DONE;
}

bool unique_again(struct world *w, struct region *r)
{
        if (r->a.tx.open || r->nwal >= WAL_MAX - 1 || r->a.npending == LOG_MAX)
                return false;
        for (unsigned t = 0; t < TABLES; t++) {
                struct clash c = {.w = w};
                bool keep[2 * PER_TABLE];
                for (unsigned k = t * PER_TABLE; k < (t + 1) * PER_TABLE; k++) {
                        if (r->d.supp[k].row.img)
                                add(&c, k, r->d.supp[k].row.img);
                        else if (r->d.row[k].img)
                                add(&c, k, r->d.row[k].img);
                }
                decide(&c, keep);
                for (unsigned i = 0; i < c.n; i++)
                        if (keep[i] && r->d.supp[c.key[i]].row.img && come_back(w, r, c.key[i], &c, keep) == DONE)
                                return true;
        }
        return false;
}
