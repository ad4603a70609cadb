/* lww: last write wins as a register over dots, deletes included; what a tombstone kills; what is stable.  DESIGN 6.4, 6.6, 7.
 * Pure and symmetric: versions in, verdict out; no clock, no connection, no "which region am I". */
#ifndef PANGEA_CONFLICT_LWW_H
#define PANGEA_CONFLICT_LWW_H

#include "change/vector.h"

enum verdict {
        VERDICT_OVERWRITE,   /* the incoming version has seen the one that stands: no conflict, write it */
        VERDICT_TAKE_THEIRS, /* concurrent, the incoming one is greater: write it, record the one that stood */
        VERDICT_KEEP_MINE,   /* concurrent, the one that stands is greater: write nothing, record the incoming one */
};

/* The version that stands (its dot) against an incoming one (its dot, and what its transaction had seen). */
enum verdict lww_decide(struct dot stands, struct dot incoming, const struct vector *seen, const struct regset *regs);

/* Tombstones of one key: {region: highest HLC of a delete}. True when a delete that the incoming version has not seen is later than
 * it; *killer is then the greatest such delete. */
bool lww_killed(const struct vector *tombs, struct dot incoming, const struct vector *seen, const struct regset *regs,
                struct dot *killer);

/* What conflicts are called (PostgreSQL 18's names for the same events). */
enum conflict_kind {
        CONFLICT_INSERT_EXISTS,
        CONFLICT_UPDATE_ORIGIN_DIFFERS,
        CONFLICT_UPDATE_DELETED,
        CONFLICT_DELETE_ORIGIN_DIFFERS,
        CONFLICT_MULTIPLE_UNIQUE, /* another row holds one of its unique values */
};
enum { CONFLICT_KIND_COUNT = CONFLICT_MULTIPLE_UNIQUE + 1 };
const char *conflict_kind_name(enum conflict_kind k);

#endif
