/* Takes out of a region's database and Kafka what init put there. The schema goes last: until then a second try knows what is left. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/errors.h"
#include "daemon/init.h"
#include "daemon/refuse.h"

/* Runs "<before><quoted literal><after>", or prints it. */
static enum status with_literal(struct init *i, const char *before, const char *literal, const char *after, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 4096);
        buf_put_str(&sql, before);
        pg_literal(&sql, literal);
        buf_put_str(&sql, after);
        enum status st = init_sql(i, buf_cstr(&sql), e);
        buf_release(&sql);
        return st;
}

static enum status drop_publication(struct init *i, struct err *e)
{
        struct buf sql;
        if (!i->has_publication)
                return ST_OK;
        buf_init(&sql, 1024);
        buf_put_str(&sql, "DROP PUBLICATION ");
        pg_ident(&sql, i->slot);
        enum status st = init_sql(i, buf_cstr(&sql), e);
        buf_release(&sql);
        if (st == ST_OK && !i->dry_run)
                init_say(i, "publication %s: dropped", i->slot);
        return st;
}

/* A copy on another server is what one takes out. A copy on the same server is not: slot and origins of that name are the original's. */
static enum status look(struct init *i, struct err *e)
{
        enum status st = init_look(i, e);
        return st != ST_OK && i->moved && strcmp(e->name, "system_changed") == 0 ? ST_OK : st;
}

static enum status check_inactive(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p = PG_TEXT(i->slot);
        enum status st = pg_query(i->db, "SELECT active_pid FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active",
                                  1, &p, false, &res, e);
        if (st == ST_OK && pgres_rows(res) > 0)
                st = err_named(e, ST_FATAL, "slot_active",
                               "region %s: slot %s is used by process %s: stop the daemon of this region first", i->r->name,
                               i->slot, pgres_text(res, 0, 0));
        pgres_free(res);
        return st;
}

static enum status drop_slot(struct init *i, struct err *e)
{
        if (!i->has_slot)
                return ST_OK;
        enum status st = with_literal(i, "SELECT pg_catalog.pg_drop_replication_slot(", i->slot, ")", e);
        if (st == ST_OK && !i->dry_run)
                init_say(i, "slot %s: dropped", i->slot);
        return st;
}

/* By exact name, of the regions of the topology and of those that once were in it: `pangea_a_b_..` may also be another region's. */
static enum status drop_origins(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        struct buf known;
        buf_init(&known, 1u << 16);
        buf_put_str(&known, "SELECT roname FROM pg_catalog.pg_replication_origin WHERE roname IN (");
        for (size_t k = 0; k < i->t->nregions; k++) {
                char name[128];
                buf_put_str(&known, k ? ", " : "");
                pg_literal(&known, topology_origin(i->t, i->r->id, i->t->regions[k].id, name, sizeof name));
        }
        buf_put_str(&known, ")");
        if (i->has_meta) {
                buf_put_str(&known,
                            " UNION SELECT o.roname FROM pg_catalog.pg_replication_origin o JOIN pangea.position p ON o.roname = ");
                pg_literal(&known, i->slot);
                buf_put_str(&known, " || '_' || p.origin");
        }
        enum status st = pg_exec(i->db, buf_cstr(&known), &res, e);
        int n = st == ST_OK ? pgres_rows(res) : 0;
        for (int k = 0; k < n && st == ST_OK; k++)
                st = with_literal(i, "SELECT pg_catalog.pg_replication_origin_drop(", pgres_text(res, k, 0), ")", e);
        if (st == ST_OK && n > 0 && !i->dry_run)
                init_say(i, "replication origins: %d dropped", n);
        pgres_free(res);
        buf_release(&known);
        return st;
}

static enum status drop_schema(struct init *i, struct err *e)
{
        if (!i->has_schema)
                return ST_OK;
        enum status st = init_sql(i, "DROP SCHEMA pangea CASCADE", e);
        if (st == ST_OK && !i->dry_run)
                init_say(i, "schema pangea: dropped");
        return st;
}

static enum status drop_topic(struct init *i, region_id log, struct err *e)
{
        char name[128], client[96];
        struct kafka_conf conf = i->r->kafka;
        topology_topic(i->t, log, name, sizeof name);
        snprintf(client, sizeof client, "pangea-%s-%s-deinit", i->t->cluster, i->r->name);
        conf.client_id = client;
        if (i->dry_run) {
                init_print(i, "-- Kafka: delete topic %s\n", name);
                return ST_OK;
        }
        enum status st = kafka_topic_delete(&conf, name, e);
        if (st == ST_DATA && strcmp(e->name, "topic_missing") == 0)
                return ST_OK;
        if (st != ST_OK)
                return init_kafka_failed(i, e);
        init_say(i, "topic %s: deleted", name);
        return ST_OK;
}

/* The own log, and the mirrors: their topics are of no use without pangea.mirror. */
static enum status drop_topics(struct init *i, struct err *e)
{
        enum status st = drop_topic(i, i->r->id, e);
        for (size_t k = 0; k < i->t->nregions && st == ST_OK; k++)
                if (topology_mirrors(i->t, i->t->regions[k].id, i->r->id))
                        st = drop_topic(i, i->t->regions[k].id, e);
        return st;
}

static enum status deinit(struct init *i, struct err *e)
{
        static enum status (*const steps[])(struct init *, struct err *) = {
                look, check_inactive, drop_publication, drop_slot, drop_origins, drop_schema, drop_topics};
        enum status st = ST_OK;
        for (size_t k = 0; k < sizeof steps / sizeof *steps && st == ST_OK; k++)
                st = steps[k](i, e);
        return st;
}

static int one_region(const struct invocation *in, const struct topology *t, const struct region *r)
{
        struct init i = {.t = t, .r = r, .dry_run = in->dry_run};
        struct err e = {0};
        struct buf sql;
        if (in->json)
                init_report_begin(&i, &sql);
        enum status st = init_open(&i, in->admin, &e);
        if (st == ST_OK && i.admin) { /* everything may be owned by whoever ran init */
                struct pg *run_time = i.db;
                i.db = i.admin;
                i.admin = run_time;
        }
        if (st == ST_OK)
                st = deinit(&i, &e);
        init_close(&i);
        if (in->json) {
                json_t *o = init_report_end(&i, st == ST_OK ? NULL : &e);
                json_dumpf(o, stdout, JSON_INDENT(2));
                puts("");
                json_decref(o);
        }
        if (st == ST_OK)
                return EXIT_DONE;
        return refuse_for("deinit", &e);
}

int cmd_deinit(struct invocation *in)
{
        int code;
        struct topology *t = invocation_topology(in, &code);
        const struct region *r = t ? invocation_region(in, t, &code) : NULL;
        if (r) {
                log_setup(t->cluster, r->name, LOG_WARN, !isatty(STDERR_FILENO));
                if (in->yes || in->dry_run) {
                        code = one_region(in, t, r);
                } else {
                        char topic[128];
                        code = refuse(
                                "not_confirmed",
                                "deinit takes region %s out: its publication, replication slot, replication origins and schema pangea in its "
                                "database, and its topic %s with every change in it that the other regions have not applied yet, and its mirrors of other logs. Tables and rows "
                                "stay. Say --yes to do it, --dry-run to see the statements.",
                                r->name, topology_topic(t, r->id, topic, sizeof topic));
                }
        }
        topology_free(t);
        return code;
}
