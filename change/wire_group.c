/* The GROUP record; the layout is drawn in wire.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "change/wire_parts.h"

enum { GROUP_LAST = 1, GROUP_FRAGMENT = 2, GROUP_FLAGS = 3 };
enum { TX_VECTOR = 1, TX_FLAGS = 1 };

/* Upper bounds of bytes: what a record has around its transactions, relations and changes (the head with 32 names of 31 bytes, HLC, flags,
 * six counts); a transaction without its vector. */
enum { AROUND = WIRE_HEAD_SIZE + 1 + MAX_REGIONS * (REGION_NAME_MAX + 1) + 64, TX_BYTES = 41 };
_Static_assert(AROUND + TX_BYTES < WIRE_RECORD_MIN / 2, "the smallest record has room for a change");

struct gathered_tx {
        struct txn tx; /* .vec unused */
        uint32_t vec;  /* index in vecs: equal neighbours share one */
};

struct wire_group {
        size_t max;
        struct gathered_tx *txs;
        uint32_t ntxs, txs_cap;
        struct vector *vecs;
        uint32_t nvecs, vecs_cap;
        size_t tx_bytes; /* upper bound of the transaction table */
        const struct relation **rels;
        uint32_t nrels, rels_cap;
        struct buf rel_bytes, change_bytes;
        uint32_t nchanges, nvalues;
        uint32_t rel, tx; /* of the change added last */
};

struct wire_group *wire_group_new(size_t max_bytes)
{
        struct wire_group *g = MEM_NEW(struct wire_group);
        g->max = max_bytes < WIRE_RECORD_MIN ? WIRE_RECORD_MIN : max_bytes;
        buf_init(&g->rel_bytes, g->max);
        buf_init(&g->change_bytes, g->max);
        return g;
}

void wire_group_free(struct wire_group *g)
{
        if (!g)
                return;
        free(g->txs);
        free(g->vecs);
        free(g->rels);
        buf_release(&g->rel_bytes);
        buf_release(&g->change_bytes);
        free(g);
}

static void forget_changes(struct wire_group *g)
{
        buf_reset(&g->rel_bytes);
        buf_reset(&g->change_bytes);
        g->nrels = g->nchanges = g->nvalues = g->rel = g->tx = 0;
}

void wire_group_reset(struct wire_group *g)
{
        forget_changes(g);
        g->ntxs = g->nvecs = 0;
        g->tx_bytes = 0;
}

size_t wire_group_bytes(const struct wire_group *g)
{
        return AROUND + g->tx_bytes + g->rel_bytes.len + g->change_bytes.len;
}

uint32_t wire_group_rows(const struct wire_group *g)
{
        return g->nchanges;
}

uint32_t wire_group_txs(const struct wire_group *g)
{
        return g->ntxs;
}

/* Room for one more element in an array that only grows. */
static void *grown(void *array, uint32_t n, uint32_t *cap, size_t size)
{
        if (n < *cap)
                return array;
        *cap = *cap ? *cap * 2 : 16;
        return mem_realloc(array, *cap * size);
}

/* ---- transactions ------------------------------------------------------------------------------------------------------------------ */
static size_t vector_cost(const struct vector *v, const struct vector *before)
{
        size_t n = 1;
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                n += v->at[i].v != before->at[i].v ? 11 : 0;
        return n;
}

static const struct vector *vector_before(const struct wire_group *g, uint32_t vec)
{
        static const struct vector zero;
        return vec > 0 ? &g->vecs[vec - 1] : &zero;
}

void wire_group_begin_tx(struct wire_group *g, const struct txn *tx, const struct regset *regs)
{
        (void)regs; /* names are written by wire_group_finish: numbers of a regset never change */
        g->tx_bytes += TX_BYTES;
        if (g->nvecs == 0 || memcmp(&g->vecs[g->nvecs - 1], tx->vec, sizeof *tx->vec) != 0) {
                g->vecs = grown(g->vecs, g->nvecs, &g->vecs_cap, sizeof *g->vecs);
                g->vecs[g->nvecs] = *tx->vec;
                g->tx_bytes += vector_cost(tx->vec, vector_before(g, g->nvecs));
                g->nvecs++;
        }
        g->txs = grown(g->txs, g->ntxs, &g->txs_cap, sizeof *g->txs);
        g->txs[g->ntxs++] = (struct gathered_tx){.tx = *tx, .vec = g->nvecs - 1};
}

void wire_group_end_tx(struct wire_group *g, lsn_t commit_lsn, lsn_t end_lsn)
{
        assert(g->ntxs > 0);
        g->txs[g->ntxs - 1].tx.commit_lsn = commit_lsn;
        g->txs[g->ntxs - 1].tx.end_lsn = end_lsn;
}

void wire_group_next_chunk(struct wire_group *g)
{
        assert(g->ntxs > 0);
        struct gathered_tx last = g->txs[g->ntxs - 1];
        g->vecs[0] = g->vecs[last.vec];
        g->nvecs = 1;
        last.vec = 0;
        g->txs[0] = last;
        g->ntxs = 1;
        g->tx_bytes = TX_BYTES + vector_cost(&g->vecs[0], vector_before(g, 0));
        forget_changes(g);
}

static void put_txs(struct buf *out, const struct wire_group *g, hlc_t hlc, const struct region_table *t)
{
        struct txn before = {.commit_us = (int64_t)hlc.v};
        buf_put_varint(out, g->ntxs);
        buf_put_varint(out, g->nvecs);
        for (uint32_t i = 0; i < g->ntxs; i++) {
                const struct gathered_tx *x = &g->txs[i];
                bool own = i == 0 || x->vec != x[-1].vec;
                buf_put_u8(out, own ? TX_VECTOR : 0);
                buf_put_varint(out, zigzag(x->tx.xid.v - before.xid.v));
                buf_put_varint(out, zigzag(x->tx.commit_lsn.v - before.commit_lsn.v));
                buf_put_varint(out, zigzag(x->tx.end_lsn.v - x->tx.commit_lsn.v));
                buf_put_varint(out, zigzag((uint64_t)x->tx.commit_us - (uint64_t)before.commit_us));
                if (own)
                        wire_put_vector(out, &g->vecs[x->vec], vector_before(g, x->vec), t);
                before = x->tx;
        }
}

static void take_txs(struct dec *d, const struct region_table *t, struct arena *arena, struct group *g)
{
        uint32_t ntxs = dec_count(d, 5, "more transactions than the record has room for");
        uint32_t nvecs = dec_count(d, 2, "more vectors than the record has room for"), got = 0;
        if (nvecs > ntxs)
                dec_fail(d, "more vectors than transactions");
        if (d->r.bad)
                return;
        struct txn *txs = ARENA_ARRAY(arena, struct txn, ntxs), before = {.commit_us = (int64_t)g->hlc.v};
        struct vector *vecs = ARENA_ARRAY(arena, struct vector, nvecs);
        for (uint32_t i = 0; i < ntxs && !d->r.bad; i++) {
                struct txn *x = &txs[i];
                uint8_t flags = rd_u8(&d->r);
                if (flags & ~TX_FLAGS)
                        dec_fail(d, "unknown flags of a transaction");
                x->xid.v = dec_diff(d, before.xid.v);
                x->commit_lsn.v = dec_diff(d, before.commit_lsn.v);
                x->end_lsn.v = dec_diff(d, x->commit_lsn.v);
                x->commit_us = (int64_t)dec_diff(d, (uint64_t)before.commit_us);
                if (flags & TX_VECTOR && got < nvecs) {
                        if (got > 0)
                                vecs[got] = vecs[got - 1];
                        wire_take_vector(d, &vecs[got++], t);
                } else if (flags & TX_VECTOR || got == 0) {
                        dec_fail(d, "vectors do not agree with their number");
                }
                x->vec = got ? &vecs[got - 1] : NULL;
                before = *x;
        }
        if (got != nvecs)
                dec_fail(d, "fewer vectors than announced");
        g->ntxs = ntxs;
        g->txs = txs;
}

/* ---- changes ----------------------------------------------------------------------------------------------------------------------- */
/* The number of rel in this group; nrels when it is new. */
static uint32_t find_relation(const struct wire_group *g, const struct relation *rel)
{
        if (g->nrels && g->rels[g->rel] == rel)
                return g->rel;
        for (uint32_t i = 0; i < g->nrels; i++)
                if (g->rels[i] == rel)
                        return i;
        return g->nrels;
}

/* The hot path: bounds first (so that nothing has to be taken back), then one pass that copies each value once. */
enum status wire_group_add(struct wire_group *g, const struct change *c)
{
        assert(g->ntxs > 0);
        uint32_t rel = find_relation(g, c->rel), nvalues = wire_change_values(c);
        size_t most = wire_change_size(c), need = most + (rel == g->nrels ? wire_relation_size(c->rel) : 0);
        if (wire_group_bytes(g) + need > g->max || nvalues > WIRE_VALUES_MAX - g->nvalues) {
                size_t alone = AROUND + TX_BYTES + vector_cost(&g->vecs[g->txs[g->ntxs - 1].vec], vector_before(g, 0));
                return alone + most + wire_relation_size(c->rel) > g->max ? ST_DATA : ST_RETRY;
        }
        if (rel == g->nrels) {
                g->rels = grown(g->rels, g->nrels, &g->rels_cap, sizeof(struct relation *));
                g->rels[g->nrels++] = c->rel;
                wire_put_relation(&g->rel_bytes, c->rel);
        }
        uint8_t *start = buf_reserve(&g->change_bytes, most);
        uint8_t *end = wire_write_change(start, c, rel == g->rel ? NULL : &rel, g->ntxs - 1 - g->tx);
        g->change_bytes.len += (size_t)(end - start);
        g->rel = rel;
        g->tx = g->ntxs - 1;
        g->nchanges++;
        g->nvalues += nvalues;
        return ST_OK;
}

static void take_changes(struct dec *d, uint32_t nvalues, struct arena *arena, struct group *g)
{
        struct change *changes = ARENA_ARRAY(arena, struct change, g->nchanges);
        struct value_pool pool = wire_pool(arena, nvalues);
        struct change_at at = {.rels = g->rels, .nrels = g->nrels, .ntxs = g->ntxs};
        for (uint32_t i = 0; i < g->nchanges && !d->r.bad; i++)
                wire_take_change(d, &at, &pool, &changes[i]);
        if (pool.left)
                dec_fail(d, "fewer values than announced");
        g->changes = changes;
}

/* ---- the record -------------------------------------------------------------------------------------------------------------------- */
/* Everything up to where changes and fragments differ. */
static enum status begin_group(const struct wire_group *g, struct buf *out, const struct record_head *h, hlc_t hlc, uint32_t chunk,
                               unsigned flags, const struct regset *regs, struct err *e)
{
        struct region_table t;
        uint32_t mask = 0;
        for (uint32_t i = 0; i < g->nvecs; i++)
                mask |= wire_vector_mask(&g->vecs[i]);
        enum status st = wire_begin(out, h, RECORD_GROUP, mask, regs, &t, e);
        if (st != ST_OK)
                return st;
        buf_put_u8(out, (uint8_t)flags);
        buf_put_u64(out, hlc.v);
        buf_put_varint(out, chunk);
        put_txs(out, g, hlc, &t);
        return ST_OK;
}

enum status wire_group_finish(struct wire_group *g, struct buf *out, const struct record_head *h, hlc_t hlc, uint32_t chunk,
                              bool last, const struct regset *regs, struct err *e)
{
        enum status st = begin_group(g, out, h, hlc, chunk, last ? GROUP_LAST : 0, regs, e);
        if (st != ST_OK)
                return st;
        buf_put_varint(out, g->nrels);
        buf_put_varint(out, g->nchanges);
        buf_put_varint(out, g->nvalues);
        buf_put(out, g->rel_bytes.data, g->rel_bytes.len);
        buf_put(out, g->change_bytes.data, g->change_bytes.len);
        return wire_end(out, e);
}

enum status wire_group_finish_fragment(struct wire_group *g, struct buf *out, const struct record_head *h, hlc_t hlc,
                                       uint32_t chunk, bool last, const uint8_t *piece, uint32_t len, uint64_t at, uint64_t total,
                                       const struct regset *regs, struct err *e)
{
        assert(g->nchanges == 0 && len > 0);
        enum status st = begin_group(g, out, h, hlc, chunk, GROUP_FRAGMENT | (last ? GROUP_LAST : 0), regs, e);
        if (st != ST_OK)
                return st;
        buf_put_varint(out, at);
        buf_put_varint(out, total);
        buf_put(out, piece, len);
        return wire_end(out, e);
}

static void take_fragment(struct dec *d, struct group *g)
{
        g->frag_at = dec_varint(d);
        g->frag_total = dec_varint(d);
        if (d->r.left > UINT32_MAX || g->frag_at > g->frag_total || d->r.left > g->frag_total - g->frag_at || d->r.left == 0)
                dec_fail(d, "a fragment that lies outside of its whole");
        g->frag_len = (uint32_t)d->r.left;
        g->frag = rd_take(&d->r, d->r.left);
}

void wire_take_group(struct dec *d, const struct region_table *t, bool head_only, struct arena *arena, struct group *g)
{
        uint8_t flags = rd_u8(&d->r);
        if (flags & ~GROUP_FLAGS)
                dec_fail(d, "unknown flags of a group");
        g->last = flags & GROUP_LAST;
        g->hlc.v = rd_u64(&d->r);
        uint64_t chunk = dec_varint(d);
        if (chunk > UINT32_MAX)
                dec_fail(d, "a chunk number that is too large");
        g->chunk = (uint32_t)chunk;
        take_txs(d, t, arena, g);
        if (flags & GROUP_FRAGMENT) {
                take_fragment(d, g);
                return;
        }
        if (head_only) {
                rd_take(&d->r, d->r.left);
                return;
        }
        uint32_t nrels = dec_count(d, 5, "more relations than the record has room for");
        g->nchanges = dec_count(d, 1, "more changes than the record has room for");
        uint32_t nvalues = wire_take_nvalues(d);
        if (d->r.bad)
                return;
        struct relation *rels = ARENA_ARRAY(arena, struct relation, nrels);
        for (uint32_t i = 0; i < nrels && !d->r.bad; i++)
                wire_take_relation(d, arena, &rels[i]);
        g->nrels = nrels;
        g->rels = rels;
        if (!d->r.bad)
                take_changes(d, nvalues, arena, g);
}
