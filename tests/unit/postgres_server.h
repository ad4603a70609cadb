/* postgres_server: for tests that need a server: starts one in a folder of its own (scripts/postgres.sh), with and without TLS, and stops it
 * however the test ends. */
#ifndef PANGEA_TESTS_POSTGRES_SERVER_H
#define PANGEA_TESTS_POSTGRES_SERVER_H

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
#include "postgres/stream.h"

#define LIMIT_US INT64_C(30000000)

static char folder[64], plain[256], tls[256];
static int alive; /* written end of the pipe whose end tells the janitor that we are gone */
static pid_t janitor;

static inline int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline int sh(const char *fmt, ...)
{
        char command[1024];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(command, sizeof command, fmt, ap);
        va_end(ap);
        return system(command); /* NOLINT: fixed commands of a test */
}

/* A child that stops the server when we end, however we end. */
static inline void start_janitor(void)
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

static inline int start_server(void **state)
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

static inline int stop_server(void **state)
{
        (void)state;
        close(alive);
        return waitpid(janitor, NULL, 0) == janitor ? 0 : -1;
}

static inline struct pg *connect_to(const char *conninfo, enum pg_session session)
{
        struct err e = {0};
        struct pg *c;
        struct pg_opts o = {.conninfo = conninfo, .application_name = "pangea-test", .session = session};
        if (pg_open(&c, &o, &e) != ST_OK)
                fail_msg("%s", e.msg);
        return c;
}

static inline void run(struct pg *c, const char *sql)
{
        struct err e = {0};
        if (pg_exec(c, sql, NULL, &e) != ST_OK)
                fail_msg("%s: %s", sql, e.msg);
}

/* The only value of a query; copied, good until the next question. */
static inline const char *ask(struct pg *c, const char *sql)
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

#endif
