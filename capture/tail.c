#include "capture/tail.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define FIRST_WINDOW 100
#define TX_WINDOW 20000            /* how far back a transaction is looked for, to recognise this database by its commit time */
#define PATIENCE_US (30 * 1000000) /* without any record although the log holds some */

void tail_scan_init(struct tail_scan *s, region_id me)
{
        memset(s, 0, sizeof *s);
        s->me = me;
}

static void accept_epoch(struct tail_scan *s, uint64_t epoch)
{
        /* one that lands late is ignored, but now we know that its number was not in force earlier */
        if (s->tail.found && epoch > s->tail.epoch)
                s->landed_after++;
        if (epoch > s->epoch)
                s->epoch = epoch;
}

static void accept_finished(struct tail_scan *s, uint64_t epoch, koffset_t at, lsn_t lsn, const struct vector *vec)
{
        s->tail.found = true;
        s->tail.epoch = epoch;
        s->tail.at = at;
        s->tail.lsn = lsn;
        s->tail.vec = *vec;
        s->tail.vec.at[s->me.i] = (hlc_t){0};
        s->landed_after = 0;
}

static void accept_group(struct tail_scan *s, uint64_t epoch, koffset_t at, const struct group *g)
{
        s->tail.hlc = hlc_max(s->tail.hlc, g->hlc);
        if (!g->last || g->ntxs == 0)
                return;
        const struct txn *tx = &g->txs[g->ntxs - 1];
        accept_finished(s, epoch, at, tx->end_lsn, tx->vec);
        s->tail.has_tx = true;
        s->tail.xid = tx->xid;
        s->tail.commit_us = tx->commit_us;
}

void tail_scan_record(struct tail_scan *s, const struct record *r, koffset_t at)
{
        uint64_t epoch = r->head.epoch;
        if (epoch > s->tail.max_epoch)
                s->tail.max_epoch = epoch;
        if (r->head.kind == RECORD_EPOCH) {
                accept_epoch(s, epoch);
                return;
        }
        if (epoch < s->epoch)
                return; /* a zombie's */
        s->epoch = epoch;
        switch (r->head.kind) {
        case RECORD_GROUP:
                s->tail.seq = r->head.seq;
                accept_group(s, epoch, at, &r->u.group);
                break;
        case RECORD_PROGRESS:
                s->tail.seq = r->head.seq;
                s->tail.hlc = hlc_max(s->tail.hlc, r->u.progress.vec.at[s->me.i]);
                accept_finished(s, epoch, at, r->u.progress.decoded, &r->u.progress.vec);
                break;
        case RECORD_EPOCH:
        case RECORD_MARKER: break;
        }
}

bool tail_scan_certain(const struct tail_scan *s, uint64_t counter)
{
        if (!s->tail.found)
                return false;
        return s->tail.epoch >= counter || s->landed_after >= counter - s->tail.epoch;
}

/* The next record before `end`; ST_OK with *got false at the end. */
static enum status next_before(const struct tail_reader *t, koffset_t end, struct kafka_msg *m, bool *got, struct err *e)
{
        int64_t until = clock_mono_us() + PATIENCE_US;
        for (;;) {
                enum status st = t->idle ? t->idle(t->ctx, e) : ST_OK;
                if (st != ST_OK)
                        return st;
                st = kafka_reader_next(t->reader, 200, m, e);
                if (st == ST_OK) {
                        *got = m->offset.v < end.v;
                        if (!*got)
                                kafka_msg_done(m);
                        return ST_OK;
                }
                /* log.retention took it meanwhile: judged anew from what is left */
                if (st == ST_DATA && strcmp(e->name, "offset_gone") == 0)
                        return err_set(e, ST_RETRY, "the own log became shorter while its end was read");
                if (st != ST_RETRY)
                        return err_wrap(e, "reading the end of the own log");
                if (clock_mono_us() > until)
                        return err_set(e, ST_RETRY, "the end of the own log cannot be read: nothing came from Kafka for %d s",
                                       PATIENCE_US / 1000000);
        }
}

static enum status scan_window(const struct tail_reader *t, koffset_t from, koffset_t end, struct tail_scan *scan, struct err *e)
{
        struct arena arena;
        tail_scan_init(scan, t->me);
        enum status st = kafka_reader_seek(t->reader, from, 10000, e);
        if (st != ST_OK)
                return err_wrap(e, "reading the end of the own log");
        arena_init(&arena);
        for (koffset_t at = from; at.v < end.v;) {
                struct kafka_msg m;
                struct record r;
                bool got = false;
                st = next_before(t, end, &m, &got, e);
                if (st != ST_OK || !got)
                        break;
                at.v = m.offset.v + 1;
                st = wire_decode_head(m.data, m.len, t->regs, &arena, &r, e);
                if (st == ST_OK)
                        tail_scan_record(scan, &r, m.offset);
                else
                        st = err_wrap(e, "own log, offset %lld", (long long)m.offset.v);
                kafka_msg_done(&m);
                arena_reset(&arena);
                if (st != ST_OK)
                        break;
        }
        arena_release(&arena);
        return st;
}

enum status tail_read(const struct tail_reader *t, koffset_t end, struct tail *out, struct err *e)
{
        memset(out, 0, sizeof *out);
        for (int64_t window = FIRST_WINDOW;; window *= 2) {
                struct tail_scan scan;
                koffset_t from = {end.v - window < t->low.v ? t->low.v : end.v - window};
                if (from.v >= end.v)
                        return ST_OK; /* nothing was ever published */
                enum status st = scan_window(t, from, end, &scan, e);
                if (st != ST_OK)
                        return st;
                bool behind_landed = t->landed.v >= from.v && scan.tail.found && scan.tail.at.v > t->landed.v;
                bool known = from.v == t->low.v || behind_landed || tail_scan_certain(&scan, t->counter);
                bool enough = scan.tail.has_tx || window >= TX_WINDOW || from.v == t->low.v;
                if (known && enough) {
                        *out = scan.tail;
                        return ST_OK;
                }
        }
}

enum status tail_record_at(const struct tail_reader *t, koffset_t at, struct arena *arena, uint8_t **copy, struct record *out,
                           struct err *e)
{
        struct kafka_msg m;
        bool got = false;
        *copy = NULL;
        enum status st = kafka_reader_seek(t->reader, at, 10000, e);
        if (st == ST_OK)
                st = next_before(t, (koffset_t){at.v + 1}, &m, &got, e);
        if (st != ST_OK)
                return st;
        if (!got)
                return err_set(e, ST_DATA, "own log: there is no record at offset %lld", (long long)at.v);
        size_t len = m.len;
        *copy = mem_alloc(len ? len : 1);
        memcpy(*copy, m.data, len);
        kafka_msg_done(&m);
        st = wire_decode_head(*copy, len, t->regs, arena, out, e);
        if (st != ST_OK) {
                free(*copy);
                *copy = NULL;
        }
        return st;
}
