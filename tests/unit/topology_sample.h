/* topology_sample: for tests of topology/: regions to begin a file with, and a file's text read. */
#ifndef PANGEA_TESTS_TOPOLOGY_SAMPLE_H
#define PANGEA_TESTS_TOPOLOGY_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/document.h"
#include "topology/build.h"
#include "topology/topology.h"

#define US "us: {postgres: {conninfo: host=us dbname=shop}, kafka: {brokers: [us:1]}}"
#define EU "eu: {postgres: {conninfo: host=eu dbname=shop}, kafka: {brokers: [eu:1]}}"
#define AP "ap: {role: follower, postgres: {conninfo: host=ap dbname=shop}, kafka: {brokers: [ap:1]}}"
#define HEAD "version: 1\ncluster: shop\nregions:\n"
/* lines 1 to 6 */
#define THREE HEAD "  " US "\n  " EU "\n  " AP "\n"

#define HTTP_OF(r, listen) "  " r ": {postgres: {conninfo: host=" r "}, kafka: {brokers: [a:1]}, http: {listen: " listen "}}\n"
#define THREE_HTTP(us, eu, ap) HEAD HTTP_OF("us", us) HTTP_OF("eu", eu) HTTP_OF("ap", ap)

#define RULES                                                                                      \
        THREE "conflicts:\n  default: manual\n  tables:\n"                                         \
              "    public.*: {resolver: region_priority, order: [us, ap]}\n"                       \
              "    public.stock: {resolver: greatest, by: 'revision , at', delete: delete_wins}\n" \
              "    public.carts: {resolver: column_merge, columns: {z: union, a: delta}}\n"        \
              "    public.docs: {resolver: sql, function: public.f}\n    public.x: {resolver: plugin, path: /a.so}\n"

/* What the files of these tests take from the environment, and nothing that libpq would. */
static inline void topology_environment(void)
{
        setenv("PANGEA_TEST_SECRET", "geheim", 1);
        setenv("US_KAFKA_PASSWORD", "geheim", 1);
        unsetenv("PGHOST");
        unsetenv("PGPORT");
        unsetenv("PGDATABASE");
        unsetenv("PGSERVICE");
}

/* What is said about this text, all of it; *out NULL when it is refused. */
static inline char *said(const char *text, struct topology **out)
{
        struct problems p;
        struct buf b;
        problems_init(&p, "t");
        buf_init(&b, 0);
        enum status s = topology_parse("t", text, strlen(text), out, &p);
        assert_int_equal(s, p.errors ? ST_CONFIG : ST_OK);
        assert_true((s == ST_OK) == (*out != NULL));
        problems_print(&p, true, &b);
        char *copy = strdup(buf_cstr(&b));
        buf_release(&b);
        problems_release(&p);
        return copy;
}

static inline struct topology *good(const char *text)
{
        struct topology *t;
        char *got = said(text, &t);
        if (!t)
                print_error("%s", got);
        free(got);
        assert_non_null(t);
        return t;
}

#endif
