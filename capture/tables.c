#include "capture/tables.h"

#include <string.h>

#include "capture/tables_plan.h"
#include "capture_tables_sql.h"

struct scan {
        struct pg *c;
        const struct topology *t;
        region_id me;
        struct arena *arena;
        struct pgres *res;
        char publication[64];
        bool keep_identity;
        struct table_plan *plans;
        size_t n, cap;
};

/* What a leaf's identity must be. */
enum identity {
        IDENTITY_KEY,   /* the key: DEFAULT, or the key's index */
        IDENTITY_FULL,  /* whole rows */
        IDENTITY_NONE,  /* insert_only without a key: PostgreSQL then refuses UPDATE and DELETE by itself */
        IDENTITY_LEAVE, /* an index that holds key and filter */
};

static struct table_plan *new_plan(struct scan *s, const char *schema, const char *name)
{
        if (s->n == s->cap) {
                size_t cap = s->cap ? s->cap * 2 : 64;
                struct table_plan *v = ARENA_ARRAY(s->arena, struct table_plan, cap);
                if (s->n)
                        memcpy(v, s->plans, s->n * sizeof *v);
                s->plans = v;
                s->cap = cap;
        }
        struct table_plan *p = &s->plans[s->n++];
        p->schema = arena_strdup(s->arena, schema);
        p->name = arena_strdup(s->arena, name);
        return p;
}

void view_waits(struct table_view *v, const char *why, const char *todo)
{
        v->plan->state = TABLE_WAITS;
        v->plan->why = why;
        v->plan->todo = todo;
}

static void add_statement(struct table_view *v, struct buf *sql)
{
        if (v->nstatements == v->cap) {
                size_t cap = v->cap ? v->cap * 2 : 8;
                const char **s = ARENA_ARRAY(v->arena, const char *, cap);
                if (v->nstatements)
                        memcpy(s, v->statements, v->nstatements * sizeof *s);
                v->statements = s;
                v->cap = cap;
        }
        v->statements[v->nstatements++] = arena_strdup(v->arena, buf_cstr(sql));
        buf_reset(sql);
}

/* ---- identity ---------------------------------------------------------------------------------------------------------------------- */
static bool has_leaf(const struct table_view *v, int row)
{
        return !pgres_null(v->res, row, COL_LEAF);
}

static bool any_leaf(const struct table_view *v, enum tables_col col)
{
        for (int i = v->from; i < v->to; i++)
                if (has_leaf(v, i) && view_bool(v, i, col))
                        return true;
        return false;
}

static enum identity identity_wanted(const struct table_view *v)
{
        if (!*v->key)
                return v->route->insert_only ? IDENTITY_NONE : IDENTITY_FULL;
        if (v->filter.keep_index)
                return IDENTITY_LEAVE;
        if (v->filter.needs_full || (v->multi && (v->rule_full || any_leaf(v, COL_LEAF_TOAST))))
                return IDENTITY_FULL;
        return IDENTITY_KEY;
}

static void set_identity(struct table_view *v, int row, const char *what, const char *index)
{
        struct buf sql;
        buf_init(&sql, 4096);
        buf_put_str(&sql, "ALTER TABLE ");
        pg_qualified(&sql, view_text(v, row, COL_LEAF_SCHEMA), view_text(v, row, COL_LEAF_NAME));
        buf_printf(&sql, " REPLICA IDENTITY %s", what);
        if (index)
                pg_ident(&sql, index);
        add_statement(v, &sql);
        buf_release(&sql);
        v->plan->sets_full |= strcmp(what, "FULL") == 0;
}

/* The key as identity: nothing to do when it is (FULL is more than the key, but cannot go with a list of columns). */
static void key_identity(struct table_view *v, int row)
{
        char now = view_text(v, row, COL_LEAF_IDENTITY)[0];
        bool primary = view_bool(v, row, COL_KEY_PRIMARY);
        if (view_bool(v, row, COL_LEAF_KEY_IS_IDENTITY) || (now == 'd' && primary) || (now == 'f' && v->route->ncolumns == 0))
                return;
        if (primary && v->multi && view_bool(v, row, COL_LEAF_HAS_IDENTITY))
                set_identity(v, row, "FULL", NULL);
        else if (primary)
                set_identity(v, row, "DEFAULT", NULL);
        else if (pgres_null(v->res, row, COL_LEAF_KEY_INDEX))
                set_identity(v, row, "FULL", NULL);
        else
                set_identity(v, row, "USING INDEX ", view_text(v, row, COL_LEAF_KEY_INDEX));
}

static void plan_identity(struct table_view *v, enum identity want)
{
        for (int i = v->from; i < v->to; i++) {
                if (!has_leaf(v, i))
                        continue;
                char now = view_text(v, i, COL_LEAF_IDENTITY)[0];
                switch (want) {
                case IDENTITY_KEY: key_identity(v, i); break;
                case IDENTITY_FULL:
                        if (now != 'f')
                                set_identity(v, i, "FULL", NULL);
                        break;
                case IDENTITY_NONE:
                        if (now == 'f' || view_bool(v, i, COL_LEAF_HAS_IDENTITY))
                                set_identity(v, i, "DEFAULT", NULL);
                        break;
                case IDENTITY_LEAVE: break;
                }
        }
}

/* ---- publication ------------------------------------------------------------------------------------------------------------------- */
static void publication_drop(struct table_view *v, const char *schema, const char *name)
{
        struct buf sql;
        buf_init(&sql, 4096);
        buf_put_str(&sql, "ALTER PUBLICATION ");
        pg_ident(&sql, v->publication);
        buf_put_str(&sql, " DROP TABLE ONLY ");
        pg_qualified(&sql, schema, name);
        add_statement(v, &sql);
        buf_release(&sql);
}

/* ONLY: the tables that inherit from an ordinary one are tables of their own; a partitioned root means its leaves. */
static void publication_add(struct table_view *v, const char *schema, const char *name, bool root)
{
        struct buf sql;
        buf_init(&sql, 1u << 20);
        buf_put_str(&sql, "ALTER PUBLICATION ");
        pg_ident(&sql, v->publication);
        buf_put_str(&sql, root ? " ADD TABLE " : " ADD TABLE ONLY ");
        pg_qualified(&sql, schema, name);
        table_filter_sql(v->route, &sql);
        add_statement(v, &sql);
        buf_release(&sql);
}

/* Rows of this leaf come into the publication. An UPDATE of them is whole in the stream unless the identity hides values that are out
 * of line. */
static void touch(struct table_view *v, int row, struct table_leaf *leaves, enum identity want)
{
        bool stays = view_text(v, row, COL_LEAF_IDENTITY)[0] == 'f' && v->route->ncolumns == 0;
        bool full = want == IDENTITY_FULL || (want == IDENTITY_KEY && stays);
        leaves[v->plan->ntouch++] = (struct table_leaf){
                .schema = arena_strdup(v->arena, view_text(v, row, COL_LEAF_SCHEMA)),
                .name = arena_strdup(v->arena, view_text(v, row, COL_LEAF_NAME)),
                .keyed = *v->key && (full || !view_bool(v, row, COL_LEAF_TOAST)),
        };
        v->plan->touch = leaves;
}

static bool out_of_place(const struct table_view *v, int row)
{
        return view_bool(v, row, COL_LEAF_PUBLISHED) && !table_filter_matches(v, row);
}

/* Everything that leaves the publication does so before anything comes in: rows are taken out in between. */
static void plan_publication(struct table_view *v, enum identity want)
{
        bool root = view_bool(v, v->from, COL_PUBLISHED), whole = v->partitioned && !v->leafwise;
        struct table_leaf *leaves = ARENA_ARRAY(v->arena, struct table_leaf, v->to - v->from);
        if (v->partitioned && v->leafwise && root)
                publication_drop(v, v->schema, v->name);
        for (int i = v->from; i < v->to; i++)
                if (has_leaf(v, i) && out_of_place(v, i)) /* under a root too: the filter of a leaf's own entry would count */
                        publication_drop(v, view_text(v, i, COL_LEAF_SCHEMA), view_text(v, i, COL_LEAF_NAME));
        v->plan->nbefore = v->nstatements;
        if (whole && !root)
                publication_add(v, v->schema, v->name, true);
        for (int i = v->from; i < v->to; i++) {
                bool in = view_bool(v, i, COL_LEAF_PUBLISHED) || (whole && root);
                if (!has_leaf(v, i) || (in && !out_of_place(v, i)))
                        continue;
                if (!whole)
                        publication_add(v, view_text(v, i, COL_LEAF_SCHEMA), view_text(v, i, COL_LEAF_NAME), false);
                touch(v, i, leaves, want);
        }
}

static void plan_unpublish(struct table_view *v)
{
        if (view_bool(v, v->from, COL_PUBLISHED))
                publication_drop(v, v->schema, v->name);
        for (int i = v->from; v->partitioned && i < v->to; i++)
                if (has_leaf(v, i) && view_bool(v, i, COL_LEAF_PUBLISHED))
                        publication_drop(v, view_text(v, i, COL_LEAF_SCHEMA), view_text(v, i, COL_LEAF_NAME));
}

/* ---- one table --------------------------------------------------------------------------------------------------------------------- */
static bool is_published(const struct table_view *v)
{
        return view_bool(v, v->from, COL_PUBLISHED) || any_leaf(v, COL_LEAF_PUBLISHED);
}

/* What no statement of ours can mend. */
static bool must_wait(struct table_view *v)
{
        if (view_bool(v, v->from, COL_UNLOGGED) || any_leaf(v, COL_LEAF_UNLOGGED)) {
                view_waits(v, "it is unlogged: its changes are in no stream", "ALTER TABLE .. SET LOGGED");
        } else if (any_leaf(v, COL_LEAF_FOREIGN)) {
                view_waits(v, "one of its partitions is a foreign table: its changes are in no stream", "detach that partition");
        } else if (v->multi && !*v->key && !v->route->insert_only) {
                view_waits(v, "it has no usable key, and more than one region writes it",
                           "ALTER TABLE .. ADD PRIMARY KEY, or say `insert_only: true` on its route");
                /* published already, it lost its key: without FULL the application's UPDATE would fail because of us */
                if (is_published(v))
                        plan_identity(v, IDENTITY_FULL);
        } else if (v->multi && *v->key && !pgres_null(v->res, v->from, COL_BAD_KEY)) {
                view_waits(v,
                           arena_printf(v->arena,
                                        "more than one region writes it, and its key column %s cannot be compared byte by byte",
                                        view_text(v, v->from, COL_BAD_KEY)),
                           "give it a key of another type, or let one region write it (`from` of its route)");
        } else {
                return false;
        }
        return true;
}

static void need_owner(struct table_view *v)
{
        if (v->nstatements == 0 || view_bool(v, v->from, COL_OWNED))
                return;
        struct buf grant;
        buf_init(&grant, 4096);
        buf_put_str(&grant, "GRANT ");
        pg_ident(&grant, view_text(v, v->from, COL_OWNER));
        buf_put_str(&grant, " TO ");
        pg_ident(&grant, view_text(v, v->from, COL_ME));
        view_waits(v,
                   arena_printf(v->arena, "it belongs to %s, and %s is no member of that role", view_text(v, v->from, COL_OWNER),
                                view_text(v, v->from, COL_ME)),
                   arena_strdup(v->arena, buf_cstr(&grant)));
        buf_release(&grant);
        v->nstatements = 0;
        v->plan->ntouch = 0;
        v->plan->sets_full = false;
}

/* `init --keep-identity`: named, not set. */
static void wait_for_identity(struct table_view *v)
{
        struct buf all;
        buf_init(&all, 1u << 20);
        for (size_t i = 0; i < v->nstatements; i++)
                buf_printf(&all, "%s%s", i ? "; " : "", v->statements[i]);
        view_waits(v, "it needs another REPLICA IDENTITY, and `pangea init --keep-identity` leaves that to you",
                   arena_strdup(v->arena, buf_cstr(&all)));
        buf_release(&all);
        v->nstatements = 0;
        v->plan->sets_full = false;
}

static enum status plan_sent(struct table_view *v, struct err *e)
{
        enum status st = ST_OK;
        if (must_wait(v))
                return ST_OK;
        if (v->route->where || v->route->ncolumns)
                st = table_filter_read(v, e);
        if (st != ST_OK || v->plan->state == TABLE_WAITS)
                return st;
        /* A new partition is in a published root at once, with DEFAULT identity: good enough only where it has the root's primary key.
         * PostgreSQL keeps filters of leaves, not of roots. */
        v->leafwise = v->partitioned && (!view_bool(v, v->from, COL_KEY_PRIMARY) || v->filter.on);
        enum identity want = identity_wanted(v);
        plan_identity(v, want);
        if (v->keep_identity && v->nstatements) {
                wait_for_identity(v);
                return ST_OK;
        }
        plan_publication(v, want);
        v->plan->state = v->nstatements ? TABLE_TO_ADOPT : TABLE_PUBLISHED;
        return ST_OK;
}

/* Is there anything to touch?  Asked only of tables that come in; a locked one counts as having rows. */
static enum status look_for_rows(struct table_view *v, struct err *e)
{
        struct err busy;
        enum status st = ST_OK;
        for (size_t i = 0; i < v->plan->ntouch && !v->plan->has_rows && st == ST_OK; i++) {
                struct pgres *res = NULL;
                struct buf sql;
                buf_init(&sql, 4096);
                buf_put_str(&sql, "BEGIN; SET LOCAL lock_timeout = '100ms'; SELECT EXISTS (SELECT FROM ONLY ");
                pg_qualified(&sql, v->plan->touch[i].schema, v->plan->touch[i].name);
                buf_put_str(&sql, ")");
                st = pg_exec(v->c, buf_cstr(&sql), &res, &busy);
                v->plan->has_rows = st != ST_OK || pgres_text(res, 0, 0)[0] == 't';
                pgres_free(res);
                buf_release(&sql);
                st = pg_exec(v->c, "ROLLBACK", NULL, e);
        }
        return st;
}

static enum status plan_table(struct scan *s, int from, int to, struct err *e)
{
        struct table_view v = {.c = s->c, .arena = s->arena, .res = s->res, .from = from, .to = to, .publication = s->publication};
        v.schema = view_text(&v, from, COL_SCHEMA);
        v.name = view_text(&v, from, COL_NAME);
        v.key = view_text(&v, from, COL_KEY);
        v.partitioned = view_bool(&v, from, COL_PARTITIONED);
        v.route = topology_route(s->t, v.schema, v.name);
        uint32_t me = UINT32_C(1) << s->me.i;
        bool sends = v.route && (route_writers(s->t, v.route) & me), gets = v.route && (v.route->to & me);
        if (!sends && !gets && !is_published(&v))
                return ST_OK;
        v.keep_identity = s->keep_identity;
        v.multi = v.route && topology_multi_writer(s->t, v.schema, v.name);
        v.rule_full = rule_spec_needs_full(topology_rule(s->t, v.schema, v.name));
        v.plan = new_plan(s, v.schema, v.name);
        v.plan->partitioned = v.partitioned;
        v.plan->owner = arena_strdup(s->arena, view_text(&v, from, COL_OWNER));
        enum status st = ST_OK;
        if (sends) {
                st = plan_sent(&v, e);
        } else {
                v.plan->state = TABLE_NOT_SENT;
                plan_unpublish(&v);
        }
        if (st == ST_OK)
                st = table_rule_check(&v, s->t, e);
        if (v.plan->unfit)
                v.nstatements = 0;
        need_owner(&v);
        v.plan->nstatements = v.nstatements;
        v.plan->statements = v.statements;
        return st == ST_OK ? look_for_rows(&v, e) : st;
}

/* ---- tables that a route names and that are not there -------------------------------------------------------------------------------- */
static const char sql_literal[] =
        "SELECT CASE WHEN n.nspname ~ '^pg_' OR n.nspname IN ('information_schema', 'pangea') THEN 'is a system table'"
        " WHEN c.relpersistence = 't' THEN 'is a temporary table'"
        " WHEN c.relispartition THEN 'is a partition of ' || pg_catalog.pg_partition_root(c.oid)::regclass::text"
        " ELSE 'is a ' || CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'"
        " WHEN 'S' THEN 'sequence' ELSE 'relation that is not a table' END END "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = $2";

static bool is_planned(const struct scan *s, const struct table_pattern *p)
{
        for (size_t i = 0; i < s->n; i++)
                if (strcmp(s->plans[i].schema, p->schema) == 0 && strcmp(s->plans[i].name, p->name) == 0)
                        return true;
        return false;
}

static enum status plan_missing(struct scan *s, const struct table_pattern *p, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param param[] = {PG_TEXT(p->schema), PG_TEXT(p->name)};
        if (is_planned(s, p))
                return ST_OK;
        enum status st = pg_query(s->c, sql_literal, 2, param, false, &res, e);
        if (st != ST_OK)
                return st;
        struct table_plan *plan = new_plan(s, p->schema, p->name);
        plan->state = TABLE_WAITS;
        plan->unfit = true;
        plan->missing = pgres_rows(res) == 0;
        if (plan->missing) {
                plan->why = "does not exist";
                plan->todo = "create it, or take it out of the topology";
        } else {
                plan->why = arena_printf(s->arena, "%s, which is not replicated", pgres_text(res, 0, 0));
                plan->todo = "name ordinary or partitioned tables only";
        }
        pgres_free(res);
        return ST_OK;
}

static enum status plan_literals(struct scan *s, struct err *e)
{
        uint32_t me = UINT32_C(1) << s->me.i;
        enum status st = ST_OK;
        for (size_t i = 0; i < s->t->nroutes && st == ST_OK; i++) {
                const struct route *r = &s->t->routes[i];
                for (size_t j = 0; j < r->ntables && st == ST_OK && ((route_writers(s->t, r) | r->to) & me); j++)
                        if (!r->tables[j].wildcard)
                                st = plan_missing(s, &r->tables[j], e);
        }
        return st;
}

static enum status read_keep_identity(struct scan *s, struct err *e)
{
        struct pgres *res = NULL;
        enum status st =
                pg_exec(s->c, "SELECT pg_catalog.has_table_privilege(pg_catalog.to_regclass('pangea.meta'), 'SELECT')", &res, e);
        bool there = st == ST_OK && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        res = NULL;
        if (there)
                st = pg_exec(s->c, "SELECT keep_identity FROM pangea.meta", &res, e);
        s->keep_identity = there && st == ST_OK && pgres_rows(res) == 1 && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        return st;
}

enum status tables_plan(struct pg *c, const struct topology *t, region_id me, struct arena *arena, struct table_plan **out,
                        size_t *n, struct err *e)
{
        struct scan s = {.c = c, .t = t, .me = me, .arena = arena};
        *out = NULL;
        *n = 0;
        topology_publication(t, me, s.publication, sizeof s.publication);
        struct pg_param p = PG_TEXT(s.publication);
        /* the catalog's functions have no row estimates: the planner expects thousands where there is one, and reads all of pg_type for each table */
        enum status st = pg_exec(c, "SET enable_hashjoin = off; SET enable_mergejoin = off", NULL, e);
        if (st == ST_OK)
                st = read_keep_identity(&s, e);
        if (st == ST_OK)
                st = pg_query(c, capture_tables_sql, 1, &p, false, &s.res, e);
        if (st != ST_OK)
                return err_wrap(e, "looking at the tables");
        int rows = pgres_rows(s.res);
        for (int i = 0, end; i < rows && st == ST_OK; i = end) {
                for (end = i + 1; end < rows && strcmp(pgres_text(s.res, end, COL_OID), pgres_text(s.res, i, COL_OID)) == 0;)
                        end++;
                st = plan_table(&s, i, end, e);
        }
        pgres_free(s.res);
        if (st == ST_OK)
                st = plan_literals(&s, e);
        if (st == ST_OK)
                st = pg_exec(c, "RESET enable_hashjoin; RESET enable_mergejoin", NULL, e);
        *out = s.plans;
        *n = s.n;
        return st;
}
