/* A table's rule of conflict, held against the table: do its columns exist, can values of their types be compared, added or merged, is the
 * function there and immutable? What the topology alone can tell was refused when it was read. */
#include <string.h>

#include "capture/tables_plan.h"
#include "conflict/rule.h"
#include "postgres/collation.h"

/* The last: does its collation compare bytes? */
static const char COLUMNS_SQL[] =
        "SELECT a.attname, n.nspname || '.' || t.typname, a.attnum = ANY (k.indkey),"
        " " COLUMN_IS_BYTEWISE
        " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
        " LEFT JOIN pg_catalog.pg_index k ON k.indexrelid = nullif($2, '')::oid"
        " WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum";
static const char FUNCTION_SQL[] =
        "SELECT p.provolatile, p.proretset FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
        " JOIN pg_catalog.pg_class c ON c.oid = $2::oid"
        " WHERE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname) = $1 AND p.prorettype = c.reltype"
        " AND p.pronargs = 3 AND p.proargtypes[0] = (SELECT y.typarray FROM pg_catalog.pg_type y WHERE y.oid = c.reltype)"
        " AND p.proargtypes[1] = 1009 AND p.proargtypes[2] = 1016";

static void refuse(struct table_view *v, const struct topology *t, const struct table_rule *r, const char *why)
{
        if (r)
                view_waits(v,
                           arena_printf(v->arena, "its rule of conflict cannot be used (%s:%d:%d: %s): %s", t->file, r->table.line,
                                        r->table.column, r->path, why),
                           "change the rule or the table");
        else
                view_waits(
                        v,
                        arena_printf(v->arena, "its rule of conflict (conflicts.default in %s) cannot be used: %s", t->file, why),
                        "change the rule or the table");
        v->plan->unfit = true;
}

static enum status check_function(struct table_view *v, const struct topology *t, const struct table_rule *r, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p[] = {PG_TEXT(r->spec.function), PG_TEXT(view_text(v, v->from, COL_OID))};
        enum status st = pg_query(v->c, FUNCTION_SQL, 2, p, false, &res, e);
        if (st == ST_OK && pgres_rows(res) == 0)
                refuse(v, t, r,
                       arena_printf(v->arena,
                                    "there is no function %s(versions %s.%s[], regions text[], hlcs bigint[]) RETURNS %s.%s",
                                    r->spec.function, v->schema, v->name, v->schema, v->name));
        else if (st == ST_OK && pgres_text(res, 0, 0)[0] != 'i')
                refuse(v, t, r,
                       arena_printf(v->arena, "function %s is not IMMUTABLE: it could give another row in another region",
                                    r->spec.function));
        else if (st == ST_OK && pgres_text(res, 0, 1)[0] == 't')
                refuse(v, t, r, arena_printf(v->arena, "function %s returns a set, not one row", r->spec.function));
        pgres_free(res);
        return st;
}

static enum status check_columns(struct table_view *v, const struct topology *t, const struct table_rule *r,
                                 const struct rule_spec *spec, struct err *e)
{
        struct pgres *res = NULL;
        struct rule rule;
        struct err why = {.code = ST_OK};
        struct pg_param p[] = {PG_TEXT(view_text(v, v->from, COL_OID)), PG_TEXT(v->key)};
        enum status st = pg_query(v->c, COLUMNS_SQL, 2, p, false, &res, e);
        uint16_t n = st == ST_OK ? (uint16_t)pgres_rows(res) : 0;
        struct rule_table_column *cols = ARENA_ARRAY(v->arena, struct rule_table_column, n);
        for (uint16_t i = 0; i < n; i++)
                cols[i] = (struct rule_table_column){.name = arena_strdup(v->arena, pgres_text(res, i, 0)),
                                                     .type = arena_strdup(v->arena, pgres_text(res, i, 1)),
                                                     .key = pgres_text(res, i, 2)[0] == 't',
                                                     .bytewise = pgres_text(res, i, 3)[0] == 't'};
        pgres_free(res);
        if (st == ST_OK && rule_bind(spec, cols, n, &t->names, v->arena, &rule, &why) != ST_OK)
                refuse(v, t, r, arena_strdup(v->arena, why.msg));
        return st;
}

enum status table_rule_check(struct table_view *v, const struct topology *t, struct err *e)
{
        const struct rule_spec *spec = topology_rule(t, v->schema, v->name);
        const struct table_rule *r = topology_table_rule(t, v->schema, v->name);
        if (!v->multi || !*v->key || v->plan->unfit || (spec->row == RULE_LAST_WRITE_WINS && !rule_spec_needs_full(spec)))
                return ST_OK;
        enum status st = check_columns(v, t, r, spec, e);
        return st == ST_OK && !v->plan->unfit && spec->row == RULE_SQL && r ? check_function(v, t, r, e) : st;
}
