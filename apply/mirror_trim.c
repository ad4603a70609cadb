#include "apply/mirror_trim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define MARGIN_US INT64_C(3600000000) /* by which the clocks of two regions' Kafka may differ, and a little is kept too long */
#define STEP_MS 100
#define ASK_MS 5000
#define LOOK_AT 32 /* records in which one with a seq is looked for */

struct mirror_trim {
        const struct topology *t;
        region_id me;
        pthread_t thread;
        _Atomic bool ending;
        koffset_t done[MAX_REGIONS]; /* first offset of each source that was looked at */
        struct regset regs;
        struct arena arena;
};

bool mirror_trim_may_go(const struct record_head *first, const struct record_head *last)
{
        return last->epoch <= first->epoch && last->seq < first->seq;
}

static bool has_seq(const struct record_head *h)
{
        return h->kind != RECORD_EPOCH && h->kind != RECORD_MARKER;
}

/* The first (or the last) record with a seq among those from an offset to before another one. ST_RETRY without a name: there is none. */
static enum status find(struct mirror_trim *m, struct kafka_reader *r, koffset_t from, koffset_t to, bool last,
                        struct record_head *out, int64_t *time_us, struct err *e)
{
        bool found = false;
        enum status s = kafka_reader_seek(r, from, ASK_MS, e);
        for (koffset_t at = {from.v - 1}; s == ST_OK && at.v < to.v - 1 && (last || !found);) {
                struct kafka_msg msg;
                struct record rec;
                s = kafka_reader_next(r, ASK_MS, &msg, e);
                if (s != ST_OK)
                        break;
                at = msg.offset;
                arena_reset(&m->arena);
                s = wire_decode_head(msg.data, msg.len, &m->regs, &m->arena, &rec, e);
                if (s == ST_OK && at.v < to.v && has_seq(&rec.head)) {
                        found = true;
                        *out = rec.head;
                        *time_us = msg.time_us;
                }
                kafka_msg_done(&msg);
        }
        return s == ST_OK && !found ? err_set(e, ST_RETRY, "no record with a sequence number there yet") : s;
}

/* Where the source begins. */
static enum status look_at_source(struct mirror_trim *m, const struct kafka_conf *conf, const char *topic, koffset_t *low,
                                  struct record_head *first, int64_t *time_us, struct err *e)
{
        struct kafka_reader *r = NULL;
        koffset_t high, known = *low;
        enum status s = kafka_reader_open(&r, conf, topic, KAFKA_FROM_START, 64, e);
        if (s == ST_OK)
                s = kafka_reader_watermarks(r, ASK_MS, low, &high, e);
        if (s == ST_OK && low->v > known.v)
                s = find(m, r, *low, (koffset_t){low->v + LOOK_AT < high.v ? low->v + LOOK_AT : high.v}, false, first, time_us, e);
        kafka_reader_close(r);
        return s;
}

/* Is what stands before an offset of the mirror surely older? */
static enum status look_at_mirror(struct mirror_trim *m, const struct kafka_conf *conf, const char *topic, koffset_t at,
                                  const struct record_head *first, bool *go, struct err *e)
{
        struct kafka_reader *r = NULL;
        struct record_head last = {0};
        koffset_t low, high;
        int64_t time_us;
        *go = false;
        enum status s = kafka_reader_open(&r, conf, topic, KAFKA_FROM_START, 64, e);
        if (s == ST_OK)
                s = kafka_reader_watermarks(r, ASK_MS, &low, &high, e);
        if (s == ST_OK && at.v > low.v && at.v <= high.v) {
                s = find(m, r, (koffset_t){at.v - LOOK_AT > low.v ? at.v - LOOK_AT : low.v}, at, true, &last, &time_us, e);
                *go = s == ST_OK && mirror_trim_may_go(first, &last);
        }
        kafka_reader_close(r);
        return s;
}

static enum status trim(struct mirror_trim *m, region_id log, struct err *e)
{
        char topic[256], client[160];
        struct kafka_conf from = m->t->regions[log.i].kafka, to = m->t->regions[m->me.i].kafka;
        struct record_head first = {0};
        koffset_t low = m->done[log.i], at;
        int64_t time_us = 0, margin = m->t->log_retention_us < MARGIN_US ? m->t->log_retention_us : MARGIN_US;
        bool go = false;
        snprintf(client, sizeof client, "pangea-%s-%s-mirror-trim", m->t->cluster, m->t->regions[m->me.i].name);
        from.client_id = to.client_id = client;
        topology_topic(m->t, log, topic, sizeof topic);
        enum status s = look_at_source(m, &from, topic, &low, &first, &time_us, e);
        if (s != ST_OK || low.v <= m->done[log.i].v)
                return s;
        s = kafka_offset_at(&to, topic, time_us - margin, &at, e);
        if (s == ST_OK)
                s = look_at_mirror(m, &to, topic, at, &first, &go, e);
        if (s == ST_OK && go)
                s = kafka_delete_records(&to, topic, at, e);
        if (s == ST_OK && go)
                log_event(LOG_INFO, "mirror.trimmed", "log=%s\tfrom=%" PRId64, regset_name(&m->t->names, log), at.v);
        if (s == ST_OK)
                m->done[log.i] = low;
        return s;
}

static void *trim_thread(void *arg)
{
        struct mirror_trim *m = arg;
        int64_t every = topology_retention_every_us(m->t), again = clock_mono_us() + every;
        struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
        while (!atomic_load(&m->ending)) {
                nanosleep(&step, NULL);
                if (clock_mono_us() < again)
                        continue;
                for (size_t i = 0; i < m->t->nregions && !atomic_load(&m->ending); i++) {
                        struct err e = {.code = ST_OK};
                        region_id log = m->t->regions[i].id;
                        if (topology_mirrors(m->t, log, m->me) && trim(m, log, &e) != ST_OK && e.name[0])
                                log_event(LOG_WARN, "mirror.trim", "log=%s\terror=%s\twhy=%s", regset_name(&m->t->names, log),
                                          e.name, e.msg);
                }
                again = clock_mono_us() + every;
        }
        return NULL;
}

struct mirror_trim *mirror_trim_start(const struct topology *t, region_id me)
{
        bool any = false;
        for (size_t i = 0; i < t->nregions; i++)
                any |= topology_mirrors(t, t->regions[i].id, me);
        if (!any)
                return NULL;
        struct mirror_trim *m = MEM_NEW(struct mirror_trim);
        m->t = t;
        m->me = me;
        m->regs = t->names;
        arena_init(&m->arena);
        if (pthread_create(&m->thread, NULL, trim_thread, m) != 0)
                mem_die("thread", sizeof *m);
        return m;
}

void mirror_trim_stop(struct mirror_trim *m)
{
        if (!m)
                return;
        atomic_store(&m->ending, true);
        pthread_join(m->thread, NULL);
        arena_release(&m->arena);
        free(m);
}
