/* waiting: a row that waits in pangea.suppressed is a register like any other: what comes for its key, from other regions or in the own log,
 * is held against it.  DESIGN 7. */
#include "apply/hide.h"

#include <string.h>

#include "base/map.h"
#include "change/key.h"

/* The nets of one table whose keys wait. */
struct waiting {
        const struct fold_table *t;
        struct hidden_table *table;
        struct net **nets;
        struct hidden_image *row; /* .kb NULL: it does not wait after all */
        uint32_t n;
};

static bool concerns(const struct pass *p, const struct fold_table *t, struct waiting *w)
{
        w->t = t;
        w->n = 0;
        w->table = t->map.target && t->map.target->multi && !t->map.target->set && t->rel->nkeys
                           ? hidden_table(p->a->hidden, t->map.target->name)
                           : NULL;
        return w->table != NULL;
}

static void find_nets(struct pass *p, struct waiting *w, bool settled_too)
{
        w->nets = ARENA_ARRAY(p->arena, struct net *, w->t->n);
        for (uint32_t i = 0; i < w->t->n; i++) {
                struct net *n = w->t->nets[i];
                if ((settled_too || !n->settled) && hidden_perhaps(w->table, n->kb, n->klen))
                        w->nets[w->n++] = n;
        }
}

/* Reads the waiting rows, and locks visible rows of these keys: net.standing. */
static enum status read_rows(struct pass *p, struct waiting *w, struct err *e)
{
        struct hidden_image *keys = ARENA_ARRAY(p->arena, struct hidden_image, w->n);
        struct run run = {.w = p->w, .table = w->t, .kind = SQL_LOCK, .nets = w->nets, .n = w->n};
        for (uint32_t i = 0; i < w->n; i++) {
                keys[i] = (struct hidden_image){.kb = w->nets[i]->kb, .klen = w->nets[i]->klen};
                w->nets[i]->standing = NULL;
        }
        enum status s = hidden_fetch(p->a->db, &p->a->regs, p->arena, w->t->map.target->name, keys, w->n, &w->row, e);
        if (s == ST_OK)
                s = pass_send_run(p, &run, &p->w->guard, pass_on_locked, e);
        return s == ST_OK ? session_sync(p->a->db, p, e) : s;
}

/* The waiting version is replaced by one that has not seen it. */
static void lose_waiting(struct pass *p, const struct waiting *w, uint32_t i, enum conflict_kind kind)
{
        const struct net *n = w->nets[i];
        pass_lose(p, (struct loser){.table = w->t,
                                    .net = n,
                                    .dot = w->row[i].dot,
                                    .winner_known = true,
                                    .winner = p->w->dot,
                                    .kind = kind,
                                    .by_text = true,
                                    .text = w->row[i].image,
                                    .stands_text = n->row ? clash_image(p->arena, w->t->rel, n->row) : NULL});
}

/* Columns that the change did not carry are those of the waiting row. */
static const char *image_of(struct pass *p, const struct fold_table *t, const struct net *n, const struct hidden_image *waits)
{
        const struct value *before = NULL;
        struct value *row = arena_copy(p->arena, n->row, sizeof *row * t->rel->ncols);
        for (uint16_t i = 0; i < t->rel->ncols; i++) {
                if (row[i].kind != VALUE_UNSENT)
                        continue;
                if (!before)
                        before = clash_values(p->arena, t->rel, waits->image);
                if (before)
                        row[i] = before[i];
        }
        return clash_image(p->arena, t->rel, row);
}

static enum status write_waiting(struct pass *p, const struct waiting *w, uint32_t i, struct err *e)
{
        struct net *n = w->nets[i];
        struct applier *a = p->a;
        n->settled = n->hidden = true;
        if (n->del)
                return hidden_drop(a->hidden, a->db, w->table->name, n->kb, n->klen, e);
        struct hidden_image put = {.kb = n->kb, .klen = n->klen, .dot = p->w->dot, .image = image_of(p, w->t, n, &w->row[i])};
        /* it waits, too: a local insert of the key, that cannot see it, may pass over it */
        pass_lose(p, (struct loser){.table = w->t,
                                    .net = n,
                                    .dot = p->w->dot,
                                    .winner_known = true,
                                    .winner = p->w->dot,
                                    .kind = CONFLICT_MULTIPLE_UNIQUE,
                                    .by_text = true,
                                    .text = put.image,
                                    .constraint = w->row[i].constraint,
                                    .holder = w->row[i].held_by});
        return hidden_put(a->hidden, a->db, &a->regs, w->t->map.target, &put, e);
}

static enum status decide(struct pass *p, const struct waiting *w, uint32_t i, struct err *e)
{
        struct net *n = w->nets[i];
        struct vector seen = pass_seen_by(p->w, n);
        enum conflict_kind kind = pass_kind_of(n);
        switch (lww_decide(w->row[i].dot, p->w->dot, &seen, &p->a->regs)) {
        case VERDICT_OVERWRITE: break;
        case VERDICT_TAKE_THEIRS: lose_waiting(p, w, i, kind); break;
        case VERDICT_KEEP_MINE:
                n->settled = n->lost = true;
                pass_lose(p, (struct loser){.table = w->t,
                                            .net = n,
                                            .dot = p->w->dot,
                                            .winner_known = true,
                                            .winner = w->row[i].dot,
                                            .kind = kind,
                                            .by_text = true,
                                            .text = n->row ? clash_image(p->arena, w->t->rel, n->row) : NULL,
                                            .stands_text = w->row[i].image});
                return ST_OK;
        }
        return write_waiting(p, w, i, e);
}

/* A visible row of a key that waits was written locally: the own log will say which of both it is. A follower has none: the row is nobody's. */
static enum status visible_meanwhile(struct pass *p, struct waiting *w, uint32_t i, struct err *e)
{
        const struct net *n = w->nets[i];
        if (!n->standing)
                return ST_OK;
        if (!p->a->follower)
                return err_set(e, ST_RETRY, "table %s: the own log has to be processed first: a row that waits was inserted anew",
                               w->table->name);
        pass_place(p, w->t, w->nets[i], SQL_DELETE);
        return ST_OK;
}

static enum status decide_table(struct pass *p, struct waiting *w, struct err *e)
{
        pass_clear_runs(p);
        enum status s = read_rows(p, w, e);
        for (uint32_t i = 0; i < w->n && s == ST_OK; i++) {
                if (!w->row[i].kb)
                        continue;
                s = visible_meanwhile(p, w, i, e);
                if (s == ST_OK)
                        s = decide(p, w, i, e);
        }
        if (s == ST_OK && p->runs)
                s = pass_send_runs(p, false, e);
        for (uint32_t i = 0; i < w->n; i++)
                w->nets[i]->standing = NULL;
        pass_clear_runs(p);
        return s;
}

enum status pass_waiting(struct pass *p, struct err *e)
{
        struct waiting w;
        enum status s = ST_OK;
        for (uint32_t i = 0; i < p->seg->ntables && s == ST_OK; i++) {
                p->w->can_hide |= hides(p->seg->tables[i].map.target);
                if (!concerns(p, &p->seg->tables[i], &w))
                        continue;
                find_nets(p, &w, false);
                if (w.n)
                        s = decide_table(p, &w, e);
        }
        return s;
}

void pass_waiting_touched(const struct pass *p)
{
        if (!hidden_count(p->a->hidden))
                return;
        for (uint32_t i = 0; i < p->seg->ntables; i++) {
                const struct fold_table *t = &p->seg->tables[i];
                struct hidden_table *table = t->map.target ? hidden_table(p->a->hidden, t->map.target->name) : NULL;
                for (uint32_t n = 0; table && t->rel->nkeys && n < t->n; n++)
                        if (!t->nets[n]->lost)
                                hidden_touched(table, t->nets[n]->kb, t->nets[n]->klen);
        }
}

/* ---- TRUNCATE --------------------------------------------------------------------------------------------------------------------------- */

struct truncated {
        struct pass *p;
        struct hidden_image *rows;
        uint32_t n;
};

static void on_rows(void *ctx, void *arg, const struct pgres *r)
{
        struct truncated *t = arg;
        struct arena *arena = t->p->arena;
        (void)ctx;
        t->n = (uint32_t)pgres_rows(r);
        t->rows = ARENA_ARRAY(arena, struct hidden_image, t->n);
        for (uint32_t i = 0; i < t->n; i++) {
                const char *region = pgres_text(r, (int)i, 0);
                t->rows[i].dot.region = regset_add(&t->p->a->regs, region, strlen(region));
                t->rows[i].dot.hlc.v = (uint64_t)pgres_i64(r, (int)i, 1);
                t->rows[i].image = arena_strdup(arena, pgres_text(r, (int)i, 2));
        }
}

/* The waiting row, if the TRUNCATE has seen it or is later. In the own log a row that bears the TRUNCATE's dot was written behind it: what the
 * group wrote before it was gone when it committed, and never came to wait. */
static enum status truncate_one(struct pass *p, const struct fold_table *table, const struct hidden_image *row,
                                const struct vector *seen, struct err *e)
{
        if (p->w->dot.region.i == p->a->me.i && dot_cmp(row->dot, p->w->dot, &p->a->regs) == 0)
                return ST_OK;
        struct net *n = ARENA_NEW(p->arena, struct net);
        struct buf kb;
        n->row = n->key = clash_values(p->arena, table->rel, row->image);
        enum verdict v = lww_decide(row->dot, p->w->dot, seen, &p->a->regs);
        if (!n->row || v == VERDICT_KEEP_MINE)
                return ST_OK;
        if (v == VERDICT_TAKE_THEIRS)
                pass_lose(p, (struct loser){.table = table,
                                            .net = n,
                                            .dot = row->dot,
                                            .winner_known = true,
                                            .winner = p->w->dot,
                                            .kind = CONFLICT_DELETE_ORIGIN_DIFFERS});
        buf_init(&kb, 0);
        key_bytes(&kb, table->rel, n->row);
        enum status s = hidden_drop(p->a->hidden, p->a->db, table->map.target->name, kb.data, (uint32_t)kb.len, e);
        buf_release(&kb);
        return s;
}

enum status pass_waiting_truncate(struct pass *p, struct target *t, const struct relation *rel, uint32_t tx, struct err *e)
{
        struct hidden_table *table = hidden_table(p->a->hidden, t->name);
        struct truncated rows = {.p = p};
        struct vector seen = *p->w->g->txs[tx].vec;
        seen.at[p->w->dot.region.i] = p->w->dot.hlc;
        if (!table)
                return ST_OK;
        hidden_check_all(table);
        enum status s = clash_send_waiting(p->a, t, rel, on_rows, &rows, e);
        if (s == ST_OK)
                s = session_sync(p->a->db, NULL, e);
        const struct fold_table *ft = clash_table(p->arena, t);
        for (uint32_t i = 0; i < rows.n && s == ST_OK; i++)
                s = truncate_one(p, ft, &rows.rows[i], &seen, e);
        return s;
}

/* ---- the own log ------------------------------------------------------------------------------------------------------------------------ */

bool pass_waiting_concerned(const struct pass *p)
{
        struct waiting w;
        for (uint32_t i = 0; i < p->seg->ntables; i++) {
                if (!concerns(p, &p->seg->tables[i], &w))
                        continue;
                for (uint32_t k = 0; k < w.t->n; k++)
                        if (hidden_perhaps(w.table, w.t->nets[k]->kb, w.t->nets[k]->klen))
                                return true;
        }
        return false;
}

/* The local row that stands lost against the waiting one, which it has not seen: it goes, if it is still the one that this group wrote. */
static enum status local_lost(struct pass *p, const struct waiting *w, uint32_t i, struct err *e)
{
        struct net *n = w->nets[i];
        const struct standing *st = n->standing;
        bool ours;
        struct loser l = {
                .table = w->t, .net = n, .dot = p->w->dot, .winner_known = true, .winner = w->row[i].dot, .kind = pass_kind_of(n)};
        if (n->del)
                pass_lose(p, l);
        if (n->del || !st || pass_origin_region(p->a, st->origin).i != REGION_NONE.i)
                return ST_OK;
        enum status s = own_wrote(p, w->t->rel, n, st, &ours, e);
        if (s != ST_OK || !ours)
                return s;
        pass_place(p, w->t, n, SQL_DELETE);
        pass_lose(p, l);
        return ST_OK;
}

/* The waiting row is the one that this group wrote: it goes when a tombstone kills it, that came while it was in flight. */
static enum status own_killed(struct pass *p, const struct waiting *w, uint32_t i, struct err *e)
{
        struct tomb_hit *hits;
        size_t n;
        enum status s = pass_find_killed(p, &hits, &n, e);
        for (size_t k = 0; k < n && s == ST_OK; k++) {
                if (hits[k].net != w->nets[i])
                        continue;
                pass_lose(p, (struct loser){.table = w->t,
                                            .net = hits[k].net,
                                            .dot = p->w->dot,
                                            .winner_known = true,
                                            .winner = hits[k].killer,
                                            .kind = CONFLICT_UPDATE_DELETED});
                s = hidden_drop(p->a->hidden, p->a->db, w->table->name, w->nets[i]->kb, w->nets[i]->klen, e);
        }
        return s;
}

/* A local write that came after the row was suppressed has seen the whole register. */
static enum status own_net(struct pass *p, const struct waiting *w, uint32_t i, struct err *e)
{
        struct net *n = w->nets[i];
        struct vector seen = pass_seen_by(p->w, n);
        int order = dot_cmp(p->w->dot, w->row[i].dot, &p->a->regs);
        if (order == 0) /* it is the waiting row itself */
                return own_killed(p, w, i, e);
        if (order < 0)
                return local_lost(p, w, i, e);
        if (order > 0 && !vector_covers(&seen, w->row[i].dot))
                lose_waiting(p, w, i, pass_kind_of(n));
        return hidden_drop(p->a->hidden, p->a->db, w->table->name, n->kb, n->klen, e);
}

enum status pass_waiting_own(struct pass *p, struct err *e)
{
        struct waiting w;
        enum status s = ST_OK;
        for (uint32_t i = 0; i < p->seg->ntables && s == ST_OK; i++) {
                if (!concerns(p, &p->seg->tables[i], &w))
                        continue;
                find_nets(p, &w, true);
                if (w.n)
                        s = own_visible(p, e);
                if (w.n && s == ST_OK)
                        s = read_rows(p, &w, e);
                for (uint32_t k = 0; k < w.n && s == ST_OK; k++)
                        if (w.row[k].kb)
                                s = own_net(p, &w, k, e);
        }
        return s;
}
