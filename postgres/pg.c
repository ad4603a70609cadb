#include "postgres/pg.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "postgres/internal.h"

/* Sent with the start-up packet: no round trip, and they win over ALTER DATABASE / ALTER ROLE SET. Formats first (they decide what the
 * stream and the log contain), then what would change the meaning of our statements. synchronous_commit=local: an agent may never wait
 * for the capture agent, which can be a synchronous standby. */
static const char pinned[] =
        "-c datestyle=ISO,MDY -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex -c timezone=UTC -c lc_monetary=C"
        " -c xmloption=content -c search_path= -c row_security=off -c standard_conforming_strings=on"
        " -c default_transaction_isolation=read\\ committed -c statement_timeout=0 -c idle_session_timeout=0"
        " -c client_connection_check_interval=1s -c jit=off";

static const char *const pinned_for[] = {
        [PG_PLAIN] = " -c lock_timeout=0 -c synchronous_commit=local",
        [PG_UPKEEP] = " -c lock_timeout=0 -c synchronous_commit=local -c plan_cache_mode=force_generic_plan",
        /* the guard's statements find rows by key: a plan made for other row counts must never turn into a scan of the table */
        [PG_APPLY] = " -c synchronous_commit=off -c lock_timeout=50ms -c idle_in_transaction_session_timeout=5s"
                     " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off",
        [PG_REPLICATION] = " -c synchronous_commit=local",
};

/* What an apply session sets after the start, because a missing right must be told by its name. */
static const struct {
        const char *parameter, *value;
} privileged[] = {
        {"session_replication_role", "replica"},
        {"deadlock_timeout", "20ms"},
};

#define MIN_SERVER 150000 /* GRANT SET ON PARAMETER, row filters and column lists of publications */

/* ---- open ------------------------------------------------------------------------------------------------------------------------ */

static void notice(void *ctx, const char *message)
{
        (void)ctx;
        log_event(LOG_DEBUG, "pg.notice", "text=%s", message);
}

struct keywords {
        const char *key[64], *value[64];
        size_t n;
};

static void set_keyword(struct keywords *k, const char *key, const char *value)
{
        for (size_t i = 0; i < k->n; i++)
                if (strcmp(k->key[i], key) == 0) {
                        k->value[i] = value;
                        return;
                }
        if (k->n < sizeof k->key / sizeof *k->key - 1) {
                k->key[k->n] = key;
                k->value[k->n++] = value;
        }
}

static const char *get_keyword(const struct keywords *k, const char *key)
{
        for (size_t i = 0; i < k->n; i++)
                if (strcmp(k->key[i], key) == 0)
                        return k->value[i];
        return NULL;
}

static void default_keyword(struct keywords *k, const char *key, const char *value)
{
        if (!get_keyword(k, key))
                set_keyword(k, key, value);
}

static enum status bad_conninfo(const char *conninfo, const char *why, struct err *e)
{
        /* libpq quotes the piece it did not understand, and that may be half of a password */
        if (strstr(conninfo, "pass") || strstr(conninfo, "://"))
                return err_set(e, ST_CONFIG,
                               "conninfo cannot be read (its text is not shown, it may hold a password); write "
                               "\"host=.. port=.. dbname=.. user=..\" and put a value with blanks in single quotes");
        return err_set(e, ST_CONFIG, "conninfo \"%.200s\" cannot be read: %s", conninfo, why ? why : "out of memory");
}

static PGconn *connect_with(const struct pg_opts *o, const PQconninfoOption *parsed)
{
        struct keywords k = {.n = 0};
        char timeout[16], options[2048];

        for (const PQconninfoOption *p = parsed; p->keyword; p++)
                if (p->val && *p->val && strcmp(p->keyword, "replication") != 0)
                        set_keyword(&k, p->keyword, p->val);
        const char *theirs = get_keyword(&k, "options");
        snprintf(options, sizeof options, "%.1000s%s%s%s", theirs ? theirs : "", theirs ? " " : "", pinned, pinned_for[o->session]);
        snprintf(timeout, sizeof timeout, "%d", o->connect_timeout_s ? o->connect_timeout_s : 10);
        set_keyword(&k, "options", options);
        set_keyword(&k, "client_encoding", "UTF8");
        set_keyword(&k, "application_name", o->application_name);
        if (o->password)
                set_keyword(&k, "password", o->password);
        if (o->session == PG_REPLICATION)
                set_keyword(&k, "replication", "database");
        if (o->connect_timeout_s)
                set_keyword(&k, "connect_timeout", timeout);
        default_keyword(&k, "connect_timeout", timeout);
        /* a peer that vanished without a word is noticed within half a minute, one that does not take our bytes within ten seconds */
        default_keyword(&k, "keepalives_idle", "10");
        default_keyword(&k, "keepalives_interval", "5");
        default_keyword(&k, "keepalives_count", "3");
        default_keyword(&k, "tcp_user_timeout", "10000");
        k.key[k.n] = k.value[k.n] = NULL;
        return PQconnectdbParams(k.key, k.value, 0);
}

static enum status check_server(const struct pg *c, struct err *e)
{
        int version = PQserverVersion(c->conn);
        const char *encoding = PQparameterStatus(c->conn, "server_encoding");
        if (version < MIN_SERVER)
                return err_named(e, ST_FATAL, "server_too_old", "PostgreSQL %d at %s: Pangea needs 15 or newer", version / 10000,
                                 PQhost(c->conn));
        if (encoding && strcmp(encoding, "SQL_ASCII") == 0)
                return err_named(
                        e, ST_FATAL, "sql_ascii",
                        "database %s has the encoding SQL_ASCII: its texts have no known meaning in other regions; dump it and "
                        "load it into a database with a real encoding",
                        PQdb(c->conn));
        return ST_OK;
}

static enum status set_privileged(struct pg *c, struct err *e)
{
        for (size_t i = 0; i < sizeof privileged / sizeof *privileged; i++) {
                const char *name = privileged[i].parameter;
                enum status st = pg_execf(c, NULL, e, "SET %s = '%s'", name, privileged[i].value);
                if (st == ST_OK)
                        continue;
                if (e && strcmp(e->sqlstate, "42501") == 0) {
                        err_named(e, ST_FATAL, "missing_grant",
                                  "role %s may not set %s; as a superuser run: GRANT SET ON PARAMETER %s TO \"%s\"",
                                  PQuser(c->conn), name, name, PQuser(c->conn));
                        memcpy(e->sqlstate, "42501", 6);
                        return ST_FATAL;
                }
                return st;
        }
        return ST_OK;
}

enum status pg_open(struct pg **out, const struct pg_opts *o, struct err *e)
{
        char *why = NULL;
        enum status st;
        PQconninfoOption *parsed = PQconninfoParse(o->conninfo, &why);
        *out = NULL;
        if (!parsed) {
                st = bad_conninfo(o->conninfo, why, e);
                PQfreemem(why);
                return st;
        }
        struct pg *c = MEM_NEW(struct pg);
        c->conn = connect_with(o, parsed);
        PQconninfoFree(parsed);
        if (!c->conn)
                mem_die("connection", sizeof *c);
        if (PQstatus(c->conn) != CONNECTION_OK) {
                c->lost = true;
                st = pg_failed(c, NULL, e);
                goto fail;
        }
        PQsetNoticeProcessor(c->conn, notice, NULL);
        if (o->session == PG_UPKEEP)
                pg_kept_init(c);
        c->cancel = PQgetCancel(c->conn);
        st = check_server(c, e);
        if (st == ST_OK && o->session == PG_APPLY)
                st = set_privileged(c, e);
        if (st != ST_OK)
                goto fail;
        *out = c;
        return ST_OK;
fail:
        pg_close(c);
        return st;
}

void pg_close(struct pg *c)
{
        if (!c)
                return;
        pg_pipe_release(c);
        pg_kept_release(c);
        PQfreeCancel(c->cancel);
        PQfinish(c->conn);
        free(c->args.values);
        free(c->args.lens);
        free(c->args.formats);
        free(c->args.types);
        free(c);
}

bool pg_lost(const struct pg *c)
{
        return c->lost || PQstatus(c->conn) == CONNECTION_BAD;
}

int pg_socket(const struct pg *c)
{
        return PQsocket(c->conn);
}

int pg_backend_pid(const struct pg *c)
{
        return PQbackendPID(c->conn);
}

int pg_server_version(const struct pg *c)
{
        return PQserverVersion(c->conn);
}

void pg_cancel(struct pg *c)
{
        char why[256];
        if (c->cancel && !PQcancel(c->cancel, why, sizeof why))
                log_event(LOG_DEBUG, "pg.cancel", "why=%s", why);
}

bool pg_consume(struct pg *c)
{
        /* libpq hands the SSL out as a void pointer and has loaded OpenSSL itself: no need to link it a second time for one call */
        void *ssl = PQsslInUse(c->conn) ? PQsslStruct(c->conn, "OpenSSL") : NULL;
        int (*pending)(const void *) = NULL;
        if (ssl) {
                void *symbol = dlsym(RTLD_DEFAULT, "SSL_pending");
                memcpy(&pending, &symbol, sizeof pending);
        }
        do {
                if (!PQconsumeInput(c->conn)) {
                        c->lost = true;
                        return false;
                }
        } while (pending && pending(ssl) > 0);
        return true;
}

/* ---- statements ------------------------------------------------------------------------------------------------------------------ */

static enum status take_result(struct pg *c, PGresult *r, struct pgres **res, struct err *e)
{
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) {
                if (res)
                        *res = (struct pgres *)r;
                else
                        PQclear(r);
                return ST_OK;
        }
        enum status st;
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
                c->lost = true; /* nobody will ever end this copy */
                st = err_set(e, ST_FATAL, "COPY does not go through pg_exec");
        } else {
                st = pg_failed(c, r, e);
        }
        PQclear(r);
        return st;
}

static enum status usable(struct pg *c, struct err *e)
{
        if (pg_lost(c))
                return pg_failed(c, NULL, e);
        if (c->pipe.open)
                return err_set(e, ST_FATAL, "a single statement was sent while a pipeline is open");
        return ST_OK;
}

enum status pg_exec(struct pg *c, const char *sql, struct pgres **res, struct err *e)
{
        if (res)
                *res = NULL;
        enum status st = usable(c, e);
        return st == ST_OK ? take_result(c, PQexec(c->conn, sql), res, e) : st;
}

void pg_args_fill(struct pg *c, int nparams, const struct pg_param *params)
{
        struct pg_args *a = &c->args;
        if (nparams > a->cap) {
                size_t n = (size_t)nparams;
                a->values = mem_realloc(a->values, n * sizeof *a->values);
                a->lens = mem_realloc(a->lens, n * sizeof *a->lens);
                a->formats = mem_realloc(a->formats, n * sizeof *a->formats);
                a->types = mem_realloc(a->types, n * sizeof *a->types);
                a->cap = nparams;
        }
        for (int i = 0; i < nparams; i++) {
                a->values[i] = params[i].data;
                a->lens[i] = params[i].len;
                a->formats[i] = params[i].binary;
                a->types[i] = params[i].type;
        }
}

enum status pg_query(struct pg *c, const char *sql, int nparams, const struct pg_param *params, bool binary_result,
                     struct pgres **res, struct err *e)
{
        if (res)
                *res = NULL;
        enum status st = usable(c, e);
        if (st != ST_OK)
                return st;
        pg_args_fill(c, nparams, params);
        return take_result(c, pg_kept_query(c, sql, nparams, binary_result), res, e);
}

enum status pg_execf(struct pg *c, struct pgres **res, struct err *e, const char *fmt, ...)
{
        va_list ap, again;
        va_start(ap, fmt);
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        char *sql = mem_alloc((size_t)n + 1);
        vsnprintf(sql, (size_t)n + 1, fmt, again);
        va_end(again);
        enum status st = pg_exec(c, sql, res, e);
        free(sql);
        return st;
}

/* ---- quoting: client_encoding is UTF8 and standard_conforming_strings is on in every session ------------------------------------- */

static void put_doubled(struct buf *out, const char *s, char quote, char also)
{
        for (; *s; s++) {
                if (*s == quote || (also && *s == also))
                        buf_put(out, s, 1);
                buf_put(out, s, 1);
        }
}

void pg_ident(struct buf *out, const char *name)
{
        buf_put_u8(out, '"');
        put_doubled(out, name, '"', 0);
        buf_put_u8(out, '"');
}

void pg_literal(struct buf *out, const char *value)
{
        /* E'' with doubled backslashes means the same whatever standard_conforming_strings says, as PQescapeLiteral does */
        bool escape = strchr(value, '\\') != NULL;
        buf_put_str(out, escape ? " E'" : "'");
        put_doubled(out, value, '\'', escape ? '\\' : 0);
        buf_put_u8(out, '\'');
}

void pg_qualified(struct buf *out, const char *schema, const char *name)
{
        pg_ident(out, schema);
        buf_put_u8(out, '.');
        pg_ident(out, name);
}

/* ---- results --------------------------------------------------------------------------------------------------------------------- */

int pgres_rows(const struct pgres *r)
{
        return PQntuples(pgres_raw_const(r));
}

int pgres_cols(const struct pgres *r)
{
        return PQnfields(pgres_raw_const(r));
}

bool pgres_null(const struct pgres *r, int row, int col)
{
        return PQgetisnull(pgres_raw_const(r), row, col) != 0;
}

const char *pgres_text(const struct pgres *r, int row, int col)
{
        return PQgetvalue(pgres_raw_const(r), row, col);
}

int pgres_len(const struct pgres *r, int row, int col)
{
        return PQgetlength(pgres_raw_const(r), row, col);
}

int64_t pgres_i64(const struct pgres *r, int row, int col)
{
        return strtoll(PQgetvalue(pgres_raw_const(r), row, col), NULL, 10);
}

int64_t pgres_affected(const struct pgres *r)
{
        /* libpq only reads the result here, its signature is older than const */
        return strtoll(PQcmdTuples((PGresult *)(uintptr_t)r), NULL, 10);
}

void pgres_free(struct pgres *r)
{
        PQclear(pgres_raw(r));
}
