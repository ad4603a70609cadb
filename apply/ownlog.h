/* ownlog: what the apply agent knows of its own region's log: which group a locally written row belongs to, and H, the xid below which
 * every local transaction is covered by a vector.  DESIGN 6.3.
 * The index is bounded: the newest transactions one by one, older groups as ranges of offsets with their commit times; a range is read
 * back from Kafka when a row of its time is asked for.  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_OWNLOG_H
#define PANGEA_APPLY_OWNLOG_H

#include "apply/inlog.h"

struct ownlog;
struct ownlog *ownlog_new(region_id me);
void ownlog_free(struct ownlog *o);
/* The first record that will be noted comes after this HLC. */
void ownlog_from(struct ownlog *o, hlc_t at);

/* Everything that is read from the own log passes here once, in order, before it is processed. */
void ownlog_note(struct ownlog *o, const struct log_item *i);

/* Every local commit before this LSN has been noted. */
lsn_t ownlog_read_lsn(const struct ownlog *o);

/* H(v): every local xid below it belongs to a group that own component v covers. 0 = none known. */
fullxid_t ownlog_h(const struct ownlog *o, hlc_t v);

/* The group of the local transaction with this raw commit time (and, to tell equal times apart, top xid). */
enum own_found {
        OWN_FOUND,
        OWN_OLDER /* not among the unstable ones: stable */,
        OWN_RANGE /* in [*first,*last]: read it back */,
        /* That time, but not that xid: the row was written in a savepoint, or by a transaction of the same microsecond that is forgotten
         * already. Who wrote the key must be read: in [*first,*last]. */
        OWN_AMBIGUOUS
};
enum own_found ownlog_find(const struct ownlog *o, int64_t commit_us, uint32_t xid, hlc_t *hlc, koffset_t *first, koffset_t *last);

/* This very transaction (time and top xid) has been read: whoever wrote the row that bears it is known without reading on. */
bool ownlog_knows(const struct ownlog *o, int64_t commit_us, uint32_t xid);

/* Forgets what is stable: groups up to this HLC. */
void ownlog_forget(struct ownlog *o, hlc_t stable);
size_t ownlog_size(const struct ownlog *o);

#endif
