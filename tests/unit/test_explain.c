/* explain: every name of every table is found, and what was meant is guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/commands.h"
#include "daemon/doctor.h"
#include "daemon/errors.h"
#include "daemon/explain.h"
#include "topology/metrics.h"
#include "topology/spec.h"

static bool finds(const char *word, const char *kind, const char *name)
{
        struct arena a;
        const char *nearest;
        bool found = false;
        arena_init(&a);
        for (const struct explanation *x = explain(word, &a, &nearest); x; x = x->next) {
                if (!*x->text || nearest)
                        fail_msg("%s: %s has no text, or a guess beside what was found", word, x->name);
                found |= strcmp(x->kind, kind) == 0 && strcmp(x->name, name) == 0;
        }
        arena_release(&a);
        return found;
}

static void key_is_found(void *ctx, const char *path, const struct cfg_key *k)
{
        (void)ctx;
        if (!finds(path, "topology key", path) || !finds(k->name, "topology key", path))
                fail_msg("%s is not found by its path or its name", path);
}

static void every_name_is_found(void **state)
{
        (void)state;
        for (size_t i = 0; i < command_count; i++)
                if (!finds(command_table[i].name, "command", command_table[i].name))
                        fail_msg("command %s", command_table[i].name);
        for (size_t i = 0; i < error_count; i++)
                if (!finds(error_table[i].name, "named stop", error_table[i].name))
                        fail_msg("named stop %s", error_table[i].name);
        for (size_t i = 0; i < doctor_check_count; i++)
                if (!finds(doctor_checks[i].name, "check of doctor", doctor_checks[i].name))
                        fail_msg("check %s", doctor_checks[i].name);
        for (size_t i = 0; i < METRIC_COUNT; i++)
                if (!finds(metric_table[i].name, "metric", metric_table[i].name))
                        fail_msg("metric %s", metric_table[i].name);
        config_each_key(topology_keys, key_is_found, NULL);
}

static const struct {
        const char *word, *kind, *name;
} ways[] = {
        {"regions.us.role", "topology key", "regions.<name>.role"},
        {"us.role", "topology key", "regions.<name>.role"},
        {"routes[3].where", "topology key", "routes[].where"},
        {"routes.where", "topology key", "routes[].where"},
        {"watch", "option", "--watch"},
        {"--watch", "option", "--watch"},
        {"slot", "check of doctor", "slot"},
};

static void as_people_write_them(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
                if (!finds(ways[i].word, ways[i].kind, ways[i].name))
                        fail_msg("%s: %s is not found", ways[i].word, ways[i].name);
        assert_false(finds("kafka.where", "topology key", "routes[].where"));
        assert_false(finds("ole", "topology key", "regions.<name>.role"));
}

static const struct {
        const char *word, *nearest;
} guesses[] = {{"slot_lots", "slot_lost"},
               {"doctr", "doctor"},
               {"brokres", "brokers"},
               {"xyzzyplugh", NULL},
               {"", NULL},
               {".", NULL},
               {"[", NULL}};

static void what_was_meant(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof guesses / sizeof *guesses; i++) {
                struct arena a;
                const char *nearest;
                arena_init(&a);
                assert_null(explain(guesses[i].word, &a, &nearest));
                if ((nearest != NULL) != (guesses[i].nearest != NULL) || (nearest && strcmp(nearest, guesses[i].nearest) != 0))
                        fail_msg("%s: %s", guesses[i].word, nearest ? nearest : "no guess");
                arena_release(&a);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_name_is_found),
                cmocka_unit_test(as_people_write_them),
                cmocka_unit_test(what_was_meant),
        };
        return cmocka_run_group_tests_name("daemon: explain", tests, NULL, NULL);
}
