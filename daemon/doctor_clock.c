/* doctor: the servers' clocks.  Each is asked a few times; the quickest answer says most. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "daemon/doctor.h"

#define TRIES 5
#define WORTH_SAYING_US 1000000

void check_clock(struct patient *p)
{
        for (int i = 0; i < TRIES; i++) {
                struct pgres *res;
                int64_t before = clock_mono_us(), wall = clock_wall_us();
                if (!ask(p, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8", 0, NULL, &res))
                        return;
                int64_t took = clock_mono_us() - before, there = pgres_i64(res, 0, 0);
                pgres_free(res);
                if (p->clock_known && took / 2 >= p->clock_uncertain_us)
                        continue;
                p->clock_us = there - (wall + took / 2);
                p->clock_uncertain_us = took / 2 + 1;
                p->clock_known = true;
        }
}

int64_t clock_difference(int64_t a_us, int64_t a_uncertain_us, int64_t b_us, int64_t b_uncertain_us)
{
        int64_t apart = a_us > b_us ? a_us - b_us : b_us - a_us;
        apart -= a_uncertain_us + b_uncertain_us;
        return apart > 0 ? apart : 0;
}

/* The pair that is furthest apart. */
void check_clocks_together(struct doctor *d)
{
        const struct patient *ahead = NULL, *behind = NULL;
        int64_t most = 0;
        for (size_t i = 0; i < d->t->nregions; i++)
                for (size_t k = 0; k < d->t->nregions; k++) {
                        const struct patient *a = &d->patients[i], *b = &d->patients[k];
                        if (!a->clock_known || !b->clock_known || a->clock_us <= b->clock_us)
                                continue;
                        int64_t apart = clock_difference(a->clock_us, a->clock_uncertain_us, b->clock_us, b->clock_uncertain_us);
                        if (apart > most) {
                                most = apart;
                                ahead = a;
                                behind = b;
                        }
                }
        bool paused = most > d->t->max_skew_us;
        if (!ahead || !behind)
                return;
        if (!paused && most < WORTH_SAYING_US && most * 2 <= d->t->max_skew_us)
                return;
        find(&d->together, paused ? SEVERITY_ERROR : SEVERITY_WARNING, NULL,
             "on both servers: chronyc tracking   -- and timedatectl set-ntp true where no time service runs",
             "the clock of %s is %.1f s ahead of that of %s%s", ahead->region->name, (double)most / 1e6, behind->region->name,
             paused ? ", more than clock.max_skew: its changes will be paused there" : "");
}
