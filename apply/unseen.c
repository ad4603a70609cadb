#include "apply/unseen.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ASK_AT_ONCE 8192

struct commit {
        hlc_t hlc;
        fullxid_t xid;
};

struct unseen {
        struct commit *list; /* in the order of the log */
        size_t n, cap;
        fullxid_t ended;
        hlc_t read;
};

struct unseen *unseen_new(hlc_t from)
{
        struct unseen *u = MEM_NEW(struct unseen);
        u->read = from;
        return u;
}

void unseen_free(struct unseen *u)
{
        if (!u)
                return;
        free(u->list);
        free(u);
}

static void add(struct unseen *u, hlc_t hlc, fullxid_t xid)
{
        if (xid.v < u->ended.v)
                return;
        if (u->n == u->cap) {
                u->cap = u->cap ? 2 * u->cap : 256;
                u->list = mem_realloc(u->list, u->cap * sizeof *u->list);
        }
        u->list[u->n++] = (struct commit){.hlc = hlc, .xid = xid};
}

void unseen_note(struct unseen *u, const struct log_item *i, fullxid_t near)
{
        if (i->kind == ITEM_PROGRESS)
                unseen_ended(u, i->xmin);
        if ((i->kind != ITEM_GROUP && i->kind != ITEM_BIG) || i->replay)
                return;
        for (uint32_t t = 0; i->txs && t < i->ntxs; t++)
                add(u, i->hlc, fullxid_near(near, i->txs[t].xid));
        u->read = hlc_max(u->read, i->hlc);
}

void unseen_ended(struct unseen *u, fullxid_t xmin)
{
        if (xmin.v <= u->ended.v)
                return;
        u->ended = xmin;
        size_t n = 0;
        for (size_t i = 0; i < u->n; i++)
                if (u->list[i].xid.v >= xmin.v)
                        u->list[n++] = u->list[i];
        u->n = n;
}

hlc_t unseen_read(const struct unseen *u)
{
        return u->read;
}

hlc_t unseen_visible(const struct unseen *u)
{
        hlc_t h = u->read;
        if (u->n)
                h.v = u->list[0].hlc.v - 1;
        return h;
}

size_t unseen_count(const struct unseen *u)
{
        return u->n;
}

/* Some of them, asked for; and which have not ended. */
struct question {
        size_t from, n;
        fullxid_t *running;
        size_t nrunning;
};

static void on_running(void *ctx, void *arg, const struct pgres *r)
{
        (void)ctx;
        struct question *q = arg;
        for (int i = 0; i < pgres_rows(r) && q->nrunning < q->n; i++)
                q->running[q->nrunning++].v = (uint64_t)pgres_i64(r, i, 0);
}

static bool is_running(const struct question *q, fullxid_t xid)
{
        for (size_t i = 0; i < q->nrunning; i++)
                if (q->running[i].v == xid.v)
                        return true;
        return false;
}

/* Those that have ended are forgotten. */
static void take_answer(struct unseen *u, const struct question *q)
{
        size_t to = q->from;
        for (size_t i = q->from; i < u->n; i++)
                if (i >= q->from + q->n || is_running(q, u->list[i].xid))
                        u->list[to++] = u->list[i];
        u->n = to;
}

static enum status ask(struct unseen *u, struct session *db, struct question *q, void *ctx, struct err *e)
{
        static const char sql[] = "SELECT x FROM pg_catalog.unnest($1::pg_catalog.int8[]) x WHERE pg_catalog.pg_xact_status("
                                  "x::pg_catalog.text::pg_catalog.xid8) = 'in progress'";
        struct buf xids;
        array_begin(&xids, 20);
        for (size_t i = 0; i < q->n; i++) {
                buf_put_u32(&xids, 8);
                buf_put_u64(&xids, u->list[q->from + i].xid.v);
        }
        struct pg_param p = array_end(&xids, (uint32_t)q->n, 1016);
        q->running = mem_alloc(q->n * sizeof *q->running);
        enum status s = session_query(db, sql, 1, &p, on_running, q, e);
        if (s == ST_OK)
                s = session_sync(db, ctx, e);
        buf_release(&xids);
        if (s == ST_OK)
                take_answer(u, q);
        free(q->running);
        return s;
}

static size_t up_to(const struct unseen *u, size_t from, hlc_t hlc)
{
        size_t n = 0;
        while (from + n < u->n && n < ASK_AT_ONCE && u->list[from + n].hlc.v <= hlc.v)
                n++;
        return n;
}

enum status unseen_ask(struct unseen *u, struct session *db, hlc_t upto, void *ctx, struct err *e)
{
        size_t running = 0;
        for (;;) {
                struct question q = {.from = running, .n = up_to(u, running, upto)};
                if (!q.n)
                        break;
                enum status s = ask(u, db, &q, ctx, e);
                if (s != ST_OK)
                        return s;
                running += q.nrunning;
        }
        if (!running)
                return ST_OK;
        return err_named(e, ST_RETRY, "commit_not_visible",
                         "a local commit (xid %" PRIu64
                         ") is in this region's log and not visible here yet, and what comes may rest on it "
                         "(does it wait for a standby? see synchronous_standby_names)",
                         u->list[0].xid.v);
}
