/* http_conflicts: what lost, newest first, from pangea.conflict of one region: each loser beside the row that stands now, and the
 * statement that would bring it back as an ordinary change (which replicates, and wins because it has seen everything). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conflicts.h"
#include "daemon/http_internal.h"
#include "daemon_http_conflicts_sql.h"

#define LIMIT_MAX 500
#define LIMIT "50"

/* The row that stands, and what would undo it: one statement for each conflict, made from the catalog.  $1 key, $2 the loser. */
static const char ROW_SQL[] = "SELECT " READABLE("to_jsonb(t)") " FROM %s t, jsonb_populate_record(NULL::%s, $1::jsonb) k WHERE %s";

struct answer {
        struct http *h;
        const struct region *region;
        struct pg *db;
        bool rows;
        json_t *list;
};

static json_t *json_or_null(const struct pgres *r, int row, int col)
{
        json_t *j = pgres_null(r, row, col) ? NULL : json_loads(pgres_text(r, row, col), JSON_DECODE_ANY, NULL);
        return j ? j : json_null();
}

static json_t *text_or_null(const struct pgres *r, int row, int col)
{
        return pgres_null(r, row, col) ? json_null() : json_string(pgres_text(r, row, col));
}

enum column { C_REL, C_KEY, C_REGION, C_HLC, C_AT, C_KIND, C_RULE, C_WINNER, C_IMAGE, C_TABLE, C_KEY_MATCH, C_UNDO, C_ID };

/* The row as it stands now; JSON null: there is none (or its table is gone). */
static json_t *standing(struct answer *a, const struct pgres *r, int row)
{
        struct pgres *res = NULL;
        struct buf sql;
        struct err e;
        json_t *j = NULL;
        if (pgres_null(r, row, C_TABLE) || pgres_null(r, row, C_KEY_MATCH))
                return json_null();
        const char *table = pgres_text(r, row, C_TABLE);
        struct pg_param key = PG_TEXT(pgres_text(r, row, C_KEY));
        buf_init(&sql, 0);
        buf_printf(&sql, ROW_SQL, table, table, pgres_text(r, row, C_KEY_MATCH));
        if (pg_query(a->db, buf_cstr(&sql), 1, &key, false, &res, &e) == ST_OK && pgres_rows(res) > 0)
                j = json_loads(pgres_text(res, 0, 0), JSON_DECODE_ANY, NULL);
        pgres_free(res);
        buf_release(&sql);
        return j ? j : json_null();
}

static void add(struct answer *a, const struct pgres *r, int row)
{
        json_t *j = json_pack(
                "{s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:o, s:b, s:b}", "id", pgres_text(r, row, C_ID), "table",
                pgres_text(r, row, C_REL), "region", pgres_text(r, row, C_REGION), "hlc", (json_int_t)pgres_i64(r, row, C_HLC),
                "at", pgres_text(r, row, C_AT), "kind", pgres_text(r, row, C_KIND), "rule", pgres_text(r, row, C_RULE), "winner",
                json_or_null(r, row, C_WINNER), "loser_is_delete", pgres_null(r, row, C_IMAGE), "rows_shown", a->rows);
        char command[80];
        snprintf(command, sizeof command, "pangea conflicts resolve %s --take", pgres_text(r, row, C_ID));
        json_object_set_new(j, "command", json_string(command));
        if (a->rows) {
                json_object_set_new(j, "key", json_or_null(r, row, C_KEY));
                json_object_set_new(j, "loser", json_or_null(r, row, C_IMAGE));
                json_object_set_new(j, "stands", standing(a, r, row));
                json_object_set_new(j, "undo", text_or_null(r, row, C_UNDO));
        }
        json_array_append_new(a->list, j);
}

static enum status read_conflicts(struct answer *a, const char *limit, const char *table, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p[] = {PG_TEXT(limit), PG_TEXT(table)};
        enum status s = pg_exec(a->db, "SET statement_timeout = '3s'; SET default_transaction_read_only = on", NULL, e);
        if (s == ST_OK)
                s = pg_query(a->db, daemon_http_conflicts_sql, 2, p, false, &res, e);
        for (int i = 0; s == ST_OK && i < pgres_rows(res); i++)
                add(a, res, i);
        pgres_free(res);
        return s;
}

static void read_region(struct answer *a, const char *limit, const char *table, struct reply *out)
{
        struct err e = {.code = ST_OK};
        size_t place;
        enum status s = region_connect_within(a->region, "http conflicts", 3, &a->db, &e);
        if (s == ST_OK && !http_call_begin(a->h, pg_socket(a->db), &place)) {
                pg_close(a->db);
                reply_error(out, 503, "too many at once; ask again in a moment");
                return;
        }
        if (s == ST_OK) {
                s = read_conflicts(a, limit, table, &e);
                http_call_end(a->h, place);
        }
        pg_close(a->db);
        if (s != ST_OK)
                reply_error(out, 503, "region %s: %s", a->region->name, e.msg);
}

void http_conflicts(struct http *h, const struct request *q, struct reply *out)
{
        const char *limit = request_argument(q, "limit"), *table = request_argument(q, "table"),
                   *name = request_argument(q, "region");
        struct answer a = {.h = h, .region = name ? topology_region(h->topology, name) : h->region, .rows = h->region->http.rows};
        char *end = NULL;
        long n = strtol(limit ? limit : LIMIT, &end, 10);
        if (!end || *end || n < 1 || n > LIMIT_MAX) {
                reply_error(out, 400, "limit: a number from 1 to %d is needed", LIMIT_MAX);
                return;
        }
        if (!a.region) {
                reply_error(out, 404, "there is no region %.40s", name);
                return;
        }
        a.list = json_array();
        out->code = 0;
        read_region(&a, limit ? limit : LIMIT, table ? table : "", out);
        if (out->code == 0)
                reply_json(out, 200,
                           json_pack("{s:s, s:b, s:O}", "region", a.region->name, "rows_shown", a.rows, "conflicts", a.list));
        json_decref(a.list);
}
