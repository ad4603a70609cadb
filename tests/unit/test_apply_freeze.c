/* freeze: when to warn that commit timestamps may be erased while they are needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apply/freeze.h"

#define M UINT64_C(1000000)

static void warns_in_time(void **state)
{
        static const struct {
                const char *why;
                struct freeze_facts f;
                enum freeze_state want;
                uint64_t left;
        } t[] = {
                {"nothing unstable, however old", {100, 190 * M, 180 * M, 50 * M, false}, FREEZE_SAFE, 0},
                {"a little behind", {10 * M, 10 * M + 500, 9 * M, 50 * M, true}, FREEZE_SAFE, 50 * M - 500},
                {"below half", {10 * M, 35 * M, 9 * M, 50 * M, true}, FREEZE_SAFE, 25 * M},
                {"beyond half", {10 * M, 36 * M, 9 * M, 50 * M, true}, FREEZE_NEAR, 24 * M},
                {"beyond all of it, not erased yet", {10 * M, 90 * M, 9 * M, 50 * M, true}, FREEZE_NEAR, 0},
                {"the horizon is right behind", {10 * M, 11 * M, 10 * M, 50 * M, true}, FREEZE_SAFE, 49 * M},
                {"the horizon has passed", {10 * M, 11 * M, 10 * M + 1, 50 * M, true}, FREEZE_GONE, 49 * M},
                {"frozen at once, and busy", {10 * M, 10 * M + 9000, 9 * M, 0, true}, FREEZE_SAFE, 0},
                {"frozen at once, and away", {10 * M, 10 * M + 10001, 9 * M, 0, true}, FREEZE_NEAR, 0},
                {"a running transaction holds VACUUM back further than us",
                 {10 * M, 9 * M, 8 * M, 50 * M, true},
                 FREEZE_SAFE,
                 50 * M},
        };
        (void)state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                if (freeze_judge(&t[i].f) != t[i].want)
                        fail_msg("%s: %s, want %s", t[i].why, freeze_name(freeze_judge(&t[i].f)), freeze_name(t[i].want));
                if (freeze_left(&t[i].f) != t[i].left)
                        fail_msg("%s: left %lu", t[i].why, (unsigned long)freeze_left(&t[i].f));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(warns_in_time),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
