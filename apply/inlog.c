#include "apply/inlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define REREAD_LIMIT_US INT64_C(60000000)
#define ASK_MS 1000
#define SEARCH_TURN 10000
#define QUEUE_ITEMS 20000

struct inlog {
        struct kafka_conf conf; /* but for its client_id borrowed from the topology */
        char client_id[160];
        char topic[256];
        region_id region;
        struct regset *regs;
        void (*note)(void *ctx, const struct log_item *i);
        void *note_ctx;
        struct kafka_reader *reader;
        struct arena arena;
        struct log_item *head, **tail;
        size_t bytes, max_bytes, items;
        struct log_position at; /* of the last accepted record */
        koffset_t stored;       /* the offset we began at: its record must be the one we remember */
        koffset_t read;
        bool copy, searching;
        koffset_t search_end; /* of the log itself: if it is not before it, it is nowhere */
        struct err misplaced; /* why it is searched: the named stop when it is not found */
        /* an unfinished chunked group */
        koffset_t big_first; /* -1: none */
        uint32_t big_next;
};

enum status inlog_open(struct inlog **out, const struct inlog_opts *o, struct err *e)
{
        struct inlog *l = MEM_NEW(struct inlog);
        l->conf = *o->conf;
        snprintf(l->client_id, sizeof l->client_id, "%s", o->conf->client_id);
        l->conf.client_id = l->client_id;
        snprintf(l->topic, sizeof l->topic, "%s", o->topic);
        l->region = o->region;
        l->regs = o->regs;
        l->note = o->note;
        l->note_ctx = o->note_ctx;
        l->at = o->from;
        l->stored = o->from.offset;
        l->copy = o->copy;
        l->read.v = -1;
        l->big_first.v = -1;
        l->max_bytes = o->max_bytes;
        l->tail = &l->head;
        arena_init(&l->arena);
        koffset_t from = o->from.offset.v < 0 ? KAFKA_FROM_START : o->from.offset;
        enum status s = kafka_reader_open(&l->reader, o->conf, o->topic, from, 16 * 1024, e);
        if (s != ST_OK) {
                inlog_close(l);
                return s;
        }
        if (o->wake_fd >= 0)
                kafka_reader_wake_fd(l->reader, o->wake_fd);
        *out = l;
        return ST_OK;
}

void log_item_free(struct log_item *i)
{
        if (!i)
                return;
        if (i->msg.handle)
                kafka_msg_done(&i->msg);
        free(i->txs);
        free(i->what);
        free(i->text);
        free(i);
}

void inlog_close(struct inlog *l)
{
        if (!l)
                return;
        while (l->head)
                log_item_free(inlog_take(l));
        if (l->reader)
                kafka_reader_close(l->reader);
        arena_release(&l->arena);
        free(l);
}

struct log_item *inlog_head(struct inlog *l)
{
        return l->head;
}

struct log_item *inlog_take(struct inlog *l)
{
        struct log_item *i = l->head;
        l->head = i->next;
        if (!l->head)
                l->tail = &l->head;
        l->bytes -= i->bytes;
        l->items--;
        i->next = NULL;
        return i;
}

static void enqueue(struct inlog *l, struct log_item *i)
{
        *l->tail = i;
        l->tail = &i->next;
        l->bytes += i->bytes;
        l->items++;
        if (l->note)
                l->note(l->note_ctx, i);
}

koffset_t inlog_read_offset(const struct inlog *l)
{
        return l->read;
}

koffset_t inlog_end_offset(struct inlog *l)
{
        return kafka_reader_cached_high(l->reader);
}

uint64_t inlog_epoch(const struct inlog *l)
{
        return l->at.epoch;
}

size_t inlog_queued(const struct inlog *l)
{
        return l->items;
}

size_t inlog_queued_bytes(const struct inlog *l)
{
        return l->bytes;
}

/* Is it the record that was applied last? */
static bool is_stored(const struct inlog *l, const struct record *r)
{
        bool group = r->head.kind == RECORD_GROUP;
        return r->head.epoch == l->at.epoch && r->head.seq == l->at.seq && (!group || r->u.group.hlc.v == l->at.hlc.v);
}

/* The record at the stored offset must be the one that was applied: anything else means another topic. */
static enum status check_stored(struct inlog *l, const struct record *r, koffset_t offset, struct err *e)
{
        if (offset.v == l->stored.v && is_stored(l, r))
                return ST_OK;
        return err_named(e, ST_DATA, "topic_recreated",
                         "topic %s: offset %" PRId64 " held epoch %" PRIu64 " seq %" PRIu64
                         " when it was applied, now offset %" PRId64 " holds epoch %" PRIu64 " seq %" PRIu64
                         ": the topic was recreated or its records were deleted; "
                         "all regions must be set up again together (pangea deinit in each, copy, pangea init in each)",
                         l->topic, l->stored.v, l->at.epoch, l->at.seq, offset.v, r->head.epoch, r->head.seq);
}

/* Looks through the topic from its start for the record that was applied last; why is told when it is not there. */
static enum status search(struct inlog *l, const struct err *why, struct err *e)
{
        koffset_t low;
        l->misplaced = *why;
        enum status s = kafka_reader_watermarks(l->reader, ASK_MS, &low, &l->search_end, e);
        if (s == ST_OK && low.v >= l->search_end.v && !l->copy) { /* nothing to look through */
                *e = l->misplaced;
                return e->code;
        }
        if (s == ST_OK)
                s = kafka_reader_seek(l->reader, KAFKA_FROM_START, ASK_MS, e);
        if (s != ST_OK)
                return s; /* asked again: the next call meets the same record */
        l->searching = true;
        log_event(LOG_INFO, "apply.searching", "topic=%s\tepoch=%" PRIu64 "\tseq=%" PRIu64 "\tstored_offset=%" PRId64 "\twhy=%s",
                  l->topic, l->at.epoch, l->at.seq, l->stored.v, why->msg);
        return ST_OK;
}

/* One record of a search. *take: it is the one. In a copy what has not come yet is waited for; behind it, it is not to be found. */
static enum status look(struct inlog *l, const struct record *r, koffset_t offset, bool *take, struct err *e)
{
        if (is_stored(l, r)) {
                log_event(LOG_WARN, "apply.repositioned",
                          "topic=%s\tepoch=%" PRIu64 "\tseq=%" PRIu64 "\tfrom=%" PRId64 "\tto=%" PRId64, l->topic, l->at.epoch,
                          l->at.seq, l->stored.v, offset.v);
                l->stored = offset;
                l->searching = false;
                *take = true;
                return ST_OK;
        }
        bool beyond = r->head.epoch >= l->at.epoch && r->head.seq > l->at.seq;
        if (!beyond && (l->copy || offset.v < l->search_end.v - 1))
                return ST_OK;
        *e = l->misplaced;
        return e->code;
}

const char *inlog_searches(const struct inlog *l)
{
        return l->searching && l->copy ? "this region's mirror of its log, which does not hold the last record applied here yet"
                                       : "";
}

static void fill_group(struct log_item *i, const struct record *r, region_id region, bool keep_txs)
{
        const struct group *g = &r->u.group;
        i->hlc = g->hlc;
        i->ntxs = g->ntxs;
        if (g->ntxs) {
                const struct txn *last = &g->txs[g->ntxs - 1];
                i->vec = *last->vec;
                i->vec_first = *g->txs[0].vec;
                i->first_commit = g->txs[0].commit_lsn;
                i->end_lsn = last->end_lsn;
        }
        i->vec.at[region.i] = g->hlc;
        i->vec_first.at[region.i] = g->hlc;
        if (!keep_txs)
                return;
        i->txs = mem_alloc(sizeof *i->txs * g->ntxs);
        for (uint32_t n = 0; n < g->ntxs; n++)
                i->txs[n] = (struct item_tx){.xid = (uint32_t)g->txs[n].xid.v, .commit_us = g->txs[n].commit_us};
}

/* A chunk of a group that spans records: remembered by its first offset until the last one is there. Returns false while unfinished. */
static bool gather_chunk(struct inlog *l, const struct group *g, koffset_t offset, struct log_item *i)
{
        if (g->chunk == 0) {
                l->big_first = offset;
                l->big_next = 0;
        }
        if (l->big_first.v < 0 || g->chunk != l->big_next) { /* we began in the middle of a group that a new epoch had voided */
                l->big_first.v = -1;
                return false;
        }
        l->big_next++;
        if (!g->last)
                return false;
        i->kind = ITEM_BIG;
        i->first_offset = l->big_first;
        l->big_first.v = -1;
        return true;
}

/* Fills *i from the record; false: nothing to tell yet. */
static bool fill_item(struct inlog *l, const struct record *r, struct log_item *i)
{
        switch (r->head.kind) {
        case RECORD_EPOCH:
                i->kind = ITEM_EPOCH;
                i->wall_us = r->u.epoch.wall_us;
                i->no_start = true;
                l->big_first.v = -1;
                break;
        case RECORD_MARKER:
                i->kind = ITEM_MARKER;
                i->no_start = true;
                i->what = mem_strdup(r->u.marker.what);
                i->text = mem_strdup(r->u.marker.text);
                break;
        case RECORD_PROGRESS:
                i->kind = ITEM_PROGRESS;
                i->no_start = l->big_first.v >= 0;
                i->vec = r->u.progress.vec;
                i->end_lsn = r->u.progress.decoded;
                i->xmin = r->u.progress.xmin;
                i->xmin_lsn = r->u.progress.xmin_lsn;
                i->wall_us = r->u.progress.wall_us;
                break;
        case RECORD_GROUP:
                i->kind = ITEM_GROUP;
                if (r->u.group.chunk == 0 && r->u.group.last)
                        l->big_first.v = -1;
                else if (!gather_chunk(l, &r->u.group, i->offset, i) && !i->replay)
                        return false;
                fill_group(i, r, l->region, l->note != NULL);
                break;
        }
        return true;
}

static void accept(struct inlog *l, struct kafka_msg *m, const struct record *r)
{
        struct log_item *i = MEM_NEW(struct log_item);
        *i = (struct log_item){.epoch = r->head.epoch,
                               .seq = r->head.seq,
                               .offset = m->offset,
                               .first_offset = m->offset,
                               .time_us = m->time_us,
                               .bytes = sizeof *i,
                               .replay = l->stored.v >= 0 && m->offset.v == l->stored.v};
        if (!fill_item(l, r, i)) {
                log_item_free(i);
                return;
        }
        if (i->kind == ITEM_GROUP && l->note && l->bytes >= l->max_bytes)
                i->kind = ITEM_BIG; /* read again when its turn comes */
        if (i->kind == ITEM_GROUP && !i->replay) {
                i->msg = *m;
                i->bytes += m->len;
                m->handle = NULL; /* taken */
        }
        enqueue(l, i);
}

static enum status in_sequence(struct inlog *l, const struct record_head *h, koffset_t offset, bool *take, struct err *e)
{
        if (h->seq <= l->at.seq)
                return ST_OK; /* delivered twice */
        if (h->seq != l->at.seq + 1)
                return err_named(
                        e, ST_DATA, "seq_gap",
                        "topic %s offset %" PRId64 ": seq %" PRIu64 " follows %" PRIu64 ": records are missing (retention, a "
                        "recreated topic, or a broker that lost acknowledged records); compare the regions with pangea verify, "
                        "then set this one up again from a copy",
                        l->topic, offset.v, h->seq, l->at.seq);
        l->at.seq = h->seq;
        *take = true;
        return ST_OK;
}

/* Fencing and sequence: DESIGN 5.1. */
static enum status judge(struct inlog *l, const struct record *r, koffset_t offset, bool *take, struct err *e)
{
        const struct record_head *h = &r->head;
        *take = false;
        if (h->region.i != l->region.i)
                return err_named(e, ST_DATA, "region_mismatch", "topic %s offset %" PRId64 ": the record is of region %s", l->topic,
                                 offset.v, regset_name(l->regs, h->region));
        if (l->searching)
                return look(l, r, offset, take, e);
        if (l->stored.v >= 0 && l->read.v < 0) {
                struct err why;
                enum status s = check_stored(l, r, offset, &why);
                *take = s == ST_OK;
                return s == ST_OK ? s : search(l, &why, e);
        }
        if (h->kind == RECORD_EPOCH) {
                if (h->epoch <= l->at.epoch)
                        return ST_OK;
                l->at.epoch = h->epoch;
                *take = true;
                return ST_OK;
        }
        if (h->epoch < l->at.epoch) {
                log_event(LOG_INFO, "apply.fenced", "topic=%s\toffset=%" PRId64 "\tepoch=%" PRIu64 "\tcurrent=%" PRIu64, l->topic,
                          offset.v, h->epoch, l->at.epoch);
                return ST_OK;
        }
        if (h->epoch > l->at.epoch)
                return err_named(e, ST_DATA, "seq_gap", "topic %s offset %" PRId64 ": epoch %" PRIu64 " without its EPOCH record",
                                 l->topic, offset.v, h->epoch);
        if (l->at.incarnation && h->incarnation != l->at.incarnation)
                return err_named(e, ST_DATA, "incarnation_changed",
                                 "topic %s offset %" PRId64 ": incarnation %u, this region knows %u: region %s was set up anew; "
                                 "set all regions up again together (pangea deinit in each, copy, pangea init in each)",
                                 l->topic, offset.v, h->incarnation, l->at.incarnation, regset_name(l->regs, l->region));
        if (h->kind == RECORD_MARKER) {
                *take = true;
                return ST_OK;
        }
        return in_sequence(l, h, offset, take, e);
}

/* What the decoder found wrong, with its place. */
static enum status corrupt(const struct inlog *l, koffset_t offset, struct err *e)
{
        char why[sizeof e->msg];
        snprintf(why, sizeof why, "%s", e->msg);
        bool newer = strcmp(e->name, "record_version") == 0;
        return err_named(e, ST_DATA, newer ? "record_version" : "record_corrupt", "topic %s offset %" PRId64 ": %.700s", l->topic,
                         offset.v, why);
}

static enum status one(struct inlog *l, struct kafka_msg *m, struct err *e)
{
        struct record r;
        bool take = false;
        arena_reset(&l->arena);
        enum status s = wire_decode_head(m->data, m->len, l->regs, &l->arena, &r, e);
        if (s != ST_OK)
                return corrupt(l, m->offset, e);
        s = judge(l, &r, m->offset, &take, e);
        if (s != ST_OK)
                return s;
        if (!l->searching && (take || l->stored.v < 0 || l->read.v >= 0))
                l->read = m->offset;
        if (take)
                accept(l, m, &r);
        return ST_OK;
}

enum status inlog_pump(struct inlog *l, struct err *e)
{
        bool any = false;
        for (int looked = 0; l->note || (l->bytes < l->max_bytes && l->items < QUEUE_ITEMS);) {
                if (l->searching && ++looked > SEARCH_TURN)
                        break; /* others have work to do meanwhile */
                struct kafka_msg m = {.handle = NULL};
                enum status s = kafka_reader_next(l->reader, 0, &m, e);
                if (s == ST_DATA && strcmp(e->name, "offset_gone") == 0 && l->stored.v >= 0 && l->read.v < 0 && !l->searching) {
                        struct err why = *e;
                        s = search(l, &why, e);
                        if (s == ST_OK)
                                continue;
                }
                if (s != ST_OK)
                        return s == ST_RETRY && any ? ST_OK : s;
                any = true;
                s = one(l, &m, e);
                if (m.handle)
                        kafka_msg_done(&m);
                if (s != ST_OK)
                        return s;
        }
        return any ? ST_OK : err_set(e, ST_RETRY, "queue full");
}

/* ---- a chunked group again ----------------------------------------------------------------------------------------------------- */

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
                return corrupt(l, offset, e);
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
                return corrupt(l, m->offset, e);
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

enum status inlog_reread(struct inlog *l, koffset_t first, koffset_t last, uint64_t epoch, inlog_chunk *cb, void *ctx,
                         struct err *e)
{
        struct kafka_reader *again = NULL;
        struct gather ga = {.cb = cb, .ctx = ctx, .epoch = epoch};
        struct arena arena;
        arena_init(&arena);
        buf_init(&ga.whole, (size_t)1 << 30);
        enum status s = kafka_reader_open(&again, &l->conf, l->topic, first, 4 * 1024, e);
        int64_t limit = clock_mono_us() + REREAD_LIMIT_US;
        while (s == ST_OK) {
                struct kafka_msg m = {.handle = NULL};
                s = kafka_reader_next(again, 100, &m, e);
                if (s == ST_RETRY && clock_mono_us() < limit) {
                        s = ST_OK;
                        continue;
                }
                if (s != ST_OK)
                        break;
                limit = clock_mono_us() + REREAD_LIMIT_US;
                koffset_t at = m.offset;
                s = chunk(l, &ga, &arena, &m, e);
                kafka_msg_done(&m);
                if (at.v >= last.v)
                        break;
        }
        if (again)
                kafka_reader_close(again);
        buf_release(&ga.whole);
        arena_release(&arena);
        return s;
}
