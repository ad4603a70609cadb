/* How far behind the reader of a log is, in records and in bytes: what it has read is counted, what it has not is estimated from what was read last.
 * A log of small records and then large ones, in librdkafka's mock cluster, behind a queue of ten. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "apply/inlog.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/mock_broker.h"

#define TOPIC "shop.us.log"
#define SMALL 40
#define LARGE 60
#define QUEUE 10
#define TEXT 3000
#define LIMIT_US INT64_C(20000000)

struct world {
        rd_kafka_t *rk;
        struct kafka_conf conf;
        struct regset regs;
        int64_t records, small, large; /* small, large: bytes of one */
};

static void produce(struct world *w, rd_kafka_topic_t *topic, struct buf *out)
{
        assert_int_equal(rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, out->data, out->len, NULL, 0, NULL), 0);
        w->records++;
        out->len = 0;
}

/* An EPOCH, small PROGRESSes, large MARKERs. */
static void write_log(struct world *w, rd_kafka_topic_t *topic)
{
        char text[TEXT + 1];
        struct buf out;
        struct err e;
        struct record_head h = {.epoch = 1, .region = {0}, .incarnation = 1};
        struct record_epoch re = {
                .writes = 1, .reads_min = 1, .reads_max = 1, .system_id = "7", .timeline = 1, .database = "d", .slot = "s"};
        struct record_progress rp = {.wall_us = 6};
        memset(text, 'x', TEXT);
        text[TEXT] = 0;
        struct record_marker rm = {.what = "none", .text = text};
        buf_init(&out, 1 << 20);
        assert_int_equal(wire_encode_epoch(&out, &h, &re, &w->regs, &e), ST_OK);
        produce(w, topic, &out);
        for (uint64_t i = 1; i <= SMALL; i++) {
                h.seq = i;
                assert_int_equal(wire_encode_progress(&out, &h, &rp, &w->regs, &e), ST_OK);
                w->small = (int64_t)out.len;
                produce(w, topic, &out);
        }
        h.seq = 0;
        for (int i = 0; i < LARGE; i++) {
                assert_int_equal(wire_encode_marker(&out, &h, &rm, &w->regs, &e), ST_OK);
                w->large = (int64_t)out.len;
                produce(w, topic, &out);
        }
        assert_int_equal(rd_kafka_flush(w->rk, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
        buf_release(&out);
}

static int start(void **state)
{
        static const char *const keys[] = {"fetch.wait.max.ms"}, *const values[] = {"20"};
        static struct world w;
        rd_kafka_mock_cluster_t *cluster;
        log_setup("shop", "eu", LOG_ERROR, true);
        w.rk = mock_broker_start(&cluster);
        assert_int_equal(rd_kafka_mock_topic_create(cluster, TOPIC, 1, 1), 0);
        w.conf = (struct kafka_conf){.brokers = rd_kafka_mock_cluster_bootstraps(cluster),
                                     .client_id = "pangea-shop-eu-apply",
                                     .prop_keys = keys,
                                     .prop_values = values,
                                     .nprops = 1};
        regset_add(&w.regs, "us", 2);
        regset_add(&w.regs, "eu", 2);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(w.rk, TOPIC, NULL);
        write_log(&w, topic);
        rd_kafka_topic_destroy(topic);
        *state = &w;
        return 0;
}

static int stop(void **state)
{
        rd_kafka_destroy(((struct world *)*state)->rk);
        return 0;
}

static struct inlog *open_at(struct world *w, koffset_t offset)
{
        struct inlog *l = NULL;
        struct err e = {0};
        struct log_position from = {.incarnation = 1, .epoch = 1, .seq = (uint64_t)offset.v, .offset = offset};
        if (offset.v < 0)
                from = (struct log_position){.offset = offset};
        struct inlog_opts o = {.conf = &w->conf,
                               .topic = TOPIC,
                               .region = {0},
                               .regs = &w->regs,
                               .from = from,
                               .max_bytes = QUEUE * sizeof(struct log_item),
                               .wake_fd = -1};
        if (inlog_open(&l, &o, &e) != ST_OK)
                fail_msg("inlog_open: %s", e.msg);
        return l;
}

/* Until n wait, the queue being full or the log at its end. */
static void fill(struct inlog *l, size_t n)
{
        int64_t until = clock_mono_us() + LIMIT_US;
        while (inlog_queued(l) < n) {
                struct err e = {0};
                enum status s = inlog_pump(l, &e);
                if (s != ST_OK && s != ST_RETRY)
                        fail_msg("%s", e.msg);
                if (clock_mono_us() > until)
                        fail_msg("%zu wait, want %zu", inlog_queued(l), n);
                if (s == ST_RETRY)
                        poll(NULL, 0, 5);
        }
}

static void take(struct inlog *l, int n)
{
        for (; n; n--) {
                fill(l, 1);
                log_item_free(inlog_take(l));
        }
}

static void expect(struct inlog *l, const char *why, int64_t end, int64_t records, int64_t bytes)
{
        int64_t r = inlog_behind(l, (koffset_t){end}), b = inlog_behind_bytes(l, (koffset_t){end});
        if (r != records || b != bytes)
                fail_msg("%s: %" PRId64 " records, %" PRId64 " bytes; want %" PRId64 ", %" PRId64, why, r, b, records, bytes);
}

static void behind(void **state)
{
        struct world *w = *state;
        struct inlog *l = open_at(w, (koffset_t){-1});
        int64_t end = w->records;
        expect(l, "nobody knows where the log ends", -1, -1, -1);
        expect(l, "an empty log", 0, 0, 0);
        expect(l, "nothing was read, so no record's size is known", end, end, -1);
        take(l, 1);
        fill(l, QUEUE);
        expect(l, "small ones were read, so all are taken for small", end, end - 1, w->small * (end - 1));
        take(l, SMALL);
        fill(l, QUEUE);
        expect(l, "large ones wait: the small ones before them count no more", end, LARGE, w->large * LARGE);
        expect(l, "others came behind them", end + 100, LARGE + 100, w->large * (LARGE + 100));
        take(l, 5);
        expect(l, "five of ten wait", end, LARGE - 5, w->large * (LARGE - 5));
        take(l, LARGE - 5 - 2);
        fill(l, 2);
        expect(l, "all is read, and counted", end, 2, w->large * 2);
        take(l, 2);
        expect(l, "nothing waits", end, 0, 0);
        inlog_close(l);
}

/* Behind a restart the record that was applied last is read again: it does not count. */
static void behind_from_a_position(void **state)
{
        struct world *w = *state;
        struct inlog *l = open_at(w, (koffset_t){SMALL});
        expect(l, "nothing was read", w->records, LARGE, -1);
        fill(l, QUEUE);
        expect(l, "with the one that is applied", w->records, LARGE, w->large * (QUEUE - 1) + w->large * (LARGE - QUEUE + 1));
        inlog_close(l);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(behind), cmocka_unit_test(behind_from_a_position)};
        return cmocka_run_group_tests_name("apply: how far behind", tests, start, stop);
}
