/* http: what /healthz says of loops that turn, wait for PostgreSQL, hang, or have ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/http_internal.h"

static const struct {
        const char *why;
        int64_t turned_s_ago; /* -1: PostgreSQL has the thread */
        bool ended;
        unsigned code;
} cases[] = {
        {"it turns", 0, false, 200},
        {"a long turn", 100, false, 200},
        {"it hangs", 130, false, 503},
        {"a long statement is no loop that hangs", -1, false, 200},
        {"stopped by name: the other agent goes on", 1000, true, 200},
};

static void loops_that_turn(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct control fine = {0}, control = {0};
                _Atomic bool no = false, ended = cases[i].ended;
                struct region region = {.name = "us"};
                struct http h = {.region = &region, .njobs = 2};
                struct reply out = {0};
                buf_init(&out.body, 0);
                control_turned(&fine);
                atomic_store(&control.turned_us,
                             cases[i].turned_s_ago < 0 ? CONTROL_WAITS : clock_mono_us() - cases[i].turned_s_ago * 1000000);
                h.jobs[0] = (struct http_job){.name = "capture", .control = &fine, .ended = &no};
                h.jobs[1] = (struct http_job){.name = "apply", .control = &control, .ended = &ended};
                http_healthz(&h, NULL, &out);
                if (out.code != cases[i].code)
                        fail_msg("%s: %u, want %u: %s", cases[i].why, out.code, cases[i].code, buf_cstr(&out.body));
                buf_release(&out.body);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(loops_that_turn)};
        return cmocka_run_group_tests_name("daemon: http", tests, NULL, NULL);
}
