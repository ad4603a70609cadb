/* tables_plan: what capture/tables*.c share: one table as the catalog shows it, and its row filter.  Nobody else includes this. */
#ifndef PANGEA_CAPTURE_TABLES_PLAN_H
#define PANGEA_CAPTURE_TABLES_PLAN_H

#include "capture/tables.h"

/* The columns of capture/tables.sql. */
enum tables_col {
        COL_OID,
        COL_SCHEMA,
        COL_NAME,
        COL_PARTITIONED,
        COL_UNLOGGED,
        COL_OWNER,
        COL_OWNED,
        COL_KEY,
        COL_KEY_PRIMARY,
        COL_BAD_KEY,
        COL_PUBLISHED,
        COL_LEAF, /* NULL from here on for a partitioned table without leaves */
        COL_LEAF_SCHEMA,
        COL_LEAF_NAME,
        COL_LEAF_FOREIGN,
        COL_LEAF_UNLOGGED,
        COL_LEAF_IDENTITY,
        COL_LEAF_TOAST,
        COL_LEAF_KEY_INDEX,
        COL_LEAF_KEY_IS_IDENTITY,
        COL_LEAF_HAS_IDENTITY,
        COL_LEAF_PUBLISHED,
        COL_LEAF_WHERE,
        COL_LEAF_COLUMNS,
        COL_ME, /* current_user */
};

/* A route's `where` and `columns`, held against the table. */
struct table_filter {
        bool on;
        bool keep_index;     /* its identity is an index that holds key and filter: leave it */
        bool needs_full;     /* `where` uses more than the key */
        const char *columns; /* as capture/tables.sql writes published ones: sorted JSON; NULL = all */
        const char *where;   /* as the server writes it back; NULL = none, or not known (may not try) */
        bool where_unknown;
};

/* One table: rows [from, to) of the scan. */
struct table_view {
        struct pg *c;
        struct arena *arena;
        const struct pgres *res;
        int from, to;
        const char *publication, *schema, *name, *key; /* key: its index's oid, "" = none */
        const struct route *route;
        bool multi, partitioned, leafwise, keep_identity;
        bool rule_full; /* its rule of conflict needs whole rows */
        struct table_filter filter;
        struct table_plan *plan;
        const char **statements;
        size_t nstatements, cap;
};

static inline bool view_bool(const struct table_view *v, int row, enum tables_col col)
{
        return pgres_text(v->res, row, (int)col)[0] == 't';
}
static inline const char *view_text(const struct table_view *v, int row, enum tables_col col)
{
        return pgres_text(v->res, row, (int)col);
}

/* "waits": sets state, why and todo. */
void view_waits(struct table_view *v, const char *why, const char *todo);
/* Reads what the filter asks of the table: fills v->filter, or makes the plan wait. */
MUSTCHECK enum status table_filter_read(struct table_view *v, struct err *e);
/* " ("a", "b") WHERE (..)" for ADD TABLE. */
void table_filter_sql(const struct route *r, struct buf *out);
/* What the publication holds for this leaf is what the route says. */
bool table_filter_matches(const struct table_view *v, int row);

/* Holds its rule of conflict against its columns; one that cannot be used makes the plan wait, and unfit. */
MUSTCHECK enum status table_rule_check(struct table_view *v, const struct topology *t, struct err *e);

#endif
