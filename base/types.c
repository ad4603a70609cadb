#include "base/types.h"

#include <stdio.h>

const char *lsn_str(char buf[LSN_STRLEN], lsn_t lsn)
{
        snprintf(buf, LSN_STRLEN, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn.v >> 32), (uint32_t)lsn.v);
        return buf;
}

bool lsn_parse(const char *s, lsn_t *out)
{
        uint32_t hi, lo;
        int used = 0;
        if (sscanf(s, "%8" SCNx32 "/%8" SCNx32 "%n", &hi, &lo, &used) != 2 || s[used] != 0)
                return false;
        out->v = ((uint64_t)hi << 32) | lo;
        return true;
}
