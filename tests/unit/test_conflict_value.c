/* Values as PostgreSQL orders, adds and prints them; which rule may work on which type. */
#include "conflict_world.h"

#include "conflict/elements.h"
#include "conflict/parts.h"

/* Each list is in the order that PostgreSQL 15 gives (`SELECT v FROM .. ORDER BY v`), equal ones joined by '='. */
static void orders_as_postgres_does(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                enum value_type type;
                const char *sorted[14];
        } t[] = {
                {"integers by value, not by text",
                 TYPE_INT,
                 {"-9223372036854775808", "-10", "-9", "0", "9", "10", "9223372036854775807"}},
                {"numeric: infinities and NaN have a place",
                 TYPE_NUMERIC,
                 {"-Infinity", "-100000000000000000000", "-1.5", "-1.25", "-0.001", "0=0.00", "0.0009", "0.001=0.0010", "1=1.0",
                  "1.01", "99999999999999999999", "Infinity", "NaN"}},
                {"bool", TYPE_BOOL, {"f", "t"}},
                {"text by bytes: capitals first, longer after its beginning",
                 TYPE_TEXT,
                 {"", " a", "B", "a", "a ", "ab", "\xc3\xa4"}},
                {"char(n): blanks at the end do not count", TYPE_BPCHAR, {"=  ", "a=a  ", "a\t "}},
                {"bytea", TYPE_BYTEA, {"\\x", "\\x00", "\\x0000", "\\x7f", "\\xff"}},
                {"uuid",
                 TYPE_UUID,
                 {"00000000-0000-0000-0000-000000000000", "7fffffff-0000-0000-0000-000000000000",
                  "ffffffff-ffff-ffff-ffff-ffffffffffff"}},
                {"dates before Christ count backwards, years have any length",
                 TYPE_DATE,
                 {"-infinity", "4713-01-01 BC", "0044-03-14 BC", "0044-03-15 BC", "0001-12-31 BC", "0001-01-01", "0999-12-31",
                  "2024-02-29", "2024-03-01", "9999-12-31", "10000-01-01", "infinity"}},
                {"timestamps with and without fraction and zone",
                 TYPE_TIMESTAMP,
                 {"-infinity", "0044-03-15 11:00:00.5+00 BC", "0044-03-15 12:00:00+00 BC", "2024-01-01 00:00:00",
                  "2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.1", "2024-01-01 00:00:00.25+00", "2024-01-01 00:00:01+00",
                  "12024-01-01 00:00:00+00", "infinity"}},
        };
        struct arena a;
        arena_init(&a);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct cell c[40];
                int rank[40], n = 0;
                for (int k = 0; k < 14 && t[i].sorted[k]; k++)
                        for (const char *s = t[i].sorted[k]; s; s = strchr(s, '=') ? strchr(s, '=') + 1 : NULL) {
                                c[n] = (struct cell){s, (uint32_t)strcspn(s, "=")};
                                rank[n++] = k;
                        }
                c[n] = (struct cell){NULL, 0};
                rank[n++] = -1;
                for (int x = 0; x < n; x++)
                        for (int y = 0; y < n; y++) {
                                int want = (rank[x] > rank[y]) - (rank[x] < rank[y]), got = value_cmp(t[i].type, c[x], c[y]);
                                if ((got > 0) - (got < 0) != want)
                                        fail_msg("%s: %s against %s: %d", t[i].why, cell_str(&a, c[x]), cell_str(&a, c[y]), got);
                        }
        }
        arena_release(&a);
}

/* SELECT base + (to - from), as PostgreSQL 15 prints it. */
static void adds_exactly(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                enum value_type type;
                const char *base, *from, *to, *want;
        } t[] = {
                {"an integer", TYPE_INT, "10", "3", "5", "12"},
                {"below zero", TYPE_INT, "1", "5", "3", "-1"},
                {"the limits of int8 are passed, not wrapped", TYPE_INT, "9223372036854775807", "0", "9223372036854775807",
                 "18446744073709551614"},
                {"and back", TYPE_INT, "-9223372036854775808", "9223372036854775807", "0", "-18446744073709551615"},
                {"money", TYPE_NUMERIC, "100.00", "20.50", "10.25", "89.75"},
                {"ten times a tenth", TYPE_NUMERIC, "0.9", "0", "0.1", "1.0"},
                {"the greatest scale of the three", TYPE_NUMERIC, "1", "0.125", "0.5", "1.375"},
                {"zeros behind the point stay", TYPE_NUMERIC, "1.50", "0.25", "0.75", "2.00"},
                {"to zero, without a sign", TYPE_NUMERIC, "-0.5", "0", "0.5", "0.0"},
                {"between zero and one", TYPE_NUMERIC, "0", "0.25", "0.3", "0.05"},
                {"below zero and above minus one", TYPE_NUMERIC, "0", "0.3", "0.25", "-0.05"},
                {"more digits than a double has", TYPE_NUMERIC, "99999999999999999999.0000000001", "0", "0.0000000001",
                 "99999999999999999999.0000000002"},
                {"carries over all of them", TYPE_NUMERIC, "99999999999999999999.9", "0", "0.1", "100000000000000000000.0"},
                {"NULL counts as 0: at first", TYPE_INT, NULL, NULL, "5", "5"},
                {"in the row", TYPE_INT, NULL, "3", "5", "2"},
                {"to NULL", TYPE_NUMERIC, "7.5", "2.5", NULL, "5.0"},
                {"all NULL stays NULL", TYPE_NUMERIC, NULL, NULL, NULL, NULL},
                {"NaN swallows", TYPE_NUMERIC, "NaN", "1", "2", "NaN"},
                {"infinity too", TYPE_NUMERIC, "Infinity", "1", "2", "Infinity"},
                {"minus infinity by subtraction", TYPE_NUMERIC, "1", "Infinity", "2", "-Infinity"},
                {"infinities of both signs", TYPE_NUMERIC, "Infinity", "Infinity", "2", "NaN"},
        };
        struct arena a;
        arena_init(&a);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct cell got = value_add_delta(t[i].type, cell(t[i].base), cell(t[i].from), cell(t[i].to), &a);
                if (!cell_equal(got, cell(t[i].want)))
                        fail_msg("%s: %s", t[i].why, cell_str(&a, got));
        }
        arena_release(&a);
}

static void scales(void **state)
{
        (void)state;
        static const struct {
                const char *value;
                uint32_t scale;
                const char *want;
        } t[] = {{"1.500", 2, "1.50"}, {"1.500", 0, "1.5"},   {"1.000", 0, "1"},  {"-3", 2, "-3.00"},
                 {"100", 0, "100"},    {"0.10", 4, "0.1000"}, {"1.25", 1, "1.25"}};
        struct arena a;
        arena_init(&a);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct cell got = scale_to(cell(t[i].value), t[i].scale, &a);
                if (!cell_equal(got, cell(t[i].want)))
                        fail_msg("%s to %u: %s", t[i].value, t[i].scale, cell_str(&a, got));
        }
        arena_release(&a);
}

static void knows_types(void **state)
{
        (void)state;
        static const struct {
                const char *type;
                bool bytewise;
                enum value_type want;
        } t[] = {
                {"pg_catalog.int4", false, TYPE_INT},        {"pg_catalog.oid", false, TYPE_INT},
                {"pg_catalog.numeric", false, TYPE_NUMERIC}, {"pg_catalog.text", true, TYPE_TEXT},
                {"pg_catalog.text", false, TYPE_OTHER},      {"pg_catalog.bpchar", true, TYPE_BPCHAR},
                {"pg_catalog._int4", false, TYPE_ARRAY},     {"public._mood", false, TYPE_ARRAY},
                {"pg_catalog._box", false, TYPE_OTHER},      {"pg_catalog.jsonb", false, TYPE_JSONB},
                {"pg_catalog.json", false, TYPE_OTHER},      {"pg_catalog.float8", false, TYPE_OTHER},
                {"public.numeric", false, TYPE_OTHER},       {"pg_catalog.timestamptz", false, TYPE_TIMESTAMP},
                {"pg_catalog.bool", false, TYPE_BOOL},       {"pg_catalog.interval", false, TYPE_OTHER},
        };
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct rule_table_column c = {"c", t[i].type, t[i].bytewise, false};
                if (value_type_of(&c) != t[i].want)
                        fail_msg("%s: %d", t[i].type, value_type_of(&c));
        }
}

static void refuses_what_cannot_converge(void **state)
{
        (void)state;
        static const struct rule_table_column cols[] = {
                {"id", "pg_catalog.int4", false, true},  {"f", "pg_catalog.float8", false, false},
                {"t", "pg_catalog.text", false, false},  {"j", "pg_catalog.json", false, false},
                {"b", "pg_catalog.jsonb", false, false}, {"n", "pg_catalog.numeric", false, false},
                {"a", "pg_catalog._text", false, false}, {"o", "pg_catalog.oid", false, false},
                {"c", "pg_catalog.bpchar", true, false}, {"p", "pg_catalog.point", false, false},
        };
        static const struct {
                const char *why;
                enum row_rule row;
                const char *by, *column;
                enum column_rule rule;
                const char *says; /* NULL: it is accepted */
        } t[] = {
                {"a sum of floats", RULE_LAST_WRITE_WINS, NULL, "f", COLUMN_DELTA, "order in which they are added"},
                {"a sum of texts", RULE_LAST_WRITE_WINS, NULL, "t", COLUMN_DELTA, "allowed: int2, int4, int8, numeric"},
                {"a sum of oids", RULE_LAST_WRITE_WINS, NULL, "o", COLUMN_DELTA, "allowed"},
                {"a sum of numerics", RULE_LAST_WRITE_WINS, NULL, "n", COLUMN_DELTA, NULL},
                {"the greatest float", RULE_GREATEST, "f", NULL, COLUMN_OF_ROW, "NaN and -0"},
                {"the greatest text of a language", RULE_GREATEST, "t", NULL, COLUMN_OF_ROW, "collation"},
                {"the least by bytes", RULE_LEAST, "c", NULL, COLUMN_OF_ROW, NULL},
                {"the greatest point", RULE_LAST_WRITE_WINS, NULL, "p", COLUMN_GREATEST, "allowed: bool"},
                {"the greatest of nothing", RULE_GREATEST, NULL, NULL, COLUMN_OF_ROW, "by is missing"},
                {"a column that is not there", RULE_GREATEST, "gone", NULL, COLUMN_OF_ROW, "no column gone"},
                {"a rule for one that is not there", RULE_LAST_WRITE_WINS, NULL, "gone", COLUMN_UNION, "no column gone"},
                {"a union of json", RULE_LAST_WRITE_WINS, NULL, "j", COLUMN_UNION, "no canonical form"},
                {"a union of jsonb", RULE_LAST_WRITE_WINS, NULL, "b", COLUMN_UNION, NULL},
                {"a union of arrays", RULE_LAST_WRITE_WINS, NULL, "a", COLUMN_UNION, NULL},
                {"fields of json", RULE_LAST_WRITE_WINS, NULL, "j", COLUMN_JSON_MERGE, "allowed: jsonb"},
                {"fields of an array", RULE_LAST_WRITE_WINS, NULL, "a", COLUMN_JSON_MERGE, "allowed: jsonb"},
                {"lines of char(n)", RULE_LAST_WRITE_WINS, NULL, "c", COLUMN_TEXT_MERGE, "allowed: text, varchar"},
                {"lines of a text of a language", RULE_LAST_WRITE_WINS, NULL, "t", COLUMN_TEXT_MERGE, NULL},
                {"a rule for the key", RULE_LAST_WRITE_WINS, NULL, "id", COLUMN_DELTA, "part of the key"},
                {"a column rule beside a function", RULE_SQL, NULL, "n", COLUMN_DELTA, "returns whole rows"},
        };
        struct arena a;
        arena_init(&a);
        struct regset regs = world_regions();
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct column_spec c = {t[i].column, t[i].rule};
                struct rule_spec spec = {
                        .row = t[i].row, .nby = t[i].by != NULL, .by = &t[i].by, .ncolumns = t[i].column != NULL, .columns = &c};
                struct rule r;
                struct err e = {.code = ST_OK};
                enum status st = rule_bind(&spec, cols, sizeof cols / sizeof *cols, &regs, &a, &r, &e);
                if ((st == ST_OK) != (t[i].says == NULL) ||
                    (t[i].says && (!strstr(e.msg, t[i].says) || strcmp(e.name, "rule_refused"))))
                        fail_msg("%s: %s", t[i].why, st == ST_OK ? "accepted" : e.msg);
        }
        arena_release(&a);
}

static void binds(void **state)
{
        (void)state;
        struct arena a;
        arena_init(&a);
        struct regset regs = world_regions();
        const char *order[] = {"us", "gone", "ap"};
        struct rule *r = bind_rule(&a, &(struct rule_spec){.row = RULE_REGION_PRIORITY, .norder = 3, .order = order}, &regs);
        assert_int_equal(r->rank[regset_find(&regs, "us", 2).i], 0);
        assert_int_equal(r->rank[regset_find(&regs, "ap", 2).i], 2);
        assert_int_equal(r->rank[regset_find(&regs, "eu", 2).i], 255);
        assert_false(r->delete_wins || r->accumulates || rule_keeps_dots(r) || rule_is_register(r));
        struct column_spec delta = {"n", COLUMN_DELTA}, set = {"s", COLUMN_UNION}, last = {"a", COLUMN_LAST_WRITE_WINS};
        r = bind_rule(&a, &(struct rule_spec){.ncolumns = 1, .columns = &delta}, &regs);
        assert_true(r->accumulates && r->delete_wins && !rule_keeps_dots(r) && !rule_is_register(r));
        r = bind_rule(&a, &(struct rule_spec){.ncolumns = 1, .columns = &set}, &regs);
        assert_true(r->accumulates && r->delete_wins && rule_keeps_dots(r));
        r = bind_rule(&a, &(struct rule_spec){.row = RULE_COLUMN_MERGE}, &regs);
        assert_true(r->accumulates && r->delete_wins && rule_keeps_dots(r));
        r = bind_rule(&a, &(struct rule_spec){.ncolumns = 1, .columns = &last}, &regs);
        assert_true(rule_is_register(r));
        r = bind_rule(&a, &(struct rule_spec){.row = RULE_MANUAL}, &regs);
        assert_false(rule_is_register(r)); /* its siblings are what people are asked about */
        arena_release(&a);
}

/* {one, other} from old, by lines ('/' stands for the end of a line) or by words. */
static void merges_texts(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                bool words;
                const char *old, *one, *other, *want; /* NULL: cannot be merged */
        } t[] = {
                {"different lines", false, "a/b/c/d/", "a/X/c/d/", "a/b/c/Y/", "a/X/c/Y/"},
                {"the same line, differently", false, "a/b/c/", "a/X/c/", "a/Y/c/", NULL},
                {"the same line, alike", false, "a/b/c/", "a/X/c/", "a/X/c/", "a/X/c/"},
                {"alike here, different there", false, "a/b/c/d/e/", "a/X/c/d/e/", "a/X/c/Y/e/", "a/X/c/Y/e/"},
                {"neighbours touch", false, "a/b/c/", "X/b/c/", "a/Y/c/", NULL},
                {"one side only", false, "a/b/", "a/b/", "a/Z/", "a/Z/"},
                {"an insertion and a deletion apart", false, "a/b/c/d/e/", "a/new/b/c/d/e/", "a/b/c/e/", "a/new/b/c/e/"},
                {"insertions at one place", false, "a/b/", "a/x/b/", "a/y/b/", NULL},
                {"insertions at both ends", false, "a/b/c/", "x/a/b/c/", "a/b/c/y/", "x/a/b/c/y/"},
                {"a deletion over a change", false, "a/b/c/d/", "a/d/", "a/b/X/d/", NULL},
                {"the last line without an end", false, "a/b/c", "X/b/c", "a/b/Y", "X/b/Y"},
                {"emptied by one, changed by the other", false, "a/b/c/", "", "a/b/X/", NULL},
                {"lines that are there twice", false, "a/a/a/b/", "a/a/a/a/b/", "a/a/a/c/", NULL},
                {"from nothing, alike", false, "", "a/", "a/", "a/"},
                {"from nothing, differently", false, "", "a/", "b/", NULL},
                {"NULL and unchanged", false, "a/", NULL, "a/", NULL},
                {"words of one line", true, "the quick brown fox", "the slow brown fox", "the quick brown cat",
                 "the slow brown cat"},
                {"one word", true, "the quick fox", "the slow fox", "the fast fox", NULL},
                {"a word more, apart", true, "a b c", "a b c d", "x a b c", "x a b c d"},
        };
        struct arena a;
        arena_init(&a);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                for (int turn = 0; turn < 2; turn++) {
                        const char *sides[] = {turn ? t[i].other : t[i].one, turn ? t[i].one : t[i].other},
                                   *texts[] = {t[i].old, sides[0], sides[1], t[i].want};
                        struct cell c[4];
                        for (int k = 0; k < 4; k++) {
                                char *s = texts[k] ? arena_strdup(&a, texts[k]) : NULL;
                                for (char *p = s; p && !t[i].words && (p = strchr(p, '/')); p++)
                                        *p = '\n';
                                c[k] = cell(s);
                        }
                        struct cell got;
                        bool merged = text_merge(c[0], &c[1], 2, t[i].words, &a, &got);
                        bool to_null = !t[i].one && !t[i].want; /* set to NULL by one side alone */
                        if (to_null ? !merged || got.data : merged != (t[i].want != NULL) || (merged && !cell_equal(got, c[3])))
                                fail_msg("%s: %s", t[i].why, merged ? cell_str(&a, got) : "not merged");
                }
        arena_release(&a);
}

static void merges_three_texts(void **state)
{
        (void)state;
        struct arena a;
        arena_init(&a);
        struct cell got, v[] = {cell("1\nb\nc\nd\ne\n"), cell("a\nb\n3\nd\ne\n"), cell("a\nb\nc\nd\n5\n")};
        assert_true(text_merge(cell("a\nb\nc\nd\ne\n"), v, 3, false, &a, &got));
        assert_true(cell_equal(got, cell("1\nb\n3\nd\n5\n")));
        v[2] = cell("a\nb\nX\nd\ne\n");
        assert_false(text_merge(cell("a\nb\nc\nd\ne\n"), v, 3, false, &a, &got));
        arena_release(&a);
}

/* Long texts: what is alike costs nothing, what is too different is not merged, and nothing takes for ever. */
static void long_texts(void **state)
{
        (void)state;
        struct arena a;
        arena_init(&a);
        enum { LINES = 20000 };
        char *s[4];
        for (int k = 0; k < 4; k++) {
                char *p = s[k] = arena_alloc(&a, LINES * 16);
                for (int i = 0; i < LINES; i++)
                        p += sprintf(p, "%d%s\n", i,
                                     (k == 1 && i == 10) || (k == 2 && i == LINES - 10) ? "x"
                                     : k == 3 && i % 2                                  ? "y"
                                                                                        : "");
        }
        struct cell got, one[] = {cell(s[1]), cell(s[2])}, other[] = {cell(s[1]), cell(s[3])};
        assert_true(text_merge(cell(s[0]), one, 2, false, &a, &got));
        assert_int_equal(got.len, strlen(s[0]) + 2);
        assert_false(text_merge(cell(s[0]), other, 2, false, &a, &got));
        arena_release(&a);
}

/* What PostgreSQL prints, taken apart and put together. */
static void takes_arrays_apart(void **state)
{
        (void)state;
        static const struct {
                const char *why;
                enum value_type type;
                const char *value, *want; /* sorted, distinct; NULL: no array */
        } t[] = {
                {"empty", TYPE_ARRAY, "{}", "{}"},
                {"sorted and distinct", TYPE_ARRAY, "{b,a,b}", "{a,b}"},
                {"NULL is an element, and not the word", TYPE_ARRAY, "{NULL,\"NULL\"}", "{\"NULL\",NULL}"},
                {"commas, braces and quotes in quotes", TYPE_ARRAY, "{\"}\",\"a,b\",\"\\\"\",\"\\\\\"}",
                 "{\"\\\"\",\"\\\\\",\"a,b\",\"}\"}"},
                {"brackets are no quotes in arrays", TYPE_ARRAY, "{a[b,a]}", "{a[b,a]}"},
                {"bounds are dropped", TYPE_ARRAY, "[0:1]={2,1}", "{1,2}"},
                {"two dimensions are no set", TYPE_ARRAY, "{{1,2},{3,4}}", NULL},
                {"jsonb", TYPE_JSONB, "[3, 1, \"a]b\", {\"k\": [1, 2]}, [], 1]", "[\"a]b\", 1, 3, [], {\"k\": [1, 2]}]"},
                {"jsonb, empty", TYPE_JSONB, "[]", "[]"},
                {"digits stay", TYPE_JSONB, "[1.000000000000000000001, 1.0, 1]", "[1, 1.0, 1.000000000000000000001]"},
                {"an object is no array", TYPE_JSONB, "{\"a\": 1}", NULL},
                {"nor is null", TYPE_JSONB, "null", NULL},
        };
        struct arena a;
        arena_init(&a);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct cells e;
                bool array = elements_split(t[i].type, cell(t[i].value), &a, &e);
                struct cell got = elements_join(t[i].type, &e, &a);
                if (array != (t[i].want != NULL) || (array && !cell_equal(got, cell(t[i].want))))
                        fail_msg("%s: %s", t[i].why, cell_str(&a, got));
        }
        struct cells m;
        /* "b" and the escaped quote are one byte, "aa" two; jsonb goes by length first */
        const char *object = "{\"\\\"\": 1, \"b\": {\"x\": \"}\"}, \"aa\": [1, 2], \"\\u0001zz\": 3}";
        assert_true(members_split(cell(object), &a, &m));
        assert_int_equal(m.n, 4);
        assert_true(cell_equal(members_join(&m, &a), cell(object)));
        assert_non_null(members_find(&m, cell("\"b\": 0")));
        assert_null(members_find(&m, cell("\"a\": 0")));
        assert_false(members_split(cell("[1]"), &a, &m));
        arena_release(&a);
}

/* Bytes that PostgreSQL would not print (a damaged record with a right checksum) are not read beyond their end. */
static void any_bytes(void **state)
{
        (void)state;
        static const char alphabet[] = "{}[]\",:\\ aN1.-+u0=9", *const words[] = {"NaN",      "Infinity", "44-3 BC",
                                                                                  "\"a\": 1", "{\"",      "[{"};
        unsigned seed = 3;
        struct arena a;
        arena_init(&a);
        for (int round = 0; round < 20000; round++) {
                struct cell c[3], out;
                for (int k = 0; k < 3; k++) {
                        const char *word = words[rand_r(&seed) % 6];
                        size_t n = (size_t)rand_r(&seed) % 24, w = rand_r(&seed) % 2 ? strlen(word) : 0;
                        char *p = malloc(n + w + (n + w == 0));
                        memcpy(p, word, w);
                        for (size_t i = 0; i < n; i++)
                                p[w + i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
                        c[k] = (struct cell){p, (uint32_t)(n + w)};
                }
                struct cells e;
                for (int type = TYPE_OTHER; type <= TYPE_BPCHAR; type++) {
                        value_cmp((enum value_type)type, c[0], c[1]);
                        if (elements_split((enum value_type)type, c[0], &a, &e))
                                elements_join((enum value_type)type, &e, &a);
                }
                if (members_split(c[1], &a, &e) && e.n)
                        members_find(&e, c[2]);
                value_add_delta(TYPE_INT, c[0], c[1], c[2], &a);
                value_add_delta(TYPE_NUMERIC, c[0], c[1], c[2], &a);
                text_merge(c[0], &c[1], 2, round % 2, &a, &out);
                for (int k = 0; k < 3; k++)
                        free((char *)(uintptr_t)c[k].data);
                arena_reset(&a);
        }
        arena_release(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(orders_as_postgres_does),
                cmocka_unit_test(adds_exactly),
                cmocka_unit_test(scales),
                cmocka_unit_test(knows_types),
                cmocka_unit_test(refuses_what_cannot_converge),
                cmocka_unit_test(binds),
                cmocka_unit_test(takes_arrays_apart),
                cmocka_unit_test(any_bytes),
                cmocka_unit_test(merges_texts),
                cmocka_unit_test(merges_three_texts),
                cmocka_unit_test(long_texts),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
