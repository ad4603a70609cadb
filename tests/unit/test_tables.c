/* Reading a row filter's text: a name that is missed would publish a filter whose column is not in the identity, and the application's
 * UPDATE would fail because of us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "capture/tables_where.h"

static const struct {
        const char *why, *sql, *names;
} filters[] = {
        {"plain", "severity > 2", "severity"},
        {"folded as PostgreSQL folds", "Severity > 2 AND KIND = 1", "severity and kind"},
        {"quoted keeps its case", "\"Kind\" = 1", "Kind"},
        {"a doubled quote inside", "\"a\"\"b\" = 1", "a\"b"},
        {"strings are no names", "kind = 'severity'", "kind"},
        {"a doubled quote in a string", "kind = 'it''s severity' AND x", "kind and x"},
        {"a backslash in a plain string", "kind = '\\' AND x", "kind and x"},
        {"a backslash in an escape string", "kind = E'\\' severity' AND x", "kind and x"},
        {"dollar quotes", "kind = $q$ severity $$ $q$ AND x", "kind and x"},
        {"empty dollar tag", "kind = $$severity$$ AND x", "kind and x"},
        {"a parameter-like dollar", "a$b = 1", "a$b"},
        {"comments", "kind /* severity /* nested */ still */ = 1 -- x\n AND y", "kind and y"},
        {"numbers", "a > 1.5e10 OR b = 0x1f", "a or b"},
        {"no blanks at all", "(a+b)>c", "a b c"},
        {"UTF-8 letters", "größe > 1", "größe"},
        {"a cast's type counts too: too many names do no harm", "a::text = 'x'", "a text"},
        {"an unfinished string ends the text", "a = 'b", "a"},
        {"an unfinished comment ends the text", "a /* b", "a"},
        {"an unfinished name", "a = \"b", "a b"},
        {"a dollar at the end", "a $", "a"},
        {"nothing", "", ""},
};

static void names_are_found(void **state)
{
        (void)state;
        struct arena a;
        arena_init(&a);
        for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
                struct buf got;
                const char **names = NULL;
                size_t n = where_names(filters[i].sql, &a, &names);
                buf_init(&got, 0);
                for (size_t k = 0; k < n; k++)
                        buf_printf(&got, "%s%s", k ? " " : "", names[k]);
                if (strcmp(buf_cstr(&got), filters[i].names) != 0)
                        fail_msg("%s: %s: found `%s`, want `%s`", filters[i].why, filters[i].sql, buf_cstr(&got), filters[i].names);
                buf_release(&got);
        }
        arena_release(&a);
}

static const struct {
        const char *why, *a, *b;
        bool same;
} pairs[] = {
        {"the server's parentheses", "severity > 2", "(severity > 2)", true},
        {"several, and blanks", " ( (a = 1) ) ", "a = 1", true},
        {"parentheses that do not belong together stay", "(a) OR (b)", "a) OR (b", false},
        {"another filter", "a = 1", "a = 2", false},
        {"grouping has a meaning", "(a AND b) OR c", "a AND (b OR c)", false},
        {"a longer one", "a = 1", "a = 10", false},
};

static void same_filter(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
                if (where_same(pairs[i].a, pairs[i].b) != pairs[i].same || where_same(pairs[i].b, pairs[i].a) != pairs[i].same)
                        fail_msg("%s: `%s` and `%s`", pairs[i].why, pairs[i].a, pairs[i].b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_are_found),
                cmocka_unit_test(same_filter),
        };
        return cmocka_run_group_tests_name("capture: tables", tests, NULL, NULL);
}
