/* freeze: will the commit timestamps that tell versions apart last as long as they are needed?  DESIGN 4.1.
 * A row's version is known by its xmin's commit timestamp and origin.  VACUUM lets PostgreSQL forget these for xids below the cluster-wide
 * freeze horizon.  Harmless for what is stable; but when a region stays away for long, versions that are not stable grow old:
 *
 *     .. stable ..  |S  .. not stable yet ..                    |reach  | in use now
 *      horizon ->|  |<- timestamps here are needed ->|
 *
 * VACUUM forgets by itself what is min_age transactions behind reach, VACUUM FREEZE all of it.  The warning comes at half of min_age.
 * Owner and thread: the apply agent's.  freeze_judge is pure. */
#ifndef PANGEA_APPLY_FREEZE_H
#define PANGEA_APPLY_FREEZE_H

#include <stdbool.h>
#include <stdint.h>

enum freeze_state {
        FREEZE_SAFE,
        FREEZE_NEAR, /* VACUUM may soon erase timestamps that are still needed */
        FREEZE_GONE, /* some are erased: a conflict with such a row stops its origin (timestamp_gone) */
};
/* "safe" "near" "gone" */
const char *freeze_name(enum freeze_state s);

/* Full xids (64 bits), and numbers of transactions. */
struct freeze_facts {
        uint64_t stable;  /* S: every version written below it is stable */
        uint64_t reach;   /* running transactions and slots let VACUUM freeze nothing from here on */
        uint64_t horizon; /* timestamps of what is below it are gone */
        uint64_t min_age; /* vacuum_freeze_min_age, or less where a table says less */
        bool held;        /* something applied here is not known in a region that may still write beside it */
};

/* How many transactions lie between the oldest version that may be unstable and what VACUUM can reach. */
uint64_t freeze_exposed(const struct freeze_facts *f);
/* How many more may pass before a VACUUM of its own erases timestamps that are needed. */
uint64_t freeze_left(const struct freeze_facts *f);
enum freeze_state freeze_judge(const struct freeze_facts *f);

/* What is known, and since when. */
struct freeze {
        struct freeze_facts facts;
        enum freeze_state state;
        int64_t since_us; /* wall clock, of the state; 0: nothing is known yet */
};

struct applier;
/* Looks at the database and judges; says a change in the log. Never fails: what cannot be read stays as it was, and the log says why. */
void freeze_look(struct applier *a);
/* Why and what to do, for people; "" when safe. */
void freeze_words(const struct applier *a, char *why, unsigned long why_size, char *todo, unsigned long todo_size);

#endif
