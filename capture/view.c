#include "capture/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/stops.h"

void view_init(struct view *v, const char *region, const char *slot)
{
        memset(v, 0, sizeof *v);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_mutex_init(&v->lock, NULL);
        pthread_cond_init(&v->changed, &attr);
        pthread_condattr_destroy(&attr);
        snprintf(v->region, sizeof v->region, "%s", region);
        snprintf(v->slot, sizeof v->slot, "%s", slot);
        v->state = STATE_STARTING;
        v->since_us = clock_wall_us();
        v->now.offset.v = -1;
}

void view_release(struct view *v)
{
        pthread_mutex_destroy(&v->lock);
        pthread_cond_destroy(&v->changed);
        free(v->tables);
        v->tables = NULL;
}

static void set(struct view *v, enum agent_state state, const char *name, const char *why, const char *todo)
{
        pthread_mutex_lock(&v->lock);
        bool moved = v->state != state || strcmp(v->error, name) != 0;
        bool told = moved || strcmp(v->why, why) != 0;
        if (moved)
                v->since_us = clock_wall_us();
        if (told) {
                v->state = state;
                snprintf(v->error, sizeof v->error, "%s", name);
                snprintf(v->why, sizeof v->why, "%s", why);
                snprintf(v->todo, sizeof v->todo, "%s", todo);
                v->version++;
                pthread_cond_broadcast(&v->changed);
        }
        pthread_mutex_unlock(&v->lock);
        if (told)
                log_event(state == STATE_STOPPED                            ? LOG_ERROR
                          : state == STATE_WAITING || state == STATE_PAUSED ? LOG_WARN
                                                                            : LOG_INFO,
                          "capture.state", "state=%s\tname=%s\twhy=%s", state_name(state), name, why);
}

static const char by_itself[] = "pangea goes on trying by itself; when it lasts, mend what the message names";

void view_state(struct view *v, enum agent_state state, const char *why)
{
        set(v, state, "", why, state == STATE_WAITING ? by_itself : "");
}

void view_error(struct view *v, enum agent_state state, const struct err *e)
{
        char todo[400];
        stop_todo(e->name, v->region, todo, sizeof todo);
        set(v, state, e->name, e->msg, !todo[0] && state == STATE_WAITING ? by_itself : todo);
}

bool view_pause(struct view *v, const struct pause *p)
{
        struct pause none = {.on = false};
        p = p ? p : &none;
        pthread_mutex_lock(&v->lock);
        bool changed = v->pause.on != p->on || v->pause.since_us != p->since_us;
        v->pause = *p;
        pthread_mutex_unlock(&v->lock);
        return changed;
}

bool view_paused(struct view *v)
{
        pthread_mutex_lock(&v->lock);
        bool on = v->pause.on;
        pthread_mutex_unlock(&v->lock);
        return on;
}

/* The words of pause_words, with the time of the pause as that of the state. */
void view_show_pause(struct view *v)
{
        struct err e = {0};
        struct pause p;
        pthread_mutex_lock(&v->lock);
        p = v->pause;
        pthread_mutex_unlock(&v->lock);
        if (!p.on)
                return;
        pause_words(&p, v->region, "capture", NULL, &e);
        const char *todo = strrchr(e.msg, ';');
        set(v, STATE_PAUSED, e.name, e.msg, todo ? todo + 2 : "");
        pthread_mutex_lock(&v->lock);
        v->since_us = p.since_us;
        pthread_mutex_unlock(&v->lock);
}

void view_numbers(struct view *v, const struct view_numbers *n)
{
        pthread_mutex_lock(&v->lock);
        v->now = *n;
        pthread_mutex_unlock(&v->lock);
}

void view_tables(struct view *v, char *json)
{
        pthread_mutex_lock(&v->lock);
        if (!v->tables || strcmp(v->tables, json) != 0) {
                v->version++;
                pthread_cond_broadcast(&v->changed);
        }
        free(v->tables);
        v->tables = json;
        pthread_mutex_unlock(&v->lock);
}
