/* verify, the pure parts: what is compared between whom, which keys differ, which of them have only not arrived yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/verify.h"

/* ---- differing keys ----------------------------------------------------------------------------------------------------------------- */
/* Rows as "id=value@version", separated by blanks; "@!version": a row of the region's own. */
static struct ventries rows_of(struct arena *a, const char *text)
{
        struct ventries v = {.e = ARENA_ARRAY(a, struct ventry, strlen(text) + 1)};
        char *copy = arena_strdup(a, text), *save = NULL;
        for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
                char *value = strchr(w, '='), *version = strchr(w, '@');
                *value++ = *version++ = 0;
                v.e[v.n++] = (struct ventry){w, value, version, *version == '!'};
        }
        return v;
}

static struct vsuspects suspects_of(struct arena *a, const char *const *regions, size_t n, int64_t now_us)
{
        struct ventries v[3];
        struct vsuspects s;
        for (size_t i = 0; i < n; i++)
                v[i] = rows_of(a, regions[i]);
        vdiff_find(v, n, now_us, a, &s);
        return s;
}

static void join_ids(const struct vsuspects *s, char *out, size_t size)
{
        size_t n = 0;
        out[0] = 0;
        for (size_t i = 0; i < s->n; i++)
                n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", s->s[i].id);
}

static const struct {
        const char *why, *regions[3], *differ;
} finds[] = {
        {"all the same", {"1=a@5 2=b@6", "1=a@7 2=b@8", "1=a@9 2=b@9"}, ""},
        {"the order of reading does not count", {"2=b@1 1=a@1", "1=a@1 2=b@1", "1=a@1 2=b@1"}, ""},
        {"a value in the last region", {"1=a@1 2=b@1", "1=a@1 2=b@1", "1=a@1 2=c@1"}, "2"},
        {"a row is missing in the first", {"2=b@1", "1=a@1 2=b@1", "1=a@1 2=b@1"}, "1"},
        {"a row is missing in the last", {"1=a@1 9=z@1", "1=a@1 9=z@1", "1=a@1"}, "9"},
        {"a region has none at all", {"1=a@1 2=b@1", "", "1=a@1 2=b@1"}, "1 2"},
        {"two wrongs do not make it even", {"1=a@1 2=b@1", "1=b@1 2=a@1", "1=a@1 2=b@1"}, "1 2"},
        {"the same key twice in one region", {"1=a@1 1=a@1", "1=a@1", "1=a@1"}, "1"},
        {"doubles in another order are equal", {"1=a@1 1=b@1", "1=b@1 1=a@1", "1=a@1 1=b@1"}, ""},
        {"no rows anywhere", {"", "", ""}, ""},
        {"a prefix is another key", {"1=a@1", "10=a@1", "1=a@1"}, "1 10"},
        {"a row of one's own is on no route", {"1=a@1", "1=a@1 2=b@!1", "1=a@1 2=c@!1"}, ""},
        {"a row of one's own where the writer has one", {"1=a@1", "1=b@!1", "1=a@1"}, "1"},
        {"own here, applied there", {"", "1=a@!1", "1=a@1"}, "1"},
};

static void finds_differing_keys(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof finds / sizeof *finds; i++) {
                struct arena a;
                char got[256];
                arena_init(&a);
                struct vsuspects s = suspects_of(&a, finds[i].regions, 3, 1);
                join_ids(&s, got, sizeof got);
                if (strcmp(got, finds[i].differ) != 0)
                        fail_msg("%s: differing keys '%s', expected '%s'", finds[i].why, got, finds[i].differ);
                arena_release(&a);
        }
}

static const struct {
        const char *why, *before[2], *after[2], *left;
        int64_t since; /* of the first that is left: 1 = known since the first reading, 2 = somebody wrote it */
} narrows[] = {
        {"has arrived", {"1=a@1", "1=b@1"}, {"1=a@1", "1=a@2"}, "", 0},
        {"differs for good", {"1=a@1", "1=b@1"}, {"1=a@1", "1=b@1"}, "1", 1},
        {"written again in one region", {"1=a@1", "1=b@1"}, {"1=a@1", "1=c@2"}, "1", 2},
        {"written again with the same value", {"1=a@1", "1=b@1"}, {"1=a@1", "1=b@2"}, "1", 2},
        {"a new one was equal before", {"1=a@1", "1=a@1"}, {"1=a@1", "1=b@1"}, "", 0},
        {"missing for good", {"1=a@1", ""}, {"1=a@1", ""}, "1", 1},
        {"came, but otherwise", {"1=a@1", ""}, {"1=a@1", "1=b@3"}, "1", 2},
        {"one of three stays", {"1=a@1 2=a@1 3=a@1", ""}, {"1=a@1 2=a@1 3=a@1", "1=a@2 3=a@2"}, "2", 1},
};

static void narrows_to_what_stays(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof narrows / sizeof *narrows; i++) {
                struct arena a;
                char got[256];
                arena_init(&a);
                struct vsuspects before = suspects_of(&a, narrows[i].before, 2, 1), now = suspects_of(&a, narrows[i].after, 2, 2);
                vdiff_narrow(&before, &now);
                join_ids(&now, got, sizeof got);
                if (strcmp(got, narrows[i].left) != 0)
                        fail_msg("%s: left '%s', expected '%s'", narrows[i].why, got, narrows[i].left);
                if (now.n && now.s[0].since_us != narrows[i].since)
                        fail_msg("%s: since %lld, expected %lld", narrows[i].why, (long long)now.s[0].since_us,
                                 (long long)narrows[i].since);
                arena_release(&a);
        }
}

/* ---- --tables ------------------------------------------------------------------------------------------------------------------------ */
static const struct {
        const char *filter, *schema, *name;
        bool wanted;
} filters[] = {
        {NULL, "public", "a", true},
        {"public.a", "public", "a", true},
        {"public.a", "public", "ab", false},
        {"public.*", "public", "ab", true},
        {"shop.*,public.b", "public", "b", true},
        {"shop.*,public.b", "shop", "x", true},
        {"shop.*,public.b", "public", "a", false},
        {"*.b", "public", "b", true},
};

static void filters_tables(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
                if (vplan_wanted(filters[i].filter, filters[i].schema, filters[i].name) != filters[i].wanted)
                        fail_msg("%s on %s.%s", filters[i].filter, filters[i].schema, filters[i].name);
}

/* ---- the plan ------------------------------------------------------------------------------------------------------------------------- */
static const char topology_text[] =
        "version: 1\n"
        "cluster: shop\n"
        "regions:\n"
        "  ap: {role: follower, postgres: {conninfo: host=127.0.0.1 port=1 dbname=ap}, kafka: {brokers: [\"127.0.0.1:9\"]}}\n"
        "  eu: {role: leader, postgres: {conninfo: host=127.0.0.1 port=2 dbname=eu}, kafka: {brokers: [\"127.0.0.1:8\"]}}\n"
        "  us: {role: leader, postgres: {conninfo: host=127.0.0.1 port=3 dbname=us}, kafka: {brokers: [\"127.0.0.1:7\"]}}\n"
        "routes:\n"
        "  - tables: [public.*]\n"
        "  - {tables: [public.audit], from: [us], to: [eu], where: sev > 2, columns: [id, sev]}\n";

static struct topology *load(void)
{
        char name[] = "/tmp/test_verify_XXXXXX";
        struct topology *t = NULL;
        struct buf errors;
        int fd = mkstemp(name);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, topology_text, sizeof topology_text - 1), sizeof topology_text - 1);
        close(fd);
        buf_init(&errors, 0);
        if (topology_load(name, &t, &errors) != ST_OK)
                fail_msg("%s", buf_cstr(&errors));
        buf_release(&errors);
        unlink(name);
        return t;
}

/* A table as "schema.name: column column#place_in_key ..", unpublished with a leading '-', partitioned with a '+'. */
static struct vtable table_of(struct arena *a, const char *text)
{
        struct vtable v = {.published = text[0] != '-', .partitioned = text[0] == '+', .cols = ARENA_ARRAY(a, struct vcolumn, 16)};
        char *copy = arena_strdup(a, text + (text[0] == '-' || text[0] == '+')), *save = NULL, *word = strtok_r(copy, " ", &save);
        v.schema = strtok(word, ".:");
        v.name = strtok(NULL, ".:");
        while ((word = strtok_r(NULL, " ", &save))) {
                char *place = strchr(word, '#');
                if (place)
                        *place++ = 0;
                v.cols[v.ncols++] = (struct vcolumn){word, place ? atoi(place) : 0};
        }
        return v;
}

enum { AP, EU, US, REGIONS };
static const struct {
        const char *why, *tables[REGIONS]; /* NULL = not there */
        const char *plan;                  /* "members/present cols;keys", "" = not compared at all */
        const char *skipped;               /* part of why not */
} plans[] = {
        {"the same everywhere", {"public.t: id#1 v", "public.t: id#1 v", "public.t: id#1 v"}, "7/7 id v;id", NULL},
        {"an own column is left out", {"public.t: id#1 v", "public.t: id#1 v w", "public.t: id#1 v"}, "7/7 id v;id", NULL},
        {"a key of two, in its own order", {"public.t: a#2 b#1", "public.t: a#2 b#1", "public.t: a#2 b#1"}, "7/7 a b;b a", NULL},
        {"no key", {"public.t: a b", "public.t: a b", "public.t: a b"}, "7/7 a b;", NULL},
        {"a key column that a region lacks", {"public.t: v", "public.t: id#1 v", "public.t: id#1 v"}, "7/7 v;", NULL},
        {"missing in a region", {NULL, "public.t: id#1 v", "public.t: id#1 v"}, "7/6 id v;id", NULL},
        {"only in the follower", {"public.t: id#1 v", NULL, NULL}, "7/1 id v;id", NULL},
        {"a follower needs no publication", {"-public.t: id#1", "public.t: id#1", "public.t: id#1"}, "7/7 id;id", NULL},
        {"a writer that does not publish",
         {"public.t: id#1", "-public.t: id#1", "public.t: id#1"},
         "7/7 id;id",
         "eu does not publish"},
        {"routed columns, writer and target only",
         {"public.audit: id#1 sev x", "public.audit: id#1 sev x", "public.audit: id#1 sev x"},
         "6/6 id sev;id",
         NULL},
        {"no route", {"shop.t: id#1", "shop.t: id#1", "shop.t: id#1"}, "", NULL},
        {"nothing in common", {"public.t: a", "public.t: b", "public.t: c"}, "7/7 ;", "no column in common"},
};

static void plan_str(const struct vplan *p, char *out, size_t size)
{
        size_t n = (size_t)snprintf(out, size, "%u/%u ", p->regions, p->present);
        for (size_t i = 0; i < p->ncols; i++)
                n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", p->cols[i]);
        n += (size_t)snprintf(out + n, size - n, ";");
        for (size_t i = 0; i < p->nkeys; i++)
                n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", p->keys[i]);
}

static void plans_what_is_compared(void **state)
{
        (void)state;
        struct topology *t = load();
        for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
                struct arena a;
                struct vcatalog catalogs[REGIONS] = {0};
                struct vtable tables[REGIONS];
                struct vplan *p;
                size_t n;
                char got[256] = "";
                arena_init(&a);
                for (size_t r = 0; r < REGIONS; r++) {
                        if (!plans[i].tables[r])
                                continue;
                        tables[r] = table_of(&a, plans[i].tables[r]);
                        catalogs[r] = (struct vcatalog){1, &tables[r]};
                }
                vplan_build(t, catalogs, NULL, &a, &p, &n);
                assert_true(n <= 1);
                if (n)
                        plan_str(p, got, sizeof got);
                if (strcmp(got, plans[i].plan) != 0)
                        fail_msg("%s: plan '%s', expected '%s'", plans[i].why, got, plans[i].plan);
                const char *skipped = n && p->skipped ? p->skipped : "";
                if (!plans[i].skipped ? skipped[0] != 0 : !strstr(skipped, plans[i].skipped))
                        fail_msg("%s: skipped because '%s', expected '%s'", plans[i].why, skipped, plans[i].skipped);
                arena_release(&a);
        }
        topology_free(t);
}

static void plans_each_table_once_in_order(void **state)
{
        (void)state;
        struct topology *t = load();
        struct arena a;
        struct vplan *p;
        size_t n;
        arena_init(&a);
        struct vtable eu[] = {table_of(&a, "public.b: id#1"), table_of(&a, "public.c: id#1")};
        struct vtable us[] = {table_of(&a, "public.a: id#1"), table_of(&a, "public.c: id#1")};
        struct vcatalog catalogs[REGIONS] = {[EU] = {2, eu}, [US] = {2, us}};
        vplan_build(t, catalogs, NULL, &a, &p, &n);
        assert_int_equal(n, 3);
        assert_string_equal(p[0].name, "a");
        assert_string_equal(p[1].name, "b");
        assert_string_equal(p[2].name, "c");
        vplan_build(t, catalogs, "public.c", &a, &p, &n);
        assert_int_equal(n, 1);
        arena_release(&a);
        topology_free(t);
}

/* ---- the statements -------------------------------------------------------------------------------------------------------------------- */
static void quotes_names_and_values(void **state)
{
        (void)state;
        struct buf sql;
        const char *cols[] = {"A \"b\"", "v"}, *ids[] = {"{it's}"};
        uint32_t buckets[] = {3, 15};
        struct vplan p = {
                .schema = "Shop", .name = "o;", .ncols = 2, .nkeys = 1, .cols = cols, .keys = cols, .bits = 4, .partitioned = 2};
        buf_init(&sql, 0);
        vsql_sums(&sql, &p, (region_id){0}, true);
        assert_non_null(strstr(buf_cstr(&sql), "FROM ONLY \"Shop\".\"o;\" AS t"));
        assert_non_null(strstr(buf_cstr(&sql), "t.\"A \"\"b\"\"\"::text"));
        assert_non_null(strstr(buf_cstr(&sql), "h1 & 15"));
        buf_reset(&sql);
        vsql_sums(&sql, &p, (region_id){1}, false);
        assert_null(strstr(buf_cstr(&sql), "ONLY"));
        assert_non_null(strstr(buf_cstr(&sql), "convert_to("));
        buf_reset(&sql);
        p.where = "v > 2 OR v < 0";
        vsql_rows(&sql, &p, (region_id){1}, true, buckets, 2);
        assert_non_null(strstr(buf_cstr(&sql), "WHERE (v > 2 OR v < 0)"));
        assert_non_null(strstr(buf_cstr(&sql), "IN (3,15)"));
        buf_reset(&sql);
        vsql_values(&sql, &p, (region_id){1}, true, ids, 1);
        assert_non_null(strstr(buf_cstr(&sql), "WHERE (v > 2 OR v < 0) AND ARRAY["));
        assert_non_null(strstr(buf_cstr(&sql), "'{it''s}'"));
        buf_release(&sql);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(finds_differing_keys),
                cmocka_unit_test(narrows_to_what_stays),
                cmocka_unit_test(filters_tables),
                cmocka_unit_test(plans_what_is_compared),
                cmocka_unit_test(plans_each_table_once_in_order),
                cmocka_unit_test(quotes_names_and_values),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
