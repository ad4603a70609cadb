/* The libpq wrapper without a server: quoting, what an SQLSTATE means, what is told of a connection that cannot be made. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "postgres/pg.h"

static void quoting_leaves_no_way_out(void **state)
{
        (void)state;
        static const struct {
                const char *raw, *ident, *literal;
        } t[] = {
                {"t", "\"t\"", "'t'"},
                {"", "\"\"", "''"},
                {"Mixed Case", "\"Mixed Case\"", "'Mixed Case'"},
                {"a\"b", "\"a\"\"b\"", "'a\"b'"},
                {"\"; DROP TABLE t; --", "\"\"\"; DROP TABLE t; --\"", "'\"; DROP TABLE t; --'"},
                {"it's", "\"it's\"", "'it''s'"},
                {"a\\b", "\"a\\b\"", " E'a\\\\b'"},
                {"a\\'; DROP", "\"a\\'; DROP\"", " E'a\\\\''; DROP'"},
                {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"", "'gr\xc3\xbc\xc3\x9f'"},
                {"%s", "\"%s\"", "'%s'"},
        };
        struct buf b;
        buf_init(&b, 0);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                buf_reset(&b);
                pg_ident(&b, t[i].raw);
                assert_string_equal(buf_cstr(&b), t[i].ident);
                buf_reset(&b);
                pg_literal(&b, t[i].raw);
                assert_string_equal(buf_cstr(&b), t[i].literal);
        }
        buf_reset(&b);
        pg_qualified(&b, "pub\"lic", "T");
        assert_string_equal(buf_cstr(&b), "\"pub\"\"lic\".\"T\"");
        buf_release(&b);
}

static void an_sqlstate_says_what_to_do(void **state)
{
        (void)state;
        static const struct {
                const char *why, *sqlstate;
                enum status want;
        } t[] = {
                {"serialization failure", "40001", ST_RETRY},
                {"deadlock", "40P01", ST_RETRY},
                {"integrity violation at commit is no deadlock", "40002", ST_DATA},
                {"lock time-out", "55P03", ST_RETRY},
                {"slot or origin in use", "55006", ST_RETRY},
                {"slot invalidated", "55000", ST_DATA},
                {"too many connections", "53300", ST_RETRY},
                {"disk full", "53100", ST_RETRY},
                {"admin shutdown", "57P01", ST_RETRY},
                {"starting up", "57P03", ST_RETRY},
                {"cancelled by somebody", "57014", ST_RETRY},
                {"connection failure", "08006", ST_RETRY},
                {"unique violation", "23505", ST_DATA},
                {"no such table", "42P01", ST_DATA},
                {"no such slot", "42704", ST_DATA},
                {"not permitted", "42501", ST_DATA},
                {"in a failed transaction", "25P02", ST_DATA},
                {"corruption", "XX001", ST_DATA},
                {"libpq refused the call", "", ST_FATAL},
                {"libpq refused the call", NULL, ST_FATAL},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                if (pg_status_of(t[i].sqlstate) != t[i].want)
                        fail_msg("%s (%s): %s", t[i].why, t[i].sqlstate, status_name(pg_status_of(t[i].sqlstate)));
}

static void a_bad_conninfo_tells_no_secret(void **state)
{
        (void)state;
        static const struct {
                const char *conninfo, *password, *says, *not ;
        } t[] = {
                {"hots=a", NULL, "\"hots\"", NULL},
                {"host", NULL, "cannot be read", NULL},
                {"host=a password=my s3cret dbname=x", NULL, "single quotes", "s3cret"},
                {"host=a password='s3cret", NULL, "cannot be read", "s3cret"},
                {"host=a passfile=/a b", NULL, "cannot be read", NULL},
                {"postgresql://u:s3cret%zz@host/db", NULL, "cannot be read", "s3cret"},
                {"postgresql://u:s3cret@host:port:port/db?x", NULL, "cannot be read", "s3cret"},
                {"hots=a", "s3cret", "\"hots\"", "s3cret"},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct err e = {0};
                struct pg *c = (struct pg *)&e;
                struct pg_opts o = {.conninfo = t[i].conninfo, .password = t[i].password, .application_name = "pangea-test"};
                assert_int_equal(pg_open(&c, &o, &e), ST_CONFIG);
                assert_null(c);
                if (!strstr(e.msg, t[i].says) || (t[i].not &&strstr(e.msg, t[i].not )))
                        fail_msg("%s: %s", t[i].conninfo, e.msg);
        }
}

/* A port of this machine on which nobody answers: bound, never listened on. */
static int dead_port(int *fd)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        *fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_true(*fd >= 0);
        assert_int_equal(bind(*fd, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(getsockname(*fd, (struct sockaddr *)&a, &n), 0);
        return ntohs(a.sin_port);
}

static void a_server_that_is_away_may_come_back(void **state)
{
        (void)state;
        int fd, port = dead_port(&fd);
        char conninfo[128], place[32];
        snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=u dbname=d", port);
        snprintf(place, sizeof place, "port %d", port);
        struct pg_opts o = {.conninfo = conninfo, .password = "s3cret", .application_name = "pangea-test"};
        for (int i = 0; i < 3; i++) {
                struct err e = {0};
                struct pg *c;
                o.session = (enum pg_session)i;
                assert_int_equal(pg_open(&c, &o, &e), ST_RETRY);
                assert_null(c);
                assert_non_null(strstr(e.msg, place));
                assert_null(strstr(e.msg, "s3cret"));
                assert_null(strchr(e.msg, '\n'));
        }
        close(fd);
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
        (void)state;
        int fd, port = dead_port(&fd);
        char conninfo[128];
        struct err e = {0};
        struct pg *c;
        assert_int_equal(listen(fd, 1), 0); /* the kernel accepts, nobody answers */
        snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=u dbname=d", port);
        struct pg_opts o = {.conninfo = conninfo, .application_name = "pangea-test", .connect_timeout_s = 2};
        assert_int_equal(pg_open(&c, &o, &e), ST_RETRY);
        assert_non_null(strstr(e.msg, "timeout"));
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(quoting_leaves_no_way_out),
                cmocka_unit_test(an_sqlstate_says_what_to_do),
                cmocka_unit_test(a_bad_conninfo_tells_no_secret),
                cmocka_unit_test(a_server_that_is_away_may_come_back),
                cmocka_unit_test(a_server_that_says_nothing_is_given_up),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
