#include <stdio.h>

#include "topology/topology.h"

/* The names of what Pangea makes in PostgreSQL and Kafka. They hold the user's data together: they cannot change between versions. */

const char *topology_topic(const struct topology *t, region_id r, char *buf, size_t size)
{
        snprintf(buf, size, "%s.%s.log", t->cluster, regset_name(&t->names, r));
        return buf;
}

const char *topology_slot(const struct topology *t, region_id r, char *buf, size_t size)
{
        snprintf(buf, size, "pangea_%s_%s", t->cluster, regset_name(&t->names, r));
        return buf;
}

const char *topology_publication(const struct topology *t, region_id r, char *buf, size_t size)
{
        return topology_slot(t, r, buf, size);
}

const char *topology_origin(const struct topology *t, region_id here, region_id origin, char *buf, size_t size)
{
        snprintf(buf, size, "pangea_%s_%s_%s", t->cluster, regset_name(&t->names, here), regset_name(&t->names, origin));
        return buf;
}
