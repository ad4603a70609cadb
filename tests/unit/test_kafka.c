/* The librdkafka wrapper against librdkafka's own mock cluster: properties, errors, and a producer whose broker refuses or forgets.
 * Real brokers are the matter of tests/integration. */
#include "tests/unit/kafka_mock.h"

/* ---- properties ---------------------------------------------------------------------------------------------------------------------- */

static void properties_are_checked_by_librdkafka(void **state)
{
        static const struct {
                const char *why, *key, *value;
                enum status want;
                const char *says;
        } t[] = {
                {"an ordinary one", "security.protocol", "SASL_SSL", ST_OK, ""},
                {"a tuning of the client", "socket.receive.buffer.bytes", "1000000", ST_OK, ""},
                {"a property of topics", "compression.type", "zstd", ST_OK, ""},
                {"a default of ours may be changed", "message.max.bytes", "5000000", ST_OK, ""},
                {"a typing error", "securty.protocol", "SSL", ST_CONFIG, "no property securty.protocol"},
                {"a value that is none", "compression.type", "zip", ST_CONFIG, "compression.type"},
                {"out of range names the range", "message.max.bytes", "1", ST_CONFIG, "1000"},
                {"brokers have their own key", "bootstrap.servers", "h:1", ST_CONFIG, "brokers"},
                {"idempotence is not negotiable", "enable.idempotence", "false", ST_CONFIG, "always sets it to true"},
                {"nor acks, even when they agree", "acks", "all", ST_CONFIG, "always sets it to all"},
                {"by its other name", "request.required.acks", "1", ST_CONFIG, "always all"},
                {"a record is never given up", "message.timeout.ms", "1000", ST_CONFIG, "always sets it to 0"},
                {"no group", "group.id", "g", ST_CONFIG, "without a group"},
                {"no code from outside", "plugin.library.paths", "evil.so", ST_CONFIG, "no code"},
                {"an offset that is gone must be an error", "auto.offset.reset", "earliest", ST_CONFIG, "error"},
                {"no silent new topics", "allow.auto.create.topics", "true", ST_CONFIG, "false"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct err e = {0};
                enum status got = kafka_check_property(t[i].key, t[i].value, &e);
                if (got != t[i].want || !strstr(e.msg, t[i].says))
                        fail_msg("%s: %s %s", t[i].why, status_name(got), e.msg);
        }
}

#define CANARY "canary-7d1f"

static void no_error_shows_a_value(void **state)
{
        struct mock *m = *state;
        struct err e = {0};
        static const char *const keys[] = {"security.protocol", "broker.address.family", "compression.type", "ssl.key.password",
                                           "nonsense"};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
                err_clear(&e);
                enum status st = kafka_check_property(keys[i], CANARY, &e);
                if (st == ST_CONFIG ? !e.msg[0] : strcmp(keys[i], "ssl.key.password") != 0)
                        fail_msg("%s: %s", keys[i], status_name(st));
                if (strstr(e.msg, CANARY))
                        fail_msg("%s: %s", keys[i], e.msg);
        }
        /* a number is shown unless it is a secret one */
        assert_int_equal(kafka_check_property("message.max.bytes", "7", &e), ST_CONFIG);
        assert_non_null(strstr(e.msg, "7"));

        static const char *const open_keys[] = {"security.protocol", "ssl.key.pem", "ssl.key.password"};
        static const char *const open_values[] = {"ssl", CANARY, CANARY};
        struct kafka_conf c = m->conf;
        struct kafka_reader *r = NULL;
        c.prop_keys = open_keys;
        c.prop_values = open_values;
        c.nprops = 3;
        assert_int_equal(kafka_reader_open(&r, &c, TOPIC, KAFKA_FROM_START, 1024, &e), ST_CONFIG);
        assert_null(r);
        assert_non_null(strstr(e.msg, "ssl"));
        assert_null(strstr(e.msg, CANARY));
}

static void what_an_error_means(void **state)
{
        static const struct {
                rd_kafka_resp_err_t code;
                enum status status;
                const char *name;
        } t[] = {
                {RD_KAFKA_RESP_ERR__TRANSPORT, ST_RETRY, "kafka_away"},
                {RD_KAFKA_RESP_ERR__AUTHENTICATION, ST_RETRY, "kafka_login"},
                {RD_KAFKA_RESP_ERR__SSL, ST_RETRY, "kafka_tls"},
                {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ST_DATA, "topic_missing"},
                {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ST_DATA, "topic_missing"},
                {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, ST_DATA, "offset_gone"},
                {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ST_DATA, "offset_gone"},
                {RD_KAFKA_RESP_ERR__BAD_MSG, ST_DATA, "log_damaged"},
                {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ST_DATA, "kafka_denied"},
                {RD_KAFKA_RESP_ERR__FATAL, ST_FATAL, "producer_fatal"},
                {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, ST_RETRY, ""},
        };
        (void)state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                const char *name;
                assert_int_equal(client_classify(t[i].code, &name), t[i].status);
                assert_string_equal(name, t[i].name);
        }
}

/* ---- producer ------------------------------------------------------------------------------------------------------------------------ */

/* Reads records whose text counts from 0 to n - 1. */
static void expect_records(const struct kafka_conf *c, size_t n)
{
        struct kafka_reader *r = NULL;
        struct kafka_msg m;
        struct err e = {0};
        int64_t until = clock_mono_us() + LIMIT_US;
        assert_ok(kafka_reader_open(&r, c, TOPIC, KAFKA_FROM_START, 8192, &e));
        for (size_t i = 0; i < n;) {
                enum status st = kafka_reader_next(r, 100, &m, &e);
                if (st == ST_OK) {
                        char want[24];
                        snprintf(want, sizeof want, "%zu", i);
                        assert_int_equal(m.offset.v, i);
                        assert_int_equal(m.len, strlen(want));
                        assert_memory_equal(m.data, want, m.len);
                        assert_true(m.time_us > 0);
                        kafka_msg_done(&m);
                        i++;
                } else if (st != ST_RETRY || clock_mono_us() > until) {
                        fail_msg("record %zu of %zu: %s %s", i, n, status_name(st), e.msg);
                }
        }
        /* and nothing behind them */
        koffset_t low, high;
        assert_ok(kafka_reader_watermarks(r, 5000, &low, &high, &e));
        assert_int_equal(low.v, 0);
        assert_int_equal(high.v, n);
        kafka_reader_close(r);
}

static void refusals_that_pass_lose_and_double_nothing(void **state)
{
        static const rd_kafka_resp_err_t t[] = {
                RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,     RD_KAFKA_RESP_ERR__TRANSPORT, /* the mock hangs up */
        };
        struct mock *m = *state;
        struct reports seen;
        struct err e = {0};
        struct kafka_producer *p = producer(&m->conf, &seen);
        assert_ok(kafka_producer_warm(p, 5000, &e));
        uint64_t tag = 0;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                rd_kafka_mock_push_request_errors(m->cluster, API_PRODUCE, 2, t[i], t[i]);
                /* one at a time where it errs: the mock keeps no sequence numbers, so it would take the second before the first */
                assert_ok(produce_tag(p, tag++, &e));
                assert_ok(kafka_producer_flush(p, 10000, &e));
                for (int k = 0; k < 20; k++)
                        assert_ok(produce_tag(p, tag++, &e));
                assert_ok(kafka_producer_flush(p, 10000, &e));
        }
        assert_int_equal(seen.ok, tag);
        assert_false(seen.out_of_order);
        assert_int_equal(kafka_producer_pending(p), 0);
        kafka_producer_close(p);
        expect_records(&m->conf, tag);
}

static void nothing_is_written_behind_a_hole(void **state)
{
        static const rd_kafka_resp_err_t t[] = {
                RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                RD_KAFKA_RESP_ERR_INVALID_RECORD,
        };
        struct mock *m = *state;
        uint64_t tag = 0;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct reports seen;
                struct err e = {0};
                struct kafka_producer *p = producer(&m->conf, &seen);
                uint64_t first = seen.next = tag;
                assert_ok(kafka_producer_warm(p, 5000, &e));
                assert_ok(produce_tag(p, tag++, &e));
                assert_ok(kafka_producer_flush(p, 10000, &e));
                rd_kafka_mock_push_request_errors(m->cluster, API_PRODUCE, 1, t[i]);
                /* one record: a real broker refuses those on their way behind it by their sequence, which the mock does not keep */
                assert_ok(produce_tag(p, tag, &e));
                int64_t until = clock_mono_us() + LIMIT_US;
                enum status st;
                while ((st = kafka_producer_poll(p, 50, &e)) == ST_OK && clock_mono_us() < until)
                        assert_int_equal(seen.failed, 0);
                assert_int_equal(st, ST_FATAL);
                assert_int_equal(produce_tag(p, tag, &e), ST_FATAL);
                assert_string_equal(e.name, "producer_fatal");
                assert_int_equal(kafka_producer_flush(p, 5000, &e), ST_FATAL);
                while (kafka_producer_pending(p) > 0 && clock_mono_us() < until)
                        assert_int_equal(kafka_producer_poll(p, 10, &e), ST_FATAL);
                assert_int_equal(kafka_producer_poll(p, 0, &e), ST_FATAL);
                assert_int_equal(seen.ok, tag - first);
                assert_int_equal(seen.failed, 1);
                assert_false(seen.success_behind_failure || seen.out_of_order);
                kafka_producer_close(p);
        }
        expect_records(&m->conf, tag);
}

static void the_first_record_goes_alone(void **state)
{
        struct mock *m = *state;
        struct reports seen;
        struct err e = {0};
        rd_kafka_mock_broker_set_rtt(m->cluster, 1, 200); /* the report cannot be there before the second record */
        struct kafka_producer *p = producer(&m->conf, &seen);
        assert_ok(produce_tag(p, 0, &e));
        assert_int_equal(produce_tag(p, 1, &e), ST_RETRY);
        assert_int_equal(kafka_producer_pending(p), 1);
        rd_kafka_mock_broker_set_rtt(m->cluster, 1, 0);
        int64_t until = clock_mono_us() + LIMIT_US;
        while (produce_tag(p, 1, &e) == ST_RETRY && clock_mono_us() < until)
                assert_ok(kafka_producer_poll(p, 50, &e));
        assert_true(seen.ok >= 1);
        assert_ok(kafka_producer_flush(p, 10000, &e));
        kafka_producer_close(p);
        expect_records(&m->conf, 2);
}

static void a_full_queue_pushes_back(void **state)
{
        static const char *const keys[] = {"queue.buffering.max.messages"}, *const values[] = {"10"};
        struct mock *m = *state;
        struct reports seen;
        struct err e = {0};
        struct kafka_conf c = m->conf;
        c.prop_keys = keys;
        c.prop_values = values;
        c.nprops = 1;
        struct kafka_producer *p = producer(&c, &seen);
        assert_ok(produce_tag(p, 0, &e));
        assert_ok(kafka_producer_flush(p, 10000, &e));
        rd_kafka_mock_broker_set_down(m->cluster, 1);
        for (uint64_t tag = 1; tag < 11; tag++)
                assert_ok(produce_tag(p, tag, &e));
        assert_int_equal(produce_tag(p, 11, &e), ST_RETRY);
        assert_int_equal(kafka_producer_pending(p), 10);
        assert_int_equal(kafka_producer_flush(p, 200, &e), ST_RETRY);
        assert_int_equal(kafka_producer_warm(p, 200, &e), ST_RETRY);
        assert_string_equal(e.name, "kafka_away");
        rd_kafka_mock_broker_set_up(m->cluster, 1);
        assert_ok(kafka_producer_flush(p, 10000, &e));
        assert_ok(produce_tag(p, 11, &e));
        assert_ok(kafka_producer_flush(p, 10000, &e));
        kafka_producer_close(p);
        expect_records(&m->conf, 12);
}

static void a_record_that_is_too_large_is_refused_by_name(void **state)
{
        static char large[1000001];
        struct mock *m = *state;
        struct reports seen;
        struct err e = {0};
        struct kafka_producer *p = producer(&m->conf, &seen);
        assert_int_equal(kafka_produce(p, "us", large, sizeof large, 0, &e), ST_DATA);
        assert_string_equal(e.name, "record_too_large");
        assert_int_equal(kafka_producer_pending(p), 0);
        kafka_producer_close(p);
}

static void closing_calls_no_report(void **state)
{
        struct mock *m = *state;
        struct reports seen;
        struct err e = {0};
        rd_kafka_mock_broker_set_down(m->cluster, 1);
        struct kafka_producer *p = producer(&m->conf, &seen);
        assert_ok(produce_tag(p, 0, &e));
        kafka_producer_close(p);
        assert_int_equal(seen.next, 0);
        kafka_producer_close(NULL);
        kafka_reader_close(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(properties_are_checked_by_librdkafka),
                cmocka_unit_test(what_an_error_means),
                WITH_MOCK(no_error_shows_a_value),
                WITH_MOCK(refusals_that_pass_lose_and_double_nothing),
                WITH_MOCK(nothing_is_written_behind_a_hole),
                WITH_MOCK(the_first_record_goes_alone),
                WITH_MOCK(a_full_queue_pushes_back),
                WITH_MOCK(a_record_that_is_too_large_is_refused_by_name),
                WITH_MOCK(closing_calls_no_report),
        };
        log_setup("test", "us", LOG_ERROR, false);
        return cmocka_run_group_tests(tests, handle_start, handle_stop);
}
