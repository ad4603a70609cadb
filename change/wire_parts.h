/* wire_parts: what wire.c, wire_group.c and wire_change.c share: a reader that knows why it failed, the table of regions, vectors.  Not for others. */
#ifndef PANGEA_CHANGE_WIRE_PARTS_H
#define PANGEA_CHANGE_WIRE_PARTS_H

#include "base/rd.h"
#include "change/wire.h"

#define WIRE_HEAD_SIZE 36

/* ---- reading ----------------------------------------------------------------------------------------------------------------------- */
struct dec {
        struct rd r;
        const uint8_t *start;
        const char *why; /* the first thing that was wrong; NULL and r.bad: the bytes end too early */
};

static inline void dec_fail(struct dec *d, const char *why)
{
        if (!d->r.bad)
                d->why = why;
        d->r.bad = true;
}

static inline uint64_t dec_varint(struct dec *d)
{
        if (!d->r.bad && d->r.left && *d->r.p < 0x80) {
                d->r.left--;
                return *d->r.p++;
        }
        return rd_varint(&d->r);
}

/* A count of things that take at least `least` bytes each; 0 when so many cannot follow. */
static inline uint32_t dec_count(struct dec *d, size_t least, const char *why)
{
        uint64_t n = dec_varint(d);
        if (n > d->r.left / least || n > UINT32_MAX)
                dec_fail(d, why);
        return d->r.bad ? 0 : (uint32_t)n;
}

static inline uint64_t zigzag(uint64_t diff)
{
        return diff << 1 ^ (0 - (diff >> 63));
}

static inline uint64_t unzigzag(uint64_t z)
{
        return z >> 1 ^ (0 - (z & 1));
}

/* before + the difference that follows */
static inline uint64_t dec_diff(struct dec *d, uint64_t before)
{
        return before + unzigzag(dec_varint(d));
}

/* ST_OK, or what was wrong, at which byte; what = "record", "large change". */
MUSTCHECK enum status dec_status(const struct dec *d, const char *what, struct err *e);

/* ---- regions and vectors ----------------------------------------------------------------------------------------------------------- */
/* Place in the record's table -> the process's number. */
struct region_table {
        unsigned n;
        region_id at[MAX_REGIONS];
};

void wire_put_vector(struct buf *out, const struct vector *v, const struct vector *before, const struct region_table *t);
void wire_take_vector(struct dec *d, struct vector *v, const struct region_table *t); /* in: the vector before */
/* Bit per region that v names. */
uint32_t wire_vector_mask(const struct vector *v);

/* ---- relations and changes (wire_change.c) ------------------------------------------------------------------------------------------- */
size_t wire_relation_size(const struct relation *rel); /* upper bound */
void wire_put_relation(struct buf *out, const struct relation *rel);
void wire_take_relation(struct dec *d, struct arena *arena, struct relation *rel);

uint32_t wire_change_values(const struct change *c); /* how many it has when decoded */
size_t wire_change_size(const struct change *c);     /* upper bound */
/* Writes at p, where that many bytes are free; returns the end. rel: its number when it is not that of the change before; step: how many
 * transactions further. */
uint8_t *wire_write_change(uint8_t *p, const struct change *c, const uint32_t *rel, uint32_t step);

/* The values of all changes of a record are one array. */
struct value_pool {
        struct value *next;
        uint32_t left;
};
uint32_t wire_take_nvalues(struct dec *d);
struct value_pool wire_pool(struct arena *arena, uint32_t nvalues);

/* Where the reader of changes stands. */
struct change_at {
        const struct relation *rels;
        uint32_t nrels, ntxs;
        uint64_t rel;
        uint32_t tx;
};
void wire_take_change(struct dec *d, struct change_at *at, struct value_pool *pool, struct change *c);

/* ---- records ----------------------------------------------------------------------------------------------------------------------- */
/* Starts a record in *out; mask: the regions that its vectors name. */
MUSTCHECK enum status wire_begin(struct buf *out, const struct record_head *h, enum record_kind kind, uint32_t mask,
                                 const struct regset *regs, struct region_table *t, struct err *e);
MUSTCHECK enum status wire_end(struct buf *out, struct err *e);

/* Body of a GROUP (wire_group.c). */
void wire_take_group(struct dec *d, const struct region_table *t, bool head_only, struct arena *arena, struct group *g);

#endif
