/* pg: the libpq wrapper: connections with Pangea's pinned session settings, queries, results, pipelines.
 * The only folder that includes libpq-fe.h.  A connection belongs to one thread.  Calls block unless their name says send or poll.
 * Errors carry the SQLSTATE; ST_RETRY for 40001 40P01 55P03 55006 53xxx 57014 57Pxx 08xxx, a connection that cannot be made, and a lost one
 * (pg_lost() then tells), ST_DATA for every other statement error, ST_CONFIG for a conninfo that cannot be parsed, ST_FATAL by name:
 * missing_grant, server_too_old, sql_ascii.  Passwords never appear in a message. */
#ifndef PANGEA_POSTGRES_PG_H
#define PANGEA_POSTGRES_PG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/types.h"

struct pg;
struct pgres; /* a result; free with pgres_free (NULL is fine) */

/* What a connection is for, and what is pinned beyond the formats (pg_open). */
enum pg_session {
        /* commands, catalog look-ups: lock_timeout 0, synchronous_commit=local (an agent may not wait for the capture agent, which can
         * be a synchronous standby) */
        PG_PLAIN,
        /* an agent's own look-ups and notes, the same all its life: as PG_PLAIN, and pg_query prepares what is asked again (at most 64
         * statements; only SQL with parameters for what differs is worth it); plan_cache_mode=force_generic_plan */
        PG_UPKEEP,
        /* DESIGN 6.2: session_replication_role=replica, synchronous_commit=off, lock_timeout=50ms, deadlock_timeout=20ms,
         * idle_in_transaction_session_timeout=5s, plan_cache_mode=force_generic_plan, nested loops only */
        PG_APPLY,
        /* replication=database */
        PG_REPLICATION,
};

struct pg_opts {
        const char *conninfo;
        const char *password;         /* NULL = none; used by libpq as if in conninfo, never printed */
        const char *application_name; /* begins with "pangea" */
        enum pg_session session;
        int connect_timeout_s; /* 0 = 10 */
};

/* Connects, pins the session (client_encoding=UTF8, datestyle=ISO, intervalstyle=postgres, extra_float_digits=1, bytea_output=hex,
 * timezone=UTC, lc_monetary=C, xmloption=content, search_path='', row_security=off, read committed, no statement_timeout,
 * client_connection_check_interval) through the start-up packet: no ALTER DATABASE or ALTER ROLE SET reaches it, RESET returns to it. */
MUSTCHECK enum status pg_open(struct pg **out, const struct pg_opts *o, struct err *e);
void pg_close(struct pg *c);
bool pg_lost(const struct pg *c); /* the session is gone: close and open anew, forget everything held in memory about it */
int pg_socket(const struct pg *c);
int pg_backend_pid(const struct pg *c);
int pg_server_version(const struct pg *c); /* 150018 */

/* One parameter: text or binary. */
struct pg_param {
        const void *data; /* NULL = SQL NULL; text must be 0-terminated */
        int len;          /* of a binary one */
        bool binary;
        uint32_t type; /* OID, 0 = let the server infer */
};
#define PG_TEXT(s) ((struct pg_param){.data = (s), .len = 0, .binary = false, .type = 0})

/* What the caller should do about an SQLSTATE; NULL or "" is ST_FATAL (libpq itself refused the call).  Pure. */
enum status pg_status_of(const char *sqlstate);

/* Runs one statement (or several without parameters). *res may be NULL when the rows are not wanted. */
MUSTCHECK enum status pg_exec(struct pg *c, const char *sql, struct pgres **res, struct err *e);
MUSTCHECK enum status pg_query(struct pg *c, const char *sql, int nparams, const struct pg_param *params, bool binary_result,
                               struct pgres **res, struct err *e);
/* printf-like for statements whose holes are identifiers quoted by pg_ident; never for values. */
MUSTCHECK enum status pg_execf(struct pg *c, struct pgres **res, struct err *e, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* Appends a quoted identifier / literal / "schema"."name" to *out. */
void pg_ident(struct buf *out, const char *name);
void pg_literal(struct buf *out, const char *value);
void pg_qualified(struct buf *out, const char *schema, const char *name);

int pgres_rows(const struct pgres *r);
int pgres_cols(const struct pgres *r);
bool pgres_null(const struct pgres *r, int row, int col);
const char *pgres_text(const struct pgres *r, int row, int col); /* "" for NULL; borrowed from the result */
int pgres_len(const struct pgres *r, int row, int col);
int64_t pgres_i64(const struct pgres *r, int row, int col); /* of a text result; 0 for NULL */
int64_t pgres_affected(const struct pgres *r);              /* rows of INSERT, UPDATE, DELETE */
void pgres_free(struct pgres *r);

/* ---- pipeline: statements sent without waiting; results are taken in order --------------------------------------------------------- */
/* Everything between begin and sync fails together with the first error. The backlog is bounded in bytes: send flushes when it is
 * above 48 kB, reading results meanwhile into a list. */
MUSTCHECK enum status pg_pipe_begin(struct pg *c, struct err *e);
MUSTCHECK enum status pg_pipe_prepare(struct pg *c, const char *name, const char *sql, int nparams, const uint32_t *types,
                                      struct err *e);
MUSTCHECK enum status pg_pipe_exec_prepared(struct pg *c, const char *name, int nparams, const struct pg_param *params,
                                            bool binary_result, struct err *e);
MUSTCHECK enum status pg_pipe_query(struct pg *c, const char *sql, int nparams, const struct pg_param *params, bool binary_result,
                                    struct err *e);
/* Flushes, waits, and takes the result of every statement since the last sync: calls cb for each in order with its number from 0. The
 * first error is returned (later statements of the same sync are then skipped by the server, and cb is not called for them, nor for the
 * one that failed). cb may be NULL. The pipeline stays open. */
typedef void pg_pipe_result(void *ctx, int number, struct pgres *r /* taken by the callback: it frees it */);
MUSTCHECK enum status pg_pipe_sync(struct pg *c, pg_pipe_result *cb, void *ctx, struct err *e);
MUSTCHECK enum status pg_pipe_end(struct pg *c, struct err *e);

/* Cancels what another thread runs on c, which must not be closed meanwhile. */
void pg_cancel(struct pg *c);

#endif
