/* doctor: its checks are whole, docs/doctor.md is what they print, and clocks are judged by what is certain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/doctor.h"

static void checks_are_whole(void **state)
{
        (void)state;
        for (size_t i = 0; i < doctor_check_count; i++) {
                const struct doctor_check *c = &doctor_checks[i];
                if (!c->name || !c->line || !c->why || !c->severities || !(c->alone || c->together))
                        fail_msg("check %zu (%s) lacks something", i, c->name ? c->name : "?");
                if (doctor_check_find(c->name) != c)
                        fail_msg("two checks are named %s", c->name);
        }
        assert_null(doctor_check_find("nonsense"));
}

static void docs_are_the_table(void **state)
{
        (void)state;
        struct buf want, have;
        buf_init(&want, 0);
        buf_init(&have, 0);
        doctor_markdown(&want);
        if (getenv("UPDATE")) {
                FILE *out = fopen("docs/doctor.md", "w");
                assert_non_null(out);
                fputs(buf_cstr(&want), out);
                assert_int_equal(fclose(out), 0);
        }
        FILE *f = fopen("docs/doctor.md", "r");
        if (!f)
                fail_msg("docs/doctor.md is missing: run this test with UPDATE=1 in the root of the project");
        for (int c; (c = fgetc(f)) != EOF;)
                buf_put_u8(&have, (uint8_t)c);
        fclose(f);
        if (strcmp(buf_cstr(&want), buf_cstr(&have)) != 0)
                fail_msg("docs/doctor.md is not what daemon/doctor.c prints: run this test with UPDATE=1");
        buf_release(&want);
        buf_release(&have);
}

/* Offsets (and their doubt) of four regions' clocks, and what is said. */
static const struct {
        const char *why;
        int64_t at[3], doubt[3]; /* doubt -1: not known */
        bool said;
        enum severity severity;
        const char *text;
} clocks[] = {
        {"all right", {0, 1000, -2000}, {500, 500, 500}, false, SEVERITY_NOTE, NULL},
        {"one is slow by 2 s",
         {0, -2000000, 0},
         {500, 500, 500},
         true,
         SEVERITY_WARNING,
         "the clock of a is 2.0 s ahead of that of b"},
        {"the answer took too long to say", {0, -2000000, 0}, {1500000, 500, 1500000}, false, SEVERITY_NOTE, NULL},
        {"above max_skew",
         {0, 0, 7000000},
         {500, 500, 500},
         true,
         SEVERITY_ERROR,
         "the clock of c is 7.0 s ahead of that of a, more than clock.max_skew"},
        {"the two that are furthest apart",
         {-1500000, 0, 1500000},
         {500, 500, 500},
         true,
         SEVERITY_WARNING,
         "the clock of c is 3.0 s ahead of that of a"},
        {"one that could not be asked does not count", {0, 0, 9000000}, {500, 500, -1}, false, SEVERITY_NOTE, NULL},
};

/* Three regions that one check looks at together. */
static struct region regions[] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
static const struct topology three = {.cluster = "shop", .nregions = 3, .regions = regions, .max_skew_us = 5000000};

static void begin(struct doctor *d, struct patient p[3], const char *check)
{
        memset(p, 0, sizeof *p * 3);
        *d = (struct doctor){.t = &three, .patients = p};
        arena_init(&d->together.arena);
        d->together.check = doctor_check_find(check);
        for (int k = 0; k < 3; k++)
                p[k].region = &regions[k];
}

static void clocks_that_differ(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
                struct patient p[3];
                struct doctor d;
                begin(&d, p, "clocks");
                for (int k = 0; k < 3; k++) {
                        p[k].clock_us = clocks[i].at[k];
                        p[k].clock_uncertain_us = clocks[i].doubt[k];
                        p[k].clock_known = clocks[i].doubt[k] >= 0;
                }
                check_clocks_together(&d);
                const struct finding *f = d.together.first;
                if ((f != NULL) != clocks[i].said)
                        fail_msg("%s: said %s", clocks[i].why, f ? f->what : "nothing");
                if (f && (f->severity != clocks[i].severity || strncmp(f->what, clocks[i].text, strlen(clocks[i].text)) != 0))
                        fail_msg("%s: %s: %s", clocks[i].why, severity_name(f->severity), f->what);
                arena_release(&d.together.arena);
        }
}

/* Only 15 is here: others are seen here only. */
static const struct {
        const char *why, *version[3], *said; /* version NULL: a region that is not looked at; "": it did not answer */
} servers[] = {
        {"all of the tested major version", {"15.18 (Debian 15.18-0+deb12u1)", "15.3", "15.1"}, NULL},
        {"two major versions", {"15.18", "16.4 (Ubuntu 16.4-1)", "15.3"}, "PostgreSQL is 15 (a, c), 16 (b)"},
        {"three", {"18.0", "16.4", "17.1"}, "PostgreSQL is 18 (a), 16 (b), 17 (c)"},
        {"one that is not tested", {"17.2", "17.4", "17.2"}, "PostgreSQL is 17 (a, b, c); tested is 15"},
        {"15 is not 150", {"150.1", "150.1", "150.1"}, "PostgreSQL is 150 (a, b, c); tested is 15"},
        {"who did not answer is not counted", {"15.1", "", "15.1"}, NULL},
        {"nor who was not asked", {NULL, "16.1", NULL}, "PostgreSQL is 16 (b); tested is 15"},
        {"nobody answered", {"", "", ""}, NULL},
};

static void servers_that_differ(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
                struct patient p[3];
                struct doctor d;
                begin(&d, p, "server_versions");
                for (int k = 0; k < 3; k++) {
                        if (!servers[i].version[k])
                                p[k].region = NULL;
                        snprintf(p[k].server_version, sizeof p[k].server_version, "%s",
                                 servers[i].version[k] ? servers[i].version[k] : "");
                }
                check_server_versions(&d);
                const struct finding *f = d.together.first;
                const char *said = f ? f->what : "nothing", *want = servers[i].said ? servers[i].said : "nothing";
                if (strcmp(said, want) != 0 || (f && f->severity != SEVERITY_NOTE))
                        fail_msg("%s: said %s, want %s", servers[i].why, said, want);
                arena_release(&d.together.arena);
        }
}

static const struct {
        const char *why, *keys[2], *values[2], *is;
} codecs[] = {
        {"what nobody said", {0}, {0}, "lz4"},
        {"one of its names", {"compression.type"}, {"zstd"}, "zstd"},
        {"the other", {"compression.codec", "linger.ms"}, {"none", "1"}, "none"},
};

static void how_it_compresses(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
                struct kafka_conf c = {.prop_keys = codecs[i].keys, .prop_values = codecs[i].values};
                while (c.nprops < 2 && codecs[i].keys[c.nprops])
                        c.nprops++;
                if (strcmp(kafka_compression(&c), codecs[i].is) != 0)
                        fail_msg("%s: %s", codecs[i].why, kafka_compression(&c));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(checks_are_whole),    cmocka_unit_test(docs_are_the_table), cmocka_unit_test(clocks_that_differ),
                cmocka_unit_test(servers_that_differ), cmocka_unit_test(how_it_compresses),
        };
        return cmocka_run_group_tests_name("daemon: doctor", tests, NULL, NULL);
}
