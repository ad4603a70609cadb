/* start: what is done at every start and after every loss of the database session: everything is read again from pangea.position and the
 * logs; nothing that was held in memory is believed.  DESIGN 6.1. */
#include "apply/applier.h"
#include "apply/resolve.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/hidden.h"
#include "base/log.h"

#define PEER_QUEUE ((size_t)4 << 20)
#define OWN_QUEUE ((size_t)8 << 20)

static enum status connect_both(struct applier *a, struct err *e)
{
        const struct region *r = &a->topo->regions[a->me.i];
        char apply_name[64], side_name[64], *password = NULL;
        snprintf(apply_name, sizeof apply_name, "pangea apply %s", r->name);
        snprintf(side_name, sizeof side_name, "pangea apply side %s", r->name);
        enum status s = region_password(r, &password, e);
        struct pg_opts o = {.conninfo = r->conninfo, .password = password, .application_name = side_name, .session = PG_UPKEEP};
        if (s == ST_OK)
                s = pg_open(&a->side, &o, e);
        if (s == ST_OK)
                s = pg_exec(a->side, "SET synchronous_commit = local", NULL, e);
        o.application_name = apply_name;
        o.session = PG_APPLY;
        if (s == ST_OK)
                s = session_open(&a->db, &o, e);
        if (s == ST_OK)
                session_tells(a->db, a->control);
        free(password);
        return s;
}

static enum status check_meta(struct applier *a, struct err *e)
{
        struct pgres *r = NULL;
        const char *me = regset_name(&a->topo->names, a->me);
        enum status s = pg_exec(a->side,
                                "SELECT cluster, region, stable_xid, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()),"
                                " current_database(), own_parts FROM pangea.meta",
                                &r, e);
        if (s != ST_OK && (strcmp(e->sqlstate, "42P01") == 0 || strcmp(e->sqlstate, "3F000") == 0))
                return err_named(e, ST_FATAL, "not_initialized",
                                 "region %s: its database has no schema pangea; run pangea init --region %s", me, me);
        if (s != ST_OK)
                return s;
        if (pgres_rows(r) != 1)
                s = err_named(e, ST_FATAL, "not_initialized", "region %s: pangea.meta is empty; run pangea init --region %s", me,
                              me);
        else if (strcmp(pgres_text(r, 0, 0), a->topo->cluster) != 0 || strcmp(pgres_text(r, 0, 1), me) != 0)
                s = err_named(e, ST_FATAL, "system_changed",
                              "region %s: database %s belongs to region %s of cluster %s; correct the conninfo in the topology", me,
                              pgres_text(r, 0, 4), pgres_text(r, 0, 1), pgres_text(r, 0, 0));
        a->stable_xid.v = a->stable_xid_saved.v = s == ST_OK ? strtoull(pgres_text(r, 0, 2), NULL, 10) : 0;
        a->start_xid.v = a->newest_xid.v = s == ST_OK ? strtoull(pgres_text(r, 0, 3), NULL, 10) : 0;
        a->own_parts.v = s == ST_OK ? (uint64_t)pgres_i64(r, 0, 5) : 0;
        pgres_free(r);
        return s;
}

static void on_bool(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        *(bool *)arg = pgres_text(r, 0, 0)[0] == 't';
}

#define LOCK_KEY "pg_catalog.hashtextextended('pangea apply ' || $1, 0)"

/* One apply transaction at a time in a region: this session holds the region's advisory lock for as long as it lives. */
static enum status only_one(struct applier *a, struct err *e)
{
        bool got = false;
        char key[128];
        snprintf(key, sizeof key, "%s.%s", a->topo->cluster, regset_name(&a->topo->names, a->me));
        struct pg_param p = param_text(key);
        enum status s = session_query(a->db, "SELECT pg_catalog.pg_try_advisory_lock(" LOCK_KEY ")", 1, &p, on_bool, &got, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        if (s != ST_OK || got)
                return s;
        struct pgres *r = NULL;
        s = pg_query(
                a->side,
                "SELECT l.pid FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM "
                "pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND (l.classid::int8 << 32 | l.objid::int8) = " LOCK_KEY,
                1, &p, false, &r, e);
        int64_t pid = s == ST_OK && pgres_rows(r) ? pgres_i64(r, 0, 0) : 0;
        pgres_free(r);
        return err_set(e, ST_RETRY,
                       "another apply agent of this region works already (PostgreSQL backend pid %" PRId64 "); stop one of them",
                       pid);
}

static enum status read_origins(struct applier *a, struct err *e)
{
        struct pgres *r = NULL;
        enum status s = pg_exec(a->side, "SELECT roident, roname FROM pg_catalog.pg_replication_origin", &r, e);
        for (unsigned i = 0; s == ST_OK && i < a->regs.n; i++) {
                char name[200];
                topology_origin(a->topo, a->me, (region_id){(uint8_t)i}, name, sizeof name);
                for (int k = 0; k < pgres_rows(r); k++)
                        if (strcmp(pgres_text(r, k, 1), name) == 0)
                                a->origins.roident[i] = (uint32_t)pgres_i64(r, k, 0);
                if (!a->origins.roident[i])
                        s = err_named(e, ST_FATAL, "not_initialized",
                                      "replication origin %s does not exist; run pangea init --region %s", name,
                                      regset_name(&a->topo->names, a->me));
        }
        pgres_free(r);
        a->origins.regs = &a->topo->names;
        a->origins.me = a->me;
        return s;
}

/* The origin's progress moved in the same commit as pangea.position: they cannot differ, unless somebody changed one of them. */
static enum status check_progress(struct applier *a, region_id r, lsn_t position, struct err *e)
{
        char name[200], have[LSN_STRLEN];
        struct pgres *res = NULL;
        lsn_t progress = {0};
        topology_origin(a->topo, a->me, r, name, sizeof name);
        struct pg_param p = PG_TEXT(name);
        enum status s = pg_query(a->side, "SELECT pg_catalog.pg_replication_origin_progress($1, false)", 1, &p, false, &res, e);
        if (s == ST_OK && !pgres_null(res, 0, 0))
                lsn_parse(pgres_text(res, 0, 0), &progress);
        pgres_free(res);
        if (s == ST_OK && progress.v != position.v)
                return err_named(
                        e, ST_DATA, "position_mismatch",
                        "origin %s: pangea.position says %s, PostgreSQL's replication origin %s says otherwise: one of them was "
                        "changed by hand or by another tool; set all regions up again together (pangea deinit in each, copy, pangea init in each)",
                        regset_name(&a->regs, r), lsn_str(have, position), name);
        return s;
}

static enum status read_positions(struct applier *a, struct log_position at[MAX_REGIONS], struct err *e)
{
        struct pgres *r = NULL;
        enum status s =
                pg_exec(a->side, "SELECT origin, incarnation, epoch, seq, hlc, lsn, kafka_offset FROM pangea.position", &r, e);
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                at[i] = (struct log_position){.offset = {-1}};
        for (int k = 0; s == ST_OK && k < pgres_rows(r); k++) {
                const char *name = pgres_text(r, k, 0);
                region_id id = regset_find(&a->regs, name, strlen(name));
                if (id.i == REGION_NONE.i)
                        continue;
                struct log_position *p = &at[id.i];
                p->incarnation = (uint32_t)pgres_i64(r, k, 1);
                p->epoch = (uint64_t)pgres_i64(r, k, 2);
                p->seq = (uint64_t)pgres_i64(r, k, 3);
                p->hlc.v = (uint64_t)pgres_i64(r, k, 4);
                lsn_parse(pgres_text(r, k, 5), &p->lsn);
                p->offset.v = pgres_i64(r, k, 6);
                a->applied.at[id.i] = p->hlc;
                a->from[id.i].applied_lsn = p->lsn;
                a->from[id.i].applied_offset = p->offset;
        }
        pgres_free(r);
        for (unsigned i = 0; s == ST_OK && i < a->topo->names.n; i++)
                if (i != a->me.i)
                        s = check_progress(a, (region_id){(uint8_t)i}, at[i].lsn, e);
        return s;
}

static void note_own(void *ctx, const struct log_item *i)
{
        struct applier *a = ctx;
        ownlog_note(a->own, i);
        unseen_note(a->unseen, i, a->newest_xid);
        if (i->kind == ITEM_PROGRESS && i->xmin.v > a->newest_xid.v)
                a->newest_xid = i->xmin;
}

static enum status open_log(struct applier *a, region_id r, const struct log_position *from, struct inlog **out, struct err *e)
{
        char topic[256], client[128];
        const struct region *place = topology_log_place(a->topo, r, a->me, topic, sizeof topic);
        struct kafka_conf conf = place->kafka;
        snprintf(client, sizeof client, "pangea-%s-%s-apply", a->topo->cluster, regset_name(&a->topo->names, a->me));
        conf.client_id = client;
        struct inlog_opts o = {.conf = &conf,
                               .topic = topic,
                               .region = r,
                               .regs = &a->regs,
                               .from = *from,
                               .copy = place->id.i != r.i,
                               .wake_fd = a->wake_write,
                               .max_bytes = r.i == a->me.i ? OWN_QUEUE : PEER_QUEUE};
        if (r.i == a->me.i) {
                o.note = note_own;
                o.note_ctx = a;
        }
        return inlog_open(out, &o, e);
}

enum status apply_open_log(struct applier *a, struct origin *o, struct err *e)
{
        struct log_position at[MAX_REGIONS];
        inlog_close(o->log);
        o->log = NULL;
        enum status s = read_positions(a, at, e);
        return s == ST_OK ? open_log(a, o->id, &at[o->id.i], &o->log, e) : s;
}

static enum status open_logs(struct applier *a, const struct log_position at[MAX_REGIONS], struct err *e)
{
        enum status s = ST_OK;
        for (unsigned i = 0; i < a->topo->names.n && s == ST_OK; i++) {
                if (!(a->leaders >> i & 1))
                        continue;
                region_id r = {(uint8_t)i};
                if (i != a->me.i) {
                        s = open_log(a, r, &at[i], &a->from[i].log, e);
                } else {
                        a->own_stable = at[i];
                        a->own_turn = (struct own_turn){.lsn = at[i].lsn};
                        s = open_log(a, r, &at[i], &a->own_log, e);
                }
        }
        return s;
}

enum status apply_start(struct applier *a, struct err *e)
{
        struct log_position at[MAX_REGIONS];
        enum status s = connect_both(a, e);
        if (s == ST_OK)
                s = check_meta(a, e);
        if (s == ST_OK)
                s = only_one(a, e);
        if (s == ST_OK)
                s = session_take(a, a->me, e);
        if (s == ST_OK)
                s = read_origins(a, e);
        if (s == ST_OK)
                s = read_positions(a, at, e);
        if (s == ST_OK)
                s = tombs_load(a->tombs, a->side, "pangea.tombstone", e);
        if (s == ST_OK)
                s = siblings_load_open(a, e);
        if (s == ST_OK)
                s = hidden_load(a->hidden, a->side, e);
        if (s != ST_OK)
                return s;
        a->at_start = a->applied;
        a->at_start.at[a->me.i].v = 0;
        a->books = rulebooks_new(&a->topo->names);
        s = rulebooks_load(a->books, a->side, e);
        if (s != ST_OK)
                return s;
        a->catalog = catalog_new(a->topo, a->me);
        a->rules = (struct rules_known){.books = a->books, .stable = &a->stable, .resolver = resolver_bind, .ctx = a};
        catalog_set_rules(a->catalog, &a->rules);
        a->own = ownlog_new(a->me);
        ownlog_from(a->own, at[a->me.i].hlc);
        if (!a->follower)
                a->unseen = unseen_new(at[a->me.i].hlc);
        s = open_logs(a, at, e);
        if (s == ST_OK && a->follower)
                s = follower_open(&a->follow, a, e);
        if (s == ST_OK)
                log_event(LOG_INFO, "apply.start", "role=%s\tlogs=%zu\ttombstones=%" PRIu64, a->follower ? "follower" : "leader",
                          a->topo->nregions, tombs_count(a->tombs));
        return s;
}

void apply_forget(struct applier *a)
{
        for (unsigned i = 0; i < MAX_REGIONS; i++) {
                inlog_close(a->from[i].log);
                a->from[i].log = NULL;
                a->from[i].tries = 0;
                a->from[i].retry_at = 0;
                a->from[i].dead = false;
                a->from[i].replace = a->from[i].hide = false;
        }
        inlog_close(a->own_log);
        a->own_log = NULL;
        acks_close(a);
        follower_close(a->follow);
        a->follow = NULL;
        catalog_free(a->catalog);
        a->catalog = NULL;
        rulebooks_free(a->books);
        a->books = NULL;
        ownlog_free(a->own);
        a->own = NULL;
        unseen_free(a->unseen);
        a->unseen = NULL;
        session_close(a->db);
        a->db = NULL;
        if (a->side)
                pg_close(a->side);
        a->side = NULL;
        a->pauses = (struct pauses){.read = false};
        a->session_origin = REGION_NONE;
        a->sets_ahead = NULL;
        a->parts_ahead.v = 0;
        free(a->open_doc);
        a->open_doc = NULL;
        a->looked_at = 0;
        a->nown_marks = a->npending = 0;
        hidden_clear(a->hidden);
        a->visible_at = 0;
        a->visible_tries = 0;
        memset(a->fixed, 0, sizeof *a->fixed * FIXED_COUNT);
        memset(&a->applied, 0, sizeof a->applied);
        memset(&a->stable, 0, sizeof a->stable);
        a->held = 0;
        a->held_since_us = 0;
        memset(a->seen, 0, sizeof a->seen);
        memset(&a->origins, 0, sizeof a->origins);
        a->regs = a->topo->names;
}
