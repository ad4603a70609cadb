/* sequences: whether two of them meet, and the plan that keeps them apart. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/sequences.h"

#define BIG INT64_MAX

static const struct {
        const char *why;
        struct sequence a, b;
        bool meet;
        int64_t first;
} pairs[] = {
        {"both as CREATE SEQUENCE makes them",
         {.last = 1, .increment = 1, .min = 1, .max = BIG},
         {.last = 1, .increment = 1, .min = 1, .max = BIG},
         true,
         1},
        {"one is ahead: the other comes there",
         {.last = 10, .called = true, .increment = 1, .min = 1, .max = BIG},
         {.last = 500, .called = true, .increment = 1, .min = 1, .max = BIG},
         true,
         501},
        {"odd and even",
         {.last = 1, .increment = 2, .min = 1, .max = BIG},
         {.last = 2, .increment = 2, .min = 1, .max = BIG},
         false,
         0},
        {"both odd",
         {.last = 1, .increment = 2, .min = 1, .max = BIG},
         {.last = 101, .called = true, .increment = 2, .min = 1, .max = BIG},
         true,
         103},
        {"2 and 3 meet at 6 k + 1",
         {.last = 1, .increment = 2, .min = 1, .max = BIG},
         {.last = 4, .increment = 3, .min = 1, .max = BIG},
         true,
         7},
        {"4 and 6 never meet from an odd and an even one",
         {.last = 1, .increment = 4, .min = 1, .max = BIG},
         {.last = 2, .increment = 6, .min = 1, .max = BIG},
         false,
         0},
        {"ranges",
         {.last = 1, .increment = 1, .min = 1, .max = 1000},
         {.last = 1001, .increment = 1, .min = 1001, .max = 2000},
         false,
         0},
        {"ranges that touch",
         {.last = 1, .increment = 1, .min = 1, .max = 1001},
         {.last = 1001, .increment = 1, .min = 1001, .max = 2000},
         true,
         1001},
        {"one has given its last",
         {.last = 1000, .called = true, .increment = 1, .min = 1, .max = 1000},
         {.last = 1, .increment = 1, .min = 1, .max = 1000},
         false,
         0},
        {"that one begins anew",
         {.last = 1000, .called = true, .increment = 1, .min = 1, .max = 1000, .cycle = true},
         {.last = 1, .increment = 1, .min = 1, .max = 1000},
         true,
         1},
        {"a cycle of another parity",
         {.last = 7, .increment = 2, .min = 1, .max = 999, .cycle = true},
         {.last = 2, .increment = 2, .min = 2, .max = 1000, .cycle = true},
         false,
         0},
        {"downwards and upwards",
         {.last = 100, .increment = -1, .min = 1, .max = 1000},
         {.last = 50, .increment = 1, .min = 1, .max = 1000},
         true,
         50},
        {"downwards below upwards",
         {.last = -1, .increment = -1, .min = -BIG, .max = -1},
         {.last = 1, .increment = 1, .min = 1, .max = BIG},
         false,
         0},
        {"downwards by 2, odd",
         {.last = 99, .increment = -2, .min = 1, .max = 1000},
         {.last = 2, .increment = 2, .min = 1, .max = 1000},
         false,
         0},
        {"at the edge of what there is",
         {.last = BIG - 1, .called = true, .increment = 1, .min = 1, .max = BIG},
         {.last = BIG, .increment = 1, .min = 1, .max = BIG},
         true,
         BIG},
        {"over the edge",
         {.last = BIG, .called = true, .increment = 5, .min = 1, .max = BIG},
         {.last = BIG, .increment = 1, .min = 1, .max = BIG},
         false,
         0},
        {"long steps",
         {.last = 5, .increment = 1000003, .min = 1, .max = BIG},
         {.last = 6, .increment = 999983, .min = 1, .max = BIG},
         true,
         -1},
};

/* By trying: what the arithmetic says about small ones. */
static bool by_trying(const struct sequence *a, const struct sequence *b, int64_t upto, int64_t *first)
{
        char *seen = calloc((size_t)upto + 1, 1);
        bool found = false;
        for (int64_t v = a->called ? a->last + a->increment : a->last; v >= a->min && v <= a->max; v += a->increment)
                seen[v] = 1;
        *first = upto + 1;
        for (int64_t v = b->called ? b->last + b->increment : b->last; v >= b->min && v <= b->max; v += b->increment)
                if (seen[v]) {
                        found = true;
                        *first = v < *first ? v : *first;
                }
        free(seen);
        return found;
}

static void whether_they_meet(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
                for (int turn = 0; turn < 2; turn++) {
                        int64_t first = 0;
                        bool meet = turn ? sequences_collide(&pairs[i].b, &pairs[i].a, &first)
                                         : sequences_collide(&pairs[i].a, &pairs[i].b, &first);
                        if (meet != pairs[i].meet)
                                fail_msg("%s: says %d", pairs[i].why, meet);
                        if (meet && pairs[i].first != -1 && first != pairs[i].first)
                                fail_msg("%s: first at %" PRId64 ", want %" PRId64, pairs[i].why, first, pairs[i].first);
                }
}

static void as_trying_does(void **state)
{
        (void)state;
        uint32_t seed = 1;
#define RANDOM(n) ((int64_t)((seed = seed * 1664525 + 1013904223) >> 8) % (n))
        for (int i = 0; i < 20000; i++) {
                struct sequence s[2];
                for (int k = 0; k < 2; k++) {
                        int64_t step = 1 + RANDOM(12), low = 1 + RANDOM(50), high = low + RANDOM(200);
                        s[k] = (struct sequence){.min = low,
                                                 .max = high,
                                                 .last = low + RANDOM(high - low + 1),
                                                 .called = RANDOM(2),
                                                 .increment = RANDOM(3) ? step : -step};
                }
                int64_t want, got = 0;
                bool meet = by_trying(&s[0], &s[1], 300, &want);
                if (sequences_collide(&s[0], &s[1], &got) != meet || (meet && got != want))
                        fail_msg("round %d: meet %d at %" PRId64 ", got %" PRId64, i, meet, want, got);
        }
}

static const struct {
        const char *why;
        enum sequence_mode mode;
        struct sequence a, b;
        const char *sa, *sb; /* NULL: no plan */
} plans[] = {
        {"odd and even, from the beginning",
         SEQUENCE_INTERLEAVE,
         {.last = 1, .increment = 1, .min = 1, .max = BIG, .limit = BIG, .top = INT64_MIN},
         {.last = 1, .increment = 1, .min = 1, .max = BIG, .limit = BIG, .top = INT64_MIN},
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 2 RESTART WITH 3",
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 2 RESTART WITH 4"},
        {"above what one has given",
         SEQUENCE_INTERLEAVE,
         {.last = 100, .called = true, .increment = 1, .min = 1, .max = BIG, .limit = BIG, .top = INT64_MIN},
         {.last = 7, .called = true, .increment = 1, .min = 1, .max = BIG, .limit = BIG, .top = INT64_MIN},
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 2 RESTART WITH 103",
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 2 RESTART WITH 104"},
        {"above what stands in the table",
         SEQUENCE_INTERLEAVE,
         {.last = 1, .increment = 1, .min = 1, .max = BIG, .limit = BIG, .top = 4999},
         {.last = 1, .increment = 1, .min = 1, .max = BIG, .limit = BIG, .top = 12},
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 2 RESTART WITH 5001",
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 2 RESTART WITH 5002"},
        {"blocks stay blocks",
         SEQUENCE_INTERLEAVE,
         {.last = 1, .increment = 50, .min = 1, .max = BIG, .limit = BIG, .top = 120},
         {.last = 1, .increment = 50, .min = 1, .max = BIG, .limit = BIG, .top = INT64_MIN},
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 100 RESTART WITH 201",
         "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 100 RESTART WITH 251"},
        {"no room in an integer",
         SEQUENCE_INTERLEAVE,
         {.last = 1, .increment = 1, .min = 1, .max = 2147483647, .limit = 2147483647, .top = 2147483646},
         {.last = 1, .increment = 1, .min = 1, .max = 2147483647, .limit = 2147483647, .top = 1},
         NULL,
         NULL},
        {"downwards",
         SEQUENCE_INTERLEAVE,
         {.last = -1, .increment = -1, .min = -100, .max = -1, .limit = BIG, .top = INT64_MIN},
         {.last = -1, .increment = -1, .min = -100, .max = -1, .limit = BIG, .top = INT64_MIN},
         NULL,
         NULL},
        {"ranges",
         SEQUENCE_RANGES,
         {.last = 1, .increment = 1, .min = 1, .max = 32767, .limit = 32767, .top = 767},
         {.last = 1, .increment = 1, .min = 1, .max = 32767, .limit = 32767, .top = INT64_MIN},
         "ALTER SEQUENCE \"public\".\"s\" MINVALUE 768 MAXVALUE 16767 START WITH 768 RESTART WITH 768",
         "ALTER SEQUENCE \"public\".\"s\" MINVALUE 16768 MAXVALUE 32767 START WITH 16768 RESTART WITH 16768"},
        {"no room for ranges",
         SEQUENCE_RANGES,
         {.last = 1, .increment = 1, .min = 1, .max = 32767, .limit = 32767, .top = 32000},
         {.last = 1, .increment = 1, .min = 1, .max = 32767, .limit = 32767, .top = INT64_MIN},
         NULL,
         NULL},
};

static void plans_keep_apart(void **state)
{
        (void)state;
        struct region regions[2] = {{.name = "eu"}, {.name = "us"}};
        struct arena arena;
        arena_init(&arena);
        for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
                struct sequence a = plans[i].a, b = plans[i].b;
                struct sequence_set s = {
                        .schema = "public", .name = "s", .n = 2, .region = {&regions[0], &regions[1]}, .seq = {&a, &b}};
                const char *out[MAX_REGIONS], *why = NULL;
                bool planned = sequence_set_plan(&s, plans[i].mode, &arena, out, &why);
                if (planned != (plans[i].sa != NULL) || (!planned && !why))
                        fail_msg("%s: planned %d, why %s", plans[i].why, planned, why ? why : "(nothing)");
                if (planned && (strcmp(out[0], plans[i].sa) != 0 || strcmp(out[1], plans[i].sb) != 0))
                        fail_msg("%s:\n%s\n%s", plans[i].why, out[0], out[1]);
        }
        arena_release(&arena);
}

static void says_what_is_wrong(void **state)
{
        (void)state;
        struct region regions[2] = {{.name = "eu"}, {.name = "us"}};
        struct arena arena;
        struct sequence a = {.last = 1, .increment = 1, .min = 1, .max = BIG},
                        b = {.last = 8, .increment = 2, .min = 1, .max = BIG};
        struct sequence_set s = {.schema = "public", .name = "s", .n = 2, .region = {&regions[0], &regions[1]}, .seq = {&a, &b}};
        arena_init(&arena);
        assert_string_equal(sequence_set_wrong(&s, &arena), "eu and us will both give number 8");
        a.increment = 2;
        assert_null(sequence_set_wrong(&s, &arena));
        b.taken = true;
        assert_string_equal(sequence_set_wrong(&s, &arena), "the number that us gives next is in the table already");
        arena_release(&arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(whether_they_meet),
                cmocka_unit_test(as_trying_does),
                cmocka_unit_test(plans_keep_apart),
                cmocka_unit_test(says_what_is_wrong),
        };
        return cmocka_run_group_tests_name("daemon: sequences", tests, NULL, NULL);
}
