#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/agent.h"
#include "base/log.h"
#include "base/version.h"
#include "capture/agent.h"
#include "capture/tables.h"
#include "daemon/command.h"
#include "daemon/first.h"
#include "daemon/init.h"
#include "daemon/refuse.h"
#include "daemon/run.h"
#include "postgres/pg.h"

/* A table that a route names and that is not there is an error of the topology (one dropped later makes its origin wait, by name). */
static enum status check_tables(struct pg *c, const struct topology *t, const struct region *r, struct err *e)
{
        struct arena a;
        struct table_plan *plans;
        size_t n;
        arena_init(&a);
        enum status st = tables_plan(c, t, r->id, &a, &plans, &n, e);
        for (size_t i = 0; i < n && st == ST_OK; i++)
                if (plans[i].missing)
                        st = err_named(e, ST_CONFIG, "table_unfit",
                                       "%s: a route names %s.%s, which does not exist in region %s: create it, or take it out",
                                       t->file, plans[i].schema, plans[i].name, r->name);
        arena_release(&a);
        return st;
}

/* init migrates; an agent that found another schema would fail in the middle of its work, by the name of some column. */
static enum status check_schema(const struct pgres *meta, const struct region *r, struct err *e)
{
        int64_t version = pgres_i64(meta, 0, 2);
        if (version > SCHEMA_VERSION)
                return err_named(e, ST_CONFIG, "schema_version",
                                 "region %s: schema pangea has version %lld, this program knows %d: use the newer program", r->name,
                                 (long long)version, SCHEMA_VERSION);
        if (version < SCHEMA_VERSION)
                return err_named(
                        e, ST_CONFIG, "schema_version",
                        "region %s: schema pangea has version %lld, this program wants %d: run `pangea init --region %s` with it first",
                        r->name, (long long)version, SCHEMA_VERSION, r->name);
        return ST_OK;
}

static enum status check_meta(struct pg *c, const struct topology *t, const struct region *r, struct err *e)
{
        struct pgres *res = NULL;
        enum status st = pg_exec(c, "SELECT pg_catalog.to_regclass('pangea.meta') IS NOT NULL", &res, e);
        bool there = st == ST_OK && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        res = NULL;
        if (st == ST_OK && there)
                st = pg_exec(c, "SELECT cluster, region, schema_version FROM pangea.meta", &res, e);
        if (st == ST_OK && (!there || pgres_rows(res) == 0))
                st = err_named(e, ST_CONFIG, "not_initialized",
                               "region %s: its database is not prepared: run `pangea init --region %s` first", r->name, r->name);
        else if (st == ST_OK && (strcmp(pgres_text(res, 0, 0), t->cluster) != 0 || strcmp(pgres_text(res, 0, 1), r->name) != 0))
                st = err_named(
                        e, ST_CONFIG, "wrong_database",
                        "region %s: its database was prepared for region %s of cluster %s: correct the conninfo in the topology",
                        r->name, pgres_text(res, 0, 1), pgres_text(res, 0, 0));
        else if (st == ST_OK)
                st = check_schema(res, r, e);
        pgres_free(res);
        return st;
}

static enum status never_ran(struct pg *c, bool *first, struct err *e)
{
        struct pgres *res = NULL;
        enum status st = pg_exec(c, "SELECT epoch = 0 FROM pangea.capture", &res, e);
        *first = st == ST_OK && pgres_rows(res) == 1 && pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        return st;
}

/* What a person should be told at once. A server that does not answer is no reason not to start: the agents wait for it. */
static int look_first(const struct topology *t, const struct region *r, bool *first)
{
        struct pg *c = NULL;
        struct err e;
        enum status st = region_connect(r, "run", &c, &e);
        if (st != ST_OK && st != ST_CONFIG) {
                log_event(LOG_WARN, "run.postgres_away", "why=%s", e.msg);
                return EXIT_DONE;
        }
        if (st == ST_OK)
                st = check_meta(c, t, r, &e);
        if (st == ST_OK)
                st = check_tables(c, t, r, &e);
        if (st == ST_OK)
                st = never_ran(c, first, &e);
        bool lost = c && pg_lost(c);
        pg_close(c);
        if (st == ST_OK || st == ST_RETRY || lost)
                return EXIT_DONE;
        log_event(LOG_ERROR, "run.refused", "error=%s\twhy=%s", *e.name ? e.name : status_name(st), e.msg);
        return exit_code_of(&e);
}

static enum log_level wanted_level(void)
{
        static const char *const words[] = {[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};
        const char *s = getenv("PANGEA_LOG_LEVEL");
        for (int i = LOG_DEBUG; s && i <= LOG_ERROR; i++)
                if (strcmp(s, words[i]) == 0)
                        return (enum log_level)i;
        return LOG_INFO;
}

int cmd_run(struct invocation *in)
{
        int code;
        run_block_signals(); /* before anything else: one that comes while we start is remembered, not the end of us */
        struct topology *t = invocation_topology(in, &code);
        const struct region *r = t ? invocation_region(in, t, &code) : NULL;
        if (!r) {
                topology_free(t);
                return code;
        }
        bool leader = r->role == ROLE_LEADER, only = in->agent != NULL, capture = only && strcmp(in->agent, "capture") == 0;
        if (capture && !leader) {
                code = refuse("option_clash", "region %s is a follower: it has no capture agent (its apply agent keeps its log)",
                              r->name);
                topology_free(t);
                return code;
        }
        log_setup(t->cluster, r->name, wanted_level(), !isatty(STDERR_FILENO));
        log_event(LOG_INFO, "run.started", "version=%s\trole=%s\tagent=%s\tpid=%d", PANGEA_VERSION, leader ? "leader" : "follower",
                  only ? in->agent : "all", (int)getpid());
        bool first = false;
        code = look_first(t, r, &first);
        if (code == EXIT_DONE && first && (capture || !leader || !only))
                first_compare(t, r);
        if (code == EXIT_DONE) {
                struct run_opts o = {.file = in->topology_file, .topology = t, .region = r, .http = in->http};
                o.capture = leader && (!only || capture) ? capture_run : NULL;
                o.apply = !capture ? apply_run : NULL;
                o.accept_rules = in->accept_rules;
                o.allow_plugins = in->allow_plugins;
                code = run_agents(&o);
        }
        topology_free(t);
        return code;
}
