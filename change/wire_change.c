/* Relations and row changes inside a GROUP, and changes larger than a record; the layout is drawn in wire.h. */
#include <assert.h>
#include <string.h>

#include "change/wire_parts.h"

enum { REL_LEAF = 1, REL_FULL = 2, REL_FLAGS = 3 };
enum { CHANGE_OP = 3, CHANGE_OLD = 4, CHANGE_OLD_KEY = 8, CHANGE_REL = 16, CHANGE_TX = 32, CHANGE_FLAGS = 63 };
_Static_assert(VALUE_NULL == 0 && VALUE_TEXT == 1 && VALUE_BINARY == 2 && VALUE_UNSENT == 3, "these numbers are in the log");
_Static_assert(CHANGE_INSERT == 0 && CHANGE_UPDATE == 1 && CHANGE_DELETE == 2 && CHANGE_TRUNCATE == 3, "and these");

/* Upper bounds: what a change has before its rows; what a value has before its bytes. */
enum { CHANGE_BYTES = 16, VALUE_BYTES = 5 };

/* ---- relations --------------------------------------------------------------------------------------------------------------------- */
size_t wire_relation_size(const struct relation *rel)
{
        size_t n = 16 + strlen(rel->schema) + strlen(rel->name) + 3 * (size_t)rel->nkeys;
        if (rel->leaf_name)
                n += 2 + strlen(rel->leaf_schema) + strlen(rel->leaf_name);
        for (unsigned i = 0; i < rel->ncols; i++)
                n += 2 + strlen(rel->cols[i].name) + strlen(rel->cols[i].type);
        return n;
}

static void put_string(struct buf *out, const char *s)
{
        buf_put(out, s, strlen(s) + 1);
}

void wire_put_relation(struct buf *out, const struct relation *rel)
{
        buf_put_u8(out, (uint8_t)((rel->leaf_name ? REL_LEAF : 0) | (rel->full ? REL_FULL : 0)));
        put_string(out, rel->schema);
        put_string(out, rel->name);
        if (rel->leaf_name) {
                put_string(out, rel->leaf_schema);
                put_string(out, rel->leaf_name);
        }
        buf_put_varint(out, rel->ncols);
        buf_put_varint(out, rel->nkeys);
        for (unsigned i = 0; i < rel->nkeys; i++)
                buf_put_varint(out, rel->keys[i]);
        for (unsigned i = 0; i < rel->ncols; i++) {
                put_string(out, rel->cols[i].name);
                put_string(out, rel->cols[i].type);
        }
}

static void take_columns(struct dec *d, struct arena *arena, struct relation *rel)
{
        uint32_t ncols = dec_count(d, 2, "more columns than the record has room for");
        uint32_t nkeys = dec_count(d, 1, "more key columns than the record has room for");
        if (ncols > UINT16_MAX || nkeys > ncols)
                dec_fail(d, "too many columns or key columns");
        if (d->r.bad)
                return;
        struct column *cols = ARENA_ARRAY(arena, struct column, ncols);
        uint16_t *keys = ARENA_ARRAY(arena, uint16_t, nkeys);
        for (uint32_t i = 0; i < nkeys; i++) {
                uint64_t at = dec_varint(d);
                if (d->r.bad || at >= ncols || cols[at].key) {
                        dec_fail(d, "a key column that is not there, or twice the same");
                        return;
                }
                keys[i] = (uint16_t)at;
                cols[at].key = true;
        }
        for (uint32_t i = 0; i < ncols; i++) {
                cols[i].name = rd_cstr(&d->r);
                cols[i].type = rd_cstr(&d->r);
        }
        rel->ncols = (uint16_t)ncols;
        rel->nkeys = (uint16_t)nkeys;
        rel->cols = cols;
        rel->keys = keys;
}

void wire_take_relation(struct dec *d, struct arena *arena, struct relation *rel)
{
        uint8_t flags = rd_u8(&d->r);
        if (flags & ~REL_FLAGS)
                dec_fail(d, "unknown flags of a relation");
        rel->full = flags & REL_FULL;
        rel->schema = rd_cstr(&d->r);
        rel->name = rd_cstr(&d->r);
        if (flags & REL_LEAF) {
                rel->leaf_schema = rd_cstr(&d->r);
                rel->leaf_name = rd_cstr(&d->r);
        }
        take_columns(d, arena, rel);
}

/* ---- rows -------------------------------------------------------------------------------------------------------------------------- */
static inline uint8_t *write_varint(uint8_t *p, uint64_t v)
{
        while (v >= 0x80) {
                *p++ = (uint8_t)(v | 0x80);
                v >>= 7;
        }
        *p++ = (uint8_t)v;
        return p;
}

static size_t row_size(const struct value *row, unsigned n)
{
        size_t size = (size_t)n * VALUE_BYTES;
        for (unsigned i = 0; row && i < n; i++)
                size += row[i].len;
        return row ? size : 0;
}

static inline uint8_t *write_value(uint8_t *p, const struct value *v)
{
        uint64_t len = v->kind == VALUE_TEXT || v->kind == VALUE_BINARY ? v->len : 0;
        p = write_varint(p, len << 2 | v->kind);
        if (len)
                memcpy(p, v->data, len);
        return p + len;
}

/* Are the key columns all that the old row holds? */
static bool only_key(const struct relation *rel, const struct value *old)
{
        if (rel->full)
                return false;
        for (unsigned i = 0; i < rel->ncols; i++)
                if (old[i].kind != VALUE_UNSENT && !rel->cols[i].key)
                        return false;
        return true;
}

static uint8_t *write_rows(uint8_t *p, const struct change *c, bool old_key)
{
        const struct relation *rel = c->rel;
        for (unsigned i = 0; c->row && i < rel->ncols; i++)
                p = write_value(p, &c->row[i]);
        if (old_key) {
                for (unsigned i = 0; i < rel->nkeys; i++)
                        p = write_value(p, &c->old[rel->keys[i]]);
        } else if (c->old) {
                for (unsigned i = 0; i < rel->ncols; i++)
                        p = write_value(p, &c->old[i]);
        }
        return p;
}

/* An operation has the rows that change.h says; a decoder refuses anything else. */
static bool rows_fit(enum change_op op, bool row, bool old)
{
        switch (op) {
        case CHANGE_INSERT: return row && !old;
        case CHANGE_UPDATE: return row;
        case CHANGE_DELETE: return !row && old;
        case CHANGE_TRUNCATE: return !row && !old;
        }
        return false;
}

/* n values from *r; false when they are not there. */
static bool take_values(struct rd *r, struct value *v, unsigned n)
{
        for (; n > 0; n--, v++) {
                uint64_t head;
                if (r->left && *r->p < 0x80) {
                        head = *r->p++;
                        r->left--;
                } else {
                        head = rd_varint(r);
                }
                uint64_t len = head >> 2;
                v->kind = (enum value_kind)(head & 3);
                if (r->bad || len > r->left || len > UINT32_MAX)
                        return false;
                if (v->kind == VALUE_NULL || v->kind == VALUE_UNSENT) {
                        if (len)
                                return false;
                        continue; /* len and data are 0: the arena's memory is */
                }
                v->len = (uint32_t)len;
                v->data = r->p;
                r->p += len;
                r->left -= (size_t)len;
        }
        return true;
}

static bool take_key_values(struct rd *r, const struct relation *rel, struct value *row)
{
        for (unsigned i = 0; i < rel->ncols; i++)
                row[i].kind = VALUE_UNSENT;
        for (unsigned i = 0; i < rel->nkeys; i++)
                if (!take_values(r, &row[rel->keys[i]], 1))
                        return false;
        return true;
}

/* ---- changes ----------------------------------------------------------------------------------------------------------------------- */
uint32_t wire_change_values(const struct change *c)
{
        return (c->row ? c->rel->ncols : 0u) + (c->old ? c->rel->ncols : 0u);
}

size_t wire_change_size(const struct change *c)
{
        return CHANGE_BYTES + row_size(c->row, c->rel->ncols) + row_size(c->old, c->rel->ncols);
}

uint8_t *wire_write_change(uint8_t *p, const struct change *c, const uint32_t *rel, uint32_t step)
{
        assert(rows_fit(c->op, c->row, c->old));
        bool old_key = c->old && only_key(c->rel, c->old);
        *p++ = (uint8_t)((unsigned)c->op | (c->old ? CHANGE_OLD : 0) | (old_key ? CHANGE_OLD_KEY : 0) | (rel ? CHANGE_REL : 0) |
                         (step ? CHANGE_TX : 0));
        if (rel)
                p = write_varint(p, *rel);
        if (step)
                p = write_varint(p, step);
        return write_rows(p, c, old_key);
}

static struct value *pool_row(struct dec *d, struct value_pool *pool, uint32_t n)
{
        if (n > pool->left) {
                dec_fail(d, "more values than announced");
                return NULL;
        }
        struct value *row = pool->next;
        pool->next += n;
        pool->left -= n;
        return row;
}

/* The rows of *c, whose op and rel are set. */
static void take_rows(struct dec *d, uint8_t flags, struct value_pool *pool, struct change *c)
{
        bool has_row = c->op == CHANGE_INSERT || c->op == CHANGE_UPDATE, ok = true;
        if (!rows_fit(c->op, has_row, flags & CHANGE_OLD) || (flags & CHANGE_OLD_KEY && !(flags & CHANGE_OLD))) {
                dec_fail(d, "an operation with an old row that it cannot have, or without one that it must have");
                return;
        }
        if (has_row) {
                struct value *row = pool_row(d, pool, c->rel->ncols);
                ok = row && take_values(&d->r, row, c->rel->ncols);
                c->row = row;
        }
        if (ok && flags & CHANGE_OLD) {
                struct value *old = pool_row(d, pool, c->rel->ncols);
                ok = old && (flags & CHANGE_OLD_KEY ? take_key_values(&d->r, c->rel, old) : take_values(&d->r, old, c->rel->ncols));
                c->old = old;
        }
        if (!ok)
                dec_fail(d, "a value that is longer than the record, or NULL and not empty");
}

void wire_take_change(struct dec *d, struct change_at *at, struct value_pool *pool, struct change *c)
{
        uint8_t flags = rd_u8(&d->r);
        if (flags & ~CHANGE_FLAGS)
                dec_fail(d, "unknown flags of a change");
        if (flags & CHANGE_REL)
                at->rel = dec_varint(d);
        uint64_t step = flags & CHANGE_TX ? dec_varint(d) : 0;
        if (at->rel >= at->nrels || at->tx >= at->ntxs || step >= at->ntxs - at->tx)
                dec_fail(d, "a change of a relation or transaction that is not in the record");
        if (d->r.bad)
                return;
        at->tx += (uint32_t)step;
        *c = (struct change){.op = (enum change_op)(flags & CHANGE_OP), .rel = &at->rels[at->rel], .tx = at->tx};
        take_rows(d, flags, pool, c);
}

uint32_t wire_take_nvalues(struct dec *d)
{
        uint64_t n = dec_varint(d);
        if (n > WIRE_VALUES_MAX)
                dec_fail(d, "more values than a record may have");
        return d->r.bad ? 0 : (uint32_t)n;
}

struct value_pool wire_pool(struct arena *arena, uint32_t nvalues)
{
        return (struct value_pool){.next = ARENA_ARRAY(arena, struct value, nvalues), .left = nvalues};
}

/* ---- a change larger than a record ------------------------------------------------------------------------------------------------- */
enum status wire_group_encode_large(struct wire_group *g, const struct change *c, struct buf *whole, struct err *e)
{
        (void)g;
        size_t most = wire_change_size(c);
        buf_reset(whole);
        buf_put_varint(whole, wire_change_values(c));
        wire_put_relation(whole, c->rel);
        uint8_t *start = buf_reserve(whole, most);
        if (!start)
                return err_set(e, ST_DATA, "%s.%s: a change of %zu bytes is larger than the %zu bytes that one may have",
                               c->rel->schema, c->rel->name, most, whole->max);
        whole->len += (size_t)(wire_write_change(start, c, NULL, 0) - start);
        return ST_OK;
}

enum status wire_fragment_add(struct buf *whole, const struct group *piece, bool *done, struct err *e)
{
        *done = false;
        if (piece->frag_at == 0)
                buf_reset(whole);
        if (!piece->frag || piece->frag_at != whole->len)
                return err_named(e, ST_DATA, "record_damaged",
                                 "log record: a fragment for byte %" PRIu64 " of a change comes where byte %zu is due",
                                 piece->frag_at, whole->len);
        if (piece->frag_total > whole->max)
                return err_set(e, ST_DATA,
                               "log record: a change of %" PRIu64 " bytes is larger than the %zu bytes that one may have",
                               piece->frag_total, whole->max);
        buf_put(whole, piece->frag, piece->frag_len);
        *done = whole->len == piece->frag_total;
        return ST_OK;
}

enum status wire_decode_large(const uint8_t *p, size_t n, struct arena *arena, struct change *out, struct err *e)
{
        struct dec d = {.r = rd_init(p, n), .start = p};
        memset(out, 0, sizeof *out);
        uint32_t nvalues = wire_take_nvalues(&d);
        struct relation *rel = ARENA_NEW(arena, struct relation);
        wire_take_relation(&d, arena, rel);
        if (!d.r.bad) {
                struct value_pool pool = wire_pool(arena, nvalues);
                struct change_at at = {.rels = rel, .nrels = 1, .ntxs = 1};
                wire_take_change(&d, &at, &pool, out);
                if (pool.left)
                        dec_fail(&d, "fewer values than announced");
        }
        enum status st = dec_status(&d, "large change", e);
        if (st != ST_OK)
                memset(out, 0, sizeof *out);
        return st;
}
