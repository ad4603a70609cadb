#include "change/vector.h"

#include <stdio.h>
#include <string.h>

region_id regset_find(const struct regset *s, const char *name, size_t len)
{
        for (unsigned i = 0; i < s->n; i++)
                if (strlen(s->name[i]) == len && memcmp(s->name[i], name, len) == 0)
                        return (region_id){(uint8_t)i};
        return REGION_NONE;
}

region_id regset_add(struct regset *s, const char *name, size_t len)
{
        region_id r = regset_find(s, name, len);
        if (r.i != REGION_NONE.i)
                return r;
        if (s->n == MAX_REGIONS || len == 0 || len > REGION_NAME_MAX || memchr(name, 0, len))
                return REGION_NONE;
        memcpy(s->name[s->n], name, len);
        s->name[s->n][len] = 0;
        return (region_id){(uint8_t)s->n++};
}

void vector_join(struct vector *to, const struct vector *from)
{
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                to->at[i] = hlc_max(to->at[i], from->at[i]);
}

bool vector_le(const struct vector *a, const struct vector *b)
{
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                if (a->at[i].v > b->at[i].v)
                        return false;
        return true;
}

const char *vector_str(char *buf, size_t size, const struct vector *v, const struct regset *s)
{
        size_t n = 0;
        buf[0] = 0;
        for (unsigned i = 0; i < s->n && n < size; i++)
                if (v->at[i].v)
                        n += (size_t)snprintf(buf + n, size - n, "%s%s:%" PRIu64, n ? " " : "", s->name[i], v->at[i].v);
        return buf;
}

int dot_cmp(struct dot a, struct dot b, const struct regset *s)
{
        if (a.hlc.v != b.hlc.v)
                return a.hlc.v < b.hlc.v ? -1 : 1;
        return strcmp(regset_name(s, a.region), regset_name(s, b.region));
}
