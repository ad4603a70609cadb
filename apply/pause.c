/* pause: what an operator has paused (topology/pause.h): all of the agent, or what one region wrote.  Nothing is written to tables then; logs are
 * read as far as their queues reach, mirrors go on, a follower's log too. */
#include "apply/applier.h"

#include "base/clock.h"
#include "base/log.h"

static void show(struct applier *a)
{
        for (unsigned i = 0; i < a->topo->names.n; i++) {
                struct origin *o = &a->from[i];
                const struct pause *p = pause_of(a, o);
                struct err why = {0};
                if (i == a->me.i || !(a->leaders >> i & 1) || o->dead)
                        continue;
                if (p) {
                        pause_words(p, a->topo->regions[a->me.i].name, "apply",
                                    p == &a->pauses.agent ? NULL : a->topo->regions[i].name, &why);
                        origin_state(a, o, STATE_PAUSED, &why);
                        o->since_us = p->since_us;
                } else if (o->state == STATE_PAUSED) {
                        o->retry_at = 0;
                        origin_state(a, o, STATE_RUNNING, NULL);
                }
        }
}

const struct pause *pause_of(const struct applier *a, const struct origin *o)
{
        if (a->pauses.agent.on)
                return &a->pauses.agent;
        return a->pauses.origin[o->id.i].on ? &a->pauses.origin[o->id.i] : NULL;
}

enum status pause_turn(struct applier *a, bool *changed, struct err *e)
{
        struct pauses before = a->pauses;
        *changed = false;
        if (before.read && clock_mono_us() < a->pause_look_at)
                return ST_OK;
        a->pause_look_at = clock_mono_us() + PAUSE_LOOK_US;
        if (pauses_read(a->side, &a->topo->names, "apply", &a->pauses, e) != ST_OK)
                return before.read && !pg_lost(a->side) ? ST_OK : ST_RETRY; /* what was paused stays it */
        *changed = !before.read || before.agent.since_us != a->pauses.agent.since_us;
        for (unsigned i = 0; i < a->topo->names.n; i++)
                *changed |= before.origin[i].since_us != a->pauses.origin[i].since_us;
        if (*changed && (a->pauses.agent.on || before.agent.on))
                log_event(LOG_WARN, "apply.pause", "paused=%s\tby=%s\twhy=%s", a->pauses.agent.on ? "yes" : "no",
                          a->pauses.agent.by, a->pauses.agent.why);
        show(a);
        return ST_OK;
}
