/* forget: siblings and contributions that are stable are forgotten; which keys are open; what status says of them.  DESIGN 6.6. */
#include <stdlib.h>
#include <string.h>

#include "apply/applier.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LOOK_US 5000000

static void add_text(struct buf *b, const char *s)
{
        array_add(b, s, strlen(s));
}

static void add_i64(struct buf *b, uint64_t v)
{
        buf_put_u32(b, 8);
        buf_put_u64(b, v);
}

static void on_removed(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        *(int64_t *)arg += pgres_affected(r);
}

/* What is stable: regions, their local origins and HLCs as three arrays. */
struct stable_params {
        struct buf region, roident, hlc;
        struct pg_param p[3];
};

static void stable_params(struct applier *a, struct stable_params *s)
{
        uint32_t n = 0;
        array_begin(&s->region, 25);
        array_begin(&s->roident, 20);
        array_begin(&s->hlc, 20);
        for (unsigned i = 0; i < a->regs.n; i++) {
                add_text(&s->region, a->regs.name[i]);
                add_i64(&s->roident, a->origins.roident[i]);
                add_i64(&s->hlc, a->stable.at[i].v);
                n++;
        }
        s->p[0] = array_end(&s->region, n, 1009);
        s->p[1] = array_end(&s->roident, n, 1016);
        s->p[2] = array_end(&s->hlc, n, 1016);
}

/* A set whose versions are all stable, and the dot that its row's xmin bears as well: nothing concurrent to it can come any more. Under manual
 * it is the queue of what somebody has to look at, and stays. Of rows that wait in pangea.suppressed nothing is forgotten. */
static enum status forget_siblings(struct applier *a, struct stable_params *sp, int64_t *removed, struct err *e)
{
        static const char sql[] =
                "WITH v AS MATERIALIZED (SELECT * FROM ROWS FROM (unnest($1::text[]), unnest($2::int8[]), unnest($3::int8[])) AS v(region, roident, hlc)),"
                " k AS MATERIALIZED (SELECT x.rel, x.key FROM pangea.sibling x LEFT JOIN v ON v.region = x.region"
                "  WHERE x.rule NOT LIKE 'manual%' AND x.row_xid IS NOT NULL GROUP BY x.rel, x.key HAVING bool_and(x.hlc <= COALESCE(v.hlc, 0)"
                "  AND NOT EXISTS (SELECT FROM pg_catalog.pg_xact_commit_timestamp_origin(x.row_xid::text::xid) c JOIN v w ON w.roident = c.roident AND c.roident <> 0"
                "   WHERE (EXTRACT(EPOCH FROM c.timestamp) * 1000000)::int8 > w.hlc)) LIMIT 20000)"
                " DELETE FROM pangea.sibling b USING k WHERE b.rel = k.rel AND b.key = k.key";
        return session_send(a->db, &a->fixed[FIXED_SIB_FORGET], sql, 3, sp->p, on_removed, removed, e);
}

/* While siblings are open their contributions are kept: the set may have to be merged anew. */
static enum status forget_dots(struct applier *a, struct stable_params *sp, struct err *e)
{
        static const char sql[] =
                "DELETE FROM pangea.column_dot WHERE ctid = ANY (ARRAY(SELECT d.ctid FROM pangea.column_dot d"
                " JOIN ROWS FROM (unnest($1::text[]), unnest($2::int8[]), unnest($3::int8[])) AS v(region, roident, hlc)"
                " ON d.region = v.region AND d.hlc <= v.hlc"
                " WHERE NOT EXISTS (SELECT FROM pangea.sibling b WHERE b.rel = d.rel AND b.key = d.key) LIMIT 20000))";
        return session_send(a->db, &a->fixed[FIXED_DOTS_FORGET], sql, 3, sp->p, NULL, NULL, e);
}

enum status siblings_forget(struct applier *a, int64_t *removed, struct err *e)
{
        struct stable_params sp;
        stable_params(a, &sp);
        enum status s = tombs_count(a->open) ? forget_siblings(a, &sp, removed, e) : ST_OK;
        if (s == ST_OK && a->has_dots)
                s = forget_dots(a, &sp, e);
        buf_release(&sp.region);
        buf_release(&sp.roident);
        buf_release(&sp.hlc);
        return s;
}

enum status siblings_load_open(struct applier *a, struct err *e)
{
        struct pgres *r = NULL;
        enum status s = tombs_load(a->open, a->side, "pangea.sibling", e);
        if (s == ST_OK)
                s = pg_exec(a->side, "SELECT EXISTS (SELECT FROM pangea.column_dot)", &r, e);
        if (s == ST_OK)
                a->has_dots = pgres_text(r, 0, 0)[0] == 't';
        pgres_free(r);
        return s;
}

void siblings_look(struct applier *a)
{
        static const char sql[] =
                "WITH k AS (SELECT rel, count(*) AS n, min(at) AT TIME ZONE 'UTC' AS at, bool_or(rule LIKE 'manual%') AS manual FROM pangea.sibling"
                "  GROUP BY rel, key), iso(f) AS (VALUES ('YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'))"
                " SELECT jsonb_build_object('open', (SELECT count(*) FROM k WHERE n > 1),"
                "  'oldest', (SELECT to_char(min(at), f) FROM k, iso WHERE n > 1 GROUP BY f),"
                "  'column_dots', (SELECT count(*) FROM pangea.column_dot),"
                "  'manual', COALESCE((SELECT jsonb_agg(jsonb_build_object('table', m.rel, 'rows', m.rows, 'oldest', to_char(m.at, f)) ORDER BY m.rel)"
                "    FROM (SELECT rel, count(*) AS rows, min(at) AS at FROM k WHERE manual AND n > 1 GROUP BY rel) m, iso), '[]'::jsonb))::text,"
                " (SELECT count(*) FROM k WHERE n > 1), (SELECT count(*) FROM k WHERE manual AND n > 1)";
        struct pgres *r = NULL;
        struct err e;
        int64_t now = clock_mono_us();
        bool any = tombs_count(a->open) || a->has_dots;
        if (now < a->looked_at + LOOK_US || (!any && !a->open_doc))
                return;
        a->looked_at = now;
        free(a->open_doc);
        a->open_doc = NULL;
        a->open_keys = a->manual_keys = 0;
        if (!any)
                return; /* nothing is there any more */
        if (pg_exec(a->side, sql, &r, &e) == ST_OK) {
                a->open_doc = mem_strdup(pgres_text(r, 0, 0));
                a->open_keys = pgres_i64(r, 0, 1);
                a->manual_keys = pgres_i64(r, 0, 2);
        } else {
                log_event(LOG_WARN, "apply.siblings_look", "why=%s", e.msg);
        }
        pgres_free(r);
}
