/* The libpq wrapper against a real server: sessions and the pipeline. */
#include "base/mem.h"
#include "tests/unit/postgres_server.h"

/* ---- sessions -------------------------------------------------------------------------------------------------------------------- */

static void no_setting_of_the_database_reaches_a_session(void **state)
{
        (void)state;
        static const struct {
                const char *name, *theirs, *plain, *apply;
        } t[] = {
                {"datestyle", "German", "ISO, MDY", "ISO, MDY"},
                {"intervalstyle", "iso_8601", "postgres", "postgres"},
                {"extra_float_digits", "-5", "1", "1"},
                {"bytea_output", "escape", "hex", "hex"},
                {"timezone", "Asia/Tokyo", "UTC", "UTC"},
                {"lc_monetary", "C.UTF-8", "C", "C"},
                {"xmloption", "document", "content", "content"},
                {"search_path", "public", "", ""},
                {"row_security", "on", "off", "off"},
                {"client_encoding", "LATIN1", "UTF8", "UTF8"},
                {"default_transaction_isolation", "serializable", "read committed", "read committed"},
                {"statement_timeout", "1h", "0", "0"},
                {"idle_session_timeout", "1h", "0", "0"},
                {"synchronous_commit", "remote_apply", "local", "off"},
                {"client_connection_check_interval", "0", "1s", "1s"},
                {"lock_timeout", "1h", "0", "50ms"},
                {"idle_in_transaction_session_timeout", "1h", "1h", "5s"},
                {"plan_cache_mode", "force_custom_plan", "force_custom_plan", "force_generic_plan"},
                {"enable_seqscan", "on", "on", "off"},
                {"enable_hashjoin", "on", "on", "off"},
                {"enable_mergejoin", "on", "on", "off"},
                {"jit", "on", "off", "off"},
                {"session_replication_role", "origin", "origin", "replica"},
                {"deadlock_timeout", "7s", "7s", "20ms"},
        };
        struct pg *c = connect_to(plain, PG_PLAIN);
        char sql[256], conninfo[512];
        run(c, "CREATE DATABASE foreign_settings");
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                snprintf(sql, sizeof sql, "ALTER DATABASE foreign_settings SET %s = '%s'", t[i].name, t[i].theirs);
                run(c, sql);
        }
        pg_close(c);
        /* options of the operator are kept, ours win */
        snprintf(conninfo, sizeof conninfo, "%s dbname=foreign_settings options='-c datestyle=SQL -c work_mem=5MB'", plain);
        for (int k = 0; k < 2; k++) {
                c = connect_to(conninfo, k ? PG_APPLY : PG_PLAIN);
                for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                        snprintf(sql, sizeof sql, "SHOW %s", t[i].name);
                        assert_string_equal(ask(c, sql), k ? t[i].apply : t[i].plain);
                }
                assert_string_equal(ask(c, "SHOW work_mem"), "5MB");
                assert_string_equal(ask(c, "SHOW application_name"), "pangea-test");
                pg_close(c);
        }
}

static void a_missing_grant_is_named(void **state)
{
        (void)state;
        static const char *const needs[] = {"session_replication_role", "deadlock_timeout"};
        struct pg *c = connect_to(plain, PG_PLAIN), *a;
        char conninfo[512], grant[128];
        struct err e = {0};
        run(c, "CREATE ROLE app LOGIN");
        snprintf(conninfo, sizeof conninfo, "%s user=app", plain);
        struct pg_opts o = {.conninfo = conninfo, .application_name = "pangea-test", .session = PG_APPLY};
        for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
                assert_int_equal(pg_open(&a, &o, &e), ST_FATAL);
                assert_string_equal(e.name, "missing_grant");
                assert_string_equal(e.sqlstate, "42501");
                snprintf(grant, sizeof grant, "GRANT SET ON PARAMETER %s TO \"app\"", needs[i]);
                assert_non_null(strstr(e.msg, grant));
                run(c, grant); /* what the message tells to do */
        }
        assert_int_equal(pg_open(&a, &o, &e), ST_OK);
        pg_close(a);
        pg_close(c);
}

static void sql_ascii_is_refused(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN), *a;
        char conninfo[512];
        struct err e = {0};
        run(c, "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
        snprintf(conninfo, sizeof conninfo, "%s dbname=ascii", plain);
        struct pg_opts o = {.conninfo = conninfo, .application_name = "pangea-test"};
        assert_int_equal(pg_open(&a, &o, &e), ST_FATAL);
        assert_string_equal(e.name, "sql_ascii");
        pg_close(c);
}

static void errors_say_what_to_do_and_hold_no_row(void **state)
{
        (void)state;
        static const struct {
                const char *sql, *sqlstate, *says, *not ;
        } t[] = {
                {"SELECT 1/0", "22012", "division by zero", NULL},
                {"INSERT INTO public.e VALUES (NULL, 's3cret')", "23502", "\"id\" of relation \"e\"", "s3cret"},
                {"INSERT INTO public.e VALUES (-1, 's3cret')", "23514", "e_id_check", "s3cret"},
                {"INSERT INTO public.e VALUES (1, 'a'), (1, 's3cret')", "23505", "Key (id)=(1)", "s3cret"},
                {"SELECT 1; SELECT 1/0; CREATE TABLE public.never()", "22012", "division", NULL},
        };
        struct pg *c = connect_to(plain, PG_PLAIN);
        run(c, "CREATE TABLE public.e (id int PRIMARY KEY CHECK (id > 0), v text)");
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct err e = {0};
                assert_int_equal(pg_exec(c, t[i].sql, NULL, &e), ST_DATA);
                assert_string_equal(e.sqlstate, t[i].sqlstate);
                if (!strstr(e.msg, t[i].says) || (t[i].not &&strstr(e.msg, t[i].not )))
                        fail_msg("%s: %s", t[i].sql, e.msg);
                assert_false(pg_lost(c));
        }
        assert_string_equal(ask(c, "SELECT count(*) FROM public.e"), "0");
        pg_close(c);
}

static void a_lock_is_waited_for_only_by_commands(void **state)
{
        (void)state;
        struct pg *holder = connect_to(plain, PG_PLAIN), *a = connect_to(plain, PG_APPLY);
        struct err e = {0};
        run(holder, "CREATE TABLE public.l (id int PRIMARY KEY)");
        run(holder, "BEGIN; LOCK TABLE public.l");
        assert_int_equal(pg_exec(a, "SELECT * FROM public.l", NULL, &e), ST_RETRY);
        assert_string_equal(e.sqlstate, "55P03");
        assert_false(pg_lost(a));
        pg_close(holder);
        pg_close(a);
}

static void values_go_as_parameters(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN);
        struct err e = {0};
        struct pgres *r;
        const struct pg_param p[] = {
                PG_TEXT("it's; \\ 'x'"), {.data = "\0\1\xff", .len = 3, .binary = true, .type = 17}, PG_TEXT(NULL)};
        assert_int_equal(pg_query(c, "SELECT $1::text, $2::bytea, $3::int, 42", 3, p, false, &r, &e), ST_OK);
        assert_string_equal(pgres_text(r, 0, 0), "it's; \\ 'x'");
        assert_string_equal(pgres_text(r, 0, 1), "\\x0001ff");
        assert_true(pgres_null(r, 0, 2) && !pgres_null(r, 0, 3));
        assert_int_equal(pgres_i64(r, 0, 3), 42);
        pgres_free(r);
        run(c, "CREATE TABLE public.p (id int)");
        assert_int_equal(pg_query(c, "INSERT INTO public.p SELECT generate_series(1, 7)", 0, NULL, false, &r, &e), ST_OK);
        assert_int_equal(pgres_affected(r), 7);
        pgres_free(r);
        pg_close(c);
}

/* Ends c's session from outside, and waits until the server has done so. */
static void terminate(struct pg *c)
{
        struct pg *killer = connect_to(plain, PG_PLAIN);
        char sql[96];
        snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 10000)", pg_backend_pid(c));
        assert_string_equal(ask(killer, sql), "t");
        pg_close(killer);
}

/* The answer of a statement with one parameter, as text. */
static const char *asked(struct pg *c, const char *sql, const char *param)
{
        static char out[64];
        struct pgres *r;
        struct err e = {0};
        struct pg_param p = PG_TEXT(param);
        if (pg_query(c, sql, 1, &p, false, &r, &e) != ST_OK)
                fail_msg("%s: %s", sql, e.msg);
        snprintf(out, sizeof out, "%s", pgres_text(r, 0, 0));
        pgres_free(r);
        return out;
}

static void what_upkeep_asks_again_is_prepared(void **state)
{
        (void)state;
        static const char kept[] = "SELECT count(*) FROM pg_catalog.pg_prepared_statements",
                          value[] = "SELECT v FROM public.kept WHERE id = $1::int";
        struct pg *c = connect_to(plain, PG_UPKEEP);
        char sql[80], number[12];
        run(c, "CREATE TABLE public.kept (id int PRIMARY KEY, v int); INSERT INTO public.kept VALUES (1, 7), (2, 8)");
        assert_string_equal(ask(c, "SHOW plan_cache_mode"), "force_generic_plan");
        assert_string_equal(asked(c, value, "1"), "7");
        assert_string_equal(ask(c, kept), "0");
        assert_string_equal(asked(c, value, "2"), "8");
        assert_string_equal(asked(c, value, "1"), "7");
        assert_string_equal(ask(c, kept), "1");
        /* another type of the answer, also when it is found out within a transaction */
        run(c, "ALTER TABLE public.kept ALTER v TYPE text USING v || 'x'");
        assert_string_equal(asked(c, value, "1"), "7x");
        assert_string_equal(asked(c, value, "2"), "8x");
        struct err e = {0};
        struct pg_param p = PG_TEXT("1");
        run(c, "ALTER TABLE public.kept ALTER v TYPE bytea USING '\\x07'");
        run(c, "BEGIN");
        assert_int_not_equal(pg_query(c, value, 1, &p, false, NULL, &e), ST_OK);
        run(c, "ROLLBACK");
        assert_string_equal(asked(c, value, "1"), "\\x07");
        /* what is wrong stays wrong, and is asked anew when it is right */
        for (int i = 0; i < 3; i++)
                assert_int_equal(pg_query(c, "SELECT v FROM public.later WHERE v = $1", 1, &p, false, NULL, &e), ST_DATA);
        run(c, "CREATE TABLE public.later (v text); INSERT INTO public.later VALUES ('1')");
        assert_string_equal(asked(c, "SELECT v FROM public.later WHERE v = $1", "1"), "1");
        for (int i = 0; i < 200; i++) {
                snprintf(number, sizeof number, "%d", i);
                snprintf(sql, sizeof sql, "SELECT %d + $1::int - $1::int", i);
                for (int k = 0; k < 3; k++)
                        assert_string_equal(asked(c, sql, "5"), number);
        }
        assert_true(strtol(ask(c, kept), NULL, 10) <= 66);
        pg_close(c);
}

static void a_lost_session_is_told(void **state)
{
        (void)state;
        struct err e = {0};
        struct pg *c = connect_to(plain, PG_PLAIN);
        terminate(c);
        assert_int_equal(pg_exec(c, "SELECT 1", NULL, &e), ST_RETRY);
        assert_true(pg_lost(c));
        assert_int_equal(pg_exec(c, "SELECT 1", NULL, &e), ST_RETRY);
        assert_int_equal(pg_pipe_begin(c, &e), ST_RETRY);
        pg_close(c);

        c = connect_to(plain, PG_APPLY);
        assert_int_equal(pg_pipe_begin(c, &e), ST_OK);
        assert_int_equal(pg_pipe_query(c, "SELECT 1", 0, NULL, false, &e), ST_OK);
        terminate(c);
        assert_int_equal(pg_pipe_sync(c, NULL, NULL, &e), ST_RETRY);
        assert_true(pg_lost(c));
        assert_int_equal(pg_pipe_end(c, &e), ST_RETRY);
        pg_close(c);
}

/* ---- pipeline -------------------------------------------------------------------------------------------------------------------- */

struct seen {
        int calls, rows;
        char last[16];
};

static void note(void *ctx, int number, struct pgres *r)
{
        struct seen *s = ctx;
        assert_int_equal(number, s->calls);
        s->calls++;
        s->rows += pgres_rows(r);
        if (pgres_rows(r) > 0)
                snprintf(s->last, sizeof s->last, "%s", pgres_text(r, 0, 0));
        pgres_free(r);
}

static void a_pipeline_fails_as_one_and_goes_on(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_APPLY);
        struct err e = {0};
        struct seen s = {0};
        uint32_t int4 = 23;
        assert_int_equal(pg_pipe_begin(c, &e), ST_OK);
        assert_int_equal(pg_pipe_prepare(c, "inc", "SELECT $1 + 1", 1, &int4, &e), ST_OK);
        for (int i = 0; i < 1000; i++)
                assert_int_equal(
                        pg_pipe_exec_prepared(c, "inc", 1, (struct pg_param[]){PG_TEXT(i == 999 ? "999" : "5")}, false, &e), ST_OK);
        assert_int_equal(pg_pipe_sync(c, note, &s, &e), ST_OK);
        assert_int_equal(s.calls, 1001);
        assert_string_equal(s.last, "1000");

        s = (struct seen){0};
        assert_int_equal(pg_pipe_query(c, "BEGIN", 0, NULL, false, &e), ST_OK);
        assert_int_equal(pg_pipe_query(c, "CREATE TABLE public.half ()", 0, NULL, false, &e), ST_OK);
        assert_int_equal(pg_pipe_query(c, "SELECT 1/0", 0, NULL, false, &e), ST_OK);
        assert_int_equal(pg_pipe_query(c, "COMMIT", 0, NULL, false, &e), ST_OK);
        assert_int_equal(pg_pipe_sync(c, note, &s, &e), ST_DATA);
        assert_string_equal(e.sqlstate, "22012");
        assert_int_equal(s.calls, 2);

        s = (struct seen){0};
        assert_int_equal(pg_pipe_query(c, "ROLLBACK", 0, NULL, false, &e), ST_OK);
        assert_int_equal(pg_pipe_query(c, "SELECT to_regclass('public.half') IS NULL", 0, NULL, false, &e), ST_OK);
        assert_int_equal(pg_pipe_sync(c, note, &s, &e), ST_OK);
        assert_string_equal(s.last, "t");
        assert_int_equal(pg_exec(c, "SELECT 1", NULL, &e), ST_FATAL); /* not while it is open */
        assert_int_equal(pg_pipe_end(c, &e), ST_OK);
        assert_string_equal(ask(c, "SELECT 7"), "7");
        pg_close(c);
}

/* Both sides have more to say than the sockets hold: who only writes stands still for ever. Rows are larger than a TLS record. */
static void a_pipeline_full_in_both_directions_moves(void **state)
{
        (void)state;
        enum { SIZE = 300000, COUNT = 100 };
        char *big = mem_alloc(SIZE + 1);
        memset(big, 'x', SIZE);
        big[SIZE] = 0;
        for (int k = 0; k < 2; k++) {
                struct pg *c = connect_to(k ? tls : plain, PG_APPLY);
                struct err e = {0};
                struct seen s = {0};
                assert_int_equal(pg_pipe_begin(c, &e), ST_OK);
                for (int i = 0; i < COUNT; i++) {
                        /* sizes that never fit a block */
                        const struct pg_param p = PG_TEXT(big + i * 37);
                        assert_int_equal(pg_pipe_query(c, "SELECT $1::text, g FROM generate_series(1, 2) g", 1, &p, false, &e),
                                         ST_OK);
                }
                if (pg_pipe_sync(c, note, &s, &e) != ST_OK)
                        fail_msg("%s: %s", k ? "tls" : "plain", e.msg);
                assert_int_equal(s.calls, COUNT);
                assert_int_equal(s.rows, 2 * COUNT);
                assert_int_equal(pg_pipe_end(c, &e), ST_OK);
                pg_close(c);
        }
        free(big);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_setting_of_the_database_reaches_a_session),
                cmocka_unit_test(a_missing_grant_is_named),
                cmocka_unit_test(sql_ascii_is_refused),
                cmocka_unit_test(errors_say_what_to_do_and_hold_no_row),
                cmocka_unit_test(a_lock_is_waited_for_only_by_commands),
                cmocka_unit_test(values_go_as_parameters),
                cmocka_unit_test(what_upkeep_asks_again_is_prepared),
                cmocka_unit_test(a_lost_session_is_told),
                cmocka_unit_test(a_pipeline_fails_as_one_and_goes_on),
                cmocka_unit_test(a_pipeline_full_in_both_directions_moves),
        };
        return cmocka_run_group_tests(tests, start_server, stop_server);
}
