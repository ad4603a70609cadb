/* own: the region's own log while a group is being applied: reading it to the insert position, and asking it who wrote a row.
 * DESIGN 6.3. */
#include "apply/pass.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "change/key.h"

#define HOLD_US 50000 /* C8 */

void wake_drain(int fd)
{
        char sink[256];
        while (read(fd, sink, sizeof sink) > 0)
                ;
}

enum status own_pump(struct applier *a, struct err *e)
{
        if (!a->own_log)
                return err_set(e, ST_RETRY, "no own log");
        return inlog_pump(a->own_log, e);
}

static void on_lsn(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        if (!lsn_parse(pgres_text(r, 0, 0), arg))
                ((lsn_t *)arg)->v = UINT64_MAX; /* never reached: the try times out */
}

enum status own_catch_up(struct applier *a, struct err *e)
{
        lsn_t insert = {UINT64_MAX};
        int64_t limit = clock_mono_us() + HOLD_US;
        enum status s = session_send(a->db, &a->fixed[FIXED_INSERT_LSN], "SELECT pg_catalog.pg_current_wal_insert_lsn()", 0, NULL,
                                     on_lsn, &insert, e);
        if (s == ST_OK)
                s = session_sync(a->db, NULL, e);
        if (s == ST_OK &&
            lsn_before(ownlog_read_lsn(a->own), insert)) /* flushes what is committed, and has capture say how far it is */
                s = pg_exec(a->side, "SELECT pg_catalog.pg_logical_emit_message(true, 'pangea.flush', '')", NULL, e);
        while (s == ST_OK && lsn_before(ownlog_read_lsn(a->own), insert)) {
                struct err nothing;
                s = own_pump(a, &nothing);
                if (s == ST_OK)
                        continue;
                if (s != ST_RETRY) {
                        *e = nothing;
                        return s;
                }
                int64_t left = limit - clock_mono_us();
                if (left <= 0)
                        return err_set(e, ST_RETRY,
                                       "the own log did not come up to the insert position within 50 ms (is the capture agent "
                                       "running?)");
                struct pollfd fd = {.fd = a->wake_fd, .events = POLLIN};
                poll(&fd, 1, (int)(left / 1000) + 1);
                wake_drain(a->wake_fd);
                s = ST_OK;
        }
        return s;
}

/* ---- who wrote this row? -------------------------------------------------------------------------------------------------------- */

struct search {
        struct applier *a;
        int64_t commit_us;
        uint32_t xid;
        const struct relation *rel;
        const struct net *net;
        struct buf key;
        hlc_t hlc; /* of the newest group that holds the transaction */
        bool found, exact;
};

static bool touches_key(struct search *q, const struct group *g, uint32_t tx)
{
        for (uint32_t i = 0; i < g->nchanges; i++) {
                const struct change *c = &g->changes[i];
                if (c->tx != tx || strcmp(c->rel->name, q->rel->name) != 0 || strcmp(c->rel->schema, q->rel->schema) != 0)
                        continue;
                const struct value *rows[2] = {c->row, c->old};
                for (int k = 0; k < 2; k++) {
                        if (!rows[k] || key_has_unsent(c->rel, rows[k]))
                                continue;
                        buf_reset(&q->key);
                        key_bytes(&q->key, c->rel, rows[k]);
                        if (q->key.len == q->net->klen && memcmp(q->key.data, q->net->kb, q->net->klen) == 0)
                                return true;
                }
        }
        return false;
}

static enum status look(void *ctx, const struct group *g, struct err *e)
{
        struct search *q = ctx;
        (void)e;
        for (uint32_t t = 0; t < g->ntxs; t++) {
                if (g->txs[t].commit_us != q->commit_us || q->exact)
                        continue;
                if ((uint32_t)g->txs[t].xid.v == q->xid || !q->net->kb || touches_key(q, g, t)) {
                        q->exact |= (uint32_t)g->txs[t].xid.v == q->xid;
                        q->hlc = g->hlc;
                        q->found = true;
                }
        }
        return ST_OK;
}

enum status own_dot(struct applier *a, int64_t commit_us, uint32_t xid, const struct relation *rel, const struct net *net,
                    struct dot *dot, bool *dominated, struct err *e)
{
        koffset_t first = {-1}, last = {-1};
        *dominated = false;
        dot->region = a->me;
        switch (ownlog_find(a->own, commit_us, xid, &dot->hlc, &first, &last)) {
        case OWN_FOUND: return ST_OK;
        case OWN_OLDER: *dominated = true; return ST_OK;
        case OWN_RANGE:
        case OWN_AMBIGUOUS: break;
        }
        struct search q = {.a = a, .commit_us = commit_us, .xid = xid, .rel = rel, .net = net};
        buf_init(&q.key, 0);
        enum status s = inlog_reread(a->own_log, first, last, 0, look, &q, e);
        buf_release(&q.key);
        if (s != ST_OK)
                return s;
        dot->hlc = q.hlc;
        *dominated = !q.found;
        return ST_OK;
}

enum status own_wrote(struct pass *p, const struct relation *rel, const struct net *n, const struct standing *st, bool *ours,
                      struct err *e)
{
        const struct group *g = p->w->g;
        struct dot dot;
        bool older = false, same_time = false;
        *ours = false;
        for (uint32_t t = 0; t < g->ntxs && !*ours; t++) {
                same_time |= g->txs[t].commit_us == st->ts_us;
                *ours = g->txs[t].commit_us == st->ts_us && (uint32_t)g->txs[t].xid.v == st->xmin;
        }
        if (*ours || !same_time)
                return ST_OK;
        enum status s = own_catch_up(p->a, e); /* another one of that microsecond may not have been read yet */
        if (s == ST_OK)
                s = own_dot(p->a, st->ts_us, st->xmin, rel, n, &dot, &older, e);
        *ours = s == ST_OK && !older && dot.hlc.v == p->w->dot.hlc.v;
        return s;
}

enum status own_visible(struct pass *p, struct err *e)
{
        return unseen_ask(p->a->unseen, p->a->db, p->w->dot.hlc, p, e);
}
