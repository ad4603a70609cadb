/* Writes records that count 0, 1, 2 .. into a log through kafka/, as capture does, and reads them as apply does, while test_broker.py does
 * things to the broker. A producer that died is made anew behind the last record that the log holds.
 *     broker_log BROKERS TOPIC      a line for each 100 ms: `delivered N read N opened N`; at the end of stdin the sum; exit 1 when wrong */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/kafka.h"

#define SAY_US INT64_C(100000)
#define END_US INT64_C(60000000)
#define AT_ONCE 10

struct run {
        struct kafka_conf conf;
        const char *topic;
        struct kafka_producer *producer;
        struct kafka_reader *reader;
        uint64_t next;      /* to be produced */
        uint64_t delivered; /* every record below it was reported */
        uint64_t read;      /* every record below it was read, in order */
        unsigned opened;
};

static void wrong(const char *what, uint64_t got, uint64_t want)
{
        printf("wrong: %s %llu, not %llu\n", what, (unsigned long long)got, (unsigned long long)want);
        exit(1);
}

static void need(enum status s, const char *what, const struct err *e)
{
        if (s == ST_OK || s == ST_RETRY)
                return;
        printf("wrong: %s: %s [%s] %s\n", what, status_name(s), e->name, e->msg);
        exit(1);
}

static void on_report(void *ctx, uint64_t tag, koffset_t offset, enum status code, const char *why)
{
        struct run *r = ctx;
        (void)why;
        if (code != ST_OK)
                return; /* what was written of it the log tells */
        if (tag != r->delivered)
                wrong("a report of", tag, r->delivered);
        if (offset.v >= 0 && offset.v != (int64_t)tag)
                wrong("a report's offset", (uint64_t)offset.v, tag);
        r->delivered = tag + 1;
}

static void read_some(struct run *r, int timeout_ms)
{
        struct kafka_msg m;
        struct err e;
        enum status s;
        while ((s = kafka_reader_next(r->reader, timeout_ms, &m, &e)) == ST_OK) {
                uint64_t got = 0;
                memcpy(&got, m.data, m.len < sizeof got ? m.len : sizeof got);
                if (got != r->read || m.offset.v != (int64_t)r->read)
                        wrong("read record", got, r->read);
                r->read++;
                kafka_msg_done(&m);
                timeout_ms = 0;
        }
        need(s, "reading", &e);
}

/* Reads to the end as the broker tells it. */
static void read_to_end(struct run *r)
{
        koffset_t low, high;
        struct err e;
        enum status s;
        int64_t until = clock_mono_us() + END_US;
        while ((s = kafka_reader_watermarks(r->reader, 1000, &low, &high, &e)) == ST_RETRY && clock_mono_us() < until)
                ;
        if (s != ST_OK)
                wrong("no end of the log is told: status", s, ST_OK);
        while (r->read < (uint64_t)high.v && clock_mono_us() < until)
                read_some(r, 100);
        if (r->read != (uint64_t)high.v)
                wrong("the log ends at", (uint64_t)high.v, r->read);
        if (r->delivered > r->read)
                wrong("lost: reported were", r->delivered, r->read);
}

static void open_producer(struct run *r)
{
        struct err e;
        if (r->opened++) {
                kafka_producer_close(r->producer);
                read_to_end(r);
        }
        r->next = r->delivered = r->read;
        need(kafka_producer_open(&r->producer, &r->conf, r->topic, on_report, r, &e), "opening", &e);
}

static void turn(struct run *r)
{
        struct err e;
        enum status s = ST_OK;
        for (int i = 0; i < AT_ONCE && s == ST_OK; i++) {
                s = kafka_produce(r->producer, "us", &r->next, sizeof r->next, r->next, &e);
                r->next += s == ST_OK;
        }
        if (s == ST_OK || s == ST_RETRY)
                s = kafka_producer_poll(r->producer, 1, &e);
        if (s == ST_FATAL)
                open_producer(r);
        else
                need(s, "writing", &e);
        read_some(r, 0);
}

static void say(const struct run *r)
{
        printf("delivered %llu read %llu opened %u\n", (unsigned long long)r->delivered, (unsigned long long)r->read, r->opened);
        fflush(stdout);
}

static void finish(struct run *r)
{
        struct err e;
        int64_t until = clock_mono_us() + END_US;
        while (r->delivered < r->next && clock_mono_us() < until)
                if (kafka_producer_flush(r->producer, 1000, &e) == ST_FATAL)
                        open_producer(r);
        if (r->delivered != r->next)
                wrong("reported at the end", r->delivered, r->next);
        read_to_end(r);
        if (r->read != r->next)
                wrong("read at the end", r->read, r->next);
        say(r);
        kafka_producer_close(r->producer);
        kafka_reader_close(r->reader);
}

int main(int argc, char **argv)
{
        struct err e;
        bool created;
        if (argc != 3)
                return 2;
        log_setup("shop", "us", LOG_WARN, false);
        struct run r = {.conf = {.brokers = argv[1], .client_id = "pangea-test"}, .topic = argv[2]};
        struct kafka_topic_spec spec = {.name = r.topic, .replication = 1, .min_insync = 1, .max_message_bytes = 1000000};
        need(kafka_topic_ensure(&r.conf, &spec, &created, &e), "the topic", &e);
        need(kafka_reader_open(&r.reader, &r.conf, r.topic, KAFKA_FROM_START, 8192, &e), "reading", &e);
        open_producer(&r);
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        for (int64_t said = 0; poll(&in, 1, 0) == 0;) {
                turn(&r);
                if (clock_mono_us() - said < SAY_US)
                        continue;
                said = clock_mono_us();
                say(&r);
        }
        finish(&r);
        return 0;
}
