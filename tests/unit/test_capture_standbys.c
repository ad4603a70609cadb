/* What may be published while a region's standbys are behind, and which of them is blamed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "capture/standbys.h"

#define SECOND 1000000
#define AWAY                  \
        {                     \
                false, false, \
                {             \
                        0     \
                }             \
        }
#define AT(lsn)              \
        {                    \
                true, false, \
                {            \
                        lsn  \
                }            \
        }
#define HIDDEN              \
        {                   \
                true, true, \
                {           \
                        0   \
                }           \
        }

static const char *const names[] = {"s1", "s2"};

static struct standbys waiting_for(size_t n)
{
        struct standbys s;
        struct region r = {.nwait = n, .wait = names};
        standbys_init(&s, &r);
        return s;
}

static void look(struct standbys *s, uint64_t a, uint64_t b, uint64_t server, int64_t now)
{
        struct standby_seen seen[] = {AT(a), AT(b)};
        standbys_look(s, seen, (lsn_t){server}, now);
}

static void which_messages_wait_for_what(void **state)
{
        static const struct {
                const char *why, *bytes;
                size_t n;
                uint64_t need;
        } t[] = {
                {"a begin waits for the first byte of its commit record", "B\0\0\0\0\0\0\2\0tttttttt\0\0\0\7", 21, 0x201},
                {"a commit for the last", "C\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\2\x40tttttttt", 26, 0x240},
                {"a begin that the log holds already", "B\0\0\0\0\0\0\0\xfftttttttt\0\0\0\7", 21, 0},
                {"and its commit", "C\0\0\0\0\0\0\0\0\xff\0\0\0\0\0\0\1\x40tttttttt", 26, 0},
                {"one that begins where the log ends is new", "B\0\0\0\0\0\0\1\0tttttttt\0\0\0\7", 21, 0x101},
                {"a row", "I\0\0\0\1N\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 18, 0},
                {"a message", "M\0\xff\xff\xff\xff\xff\xff\xff\xffpangea\0\0\0\0\0\0", 22, 0},
                {"a begin that is cut is for the decoder", "B\0\0\0\0\0\0\2", 8, 0},
                {"a commit that is cut too", "C\0\0\0\0\0\0\0\2\0\0\0\0", 13, 0},
                {"nothing", "", 0, 0},
        };
        (void)state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                uint64_t need = standbys_need((const uint8_t *)t[i].bytes, t[i].n, (lsn_t){0x100}).v;
                if (need != t[i].need)
                        fail_msg("%s: 0x%llx, want 0x%llx", t[i].why, (unsigned long long)need, (unsigned long long)t[i].need);
        }
}

static void the_slowest_decides(void **state)
{
        static const struct {
                const char *why;
                struct standby_seen seen[2];
                uint64_t safe;
        } t[] = {
                {"both", {AT(300), AT(200)}, 200},
                {"in any order", {AT(200), AT(300)}, 200},
                {"one is away", {AT(300), AWAY}, 0},
                {"one away whose last position is known", {AT(300), {false, false, {250}}}, 0},
                {"one has said nothing yet", {AT(300), AT(0)}, 0},
                {"one cannot be seen", {HIDDEN, AT(300)}, 0},
        };
        (void)state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct standbys s = waiting_for(2);
                standbys_look(&s, t[i].seen, (lsn_t){300}, 1);
                if (s.safe.v != t[i].safe)
                        fail_msg("%s: %llu", t[i].why, (unsigned long long)s.safe.v);
        }
}

static void what_is_beyond_is_held(void **state)
{
        (void)state;
        struct standbys s = waiting_for(2);
        assert_true(standbys_hold(&s, (lsn_t){1})); /* before the first look nothing is safe */
        look(&s, 200, 300, 300, 1);
        assert_false(standbys_hold(&s, (lsn_t){200}));
        assert_int_equal(s.need.v, 0);
        assert_true(standbys_hold(&s, (lsn_t){201}));
        assert_int_equal(s.need.v, 201);
        assert_int_equal(standbys_clip(&s, (lsn_t){250}).v, 200);
        assert_int_equal(standbys_clip(&s, (lsn_t){150}).v, 150);
        look(&s, 201, 300, 300, 2);
        assert_false(standbys_hold(&s, (lsn_t){201}));
        look(&s, 100, 300, 300, 3); /* s1 was made anew */
        assert_true(standbys_hold(&s, (lsn_t){150}));
}

static void without_names_nothing_is_held(void **state)
{
        (void)state;
        struct standbys s = waiting_for(0);
        assert_false(standbys_hold(&s, (lsn_t){1000}));
        assert_int_equal(standbys_clip(&s, (lsn_t){1000}).v, 1000);
        assert_true(standbys_due_in(&s, 5 * SECOND) == INT64_MAX);
        assert_false(standbys_late(&s, 5 * SECOND));
}

static void when_it_is_looked_again(void **state)
{
        (void)state;
        struct standbys s = waiting_for(2);
        assert_true(standbys_due_in(&s, 100) <= 0); /* the first time at once */
        look(&s, 300, 300, 300, 100);
        assert_true(standbys_due_in(&s, 100) == INT64_MAX); /* all is there, and nothing more is wanted */
        s.reached = (lsn_t){310};
        assert_in_range(standbys_due_in(&s, 100), 20001, 100000);
        assert_true(standbys_hold(&s, (lsn_t){305}));
        assert_in_range(standbys_due_in(&s, 100), 1, 1000); /* a transaction waits for it */
        for (int i = 0; i < 10; i++)
                look(&s, 300, 300, 400, 200);
        assert_int_equal(standbys_due_in(&s, 200), 20000); /* it does not move: not oftener */
        look(&s, 304, 304, 400, 300);
        assert_in_range(standbys_due_in(&s, 300), 1, 1000); /* it does */
        for (uint64_t i = 0; i < 1000; i++)
                assert_false(standbys_hold(&s, (lsn_t){304}));
        assert_true(standbys_hold(&s, (lsn_t){305}));
        look(&s, 305, 305, 400, 400);
        assert_in_range(standbys_due_in(&s, 400), 1001, 20000); /* one look serves many */
}

static void late_is_what_stays_behind_for_a_second(void **state)
{
        (void)state;
        struct standbys s = waiting_for(2);
        int64_t now = 1;
        for (uint64_t lsn = 100; now < 10 * SECOND; lsn += 100, now += SECOND / 10) {
                look(&s, lsn, lsn, lsn + 50, now); /* never quite there, never far */
                assert_false(standbys_late(&s, now));
        }
        look(&s, 100000, 50000, 200000, now);
        assert_false(standbys_late(&s, now));
        for (uint64_t lsn = 60000; lsn < 150000; lsn += 1000, now += SECOND / 10)
                look(&s, lsn, lsn, lsn + 150000, now); /* it moves, and stays far behind */
        assert_true(standbys_late(&s, now));
        look(&s, 400000, 400000, 400000, now);
        assert_false(standbys_late(&s, now + 10 * SECOND));
        assert_true(standbys_due_in(&s, now) == INT64_MAX);
}

static void who_is_blamed(void **state)
{
        static const struct {
                const char *why;
                struct standby_seen seen[2];
                const char *name, *says;
        } t[] = {
                {"one is away", {AT(250), AWAY}, "standby_missing", "standby s2 is not connected"},
                {"both are", {AWAY, AWAY}, "standby_missing", "standby s1 is not connected"},
                {"no right to see", {HIDDEN, HIDDEN}, "standby_hidden", "standby s1"},
                {"the slower one",
                 {AT(250), AT(220)},
                 "standby_behind",
                 "standby s2 has flushed up to 0/DC and is 80 bytes behind"},
                {"the other way", {AT(220), AT(300)}, "standby_behind", "standby s1 has flushed up to 0/DC and is 80 bytes behind"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct standbys s = waiting_for(2);
                struct err e = {0};
                standbys_look(&s, t[i].seen, (lsn_t){300}, 1);
                assert_true(standbys_late(&s, 2 * SECOND));
                (void)standbys_blame(&s, "us", &e);
                if (strcmp(e.name, t[i].name) != 0 || !strstr(e.msg, t[i].says) || !strstr(e.msg, "region us"))
                        fail_msg("%s: %s: %s", t[i].why, e.name, e.msg);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(which_messages_wait_for_what),
                cmocka_unit_test(the_slowest_decides),
                cmocka_unit_test(what_is_beyond_is_held),
                cmocka_unit_test(without_names_nothing_is_held),
                cmocka_unit_test(when_it_is_looked_again),
                cmocka_unit_test(late_is_what_stays_behind_for_a_second),
                cmocka_unit_test(who_is_blamed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
