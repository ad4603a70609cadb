#include "capture/adopt.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "capture/retain.h"
#include "capture/tables.h"

#define EVERY_US (2 * 1000000)
#define REFUSED_EVERY_US (60 * 1000000) /* a table that cannot be adopted: each try locks it */
#define MOST_ROWS 100000                /* touched by an adoption; a larger table waits for bootstrap */

/* A table that waits, by name. */
struct waiting {
        int64_t since_us, next_try; /* wall clock; clock_mono_us */
        bool seen;
        char why[400], todo[400];
};

static void remember(struct map *waits, const char *table, const char *why, const char *todo, int64_t next_try)
{
        struct waiting *w = map_get(waits, table, strlen(table));
        if (!w) {
                w = MEM_NEW(struct waiting);
                w->since_us = clock_wall_us();
                (void)map_put(waits, table, strlen(table), w);
        }
        if (strcmp(w->why, why) != 0)
                log_event(LOG_WARN, "capture.table_waits", "table=%s\twhy=%s\ttodo=%s", table, why, todo);
        snprintf(w->why, sizeof w->why, "%s", why);
        snprintf(w->todo, sizeof w->todo, "%s", todo);
        w->next_try = next_try;
        w->seen = true;
}

static void adopt_one(struct adopt_thread *a, struct pg *c, const struct table_plan *p, const char *table, struct map *waits)
{
        struct err e = {0};
        const struct waiting *w = map_get(waits, table, strlen(table));
        int64_t now = clock_mono_us();
        if (w && w->next_try > now) {
                ((struct waiting *)map_get(waits, table, strlen(table)))->seen = true;
                return;
        }
        enum status st = tables_adopt(c, a->topo, a->me, p, MOST_ROWS, &e);
        if (st == ST_OK)
                log_event(LOG_INFO, "capture.adopted", "table=%s", table);
        else if (!pg_lost(c))
                remember(waits, table, e.msg, "", st == ST_RETRY ? 0 : now + REFUSED_EVERY_US);
}

static json_t *one_json(const char *table, const struct waiting *w)
{
        char since[40];
        struct tm tm;
        time_t sec = (time_t)(w->since_us / 1000000);
        gmtime_r(&sec, &tm);
        strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &tm);
        return json_pack("{s:s, s:s, s:s, s:o}", "table", table, "since", since, "why", w->why, "todo",
                         w->todo[0] ? json_stringn(w->todo, strlen(w->todo)) : json_null());
}

/* Forgets who does not wait any more, and tells the rest. */
static void tell(struct adopt_thread *a, struct map *waits)
{
        size_t it = 0, len;
        const void *key;
        void *value;
        struct map kept;
        json_t *list = json_array();
        map_init(&kept, 0);
        while (map_next(waits, &it, &key, &len, &value)) {
                struct waiting *w = value;
                if (!w->seen) {
                        free(w);
                        continue;
                }
                char table[300];
                snprintf(table, sizeof table, "%.*s", (int)len, (const char *)key);
                json_t *one = one_json(table, w);
                if (one)
                        json_array_append_new(list, one);
                w->seen = false;
                (void)map_put(&kept, key, len, w);
        }
        map_release(waits);
        *waits = kept;
        char *text = json_dumps(list, JSON_COMPACT);
        json_decref(list);
        if (text)
                view_tables(a->view, text);
}

static bool ending(struct adopt_thread *a)
{
        pthread_mutex_lock(&a->lock);
        bool end = a->end;
        pthread_mutex_unlock(&a->lock);
        return end;
}

static enum status adopt_round(struct adopt_thread *a, struct pg *c, struct map *waits, struct err *e)
{
        struct arena arena;
        struct table_plan *plans = NULL;
        size_t n = 0;
        arena_init(&arena);
        enum status st = tables_plan(c, a->topo, a->me, &arena, &plans, &n, e);
        for (size_t i = 0; st == ST_OK && i < n && !ending(a); i++) {
                const struct table_plan *p = &plans[i];
                const char *table = arena_printf(&arena, "%s.%s", p->schema, p->name);
                if (p->nstatements > 0)
                        adopt_one(a, c, p, table, waits);
                if (p->state == TABLE_WAITS)
                        remember(waits, table, p->why ? p->why : "it cannot be published", p->todo ? p->todo : "", 0);
        }
        arena_release(&arena);
        if (st == ST_OK && !ending(a))
                tell(a, waits);
        return st;
}

static struct pg *connect_adopt(struct adopt_thread *a)
{
        const struct region *r = &a->topo->regions[a->me.i];
        char name[96], *password = NULL;
        struct pg *c = NULL;
        struct err e = {0};
        snprintf(name, sizeof name, "pangea capture %s adopt", r->name);
        struct pg_opts o = {.conninfo = r->conninfo, .application_name = name, .session = PG_UPKEEP, .connect_timeout_s = 3};
        if (region_password(r, &password, &e) != ST_OK)
                return NULL;
        o.password = password;
        enum status st = pg_open(&c, &o, &e);
        free(password);
        if (st != ST_OK) {
                pg_close(c);
                return NULL; /* the capture thread says why */
        }
        return c;
}

static void publish_connection(struct adopt_thread *a, struct pg *c)
{
        pthread_mutex_lock(&a->lock);
        a->pg = c;
        pthread_mutex_unlock(&a->lock);
}

static bool wait_until_ending(struct adopt_thread *a, int64_t us)
{
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += us / 1000000;
        pthread_mutex_lock(&a->lock);
        while (!a->end)
                if (pthread_cond_timedwait(&a->changed, &a->lock, &until) == ETIMEDOUT)
                        break;
        bool end = a->end;
        pthread_mutex_unlock(&a->lock);
        return end;
}

static void *adopt_main(void *arg)
{
        struct adopt_thread *a = arg;
        struct map waits;
        struct pg *c = NULL;
        int64_t retained = clock_mono_us();
        size_t it = 0, len;
        const void *key;
        void *value;
        map_init(&waits, 0);
        while (!wait_until_ending(a, EVERY_US)) {
                struct err e = {0};
                if (!c && (c = connect_adopt(a)))
                        publish_connection(a, c);
                if (!c)
                        continue;
                enum status st = adopt_round(a, c, &waits, &e);
                if (st == ST_OK && clock_mono_us() - retained >= topology_retention_every_us(a->topo)) {
                        retained = clock_mono_us();
                        st = retain_log(c, a->topo, a->me, &e);
                }
                if (st != ST_OK && !ending(a))
                        log_event(LOG_WARN, "capture.upkeep", "why=%s", e.msg);
                if (pg_lost(c)) {
                        publish_connection(a, NULL);
                        pg_close(c);
                        c = NULL;
                }
        }
        publish_connection(a, NULL);
        if (c)
                pg_close(c);
        while (map_next(&waits, &it, &key, &len, &value))
                free(value);
        map_release(&waits);
        return NULL;
}

void adopt_start(struct adopt_thread *a, const struct topology *topo, region_id me, struct view *view)
{
        pthread_condattr_t attr;
        *a = (struct adopt_thread){.topo = topo, .me = me, .view = view};
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_mutex_init(&a->lock, NULL);
        pthread_cond_init(&a->changed, &attr);
        pthread_condattr_destroy(&attr);
        a->started = pthread_create(&a->thread, NULL, adopt_main, a) == 0;
}

void adopt_stop(struct adopt_thread *a)
{
        if (!a->started)
                return;
        pthread_mutex_lock(&a->lock);
        a->end = true;
        if (a->pg)
                pg_cancel(a->pg);
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->thread, NULL);
        pthread_mutex_destroy(&a->lock);
        pthread_cond_destroy(&a->changed);
        a->started = false;
}
