#include "change/wire.h"

#include <isa-l/crc.h>
#include <limits.h>
#include <string.h>

#include "change/wire_parts.h"

#define MAGIC UINT32_C(0x50474541) /* "PGEA" */
enum { CRC_AT = 4, CRC_FROM = 8 };

/* ---- checksum ---------------------------------------------------------------------------------------------------------------------- */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
        uint32_t crc = UINT32_MAX;
        while (n > 0) { /* ISA-L counts in int, and does not say const */
                size_t part = n < INT_MAX / 2 ? n : INT_MAX / 2;
                crc = crc32_iscsi((unsigned char *)(uintptr_t)p, (int)part, crc);
                p += part;
                n -= part;
        }
        return ~crc;
}

void wire_seal(uint8_t *p, size_t n)
{
        if (n < CRC_FROM)
                return;
        uint32_t crc = crc32c(p + CRC_FROM, n - CRC_FROM);
        for (unsigned i = 0; i < 4; i++)
                p[CRC_AT + i] = (uint8_t)(crc >> (24 - 8 * i));
}

/* ---- regions and vectors ----------------------------------------------------------------------------------------------------------- */
uint32_t wire_vector_mask(const struct vector *v)
{
        uint32_t mask = 0;
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                mask |= (uint32_t)(v->at[i].v != 0) << i;
        return mask;
}

static void put_regions(struct buf *out, region_id own, uint32_t mask, const struct regset *regs, struct region_table *t)
{
        t->at[t->n++] = own;
        for (unsigned i = 0; i < regs->n; i++)
                if (mask & UINT32_C(1) << i && i != own.i)
                        t->at[t->n++] = (region_id){(uint8_t)i};
        buf_put_u8(out, (uint8_t)t->n);
        for (unsigned i = 0; i < t->n; i++) {
                const char *name = regs->name[t->at[i].i];
                buf_put_bytes(out, name, strlen(name)); /* shorter than 128: the varint is the one byte of the layout */
        }
}

static void take_regions(struct dec *d, struct regset *regs, struct region_table *t)
{
        uint32_t seen = 0;
        unsigned n = rd_u8(&d->r);
        if (n == 0 || n > MAX_REGIONS)
                dec_fail(d, "the number of regions is not 1 to 32");
        t->n = 0;
        while (!d->r.bad && t->n < n) {
                size_t len = rd_u8(&d->r);
                const uint8_t *name = rd_take(&d->r, len);
                if (!name)
                        return;
                region_id id = regset_add(regs, (const char *)name, len);
                if (id.i == REGION_NONE.i) {
                        dec_fail(d, "a region name is empty or too long, or this is the 33rd region");
                } else if (seen & UINT32_C(1) << id.i) {
                        dec_fail(d, "a region stands twice in the table of regions");
                } else {
                        seen |= UINT32_C(1) << id.i;
                        t->at[t->n++] = id;
                }
        }
}

void wire_put_vector(struct buf *out, const struct vector *v, const struct vector *before, const struct region_table *t)
{
        unsigned n = 0;
        for (unsigned i = 0; i < t->n; i++)
                n += v->at[t->at[i].i].v != before->at[t->at[i].i].v;
        buf_put_varint(out, n);
        for (unsigned i = 0; i < t->n; i++) {
                uint64_t diff = v->at[t->at[i].i].v - before->at[t->at[i].i].v;
                if (diff) {
                        buf_put_u8(out, (uint8_t)i);
                        buf_put_varint(out, zigzag(diff));
                }
        }
}

void wire_take_vector(struct dec *d, struct vector *v, const struct region_table *t)
{
        uint32_t n = dec_count(d, 2, "a vector is longer than the record");
        for (unsigned next = 0; n > 0 && !d->r.bad; n--) {
                unsigned i = rd_u8(&d->r);
                if (i < next || i >= t->n) {
                        dec_fail(d, "a vector names regions out of order, or one that is not in the table");
                        return;
                }
                next = i + 1;
                hlc_t *at = &v->at[t->at[i].i];
                at->v = dec_diff(d, at->v);
        }
}

/* ---- what every record begins and ends with ---------------------------------------------------------------------------------------- */
enum status wire_begin(struct buf *out, const struct record_head *h, enum record_kind kind, uint32_t mask,
                       const struct regset *regs, struct region_table *t, struct err *e)
{
        t->n = 0;
        if (h->region.i >= regs->n || (regs->n < MAX_REGIONS && mask >> regs->n))
                return err_set(e, ST_FATAL, "log record: a region number that has no name");
        buf_reset(out);
        buf_put_u32(out, MAGIC);
        buf_put_u32(out, 0); /* CRC: wire_end */
        buf_put_u8(out, WIRE_VERSION);
        buf_put_u8(out, (uint8_t)kind);
        buf_put_u16(out, 0);
        buf_put_u64(out, h->epoch);
        buf_put_u64(out, h->seq);
        buf_put_u32(out, h->incarnation);
        buf_put_u32(out, h->generation);
        put_regions(out, h->region, mask, regs, t);
        return ST_OK;
}

enum status wire_end(struct buf *out, struct err *e)
{
        if (out->full)
                return err_set(e, ST_DATA, "log record: larger than the %zu bytes that one may have", out->max);
        wire_seal(out->data, out->len);
        return ST_OK;
}

/* Everything that can be said without reading the body: is this one of ours, whole, and of a version and kind that we know? */
static enum status check_frame(const uint8_t *p, size_t n, struct err *e)
{
        struct rd r = rd_init(p, n);
        uint32_t magic = rd_u32(&r), crc = rd_u32(&r);
        if (n < WIRE_HEAD_SIZE || magic != MAGIC)
                return err_named(
                        e, ST_DATA, "record_damaged",
                        "log record: these %zu bytes do not begin as a record does; is this topic written by pangea alone?", n);
        uint32_t is = crc32c(p + CRC_FROM, n - CRC_FROM);
        if (crc != is)
                return err_named(e, ST_DATA, "record_damaged",
                                 "log record: the CRC over %zu bytes is %08" PRIx32 ", the record says %08" PRIx32
                                 ": its bytes were changed in Kafka or on the way",
                                 n, is, crc);
        uint8_t version = rd_u8(&r), kind = rd_u8(&r);
        uint16_t flags = rd_u16(&r);
        if (version != WIRE_VERSION)
                return err_named(e, ST_DATA, "record_version",
                                 "log record: byte 8: it is of version %u, this program reads version %u: upgrade this region",
                                 version, WIRE_VERSION);
        if (kind < RECORD_EPOCH || kind > RECORD_MARKER || flags)
                return err_named(e, ST_DATA, "record_version",
                                 "log record: byte %u: kind %u with flags %04x is unknown to this program: upgrade this region",
                                 flags ? 10u : 9u, kind, flags);
        return ST_OK;
}

enum status dec_status(const struct dec *d, const char *what, struct err *e)
{
        if (d->r.bad)
                return err_named(e, ST_DATA, "record_damaged", "log %s: byte %zu: %s", what, (size_t)(d->r.p - d->start),
                                 d->why ? d->why : "it ends too early, or a number in it is too large");
        if (d->r.left)
                return err_named(e, ST_DATA, "record_damaged", "log %s: byte %zu: %zu bytes are left over at the end", what,
                                 (size_t)(d->r.p - d->start), d->r.left);
        return ST_OK;
}

/* ---- EPOCH ------------------------------------------------------------------------------------------------------------------------- */
static void put_string(struct buf *out, const char *s)
{
        buf_put(out, s, strlen(s) + 1);
}

enum status wire_encode_epoch(struct buf *out, const struct record_head *h, const struct record_epoch *r, const struct regset *regs,
                              struct err *e)
{
        struct region_table t;
        enum status st = wire_begin(out, h, RECORD_EPOCH, 0, regs, &t, e);
        if (st != ST_OK)
                return st;
        buf_put_u8(out, r->writes);
        buf_put_u8(out, r->reads_min);
        buf_put_u8(out, r->reads_max);
        put_string(out, r->system_id);
        buf_put_u32(out, r->timeline);
        put_string(out, r->database);
        put_string(out, r->slot);
        buf_put_u64(out, (uint64_t)r->wall_us);
        return wire_end(out, e);
}

static void take_epoch(struct dec *d, struct record_epoch *r)
{
        r->writes = rd_u8(&d->r);
        r->reads_min = rd_u8(&d->r);
        r->reads_max = rd_u8(&d->r);
        r->system_id = rd_cstr(&d->r);
        r->timeline = rd_u32(&d->r);
        r->database = rd_cstr(&d->r);
        r->slot = rd_cstr(&d->r);
        r->wall_us = (int64_t)rd_u64(&d->r);
}

/* ---- PROGRESS ---------------------------------------------------------------------------------------------------------------------- */
enum status wire_encode_progress(struct buf *out, const struct record_head *h, const struct record_progress *r,
                                 const struct regset *regs, struct err *e)
{
        static const struct vector zero;
        struct region_table t;
        enum status st = wire_begin(out, h, RECORD_PROGRESS, wire_vector_mask(&r->vec), regs, &t, e);
        if (st != ST_OK)
                return st;
        wire_put_vector(out, &r->vec, &zero, &t);
        buf_put_u64(out, r->decoded.v);
        buf_put_u64(out, r->xmin.v);
        buf_put_u64(out, r->xmin_lsn.v);
        buf_put_u64(out, (uint64_t)r->wall_us);
        return wire_end(out, e);
}

static void take_progress(struct dec *d, const struct region_table *t, struct record_progress *r)
{
        wire_take_vector(d, &r->vec, t);
        r->decoded.v = rd_u64(&d->r);
        r->xmin.v = rd_u64(&d->r);
        r->xmin_lsn.v = rd_u64(&d->r);
        r->wall_us = (int64_t)rd_u64(&d->r);
}

/* ---- MARKER ------------------------------------------------------------------------------------------------------------------------ */
enum status wire_encode_marker(struct buf *out, const struct record_head *h, const struct record_marker *r,
                               const struct regset *regs, struct err *e)
{
        struct region_table t;
        enum status st = wire_begin(out, h, RECORD_MARKER, 0, regs, &t, e);
        if (st != ST_OK)
                return st;
        put_string(out, r->what);
        put_string(out, r->text);
        return wire_end(out, e);
}

static void take_marker(struct dec *d, struct record_marker *r)
{
        r->what = rd_cstr(&d->r);
        r->text = rd_cstr(&d->r);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------------------------- */
static void take_record(struct dec *d, struct regset *regs, bool head_only, struct arena *arena, struct record *out)
{
        struct region_table t;
        rd_take(&d->r, CRC_FROM + 1); /* seen by check_frame */
        out->head.kind = (enum record_kind)rd_u8(&d->r);
        rd_u16(&d->r);
        out->head.epoch = rd_u64(&d->r);
        out->head.seq = rd_u64(&d->r);
        out->head.incarnation = rd_u32(&d->r);
        out->head.generation = rd_u32(&d->r);
        take_regions(d, regs, &t);
        if (d->r.bad)
                return;
        out->head.region = t.at[0];
        switch (out->head.kind) {
        case RECORD_EPOCH: take_epoch(d, &out->u.epoch); return;
        case RECORD_GROUP: wire_take_group(d, &t, head_only, arena, &out->u.group); return;
        case RECORD_PROGRESS: take_progress(d, &t, &out->u.progress); return;
        case RECORD_MARKER: take_marker(d, &out->u.marker); return;
        }
}

static enum status decode(const uint8_t *p, size_t n, struct regset *regs, bool head_only, struct arena *arena, struct record *out,
                          struct err *e)
{
        unsigned known = regs->n;
        memset(out, 0, sizeof *out);
        enum status st = check_frame(p, n, e);
        if (st != ST_OK)
                return st;
        struct dec d = {.r = rd_init(p, n), .start = p};
        take_record(&d, regs, head_only, arena, out);
        st = dec_status(&d, "record", e);
        if (st != ST_OK) {
                memset(out, 0, sizeof *out);
                regs->n = known;
        }
        return st;
}

enum status wire_decode(const uint8_t *p, size_t n, struct regset *regs, struct arena *arena, struct record *out, struct err *e)
{
        return decode(p, n, regs, false, arena, out, e);
}

enum status wire_decode_head(const uint8_t *p, size_t n, struct regset *regs, struct arena *arena, struct record *out,
                             struct err *e)
{
        return decode(p, n, regs, true, arena, out, e);
}
