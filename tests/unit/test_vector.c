/* Regions, dots and vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "change/vector.h"

static void names_are_found_and_bounded(void **state)
{
        (void)state;
        struct regset s = {.n = 0};
        region_id eu = regset_add(&s, "eu", 2), us = regset_add(&s, "us", 2);
        assert_int_equal(regset_find(&s, "eu", 2).i, eu.i);
        assert_int_equal(regset_add(&s, "us", 2).i, us.i); /* not twice */
        assert_int_equal(s.n, 2);
        static const struct {
                const char *why, *name;
                size_t len;
        } t[] = {
                {"empty", "", 0},
                {"32 bytes", "a2345678901234567890123456789012", 32},
                {"a zero inside", "a\0b", 3},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                if (regset_add(&s, t[i].name, t[i].len).i != REGION_NONE.i)
                        fail_msg("%s was taken", t[i].why);
        assert_int_equal(regset_find(&s, "e", 1).i, REGION_NONE.i);
        assert_int_equal(regset_find(&s, "eux", 3).i, REGION_NONE.i);
        assert_string_equal(regset_name(&s, us), "us");
        assert_string_equal(regset_name(&s, REGION_NONE), "?");
        assert_int_equal(regset_add(&s, "a234567890123456789012345678901", 31).i, 2);
        for (unsigned i = 3; i < MAX_REGIONS; i++) {
                char name[16];
                snprintf(name, sizeof name, "r%u", i);
                assert_int_equal(regset_add(&s, name, strlen(name)).i, i);
        }
        assert_int_equal(regset_add(&s, "more", 4).i, REGION_NONE.i);
        assert_int_equal(regset_add(&s, "r31", 3).i, 31); /* what is there is still found */
}

static void join_and_order(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                struct vector a, b, joined;
                bool le;
        } t[] = {
                {"equal", {{{1}, {2}}}, {{{1}, {2}}}, {{{1}, {2}}}, true},
                {"below in one", {{{1}, {2}}}, {{{1}, {3}}}, {{{1}, {3}}}, true},
                {"above in one", {{{2}, {2}}}, {{{1}, {2}}}, {{{2}, {2}}}, false},
                {"concurrent", {{{2}, {1}}}, {{{1}, {2}}}, {{{2}, {2}}}, false},
                {"nothing is below all", {{{0}}}, {{{0}, {0}, {9}}}, {{{0}, {0}, {9}}}, true},
                {"the last region counts", {{[31] = {1}}}, {{{9}}}, {{{9}, [31] = {1}}}, false},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct vector v = t[i].a;
                if (vector_le(&t[i].a, &t[i].b) != t[i].le)
                        fail_msg("%s: order", t[i].why);
                vector_join(&v, &t[i].b);
                if (memcmp(&v, &t[i].joined, sizeof v) != 0)
                        fail_msg("%s: join", t[i].why);
                assert_true(vector_le(&t[i].a, &v) && vector_le(&t[i].b, &v));
        }
}

static void covers(void **state)
{
        (void)state;
        struct vector v = {.at = {[1] = {10}}};
        assert_true(vector_covers(&v, (struct dot){{1}, {10}}));
        assert_true(vector_covers(&v, (struct dot){{1}, {9}}));
        assert_false(vector_covers(&v, (struct dot){{1}, {11}}));
        assert_false(vector_covers(&v, (struct dot){{0}, {1}}));
}

static void ties_go_by_name_not_by_number(void **state)
{
        (void)state;
        struct regset s = {.n = 0};
        region_id us = regset_add(&s, "us", 2), eu = regset_add(&s, "eu", 2), u = regset_add(&s, "u", 1);
        struct dot a = {us, {5}}, b = {eu, {5}}, c = {u, {5}}, later = {eu, {6}};
        assert_true(dot_cmp(a, b, &s) > 0 && dot_cmp(b, a, &s) < 0);
        assert_true(dot_cmp(a, c, &s) > 0 && dot_cmp(c, a, &s) < 0);
        assert_true(dot_cmp(later, a, &s) > 0 && dot_cmp(a, later, &s) < 0);
        assert_int_equal(dot_cmp(a, a, &s), 0);
}

static void as_text(void **state)
{
        (void)state;
        struct regset s = {.n = 3, .name = {"ap", "eu", "us"}};
        struct vector v = {.at = {[0] = {12}, [2] = {345}}}, none = {.at = {{0}}};
        char buf[64], small[8];
        assert_string_equal(vector_str(buf, sizeof buf, &v, &s), "ap:12 us:345");
        assert_string_equal(vector_str(buf, sizeof buf, &none, &s), "");
        assert_string_equal(vector_str(small, sizeof small, &v, &s), "ap:12 u"); /* cut, and ended */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_are_found_and_bounded),   cmocka_unit_test(join_and_order), cmocka_unit_test(covers),
                cmocka_unit_test(ties_go_by_name_not_by_number), cmocka_unit_test(as_text),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
