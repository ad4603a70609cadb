/* mock_broker: librdkafka's mock cluster of one broker, and the producer that owns it and writes the logs of a test. */
#ifndef PANGEA_TESTS_MOCK_BROKER_H
#define PANGEA_TESTS_MOCK_BROKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

/* To be freed with rd_kafka_destroy, and the cluster with it. */
static rd_kafka_t *mock_broker_start(rd_kafka_mock_cluster_t **cluster)
{
        char why[200];
        rd_kafka_conf_t *c = rd_kafka_conf_new();
        rd_kafka_conf_set_log_cb(c, NULL);
        assert_int_equal(rd_kafka_conf_set(c, "test.mock.num.brokers", "1", why, sizeof why), RD_KAFKA_CONF_OK);
        assert_int_equal(rd_kafka_conf_set(c, "linger.ms", "0", why, sizeof why), RD_KAFKA_CONF_OK);
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, c, why, sizeof why);
        assert_non_null(rk);
        *cluster = rd_kafka_handle_mock_cluster(rk);
        assert_non_null(*cluster);
        return rk;
}

#endif
