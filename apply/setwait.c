/* setwait: keys of tables whose rule needs the siblings, whose row waits in pangea.suppressed: the same register, in another place.  DESIGN 7.
 * Its siblings have row_xid NULL. */
#include "apply/hide.h"
#include "apply/sets.h"

#include <string.h>

#include "change/key.h"

struct waiting_keys {
        struct set_key **keys;
        struct hidden_image *want, *found;
        uint32_t n;
};

static void choose(struct pass *p, struct set_table *t, struct waiting_keys *w)
{
        const struct hidden_table *table = hidden_table(p->a->hidden, t->name);
        w->n = 0;
        for (uint32_t i = 0; i < t->n; i++)
                t->keys[i].waits = false;
        if (!table)
                return;
        w->keys = ARENA_ARRAY(p->arena, struct set_key *, t->n);
        w->want = ARENA_ARRAY(p->arena, struct hidden_image, t->n);
        for (uint32_t i = 0; i < t->n; i++) {
                struct set_key *k = &t->keys[i];
                if (k->taken || !hidden_perhaps(table, k->net->kb, k->net->klen))
                        continue;
                w->want[w->n] = (struct hidden_image){.kb = k->net->kb, .klen = k->net->klen};
                w->keys[w->n++] = k;
        }
}

static const struct cell *cells_of(struct arena *arena, const struct set_table *t, const char *image)
{
        const struct relation *rel = &t->set->rel;
        const struct value *v = clash_values(arena, rel, image);
        struct cell *cells = ARENA_ARRAY(arena, struct cell, rel->ncols);
        for (uint16_t i = 0; v && i < rel->ncols; i++)
                if (v[i].kind == VALUE_TEXT)
                        cells[i] = (struct cell){(const char *)v[i].data, v[i].len};
        return v ? cells : NULL;
}

/* A follower's stray row of a key that waits is nobody's. */
static enum status drop_stray(struct pass *p, struct set_key *k, struct err *e)
{
        struct run run = {.w = p->w, .table = k->table->table, .kind = SQL_DELETE, .nets = &k->net, .n = 1};
        enum status s = pass_send_run(p, &run, NULL, NULL, e);
        return s == ST_OK ? session_sync(p->a->db, p, e) : s;
}

enum status set_wait_load(struct pass *p, struct set_table *t, bool own, struct err *e)
{
        struct waiting_keys w;
        choose(p, t, &w);
        if (!w.n)
                return ST_OK;
        enum status s = hidden_fetch(p->a->db, &p->a->regs, p->arena, t->name, w.want, w.n, &w.found, e);
        for (uint32_t i = 0; i < w.n && s == ST_OK; i++) {
                struct set_key *k = w.keys[i];
                if (!w.found[i].kb)
                        continue;
                if (k->standing && !own && !p->a->follower)
                        return err_set(e, ST_RETRY,
                                       "table %s: the own log has to be processed first: a row that waits was inserted anew",
                                       t->name);
                if (k->standing && p->a->follower)
                        s = drop_stray(p, k, e);
                k->waits = true;
                k->beside = own && k->standing;
                if (!k->beside)
                        k->standing = NULL;
                k->row = cells_of(p->arena, t, w.found[i].image);
                k->wait_dot = w.found[i].dot;
                if (!k->row)
                        s = err_named(e, ST_DATA, "row_refused", "table %s: the image of a waiting row cannot be read", t->name);
        }
        return s;
}

/* Own changes were processed in between: once more; a key whose row does not wait any more was not taken. */
enum status set_wait_again(struct pass *p, struct set_table *t, struct err *e)
{
        bool *before = ARENA_ARRAY(p->arena, bool, t->n);
        for (uint32_t i = 0; i < t->n; i++) {
                before[i] = t->keys[i].waits;
                t->keys[i].waits = false;
        }
        enum status s = set_lock(p, t, false, e);
        if (s == ST_OK)
                s = set_wait_load(p, t, false, e);
        for (uint32_t i = 0; i < t->n && s == ST_OK; i++)
                if (before[i] && !t->keys[i].waits)
                        return err_set(e, ST_RETRY, "table %s: a row does not wait any more", t->name);
        return s;
}

enum status set_wait_write(struct pass *p, struct set_table *t, struct err *e)
{
        struct applier *a = p->a;
        enum status s = ST_OK;
        for (uint32_t i = 0; i < t->n && s == ST_OK; i++) {
                const struct set_key *k = &t->keys[i];
                if (!k->waits)
                        continue;
                switch (k->out.act) {
                case MERGE_KEEP: break;
                case MERGE_DELETE: s = hidden_drop(a->hidden, a->db, t->name, k->net->kb, k->net->klen, e); break;
                case MERGE_PUT: {
                        struct hidden_image w = {.kb = k->net->kb,
                                                 .klen = k->net->klen,
                                                 .dot = p->w->stamp,
                                                 .image = set_json(p->arena, t, k->out.after.row)};
                        s = hidden_put(a->hidden, a->db, &a->regs, t->table->map.target, &w, e);
                        break;
                }
                }
        }
        return s;
}

bool set_outside(const struct pass *p, const struct set_key *k)
{
        const struct hidden_row *r = hidden_perhaps(hidden_table(p->a->hidden, k->table->name), k->net->kb, k->net->klen);
        return r && !r->leaving;
}

/* ---- the own log ------------------------------------------------------------------------------------------------------------------------- */

/* Its versions, by their dots. */
static size_t versions(const struct set_key *k, struct dot *only, const struct version **sibs)
{
        *only = k->wait_dot;
        *sibs = k->nsibs ? k->sibs : NULL;
        return k->nsibs ? k->nsibs : 1;
}

enum own_word { WORD_OF_IT, WORD_SUPERSEDES, WORD_LATER, WORD_EARLIER };

/* What the local change is to the register: one of its versions; has seen it all; has not. */
static enum own_word word_of(const struct pass *p, const struct set_key *k)
{
        struct dot only;
        const struct version *sibs;
        struct vector seen = pass_seen_by(p->w, k->net);
        bool all = true, later = true;
        for (size_t i = 0, n = versions(k, &only, &sibs); i < n; i++) {
                struct dot d = sibs ? sibs[i].dot : only;
                if (d.hlc.v == p->w->dot.hlc.v && d.region.i == p->w->dot.region.i)
                        return WORD_OF_IT;
                all &= vector_covers(&seen, d);
                later &= dot_cmp(p->w->dot, d, &p->a->regs) > 0;
        }
        return all ? WORD_SUPERSEDES : later ? WORD_LATER : WORD_EARLIER;
}

static enum status forget(struct pass *p, struct set_key *k, struct err *e)
{
        enum status s = hidden_drop(p->a->hidden, p->a->db, k->table->name, k->net->kb, k->net->klen, e);
        k->waits = false;
        return s == ST_OK ? siblings_drop(p, &k, 1, e) : s;
}

/* A local row that came between: it is merged with the one that waits, if it is still the one that this group wrote. */
static enum status slipped_in(struct pass *p, struct set_key *k, bool *merge, struct err *e)
{
        bool ours;
        const struct standing *st = k->standing;
        *merge = false;
        if (!k->beside || k->net->del || pass_origin_region(p->a, st->origin).i != REGION_NONE.i)
                return ST_OK;
        enum status s = own_wrote(p, k->table->table->rel, k->net, st, &ours, e);
        if (s != ST_OK || !ours)
                return s;
        *merge = k->from_outside = true;
        return drop_stray(p, k, e);
}

/* Leaves in the table only keys on which there is something to decide. */
enum status set_wait_own(struct pass *p, struct set_table *t, bool *wrote, struct err *e)
{
        bool any = false;
        enum status s = ST_OK;
        uint32_t n = 0;
        for (uint32_t i = 0; i < t->n; i++)
                any |= t->keys[i].waits;
        if (!any)
                return ST_OK;
        s = siblings_load(p, &t, 1, e);
        for (uint32_t i = 0; i < t->n && s == ST_OK; i++) {
                struct set_key *k = &t->keys[i];
                bool stays = true;
                enum own_word word = k->waits ? word_of(p, k) : WORD_OF_IT;
                if (word == WORD_SUPERSEDES || (word == WORD_LATER && k->net->del)) {
                        s = forget(p, k, e);
                        stays = k->beside && !k->net->del;
                        k->row = NULL; /* read anew */
                        *wrote = true;
                } else if (word != WORD_OF_IT) {
                        s = slipped_in(p, k, &stays, e);
                        *wrote |= stays;
                }
                if (k->waits)
                        k->standing = NULL;
                if (stays)
                        t->keys[n++] = *k;
        }
        t->n = n;
        return s == ST_OK ? set_lock(p, t, false, e) : s;
}

/* ---- TRUNCATE ---------------------------------------------------------------------------------------------------------------------------- */

struct truncated {
        struct pass *p;
        struct set_table *t;
        struct target *target;
};

static void on_rows(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        struct truncated *q = arg;
        struct arena *arena = q->p->arena;
        struct fold_table *ft = ARENA_NEW(arena, struct fold_table);
        struct buf kb;
        *ft = (struct fold_table){.rel = &q->target->set->rel, .map = q->target->set->map, .n = (uint32_t)pgres_rows(r)};
        q->t = set_table_new(q->p, ft, ft->n);
        buf_init(&kb, 0);
        for (int i = 0; i < pgres_rows(r); i++) {
                struct net *n = ARENA_NEW(arena, struct net);
                *n = (struct net){.del = true, .had_del = true, .tx = q->p->seg->truncate->tx};
                n->key = n->old = clash_values(arena, ft->rel, pgres_text(r, i, 2));
                if (!n->key)
                        continue;
                buf_reset(&kb);
                key_bytes(&kb, ft->rel, n->key);
                n->kb = arena_copy(arena, kb.data, kb.len);
                n->klen = (uint32_t)kb.len;
                set_key_add(q->t, n);
        }
        buf_release(&kb);
}

enum status set_wait_truncate(struct pass *p, struct target *t, const struct relation *rel, struct err *e)
{
        struct hidden_table *table = hidden_table(p->a->hidden, t->name);
        struct truncated q = {.p = p, .target = t};
        if (!table)
                return ST_OK;
        hidden_check_all(table);
        enum status s = clash_send_waiting(p->a, t, rel, on_rows, &q, e);
        if (s == ST_OK)
                s = session_sync(p->a->db, NULL, e);
        if (s == ST_OK && q.t && q.t->n)
                s = set_wait_load(p, q.t, false, e);
        return s == ST_OK && q.t && q.t->n ? pass_set_tables(p, &q.t, 1, e) : s;
}
