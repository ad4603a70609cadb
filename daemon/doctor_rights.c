/* doctor: what the run-time role may do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/doctor.h"
#include "postgres/stream.h"

void check_rights(struct patient *p)
{
        struct buf missing;
        struct err e = {0};
        buf_init(&missing, 1u << 20);
        if (init_missing_rights(&p->init, &missing, &e) != ST_OK)
                find_error(p, SEVERITY_ERROR, NULL, &e);
        const char *list = buf_cstr(&missing);
        while (*list) {
                size_t n = strcspn(list, "\n");
                char *statement = arena_strndup(&p->arena, list, n);
                find(p, SEVERITY_ERROR, NULL, statement, "role %s lacks a right%s", p->init.role,
                     p->known && !p->init.has_meta ? " (`pangea init --admin CONNINFO` grants what is missing)" : "");
                list += n + (list[n] == '\n');
        }
        buf_release(&missing);
}

void check_replication_login(struct patient *p)
{
        struct pgstream *s = NULL;
        char *password = NULL, todo[300];
        struct err e = {0};
        struct pgres *res;
        /* pg_hba.conf does not tell it from the ordinary connection, which is there already: its `replication` is for physical ones.
         * Without the attribute it is refused, and `rights` says so. */
        bool may =
                ask(p, "SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user", 0, NULL, &res) &&
                pgres_rows(res) == 1 && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        if (!may || region_password(p->region, &password, &e) != ST_OK)
                return;
        struct pg_opts o = {.conninfo = p->region->conninfo,
                            .password = password,
                            .application_name = "pangea doctor",
                            .session = PG_REPLICATION};
        if (pgstream_open(&s, &o, &e) != ST_OK) {
                snprintf(todo, sizeof todo,
                         "let the conninfo of region %s lead to the server itself: a pooler passes ordinary connections on only",
                         p->region->name);
                find(p, SEVERITY_ERROR, NULL, todo, "no replication connection: %s", e.msg);
        }
        pgstream_close(s);
        free(password);
}

static const char sql_security[] =
        "SELECT n.nspname, c.relname, c.relforcerowsecurity AND pg_catalog.pg_has_role(c.relowner, 'USAGE')"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND n.nspname !~ '^pg_' AND pg_catalog.row_security_active(c.oid)"
        " ORDER BY 1, 2";

void check_row_security(struct patient *p)
{
        struct pgres *res;
        struct buf todo;
        buf_init(&todo, 4096);
        for (int i = 0, n = ask(p, sql_security, 0, NULL, &res) ? pgres_rows(res) : 0; i < n; i++) {
                const char *schema = pgres_text(res, i, 0), *name = pgres_text(res, i, 1);
                if (!topology_route(p->t, schema, name))
                        continue;
                buf_reset(&todo);
                buf_put_str(&todo, "ALTER ROLE ");
                pg_ident(&todo, p->init.role);
                buf_put_str(&todo, " BYPASSRLS");
                if (pgres_text(res, i, 2)[0] == 't')
                        buf_printf(&todo, "   -- or ALTER TABLE %s NO FORCE ROW LEVEL SECURITY", quoted(p, schema, name));
                find(p, SEVERITY_ERROR, arena_printf(&p->arena, "%s.%s", schema, name), buf_cstr(&todo),
                     "row level security holds for role %s", p->init.role);
        }
        pgres_free(res);
        buf_release(&todo);
}
