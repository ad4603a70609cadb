/* status: what counts as degraded, and what is said about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/status.h"

#define RUNNING "{\"state\": \"running\", \"origins\": [{\"origin\": \"us\", \"state\": \"running\"}]}"

static const struct {
        const char *why, *capture, *apply; /* documents; NULL = none */
        double age_s;
        enum role role;
        const char *unreachable;
        bool no_init;
        const char *says; /* part of the problems, NULL = not degraded */
} cases[] = {
        {"all runs", RUNNING, RUNNING, 0.5, ROLE_LEADER, NULL, false, NULL},
        {"a follower has no capture", NULL, RUNNING, 0.5, ROLE_FOLLOWER, NULL, false, NULL},
        {"a leader without capture", NULL, RUNNING, 0.5, ROLE_LEADER, NULL, false, "eu: no capture daemon, and none was heard of"},
        {"silence is not running", RUNNING, RUNNING, 12, ROLE_LEADER, NULL, false, "no apply daemon: last heard 12 s ago"},
        {"just in time", RUNNING, RUNNING, 4.9, ROLE_LEADER, NULL, false, NULL},
        {"unreachable", NULL, NULL, 0, ROLE_LEADER, "connection refused", false,
         "eu: database does not answer: connection refused"},
        {"not initialised", NULL, NULL, 0, ROLE_LEADER, NULL, true, "pangea init --region eu"},
        {"capture stopped by name",
         "{\"state\": \"stopped\", \"error\": \"slot_missing\", \"why\": \"the slot is gone\", \"todo\": \"mend it\"}", RUNNING,
         0.1, ROLE_LEADER, NULL, false, "eu: capture: stopped (slot_missing): the slot is gone. To do: mend it"},
        {"a stop is told however long ago it was",
         "{\"state\": \"stopped\", \"error\": \"slot_missing\", \"why\": \"the slot is gone\", \"todo\": \"mend it\"}", RUNNING,
         600, ROLE_LEADER, NULL, false, "eu: capture: stopped (slot_missing): the slot is gone. To do: mend it"},
        {"who was asked to stop is not there", "{\"state\": \"stopped\", \"error\": null, \"why\": \"asked to stop\"}", RUNNING,
         600, ROLE_LEADER, NULL, false, "no capture daemon: last heard 10 min ago"},
        {"one origin waits", RUNNING,
         "{\"state\": \"running\", \"origins\": [{\"origin\": \"us\", \"state\": \"waiting\", \"waits_for\": \"column x\"}]}", 0.1,
         ROLE_LEADER, NULL, false, "us -> eu: waiting: column x"},
        {"a table that is left out",
         "{\"state\": \"running\", \"tables_waiting\": [{\"table\": \"public.t\", \"why\": \"no key\", \"todo\": \"add one\"}]}",
         RUNNING, 0.1, ROLE_LEADER, NULL, false, "eu: table public.t is not replicated: no key. To do: add one"},
        {"catching up is no fault", RUNNING, "{\"state\": \"catching up\", \"origins\": []}", 0.1, ROLE_LEADER, NULL, false, NULL},
        {"a log is kept for a region that is behind", RUNNING,
         "{\"state\": \"running\", \"origins\": [], \"own_log\": {\"kept_for\": [\"ap\"]}}", 0.1, ROLE_LEADER, NULL, false,
         "eu: its log grows: records older than log.retention stay for ap"},
        {"an own log that does not go on", RUNNING,
         "{\"state\": \"running\", \"origins\": [], \"own_log\": {\"state\": \"waiting\", \"why\": \"capture is away\"}}", 0.1,
         ROLE_LEADER, NULL, false, "eu: its own log, held against what the others wrote: waiting: capture is away"},
        {"commit timestamps that may be erased soon", RUNNING,
         "{\"state\": \"running\", \"origins\": [], \"commit_timestamps\": {\"state\": \"near\", \"since\": \"2026-01-01T00:00:00.000Z\", "
         "\"why\": \"ap is away\", \"todo\": \"let ap catch up\"}}",
         0.1, ROLE_LEADER, NULL, false, "ap is away. To do: let ap catch up"},
        {"commit timestamps that are safe", RUNNING,
         "{\"state\": \"running\", \"origins\": [], \"commit_timestamps\": {\"state\": \"safe\", \"why\": null}}", 0.1, ROLE_LEADER,
         NULL, false, NULL},
        {"a document without a state", "{}", RUNNING, 0.1, ROLE_LEADER, NULL, false, "eu: capture: "},
};

static void names_what_is_wrong(void **state)
{
        (void)state;
        struct region region = {.name = "eu"};
        struct topology t = {.cluster = "shop", .nregions = 1, .regions = &region};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct buf problems;
                buf_init(&problems, 0);
                struct status_region r = {
                        .region = &region, .initialised = !cases[i].no_init, .age_s = {cases[i].age_s, cases[i].age_s}};
                struct status_view v = {.topology = &t, .regions = &r, .problems = &problems};
                region.role = cases[i].role;
                if (cases[i].unreachable)
                        snprintf(r.err.msg, sizeof r.err.msg, "%s", cases[i].unreachable);
                r.docs[STATUS_CAPTURE] = cases[i].capture ? json_loads(cases[i].capture, 0, NULL) : NULL;
                r.docs[STATUS_APPLY] = cases[i].apply ? json_loads(cases[i].apply, 0, NULL) : NULL;
                status_problems(&v);
                const char *says = buf_cstr(&problems);
                if (v.degraded != (cases[i].says != NULL) || (cases[i].says && !strstr(says, cases[i].says)))
                        fail_msg("%s: degraded %d, says '%s', expected '%s'", cases[i].why, v.degraded, says,
                                 cases[i].says ? cases[i].says : "nothing");
                json_t *o = status_json(&v);
                assert_int_equal(json_is_true(json_object_get(o, "degraded")), v.degraded);
                assert_int_equal(json_array_size(json_object_get(o, "problems")) > 0, v.degraded);
                json_decref(o);
                json_decref(r.docs[0]);
                json_decref(r.docs[1]);
                buf_release(&problems);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(names_what_is_wrong)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
