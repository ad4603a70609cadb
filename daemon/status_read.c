/* status_read: what the agents of one region, or of all, keep in pangea.status. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/command.h"
#include "daemon/status.h"

static const char there_sql[] = "SELECT to_regclass('pangea.status') IS NOT NULL";
static const char status_sql[] = "SELECT agent, extract(epoch FROM now() - at), doc FROM pangea.status";

void status_region_forget(struct status_region *r)
{
        for (int a = 0; a < 2; a++) {
                json_decref(r->docs[a]);
                r->docs[a] = NULL;
        }
        err_clear(&r->err);
        r->initialised = false;
}

void status_region_close(struct status_region *r)
{
        status_region_forget(r);
        pg_close(r->pg);
        r->pg = NULL;
}

static enum status read_docs(struct status_region *r)
{
        struct pgres *res = NULL;
        enum status s = pg_exec(r->pg, there_sql, &res, &r->err);
        r->initialised = s == ST_OK && strcmp(pgres_text(res, 0, 0), "t") == 0;
        pgres_free(res);
        res = NULL;
        if (!r->initialised)
                return s;
        s = pg_exec(r->pg, status_sql, &res, &r->err);
        for (int i = 0; s == ST_OK && i < pgres_rows(res); i++) {
                int agent = strcmp(pgres_text(res, i, 0), "capture") == 0 ? STATUS_CAPTURE : STATUS_APPLY;
                r->age_s[agent] = strtod(pgres_text(res, i, 1), NULL);
                r->docs[agent] = json_loads(pgres_text(res, i, 2), 0, NULL);
        }
        pgres_free(res);
        return s;
}

void status_region_read(struct status_region *r, int connect_timeout_s)
{
        bool kept = r->pg != NULL;
        status_region_forget(r);
        if (!kept && region_connect_within(r->region, "status", connect_timeout_s, &r->pg, &r->err) != ST_OK)
                return;
        if (r->opened && !kept)
                r->opened(r->ctx, pg_socket(r->pg));
        if (read_docs(r) == ST_OK)
                return;
        if (r->opened)
                r->opened(r->ctx, -1);
        pg_close(r->pg);
        r->pg = NULL;
        if (kept) /* the session of the last look may have gone with a restart of the server */
                status_region_read(r, connect_timeout_s);
}

/* ---- all regions ---------------------------------------------------------------------------------------------------------------------- */
static void *read_region(void *arg)
{
        status_region_read(arg, 0);
        return NULL;
}

/* A region that does not answer must not hold up the others: one thread each. */
void status_read(struct status_view *v)
{
        struct status_region *regions = v->regions;
        size_t n = v->topology->nregions;
        pthread_t threads[MAX_REGIONS];
        bool started[MAX_REGIONS] = {0};
        for (size_t i = 0; i < n; i++) {
                started[i] = pthread_create(&threads[i], NULL, read_region, &regions[i]) == 0;
                if (!started[i])
                        read_region(&regions[i]);
        }
        for (size_t i = 0; i < n; i++)
                if (started[i])
                        pthread_join(threads[i], NULL);
}

void status_open(struct status_view *v, const struct topology *t, struct buf *problems)
{
        *v = (struct status_view){.topology = t, .problems = problems};
        v->regions = mem_zalloc(sizeof *v->regions * t->nregions);
        for (size_t i = 0; i < t->nregions; i++)
                v->regions[i].region = &t->regions[i];
}

void status_close(struct status_view *v)
{
        for (size_t i = 0; i < v->topology->nregions; i++)
                status_region_close(&v->regions[i]);
        free(v->regions);
}
