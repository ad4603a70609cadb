/* progress: the line, the bar, and that it tells while its owner is busy and nothing afterwards. */
#include <poll.h>
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

/* What was told so far. */
struct told {
        int fd;
        size_t n;
        char text[100000];
};

/* Takes what comes within the time, at least a byte of it; false: nothing did, or nobody is left who could tell. */
static bool hear(struct told *t, int64_t until_us)
{
        int64_t left = until_us - clock_mono_us();
        struct pollfd p = {.fd = t->fd, .events = POLLIN};
        if (poll(&p, 1, left > 0 ? (int)(left / 1000) : 0) != 1)
                return false;
        ssize_t n = read(t->fd, t->text + t->n, sizeof t->text - 1 - t->n);
        t->n += n > 0 ? (size_t)n : 0;
        t->text[t->n] = 0;
        return n > 0;
}

/* Waits, at most ten seconds, until the text was told. */
static void comes(struct told *t, const char *text)
{
        int64_t until = clock_mono_us() + 10000000;
        while (!strstr(t->text, text))
                if (!hear(t, until))
                        fail_msg("\"%s\" was not told, but \"%s\"", text, t->text);
}

static void tells_meanwhile(void **state)
{
        (void)state;
        for (int bar = 0; bar < 2; bar++) {
                int ends[2];
                assert_int_equal(pipe(ends), 0);
                FILE *out = fdopen(ends[1], "w");
                struct told told = {.fd = ends[0]};
                struct progress *p =
                        progress_begin_with("comparing", &(struct progress_opts){.out = out, .bar = bar, .every_us = 3000});
                comes(&told, bar ? "\rcomparing: 0 s\033[K" : "comparing: 0 s\n");
                progress_phase(p, "reading", 4);
                progress_step(p);
                comes(&told,
                      bar ? "\rreading: [#####...............] 1/4, 0 s\033[K" : "reading: [#####...............] 1/4, 0 s\n");
                progress_end(p);
                fclose(out);
                while (hear(&told, clock_mono_us() + 10000000))
                        ;
                if (bar)
                        assert_memory_equal(told.text + told.n - 4, "\r\033[K", 4);
                close(told.fd);
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
