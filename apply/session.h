/* session: the one database session that applies: a pipeline, the statements sent since the last sync and what to do with each result.
 * Every statement is prepared once.  Owner: the apply agent's thread.  Fails as postgres/pg.h says; after ST_RETRY with
 * session_lost() everything held in memory about the database must be forgotten. */
#ifndef PANGEA_APPLY_SESSION_H
#define PANGEA_APPLY_SESSION_H

#include "postgres/pg.h"
#include "topology/control.h"

struct session;
typedef void on_result(void *ctx, void *arg, const struct pgres *r);

MUSTCHECK enum status session_open(struct session **out, const struct pg_opts *o, struct err *e);
/* From now on c says that the thread is in PostgreSQL's hands while it is: a long statement is no loop that hangs. */
void session_tells(struct session *s, struct control *c);
void session_close(struct session *s);
bool session_lost(const struct session *s);
int session_backend_pid(const struct session *s);

/* A prepared statement; made at its first use, kept by whoever owns it (see session_forget). */
struct stmt {
        char name[24]; /* "" = not prepared yet */
        bool pending;  /* prepared in the batch that is under way */
};

/* Sends a statement; fn (may be NULL) gets its result at the next sync. sql and types are needed only while stmt is new. */
MUSTCHECK enum status session_send(struct session *s, struct stmt *stmt, const char *sql, int nparams,
                                   const struct pg_param *params, on_result *fn, void *arg, struct err *e);
/* The same without preparing it: for statements that are seldom the same. */
MUSTCHECK enum status session_query(struct session *s, const char *sql, int nparams, const struct pg_param *params, on_result *fn,
                                    void *arg, struct err *e);
/* Waits for everything sent; calls the results' functions with ctx. After an error the transaction is open and failed: session_rollback. */
MUSTCHECK enum status session_sync(struct session *s, void *ctx, struct err *e);
/* One statement without parameters, sent and waited for. */
MUSTCHECK enum status session_do(struct session *s, const char *sql, struct err *e);
void session_rollback(struct session *s);
/* Deallocates everything prepared: the owners of struct stmt have forgotten theirs. */
MUSTCHECK enum status session_forget(struct session *s, struct err *e);

/* Parameters in binary. */
struct pg_param param_i64(uint8_t room[8], int64_t v);      /* bigint */
struct pg_param param_ts(uint8_t room[8], int64_t unix_us); /* timestamptz; INT64_MAX = infinity */
struct pg_param param_xid(uint8_t room[4], uint32_t v);     /* xid */
struct pg_param param_text(const char *s);

/* One-dimensional arrays in PostgreSQL's binary format (src/backend/utils/adt/arrayfuncs.c, array_recv): begun with the element's type,
 * ended with their length and the array's type. */
void array_begin(struct buf *b, uint32_t element_oid);
void array_add(struct buf *b, const void *p, size_t n); /* p NULL: SQL NULL */
struct pg_param array_end(struct buf *b, uint32_t n, uint32_t array_oid);

#endif
