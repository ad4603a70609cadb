/* explain: what a word means: a key of the topology, a named stop, a check of doctor, a metric, a command, an option.  From the tables that check, stop
 * and dispatch, so that it cannot say anything else.  Pure; main thread. */
#ifndef PANGEA_DAEMON_EXPLAIN_H
#define PANGEA_DAEMON_EXPLAIN_H

#include "base/arena.h"
#include "base/buf.h"

struct explanation {
        const char *kind, *name, *text; /* "topology key", "regions.<name>.role", lines */
        struct explanation *next;
};

/* Everything of this name; a key of the topology may be cut at the left ("role"), have a real name for <name> and numbers in its []. NULL: nothing;
 * then *nearest is what was probably meant, or NULL. In the arena. */
struct explanation *explain(const char *word, struct arena *a, const char **nearest);

#endif
