/* topology: what the daemons ask it: names of what is made, who reads which log where, routes, who applies what, rules of tables. */
#include "tests/unit/topology_sample.h"

static void names_of_what_is_made(void **state)
{
        (void)state;
        struct topology *t = good(THREE);
        char b[80];
        region_id eu = topology_region(t, "eu")->id, us = topology_region(t, "us")->id;
        assert_string_equal(topology_topic(t, eu, b, sizeof b), "shop.eu.log");
        assert_string_equal(topology_slot(t, eu, b, sizeof b), "pangea_shop_eu");
        assert_string_equal(topology_publication(t, eu, b, sizeof b), "pangea_shop_eu");
        assert_string_equal(topology_origin(t, eu, us, b, sizeof b), "pangea_shop_eu_us");
        topology_free(t);
}

static void who_reads_which_log_where(void **state)
{
        (void)state;
        struct topology *t =
                good(THREE "links: [{log: us, at: eu, mirror: true}, {log: us, at: ap, via: eu}, {log: ap, at: us, topic: x.y},"
                           " {log: ap, at: eu, via: us}]\n");
        static const struct {
                const char *why, *log, *at, *kafka, *topic;
                bool mirrors;
        } want[] = {
                {"without a link", "eu", "us", "eu", "shop.eu.log", false},
                {"the own log", "us", "us", "us", "shop.us.log", false},
                {"a mirror", "us", "eu", "eu", "shop.us.log", true},
                {"via a mirror", "us", "ap", "eu", "shop.us.log", false},
                {"a copy of another name", "ap", "us", "us", "x.y", false},
                {"via a copy of another name", "ap", "eu", "us", "x.y", false},
        };
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
                char topic[256];
                region_id log = topology_region(t, want[i].log)->id, at = topology_region(t, want[i].at)->id;
                const struct region *place = topology_log_place(t, log, at, topic, sizeof topic);
                if (strcmp(place->name, want[i].kafka) != 0 || strcmp(topic, want[i].topic) != 0 ||
                    topology_mirrors(t, log, at) != want[i].mirrors)
                        fail_msg("%s: %s in the Kafka of %s", want[i].why, topic, place->name);
        }
        topology_free(t);
}

static void the_right_route_wins(void **state)
{
        (void)state;
        struct topology *t = good(THREE "routes:\n"                                               /* 7 */
                                        "- tables: [public.exact]\n"                              /* 8 */
                                        "- tables: [public.*, 'My*.*']\n"                         /* 9 */
                                        "- {tables: [public.log_*, s.t], from: [us], to: [eu]}\n" /* 10 */
                                        "- {tables: ['\"a.b\".\"c*\"', public.log_exact]}\n");    /* 11 */
        static const struct {
                const char *why, *schema, *name;
                int line; /* 0: none */
        } want[] = {
                {"a literal", "public", "exact", 8},
                {"a wildcard", "public", "other", 9},
                {"the last wildcard that matches", "public", "log_x", 10},
                {"a literal before a wildcard, wherever it stands", "public", "log_exact", 11},
                {"a star matches nothing too", "public", "log_", 10},
                {"a dot in quotes", "a.b", "c*", 11},
                {"a star in quotes is a star", "a.b", "cx", 0},
                {"case counts", "Public", "other", 0},
                {"a star in the schema", "MySchema", "x", 9},
                {"no route names it", "s", "u", 0},
                {"never PostgreSQL's own", "pg_catalog", "pg_class", 0},
                {"never Pangea's own", "pangea", "meta", 0},
        };
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
                const struct route *r = topology_route(t, want[i].schema, want[i].name);
                if ((r ? r->line : 0) != want[i].line)
                        fail_msg("%s: %s.%s has the route of line %d, not %d", want[i].why, want[i].schema, want[i].name,
                                 r ? r->line : 0, want[i].line);
        }
        topology_free(t);
}

static void the_default_route_takes_all_but_the_catalogs(void **state)
{
        (void)state;
        struct topology *t = good(THREE);
        assert_non_null(topology_route(t, "any", "Table"));
        assert_null(topology_route(t, "pangea", "meta"));
        assert_null(topology_route(t, "pg_toast", "x"));
        assert_null(topology_route(t, "information_schema", "x"));
        topology_free(t);
}

static void who_applies_what(void **state)
{
        (void)state;
        struct topology *t = good(THREE "routes:\n- tables: [public.*]\n- {tables: [public.audit], from: [us], to: [eu]}\n");
        region_id ap = topology_region(t, "ap")->id, eu = topology_region(t, "eu")->id, us = topology_region(t, "us")->id;
        const struct {
                const char *name;
                region_id from, to;
                bool want;
        } c[] = {{"a", us, eu, true},      {"a", eu, us, true},      {"a", us, ap, true},
                 {"a", ap, us, false},     {"a", us, us, false},     {"audit", us, eu, true},
                 {"audit", us, ap, false}, {"audit", eu, us, false}, {"a", REGION_NONE, us, false}};
        for (size_t i = 0; i < sizeof c / sizeof *c; i++)
                if (topology_applies(t, "public", c[i].name, c[i].from, c[i].to) != c[i].want)
                        fail_msg("%s from %d to %d", c[i].name, c[i].from.i, c[i].to.i);
        assert_false(topology_applies(t, "other", "a", us, eu));
        assert_true(topology_multi_writer(t, "public", "a"));
        assert_false(topology_multi_writer(t, "public", "audit"));
        assert_false(topology_multi_writer(t, "other", "a"));
        assert_int_equal(route_writers(t, topology_route(t, "public", "audit")), 1 << us.i);
        assert_int_equal(route_writers(t, topology_route(t, "public", "a")), 1 << us.i | 1 << eu.i);
        topology_free(t);
}

static void globs(void **state)
{
        (void)state;
        static const struct {
                const char *glob, *text;
                bool want;
        } t[] = {{"*", "", true},           {"*", "abc", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false},
                 {"*b*", "abc", true},      {"a", "", false},   {"", "", true},        {"", "a", false},
                 {"a*b*c", "axbxbc", true}, {"a**", "a", true}, {"*ab", "aab", true},  {"*aab", "ab", false}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                if (glob_match(t[i].glob, t[i].text) != t[i].want)
                        fail_msg("%s against %s", t[i].glob, t[i].text);
}

static void the_right_rule_wins(void **state)
{
        (void)state;
        struct topology *t = good(RULES), *other = good(THREE "conflicts: {tables: {public.a: {}}}\n");
        const struct rule_spec *stock = topology_rule(t, "public", "stock"), *carts = topology_rule(t, "public", "carts");
        struct buf doc;
        assert_int_equal(topology_rule(t, "other", "a")->row, RULE_MANUAL);
        assert_int_equal(topology_rule(t, "public", "a")->row, RULE_REGION_PRIORITY);
        assert_string_equal(topology_rule(t, "public", "a")->order[1], "ap");
        assert_int_equal(stock->nby, 2);
        assert_string_equal(stock->by[0], "revision");
        assert_string_equal(stock->by[1], "at");
        assert_true(stock->delete_wins && carts->delete_wins && rule_spec_accumulates(carts));
        assert_false(topology_rule(t, "public", "a")->delete_wins || rule_spec_accumulates(stock));
        assert_true(rule_spec_needs_full(stock) && !rule_spec_needs_full(&t->rules.standard));
        assert_false(rule_spec_needs_full(topology_rule(other, "public", "a")));
        buf_init(&doc, 0);
        rulebook_json(&t->rules, &doc);
        assert_string_equal(
                buf_cstr(&doc),
                "{\"default\":{\"resolver\":\"manual\"},\"tables\":["
                "{\"table\":\"public.*\",\"rule\":{\"resolver\":\"region_priority\",\"order\":[\"us\",\"ap\"]}},"
                "{\"table\":\"public.stock\",\"rule\":{\"resolver\":\"greatest\",\"by\":[\"revision\",\"at\"],\"delete\":"
                "\"delete_wins\"}},{\"table\":\"public.carts\",\"rule\":{\"resolver\":\"column_merge\",\"delete\":\"delete_wins\","
                "\"columns\":{\"a\":\"delta\",\"z\":\"union\"}}},"
                "{\"table\":\"public.docs\",\"rule\":{\"resolver\":\"sql\",\"function\":\"public.f\"}},"
                "{\"table\":\"public.x\",\"rule\":{\"resolver\":\"plugin\",\"path\":\"/a.so\"}}]}");
        assert_true(rule_spec_equal(stock, stock) && !rule_spec_equal(stock, carts));
        struct rulebook again;
        struct arena arena;
        struct err e;
        struct buf twice;
        arena_init(&arena);
        buf_init(&twice, 0);
        assert_int_equal(rulebook_parse(buf_cstr(&doc), doc.len, &arena, &again, &e), ST_OK);
        rulebook_json(&again, &twice);
        assert_string_equal(buf_cstr(&doc), buf_cstr(&twice));
        assert_string_equal(rulebook_rule(&again, "public", "stock")->by[1], "at");
        assert_int_equal(rulebook_parse("{}", 2, &arena, &again, &e), ST_DATA);
        assert_int_equal(rulebook_parse("{\"default\":{\"resolver\":\"odd\"},\"tables\":[]}", 45, &arena, &again, &e), ST_DATA);
        assert_true(rulebook_plain(&other->rules) && !rulebook_plain(&t->rules));
        assert_null(rulebook_hard_change(&t->rules, &t->rules, &arena));
        assert_string_equal(rulebook_hard_change(&other->rules, &t->rules, &arena), "public.stock");
        assert_string_equal(rulebook_hard_change(&t->rules, &other->rules, &arena), "public.stock");
        buf_release(&twice);
        arena_release(&arena);
        buf_release(&doc);
        topology_free(t);
        topology_free(other);
}

int main(void)
{
        topology_environment();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_of_what_is_made), cmocka_unit_test(who_reads_which_log_where),
                cmocka_unit_test(the_right_route_wins),  cmocka_unit_test(the_default_route_takes_all_but_the_catalogs),
                cmocka_unit_test(who_applies_what),      cmocka_unit_test(globs),
                cmocka_unit_test(the_right_rule_wins),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
