/* The run-time role is no superuser (DESIGN 4.3): what it needs, one row each, and who can give it. */
#include <stdio.h>
#include <string.h>

#include "daemon/init.h"

/* `has` says yes with a row whose first column is true; %I in `grant` is the role, quoted.  Rows with several answers (schemas, owners)
 * name the object in the second column. */
struct right {
        bool leader_only;
        bool standbys_only; /* only when capture waits for standbys */
        const char *query;  /* -> (grant statement): one row for each right that is missing */
};

#define FUNCTION(signature)                                                                                             \
        {                                                                                                               \
                false, false,                                                                                           \
                        "SELECT 'GRANT EXECUTE ON FUNCTION pg_catalog." signature " TO ' || quote_ident(current_user) " \
                        "WHERE NOT has_function_privilege('pg_catalog." signature "', 'EXECUTE')"                       \
        }
#define PARAMETER(name)                                                                                           \
        {                                                                                                         \
                false, false,                                                                                     \
                        "SELECT 'GRANT SET ON PARAMETER " name                                                    \
                        " TO ' || quote_ident(current_user) WHERE NOT has_parameter_privilege('" name "', 'SET')" \
        }

static const struct right rights[] = {
        {true, false,
         "SELECT 'ALTER ROLE ' || quote_ident(current_user) || ' REPLICATION' FROM pg_catalog.pg_roles "
         "WHERE rolname = current_user AND NOT rolreplication AND NOT rolsuper"},
        FUNCTION("pg_replication_origin_create(text)"),
        FUNCTION("pg_replication_origin_drop(text)"),
        FUNCTION("pg_replication_origin_session_setup(text)"),
        FUNCTION("pg_replication_origin_session_reset()"),
        FUNCTION("pg_replication_origin_session_progress(boolean)"),
        FUNCTION("pg_replication_origin_xact_setup(pg_lsn, timestamp with time zone)"),
        FUNCTION("pg_replication_origin_progress(text, boolean)"),
        FUNCTION("pg_show_replication_origin_status()"),
        PARAMETER("session_replication_role"),
        PARAMETER("deadlock_timeout"),
        {false, false,
         "SELECT 'GRANT pg_signal_backend TO ' || quote_ident(current_user) WHERE NOT pg_has_role('pg_signal_backend', 'USAGE')"},
        /* the flush position of a standby is shown to nobody else */
        {true, true,
         "SELECT 'GRANT pg_read_all_stats TO ' || quote_ident(current_user) WHERE NOT pg_has_role('pg_read_all_stats', 'USAGE')"},
        {false, false,
         "SELECT 'GRANT CREATE ON DATABASE ' || quote_ident(current_database()) || ' TO ' || quote_ident(current_user) "
         "WHERE NOT has_database_privilege(current_database(), 'CREATE')"},
        {false, false,
         "SELECT 'GRANT ' || quote_ident(pg_get_userbyid(nspowner)) || ' TO ' || quote_ident(current_user) FROM pg_catalog.pg_namespace "
         "WHERE nspname = 'pangea' AND NOT pg_has_role(nspowner, 'USAGE')"},
};

static void collect(struct init *i, const struct pgres *res, struct buf *out)
{
        for (int row = 0; row < pgres_rows(res); row++) {
                const char *s = pgres_text(res, row, 0);
                if (!strstr(buf_cstr(out), s)) /* several tables, one owner */
                        buf_printf(out, "%s;\n", s);
        }
        (void)i;
}

/* Membership in the owners' roles, and the schemas of the routed tables. */
static enum status table_rights(struct init *i, struct buf *out, struct err *e)
{
        struct table_plan *plans;
        size_t n;
        enum status st = tables_plan(i->db, i->t, i->r->id, &i->arena, &plans, &n, e);
        for (size_t k = 0; k < n && st == ST_OK; k++) {
                struct pgres *res = NULL;
                if (!plans[k].owner)
                        continue;
                struct pg_param p[] = {PG_TEXT(plans[k].owner), PG_TEXT(plans[k].schema)};
                st = pg_query(
                        i->db,
                        "SELECT 'GRANT ' || quote_ident($1) || ' TO ' || quote_ident(current_user) WHERE NOT pg_has_role($1::name, 'USAGE') "
                        "UNION ALL SELECT 'GRANT USAGE ON SCHEMA ' || quote_ident($2) || ' TO ' || quote_ident(current_user) "
                        "WHERE NOT has_schema_privilege($2, 'USAGE')",
                        2, p, false, &res, e);
                if (st == ST_OK)
                        collect(i, res, out);
                pgres_free(res);
        }
        return st;
}

enum status init_missing_rights(struct init *i, struct buf *out, struct err *e)
{
        enum status st = ST_OK;
        buf_reset(out);
        for (size_t k = 0; k < sizeof rights / sizeof *rights && st == ST_OK; k++) {
                struct pgres *res = NULL;
                if ((rights[k].leader_only && !i->leader) || (rights[k].standbys_only && i->r->nwait == 0))
                        continue;
                st = pg_exec(i->db, rights[k].query, &res, e);
                if (st == ST_OK)
                        collect(i, res, out);
                pgres_free(res);
        }
        return st == ST_OK ? table_rights(i, out, e) : st;
}

/* One by one: what one connection may not grant is no reason to leave the others out. */
static void grant(struct init *i, const char *list)
{
        struct pg *who = i->admin ? i->admin : i->db;
        while (*list) {
                struct err e;
                size_t n = strcspn(list, "\n");
                char *sql = arena_strndup(&i->arena, list, n);
                if (pg_exec(who, sql, NULL, &e) != ST_OK && i->admin)
                        init_say(i, "%s: %s", sql, e.msg);
                list += n + (list[n] == '\n');
        }
}

static void said_granted(const struct init *i, const char *list)
{
        while (*list) {
                size_t n = strcspn(list, "\n");
                init_say(i, "granted: %.*s", n ? (int)n - 1 : 0, list);
                list += n + (list[n] == '\n');
        }
}

enum status init_rights(struct init *i, struct err *e)
{
        struct buf before, after;
        buf_init(&before, 1u << 20);
        buf_init(&after, 1u << 20);
        enum status st = init_missing_rights(i, &before, e);
        if (st == ST_OK && before.len && i->dry_run) {
                init_print(i, "-- region %s: rights of the run-time role (as a superuser, or whoever may grant)\n%s", i->r->name,
                           buf_cstr(&before));
        } else if (st == ST_OK && before.len) {
                grant(i, buf_cstr(&before));
                st = init_missing_rights(i, &after, e);
                if (st == ST_OK && after.len) {
                        init_print(i, "-- region %s, database %s: as a superuser run\n%s", i->r->name, i->database,
                                   buf_cstr(&after));
                        st = err_named(
                                e, ST_FATAL, "missing_grant",
                                "region %s: role %s lacks rights: let a superuser run the statements printed on stdout, or give --admin CONNINFO",
                                i->r->name, i->role);
                } else if (st == ST_OK) {
                        said_granted(i, buf_cstr(&before));
                }
        }
        buf_release(&before);
        buf_release(&after);
        return st;
}
