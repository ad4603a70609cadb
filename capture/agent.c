#include "capture/agent.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "capture/adopt.h"
#include "capture/session.h"
#include "capture/status.h"
#include "topology/metrics.h"

#define BACKOFF_MIN_US 100000
#define BACKOFF_MAX_US 1000000
#define HEALTHY_US 10000000 /* a session that lived so long starts the back-off anew */

/* Named stops that mend themselves or are mended elsewhere: waited for by name. */
static const char *const waited_for[] = {"topic_missing", "slot_active", "standby"};

static bool waits(enum status st, const struct err *e)
{
        for (size_t i = 0; i < sizeof waited_for / sizeof *waited_for; i++)
                if (strcmp(e->name, waited_for[i]) == 0)
                        return true;
        /* 25006: somebody has made the database read-only; like apply, go on when it is writable again */
        return st == ST_RETRY || strcmp(e->sqlstate, "25006") == 0;
}

/* Until the time is over or somebody wants something of us. */
static void back_off(struct control *c, int64_t us)
{
        int64_t until = clock_mono_us() + us, left;
        while ((left = until - clock_mono_us()) > 0 && atomic_load(&c->stop) == STOP_NO && !atomic_load(&c->next)) {
                struct pollfd fd = {.fd = c->wake_fd, .events = POLLIN};
                uint64_t drop;
                control_turned(c);
                if (poll(&fd, 1, (int)(left / 1000 + 1)) > 0)
                        (void)!read(c->wake_fd, &drop, sizeof drop);
        }
}

static struct session *session_new(const struct topology *t, region_id me, struct control *control, struct view *view)
{
        struct session *s = MEM_NEW(struct session);
        s->topo = t;
        s->region = &t->regions[me.i];
        s->me = me;
        s->control = control;
        s->view = view;
        topology_slot(t, me, s->slot, sizeof s->slot);
        topology_publication(t, me, s->publication, sizeof s->publication);
        topology_topic(t, me, s->topic, sizeof s->topic);
        snprintf(s->application, sizeof s->application, "pangea capture %s", s->region->name);
        return s;
}

/* Without a session: the slot keeps what is not published. The status thread sees when it is over. */
static void wait_while_paused(struct control *control, struct view *view)
{
        while (view_paused(view) && atomic_load(&control->stop) == STOP_NO && !atomic_load(&control->next)) {
                view_show_pause(view);
                back_off(control, PAUSE_LOOK_US);
        }
}

/* Sessions under one topology, until asked to stop, stopped by name, or handed another topology (then ST_OK). */
static enum status run_sessions(const struct topology *t, region_id me, struct control *control, struct view *view, struct err *e)
{
        int64_t wait = BACKOFF_MIN_US;
        unsigned seed = (unsigned)getpid() ^ (unsigned)clock_mono_us();
        for (;;) {
                wait_while_paused(control, view);
                if (atomic_load(&control->stop) != STOP_NO)
                        return err_set(e, ST_STOP, "asked to stop");
                if (atomic_load(&control->next))
                        return ST_OK;
                int64_t began = clock_mono_us();
                struct session *s = session_new(t, me, control, view);
                enum status st = session_run(s, e);
                free(s);
                if (st == ST_STOP && atomic_load(&control->stop) != STOP_NO)
                        return st;
                if (st == ST_STOP && atomic_load(&control->next))
                        return ST_OK;
                if (st == ST_STOP || strcmp(e->name, "paused") == 0)
                        continue;
                if (!waits(st, e))
                        return st;
                if (clock_mono_us() - began > HEALTHY_US)
                        wait = BACKOFF_MIN_US;
                view_error(view, STATE_WAITING, e);
                metrics_add(control->metrics, METRIC_AGENT_SESSIONS, METRIC_LABELS("capture", metrics_class(e)), 1);
                back_off(control, wait / 2 + (int64_t)((double)wait / 2 * rand_r(&seed) / RAND_MAX));
                wait = wait * 2 > BACKOFF_MAX_US ? BACKOFF_MAX_US : wait * 2;
                if (atomic_load(&control->stop) != STOP_NO)
                        return err_set(e, ST_STOP, "asked to stop");
                if (atomic_load(&control->next))
                        return ST_OK;
        }
}

static enum status run_topology(struct topology *t, const char *region, struct control *control, struct view *view, struct err *e)
{
        const struct region *r = topology_region(t, region);
        struct status_thread status = {0};
        struct adopt_thread adopt = {0};
        if (!r)
                return err_set(e, ST_CONFIG, "region %s is not in the topology any more", region);
        status_start(&status, r, &t->names, control, view);
        adopt_start(&adopt, t, r->id, view);
        enum status st = run_sessions(t, r->id, control, view, e);
        adopt_stop(&adopt);
        if (st == ST_STOP)
                view_state(view, STATE_STOPPED, "asked to stop");
        else if (st != ST_OK)
                view_error(view, STATE_STOPPED, e);
        status_stop(&status);
        return st;
}

enum status capture_run(const struct agent_opts *o, struct err *e)
{
        struct topology *t = o->topology;
        struct view view;
        char region[REGION_NAME_MAX + 1], slot[64];
        enum status st;
        snprintf(region, sizeof region, "%s", t->regions[o->me.i].name);
        topology_slot(t, o->me, slot, sizeof slot);
        view_init(&view, region, slot);
        view.metrics = o->control->metrics;
        while ((st = run_topology(t, region, o->control, &view, e)) == ST_OK) {
                struct topology *next = atomic_exchange(&o->control->next, NULL);
                if (!next)
                        continue;
                topology_free(t);
                t = next;
                log_event(LOG_INFO, "capture.topology", "file=%s", t->file);
        }
        topology_free(t);
        view_release(&view);
        return st;
}
