/* wire_sample: random groups, encoding a decoded group again, and comparing two: for test_wire*.c and fuzz_wire.c. */
#ifndef PANGEA_TESTS_WIRE_SAMPLE_H
#define PANGEA_TESTS_WIRE_SAMPLE_H

#include <stdio.h>
#include <string.h>

#include "change/wire.h"

/* splitmix64 */
struct rng {
        uint64_t s;
};

static inline uint64_t rng_next(struct rng *r)
{
        uint64_t z = r->s += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static inline unsigned rng_below(struct rng *r, unsigned n)
{
        return (unsigned)(rng_next(r) % n);
}

static inline const char *sample_name(struct rng *r, struct arena *a, const char *prefix)
{
        static const char *const odd[] = {"", "Mixed Case", "quo\"ted", "\xc3\xa9t\xc3\xa9", "a.b", "'"};
        return arena_printf(a, "%s%s%u", prefix, odd[rng_below(r, 6)], rng_below(r, 1000));
}

static inline void sample_relation(struct rng *r, struct arena *a, struct relation *rel)
{
        unsigned ncols = rng_below(r, 20) == 0 ? 1600 : rng_below(r, 9),
                 nkeys = ncols ? rng_below(r, ncols < 4 ? ncols + 1 : 4) : 0;
        struct column *cols = ARENA_ARRAY(a, struct column, ncols);
        uint16_t *keys = ARENA_ARRAY(a, uint16_t, nkeys);
        for (unsigned i = 0; i < ncols; i++) {
                cols[i].name = sample_name(r, a, "c");
                cols[i].type = rng_below(r, 2) ? "pg_catalog.text" : "pg_catalog.int4";
        }
        for (unsigned i = 0; i < nkeys;) { /* in any order, none twice */
                unsigned at = rng_below(r, ncols);
                if (cols[at].key)
                        continue;
                cols[at].key = true;
                keys[i++] = (uint16_t)at;
        }
        *rel = (struct relation){.schema = sample_name(r, a, "s"),
                                 .name = sample_name(r, a, "t"),
                                 .ncols = (uint16_t)ncols,
                                 .nkeys = (uint16_t)nkeys,
                                 .cols = cols,
                                 .keys = keys,
                                 .full = rng_below(r, 2)};
        if (rng_below(r, 3) == 0) {
                rel->leaf_schema = sample_name(r, a, "ls");
                rel->leaf_name = sample_name(r, a, "l");
        }
}

static inline void sample_value(struct rng *r, struct arena *a, bool unsent, struct value *v)
{
        static const uint32_t lens[] = {0, 1, 5, 31, 32, 33, 200, 4095, 4096, 5000};
        unsigned kind = rng_below(r, unsent ? 8 : 6);
        *v = (struct value){.kind = kind > 5 ? VALUE_UNSENT : kind == 5 ? VALUE_NULL : kind == 4 ? VALUE_BINARY : VALUE_TEXT};
        if (v->kind != VALUE_TEXT && v->kind != VALUE_BINARY)
                return;
        v->len = lens[rng_below(r, rng_below(r, 8) ? 4 : 10)];
        uint8_t *p = arena_alloc(a, v->len);
        for (uint32_t i = 0; i < v->len; i++)
                p[i] = (uint8_t)rng_next(r);
        v->data = p;
}

static inline const struct value *sample_row(struct rng *r, struct arena *a, const struct relation *rel, bool key_only)
{
        struct value *row = ARENA_ARRAY(a, struct value, rel->ncols);
        for (unsigned i = 0; i < rel->ncols; i++) {
                if (key_only && !rel->cols[i].key)
                        row[i].kind = VALUE_UNSENT;
                else
                        sample_value(r, a, !rel->full && !rel->cols[i].key, &row[i]);
        }
        return row;
}

static inline void sample_vector(struct rng *r, unsigned nregions, uint64_t hlc, struct vector *v)
{
        for (unsigned i = 1; i < nregions; i++)
                if (rng_below(r, 2))
                        v->at[i].v = rng_below(r, 10) ? hlc - rng_below(r, 100000) : rng_next(r);
}

static inline void sample_txs(struct rng *r, struct arena *a, unsigned nregions, struct group *g)
{
        g->ntxs = 1 + rng_below(r, 12);
        struct txn *txs = ARENA_ARRAY(a, struct txn, g->ntxs);
        struct vector *v = ARENA_NEW(a, struct vector);
        sample_vector(r, nregions, g->hlc.v, v);
        uint64_t lsn = rng_next(r) >> rng_below(r, 40), xid = rng_next(r) >> 20;
        for (uint32_t i = 0; i < g->ntxs; i++) {
                if (rng_below(r, 4) == 0) {
                        v = arena_copy(a, v, sizeof *v);
                        sample_vector(r, nregions, g->hlc.v, v);
                }
                lsn += rng_below(r, 5000);
                xid += rng_below(r, 7) - UINT64_C(2);
                txs[i] = (struct txn){.xid = {xid},
                                      .commit_lsn = {lsn},
                                      .end_lsn = {lsn + 48},
                                      .vec = v,
                                      .commit_us = (int64_t)g->hlc.v - rng_below(r, 3000)};
        }
        g->txs = txs;
}

/* A random group of up to max_changes changes, everything in *a. */
static inline void sample_group(struct rng *r, struct arena *a, unsigned nregions, unsigned max_changes, struct group *g)
{
        *g = (struct group){.hlc = {UINT64_C(1790000000000000) + rng_below(r, 1000000000)}, .last = true};
        sample_txs(r, a, nregions, g);
        g->nrels = 1 + rng_below(r, 5);
        struct relation *rels = ARENA_ARRAY(a, struct relation, g->nrels);
        for (uint32_t i = 0; i < g->nrels; i++)
                sample_relation(r, a, &rels[i]);
        g->nchanges = rng_below(r, max_changes + 1);
        struct change *changes = ARENA_ARRAY(a, struct change, g->nchanges);
        uint32_t tx = 0;
        for (uint32_t i = 0; i < g->nchanges; i++) {
                struct change *c = &changes[i];
                if (tx + 1 < g->ntxs && rng_below(r, 3) == 0)
                        tx += 1 + rng_below(r, g->ntxs - tx - 1);
                *c = (struct change){.op = (enum change_op)rng_below(r, 4), .rel = &rels[rng_below(r, g->nrels)], .tx = tx};
                if (c->op == CHANGE_INSERT || c->op == CHANGE_UPDATE)
                        c->row = sample_row(r, a, c->rel, false);
                if (c->op == CHANGE_DELETE || (c->op == CHANGE_UPDATE && rng_below(r, 2)))
                        c->old = sample_row(r, a, c->rel, !c->rel->full);
        }
        g->rels = rels;
        g->changes = changes;
}

/* Feeds *g to the encoder as capture does: transactions begun when their turn comes. */
static inline enum status sample_add(struct wire_group *w, const struct group *g, const struct regset *regs)
{
        uint32_t begun = 0;
        for (uint32_t i = 0; i <= g->nchanges; i++) {
                uint32_t upto = i < g->nchanges ? g->changes[i].tx + 1 : g->ntxs;
                for (; begun < upto; begun++) {
                        wire_group_begin_tx(w, &g->txs[begun], regs);
                        wire_group_end_tx(w, g->txs[begun].commit_lsn, g->txs[begun].end_lsn);
                }
                enum status st = i < g->nchanges ? wire_group_add(w, &g->changes[i]) : ST_OK;
                if (st != ST_OK)
                        return st;
        }
        return ST_OK;
}

/* ---- the first difference as text; NULL when equal --------------------------------------------------------------------------------- */
static inline bool differ(const char *a, const char *b)
{
        return (a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0);
}

static inline const char *relation_diff(const struct relation *a, const struct relation *b)
{
        if (differ(a->schema, b->schema) || differ(a->name, b->name) || differ(a->leaf_schema, b->leaf_schema) ||
            differ(a->leaf_name, b->leaf_name))
                return "relation name";
        if (a->ncols != b->ncols || a->nkeys != b->nkeys || a->full != b->full)
                return "relation shape";
        for (unsigned i = 0; i < a->nkeys; i++)
                if (a->keys[i] != b->keys[i])
                        return "key";
        for (unsigned i = 0; i < a->ncols; i++)
                if (differ(a->cols[i].name, b->cols[i].name) || differ(a->cols[i].type, b->cols[i].type) ||
                    a->cols[i].key != b->cols[i].key)
                        return "column";
        return NULL;
}

static inline const char *row_diff(const struct value *a, const struct value *b, unsigned n)
{
        if (!a || !b)
                return a == b ? NULL : "row missing";
        for (unsigned i = 0; i < n; i++) {
                if (a[i].kind != b[i].kind || a[i].len != b[i].len)
                        return "value kind or length";
                if (a[i].len && memcmp(a[i].data, b[i].data, a[i].len) != 0)
                        return "value bytes";
        }
        return NULL;
}

static inline const char *change_diff(const struct change *a, const struct change *b)
{
        if (a->op != b->op || a->tx != b->tx)
                return "operation or transaction";
        const char *d = relation_diff(a->rel, b->rel);
        d = d ? d : row_diff(a->row, b->row, a->rel->ncols);
        return d ? d : row_diff(a->old, b->old, a->rel->ncols);
}

static inline const char *txs_diff(const struct group *a, const struct group *b)
{
        if (a->ntxs != b->ntxs)
                return "number of transactions";
        for (uint32_t i = 0; i < a->ntxs; i++) {
                const struct txn *x = &a->txs[i], *y = &b->txs[i];
                if (x->xid.v != y->xid.v || x->commit_lsn.v != y->commit_lsn.v || x->end_lsn.v != y->end_lsn.v ||
                    x->commit_us != y->commit_us)
                        return "transaction";
                if (memcmp(x->vec, y->vec, sizeof *x->vec) != 0)
                        return "vector";
        }
        return NULL;
}

static inline const char *group_diff(const struct group *a, const struct group *b)
{
        if (a->hlc.v != b->hlc.v || a->chunk != b->chunk || a->last != b->last)
                return "hlc, chunk or last";
        const char *d = txs_diff(a, b);
        if (!d && a->nchanges != b->nchanges)
                d = "number of changes";
        for (uint32_t i = 0; !d && i < a->nchanges; i++)
                d = change_diff(&a->changes[i], &b->changes[i]);
        return d;
}

static inline struct regset sample_regions(unsigned n)
{
        struct regset s = {.n = 0};
        for (unsigned i = 0; i < n; i++) {
                char name[16];
                snprintf(name, sizeof name, "r%02u", i);
                regset_add(&s, name, strlen(name));
        }
        return s;
}

#endif
