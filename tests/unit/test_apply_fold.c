/* Folding: the changes of a group, written as text, and the net effects that must come out.
 *
 *     t+1,x,y    insert into table t           values: _ unsent, ~ NULL, else text
 *     t=1,x,_    update; t=2,x,y<1,_,_ with an old row
 *     t-1,_,_    delete                        |  the next transaction
 *     t!         truncate                      net effects: t{..} per table, " / " between segments
 *
 * Of a net effect: - ends deleted, + a whole row, = an update; i began as an insert, d was deleted on the way, <.. the key of a row that
 * moves, o the whole old row is known, (..) the row before the first change of it, @n its last transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apply/fold.h"
#include "base/buf.h"

/* t an ordinary table, f with a full identity, k without a key, l t's layout after a column was dropped, p and q leaves of one table, x a
 * table that is not applied here, c with a key of two columns in another order than its columns, g and h leaves with a full identity */
static const char names[] = "tfklpqxcgh";
enum { T, F, K, L, P, Q, X, C, G, H, RELS };

static const struct column cols[] = {
        {"id", "pg_catalog.int4", true}, {"a", "pg_catalog.text", false}, {"b", "pg_catalog.text", false}};
static const struct column two[] = {
        {"a", "pg_catalog.text", true}, {"b", "pg_catalog.text", false}, {"id", "pg_catalog.int4", true}};
static const uint16_t first[] = {0}, third_first[] = {2, 0};
#define ORDINARY .schema = "public", .cols = cols, .nkeys = 1, .keys = first
static const struct relation rels[RELS] = {
        [T] = {ORDINARY, .ncols = 3, .name = "t"},
        [F] = {ORDINARY, .ncols = 3, .name = "f", .full = true},
        [K] = {.schema = "public", .name = "k", .ncols = 3, .cols = cols, .full = true},
        [L] = {ORDINARY, .ncols = 2, .name = "t"},
        [P] = {ORDINARY, .ncols = 3, .name = "p", .leaf_schema = "public", .leaf_name = "p1"},
        [Q] = {ORDINARY, .ncols = 3, .name = "p", .leaf_schema = "public", .leaf_name = "p2"},
        [X] = {ORDINARY, .ncols = 3, .name = "x"},
        [C] = {.schema = "public", .name = "c", .ncols = 3, .cols = two, .nkeys = 2, .keys = third_first},
        [G] = {ORDINARY, .ncols = 3, .name = "g", .leaf_schema = "public", .leaf_name = "g1", .full = true},
        [H] = {ORDINARY, .ncols = 3, .name = "g", .leaf_schema = "public", .leaf_name = "g2", .full = true},
};

static struct target targets[RELS];
static const unsigned target_of[RELS] = {[T] = T, [F] = F, [K] = K, [L] = T, [P] = P, [Q] = P, [X] = X, [C] = C, [G] = G, [H] = G};

struct mapped {
        const struct relation *rels;
        unsigned calls, refuse_at;
};

static enum status map(void *ctx, const struct relation *rel, struct mapping *out, struct err *e)
{
        struct mapped *m = ctx;
        size_t i = (size_t)(rel - m->rels);
        if (++m->calls == m->refuse_at)
                return err_named(e, ST_DATA, "table_missing", "no such table");
        *out = (struct mapping){.target = &targets[i < RELS ? target_of[i] : T], .applied = i != X};
        return ST_OK;
}

/* ---- text to group ----------------------------------------------------------------------------------------------------------------- */

static const char *take_row(struct arena *a, const char *s, uint16_t ncols, const struct value **out)
{
        struct value *row = ARENA_ARRAY(a, struct value, ncols);
        for (uint16_t i = 0; i < ncols; i++) {
                size_t n = strcspn(s, ", <");
                row[i] = *s == '_'   ? (struct value){.kind = VALUE_UNSENT}
                         : *s == '~' ? (struct value){.kind = VALUE_NULL}
                                     : (struct value){.kind = VALUE_TEXT, .len = (uint32_t)n, .data = (const uint8_t *)s};
                s += n + (s[n] == ',');
        }
        *out = row;
        return s;
}

static const char *take_change(struct arena *a, const char *s, const struct relation *from, struct change *c)
{
        c->rel = &from[strchr(names, *s++) - names];
        char op = *s++;
        c->op = op == '+' ? CHANGE_INSERT : op == '=' ? CHANGE_UPDATE : op == '-' ? CHANGE_DELETE : CHANGE_TRUNCATE;
        if (op == '!')
                return s;
        s = take_row(a, s, c->rel->ncols, op == '-' ? &c->old : &c->row);
        return *s == '<' ? take_row(a, s + 1, c->rel->ncols, &c->old) : s;
}

static struct group parse(struct arena *a, const char *s, const struct relation *from)
{
        struct change *changes = ARENA_ARRAY(a, struct change, strlen(s) + 1);
        struct group g = {.nrels = RELS, .rels = from, .changes = changes, .last = true};
        uint32_t tx = 0;
        for (; *s; s += *s == ' ') {
                if (*s == '|') {
                        tx++;
                        s++;
                        continue;
                }
                changes[g.nchanges].tx = tx;
                s = take_change(a, s, from, &changes[g.nchanges++]);
        }
        g.ntxs = tx + 1;
        return g;
}

/* ---- net effects to text ------------------------------------------------------------------------------------------------------------ */

static void put_row(struct buf *b, const struct relation *rel, const struct value *row)
{
        for (uint16_t i = 0; i < rel->ncols; i++) {
                buf_put_str(b, i ? "," : "");
                if (row[i].kind == VALUE_TEXT)
                        buf_put(b, row[i].data, row[i].len);
                else
                        buf_put_str(b, row[i].kind == VALUE_NULL ? "~" : "_");
        }
}

static void put_net(struct buf *b, const struct relation *rel, const struct net *n)
{
        buf_put_str(b, n->del ? "-" : n->fresh ? "+" : "=");
        put_row(b, rel, n->del ? n->key : n->row);
        if (!n->del && n->key != n->row) {
                buf_put_str(b, "<");
                put_row(b, rel, n->key);
        }
        if (!n->del && n->before) {
                buf_put_str(b, "(");
                put_row(b, rel, n->before);
                buf_put_str(b, ")");
        }
        buf_printf(b, "%s%s%s@%u", n->is_insert ? "i" : "", n->had_del && !n->del ? "d" : "", n->old ? "o" : "", n->tx);
        assert_int_equal(n->klen > 0, rel->nkeys > 0);
        assert_false(n->del && (n->row || !n->had_del));
}

static void put_segments(struct buf *b, const struct segment *s, const struct relation *from)
{
        for (const char *gap = ""; s; s = s->next, gap = " / ") {
                buf_put_str(b, gap);
                for (uint32_t t = 0; t < s->ntables; t++) {
                        const struct fold_table *ft = &s->tables[t];
                        buf_printf(b, "%s%c{", t ? " " : "", names[ft->rel - from]);
                        for (uint32_t n = 0; n < ft->n; n++) {
                                buf_put_str(b, n ? " " : "");
                                put_net(b, ft->rel, ft->nets[n]);
                        }
                        buf_put_str(b, "}");
                        assert_true(ft->map.target == &targets[target_of[ft->rel - from]]);
                }
                assert_false(s->truncate && s->keyless);
                const struct change *c = s->truncate ? s->truncate : s->keyless;
                if (!c)
                        continue;
                buf_printf(b, "%s%c%s", s->ntables ? " " : "", names[c->rel - from],
                           s->truncate              ? "!"
                           : c->op == CHANGE_DELETE ? "-"
                                                    : "=");
                if (s->keyless)
                        put_row(b, c->rel, c->old);
                assert_ptr_equal(s->map.target, &targets[target_of[c->rel - from]]);
        }
}

struct fold_case {
        const char *why, *changes, *want;
};

static void expect(const struct fold_case *t, size_t n)
{
        struct arena arena;
        arena_init(&arena);
        for (size_t i = 0; i < n; i++) {
                struct group g = parse(&arena, t[i].changes, rels);
                struct mapped m = {.rels = rels};
                struct segment *s = NULL;
                struct err e = {.code = ST_OK};
                struct buf got;
                buf_init(&got, 0);
                if (fold_group(&g, &arena, map, &m, &s, &e) == ST_OK)
                        put_segments(&got, s, rels);
                else
                        buf_printf(&got, "%s: %s", e.name, e.msg);
                if (strcmp(buf_cstr(&got), t[i].want) != 0)
                        fail_msg("%s: %s\n  came out as %s\n  instead of  %s", t[i].why, t[i].changes, buf_cstr(&got), t[i].want);
                buf_release(&got);
                arena_reset(&arena);
        }
        arena_release(&arena);
}
#define EXPECT(t) expect(t, sizeof(t) / sizeof *(t))

/* ---- tests -------------------------------------------------------------------------------------------------------------------------- */

static void one_key(void **state)
{
        (void)state;
        static const struct fold_case t[] = {
                {"nothing", "", ""},
                {"an insert", "t+1,x,y", "t{+1,x,yi@0}"},
                {"insert and update: the row as it ends, still an insert", "t+1,x,y t=1,z,y", "t{+1,z,yi@0}"},
                {"insert and delete is the delete, never nothing", "t+1,x,y t-1,_,_", "t{-1,x,yi@0}"},
                {"delete and insert is a whole row, and the delete is remembered", "t-1,_,_ t+1,x,y", "t{+1,x,yd@0}"},
                {"delete, insert, delete", "t-1,_,_ t+1,x,y t-1,_,_", "t{-1,x,y@0}"},
                {"insert, delete, insert", "t+1,x,y t-1,_,_ t+1,z,z", "t{+1,z,zid@0}"},
                {"delete, insert, update", "t-1,_,_ t+1,x,y t=1,z,_", "t{+1,z,yd@0}"},
                {"an update may leave values unsent", "t=1,x,_", "t{=1,x,_@0}"},
                {"update of an update: what it does not send is what the first sent", "t=1,x,_ t=1,_,y", "t{=1,x,y@0}"},
                {"and it stays unsent when nobody sent it", "t=1,x,_ t=1,z,_", "t{=1,z,_@0}"},
                {"a sent NULL is not an unsent value", "t=1,x,y t=1,~,_", "t{=1,~,y@0}"},
                {"an unsent value after an insert is the inserted one", "t+1,x,y t=1,z,_", "t{+1,z,yi@0}"},
                {"nothing of the row before a delete comes back", "t=1,x,y t-1,_,_ t+1,~,~", "t{+1,~,~d@0}"},
                {"the last transaction that touched it names the vector", "t+1,x,y | t=1,z,y | t+2,x,y", "t{+1,z,yi@1 +2,x,yi@2}"},
                {"also when it deletes", "t+1,x,y | t-1,_,_", "t{-1,x,yi@1}"},
                {"old rows of a full identity are kept for the delete", "f-1,x,y", "f{-1,x,yo@0}"},
                {"not when it was written again", "f-1,x,y f+1,z,z f-1,z,z", "f{-1,z,zo@0}"},
                {"an old row with the same key is no key change", "f=1,z,y<1,x,y", "f{=1,z,y(1,x,y)@0}"},
                {"keys are equal when PostgreSQL calls them so, not by their place", "t+10,x,y t+1,0,y", "t{+10,x,yi@0 +1,0,yi@0}"},
                {"a key of two columns", "c+x,u,1 c+y,u,1 c=x,v,1", "c{+x,v,1i@0 +y,u,1i@0}"},
                {"whose values do not run together", "c+12,u,3 c+1,u,23", "c{+12,u,3i@0 +1,u,23i@0}"},
        };
        EXPECT(t);
}

static void several_tables(void **state)
{
        (void)state;
        static const struct fold_case t[] = {
                {"the same key in two tables", "t+1,x,y f+1,z,z t=1,a,a", "t{+1,a,ai@0} f{+1,z,zi@0}"},
                {"rows in the order of their first change", "t+2,x,y t+1,x,y t-2,_,_", "t{-2,x,yi@0 +1,x,yi@0}"},
                {"what is not applied here is left out", "x+1,x,y t+1,x,y x!", "t{+1,x,yi@0}"},
                {"a whole group of it", "x+1,x,y", ""},
                {"a new layout waits for what the old one wrote", "t+1,x,y l=1,z", "t{+1,x,yi@0} / l{=1,z@0}"},
                {"and back", "t+1,x,y l=1,z t-1,_,_", "t{+1,x,yi@0} / l{=1,z@0} / t{-1,_,_@0}"},
                {"another table does not come between", "t+1,x,y f+1,z,z l=1,z f-1,z,z",
                 "t{+1,x,yi@0} f{+1,z,zi@0} / f{-1,z,zo@0} l{=1,z@0}"},
                {"leaves of one table are one table", "p+1,x,y q+2,x,y p+3,x,y q-2,_,_", "p{+1,x,yi@0 -2,x,yi@0 +3,x,yi@0}"},
                {"also in a table that a row has left", "q-1,_,_ p+1,x,y", "q{+1,x,yd@0}"},
                {"a leaf's truncate is the leaf's", "p+1,x,y q! q+2,x,y", "p{+1,x,yi@0} q! / p{+2,x,yi@0}"},
        };
        EXPECT(t);
}

/* What rules with siblings need: the row before the group, and moves between partitions told from deletes. */
static void rows_before(void **state)
{
        (void)state;
        static const struct fold_case t[] = {
                {"the first old row is that of the group", "f=1,y,b<1,x,a | f=1,z,b<1,y,b", "f{=1,z,b(1,x,a)@1}"},
                {"an inserted row has none", "f+1,x,a f=1,y,b<1,x,a", "f{+1,y,bi@0}"},
                {"nor has one that was inserted anew", "f=1,y,b<1,x,a f-1,y,b f+1,z,c f=1,u,u<1,z,c", "f{+1,u,ud@0}"},
                {"without a full identity nobody knows", "t=1,x,y", "t{=1,x,y@0}"},
                {"a row that moves to another partition is an update", "g-1,x,a h+1,y,a", "g{=1,y,a(1,x,a)@0}"},
                {"also when it was changed before, and after", "g=1,y,b<1,x,a | g-1,y,b h+1,z,b h=1,z,c<1,z,b",
                 "g{=1,z,c(1,x,a)@1}"},
                {"there and back", "g-1,x,a h+1,y,a | h-1,y,a g+1,z,a", "g{=1,z,a(1,x,a)@1}"},
                {"a row inserted and moved is an insert", "g+1,x,a g-1,x,a h+1,x,b", "g{+1,x,bi@0}"},
                {"the same partition: deleted and inserted", "g-1,x,a g+1,y,a", "g{+1,y,ad@0}"},
                {"another transaction: deleted and inserted", "g-1,x,a | h+1,y,a", "g{+1,y,ad@1}"},
                {"a delete before the move is not forgotten", "g-1,x,a g+1,y,a g-1,y,a h+1,z,a", "g{+1,z,ad@0}"},
        };
        EXPECT(t);
}

static void key_changes(void **state)
{
        (void)state;
        static const struct fold_case t[] = {
                {"a whole row: delete and insert", "t=2,x,y<1,_,_", "t{-1,_,_@0 +2,x,yi@0}"},
                {"with a full identity the old row is known", "f=2,x,y<1,u,v", "f{-1,u,vo@0 +2,x,yi@0}"},
                {"not whole: the row that stands here moves, alone", "t+5,x,y t=2,x,_<1,_,_ t+6,x,y",
                 "t{+5,x,yi@0} / t{=2,x,_<1,_,_@0} / t{+6,x,yi@0}"},
                {"unless the group knows the row", "t=1,_,y t=2,x,_<1,_,_", "t{-1,_,y@0 +2,x,yi@0}"},
                {"an inserted row that moves", "t+1,x,y t=2,_,_<1,_,_", "t{-1,x,yi@0 +2,x,yi@0}"},
                {"two rows swap their keys", "t=9,x,y<1,_,_ t=1,u,v<2,_,_ t=2,x,y<9,_,_", "t{+1,u,vd@0 -9,x,yi@0 +2,x,yd@0}"},
                {"there and back", "t=2,x,y<1,_,_ t=1,x,y<2,_,_", "t{+1,x,yd@0 -2,x,yi@0}"},
                {"a part of the key", "c=x,u,2<x,_,1", "c{-x,_,1@0 +x,u,2i@0}"},
                {"a part of the key that was not sent did not change", "c=_,u,2<x,_,1", "c{-x,_,1@0 +x,u,2i@0}"},
                {"neither when the row is not whole", "c=_,_,2<x,_,1", "c{=x,_,2<x,_,1@0}"},
        };
        EXPECT(t);
}

static void keys_out_of_line(void **state)
{
        (void)state;
        static const struct fold_case t[] = {
                {"a long key is sent in the old row only: the key did not change", "c=_,v,1<x,_,1", "c{=x,v,1@0}"},
                {"the row that was inserted under it is found", "c+x,u,1 c=_,v,1<x,_,1", "c{+x,v,1i@0}"},
                {"of a full identity as well", "c+x,u,1 c=_,_,_<x,_,1", "c{+x,u,1i@0}"},
        };
        EXPECT(t);
}

static void where_order_matters(void **state)
{
        (void)state;
        static const struct fold_case t[] = {
                {"a truncate: what was before it is gone", "t+1,x,y t! t+1,z,z", "t! / t{+1,z,zi@0}"},
                {"at the beginning", "t! t+1,x,y", "t! / t{+1,x,yi@0}"},
                {"at the end", "t+1,x,y t!", "t! / "},
                {"several tables of one statement", "t+1,x,y t! f!", "t! / f! / "},
                {"what was done to another table stays", "f+1,x,y t+1,x,y t! f=1,u,v<1,x,y", "t! / f{+1,u,vi@0}"},
                {"a leaf's leaves the other leaves' rows", "p+1,x,y q!", "p{+1,x,yi@0} q!"},
                {"nothing from before it is merged into what follows", "t=1,x,_ t! t=1,_,y", "t! / t{=1,_,y@0}"},
                {"also behind a new layout", "t+1,x,y l=1,z l! t+2,x,y", "l! / t{} / t{+2,x,yi@0}"},
                {"and of a table without a key", "k+1,x,y k-1,x,y k+1,x,y k! k+2,x,y", "k! / k{} / k{+2,x,yi@0}"},
                {"rows without a key are never one", "k+1,x,y k+1,x,y", "k{+1,x,yi@0 +1,x,yi@0}"},
                {"their deletes wait for their inserts", "k+1,x,y k-1,x,y k+1,x,y", "k{+1,x,yi@0} k-1,x,y / k{+1,x,yi@0}"},
                {"so do their updates", "k=1,z,z<1,x,y k=1,u,u<1,z,z", "k=1,x,y / k=1,z,z"},
        };
        EXPECT(t);
}

static void what_makes_no_sense(void **state)
{
        (void)state;
        static const struct fold_case t[] = {
                {"an update without its key", "t=_,x,y",
                 "row_refused: table public.t: an update without its key: REPLICA IDENTITY does not carry it"},
                {"a delete without its key", "t-_,_,_",
                 "row_refused: table public.t: an delete without its key: REPLICA IDENTITY does not carry it"},
                {"half a key", "c=x,u,_",
                 "row_refused: table public.c: an update without its key: REPLICA IDENTITY does not carry it"},
        };
        EXPECT(t);
}

static void tables_are_looked_up_once(void **state)
{
        (void)state;
        struct arena arena;
        struct segment *s = NULL;
        struct err e = {.code = ST_OK};
        arena_init(&arena);
        struct group g = parse(&arena, "t+1,x,y f+1,x,y t! t+2,x,y f+2,x,y t-2,_,_", rels);
        struct mapped m = {.rels = rels};
        assert_int_equal(fold_group(&g, &arena, map, &m, &s, &e), ST_OK);
        assert_int_equal(m.calls, 2);
        m = (struct mapped){.rels = rels, .refuse_at = 2}; /* a table that is missing here stops the whole group */
        assert_int_equal(fold_group(&g, &arena, map, &m, &s, &e), ST_DATA);
        assert_string_equal(e.name, "table_missing");
        arena_release(&arena);
}

/* A row that came in fragments is a group of one change, whose relation is none of the group's. */
static void a_row_out_of_fragments(void **state)
{
        (void)state;
        struct arena arena;
        struct segment *s = NULL;
        struct err e = {.code = ST_OK};
        struct buf got;
        arena_init(&arena);
        buf_init(&got, 0);
        static const unsigned others[] = {0, RELS};
        for (size_t i = 0; i < 2; i++) {
                struct relation alone[RELS];
                memcpy(alone, rels, sizeof alone);
                struct group g = parse(&arena, "t=1,x,_", alone);
                struct mapped m = {.rels = alone};
                g.nrels = others[i]; /* the chunk's own relations, if any, are not it */
                g.rels = others[i] ? rels : NULL;
                assert_int_equal(fold_group(&g, &arena, map, &m, &s, &e), ST_OK);
                buf_reset(&got);
                put_segments(&got, s, alone);
                assert_string_equal(buf_cstr(&got), "t{=1,x,_@0}");
                assert_int_equal(m.calls, 1);
        }
        buf_release(&got);
        arena_release(&arena);
}

/* ---- any group does what its changes did, one after the other ------------------------------------------------------------------------ */

#define KEYS 6
struct row {
        bool there;
        uint8_t a, b;
};
static const char digits[] = "0123456789";

static struct value digit(uint8_t v)
{
        return (struct value){.kind = VALUE_TEXT, .len = 1, .data = (const uint8_t *)&digits[v]};
}

static uint8_t number(const struct value *v)
{
        assert_int_equal(v->kind, VALUE_TEXT);
        return (uint8_t)(*v->data - '0');
}

static const struct value *model_row(struct arena *a, uint8_t key, const struct row *r, bool send_a, bool send_b)
{
        struct value *v = ARENA_ARRAY(a, struct value, 3);
        v[0] = digit(key);
        v[1] = send_a ? digit(r->a) : (struct value){.kind = VALUE_UNSENT};
        v[2] = send_b ? digit(r->b) : (struct value){.kind = VALUE_UNSENT};
        return v;
}

/* One change that the rows allow, done to them. */
static void random_change(unsigned *seed, struct arena *a, struct row rows[KEYS], struct change *c)
{
        uint8_t key = (uint8_t)(rand_r(seed) % KEYS), to = (uint8_t)(rand_r(seed) % KEYS);
        struct row *r = &rows[key];
        bool send_a = rand_r(seed) % 2, send_b = rand_r(seed) % 2;
        *c = (struct change){.rel = &rels[T], .op = CHANGE_UPDATE};
        if (rand_r(seed) % 40 == 0) {
                c->op = CHANGE_TRUNCATE;
                memset(rows, 0, sizeof *rows * KEYS);
        } else if (!r->there) {
                *r = (struct row){true, (uint8_t)(rand_r(seed) % 10), (uint8_t)(rand_r(seed) % 10)};
                c->op = CHANGE_INSERT;
                c->row = model_row(a, key, r, true, true);
        } else if (rand_r(seed) % 4 == 0) {
                c->op = CHANGE_DELETE;
                c->old = model_row(a, key, r, false, false);
                r->there = false;
        } else {
                if (send_a)
                        r->a = (uint8_t)(rand_r(seed) % 10);
                if (send_b)
                        r->b = (uint8_t)(rand_r(seed) % 10);
                if (rand_r(seed) % 2 && !rows[to].there) {
                        c->old = model_row(a, key, r, false, false);
                        rows[to] = *r;
                        r->there = false;
                        r = &rows[to];
                        key = to;
                }
                c->row = model_row(a, key, r, send_a, send_b);
        }
}

static void do_put(struct row rows[KEYS], const struct net *n)
{
        struct row *r = &rows[number(&n->key[0])];
        if (!n->fresh)
                assert_true(r->there);
        struct row now = *r;
        now.there = true;
        if (n->fresh || n->row[1].kind != VALUE_UNSENT)
                now.a = number(&n->row[1]);
        if (n->fresh || n->row[2].kind != VALUE_UNSENT)
                now.b = number(&n->row[2]);
        r->there = false;
        rows[number(&n->row[0])] = now;
}

/* As write.c does it: deletes, updates, inserts; then the truncate. */
static void do_segment(struct row rows[KEYS], const struct segment *s)
{
        for (int pass = 0; pass < 3; pass++)
                for (uint32_t t = 0; t < s->ntables; t++)
                        for (uint32_t i = 0; i < s->tables[t].n; i++) {
                                const struct net *n = s->tables[t].nets[i];
                                if (pass == 0 && n->del)
                                        rows[number(&n->key[0])].there = false;
                                if (!n->del && pass == (n->fresh ? 2 : 1))
                                        do_put(rows, n);
                        }
        if (s->truncate)
                memset(rows, 0, sizeof *rows * KEYS);
}

static void any_group_does_what_its_changes_did(void **state)
{
        (void)state;
        struct arena arena;
        arena_init(&arena);
        for (unsigned round = 0; round < 20000; round++) {
                struct row want[KEYS] = {0}, got[KEYS];
                struct change changes[24];
                unsigned seed = round;
                for (int i = 0; i < KEYS; i++)
                        want[i] = (struct row){rand_r(&seed) % 2, 7, 8};
                memcpy(got, want, sizeof got);
                struct group g = {.nrels = RELS, .rels = rels, .changes = changes, .nchanges = 1 + (uint32_t)(rand_r(&seed) % 24)};
                for (uint32_t i = 0; i < g.nchanges; i++)
                        random_change(&seed, &arena, want, &changes[i]);
                struct mapped m = {.rels = rels};
                struct segment *s = NULL;
                struct err e = {.code = ST_OK};
                assert_int_equal(fold_group(&g, &arena, map, &m, &s, &e), ST_OK);
                for (; s; s = s->next)
                        do_segment(got, s);
                for (int i = 0; i < KEYS; i++)
                        if (want[i].there != got[i].there || (want[i].there && (want[i].a != got[i].a || want[i].b != got[i].b)))
                                fail_msg("seed %u: key %d is %s %d,%d instead of %s %d,%d", round, i,
                                         got[i].there ? "there" : "gone", got[i].a, got[i].b, want[i].there ? "there" : "gone",
                                         want[i].a, want[i].b);
                arena_reset(&arena);
        }
        arena_release(&arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_key),
                cmocka_unit_test(several_tables),
                cmocka_unit_test(rows_before),
                cmocka_unit_test(key_changes),
                cmocka_unit_test(keys_out_of_line),
                cmocka_unit_test(where_order_matters),
                cmocka_unit_test(what_makes_no_sense),
                cmocka_unit_test(tables_are_looked_up_once),
                cmocka_unit_test(a_row_out_of_fragments),
                cmocka_unit_test(any_group_does_what_its_changes_did),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
