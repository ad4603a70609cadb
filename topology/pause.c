#include "topology/pause.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static enum status look_for_table(struct pg *c, struct pauses *out, struct err *e)
{
        struct pgres *res = NULL;
        enum status st = pg_exec(c, "SELECT pg_catalog.to_regclass('pangea.pause') IS NULL", &res, e);
        if (st == ST_OK)
                out->no_table = pgres_text(res, 0, 0)[0] == 't';
        pgres_free(res);
        return st;
}

static const char sql_pauses[] =
        "SELECT origin, (extract(epoch FROM at) * 1000000)::int8, by_whom, coalesce(reason, '') FROM pangea.pause WHERE agent = $1";

static void take(const struct pgres *r, int row, struct pause *p)
{
        p->on = true;
        p->since_us = pgres_i64(r, row, 1);
        snprintf(p->by, sizeof p->by, "%s", pgres_text(r, row, 2));
        snprintf(p->why, sizeof p->why, "%s", pgres_text(r, row, 3));
}

enum status pauses_read(struct pg *c, const struct regset *names, const char *agent, struct pauses *out, struct err *e)
{
        struct pauses now = {.read = true};
        struct pgres *res = NULL;
        struct pg_param p = PG_TEXT(agent);
        /* `pangea init` of a new program may make it while an agent runs */
        enum status st = out->read && !out->no_table ? ST_OK : look_for_table(c, &now, e);
        if (st != ST_OK)
                return st;
        if (!now.no_table)
                st = pg_query(c, sql_pauses, 1, &p, false, &res, e);
        for (int i = 0; st == ST_OK && !now.no_table && i < pgres_rows(res); i++) {
                const char *origin = pgres_text(res, i, 0);
                if (!*origin)
                        take(res, i, &now.agent);
                for (unsigned k = 0; k < names->n && *origin; k++)
                        if (strcmp(names->name[k], origin) == 0)
                                take(res, i, &now.origin[k]);
        }
        pgres_free(res);
        if (st == ST_OK)
                *out = now;
        return st;
}

void pause_words(const struct pause *p, const char *region, const char *agent, const char *origin, struct err *e)
{
        char since[40];
        struct tm tm;
        time_t t = (time_t)(p->since_us / 1000000);
        gmtime_r(&t, &tm);
        strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", &tm);
        err_named(e, ST_RETRY, "paused", "paused by %s since %s%s%s%s; pangea resume --region %s%s%s", p->by, since,
                  *p->why ? ": " : "", p->why, strcmp(agent, "capture") == 0 ? " (its slot keeps WAL meanwhile)" : "", region,
                  origin ? " --origin " : "", origin ? origin : "");
}
