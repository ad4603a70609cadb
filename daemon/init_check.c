/* What must be true before anything is touched. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/init.h"

enum status init_sql(struct init *i, const char *sql, struct err *e)
{
        if (!i->dry_run)
                return pg_exec(i->db, sql, NULL, e);
        size_t n = strlen(sql);
        init_print(i, "%s%s\n", sql, n && (sql[n - 1] == ';' || sql[n - 1] == '\n') ? "" : ";");
        return ST_OK;
}

/* ---- connections ------------------------------------------------------------------------------------------------------------------- */
static const char sql_who[] =
        "SELECT current_user, current_database(), (SELECT system_identifier FROM pg_catalog.pg_control_system())";

static enum status open_admin(struct init *i, const char *conninfo, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_opts o = {.conninfo = conninfo, .application_name = "pangea init admin", .session = PG_PLAIN};
        enum status st = pg_open(&i->admin, &o, e);
        if (st == ST_OK)
                st = pg_exec(i->admin, sql_who, &res, e);
        if (st != ST_OK)
                return err_wrap(e, "--admin");
        if (strcmp(pgres_text(res, 0, 1), i->database) != 0 || strcmp(pgres_text(res, 0, 2), i->system_id) != 0)
                st = err_set(
                        e, ST_CONFIG,
                        "--admin connects to database %s of another server or name than region %s (%s): it must be the same database",
                        pgres_text(res, 0, 1), i->r->name, i->database);
        pgres_free(res);
        return st;
}

enum status init_open(struct init *i, const char *admin, struct err *e)
{
        struct pgres *res = NULL;
        arena_init(&i->arena);
        i->leader = i->r->role == ROLE_LEADER;
        topology_slot(i->t, i->r->id, i->slot, sizeof i->slot);
        enum status st = region_connect(i->r, "init", &i->db, e);
        if (st == ST_OK)
                st = pg_exec(i->db, sql_who, &res, e);
        if (st == ST_OK) {
                snprintf(i->role, sizeof i->role, "%s", pgres_text(res, 0, 0));
                snprintf(i->database, sizeof i->database, "%s", pgres_text(res, 0, 1));
                snprintf(i->system_id, sizeof i->system_id, "%s", pgres_text(res, 0, 2));
        }
        pgres_free(res);
        return st == ST_OK && admin ? open_admin(i, admin, e) : st;
}

void init_close(struct init *i)
{
        pg_close(i->db);
        pg_close(i->admin);
        arena_release(&i->arena);
}

/* ---- what is there already ----------------------------------------------------------------------------------------------------------- */
static const char sql_look[] =
        "SELECT pg_catalog.to_regnamespace('pangea') IS NOT NULL,"
        " pg_catalog.to_regclass('pangea.meta') IS NOT NULL AND pg_catalog.has_table_privilege(pg_catalog.to_regclass('pangea.meta'), 'SELECT'),"
        " EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1),"
        " EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1)";

static enum status look_meta(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        enum status st =
                pg_exec(i->db,
                        "SELECT m.cluster, m.region, m.system_id, m.schema_version, m.database_name, c.epoch, m.publication "
                        "FROM pangea.meta m, pangea.capture c",
                        &res, e);
        if (st == ST_OK && pgres_rows(res) == 1) {
                i->has_meta = true;
                i->epoch = pgres_i64(res, 0, 5);
                i->schema_version = pgres_i64(res, 0, 3);
                snprintf(i->publication, sizeof i->publication, "%s", pgres_text(res, 0, 6));
                i->moved = strcmp(pgres_text(res, 0, 2), i->system_id) != 0;
                if (strcmp(pgres_text(res, 0, 0), i->t->cluster) != 0 || strcmp(pgres_text(res, 0, 1), i->r->name) != 0)
                        st = err_named(
                                e, ST_CONFIG, "wrong_database",
                                "region %s: database %s was prepared for region %s of cluster %s: correct the conninfo, or take that out with "
                                "`pangea deinit`",
                                i->r->name, i->database, pgres_text(res, 0, 1), pgres_text(res, 0, 0));
                else if (i->moved)
                        st = err_named(
                                e, ST_CONFIG, "system_changed",
                                "region %s: database %s was prepared on server %s and is on server %s now: a copy; `pangea deinit --region %s --yes`, "
                                "then init",
                                i->r->name, i->database, pgres_text(res, 0, 2), i->system_id, i->r->name);
                else if (strcmp(pgres_text(res, 0, 4), i->database) != 0)
                        st = err_named(
                                e, ST_CONFIG, "system_changed",
                                "region %s: database %s was prepared under the name %s: a copy on the same server (then DROP SCHEMA pangea CASCADE in "
                                "it; slot and origins are the original's), or renamed (then UPDATE pangea.meta SET database_name = '%s')",
                                i->r->name, i->database, pgres_text(res, 0, 4), i->database);
                else if (pgres_i64(res, 0, 3) > SCHEMA_VERSION)
                        st = err_named(e, ST_CONFIG, "schema_version",
                                       "region %s: schema pangea has version %s, this program knows %d: use the newer program",
                                       i->r->name, pgres_text(res, 0, 3), SCHEMA_VERSION);
        }
        pgres_free(res);
        return st;
}

enum status init_look(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p = PG_TEXT(i->slot);
        enum status st = pg_query(i->db, sql_look, 1, &p, false, &res, e);
        bool meta = false;
        if (st == ST_OK) {
                i->has_schema = pgres_text(res, 0, 0)[0] == 't';
                meta = pgres_text(res, 0, 1)[0] == 't';
                i->has_slot = pgres_text(res, 0, 2)[0] == 't';
                i->has_publication = pgres_text(res, 0, 3)[0] == 't';
        }
        pgres_free(res);
        return st == ST_OK && meta ? look_meta(i, e) : st;
}

/* ---- the server ---------------------------------------------------------------------------------------------------------------------- */
/* $1 slot, $2 origins of this region that exist, $3 origins it needs.  From 18 on origins have a limit of their own. */
static const char sql_server[] =
        "WITH s AS (SELECT current_setting('max_replication_slots')::int AS slots,"
        " coalesce(current_setting('max_active_replication_origins', true), current_setting('max_replication_slots'))::int AS origins)"
        "SELECT current_setting('wal_level'), current_setting('track_commit_timestamp'), s.slots,"
        " (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> $1),"
        " current_setting('max_wal_senders')::int,"
        " (SELECT count(*) FROM pg_catalog.pg_stat_replication r LEFT JOIN pg_catalog.pg_replication_slots y ON y.active_pid = r.pid"
        "  WHERE y.slot_name IS DISTINCT FROM $1),"
        " s.origins, (SELECT count(*) FROM pg_catalog.pg_replication_origin o WHERE o.roname NOT LIKE $2), pg_catalog.pg_is_in_recovery(),"
        " current_setting('max_slot_wal_keep_size') FROM s";

static enum status judge_server(const struct init *i, const struct pgres *r, struct err *e)
{
        const char *at = i->r->name, *wal = pgres_text(r, 0, 0);
        int64_t slots = pgres_i64(r, 0, 2), used = pgres_i64(r, 0, 3), senders = pgres_i64(r, 0, 4), busy = pgres_i64(r, 0, 5);
        if (pgres_text(r, 0, 8)[0] == 't')
                return err_named(e, ST_CONFIG, "standby",
                                 "region %s: the server is a standby: the conninfo must lead to the primary", at);
        if (strcmp(pgres_text(r, 0, 1), "on") != 0)
                return err_named(
                        e, ST_CONFIG, "commit_timestamps_off",
                        "region %s: track_commit_timestamp is off: set track_commit_timestamp = on in postgresql.conf and restart the server",
                        at);
        if (pgres_i64(r, 0, 6) < (int64_t)i->t->nregions)
                return err_named(
                        e, ST_CONFIG, "server_settings",
                        "region %s: %zu replication origins are needed and the server allows %s: raise max_replication_slots (from 18 on "
                        "max_active_replication_origins) in postgresql.conf and restart the server",
                        at, i->t->nregions, pgres_text(r, 0, 6));
        if (!i->leader)
                return ST_OK;
        if (strcmp(wal, "logical") != 0)
                return err_named(e, ST_CONFIG, "server_settings",
                                 "region %s: wal_level is %s: set wal_level = logical in postgresql.conf and restart the server",
                                 at, wal);
        if (used >= slots)
                return err_named(
                        e, ST_CONFIG, "server_settings",
                        "region %s: all %lld replication slots are in use: raise max_replication_slots in postgresql.conf and restart the server",
                        at, (long long)slots);
        if (busy >= senders)
                return err_named(
                        e, ST_CONFIG, "server_settings",
                        "region %s: all %lld WAL senders are in use: raise max_wal_senders in postgresql.conf and restart the server",
                        at, (long long)senders);
        return ST_OK;
}

enum status init_check_server(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        char like[130];
        snprintf(like, sizeof like, "%s\\_%%", i->slot);
        struct pg_param p[] = {PG_TEXT(i->slot), PG_TEXT(like)};
        enum status st = pg_query(i->db, sql_server, 2, p, false, &res, e);
        if (st == ST_OK)
                st = judge_server(i, res, e);
        if (st == ST_OK && i->leader && strcmp(pgres_text(res, 0, 9), "-1") != 0)
                init_say(
                        i,
                        "note: max_slot_wal_keep_size is %s: while Kafka is away for longer than that much WAL lasts, the slot is lost",
                        pgres_text(res, 0, 9));
        pgres_free(res);
        return st;
}
