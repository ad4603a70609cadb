#include "conflict/standing.h"

/* A local row older than H is covered: below it every xid is in a group that the incoming change has seen. */
static bool below_h(const struct standing_facts *f, const struct standing_view *v)
{
        return v->h.v && (int32_t)(f->xmin - (uint32_t)v->h.v) < 0 && v->newest_xid.v - v->h.v < (UINT64_C(1) << 30);
}

/* A group's HLC is not lower than the raw commit time of any of its transactions. Above seen[me] too: else it may have been seen. */
static bool won_already(const struct standing_facts *f, const struct standing_view *v)
{
        return (uint64_t)f->ts_us > v->incoming.hlc.v && (uint64_t)f->ts_us > v->seen->at[v->me.i].v;
}

enum standing_answer standing_judge(const struct standing_facts *f, const struct standing_view *v, struct dot *dot)
{
        if (f->mine || f->old)
                return STANDING_DOMINATED;
        if (!f->ts_us)
                return STANDING_TIMESTAMP_GONE;
        if (f->from.i != REGION_NONE.i) {
                *dot = (struct dot){.region = f->from, .hlc = {(uint64_t)f->ts_us}};
                return STANDING_DOT;
        }
        if (v->follower || below_h(f, v))
                return STANDING_DOMINATED;
        return v->greatest_dot_wins && won_already(f, v) ? STANDING_WON_ALREADY : STANDING_ASK_OWN_LOG;
}
