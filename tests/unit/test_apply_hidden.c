/* The set of waiting rows in memory (apply/hidden.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "apply/hidden.h"

#define KEY(s) (const uint8_t *)(s), (uint32_t)strlen(s)

static struct hidden_row *wait_for(struct hidden *h, const char *key, const char *holder)
{
        hidden_add(h, "public.t", "public", "t", KEY(key));
        struct hidden_row *r = hidden_perhaps(hidden_table(h, "public.t"), KEY(key));
        assert_non_null(r);
        hidden_held_by(r, KEY(holder));
        hidden_checked(r);
        return r;
}

static void nothing_waits(void **state)
{
        (void)state;
        struct hidden *h = hidden_new();
        assert_int_equal(hidden_count(h), 0);
        assert_null(hidden_table(h, "public.t"));
        assert_null(hidden_perhaps(NULL, KEY("k")));
        hidden_committed(h);
        hidden_rolled_back(h);
        hidden_free(h);
}

static void only_those_of_a_touched_holder_are_looked_at(void **state)
{
        (void)state;
        struct hidden *h = hidden_new();
        struct hidden_row *a = wait_for(h, "a", "x"), *b = wait_for(h, "b", "x"), *c = wait_for(h, "c", "y");
        struct hidden_table *t = hidden_table(h, "public.t");
        hidden_committed(h);
        assert_int_equal(hidden_count(h), 3);
        hidden_touched(t, KEY("z"));
        assert_int_equal(t->nchecks, 0);
        hidden_touched(t, KEY("x"));
        hidden_touched(t, KEY("x"));
        assert_true(a->to_check && b->to_check && !c->to_check);
        assert_int_equal(t->nchecks, 2);
        hidden_held_by(a, KEY("y")); /* another holder */
        hidden_checked(a);
        hidden_touched(t, KEY("x"));
        assert_false(a->to_check);
        hidden_touched(t, KEY("y"));
        assert_true(a->to_check && c->to_check);
        hidden_gone(h, b);
        assert_int_equal(t->nchecks, 2);
        hidden_touched(t, KEY("x"));
        hidden_check_all(t);
        assert_int_equal(t->nchecks, 2);
        hidden_free(h);
}

static void a_rolled_back_transaction_leaves_no_trace(void **state)
{
        (void)state;
        struct hidden *h = hidden_new();
        wait_for(h, "a", "x");
        assert_non_null(hidden_table(h, "public.t")); /* the transaction itself knows it */
        hidden_rolled_back(h);
        assert_null(hidden_table(h, "public.t"));
        assert_int_equal(hidden_count(h), 0);

        struct hidden_row *a = wait_for(h, "a", "x");
        hidden_committed(h);
        hidden_remove(h, a);
        assert_non_null(hidden_perhaps(hidden_table(h, "public.t"), KEY("a"))); /* perhaps */
        hidden_rolled_back(h);
        a = hidden_perhaps(hidden_table(h, "public.t"), KEY("a"));
        assert_non_null(a);
        assert_true(a->to_check); /* its holder is not known for sure */
        hidden_remove(h, a);
        hidden_add(h, "public.t", "public", "t", KEY("a")); /* and back, in one transaction */
        hidden_committed(h);
        assert_int_equal(hidden_count(h), 1);
        hidden_remove(h, hidden_perhaps(hidden_table(h, "public.t"), KEY("a")));
        hidden_committed(h);
        assert_int_equal(hidden_count(h), 0);
        assert_null(hidden_table(h, "public.t"));
        wait_for(h, "b", "x");
        hidden_remove(h, hidden_perhaps(hidden_table(h, "public.t"), KEY("b")));
        hidden_committed(h);
        assert_int_equal(hidden_count(h), 0);
        hidden_free(h);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_waits),
                cmocka_unit_test(only_those_of_a_touched_holder_are_looked_at),
                cmocka_unit_test(a_rolled_back_transaction_leaves_no_trace),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
