/* kept: the statements that a session of PG_UPKEEP has asked more than once.  They are the same few dozen all its life, some of them every second,
 * and planning one can cost more than running it: it is prepared at its second use. */
#include "postgres/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define MOST 64 /* more are asked as they are: some hold the names of tables */

struct kept {
        bool asked, prepared;
        char name[16];
};

void pg_kept_init(struct pg *c)
{
        c->keeps = true;
        map_init(&c->kept, MOST);
}

void pg_kept_release(struct pg *c)
{
        size_t it = 0, len;
        const void *key;
        void *k;
        if (!c->keeps)
                return;
        while (map_next(&c->kept, &it, &key, &len, &k))
                free(k);
        map_release(&c->kept);
}

static struct kept *known(struct pg *c, const char *sql)
{
        size_t len = strlen(sql);
        struct kept *k = map_get(&c->kept, sql, len);
        if (k)
                return k;
        k = MEM_NEW(struct kept);
        snprintf(k->name, sizeof k->name, "k%u", ++c->nkept);
        if (map_put(&c->kept, sql, len, k))
                return k;
        free(k);
        return NULL;
}

PGresult *pg_kept_query(struct pg *c, const char *sql, int nparams, bool binary_result)
{
        const struct pg_args *a = &c->args;
        struct kept *k = c->keeps ? known(c, sql) : NULL;
        if (!k || !k->asked) {
                if (k)
                        k->asked = true;
                return PQexecParams(c->conn, sql, nparams, a->types, a->values, a->lens, a->formats, binary_result);
        }
        if (!k->prepared) {
                PGresult *r = PQprepare(c->conn, k->name, sql, nparams, a->types);
                if (PQresultStatus(r) != PGRES_COMMAND_OK)
                        return r;
                PQclear(r);
                k->prepared = true;
        }
        PGresult *r = PQexecPrepared(c->conn, k->name, nparams, a->values, a->lens, a->formats, binary_result);
        const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
        if (!state || strcmp(state, "0A000") != 0)
                return r;
        /* a column's type was changed ("cached plan must not change result type"): prepared anew, under another name, when it is asked next;
         * within a transaction that is the caller's to begin again */
        k->prepared = false;
        snprintf(k->name, sizeof k->name, "k%u", ++c->nkept);
        if (PQtransactionStatus(c->conn) != PQTRANS_IDLE)
                return r;
        PQclear(r);
        return PQexecParams(c->conn, sql, nparams, a->types, a->values, a->lens, a->formats, binary_result);
}
