#include "conflict/stable.h"

#include <string.h>

void stable_vector(const struct vector seen[MAX_REGIONS], uint32_t leaders, struct vector *out)
{
        bool first = true;
        memset(out, 0, sizeof *out);
        for (unsigned l = 0; l < MAX_REGIONS; l++) {
                if (!(leaders >> l & 1))
                        continue;
                for (unsigned i = 0; i < MAX_REGIONS; i++)
                        if (first || seen[l].at[i].v < out->at[i].v)
                                out->at[i] = seen[l].at[i];
                first = false;
        }
}
