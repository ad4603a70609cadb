/* What PostgreSQL's and libpq's errors mean for the caller. */
#include <string.h>

#include "postgres/internal.h"

/* Class (two or three characters) or whole SQLSTATE that may pass by itself. */
static const char *const transient[] = {
        "40001", /* serialization failure */
        "40P01", /* deadlock */
        "55P03", /* lock_timeout */
        "55006", /* slot or origin in use: the old session may linger after a kill -9 */
        "53",    /* out of memory, disk, connections */
        "57014", /* cancelled by a person */
        "57P",   /* shutdown, crash of another backend, starting up */
        "08",    /* connection */
};

enum status pg_status_of(const char *sqlstate)
{
        if (!sqlstate || !*sqlstate)
                return ST_FATAL;
        for (size_t i = 0; i < sizeof transient / sizeof *transient; i++)
                if (strncmp(sqlstate, transient[i], strlen(transient[i])) == 0)
                        return ST_RETRY;
        return ST_DATA;
}

static const char *field(const PGresult *r, int code)
{
        const char *s = r ? PQresultErrorField(r, code) : NULL;
        return s ? s : "";
}

/* These put the whole row into DETAIL; the first line names table and column, and rows do not belong in logs. */
static bool detail_holds_row(const char *sqlstate)
{
        return strcmp(sqlstate, "23502") == 0 || strcmp(sqlstate, "23514") == 0 || strcmp(sqlstate, "44000") == 0;
}

static bool ends_session(const PGresult *r)
{
        const char *severity = field(r, PG_DIAG_SEVERITY_NONLOCALIZED);
        return strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

enum status pg_failed(struct pg *c, const PGresult *r, struct err *e)
{
        const char *sqlstate = field(r, PG_DIAG_SQLSTATE), *detail = field(r, PG_DIAG_MESSAGE_DETAIL);
        const char *hint = field(r, PG_DIAG_MESSAGE_HINT);
        enum status st = pg_status_of(sqlstate);

        if (PQstatus(c->conn) == CONNECTION_BAD || ends_session(r))
                c->lost = true;
        if (c->lost)
                st = ST_RETRY;
        if (detail_holds_row(sqlstate))
                detail = "";
        if (!*sqlstate) {
                const char *why = PQerrorMessage(c->conn);
                return err_set(e, st, "PostgreSQL: %s", why && *why ? why : "connection lost");
        }
        err_set(e, st, "PostgreSQL: %.500s%s%.200s%s%.200s (SQLSTATE %s)", field(r, PG_DIAG_MESSAGE_PRIMARY), *detail ? "; " : "",
                detail, *hint ? "; " : "", hint, sqlstate);
        if (e)
                memcpy(e->sqlstate, sqlstate, strnlen(sqlstate, 5) + 1);
        return st;
}
