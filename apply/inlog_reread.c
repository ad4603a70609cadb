/* A chunked group, or a range of the own log, read again from Kafka. */
#include "apply/inlog_parts.h"

#include "base/clock.h"

#define LIMIT_US INT64_C(60000000) /* without any record */
#define FORWARD 1000               /* records to skip are cheaper than beginning anew at another place */

struct gather {
        struct buf whole; /* fragments of one row */
        uint64_t epoch, newest, seq;
        inlog_chunk *cb;
        void *ctx;
};

static enum status fragment(struct inlog *l, struct gather *ga, struct arena *arena, koffset_t offset, const struct group *g,
                            struct err *e)
{
        struct change c;
        bool done = false;
        enum status s = wire_fragment_add(&ga->whole, g, &done, e);
        if (s == ST_OK && done)
                s = wire_decode_large(ga->whole.data, ga->whole.len, arena, &c, e);
        if (s != ST_OK)
                return inlog_corrupt(l, offset, e);
        if (!done)
                return ST_OK;
        struct group one_row = *g;
        one_row.frag = NULL;
        one_row.nchanges = 1;
        one_row.changes = &c;
        s = ga->cb(ga->ctx, &one_row, e);
        buf_release(&ga->whole); /* such a row is seldom: its memory is not kept */
        return s;
}

static enum status chunk(struct inlog *l, struct gather *ga, struct arena *arena, struct kafka_msg *m, struct err *e)
{
        struct record r;
        arena_reset(arena);
        enum status s = wire_decode(m->data, m->len, l->regs, arena, &r, e);
        if (s != ST_OK)
                return inlog_corrupt(l, m->offset, e);
        ga->newest = r.head.epoch > ga->newest ? r.head.epoch : ga->newest;
        if (r.head.kind != RECORD_GROUP || r.head.epoch != (ga->epoch ? ga->epoch : ga->newest))
                return ST_OK; /* PROGRESS between chunks, a zombie's record */
        if (r.head.seq <= ga->seq)
                return ST_OK; /* delivered twice */
        ga->seq = r.head.seq;
        if (r.u.group.frag)
                return fragment(l, ga, arena, m->offset, &r.u.group, e);
        return ga->cb(ga->ctx, &r.u.group, e);
}

/* The second reader is kept while there is a queue: what is too much for it is read again item by item, mostly in order, and a reader made for each
 * costs 30 ms: a region that was behind fell behind further. */
static enum status reader_at(struct inlog *l, koffset_t first, struct err *e)
{
        if (!l->again)
                return kafka_reader_open(&l->again, &l->conf, l->topic, first, 4 * 1024, e);
        if (l->again_at.v <= first.v && first.v - l->again_at.v <= FORWARD)
                return ST_OK;
        return kafka_reader_seek(l->again, first, 0, e);
}

void inlog_reread_end(struct inlog *l)
{
        if (l->again)
                kafka_reader_close(l->again);
        l->again = NULL;
}

enum status inlog_reread(struct inlog *l, koffset_t first, koffset_t last, uint64_t epoch, inlog_chunk *cb, void *ctx,
                         struct err *e)
{
        struct gather ga = {.cb = cb, .ctx = ctx, .epoch = epoch};
        struct arena arena;
        arena_init(&arena);
        buf_init(&ga.whole, (size_t)1 << 30);
        enum status s = reader_at(l, first, e);
        int64_t limit = clock_mono_us() + LIMIT_US;
        while (s == ST_OK) {
                struct kafka_msg m = {.handle = NULL};
                s = kafka_reader_next(l->again, 100, &m, e);
                if (s == ST_RETRY && clock_mono_us() < limit) {
                        s = ST_OK;
                        continue;
                }
                if (s != ST_OK)
                        break;
                limit = clock_mono_us() + LIMIT_US;
                koffset_t at = m.offset;
                l->again_at.v = at.v + 1;
                if (at.v >= first.v)
                        s = chunk(l, &ga, &arena, &m, e);
                kafka_msg_done(&m);
                if (at.v >= last.v)
                        break;
        }
        if (s != ST_OK)
                inlog_reread_end(l);
        buf_release(&ga.whole);
        arena_release(&arena);
        return s;
}
