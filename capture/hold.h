/* hold: asks the database how far the region's standbys are, and keeps back what they have not (DESIGN 9.2; the rule is in standbys).
 * Private to capture/.  Thread: capture only.  Fails: as pg_query; the session then ends. */
#ifndef PANGEA_CAPTURE_HOLD_H
#define PANGEA_CAPTURE_HOLD_H

#include "capture/session.h"

/* Sets *held when the message must wait. It then stays in s->held, borrowed from the stream: nothing is read on from there. */
MUSTCHECK enum status hold_message(struct session *s, const struct stream_msg *m, bool *held, struct err *e);
/* Looks again when it is time to, and moves what is decoded outside of transactions. */
MUSTCHECK enum status hold_turn(struct session *s, int64_t now, struct err *e);
/* A keepalive: everything before `at` was sent. */
void hold_reached(struct session *s, lsn_t at);
/* True when it waits for a standby: the view says for which. */
bool hold_show(struct session *s, int64_t now);

#endif
