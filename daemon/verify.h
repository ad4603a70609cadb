/* verify: are the replicated tables of all regions identical?  The parts of `pangea verify`, in the order in which they work:
 *   verify_plan   catalogs of the regions + topology -> which tables, columns and rows are compared between whom (pure; and the SQL)
 *   verify_wait   a mark in every leader's WAL, until the others have applied up to it
 *   verify_read   one REPEATABLE READ snapshot per region, one thread per region: sums per bucket, rows of differing buckets
 *   verify_diff   differing keys, and which of them stay different (pure)
 *   verify_run    these, one after the other, until what differs is settled
 *   verify_print  the answer, for people and as JSON
 * Owner: struct verify (verify_run.c), of cmd_verify.c and first.c; everything is in its arenas.  A struct vregion belongs to its thread while verify_read runs, else to main. */
#ifndef PANGEA_DAEMON_VERIFY_H
#define PANGEA_DAEMON_VERIFY_H

#include <jansson.h>

#include "daemon/progress.h"
#include "base/arena.h"
#include "postgres/pg.h"
#include "topology/topology.h"

#define VERIFY_SHOWN_CHARS 1000 /* of a value */
#define VERIFY_SHOWN 5          /* differing keys shown for a table */
#define VERIFY_ROWS 200000      /* rows of differing buckets read for a table; above it single keys are not followed */
#define VERIFY_MAX_BITS 16      /* buckets of a table: at most 2^16 */

/* ---- what a region's catalog says ---- */
struct vcolumn {
        const char *name;
        int key; /* 1.. place in the key, 0 = not in it */
};

struct vtable {
        const char *schema, *name;
        bool partitioned, published;
        int64_t estimate; /* rows, roughly */
        int64_t bytes;    /* with its partitions */
        size_t ncols;
        struct vcolumn *cols; /* sorted by name (bytes) */
};

struct vcatalog {
        size_t n;
        struct vtable *tables; /* sorted by schema, name (bytes) */
};

/* ---- what is compared ---- */
struct vplan {
        const char *schema, *name;
        uint32_t regions;     /* bit per region_id: who must hold the same rows */
        uint32_t present;     /* .. of them, who has the table */
        uint32_t partitioned; /* .. where it is partitioned (the others are read with ONLY) */
        uint32_t apart;       /* .. leaders that get the table and do not send it: rows that they made themselves go by no route */
        const char *where;    /* NULL = every row */
        size_t ncols, nkeys;
        const char *const *cols; /* in all regions and on the route, sorted by name */
        const char *const *keys; /* in key order; none: rows are counted by content */
        const char *skipped;     /* why it is not compared, NULL = it is */
        const char *note;        /* what the answer does not cover, NULL = nothing */
        unsigned bits;           /* 2^bits buckets */
        int64_t bytes;           /* where it is largest */
};

/* Tables named by `filter` only ("public.*,shop.orders", NULL = all). */
void vplan_build(const struct topology *t, const struct vcatalog *catalogs, const char *filter, struct arena *a, struct vplan **out,
                 size_t *n);
bool vplan_wanted(const char *filter, const char *schema, const char *name);

/* The statements of one table in one region. utf8: the database's encoding is UTF8 (else rows are converted before they are hashed). */
void vsql_sums(struct buf *out, const struct vplan *p, region_id r, bool utf8);
void vsql_rows(struct buf *out, const struct vplan *p, region_id r, bool utf8, const uint32_t *buckets, size_t n);
void vsql_values(struct buf *out, const struct vplan *p, region_id r, bool utf8, const char *const *ids, size_t n);

/* ---- differences ---- */
/* A row in a differing bucket. With keys: id = the key, value = hash of the row, version = its xmin. Without: id = hash, value = how often. */
struct ventry {
        const char *id, *value, *version;
        bool own; /* made by a region that does not send the table, and so on no route */
};

struct ventries {
        size_t n;
        struct ventry *e;
};

struct vsuspect {
        const char *id;
        uint64_t print;   /* of what every region holds: changes when any of them writes the row */
        int64_t since_us; /* of the first reading with this print */
};

struct vsuspects {
        size_t own; /* ids that are nowhere but as a region's own: no suspects */
        size_t n;
        struct vsuspect *s; /* sorted by id */
};

/* Sorts the entries; *out = the ids that are not the same in all n regions, copied into the arena. */
void vdiff_find(struct ventries *regions, size_t n, int64_t now_us, struct arena *a, struct vsuspects *out);
/* now = those of now that were there before: a key that was equal in one of two readings has arrived. One that nobody wrote in
 * between keeps the time of the earlier reading. */
void vdiff_narrow(const struct vsuspects *before, struct vsuspects *now);

/* ---- one region ---- */
struct vsums {
        const char *rows;     /* count, "" when the region has no such table */
        const char *total;    /* count and both sums */
        const char **buckets; /* 2^bits, NULL = empty */
};

struct vregion {
        const struct region *region;
        struct pg *pg;
        bool utf8, initialised;
        bool capture_alive, apply_alive;
        int64_t capture_age_ms, apply_age_ms;   /* since they last said something, -1 = never */
        int64_t capture_seen_us, apply_seen_us; /* when a session of theirs was last seen (monotonic) */
        bool capture_noted, apply_noted;        /* its silence was told */
        struct arena arena;                     /* of this reading */
        struct vsums *sums;                     /* one per table of the plan */
        struct ventries *entries;
        bool *truncated; /* more than VERIFY_ROWS */
        /* what the thread works on */
        const struct vplan *plan;
        size_t nplan;
        const bool *todo;         /* per table */
        uint32_t *const *buckets; /* per table: the differing ones; NULL in the first phase */
        const size_t *nbuckets;
        struct progress *progress; /* a step for each table; may be NULL */
        struct err err;
        enum status code;
};

enum vresult { VERIFY_IDENTICAL, VERIFY_DIFFERENT, VERIFY_UNSETTLED, VERIFY_SKIPPED };
const char *vresult_name(enum vresult r);

/* One table's answer, and what the next reading needs of this one. */
struct vanswer {
        enum vresult result;
        bool read, followed; /* followed: suspects are known (there were not too many rows) */
        struct vsuspects suspects;
        uint64_t print;                                     /* of all regions' totals .. */
        int64_t since_us;                                   /* .. and since when they are so */
        const char *rows[MAX_REGIONS], *total[MAX_REGIONS]; /* NULL = no such table there */
        json_t *differences;                                /* [{"key": .., "rows": {region: row}}], at most VERIFY_SHOWN */
};

MUSTCHECK enum status verify_open(struct vregion *r, const struct region *region, struct err *e);
/* Looks again which daemons live: they have said something lately, and hold a session or did so moments ago. */
MUSTCHECK enum status verify_daemons(struct vregion *r, struct err *e);
MUSTCHECK enum status verify_catalog(struct vregion *r, const struct topology *t, struct arena *a, struct vcatalog *out,
                                     struct err *e);
/* Opens a snapshot in every region and fills sums; the second phase fills entries in the same snapshots. */
MUSTCHECK enum status verify_read_sums(struct vregion *regions, size_t n, struct err *e);
MUSTCHECK enum status verify_read_rows(struct vregion *regions, size_t n, struct err *e);
MUSTCHECK enum status verify_read_values(struct vregion *regions, size_t n, const struct vplan *p, const char *const *ids,
                                         size_t nids, json_t **out, struct err *e);
MUSTCHECK enum status verify_read_end(struct vregion *regions, size_t n, struct err *e);
void verify_close(struct vregion *r);

/* ---- waiting ---- */
struct vwait {
        lsn_t mark[MAX_REGIONS]; /* 0 = not waited for */
        char why[1200];          /* what was still missing when the time was out */
        size_t pairs;            /* how many (origin, target) are waited for at all */
};
/* ST_OK: everything committed before the call is applied wherever a daemon lives (alive flags: as of the end of the wait). ST_RETRY: the time was out, w->why says who is behind. */
MUSTCHECK enum status verify_wait(struct vregion *regions, size_t n, const struct topology *t, int64_t deadline_us, struct vwait *w,
                                  struct err *e);

/* ---- answer ---- */
struct vreport {
        const struct topology *topology;
        size_t nplan;
        const struct vplan *plan;
        const struct vanswer *answers;
        bool waited, timed_out;
        double seconds;
        const char *why;    /* of a time-out, NULL */
        const char *filter; /* --tables, NULL = all */
        json_t *notes;      /* array of strings */
};
/* ---- one comparison ---- */
struct verify;
typedef void verify_say(const char *note);
struct verify_opts {
        const char *filter; /* tables, NULL = all; borrowed */
        int timeout_s;
        verify_say *say;           /* hears each note at once; may be NULL */
        struct progress *progress; /* told what is done; borrowed, may be NULL */
        int64_t max_bytes;         /* larger tables are left out; 0 = none is */
        unsigned max_rounds;       /* readings; 0 = until the time is out */
        int pause_ms;              /* between two readings; 0 = a little */
};
/* t is borrowed. */
struct verify *verify_new(const struct topology *t, const struct verify_opts *o);
void verify_free(struct verify *v);
/* To every region. */
MUSTCHECK enum status verify_connect(struct verify *v, struct err *e);
struct vregion *verify_region(struct verify *v, region_id r);
/* Until every region's daemons live; ST_RETRY when the time was out. */
MUSTCHECK enum status verify_await_daemons(struct verify *v, struct err *e);
MUSTCHECK enum status verify_compare(struct verify *v, struct err *e);
/* After verify_compare; lives as long as v. */
const struct vreport *verify_report(const struct verify *v);

/* jansson's string, null when s is not UTF-8. */
json_t *verify_text(const char *s);
void verify_print_text(const struct vreport *r);
void verify_print_json(const struct vreport *r);
/* One JSON value also when there is no answer. */
void verify_print_failure(const struct topology *t, const struct err *e);

#endif
