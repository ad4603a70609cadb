/* rules: the region's log says which rules of conflict hold for what follows in it (MARKER "rules"), so that regions that learn of a change
 * at different moments still settle every conflict alike (DESIGN 7; ADR 0015).
 *
 *     MARKER  what = "rules"
 *             text = {"generation": 3, "from_hlc": 1790000000000000, "rules": {..rulebook_json..}}
 *
 * Groups behind it (HLC > from_hlc) bear that generation in their head.  A log without one: generation 0, last write wins everywhere.
 * Said when a session starts under other rules than the log said last; a region whose rules another one announced already takes that
 * generation, else the next.  Thread: capture only. */
#ifndef PANGEA_CAPTURE_RULES_H
#define PANGEA_CAPTURE_RULES_H

#include "capture/session.h"

/* After the log's end is known (s->groups.hlc) and before anything is published. ST_CONFIG rules_need_quiet: the change is one that cannot be
 * made while the table is written. */
MUSTCHECK enum status session_rules(struct session *s, struct err *e);

#endif
