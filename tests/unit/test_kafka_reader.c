/* The librdkafka wrapper against librdkafka's own mock cluster: a reader whose log or broker is not there, or has more than fits.
 * Real brokers are the matter of tests/integration. */
#include "tests/unit/kafka_mock.h"

static void fill(struct mock *m, uint64_t n)
{
        struct reports seen;
        struct err e = {0};
        struct kafka_producer *p = producer(&m->conf, &seen);
        assert_ok(kafka_producer_warm(p, 5000, &e));
        assert_ok(produce_tag(p, 0, &e));
        assert_ok(kafka_producer_flush(p, 10000, &e));
        for (uint64_t tag = 1; tag < n; tag++)
                assert_ok(produce_tag(p, tag, &e));
        assert_ok(kafka_producer_flush(p, 10000, &e));
        kafka_producer_close(p);
}

static struct kafka_reader *reader(struct mock *m, koffset_t from)
{
        struct kafka_reader *r = NULL;
        struct err e = {0};
        assert_ok(kafka_reader_open(&r, &m->conf, TOPIC, from, 4096, &e));
        return r;
}

/* Calls on until a record comes, which must be the one at `offset`, or an ST_DATA of that name; NULL = a record. */
static void expect(struct kafka_reader *r, int64_t offset, const char *name)
{
        int64_t until = clock_mono_us() + LIMIT_US;
        struct err e = {0};
        struct kafka_msg m;
        enum status st;
        while ((st = kafka_reader_next(r, 50, &m, &e)) == ST_RETRY)
                if (clock_mono_us() > until)
                        fail_msg("offset %lld %s: still %s", (long long)offset, name ? name : "", e.msg);
        if (name) {
                assert_int_equal(st, ST_DATA);
                assert_string_equal(e.name, name);
                return;
        }
        assert_ok(st);
        assert_int_equal(m.offset.v, offset);
        kafka_msg_done(&m);
}

/* Calls on until the reason for which there is nothing is that. */
static void expect_wait(struct kafka_reader *r, const char *name)
{
        int64_t until = clock_mono_us() + LIMIT_US;
        struct err e = {0};
        struct kafka_msg m;
        do {
                assert_int_equal(kafka_reader_next(r, 50, &m, &e), ST_RETRY);
                if (clock_mono_us() > until)
                        fail_msg("wanted %s, is %s %s", name, e.name, e.msg);
        } while (strcmp(e.name, name) != 0);
}

static void seeks_give_what_they_say(void **state)
{
        static const int64_t t[] = {0, 4999, 17, 17, 2500, 0, 4000};
        struct mock *m = *state;
        struct err e = {0};
        fill(m, 5000);
        struct kafka_reader *r = reader(m, (koffset_t){4998});
        expect(r, 4998, NULL);
        expect(r, 4999, NULL);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                assert_ok(kafka_reader_seek(r, (koffset_t){t[i]}, 1000, &e));
                for (int64_t at = t[i]; at < t[i] + 3 && at < 5000; at++)
                        expect(r, at, NULL);
        }
        assert_int_equal(kafka_reader_end(r).v, 5000);
        kafka_reader_close(r);
}

/* What librdkafka may hold is a fraction of the log: it stops to fetch again and again, each time for up to a second if nobody wakes it. */
static void a_log_that_does_not_fit_is_read_without_a_rest(void **state)
{
        enum { RECORDS = 40, SIZE = 100000, ROOM_KB = 1024 };
        static uint8_t noise[SIZE]; /* lz4 makes it no smaller */
        struct mock *m = *state;
        struct err e = {0};
        struct reports seen;
        struct kafka_reader *r = NULL;
        struct kafka_producer *p = producer(&m->conf, &seen);
        uint32_t x = 1;
        assert_ok(kafka_producer_warm(p, 5000, &e));
        for (uint64_t tag = 0; tag < RECORDS; tag++) {
                for (size_t i = 0; i < sizeof noise; i++)
                        noise[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
                assert_ok(kafka_produce(p, "us", noise, sizeof noise, tag, &e));
                assert_ok(kafka_producer_flush(p, 10000, &e));
        }
        kafka_producer_close(p);
        assert_ok(kafka_reader_open(&r, &m->conf, TOPIC, KAFKA_FROM_START, ROOM_KB, &e));
        expect(r, 0, NULL);
        int64_t begin = clock_mono_us(), longest = 0;
        for (int64_t at = 1; at < RECORDS; at++) {
                poll(NULL, 0, 10); /* whoever reads has work with each */
                int64_t before = clock_mono_us();
                expect(r, at, NULL);
                longest = clock_mono_us() - before > longest ? clock_mono_us() - before : longest;
        }
        if (clock_mono_us() - begin > 1500000)
                fail_msg("%d records took %.1f s, one of them %.1f s", RECORDS, (double)(clock_mono_us() - begin) / 1e6,
                         (double)longest / 1e6);
        kafka_reader_close(r);
}

/* As capture looks at the end of its log when it starts: librdkafka 2.0.2 fetches nothing for good when it is sent elsewhere while it asks
 * where the end is. */
static void a_reader_sent_elsewhere_at_once_reads(void **state)
{
        struct mock *m = *state;
        struct err e = {0};
        fill(m, 10);
        for (int i = 0; i < 60; i++) {
                struct kafka_reader *r = reader(m, i % 2 ? KAFKA_FROM_END : KAFKA_FROM_START);
                assert_ok(kafka_reader_seek(r, (koffset_t){i % 10}, 1000, &e));
                expect(r, i % 10, NULL);
                kafka_reader_close(r);
        }
}

static void an_offset_that_is_not_there_is_told_until_a_seek(void **state)
{
        struct mock *m = *state;
        struct err e = {0};
        fill(m, 10);
        struct kafka_reader *r = reader(m, (koffset_t){1000});
        for (int i = 0; i < 3; i++)
                expect(r, 0, "offset_gone");
        assert_ok(kafka_reader_seek(r, (koffset_t){7}, 1000, &e));
        expect(r, 7, NULL);
        kafka_reader_close(r);
}

static void a_broker_that_errs_for_a_moment_stops_no_reader(void **state)
{
        static const rd_kafka_resp_err_t t[] = {
                RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, /* it is in range: asked, and begun anew */
                RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,   RD_KAFKA_RESP_ERR__TRANSPORT,
        };
        struct mock *m = *state;
        struct err e = {0};
        fill(m, 20);
        struct kafka_reader *r = reader(m, KAFKA_FROM_START);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                rd_kafka_mock_push_request_errors(m->cluster, API_FETCH, 1, t[i]);
                assert_ok(kafka_reader_seek(r, (koffset_t){5}, 1000, &e));
                for (int64_t at = 5; at < 20; at++)
                        expect(r, at, NULL);
        }
        kafka_reader_close(r);
}

/* Without the wait in kafka_reader_close librdkafka 2.0.2 hangs in one of ten or so. */
static void closing_while_an_offset_is_refused_ends(void **state)
{
        struct mock *m = *state;
        fill(m, 3);
        for (int i = 0; i < 40; i++) {
                koffset_t low, high;
                struct err e;
                struct kafka_reader *r = reader(m, (koffset_t){99});
                assert_ok(kafka_reader_watermarks(r, 5000, &low, &high, &e)); /* now the first fetch is on its way */
                kafka_reader_close(r);
        }
}

static void missing_rights_are_told_and_gone_when_granted(void **state)
{
        struct mock *m = *state;
        fill(m, 3);
        rd_kafka_mock_push_request_errors(m->cluster, API_FETCH, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        struct kafka_reader *r = reader(m, KAFKA_FROM_START);
        expect(r, 0, "kafka_denied");
        expect(r, 0, NULL);
        kafka_reader_close(r);
}

static void a_broker_that_is_away_is_waited_for(void **state)
{
        struct mock *m = *state;
        fill(m, 5);
        struct kafka_reader *r = reader(m, KAFKA_FROM_START);
        expect(r, 0, NULL);
        for (int64_t at = 1; at < 5; at++)
                expect(r, at, NULL);
        rd_kafka_mock_broker_set_down(m->cluster, 1);
        expect_wait(r, "kafka_away");
        rd_kafka_mock_broker_set_up(m->cluster, 1);
        fill(m, 2);
        expect(r, 5, NULL);
        expect(r, 6, NULL);
        expect_wait(r, ""); /* and the trouble is forgotten */
        kafka_reader_close(r);
}

static void a_missing_topic_is_told_after_two_seconds_and_found_when_it_comes(void **state)
{
        struct mock *m = *state;
        fill(m, 2);
        rd_kafka_mock_topic_set_error(m->cluster, TOPIC, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        struct reports unused;
        struct kafka_producer *p = producer(&m->conf, &unused);
        struct err e = {0};
        int64_t began = clock_mono_us();
        enum status st;
        while ((st = kafka_producer_warm(p, 100, &e)) == ST_RETRY && clock_mono_us() - began < LIMIT_US)
                ; /* the broker is not reached yet */
        assert_int_equal(st, ST_DATA);
        assert_string_equal(e.name, "topic_missing");
        kafka_producer_close(p);

        began = clock_mono_us();
        struct kafka_reader *r = reader(m, KAFKA_FROM_START);
        expect(r, 0, "topic_missing");
        assert_true(clock_mono_us() - began >= 2000000);
        rd_kafka_mock_topic_set_error(m->cluster, TOPIC, RD_KAFKA_RESP_ERR_NO_ERROR);
        struct kafka_msg msg;
        while ((st = kafka_reader_next(r, 100, &msg, &e)) != ST_OK)
                if (clock_mono_us() - began > LIMIT_US)
                        fail_msg("%s %s", status_name(st), e.msg);
        assert_int_equal(msg.offset.v, 0);
        kafka_msg_done(&msg);
        kafka_reader_close(r);
}

/* Sleeps in poll(2) until it is woken, as the agents do. */
static void sleep_until_woken(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char bytes[64];
        if (poll(&p, 1, (int)(LIMIT_US / 1000)) != 1)
                fail_msg("nothing woke the poll");
        assert_true(read(fd, bytes, sizeof bytes) > 0);
}

static void records_and_reports_wake_a_poll(void **state)
{
        struct mock *m = *state;
        struct reports seen;
        struct err e = {0};
        int woken[2], reported[2];
        assert_int_equal(pipe(woken), 0);
        assert_int_equal(pipe(reported), 0);
        struct kafka_producer *p = producer(&m->conf, &seen);
        struct kafka_reader *r = reader(m, KAFKA_FROM_START);
        kafka_reader_wake_fd(r, woken[1]);
        kafka_producer_wake_fd(p, reported[1]);
        assert_true(fcntl(woken[1], F_GETFL) & O_NONBLOCK);
        for (uint64_t tag = 0; tag < 20; tag++) {
                assert_ok(produce_tag(p, tag, &e));
                while (kafka_producer_pending(p) > 0) {
                        sleep_until_woken(reported[0]);
                        assert_ok(kafka_producer_poll(p, 0, &e));
                }
                struct kafka_msg msg;
                while (kafka_reader_next(r, 0, &msg, &e) != ST_OK)
                        sleep_until_woken(woken[0]);
                assert_int_equal(msg.offset.v, tag);
                kafka_msg_done(&msg);
        }
        kafka_reader_close(r);
        kafka_producer_close(p);
        for (int i = 0; i < 2; i++) {
                close(woken[i]);
                close(reported[i]);
        }
}

static void a_time_behind_the_last_record_is_the_end(void **state)
{
        struct mock *m = *state;
        struct err e = {0};
        koffset_t at;
        fill(m, 4);
        assert_ok(kafka_offset_at(&m->conf, TOPIC, clock_wall_us() + 60000000, &at, &e));
        assert_int_equal(at.v, 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_MOCK(seeks_give_what_they_say),
                WITH_MOCK(a_log_that_does_not_fit_is_read_without_a_rest),
                WITH_MOCK(a_reader_sent_elsewhere_at_once_reads),
                WITH_MOCK(an_offset_that_is_not_there_is_told_until_a_seek),
                WITH_MOCK(a_broker_that_errs_for_a_moment_stops_no_reader),
                WITH_MOCK(closing_while_an_offset_is_refused_ends),
                WITH_MOCK(missing_rights_are_told_and_gone_when_granted),
                WITH_MOCK(a_broker_that_is_away_is_waited_for),
                WITH_MOCK(a_missing_topic_is_told_after_two_seconds_and_found_when_it_comes),
                WITH_MOCK(records_and_reports_wake_a_poll),
                WITH_MOCK(a_time_behind_the_last_record_is_the_end),
        };
        log_setup("test", "us", LOG_ERROR, false);
        return cmocka_run_group_tests(tests, handle_start, handle_stop);
}
