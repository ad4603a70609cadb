#include "apply/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "change/binary.h"

#define WIDE_COLUMNS 100 /* both measured: fewer columns, or more rows, and unnest is quicker */
#define WIDE_ROWS 16
#define OID_TEXT 25u
#define OID_TEXT_ARRAY 1009u

/* Array types of the values that travel in binary. */
static const struct {
        uint32_t oid, array;
        const char *name;
} binaries[] = {
        [BINARY_NONE] = {OID_TEXT, OID_TEXT_ARRAY, "text"},
        [BINARY_BOOL] = {16, 1000, "bool"},
        [BINARY_INT2] = {21, 1005, "int2"},
        [BINARY_INT4] = {23, 1007, "int4"},
        [BINARY_INT8] = {20, 1016, "int8"},
        [BINARY_OID] = {26, 1028, "oid"},
        [BINARY_UUID] = {2950, 2951, "uuid"},
        [BINARY_BYTEA] = {17, 1001, "bytea"},
        [BINARY_FLOAT4] = {700, 1021, "float4"},
        [BINARY_FLOAT8] = {701, 1022, "float8"},
};

/* One unnest array: a column of the relation, taken from the rows or from the key rows. */
struct source {
        uint16_t rel_col;
        uint16_t target;
        bool from_key;
        enum binary_type type;
};

struct builder {
        const struct sql_batch *b;
        const struct target *t;
        struct source *src;
        uint16_t nsrc;
        uint16_t *key_src; /* per key column: index into src */
        bool by_subscript;
        struct buf sql;
};

static const struct value *row_of(const struct net *n, const struct source *s)
{
        return &(s->from_key ? n->key : n->row)[s->rel_col];
}

/* Binary when every value that is not NULL came in binary. */
static enum binary_type array_type(const struct sql_batch *b, const struct source *s)
{
        enum binary_type type = binary_type_of(b->table->rel->cols[s->rel_col].type);
        if (type == BINARY_NONE)
                return type;
        for (uint32_t i = 0; i < b->n; i++) {
                enum value_kind k = row_of(b->nets[i], s)->kind;
                if (k != VALUE_BINARY && k != VALUE_NULL)
                        return BINARY_NONE;
        }
        return type;
}

static void add_source(struct builder *w, uint16_t rel_col, bool from_key)
{
        struct source *s = &w->src[w->nsrc];
        *s = (struct source){.rel_col = rel_col, .target = (uint16_t)w->b->table->map.to[rel_col], .from_key = from_key};
        s->type = array_type(w->b, s);
        w->nsrc++;
}

/* The rows carry this column: it is no generated one here, and was sent. */
static bool carries(const struct builder *w, uint16_t rel_col)
{
        return w->b->table->map.to[rel_col] >= 0 && w->b->nets[0]->row[rel_col].kind != VALUE_UNSENT;
}

static bool locks(enum sql_kind kind)
{
        return kind == SQL_LOCK || kind == SQL_LOCK_OTHERS;
}

static void choose_sources(struct builder *w)
{
        const struct relation *rel = w->b->table->rel;
        bool rows = w->b->kind != SQL_DELETE && !locks(w->b->kind);
        bool moves = w->b->kind == SQL_UPDATE && w->b->nets[0]->key != w->b->nets[0]->row;
        if (rows)
                for (uint16_t i = 0; i < rel->ncols; i++)
                        if (carries(w, i))
                                add_source(w, i, false);
        for (uint16_t k = 0; k < rel->nkeys; k++) {
                if (rows && !moves) {
                        for (uint16_t i = 0; i < w->nsrc; i++)
                                if (w->src[i].rel_col == rel->keys[k])
                                        w->key_src[k] = i;
                } else {
                        w->key_src[k] = w->nsrc;
                        add_source(w, rel->keys[k], true);
                }
        }
}

/* s.cN, cast to the target's type when it is not that already */
static void put_value(struct builder *w, uint16_t i)
{
        const struct source *s = &w->src[i];
        const struct target_column *c = &w->t->cols[s->target];
        char plain[40];
        snprintf(plain, sizeof plain, "pg_catalog.%s", binaries[s->type].name);
        if (strcmp(plain, c->type_plain) == 0)
                buf_printf(&w->sql, "s.c%u", i);
        else
                buf_printf(&w->sql, "s.c%u::%s", i, c->type);
}

static void put_unnest(struct builder *w, uint16_t i)
{
        buf_printf(&w->sql, "%spg_catalog.unnest($%u::pg_catalog.%s[])", i ? ", " : "", i + 1u, binaries[w->src[i].type].name);
}

/* In a select list each unnest that ends is looked for among all of them: 1,500 columns cost 9 ms a statement, by subscripts 0.9. Of more rows
 * than a few the subscripts are what costs: without a fixed width each element is sought from the first. */
static void put_subscripts(struct builder *w)
{
        buf_put_str(&w->sql, " FROM (SELECT ");
        for (uint16_t i = 0; i < w->nsrc; i++)
                buf_printf(&w->sql, "($%u::pg_catalog.%s[])[g] AS c%u, ", i + 1u, binaries[w->src[i].type].name, i);
        buf_printf(&w->sql, "g::pg_catalog.int8 AS n FROM pg_catalog.generate_subscripts($1::pg_catalog.%s[], 1) AS g) AS s",
                   binaries[w->src[0].type].name);
}

/* The arrays as rows s(c0, c1, ..), with their number n where it is asked for. They are of one length. In a select list they are taken
 * apart as the rows are asked for; ROWS FROM would first put all rows into a tuple store: a tenth of what an insert costs. */
static void put_rows(struct builder *w, bool ordinal)
{
        if (w->by_subscript) {
                put_subscripts(w);
                return;
        }
        buf_put_str(&w->sql, ordinal ? " FROM ROWS FROM (" : " FROM (SELECT ");
        for (uint16_t i = 0; i < w->nsrc; i++) {
                put_unnest(w, i);
                if (!ordinal)
                        buf_printf(&w->sql, " AS c%u", i);
        }
        buf_put_str(&w->sql, ordinal ? ") WITH ORDINALITY AS s(" : ") AS s");
        if (!ordinal)
                return;
        for (uint16_t i = 0; i < w->nsrc; i++)
                buf_printf(&w->sql, "c%u, ", i);
        buf_put_str(&w->sql, "n)");
}

static void put_key_match(struct builder *w)
{
        for (uint16_t k = 0; k < w->t->nkeys; k++) {
                const struct target_column *c = &w->t->cols[w->t->keys[k]];
                buf_printf(&w->sql, "%st.%s %s ", k ? " AND " : "", c->ident, c->eq);
                put_value(w, w->key_src[k]);
        }
}

/* age() is measured from our own transaction's xid: a row written by a later one has a negative age, like a frozen row of more than two
 * billion transactions ago; only the latter has no timestamp any more.
 * Parameters behind the arrays: S, H, then a timestamp for every region that has an origin here. */
static void put_guard(struct builder *w, const struct sql_origins *o)
{
        unsigned p = w->nsrc + 1u;
        buf_printf(&w->sql,
                   "(pg_catalog.age(t.xmin) > pg_catalog.age($%u)"
                   " OR COALESCE((SELECT CASE WHEN c.timestamp IS NULL THEN pg_catalog.age(t.xmin) < 0 ELSE CASE c.roident",
                   p);
        unsigned next = p + 2;
        for (unsigned r = 0; r < o->regs->n; r++)
                if (o->roident[r])
                        buf_printf(&w->sql, " WHEN %u THEN c.timestamp <= $%u", o->roident[r], next++);
        buf_printf(&w->sql,
                   " ELSE c.timestamp <= $%u AND pg_catalog.age(t.xmin) > pg_catalog.age($%u) END END"
                   " FROM pg_catalog.pg_xact_commit_timestamp_origin(t.xmin) AS c), false)"
                   " OR t.xmin = pg_catalog.pg_current_xact_id()::pg_catalog.xid)",
                   next, p + 1);
}

static void put_insert(struct builder *w)
{
        buf_printf(&w->sql, "INSERT INTO %s AS t (", w->t->qualified);
        for (uint16_t i = 0; i < w->nsrc; i++)
                buf_printf(&w->sql, "%s%s", i ? ", " : "", w->t->cols[w->src[i].target].ident);
        buf_printf(&w->sql, ")%s SELECT ", w->t->identity_always ? " OVERRIDING SYSTEM VALUE" : "");
        for (uint16_t i = 0; i < w->nsrc; i++) {
                buf_put_str(&w->sql, i ? ", " : "");
                put_value(w, i);
        }
        put_rows(w, false);
        if (w->b->kind == SQL_INSERT)
                return;
        if (w->b->kind == SQL_PUT_ABSENT && w->t->set && w->t->unique_extra) { /* it may only be taken, not written: apply/sets.c */
                buf_put_str(&w->sql, " ON CONFLICT DO NOTHING");
                return;
        }
        buf_put_str(&w->sql, " ON CONFLICT (");
        for (uint16_t k = 0; k < w->t->nkeys; k++)
                buf_printf(&w->sql, "%s%s", k ? ", " : "", w->t->cols[w->t->keys[k]].ident);
        buf_put_str(&w->sql, w->b->kind == SQL_UPSERT && !w->t->fixed ? ") DO UPDATE SET " : ") DO NOTHING");
}

static bool updatable(const struct builder *w, uint16_t i)
{
        return !w->src[i].from_key && !w->t->cols[w->src[i].target].identity_always;
}

static void put_sets(struct builder *w, bool excluded)
{
        bool any = false;
        for (uint16_t i = 0; i < w->nsrc; i++) {
                const char *ident = w->t->cols[w->src[i].target].ident;
                if (!updatable(w, i))
                        continue;
                buf_printf(&w->sql, "%s%s = ", any ? ", " : "", ident);
                if (excluded)
                        buf_printf(&w->sql, "EXCLUDED.%s", ident);
                else
                        put_value(w, i);
                any = true;
        }
}

/* Of a rule with siblings: the columns of a version, each as PostgreSQL prints it; else the row as JSON. */
static void put_image(struct buf *sql, const struct target *t)
{
        if (!t->set)
                buf_put_str(sql, t->multi ? ", pg_catalog.to_jsonb(t)" : ", NULL");
        for (uint16_t i = 0; t->set && i < t->ncols; i++)
                if (!t->cols[i].generated)
                        buf_printf(sql, ", t.%s", t->cols[i].ident);
}

static void put_lock(struct builder *w)
{
        buf_printf(&w->sql, "SELECT s.n, " SQL_LOCK_COLUMNS, w->nsrc + 1u);
        put_image(&w->sql, w->t);
        put_rows(w, true);
        buf_printf(&w->sql, " JOIN %s AS t ON ", w->t->qualified);
        put_key_match(w);
        if (w->b->kind == SQL_LOCK_OTHERS)
                buf_put_str(&w->sql, " WHERE t.xmin <> pg_catalog.pg_current_xact_id()::pg_catalog.xid");
        buf_put_str(&w->sql, " ORDER BY ");
        for (uint16_t k = 0; k < w->t->nkeys; k++)
                buf_printf(&w->sql, "%st.%s", k ? ", " : "", w->t->cols[w->t->keys[k]].ident);
        buf_put_str(&w->sql, " FOR NO KEY UPDATE OF t");
}

static void write_sql(struct builder *w, const struct sql_origins *o)
{
        const char *where = " WHERE ";
        switch (w->b->kind) {
        case SQL_INSERT:
        case SQL_PUT_ABSENT: put_insert(w); return;
        case SQL_UPSERT:
                put_insert(w);
                if (w->t->fixed)
                        return;
                put_sets(w, true);
                break;
        case SQL_UPDATE:
                buf_printf(&w->sql, "UPDATE %s AS t SET ", w->t->qualified);
                put_sets(w, false);
                put_rows(w, w->b->tell);
                buf_put_str(&w->sql, where);
                put_key_match(w);
                where = " AND ";
                break;
        case SQL_DELETE:
                buf_printf(&w->sql, "DELETE FROM %s AS t USING (SELECT *", w->t->qualified);
                put_rows(w, w->b->tell);
                buf_put_str(&w->sql, ") AS s WHERE ");
                put_key_match(w);
                where = " AND ";
                break;
        case SQL_LOCK:
        case SQL_LOCK_OTHERS: put_lock(w); return;
        }
        if (w->b->guard) {
                buf_put_str(&w->sql, where);
                put_guard(w, o);
        }
        if (w->b->tell)
                buf_put_str(&w->sql, " RETURNING s.n");
}

/* ---- arrays in PostgreSQL's binary format ---------------------------------------------------------------------------------------- */

static void put_element(struct buf *out, const struct value *v, enum binary_type array, enum binary_type column)
{
        if (v->kind == VALUE_NULL) {
                buf_put_u32(out, UINT32_MAX);
                return;
        }
        if (v->kind == VALUE_BINARY && array == BINARY_NONE) {
                size_t at = out->len;
                buf_put_u32(out, 0);
                if (!out->full && binary_to_text(column, v->data, v->len, out)) {
                        uint32_t n = (uint32_t)(out->len - at - 4);
                        uint8_t be[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
                        memcpy(out->data + at, be, 4);
                } else {
                        out->full = true;
                }
                return;
        }
        buf_put_u32(out, v->len);
        buf_put(out, v->data, v->len);
}

static void put_array(struct buf *out, const struct sql_batch *b, const struct source *s)
{
        bool nulls = false;
        enum binary_type column = binary_type_of(b->table->rel->cols[s->rel_col].type);
        for (uint32_t i = 0; i < b->n && !nulls; i++)
                nulls = row_of(b->nets[i], s)->kind == VALUE_NULL;
        buf_put_u32(out, 1);
        buf_put_u32(out, nulls);
        buf_put_u32(out, binaries[s->type].oid);
        buf_put_u32(out, b->n);
        buf_put_u32(out, 1);
        for (uint32_t i = 0; i < b->n; i++)
                put_element(out, row_of(b->nets[i], s), s->type, column);
}

/* The shape of a statement: what makes its text differ. */
static void shape_of(const struct builder *w, struct buf *out)
{
        buf_put_u8(out, (uint8_t)w->b->kind);
        buf_put_u8(out, (uint8_t)((w->b->guard != NULL) | w->b->tell << 1 | w->by_subscript << 2));
        for (uint16_t i = 0; i < w->nsrc; i++) {
                buf_put_u16(out, w->src[i].target);
                buf_put_u8(out, (uint8_t)((unsigned)w->src[i].type << 1 | w->src[i].from_key));
        }
}

struct stmt *target_stmt(struct target *t, const void *shape, size_t len)
{
        struct stmt *st = map_get(&t->statements, shape, len);
        if (st)
                return st;
        st = MEM_NEW(struct stmt);
        if (map_put(&t->statements, shape, len, st))
                return st;
        free(st);
        return NULL;
}

static struct stmt *stmt_of(struct builder *w)
{
        struct buf shape;
        buf_init(&shape, 0);
        shape_of(w, &shape);
        struct stmt *st = target_stmt(w->b->table->map.target, shape.data, shape.len);
        buf_release(&shape);
        return st;
}

struct guard_room {
        uint8_t xid[2][4], ts[MAX_REGIONS][8], hlc[8];
};

/* 0 = none: NULL makes every comparison with it unknown, which lets no row through. */
static struct pg_param xid_or_null(uint8_t room[4], uint32_t xid)
{
        struct pg_param p = param_xid(room, xid);
        if (!xid)
                p.data = NULL;
        return p;
}

static int guard_params(struct pg_param *p, struct guard_room *room, const struct sql_guard *g, const struct sql_origins *o)
{
        int n = 0;
        p[n++] = xid_or_null(room->xid[0], g->stable_xid);
        p[n++] = xid_or_null(room->xid[1], g->h_xid);
        for (unsigned r = 0; r < o->regs->n; r++)
                if (o->roident[r])
                        p[n++] = param_ts(room->ts[r], g->ts[r]);
        p[n++] = param_ts(room->hlc, g->hlc_us);
        return n;
}

static enum status send_built(struct session *s, const struct sql_origins *o, struct builder *w, struct stmt *st, on_result *fn,
                              void *arg, struct err *e)
{
        struct buf data;
        struct guard_room room = {.xid = {{0}}};
        uint16_t n = w->nsrc;
        struct pg_param *p = mem_zalloc(sizeof *p * (n + 3u + MAX_REGIONS));
        size_t *at = mem_zalloc(sizeof *at * (n + 1u));
        buf_init(&data, 0);
        for (uint16_t i = 0; i < n; i++) {
                put_array(&data, w->b, &w->src[i]);
                at[i + 1] = data.len;
        }
        for (uint16_t i = 0; i < n && !data.full; i++)
                p[i] = (struct pg_param){.data = data.data + at[i],
                                         .len = (int)(at[i + 1] - at[i]),
                                         .binary = true,
                                         .type = binaries[w->src[i].type].array};
        int np = n;
        if (locks(w->b->kind))
                p[np++] = xid_or_null(room.xid[0], w->b->guard ? w->b->guard->stable_xid : 0);
        else if (w->b->guard)
                np += guard_params(p + n, &room, w->b->guard, o);
        if (!st->name[0])
                write_sql(w, o);
        enum status rc =
                data.full ? err_named(e, ST_DATA, "row_refused", "table %s: the rows of a group need more than 1 GB", w->t->name)
                          : session_send(s, st, w->sql.len ? buf_cstr(&w->sql) : "", np, p, fn, arg, e);
        buf_release(&data);
        free(at);
        free(p);
        return rc;
}

enum status sql_send(struct session *s, const struct sql_origins *o, const struct sql_batch *b, on_result *fn, void *arg,
                     struct err *e)
{
        const struct relation *rel = b->table->rel;
        struct builder w = {.b = b, .t = b->table->map.target};
        w.src = mem_zalloc(sizeof *w.src * ((size_t)rel->ncols + rel->nkeys + 1));
        w.key_src = mem_zalloc(sizeof *w.key_src * (rel->nkeys + 1u));
        buf_init(&w.sql, 0);
        choose_sources(&w);
        w.by_subscript = w.nsrc >= WIDE_COLUMNS && b->n <= WIDE_ROWS;
        struct stmt *st = stmt_of(&w);
        enum status rc = st ? send_built(s, o, &w, st, fn, arg, e)
                            : err_set(e, ST_RETRY, "table %s: too many prepared statements; beginning anew", w.t->name);
        buf_release(&w.sql);
        free(w.src);
        free(w.key_src);
        return rc;
}

enum status sql_send_truncate(struct session *s, const struct sql_origins *o, const struct target *t, const char *qualified,
                              const struct sql_guard *g, on_result *fn, void *arg, struct err *e)
{
        struct builder w = {.nsrc = 0};
        struct guard_room room = {.xid = {{0}}};
        struct pg_param p[3 + MAX_REGIONS];
        buf_init(&w.sql, 0);
        buf_printf(&w.sql, "DELETE FROM %s AS t", qualified);
        if (g) {
                buf_put_str(&w.sql, " WHERE ");
                put_guard(&w, o);
        }
        if (g && t->set) { /* an open row's xmin is not its version */
                buf_put_str(
                        &w.sql,
                        " AND NOT EXISTS (SELECT FROM pangea.sibling b WHERE b.row_xid = t.xmin::text::pg_catalog.int8 AND b.rel = ");
                pg_literal(&w.sql, t->name);
                buf_put_str(&w.sql, ")");
        }
        enum status rc = session_query(s, buf_cstr(&w.sql), g ? guard_params(p, &room, g, o) : 0, p, fn, arg, e);
        buf_release(&w.sql);
        return rc;
}

enum status sql_send_lock_all(struct session *s, const struct target *t, const char *qualified, const struct sql_guard *g,
                              on_result *fn, void *arg, struct err *e)
{
        struct buf sql;
        uint8_t room[4];
        buf_init(&sql, 0);
        buf_printf(&sql, "SELECT 0, " SQL_LOCK_COLUMNS, 1u);
        put_image(&sql, t);
        buf_printf(&sql, ", t.tableoid, t.ctid FROM %s AS t FOR NO KEY UPDATE OF t", qualified);
        struct pg_param p = xid_or_null(room, g->stable_xid);
        enum status rc = session_query(s, buf_cstr(&sql), 1, &p, fn, arg, e);
        buf_release(&sql);
        return rc;
}

bool sql_same_columns(const struct relation *rel, const struct value *a, const struct value *b)
{
        for (uint16_t i = 0; i < rel->ncols; i++)
                if ((a[i].kind == VALUE_UNSENT) != (b[i].kind == VALUE_UNSENT))
                        return false;
        return true;
}
