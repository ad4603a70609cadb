/* The pipeline: statements sent without waiting for their results (libpq's pipeline mode, non-blocking).
 *
 * Two rules keep it from standing still or going wrong:
 *   - while bytes wait to be sent, results are read; else server and client may both wait for the other to read.
 *   - nothing is queued while a write is half done: libpq would offer OpenSSL other bytes than the first time ("bad length").
 *     So whatever may have made libpq write is followed by a flush until all is gone. That bounds the backlog too. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postgres/internal.h"

/* libpq begins to write by itself at 64 kB (libpq-int.h: OUTBUFFER_THRESHOLD); we must be there first. */
#define FLUSH_AT ((size_t)48 * 1024)

static void drop_results(struct pg_pipe *p)
{
        for (int i = 0; i < p->sent; i++)
                PQclear(p->results[i]);
        p->sent = p->got = 0;
}

void pg_pipe_release(struct pg *c)
{
        drop_results(&c->pipe);
        free(c->pipe.results);
        c->pipe.results = NULL;
        c->pipe.cap = 0;
}

/* Files one answer of PQgetResult: NULL ends the answer of a statement. */
static void file_result(struct pg_pipe *p, PGresult *r)
{
        if (!r) {
                p->got++;
        } else if (p->results[p->got]) { /* cannot happen: one statement, one result; the first counts */
                PQclear(r);
        } else {
                p->results[p->got] = r;
        }
}

/* Takes the results that are there without waiting. */
static enum status collect_ready(struct pg *c, struct err *e)
{
        struct pg_pipe *p = &c->pipe;
        if (!pg_consume(c))
                return pg_failed(c, NULL, e);
        while (p->got < p->sent && !PQisBusy(c->conn))
                file_result(p, PQgetResult(c->conn));
        return ST_OK;
}

static enum status flush_all(struct pg *c, struct err *e)
{
        for (;;) {
                int rc = PQflush(c->conn);
                if (rc < 0)
                        return pg_failed(c, NULL, e);
                if (rc == 0) {
                        c->pipe.queued = 0;
                        return ST_OK;
                }
                struct pollfd fd = {.fd = PQsocket(c->conn), .events = POLLIN | POLLOUT};
                if (poll(&fd, 1, -1) < 0 && errno != EINTR)
                        return err_set(e, ST_FATAL, "poll: %s", strerror(errno));
                if (fd.revents & (POLLIN | POLLERR | POLLHUP)) {
                        enum status st = collect_ready(c, e);
                        if (st != ST_OK)
                                return st;
                }
        }
}

static enum status check_open(struct pg *c, struct err *e)
{
        if (pg_lost(c))
                return pg_failed(c, NULL, e);
        return c->pipe.open ? ST_OK : err_set(e, ST_FATAL, "no pipeline is open");
}

/* Books a statement that libpq took (rc 1) and flushes when much is waiting. */
static enum status sent(struct pg *c, int rc, size_t bytes, struct err *e)
{
        struct pg_pipe *p = &c->pipe;
        if (rc != 1)
                return pg_failed(c, NULL, e);
        if (p->sent == p->cap) {
                p->cap = p->cap ? 2 * p->cap : 64;
                p->results = mem_realloc(p->results, (size_t)p->cap * sizeof(PGresult *));
        }
        p->results[p->sent++] = NULL;
        p->queued += bytes;
        return p->queued >= FLUSH_AT ? flush_all(c, e) : ST_OK;
}

/* At most what a statement takes on the wire. */
static size_t wire_size(const char *name_or_sql, int nparams, const struct pg_param *params)
{
        size_t n = strlen(name_or_sql) + 64 + (size_t)nparams * 10;
        for (int i = 0; i < nparams; i++)
                if (params[i].data)
                        n += params[i].binary ? (size_t)params[i].len : strlen(params[i].data);
        return n;
}

enum status pg_pipe_begin(struct pg *c, struct err *e)
{
        if (pg_lost(c))
                return pg_failed(c, NULL, e);
        if (PQsetnonblocking(c->conn, 1) != 0 || !PQenterPipelineMode(c->conn))
                return pg_failed(c, NULL, e);
        c->pipe.open = true;
        c->pipe.queued = 0;
        return ST_OK;
}

enum status pg_pipe_prepare(struct pg *c, const char *name, const char *sql, int nparams, const uint32_t *types, struct err *e)
{
        enum status st = check_open(c, e);
        if (st != ST_OK)
                return st;
        size_t bytes = strlen(name) + wire_size(sql, 0, NULL) + (size_t)nparams * 4;
        return sent(c, PQsendPrepare(c->conn, name, sql, nparams, types), bytes, e);
}

enum status pg_pipe_exec_prepared(struct pg *c, const char *name, int nparams, const struct pg_param *params, bool binary_result,
                                  struct err *e)
{
        enum status st = check_open(c, e);
        if (st != ST_OK)
                return st;
        pg_args_fill(c, nparams, params);
        const struct pg_args *a = &c->args;
        return sent(c, PQsendQueryPrepared(c->conn, name, nparams, a->values, a->lens, a->formats, binary_result),
                    wire_size(name, nparams, params), e);
}

enum status pg_pipe_query(struct pg *c, const char *sql, int nparams, const struct pg_param *params, bool binary_result,
                          struct err *e)
{
        enum status st = check_open(c, e);
        if (st != ST_OK)
                return st;
        pg_args_fill(c, nparams, params);
        const struct pg_args *a = &c->args;
        return sent(c, PQsendQueryParams(c->conn, sql, nparams, a->types, a->values, a->lens, a->formats, binary_result),
                    wire_size(sql, nparams, params), e);
}

/* Waits for the answers of all statements, then for that of the sync itself. PQgetResult waits inside libpq, which knows about bytes
 * that OpenSSL holds. */
static enum status collect_all(struct pg *c, struct err *e)
{
        struct pg_pipe *p = &c->pipe;
        while (p->got < p->sent) {
                file_result(p, PQgetResult(c->conn));
                if (PQstatus(c->conn) == CONNECTION_BAD)
                        return ST_RETRY;
        }
        PGresult *r = PQgetResult(c->conn);
        ExecStatusType status = PQresultStatus(r);
        PQclear(r);
        if (status == PGRES_PIPELINE_SYNC)
                return ST_OK;
        if (PQstatus(c->conn) == CONNECTION_BAD)
                return ST_RETRY;
        c->lost = true; /* we no longer know which answer belongs to what */
        return err_set(e, ST_RETRY, "PostgreSQL's answers in a pipeline are out of step");
}

/* Calls cb up to the first failed statement, whose error is returned. */
static enum status hand_out(struct pg *c, pg_pipe_result *cb, void *ctx, struct err *e)
{
        struct pg_pipe *p = &c->pipe;
        for (int i = 0; i < p->sent; i++) {
                PGresult *r = p->results[i];
                ExecStatusType status = PQresultStatus(r);
                if (!r)
                        return pg_failed(c, NULL, e);
                if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT)
                        return err_set(e, ST_FATAL, "COPY does not go through a pipeline");
                if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
                        return pg_failed(c, r, e);
                p->results[i] = NULL;
                if (cb)
                        cb(ctx, i, (struct pgres *)r);
                else
                        PQclear(r);
        }
        return ST_OK;
}

enum status pg_pipe_sync(struct pg *c, pg_pipe_result *cb, void *ctx, struct err *e)
{
        enum status st = check_open(c, e), done = ST_OK;
        if (st != ST_OK) {
                drop_results(&c->pipe);
                return st;
        }
        if (!PQpipelineSync(c->conn))
                st = pg_failed(c, NULL, e);
        if (st == ST_OK)
                st = flush_all(c, e);
        if (st == ST_OK)
                st = collect_all(c, e);
        if (PQstatus(c->conn) == CONNECTION_BAD)
                c->lost = true;
        if (st == ST_OK || c->lost) /* of a lost session too: its last words tell more than "connection lost" */
                done = hand_out(c, st == ST_OK ? cb : NULL, ctx, e);
        drop_results(&c->pipe);
        if (st == ST_OK)
                return done;
        return done == ST_OK && c->lost ? pg_failed(c, NULL, e) : st;
}

enum status pg_pipe_end(struct pg *c, struct err *e)
{
        if (!c->pipe.open)
                return ST_OK;
        enum status st = ST_OK;
        if (c->pipe.sent > 0)
                st = pg_pipe_sync(c, NULL, NULL, e);
        c->pipe.open = false;
        if (pg_lost(c))
                return pg_failed(c, NULL, e);
        if (!PQexitPipelineMode(c->conn) || PQsetnonblocking(c->conn, 0) != 0) {
                enum status worse = pg_failed(c, NULL, e);
                c->lost = true;
                return worse;
        }
        return st;
}
