/* The libpq wrapper against a real server, which this program starts in a folder of its own (scripts/postgres.sh) and stops. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "capture/pgoutput.h"
#include "postgres/stream.h"

#define LIMIT_US INT64_C(30000000)

static char folder[64], plain[256], tls[256];
static int alive; /* written end of the pipe whose end tells the janitor that we are gone */
static pid_t janitor;
static struct pgout_msg msg; /* large */

/* ---- the server ------------------------------------------------------------------------------------------------------------------ */

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *fmt, ...)
{
        char command[1024];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(command, sizeof command, fmt, ap);
        va_end(ap);
        return system(command); /* NOLINT: fixed commands of a test */
}

/* A child that stops the server when we end, however we end. */
static void start_janitor(void)
{
        int ends[2];
        char c;
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0); /* the server must not inherit it */
        janitor = fork();
        assert_true(janitor >= 0);
        if (janitor == 0) {
                close(ends[1]);
                setsid(); /* what ends our process group must not end it too */
                while (read(ends[0], &c, 1) > 0)
                        ;
                (void)!sh("scripts/postgres.sh stop %s immediate", folder);
                (void)!sh("rm -rf %s", folder);
                _exit(0);
        }
        close(ends[0]);
        alive = ends[1];
}

static int start_server(void **state)
{
        (void)state;
        snprintf(folder, sizeof folder, "/tmp/pangea-pg-XXXXXX");
        assert_non_null(mkdtemp(folder));
        assert_int_equal(chmod(folder, 0755), 0);
        start_janitor();
        assert_int_equal(
                sh("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
                   "-keyout key -out crt 2>openssl.log && chmod 600 key && { test $(id -u) != 0 || chown postgres key; }",
                   folder),
                0);
        assert_int_equal(sh("scripts/postgres.sh start %s --nofsync --set ssl=on --set \"ssl_key_file='%s/key'\" --set "
                            "\"ssl_cert_file='%s/crt'\" --set max_wal_size=32MB --set min_wal_size=32MB",
                            folder, folder, folder),
                         0);
        char path[96];
        int port = 0;
        snprintf(path, sizeof path, "%s/postgres.port", folder);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        assert_int_equal(fscanf(f, "%d", &port), 1);
        fclose(f);
        snprintf(plain, sizeof plain, "host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable", port);
        snprintf(tls, sizeof tls, "host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=require", port);
        return 0;
}

static int stop_server(void **state)
{
        (void)state;
        close(alive);
        return waitpid(janitor, NULL, 0) == janitor ? 0 : -1;
}

static struct pg *connect_to(const char *conninfo, enum pg_session session)
{
        struct err e = {0};
        struct pg *c;
        struct pg_opts o = {.conninfo = conninfo, .application_name = "pangea-test", .session = session};
        if (pg_open(&c, &o, &e) != ST_OK)
                fail_msg("%s", e.msg);
        return c;
}

static void run(struct pg *c, const char *sql)
{
        struct err e = {0};
        if (pg_exec(c, sql, NULL, &e) != ST_OK)
                fail_msg("%s: %s", sql, e.msg);
}

/* The only value of a query; copied, good until the next question. */
static const char *ask(struct pg *c, const char *sql)
{
        static char out[256];
        struct err e = {0};
        struct pgres *r;
        if (pg_exec(c, sql, &r, &e) != ST_OK)
                fail_msg("%s: %s", sql, e.msg);
        assert_int_equal(pgres_rows(r), 1);
        snprintf(out, sizeof out, "%s", pgres_text(r, 0, 0));
        pgres_free(r);
        return out;
}

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

/* ---- stream ---------------------------------------------------------------------------------------------------------------------- */

static struct pgstream *stream_to(const char *conninfo)
{
        struct err e = {0};
        struct pgstream *s;
        struct pg_opts o = {.conninfo = conninfo, .application_name = "pangea-test"};
        if (pgstream_open(&s, &o, &e) != ST_OK)
                fail_msg("%s", e.msg);
        return s;
}

static void start(struct pgstream *s, const char *slot, lsn_t from)
{
        struct err e = {0};
        if (pgstream_start(s, slot, "pub", from, &e) != ST_OK)
                fail_msg("%s", e.msg);
}

/* The next message into `msg`; keepalives are answered without moving. The stream's error, or ST_OK. */
static enum status next(struct pgstream *s, struct err *e)
{
        int64_t until = clock_mono_us() + LIMIT_US;
        while (clock_mono_us() < until) {
                struct stream_msg m;
                enum status st = pgstream_next(s, &m, e);
                if (st == ST_OK && m.kind == STREAM_DATA)
                        return pgoutput_decode(m.data, m.len, &msg, e);
                if (st == ST_OK)
                        st = pgstream_feedback(s, m.wal_end, (lsn_t){0}, (lsn_t){0}, false, e);
                else if (pgstream_lost(s))
                        return st;
                if (st != ST_OK && pgstream_lost(s))
                        return st;
                struct pollfd fd = {.fd = pgstream_socket(s), .events = POLLIN};
                poll(&fd, 1, 1000);
                if (pgstream_consume(s, e) != ST_OK)
                        return e->code;
        }
        fail_msg("nothing came within %d s", (int)(LIMIT_US / 1000000));
        return ST_FATAL;
}

static void fresh(struct pg *c, const char *slot)
{
        struct err e = {0};
        lsn_t at = {0};
        run(c,
            "DROP TABLE IF EXISTS public.t; DROP PUBLICATION IF EXISTS pub; CREATE TABLE public.t (id bigint PRIMARY KEY, v text);"
            "CREATE PUBLICATION pub FOR TABLE public.t");
        struct pgstream *s = stream_to(plain);
        if (pgstream_create_slot(s, slot, &at, &e) != ST_OK)
                fail_msg("%s", e.msg);
        assert_true(at.v > 0);
        pgstream_close(s);
}

static void drop(struct pg *c, const char *slot)
{
        struct err e = {0};
        const struct pg_param p = PG_TEXT(slot);
        assert_int_equal(pg_query(c, "SELECT pg_drop_replication_slot($1)", 1, &p, false, NULL, &e), ST_OK);
}

static void changes_arrive_as_they_were_committed(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN);
        struct err e = {0};
        char kinds[64];
        fresh(c, "order");
        run(c, "SELECT pg_replication_origin_create('pangea_test'), pg_replication_origin_session_setup('pangea_test')");
        run(c, "BEGIN; SELECT pg_replication_origin_xact_setup('1/2345', '2020-01-01T00:00:00.000001Z');"
               "INSERT INTO public.t VALUES (1, 'a'); COMMIT; SELECT pg_replication_origin_session_reset()");
        run(c, "UPDATE public.t SET v = 'b'; UPDATE public.t SET id = 2; DELETE FROM public.t; TRUNCATE public.t");
        run(c, "SELECT pg_logical_emit_message(true, 'pangea', 'end')");
        struct pgstream *s = stream_to(plain);
        start(s, "order", (lsn_t){0});
        size_t n = 0;
        lsn_t end = {0};
        for (bool last = false; !last || msg.kind != PGOUT_COMMIT;) {
                if (next(s, &e) != ST_OK)
                        fail_msg("%s", e.msg);
                assert_true(n < sizeof kinds - 1);
                if (msg.kind != PGOUT_RELATION && msg.kind != PGOUT_TYPE) /* repeated at the server's will */
                        kinds[n++] = (char)msg.kind;
                if (msg.kind == PGOUT_ORIGIN) {
                        assert_string_equal(msg.u.origin.name, "pangea_test");
                        assert_true(msg.u.origin.lsn.v == 0x100002345);
                }
                if (msg.kind == PGOUT_BEGIN && n == 1) /* the time that apply gave */
                        assert_true(msg.u.begin.commit_us == INT64_C(1577836800000001));
                if (msg.kind == PGOUT_COMMIT)
                        end = msg.u.commit.end_lsn;
                last = last || msg.kind == PGOUT_MESSAGE;
        }
        kinds[n] = 0;
        assert_string_equal(kinds, "BOICBUUDTCBMC"); /* several statements without BEGIN are one transaction */

        assert_int_equal(pgstream_feedback(s, end, end, end, false, &e), ST_OK);
        pgstream_close(s);
        char sql[160], at[LSN_STRLEN];
        snprintf(sql, sizeof sql, "SELECT confirmed_flush_lsn = '%s' FROM pg_replication_slots WHERE slot_name = 'order'",
                 lsn_str(at, end));
        assert_string_equal(ask(c, sql), "t");
        drop(c, "order");
        pg_close(c);
}

static void the_server_is_identified(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN);
        struct pgstream *s = stream_to(tls);
        struct pg_system sys;
        struct err e = {0};
        assert_int_equal(pgstream_identify(s, &sys, &e), ST_OK);
        assert_string_equal(ask(c, "SELECT system_identifier FROM pg_control_system()"), sys.system_id);
        assert_string_equal(sys.database, "postgres");
        assert_int_equal(sys.timeline, 1);
        assert_true(sys.xlogpos.v > 0);
        pgstream_close(s);
        pg_close(c);
}

static void what_is_wrong_with_a_slot_is_named(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN);
        struct err e = {0};
        lsn_t at;
        char pid[32];
        fresh(c, "named");
        struct pgstream *s = stream_to(plain), *other = stream_to(plain);

        assert_int_equal(pgstream_start(s, "nowhere", "pub", (lsn_t){0}, &e), ST_FATAL);
        assert_string_equal(e.name, "slot_missing");
        assert_int_equal(pgstream_create_slot(s, "named", &at, &e), ST_DATA);
        assert_string_equal(e.sqlstate, "42710");

        start(s, "named", (lsn_t){0}); /* the same connection can still be used */
        assert_int_equal(pgstream_start(other, "named", "pub", (lsn_t){0}, &e), ST_RETRY);
        assert_string_equal(e.name, "slot_active");
        snprintf(pid, sizeof pid, "pid %d", pgstream_backend_pid(s));
        assert_non_null(strstr(e.msg, pid));
        pgstream_close(s);
        start(other, "named", (lsn_t){0});
        pgstream_close(other);

        s = stream_to(plain);
        assert_int_equal(pgstream_start(s, "named", "no publication", (lsn_t){0}, &e), ST_OK);
        run(c, "INSERT INTO public.t VALUES (1)");
        enum status st;
        while ((st = next(s, &e)) == ST_OK)
                ;
        assert_int_equal(st, ST_FATAL);
        assert_string_equal(e.name, "publication_missing");
        assert_true(pgstream_lost(s));
        pgstream_close(s);
        drop(c, "named");
        pg_close(c);
}

static void a_slot_that_lost_its_wal_is_named(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN);
        struct err e = {0};
        fresh(c, "lost");
        run(c, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
        run(c, "SELECT pg_reload_conf()");
        int64_t until = clock_mono_us() + LIMIT_US;
        while (strcmp(ask(c, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'lost'"), "lost") != 0) {
                assert_true(clock_mono_us() < until);
                run(c, "CREATE TABLE public.waste (); DROP TABLE public.waste");
                run(c, "SELECT pg_switch_wal()");
                run(c, "CHECKPOINT");
        }
        struct pgstream *s = stream_to(plain);
        assert_int_equal(pgstream_start(s, "lost", "pub", (lsn_t){0}, &e), ST_FATAL);
        assert_string_equal(e.name, "slot_lost");
        pgstream_close(s);
        drop(c, "lost");
        run(c, "ALTER SYSTEM RESET max_slot_wal_keep_size");
        run(c, "SELECT pg_reload_conf()");
        pg_close(c);
}

/* The slot must be free at once for the next start, also when the server was in the middle of a transaction. */
static void close_frees_the_slot(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN);
        struct err e = {0};
        fresh(c, "busy");
        run(c, "INSERT INTO public.t SELECT g, repeat('x', 1000) FROM generate_series(1, 60000) g");
        for (int k = 0; k < 4; k++) {
                struct pgstream *s = stream_to(k % 2 ? tls : plain);
                start(s, "busy", (lsn_t){0});
                for (int i = 0; k >= 2 && i < 100; i++)
                        if (next(s, &e) != ST_OK)
                                fail_msg("%s", e.msg);
                int64_t began = clock_mono_us();
                pgstream_close(s);
                assert_true(clock_mono_us() - began < 5000000); /* its own bound is 1 s; a loaded machine is slow */
                assert_string_equal(ask(c, "SELECT active FROM pg_replication_slots WHERE slot_name = 'busy'"), "f");
        }
        drop(c, "busy");
        pg_close(c);
}

/* Rows larger than a TLS record and than libpq's buffer, and nothing left lying in OpenSSL. */
static void every_row_of_any_size_arrives(void **state)
{
        (void)state;
        struct pg *c = connect_to(plain, PG_PLAIN);
        struct err e = {0};
        fresh(c, "sizes");
        run(c, "ALTER TABLE public.t ALTER v SET STORAGE EXTERNAL");
        run(c, "INSERT INTO public.t SELECT g, repeat('x', (g * g * 7)::int % 70001) FROM generate_series(1, 1000) g");
        run(c, "INSERT INTO public.t VALUES (1001, repeat('y', 20000000))");
        for (int k = 0; k < 2; k++) {
                struct pgstream *s = stream_to(k ? tls : plain);
                start(s, "sizes", (lsn_t){0});
                for (int64_t want = 1; want <= 1001;) {
                        if (next(s, &e) != ST_OK)
                                fail_msg("row %d: %s", (int)want, e.msg);
                        if (msg.kind != PGOUT_INSERT)
                                continue;
                        size_t size = want == 1001 ? 20000000 : (size_t)(want * want * 7) % 70001;
                        assert_int_equal(msg.u.change.row.values[1].len, size);
                        want++;
                }
                pgstream_close(s);
        }
        drop(c, "sizes");
        pg_close(c);
}

/* A fast shutdown waits until the stream's reader has all there is, so that somebody must go on reading meanwhile. */
static pid_t restart_server(const char *mode)
{
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
                _exit(sh("scripts/postgres.sh restart %s %s", folder, mode) == 0 ? 0 : 1);
        return child;
}

static void a_restart_of_the_server_loses_nothing(void **state)
{
        (void)state;
        static const char *const how[] = {"fast", "immediate"};
        struct err e = {0};
        struct pg *c = connect_to(plain, PG_PLAIN);
        fresh(c, "restart");
        run(c, "INSERT INTO public.t SELECT generate_series(1, 1000)");
        for (size_t k = 0; k < sizeof how / sizeof *how; k++) {
                struct pgstream *s = stream_to(plain);
                enum status st;
                int code;
                start(s, "restart", (lsn_t){0});
                for (int i = 0; i < 100; i++)
                        assert_int_equal(next(s, &e), ST_OK);
                pid_t child = restart_server(how[k]);
                while ((st = next(s, &e)) == ST_OK)
                        ;
                assert_int_equal(st, ST_RETRY);
                assert_true(pgstream_lost(s));
                assert_int_equal(pgstream_feedback(s, (lsn_t){1}, (lsn_t){1}, (lsn_t){1}, true, &e), ST_RETRY);
                assert_int_equal(pgstream_consume(s, &e), ST_RETRY);
                pgstream_close(s);
                assert_int_equal(waitpid(child, &code, 0), child);
                assert_int_equal(code, 0);
                assert_int_equal(pg_exec(c, "SELECT 1", NULL, &e), ST_RETRY);
                assert_true(pg_lost(c));
                pg_close(c);
                c = connect_to(plain, PG_PLAIN);
        }
        struct pgstream *s = stream_to(plain);
        start(s, "restart", (lsn_t){0});
        for (int rows = 0; rows < 1000;) {
                assert_int_equal(next(s, &e), ST_OK);
                rows += msg.kind == PGOUT_INSERT;
        }
        pgstream_close(s);
        drop(c, "restart");
        pg_close(c);
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
                cmocka_unit_test(a_lost_session_is_told),
                cmocka_unit_test(a_pipeline_fails_as_one_and_goes_on),
                cmocka_unit_test(a_pipeline_full_in_both_directions_moves),
                cmocka_unit_test(changes_arrive_as_they_were_committed),
                cmocka_unit_test(the_server_is_identified),
                cmocka_unit_test(what_is_wrong_with_a_slot_is_named),
                cmocka_unit_test(a_slot_that_lost_its_wal_is_named),
                cmocka_unit_test(close_frees_the_slot),
                cmocka_unit_test(every_row_of_any_size_arrives),
                cmocka_unit_test(a_restart_of_the_server_loses_nothing),
        };
        return cmocka_run_group_tests(tests, start_server, stop_server);
}
