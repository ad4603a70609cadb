/* Adoption (DESIGN 5.8): one transaction that keeps writers out, sets the identity, puts the table into the publication and writes its rows
 * anew, so that the stream holds them behind the moment from which on it is published.  (Added without the lock, the rows of a running
 * transaction would never enter the stream.)
 * Rows are touched by an UPDATE where the stream then carries all of them; else (no key, or values out of line under an identity that
 * hides them) they are taken out before the table is published and put back behind it. */
#include "capture/tables.h"

#include <stdio.h>
#include <string.h>

static const char sql_begin[] = "BEGIN; SET LOCAL lock_timeout = '1s'; SET LOCAL synchronous_commit = local; "
                                "SET LOCAL session_replication_role = replica";

/* The columns that an INSERT can give, quoted; and one that an UPDATE can set to itself (NULL: there is none). */
static const char sql_columns[] =
        "SELECT string_agg(pg_catalog.quote_ident(attname), ', ' ORDER BY attnum) FILTER (WHERE attgenerated = ''),"
        " (array_agg(pg_catalog.quote_ident(attname) ORDER BY attnum) FILTER (WHERE attgenerated = '' AND attidentity <> 'a'))[1]"
        " FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.format('%I.%I', $1::text, $2::text)::regclass"
        " AND attnum > 0 AND NOT attisdropped";

struct rows {
        char *columns, *touched; /* touched NULL: takes them out and puts them back */
};

static enum status lock(struct pg *c, const struct table_plan *p, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 4096);
        buf_put_str(&sql, p->partitioned ? "LOCK TABLE " : "LOCK TABLE ONLY ");
        pg_qualified(&sql, p->schema, p->name);
        buf_put_str(&sql, " IN SHARE ROW EXCLUSIVE MODE");
        enum status st = pg_exec(c, buf_cstr(&sql), NULL, e);
        buf_release(&sql);
        return st;
}

static enum status count(struct pg *c, const struct table_plan *p, int64_t max, struct err *e)
{
        int64_t n = 0;
        enum status st = ST_OK;
        for (size_t i = 0; i < p->ntouch && st == ST_OK; i++) {
                struct pgres *res = NULL;
                struct buf sql;
                buf_init(&sql, 4096);
                buf_put_str(&sql, "SELECT count(*) FROM (SELECT FROM ONLY ");
                pg_qualified(&sql, p->touch[i].schema, p->touch[i].name);
                buf_printf(&sql, " LIMIT %lld) x", (long long)max + 1);
                st = pg_exec(c, buf_cstr(&sql), &res, e);
                if (st == ST_OK)
                        n += pgres_i64(res, 0, 0);
                pgres_free(res);
                buf_release(&sql);
        }
        if (st == ST_OK && n > max)
                return err_set(e, ST_DATA,
                               "it already holds more than %lld rows: waits for bootstrap (`pangea init` takes the time to write "
                               "them anew in one transaction)",
                               (long long)max);
        return st;
}

static enum status find_columns(struct pg *c, const struct table_leaf *l, struct arena *a, struct rows *out, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p[] = {PG_TEXT(l->schema), PG_TEXT(l->name)};
        enum status st = pg_query(c, sql_columns, 2, p, false, &res, e);
        if (st == ST_OK) {
                out->columns = pgres_null(res, 0, 0) ? NULL : arena_strdup(a, pgres_text(res, 0, 0));
                out->touched = !l->keyed || pgres_null(res, 0, 1) ? NULL : arena_strdup(a, pgres_text(res, 0, 1));
        }
        pgres_free(res);
        return st;
}

/* Before it is published: the stream does not see this. */
static enum status take_out(struct pg *c, const struct table_leaf *l, size_t i, const struct rows *r, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 1u << 20);
        buf_printf(&sql, "CREATE TEMP TABLE pangea_adopt_%zu ON COMMIT DROP AS SELECT %s FROM ONLY ", i, r->columns);
        pg_qualified(&sql, l->schema, l->name);
        buf_put_str(&sql, "; DELETE FROM ONLY ");
        pg_qualified(&sql, l->schema, l->name);
        enum status st = pg_exec(c, buf_cstr(&sql), NULL, e);
        buf_release(&sql);
        return st;
}

static enum status write_anew(struct pg *c, const struct table_leaf *l, size_t i, const struct rows *r, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 1u << 20);
        buf_put_str(&sql, r->touched ? "UPDATE ONLY " : "INSERT INTO ");
        pg_qualified(&sql, l->schema, l->name);
        if (r->touched)
                buf_printf(&sql, " SET %s = %s", r->touched, r->touched);
        else
                buf_printf(&sql, " (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM pg_temp.pangea_adopt_%zu", r->columns, r->columns,
                           i);
        enum status st = pg_exec(c, buf_cstr(&sql), NULL, e);
        buf_release(&sql);
        return st;
}

/* By the extended protocol: one statement each, whatever the topology's `where` holds. */
static enum status statements(struct pg *c, const struct table_plan *p, size_t from, size_t to, struct err *e)
{
        enum status st = ST_OK;
        for (size_t i = from; i < to && st == ST_OK; i++)
                st = pg_query(c, p->statements[i], 0, NULL, false, NULL, e);
        return st;
}

static enum status publish(struct pg *c, const struct table_plan *p, struct err *e)
{
        char table[200];
        struct pg_param name = PG_TEXT(table);
        enum status st = statements(c, p, p->nbefore, p->nstatements, e);
        snprintf(table, sizeof table, "%s.%s", p->schema, p->name);
        if (st == ST_OK && p->ntouch)
                st = pg_query(c, "SELECT pg_catalog.pg_logical_emit_message(true, 'adopt', $1)", 1, &name, false, NULL, e);
        return st;
}

static enum status adopt(struct pg *c, const struct table_plan *p, int64_t max_rows, struct arena *a, struct err *e)
{
        struct rows *rows = ARENA_ARRAY(a, struct rows, p->ntouch + 1);
        enum status st = pg_exec(c, sql_begin, NULL, e);
        if (st == ST_OK)
                st = lock(c, p, e);
        if (st == ST_OK)
                st = count(c, p, max_rows, e);
        if (st == ST_OK)
                st = statements(c, p, 0, p->nbefore, e);
        for (size_t i = 0; i < p->ntouch && st == ST_OK; i++) {
                st = find_columns(c, &p->touch[i], a, &rows[i], e);
                if (st == ST_OK && !rows[i].touched && rows[i].columns)
                        st = take_out(c, &p->touch[i], i, &rows[i], e);
        }
        if (st == ST_OK)
                st = publish(c, p, e);
        for (size_t i = 0; i < p->ntouch && st == ST_OK; i++)
                if (rows[i].columns)
                        st = write_anew(c, &p->touch[i], i, &rows[i], e);
        return st == ST_OK ? pg_exec(c, "COMMIT", NULL, e) : st;
}

enum status tables_adopt(struct pg *c, const struct topology *t, region_id me, const struct table_plan *p, int64_t max_rows,
                         struct err *e)
{
        struct arena a;
        struct err ignored;
        (void)t;
        (void)me;
        if (p->nstatements == 0)
                return ST_OK;
        arena_init(&a);
        enum status st = adopt(c, p, max_rows, &a, e);
        arena_release(&a);
        if (st == ST_OK)
                return ST_OK;
        if (!pg_lost(c))
                (void)!pg_exec(c, "ROLLBACK", NULL, &ignored); /* what failed is in *e */
        return err_wrap(e, "%s.%s", p->schema, p->name);
}
