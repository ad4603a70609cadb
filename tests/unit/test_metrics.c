/* metrics: the registry, the table of metrics and its documentation, the gauges of capture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/gauges.h"
#include "topology/metrics.h"

enum { COUNT, GAUGE, AGE, TIMES };
static const struct metric_row rows[] = {
        [COUNT] = {"x_things_total", METRIC_COUNTER, {"table"}, "Things."},
        [GAUGE] = {"x_level", METRIC_GAUGE, {0}, "Level."},
        [AGE] = {"x_age_seconds", METRIC_AGE, {0}, "Age."},
        [TIMES] = {"x_seconds", METRIC_HISTOGRAM, {"origin"}, "Times."},
};

static struct metrics *make(void)
{
        return metrics_new(rows, 4, "region", "us");
}

static void prints(struct metrics *m, double now_s, const char *want)
{
        struct buf b;
        buf_init(&b, 0);
        metrics_print(m, now_s, &b);
        assert_string_equal(buf_cstr(&b), want);
        buf_release(&b);
}

static void shows_what_was_set(void **state)
{
        (void)state;
        struct metrics *m = make();
        prints(m, 100, "");
        metrics_add(m, COUNT, METRIC_LABELS("public.a"), 2);
        metrics_add(m, COUNT, METRIC_LABELS("public.a"), 1);
        metrics_add(m, COUNT, METRIC_LABELS("public.\"b\\\n"), 1);
        metrics_set(m, GAUGE, METRIC_NO_LABELS, 0.25);
        metrics_set(m, AGE, METRIC_NO_LABELS, 90);
        prints(m, 100,
               "# HELP x_things_total Things.\n# TYPE x_things_total counter\n"
               "x_things_total{region=\"us\",table=\"public.a\"} 3\n"
               "x_things_total{region=\"us\",table=\"public.\\\"b\\\\\\n\"} 1\n"
               "# HELP x_level Level.\n# TYPE x_level gauge\nx_level{region=\"us\"} 0.25\n"
               "# HELP x_age_seconds Age.\n# TYPE x_age_seconds gauge\nx_age_seconds{region=\"us\"} 10\n");
        metrics_unset(m, COUNT, METRIC_LABELS("public.a"));
        metrics_unset(m, COUNT, METRIC_LABELS("public.\"b\\\n"));
        metrics_unset(m, GAUGE, METRIC_NO_LABELS);
        metrics_set(m, AGE, METRIC_NO_LABELS, 0); /* no age */
        prints(m, 100, "# HELP x_age_seconds Age.\n# TYPE x_age_seconds gauge\nx_age_seconds{region=\"us\"} 0\n");
        metrics_free(m);
}

static void an_age_grows_by_itself(void **state)
{
        (void)state;
        struct metrics *m = make();
        double v;
        assert_false(metrics_get(m, AGE, METRIC_NO_LABELS, 100, &v));
        metrics_set(m, AGE, METRIC_NO_LABELS, 90);
        assert_true(metrics_get(m, AGE, METRIC_NO_LABELS, 100, &v) && v == 10);
        assert_true(metrics_get(m, AGE, METRIC_NO_LABELS, 160, &v) && v == 70);
        assert_true(metrics_get(m, AGE, METRIC_NO_LABELS, 80, &v) && v == 0); /* a clock that went back */
        metrics_free(m);
}

static void buckets_add_up(void **state)
{
        (void)state;
        struct metrics *m = make();
        struct histogram h = {0};
        struct buf b;
        buf_init(&b, 0);
        histogram_add(&h, -3, 1);
        histogram_add(&h, 0.001, 1);
        histogram_add(&h, 0.0011, 2);
        histogram_add(&h, 1000, 1);
        metrics_histogram(m, TIMES, METRIC_LABELS("eu"), &h);
        metrics_print(m, 0, &b);
        assert_non_null(strstr(buf_cstr(&b), "x_seconds_bucket{region=\"us\",origin=\"eu\",le=\"0.001\"} 2\n"));
        assert_non_null(strstr(buf_cstr(&b), "x_seconds_bucket{region=\"us\",origin=\"eu\",le=\"0.002\"} 4\n"));
        assert_non_null(strstr(buf_cstr(&b), "x_seconds_bucket{region=\"us\",origin=\"eu\",le=\"300\"} 4\n"));
        assert_non_null(strstr(buf_cstr(&b), "x_seconds_bucket{region=\"us\",origin=\"eu\",le=\"+Inf\"} 5\n"));
        assert_non_null(strstr(buf_cstr(&b), "x_seconds_count{region=\"us\",origin=\"eu\"} 5\n"));
        buf_release(&b);
        metrics_free(m);
}

static void has_a_maximum(void **state)
{
        (void)state;
        struct metrics *m = make();
        char table[32];
        for (int i = 0; i < METRICS_SERIES_MAX + 3; i++) {
                snprintf(table, sizeof table, "t%d", i);
                metrics_add(m, COUNT, METRIC_LABELS(table), 1);
        }
        assert_int_equal(metrics_dropped(m), 3);
        metrics_add(m, COUNT, METRIC_LABELS("t7"), 1); /* what is there goes on */
        double v;
        assert_true(metrics_get(m, COUNT, METRIC_LABELS("t7"), 0, &v) && v == 2);
        assert_int_equal(metrics_dropped(m), 3);
        metrics_free(m);
}

static void nobody_looks(void **state)
{
        (void)state;
        double v;
        metrics_set(NULL, GAUGE, METRIC_NO_LABELS, 1);
        metrics_add(NULL, COUNT, METRIC_LABELS("a"), 1);
        assert_false(metrics_get(NULL, GAUGE, METRIC_NO_LABELS, 0, &v));
        metrics_free(NULL);
}

/* ---- the table --------------------------------------------------------------------------------------------------------------------- */
static bool ends(const char *s, const char *end)
{
        size_t n = strlen(s), k = strlen(end);
        return n >= k && strcmp(s + n - k, end) == 0;
}

/* Prometheus' conventions: what a counter is called; base units only. */
static void names_are_right(void **state)
{
        (void)state;
        static const char *const wrong[] = {"_ms", "_us", "_milliseconds", "_microseconds", "_kb", "_mb", "_minutes", "_percent"};
        for (unsigned i = 0; i < METRIC_COUNT; i++) {
                const struct metric_row *r = &metric_table[i];
                assert_non_null(r->name);
                assert_true(strncmp(r->name, "pangea_", 7) == 0 && ends(r->help, "."));
                if ((r->kind == METRIC_COUNTER) != ends(r->name, "_total"))
                        fail_msg("%s: counters, and only they, end with _total", r->name);
                if ((r->kind == METRIC_AGE || r->kind == METRIC_HISTOGRAM) && !ends(r->name, "_seconds"))
                        fail_msg("%s: is in seconds", r->name);
                for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
                        assert_false(ends(r->name, wrong[k]));
                for (unsigned k = 0; k < i; k++)
                        if (strcmp(metric_table[k].name, r->name) == 0)
                                fail_msg("%s is there twice", r->name);
                assert_null(strchr(r->help, '|'));
        }
}

static void docs_are_the_table(void **state)
{
        (void)state;
        struct buf want;
        static char have[1 << 17];
        buf_init(&want, 0);
        metrics_markdown(&want);
        if (getenv("UPDATE")) {
                FILE *out = fopen("docs/metrics.md", "w");
                assert_non_null(out);
                fputs(buf_cstr(&want), out);
                assert_int_equal(fclose(out), 0);
        }
        FILE *in = fopen("docs/metrics.md", "r");
        if (!in)
                fail_msg("docs/metrics.md is not there: run this test with UPDATE=1");
        have[fread(have, 1, sizeof have - 1, in)] = 0;
        fclose(in);
        if (strcmp(buf_cstr(&want), have) != 0)
                fail_msg("docs/metrics.md is not what topology/metrics.c prints: run this test with UPDATE=1");
        buf_release(&want);
}

/* ---- capture's gauges --------------------------------------------------------------------------------------------------------------- */
static struct wal_mark mark(int64_t s, uint64_t end)
{
        return (struct wal_mark){.at_us = s * 1000000, .end = {end}};
}

static void capture_lag_is_an_age(void **state)
{
        (void)state;
        static struct gauges g;
        memset(&g, 0, sizeof g);
        assert_int_equal(gauges_mark(&g, mark(10, 100), (lsn_t){90}), 0); /* nothing is known to be confirmed */
        assert_int_equal(gauges_mark(&g, mark(11, 200), (lsn_t){100}), 10000000);
        assert_int_equal(gauges_mark(&g, mark(12, 300), (lsn_t){299}), 11000000);
        assert_int_equal(gauges_mark(&g, mark(13, 400), (lsn_t){299}), 11000000); /* Kafka is away */
        for (int i = 0; i < 3 * GAUGES_MARKS; i++)
                assert_int_equal(gauges_mark(&g, mark(14 + i, 401 + (uint64_t)i), (lsn_t){299}), 11000000);
        int64_t now = 14 + 3 * GAUGES_MARKS; /* it came back: what is confirmed now is never said to be newer than it is */
        int64_t since = gauges_mark(&g, mark(now, 5000), (lsn_t){400 + GAUGES_MARKS});
        assert_true(since > 11000000 && since <= (14 + GAUGES_MARKS) * INT64_C(1000000));
        assert_int_equal(gauges_mark(&g, mark(now + 1, 5000), (lsn_t){5000}), (now + 1) * 1000000);
}

static void wal_rate_is_of_the_last_minute(void **state)
{
        (void)state;
        static struct gauges g;
        memset(&g, 0, sizeof g);
        assert_true(gauges_rate(&g, mark(1000, 0)) == 0);
        for (int i = 1; i < 200; i++)
                assert_true(gauges_rate(&g, mark(1000 + i, (uint64_t)i * 50)) == 50);
        for (int i = 200; i < 262; i++)
                (void)gauges_rate(&g, mark(1000 + i, 199 * 50));
        assert_true(gauges_rate(&g, mark(1262, 199 * 50)) == 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(shows_what_was_set),
                cmocka_unit_test(an_age_grows_by_itself),
                cmocka_unit_test(buckets_add_up),
                cmocka_unit_test(has_a_maximum),
                cmocka_unit_test(nobody_looks),
                cmocka_unit_test(names_are_right),
                cmocka_unit_test(docs_are_the_table),
                cmocka_unit_test(capture_lag_is_an_age),
                cmocka_unit_test(wal_rate_is_of_the_last_minute),
        };
        return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
