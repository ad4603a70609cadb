/* vector: region names as small numbers, dots, and version vectors over them.  Pure; any thread, one owner each.
 * A regset is filled from the topology in the byte order of the names and grows when a record names a region that this topology does
 * not know (removed, or not added yet); its numbers are local to the process: files and logs carry names. */
#ifndef PANGEA_CHANGE_VECTOR_H
#define PANGEA_CHANGE_VECTOR_H

#include "base/err.h"
#include "base/types.h"

#define MAX_REGIONS 32
#define REGION_NAME_MAX 31

typedef struct {
        uint8_t i;
} region_id;
#define REGION_NONE ((region_id){255})

struct regset {
        unsigned n;
        char name[MAX_REGIONS][REGION_NAME_MAX + 1];
};

/* REGION_NONE when the name is not there. */
region_id regset_find(const struct regset *s, const char *name, size_t len);
/* Finds or adds; REGION_NONE when the set is full or the name is empty or too long. */
region_id regset_add(struct regset *s, const char *name, size_t len);
static inline const char *regset_name(const struct regset *s, region_id r)
{
        return r.i < s->n ? s->name[r.i] : "?";
}

/* One version of one row: by whom, when. */
struct dot {
        region_id region;
        hlc_t hlc;
};

/* {region: highest HLC applied}; 0 = nothing. */
struct vector {
        hlc_t at[MAX_REGIONS];
};

static inline bool vector_covers(const struct vector *v, struct dot d)
{
        return d.hlc.v <= v->at[d.region.i].v;
}
/* to = max(to, from), component by component */
void vector_join(struct vector *to, const struct vector *from);
/* true when every component of a is <= that of b */
bool vector_le(const struct vector *a, const struct vector *b);
/* "us:123 eu:45" into buf (cut when it is too small); returns buf. */
const char *vector_str(char *buf, size_t size, const struct vector *v, const struct regset *s);
/* The total order for ties: (HLC, region name as bytes). <0, 0, >0. */
int dot_cmp(struct dot a, struct dot b, const struct regset *s);

#endif
