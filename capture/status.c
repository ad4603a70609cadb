#include "capture/status.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"
#include "postgres/pg.h"

#define EVERY_US 1000000
#define CONNECT_EVERY_US 2000000

static const char LAG_SQL[] =
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), $1::pg_catalog.pg_lsn)::int8";
static const char PUT_SQL[] =
        "INSERT INTO pangea.status (agent, at, doc) SELECT 'capture', now(), $1::jsonb || jsonb_build_object('retained_bytes', ("
        " SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::int8"
        " FROM pg_catalog.pg_replication_slots WHERE slot_name = $2)) "
        "ON CONFLICT (agent) DO UPDATE SET at = excluded.at, doc = excluded.doc";

static void iso_time(char *out, size_t size, int64_t wall_us)
{
        struct tm tm;
        time_t sec = (time_t)(wall_us / 1000000);
        gmtime_r(&sec, &tm);
        size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(out + n, size - n, ".%03dZ", (int)(wall_us / 1000 % 1000));
}

/* jansson's json_stringn: valid UTF-8 or null */
static json_t *text_json(const char *s)
{
        json_t *j = json_stringn(s, strlen(s));
        return j ? j : json_null();
}

static json_t *text_or_null(const char *s)
{
        return *s ? text_json(s) : json_null();
}

static json_t *vector_json(const struct view_numbers *n)
{
        json_t *j = json_object();
        for (unsigned i = 0; i < n->regs.n; i++)
                if (n->vec.at[i].v)
                        json_object_set_new(j, n->regs.name[i], json_integer((json_int_t)n->vec.at[i].v));
        return j;
}

static void put_numbers(json_t *doc, const struct view_numbers *n)
{
        char lsn[LSN_STRLEN];
        json_object_set_new(doc, "epoch", json_integer((json_int_t)n->epoch));
        json_object_set_new(doc, "decoded_lsn", text_json(lsn_str(lsn, n->decoded)));
        json_object_set_new(doc, "confirmed_lsn", text_json(lsn_str(lsn, n->confirmed)));
        json_object_set_new(doc, "hlc", json_integer((json_int_t)n->hlc.v));
        json_object_set_new(doc, "log_offset", json_integer(n->offset.v));
        json_object_set_new(doc, "groups", json_integer((json_int_t)n->groups));
        json_object_set_new(doc, "transactions", json_integer((json_int_t)n->transactions));
        json_object_set_new(doc, "rows", json_integer((json_int_t)n->rows));
        json_object_set_new(doc, "bytes", json_integer((json_int_t)n->bytes));
        json_object_set_new(doc, "pending_records", json_integer((json_int_t)n->pending));
        json_object_set_new(doc, "vector", vector_json(n));
}

void status_doc(struct view *v, int64_t lag_bytes, struct buf *out)
{
        char since[40];
        json_t *doc = json_object();
        pthread_mutex_lock(&v->lock);
        enum agent_state state = v->state == STATE_RUNNING && lag_bytes > BEHIND_BYTES ? STATE_CATCHING_UP : v->state;
        iso_time(since, sizeof since, v->since_us);
        json_object_set_new(doc, "agent", text_json("capture"));
        json_object_set_new(doc, "region", text_json(v->region));
        json_object_set_new(doc, "pid", json_integer(getpid()));
        json_object_set_new(doc, "version", text_json(PANGEA_VERSION));
        json_object_set_new(doc, "state", text_json(state_name(state)));
        json_object_set_new(doc, "since", text_json(since));
        json_object_set_new(doc, "why", text_or_null(v->why));
        json_object_set_new(doc, "todo", text_or_null(v->todo));
        json_object_set_new(doc, "error", text_or_null(v->error));
        json_object_set_new(doc, "slot", text_json(v->slot));
        put_numbers(doc, &v->now);
        json_t *tables = v->tables ? json_loads(v->tables, 0, NULL) : NULL;
        json_object_set_new(doc, "tables_waiting", tables ? tables : json_array());
        pthread_mutex_unlock(&v->lock);
        char *text = json_dumps(doc, JSON_COMPACT);
        buf_reset(out);
        buf_put_str(out, text ? text : "{}");
        free(text);
        json_decref(doc);
}

enum status status_tell(struct view *v, struct pg *c, int64_t lag_bytes, struct err *e)
{
        struct buf doc;
        buf_init(&doc, 0);
        status_doc(v, lag_bytes, &doc);
        struct pg_param params[] = {PG_TEXT(buf_cstr(&doc)), PG_TEXT(v->slot)};
        enum status st = pg_query(c, PUT_SQL, 2, params, false, NULL, e);
        buf_release(&doc);
        return st;
}

static enum status write_row(struct status_thread *s, struct pg *c, struct err *e)
{
        char lsn[LSN_STRLEN];
        struct pgres *res = NULL;
        pthread_mutex_lock(&s->view->lock);
        lsn_str(lsn, s->view->now.decoded);
        pthread_mutex_unlock(&s->view->lock);
        enum status st = pg_query(c, LAG_SQL, 1, &PG_TEXT(lsn), false, &res, e);
        if (st != ST_OK)
                return st;
        int64_t lag = pgres_i64(res, 0, 0);
        pgres_free(res);
        st = status_tell(s->view, c, lag, e);
        return st == ST_OK ? gauges_read(&s->gauges, s->view, c, lag, e) : st;
}

static struct pg *connect_status(struct status_thread *s)
{
        char name[96], *password = NULL;
        struct pg *c = NULL;
        struct err e = {0};
        snprintf(name, sizeof name, "pangea capture %s status", s->region->name);
        struct pg_opts o = {
                .conninfo = s->region->conninfo, .application_name = name, .session = PG_UPKEEP, .connect_timeout_s = 3};
        if (region_password(s->region, &password, &e) != ST_OK)
                return NULL;
        o.password = password;
        enum status st = pg_open(&c, &o, &e);
        free(password);
        if (st == ST_OK)
                st = pg_exec(c, "SET statement_timeout = '5s'; SET lock_timeout = '1s'", NULL, &e);
        if (st != ST_OK) {
                pg_close(c);
                return NULL; /* the capture thread says why PostgreSQL cannot be reached */
        }
        return c;
}

/* Until the state changed, it is time to look whether it is paused, or the end is asked for (then true). */
static bool wait_for_news(struct view *v, uint64_t *seen)
{
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PAUSE_LOOK_US * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&v->lock);
        while (!v->end && v->version == *seen)
                if (pthread_cond_timedwait(&v->changed, &v->lock, &until) == ETIMEDOUT)
                        break;
        *seen = v->version;
        bool end = v->end;
        pthread_mutex_unlock(&v->lock);
        return end;
}

static void look_for_pause(struct status_thread *s, struct pg *c, struct pauses *known)
{
        struct err ignored;
        uint64_t one = 1;
        if (pauses_read(c, s->names, "capture", known, &ignored) == ST_OK && view_pause(s->view, &known->agent))
                (void)!write(s->control->wake_fd, &one, sizeof one);
}

static void *status_main(void *arg)
{
        struct status_thread *s = arg;
        struct pg *c = NULL;
        struct pauses pauses = {.read = false};
        uint64_t seen = 0, told = UINT64_MAX;
        int64_t tried = 0, wrote = 0;
        for (bool end = false; !end;) {
                end = wait_for_news(s->view, &seen);
                if (c && !end)
                        look_for_pause(s, c, &pauses);
                if (!end && seen == told && clock_mono_us() - wrote < EVERY_US)
                        continue;
                told = seen;
                wrote = clock_mono_us();
                gauges_show(&s->gauges, s->view);
                if (!c && (end || clock_mono_us() - tried >= CONNECT_EVERY_US)) {
                        tried = clock_mono_us();
                        c = connect_status(s);
                }
                struct err e = {0};
                if (c && write_row(s, c, &e) != ST_OK) {
                        log_event(LOG_DEBUG, "capture.status_not_written", "why=%s", e.msg);
                        if (pg_lost(c) || end) {
                                pg_close(c);
                                c = NULL;
                                pauses.read = false;
                        }
                }
        }
        if (c)
                pg_close(c);
        return NULL;
}

void status_start(struct status_thread *s, const struct region *region, const struct regset *names, struct control *control,
                  struct view *view)
{
        s->region = region;
        s->names = names;
        s->control = control;
        s->view = view;
        s->view->end = false;
        s->started = pthread_create(&s->thread, NULL, status_main, s) == 0;
}

void status_stop(struct status_thread *s)
{
        if (!s->started)
                return;
        pthread_mutex_lock(&s->view->lock);
        s->view->end = true;
        pthread_cond_broadcast(&s->view->changed);
        pthread_mutex_unlock(&s->view->lock);
        pthread_join(s->thread, NULL);
        s->started = false;
}
