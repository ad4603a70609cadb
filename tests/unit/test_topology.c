/* topology: what is in the file arrives, what is printed reads the same and shows no secret, the documentation is the table, and no file brings it
 * down. */
#include "tests/unit/topology_sample.h"

static void everything_of_the_file_arrives(void **state)
{
        (void)state;
        struct topology *t = good(
                HEAD
                "  us: {role: leader, postgres: {conninfo: 'host=us dbname=${PANGEA_TEST_SECRET}', password_file: /run/us},"
                " kafka: {brokers: ['a:1', b], properties: {socket.timeout.ms: 1234, security.protocol: SSL}}}\n"
                "  " AP "\n"
                "routes:\n- {tables: [public.a, 's*.\"x.y\"'], from: [us], to: [ap], where: id > 1, columns: [id, n], insert_only: true}\n"
                "conflicts: {default: last_write_wins, keep: 1d}\nclock: {max_skew: 7s}\ngroup: {max_rows: 5, max_bytes: 6kB}\n"
                "log: {replication: 4, min_insync: 3, retention: 2h}\ndrain_timeout: 3s\n");
        assert_string_equal(t->file, "t");
        assert_string_equal(t->cluster, "shop");
        assert_int_equal(t->nregions, 2);
        assert_string_equal(t->regions[0].name, "ap"); /* ids are the order of the names */
        assert_int_equal(t->regions[0].role, ROLE_FOLLOWER);
        const struct region *us = topology_region(t, "us");
        assert_int_equal(us->id.i, 1);
        assert_int_equal(us->role, ROLE_LEADER);
        assert_string_equal(us->conninfo, "host=us dbname=geheim");
        assert_string_equal(us->password_file, "/run/us");
        assert_string_equal(us->kafka.brokers, "a:1,b");
        assert_int_equal(us->kafka.nprops, 2);
        assert_string_equal(us->kafka.prop_keys[0], "socket.timeout.ms");
        assert_string_equal(us->kafka.prop_values[0], "1234");
        assert_null(topology_region(t, "eu"));

        const struct route *r = &t->routes[0];
        assert_int_equal(t->nroutes, 1);
        assert_false(t->default_routes);
        assert_int_equal(r->ntables, 2);
        assert_string_equal(r->tables[1].schema, "s*");
        assert_string_equal(r->tables[1].name, "x.y");
        assert_true(r->tables[1].wildcard && !r->tables[0].wildcard);
        assert_int_equal(r->from, 2);
        assert_int_equal(r->to, 1);
        assert_string_equal(r->where, "id > 1");
        assert_int_equal(r->ncolumns, 2);
        assert_string_equal(r->columns[1], "n");
        assert_true(r->insert_only);
        assert_int_equal(r->line, 7);

        assert_int_equal(t->conflict_keep_us, INT64_C(86400000000));
        assert_int_equal(t->max_skew_us, 7000000);
        assert_int_equal(t->group_max_rows, 5);
        assert_int_equal(t->group_max_bytes, 6144);
        assert_int_equal(t->log_replication, 4);
        assert_int_equal(t->log_min_insync, 3);
        assert_int_equal(t->log_retention_us, INT64_C(7200000000));
        assert_int_equal(t->drain_timeout_us, 3000000);
        topology_free(t);
}

static void defaults_are_those_of_the_design(void **state)
{
        (void)state;
        struct topology *t = good(THREE);
        assert_true(t->default_routes);
        assert_int_equal(t->nroutes, 1);
        assert_int_equal(t->routes[0].from, 6);
        assert_int_equal(t->routes[0].to, 7);
        assert_int_equal(topology_region(t, "us")->role, ROLE_LEADER);
        assert_int_equal(t->conflict_keep_us, INT64_C(90) * 86400 * 1000000);
        assert_int_equal(t->max_skew_us, 300000000);
        assert_int_equal(t->group_max_rows, 1000);
        assert_int_equal(t->group_max_bytes, 900 * 1024);
        assert_int_equal(t->log_replication, 3);
        assert_int_equal(t->log_min_insync, 2);
        assert_int_equal(t->log_retention_us, INT64_C(7) * 86400 * 1000000);
        assert_int_equal(t->drain_timeout_us, 10000000);
        topology_free(t);
}

/* ---- printing ----------------------------------------------------------------------------------------------------------------- */

static char *printed(const struct topology *t, bool json)
{
        struct buf b;
        buf_init(&b, 0);
        if (json)
                topology_print_json(t, &b);
        else
                topology_print(t, &b);
        char *copy = strdup(buf_cstr(&b));
        buf_release(&b);
        return copy;
}

#define ODD                                                                                                                                                                              \
        HEAD "  us: {postgres: {wait_for_standbys: [a, 'b: c'], conninfo: \"host=us dbname='my shop' user=u\"}, kafka: {brokers: ['[::1]:9'], properties: {client.rack: 'a: \"b\"'}}}\n" \
             "  eu: {postgres: {conninfo: host=eu}, kafka: {brokers: [e]}}\n"                                                                                                            \
             "routes: [{tables: ['*.*']}, {tables: ['a.\"b.c\"'], from: [us], to: [eu], where: \"x = '$${A}'\", columns: ['yes', 'a b']}]\n"

static void what_is_printed_reads_the_same(void **state)
{
        (void)state;
        static const char *const texts[] = {THREE, ODD, RULES,
                                            THREE_HTTP("127.0.0.1:1", "localhost:2", "0.0.0.0:3, rows: true, url: 'https://a:4/'")};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                struct topology *t = good(texts[i]);
                char *first = printed(t, false);
                struct topology *again = good(first);
                char *second = printed(again, false);
                assert_string_equal(first, second);
                free(first);
                free(second);
                topology_free(t);
                topology_free(again);
        }
}

static void the_whole_print(void **state)
{
        (void)state;
        struct topology *t = good(HEAD "  " US "\nlog: {replication: 1, min_insync: 1}\n");
        char *yaml = printed(t, false), *json = printed(t, true);
        assert_string_equal(
                yaml,
                "version: 1\ncluster: shop\nregions:\n  us:\n    role: leader\n    postgres:\n      conninfo: host=us dbname=shop\n"
                "    kafka:\n      brokers: [us:1]\nroutes:\n  - tables: [\"*.*\"]\n    from: [us]\n    to: [us]\n"
                "    insert_only: false\nconflicts:\n  default: last_write_wins\n  keep: 90d\nclock:\n  max_skew: 5min\n"
                "group:\n  max_rows: 1000\n  max_bytes: 900kB\nlog:\n  replication: 1\n  min_insync: 1\n  retention: 7d\n"
                "drain_timeout: 10s\n");
        assert_string_equal(
                json,
                "{\"version\":1,\"cluster\":\"shop\",\"regions\":{\"us\":{\"role\":\"leader\",\"postgres\":{\"conninfo\":\"host=us "
                "dbname=shop\"},\"kafka\":{\"brokers\":[\"us:1\"]}}},\"routes\":[{\"tables\":[\"*.*\"],\"from\":[\"us\"],\"to\":[\"us\"],"
                "\"insert_only\":false}],\"conflicts\":{\"default\":\"last_write_wins\",\"keep\":\"90d\"},\"clock\":{\"max_skew\":"
                "\"5min\"},\"group\":{\"max_rows\":1000,\"max_bytes\":\"900kB\"},\"log\":{\"replication\":1,\"min_insync\":1,"
                "\"retention\":\"7d\"},\"drain_timeout\":\"10s\"}");
        free(yaml);
        free(json);
        topology_free(t);
}

static void no_secret_is_printed(void **state)
{
        (void)state;
        static const char *const conninfos[] = {
                "host=us password=geheim dbname=x",    "host=us password='a geheim \\'b' dbname=x",
                "postgresql://u:geheim@us/x",          "postgresql://us/x?password=geheim",
                "host=us sslpassword=geheim dbname=x", "host=us dbname=x password=${PANGEA_TEST_SECRET}",
        };
        for (size_t i = 0; i < sizeof conninfos / sizeof *conninfos; i++) {
                char text[800];
                snprintf(
                        text, sizeof text,
                        HEAD
                        "  us: {postgres: {conninfo: \"%s\"}, kafka: {brokers: [a], properties: {sasl.password: geheim, ssl.key.password: geheim, "
                        "sasl.oauthbearer.config: geheim, sasl.username: bob}}}\n",
                        i == 1 ? "host=us password='a geheim' dbname=x" : conninfos[i]);
                struct topology *t = good(text);
                for (int json = 0; json < 2; json++) {
                        char *got = printed(t, json);
                        if (strstr(got, "geheim") || !strstr(got, "password=****") || !strstr(got, "bob"))
                                fail_msg("%s: %s", conninfos[i], got);
                        free(got);
                }
                topology_free(t);
        }
}

/* ---- files -------------------------------------------------------------------------------------------------------------------- */

static void put_file(const char *name, const char *text)
{
        FILE *f = fopen(name, "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
}

static void secrets_come_from_files_beside_the_topology(void **state)
{
        (void)state;
        char dir[] = "/tmp/pangea-test-XXXXXX", name[100], *password;
        struct buf errors;
        struct topology *t;
        struct err e;
        assert_non_null(mkdtemp(dir));
        buf_init(&errors, 0);
        snprintf(name, sizeof name, "%s/secret", dir);
        put_file(name, "geh eim\n");
        snprintf(name, sizeof name, "%s/t.yaml", dir);
        put_file(name, HEAD "  us: {postgres: {conninfo: host=us, password_file: secret},"
                            " kafka: {brokers: [a], properties: {sasl.password_file: secret}}}\n"
                            "  eu: {postgres: {conninfo: host=eu, password_file: nowhere}, kafka: {brokers: [a]}}\n"
                            "  ap: {postgres: {conninfo: host=ap}, kafka: {brokers: [a]}}\n");
        assert_int_equal(topology_load(name, &t, &errors), ST_OK);
        assert_string_equal(buf_cstr(&errors), "");
        const struct region *us = topology_region(t, "us");
        assert_string_equal(us->kafka.prop_keys[0], "sasl.password");
        assert_string_equal(us->kafka.prop_values[0], "geh eim");
        assert_int_equal(region_password(us, &password, &e), ST_OK);
        assert_string_equal(password, "geh eim");
        free(password);
        assert_int_equal(region_password(topology_region(t, "ap"), &password, &e), ST_OK);
        assert_null(password);
        assert_int_equal(region_password(topology_region(t, "eu"), &password, &e), ST_CONFIG);
        assert_non_null(strstr(e.msg, "regions.eu.postgres.password_file: "));
        assert_non_null(strstr(e.msg, "/nowhere: cannot be opened"));
        topology_free(t);

        snprintf(name, sizeof name, "%s/secret", dir);
        put_file(name, "\n");
        snprintf(name, sizeof name, "%s/t.yaml", dir);
        assert_int_equal(topology_load(name, &t, &errors), ST_CONFIG);
        assert_null(t);
        assert_non_null(strstr(buf_cstr(&errors), "is empty or holds a 0 byte"));
        unlink(name);
        snprintf(name, sizeof name, "%s/secret", dir);
        unlink(name);
        rmdir(dir);
        buf_release(&errors);
}

static void the_examples_are_accepted(void **state)
{
        (void)state;
        static const char *const files[] = {"deploy/examples/three-regions.yaml", "deploy/examples/one-machine.yaml"};
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
                struct buf errors;
                struct topology *t;
                buf_init(&errors, 0);
                if (topology_load(files[i], &t, &errors) != ST_OK)
                        fail_msg("%s", buf_cstr(&errors));
                topology_free(t);
                buf_release(&errors);
        }
}

static void the_documentation_is_the_table(void **state)
{
        (void)state;
        struct buf want, got;
        struct problems p;
        buf_init(&want, 0);
        buf_init(&got, 0);
        problems_init(&p, "docs/topology.md");
        topology_print_docs(&want);
        if (getenv("UPDATE"))
                put_file("docs/topology.md", buf_cstr(&want));
        if (!document_read("docs/topology.md", &got, &p))
                fail_msg("docs/topology.md cannot be read: run the test from the project's root");
        if (strcmp(buf_cstr(&want), buf_cstr(&got)) != 0)
                fail_msg("docs/topology.md is not what topology/spec.c says; UPDATE=1 rewrites it");
        problems_release(&p);
        buf_release(&want);
        buf_release(&got);
}

/* ---- fuzz --------------------------------------------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *seed)
{
        *seed = *seed * 1664525 + 1013904223;
        return *seed >> 8;
}

static void mutate(char *text, size_t *len, size_t max, uint32_t *seed)
{
        static const char *const pieces[] = {"*",           "&x ",   "*x",
                                             "[",           "]",     "{",
                                             "}",           ": ",    "\n",
                                             "  ",          "- ",    "\"",
                                             "'",           "${",    "}",
                                             "$${A}",       "\t",    "!!str ",
                                             "?",           "|\n",   ">",
                                             "#",           "---\n", "...\n",
                                             "%YAML 1.1\n", "\xff",  "\xe2\x82\xac",
                                             "~",           "-1",    "99999999999999999999",
                                             "\\0",         "<<: ",  "us",
                                             ".",           ","};
        size_t at = next_random(seed) % (*len + 1);
        const char *piece = pieces[next_random(seed) % (sizeof pieces / sizeof *pieces)];
        size_t n = strlen(piece), cut = next_random(seed) % 12;
        switch (next_random(seed) % 3) {
        case 0: /* cut some bytes out */
                cut = cut > *len - at ? *len - at : cut;
                memmove(text + at, text + at + cut, *len - at - cut);
                *len -= cut;
                break;
        case 1: /* put a piece in */
                if (*len + n >= max)
                        break;
                memmove(text + at + n, text + at, *len - at);
                memcpy(text + at, piece, n);
                *len += n;
                break;
        case 2: /* any byte */
                if (at < *len)
                        text[at] = (char)next_random(seed);
                break;
        }
}

static void no_file_brings_it_down(void **state)
{
        (void)state;
        static const char base[] = THREE
                "routes:\n- tables: [public.*, '*.*']\n- {tables: [public.audit], from: [us], to: [eu], where: \"a > '${HOME}'\","
                " columns: [id, a]}\nconflicts: {default: last_write_wins, keep: 90d}\nclock: {max_skew: 5min}\n"
                "group: {max_rows: 1000, max_bytes: 900kB}\nlog: {replication: 3, min_insync: 2}\ndrain_timeout: 10s\n";
        uint32_t seed = 7;
        int accepted = 0;
        for (int round = 0; round < 4000; round++) {
                char text[4096];
                size_t len = sizeof base - 1;
                memcpy(text, base, len);
                for (uint32_t n = 1 + next_random(&seed) % 8; n > 0; n--)
                        mutate(text, &len, sizeof text, &seed);
                struct problems p;
                struct topology *t;
                problems_init(&p, "t");
                enum status s = topology_parse("t", text, len, &t, &p);
                assert_true(s == ST_OK || (s == ST_CONFIG && p.n > 0 && !t));
                if (t) {
                        free(printed(t, false));
                        accepted++;
                }
                topology_free(t);
                problems_release(&p);
        }
        assert_in_range(accepted, 1, 3999); /* else the mutations are too tame, or too wild */
}

int main(void)
{
        topology_environment();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(everything_of_the_file_arrives), cmocka_unit_test(defaults_are_those_of_the_design),
                cmocka_unit_test(what_is_printed_reads_the_same), cmocka_unit_test(the_whole_print),
                cmocka_unit_test(no_secret_is_printed),           cmocka_unit_test(secrets_come_from_files_beside_the_topology),
                cmocka_unit_test(the_examples_are_accepted),      cmocka_unit_test(the_documentation_is_the_table),
                cmocka_unit_test(no_file_brings_it_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
