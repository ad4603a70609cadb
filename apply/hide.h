/* hide: rows that may not be visible leave their table whole, for pangea.suppressed; and what comes for a row that waits.  DESIGN 7.
 * Files: hide.c (the third try of a group that violates a unique key), waiting.c (registers outside the table), visible.c (who comes back).
 * Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_HIDE_H
#define PANGEA_APPLY_HIDE_H

#include "apply/clash.h"
#include "apply/hidden.h"

/* Rows of this table may wait outside it: several leaders write it, it has more than its key to clash in, and its rule does not add
 * contributions up (a waiting row would be counted twice when its key is inserted anew). */
bool hides(const struct target *t);

/* Hides the rows of the set that clash_decide does not keep: visible ones (locked) leave their table, all go to pangea.suppressed. mine: the
 * dot of candidates and of rows that this transaction wrote. losers (may be NULL): gets one for each. */
struct hiding {
        struct clash_set *set;
        struct dot mine;
        const bool *keep;
        const struct clash_pair *const *holder;
        bool visible_only; /* candidates wait already */
};
MUSTCHECK enum status hide_losers(struct applier *a, const struct hiding *h, struct loser **losers, size_t *n, struct err *e);

/* ---- steps of apply/write.c ---------------------------------------------------------------------------------------------------------- */
/* In hide mode, before the decided rows of the segment are written: takes out of the runs what may not be visible. For tables with a
 * deferrable constraint always: PostgreSQL checks it by a trigger, and none fires under session_replication_role=replica. */
MUSTCHECK enum status pass_hide(struct pass *p, struct err *e);
/* Nets of keys whose rows wait: decided against the waiting rows. */
MUSTCHECK enum status pass_waiting(struct pass *p, struct err *e);
/* A TRUNCATE against the rows that wait (leaf: the partition's name, or NULL). */
MUSTCHECK enum status pass_waiting_truncate(struct pass *p, struct target *t, const struct relation *rel, uint32_t tx,
                                            struct err *e);
/* The segment is written: whoever waits for one of its rows is looked at again. */
void pass_waiting_touched(const struct pass *p);

/* ---- steps of apply/repair.c ---------------------------------------------------------------------------------------------------------- */
/* Does the segment touch a key that waits? */
bool pass_waiting_concerned(const struct pass *p);
/* Local changes, read in the own log, against the waiting rows of their keys. */
MUSTCHECK enum status pass_waiting_own(struct pass *p, struct err *e);

/* ---- visible.c ------------------------------------------------------------------------------------------------------------------------- */
/* Who may come back does, one transaction for each dot. *moved: something was done. ST_RETRY only when the session is lost. */
MUSTCHECK enum status visible_turn(struct applier *a, bool *moved, struct err *e);

#endif
