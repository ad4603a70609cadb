/* siblings: the living versions of open keys (pangea.sibling) and the contributions to columns that are merged by themselves
 * (pangea.column_dot), read and written for all keys of a segment at once.  DESIGN 7, 10.2.
 * A set of siblings belongs to the row that stands by the row's xmin: another one means that a local transaction has written the row since,
 * and has seen and replaced them all. */
#include "apply/sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "change/json.h"

bool siblings_perhaps(const struct applier *a, const char *rel, const struct net *n)
{
        return tombs_perhaps(a->open, rel, n->kb, n->klen);
}

/* ---- read ---------------------------------------------------------------------------------------------------------------------------- */

struct asked {
        struct pass *p;
        struct set_key **keys;
        uint32_t n;
};

/* "us:123 eu:45" */
static void parse_vector(const struct regset *regs, const char *text, struct vector *out)
{
        memset(out, 0, sizeof *out);
        while (*text) {
                size_t name = strcspn(text, ":");
                region_id r = regset_find(regs, text, name);
                if (!text[name])
                        return;
                char *end;
                uint64_t hlc = strtoull(text + name + 1, &end, 10);
                if (r.i != REGION_NONE.i)
                        out->at[r.i].v = hlc;
                text = end + (*end == ' ');
        }
}

static const struct cell *take_cells(struct arena *arena, const struct pgres *r, int row, int from, uint16_t n)
{
        struct cell *cells = ARENA_ARRAY(arena, struct cell, n);
        for (uint16_t i = 0; i < n; i++) {
                if (pgres_null(r, row, from + i))
                        continue;
                uint32_t len = (uint32_t)pgres_len(r, row, from + i);
                cells[i] = (struct cell){arena_strndup(arena, pgres_text(r, row, from + i), len), len};
        }
        return cells;
}

static void *grow(struct arena *arena, void *items, size_t n, size_t size)
{
        if (n & (n - 1)) /* doubled at each power of two */
                return items;
        void *more = arena_alloc(arena, size * (n ? 2 * n : 1));
        if (n)
                memcpy(more, items, size * n);
        return more;
}

enum sibling_column { SIB_N, SIB_REGION, SIB_HLC, SIB_VECTOR, SIB_XID, SIB_NO_OLD, SIB_IMAGE };

static void on_siblings(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        struct asked *q = arg;
        const struct regset *regs = &q->p->a->regs;
        for (int row = 0; row < pgres_rows(r); row++) {
                struct set_key *k = q->keys[pgres_i64(r, row, SIB_N) - 1];
                uint16_t ncols = k->table->set->rel.ncols;
                bool tied = pgres_null(r, row, SIB_XID)
                                    ? k->waits
                                    : k->standing && (uint32_t)pgres_i64(r, row, SIB_XID) == k->standing->xmin && !k->waits;
                if (!tied) {
                        k->stale = true;
                        continue;
                }
                k->sibs = grow(q->p->arena, k->sibs, k->nsibs, sizeof *k->sibs);
                struct version *v = &k->sibs[k->nsibs++];
                const char *region = pgres_text(r, row, SIB_REGION);
                *v = (struct version){.dot = {regset_find(regs, region, strlen(region)), {(uint64_t)pgres_i64(r, row, SIB_HLC)}},
                                      .row = take_cells(q->p->arena, r, row, SIB_IMAGE, ncols)};
                parse_vector(regs, pgres_text(r, row, SIB_VECTOR), &v->seen);
                if (pgres_text(r, row, SIB_NO_OLD)[0] == 'f')
                        v->old = take_cells(q->p->arena, r, row, SIB_IMAGE + ncols, ncols);
        }
}

static void siblings_sql(const struct set_table *t, struct buf *sql)
{
        const struct relation *rel = &t->set->rel;
        buf_put_str(sql,
                    "SELECT s.n, b.region, b.hlc,"
                    " (SELECT pg_catalog.string_agg(v.key || ':' || v.value, ' ') FROM pg_catalog.jsonb_each_text(b.vector) v),"
                    " b.row_xid, b.old IS NULL");
        for (int old = 0; old < 2; old++)
                for (uint16_t i = 0; i < rel->ncols; i++) {
                        buf_put_str(sql, old ? ", b.old ->> " : ", b.image ->> ");
                        pg_literal(sql, rel->cols[i].name);
                }
        buf_put_str(sql, " FROM pg_catalog.unnest($2::bytea[]) WITH ORDINALITY AS s(key, n)"
                         " JOIN pangea.sibling b ON b.rel = $1 AND b.key = s.key");
}

/* The keys that may have siblings; or all that have a row. */
static struct asked *ask(struct pass *p, struct set_table *t, bool open_only, struct buf *keys)
{
        struct asked *q = ARENA_NEW(p->arena, struct asked);
        q->p = p;
        q->keys = ARENA_ARRAY(p->arena, struct set_key *, t->n);
        array_begin(keys, 17);
        for (uint32_t i = 0; i < t->n; i++) {
                struct set_key *k = &t->keys[i];
                if (open_only ? !siblings_perhaps(p->a, t->name, k->net) : !k->row)
                        continue;
                array_add(keys, k->net->kb, k->net->klen);
                q->keys[q->n++] = k;
        }
        return q;
}

static enum status ask_siblings(struct pass *p, struct set_table *t, struct err *e)
{
        struct buf keys, sql;
        struct asked *q = ask(p, t, true, &keys);
        struct stmt *st = target_stmt(t->table->map.target, "siblings", 8);
        enum status s = ST_OK;
        buf_init(&sql, 0);
        if (q->n && !st) {
                s = err_set(e, ST_RETRY, "table %s: too many prepared statements; beginning anew", t->name);
        } else if (q->n) {
                if (!st->name[0])
                        siblings_sql(t, &sql);
                struct pg_param params[2] = {param_text(t->name), array_end(&keys, q->n, 1001)};
                s = session_send(p->a->db, st, buf_cstr(&sql), 2, params, on_siblings, q, e);
        }
        buf_release(&keys);
        buf_release(&sql);
        return s;
}

static void on_dots(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        struct asked *q = arg;
        const struct regset *regs = &q->p->a->regs;
        for (int row = 0; row < pgres_rows(r); row++) {
                struct set_key *k = q->keys[pgres_i64(r, row, 0) - 1];
                const struct relation *rel = &k->table->set->rel;
                const char *col = pgres_text(r, row, 1), *region = pgres_text(r, row, 3);
                uint16_t c = 0;
                while (c < rel->ncols && strcmp(rel->cols[c].name, col) != 0)
                        c++;
                if (c == rel->ncols)
                        continue; /* dropped since */
                uint32_t len = (uint32_t)pgres_len(r, row, 2);
                k->dots = grow(q->p->arena, k->dots, k->ndots, sizeof *k->dots);
                k->dots[k->ndots++] = (struct column_dot){
                        .col = c,
                        .element = {arena_strndup(q->p->arena, pgres_text(r, row, 2), len), len},
                        .dot = {regset_find(regs, region, strlen(region)), {(uint64_t)pgres_i64(r, row, 4)}},
                };
        }
}

static enum status ask_dots(struct pass *p, struct set_table *t, struct err *e)
{
        static const char sql[] =
                "SELECT s.n, d.col, d.element, d.region, d.hlc FROM pg_catalog.unnest($2::bytea[]) WITH ORDINALITY AS s(key, n)"
                " JOIN pangea.column_dot d ON d.rel = $1 AND d.key = s.key ORDER BY d.region COLLATE \"C\", d.hlc";
        struct buf keys;
        struct asked *q = ask(p, t, false, &keys);
        enum status s = ST_OK;
        if (q->n) {
                struct pg_param params[2] = {param_text(t->name), array_end(&keys, q->n, 1001)};
                s = session_send(p->a->db, &p->a->fixed[FIXED_DOTS_FIND], sql, 2, params, on_dots, q, e);
        }
        buf_release(&keys);
        return s;
}

static void in_order(struct set_key *k, const struct regset *regs)
{
        for (size_t i = 1; i < k->nsibs; i++)
                for (size_t j = i; j && dot_cmp(k->sibs[j - 1].dot, k->sibs[j].dot, regs) > 0; j--) {
                        struct version v = k->sibs[j];
                        k->sibs[j] = k->sibs[j - 1];
                        k->sibs[j - 1] = v;
                }
}

static enum status load_tombs(struct pass *p, struct set_table *const *tables, size_t n, struct err *e)
{
        size_t room = 0, count = 0;
        for (size_t i = 0; i < n; i++)
                room += tables[i]->n;
        struct tomb_question *q = ARENA_ARRAY(p->arena, struct tomb_question, room);
        struct set_key **keys = ARENA_ARRAY(p->arena, struct set_key *, room);
        for (size_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < tables[i]->n; k++) {
                        struct set_key *key = &tables[i]->keys[k];
                        if (!pass_tombs_perhaps(p, tables[i]->table, key->net))
                                continue;
                        keys[count] = key;
                        q[count++] = (struct tomb_question){.table = tables[i]->table, .net = key->net};
                }
        enum status s = pass_ask_tombs(p, q, count, true, e);
        for (size_t i = 0; i < count && s == ST_OK; i++)
                keys[i]->tombs = q[i].tombs;
        return s;
}

enum status siblings_load(struct pass *p, struct set_table *const *tables, size_t n, struct err *e)
{
        enum status s = ST_OK;
        for (size_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < tables[i]->n; k++) {
                        struct set_key *key = &tables[i]->keys[k];
                        key->nsibs = key->ndots = 0;
                        key->stale = false;
                }
        for (size_t i = 0; i < n && s == ST_OK; i++) {
                s = ask_siblings(p, tables[i], e);
                if (s == ST_OK && tables[i]->set->dots)
                        s = ask_dots(p, tables[i], e);
        }
        if (s == ST_OK)
                s = session_sync(p->a->db, p, e);
        for (size_t i = 0; i < n && s == ST_OK; i++)
                for (uint32_t k = 0; k < tables[i]->n; k++)
                        in_order(&tables[i]->keys[k], &p->a->regs);
        return s == ST_OK ? load_tombs(p, tables, n, e) : s;
}

/* ---- write --------------------------------------------------------------------------------------------------------------------------- */

struct columns {
        struct buf rel, key, region, hlc, a, b, c, d, e;
        uint32_t n;
};

static void add_text(struct buf *b, const char *s)
{
        array_add(b, s, s ? strlen(s) : 0);
}

static void add_i64(struct buf *b, uint64_t v)
{
        buf_put_u32(b, 8);
        buf_put_u64(b, v);
}

static void columns_init(struct columns *c)
{
        struct buf *text[] = {&c->rel, &c->region, &c->a, &c->b, &c->c, &c->e};
        c->n = 0;
        for (size_t i = 0; i < sizeof text / sizeof *text; i++)
                array_begin(text[i], 25);
        array_begin(&c->key, 17);
        array_begin(&c->hlc, 20);
        array_begin(&c->d, 20);
}

static void columns_release(struct columns *c)
{
        struct buf *all[] = {&c->rel, &c->key, &c->region, &c->hlc, &c->a, &c->b, &c->c, &c->d, &c->e};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                buf_release(all[i]);
}

static void add_key(struct columns *c, const struct set_key *k)
{
        add_text(&c->rel, k->table->name);
        array_add(&c->key, k->net->kb, k->net->klen);
        c->n++;
}

static void add_dot(struct columns *c, const struct regset *regs, struct dot dot)
{
        add_text(&c->region, regset_name(regs, dot.region));
        add_i64(&c->hlc, dot.hlc.v);
}

static const char *vector_json(struct arena *arena, const struct vector *v, const struct regset *regs)
{
        struct buf b;
        buf_init(&b, 0);
        for (unsigned i = 0; i < regs->n; i++)
                if (v->at[i].v)
                        buf_printf(&b, "%s\"%s\": %" PRIu64, b.len ? ", " : "{", regs->name[i], v->at[i].v);
        buf_put_str(&b, b.len ? "}" : "{}");
        const char *s = arena_strdup(arena, buf_cstr(&b));
        buf_release(&b);
        return s;
}

static bool written(const struct set_key *k)
{
        return k->out.act == MERGE_PUT;
}

/* A set must be remembered when the row's xmin does not say all there is to know of it. */
static bool remembered(const struct pass *p, const struct set_key *k)
{
        const struct key_state *after = &k->out.after;
        if (!after->row || after->nsibs != 1)
                return after->row && after->nsibs > 1;
        struct dot dot = after->sibs[0].dot, says = written(k) ? p->w->stamp : k->row_dot;
        bool goes_on = p->own_parts && dot.hlc.v == p->w->dot.hlc.v && dot.region.i == p->a->me.i;
        if (k->table->set->olds && dot.hlc.v && (after->sibs[0].old || goes_on))
                return true; /* what it replaced stands nowhere else; nor that it replaced nothing, when a later chunk goes on from it */
        if (!dot.hlc.v || (!written(k) && !k->nsibs))
                return false; /* older than everything unstable; or nothing has changed */
        return dot.hlc.v != says.hlc.v || dot.region.i != says.region.i;
}

static void add_sibling(struct pass *p, struct columns *c, const struct set_key *k, const struct version *v)
{
        const struct regset *regs = &p->a->regs;
        add_key(c, k);
        add_dot(c, regs, v->dot);
        add_text(&c->a, vector_json(p->arena, &v->seen, regs));
        add_text(&c->b, set_json(p->arena, k->table, v->row));
        add_text(&c->c, v->old ? set_json(p->arena, k->table, v->old) : NULL);
        if (set_outside(p, k))
                add_i64(&c->d, UINT64_MAX);
        else if (written(k))
                array_add(&c->d, NULL, 0);
        else
                add_i64(&c->d, k->standing->xmin);
        add_text(&c->e, k->table->set->name);
        tombs_add(p->a->open, k->table->name, k->net->kb, k->net->klen);
}

static enum status send_drop(struct pass *p, struct columns *c, bool dots, struct err *e)
{
        static const char *const sql[2] = {
                "DELETE FROM pangea.sibling b USING ROWS FROM (unnest($1::text[]), unnest($2::bytea[])) AS s(rel, key)"
                " WHERE b.rel = s.rel AND b.key = s.key",
                "DELETE FROM pangea.column_dot b USING ROWS FROM (unnest($1::text[]), unnest($2::bytea[])) AS s(rel, key)"
                " WHERE b.rel = s.rel AND b.key = s.key",
        };
        if (!c->n)
                return ST_OK;
        struct pg_param params[2] = {array_end(&c->rel, c->n, 1009), array_end(&c->key, c->n, 1001)};
        return session_send(p->a->db, &p->a->fixed[dots ? FIXED_DOTS_DROP : FIXED_SIB_DROP], sql[dots], 2, params, NULL, NULL, e);
}

/* xid NULL: of this transaction; -1: the row waits in pangea.suppressed. */
static enum status send_siblings(struct pass *p, struct columns *c, struct err *e)
{
        static const char sql[] =
                "INSERT INTO pangea.sibling (rel, key, region, hlc, vector, image, old, row_xid, rule)"
                " SELECT s.rel, s.key, s.region, s.hlc, s.vector::jsonb, s.image::jsonb, s.old::jsonb,"
                " CASE WHEN s.xid = -1 THEN NULL ELSE COALESCE(s.xid, pg_catalog.pg_current_xact_id()::xid::text::int8) END, s.rule"
                " FROM ROWS FROM (unnest($1::text[]), unnest($2::bytea[]), unnest($3::text[]), unnest($4::int8[]), unnest($5::text[]),"
                " unnest($6::text[]), unnest($7::text[]), unnest($8::int8[]), unnest($9::text[]))"
                " AS s(rel, key, region, hlc, vector, image, old, xid, rule)";
        if (!c->n)
                return ST_OK;
        struct pg_param params[9] = {
                array_end(&c->rel, c->n, 1009), array_end(&c->key, c->n, 1001), array_end(&c->region, c->n, 1009),
                array_end(&c->hlc, c->n, 1016), array_end(&c->a, c->n, 1009),   array_end(&c->b, c->n, 1009),
                array_end(&c->c, c->n, 1009),   array_end(&c->d, c->n, 1016),   array_end(&c->e, c->n, 1009),
        };
        return session_send(p->a->db, &p->a->fixed[FIXED_SIB_PUT], sql, 9, params, NULL, NULL, e);
}

static enum status send_dots(struct pass *p, struct columns *c, struct err *e)
{
        static const char sql[] =
                "INSERT INTO pangea.column_dot (rel, key, col, element, region, hlc) SELECT * FROM ROWS FROM (unnest($1::text[]),"
                " unnest($2::bytea[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::int8[])) AS s";
        if (!c->n)
                return ST_OK;
        p->a->has_dots = true;
        struct pg_param params[6] = {
                array_end(&c->rel, c->n, 1009), array_end(&c->key, c->n, 1001),    array_end(&c->a, c->n, 1009),
                array_end(&c->b, c->n, 1009),   array_end(&c->region, c->n, 1009), array_end(&c->hlc, c->n, 1016),
        };
        return session_send(p->a->db, &p->a->fixed[FIXED_DOTS_PUT], sql, 6, params, NULL, NULL, e);
}

enum status siblings_drop(struct pass *p, struct set_key *const *keys, uint32_t n, struct err *e)
{
        struct columns c;
        columns_init(&c);
        for (uint32_t i = 0; i < n; i++)
                add_key(&c, keys[i]);
        enum status s = send_drop(p, &c, false, e);
        if (s == ST_OK && n)
                s = session_sync(p->a->db, p, e); /* the caller moves the keys */
        columns_release(&c);
        return s;
}

static void collect_siblings(struct pass *p, struct set_key *k, struct columns *drop, struct columns *put)
{
        bool had = k->nsibs || k->stale, has = remembered(p, k);
        if (!had && !has)
                return;
        if (has && k->nsibs && k->out.act == MERGE_KEEP && !k->out.sibs_changed && !k->stale)
                return; /* as it was */
        if (had) {
                add_key(drop, k);
                tombs_removed(p->a->open, k->nsibs + k->stale); /* looked at in stability_turn */
        }
        if (!has)
                return;
        for (size_t i = 0; i < k->out.after.nsibs; i++)
                add_sibling(p, put, k, &k->out.after.sibs[i]);
}

static void collect_dots(struct pass *p, struct set_key *k, struct columns *drop, struct columns *put)
{
        const struct key_state *after = &k->out.after;
        if (!k->out.dots_changed)
                return;
        add_key(drop, k); /* also what an earlier life of the key left */
        for (size_t i = 0; i < after->ndots; i++) {
                const struct column_dot *d = &after->dots[i];
                add_key(put, k);
                add_text(&put->a, k->table->set->rel.cols[d->col].name);
                array_add(&put->b, d->element.data ? d->element.data : "", d->element.len);
                add_dot(put, &p->a->regs, d->dot);
        }
}

enum status siblings_store(struct pass *p, struct set_table *const *tables, size_t n, struct err *e)
{
        struct columns drop, put, drop_dots, put_dots;
        columns_init(&drop);
        columns_init(&put);
        columns_init(&drop_dots);
        columns_init(&put_dots);
        for (size_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < tables[i]->n; k++) {
                        collect_siblings(p, &tables[i]->keys[k], &drop, &put);
                        if (tables[i]->set->dots)
                                collect_dots(p, &tables[i]->keys[k], &drop_dots, &put_dots);
                }
        enum status s = send_drop(p, &drop, false, e);
        if (s == ST_OK)
                s = send_siblings(p, &put, e);
        if (s == ST_OK)
                s = send_drop(p, &drop_dots, true, e);
        if (s == ST_OK)
                s = send_dots(p, &put_dots, e);
        columns_release(&drop);
        columns_release(&put);
        columns_release(&drop_dots);
        columns_release(&put_dots);
        return s;
}

/* Deletes: contributions that they have seen are dead. Those of the key's next life are later, and stay. key NULL: of all keys. */
static enum status forget_dead(struct pass *p, const char *rel, const struct net *key, const struct vector *seen, struct err *e)
{
        static const char sql[] =
                "DELETE FROM pangea.column_dot d USING ROWS FROM (unnest($3::text[]), unnest($4::int8[])) AS v(region, hlc)"
                " WHERE d.rel = $1 AND (d.key = $2 OR $2 IS NULL) AND d.region = v.region AND d.hlc <= v.hlc";
        struct buf region, hlc;
        uint32_t n = 0;
        array_begin(&region, 25);
        array_begin(&hlc, 20);
        for (unsigned i = 0; i < p->a->regs.n; i++) {
                if (!seen->at[i].v)
                        continue;
                add_text(&region, p->a->regs.name[i]);
                add_i64(&hlc, seen->at[i].v);
                n++;
        }
        struct pg_param bytes = {.data = key ? key->kb : NULL, .len = key ? (int)key->klen : 0, .binary = true, .type = 17};
        struct pg_param params[4] = {param_text(rel), bytes, array_end(&region, n, 1009), array_end(&hlc, n, 1016)};
        enum status s = session_send(p->a->db, &p->a->fixed[FIXED_DOTS_DEAD], sql, 4, params, NULL, NULL, e);
        buf_release(&region);
        buf_release(&hlc);
        return s;
}

enum status siblings_deleted(struct pass *p, const struct fold_table *t, struct err *e)
{
        enum status s = ST_OK;
        for (uint32_t i = 0; i < t->n && s == ST_OK; i++) {
                struct vector seen = pass_seen_by(p->w, t->nets[i]);
                if (t->nets[i]->del) /* one that ends as a row: merge_own */
                        s = forget_dead(p, t->map.target->name, t->nets[i], &seen, e);
        }
        return s;
}

enum status siblings_truncated(struct pass *p, const char *rel, struct err *e)
{
        struct vector seen = *p->w->g->txs[p->seg->truncate->tx].vec;
        seen.at[p->w->dot.region.i] = p->w->dot.hlc;
        return forget_dead(p, rel, NULL, &seen, e);
}
