/* The filter over the keys of pangea.tombstone, and the binary arrays in which rows go to the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apply/tombs.h"

/* ---- filter -------------------------------------------------------------------------------------------------------------------------- */

static bool perhaps(const struct tombs *t, const char *rel, const char *key)
{
        return tombs_perhaps(t, rel, (const uint8_t *)key, (uint32_t)strlen(key));
}

static void says_surely_none_only_when_there_is_none(void **state)
{
        (void)state;
        struct tombs *t = tombs_new();
        assert_false(perhaps(t, "public.a", "1"));
        assert_false(perhaps(t, "public.a", ""));
        tombs_add(t, "public.a", (const uint8_t *)"1", 1);
        tombs_add(t, "public.a", NULL, 0); /* the whole table */
        assert_true(perhaps(t, "public.a", "1"));
        assert_true(perhaps(t, "public.a", ""));
        /* none of these could be told from it by luck: the filter is nearly empty */
        assert_false(perhaps(t, "public.b", "1"));
        assert_false(perhaps(t, "public.a1", ""));
        assert_false(perhaps(t, "public.a", "11"));
        assert_false(tombs_perhaps(t, "public.a", (const uint8_t *)"1", 2)); /* its final 0 is a byte like another */
        assert_int_equal(tombs_count(t), 2);
        tombs_free(t);
}

static void a_million_keys(void **state)
{
        (void)state;
        struct tombs *t = tombs_new();
        uint32_t wrong = 0;
        for (uint32_t k = 0; k < 1000000; k++)
                tombs_add(t, "public.t", (const uint8_t *)&k, sizeof k);
        for (uint32_t k = 0; k < 1000000; k++)
                assert_true(tombs_perhaps(t, "public.t", (const uint8_t *)&k, sizeof k));
        for (uint32_t k = 1000000; k < 2000000; k++)
                wrong += tombs_perhaps(t, "public.t", (const uint8_t *)&k, sizeof k);
        if (wrong > 200) /* 4 hashes in 2^26 bits: about 11 in a million */
                fail_msg("%u of a million keys are held for deleted ones", wrong);
        tombs_free(t);
}

static void is_made_anew_when_half_is_gone(void **state)
{
        (void)state;
        struct tombs *t = tombs_new();
        for (uint32_t k = 0; k < 10; k++)
                tombs_add(t, "public.t", (const uint8_t *)&k, sizeof k);
        assert_false(tombs_removed(t, 2));
        assert_false(tombs_removed(t, 2));
        assert_true(tombs_removed(t, 1));
        tombs_free(t);
}

static void what_is_listed_is_in_the_filter(void **state)
{
        (void)state;
        static const uint8_t hlcs[] = {0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 8, 255, 0, 0, 0, 0, 0, 0, 3};
        struct tombs *t = tombs_new();
        struct tomb_list l;
        tomb_list_init(&l);
        tomb_list_add(&l, t, "public.t", "k\0y", 3, (hlc_t){258});
        tomb_list_add(&l, t, "public.t", "", 0, (hlc_t){UINT64_C(0xff00000000000003)});
        assert_int_equal(l.n, 2);
        assert_true(tombs_perhaps(t, "public.t", (const uint8_t *)"k\0y", 3));
        assert_true(tombs_perhaps(t, "public.t", NULL, 0));
        assert_int_equal(l.hlc.len, 20 + sizeof hlcs);
        assert_memory_equal(l.hlc.data + 20, hlcs, sizeof hlcs);
        assert_int_equal(l.key.len, 20 + 4 + 3 + 4); /* an empty key is a value, not NULL */
        tomb_list_release(&l);
        tombs_free(t);
}

/* ---- parameters: what array_recv, int8recv, timestamptz_recv and xidrecv read -------------------------------------------------------- */

static void arrays(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                const char *values[3]; /* "-" = NULL */
                uint32_t n;
                const char *want;
        } t[] = {
                {"no element: still one dimension", {NULL}, 0, "00000001 00000001 00000019 00000000 00000001"},
                {"one", {"ab"}, 1, "00000001 00000001 00000019 00000001 00000001 00000002 6162"},
                {"NULL is no value",
                 {"a", "-", "b"},
                 3,
                 "00000001 00000001 00000019 00000003 00000001 00000001 61 ffffffff 00000001 62"},
                {"the empty string is one", {""}, 1, "00000001 00000001 00000019 00000001 00000001 00000000"},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct buf b, hex;
                buf_init(&hex, 0);
                array_begin(&b, 25);
                for (uint32_t k = 0; k < t[i].n; k++) {
                        bool null = strcmp(t[i].values[k], "-") == 0;
                        array_add(&b, null ? NULL : t[i].values[k], null ? 0 : strlen(t[i].values[k]));
                }
                struct pg_param p = array_end(&b, t[i].n, 1009);
                const uint8_t *bytes = p.data;
                for (int k = 0; k < p.len; k++)
                        buf_printf(&hex, "%02x", bytes[k]);
                struct buf want;
                buf_init(&want, 0);
                for (const char *c = t[i].want; *c; c++)
                        if (*c != ' ')
                                buf_put(&want, c, 1);
                if (strcmp(buf_cstr(&hex), buf_cstr(&want)) != 0)
                        fail_msg("%s: %s", t[i].why, buf_cstr(&hex));
                assert_true(p.binary && p.type == 1009);
                buf_release(&b);
                buf_release(&hex);
                buf_release(&want);
        }
}

static void numbers(void **state)
{
        (void)state;
        uint8_t room[8];
        static const uint8_t minus_two[] = {255, 255, 255, 255, 255, 255, 255, 254}, xid[] = {0xfe, 0xdc, 0xba, 0x98},
                             second[] = {0, 0, 0, 0, 0, 0x0f, 0x42, 0x40}, infinity[] = {127, 255, 255, 255, 255, 255, 255, 255};
        struct pg_param p = param_i64(room, -2);
        assert_true(p.binary && p.type == 20 && p.len == 8);
        assert_memory_equal(p.data, minus_two, 8);
        p = param_xid(room, 0xfedcba98);
        assert_true(p.binary && p.type == 28 && p.len == 4);
        assert_memory_equal(p.data, xid, 4);
        p = param_ts(room, PG_EPOCH_US + 1000000);
        assert_true(p.binary && p.type == 1184 && p.len == 8);
        assert_memory_equal(p.data, second, 8);
        p = param_ts(room, INT64_MAX);
        assert_memory_equal(p.data, infinity, 8);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(says_surely_none_only_when_there_is_none),
                cmocka_unit_test(a_million_keys),
                cmocka_unit_test(is_made_anew_when_half_is_gone),
                cmocka_unit_test(what_is_listed_is_in_the_filter),
                cmocka_unit_test(arrays),
                cmocka_unit_test(numbers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
