#include "apply/mirror.h"
#include "apply/mirror_trim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "postgres/pg.h"

#define SECOND INT64_C(1000000)
#define PROOF_US (5 * SECOND) /* running is said on a record delivered this lately: there is a heartbeat a second */
#define TAIL 1000             /* records at the end of the mirror that are looked at */
#define READ_AHEAD_KB (8 * 1024)
#define STEP_MS 100 /* how long a step waits at most: stop is looked at between two */
#define ASK_MS 2000

struct mirror {
        /* set before the thread begins, then only read */
        const struct topology *t;
        region_id log, me;
        pthread_t thread;
        _Atomic bool *ending;
        /* the thread's */
        struct pg *db;
        int64_t db_again; /* monotonic: not before */
        struct kafka_reader *source;
        struct kafka_producer *target;
        struct kafka_msg held; /* read, not yet handed to the producer */
        struct mirror_tail tail;
        koffset_t delivered, mirrored, saved;
        int64_t moved_at, told_at; /* monotonic */
        struct regset regs;
        struct arena arena;
        /* shared */
        pthread_mutex_t lock;
        struct mirror_state state;
};

struct mirrors {
        size_t n;
        _Atomic bool ending;
        struct mirror *list;
        struct mirror_trim *trim;
};

/* ---- what a copy must connect to -------------------------------------------------------------------------------------------------------- */
bool mirror_connects(struct mirror_tail *t, const struct record_head *h)
{
        if (h->kind == RECORD_EPOCH) {
                t->epoch = h->epoch > t->epoch ? h->epoch : t->epoch;
                return true; /* what is missing before it, the next seq tells */
        }
        if (h->epoch < t->epoch || h->kind == RECORD_MARKER)
                return true; /* readers ignore it; or it has no seq */
        if (t->seq && (h->epoch > t->epoch || h->seq > t->seq + 1))
                return false;
        t->epoch = h->epoch;
        t->seq = h->seq > t->seq ? h->seq : t->seq;
        return true;
}

/* ---- state ------------------------------------------------------------------------------------------------------------------------------ */
static const char *log_name(const struct mirror *m)
{
        return regset_name(&m->t->names, m->log);
}

static void tell(struct mirror *m, enum agent_state state, const struct err *why)
{
        pthread_mutex_lock(&m->lock);
        bool changed = state != m->state.state || (why && strcmp(why->msg, m->state.why.msg) != 0);
        if (state != m->state.state)
                m->state.since_us = clock_wall_us();
        m->state.state = state;
        if (why)
                m->state.why = *why;
        else
                err_clear(&m->state.why);
        m->state.source = m->delivered;
        m->state.mirrored = m->mirrored;
        pthread_mutex_unlock(&m->lock);
        if (changed)
                log_event(state == STATE_STOPPED || state == STATE_WAITING ? LOG_WARN : LOG_INFO, "mirror.state",
                          "log=%s\tstate=%s\terror=%s\twhy=%s", log_name(m), state_name(state), why ? why->name : "",
                          why ? why->msg : "");
}

static bool ending(const struct mirror *m)
{
        return atomic_load(m->ending);
}

/* ---- pangea.mirror ---------------------------------------------------------------------------------------------------------------------- */
static const char LOCK_SQL[] = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('pangea mirror ' || $1, 0))";
static const char FIND_SQL[] = "SELECT source_offset FROM pangea.mirror WHERE log = $1";
static const char SAVE_SQL[] = "INSERT INTO pangea.mirror (log, source_offset) VALUES ($1, $2::bigint)"
                               " ON CONFLICT (log) DO UPDATE SET source_offset = excluded.source_offset";

/* One mirror of a log in a region: two would do no harm, but double the work. */
static enum status open_db(struct mirror *m, struct err *e)
{
        const struct region *r = &m->t->regions[m->me.i];
        char name[64], key[128], *password = NULL;
        struct pgres *res = NULL;
        snprintf(name, sizeof name, "pangea mirror %s", log_name(m));
        snprintf(key, sizeof key, "%s.%s.%s", m->t->cluster, r->name, log_name(m));
        struct pg_opts o = {.conninfo = r->conninfo, .application_name = name, .session = PG_PLAIN, .connect_timeout_s = 3};
        struct pg_param p = PG_TEXT(key);
        enum status s = region_password(r, &password, e);
        o.password = password;
        if (s == ST_OK)
                s = pg_open(&m->db, &o, e);
        free(password);
        if (s == ST_OK)
                s = pg_query(m->db, LOCK_SQL, 1, &p, false, &res, e);
        if (s == ST_OK && pgres_text(res, 0, 0)[0] != 't')
                s = err_set(e, ST_RETRY, "another daemon of region %s mirrors the log of %s; stop one of them", r->name,
                            log_name(m));
        pgres_free(res);
        return s;
}

static enum status find_hint(struct mirror *m, koffset_t *hint, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p = PG_TEXT(log_name(m));
        enum status s = pg_query(m->db, FIND_SQL, 1, &p, false, &res, e);
        if (s != ST_OK && strcmp(e->sqlstate, "42P01") == 0)
                return err_named(e, ST_RETRY, "not_initialized", "table pangea.mirror is missing; run pangea init --region %s",
                                 m->t->regions[m->me.i].name);
        *hint = (koffset_t){s == ST_OK && pgres_rows(res) > 0 ? pgres_i64(res, 0, 0) : -1};
        pgres_free(res);
        return s;
}

/* The copying does not wait for the database: without it the hint only gets older. */
static void save_hint(struct mirror *m)
{
        char offset[24];
        struct err e;
        if (m->delivered.v == m->saved.v || clock_mono_us() < m->db_again)
                return;
        snprintf(offset, sizeof offset, "%" PRId64, m->delivered.v);
        struct pg_param p[] = {PG_TEXT(log_name(m)), PG_TEXT(offset)};
        enum status s = ST_OK;
        if (!m->db || pg_lost(m->db)) {
                pg_close(m->db);
                m->db = NULL;
                s = open_db(m, &e);
                if (s != ST_OK) { /* without its lock it is not ours to write */
                        pg_close(m->db);
                        m->db = NULL;
                }
        }
        if (s == ST_OK)
                s = pg_query(m->db, SAVE_SQL, 2, p, false, NULL, &e);
        if (s == ST_OK) {
                m->saved = m->delivered;
                return;
        }
        m->db_again = clock_mono_us() + 5 * SECOND;
        log_event(LOG_WARN, "mirror.hint", "log=%s\twhy=%s", log_name(m), e.msg);
}

/* ---- start ------------------------------------------------------------------------------------------------------------------------------ */
static void conf_of(const struct mirror *m, const struct region *r, char *client, size_t size, struct kafka_conf *out)
{
        snprintf(client, size, "pangea-%s-%s-mirror-%s", m->t->cluster, m->t->regions[m->me.i].name, log_name(m));
        *out = r->kafka;
        out->client_id = client;
}

/* A mirror into the log itself would feed on what it writes, for ever. */
static enum status check_clusters(const struct kafka_conf *from, const struct kafka_conf *to, struct err *e)
{
        char a[128], b[128];
        enum status s = kafka_cluster_id(from, a, sizeof a, e);
        if (s == ST_OK)
                s = kafka_cluster_id(to, b, sizeof b, e);
        if (s == ST_OK && strcmp(a, b) == 0)
                s = err_named(e, ST_DATA, "mirror_of_itself",
                              "the brokers of both regions are one Kafka cluster (%s); remove the link with mirror: true", a);
        return s;
}

/* Decodes the head of a record of this log. */
static enum status head_of(struct mirror *m, const struct kafka_msg *msg, struct record *r, struct err *e)
{
        arena_reset(&m->arena);
        enum status s = wire_decode_head(msg->data, msg->len, &m->regs, &m->arena, r, e);
        if (s != ST_OK)
                return err_wrap(e, "log of %s, offset %" PRId64, log_name(m), msg->offset.v);
        if (r->head.region.i != m->log.i)
                return err_named(e, ST_DATA, "region_mismatch",
                                 "log of %s, offset %" PRId64 ": the record is of region %s; correct the brokers in the topology",
                                 log_name(m), msg->offset.v, regset_name(&m->regs, r->head.region));
        return ST_OK;
}

/* Where the mirror's topic ends: the epoch and seq that the next record must connect to. */
static enum status read_tail(struct mirror *m, const struct kafka_conf *conf, const char *topic, struct err *e)
{
        struct kafka_reader *r = NULL;
        koffset_t low = {0}, high = {0};
        m->tail = (struct mirror_tail){0};
        enum status s = kafka_reader_open(&r, conf, topic, (koffset_t){0}, 1024, e);
        if (s == ST_OK)
                s = kafka_reader_watermarks(r, ASK_MS, &low, &high, e);
        if (s == ST_OK && high.v > low.v)
                s = kafka_reader_seek(r, (koffset_t){high.v - TAIL > low.v ? high.v - TAIL : low.v}, ASK_MS, e);
        for (koffset_t at = {-1}; s == ST_OK && high.v > low.v && at.v < high.v - 1;) {
                struct kafka_msg msg;
                struct record rec;
                s = kafka_reader_next(r, ASK_MS, &msg, e);
                if (s != ST_OK)
                        break;
                s = head_of(m, &msg, &rec, e);
                if (s == ST_OK && !mirror_connects(&m->tail, &rec.head)) /* before this part: only what is behind it counts */
                        m->tail = (struct mirror_tail){rec.head.epoch, rec.head.seq};
                at = msg.offset;
                kafka_msg_done(&msg);
        }
        kafka_reader_close(r);
        return s;
}

/* From the last record that is surely delivered; from the first when nothing is known, or when retention took it (the records behind it
 * are held against the tail all the same). */
static enum status open_source(struct mirror *m, const struct kafka_conf *conf, const char *topic, koffset_t hint, struct err *e)
{
        koffset_t low, high;
        enum status s = kafka_reader_open(&m->source, conf, topic, KAFKA_FROM_START, READ_AHEAD_KB, e);
        if (s == ST_OK)
                s = kafka_reader_watermarks(m->source, ASK_MS, &low, &high, e);
        if (s != ST_OK)
                return s;
        bool empty = m->tail.epoch == 0 && m->tail.seq == 0;
        if (!empty && hint.v >= high.v)
                return err_named(e, ST_DATA, "offset_gone",
                                 "log of %s: offset %" PRId64 " was copied, and now the log ends at %" PRId64
                                 ": it was recreated, or lost its end",
                                 log_name(m), hint.v, high.v);
        log_event(LOG_INFO, "mirror.start", "log=%s\tepoch=%" PRIu64 "\tseq=%" PRIu64 "\thint=%" PRId64 "\tlow=%" PRId64,
                  log_name(m), m->tail.epoch, m->tail.seq, hint.v, low.v);
        if (empty || hint.v < low.v)
                return ST_OK;
        return kafka_reader_seek(m->source, hint, ASK_MS, e);
}

static void on_delivered(void *ctx, uint64_t tag, koffset_t offset, enum status code, const char *why)
{
        struct mirror *m = ctx;
        (void)why; /* told by the next call */
        if (code != ST_OK)
                return;
        m->delivered = (koffset_t){(int64_t)tag};
        m->mirrored = offset.v >= 0 ? offset : m->mirrored;
        m->moved_at = clock_mono_us();
}

static enum status begin(struct mirror *m, struct err *e)
{
        char topic[256], client[160];
        struct kafka_conf from, to;
        koffset_t hint = {-1};
        conf_of(m, &m->t->regions[m->log.i], client, sizeof client, &from);
        conf_of(m, &m->t->regions[m->me.i], client, sizeof client, &to);
        topology_topic(m->t, m->log, topic, sizeof topic);
        enum status s = open_db(m, e);
        if (s == ST_OK)
                s = find_hint(m, &hint, e);
        if (s == ST_OK)
                s = check_clusters(&from, &to, e);
        if (s == ST_OK)
                s = kafka_producer_open(&m->target, &to, topic, on_delivered, m, e);
        if (s == ST_OK)
                s = kafka_producer_warm(m->target, ASK_MS, e);
        if (s != ST_OK && strcmp(e->name, "topic_missing") == 0)
                return err_named(e, ST_DATA, "topic_missing",
                                 "the topic of the mirror, %s, is missing in this region's Kafka; run pangea "
                                 "init --region %s",
                                 topic, m->t->regions[m->me.i].name);
        if (s == ST_OK)
                s = read_tail(m, &to, topic, e);
        if (s == ST_OK)
                s = open_source(m, &from, topic, hint, e);
        m->delivered = m->saved = hint;
        m->told_at = clock_mono_us(); /* nothing to tell before something can have come */
        return s;
}

static void end(struct mirror *m)
{
        if (m->held.handle)
                kafka_msg_done(&m->held);
        kafka_reader_close(m->source);
        kafka_producer_close(m->target);
        pg_close(m->db);
        m->source = NULL;
        m->target = NULL;
        m->db = NULL;
}

/* ---- copying ---------------------------------------------------------------------------------------------------------------------------- */
/* The next record of the source into m->held; nothing is copied that does not connect. */
static enum status read_one(struct mirror *m, struct err *e)
{
        struct record r;
        bool busy = kafka_producer_pending(m->target) > 0; /* its reports should not wait */
        enum status s = kafka_reader_next(m->source, busy ? STEP_MS / 10 : STEP_MS, &m->held, e);
        if (s == ST_OK)
                s = head_of(m, &m->held, &r, e);
        else
                return s;
        if (s == ST_OK && !mirror_connects(&m->tail, &r.head))
                s = err_named(e, ST_DATA, "offset_gone",
                              "log of %s, offset %" PRId64 ": epoch %" PRIu64 " seq %" PRIu64 " does not follow epoch %" PRIu64
                              " seq %" PRIu64
                              ", the last that was copied: records are missing in between, retention took them or the "
                              "topic was recreated",
                              log_name(m), m->held.offset.v, r.head.epoch, r.head.seq, m->tail.epoch, m->tail.seq);
        return s;
}

static enum status write_one(struct mirror *m, struct err *e)
{
        enum status s =
                kafka_produce_at(m->target, m->held.time_us, log_name(m), m->held.data, m->held.len, (uint64_t)m->held.offset.v, e);
        if (s == ST_RETRY) /* the queue is full: the source waits */
                return kafka_producer_poll(m->target, STEP_MS, e);
        if (s == ST_OK) {
                kafka_msg_done(&m->held);
                FAILPOINT("mirror.produced");
        }
        return s;
}

static void each_second(struct mirror *m, const struct err *trouble)
{
        int64_t now = clock_mono_us();
        if (now < m->told_at + SECOND)
                return;
        m->told_at = now;
        save_hint(m);
        bool proof = m->moved_at && now - m->moved_at < PROOF_US;
        tell(m, proof ? STATE_RUNNING : STATE_WAITING, proof || !trouble->name[0] ? NULL : trouble);
}

/* Until something goes wrong, or the end. */
static enum status copy(struct mirror *m, struct err *e)
{
        enum status s = begin(m, e);
        struct err trouble = {.code = ST_OK};
        while (s == ST_OK && !ending(m)) {
                if (!m->held.handle) {
                        s = read_one(m, e);
                        if (s == ST_RETRY || s == ST_OK)
                                err_clear(&trouble);
                        if (s == ST_RETRY) {
                                trouble = *e;
                                s = ST_OK;
                        }
                }
                if (s == ST_OK && m->held.handle)
                        s = write_one(m, e);
                if (s == ST_OK)
                        s = kafka_producer_poll(m->target, 0, e);
                each_second(m, &trouble);
        }
        if (s == ST_OK && kafka_producer_flush(m->target, STEP_MS * 10, &trouble) == ST_OK)
                save_hint(m); /* asked to stop: nothing twice next time */
        return s;
}

/* What only somebody's deed mends; the rest is tried again. */
static bool is_final(enum status s, const struct err *e)
{
        static const char *const passing[] = {"topic_missing", "kafka_denied", "offset_gone"};
        bool final = s == ST_DATA || s == ST_CONFIG;
        for (size_t i = 0; i < sizeof passing / sizeof *passing && final; i++)
                final = strcmp(e->name, passing[i]) != 0;
        return final;
}

static void *mirror_thread(void *arg)
{
        struct mirror *m = arg;
        int64_t pause_us = SECOND / 10;
        while (!ending(m)) {
                struct err e = {.code = ST_OK};
                int64_t began = clock_mono_us();
                enum status s = copy(m, &e);
                end(m);
                if (s == ST_OK)
                        break;
                bool final = is_final(s, &e);
                tell(m, final || strcmp(e.name, "offset_gone") == 0 ? STATE_STOPPED : STATE_WAITING, &e);
                if (final)
                        break;
                pause_us = clock_mono_us() - began > 10 * SECOND ? SECOND / 10
                           : pause_us * 2 > 5 * SECOND           ? 5 * SECOND
                                                                 : pause_us * 2;
                struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
                for (int64_t until = clock_mono_us() + pause_us; clock_mono_us() < until && !ending(m);)
                        nanosleep(&step, NULL);
        }
        return NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------- */
struct mirrors *mirrors_start(const struct topology *t, region_id me)
{
        struct mirrors *all = MEM_NEW(struct mirrors);
        all->list = mem_zalloc(sizeof *all->list * (t->nregions + 1));
        for (size_t i = 0; i < t->nregions; i++) {
                struct mirror *m = &all->list[all->n];
                if (!topology_mirrors(t, t->regions[i].id, me))
                        continue;
                *m = (struct mirror){.t = t, .log = t->regions[i].id, .me = me, .ending = &all->ending, .regs = t->names};
                m->delivered.v = m->mirrored.v = m->saved.v = -1;
                m->state = (struct mirror_state){.log = t->regions[i].name,
                                                 .state = STATE_STARTING,
                                                 .since_us = clock_wall_us(),
                                                 .source = {-1},
                                                 .mirrored = {-1}};
                arena_init(&m->arena);
                pthread_mutex_init(&m->lock, NULL);
                if (pthread_create(&m->thread, NULL, mirror_thread, m) != 0)
                        mem_die("thread", sizeof *m);
                all->n++;
        }
        all->trim = mirror_trim_start(t, me);
        if (all->n > 0)
                return all;
        mirrors_stop(all);
        return NULL;
}

void mirrors_stop(struct mirrors *m)
{
        if (!m)
                return;
        atomic_store(&m->ending, true);
        mirror_trim_stop(m->trim);
        for (size_t i = 0; i < m->n; i++) {
                pthread_join(m->list[i].thread, NULL);
                pthread_mutex_destroy(&m->list[i].lock);
                arena_release(&m->list[i].arena);
        }
        free(m->list);
        free(m);
}

bool mirrors_look(struct mirrors *m, size_t i, struct mirror_state *out)
{
        if (!m || i >= m->n)
                return false;
        pthread_mutex_lock(&m->list[i].lock);
        *out = m->list[i].state;
        pthread_mutex_unlock(&m->list[i].lock);
        return true;
}

bool mirrors_alive(struct mirrors *m)
{
        struct mirror_state s;
        for (size_t i = 0; mirrors_look(m, i, &s); i++)
                if (s.state != STATE_STOPPED)
                        return true;
        return false;
}
