/* The publication and the tables in it. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "daemon/init.h"
#include "daemon/progress.h"

#define LOCK_TRIES 60
#define ANY_NUMBER_OF_ROWS (INT64_MAX / 4)

/* ---- checks -------------------------------------------------------------------------------------------------------------------------- */
enum status init_check_tables(struct init *i, struct err *e)
{
        struct table_plan *plans;
        size_t n, unfit = 0;
        enum status st = tables_plan(i->db, i->t, i->r->id, &i->arena, &plans, &n, e);
        for (size_t k = 0; k < n && st == ST_OK; k++) {
                if (!plans[k].unfit)
                        continue;
                init_say(i, "%s.%s: %s: %s", plans[k].schema, plans[k].name, plans[k].why, plans[k].todo);
                unfit++;
        }
        if (st == ST_OK && unfit)
                return err_named(e, ST_CONFIG, "table_unfit",
                                 "region %s: %zu table%s cannot be replicated as %s says; nothing was changed", i->r->name, unfit,
                                 unfit == 1 ? "" : "s", i->t->file);
        return st;
}

/* ---- publication --------------------------------------------------------------------------------------------------------------------- */
static const char sql_publication[] =
        "SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT pubviaroot, pg_has_role(pubowner, 'USAGE')"
        " FROM pg_catalog.pg_publication WHERE pubname = $1";
#define PUBLISH "publish = 'insert, update, delete, truncate', publish_via_partition_root = false"

static enum status mend_publication(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        struct buf sql;
        struct pg_param p = PG_TEXT(i->slot);
        enum status st = pg_query(i->db, sql_publication, 1, &p, false, &res, e);
        if (st == ST_OK && pgres_rows(res) == 1 && pgres_text(res, 0, 0)[0] == 't')
                st = err_named(e, ST_CONFIG, "table_unfit",
                               "region %s: publication %s is FOR ALL TABLES and was not made by Pangea: drop it", i->r->name,
                               i->slot);
        if (st == ST_OK && pgres_rows(res) == 1 && pgres_text(res, 0, 1)[0] != 't') {
                buf_init(&sql, 1024);
                buf_put_str(&sql, "ALTER PUBLICATION ");
                pg_ident(&sql, i->slot);
                buf_put_str(&sql, " SET (" PUBLISH ")");
                st = init_sql(i, buf_cstr(&sql), e);
                buf_release(&sql);
                if (st == ST_OK && !i->dry_run)
                        init_say(i, "publication %s: options set", i->slot);
        }
        pgres_free(res);
        return st;
}

enum status init_publication(struct init *i, struct err *e)
{
        struct buf sql;
        if (i->has_publication)
                return mend_publication(i, e);
        buf_init(&sql, 1024);
        buf_put_str(&sql, "CREATE PUBLICATION ");
        pg_ident(&sql, i->slot);
        buf_put_str(&sql, " WITH (" PUBLISH ")");
        enum status st = init_sql(i, buf_cstr(&sql), e);
        buf_release(&sql);
        if (st == ST_OK && !i->dry_run)
                init_say(i, "publication %s: created", i->slot);
        return st;
}

/* ---- tables -------------------------------------------------------------------------------------------------------------------------- */
/* First init: rows that are there are common ground and need not enter the stream. */
static enum status set_up_once(struct init *i, const struct table_plan *p, struct err *e)
{
        struct err ignored;
        enum status st = pg_exec(i->db, "BEGIN; SET LOCAL lock_timeout = '1s'", NULL, e);
        /* by the extended protocol: one statement each, whatever the topology's `where` holds */
        for (size_t k = 0; k < p->nstatements && st == ST_OK; k++)
                st = pg_query(i->db, p->statements[k], 0, NULL, false, NULL, e);
        if (st == ST_OK)
                st = pg_exec(i->db, "COMMIT", NULL, e);
        if (st != ST_OK && !pg_lost(i->db))
                (void)!pg_exec(i->db, "ROLLBACK", NULL, &ignored);
        return st;
}

/* Waits for locks only a second at a time: whoever queues behind us would wait as long. */
static enum status set_up(struct init *i, const struct table_plan *p, struct err *e)
{
        for (int k = 0; i->dry_run && k < (int)p->nstatements; k++)
                init_print(i, "%s;\n", p->statements[k]);
        if (i->dry_run)
                return ST_OK;
        for (int try = 0;; try++) {
                char what[300];
                snprintf(what, sizeof what, "%s: %s.%s: %s", i->r->name, p->schema, p->name,
                         i->fresh || !p->has_rows ? "identity and publication"
                                                  : "its rows are written anew, so that they are published");
                struct progress *shown = progress_begin(what);
                enum status st = i->fresh ? set_up_once(i, p, e) : tables_adopt(i->db, i->t, i->r->id, p, ANY_NUMBER_OF_ROWS, e);
                progress_end(shown);
                if (st != ST_RETRY || pg_lost(i->db) || try == LOCK_TRIES)
                        return st == ST_OK ? ST_OK : err_wrap(e, "table %s.%s", p->schema, p->name);
                if (try == 0)
                        init_say(i, "%s.%s: in use, trying for a minute: %s", p->schema, p->name, e->msg);
                (void)poll(NULL, 0, 500);
        }
}

static bool only_named(struct init *i, const struct table_plan *p)
{
        bool identity = false;
        for (size_t k = 0; k < p->nstatements && i->keep_identity; k++)
                if (strstr(p->statements[k], " REPLICA IDENTITY ")) {
                        init_say(i, "%s.%s: left out (--keep-identity), needs: %s", p->schema, p->name, p->statements[k]);
                        identity = true;
                }
        return identity;
}

struct tally {
        size_t published, added, full, waits, left_out, routed;
};

static enum status one_table(struct init *i, const struct table_plan *p, struct tally *n, struct err *e)
{
        n->routed++;
        if (only_named(i, p)) {
                n->left_out++;
                return ST_OK;
        }
        if (p->nstatements) {
                enum status st = set_up(i, p, e);
                if (st != ST_OK)
                        return st;
                if (!i->dry_run && p->sets_full)
                        init_say(i, "%s.%s: REPLICA IDENTITY FULL", p->schema, p->name);
                n->full += p->sets_full;
                n->added += p->state == TABLE_TO_ADOPT;
        }
        n->published += p->state == TABLE_PUBLISHED;
        n->waits += p->state == TABLE_WAITS;
        if (p->state == TABLE_WAITS)
                init_say(i, "%s.%s waits: %s: %s", p->schema, p->name, p->why, p->todo);
        return ST_OK;
}

static void empty_wildcards(const struct init *i, const struct table_plan *plans, size_t n)
{
        for (size_t k = 0; k < i->t->nroutes; k++) {
                const struct route *r = &i->t->routes[k];
                bool used = false;
                for (size_t j = 0; j < n && !used; j++)
                        used = topology_route(i->t, plans[j].schema, plans[j].name) == r;
                if (!used && !i->t->default_routes && ((route_writers(i->t, r) | r->to) >> i->r->id.i & 1))
                        init_say(i, "warning: %s:%d:%d: no table of this region goes by this route", i->t->file, r->line,
                                 r->column);
        }
}

enum status init_tables(struct init *i, struct err *e)
{
        struct table_plan *plans;
        struct tally tally = {0};
        size_t n;
        enum status st = tables_plan(i->db, i->t, i->r->id, &i->arena, &plans, &n, e);
        if (st != ST_OK)
                return st;
        empty_wildcards(i, plans, n);
        for (size_t k = 0; k < n && i->leader && st == ST_OK; k++)
                st = one_table(i, &plans[k], &tally, e);
        if (st == ST_OK && i->leader && !i->dry_run)
                init_say(i, "tables: %zu added to the publication, %zu were in it, %zu wait, %zu set to REPLICA IDENTITY FULL",
                         tally.added, tally.published, tally.waits + tally.left_out, tally.full);
        return st;
}
