/* measure: how many bytes the last records of a log take on their way from the broker, against what they hold.
 * A broker sends the batches that it stores, as they are: what comes over the wire is what is on its disk.  How a producer sent them it
 * does not tell: compression.type of the topic may have packed them anew. */
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kafka/client.h"

#define ENOUGH (64 << 10)   /* bytes of records that say something: what else comes over the wire is some hundred */
#define QUEUED_KB (4 << 10) /* what may be fetched beyond the records that are looked at */
#define AT_MOST (4 << 20)
#define LIMIT_MS 5000
#define STATS_MS 100
#define ASK_MS 2000
#define LEVEL1 ISAL_DEF_LVL1_DEFAULT

struct measuring {
        struct client client;
        rd_kafka_topic_t *rkt;
        int64_t deadline;
        struct kafka_measure m;
        int64_t wire, payload; /* of the statistics that came last, -1 before */
        uint8_t *packed, *work;
        size_t room;
};

/* The document's two sums over all brokers and all topics; no other member has these names. */
static int64_t sum_of(const char *json, const char *member)
{
        const char *at = strstr(json, member);
        return at ? strtoll(at + strlen(member), NULL, 10) : -1;
}

static int on_stats(rd_kafka_t *rk, char *json, size_t len, void *client)
{
        struct measuring *s = ((struct client *)client)->owner;
        (void)rk;
        (void)len;
        s->wire = sum_of(json, "\"rx_bytes\":");
        s->payload = sum_of(json, "\"rxmsg_bytes\":");
        return 0; /* librdkafka frees it */
}

/* What a quick compressor makes of one record by itself: a producer that packs it makes no more. */
static size_t pack(struct measuring *s, void *data, size_t len)
{
        struct isal_zstream z;
        if (s->room < len) {
                s->packed = mem_realloc(s->packed, len);
                s->room = len;
        }
        isal_deflate_stateless_init(&z);
        z.end_of_stream = 1;
        z.flush = NO_FLUSH;
        z.next_in = data;
        z.avail_in = (uint32_t)len;
        z.next_out = s->packed;
        z.avail_out = (uint32_t)len;
        z.level = 1;
        z.level_buf = s->work;
        z.level_buf_size = LEVEL1;
        return isal_deflate_stateless(&z) == COMP_OK ? z.total_out : len; /* no room: it does not get smaller */
}

/* Reads up to the offset `end`, or AT_MOST bytes of records. */
static enum status read_to(struct measuring *s, int64_t end, struct err *e)
{
        for (int64_t at = 0; at < end && s->m.looked_at < AT_MOST;) {
                rd_kafka_message_t *msg = rd_kafka_consume(s->rkt, 0, 100);
                rd_kafka_resp_err_t code = msg ? msg->err : RD_KAFKA_RESP_ERR__TIMED_OUT;
                if (msg && !code) {
                        at = msg->offset + 1;
                        s->m.records++;
                        s->m.looked_at += (int64_t)msg->len;
                        s->m.packed += msg->len ? (int64_t)pack(s, msg->payload, msg->len) : 0;
                }
                if (msg)
                        rd_kafka_message_destroy(msg);
                rd_kafka_poll(s->client.rk, 0);
                if (code && (msg || client_left_ms(s->deadline) == 0))
                        return client_fail(&s->client, e, code, "reading the last records");
        }
        return ST_OK;
}

/* Waits for statistics that were made after this call. */
static enum status read_stats(struct measuring *s, struct err *e)
{
        for (int n = 0; n < 2; n++) /* the first may have been made before, and wait */
                for (s->wire = -1; s->wire < 0; rd_kafka_poll(s->client.rk, STATS_MS))
                        if (client_left_ms(s->deadline) == 0)
                                return err_named(e, ST_RETRY, "kafka_away", "librdkafka gave no statistics");
        s->m.wire = s->wire;
        s->m.payload = s->payload;
        return ST_OK;
}

static enum status look_back(struct measuring *s, const struct kafka_conf *c, const char *topic, int64_t records, struct err *e)
{
        int64_t low = 0, high = 0;
        struct client_opts o = {.kind = CLIENT_READER, .max_queued_kb = QUEUED_KB, .stats = on_stats, .stats_ms = STATS_MS};
        bool started = false;
        s->m = (struct kafka_measure){.records = 0};
        s->deadline = client_deadline(LIMIT_MS);
        s->client = (struct client){.owner = s};
        enum status st = client_open(&s->client, c, &o, e);
        if (st == ST_OK) {
                rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(s->client.rk, topic, 0, &low, &high, ASK_MS);
                s->m.all = high - low <= records;
                s->rkt = rd_kafka_topic_new(s->client.rk, topic, NULL);
                st = code ? client_fail(&s->client, e, code, "log %s", topic) : ST_OK;
        }
        if (st == ST_OK && high > low) {
                started = !rd_kafka_consume_start(s->rkt, 0, s->m.all ? low : high - records);
                st = started ? read_to(s, high, e) : client_fail(&s->client, e, rd_kafka_last_error(), "log %s", topic);
        }
        if (st == ST_OK)
                st = read_stats(s, e);
        if (started)
                (void)rd_kafka_consume_stop(s->rkt, 0);
        if (started && s->m.records == 0) /* reader.c, let_answers_in */
                (void)rd_kafka_query_watermark_offsets(s->client.rk, topic, 0, &low, &high, ASK_MS);
        if (s->rkt)
                rd_kafka_topic_destroy(s->rkt);
        s->rkt = NULL;
        client_close(&s->client);
        return st;
}

enum status kafka_measure(const struct kafka_conf *c, const char *topic, struct kafka_measure *out, struct err *e)
{
        struct measuring s = {.work = mem_zalloc(LEVEL1)};
        enum status st = ST_OK;
        /* the youngest ones, and no more than it takes: what is older says how it was */
        for (int64_t records = 100; records <= 10000 && st == ST_OK && !s.m.all && s.m.looked_at < ENOUGH; records *= 10)
                st = look_back(&s, c, topic, records, e);
        s.m.enough = st == ST_OK && s.m.looked_at >= ENOUGH;
        *out = s.m;
        free(s.packed);
        free(s.work);
        return st;
}
