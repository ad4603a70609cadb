/* table: it fits the terminal, says what it left out, and never cuts what must stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/table.h"

static const struct text_column columns[] = {
        {"NAME", false, KEEP_ALWAYS}, {"BYTES", true, 1}, {"STATE", false, 2}, {"WHY", false, KEEP_ALWAYS}};

static const struct {
        const char *why;
        int width;
        bool full_last;
        size_t cut, left_out; /* cut: of NAME and WHY */
        const char *text;
} cases[] = {
        {"no limit", 0, false, 0, 0,
         "NAME    BYTES  STATE    WHY\n"
         "us        123  running\n"
         "z\xc3\xbcrich      7  waiting  for a long time\n"},
        {"just fits", 39, false, 0, 0,
         "NAME    BYTES  STATE    WHY\n"
         "us        123  running\n"
         "z\xc3\xbcrich      7  waiting  for a long time\n"},
        {"the least important goes first", 38, false, 0, 1,
         "NAME    STATE    WHY\n"
         "us      running\n"
         "z\xc3\xbcrich  waiting  for a long time\n"},
        {"then the next", 28, false, 0, 2,
         "NAME    WHY\n"
         "us\n"
         "z\xc3\xbcrich  for a long time\n"},
        {"then the last is cut", 17, false, 0, 2,
         "NAME    WHY\n"
         "us\n"
         "z\xc3\xbcrich  for a l..\n"},
        {"what is to be copied is never cut", 17, true, 0, 2,
         "NAME    WHY\n"
         "us\n"
         "z\xc3\xbcrich  for a long time\n"},
        {"what may be cut is cut first", 33, false, 4, 0,
         "NAME    BYTES  STATE    WHY\n"
         "us        123  running\n"
         "z\xc3\xbcrich      7  waiting  for a l..\n"},
        {"the widest of it, evenly", 28, false, 4, 0,
         "NAME   BYTES  STATE    WHY\n"
         "us       123  running\n"
         "z\xc3\xbcr..      7  waiting  for..\n"},
        {"and when that is not enough a column goes", 24, false, 4, 1,
         "NAME    STATE    WHY\n"
         "us      running\n"
         "z\xc3\xbcrich  waiting  for a..\n"},
};

static void fits_the_terminal(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct text_table t;
                char *text = NULL;
                size_t size = 0;
                text_table_init(&t, columns, 4);
                t.full_last = cases[i].full_last;
                text_table_cut(&t, 0, cases[i].cut);
                text_table_cut(&t, 3, cases[i].cut);
                text_table_row(&t);
                text_table_cell(&t, 0, STYLE_NONE, "us");
                text_table_cell(&t, 1, STYLE_NONE, "%d", 123);
                text_table_cell(&t, 2, STYLE_GOOD, "running");
                text_table_row(&t);
                text_table_cell(&t, 0, STYLE_NONE, "z\xc3\xbcrich");
                text_table_cell(&t, 1, STYLE_NONE, "7");
                text_table_cell(&t, 2, STYLE_WARN, "waiting");
                text_table_cell(&t, 3, STYLE_NONE, "for a long time");
                FILE *out = open_memstream(&text, &size);
                size_t left_out = text_table_print(&t, cases[i].width, false, out);
                fclose(out);
                if (left_out != cases[i].left_out || strcmp(text, cases[i].text) != 0)
                        fail_msg("%s: left out %zu:\n%s", cases[i].why, left_out, text);
                free(text);
                text_table_release(&t);
        }
}

static void many_rows(void **state)
{
        (void)state;
        struct text_table t;
        char *text = NULL;
        size_t size = 0, lines = 0;
        text_table_init(&t, columns, 4);
        for (int i = 0; i < 1000; i++) {
                text_table_row(&t);
                text_table_cell(&t, 0, STYLE_NONE, "%d", i);
        }
        FILE *out = open_memstream(&text, &size);
        assert_int_equal(text_table_print(&t, 80, true, out), 0);
        fclose(out);
        for (const char *p = text; (p = strchr(p, '\n')); p++)
                lines++;
        assert_int_equal(lines, 1001);
        assert_non_null(strstr(text, "\n999\n"));
        free(text);
        text_table_release(&t);
}

/* COLUMNS wins over the terminal; a pipe has no width and no colours, whatever TERM says. */
static void what_the_terminal_is(void **state)
{
        (void)state;
        setenv("COLUMNS", "72", 1);
        assert_int_equal(term_width(), 72);
        setenv("COLUMNS", "wide", 1);
        setenv("NO_COLOR", "1", 1);
        assert_false(term_colour());
        unsetenv("COLUMNS");
        unsetenv("NO_COLOR");
        assert_string_equal(term_style(STYLE_BAD, false), "");
        assert_string_equal(term_style(STYLE_NONE, true), "\033[0m");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(fits_the_terminal),
                cmocka_unit_test(many_rows),
                cmocka_unit_test(what_the_terminal_is),
        };
        return cmocka_run_group_tests_name("daemon: table", tests, NULL, NULL);
}
