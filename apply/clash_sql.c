/* clash_sql: what rows of a table can clash in, from the catalog, and the statements over it.  See apply/clash.h.
 *
 * Both sides of a comparison are subselects whose columns are named as the table's, so that index expressions and predicates, which the
 * catalog gives as text, stand in them as they are. Names of our own begin with "pangea " lest they hide a column. */
#include "apply/clash.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "change/json.h"

struct clash_part {
        char *expr; /* text over the table's columns, with its collation */
        char *op;   /* OPERATOR(schema.name) that is true when both clash */
};

struct clash_constraint {
        char *name, *predicate; /* predicate NULL: none */
        bool nulls_clash;       /* NULLS NOT DISTINCT */
        unsigned nparts;
        struct clash_part *parts;
};

struct clash_def {
        unsigned n;
        struct clash_constraint *constraints;
        char **generated; /* per column of the target: its expression; NULL: an ordinary column */
        unsigned ncols;
};

void clash_def_free(struct clash_def *d)
{
        if (!d)
                return;
        for (unsigned i = 0; i < d->n; i++) {
                struct clash_constraint *c = &d->constraints[i];
                for (unsigned k = 0; k < c->nparts; k++) {
                        free(c->parts[k].expr);
                        free(c->parts[k].op);
                }
                free(c->parts);
                free(c->name);
                free(c->predicate);
        }
        for (unsigned i = 0; i < d->ncols; i++)
                free(d->generated[i]);
        free(d->generated);
        free(d->constraints);
        free(d);
}

/* ---- the catalog ------------------------------------------------------------------------------------------------------------------- */

/* One row for each column of each index; the primary key is never violated: apply addresses rows by it. */
static const char parts_sql[] =
        "SELECT x.indexrelid, COALESCE(con.conname, ic.relname), pg_catalog.pg_get_expr(x.indpred, x.indrelid, false), x.indnullsnotdistinct,"
        " pg_catalog.pg_get_indexdef(x.indexrelid, k.i + 1, false), opn.nspname, o.oprname, cn.nspname, co.collname"
        " FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid"
        " LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = x.indexrelid AND con.conrelid = x.indrelid AND con.contype IN ('u', 'x')"
        " CROSS JOIN LATERAL pg_catalog.generate_series(0, x.indnkeyatts - 1) AS k(i)"
        " JOIN pg_catalog.pg_opclass oc ON oc.oid = x.indclass[k.i]"
        " LEFT JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3 AND NOT x.indisexclusion"
        "  AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype"
        " JOIN pg_catalog.pg_operator o ON o.oid = CASE WHEN x.indisexclusion THEN con.conexclop[k.i + 1] ELSE ao.amopopr END"
        " JOIN pg_catalog.pg_namespace opn ON opn.oid = o.oprnamespace"
        " LEFT JOIN pg_catalog.pg_collation co ON co.oid = x.indcollation[k.i]"
        " LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace"
        " WHERE x.indrelid = $1::pg_catalog.oid AND (x.indisunique OR x.indisexclusion) AND NOT x.indisprimary AND x.indisready"
        " ORDER BY ic.relname COLLATE \"C\", x.indexrelid, k.i";

static const char generated_sql[] =
        "SELECT a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid, false) FROM pg_catalog.pg_attribute a"
        " JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attrelid = $1::pg_catalog.oid AND a.attgenerated <> '' AND NOT a.attisdropped";

static struct clash_part part_of(const struct pgres *r, int row)
{
        struct clash_part p;
        struct buf b;
        buf_init(&b, 0);
        buf_printf(&b, "(%s)", pgres_text(r, row, 4));
        if (!pgres_null(r, row, 8)) {
                buf_put_str(&b, " COLLATE ");
                pg_qualified(&b, pgres_text(r, row, 7), pgres_text(r, row, 8));
        }
        p.expr = buf_taken(&b);
        buf_init(&b, 0);
        buf_put_str(&b, "OPERATOR(");
        pg_ident(&b, pgres_text(r, row, 5));
        buf_printf(&b, ".%s)", pgres_text(r, row, 6));
        p.op = buf_taken(&b);
        return p;
}

static void read_parts(struct clash_def *d, const struct pgres *r)
{
        int n = pgres_rows(r);
        d->constraints = mem_zalloc(sizeof *d->constraints * (size_t)(n + 1));
        for (int k = 0; k < n; k++) {
                if (k == 0 || strcmp(pgres_text(r, k, 0), pgres_text(r, k - 1, 0)) != 0) {
                        struct clash_constraint *c = &d->constraints[d->n++];
                        c->name = mem_strdup(pgres_text(r, k, 1));
                        c->predicate = pgres_null(r, k, 2) ? NULL : mem_strdup(pgres_text(r, k, 2));
                        c->nulls_clash = pgres_text(r, k, 3)[0] == 't';
                        c->parts = mem_zalloc(sizeof *c->parts * (size_t)n);
                }
                struct clash_constraint *c = &d->constraints[d->n - 1];
                c->parts[c->nparts++] = part_of(r, k);
        }
}

static void read_generated(struct clash_def *d, const struct target *t, const struct pgres *r)
{
        d->ncols = t->ncols;
        d->generated = mem_zalloc(sizeof *d->generated * (t->ncols + 1u));
        for (int k = 0; k < pgres_rows(r); k++)
                for (uint16_t i = 0; i < t->ncols; i++)
                        if (strcmp(t->cols[i].name, pgres_text(r, k, 0)) == 0)
                                d->generated[i] = mem_strdup(pgres_text(r, k, 1));
}

enum status clash_def_load(struct target *t, struct pg *side, struct err *e)
{
        if (t->clash)
                return ST_OK;
        struct buf oid;
        struct pgres *r = NULL;
        buf_init(&oid, 0);
        buf_printf(&oid, "%u", t->relid);
        struct pg_param p = PG_TEXT(buf_cstr(&oid));
        struct clash_def *d = MEM_NEW(struct clash_def);
        enum status s = pg_query(side, parts_sql, 1, &p, false, &r, e);
        if (s == ST_OK) {
                read_parts(d, r);
                pgres_free(r);
                r = NULL;
                s = pg_query(side, generated_sql, 1, &p, false, &r, e);
        }
        if (s == ST_OK) {
                read_generated(d, t, r);
                pgres_free(r);
                t->clash = d;
        } else {
                clash_def_free(d);
        }
        buf_release(&oid);
        return s;
}

/* ---- pieces of statements ---------------------------------------------------------------------------------------------------------- */

/* (row ->> 'column')::type */
static void put_cell(struct buf *sql, const char *json, const struct target_column *c)
{
        buf_printf(sql, "(%s OPERATOR(pg_catalog.->>) ", json);
        pg_literal(sql, c->name);
        buf_printf(sql, ")::%s", c->type);
}

/* The value as its type prints it. IS DISTINCT FROM: a row value with a NULL in it is no NULL. */
static void put_text_of(struct buf *sql, const char *prefix, const struct target_column *c)
{
        buf_printf(sql, "CASE WHEN %s%s IS DISTINCT FROM NULL THEN pg_catalog.format('%%s', %s%s) END", prefix, c->ident, prefix,
                   c->ident);
}

/* jsonb_object(names, texts) of the key or of all columns that are not generated */
static void put_object(struct buf *sql, const struct target *t, const char *prefix, bool key_only)
{
        for (int half = 0; half < 2; half++) {
                bool any = false;
                buf_put_str(sql, half ? "]::pg_catalog.text[], ARRAY[" : "pg_catalog.jsonb_object(ARRAY[");
                for (uint16_t i = 0; i < t->ncols; i++) {
                        if (t->cols[i].generated || (key_only && !t->cols[i].eq))
                                continue;
                        buf_put_str(sql, any ? ", " : "");
                        if (half)
                                put_text_of(sql, prefix, &t->cols[i]);
                        else
                                pg_literal(sql, t->cols[i].name);
                        any = true;
                }
        }
        buf_put_str(sql, "]::pg_catalog.text[])::pg_catalog.text");
}

/* t.key = (json ->> 'key')::type AND .. */
static void put_key_match(struct buf *sql, const struct target *t, const char *json)
{
        for (uint16_t k = 0; k < t->nkeys; k++) {
                const struct target_column *c = &t->cols[t->keys[k]];
                buf_printf(sql, "%st.%s %s ", k ? " AND " : "", c->ident, c->eq);
                put_cell(sql, json, c);
        }
}

/* The candidates as rows of the table, and their number. */
static void put_candidates(struct buf *sql, const struct target *t)
{
        buf_put_str(sql, "WITH \"pangea put\" AS MATERIALIZED (SELECT \"pangea row\".*");
        for (uint16_t i = 0; i < t->ncols; i++)
                if (t->clash->generated[i])
                        buf_printf(sql, ", (%s)::%s AS %s", t->clash->generated[i], t->cols[i].type, t->cols[i].ident);
        buf_put_str(sql, " FROM (SELECT \"pangea in\".n AS \"pangea n\"");
        for (uint16_t i = 0; i < t->ncols; i++) {
                if (t->cols[i].generated)
                        continue;
                buf_put_str(sql, ", ");
                put_cell(sql, "\"pangea in\".j", &t->cols[i]);
                buf_printf(sql, " AS %s", t->cols[i].ident);
        }
        buf_put_str(
                sql,
                " FROM (SELECT u.n, u.t::pg_catalog.jsonb AS j FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS u(t, n))"
                " AS \"pangea in\") AS \"pangea row\")");
}

/* (SELECT what, the parts FROM source WHERE predicate) AS alias */
static void put_side(struct buf *sql, const struct clash_constraint *c, const char *what, const char *source, const char *alias)
{
        buf_printf(sql, "(SELECT %s", what);
        for (unsigned k = 0; k < c->nparts; k++)
                buf_printf(sql, ", %s AS \"pangea %u\"", c->parts[k].expr, k);
        buf_printf(sql, " FROM %s", source);
        if (c->predicate)
                buf_printf(sql, " WHERE (%s)", c->predicate);
        buf_printf(sql, ") AS %s", alias);
}

static void put_match(struct buf *sql, const struct clash_constraint *c)
{
        for (unsigned k = 0; k < c->nparts; k++) {
                buf_printf(sql, "%s(p.\"pangea %u\" %s q.\"pangea %u\"", k ? " AND " : "", k, c->parts[k].op, k);
                if (c->nulls_clash)
                        buf_printf(sql,
                                   " OR p.\"pangea %u\" IS NOT DISTINCT FROM NULL AND q.\"pangea %u\" IS NOT DISTINCT FROM NULL", k,
                                   k);
                buf_put_str(sql, ")");
        }
}

/* Candidates that clash with each other. */
static void put_among(struct buf *sql, const struct clash_constraint *c)
{
        buf_put_str(sql, " SELECT p.\"pangea n\", q.\"pangea n\", NULL::pg_catalog.text, ");
        pg_literal(sql, c->name);
        buf_put_str(sql, "::pg_catalog.text FROM ");
        put_side(sql, c, "\"pangea n\"", "\"pangea put\"", "p");
        buf_put_str(sql, " JOIN ");
        put_side(sql, c, "\"pangea n\"", "\"pangea put\"", "q");
        buf_put_str(sql, " ON p.\"pangea n\" < q.\"pangea n\" AND ");
        put_match(sql, c);
}

/* Candidates that clash with visible rows. */
static void put_visible(struct buf *sql, const struct target *t, const struct clash_constraint *c)
{
        struct buf what;
        buf_put_str(sql, " SELECT p.\"pangea n\", NULL::pg_catalog.int8, q.\"pangea key\", ");
        pg_literal(sql, c->name);
        buf_put_str(sql, "::pg_catalog.text FROM ");
        put_side(sql, c, "\"pangea n\"", "\"pangea put\"", "p");
        buf_put_str(sql, " JOIN ");
        buf_init(&what, 0);
        put_object(&what, t, "", true);
        buf_put_str(&what, " AS \"pangea key\"");
        put_side(sql, c, buf_cstr(&what), t->qualified, "q");
        buf_release(&what);
        buf_put_str(sql, " ON ");
        put_match(sql, c);
}

/* ---- statements -------------------------------------------------------------------------------------------------------------------- */

static enum status send_pairs(struct clash_set *c, const struct pg_param *rows, bool visible, on_result *fn, struct err *e)
{
        const struct clash_def *d = c->target->clash;
        struct buf sql;
        buf_init(&sql, 0);
        put_candidates(&sql, c->target);
        for (unsigned i = 0; i < d->n; i++) {
                buf_put_str(&sql, i ? " UNION ALL" : "");
                if (visible)
                        put_visible(&sql, c->target, &d->constraints[i]);
                else
                        put_among(&sql, &d->constraints[i]);
        }
        enum status s = session_query(c->a->db, buf_cstr(&sql), 1, rows, fn, c, e);
        buf_release(&sql);
        return s;
}

static enum status nested_loops(struct clash_set *c, bool on, struct err *e)
{
        static const char *const sql[2] = {
                "SELECT pg_catalog.set_config('enable_nestloop', 'off', true), pg_catalog.set_config('enable_hashjoin', 'on', true)",
                "SELECT pg_catalog.set_config('enable_nestloop', 'on', true), pg_catalog.set_config('enable_hashjoin', 'off', true)",
        };
        return session_query(c->a->db, sql[on], 0, NULL, NULL, NULL, e);
}

/* The session's plans are nested loops over indexes: right for visible rows; among themselves the candidates have none, and may be many. */
enum status clash_send_find(struct clash_set *c, on_result *fn, struct err *e)
{
        struct buf rows;
        if (!c->target->clash->n || !c->ncandidates)
                return ST_OK;
        array_begin(&rows, 25);
        for (uint32_t i = 0; i < c->ncandidates; i++)
                array_add(&rows, c->rows[i].image, strlen(c->rows[i].image));
        struct pg_param p = array_end(&rows, c->ncandidates, 1009);
        enum status s = ST_OK;
        if (rows.full)
                s = err_named(e, ST_DATA, "row_refused", "table %s: the rows that clash need more than 1 GB", c->target->name);
        if (s == ST_OK && c->ncandidates > 1) {
                s = nested_loops(c, false, e);
                if (s == ST_OK)
                        s = send_pairs(c, &p, false, fn, e);
                if (s == ST_OK)
                        s = nested_loops(c, true, e);
        }
        if (s == ST_OK)
                s = send_pairs(c, &p, true, fn, e);
        buf_release(&rows);
        return s;
}

enum status clash_send_lock(struct clash_set *c, on_result *fn, struct err *e)
{
        const struct target *t = c->target;
        struct buf sql, n, keys;
        uint8_t room[4];
        uint32_t count = 0;
        array_begin(&n, 20);
        array_begin(&keys, 25);
        for (uint32_t i = c->ncandidates; i < c->n; i++) {
                if (c->rows[i].image)
                        continue;
                buf_put_u32(&n, 8);
                buf_put_u64(&n, i + 1u);
                array_add(&keys, c->rows[i].key, strlen(c->rows[i].key));
                count++;
        }
        buf_init(&sql, 0);
        buf_printf(&sql, "SELECT s.n, " SQL_LOCK_COLUMNS ", pg_catalog.to_jsonb(t), ", 3u);
        put_object(&sql, t, "t.", false);
        buf_printf(&sql,
                   " FROM (SELECT x.n, x.t::pg_catalog.jsonb AS j FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.int8[]),"
                   " pg_catalog.unnest($2::pg_catalog.text[])) AS x(n, t)) AS s JOIN %s AS t ON ",
                   t->qualified);
        put_key_match(&sql, t, "s.j");
        for (uint16_t k = 0; k < t->nkeys; k++)
                buf_printf(&sql, "%st.%s", k ? ", " : " ORDER BY ", t->cols[t->keys[k]].ident);
        buf_put_str(&sql, " FOR NO KEY UPDATE OF t");
        struct pg_param p[3] = {array_end(&n, count, 1016), array_end(&keys, count, 1009),
                                param_xid(room, (uint32_t)c->a->stable_xid.v)};
        if (!c->a->stable_xid.v)
                p[2].data = NULL;
        enum status s = session_query(c->a->db, buf_cstr(&sql), 3, p, fn, c, e);
        buf_release(&sql);
        buf_release(&n);
        buf_release(&keys);
        return s;
}

static void on_affected(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        *(int64_t *)arg += pgres_affected(r);
}

enum status clash_send_delete(struct clash_set *c, const uint32_t *rows, uint32_t n, int64_t *done, struct err *e)
{
        const struct target *t = c->target;
        struct buf sql, keys;
        array_begin(&keys, 25);
        for (uint32_t i = 0; i < n; i++)
                array_add(&keys, c->rows[rows[i]].key, strlen(c->rows[rows[i]].key));
        buf_init(&sql, 0);
        buf_printf(
                &sql,
                "DELETE FROM %s AS t USING (SELECT x.t::pg_catalog.jsonb AS j FROM pg_catalog.unnest($1::pg_catalog.text[]) AS x(t)) AS s"
                " WHERE ",
                t->qualified);
        put_key_match(&sql, t, "s.j");
        struct pg_param p = array_end(&keys, n, 1009);
        enum status s = session_query(c->a->db, buf_cstr(&sql), 1, &p, on_affected, done, e);
        buf_release(&sql);
        buf_release(&keys);
        return s;
}

/* Columns that the image does not hold get their default. */
enum status clash_send_insert(struct clash_set *c, uint32_t row, int64_t *done, struct err *e)
{
        const struct target *t = c->target;
        const struct value *v = clash_values(c->arena, c->table->rel, c->rows[row].image);
        struct buf sql, values;
        bool any = false;
        if (!v)
                return err_named(e, ST_DATA, "row_refused", "table %s: the image of a waiting row cannot be read", t->name);
        buf_init(&sql, 0);
        buf_init(&values, 0);
        buf_printf(&sql, "INSERT INTO %s (", t->qualified);
        for (uint16_t i = 0; i < c->table->rel->ncols; i++) {
                const struct target_column *col = &t->cols[c->table->map.to[i]];
                if (v[i].kind == VALUE_UNSENT)
                        continue;
                buf_printf(&sql, "%s%s", any ? ", " : "", col->ident);
                buf_put_str(&values, any ? ", " : "");
                put_cell(&values, "s.j", col);
                any = true;
        }
        buf_printf(&sql, ")%s SELECT ", t->identity_always ? " OVERRIDING SYSTEM VALUE" : "");
        buf_put(&sql, values.data, values.len);
        buf_put_str(&sql, " FROM (SELECT $1::pg_catalog.text::pg_catalog.jsonb AS j) AS s");
        struct pg_param p = param_text(c->rows[row].image);
        enum status s = session_query(c->a->db, buf_cstr(&sql), 1, &p, on_affected, done, e);
        buf_release(&sql);
        buf_release(&values);
        return s;
}

static enum status partition_of(struct applier *a, const struct relation *rel, char **constraint, struct err *e)
{
        struct pg_param p[2] = {PG_TEXT(rel->leaf_schema), PG_TEXT(rel->leaf_name)};
        struct pgres *r = NULL;
        enum status s =
                pg_query(a->side,
                         "SELECT pg_catalog.pg_get_partition_constraintdef(c.oid) FROM pg_catalog.pg_class c"
                         " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                         2, p, false, &r, e);
        /* no such partition here any more: none of the rows is in it */
        if (s == ST_OK)
                *constraint = mem_strdup(!pgres_rows(r) ? "false" : pgres_null(r, 0, 0) ? "true" : pgres_text(r, 0, 0));
        pgres_free(r);
        return s;
}

enum status clash_send_waiting(struct applier *a, struct target *t, const struct relation *rel, on_result *fn, void *arg,
                               struct err *e)
{
        char *constraint = NULL;
        struct buf sql;
        enum status s = clash_def_load(t, a->side, e);
        if (s == ST_OK && rel->leaf_name)
                s = partition_of(a, rel, &constraint, e);
        if (s != ST_OK)
                return s;
        buf_init(&sql, 0);
        buf_put_str(&sql, "SELECT \"pangea region\", \"pangea hlc\", \"pangea image\" FROM (SELECT w.region AS \"pangea region\","
                          " w.hlc AS \"pangea hlc\", w.image AS \"pangea image\"");
        for (uint16_t i = 0; i < t->ncols; i++) {
                if (t->cols[i].generated)
                        continue;
                buf_put_str(&sql, ", ");
                put_cell(&sql, "w.image", &t->cols[i]);
                buf_printf(&sql, " AS %s", t->cols[i].ident);
        }
        buf_printf(&sql, " FROM pangea.suppressed w WHERE w.rel = $1) AS \"pangea row\" WHERE (%s)",
                   constraint ? constraint : "true");
        struct pg_param p = param_text(t->name);
        s = session_query(a->db, buf_cstr(&sql), 1, &p, fn, arg, e);
        buf_release(&sql);
        free(constraint);
        return s;
}
