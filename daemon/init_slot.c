/* The replication slot, and what it waits for: it cannot be made before every transaction that is running has ended. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/init.h"
#include "postgres/stream.h"

/* ---- may the slot stay? -------------------------------------------------------------------------------------------------------------- */
/* A publication that is younger than what the slot may still decode is not there at that point of the WAL. Younger is one that is not the
 * one that was there when the slot was made: xmin cannot tell, a new slot's catalog_xmin is as old as that of the server's oldest slot. */
static const char sql_slot[] =
        "SELECT s.plugin = 'pgoutput', s.database, s.active_pid, s.wal_status = 'lost', p.oid IS NULL OR p.oid <> $2::oid"
        " FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_publication p ON p.pubname = s.slot_name WHERE s.slot_name = $1";

/* NULL: it may stay as it is. */
static const char *why_anew(const struct init *i, const struct pgres *r)
{
        if (!i->has_meta)
                return "an earlier init was interrupted";
        if (pgres_text(r, 0, 3)[0] == 't')
                return "it has lost WAL it needs";
        if (pgres_text(r, 0, 4)[0] == 't')
                return "its publication is younger than it is";
        return NULL;
}

static enum status cannot_anew(const struct init *i, const struct pgres *r, struct err *e)
{
        bool lost = pgres_text(r, 0, 3)[0] == 't';
        return err_named(
                e, ST_FATAL, lost ? "slot_lost" : "publication_younger",
                "region %s: slot %s %s, and this region has published: changes are missing in the other regions: set all of them up again: `pangea deinit --region %s --yes` "
                "and so in every other, copy the tables from a region that is whole, then init in each",
                i->r->name, i->slot, lost ? "has lost WAL it needs" : "is older than its publication and cannot be decoded",
                i->r->name);
}

static enum status judge_slot(struct init *i, const struct pgres *r, struct err *e)
{
        if (pgres_text(r, 0, 0)[0] != 't' || strcmp(pgres_text(r, 0, 1), i->database) != 0)
                return err_named(
                        e, ST_CONFIG, "system_changed",
                        "region %s: slot %s is there, but of database %s or of another plugin: another cluster has the same name; give this one another",
                        i->r->name, i->slot, pgres_text(r, 0, 1));
        const char *why = why_anew(i, r);
        if (!why)
                return ST_OK;
        if (i->has_meta && i->epoch > 0)
                return cannot_anew(i, r, e);
        if (!pgres_null(r, 0, 2))
                return err_named(e, ST_FATAL, "slot_active",
                                 "region %s: slot %s has to be made anew (%s) but process %s uses it: stop the daemon first",
                                 i->r->name, i->slot, why, pgres_text(r, 0, 2));
        i->fresh = true;
        init_say(i, "slot %s: will be made anew: %s, and nothing was published yet", i->slot, why);
        return ST_OK;
}

enum status init_check_slot(struct init *i, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p[] = {PG_TEXT(i->slot), PG_TEXT(*i->publication ? i->publication : NULL)};
        i->fresh = !i->has_meta;
        if (!i->leader)
                return ST_OK;
        enum status st = pg_query(i->db, sql_slot, 2, p, false, &res, e);
        if (st == ST_OK && pgres_rows(res) == 1) {
                st = judge_slot(i, res, e);
        } else if (st == ST_OK && i->epoch > 0) {
                st = err_named(
                        e, ST_FATAL, "slot_missing",
                        "region %s: slot %s is gone, and this region has published: changes are missing in the other regions: set all of them up again: `pangea "
                        "deinit --region %s --yes` and so in every other, copy the tables from a region that is whole, then init in each",
                        i->r->name, i->slot, i->r->name);
        } else {
                i->fresh = true;
        }
        pgres_free(res);
        return st;
}

/* ---- making it ----------------------------------------------------------------------------------------------------------------------- */
/* The thread writes st, err and lsn; the main thread reads them after the join. */
struct making {
        struct pgstream *stream;
        const char *slot;
        lsn_t lsn;
        enum status st;
        struct err err;
};

static void *make_thread(void *arg)
{
        struct making *m = arg;
        m->st = pgstream_create_slot(m->stream, m->slot, &m->lsn, &m->err);
        return NULL;
}

static const char sql_waits[] =
        "SELECT CASE WHEN x.gid IS NOT NULL THEN 'prepared transaction ' || quote_literal(x.gid) || ' of ' || x.owner || ' in database ' ||"
        " x.database || ' (since ' || date_trunc('second', x.prepared) || '): COMMIT PREPARED or ROLLBACK PREPARED it'"
        " ELSE 'the transaction of process ' || coalesce(h.pid::text, '?') || ' (' || concat_ws(', ', a.usename, 'database ' || a.datname,"
        " nullif(a.application_name, ''), a.state, 'since ' || date_trunc('second', a.xact_start)) || '): it must end first' END"
        " FROM pg_catalog.pg_locks w"
        " LEFT JOIN pg_catalog.pg_locks h ON h.locktype = 'transactionid' AND h.transactionid = w.transactionid AND h.granted"
        " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid"
        " LEFT JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = w.transactionid"
        " WHERE w.pid = $1::int AND w.locktype = 'transactionid' AND NOT w.granted LIMIT 1";

static void say_wait(struct init *i, int pid, char *said, size_t size)
{
        struct pgres *res = NULL;
        struct err e;
        char number[16];
        snprintf(number, sizeof number, "%d", pid);
        struct pg_param p = PG_TEXT(number);
        if (pg_query(i->db, sql_waits, 1, &p, false, &res, &e) == ST_OK && pgres_rows(res) == 1 &&
            strcmp(said, pgres_text(res, 0, 0)) != 0) {
                snprintf(said, size, "%s", pgres_text(res, 0, 0));
                init_say(i, "slot %s waits for %s", i->slot, said);
        }
        pgres_free(res);
}

static enum status make_slot(struct init *i, struct pgstream *s, lsn_t *lsn, struct err *e)
{
        struct making m = {.stream = s, .slot = i->slot};
        pthread_t thread;
        char said[600] = "";
        int pid = pgstream_backend_pid(s);
        if (pthread_create(&thread, NULL, make_thread, &m) != 0)
                return err_set(e, ST_FATAL, "no thread for the slot: %m");
        for (;;) {
                struct timespec until;
                clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec++;
                if (pthread_timedjoin_np(thread, NULL, &until) == 0)
                        break;
                say_wait(i, pid, said, sizeof said);
        }
        *lsn = m.lsn;
        if (m.st != ST_OK && e)
                *e = m.err;
        return m.st;
}

static enum status open_stream(struct init *i, struct pgstream **out, struct err *e)
{
        char *password = NULL;
        enum status st = region_password(i->r, &password, e);
        if (st != ST_OK)
                return st;
        struct pg_opts o = {.conninfo = i->r->conninfo,
                            .password = password,
                            .application_name = "pangea init slot",
                            .session = PG_REPLICATION};
        st = pgstream_open(out, &o, e);
        free(password);
        return st;
}

static enum status drop_slot(struct init *i, struct err *e)
{
        struct buf sql;
        buf_init(&sql, 1024);
        buf_put_str(&sql, "SELECT pg_catalog.pg_drop_replication_slot(");
        pg_literal(&sql, i->slot);
        buf_put_str(&sql, ")");
        enum status st = init_sql(i, buf_cstr(&sql), e);
        buf_release(&sql);
        return st;
}

/* Taken before the slot is made: whatever has a lower xid has ended by then, so the slot never sees it. */
static enum status read_xid(struct init *i, char *xid, size_t size, struct err *e)
{
        struct pgres *res = NULL;
        enum status st = pg_exec(i->db, "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())", &res, e);
        if (st == ST_OK)
                snprintf(xid, size, "%s", pgres_text(res, 0, 0));
        pgres_free(res);
        return st;
}

enum status init_slot(struct init *i, lsn_t *lsn, char *xid, size_t xid_size, struct err *e)
{
        struct pgstream *s = NULL;
        char at[LSN_STRLEN];
        enum status st = ST_OK;
        *lsn = (lsn_t){0};
        if (!i->fresh) {
                if (i->leader && !i->dry_run)
                        init_say(i, "slot %s: there", i->slot);
                return ST_OK;
        }
        if (i->leader && i->has_slot)
                st = drop_slot(i, e);
        if (st == ST_OK)
                st = read_xid(i, xid, xid_size, e);
        if (st != ST_OK || !i->leader)
                return st;
        if (i->dry_run) {
                init_print(i, "SELECT pg_catalog.pg_create_logical_replication_slot('%s', 'pgoutput');\n", i->slot);
                return ST_OK;
        }
        st = open_stream(i, &s, e);
        if (st == ST_OK)
                st = make_slot(i, s, lsn, e);
        pgstream_close(s);
        if (st == ST_OK)
                init_say(i, "slot %s: created, changes are captured from %s on", i->slot, lsn_str(at, *lsn));
        return st;
}
