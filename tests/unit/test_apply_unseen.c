/* unseen: which local commits are not known to be visible. What the database answers is asked in integration/transactions.causal_*. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apply/unseen.h"

static const fullxid_t NEAR = {UINT64_C(5) << 32 | 100};

static void note(struct unseen *u, enum item_kind kind, uint64_t hlc, uint32_t first_xid, uint32_t ntxs)
{
        struct item_tx txs[8] = {{.xid = first_xid}};
        struct log_item i = {.kind = kind, .hlc = {hlc}, .txs = txs, .ntxs = ntxs};
        for (uint32_t t = 1; t < ntxs; t++)
                txs[t].xid = first_xid + t;
        unseen_note(u, &i, NEAR);
}

static void in_the_order_of_the_log(void **state)
{
        (void)state;
        struct unseen *u = unseen_new((hlc_t){7});
        assert_int_equal(unseen_read(u).v, 7);
        assert_int_equal(unseen_visible(u).v, 7);
        note(u, ITEM_GROUP, 10, 90, 2);
        note(u, ITEM_BIG, 20, 80, 1); /* xids are not in the order of commits */
        assert_int_equal(unseen_read(u).v, 20);
        assert_int_equal(unseen_visible(u).v, 9);
        unseen_ended(u, (fullxid_t){NEAR.v - 100 + 91});
        assert_int_equal(unseen_count(u), 1); /* 91 */
        assert_int_equal(unseen_visible(u).v, 9);
        unseen_ended(u, (fullxid_t){NEAR.v - 100 + 92});
        assert_int_equal(unseen_count(u), 0);
        assert_int_equal(unseen_visible(u).v, 20);
        unseen_free(u);
}

static void what_has_ended_is_not_noted(void **state)
{
        (void)state;
        struct unseen *u = unseen_new((hlc_t){0});
        struct log_item progress = {.kind = ITEM_PROGRESS, .xmin = {NEAR.v - 100 + 50}};
        unseen_note(u, &progress, NEAR);
        note(u, ITEM_GROUP, 10, 49, 2);
        assert_int_equal(unseen_count(u), 1);
        unseen_ended(u, (fullxid_t){3}); /* an older snapshot says nothing */
        assert_int_equal(unseen_count(u), 1);
        unseen_free(u);
}

static void epochs_of_xids(void **state)
{
        (void)state;
        struct unseen *u = unseen_new((hlc_t){0});
        note(u, ITEM_GROUP, 10, UINT32_MAX - 3, 1); /* before the counter went round */
        note(u, ITEM_GROUP, 20, 120, 1);            /* behind NEAR */
        unseen_ended(u, (fullxid_t){UINT64_C(5) << 32 | 3});
        assert_int_equal(unseen_count(u), 1);
        assert_int_equal(unseen_visible(u).v, 19);
        unseen_free(u);
}

static void others_are_no_commits(void **state)
{
        (void)state;
        struct unseen *u = unseen_new((hlc_t){0});
        note(u, ITEM_EPOCH, 10, 5, 1);
        note(u, ITEM_MARKER, 11, 6, 1);
        struct item_tx tx = {.xid = 7};
        struct log_item again = {.kind = ITEM_GROUP, .hlc = {12}, .txs = &tx, .ntxs = 1, .replay = true};
        unseen_note(u, &again, NEAR);
        assert_int_equal(unseen_count(u), 0);
        assert_int_equal(unseen_read(u).v, 0);
        unseen_free(u);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(in_the_order_of_the_log),
                cmocka_unit_test(what_has_ended_is_not_noted),
                cmocka_unit_test(epochs_of_xids),
                cmocka_unit_test(others_are_no_commits),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
