/* spec: every key of the topology file as one const table: it checks the file and prints docs/topology.md.  Any thread. */
#ifndef PANGEA_TOPOLOGY_SPEC_H
#define PANGEA_TOPOLOGY_SPEC_H

#include "config/check.h"

/* Names of slots, publications and databases' other objects hold at most this many bytes. */
#define PG_NAME_MAX 63

extern const struct cfg_key topology_keys[];

#endif
