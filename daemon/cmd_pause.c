/* pangea pause, pangea resume: rows in pangea.pause of the region's database, which its agents look at; then it waits until they say that they
 * obey. */
#include <jansson.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/command.h"
#include "daemon/refuse.h"
#include "daemon/status.h"
#include "topology/pause.h"

#define OBEY_US 5000000
#define LOOK_MS 100

struct holding {
        const struct invocation *in;
        const struct topology *t;
        const struct region *r;
        const struct region *origin; /* NULL: no --origin */
        bool pausing;
        struct pg *db;
        struct status_region seen;
        struct pauses of[2]; /* capture, apply: what is paused at the end */
};

static const char *const agents[] = {"capture", "apply"};

/* ---- what is asked for --------------------------------------------------------------------------------------------------------------- */
static bool concerns(const struct holding *h, int agent)
{
        if (h->in->agent && strcmp(h->in->agent, agents[agent]) != 0)
                return false;
        return agent == STATUS_APPLY || (h->r->role == ROLE_LEADER && !h->origin);
}

static int check(struct holding *h)
{
        if (h->in->agent && strcmp(h->in->agent, "capture") == 0 && (h->origin || h->r->role != ROLE_LEADER)) {
                return refuse("option_clash", "%s",
                              h->origin ? "--origin is what apply gets from a region: it goes with --agent apply, or without"
                                        : "a follower has no capture agent");
        }
        if (h->origin && (h->origin == h->r || h->origin->role != ROLE_LEADER))
                return refuse("bad_value", "--origin %s: it must be another leader", h->origin->name);
        return EXIT_DONE;
}

/* "alice@bastion" */
static void who_am_i(char *out, size_t size)
{
        char host[65] = "?";
        const struct passwd *p = getpwuid(getuid());
        const char *sudo = getenv("SUDO_USER");
        (void)gethostname(host, sizeof host - 1);
        snprintf(out, size, "%s@%s", sudo && *sudo ? sudo : p ? p->pw_name : "?", host);
}

/* ---- the rows ------------------------------------------------------------------------------------------------------------------------ */
static void statement(const struct holding *h, int agent, struct buf *sql)
{
        char who[100];
        who_am_i(who, sizeof who);
        buf_reset(sql);
        if (h->pausing) {
                buf_put_str(sql, "INSERT INTO pangea.pause (agent, origin, by_whom, reason) VALUES (");
                pg_literal(sql, agents[agent]);
                buf_put_str(sql, ", ");
                pg_literal(sql, h->origin ? h->origin->name : "");
                buf_put_str(sql, ", ");
                pg_literal(sql, who);
                buf_put_str(sql, ", ");
                if (h->in->reason)
                        pg_literal(sql, h->in->reason);
                else
                        buf_put_str(sql, "NULL");
                buf_put_str(sql, ") ON CONFLICT (agent, origin) DO UPDATE SET reason = coalesce(excluded.reason, pause.reason)");
                return;
        }
        buf_put_str(sql, "DELETE FROM pangea.pause WHERE agent = ");
        pg_literal(sql, agents[agent]);
        if (h->origin) {
                buf_put_str(sql, " AND origin = ");
                pg_literal(sql, h->origin->name);
        }
}

static enum status write_rows(struct holding *h, struct err *e)
{
        enum status st = h->in->dry_run ? ST_OK : pg_exec(h->db, "BEGIN", NULL, e);
        struct buf sql;
        buf_init(&sql, 1u << 16);
        for (int a = 0; a < 2 && st == ST_OK; a++) {
                if (!concerns(h, a))
                        continue;
                statement(h, a, &sql);
                if (h->in->dry_run)
                        printf("%s;\n", buf_cstr(&sql));
                else
                        st = pg_exec(h->db, buf_cstr(&sql), NULL, e);
        }
        buf_release(&sql);
        return st == ST_OK && !h->in->dry_run ? pg_exec(h->db, "COMMIT", NULL, e) : st;
}

static enum status read_rows(struct holding *h, struct err *e)
{
        enum status st = ST_OK;
        for (int a = 0; a < 2 && st == ST_OK; a++)
                st = pauses_read(h->db, &h->t->names, agents[a], &h->of[a], e);
        if (st == ST_OK && h->of[0].no_table)
                st = err_named(e, ST_CONFIG, "schema_version",
                               "region %s: its schema pangea is older than this program: pangea init --region %s", h->r->name,
                               h->r->name);
        return st;
}

/* ---- do they obey? ------------------------------------------------------------------------------------------------------------------- */
static bool says_paused(const json_t *o)
{
        const char *state = json_string_value(json_object_get(o, "state"));
        return state && strcmp(state, "paused") == 0;
}

/* What the agent says of itself, or of one origin. */
static const json_t *word_of(const struct holding *h, int agent, const char *origin)
{
        return origin ? status_origin(&h->seen, origin) : h->seen.docs[agent];
}

/* Every row, and nothing beside them, is what the running agents say. */
static bool obeyed(const struct holding *h)
{
        for (int a = 0; a < 2; a++) {
                if (!status_expected(&h->seen, a) || !status_alive(&h->seen, a))
                        continue;
                if (says_paused(h->seen.docs[a]) != h->of[a].agent.on)
                        return false;
                for (size_t i = 0; a == STATUS_APPLY && i < h->t->nregions; i++) {
                        const json_t *o = status_origin(&h->seen, h->t->regions[i].name);
                        const char *error = json_string_value(json_object_get(o, "error"));
                        bool stopped = error && strcmp(error, "paused") != 0;
                        if (o && !stopped && says_paused(o) != (h->of[a].agent.on || h->of[a].origin[i].on))
                                return false;
                }
        }
        return true;
}

static void wait_for_them(struct holding *h)
{
        int64_t end = clock_mono_us() + OBEY_US;
        h->seen.region = h->r;
        do {
                status_region_read(&h->seen, 0);
        } while (!h->seen.err.msg[0] && !obeyed(h) && clock_mono_us() < end && poll(NULL, 0, LOOK_MS) == 0);
}

/* ---- what is said -------------------------------------------------------------------------------------------------------------------- */
static void iso(char *out, size_t size, int64_t us)
{
        struct tm tm;
        time_t t = (time_t)(us / 1000000);
        gmtime_r(&t, &tm);
        strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Calls it for every pause there is. */
static void each_pause(struct holding *h,
                       void (*say)(struct holding *, int agent, const char *origin, const struct pause *, void *), void *ctx)
{
        for (int a = 0; a < 2; a++) {
                if (h->of[a].agent.on)
                        say(h, a, NULL, &h->of[a].agent, ctx);
                for (size_t i = 0; i < h->t->nregions; i++)
                        if (h->of[a].origin[i].on)
                                say(h, a, h->t->regions[i].name, &h->of[a].origin[i], ctx);
        }
}

static void say_text(struct holding *h, int agent, const char *origin, const struct pause *p, void *ctx)
{
        char since[40];
        bool *any = ctx;
        *any = true;
        iso(since, sizeof since, p->since_us);
        printf("%s: %s%s%s paused by %s since %s%s%s%s\n", h->r->name, agents[agent], origin ? " of what comes from " : "",
               origin ? origin : "", p->by, since, *p->why ? ": " : "", p->why,
               !status_alive(&h->seen, agent)            ? " (no daemon runs: it will obey when it starts)"
               : !says_paused(word_of(h, agent, origin)) ? " (the daemon does not say so yet: see pangea status)"
                                                         : "");
}

static void say_json(struct holding *h, int agent, const char *origin, const struct pause *p, void *ctx)
{
        char since[40];
        iso(since, sizeof since, p->since_us);
        json_t *o = json_pack("{s:s, s:s?, s:s, s:s, s:s?}", "agent", agents[agent], "origin", origin, "since", since, "by", p->by,
                              "reason", *p->why ? p->why : NULL);
        json_object_set_new(o, "obeyed",
                            status_alive(&h->seen, agent) ? json_boolean(says_paused(word_of(h, agent, origin))) : json_null());
        json_array_append_new(ctx, o);
}

static void warn_of_wal(struct holding *h)
{
        struct pgres *res = NULL;
        struct err ignored;
        char slot[64];
        struct pg_param p = PG_TEXT(topology_slot(h->t, h->r->id, slot, sizeof slot));
        if (!h->pausing || !h->of[STATUS_CAPTURE].agent.on ||
            pg_query(h->db,
                     "SELECT pg_catalog.pg_size_pretty(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)),"
                     " pg_catalog.pg_size_pretty(safe_wal_size) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
                     1, &p, false, &res, &ignored) != ST_OK ||
            pgres_rows(res) != 1) {
                pgres_free(res);
                return;
        }
        char limit[120] = ": watch the disk";
        if (!pgres_null(res, 0, 1))
                snprintf(limit, sizeof limit, ", and is lost when %s more are written (max_slot_wal_keep_size)",
                         pgres_text(res, 0, 1));
        fprintf(stderr, "%s: from now on slot %s keeps all WAL (%s so far)%s; to resume: pangea resume --region %s\n", h->r->name,
                slot, pgres_text(res, 0, 0), limit, h->r->name);
        pgres_free(res);
}

static void show(struct holding *h)
{
        bool any = false;
        if (h->in->json) {
                json_t *list = json_array();
                each_pause(h, say_json, list);
                json_t *o = json_pack("{s:s, s:o}", "region", h->r->name, "paused", list);
                json_dumpf(o, stdout, JSON_INDENT(2));
                puts("");
                json_decref(o);
        } else {
                each_pause(h, say_text, &any);
                if (!any)
                        printf("%s: nothing is paused\n", h->r->name);
        }
        warn_of_wal(h);
}

/* ---- the commands -------------------------------------------------------------------------------------------------------------------- */
static enum status go(struct holding *h, struct err *e)
{
        enum status st = region_connect(h->r, h->pausing ? "pause" : "resume", &h->db, e);
        if (st == ST_OK)
                st = read_rows(h, e);
        if (st == ST_OK)
                st = write_rows(h, e);
        if (st != ST_OK || h->in->dry_run)
                return st;
        st = read_rows(h, e);
        if (st == ST_OK)
                wait_for_them(h);
        if (st == ST_OK)
                show(h);
        status_region_close(&h->seen);
        return st;
}

static int hold(struct invocation *in, bool pausing)
{
        int code;
        struct err e = {0};
        struct holding h = {.in = in, .pausing = pausing};
        struct topology *t = invocation_topology(in, &code);
        if (!t)
                return code;
        h.t = t;
        h.r = invocation_region(in, t, &code);
        if (h.r && in->origin) {
                struct invocation of_origin = *in;
                of_origin.region = in->origin;
                h.origin = invocation_region(&of_origin, t, &code);
        }
        if (code == EXIT_DONE && h.r)
                code = check(&h);
        if (code == EXIT_DONE && go(&h, &e) != ST_OK)
                code = refuse_for(pausing ? "pause" : "resume", &e);
        pg_close(h.db);
        topology_free(t);
        return code;
}

int cmd_pause(struct invocation *in)
{
        return hold(in, true);
}

int cmd_resume(struct invocation *in)
{
        return hold(in, false);
}
