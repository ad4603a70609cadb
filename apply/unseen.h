/* unseen: local commits that stand in the own log, and that a reader of this database may not see yet.
 * PostgreSQL makes a commit durable, and with it decodable, before it makes it visible: in between another region can answer it, and the
 * answer must not be visible here before it is (C4; with synchronous_standby_names that time is as long as a standby is away).
 * Holds what was read in the own log and is not yet known to have ended: an xid below any snapshot's xmin has, others are asked for one by
 * one. Docs: docs/adr/0017.  Owner: the apply agent's thread; dies with the database session. */
#ifndef PANGEA_APPLY_UNSEEN_H
#define PANGEA_APPLY_UNSEEN_H

#include "apply/inlog.h"
#include "apply/session.h"

struct unseen;
/* from: the own log is read behind it, and everything up to it is visible. */
struct unseen *unseen_new(hlc_t from);
void unseen_free(struct unseen *u);

/* Everything that is read in the own log passes here once, in order. near: an xid of these days, for its epoch. */
void unseen_note(struct unseen *u, const struct log_item *i, fullxid_t near);
/* Every xid below it has ended: a snapshot's xmin. */
void unseen_ended(struct unseen *u, fullxid_t xmin);

hlc_t unseen_read(const struct unseen *u);    /* of the newest group that was noted */
hlc_t unseen_visible(const struct unseen *u); /* every group up to it is known to be visible */
size_t unseen_count(const struct unseen *u);

/* Asks the database for what is noted up to this HLC, when there is such; ctx is for the results of what was sent before. ST_RETRY, named
 * commit_not_visible: one of them has not ended; nothing but the asking was done. */
MUSTCHECK enum status unseen_ask(struct unseen *u, struct session *db, hlc_t upto, void *ctx, struct err *e);

#endif
