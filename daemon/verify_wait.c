#include "daemon/verify.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"

#define POLL_MS 50
#define LOOK_US INT64_C(500000)

/* The LSN of a message inside a transaction: whatever committed before this statement stands before it in the WAL, so a region whose
 * position has passed it has applied all of that. synchronous_commit=local: the mark must not itself wait for another region. */
static const char mark_sql[] = "SET LOCAL synchronous_commit = local; "
                               "SELECT pg_logical_emit_message(true, 'pangea.mark', gen_random_uuid()::text)";

static enum status emit(struct vregion *r, lsn_t *out, struct err *e)
{
        struct pgres *res = NULL;
        enum status s = pg_exec(r->pg, "BEGIN", NULL, e);
        if (s == ST_OK)
                s = pg_exec(r->pg, mark_sql, &res, e);
        if (s == ST_OK && !lsn_parse(pgres_text(res, 0, 0), out))
                s = err_set(e, ST_FATAL, "'%s' is not an LSN", pgres_text(res, 0, 0));
        pgres_free(res);
        if (s == ST_OK)
                s = pg_exec(r->pg, "COMMIT", NULL, e);
        return s == ST_OK ? s : err_wrap(e, "region %s: mark in the WAL", r->region->name);
}

/* What region r has applied of each origin: the position in its database, or what its agent says it has processed since (records that
 * changed nothing move no row). */
static const char position_sql[] =
        "SELECT p.origin, p.lsn, NULL, NULL FROM pangea.position p "
        "UNION ALL SELECT o->>'origin', (o->>'lsn')::pg_lsn, o->>'state', coalesce(o->>'why', o->>'waits_for') "
        "FROM pangea.status s, jsonb_array_elements(coalesce(s.doc->'origins', '[]')) o WHERE s.agent = 'apply' "
        /* how far its own log is held against what the others wrote: what it must take back of its own is taken back by then */
        "UNION ALL SELECT s.doc->>'region', (s.doc->'own_log'->>'processed_lsn')::pg_lsn, s.doc->'own_log'->>'state', s.doc->'own_log'->>'why' "
        "FROM pangea.status s WHERE s.agent = 'apply' AND s.doc->'own_log' ? 'state'";

struct behind {
        lsn_t at[MAX_REGIONS];
        bool own; /* it says how far its own log is held against what the others wrote */
        char said[MAX_REGIONS][300];
};

static enum status applied(struct vregion *r, const struct topology *t, struct behind *b, struct err *e)
{
        struct pgres *res = NULL;
        memset(b, 0, sizeof *b);
        if (pg_exec(r->pg, position_sql, &res, e) != ST_OK)
                return err_wrap(e, "region %s", r->region->name);
        for (int i = 0; i < pgres_rows(res); i++) {
                const struct region *o = topology_region(t, pgres_text(res, i, 0));
                lsn_t lsn = {0};
                if (!o)
                        continue;
                b->own |= o == r->region && !pgres_null(res, i, 2);
                if (lsn_parse(pgres_text(res, i, 1), &lsn))
                        b->at[o->id.i] = lsn_max(b->at[o->id.i], lsn);
                if (!pgres_null(res, i, 2) && strcmp(pgres_text(res, i, 2), "running") != 0)
                        snprintf(b->said[o->id.i], sizeof b->said[0], ", it is %s%s%s", pgres_text(res, i, 2),
                                 pgres_null(res, i, 3) ? "" : ": ", pgres_text(res, i, 3));
        }
        pgres_free(res);
        return ST_OK;
}

/* Is everything there that is waited for in region r? If not, *w->why says what is missing. */
static bool arrived(struct vwait *w, const struct topology *t, const struct vregion *r, const struct behind *b)
{
        bool all = true;
        for (size_t o = 0; o < t->nregions; o++) {
                char have[LSN_STRLEN], want[LSN_STRLEN];
                size_t n = strlen(w->why);
                bool own = &t->regions[o] == r->region;
                if ((own && !b->own) || !w->mark[o].v || !lsn_before(b->at[o], w->mark[o]))
                        continue;
                all = false;
                snprintf(w->why + n, sizeof w->why - n, "%s%s has %s %s%s log up to %s, not yet to %s%s", n ? "; " : "",
                         r->region->name, own ? "settled the conflicts of" : "applied", own ? "its own" : t->regions[o].name,
                         own ? "" : "'s", lsn_str(have, b->at[o]), lsn_str(want, w->mark[o]), b->said[o]);
        }
        return all;
}

static size_t count_pairs(const struct vregion *regions, size_t n, const struct vwait *w)
{
        size_t pairs = 0;
        for (size_t o = 0; o < n; o++)
                for (size_t r = 0; r < n; r++)
                        pairs += o != r && w->mark[o].v && regions[r].apply_alive;
        return pairs;
}

/* Nobody waits for a daemon that has gone meanwhile, nor for what it alone could have sent. */
static enum status look_again(struct vregion *regions, size_t n, struct vwait *w, struct err *e)
{
        for (size_t r = 0; r < n; r++) {
                if (!regions[r].capture_alive && !regions[r].apply_alive)
                        continue;
                if (verify_daemons(&regions[r], e) != ST_OK)
                        return ST_FATAL;
                if (!regions[r].capture_alive)
                        w->mark[r].v = 0;
        }
        w->pairs = count_pairs(regions, n, w);
        return ST_OK;
}

enum status verify_wait(struct vregion *regions, size_t n, const struct topology *t, int64_t deadline_us, struct vwait *w,
                        struct err *e)
{
        *w = (struct vwait){0};
        for (size_t o = 0; o < n; o++)
                if (regions[o].region->role == ROLE_LEADER && regions[o].capture_alive &&
                    emit(&regions[o], &w->mark[o], e) != ST_OK)
                        return e->code == ST_RETRY ? ST_FATAL : e->code;
        w->pairs = count_pairs(regions, n, w);
        for (int64_t looked_us = clock_mono_us();;) {
                bool all = true;
                if (clock_mono_us() - looked_us >= LOOK_US) {
                        if (look_again(regions, n, w, e) != ST_OK)
                                return ST_FATAL;
                        looked_us = clock_mono_us();
                }
                w->why[0] = 0;
                for (size_t r = 0; r < n; r++) {
                        struct behind b;
                        if (!regions[r].apply_alive)
                                continue;
                        if (applied(&regions[r], t, &b, e) != ST_OK)
                                return ST_FATAL;
                        all = arrived(w, t, &regions[r], &b) && all;
                }
                if (all)
                        return ST_OK;
                if (clock_mono_us() >= deadline_us)
                        return err_set(e, ST_RETRY, "%s", w->why);
                poll(NULL, 0, POLL_MS);
        }
}
