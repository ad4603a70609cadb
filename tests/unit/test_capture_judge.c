/* Every reason for which a capture must not start, each in facts that are whole otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "capture/judge.h"
#include "capture/stops.h"

static struct judge_facts whole(void)
{
        struct identity id = {"7001", "shop", "pangea_shop_us", 1};
        struct judge_facts f = {.region = "us", .server = id, .meta = id, .has_last = true, .last = id, .counter = 5};
        f.low.v = 0;
        f.high.v = 1000;
        f.landed.v = 900;
        f.tail = (struct tail){
                .found = true, .epoch = 5, .lsn = {5000}, .seq = 800, .has_tx = true, .xid = {700}, .commit_us = 123456};
        f.tail.max_epoch = 5;
        f.server_lsn.v = 6000;
        f.confirmed.v = 5000;
        f.base_lsn.v = 100;
        f.has_commit_us = true;
        f.commit_us = 123456;
        f.next_xid.v = 701;
        return f;
}

static void nothing(struct judge_facts *f)
{
        (void)f;
}
static void first_start(struct judge_facts *f)
{
        f->counter = 0;
        f->landed.v = -1;
        f->high.v = 0;
        f->has_last = false;
        f->tail = (struct tail){0};
        f->confirmed = f->base_lsn;
}
static void first_epoch_not_seen(struct judge_facts *f)
{
        first_start(f);
        f->counter = 1; /* taken, then killed: nothing was published */
}
static void first_start_slot_moved(struct judge_facts *f)
{
        first_start(f);
        f->confirmed.v = 101;
}
static void other_system(struct judge_facts *f)
{
        strcpy(f->server.system_id, "7002");
}
static void other_database(struct judge_facts *f)
{
        strcpy(f->server.database, "other");
}
static void other_in_log(struct judge_facts *f)
{
        strcpy(f->last.system_id, "7002");
}
static void other_slot_in_log(struct judge_facts *f)
{
        strcpy(f->last.slot, "pangea_x_us");
}
static void promoted(struct judge_facts *f)
{
        f->server.timeline = 2;
}
static void old_landed_deleted(struct judge_facts *f)
{
        f->low.v = 950; /* by retention */
        f->has_last = false;
}
static void log_empty(struct judge_facts *f)
{
        f->high.v = 0;
        f->has_last = false;
        f->tail = (struct tail){0};
}
static void log_shorter(struct judge_facts *f)
{
        f->high.v = 900;
        f->has_last = false;
}
static void not_our_epoch(struct judge_facts *f)
{
        f->landed_wrong = true;
        f->has_last = false;
}
static void all_deleted(struct judge_facts *f)
{
        f->low.v = 999;
        f->has_last = false;
        f->tail = (struct tail){.max_epoch = 5};
}
static void clone(struct judge_facts *f)
{
        f->tail.max_epoch = 6;
}
static void restored(struct judge_facts *f)
{
        f->server_lsn.v = 4999;
}
static void other_commit_time(struct judge_facts *f)
{
        f->commit_us++;
}
static void commit_time_forgotten(struct judge_facts *f)
{
        f->has_commit_us = false;
}
static void xid_of_the_future(struct judge_facts *f)
{
        f->next_xid.v = 700;
}
static void slot_moved(struct judge_facts *f)
{
        f->confirmed.v = 5001;
}
static void slot_behind(struct judge_facts *f)
{
        f->confirmed.v = 4000;
}

static const struct {
        const char *why;
        void (*change)(struct judge_facts *f);
        const char *name; /* NULL: goes on */
} cases[] = {
        {"whole", nothing, NULL},
        {"the very first start", first_start, NULL},
        {"the first epoch was taken and never landed", first_epoch_not_seen, NULL},
        {"the slot moved before anything was published", first_start_slot_moved, "slot_ahead"},
        {"another system", other_system, "system_changed"},
        {"another database", other_database, "system_changed"},
        {"a log written by another system", other_in_log, "system_changed"},
        {"a log written by another slot", other_slot_in_log, "system_changed"},
        {"a promoted standby", promoted, "timeline_changed"},
        {"the remembered EPOCH is older than retention", old_landed_deleted, NULL},
        {"an empty log", log_empty, "log_empty"},
        {"a log that ends before our EPOCH", log_shorter, "log_recreated"},
        {"something else where our EPOCH was", not_our_epoch, "log_recreated"},
        {"a log without a position", all_deleted, "log_cut"},
        {"a clone", clone, "epoch_behind"},
        {"a restored backup", restored, "server_behind"},
        {"the last transaction committed at another time", other_commit_time, "history_changed"},
        {"its commit time is forgotten", commit_time_forgotten, NULL},
        {"its xid is not given yet", xid_of_the_future, "history_changed"},
        {"the slot is beyond the log", slot_moved, "slot_ahead"},
        {"the slot is behind the log", slot_behind, NULL},
};

static void named_stops(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct judge_facts f = whole();
                struct err e = {0};
                char todo[400];
                cases[i].change(&f);
                enum status st = judge_start(&f, &e);
                print_message("  %s: %s\n", cases[i].why, st == ST_OK ? "goes on" : e.msg);
                assert_int_equal(st, cases[i].name ? ST_DATA : ST_OK);
                if (!cases[i].name)
                        continue;
                assert_string_equal(e.name, cases[i].name);
                assert_non_null(strstr(e.msg, "region us")); /* where */
                assert_true(strlen(stop_todo(e.name, "us", todo, sizeof todo)) > 20);
                assert_non_null(strstr(e.msg, todo)); /* what to do, not cut off */
                assert_null(strstr(todo, "%s"));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(named_stops)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
