#include "conflict/lww.h"

enum verdict lww_decide(struct dot stands, struct dot incoming, const struct vector *seen, const struct regset *regs)
{
        if (vector_covers(seen, stands))
                return VERDICT_OVERWRITE;
        return dot_cmp(incoming, stands, regs) > 0 ? VERDICT_TAKE_THEIRS : VERDICT_KEEP_MINE;
}

bool lww_killed(const struct vector *tombs, struct dot incoming, const struct vector *seen, const struct regset *regs,
                struct dot *killer)
{
        bool killed = false;
        for (unsigned i = 0; i < regs->n; i++) {
                struct dot d = {.region = {(uint8_t)i}, .hlc = tombs->at[i]};
                if (d.hlc.v == 0 || vector_covers(seen, d) || dot_cmp(d, incoming, regs) <= 0)
                        continue;
                if (!killed || dot_cmp(d, *killer, regs) > 0)
                        *killer = d;
                killed = true;
        }
        return killed;
}

const char *conflict_kind_name(enum conflict_kind k)
{
        static const char *const names[] = {
                [CONFLICT_INSERT_EXISTS] = "insert_exists",
                [CONFLICT_UPDATE_ORIGIN_DIFFERS] = "update_origin_differs",
                [CONFLICT_UPDATE_DELETED] = "update_deleted",
                [CONFLICT_DELETE_ORIGIN_DIFFERS] = "delete_origin_differs",
                [CONFLICT_MULTIPLE_UNIQUE] = "multiple_unique_conflicts",
        };
        _Static_assert(sizeof names / sizeof *names == CONFLICT_KIND_COUNT, "a kind without a name");
        return names[k];
}
