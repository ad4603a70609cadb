#include "apply/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/applier.h"
#include "apply/plugin.h"
#include "apply/hidden.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "topology/metrics.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define IDLE_US 50000
#define FREEZE_US (5 * SECOND)

static void set_topology(struct applier *a, struct topology *t)
{
        a->topo = t;
        a->follower = t->regions[a->me.i].role == ROLE_FOLLOWER;
        a->leaders = 0;
        for (size_t i = 0; i < t->nregions; i++) {
                a->from[i].id = (region_id){(uint8_t)i};
                if (t->regions[i].role == ROLE_LEADER)
                        a->leaders |= UINT32_C(1) << i;
        }
}

static enum status applier_open(struct applier **out, const struct agent_opts *o, struct err *e)
{
        struct applier *a = MEM_NEW(struct applier);
        int fds[2];
        a->me = o->me;
        a->control = o->control;
        a->fixed = mem_zalloc(sizeof *a->fixed * FIXED_COUNT);
        a->plugins = plugins_new(o->control->allow_plugins);
        a->tombs = tombs_new();
        a->open = tombs_new();
        a->hidden = hidden_new();
        arena_init(&a->arena);
        arena_init(&a->own_arena);
        if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) {
                err_set(e, ST_FATAL, "pipe: %s", strerror(errno));
                tombs_free(a->tombs);
                tombs_free(a->open);
                plugins_free(a->plugins);
                hidden_free(a->hidden);
                free(a->fixed);
                free(a);
                return ST_FATAL;
        }
        a->wake_fd = fds[0];
        a->wake_write = fds[1];
        set_topology(a, o->topology);
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                a->from[i].since_us = clock_wall_us();
        apply_forget(a);
        a->mirrors = mirrors_start(a->topo, a->me);
        meter_init(&a->meter, o->control->metrics);
        *out = a;
        return ST_OK;
}

static void applier_close(struct applier *a)
{
        mirrors_stop(a->mirrors);
        apply_forget(a);
        meter_release(&a->meter);
        tombs_free(a->tombs);
        tombs_free(a->open);
        plugins_free(a->plugins);
        hidden_free(a->hidden);
        arena_release(&a->arena);
        arena_release(&a->own_arena);
        free(a->own_marks);
        free(a->fixed);
        topology_free(a->topo);
        close(a->wake_fd);
        close(a->wake_write);
        free(a);
}

/* Sleeps until a record comes, somebody wants something, or us have passed. */
static void idle(struct applier *a, int64_t us)
{
        struct pollfd fds[2] = {{.fd = a->wake_fd, .events = POLLIN}, {.fd = a->control->wake_fd, .events = POLLIN}};
        bool stopping = atomic_load(&a->control->stop) != STOP_NO;
        control_turned(a->control);
        poll(fds, stopping ? 1 : 2, (int)((us + 999) / 1000));
        wake_drain(a->wake_fd);
}

static bool all_stopped(const struct applier *a, struct err *e)
{
        bool any = false;
        if (mirrors_alive(a->mirrors))
                return false; /* others read what they copy */
        for (unsigned i = 0; i < a->topo->names.n; i++) {
                const struct origin *o = &a->from[i];
                if (i == a->me.i || !(a->leaders >> i & 1))
                        continue;
                if (!o->dead || o->state != STATE_STOPPED)
                        return false;
                *e = o->why;
                any = true;
        }
        return any;
}

static int64_t soonest_retry(const struct applier *a)
{
        int64_t at = IDLE_US, now = clock_mono_us();
        for (unsigned i = 0; i < a->topo->names.n; i++) {
                const struct origin *o = &a->from[i];
                if (o->retry_at && !o->dead && o->retry_at - now < at)
                        at = o->retry_at - now;
        }
        return at > 0 ? at : 0;
}

struct timers {
        int64_t status, stability, history, freeze;
        enum agent_state said;
        int64_t since;
};

static void status_now(struct applier *a, int64_t since)
{
        struct err why = {0};
        const struct pause *p = &a->pauses.agent;
        if (p->on)
                pause_words(p, a->topo->regions[a->me.i].name, "apply", NULL, &why);
        status_write(a, p->on ? STATE_PAUSED : STATE_RUNNING, p->on ? p->since_us : since, p->on ? &why : NULL);
}

static enum status housekeeping(struct applier *a, struct timers *t, struct err *e)
{
        int64_t now = clock_mono_us();
        enum status s = follower_turn(a->follow, a, e);
        if (s == ST_OK && now >= t->stability) {
                t->stability = now + SECOND;
                s = stability_turn(a, e);
                if (s == ST_RETRY && !session_lost(a->db) && !pg_lost(a->side))
                        s = ST_OK; /* a lock, a deadlock: in a second again */
        }
        if (s == ST_OK && now >= t->history) {
                t->history = now + HOUR;
                history_turn(a);
        }
        if (s == ST_OK && now >= t->freeze) {
                t->freeze = now + FREEZE_US;
                freeze_look(a);
        }
        if (s == ST_OK && now >= t->status) {
                t->status = now + SECOND;
                status_now(a, t->since);
                if (pg_lost(a->side)) /* with nothing to apply nobody else would notice, and the agent would be silent for good */
                        s = err_set(e, ST_RETRY, "the session that writes the status was lost");
        }
        return s;
}

/* One session: until it is lost (ST_RETRY), asked to stop, or a named stop. */
static enum status live(struct applier *a, struct err *e)
{
        struct timers t = {.since = clock_wall_us()};
        bool moved;
        enum status s = apply_start(a, e);
        if (s == ST_OK)
                status_now(a, t.since); /* before pauses are read: who pauses waits for an agent that lives, or is seen below */
        while (s == ST_OK) {
                control_turned(a->control);
                if (atomic_load(&a->control->stop) != STOP_NO)
                        return ST_STOP;
                struct topology *next = atomic_exchange(&a->control->next, NULL);
                if (next) {
                        log_event(LOG_INFO, "apply.topology", "file=%s", next->file);
                        apply_forget(a);
                        mirrors_stop(a->mirrors);
                        topology_free(a->topo);
                        set_topology(a, next);
                        a->mirrors = mirrors_start(a->topo, a->me);
                        apply_forget(a);
                        return err_set(e, ST_OK, "a new topology");
                }
                bool paused_or_resumed = false;
                s = pause_turn(a, &paused_or_resumed, e);
                if (paused_or_resumed)
                        t.status = 0;
                if (s == ST_OK)
                        s = apply_turn(a, &moved, e);
                if (s == ST_OK)
                        s = housekeeping(a, &t, e);
                if (s == ST_OK && all_stopped(a, e))
                        s = e->code == ST_OK ? ST_DATA : e->code;
                if (s == ST_OK && !moved)
                        idle(a, soonest_retry(a));
        }
        return s;
}

enum status apply_run(const struct agent_opts *o, struct err *e)
{
        struct applier *a = NULL;
        int64_t pause = 100000, since = clock_wall_us();
        enum status s = applier_open(&a, o, e);
        if (s != ST_OK) {
                topology_free(o->topology);
                return s;
        }
        for (;;) {
                int64_t began = clock_mono_us();
                s = live(a, e);
                if (s == ST_OK)
                        continue; /* a new topology */
                if (s != ST_RETRY || atomic_load(&a->control->stop) != STOP_NO)
                        break;
                log_event(LOG_WARN, "apply.again", "in_ms=%d\tsqlstate=%s\twhy=%s", (int)(pause / 1000), e->sqlstate, e->msg);
                metrics_add(a->control->metrics, METRIC_AGENT_SESSIONS, METRIC_LABELS("apply", metrics_class(e)), 1);
                status_write(a, STATE_WAITING, since, e);
                apply_forget(a);
                pause = clock_mono_us() - began > 10 * SECOND ? 100000 : pause * 2 > 5 * SECOND ? 5 * SECOND : pause * 2;
                for (int64_t end = clock_mono_us() + pause / 2 + random() % (pause / 2);
                     clock_mono_us() < end && atomic_load(&a->control->stop) == STOP_NO;)
                        idle(a, end - clock_mono_us());
        }
        if (s == ST_RETRY || s == ST_STOP) {
                s = ST_STOP;
                log_event(LOG_INFO, "apply.end", "why=asked to stop");
        } else {
                log_event(LOG_ERROR, "apply.stopped", "error=%s\tsqlstate=%s\twhy=%s", e->name, e->sqlstate, e->msg);
                status_write(a, STATE_STOPPED, clock_wall_us(), e);
        }
        applier_close(a);
        return s;
}
