/* rules: the tables under test. Each name is two tables; what is not said is last write wins. */
#include <string.h>

#include "tests/simulation/sim.h"

#define BIT(c) (1u << (c))

static const uint16_t by_g[] = {C_G};

/* A resolver function: all versions in their canonical order make the row. */
static enum status resolve(void *ctx, const struct rule *rule, const struct version *v, size_t n, struct arena *arena,
                           struct cell *row, struct err *e)
{
        const char *all = "";
        (void)ctx, (void)rule, (void)e;
        memcpy(row, v[n - 1].row, sizeof *row * NCOLS);
        for (size_t i = 0; i < n; i++)
                all = arena_printf(arena, "%s%s%.*s", all, i ? "+" : "", (int)v[i].row[C_V].len,
                                   v[i].row[C_V].data ? v[i].row[C_V].data : "");
        row[C_V] = (struct cell){.data = all, .len = (uint32_t)strlen(all)};
        return ST_OK;
}

static struct rule_column plain_columns[NCOLS] = {
        [C_K] = {.name = "k", .type = TYPE_INT, .key = true},
        [C_V] = {.name = "v", .type = TYPE_TEXT},
        [C_X] = {.name = "x", .type = TYPE_TEXT},
        [C_G] = {.name = "g", .type = TYPE_INT},
        [C_N] = {.name = "n", .type = TYPE_INT},
        [C_S] = {.name = "s", .type = TYPE_ARRAY},
        [C_J] = {.name = "j", .type = TYPE_JSONB},
        [C_T] = {.name = "t", .type = TYPE_TEXT},
        [C_U] = {.name = "u", .type = TYPE_TEXT},
        [C_W] = {.name = "w", .type = TYPE_TEXT},
};

/* One table: what its rule is, and which columns are written. */
struct spec {
        enum row_rule row;
        bool siblings; /* goes through conflict/merge */
        bool delete_wins;
        unsigned cols;
        struct {
                enum col col;
                enum column_rule rule;
        } column[5];
};

static const struct spec lww = {RULE_LAST_WRITE_WINS, false, false, BIT(C_V), {{0, 0}}};
static const struct spec first = {RULE_FIRST_WRITE_WINS, true, false, BIT(C_V), {{0, 0}}};
static const struct spec priority = {RULE_REGION_PRIORITY, true, false, BIT(C_V), {{0, 0}}};
static const struct spec greatest = {RULE_GREATEST, true, false, BIT(C_V) | BIT(C_G), {{0, 0}}};
static const struct spec greatest_delete_wins = {RULE_GREATEST, true, true, BIT(C_V) | BIT(C_G), {{0, 0}}};
static const struct spec least = {RULE_LEAST, true, false, BIT(C_V) | BIT(C_G), {{0, 0}}};
static const struct spec manual = {RULE_MANUAL, true, false, BIT(C_V), {{0, 0}}};
static const struct spec sql = {RULE_SQL, true, false, BIT(C_V), {{0, 0}}};
static const struct spec delta = {RULE_LAST_WRITE_WINS, true, true, BIT(C_V) | BIT(C_N), {{C_N, COLUMN_DELTA}}};
static const struct spec set = {RULE_LAST_WRITE_WINS, true, true, BIT(C_V) | BIT(C_S), {{C_S, COLUMN_UNION}}};
static const struct spec json = {RULE_LAST_WRITE_WINS, true, true, BIT(C_V) | BIT(C_J), {{C_J, COLUMN_JSON_MERGE}}};
static const struct spec text = {RULE_LAST_WRITE_WINS, true, false, BIT(C_V) | BIT(C_T), {{C_T, COLUMN_TEXT_MERGE}}};
static const struct spec column_greatest = {
        RULE_LAST_WRITE_WINS, true, false, BIT(C_V) | BIT(C_G) | BIT(C_X), {{C_G, COLUMN_GREATEST}, {C_X, COLUMN_LAST_WRITE_WINS}}};
static const struct spec column = {RULE_COLUMN_MERGE, true, true, BIT(C_V) | BIT(C_X), {{0, 0}}};
static const struct spec column_all = {
        RULE_COLUMN_MERGE,
        true,
        true,
        BIT(C_V) | BIT(C_X) | BIT(C_G) | BIT(C_N) | BIT(C_S) | BIT(C_J),
        {{C_G, COLUMN_GREATEST}, {C_N, COLUMN_DELTA}, {C_S, COLUMN_UNION}, {C_J, COLUMN_JSON_MERGE}}};
static const struct spec first_all = {
        RULE_FIRST_WRITE_WINS,
        true,
        true,
        BIT(C_V) | BIT(C_X) | BIT(C_N) | BIT(C_S) | BIT(C_J) | BIT(C_T),
        {{C_N, COLUMN_DELTA}, {C_S, COLUMN_UNION}, {C_J, COLUMN_JSON_MERGE}, {C_T, COLUMN_TEXT_MERGE}}};

static const struct {
        const char *name;
        const struct spec *table[TABLES], *then[TABLES]; /* then: from the next generation on */
        bool unique;
} list[] = {
        {"lww", {&lww, &lww}, {NULL, NULL}, false},
        {"first", {&first, &first}, {NULL, NULL}, false},
        {"priority", {&priority, &priority}, {NULL, NULL}, false},
        {"greatest", {&greatest, &greatest_delete_wins}, {NULL, NULL}, false},
        {"least", {&least, &least}, {NULL, NULL}, false},
        {"manual", {&manual, &manual}, {NULL, NULL}, false},
        {"sql", {&sql, &sql}, {NULL, NULL}, false},
        {"delta", {&delta, &delta}, {NULL, NULL}, false},
        {"union", {&set, &set}, {NULL, NULL}, false},
        {"json_merge", {&json, &json}, {NULL, NULL}, false},
        {"text_merge", {&text, &text}, {NULL, NULL}, false},
        {"column", {&column, &column_greatest}, {NULL, NULL}, false},
        {"mixed", {&column_all, &first_all}, {NULL, NULL}, false},
        {"lww+greatest", {&lww, &greatest}, {NULL, NULL}, false},
        {"lww+delta", {&lww, &delta}, {NULL, NULL}, false},
        {"union+first", {&set, &first}, {NULL, NULL}, false},
        {"generations", {&greatest, &first}, {&least, &priority}, false},
        {"lww/unique", {&lww, &lww}, {NULL, NULL}, true},
};
enum { RULES = sizeof list / sizeof *list };

static void fill(struct rules *out, unsigned t, int gen, const struct spec *s, struct rule_column cols[NCOLS])
{
        struct rule *r = &out->rule[t][gen];
        memcpy(cols, plain_columns, sizeof plain_columns);
        *r = (struct rule){.generation = (uint32_t)gen,
                           .row = s->row,
                           .delete_wins = s->delete_wins,
                           .accumulates = s->row == RULE_COLUMN_MERGE,
                           .rank = {1, 0, 2, 0, 3}, /* not in the order of the names, and a tie */
                           .ncols = NCOLS,
                           .cols = cols,
                           .nby = s->row == RULE_GREATEST || s->row == RULE_LEAST,
                           .by = by_g,
                           .resolve = s->row == RULE_SQL ? resolve : NULL};
        cols[C_G].by = r->nby;
        for (size_t i = 0; i < sizeof s->column / sizeof *s->column; i++) {
                if (!s->column[i].rule)
                        continue;
                cols[s->column[i].col].rule = s->column[i].rule;
                r->accumulates |= column_rule_accumulates(s->column[i].rule);
        }
        out->lww[t] = !s->siblings;
        out->cols[t] |= s->cols | (out->unique ? BIT(C_U) | BIT(C_W) : 0);
}

static void lay_out(struct rules *out)
{
        static const struct column cols[NCOLS] = {{"k", "pg_catalog.int4", true},   {"v", "pg_catalog.text", false},
                                                  {"x", "pg_catalog.text", false},  {"g", "pg_catalog.int4", false},
                                                  {"n", "pg_catalog.int4", false},  {"s", "pg_catalog._text", false},
                                                  {"j", "pg_catalog.jsonb", false}, {"t", "pg_catalog.text", false},
                                                  {"u", "pg_catalog.text", false},  {"w", "pg_catalog.text", false}};
        static const uint16_t keys[1] = {C_K};
        static char *const table_names[TABLES] = {"public.t0", "public.t1"};
        for (unsigned t = 0; t < TABLES; t++) {
                out->rels[t] = (struct relation){.schema = "public",
                                                 .name = table_names[t] + 7,
                                                 .ncols = NCOLS,
                                                 .nkeys = 1,
                                                 .cols = cols,
                                                 .keys = keys,
                                                 .full = true};
                out->targets[t] = (struct target){.name = table_names[t], .multi = true};
        }
}

bool rules_at(size_t i, struct rules *out)
{
        if (i >= RULES)
                return false;
        memset(out, 0, sizeof *out);
        lay_out(out);
        out->name = list[i].name;
        out->unique = list[i].unique;
        out->generations = list[i].then[0] ? 2 : 1;
        for (unsigned t = 0; t < TABLES; t++)
                for (int gen = 0; gen < 2; gen++)
                        fill(out, t, gen, gen && list[i].then[t] ? list[i].then[t] : list[i].table[t], out->columns[t][gen]);
        return true;
}
