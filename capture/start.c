/* The start, in the order that keeps a frozen capture from losing or doubling a transaction when it thaws (DESIGN 5.1; findings F1, F2,
 * F23, F25):
 *   slot -> look at the log's end, judge -> epoch from the database's counter -> EPOCH lands -> read the log up to it, judge again */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "capture/judge.h"
#include "capture/rules.h"
#include "capture/session.h"
#include "capture/status.h"
#include "capture/stops.h"

#define TAIL_KB 8192
#define MAX_PROPERTIES 200 /* librdkafka has fewer */
#define KAFKA_PATIENCE_US (30 * 1000000)

static const char PRESENT_SQL[] = "SELECT pg_catalog.to_regclass('pangea.capture') IS NOT NULL, pg_catalog.pg_is_in_recovery()";
static const char META_SQL[] =
        "SELECT m.cluster, m.region, m.incarnation, m.system_id, m.database_name, m.base_lsn, c.epoch, coalesce(c.epoch_offset, -1) "
        "FROM pangea.meta m, pangea.capture c";
static const char SLOT_SQL[] =
        "SELECT confirmed_flush_lsn, pg_catalog.pg_current_wal_flush_lsn(),"
        " pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8, wal_status, plugin, database "
        "FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
static const char COMMIT_SQL[] =
        "SELECT (extract(epoch FROM pg_catalog.pg_xact_commit_timestamp($1::text::xid8::xid)) * 1000000)::int8";
/* The counter moves only for who owns the slot, and is never behind the log: whoever lost either gets no row. */
static const char EPOCH_SQL[] = "UPDATE pangea.capture SET epoch = epoch + 1 WHERE epoch >= $1::int8 AND EXISTS ("
                                " SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $2 AND active_pid = $3::int4) "
                                "RETURNING epoch";
static const char LANDED_SQL[] = "UPDATE pangea.capture SET epoch_offset = $1::int8 WHERE epoch = $2::int8";

static enum status read_meta(struct session *s, struct judge_facts *f, struct err *e)
{
        struct pgres *res = NULL;
        enum status st = pg_exec(s->side, PRESENT_SQL, &res, e);
        if (st != ST_OK)
                return st;
        bool there = pgres_text(res, 0, 0)[0] == 't', standby = pgres_text(res, 0, 1)[0] == 't';
        pgres_free(res);
        const char *region = s->region->name;
        if (standby)
                return stop_named(e, "standby", region, "region %s: its conninfo leads to a standby", region);
        if (!there)
                return stop_named(e, "not_initialized", region, "region %s: its database has no schema pangea", region);
        res = NULL;
        st = pg_exec(s->side, META_SQL, &res, e);
        if (st != ST_OK)
                return st;
        if (pgres_rows(res) != 1) {
                st = stop_named(e, "not_initialized", region, "region %s: pangea.meta or pangea.capture holds no row", region);
        } else if (strcmp(pgres_text(res, 0, 0), s->topo->cluster) != 0 || strcmp(pgres_text(res, 0, 1), region) != 0) {
                st = stop_named(e, "wrong_database", region,
                                "region %s of cluster %s: this database was initialized as region %s of cluster %s", region,
                                s->topo->cluster, pgres_text(res, 0, 1), pgres_text(res, 0, 0));
        } else {
                s->outlet.head.incarnation = (uint32_t)pgres_i64(res, 0, 2);
                snprintf(f->meta.system_id, sizeof f->meta.system_id, "%s", pgres_text(res, 0, 3));
                snprintf(f->meta.database, sizeof f->meta.database, "%s", pgres_text(res, 0, 4));
                (void)lsn_parse(pgres_text(res, 0, 5), &f->base_lsn);
                f->counter = (uint64_t)pgres_i64(res, 0, 6);
                f->landed.v = pgres_i64(res, 0, 7);
        }
        pgres_free(res);
        return st;
}

/* A fault that has nothing to do with the slot's owner is said by name before anybody waits for the slot. */
static enum status read_slot(struct session *s, struct judge_facts *f, struct err *e)
{
        const char *region = s->region->name;
        struct pgres *res = NULL;
        enum status st = pg_query(s->side, SLOT_SQL, 1, &PG_TEXT(s->slot), false, &res, e);
        if (st != ST_OK)
                return st;
        if (pgres_rows(res) == 0) {
                st = stop_named(e, "slot_missing", region,
                                "region %s: there is no replication slot %s: what committed since is lost for the "
                                "other regions",
                                region, s->slot);
        } else if (strcmp(pgres_text(res, 0, 3), "lost") == 0) {
                st = stop_named(e, "slot_lost", region, "region %s: slot %s was invalidated: PostgreSQL has removed WAL it needed",
                                region, s->slot);
        } else if (strcmp(pgres_text(res, 0, 4), "pgoutput") != 0) {
                st = stop_named(e, "slot_ahead", region, "region %s: slot %s belongs to the plugin %s", region, s->slot,
                                pgres_text(res, 0, 4));
        } else {
                (void)lsn_parse(pgres_text(res, 0, 0), &f->confirmed);
                (void)lsn_parse(pgres_text(res, 0, 1), &f->server_lsn);
                f->next_xid.v = (uint64_t)pgres_i64(res, 0, 2);
        }
        pgres_free(res);
        return st;
}

static enum status open_postgres(struct session *s, struct judge_facts *f, struct err *e)
{
        char *password = NULL;
        struct pg_system sys = {0};
        enum status st = region_password(s->region, &password, e);
        if (st != ST_OK)
                return st;
        struct pg_opts o = {.conninfo = s->region->conninfo, .password = password, .application_name = s->application};
        o.session = PG_UPKEEP;
        st = pg_open(&s->side, &o, e);
        if (st == ST_OK)
                st = pg_exec(s->side, "SET statement_timeout = '30s'", NULL, e);
        if (st == ST_OK)
                st = read_meta(s, f, e);
        if (st == ST_OK)
                st = read_slot(s, f, e);
        o.session = PG_REPLICATION;
        if (st == ST_OK)
                st = pgstream_open(&s->stream, &o, e);
        free(password);
        if (st == ST_OK)
                st = pgstream_identify(s->stream, &sys, e);
        if (st != ST_OK)
                return st;
        snprintf(f->server.system_id, sizeof f->server.system_id, "%s", sys.system_id);
        snprintf(f->server.database, sizeof f->server.database, "%s", sys.database);
        snprintf(f->server.slot, sizeof f->server.slot, "%s", s->slot);
        f->server.timeline = sys.timeline;
        return ST_OK;
}

/* From here on nobody else can move confirmed_flush. */
static enum status take_slot(struct session *s, struct judge_facts *f, struct err *e)
{
        enum status st = pgstream_start(s->stream, s->slot, s->publication, (lsn_t){0}, e);
        if (st == ST_OK)
                st = read_meta(s, f, e); /* an owner before us may have moved them until now */
        if (st == ST_OK)
                st = read_slot(s, f, e);
        return st;
}

static void kafka_client(const struct session *s, struct kafka_conf *conf, char *client, size_t size)
{
        *conf = s->region->kafka;
        snprintf(client, size, "pangea-%s-%s-capture", s->topo->cluster, s->region->name);
        conf->client_id = client;
}

/* Reads the log's end and is closed again. A broker holds an answer at the log's end back for half a second unless it is told not to,
 * and every seek would wait for it. */
static enum status open_tail(const struct session *s, const struct kafka_conf *conf, struct kafka_reader **out, struct err *e)
{
        const char *keys[MAX_PROPERTIES + 1], *values[MAX_PROPERTIES + 1];
        struct kafka_conf quick = *conf;
        if (conf->nprops <= MAX_PROPERTIES) {
                for (size_t i = 0; i < conf->nprops; i++) {
                        keys[i] = conf->prop_keys[i];
                        values[i] = conf->prop_values[i];
                }
                keys[conf->nprops] = "fetch.wait.max.ms";
                values[conf->nprops] = "5";
                quick.prop_keys = keys;
                quick.prop_values = values;
                quick.nprops = conf->nprops + 1;
        }
        return kafka_reader_open(out, &quick, s->topic, KAFKA_FROM_END, TAIL_KB, e);
}

static enum status open_log(struct session *s, struct tail_reader *t, struct err *e)
{
        char client[160];
        struct kafka_conf conf;
        kafka_client(s, &conf, client, sizeof client);
        enum status st = kafka_topic_check(&conf, s->topic, e);
        if (st == ST_OK)
                st = open_tail(s, &conf, &t->reader, e);
        if (st == ST_OK)
                st = outlet_open(&s->outlet, &conf, s->topic, e);
        if (st == ST_OK)
                st = kafka_producer_warm(s->outlet.producer, 10000, e);
        return st;
}

/* The EPOCH whose landing the database remembers: who wrote the log then. */
static enum status read_landed(struct tail_reader *t, struct judge_facts *f, struct err *e)
{
        struct arena arena;
        struct record r;
        uint8_t *copy = NULL;
        if (f->landed.v < f->low.v || f->landed.v >= f->high.v)
                return ST_OK; /* judged by the numbers alone */
        arena_init(&arena);
        enum status st = tail_record_at(t, f->landed, &arena, &copy, &r, e);
        if (st == ST_DATA) {
                f->landed_wrong = true; /* not a record of ours, or none */
                st = ST_OK;
        } else if (st == ST_OK && (r.head.kind != RECORD_EPOCH || r.head.epoch > f->counter)) {
                f->landed_wrong = true;
        } else if (st == ST_OK) {
                f->has_last = true;
                f->last.timeline = r.u.epoch.timeline;
                snprintf(f->last.system_id, sizeof f->last.system_id, "%s", r.u.epoch.system_id);
                snprintf(f->last.database, sizeof f->last.database, "%s", r.u.epoch.database);
                snprintf(f->last.slot, sizeof f->last.slot, "%s", r.u.epoch.slot);
        }
        arena_release(&arena);
        free(copy);
        return st;
}

/* Does this database remember the log's last transaction? */
static enum status read_commit_time(struct session *s, struct judge_facts *f, struct err *e)
{
        char xid[24];
        struct pgres *res = NULL;
        f->has_commit_us = false;
        if (!f->tail.has_tx || f->tail.xid.v >= f->next_xid.v || f->next_xid.v - f->tail.xid.v > 1000000000)
                return ST_OK; /* judged by the number; or so old that the 32-bit id may mean another one */
        snprintf(xid, sizeof xid, "%llu", (unsigned long long)f->tail.xid.v);
        enum status st = pg_query(s->side, COMMIT_SQL, 1, &PG_TEXT(xid), false, &res, e);
        if (st == ST_DATA && strcmp(e->sqlstate, "55000") == 0)
                return stop_named(e, "commit_timestamps_off", s->region->name, "region %s: PostgreSQL keeps no commit timestamps",
                                  s->region->name);
        if (st != ST_OK)
                return st;
        f->has_commit_us = pgres_rows(res) == 1 && !pgres_null(res, 0, 0);
        f->commit_us = pgres_i64(res, 0, 0);
        pgres_free(res);
        return ST_OK;
}

static enum status look_at_log(struct session *s, struct tail_reader *t, struct judge_facts *f, koffset_t end, struct err *e)
{
        enum status st = tail_read(t, end, &f->tail, e);
        if (st == ST_OK)
                st = read_commit_time(s, f, e);
        return st == ST_OK ? judge_start(f, e) : st;
}

/* The walsender is no longer the slot's owner: the server's last words (a full disk, for one), or somebody else has the slot. */
static enum status slot_gone_meanwhile(struct session *s, struct err *e)
{
        struct stream_msg unwanted;
        enum status st = ST_OK;
        for (int i = 0; i < 1000 && !pgstream_lost(s->stream) && st == ST_OK; i++) {
                st = pgstream_consume(s->stream, e);
                if (st == ST_OK)
                        st = pgstream_next(s->stream, &unwanted, e);
        }
        if (st != ST_OK && pgstream_lost(s->stream))
                return st;
        return err_set(e, ST_RETRY, "region %s: slot %s was taken by another session while this one started", s->region->name,
                       s->slot);
}

static enum status take_epoch(struct session *s, const struct judge_facts *f, struct err *e)
{
        char last[24], pid[16];
        struct pgres *res = NULL;
        snprintf(last, sizeof last, "%llu", (unsigned long long)f->tail.max_epoch);
        snprintf(pid, sizeof pid, "%d", pgstream_backend_pid(s->stream));
        struct pg_param params[] = {PG_TEXT(last), PG_TEXT(s->slot), PG_TEXT(pid)};
        /* local: on disk before it is used (F23), without waiting for a synchronous standby: that may be ourselves */
        enum status st = pg_exec(s->side, "BEGIN; SET LOCAL synchronous_commit = local", NULL, e);
        if (st == ST_OK)
                st = pg_query(s->side, EPOCH_SQL, 3, params, false, &res, e);
        bool got = st == ST_OK && pgres_rows(res) == 1;
        if (got)
                s->outlet.head.epoch = (uint64_t)pgres_i64(res, 0, 0);
        pgres_free(res);
        if (st == ST_OK)
                st = pg_exec(s->side, "COMMIT", NULL, e);
        return st == ST_OK && !got ? slot_gone_meanwhile(s, e) : st;
}

static enum status publish_epoch(struct session *s, const struct judge_facts *f, koffset_t *landed, struct err *e)
{
        struct record_epoch r = {.writes = WIRE_VERSION, .reads_min = WIRE_VERSION, .reads_max = WIRE_VERSION};
        struct buf b;
        r.system_id = f->server.system_id;
        r.timeline = f->server.timeline;
        r.database = f->server.database;
        r.slot = s->slot;
        r.wall_us = clock_wall_us();
        struct record_head h = outlet_head(&s->outlet, RECORD_EPOCH);
        buf_init(&b, 1 << 16);
        enum status st = wire_encode_epoch(&b, &h, &r, &s->regs, e);
        if (st == ST_OK)
                st = outlet_put(&s->outlet, &h, &b, (lsn_t){0}, e);
        buf_release(&b);
        int64_t until = clock_mono_us() + KAFKA_PATIENCE_US;
        while (st == ST_OK && s->outlet.offset.v < 0) {
                st = outlet_poll(&s->outlet, 50, e);
                if (st == ST_OK)
                        st = session_idle(s, e);
                if (st == ST_OK && s->outlet.offset.v < 0 && clock_mono_us() > until)
                        st = err_set(e, ST_RETRY, "region %s: Kafka at %s does not acknowledge the EPOCH record", s->region->name,
                                     s->region->kafka.brokers);
        }
        *landed = s->outlet.offset;
        return st;
}

/* Remembered before anything else is published: what stands in the log behind nothing we remember cannot be ours. */
static enum status remember_landed(struct session *s, koffset_t landed, struct err *e)
{
        char offset[24], epoch[24];
        struct pgres *res = NULL;
        snprintf(offset, sizeof offset, "%lld", (long long)landed.v);
        snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)s->outlet.head.epoch);
        struct pg_param params[] = {PG_TEXT(offset), PG_TEXT(epoch)};
        enum status st = pg_query(s->side, LANDED_SQL, 2, params, false, &res, e);
        if (st == ST_OK && pgres_affected(res) != 1)
                st = err_set(e, ST_RETRY, "region %s: another capture agent has taken a newer epoch", s->region->name);
        pgres_free(res);
        return st;
}

static void resume(struct session *s, const struct judge_facts *f)
{
        struct group_sink sink = {.head = session_group_head, .put = session_group_put, .ctx = s};
        const struct tail *t = &f->tail;
        s->outlet.head.seq = t->seq;
        s->outlet.delivered = f->confirmed;
        groups_init(&s->groups, &sink, &s->regs, s->topo->group_max_bytes, s->topo->group_max_rows);
        s->groups.hlc = t->hlc;
        relcache_init(&s->tables, s->side, s->region->name);
        txread_init(&s->tx, &s->groups, &s->progress, &s->tables, &s->regs);
        s->tx.region = s->region->name;
        s->tx.me = s->me;
        s->tx.start = s->tx.decoded = t->found ? t->lsn : f->base_lsn;
        s->tx.vec = t->vec;
        s->tx.xid_near = f->next_xid;
        standbys_init(&s->standbys, s->region);
        snprintf(s->tx.origin_prefix, sizeof s->tx.origin_prefix, "pangea_%s_%s_", s->topo->cluster, s->region->name);
}

static enum status start_log(struct session *s, struct judge_facts *f, struct tail_reader *t, struct err *e)
{
        koffset_t landed = {-1};
        enum status st = open_log(s, t, e);
        if (st == ST_OK)
                st = kafka_reader_watermarks(t->reader, 10000, &f->low, &f->high, e);
        t->low = f->low;
        t->landed = f->landed;
        t->counter = f->counter;
        if (st == ST_OK)
                st = read_landed(t, f, e);
        if (st == ST_OK)
                st = look_at_log(s, t, f, f->high, e);
        if (st == ST_OK)
                st = take_epoch(s, f, e);
        if (st == ST_OK)
                st = publish_epoch(s, f, &landed, e);
        if (st != ST_OK)
                return st;
        FAILPOINT("capture.epoch");
        if (landed.v < f->high.v)
                return stop_named(e, "log_recreated", s->region->name,
                                  "region %s: the log ended at %lld a moment ago, and now at %lld: the "
                                  "topic was deleted and made anew",
                                  s->region->name, (long long)f->high.v, (long long)landed.v);
        st = look_at_log(s, t, f, landed, e); /* what a zombie got in before our EPOCH counts */
        if (st == ST_OK)
                st = remember_landed(s, landed, e);
        return st;
}

/* Before anything is taken or published: the status thread may not have looked yet.  First it is told that the agent lives: `pangea pause`, which
 * writes what is read here and then looks who lives, waits for it unless it is seen here. */
static enum status not_paused(struct session *s, struct err *e)
{
        struct pauses p = {0};
        enum status st = status_tell(s->view, s->side, 0, e);
        if (st == ST_OK)
                st = pauses_read(s->side, &s->topo->names, "capture", &p, e);
        if (st != ST_OK)
                return st;
        (void)view_pause(s->view, &p.agent);
        if (p.agent.on)
                pause_words(&p.agent, s->region->name, "capture", NULL, e);
        return p.agent.on ? ST_RETRY : ST_OK;
}

enum status session_start(struct session *s, struct err *e)
{
        struct judge_facts f = {.region = s->region->name};
        struct tail_reader t = {.regs = &s->regs, .me = s->me, .idle = session_idle, .ctx = s};
        enum status st = open_postgres(s, &f, e);
        if (st == ST_OK)
                st = not_paused(s, e);
        if (st == ST_OK)
                st = take_slot(s, &f, e);
        if (st == ST_OK)
                st = start_log(s, &f, &t, e);
        kafka_reader_close(t.reader);
        if (st != ST_OK)
                return st;
        resume(s, &f);
        st = session_rules(s, e);
        if (st != ST_OK)
                return st;
        char lsn[LSN_STRLEN];
        log_event(LOG_INFO, "capture.started", "epoch=%llu\tslot=%s\tfrom=%s\tseq=%llu\thlc=%llu\toffset=%lld",
                  (unsigned long long)s->outlet.head.epoch, s->slot, lsn_str(lsn, s->tx.start),
                  (unsigned long long)s->outlet.head.seq, (unsigned long long)s->groups.hlc.v, (long long)s->outlet.offset.v);
        return ST_OK;
}
