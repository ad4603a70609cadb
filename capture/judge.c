#include "capture/judge.h"

#include <string.h>

#include "capture/stops.h"

static enum status judge_system(const struct judge_facts *f, struct err *e)
{
        const char *r = f->region;
        if (strcmp(f->server.system_id, f->meta.system_id) != 0 || strcmp(f->server.database, f->meta.database) != 0)
                return stop_named(e, "system_changed", r,
                                  "region %s: this is database %s of system %s, but `pangea init` ran in database %s of system %s",
                                  r, f->server.database, f->server.system_id, f->meta.database, f->meta.system_id);
        if (!f->has_last)
                return ST_OK;
        if (strcmp(f->server.system_id, f->last.system_id) != 0 || strcmp(f->server.database, f->last.database) != 0 ||
            strcmp(f->server.slot, f->last.slot) != 0)
                return stop_named(
                        e, "system_changed", r,
                        "region %s: its log was written by slot %s of database %s of system %s, this is slot %s of database "
                        "%s of system %s",
                        r, f->last.slot, f->last.database, f->last.system_id, f->server.slot, f->server.database,
                        f->server.system_id);
        if (f->server.timeline != f->last.timeline)
                return stop_named(
                        e, "timeline_changed", r,
                        "region %s: PostgreSQL is on timeline %u, its log was written on timeline %u: a standby was promoted or "
                        "a backup restored, and transactions that other regions have may be missing here",
                        r, f->server.timeline, f->last.timeline);
        return ST_OK;
}

static enum status judge_log(const struct judge_facts *f, struct err *e)
{
        const char *r = f->region;
        if (f->tail.max_epoch > f->counter)
                return stop_named(e, "epoch_behind", r,
                                  "region %s: its log holds epoch %llu, but this database has only given %llu: it is a clone or a "
                                  "restored backup",
                                  r, (unsigned long long)f->tail.max_epoch, (unsigned long long)f->counter);
        if (f->landed.v < 0)
                return ST_OK; /* nothing but perhaps an EPOCH was ever published */
        if (f->high.v == f->low.v)
                return stop_named(
                        e, "log_empty", r,
                        "region %s: its log is empty, but this database has published into it up to epoch %llu: the topic was "
                        "deleted and made anew, or all its records were deleted",
                        r, (unsigned long long)f->counter);
        if (f->landed.v >= f->high.v || f->landed_wrong)
                return stop_named(
                        e, "log_recreated", r,
                        "region %s: the record at offset %lld of its log is not the EPOCH this database put there (the log ends "
                        "at %lld): the topic was deleted and made anew, or lost records",
                        r, (long long)f->landed.v, (long long)f->high.v);
        if (!f->tail.found && f->low.v > 0)
                return stop_named(
                        e, "log_cut", r,
                        "region %s: its log begins at offset %lld and holds no position any more: records were deleted that "
                        "pangea did not delete",
                        r, (long long)f->low.v);
        return ST_OK;
}

enum status judge_start(const struct judge_facts *f, struct err *e)
{
        char a[LSN_STRLEN], b[LSN_STRLEN];
        const char *r = f->region;
        enum status st = judge_system(f, e);
        if (st == ST_OK)
                st = judge_log(f, e);
        if (st != ST_OK)
                return st;
        const struct tail *t = &f->tail;
        if (t->found && lsn_before(f->server_lsn, t->lsn))
                return stop_named(
                        e, "server_behind", r,
                        "region %s: PostgreSQL's WAL ends at %s, its log already holds what committed up to %s: a backup was "
                        "restored",
                        r, lsn_str(a, f->server_lsn), lsn_str(b, t->lsn));
        if (t->has_tx && (t->xid.v >= f->next_xid.v || (f->has_commit_us && f->commit_us != t->commit_us)))
                return stop_named(
                        e, "history_changed", r,
                        "region %s: transaction %llu, the last in its log, did not commit here at the time the log says: this "
                        "is a clone or a restored backup",
                        r, (unsigned long long)t->xid.v);
        lsn_t last = t->found ? t->lsn : f->base_lsn;
        if (lsn_before(last, f->confirmed))
                return stop_named(
                        e, "slot_ahead", r,
                        "region %s: slot %s has moved to %s, but its log ends at %s: what committed between is lost for the "
                        "other regions (the slot was made anew or moved by somebody else, or the log lost records)",
                        r, f->server.slot, lsn_str(a, f->confirmed), lsn_str(b, last));
        return ST_OK;
}
