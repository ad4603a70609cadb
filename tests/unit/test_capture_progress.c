/* When a PROGRESS is due and which xmin it may say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "capture/progress.h"
#include "capture/txread.h"

static void a_pair_waits_until_its_lsn_is_decoded(void **state)
{
        (void)state;
        struct progress p = {0};
        assert_int_equal(progress_known(&p, (lsn_t){1000}).xmin.v, 0);
        progress_pair(&p, (struct xmin_pair){{5}, {100}});
        progress_pair(&p, (struct xmin_pair){{7}, {200}});
        assert_int_equal(progress_known(&p, (lsn_t){99}).xmin.v, 0);
        assert_int_equal(progress_known(&p, (lsn_t){100}).xmin.v, 5);
        assert_int_equal(progress_known(&p, (lsn_t){199}).xmin.v, 5);
        assert_int_equal(progress_known(&p, (lsn_t){200}).lsn.v, 200);
        assert_int_equal(progress_known(&p, (lsn_t){1}).xmin.v, 7); /* stays known */
}

static void more_pairs_than_room_lose_the_newest(void **state)
{
        (void)state;
        struct progress p = {0};
        for (uint64_t i = 1; i <= PROGRESS_PAIRS + 10; i++)
                progress_pair(&p, (struct xmin_pair){{i}, {i * 10}});
        assert_int_equal(progress_known(&p, (lsn_t){10}).xmin.v, 1);
        progress_pair(&p, (struct xmin_pair){{500}, {5000}});
        assert_int_equal(progress_known(&p, (lsn_t){5000}).xmin.v, 500);
        assert_int_equal(p.n, 0);
}

static void due(void **state)
{
        (void)state;
        struct progress p = {0};
        progress_said(&p, 1000);
        assert_int_equal(progress_due_in(&p, 1000), PROGRESS_HEARTBEAT_US);
        progress_moved(&p, 2000);
        progress_moved(&p, 6000); /* counted from the first */
        assert_int_equal(progress_due_in(&p, 2000), PROGRESS_VECTOR_US);
        progress_carried(&p, 1);
        assert_int_equal(progress_due_in(&p, 2000), PROGRESS_VECTOR_US); /* the second is not carried */
        progress_carried(&p, 2);
        assert_true(progress_due_in(&p, 2000) > PROGRESS_VECTOR_US); /* a group did */
        p.due_now = true;
        assert_int_equal(progress_due_in(&p, 2000), 0);
        progress_said(&p, 3000);
        assert_int_equal(progress_due_in(&p, 3000), PROGRESS_HEARTBEAT_US);
}

static void origins(void **state)
{
        (void)state;
        struct regset regs = {0};
        region_id eu = regset_add(&regs, "eu", 2), us = regset_add(&regs, "us", 2);
        const char *prefix = "pangea_shop_us_";
        assert_int_equal(origin_region("pangea_shop_us_eu", prefix, &regs).i, eu.i);
        assert_int_equal(origin_region("pangea_shop_us_us", prefix, &regs).i, us.i);
        assert_int_equal(origin_region("pangea_shop_us_gone", prefix, &regs).i, 2); /* not in the topology any more: still ours */
        assert_int_equal(origin_region("pangea_shop_eu_us", prefix, &regs).i, REGION_NONE.i); /* another region's */
        assert_int_equal(origin_region("pangea_other_us_eu", prefix, &regs).i, REGION_NONE.i);
        assert_int_equal(origin_region("pg_16389", prefix, &regs).i, REGION_NONE.i); /* PostgreSQL's own replication */
        assert_int_equal(origin_region("pangea_shop_us_", prefix, &regs).i, REGION_NONE.i);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_pair_waits_until_its_lsn_is_decoded),
                cmocka_unit_test(more_pairs_than_room_lose_the_newest),
                cmocka_unit_test(due),
                cmocka_unit_test(origins),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
