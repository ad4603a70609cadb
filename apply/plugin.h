/* plugin: shared objects that settle conflicts (conflict/plugin.h), loaded only when whoever runs the daemon on this host has said so
 * (`pangea run --allow-plugins DIR`): from that folder, and only a file that nobody but root or the daemon's own user can change.
 * Loaded once for a path, never unloaded.  Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_PLUGIN_H
#define PANGEA_APPLY_PLUGIN_H

#include "base/err.h"
#include "conflict/plugin.h"

struct plugins;
/* dir NULL: none is allowed. */
struct plugins *plugins_new(const char *dir);
void plugins_free(struct plugins *p);
/* ST_CONFIG: it may not or cannot be loaded, and why. */
MUSTCHECK enum status plugin_load(struct plugins *p, const char *path, const struct pangea_plugin **out, struct err *e);

#endif
