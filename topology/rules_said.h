/* rules_said: what the logs said about the rules of conflict, as a region's database keeps it: pangea.rules.  Capture notes what its own log
 * says before it writes by it, apply what the other logs say when it reads it.
 * Thread: whoever owns the connection. */
#ifndef PANGEA_TOPOLOGY_RULES_SAID_H
#define PANGEA_TOPOLOGY_RULES_SAID_H

#include "postgres/pg.h"

/* The log of this region says: behind from_hlc these rules (rulebook_json) hold. The same place again replaces what was said there. */
MUSTCHECK enum status rules_said_note(struct pg *c, const char *region, uint64_t from_hlc, uint32_t generation, const char *doc,
                                      struct err *e);

#endif
