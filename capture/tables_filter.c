/* Row filters and column lists (DESIGN 4.3): only the server knows what a filter's text means, so it is asked: which columns it uses, and,
 * by a publication that is rolled back, how it is written back and whether it is allowed at all. */
#include "capture/tables_plan.h"

#include <stdio.h>
#include <string.h>

#include "capture/tables_where.h"
#include "capture_tables_filter_sql.h"

/* {"a","b"}: a text[] literal */
static char *text_array(struct arena *a, const char *const *names, size_t n)
{
        struct buf b;
        buf_init(&b, 1u << 20);
        buf_put_u8(&b, '{');
        for (size_t i = 0; i < n; i++) {
                buf_put_str(&b, i ? ",\"" : "\"");
                for (const char *s = names[i]; *s; s++) {
                        if (*s == '"' || *s == '\\')
                                buf_put_u8(&b, '\\');
                        buf_put_u8(&b, (uint8_t)*s);
                }
                buf_put_u8(&b, '"');
        }
        buf_put_u8(&b, '}');
        char *s = arena_strdup(a, buf_cstr(&b));
        buf_release(&b);
        return s;
}

void table_filter_sql(const struct route *r, struct buf *out)
{
        for (size_t i = 0; i < r->ncolumns; i++) {
                buf_put_str(out, i ? ", " : " (");
                pg_ident(out, r->columns[i]);
        }
        if (r->ncolumns)
                buf_put_str(out, ")");
        if (r->where)
                buf_printf(out, " WHERE (%s)", r->where);
}

bool table_filter_matches(const struct table_view *v, int row)
{
        const struct table_filter *f = &v->filter;
        bool cols = pgres_null(v->res, row, COL_LEAF_COLUMNS);
        if (cols != (f->columns == NULL) || (f->columns && strcmp(f->columns, view_text(v, row, COL_LEAF_COLUMNS)) != 0))
                return false;
        bool none = pgres_null(v->res, row, COL_LEAF_WHERE);
        if (!v->route->where || none)
                return none == !v->route->where;
        return f->where_unknown || where_same(f->where, view_text(v, row, COL_LEAF_WHERE));
}

/* Every leaf is published with this very text: no need to try it. */
static bool where_published(const struct table_view *v)
{
        for (int i = v->from; i < v->to; i++)
                if (!view_bool(v, i, COL_LEAF_PUBLISHED) || pgres_null(v->res, i, COL_LEAF_WHERE) ||
                    !where_same(v->route->where, view_text(v, i, COL_LEAF_WHERE)))
                        return false;
        return true;
}

static enum status probe(struct table_view *v, struct pgres **res, struct err *e)
{
        struct buf sql;
        char name[64];
        snprintf(name, sizeof name, "pangea_probe_%d", pg_backend_pid(v->c));
        buf_init(&sql, 1u << 20);
        buf_printf(&sql, "CREATE PUBLICATION %s FOR TABLE ONLY ", name);
        pg_qualified(&sql, view_text(v, v->from, COL_LEAF_SCHEMA), view_text(v, v->from, COL_LEAF_NAME));
        table_filter_sql(v->route, &sql);
        enum status st = pg_exec(v->c, "BEGIN; SET LOCAL lock_timeout = '1s'", NULL, e);
        /* by the extended protocol: one statement, whatever the topology's text holds */
        if (st == ST_OK)
                st = pg_query(v->c, buf_cstr(&sql), 0, NULL, false, NULL, e);
        if (st == ST_OK)
                st = pg_execf(v->c, res, e,
                              "SELECT pg_catalog.pg_get_expr(r.prqual, r.prrelid) FROM pg_catalog.pg_publication_rel r "
                              "JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = '%s'",
                              name);
        struct err ignored;
        enum status back = pg_lost(v->c) ? st : pg_exec(v->c, "ROLLBACK", NULL, &ignored);
        buf_release(&sql);
        if (st == ST_OK && back != ST_OK)
                return err_set(e, back, "%s", ignored.msg);
        return st;
}

/* How the server writes the filter back. Without the right to try, or while the table is locked, it stays unknown. */
static enum status read_where(struct table_view *v, struct err *e)
{
        struct pgres *res = NULL;
        if (!v->route->where || pgres_null(v->res, v->from, COL_LEAF))
                return ST_OK;
        if (where_published(v)) {
                v->filter.where = v->route->where;
                return ST_OK;
        }
        enum status st = probe(v, &res, e);
        if (st == ST_OK && pgres_rows(res) > 0) {
                v->filter.where = arena_strdup(v->arena, pgres_text(res, 0, 0));
        } else if (st == ST_OK || strcmp(e->sqlstate, "42501") == 0 || (st == ST_RETRY && !pg_lost(v->c))) {
                v->filter.where_unknown = true;
                st = ST_OK;
        } else if (st == ST_DATA) {
                v->plan->unfit = true;
                view_waits(v, arena_printf(v->arena, "its filter cannot be used: %s", e->msg),
                           "correct `where` or `columns` of its route in the topology");
                st = ST_OK;
        }
        pgres_free(res);
        return st;
}

/* The first thing that the topology has to mend. */
static bool columns_fit(struct table_view *v, const struct pgres *r)
{
        static const struct {
                int col;
                const char *why, *todo;
        } rule[] = {
                {0, "`columns` names what the table does not have", "correct `columns` of its route in the topology"},
                {1, "`columns` names generated columns, which cannot be published", "take them out of `columns` of its route"},
                {2, "`columns` lacks key columns", "add them to `columns` of its route"},
                {3, "`columns` lacks columns that `where` uses", "add them to `columns` of its route"},
        };
        for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
                if (pgres_null(r, 0, rule[i].col))
                        continue;
                v->plan->unfit = true;
                view_waits(v, arena_printf(v->arena, "%s: %s", rule[i].why, pgres_text(r, 0, rule[i].col)), rule[i].todo);
                return false;
        }
        return true;
}

static void identity_fits(struct table_view *v, const struct pgres *r)
{
        bool beyond_key = !pgres_null(r, 0, 4), columns = v->route->ncolumns > 0;
        if (v->route->insert_only && !*v->key)
                return;
        v->filter.keep_index = pgres_text(r, 0, 5)[0] == 't';
        v->filter.needs_full = beyond_key && !v->filter.keep_index;
        if (!columns || (*v->key && !v->filter.needs_full))
                return;
        v->plan->unfit = true;
        view_waits(
                v,
                *v->key ? arena_printf(v->arena,
                                       "`where` uses columns outside of its replica identity (%s), and a list of columns excludes "
                                       "REPLICA IDENTITY FULL",
                                       pgres_text(r, 0, 4))
                        : "it has no key, and a list of columns excludes REPLICA IDENTITY FULL",
                "CREATE UNIQUE INDEX over key and filter columns (NOT NULL), then ALTER TABLE .. REPLICA IDENTITY USING INDEX");
}

enum status table_filter_read(struct table_view *v, struct err *e)
{
        const char **names;
        struct pgres *res = NULL;
        const struct route *r = v->route;
        size_t n = where_names(r->where ? r->where : "", v->arena, &names);
        struct pg_param p[] = {
                PG_TEXT(view_text(v, v->from, COL_OID)),
                PG_TEXT(*v->key ? v->key : "0"),
                PG_TEXT(r->ncolumns ? text_array(v->arena, r->columns, r->ncolumns) : NULL),
                PG_TEXT(text_array(v->arena, names, n)),
        };
        enum status st = pg_query(v->c, capture_tables_filter_sql, 4, p, false, &res, e);
        if (st != ST_OK)
                return st;
        v->filter.on = true;
        v->filter.columns = pgres_null(res, 0, 6) ? NULL : arena_strdup(v->arena, pgres_text(res, 0, 6));
        if (columns_fit(v, res))
                identity_fits(v, res);
        pgres_free(res);
        return v->plan->state == TABLE_WAITS ? ST_OK : read_where(v, e);
}
