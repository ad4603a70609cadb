/* One region, step by step (DESIGN 10.1). pangea.meta is written last of what the database needs: it says that everything before is there. */
#include "daemon/init.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon_functions_sql.h"
#include "daemon_schema_sql.h"

#define KAFKA_DEFAULT_MESSAGE 1048588

/* Two inits of one region take turns. Session-level: nothing of it is left when the connection ends. */
static enum status take_turn(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        enum status st = pg_exec(i->db, "SELECT pg_catalog.pg_try_advisory_lock(1885433703, 1)", &res, e);
        bool mine = st == ST_OK && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        if (st != ST_OK || mine)
                return st;
        init_say(i, "waiting for another `pangea init` of this database");
        return pg_exec(i->db, "SELECT pg_catalog.pg_advisory_lock(1885433703, 1)", NULL, e);
}

/* What makes version k + 2 out of version k + 1: each may be run again. */
static const char *const migrations[SCHEMA_VERSION - 1] = {
        "CREATE TABLE IF NOT EXISTS pangea.mirror (log text PRIMARY KEY, source_offset bigint NOT NULL)",
        "ALTER TABLE pangea.conflict ADD COLUMN IF NOT EXISTS involved jsonb, ADD COLUMN IF NOT EXISTS xids jsonb, ADD COLUMN IF NOT EXISTS stands jsonb; "
        "CREATE TABLE IF NOT EXISTS pangea.sibling ( rel text NOT NULL, key bytea NOT NULL, region text NOT NULL, hlc bigint NOT NULL, vector jsonb NOT NULL, image jsonb NOT NULL, old jsonb, row_xid bigint, rule text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (rel, key, region, hlc) ); "
        "CREATE TABLE IF NOT EXISTS pangea.suppressed ( rel text NOT NULL, key bytea NOT NULL, region text NOT NULL, hlc bigint NOT NULL, image jsonb NOT NULL, held_by jsonb, constraint_name text, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (rel, key) ); "
        "CREATE TABLE IF NOT EXISTS pangea.column_dot ( rel text NOT NULL, key bytea NOT NULL, col text NOT NULL, element text NOT NULL, region text NOT NULL, hlc bigint NOT NULL ); "
        "CREATE INDEX IF NOT EXISTS column_dot_key ON pangea.column_dot (rel, key); "
        "CREATE TABLE IF NOT EXISTS pangea.rules ( region text NOT NULL, from_hlc bigint NOT NULL, generation int NOT NULL, doc jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (region, from_hlc) )",
        "CREATE TABLE IF NOT EXISTS pangea.pause (agent text NOT NULL, origin text NOT NULL, at timestamptz NOT NULL DEFAULT now(), by_whom text NOT NULL, reason text, PRIMARY KEY (agent, origin))",
        "DROP INDEX IF EXISTS pangea.conflict_dot; "
        "CREATE INDEX IF NOT EXISTS conflict_version ON pangea.conflict (rel, region, hlc, jsonb_hash_extended(key, 0)); "
        "ALTER TABLE pangea.meta ADD COLUMN IF NOT EXISTS own_parts bigint NOT NULL DEFAULT 0",
};

/* Of a schema that is there. One without pangea.meta was left by an init that did not come to its end: its version is not known. */
static enum status migrate(struct init *i, struct err *e)
{
        enum status st = ST_OK;
        char sql[128];
        struct err ignored;
        if (i->schema_version >= SCHEMA_VERSION)
                return ST_OK;
        st = init_sql(i, "BEGIN", e);
        for (size_t v = i->schema_version > 1 ? (size_t)i->schema_version : 1; v < SCHEMA_VERSION && st == ST_OK; v++)
                st = init_sql(i, migrations[v - 1], e);
        snprintf(sql, sizeof sql, "UPDATE pangea.meta SET schema_version = %d", SCHEMA_VERSION);
        if (st == ST_OK)
                st = init_sql(i, sql, e);
        if (st == ST_OK)
                st = init_sql(i, "COMMIT", e);
        if (st != ST_OK && !pg_lost(i->db))
                (void)!pg_exec(i->db, "ROLLBACK", NULL, &ignored);
        if (st == ST_OK && !i->dry_run && i->has_meta)
                init_say(i, "schema pangea: from version %lld to %d", (long long)i->schema_version, SCHEMA_VERSION);
        return st;
}

static enum status make_schema(struct init *i, struct err *e)
{
        struct err ignored;
        if (i->has_schema) {
                if (!i->dry_run)
                        init_say(i, "schema pangea: there");
                enum status st = migrate(i, e);
                return st == ST_OK ? init_sql(i, daemon_functions_sql, e) : st;
        }
        enum status st = init_sql(i, "BEGIN", e);
        if (st == ST_OK)
                st = init_sql(i, daemon_schema_sql, e);
        if (st == ST_OK)
                st = init_sql(i, daemon_functions_sql, e);
        if (st == ST_OK)
                st = init_sql(i, "COMMIT", e);
        if (st != ST_OK && !pg_lost(i->db))
                (void)!pg_exec(i->db, "ROLLBACK", NULL, &ignored);
        if (st == ST_OK && !i->dry_run)
                init_say(i, "schema pangea: created");
        return st;
}

/* One for each region, the own one included: it marks the repairs from the own log (DESIGN 6.5). */
static enum status make_origins(struct init *i, struct err *e)
{
        size_t made = 0;
        enum status st = ST_OK;
        for (size_t k = 0; k < i->t->nregions && st == ST_OK; k++) {
                char name[128];
                struct pgres *res = NULL;
                struct buf sql;
                topology_origin(i->t, i->r->id, i->t->regions[k].id, name, sizeof name);
                struct pg_param p = PG_TEXT(name);
                st = pg_query(i->db, "SELECT FROM pg_catalog.pg_replication_origin WHERE roname = $1", 1, &p, false, &res, e);
                if (st == ST_OK && pgres_rows(res) == 0) {
                        buf_init(&sql, 1024);
                        buf_put_str(&sql, "SELECT pg_catalog.pg_replication_origin_create(");
                        pg_literal(&sql, name);
                        buf_put_str(&sql, ")");
                        st = init_sql(i, buf_cstr(&sql), e);
                        buf_release(&sql);
                        made++;
                }
                pgres_free(res);
        }
        if (st == ST_OK && !i->dry_run)
                init_say(i, "replication origins: %zu created, %zu were there", made, i->t->nregions - made);
        return st;
}

/* ---- pangea.meta and what belongs to it ---------------------------------------------------------------------------------------------- */
static void meta_sql(const struct init *i, lsn_t lsn, const char *xid, struct buf *out)
{
        char at[LSN_STRLEN];
        const char *texts[] = {i->t->cluster, i->r->name, i->system_id, i->database};
        static const char *const between[] = {"", ", ", ", 1, ", ", "};
        buf_printf(
                out,
                "INSERT INTO pangea.meta (schema_version, cluster, region, incarnation, system_id, database_name, base_lsn, publication, "
                "keep_identity, base_xid, stable_xid) VALUES (%d, ",
                SCHEMA_VERSION);
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
                buf_put_str(out, between[k]);
                pg_literal(out, texts[k]);
        }
        if (i->dry_run && i->leader) /* whoever runs the statements by hand has made the slot by then */
                buf_printf(out, ", (SELECT confirmed_flush_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = '%s')",
                           i->slot);
        else
                buf_printf(out, ", '%s'", lsn_str(at, lsn));
        buf_put_str(out, i->leader ? ", (SELECT oid FROM pg_catalog.pg_publication WHERE pubname = " : ", NULL");
        if (i->leader) {
                pg_literal(out, i->slot);
                buf_put_str(out, ")");
        }
        buf_printf(
                out,
                ", %s, '%s', '%s') ON CONFLICT (one) DO UPDATE SET base_lsn = excluded.base_lsn, publication = excluded.publication, "
                "base_xid = excluded.base_xid, stable_xid = excluded.stable_xid, own_parts = 0",
                i->keep_identity ? "true" : "false", xid, xid);
}

static enum status write_positions(struct init *i, struct err *e)
{
        enum status st = ST_OK;
        for (size_t k = 0; k < i->t->nregions && st == ST_OK; k++) {
                struct buf sql;
                buf_init(&sql, 1024);
                buf_put_str(&sql, "INSERT INTO pangea.position (origin, incarnation, epoch, seq, hlc, lsn, kafka_offset) VALUES (");
                pg_literal(&sql, i->t->regions[k].name);
                buf_put_str(&sql, ", 1, 0, 0, 0, '0/0', -1) ON CONFLICT (origin) DO NOTHING");
                st = init_sql(i, buf_cstr(&sql), e);
                buf_release(&sql);
        }
        return st;
}

static enum status write_meta(struct init *i, lsn_t lsn, const char *xid, struct err *e)
{
        struct err ignored;
        struct buf sql;
        buf_init(&sql, 8192);
        enum status st = init_sql(i, "BEGIN", e);
        if (st == ST_OK && i->fresh) {
                meta_sql(i, lsn, xid, &sql);
                st = init_sql(i, buf_cstr(&sql), e);
        }
        if (st == ST_OK)
                st = init_sql(i, "INSERT INTO pangea.capture (epoch) VALUES (0) ON CONFLICT (one) DO NOTHING", e);
        if (st == ST_OK)
                st = write_positions(i, e);
        if (st == ST_OK)
                st = init_sql(i, "COMMIT", e);
        if (st != ST_OK && !pg_lost(i->db))
                (void)!pg_exec(i->db, "ROLLBACK", NULL, &ignored);
        buf_release(&sql);
        return st;
}

/* ---- Kafka --------------------------------------------------------------------------------------------------------------------------- */
static int64_t largest_message(const struct region *r, int64_t max)
{
        for (size_t k = 0; k < r->kafka.nprops; k++)
                if (strcmp(r->kafka.prop_keys[k], "message.max.bytes") == 0 && strtoll(r->kafka.prop_values[k], NULL, 10) > max)
                        max = strtoll(r->kafka.prop_values[k], NULL, 10);
        return max;
}

int64_t init_message_bytes(const struct init *i, const struct region *log)
{
        return largest_message(log, largest_message(i->r, KAFKA_DEFAULT_MESSAGE));
}

enum status init_kafka_failed(const struct init *i, struct err *e)
{
        if (!*e->name)
                snprintf(e->name, sizeof e->name, "kafka_failed");
        return err_wrap(e, "region %s", i->r->name);
}

/* The topic of a region's log in the Kafka of this one: the own log, or a mirror. */
static enum status make_topic(struct init *i, const struct region *log, struct err *e)
{
        char name[128], client[96];
        bool created = false;
        const char *what = log == i->r ? "topic" : "topic of a mirror";
        struct kafka_conf conf = i->r->kafka;
        topology_topic(i->t, log->id, name, sizeof name);
        snprintf(client, sizeof client, "pangea-%s-%s-init", i->t->cluster, i->r->name);
        conf.client_id = client;
        struct kafka_topic_spec spec = {.name = name,
                                        .replication = i->t->log_replication,
                                        .min_insync = i->t->log_min_insync,
                                        .max_message_bytes = init_message_bytes(i, log)};
        if (i->dry_run) {
                init_print(
                        i,
                        "-- Kafka: %s %s, 1 partition, replication factor %d, cleanup.policy=delete, retention.ms=-1, retention.bytes=-1, "
                        "min.insync.replicas=%d, max.message.bytes=%lld\n",
                        what, name, spec.replication, spec.min_insync, (long long)spec.max_message_bytes);
                return ST_OK;
        }
        enum status st = kafka_topic_ensure(&conf, &spec, &created, e);
        if (st != ST_OK)
                return init_kafka_failed(i, e);
        init_say(i, "%s %s: %s", what, name, created ? "created" : "there");
        return ST_OK;
}

static enum status make_topics(struct init *i, struct err *e)
{
        enum status st = make_topic(i, i->r, e);
        for (size_t k = 0; k < i->t->nregions && st == ST_OK; k++)
                if (topology_mirrors(i->t, i->t->regions[k].id, i->r->id))
                        st = make_topic(i, &i->t->regions[k], e);
        return st;
}

/* ---- the order ----------------------------------------------------------------------------------------------------------------------- */
static enum status checks(struct init *i, struct err *e)
{
        enum status st = init_look(i, e);
        if (st == ST_OK)
                st = init_check_server(i, e);
        if (st == ST_OK)
                st = init_check_tables(i, e);
        return st == ST_OK ? init_check_slot(i, e) : st;
}

/* Before the tables are looked at: the running daemon adopts tables by the same rule. */
static enum status say_identity(struct init *i, struct err *e)
{
        if (!i->has_meta)
                return ST_OK;
        return init_sql(i,
                        i->keep_identity ? "UPDATE pangea.meta SET keep_identity = true"
                                         : "UPDATE pangea.meta SET keep_identity = false",
                        e);
}

static enum status database_steps(struct init *i, struct err *e)
{
        lsn_t lsn = {0};
        char xid[32] = "0";
        enum status st = make_schema(i, e);
        if (st == ST_OK)
                st = say_identity(i, e);
        if (st == ST_OK)
                st = make_origins(i, e);
        if (st == ST_OK && i->leader)
                st = init_publication(i, e);
        if (st == ST_OK)
                st = init_tables(i, e);
        if (st == ST_OK)
                st = init_slot(i, &lsn, xid, sizeof xid, e);
        return st == ST_OK ? write_meta(i, lsn, xid, e) : st;
}

enum status init_region(struct init *i, struct err *e)
{
        enum status st = i->dry_run ? ST_OK : take_turn(i, e);
        if (st == ST_OK)
                st = checks(i, e);
        if (st == ST_OK)
                st = init_rights(i, e);
        if (st == ST_OK && i->dry_run)
                init_print(i, "-- region %s, database %s: as role %s\n", i->r->name, i->database, i->role);
        /* what the run-time role could not see without its rights */
        if (st == ST_OK && !i->dry_run)
                st = checks(i, e);
        if (st == ST_OK)
                st = database_steps(i, e);
        return st == ST_OK ? make_topics(i, e) : st;
}
