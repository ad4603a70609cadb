/* client: librdkafka's errors as ours (what the caller should do, under a stable name), and what the broker says of a topic. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "kafka/client.h"

/* librdkafka repeats a complaint that lasts every 30 s; one that was not repeated is over. */
#define TROUBLE_US INT64_C(40000000)

static const struct {
        rd_kafka_resp_err_t code;
        enum status status;
        const char *name;
} meanings[] = {
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ST_DATA, "topic_missing"},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ST_DATA, "topic_missing"},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ST_DATA, "topic_missing"},
        {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, ST_DATA, "offset_gone"},
        {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ST_DATA, "offset_gone"},
        {RD_KAFKA_RESP_ERR_INVALID_MSG, ST_DATA, "log_damaged"},
        {RD_KAFKA_RESP_ERR__BAD_MSG, ST_DATA, "log_damaged"},
        {RD_KAFKA_RESP_ERR__BAD_COMPRESSION, ST_DATA, "log_damaged"},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ST_DATA, "record_too_large"},
        {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, ST_DATA, "record_too_large"},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ST_DATA, "kafka_denied"},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ST_DATA, "kafka_denied"},
        {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, ST_DATA, "kafka_denied"},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ST_CONFIG, ""},
        {RD_KAFKA_RESP_ERR__FATAL, ST_FATAL, "producer_fatal"},
        {RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE, ST_FATAL, "producer_fatal"},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, ST_RETRY, "kafka_login"},
        {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ST_RETRY, "kafka_login"},
        {RD_KAFKA_RESP_ERR__SSL, ST_RETRY, "kafka_tls"},
        {RD_KAFKA_RESP_ERR__TRANSPORT, ST_RETRY, "kafka_away"},
        {RD_KAFKA_RESP_ERR__RESOLVE, ST_RETRY, "kafka_away"},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, ST_RETRY, "kafka_away"},
        {RD_KAFKA_RESP_ERR__TIMED_OUT, ST_RETRY, "kafka_away"},
        {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, ST_RETRY, "kafka_away"},
        {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, ST_RETRY, "kafka_away"},
        {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, ST_RETRY, "kafka_away"},
};

enum status client_classify(rd_kafka_resp_err_t code, const char **name)
{
        for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
                if (meanings[i].code == code) {
                        *name = meanings[i].name;
                        return meanings[i].status;
                }
        *name = "";
        return ST_RETRY; /* librdkafka hands on only what it goes on trying, or what the table names */
}

static bool troubled(const struct client *cl)
{
        return cl->trouble_name[0] && clock_mono_us() - cl->trouble_at < TROUBLE_US;
}

enum status client_fail(struct client *cl, struct err *e, rd_kafka_resp_err_t code, const char *fmt, ...)
{
        const char *name, *why = rd_kafka_err2str(code);
        char context[300];
        va_list ap;
        if (cl->rk)
                rd_kafka_poll(cl->rk, 0); /* the reason of a time-out waits there */
        enum status st = client_classify(code, &name);
        if (st == ST_RETRY && troubled(cl)) {
                name = cl->trouble_name;
                why = cl->trouble;
        }
        va_start(ap, fmt);
        vsnprintf(context, sizeof context, fmt, ap);
        va_end(ap);
        return err_named(e, st, name, "%s: %s", context, why);
}

enum status client_waits(const struct client *cl, struct err *e, const char *otherwise)
{
        if (troubled(cl))
                return err_named(e, ST_RETRY, cl->trouble_name, "%s", cl->trouble);
        return err_set(e, ST_RETRY, "%s", otherwise);
}

static void read_topic(const rd_kafka_metadata_topic_t *t, struct topic_facts *out)
{
        out->partitions = t->partition_cnt;
        out->code = t->err;
        if (!t->err && t->partition_cnt == 0)
                out->code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE; /* it is being made */
        for (int i = 0; i < t->partition_cnt; i++) {
                if (t->partitions[i].id != 0)
                        continue;
                out->replicas = t->partitions[i].replica_cnt;
                out->insync = t->partitions[i].isr_cnt;
                if (t->partitions[i].err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || t->partitions[i].leader < 0)
                        out->code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        }
}

void client_topic(struct client *cl, rd_kafka_topic_t *rkt, int timeout_ms, struct topic_facts *out)
{
        const struct rd_kafka_metadata *md = NULL;
        *out = (struct topic_facts){.code = rd_kafka_metadata(cl->rk, 0, rkt, &md, timeout_ms > 0 ? timeout_ms : 1)};
        if (out->code)
                return;
        cl->trouble_name[0] = 0;
        out->brokers = md->broker_cnt;
        if (md->topic_cnt == 1)
                read_topic(&md->topics[0], out);
        else
                out->code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        rd_kafka_metadata_destroy(md);
}

void client_wake_fd(rd_kafka_queue_t *q, int fd)
{
        if (fd < 0) {
                rd_kafka_queue_io_event_enable(q, -1, NULL, 0);
                return;
        }
        /* librdkafka's threads write to it: they must never wait for us */
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        rd_kafka_queue_io_event_enable(q, fd, "1", 1);
        /* it wakes when something comes into an empty queue, and this one may not be empty */
        ssize_t unused = write(fd, "1", 1);
        (void)unused;
}
