/* Named stops: whatever the sources name is in the table with a cure, the documentation is the table, and every error has an exit code. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/errors.h"

static void slurp(const char *file, struct buf *out)
{
        FILE *f = fopen(file, "r");
        if (!f)
                fail_msg("%s cannot be opened: run this in the root of the project", file);
        for (int c; (c = fgetc(f)) != EOF;)
                buf_put_u8(out, (uint8_t)c);
        fclose(f);
}

/* Every string literal of the arguments up to the first comma that follows one: err_named(e, ST_x, a ? "x" : "y", "..") */
static size_t names_of_call(const char *call, const char *file)
{
        size_t n = 0;
        for (const char *p = call; *p && *p != ';';) {
                const char *quote = strchr(p, '"'), *end = quote ? strchr(quote + 1, '"') : NULL;
                char name[64];
                if (!end)
                        break;
                snprintf(name, sizeof name, "%.*s", (int)(end - quote - 1), quote + 1);
                if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyz_") != strlen(name))
                        break; /* the message already: the name is a variable's */
                if (!error_find(name))
                        fail_msg("%s: named stop \"%s\" is not in daemon/errors.c", file, name);
                n++;
                p = end + 1;
                if (*p == ',')
                        break;
        }
        return n;
}

static size_t names_of_file(const char *file)
{
        struct buf text;
        size_t n = 0;
        buf_init(&text, 0);
        slurp(file, &text);
        static const char *const before[] = {"err_named(",   "stop_named(", "ST_DATA, \"", "ST_FATAL, \"",
                                             "ST_RETRY, \"", "? name : \"", "refuse(\"",   "        {\""};
        size_t ways = sizeof before / sizeof *before;
        if (strcmp(file, "capture/stops.c") != 0)
                ways--; /* the last is how a row of that table begins */
        for (size_t i = 0; i < ways; i++)
                for (const char *p = buf_cstr(&text); (p = strstr(p, before[i])); p++)
                        n += names_of_call(p, file);
        buf_release(&text);
        return n;
}

typedef void each_file(const char *file, void *ctx);

static void each_source(each_file *f, void *ctx)
{
        static const char *const folders[] = {"change",   "postgres", "kafka", "config", "topology",
                                              "conflict", "capture",  "apply", "daemon"};
        for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
                DIR *d = opendir(folders[i]);
                if (!d)
                        fail_msg("%s cannot be opened: run this in the root of the project", folders[i]);
                for (struct dirent *x; (x = readdir(d));) {
                        char path[600];
                        size_t len = strlen(x->d_name);
                        if (len < 3 || strcmp(x->d_name + len - 2, ".c") != 0)
                                continue;
                        snprintf(path, sizeof path, "%s/%s", folders[i], x->d_name);
                        f(path, ctx);
                }
                closedir(d);
        }
}

static void count_names(const char *file, void *ctx)
{
        *(size_t *)ctx += names_of_file(file);
}

static void sources_name_what_the_table_knows(void **state)
{
        (void)state;
        size_t n = 0;
        each_source(count_names, &n);
        assert_true(n > 20); /* it did find them */
}

/* Whatever a command says when it does not do what it was asked goes through refuse(), which puts the name first. */
static void says_it_itself(const char *file, void *ctx)
{
        static const char *const ways[] = {"\"pangea: ", "stderr, \"usage", "(\"usage", "stderr, \"pangea"};
        struct buf text;
        (void)ctx;
        if (strncmp(file, "daemon/", 7) != 0 || strcmp(file, "daemon/refuse.c") == 0)
                return;
        buf_init(&text, 0);
        slurp(file, &text);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
                if (strstr(buf_cstr(&text), ways[i]))
                        fail_msg("%s: %s..: a refusal without a name; refuse() says it with one", file, ways[i]);
        buf_release(&text);
}

static void refusals_have_names(void **state)
{
        (void)state;
        each_source(says_it_itself, NULL);
}

static void find_rows(const char *file, void *ctx)
{
        bool *found = ctx;
        struct buf text;
        if (strcmp(file, "daemon/errors.c") == 0)
                return;
        buf_init(&text, 0);
        slurp(file, &text);
        for (size_t i = 0; i < error_count; i++) {
                char quoted[64];
                snprintf(quoted, sizeof quoted, "\"%s\"", error_table[i].name);
                found[i] = found[i] || strstr(buf_cstr(&text), quoted);
        }
        buf_release(&text);
}

static void table_is_complete(void **state)
{
        (void)state;
        for (size_t i = 0; i < error_count; i++) {
                assert_true(strlen(error_table[i].name) < sizeof(((struct err *)0)->name));
                assert_true(*error_table[i].cause && *error_table[i].cure);
                assert_int_not_equal(error_table[i].exit, EXIT_DONE);
                if (error_find(error_table[i].name) != &error_table[i])
                        fail_msg("%s is in the table twice", error_table[i].name);
        }
}

static const struct {
        const char *why;
        struct err e;
        int code;
        const char *name; /* by which a command calls it; NULL: it ends nothing */
} codes[] = {
        {"a name decides", {.code = ST_DATA, .name = "slot_missing"}, EXIT_POSTGRES, "slot_missing"},
        {"a name of Kafka's", {.code = ST_DATA, .name = "topic_missing"}, EXIT_KAFKA, NULL},
        {"a name wins over SQLSTATE",
         {.code = ST_DATA, .name = "not_initialized", .sqlstate = "42P01"},
         EXIT_USAGE,
         "not_initialized"},
        {"SQLSTATE is PostgreSQL's", {.code = ST_RETRY, .sqlstate = "08006"}, EXIT_POSTGRES, "postgres_away"},
        {"a server that shuts down", {.code = ST_RETRY, .sqlstate = "57P01"}, EXIT_POSTGRES, "postgres_away"},
        {"a statement was cancelled: the server is there",
         {.code = ST_RETRY, .sqlstate = "57014"},
         EXIT_POSTGRES,
         "postgres_refused"},
        {"a statement was refused", {.code = ST_DATA, .sqlstate = "42501"}, EXIT_POSTGRES, "postgres_refused"},
        {"a name nobody knows is no success", {.code = ST_FATAL, .name = "whatever"}, EXIT_RUNTIME, "failed"},
        {"configuration", {.code = ST_CONFIG}, EXIT_USAGE, "bad_input"},
        {"asked to stop", {.code = ST_STOP}, EXIT_DONE, NULL},
        {"transient, and given up", {.code = ST_RETRY}, EXIT_RUNTIME, "failed"},
};

static void errors_have_exit_codes(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
                if (exit_code_of(&codes[i].e) != codes[i].code)
                        fail_msg("%s: %d, want %d", codes[i].why, exit_code_of(&codes[i].e), codes[i].code);
                if (codes[i].name && strcmp(error_name(&codes[i].e), codes[i].name) != 0)
                        fail_msg("%s: %s, want %s", codes[i].why, error_name(&codes[i].e), codes[i].name);
                assert_non_null(error_find(error_name(&codes[i].e)));
        }
}

static void every_row_can_happen(void **state)
{
        (void)state;
        bool found[200] = {false};
        assert_true(error_count < sizeof found);
        each_source(find_rows, found);
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) /* those of errors without a name of their own */
                found[error_find(error_name(&codes[i].e)) - error_table] = true;
        for (size_t i = 0; i < error_count; i++)
                if (!found[i])
                        fail_msg("%s: no source stops by that name", error_table[i].name);
}

static void docs_are_the_table(void **state)
{
        (void)state;
        struct buf want, have;
        buf_init(&want, 0);
        buf_init(&have, 0);
        errors_markdown(&want);
        if (getenv("UPDATE")) {
                FILE *out = fopen("docs/errors.md", "w");
                assert_non_null(out);
                fputs(buf_cstr(&want), out);
                assert_int_equal(fclose(out), 0);
        }
        slurp("docs/errors.md", &have);
        if (strcmp(buf_cstr(&want), buf_cstr(&have)) != 0)
                fail_msg("docs/errors.md is not what daemon/errors.c prints: run this test with UPDATE=1");
        buf_release(&want);
        buf_release(&have);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sources_name_what_the_table_knows),
                cmocka_unit_test(refusals_have_names),
                cmocka_unit_test(every_row_can_happen),
                cmocka_unit_test(table_is_complete),
                cmocka_unit_test(errors_have_exit_codes),
                cmocka_unit_test(docs_are_the_table),
        };
        return cmocka_run_group_tests_name("daemon: errors", tests, NULL, NULL);
}
