#include <string.h>

#include "topology/build.h"

/* Which route a table has, and what follows from it. */

static bool names_literally(const struct route *r, const char *schema, const char *name)
{
        for (size_t i = 0; i < r->ntables; i++)
                if (!r->tables[i].wildcard && pattern_match(&r->tables[i], schema, name))
                        return true;
        return false;
}

static bool matches(const struct route *r, const char *schema, const char *name)
{
        for (size_t i = 0; i < r->ntables; i++)
                if (r->tables[i].wildcard && pattern_match(&r->tables[i], schema, name))
                        return true;
        return false;
}

const struct route *topology_route(const struct topology *t, const char *schema, const char *name)
{
        if (schema_is_reserved(schema))
                return NULL;
        for (size_t i = t->nroutes; i-- > 0;)
                if (names_literally(&t->routes[i], schema, name))
                        return &t->routes[i];
        for (size_t i = t->nroutes; i-- > 0;)
                if (matches(&t->routes[i], schema, name))
                        return &t->routes[i];
        return NULL;
}

uint32_t route_writers(const struct topology *t, const struct route *r)
{
        uint32_t bits = 0;
        for (size_t i = 0; i < t->nregions; i++)
                if (t->regions[i].role == ROLE_LEADER)
                        bits |= region_bit(t->regions[i].id);
        return r->from & bits;
}

bool topology_applies(const struct topology *t, const char *schema, const char *name, region_id from, region_id to)
{
        const struct route *r = topology_route(t, schema, name);
        if (!r || from.i >= t->nregions || to.i >= t->nregions || from.i == to.i)
                return false;
        return (route_writers(t, r) & region_bit(from)) && (r->to & region_bit(to));
}

bool topology_multi_writer(const struct topology *t, const char *schema, const char *name)
{
        const struct route *r = topology_route(t, schema, name);
        uint32_t writers = r ? route_writers(t, r) : 0;
        return writers & (writers - 1);
}

const struct region *topology_region(const struct topology *t, const char *name)
{
        region_id id = regset_find(&t->names, name, strlen(name));
        return id.i < t->nregions ? &t->regions[id.i] : NULL;
}
