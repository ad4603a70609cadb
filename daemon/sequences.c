#include "daemon/sequences.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon_sequences_sql.h"

/* Room for the product of two steps (2^63 each at most), and for a position beyond both. */
typedef __int128 wide;

/* ---- reading ------------------------------------------------------------------------------------------------------------------------- */
enum col {
        COL_SCHEMA,
        COL_NAME,
        COL_TABLE_SCHEMA,
        COL_TABLE,
        COL_COLUMN,
        COL_INCREMENT,
        COL_MIN,
        COL_MAX,
        COL_LIMIT,
        COL_START,
        COL_CYCLE,
        COL_INDEXED, /* a number, and the first column of an index: its greatest value is a look, not a scan */
};

enum status sequence_look(struct pg *c, struct sequence *s, struct err *e)
{
        struct pgres *res = NULL;
        struct buf sql;
        buf_init(&sql, 1024);
        buf_put_str(&sql, "SELECT last_value, is_called FROM ");
        pg_qualified(&sql, s->schema, s->name);
        enum status st = pg_exec(c, buf_cstr(&sql), &res, e);
        if (st == ST_OK) {
                s->last = pgres_i64(res, 0, 0);
                s->called = pgres_text(res, 0, 1)[0] == 't';
        } else {
                err_wrap(e, "sequence %s.%s", s->schema, s->name);
        }
        pgres_free(res);
        buf_release(&sql);
        return st;
}

bool sequence_next(const struct sequence *s, int64_t *out)
{
        wide v = s->called ? (wide)s->last + s->increment : s->last;
        if (v > s->max || v < s->min) {
                if (!s->cycle)
                        return false;
                v = s->increment > 0 ? s->min : s->max;
        }
        *out = (int64_t)v;
        return true;
}

static enum status look_at_table(struct pg *c, struct sequence *s, struct err *e)
{
        struct pgres *res = NULL;
        struct buf sql;
        int64_t next = 0;
        bool more = sequence_next(s, &next);
        buf_init(&sql, 4096);
        buf_put_str(&sql, "SELECT max(");
        pg_ident(&sql, s->column);
        buf_put_str(&sql, "), EXISTS (SELECT FROM ");
        pg_qualified(&sql, s->table_schema, s->table);
        buf_put_str(&sql, " WHERE ");
        pg_ident(&sql, s->column);
        buf_printf(&sql, " = %" PRId64 ") FROM ", next);
        pg_qualified(&sql, s->table_schema, s->table);
        enum status st = pg_exec(c, buf_cstr(&sql), &res, e);
        if (st == ST_OK && !pgres_null(res, 0, 0)) {
                int64_t top = pgres_i64(res, 0, 0);
                s->top = top > s->top ? top : s->top;
                s->taken |= more && pgres_text(res, 0, 1)[0] == 't';
        }
        pgres_free(res);
        buf_release(&sql);
        return st == ST_OK ? ST_OK : err_wrap(e, "table %s.%s", s->table_schema, s->table);
}

static void take_row(const struct pgres *r, int row, struct arena *a, struct sequence *s)
{
        s->schema = arena_strdup(a, pgres_text(r, row, COL_SCHEMA));
        s->name = arena_strdup(a, pgres_text(r, row, COL_NAME));
        s->table_schema = arena_strdup(a, pgres_text(r, row, COL_TABLE_SCHEMA));
        s->table = arena_strdup(a, pgres_text(r, row, COL_TABLE));
        s->column = arena_strdup(a, pgres_text(r, row, COL_COLUMN));
        s->increment = pgres_i64(r, row, COL_INCREMENT);
        s->min = pgres_i64(r, row, COL_MIN);
        s->max = pgres_i64(r, row, COL_MAX);
        s->limit = pgres_i64(r, row, COL_LIMIT);
        s->start = pgres_i64(r, row, COL_START);
        s->cycle = pgres_text(r, row, COL_CYCLE)[0] == 't';
        s->top = INT64_MIN;
}

/* A row of the scan: a new sequence, or another column of the last one. */
static enum status add_row(struct pg *c, const struct pgres *r, int row, struct arena *a, struct sequence *list, size_t *n,
                           struct err *e)
{
        struct sequence one = {0};
        take_row(r, row, a, &one);
        struct sequence *last = *n ? &list[*n - 1] : NULL;
        bool again = last && strcmp(last->name, one.name) == 0 && strcmp(last->schema, one.schema) == 0;
        enum status st = ST_OK;
        if (!again) {
                list[*n] = one;
                last = &list[(*n)++];
                st = sequence_look(c, last, e);
        }
        one.last = last->last;
        one.called = last->called;
        if (st == ST_OK && pgres_text(r, row, COL_INDEXED)[0] == 't')
                st = look_at_table(c, &one, e);
        last->top = one.top > last->top ? one.top : last->top;
        last->max = one.max < last->max ? one.max : last->max;
        last->limit = one.limit < last->limit ? one.limit : last->limit;
        last->taken |= one.taken;
        return st;
}

enum status sequences_read(struct pg *c, const struct topology *t, region_id me, struct arena *arena, struct sequence **out,
                           size_t *n, struct err *e)
{
        struct pgres *res = NULL;
        *out = NULL;
        *n = 0;
        enum status st = pg_exec(c, daemon_sequences_sql, &res, e);
        if (st != ST_OK)
                return err_wrap(e, "looking at the sequences");
        int rows = pgres_rows(res);
        struct sequence *list = ARENA_ARRAY(arena, struct sequence, rows);
        for (int i = 0; i < rows && st == ST_OK; i++) {
                const char *schema = pgres_text(res, i, COL_TABLE_SCHEMA), *table = pgres_text(res, i, COL_TABLE);
                const struct route *r = topology_route(t, schema, table);
                if (r && topology_multi_writer(t, schema, table) && (route_writers(t, r) >> me.i & 1))
                        st = add_row(c, res, i, arena, list, n, e);
        }
        pgres_free(res);
        *out = list;
        return st;
}

/* ---- do they meet? ------------------------------------------------------------------------------------------------------------------- */
/* low, low + step, .., high */
struct numbers {
        wide low, high, step;
};

static void upwards(const struct sequence *s, wide from, struct numbers *out)
{
        wide step = s->increment < 0 ? -(wide)s->increment : s->increment ? s->increment : 1; /* PostgreSQL has no step of 0 */
        *out = (struct numbers){.low = from, .high = s->max, .step = step};
        if (s->increment < 0) {
                out->low = from - (from - s->min) / step * step;
                out->high = from;
        }
}

/* What is still to come; what a cycle brings again. */
static int numbers_of(const struct sequence *s, struct numbers out[2])
{
        int64_t next;
        int n = 0;
        if (sequence_next(s, &next))
                upwards(s, next, &out[n++]);
        if (s->cycle)
                upwards(s, s->increment > 0 ? s->min : s->max, &out[n++]);
        return n;
}

static wide inverse(wide a, wide m) /* of a modulo m, which have no common divisor */
{
        wide r0 = m, r1 = a % m, t0 = 0, t1 = 1;
        while (r1 != 0) {
                wide q = r0 / r1, r2 = r0 - q * r1, t2 = t0 - q * t1;
                r0 = r1;
                r1 = r2;
                t0 = t1;
                t1 = t2;
        }
        return ((t0 % m) + m) % m;
}

static wide common_divisor(wide a, wide b)
{
        while (b != 0) {
                wide r = a % b;
                a = b;
                b = r;
        }
        return a;
}

static bool meet(const struct numbers *a, const struct numbers *b, int64_t *first)
{
        wide low = a->low > b->low ? a->low : b->low, high = a->high < b->high ? a->high : b->high;
        wide g = common_divisor(a->step, b->step), distance = b->low - a->low;
        if (low > high || distance % g != 0)
                return false;
        wide m = b->step / g, k = 0, both = a->step / g * b->step;
        if (m > 1)
                k = (((distance / g) % m + m) % m) * inverse(a->step / g, m) % m;
        wide x = a->low + a->step * k;
        if (x < low)
                x += (low - x + both - 1) / both * both;
        if (x > high)
                return false;
        *first = (int64_t)x;
        return true;
}

bool sequences_collide(const struct sequence *a, const struct sequence *b, int64_t *first)
{
        struct numbers as[2], bs[2];
        int na = numbers_of(a, as), nb = numbers_of(b, bs);
        bool found = false;
        for (int i = 0; i < na; i++)
                for (int k = 0; k < nb; k++) {
                        int64_t at;
                        if (meet(&as[i], &bs[k], &at) && (!found || at < *first)) {
                                *first = at;
                                found = true;
                        }
                }
        return found;
}

/* ---- sets ---------------------------------------------------------------------------------------------------------------------------- */
static struct sequence_set *set_of(struct sequence_set *sets, size_t *n, const struct sequence *s)
{
        for (size_t i = 0; i < *n; i++)
                if (strcmp(sets[i].schema, s->schema) == 0 && strcmp(sets[i].name, s->name) == 0)
                        return &sets[i];
        sets[*n] = (struct sequence_set){.schema = s->schema, .name = s->name};
        return &sets[(*n)++];
}

size_t sequence_sets(const struct topology *t, struct sequence *const *lists, const size_t *count, struct arena *arena,
                     struct sequence_set **out)
{
        size_t most = 0, n = 0;
        for (size_t k = 0; k < t->nregions; k++)
                most += lists[k] ? count[k] : 0;
        struct sequence_set *sets = ARENA_ARRAY(arena, struct sequence_set, most);
        for (size_t k = 0; k < t->nregions; k++)
                for (size_t i = 0; lists[k] && i < count[k]; i++) {
                        struct sequence_set *s = set_of(sets, &n, &lists[k][i]);
                        s->region[s->n] = &t->regions[k];
                        s->seq[s->n++] = &lists[k][i];
                }
        *out = sets;
        return n;
}

const char *sequence_set_wrong(const struct sequence_set *s, struct arena *arena)
{
        int64_t first;
        for (size_t i = 0; i < s->n; i++)
                for (size_t k = i + 1; k < s->n; k++)
                        if (sequences_collide(s->seq[i], s->seq[k], &first))
                                return arena_printf(arena, "%s and %s will both give number %" PRId64, s->region[i]->name,
                                                    s->region[k]->name, first);
        for (size_t i = 0; i < s->n; i++)
                if (s->seq[i]->taken)
                        return arena_printf(arena, "the number that %s gives next is in the table already", s->region[i]->name);
        return NULL;
}

/* ---- the plan ------------------------------------------------------------------------------------------------------------------------ */
struct span {
        wide used;       /* the greatest number that anybody gave or holds */
        wide max, limit; /* what all may reach, could reach */
        wide min_step;
};

static bool span_of(const struct sequence_set *s, struct span *p, const char **why)
{
        *p = (struct span){.used = 0, .max = INT64_MAX, .limit = INT64_MAX, .min_step = INT64_MAX};
        for (size_t i = 0; i < s->n; i++) {
                const struct sequence *q = s->seq[i];
                wide last = q->called ? q->last : (wide)q->last - 1;
                if (q->increment < 0) {
                        *why = "it counts downwards: give each region a range of its own by hand";
                        return false;
                }
                p->used = last > p->used ? last : p->used;
                p->used = q->top > p->used ? q->top : p->used;
                p->min_step = q->increment < p->min_step ? q->increment : p->min_step;
                p->max = q->max < p->max ? q->max : p->max;
                p->limit = q->limit < p->limit ? q->limit : p->limit;
        }
        return true;
}

static const char no_room[] =
        "its numbers are used up: let the column be a bigint (ALTER TABLE .. ALTER COLUMN .. TYPE bigint, ALTER "
        "SEQUENCE .. AS bigint) in every region";

static bool plan_interleave(const struct sequence_set *s, const struct span *p, struct arena *a, const char **out, const char **why)
{
        wide step = p->min_step * (wide)s->n, base = step ? (p->used / step + 1) * step : 0;
        if (base == 0 || base + step > p->max) {
                *why = no_room;
                return false;
        }
        for (size_t i = 0; i < s->n; i++)
                out[i] = arena_printf(a, "INCREMENT BY %" PRId64 " RESTART WITH %" PRId64, (int64_t)step,
                                      (int64_t)(base + 1 + (wide)i * p->min_step));
        return true;
}

/* Below a range lies what was given before, so its START is its own beginning. */
static bool plan_ranges(const struct sequence_set *s, const struct span *p, struct arena *a, const char **out, const char **why)
{
        wide each = s->n ? (p->limit - p->used) / (wide)s->n : 0;
        if (each < 1000) {
                *why = no_room;
                return false;
        }
        for (size_t i = 0; i < s->n; i++) {
                wide low = p->used + 1 + (wide)i * each, high = low + each - 1;
                out[i] = arena_printf(a, "MINVALUE %" PRId64 " MAXVALUE %" PRId64 " START WITH %" PRId64 " RESTART WITH %" PRId64,
                                      (int64_t)low, (int64_t)high, (int64_t)low, (int64_t)low);
        }
        return true;
}

bool sequence_set_plan(const struct sequence_set *s, enum sequence_mode mode, struct arena *arena, const char **statement,
                       const char **why)
{
        struct span p;
        bool planned = span_of(s, &p, why);
        if (planned && mode == SEQUENCE_INTERLEAVE)
                planned = plan_interleave(s, &p, arena, statement, why);
        else if (planned)
                planned = plan_ranges(s, &p, arena, statement, why);
        for (size_t i = 0; i < s->n && planned; i++) {
                struct buf sql;
                buf_init(&sql, 4096);
                buf_put_str(&sql, "ALTER SEQUENCE ");
                pg_qualified(&sql, s->schema, s->name);
                buf_printf(&sql, " %s", statement[i]);
                statement[i] = arena_strdup(arena, buf_cstr(&sql));
                buf_release(&sql);
        }
        return planned;
}
