/* doctor: the server: settings, what is left of its slots, senders and origins, our slot, freezing, versions. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "daemon/doctor.h"
#include "topology/pause.h"

#define RESTART "; then restart PostgreSQL"

/* ---- the connection, and what init left --------------------------------------------------------------------------------------------- */
static const char sql_who[] =
        "SELECT current_user, current_database(), (SELECT system_identifier FROM pg_catalog.pg_control_system()),"
        " current_setting('server_version')";

void check_connection(struct patient *p)
{
        struct err e = {0};
        struct pgres *res = NULL;
        struct init *i = &p->init;
        i->t = p->t;
        i->r = p->region;
        i->leader = p->region->role == ROLE_LEADER;
        topology_slot(p->t, p->region->id, i->slot, sizeof i->slot);
        if (region_connect(p->region, "doctor", &i->db, &e) != ST_OK) {
                find_error(p, SEVERITY_ERROR, NULL, &e);
                if (!*e.name)
                        p->last->todo = "see whether the server runs, and the region's conninfo and password_file in the topology";
                return;
        }
        if (ask(p, sql_who, 0, NULL, &res)) {
                snprintf(i->role, sizeof i->role, "%s", pgres_text(res, 0, 0));
                snprintf(i->database, sizeof i->database, "%s", pgres_text(res, 0, 1));
                snprintf(i->system_id, sizeof i->system_id, "%s", pgres_text(res, 0, 2));
                snprintf(p->server_version, sizeof p->server_version, "%s", pgres_text(res, 0, 3));
                p->reachable = true;
        }
        pgres_free(res);
}

void check_prepared(struct patient *p)
{
        struct err e = {0};
        char todo[200];
        if (init_look(&p->init, &e) != ST_OK) {
                find_error(p, SEVERITY_ERROR, NULL, &e);
                return;
        }
        p->known = true;
        snprintf(todo, sizeof todo, "pangea init --region %s", p->region->name);
        if (!p->init.has_meta)
                find(p, SEVERITY_NOTE, NULL, todo, "not initialised yet");
        else if (p->init.schema_version < SCHEMA_VERSION)
                find(p, SEVERITY_ERROR, NULL, todo, "schema pangea has version %" PRId64 ", this program needs %d",
                     p->init.schema_version, SCHEMA_VERSION);
}

void check_standby(struct patient *p)
{
        struct pgres *res;
        if (ask(p, "SELECT pg_catalog.pg_is_in_recovery()", 0, NULL, &res) && pgres_text(res, 0, 0)[0] == 't')
                find(p, SEVERITY_ERROR, NULL,
                     "let the region's conninfo name the primary (or several hosts, with target_session_attrs=read-write)",
                     "the server is a standby");
        pgres_free(res);
}

/* ---- settings ------------------------------------------------------------------------------------------------------------------------ */
void check_wal_level(struct patient *p)
{
        struct pgres *res;
        if (ask(p, "SELECT current_setting('wal_level')", 0, NULL, &res) && strcmp(pgres_text(res, 0, 0), "logical") != 0)
                find(p, SEVERITY_ERROR, NULL, "ALTER SYSTEM SET wal_level = 'logical'" RESTART, "wal_level is %s",
                     pgres_text(res, 0, 0));
        pgres_free(res);
}

void check_commit_timestamps(struct patient *p)
{
        struct pgres *res;
        if (ask(p, "SELECT current_setting('track_commit_timestamp')", 0, NULL, &res) && strcmp(pgres_text(res, 0, 0), "on") != 0)
                find(p, SEVERITY_ERROR, NULL, "ALTER SYSTEM SET track_commit_timestamp = on" RESTART,
                     "track_commit_timestamp is %s", pgres_text(res, 0, 0));
        pgres_free(res);
}

static const char sql_slots[] = "SELECT current_setting('max_replication_slots'), count(*) FILTER (WHERE slot_name <> $1),"
                                " count(*) FILTER (WHERE slot_name = $1) FROM pg_catalog.pg_replication_slots";

void check_slots_left(struct patient *p)
{
        struct pgres *res;
        char todo[120];
        struct pg_param param = PG_TEXT(p->init.slot);
        if (ask(p, sql_slots, 1, &param, &res) && pgres_i64(res, 0, 2) == 0 && pgres_i64(res, 0, 1) >= pgres_i64(res, 0, 0)) {
                snprintf(todo, sizeof todo, "ALTER SYSTEM SET max_replication_slots = %" PRId64 RESTART, pgres_i64(res, 0, 1) + 5);
                find(p, SEVERITY_ERROR, NULL, todo, "all %s replication slots are in use (max_replication_slots)",
                     pgres_text(res, 0, 0));
        }
        pgres_free(res);
}

/* Ours counts when it is there: then only init's second one may be lacking. */
static const char sql_senders[] =
        "SELECT current_setting('max_wal_senders'), count(*), count(*) FILTER (WHERE y.slot_name = $1)"
        " FROM pg_catalog.pg_stat_replication r LEFT JOIN pg_catalog.pg_replication_slots y ON y.active_pid = r.pid";

void check_senders_left(struct patient *p)
{
        struct pgres *res;
        char todo[120];
        struct pg_param param = PG_TEXT(p->init.slot);
        if (ask(p, sql_senders, 1, &param, &res)) {
                int64_t most = pgres_i64(res, 0, 0), busy = pgres_i64(res, 0, 1);
                bool ours = pgres_i64(res, 0, 2) > 0;
                snprintf(todo, sizeof todo, "ALTER SYSTEM SET max_wal_senders = %" PRId64 RESTART, busy + 5);
                if (!ours && busy >= most)
                        find(p, SEVERITY_ERROR, NULL, todo, "all %" PRId64 " WAL senders are in use (max_wal_senders)", most);
                else if (!ours && busy + 1 >= most)
                        find(p, SEVERITY_WARNING, NULL, todo, "one of %" PRId64 " WAL senders is left (max_wal_senders)", most);
        }
        pgres_free(res);
}

static const char sql_origins[] =
        "SELECT coalesce(current_setting('max_active_replication_origins', true), current_setting('max_replication_slots')),"
        " (SELECT count(*) FROM pg_catalog.pg_replication_origin WHERE NOT starts_with(roname, $1 || '_')),"
        " CASE WHEN current_setting('max_active_replication_origins', true) IS NULL THEN 'max_replication_slots'"
        " ELSE 'max_active_replication_origins' END";

void check_origins_left(struct patient *p)
{
        struct pgres *res;
        char todo[160];
        struct pg_param param = PG_TEXT(p->init.slot);
        if (ask(p, sql_origins, 1, &param, &res)) {
                int64_t most = pgres_i64(res, 0, 0), others = pgres_i64(res, 0, 1), ours = (int64_t)p->t->nregions;
                snprintf(todo, sizeof todo, "ALTER SYSTEM SET %s = %" PRId64 RESTART, pgres_text(res, 0, 2), others + ours + 5);
                if (most < ours)
                        find(p, SEVERITY_ERROR, NULL, todo, "%" PRId64 " replication origins are needed and %s allows %" PRId64,
                             ours, pgres_text(res, 0, 2), most);
                else if (others + ours > most)
                        find(p, SEVERITY_WARNING, NULL, todo,
                             "%" PRId64 " replication origins are needed, others have %" PRId64 ", and %s allows %" PRId64, ours,
                             others, pgres_text(res, 0, 2), most);
        }
        pgres_free(res);
}

/* Two checkpoints' worth of WAL is gone in a moment. */
static const char sql_limit[] =
        "SELECT current_setting('max_slot_wal_keep_size'), k.setting::int8, k.setting::int8 < 2 * w.setting::int8,"
        " current_setting('max_wal_size'), pg_catalog.pg_size_pretty((4 * w.setting::int8 + 4096) * 1048576)"
        " FROM pg_catalog.pg_settings k, pg_catalog.pg_settings w WHERE k.name = 'max_slot_wal_keep_size' AND w.name = 'max_wal_size'";

void check_slot_limit(struct patient *p)
{
        struct pgres *res;
        if (ask(p, sql_limit, 0, NULL, &res) && pgres_rows(res) == 1) {
                if (pgres_i64(res, 0, 1) == -1)
                        find(p, SEVERITY_NOTE, NULL,
                             "watch the disk; or bound it to what may be lost: ALTER SYSTEM SET max_slot_wal_keep_size = '100GB'; SELECT "
                             "pg_reload_conf()",
                             "max_slot_wal_keep_size is -1: nothing bounds the WAL that the slot keeps while Kafka is away");
                else if (pgres_text(res, 0, 2)[0] == 't')
                        find(p, SEVERITY_WARNING, NULL,
                             "ALTER SYSTEM SET max_slot_wal_keep_size = '100GB'; SELECT pg_reload_conf()   -- as much as the disk has to spare",
                             "max_slot_wal_keep_size is %s, less than two checkpoints write (max_wal_size is %s): the slot is lost when capture "
                             "is away for a short while",
                             pgres_text(res, 0, 0), pgres_text(res, 0, 3));
        }
        pgres_free(res);
}

/* ---- our slot ------------------------------------------------------------------------------------------------------------------------ */
static const char sql_slot[] =
        "SELECT s.wal_status, s.active, pg_catalog.pg_size_pretty(h.held), h.held > 1073741824,"
        " coalesce(s.safe_wal_size < h.held, false)"
        " FROM pg_catalog.pg_replication_slots s, LATERAL (SELECT pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN"
        " pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn)::int8 AS held) h"
        " WHERE s.slot_name = $1";

static void judge_slot(struct patient *p, const struct pgres *r)
{
        const char *status = pgres_text(r, 0, 0), *held = pgres_text(r, 0, 2);
        char run[120];
        struct pauses pauses = {.read = false};
        struct err ignored;
        bool paused = pauses_read(p->init.db, &p->t->names, "capture", &pauses, &ignored) == ST_OK && pauses.agent.on;
        snprintf(run, sizeof run, "pangea %s --region %s", paused ? "resume" : "run", p->region->name);
        if (strcmp(status, "lost") == 0 || strcmp(status, "unreserved") == 0)
                find(p, SEVERITY_ERROR, p->init.slot,
                     "pangea explain slot_lost   -- and raise max_slot_wal_keep_size before the region is set up anew",
                     "the slot is %s: the server %s WAL that it needs", status, strcmp(status, "lost") ? "is removing" : "removed");
        else if (pgres_text(r, 0, 4)[0] == 't')
                find(p, SEVERITY_WARNING, p->init.slot,
                     pgres_text(r, 0, 1)[0] == 't' ? "pangea status   -- why capture is behind" : run,
                     "the slot keeps %s of WAL, more than half of what max_slot_wal_keep_size allows", held);
        else if (pgres_text(r, 0, 1)[0] != 't')
                find(p, pgres_text(r, 0, 3)[0] == 't' ? SEVERITY_WARNING : SEVERITY_NOTE, p->init.slot, run,
                     "nobody reads the slot%s; it keeps %s of WAL so far", paused ? ": capture is paused" : "", held);
}

void check_slot(struct patient *p)
{
        struct pgres *res;
        struct pg_param param = PG_TEXT(p->init.slot);
        if (!ask(p, sql_slot, 1, &param, &res))
                return;
        if (pgres_rows(res) == 1) {
                struct err e = {0};
                judge_slot(p, res);
                /* of a region that has published it says only named stops; before that init mends it by itself */
                if (p->init.epoch > 0 && strcmp(pgres_text(res, 0, 0), "lost") != 0 && init_check_slot(&p->init, &e) != ST_OK)
                        find_error(p, SEVERITY_ERROR, p->init.slot, &e);
        } else if (p->init.epoch > 0) {
                find(p, SEVERITY_ERROR, p->init.slot, "pangea explain slot_missing",
                     "the slot is gone, and this region has published: what was committed since is in no log");
        } else {
                char todo[120];
                snprintf(todo, sizeof todo, "pangea init --region %s", p->region->name);
                find(p, SEVERITY_ERROR, p->init.slot, todo, "the slot is gone; nothing was published yet");
        }
        pgres_free(res);
}

/* ---- freezing ------------------------------------------------------------------------------------------------------------------------ */
/* Rows below stable_xid need no timestamp any more. VACUUM leaves alone what is younger than vacuum_freeze_min_age. */
static const char sql_freeze[] =
        "SELECT x.age, current_setting('vacuum_freeze_min_age')::int8,"
        " pg_catalog.age(k.oldest_commit_ts_xid) < x.age AND k.oldest_commit_ts_xid <> '0'::xid"
        " FROM pangea.meta m, pg_catalog.pg_control_checkpoint() k,"
        " LATERAL (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 - m.stable_xid::text::int8 AS age) x";

void check_freeze(struct patient *p)
{
        struct pgres *res;
        char todo[200];
        if (!ask(p, sql_freeze, 0, NULL, &res) || pgres_rows(res) != 1) {
                pgres_free(res);
                return;
        }
        int64_t age = pgres_i64(res, 0, 0), least = pgres_i64(res, 0, 1);
        if (pgres_text(res, 0, 2)[0] == 't') {
                find(p, SEVERITY_ERROR, NULL, "pangea lag   -- let the region that is behind catch up; no VACUUM FREEZE until then",
                     "rows may be frozen already on which a conflict is still possible: the oldest unstable change is %" PRId64
                     " transactions old, and commit timestamps of that age are gone",
                     age);
        } else if (age * 2 > least) {
                snprintf(
                        todo, sizeof todo,
                        "pangea lag   -- let the region that is behind catch up; meanwhile ALTER SYSTEM SET vacuum_freeze_min_age = %" PRId64
                        "; SELECT pg_reload_conf()",
                        age * 4 > 1000000000 ? 1000000000
                        : age * 4 > 50000000 ? age * 4
                                             : 50000000);
                find(p, SEVERITY_WARNING, NULL, todo,
                     "the oldest unstable change is %" PRId64 " transactions old, and VACUUM may freeze rows older than %" PRId64
                     " (vacuum_freeze_min_age)",
                     age, least);
        }
        pgres_free(res);
}

/* ---- versions ------------------------------------------------------------------------------------------------------------------------ */
/* Two lists in one: "15.8 (us, eu), 17.2 (ap)"; how many different ones. major: only what stands before the dot counts. */
static size_t versions(const struct doctor *d, const char *(*of)(struct patient *p), struct buf *out, bool major)
{
        size_t different = 0;
        bool told[MAX_REGIONS] = {0};
        for (size_t i = 0; i < d->t->nregions; i++) {
                const char *v = d->patients[i].region ? of(&d->patients[i]) : NULL;
                if (!v || told[i])
                        continue;
                size_t n = major ? strcspn(v, ". ") : strlen(v);
                buf_printf(out, "%s%.*s (", different++ ? ", " : "", (int)n, v);
                for (size_t k = i; k < d->t->nregions; k++) {
                        const char *w = d->patients[k].region ? of(&d->patients[k]) : NULL;
                        if (!w || strncmp(v, w, n) != 0 || (major ? strcspn(w, ". ") : strlen(w)) != n)
                                continue;
                        buf_printf(out, "%s%s", k == i ? "" : ", ", d->t->regions[k].name);
                        told[k] = true;
                }
                buf_put_str(out, ")");
        }
        return different;
}

static const char *server_version(struct patient *p)
{
        return *p->server_version ? p->server_version : NULL;
}

void check_server_versions(struct doctor *d)
{
        struct buf list;
        buf_init(&list, 4096);
        size_t n = versions(d, server_version, &list, true);
        if (n > 1)
                find(&d->together, SEVERITY_NOTE, NULL, "upgrade one region at a time, and all of them", "PostgreSQL is %s",
                     buf_cstr(&list));
        else if (n == 1 && strncmp(buf_cstr(&list), "15 ", 3) != 0)
                find(&d->together, SEVERITY_NOTE, NULL, "watch the release notes of Pangea", "PostgreSQL is %s; tested is 15",
                     buf_cstr(&list));
        buf_release(&list);
}

static const char *daemon_version(struct patient *p)
{
        struct pgres *res = NULL;
        struct err ignored;
        if (!p->daemon_version && p->reachable && p->known && p->init.has_meta &&
            pg_exec(p->init.db, "SELECT doc ->> 'version' FROM pangea.status WHERE doc ? 'version' ORDER BY at DESC LIMIT 1", &res,
                    &ignored) == ST_OK &&
            pgres_rows(res) == 1)
                p->daemon_version = arena_strdup(&p->arena, pgres_text(res, 0, 0));
        pgres_free(res);
        return p->daemon_version;
}

void check_daemon_versions(struct doctor *d)
{
        struct buf list;
        buf_init(&list, 4096);
        size_t n = versions(d, daemon_version, &list, false);
        if (n > 1)
                find(&d->together, SEVERITY_WARNING, NULL, "install one version in every region, then `pangea run` there",
                     "the daemons are of several versions: %s", buf_cstr(&list));
        else if (n == 1 && strncmp(buf_cstr(&list), PANGEA_VERSION " ", strlen(PANGEA_VERSION) + 1) != 0)
                find(&d->together, SEVERITY_WARNING, NULL, "use the program that the daemons run, or upgrade them",
                     "the daemons are %s, this program is " PANGEA_VERSION, buf_cstr(&list));
        buf_release(&list);
}
