#include "apply/inlog_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define SEARCH_TURN 10000
#define QUEUE_ITEMS 20000

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
        enum status s = kafka_reader_open(&l->reader, o->conf, o->topic, from, 8 * 1024, e);
        if (s != ST_OK) {
                inlog_close(l);
                return s;
        }
        if (o->note) /* the own log: also read inside a transaction (own_catch_up) */
                kafka_reader_asks_nobody(l->reader);
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
        inlog_reread_end(l);
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
        if (!l->head) {
                l->tail = &l->head;
                inlog_reread_end(l);
        }
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
        return kafka_reader_end(l->reader);
}

uint64_t inlog_epoch(const struct inlog *l)
{
        return l->at.epoch;
}

size_t inlog_queued(const struct inlog *l)
{
        return l->items;
}

static void count_bytes(struct inlog *l, size_t len)
{
        l->read_bytes += len;
        l->sizes[l->nsizes++ % INLOG_SIZES] = len;
}

/* A mean of the records read last, the newest ones when only those wait: heartbeats from before a backlog say nothing about it. */
static double mean_size(const struct inlog *l, uint64_t waiting)
{
        uint64_t n = l->nsizes < INLOG_SIZES ? l->nsizes : INLOG_SIZES, sum = 0;
        if (waiting >= INLOG_SIZES / 8 && waiting < n)
                n = waiting;
        for (uint64_t i = 1; i <= n; i++)
                sum += l->sizes[(l->nsizes - i) % INLOG_SIZES];
        return n ? (double)sum / (double)n : -1;
}

/* The first item that waits; what is read again for its vector only does not. */
static const struct log_item *first_waiting(const struct inlog *l)
{
        return l->head && l->head->replay ? l->head->next : l->head;
}

int64_t inlog_behind(const struct inlog *l, koffset_t end)
{
        const struct log_item *i = first_waiting(l);
        koffset_t read = l->read.v >= 0 ? l->read : l->stored, first = i ? i->first_offset : l->big_first;
        if (end.v < 0 || l->searching)
                return -1;
        int64_t n = end.v - (l->read.v >= 0 && first.v >= 0 ? first.v : read.v + 1);
        return n > 0 ? n : 0;
}

int64_t inlog_behind_bytes(const struct inlog *l, koffset_t end)
{
        int64_t records = inlog_behind(l, end), unread = end.v - 1 - (l->read.v >= 0 ? l->read.v : l->stored.v);
        if (records <= 0)
                return records;
        const struct log_item *i = first_waiting(l);
        uint64_t from = i ? i->log_from : l->big_first.v >= 0 ? l->big_from : l->read_bytes;
        double waiting = (double)(l->read_bytes - from);
        if (unread <= 0)
                return (int64_t)waiting;
        double mean = mean_size(l, records > unread ? (uint64_t)(records - unread) : 0);
        return mean < 0 ? -1 : (int64_t)(waiting + mean * (double)unread);
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
                l->big_from = i->log_from;
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
        i->log_from = l->big_from;
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

/* Of PROGRESS records that wait one behind the other the last says it all. Without this the own log of a region that is far behind with its
 * processing would be held in memory, some hundreds of bytes a record: every look into the own log makes one. */
static bool absorbed(struct inlog *l, const struct log_item *i)
{
        struct log_item *last = l->head ? (struct log_item *)(void *)l->tail : NULL; /* next is its first member */
        if (!l->note || !last || last->kind != ITEM_PROGRESS || i->kind != ITEM_PROGRESS || last->replay || i->replay ||
            last->no_start != i->no_start || last->epoch != i->epoch)
                return false;
        l->note(l->note_ctx, i);
        *last = *i;
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
                               .log_from = l->read_bytes - m->len,
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
        if (absorbed(l, i))
                log_item_free(i);
        else
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
                        "then set all of them up again together",
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
                return inlog_look(l, r, offset, take, e);
        if (l->stored.v >= 0 && l->read.v < 0) {
                struct err why;
                enum status s = inlog_check_stored(l, r, offset, &why);
                *take = s == ST_OK;
                return s == ST_OK ? s : inlog_search(l, &why, e);
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

enum status inlog_corrupt(const struct inlog *l, koffset_t offset, struct err *e)
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
                return inlog_corrupt(l, m->offset, e);
        s = judge(l, &r, m->offset, &take, e);
        if (s != ST_OK)
                return s;
        if (!l->searching && (take || l->stored.v < 0 || l->read.v >= 0)) {
                l->read = m->offset;
                count_bytes(l, m->len);
        }
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
                        s = inlog_search(l, &why, e);
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
