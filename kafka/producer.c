/* producer: the idempotent producer of one log.
 * What it adds to librdkafka: after the first record that failed nothing more goes into the log through this producer, and nothing
 * more counts as delivered. Whoever sees the failure makes a new producer and begins at the log's tail; a record written behind a
 * hole would make it believe that the hole is there. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kafka/client.h"

struct kafka_producer {
        struct client client;
        rd_kafka_topic_t *rkt;
        rd_kafka_queue_t *reports;
        kafka_delivered *cb;
        void *ctx;
        size_t pending;
        bool known; /* Kafka has accepted a record of this producer */
        bool closing;
        struct err dead; /* code ST_OK while it lives */
        char topic[];
};

/* A topic that was made a moment ago is not known to every broker yet. */
#define TOPIC_SPREADS_MS 2000
#define LAST_ASK_MS 300

static void die(struct kafka_producer *p, const char *why)
{
        if (!p->dead.code)
                err_named(&p->dead, ST_FATAL, "producer_fatal", "log %s: the producer must be made anew: %s", p->topic, why);
}

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *client)
{
        struct kafka_producer *p = ((struct client *)client)->owner;
        (void)rk;
        p->pending--;
        if (p->closing)
                return;
        if (m->err)
                die(p, rd_kafka_err2str(m->err));
        /* -1: Kafka had it already from an earlier try, and did not say where */
        koffset_t at = {m->offset >= 0 ? m->offset : -1};
        uint64_t tag = (uint64_t)(uintptr_t)m->_private;
        p->known = true;
        if (p->dead.code)
                p->cb(p->ctx, tag, (koffset_t){-1}, ST_FATAL, p->dead.msg);
        else
                p->cb(p->ctx, tag, at, ST_OK, "");
}

enum status kafka_producer_open(struct kafka_producer **out, const struct kafka_conf *c, const char *topic, kafka_delivered *cb,
                                void *ctx, struct err *e)
{
        size_t name = strlen(topic) + 1;
        struct kafka_producer *p = mem_zalloc(sizeof *p + name);
        enum status st;
        *out = NULL;
        memcpy(p->topic, topic, name);
        p->cb = cb;
        p->ctx = ctx;
        p->client.owner = p;
        st = client_open(&p->client, c, &(struct client_opts){.kind = CLIENT_PRODUCER, .delivered = on_delivered}, e);
        if (st)
                goto fail;
        p->reports = rd_kafka_queue_get_main(p->client.rk);
        p->rkt = rd_kafka_topic_new(p->client.rk, topic, NULL);
        if (!p->rkt) {
                st = client_fail(&p->client, e, rd_kafka_last_error(), "log %s", topic);
                goto fail;
        }
        *out = p;
        return ST_OK;
fail:
        kafka_producer_close(p);
        return st;
}

enum status kafka_producer_warm(struct kafka_producer *p, int timeout_ms, struct err *e)
{
        int64_t deadline = client_deadline(timeout_ms), spread = client_deadline(TOPIC_SPREADS_MS);
        for (;;) {
                struct topic_facts t;
                client_topic(&p->client, p->rkt, client_left_ms(deadline), &t);
                if (!t.code)
                        return ST_OK;
                enum status st = client_fail(&p->client, e, t.code, "log %s", p->topic);
                bool may_come = st == ST_RETRY || (t.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && client_left_ms(spread) > 0);
                if (!may_come || client_left_ms(deadline) < LAST_ASK_MS)
                        return st; /* a question that has no time for its answer would say "timed out" instead of what is wrong */
                rd_kafka_poll(p->client.rk, 50);
        }
}

static enum status see_fatal(struct kafka_producer *p, struct err *e)
{
        char why[400];
        if (!p->dead.code && rd_kafka_fatal_error(p->client.rk, why, sizeof why))
                die(p, why);
        if (p->dead.code && e)
                *e = p->dead;
        return p->dead.code;
}

enum status kafka_produce(struct kafka_producer *p, const char *key, const void *data, size_t len, uint64_t tag, struct err *e)
{
        return kafka_produce_at(p, 0, key, data, len, tag, e);
}

enum status kafka_produce_at(struct kafka_producer *p, int64_t time_us, const char *key, const void *data, size_t len, uint64_t tag,
                             struct err *e)
{
        /* reports of failed records first: nothing may be written behind one of them */
        rd_kafka_poll(p->client.rk, 0);
        if (see_fatal(p, e))
                return ST_FATAL;
        /* A broker takes any sequence number from a producer it does not know yet: were the first record refused, the second, already
         * on its way, would be accepted. From then on a hole makes it refuse what follows. */
        if (!p->known && p->pending > 0)
                return err_set(e, ST_RETRY, "log %s: the first record waits to be delivered", p->topic);
        rd_kafka_resp_err_t code = rd_kafka_producev(
                p->client.rk, RD_KAFKA_V_RKT(p->rkt), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                RD_KAFKA_V_VALUE((void *)(uintptr_t)data, len), RD_KAFKA_V_KEY(key, key ? strlen(key) : 0),
                RD_KAFKA_V_TIMESTAMP(time_us / 1000), RD_KAFKA_V_OPAQUE((void *)(uintptr_t)tag), RD_KAFKA_V_END);
        if (!code) {
                p->pending++;
                return ST_OK;
        }
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
                return err_set(e, ST_RETRY, "log %s: %zu records wait to be delivered", p->topic, p->pending);
        if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
                return err_named(
                        e, ST_DATA, "record_too_large",
                        "log %s: a record of %zu bytes is larger than the Kafka property message.max.bytes: raise it there "
                        "and the topic's max.message.bytes",
                        p->topic, len);
        return client_fail(&p->client, e, code, "log %s", p->topic);
}

enum status kafka_producer_poll(struct kafka_producer *p, int timeout_ms, struct err *e)
{
        rd_kafka_poll(p->client.rk, timeout_ms);
        return see_fatal(p, e);
}

void kafka_producer_wake_fd(struct kafka_producer *p, int fd)
{
        client_wake_fd(p->reports, fd);
}

size_t kafka_producer_pending(const struct kafka_producer *p)
{
        return p->pending;
}

enum status kafka_producer_flush(struct kafka_producer *p, int timeout_ms, struct err *e)
{
        int64_t deadline = client_deadline(timeout_ms);
        while (p->pending > 0 && !see_fatal(p, e)) {
                int left = client_left_ms(deadline);
                rd_kafka_poll(p->client.rk, left < 100 ? left : 100);
                if (p->pending > 0 && client_left_ms(deadline) == 0)
                        return client_waits(&p->client, e, "records wait to be delivered");
        }
        return see_fatal(p, e);
}

void kafka_producer_close(struct kafka_producer *p)
{
        if (!p)
                return;
        p->closing = true;
        if (p->client.rk) {
                /* a handle of which messages are left would wait for them */
                rd_kafka_purge(p->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
                rd_kafka_poll(p->client.rk, 0);
        }
        if (p->reports) {
                client_wake_fd(p->reports, -1);
                rd_kafka_queue_destroy(p->reports);
        }
        if (p->rkt)
                rd_kafka_topic_destroy(p->rkt);
        client_close(&p->client);
        free(p);
}
