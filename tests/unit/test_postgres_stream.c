/* The replication stream of a slot against a real server: what arrives, what is named, what a restart leaves. */
#include "capture/pgoutput.h"
#include "tests/unit/postgres_server.h"

static struct pgout_msg msg; /* large */

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
        enum status st;
        int64_t until = clock_mono_us() + LIMIT_US;
        do /* a walsender that ended with an error may still hold it */
                st = pg_query(c, "SELECT pg_drop_replication_slot($1)", 1, &p, false, NULL, &e);
        while (st == ST_RETRY && clock_mono_us() < until);
        assert_int_equal(st, ST_OK);
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

/* Over TCP on the loopback, not over a socket file. */
static void who_may_be_patient(void **state)
{
        (void)state;
        char file[256];
        snprintf(file, sizeof file, "host=%s %s", folder, strchr(plain, ' ') + 1);
        struct pg *c = connect_to(plain, PG_UPKEEP);
        fresh(c, "s_patient");
        for (int tcp = 0; tcp < 2; tcp++) {
                struct pgstream *s = stream_to(tcp ? plain : file);
                assert_false(pgstream_patient(s));
                start(s, "s_patient", (lsn_t){0});
                assert_int_equal(pgstream_patient(s), tcp);
                pgstream_close(s);
        }
        run(c, "SELECT pg_drop_replication_slot('s_patient')");
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
                cmocka_unit_test(changes_arrive_as_they_were_committed),
                cmocka_unit_test(who_may_be_patient),
                cmocka_unit_test(the_server_is_identified),
                cmocka_unit_test(what_is_wrong_with_a_slot_is_named),
                cmocka_unit_test(a_slot_that_lost_its_wal_is_named),
                cmocka_unit_test(close_frees_the_slot),
                cmocka_unit_test(every_row_of_any_size_arrives),
                cmocka_unit_test(a_restart_of_the_server_loses_nothing),
        };
        return cmocka_run_group_tests(tests, start_server, stop_server);
}
