#include "capture/groups.h"

#include <string.h>

#define RECORD_SLACK (64u << 10) /* head and tables of a record, beyond what wire_group counts */
#define FRAGMENT_AROUND 2048     /* less than WIRE_RECORD_MIN; head, transaction and vector of a fragment */
#define LARGEST_CHANGE ((size_t)1 << 30)

void groups_init(struct groups *g, const struct group_sink *sink, const struct regset *regs, size_t max_bytes, uint32_t max_rows)
{
        memset(g, 0, sizeof *g);
        g->wire = wire_group_new(max_bytes);
        g->sink = *sink;
        g->regs = regs;
        g->max_bytes = max_bytes;
        g->max_rows = max_rows;
        buf_init(&g->record, max_bytes + RECORD_SLACK);
        buf_init(&g->whole, LARGEST_CHANGE);
}

void groups_release(struct groups *g)
{
        if (!g->wire)
                return;
        wire_group_free(g->wire);
        g->wire = NULL;
        buf_release(&g->record);
        buf_release(&g->whole);
}

/* Fixed once per group, when its first record is written. */
static void take_hlc(struct groups *g)
{
        uint64_t h = g->hlc.v + 1;
        if (g->newest_us > 0 && (uint64_t)g->newest_us > h)
                h = (uint64_t)g->newest_us;
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                if (g->vec.at[i].v >= h)
                        h = g->vec.at[i].v + 1;
        g->hlc = (hlc_t){h};
}

static void forget(struct groups *g)
{
        wire_group_reset(g->wire);
        g->open = g->chunked = false;
        g->chunk = 0;
        g->newest_us = 0;
}

static enum status write_chunk(struct groups *g, bool last, struct err *e)
{
        if (!g->chunked)
                take_hlc(g);
        struct record_head h = g->sink.head(g->sink.ctx);
        enum status st = wire_group_finish(g->wire, &g->record, &h, g->hlc, g->chunk, last, g->regs, e);
        if (st != ST_OK)
                return st;
        g->nrows += wire_group_rows(g->wire);
        st = g->sink.put(g->sink.ctx, &h, &g->record, last ? g->end_lsn : (lsn_t){0}, e);
        g->chunk++;
        g->chunked = true;
        return st;
}

enum status groups_close(struct groups *g, struct err *e)
{
        uint32_t txs = wire_group_txs(g->wire);
        if (txs == 0)
                return ST_OK;
        enum status st = write_chunk(g, true, e);
        g->ngroups++;
        g->ntxs += txs;
        forget(g);
        return st;
}

enum status groups_begin(struct groups *g, const struct txn *tx, size_t estimate, struct err *e)
{
        size_t used = wire_group_bytes(g->wire);
        bool late = tx->commit_us - g->oldest_us > GROUP_SPREAD_US;
        if (wire_group_txs(g->wire) > 0 && (late || used >= g->max_bytes || estimate > g->max_bytes - used)) {
                enum status st = groups_close(g, e);
                if (st != ST_OK)
                        return st;
        }
        wire_group_begin_tx(g->wire, tx, g->regs);
        g->open = true;
        g->vec = *tx->vec;
        if (wire_group_txs(g->wire) == 1 || tx->commit_us < g->oldest_us)
                g->oldest_us = tx->commit_us;
        if (tx->commit_us > g->newest_us)
                g->newest_us = tx->commit_us;
        return ST_OK;
}

/* One change larger than a record: its bytes go in pieces, each a chunk that holds nothing else. */
static enum status write_large(struct groups *g, const struct change *c, struct err *e)
{
        enum status st = ST_OK;
        if (wire_group_rows(g->wire) > 0) {
                if ((st = write_chunk(g, false, e)) != ST_OK)
                        return st;
                wire_group_next_chunk(g->wire);
        }
        if (!g->chunked)
                take_hlc(g);
        if ((st = wire_group_encode_large(g->wire, c, &g->whole, e)) != ST_OK)
                return st;
        size_t piece = (g->max_bytes < WIRE_RECORD_MIN ? WIRE_RECORD_MIN : g->max_bytes) - FRAGMENT_AROUND;
        for (size_t at = 0; at < g->whole.len; at += piece) {
                uint32_t len = (uint32_t)(g->whole.len - at < piece ? g->whole.len - at : piece);
                struct record_head h = g->sink.head(g->sink.ctx);
                st = wire_group_finish_fragment(g->wire, &g->record, &h, g->hlc, g->chunk, false, g->whole.data + at, len, at,
                                                g->whole.len, g->regs, e);
                if (st == ST_OK)
                        st = g->sink.put(g->sink.ctx, &h, &g->record, (lsn_t){0}, e);
                if (st != ST_OK)
                        return st;
                g->chunk++;
                g->chunked = true;
        }
        g->nrows++;
        buf_release(&g->whole); /* rare and large: not kept */
        buf_init(&g->whole, LARGEST_CHANGE);
        wire_group_next_chunk(g->wire);
        return ST_OK;
}

enum status groups_change(struct groups *g, const struct change *c, struct err *e)
{
        enum status st = wire_group_add(g->wire, c);
        if (st == ST_RETRY) {
                if ((st = write_chunk(g, false, e)) != ST_OK)
                        return st;
                wire_group_next_chunk(g->wire);
                st = wire_group_add(g->wire, c);
        }
        if (st == ST_DATA)
                st = write_large(g, c, e);
        else if (st != ST_OK)
                return err_set(e, ST_FATAL, "a change of %s.%s fits in no record", c->rel->schema, c->rel->name);
        return st;
}

enum status groups_end(struct groups *g, lsn_t commit_lsn, lsn_t end_lsn, struct err *e)
{
        wire_group_end_tx(g->wire, commit_lsn, end_lsn);
        g->open = false;
        g->end_lsn = end_lsn;
        if (g->chunked || wire_group_rows(g->wire) >= g->max_rows || wire_group_bytes(g->wire) >= g->max_bytes)
                return groups_close(g, e);
        return ST_OK;
}
