#include "topology/rules_said.h"

#include <inttypes.h>
#include <stdio.h>

static const char NOTE_SQL[] =
        "INSERT INTO pangea.rules (region, from_hlc, generation, doc) VALUES ($1, $2::int8, $3::int4, $4::jsonb)"
        " ON CONFLICT (region, from_hlc) DO UPDATE SET generation = EXCLUDED.generation, doc = EXCLUDED.doc";

enum status rules_said_note(struct pg *c, const char *region, uint64_t from_hlc, uint32_t generation, const char *doc,
                            struct err *e)
{
        char hlc[24], number[16];
        snprintf(hlc, sizeof hlc, "%" PRIu64, from_hlc);
        snprintf(number, sizeof number, "%u", generation);
        struct pg_param p[] = {PG_TEXT(region), PG_TEXT(hlc), PG_TEXT(number), PG_TEXT(doc)};
        return pg_query(c, NOTE_SQL, 4, p, false, NULL, e);
}
