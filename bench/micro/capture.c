/* The capture agent's work on the stream: messages decoded; groups encoded; and all of it, from the message to the record. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/micro/micro.h"
#include "bench/micro/sample.h"

#define ROWS 500

/* ---- decode: a message of pgoutput -> a change ------------------------------------------------------------------------------- */

struct decoding {
        struct stream s;
        struct pgout_msg *msg;
        unsigned values;
};

static void decode_all(void *ctx)
{
        struct decoding *d = ctx;
        struct err e;
        d->values = 0;
        for (unsigned i = 0; i < d->s.count; i++) {
                micro_check(pgoutput_decode(d->s.bytes.data + d->s.at[i], d->s.at[i + 1] - d->s.at[i], d->msg, &e) == ST_OK,
                            "decode");
                d->values += d->msg->u.change.row.ncols + (unsigned)d->msg->u.change.old.ncols;
        }
}

static void decode_case(const char *name, enum sample_table table, void (*change)(struct stream *, enum sample_table, unsigned),
                        unsigned values)
{
        struct decoding d = {.msg = mem_zalloc(sizeof *d.msg)};
        stream_init(&d.s);
        for (unsigned i = 0; i < ROWS; i++)
                change(&d.s, table, i);
        micro(name, ROWS, decode_all, &d);
        micro_check(d.values == ROWS * values, name);
        stream_release(&d.s);
        free(d.msg);
}

void micro_decode(void)
{
        decode_case("decode/insert", NARROW, stream_insert, 4);
        decode_case("decode/delete", NARROW, stream_delete, 4);
        decode_case("decode/update_full", WHOLE, stream_update, 16);
        decode_case("decode/update_wide", WIDE, stream_update, 120);
}

/* ---- encode: a group -> a record --------------------------------------------------------------------------------------------- */

struct encoding {
        struct sample_group in;
        struct wire_group *w;
        struct buf out;
};

static void encode_group(void *ctx)
{
        struct encoding *n = ctx;
        const struct group *g = n->in.g;
        struct err e;
        uint32_t begun = 0;
        wire_group_reset(n->w);
        for (uint32_t i = 0; i < g->nchanges; i++) {
                for (; begun <= g->changes[i].tx; begun++) {
                        wire_group_begin_tx(n->w, &g->txs[begun], &n->in.regs);
                        wire_group_end_tx(n->w, g->txs[begun].commit_lsn, g->txs[begun].end_lsn);
                }
                micro_check(wire_group_add(n->w, &g->changes[i]) == ST_OK, "encode");
        }
        micro_check(wire_group_finish(n->w, &n->out, &n->in.decoded.head, g->hlc, 0, true, &n->in.regs, &e) == ST_OK, "encode");
}

static void encode_case(const char *name, enum sample_table table, enum sample_op op, unsigned ntxs, unsigned nrows)
{
        struct encoding n = {.w = wire_group_new(900000)};
        buf_init(&n.out, 0);
        sample_group(&n.in, table, op, ntxs, nrows, 0);
        micro(name, ntxs * nrows, encode_group, &n);
        micro_check(n.out.len == n.in.record.len && memcmp(n.out.data, n.in.record.data, n.out.len) == 0, name);
        sample_group_release(&n.in);
        buf_release(&n.out);
        wire_group_free(n.w);
}

void micro_encode(void)
{
        encode_case("encode/insert", NARROW, SAMPLE_INSERT, 1, ROWS);
        encode_case("encode/insert_single", NARROW, SAMPLE_INSERT, ROWS, 1);
        encode_case("encode/delete", NARROW, SAMPLE_DELETE, 1, ROWS);
        encode_case("encode/update_full", WHOLE, SAMPLE_UPDATE, 1, ROWS);
        encode_case("encode/update_wide", WIDE, SAMPLE_UPDATE, 1, ROWS / 10);
}

/* ---- capture: the stream -> records ------------------------------------------------------------------------------------------ */

struct reading {
        struct stream s;
        struct reader r;
};

static void read_all(void *ctx)
{
        struct reading *g = ctx;
        reader_read(&g->r, &g->s);
}

static void capture_case(const char *name, enum sample_table table, enum sample_op op, unsigned ntxs, unsigned nrows,
                         unsigned units)
{
        struct reading g;
        stream_init(&g.s);
        stream_load(&g.s, table, op, ntxs, nrows, 0);
        reader_init(&g.r);
        micro(name, units, read_all, &g);
        micro_check(g.r.groups.nrows == 2 * (uint64_t)ntxs * nrows && g.r.groups.ntxs == 2 * ntxs, name);
        reader_release(&g.r);
        stream_release(&g.s);
}

/* What eu committed and us applied: it comes back in the stream of us and moves only the vector. */
static void capture_applied(const char *name)
{
        struct reading g;
        stream_init(&g.s);
        for (unsigned i = 0; i < ROWS / 10; i++) {
                stream_begin(&g.s, i);
                stream_origin(&g.s, "pangea_shop_us_eu");
                for (unsigned n = 0; n < 10; n++)
                        stream_insert(&g.s, NARROW, 10 * i + n);
                stream_commit(&g.s, i);
        }
        reader_init(&g.r);
        micro(name, ROWS, read_all, &g);
        micro_check(g.r.records == 0 && g.r.tx.vec.at[0].v > 0, name);
        reader_release(&g.r);
        stream_release(&g.s);
}

void micro_capture(void)
{
        capture_case("capture/insert_single", NARROW, SAMPLE_INSERT, ROWS, 1, ROWS);
        capture_case("capture/insert_1000", NARROW, SAMPLE_INSERT, 1, ROWS, ROWS);
        capture_case("capture/update_full", WHOLE, SAMPLE_UPDATE, ROWS, 1, ROWS);
        capture_case("capture/update_wide", WIDE, SAMPLE_UPDATE, 1, ROWS / 10, ROWS / 10);
        capture_case("capture/one", NARROW, SAMPLE_INSERT, 1, 1, 1);
        capture_applied("capture/applied_here");
}
