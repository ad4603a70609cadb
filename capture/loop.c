/* The loop of a running capture: socket -> groups -> log -> feedback (DESIGN 5.3 to 5.7).
 *
 *   gulp: everything the socket holds      close the group      PROGRESS if due      delivery reports, feedback      wait
 *                                          (not while behind)
 *
 * While data flows it is not read at once (pause_us): a reader that wakes for every message makes the walsender send one packet a message.
 * Nothing waits while nothing is pending; while a standby is waited for nothing is read (hold.h). */
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/hold.h"

#define GULP_MESSAGES 20000 /* then records, reports and feedback have a turn */
#define FLOWING_MESSAGES 16 /* a gulp with more of them: data flows */
#define PAUSE_US 200
#define MOST_PAUSE_US 20000
#define GULP_BYTES (128 << 10) /* less than the sockets hold: the walsender must never wait for us */
#define BEHIND_US \
        50000 /* what committed so long ago is not hurried: full groups cost capture, Kafka and apply a fraction of small ones */
#define LATE_SHARE 10 /* of the time that it is late already a group waits a tenth for what comes next, MOST_LULL_US at most */
#define MOST_LULL_US 100000
#define FEEDBACK_MIN_US 1000 /* a synchronous commit waits for it; the walsender pays for each */
#define FEEDBACK_EVERY_US 1000000
#define PAIR_EVERY_US 100000
#define VIEW_EVERY_US 200000
#define MOVING_US 3000000 /* without any delivery for so long it is not running */

static const char PAIR_SQL[] = "SELECT pg_catalog.pg_snapshot_xmin(s)::text::int8, pg_catalog.pg_current_wal_insert_lsn(), "
                               "pg_catalog.pg_snapshot_xmax(s)::text::int8 FROM pg_catalog.pg_current_snapshot() s";

static enum status read_pair(struct session *s, int64_t now, struct err *e)
{
        struct pgres *res = NULL;
        enum status st = pg_exec(s->side, PAIR_SQL, &res, e);
        if (st != ST_OK)
                return st;
        struct xmin_pair pair = {.xmin = {(uint64_t)pgres_i64(res, 0, 0)}};
        if (lsn_parse(pgres_text(res, 0, 1), &pair.lsn))
                progress_pair(&s->progress, pair);
        s->tx.xid_near.v = (uint64_t)pgres_i64(res, 0, 2);
        pgres_free(res);
        s->pair_at = now;
        s->paired = s->handled;
        return ST_OK;
}

static enum status put_progress(struct session *s, int64_t now, struct err *e)
{
        struct buf b;
        struct xmin_pair known = progress_known(&s->progress, s->tx.decoded);
        struct record_progress r = {.vec = s->tx.vec, .decoded = s->tx.decoded, .xmin = known.xmin, .xmin_lsn = known.lsn};
        r.vec.at[s->me.i] = s->groups.hlc;
        r.wall_us = clock_wall_us();
        struct record_head h = outlet_head(&s->outlet, RECORD_PROGRESS);
        buf_init(&b, 1 << 16);
        enum status st = wire_encode_progress(&b, &h, &r, &s->regs, e);
        if (st == ST_OK)
                st = outlet_put(&s->outlet, &h, &b, s->tx.decoded, e);
        buf_release(&b);
        progress_said(&s->progress, now);
        return st;
}

/* Never between the chunks of a group: the vector cannot move there, and the chunks themselves prove that we move. */
static enum status progress_if_due(struct session *s, int64_t now, struct err *e)
{
        enum status st = ST_OK;
        bool something = s->handled != s->paired;
        if (s->tx.mode == TX_DIRECT)
                return ST_OK;
        int64_t due_in = progress_due_in(&s->progress, now);
        if ((something && now - s->pair_at >= PAIR_EVERY_US) || (due_in <= 0 && now - s->pair_at >= PAIR_EVERY_US / 10))
                st = read_pair(s, now, e);
        if (st != ST_OK || due_in > 0)
                return st;
        st = txread_close(&s->tx, e);
        return st == ST_OK ? put_progress(s, now, e) : st;
}

static enum status keepalive(struct session *s, const struct stream_msg *m, struct err *e)
{
        bool moved = lsn_before(s->received, m->wal_end);
        s->received = lsn_max(s->received, m->wal_end);
        hold_reached(s, m->wal_end);
        /* a server that shuts down asks until its last WAL is confirmed, which a PROGRESS does */
        if (m->reply_now && lsn_before(s->outlet.delivered, s->tx.decoded))
                s->progress.due_now = true;
        return moved || m->reply_now ? session_feedback(s, e) : ST_OK;
}

/* One message, or what was held back of it; *held: not yet, and nothing behind it either. */
static enum status handle(struct session *s, const struct stream_msg *m, int64_t now, bool *held, struct err *e)
{
        *held = false;
        s->sent_us = m->sent_us;
        if (m->kind == STREAM_KEEPALIVE)
                return keepalive(s, m, e);
        if (s->standbys.n > 0) {
                enum status st = hold_message(s, m, held, e);
                if (st != ST_OK || *held)
                        return st;
        }
        s->handled++;
        s->received = lsn_max(s->received, m->wal_start);
        return txread_message(&s->tx, m->data, m->len, now, e);
}

/* Everything that is there; *n messages. */
static enum status gulp(struct session *s, unsigned *n, struct err *e)
{
        unsigned before;
        bool held = false;
        *n = 0;
        s->gulped = 0;
        if (s->standbys.need.v) {
                struct stream_msg m = s->held;
                enum status st = handle(s, &m, clock_mono_us(), &held, e);
                if (st != ST_OK || held)
                        return st;
        }
        do {
                enum status st = pgstream_consume(s->stream, e);
                if (st != ST_OK)
                        return st;
                int64_t now = clock_mono_us();
                struct stream_msg m;
                before = *n;
                while (*n < GULP_MESSAGES && (st = pgstream_next(s->stream, &m, e)) == ST_OK) {
                        st = handle(s, &m, now, &held, e);
                        if (st != ST_OK || held)
                                return st;
                        s->gulped += m.len;
                        ++*n;
                }
                if (st == ST_RETRY && pgstream_lost(s->stream))
                        return st;
                if (st != ST_OK && st != ST_RETRY)
                        return st;
        } while (*n > before && *n < GULP_MESSAGES);
        return ST_OK;
}

static void show(struct session *s, int64_t now)
{
        const struct groups *g = &s->groups;
        struct view_numbers n = {.epoch = s->outlet.head.epoch, .groups = g->ngroups, .transactions = g->ntxs, .rows = g->nrows};
        if (now - s->viewed_at < VIEW_EVERY_US)
                return;
        s->viewed_at = now;
        n.bytes = s->outlet.bytes;
        n.decoded = s->tx.decoded;
        n.confirmed = s->fed;
        n.hlc = g->hlc;
        n.offset = s->outlet.offset;
        n.pending = outlet_pending(&s->outlet);
        n.delivered_us = clock_wall_us() - (now - s->outlet.delivered_at);
        n.vec = s->tx.vec;
        n.regs = s->regs;
        view_numbers(s->view, &n);
        if (s->outlet.records < 2)
                return; /* only the EPOCH: no proof of movement yet */
        bool moving = now - s->outlet.delivered_at < MOVING_US;
        if (!moving && n.pending > 0) {
                struct err e;
                (void)err_named(&e, ST_RETRY, "kafka_away", "Kafka does not acknowledge what was published");
                view_error(s->view, STATE_WAITING, &e);
        } else if (hold_show(s, now))
                return;
        else if (moving)
                view_state(s->view, STATE_RUNNING, "");
        else
                view_state(s->view, STATE_WAITING, "PostgreSQL sends nothing, not even a heartbeat is due");
}

static enum status serve_log(struct session *s, struct err *e)
{
        enum status st = outlet_poll(&s->outlet, 0, e);
        if (st != ST_OK)
                return st;
        int64_t now = clock_mono_us();
        bool moved = lsn_before(s->fed, s->outlet.delivered) && now - s->fed_at >= FEEDBACK_MIN_US;
        if (moved || now - s->fed_at >= FEEDBACK_EVERY_US)
                st = session_feedback(s, e);
        show(s, now);
        return st;
}

/* While a patient stream is behind, its window is left to fill for a tenth of the time that it is late at most, and no longer than the sockets
 * have room.  ADR 0018. */
static int64_t pause_us(const struct session *s)
{
        int64_t us = (s->sent_us - s->tx.txn.commit_us) / LATE_SHARE,
                room = s->gulped > GULP_BYTES ? s->pause_us * GULP_BYTES / (int64_t)s->gulped : 2 * s->pause_us;
        us = us < room ? us : room;
        us = us < MOST_PAUSE_US ? us : MOST_PAUSE_US;
        return us > PAUSE_US && pgstream_patient(s->stream) ? us : PAUSE_US;
}

static void wait_for_more(struct session *s, bool flowing)
{
        int64_t now = clock_mono_us(), wait = progress_due_in(&s->progress, now);
        if (flowing) {
                struct timespec pause = {0, s->pause_us * 1000};
                nanosleep(&pause, NULL);
                return;
        }
        if (lsn_before(s->fed, s->outlet.delivered) && wait > FEEDBACK_MIN_US)
                wait = FEEDBACK_MIN_US;
        if (s->tx.mode == TX_DIRECT && wait <= 0)
                wait = FEEDBACK_MIN_US; /* nothing is due before the large transaction ends */
        int64_t look = standbys_due_in(&s->standbys, now);
        wait = look < wait ? look : wait;
        if (wait <= 0)
                return;
        int stream = s->standbys.need.v ? -1 : pgstream_socket(s->stream);
        struct pollfd fds[] = {{.fd = stream, .events = POLLIN},
                               {.fd = s->outlet.wake[0], .events = POLLIN},
                               {.fd = s->control->wake_fd, .events = POLLIN}};
        struct timespec until = {wait / 1000000, wait % 1000000 * 1000};
        (void)ppoll(fds, 3, &until, NULL);
        uint64_t drop;
        if (fds[2].revents & POLLIN)
                (void)!read(s->control->wake_fd, &drop, sizeof drop);
}

/* What is decoded goes out and is confirmed; an unfinished large transaction is left to the next session (its EPOCH voids the chunks). */
static enum status drain(struct session *s, struct err *e)
{
        enum status st = ST_OK;
        if (s->tx.mode != TX_DIRECT) {
                st = txread_close(&s->tx, e);
                if (st == ST_OK)
                        st = put_progress(s, clock_mono_us(), e);
        }
        while (st == ST_OK && outlet_pending(&s->outlet) > 0) {
                st = outlet_poll(&s->outlet, 20, e);
                if (st == ST_OK)
                        st = session_idle(s, e);
        }
        if (st == ST_OK)
                st = session_feedback(s, e);
        return st == ST_OK ? err_set(e, ST_STOP, "asked to stop; drained") : st;
}

/* *flowing: more is about to come.  The open group waits for it when it is late anyway; it is closed when it is full (groups.h), when PROGRESS is
 * due, and after a lull (a busy machine lets the walsender pause in the middle of a backlog). */
static enum status close_group(struct session *s, unsigned messages, bool *flowing, struct err *e)
{
        const struct groups *g = &s->groups;
        int64_t now = clock_mono_us();
        *flowing = messages > FLOWING_MESSAGES;
        if (messages > 0)
                s->heard_at = now;
        s->pause_us = messages > 0 ? pause_us(s) : PAUSE_US;
        int64_t late = s->sent_us - g->newest_us, lull = late / LATE_SHARE;
        if (!groups_empty(g) && late > BEHIND_US && now - s->heard_at < (lull < MOST_LULL_US ? lull : MOST_LULL_US)) {
                *flowing = true;
                return ST_OK;
        }
        return txread_close(&s->tx, e);
}

static bool asked(struct session *s)
{
        return atomic_load(&s->control->stop) != STOP_NO || atomic_load(&s->control->next) != NULL || view_paused(s->view);
}

enum status session_loop(struct session *s, struct err *e)
{
        s->progress.due_now = true; /* the first one proves that the way is open */
        for (;;) {
                unsigned n = 0;
                bool flowing = false;
                enum status st = session_idle(s, e);
                if (st == ST_OK)
                        st = gulp(s, &n, e);
                if (st == ST_OK)
                        st = close_group(s, n, &flowing, e);
                if (st == ST_OK)
                        st = hold_turn(s, clock_mono_us(), e);
                if (st == ST_OK)
                        st = progress_if_due(s, clock_mono_us(), e);
                if (st == ST_OK)
                        st = serve_log(s, e);
                if (st != ST_OK)
                        return st;
                if (asked(s)) {
                        s->drain_until = clock_mono_us() + s->topo->drain_timeout_us;
                        return drain(s, e);
                }
                wait_for_more(s, flowing);
        }
}
