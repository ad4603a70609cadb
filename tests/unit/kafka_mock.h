/* kafka_mock: what tests of kafka/ share: a mock cluster of librdkafka's for each test, and a producer whose reports must come in order. */
#ifndef PANGEA_TESTS_KAFKA_MOCK_H
#define PANGEA_TESTS_KAFKA_MOCK_H

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/kafka.h"

#define TOPIC "shop.us.log"
#define LIMIT_US INT64_C(10000000) /* for conditions that do come */
enum { API_PRODUCE = 0, API_FETCH = 1, API_LIST_OFFSETS = 2 };

struct mock {
        rd_kafka_t *rk;
        rd_kafka_mock_cluster_t *cluster;
        struct kafka_conf conf;
};

/* One handle for all tests (ending one takes up to a second), a cluster for each. */
static inline int handle_start(void **state)
{
        static struct mock m;
        char why[200];
        rd_kafka_conf_t *quiet = rd_kafka_conf_new();
        rd_kafka_conf_set_log_cb(quiet, NULL);
        m = (struct mock){.rk = rd_kafka_new(RD_KAFKA_PRODUCER, quiet, why, sizeof why)};
        assert_non_null(m.rk);
        *state = &m;
        return 0;
}

static inline int handle_stop(void **state)
{
        struct mock *m = *state;
        rd_kafka_destroy(m->rk);
        return 0;
}

static inline int mock_start(void **state)
{
        struct mock *m = *state;
        m->cluster = rd_kafka_mock_cluster_new(m->rk, 1);
        assert_non_null(m->cluster);
        assert_int_equal(rd_kafka_mock_topic_create(m->cluster, TOPIC, 1, 1), 0);
        /* the defaults are polite to a real broker, and cost half a second for each error or seek */
        static const char *const keys[] = {"fetch.wait.max.ms", "fetch.error.backoff.ms", "retry.backoff.ms",
                                           "topic.metadata.refresh.fast.interval.ms", "reconnect.backoff.max.ms"},
                                 *const values[] = {"20", "20", "20", "20", "100"};
        m->conf = (struct kafka_conf){.brokers = rd_kafka_mock_cluster_bootstraps(m->cluster),
                                      .client_id = "pangea-test",
                                      .prop_keys = keys,
                                      .prop_values = values,
                                      .nprops = 5};
        return 0;
}

static inline int mock_stop(void **state)
{
        struct mock *m = *state;
        rd_kafka_mock_cluster_destroy(m->cluster);
        return 0;
}

#define assert_ok(call)                                                                        \
        do {                                                                                   \
                if ((call) != ST_OK)                                                           \
                        fail_msg("%s: %s [%s] %s", #call, status_name(e.code), e.name, e.msg); \
        } while (0)

/* What the reports said: tags must come in order, and no success behind a failure. */
struct reports {
        uint64_t next;
        size_t ok, failed;
        bool out_of_order, success_behind_failure;
        int64_t last_offset;
};

static inline void on_report(void *ctx, uint64_t tag, koffset_t offset, enum status code, const char *why)
{
        struct reports *r = ctx;
        r->out_of_order |= tag != r->next;
        r->next = tag + 1;
        if (code == ST_OK) {
                r->success_behind_failure |= r->failed > 0;
                r->out_of_order |= offset.v >= 0 && offset.v <= r->last_offset;
                r->last_offset = offset.v;
                r->ok++;
        } else {
                assert_int_equal(code, ST_FATAL);
                assert_true(why[0]);
                r->failed++;
        }
}

static inline struct kafka_producer *producer(const struct kafka_conf *c, struct reports *r)
{
        struct kafka_producer *p = NULL;
        struct err e = {0};
        *r = (struct reports){.last_offset = -1};
        assert_ok(kafka_producer_open(&p, c, TOPIC, on_report, r, &e));
        return p;
}

static inline enum status produce_tag(struct kafka_producer *p, uint64_t tag, struct err *e)
{
        char record[24];
        int n = snprintf(record, sizeof record, "%llu", (unsigned long long)tag);
        return kafka_produce(p, "us", record, (size_t)n, tag, e);
}

#define WITH_MOCK(test) cmocka_unit_test_setup_teardown(test, mock_start, mock_stop)

#endif
