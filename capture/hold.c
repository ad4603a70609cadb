#include "capture/hold.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define SAY_EVERY_US 10000000 /* the number of bytes changes all the time, and each change is logged */

/* One row for each name, in their order.  The lowest of several sessions of one name: an old one that is about to end may linger. */
static const char LOOK_SQL[] =
        "SELECT count(r.pid), min(r.flush_lsn), pg_catalog.pg_current_wal_flush_lsn(),"
        " NOT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') "
        "FROM unnest(string_to_array($1, E'\\n')) WITH ORDINALITY n(name, at) LEFT JOIN pg_catalog.pg_stat_replication r"
        " ON r.application_name = n.name AND r.state IS DISTINCT FROM 'backup' GROUP BY n.at ORDER BY n.at";

static enum status look(struct session *s, int64_t now, struct err *e)
{
        struct standby_seen seen[STANDBYS_MAX] = {0};
        struct standbys *w = &s->standbys;
        char names[STANDBYS_MAX * (STANDBY_NAME_MAX + 1) + 1];
        struct pgres *res = NULL;
        lsn_t server = {0};
        size_t at = 0;
        for (size_t i = 0; i < w->n; i++)
                at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? "\n" : "", w->name[i]);
        enum status st = pg_query(s->side, LOOK_SQL, 1, &PG_TEXT(names), false, &res, e);
        if (st != ST_OK)
                return st;
        for (size_t i = 0; i < w->n && (int)i < pgres_rows(res); i++) {
                seen[i].connected = pgres_i64(res, (int)i, 0) > 0;
                (void)lsn_parse(pgres_text(res, (int)i, 1), &seen[i].flush);
                (void)lsn_parse(pgres_text(res, (int)i, 2), &server);
                seen[i].hidden = pgres_text(res, (int)i, 3)[0] == 't';
        }
        pgres_free(res);
        standbys_look(w, seen, server, now);
        return ST_OK;
}

enum status hold_message(struct session *s, const struct stream_msg *m, bool *held, struct err *e)
{
        lsn_t need = standbys_need(m->data, m->len, s->tx.start);
        *held = standbys_hold(&s->standbys, need);
        if (!*held)
                return ST_OK;
        int64_t now = clock_mono_us();
        if (standbys_due_in(&s->standbys, now) <= 0) {
                enum status st = look(s, now, e);
                if (st != ST_OK)
                        return st;
                *held = standbys_hold(&s->standbys, need);
        }
        s->held = *m;
        return ST_OK;
}

static void move_decoded(struct session *s)
{
        if (s->tx.mode == TX_NONE)
                txread_reached(&s->tx, standbys_clip(&s->standbys, s->standbys.reached));
}

enum status hold_turn(struct session *s, int64_t now, struct err *e)
{
        if (standbys_due_in(&s->standbys, now) > 0)
                return ST_OK;
        enum status st = look(s, now, e);
        if (st == ST_OK)
                move_decoded(s);
        return st;
}

void hold_reached(struct session *s, lsn_t at)
{
        if (s->tx.mode != TX_NONE)
                return; /* of the transactions before, the one that is open is not among them */
        s->standbys.reached = lsn_max(s->standbys.reached, at);
        move_decoded(s);
}

bool hold_show(struct session *s, int64_t now)
{
        struct err e = {0};
        if (!standbys_late(&s->standbys, now)) {
                s->blamed_at = 0;
                return false;
        }
        (void)standbys_blame(&s->standbys, s->region->name, &e);
        const char *what = strcmp(e.name, "standby_behind") == 0 ? e.name : e.msg;
        if (s->blamed_at == 0 || now - s->blamed_at > SAY_EVERY_US || strcmp(what, s->blamed) != 0) {
                view_error(s->view, STATE_WAITING, &e);
                snprintf(s->blamed, sizeof s->blamed, "%s", what);
                s->blamed_at = now;
        }
        return true;
}
