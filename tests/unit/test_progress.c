/* progress: the line, the bar, and that it tells while its owner is busy and nothing afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "daemon/progress.h"

static const struct {
        const char *why;
        size_t done, total;
        int64_t seconds;
        int width;
        const char *line;
} lines[] = {
        {"nobody knows how much there is", 0, 0, 20, 0, "us: public.t: 20 s"},
        {"at the beginning", 0, 12, 3, 0, "us: public.t: [....................] 0/12, 3 s"},
        {"half", 6, 12, 60, 0, "us: public.t: [##########..........] 6/12, 60 s"},
        {"more than there should be", 13, 12, 60, 0, "us: public.t: [####################] 13/12, 60 s"},
        {"a narrow terminal", 6, 12, 60, 20, "us: public.t: [####"},
};

static void its_line(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
                char line[200];
                progress_line("us: public.t", lines[i].done, lines[i].total, lines[i].seconds, lines[i].width, line, sizeof line);
                if (strcmp(line, lines[i].line) != 0)
                        fail_msg("%s: %s", lines[i].why, line);
        }
}

/* Waits, at most ten seconds, until the file holds the text. */
static bool comes(int fd, const char *text)
{
        char seen[100000];
        for (int64_t end = clock_mono_us() + 10000000; clock_mono_us() < end; usleep(2000)) {
                ssize_t n = pread(fd, seen, sizeof seen - 1, 0);
                seen[n > 0 ? n : 0] = 0;
                if (strstr(seen, text))
                        return true;
        }
        return false;
}

static void tells_meanwhile(void **state)
{
        (void)state;
        for (int bar = 0; bar < 2; bar++) {
                FILE *out = tmpfile();
                struct progress *p =
                        progress_begin_with("comparing", &(struct progress_opts){.out = out, .bar = bar, .every_us = 3000});
                assert_true(comes(fileno(out), bar ? "\rcomparing: 0 s\033[K" : "comparing: 0 s\n"));
                progress_phase(p, "reading", 4);
                progress_step(p);
                assert_true(comes(fileno(out), bar ? "\rreading: [#####...............] 1/4, 0 s\033[K"
                                                   : "reading: [#####...............] 1/4, 0 s\n"));
                progress_end(p);
                fflush(out);
                long end = ftell(out);
                char last[4] = "";
                if (bar) {
                        assert_int_equal(pread(fileno(out), last, 4, end - 4), 4);
                        assert_memory_equal(last, "\r\033[K", 4);
                }
                fclose(out);
        }
}

/* What is quick says nothing; nobody needs one. */
static void quiet_when_quick(void **state)
{
        (void)state;
        FILE *out = tmpfile();
        struct progress *p = progress_begin_with("x", &(struct progress_opts){.out = out});
        progress_step(p);
        progress_end(p);
        fflush(out);
        assert_int_equal(ftell(out), 0);
        fclose(out);
        progress_phase(NULL, "x", 1);
        progress_step(NULL);
        progress_end(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(its_line),
                cmocka_unit_test(tells_meanwhile),
                cmocka_unit_test(quiet_when_quick),
        };
        return cmocka_run_group_tests_name("daemon: progress", tests, NULL, NULL);
}
