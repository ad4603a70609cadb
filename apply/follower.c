/* follower: a region without writes of its own still has a log, of EPOCH and PROGRESS, so that the others know its position.
 * DESIGN 10.1. */
#include "apply/applier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define PERIOD_US 1000000
#define TAIL 64

struct follower {
        struct kafka_producer *producer;
        struct record_head head;
        struct buf out;
        int64_t next_at;
        bool dead;
};

static void delivered(void *ctx, uint64_t tag, koffset_t offset, enum status code, const char *why)
{
        struct follower *f = ctx;
        (void)tag;
        (void)offset;
        if (code == ST_OK)
                return;
        f->dead = true;
        log_event(LOG_WARN, "apply.follower_log", "why=%s", why);
}

/* The sequence number of the last record. */
static enum status read_tail(struct applier *a, const struct kafka_conf *conf, const char *topic, uint64_t *seq, struct err *e)
{
        struct kafka_reader *r = NULL;
        koffset_t low = {0}, high = {0};
        struct arena arena;
        *seq = 0;
        enum status s = kafka_reader_open(&r, conf, topic, KAFKA_FROM_END, 1024, e);
        if (s == ST_OK)
                s = kafka_reader_watermarks(r, 10000, &low, &high, e);
        if (s == ST_OK && high.v > low.v)
                s = kafka_reader_seek(r, (koffset_t){high.v - TAIL > low.v ? high.v - TAIL : low.v}, 10000, e);
        arena_init(&arena);
        for (koffset_t at = {-1}; s == ST_OK && high.v > low.v && at.v < high.v - 1;) {
                struct kafka_msg m;
                struct record rec;
                s = kafka_reader_next(r, 10000, &m, e);
                if (s != ST_OK)
                        break;
                s = wire_decode_head(m.data, m.len, &a->regs, &arena, &rec, e);
                if (s == ST_OK && rec.head.seq > *seq)
                        *seq = rec.head.seq;
                at = m.offset;
                kafka_msg_done(&m);
                arena_reset(&arena);
        }
        arena_release(&arena);
        if (r)
                kafka_reader_close(r);
        return s;
}

static enum status produce(struct follower *f, struct applier *a, struct err *e)
{
        return kafka_produce(f->producer, regset_name(&a->regs, a->me), f->out.data, f->out.len, 0, e);
}

static enum status publish_epoch(struct follower *f, struct applier *a, struct err *e)
{
        struct pgres *r = NULL;
        enum status s = pg_exec(a->side,
                                "UPDATE pangea.capture SET epoch = epoch + 1 RETURNING epoch, current_database(),"
                                " (SELECT system_identifier FROM pg_catalog.pg_control_system())",
                                &r, e);
        if (s != ST_OK)
                return s;
        f->head.epoch = (uint64_t)pgres_i64(r, 0, 0);
        struct record_epoch rec = {.writes = WIRE_VERSION,
                                   .reads_min = 1,
                                   .reads_max = WIRE_VERSION,
                                   .system_id = pgres_text(r, 0, 2),
                                   .timeline = 0,
                                   .database = pgres_text(r, 0, 1),
                                   .slot = "",
                                   .wall_us = clock_wall_us()};
        struct record_head h = f->head;
        h.kind = RECORD_EPOCH;
        h.seq = 0;
        s = wire_encode_epoch(&f->out, &h, &rec, &a->regs, e);
        pgres_free(r);
        return s == ST_OK ? produce(f, a, e) : s;
}

enum status follower_open(struct follower **out, struct applier *a, struct err *e)
{
        struct follower *f = MEM_NEW(struct follower);
        char topic[256], client[128];
        struct kafka_conf conf = a->topo->regions[a->me.i].kafka;
        snprintf(client, sizeof client, "pangea-%s-%s-follower", a->topo->cluster, regset_name(&a->topo->names, a->me));
        conf.client_id = client;
        topology_topic(a->topo, a->me, topic, sizeof topic);
        buf_init(&f->out, 0);
        f->head = (struct record_head){.region = a->me, .incarnation = 1};
        enum status s = read_tail(a, &conf, topic, &f->head.seq, e);
        if (s == ST_OK)
                s = kafka_producer_open(&f->producer, &conf, topic, delivered, f, e);
        if (s == ST_OK)
                s = kafka_producer_warm(f->producer, 10000, e);
        if (s == ST_OK)
                s = publish_epoch(f, a, e);
        if (s != ST_OK) {
                follower_close(f);
                return s;
        }
        *out = f;
        return ST_OK;
}

enum status follower_turn(struct follower *f, struct applier *a, struct err *e)
{
        if (!f)
                return ST_OK;
        enum status s = kafka_producer_poll(f->producer, 0, e);
        if (s == ST_FATAL || f->dead)
                return err_set(e, ST_RETRY, "the producer of this follower's log died; making a new one");
        if (clock_mono_us() < f->next_at || kafka_producer_pending(f->producer) > 100)
                return ST_OK;
        /* The others delete what is acknowledged here: it must be on disk. A commit that waits flushes the groups', which did not. */
        s = pg_exec(a->side, "SELECT pg_catalog.pg_logical_emit_message(true, 'pangea', '')", NULL, e);
        if (s != ST_OK)
                return s;
        struct record_progress p = {.vec = a->applied, .wall_us = clock_wall_us()};
        struct record_head h = f->head;
        h.kind = RECORD_PROGRESS;
        h.seq++;
        s = wire_encode_progress(&f->out, &h, &p, &a->regs, e);
        if (s == ST_OK)
                s = produce(f, a, e);
        if (s == ST_RETRY)
                return ST_OK; /* the EPOCH is not delivered yet, or the queue is full: in the next turn */
        f->head.seq = h.seq;
        f->next_at = clock_mono_us() + PERIOD_US;
        return s;
}

void follower_close(struct follower *f)
{
        if (!f)
                return;
        kafka_producer_close(f->producer);
        buf_release(&f->out);
        free(f);
}
