/* resolve: the rules that somebody else decides: an IMMUTABLE SQL function of the region's database, or a plug-in.  DESIGN 7.
 * Both get the living versions in canonical order and say the row; a failure makes the origin wait by name (resolver_failed).
 * Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_RESOLVE_H
#define PANGEA_APPLY_RESOLVE_H

#include "apply/rules.h"

struct applier;
/* Sets rule->resolve for sql and plugin; nothing for the others. ctx: the applier. ST_CONFIG: the function or plug-in cannot be used. */
MUSTCHECK enum status resolver_bind(void *ctx, struct set_rule *set, const struct rule_spec *spec, struct rule *rule,
                                    struct err *e);

#endif
