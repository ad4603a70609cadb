/* keyless: updates and deletes of tables without a key, one by one: the first row that equals the old one. */
#include "apply/sql.h"

#include <stdlib.h>

#include "base/mem.h"
#include "change/binary.h"

#define OID_TEXT 25u

static struct pg_param text_param(const struct value *v, enum binary_type type, struct buf *room)
{
        struct pg_param p = {.data = NULL, .type = OID_TEXT, .binary = true};
        if (v->kind == VALUE_NULL || v->kind == VALUE_UNSENT)
                return p;
        p.data = v->data;
        p.len = (int)v->len;
        if (v->kind == VALUE_BINARY && binary_to_text(type, v->data, v->len, room)) {
                p.data = room->data;
                p.len = (int)room->len;
        }
        return p;
}

enum status sql_send_keyless(struct session *s, const struct mapping *m, const struct change *c, on_result *fn, void *arg,
                             struct err *e)
{
        const struct relation *rel = c->rel;
        const struct target *t = m->target;
        bool update = c->op == CHANGE_UPDATE;
        struct buf sql, *rooms = mem_zalloc(sizeof *rooms * 2u * (rel->ncols + 1u));
        struct pg_param *p = mem_zalloc(sizeof *p * 2u * (rel->ncols + 1u));
        int n = 0;
        buf_init(&sql, 0);
        buf_printf(&sql, update ? "UPDATE %s AS t SET " : "DELETE FROM %s AS t", t->qualified);
        for (int half = !update; half < 2; half++) { /* 0: the new row, 1: the old one */
                const struct value *row = half ? c->old : c->row;
                if (half)
                        buf_printf(&sql, " WHERE (t.tableoid, t.ctid) = (SELECT x.tableoid, x.ctid FROM %s AS x WHERE ",
                                   t->qualified);
                bool any = false;
                for (uint16_t i = 0; i < rel->ncols; i++) {
                        if (m->to[i] < 0 || row[i].kind == VALUE_UNSENT)
                                continue;
                        const struct target_column *col = &t->cols[m->to[i]];
                        buf_init(&rooms[n], 0);
                        p[n] = text_param(&row[i], binary_type_of(rel->cols[i].type), &rooms[n]);
                        n++;
                        if (half)
                                buf_printf(&sql, "%sx.%s::pg_catalog.text IS NOT DISTINCT FROM $%d::%s::pg_catalog.text",
                                           any ? " AND " : "", col->ident, n, col->type);
                        else
                                buf_printf(&sql, "%s%s = $%d::%s", any ? ", " : "", col->ident, n, col->type);
                        any = true;
                }
        }
        buf_put_str(&sql, " LIMIT 1 FOR UPDATE)");
        enum status rc = session_query(s, buf_cstr(&sql), n, p, fn, arg, e);
        for (int i = 0; i < n; i++)
                buf_release(&rooms[i]);
        buf_release(&sql);
        free(rooms);
        free(p);
        return rc;
}
