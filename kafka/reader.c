/* reader: one log from one offset.
 * librdkafka's plain consumer (no group: a group asks for a coordinator, and for rights, that nobody needs here). What is added: an
 * error that librdkafka tells once, and then falls silent, is checked with the broker and either healed by starting anew at the same
 * offset or told at every call until somebody seeks. */
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kafka/client.h"

enum halt { HALT_NONE, HALT_TOPIC, HALT_OFFSET, HALT_DAMAGED };

struct kafka_reader {
        struct client client;
        rd_kafka_topic_t *rkt;
        rd_kafka_queue_t *queue;
        int64_t at;          /* the next offset wanted, or a KAFKA_FROM_ */
        bool started, heard; /* heard: a record or an error came since the start */
        unsigned since_poll;
        enum halt halt;
        int64_t halted_at, asked_at; /* monotonic; asked_at 0 = not yet */
        struct err told;             /* what the last question gave */
        int64_t taken_at;            /* monotonic: when the last record was taken; 0 none */
        int64_t end, end_again;      /* what the broker said when asked, and when it may be asked again */
        size_t room, taken;          /* bytes that librdkafka may hold; that were taken since it last held none */
        int64_t wake_again;          /* monotonic: not before then its thread is woken */
        char topic[];
};

#define TOPIC_WAIT_US INT64_C(2000000) /* a topic that is away no longer than this is no news: brokers restart */
#define ASK_EVERY_US INT64_C(1000000)
#define ASK_MS 250
#define ASK_END_MS 100
#define END_PAUSE_US INT64_C(10000000)
#define WAKE_SHARE 10 /* of the time at most goes into waking it */

static enum status start(struct kafka_reader *r, struct err *e)
{
        if (r->at < 0) {
                /* librdkafka asks for the beginning or the end half a second later when it does not know yet whom to ask */
                struct topic_facts unused;
                client_topic(&r->client, r->rkt, ASK_MS, &unused);
        }
        int64_t from = r->at == KAFKA_FROM_START.v ? RD_KAFKA_OFFSET_BEGINNING
                       : r->at == KAFKA_FROM_END.v ? RD_KAFKA_OFFSET_END
                                                   : r->at;
        r->halt = HALT_NONE;
        if (rd_kafka_consume_start_queue(r->rkt, 0, from, r->queue))
                return client_fail(&r->client, e, rd_kafka_last_error(), "log %s", r->topic);
        r->started = true;
        r->heard = false;
        return ST_OK;
}

/* Both wait for librdkafka's own threads only. What was fetched before is dropped. */
static enum status restart(struct kafka_reader *r, struct err *e)
{
        if (r->started)
                (void)rd_kafka_consume_stop(r->rkt, 0);
        r->started = false;
        r->end = 0;
        r->taken = 0;
        return start(r, e);
}

enum status kafka_reader_open(struct kafka_reader **out, const struct kafka_conf *c, const char *topic, koffset_t from,
                              int max_queued_kb, struct err *e)
{
        size_t name = strlen(topic) + 1;
        struct kafka_reader *r = mem_zalloc(sizeof *r + name);
        enum status st;
        *out = NULL;
        memcpy(r->topic, topic, name);
        r->at = from.v;
        r->client.owner = r;
        r->room = (size_t)max_queued_kb << 10;
        st = client_open(&r->client, c, &(struct client_opts){.kind = CLIENT_READER, .max_queued_kb = max_queued_kb}, e);
        if (st)
                goto fail;
        r->queue = rd_kafka_queue_new(r->client.rk);
        r->rkt = rd_kafka_topic_new(r->client.rk, topic, NULL);
        /* Where the log begins or ends librdkafka has to ask first, and when it is stopped before the answer has come it may never fetch
         * again: whoever opens a log at its end in order to seek somewhere does not start it at all. */
        st = !r->rkt ? client_fail(&r->client, e, rd_kafka_last_error(), "log %s", topic) : r->at < 0 ? ST_OK : start(r, e);
        if (st)
                goto fail;
        *out = r;
        return ST_OK;
fail:
        kafka_reader_close(r);
        return st;
}

static void halt(struct kafka_reader *r, enum halt why)
{
        if (r->halt == why)
                return;
        r->halt = why;
        r->halted_at = clock_mono_us();
        err_clear(&r->told);
}

/* ST_OK: it is there (again). */
static enum status ask_topic(struct kafka_reader *r, struct err *e)
{
        struct topic_facts t;
        client_topic(&r->client, r->rkt, ASK_MS, &t);
        return t.code ? client_fail(&r->client, e, t.code, "log %s", r->topic) : ST_OK;
}

static enum status ask_offset(struct kafka_reader *r, struct err *e)
{
        koffset_t low, high;
        enum status st = kafka_reader_watermarks(r, ASK_MS, &low, &high, e);
        if (st || r->at < 0 || (r->at >= low.v && r->at <= high.v))
                return st;
        if (r->at < low.v)
                return err_named(e, ST_DATA, "offset_gone",
                                 "log %s: offset %" PRId64 " is gone, the log begins at %" PRId64 ": its retention has passed",
                                 r->topic, r->at, low.v);
        return err_named(e, ST_DATA, "offset_gone",
                         "log %s: offset %" PRId64 " is not there, the log ends at %" PRId64 ": it was recreated, or lost its end",
                         r->topic, r->at, high.v);
}

/* Called while halted: the answer of the moment; ST_OK when reading goes on. Asks the broker at most once a second, for ASK_MS; *wait_ms
 * is how long the answer stays the same, 0 for a new one. */
static enum status ask(struct kafka_reader *r, int *wait_ms, struct err *e)
{
        int64_t now = clock_mono_us(), again = r->asked_at + ASK_EVERY_US;
        *wait_ms = 0;
        if (r->halt == HALT_TOPIC && now - r->halted_at < TOPIC_WAIT_US) {
                *wait_ms = (int)((r->halted_at + TOPIC_WAIT_US - now) / 1000) + 1;
                return err_set(e, ST_RETRY, "log %s: the topic is not there yet", r->topic);
        }
        if (r->told.code && (r->halt == HALT_DAMAGED || (r->asked_at && now < again))) {
                *wait_ms = r->halt == HALT_DAMAGED ? INT_MAX : (int)((again - now) / 1000) + 1;
                if (e)
                        *e = r->told;
                return r->told.code;
        }
        r->asked_at = now;
        enum status st = r->halt == HALT_TOPIC ? ask_topic(r, &r->told) : ask_offset(r, &r->told);
        if (st == ST_OK)
                return restart(r, e);
        if (e)
                *e = r->told;
        return st;
}

/* An error in the place of a record. ST_OK: noted, or nothing to do; ST_DATA: to be told now. */
static enum status hear(struct kafka_reader *r, const rd_kafka_message_t *m, struct err *e)
{
        const char *name;
        enum status st = client_classify(m->err, &name);
        if (!strcmp(name, "topic_missing")) {
                halt(r, HALT_TOPIC);
                return ST_OK;
        }
        if (!strcmp(name, "offset_gone")) {
                halt(r, HALT_OFFSET);
                return ST_OK;
        }
        if (!strcmp(name, "log_damaged")) {
                halt(r, HALT_DAMAGED); /* librdkafka would go on behind it */
                err_named(&r->told, ST_DATA, name, "log %s: near offset %" PRId64 ": %s", r->topic, r->at,
                          rd_kafka_message_errstr(m));
                return ST_OK;
        }
        /* what is left of ST_DATA, such as missing rights, librdkafka goes on trying, and tells again */
        return st == ST_DATA ? err_named(e, st, name, "log %s: %s", r->topic, rd_kafka_message_errstr(m)) : ST_OK;
}

static void give(struct kafka_reader *r, rd_kafka_message_t *m, struct kafka_msg *out)
{
        rd_kafka_timestamp_type_t type;
        int64_t ms = rd_kafka_message_timestamp(m, &type);
        *out = (struct kafka_msg){.offset = {m->offset},
                                  .time_us = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms < 0 ? 0 : ms * 1000,
                                  .data = m->payload,
                                  .len = m->len,
                                  .handle = m};
        r->at = m->offset + 1;
        r->taken += m->len;
        r->taken_at = clock_mono_us();
        r->client.trouble_name[0] = 0; /* it is over */
        /* an error was told before it, so librdkafka healed by itself */
        r->halt = HALT_NONE;
}

/* Troubles wait on a queue of their own. They are heard before the record that ends them, or they would seem to come behind it. */
static void hear_troubles(struct kafka_reader *r)
{
        for (int i = 0; i < 100 && (rd_kafka_poll(r->client.rk, 0) > 0 || i == 0); i++)
                if (!strcmp(r->client.trouble_name, "topic_missing")) {
                        r->client.trouble_name[0] = 0;
                        halt(r, HALT_TOPIC);
                }
}

/* librdkafka 2.0.2 stops to fetch when it holds enough, and the broker's thread then looks again after a second, or when something else wakes it: a
 * question to the broker does. Asked when all is taken of what may have been enough, and the log has more. */
static void fetch_on(struct kafka_reader *r)
{
        int64_t low, high, now = clock_mono_us();
        if (r->taken < r->room / 2 || r->halt || now < r->wake_again)
                return;
        r->taken = 0;
        if (rd_kafka_get_watermark_offsets(r->client.rk, r->topic, 0, &low, &high) || r->at >= high)
                return;
        (void)rd_kafka_query_watermark_offsets(r->client.rk, r->topic, 0, &low, &high, ASK_END_MS);
        r->wake_again = now + WAKE_SHARE * (clock_mono_us() - now);
}

/* One record or error, waiting no longer than timeout_ms; NULL when there was none. */
static rd_kafka_message_t *take(struct kafka_reader *r, int timeout_ms)
{
        rd_kafka_message_t *m = rd_kafka_consume_queue(r->queue, 0);
        if (m && ++r->since_poll < 1000)
                return m;
        r->since_poll = 0;
        hear_troubles(r);
        if (m)
                return m;
        fetch_on(r);
        m = rd_kafka_consume_queue(r->queue, timeout_ms);
        hear_troubles(r);
        return m;
}

enum status kafka_reader_next(struct kafka_reader *r, int timeout_ms, struct kafka_msg *out, struct err *e)
{
        int64_t deadline = client_deadline(timeout_ms);
        *out = (struct kafka_msg){.offset = {-1}};
        if (!r->started) {
                enum status st = start(r, e);
                if (st)
                        return st;
        }
        for (;;) {
                int same_ms = INT_MAX;
                enum status st = r->halt ? ask(r, &same_ms, e) : ST_OK;
                /* what is new is told at once; what was told before waits as nothing would, or the caller would spin */
                if (st != ST_OK && st != ST_RETRY && same_ms == 0)
                        return st;
                int left = client_left_ms(deadline);
                rd_kafka_message_t *m = take(r, r->halt && same_ms < left ? same_ms : left);
                r->heard |= m != NULL;
                if (m && !m->err) {
                        give(r, m, out);
                        return ST_OK;
                }
                if (m) {
                        st = hear(r, m, e);
                        rd_kafka_message_destroy(m);
                        if (st)
                                return st;
                } else if (client_left_ms(deadline) == 0) {
                        if (r->halt && st == ST_OK)
                                st = ask(r, &same_ms, e);
                        return st ? st : client_waits(&r->client, e, "nothing yet");
                }
        }
}

void kafka_reader_asks_nobody(struct kafka_reader *r)
{
        r->room = SIZE_MAX;
}

void kafka_msg_done(struct kafka_msg *m)
{
        if (m->handle)
                rd_kafka_message_destroy(m->handle);
        *m = (struct kafka_msg){.offset = {-1}};
}

void kafka_reader_wake_fd(struct kafka_reader *r, int fd)
{
        client_wake_fd(r->queue, fd);
}

enum status kafka_reader_seek(struct kafka_reader *r, koffset_t to, int timeout_ms, struct err *e)
{
        (void)timeout_ms; /* no broker is asked */
        r->at = to.v;
        r->asked_at = 0;
        return restart(r, e);
}

enum status kafka_reader_watermarks(struct kafka_reader *r, int timeout_ms, koffset_t *low, koffset_t *high, struct err *e)
{
        int64_t lo = -1, hi = -1;
        rd_kafka_resp_err_t code =
                rd_kafka_query_watermark_offsets(r->client.rk, r->topic, 0, &lo, &hi, timeout_ms > 0 ? timeout_ms : 1);
        *low = (koffset_t){lo};
        *high = (koffset_t){hi};
        if (code)
                return client_fail(&r->client, e, code, "log %s", r->topic);
        r->client.trouble_name[0] = 0;
        return ST_OK;
}

/* While something is fetched an answer would wait behind the fetch; and the fetch tells the end anyway. */
static bool fetches_nothing(const struct kafka_reader *r, int64_t high, int64_t now)
{
        return r->started && !r->halt && r->taken_at && now - r->taken_at >= ASK_EVERY_US && r->at >= 0 && r->at < high;
}

koffset_t kafka_reader_end(struct kafka_reader *r)
{
        int64_t lo, hi, now = clock_mono_us();
        if (rd_kafka_get_watermark_offsets(r->client.rk, r->topic, 0, &lo, &hi) || hi < 0)
                return (koffset_t){-1};
        if (fetches_nothing(r, hi, now) && now >= r->end_again) {
                int64_t low, high;
                bool told = !rd_kafka_query_watermark_offsets(r->client.rk, r->topic, 0, &low, &high, ASK_END_MS);
                r->end_again = clock_mono_us() + (told ? ASK_EVERY_US : END_PAUSE_US);
                if (told)
                        r->end = high;
        }
        return (koffset_t){r->end > hi ? r->end : hi};
}

/* librdkafka 2.0.2 locks itself up for good when the answer `offset out of range` comes while it is being destroyed. An answer on the same
 * connection comes behind it. */
static void let_answers_in(struct kafka_reader *r)
{
        int64_t low, high;
        if (!r->heard && r->at >= 0)
                (void)rd_kafka_query_watermark_offsets(r->client.rk, r->topic, 0, &low, &high, ASK_EVERY_US / 1000);
}

void kafka_reader_close(struct kafka_reader *r)
{
        if (!r)
                return;
        if (r->queue)
                client_wake_fd(r->queue, -1);
        if (r->started) {
                (void)rd_kafka_consume_stop(r->rkt, 0);
                let_answers_in(r);
        }
        if (r->rkt)
                rd_kafka_topic_destroy(r->rkt);
        if (r->queue)
                rd_kafka_queue_destroy(r->queue);
        client_close(&r->client);
        free(r);
}
