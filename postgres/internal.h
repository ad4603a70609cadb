/* internal: what pg.c, kept.c, pipe.c and stream.c share; nobody outside this folder includes it (it shows libpq-fe.h).
 * Thread: the connection's; only pg_cancel may come from another. */
#ifndef PANGEA_POSTGRES_INTERNAL_H
#define PANGEA_POSTGRES_INTERNAL_H

#include <libpq-fe.h>

#include "base/map.h"
#include "postgres/pg.h"

/* Parameters in the shape libpq wants them; kept from call to call. */
struct pg_args {
        int cap;
        const char **values;
        int *lens, *formats;
        Oid *types;
};

/* The pipeline: results of the statements since the last sync, in order. */
struct pg_pipe {
        bool open;
        int sent, got; /* statements since the last sync: sent, and answered to the end */
        int cap;
        PGresult **results; /* [sent]; NULL where the answer is not there yet */
        size_t queued;      /* bytes at most that libpq holds unsent */
};

struct pg {
        PGconn *conn;
        PGcancel *cancel; /* made at open: PQgetCancel may not run beside other calls */
        bool lost;
        struct pg_args args;
        struct pg_pipe pipe;
        bool keeps;      /* PG_UPKEEP */
        struct map kept; /* SQL -> struct kept */
        unsigned nkept;  /* names given */
};

/* Fills *e from a failed result, or (r NULL) from the connection; marks c lost when it is. Returns e->code. */
enum status pg_failed(struct pg *c, const PGresult *r, struct err *e);
/* params -> c->args */
void pg_args_fill(struct pg *c, int nparams, const struct pg_param *params);
/* Reads what is there into libpq's buffer, also what OpenSSL holds where poll(2) cannot see it. Never waits. false: connection lost. */
bool pg_consume(struct pg *c);
void pg_pipe_release(struct pg *c);
void pg_kept_init(struct pg *c);
void pg_kept_release(struct pg *c);
/* PQexecParams with c->args; what a session of PG_UPKEEP asks again is prepared. */
PGresult *pg_kept_query(struct pg *c, const char *sql, int nparams, bool binary_result);

static inline PGresult *pgres_raw(struct pgres *r)
{
        return (PGresult *)r;
}
static inline const PGresult *pgres_raw_const(const struct pgres *r)
{
        return (const PGresult *)r;
}

#endif
