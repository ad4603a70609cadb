/* truncate: what is done to a whole table, and to rows of tables without a key. */
#include "apply/hide.h"
#include "apply/sets.h"

#include <string.h>

/* The rows that the guard kept. */
struct rest {
        int n;
        struct standing **rows;
        const char **table_oid, **ctid;
};

static void on_rest(void *ctx, void *arg, const struct pgres *r)
{
        struct arena *arena = ((struct pass *)ctx)->arena;
        struct rest *rest = arg;
        rest->n = pgres_rows(r);
        rest->rows = ARENA_ARRAY(arena, struct standing *, rest->n);
        rest->table_oid = ARENA_ARRAY(arena, const char *, rest->n);
        rest->ctid = ARENA_ARRAY(arena, const char *, rest->n);
        for (int i = 0; i < rest->n; i++) {
                rest->rows[i] = standing_of(arena, r, i);
                rest->table_oid[i] = arena_strdup(arena, pgres_text(r, i, LOCK_IMAGE + 1));
                rest->ctid[i] = arena_strdup(arena, pgres_text(r, i, LOCK_IMAGE + 2));
        }
}

static enum status delete_one(struct pass *p, const char *qualified, const struct rest *rest, int i, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 0);
        buf_printf(&sql, "DELETE FROM %s AS t WHERE t.tableoid = $1::pg_catalog.oid AND t.ctid = $2::pg_catalog.tid", qualified);
        struct pg_param params[2] = {param_text(rest->table_oid[i]), param_text(rest->ctid[i])};
        params[0].type = params[1].type = 0;
        enum status s = session_query(p->a->db, buf_cstr(&sql), 2, params, NULL, NULL, e);
        buf_release(&sql);
        return s;
}

/* What the guard kept is concurrent, or was written locally: each row by the rule, like a delete of its key. */
static enum status settle_rest(struct pass *p, const char *qualified, const struct rest *rest, struct err *e)
{
        struct fold_table *table = ARENA_NEW(p->arena, struct fold_table);
        struct net *nets = ARENA_ARRAY(p->arena, struct net, rest->n);
        enum status s = ST_OK;
        bool wait = false;
        table->rel = p->seg->truncate->rel;
        table->map = p->seg->map;
        for (int i = 0; i < rest->n; i++) {
                nets[i] = (struct net){.del = true, .had_del = true, .tx = p->seg->truncate->tx, .standing = rest->rows[i]};
                wait |= pass_needs_own_log(p, table, &nets[i]);
        }
        if (wait)
                s = own_catch_up(p->a, e);
        for (int i = 0; i < rest->n && s == ST_OK; i++) {
                enum verdict v;
                size_t before = p->nlosers;
                s = pass_decide(p, table, &nets[i], &v, e);
                if (s == ST_OK && v == VERDICT_KEEP_MINE)
                        p->nlosers = before; /* the row stays; a TRUNCATE is no version of it that could be kept */
                else if (s == ST_OK)
                        s = delete_one(p, qualified, rest, i, e);
        }
        return s;
}

static enum status tomb_of_table(struct pass *p, const char *name, region_id region, struct err *e)
{
        struct applier *a = p->a;
        struct tomb_list l;
        tomb_list_init(&l);
        tomb_list_add(&l, a->tombs, name, "", 0, p->w->dot.hlc);
        enum status s = tomb_list_send(&l, a->db, &a->fixed[FIXED_TOMB_PUT], regset_name(&a->regs, region), e);
        tomb_list_release(&l);
        return s;
}

/* An insert in flight would not be seen, and what is then added to its row would count on a row that is dead elsewhere: nobody else writes the
 * table until this is committed. */
static enum status lock_table(struct pass *p, const char *qualified, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 0);
        buf_printf(&sql, "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", qualified);
        enum status s = session_query(p->a->db, buf_cstr(&sql), 0, NULL, NULL, NULL, e);
        buf_release(&sql);
        return s;
}

/* The rows that the guard kept, or that are open, each as a delete of its key. */
static enum status truncate_set(struct pass *p, const char *name, const char *qualified, struct err *e)
{
        struct set_table *t;
        enum status s = set_lock_all(p, qualified, p->seg->truncate->tx, &t, e);
        if (s == ST_OK && t->n)
                s = pass_set_tables(p, &t, 1, e);
        if (s == ST_OK)
                s = set_wait_truncate(p, p->seg->map.target, p->seg->truncate->rel, e);
        if (s == ST_OK && t->set->dots)
                s = siblings_truncated(p, t->name, e);
        return s == ST_OK ? tomb_of_table(p, name, p->w->dot.region, e) : s;
}

/* TRUNCATE of a table that several leaders write: a delete of every key, by the rule, and a tombstone of the whole table. */
static enum status truncate_multi(struct pass *p, const char *name, const char *qualified, struct err *e)
{
        struct applier *a = p->a;
        struct rest rest = {.n = 0};
        const struct target *t = p->seg->map.target;
        enum status s = t->set ? lock_table(p, qualified, e) : ST_OK;
        if (s == ST_OK)
                s = sql_send_truncate(a->db, &a->origins, t, qualified, &p->w->guard, NULL, NULL, e);
        if (t->set)
                return s == ST_OK ? truncate_set(p, name, qualified, e) : s;
        if (s == ST_OK)
                s = sql_send_lock_all(a->db, t, qualified, &p->w->guard, on_rest, &rest, e);
        if (s == ST_OK)
                s = session_sync(a->db, p, e);
        if (s == ST_OK && rest.n)
                s = settle_rest(p, qualified, &rest, e);
        if (s != ST_OK)
                return s;
        return tomb_of_table(p, name, p->w->dot.region, e);
}

enum status pass_truncate_own(struct pass *p, struct err *e)
{
        struct applier *a = p->a;
        const struct relation *rel = p->seg->truncate->rel;
        struct target *t = p->seg->map.target;
        const char *leaf = pass_leaf_name(p->arena, rel);
        struct rest rest = {.n = 0}, remote = {.n = 0};
        struct buf q;
        buf_init(&q, 0);
        pg_qualified(&q, leaf ? rel->leaf_schema : t->schema, leaf ? rel->leaf_name : t->table);
        if (t->set) { /* what stands was put with the TRUNCATE known: apply/setown.c */
                buf_release(&q);
                enum status done = t->set->dots ? siblings_truncated(p, t->name, e) : ST_OK;
                if (done == ST_OK)
                        done = pass_waiting_truncate(p, t, rel, p->seg->truncate->tx, e);
                return done == ST_OK ? tomb_of_table(p, leaf ? leaf : t->name, a->me, e) : done;
        }
        struct target *here = NULL; /* a leaf may have been dropped since */
        enum status s = catalog_target(a->catalog, a->side, leaf ? rel->leaf_schema : t->schema, leaf ? rel->leaf_name : t->table,
                                       &here, e);
        if (s == ST_OK && here)
                s = sql_send_lock_all(a->db, t, buf_cstr(&q), &p->w->guard, on_rest, &rest, e);
        if (s == ST_OK)
                s = session_sync(a->db, p, e);
        remote = rest;
        remote.n = 0;
        for (int i = 0; s == ST_OK && i < rest.n; i++) { /* local rows were written after it */
                region_id from = pass_origin_region(a, rest.rows[i]->origin);
                struct vector seen = *p->w->g->txs[p->seg->truncate->tx].vec;
                if (from.i == REGION_NONE.i || from.i == a->me.i || rest.rows[i]->old ||
                    vector_covers(&seen, (struct dot){.region = from, .hlc = {(uint64_t)rest.rows[i]->ts_us}}))
                        continue;
                remote.rows[remote.n] = rest.rows[i];
                remote.table_oid[remote.n] = rest.table_oid[i];
                remote.ctid[remote.n++] = rest.ctid[i];
        }
        if (s == ST_OK && remote.n)
                s = settle_rest(p, buf_cstr(&q), &remote, e);
        if (s == ST_OK)
                s = pass_waiting_truncate(p, t, rel, p->seg->truncate->tx, e);
        buf_release(&q);
        if (s != ST_OK)
                return s;
        s = tomb_of_table(p, leaf ? leaf : t->name, a->me, e);
        return s == ST_OK ? session_sync(a->db, p, e) : s;
}

enum status pass_truncate(struct pass *p, struct err *e)
{
        const struct relation *rel = p->seg->truncate->rel;
        struct target *t = p->seg->map.target;
        const char *leaf = pass_leaf_name(p->arena, rel);
        struct buf q;
        buf_init(&q, 0);
        pg_qualified(&q, leaf ? rel->leaf_schema : t->schema, leaf ? rel->leaf_name : t->table);
        enum status s;
        if (t->multi)
                s = truncate_multi(p, leaf ? leaf : t->name, buf_cstr(&q), e);
        else
                s = sql_send_truncate(p->a->db, &p->a->origins, t, buf_cstr(&q), NULL, NULL, NULL, e);
        if (s == ST_OK)
                s = session_sync(p->a->db, p, e);
        if (s == ST_OK && t->multi && !t->set)
                s = pass_waiting_truncate(p, t, rel, p->seg->truncate->tx, e);
        buf_release(&q);
        return s;
}

static void on_touched_one(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        *(int64_t *)arg = pgres_affected(r);
}

enum status pass_keyless(struct pass *p, struct err *e)
{
        int64_t touched = 0;
        enum status s = sql_send_keyless(p->a->db, &p->seg->map, p->seg->keyless, on_touched_one, &touched, e);
        if (s == ST_OK)
                s = session_sync(p->a->db, p, e);
        p->w->rows++;
        if (s == ST_OK && touched != 1)
                return err_named(
                        e, ST_DATA, "row_refused",
                        "table %s: no row equals the one that region %s changed; the regions differ: pangea verify names the rows",
                        p->seg->map.target->name, regset_name(&p->a->regs, p->w->dot.region));
        return s;
}
