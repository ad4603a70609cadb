#include "postgres/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rd.h"
#include "postgres/internal.h"

#define CLOSE_US INT64_C(1000000)
#define WINDOW 65536 /* not below a packet of the loopback: a smaller one stands still until a timer of TCP's runs out */
#define SLOT_STATE \
        "SELECT coalesce(active_pid, 0), coalesce(wal_status, '') FROM pg_catalog.pg_replication_slots WHERE slot_name = "

struct feedback {
        lsn_t write, flush, apply;
        bool reply_now;
};

struct pgstream {
        struct pg *c;
        char *copy;     /* the message handed out last, libpq's memory */
        bool streaming; /* between START_REPLICATION and its end */
        bool patient;   /* pgstream_patient() */
        bool waiting;   /* `later` was not sent, because earlier bytes still wait: positions are cumulative, the newest is enough */
        struct feedback later;
        char slot[64];
};

/* ---- commands -------------------------------------------------------------------------------------------------------------------- */

enum status pgstream_open(struct pgstream **out, const struct pg_opts *o, struct err *e)
{
        struct pg_opts mine = *o;
        struct pg *c;
        mine.session = PG_REPLICATION;
        *out = NULL;
        enum status st = pg_open(&c, &mine, e);
        if (st != ST_OK)
                return st;
        *out = MEM_NEW(struct pgstream);
        (*out)->c = c;
        return ST_OK;
}

static void copy_text(char *to, size_t size, const char *from)
{
        size_t n = strnlen(from, size - 1);
        memcpy(to, from, n);
        to[n] = 0;
}

enum status pgstream_identify(struct pgstream *s, struct pg_system *out, struct err *e)
{
        struct pgres *r;
        enum status st = pg_exec(s->c, "IDENTIFY_SYSTEM", &r, e);
        if (st != ST_OK)
                return err_wrap(e, "IDENTIFY_SYSTEM");
        memset(out, 0, sizeof *out);
        if (pgres_rows(r) != 1 || pgres_cols(r) < 4 || !lsn_parse(pgres_text(r, 0, 2), &out->xlogpos)) {
                st = err_set(e, ST_FATAL, "IDENTIFY_SYSTEM: the server's answer cannot be read");
        } else {
                copy_text(out->system_id, sizeof out->system_id, pgres_text(r, 0, 0));
                out->timeline = (uint32_t)pgres_i64(r, 0, 1);
                copy_text(out->database, sizeof out->database, pgres_text(r, 0, 3));
        }
        pgres_free(r);
        return st;
}

enum status pgstream_create_slot(struct pgstream *s, const char *slot, lsn_t *consistent, struct err *e)
{
        struct pgres *r;
        struct buf sql;
        buf_init(&sql, 4096);
        buf_put_str(&sql, "CREATE_REPLICATION_SLOT ");
        pg_ident(&sql, slot);
        buf_put_str(&sql, " LOGICAL pgoutput (SNAPSHOT 'nothing'");
        /* the slot then follows a promotion of a standby that synchronizes slots */
        buf_put_str(&sql, pg_server_version(s->c) >= 170000 ? ", FAILOVER true)" : ")");
        enum status st = pg_exec(s->c, buf_cstr(&sql), &r, e);
        if (st == ST_OK) {
                if (pgres_rows(r) != 1 || !lsn_parse(pgres_text(r, 0, 1), consistent))
                        st = err_set(e, ST_FATAL, "slot %s: the server's answer to CREATE_REPLICATION_SLOT cannot be read", slot);
                pgres_free(r);
        } else {
                err_wrap(e, "slot %s cannot be created", slot);
        }
        buf_release(&sql);
        return st;
}

/* Names the stop. The server is asked for the slot's state, because its messages are in whatever language lc_messages says. */
static enum status start_failed(struct pgstream *s, struct err *e)
{
        enum status code = e->code;
        const char *slot = s->slot;
        struct err cause = *e;
        struct pgres *r;
        struct buf sql;
        if (pg_lost(s->c))
                return err_wrap(e, "slot %s", slot);
        buf_init(&sql, 4096);
        buf_put_str(&sql, SLOT_STATE);
        pg_literal(&sql, slot);
        if (pg_exec(s->c, buf_cstr(&sql), &r, NULL) != ST_OK) {
                err_wrap(e, "slot %s", slot);
        } else if (pgres_rows(r) == 0) {
                code = err_named(
                        e, ST_FATAL, "slot_missing",
                        "replication slot %s does not exist: it was dropped, or the server was restored or promoted without it",
                        slot);
        } else if (strcmp(pgres_text(r, 0, 1), "lost") == 0) {
                code = err_named(e, ST_FATAL, "slot_lost",
                                 "replication slot %s has lost WAL it needs, the server invalidated it: %.400s", slot, cause.msg);
        } else if (strcmp(cause.sqlstate, "55006") == 0) {
                code = err_named(e, ST_RETRY, "slot_active", "replication slot %s is in use by the server process with pid %s",
                                 slot, pgres_text(r, 0, 0));
        } else {
                err_wrap(e, "slot %s", slot);
        }
        memcpy(e->sqlstate, cause.sqlstate, sizeof e->sqlstate);
        pgres_free(r);
        buf_release(&sql);
        return code;
}

static bool over_loopback(int fd)
{
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
                return false;
        if (peer.ss_family == AF_INET)
                return ntohl(((const struct sockaddr_in *)&peer)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        const struct in6_addr *six = &((const struct sockaddr_in6 *)&peer)->sin6_addr;
        return peer.ss_family == AF_INET6 &&
               (IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET));
}

/* ADR 0018. The kernel refuses nothing here that would be worth an error: without it the stream is only dearer. */
static void bound_window(struct pgstream *s)
{
        int fd = PQsocket(s->c->conn), size = WINDOW;
        s->patient = over_loopback(fd) && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0;
}

bool pgstream_patient(const struct pgstream *s)
{
        return s->patient;
}

enum status pgstream_start(struct pgstream *s, const char *slot, const char *publication, lsn_t from, struct err *e)
{
        struct err mine;
        char at[LSN_STRLEN];
        struct buf sql, names;
        if (!e)
                e = &mine;
        if (pg_lost(s->c) || s->streaming)
                return err_set(e, s->streaming ? ST_FATAL : ST_RETRY, "slot %s: %s", slot,
                               s->streaming ? "started twice" : "connection lost");
        copy_text(s->slot, sizeof s->slot, slot);
        buf_init(&names, 4096);
        buf_init(&sql, 4096);
        pg_ident(&names, publication); /* an identifier list inside a literal */
        buf_put_str(&sql, "START_REPLICATION SLOT ");
        pg_ident(&sql, slot);
        buf_printf(&sql, " LOGICAL %s (proto_version '1', messages 'true', publication_names ", lsn_str(at, from));
        pg_literal(&sql, buf_cstr(&names));
        buf_put_str(&sql, ")");
        PGresult *r = PQexec(s->c->conn, buf_cstr(&sql));
        s->streaming = PQresultStatus(r) == PGRES_COPY_BOTH;
        enum status st = ST_OK;
        if (!s->streaming) {
                pg_failed(s->c, r, e);
                st = start_failed(s, e);
        } else if (PQsetnonblocking(s->c->conn, 1) != 0) {
                st = pg_failed(s->c, NULL, e);
        } else {
                bound_window(s);
        }
        PQclear(r);
        buf_release(&names);
        buf_release(&sql);
        return st;
}

/* ---- the stream ------------------------------------------------------------------------------------------------------------------ */

static void drop_copy(struct pgstream *s)
{
        PQfreemem(s->copy);
        s->copy = NULL;
}

/* The server ended the stream, or the connection broke: its last words, if it had any. */
static enum status stream_ended(struct pgstream *s, struct err *e)
{
        struct err mine;
        PGresult *r;
        enum status st = ST_OK;
        if (!e)
                e = &mine;
        s->streaming = false;
        while (st == ST_OK && (r = PQgetResult(s->c->conn)) != NULL) {
                ExecStatusType status = PQresultStatus(r);
                if (status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) { /* its half is closed, now ours */
                        if (PQputCopyEnd(s->c->conn, NULL) != 1)
                                st = pg_failed(s->c, NULL, e);
                } else if (status != PGRES_COMMAND_OK) {
                        st = pg_failed(s->c, r, e);
                }
                PQclear(r);
        }
        s->c->lost = true; /* there is nothing left to do with this session */
        if (st == ST_OK)
                return err_set(e, ST_RETRY, "slot %s: the server closed the stream", s->slot);
        if (strcmp(e->sqlstate, "42704") == 0) {
                struct err cause = *e;
                err_named(e, ST_FATAL, "publication_missing", "slot %s: %.400s; it is read as it was when the change was made",
                          s->slot, cause.msg);
                memcpy(e->sqlstate, cause.sqlstate, sizeof e->sqlstate);
                return e->code;
        }
        return err_wrap(e, "slot %s: the server ended the stream", s->slot);
}

static enum status read_message(struct pgstream *s, int n, struct stream_msg *out, struct err *e)
{
        struct rd r = rd_init(s->copy, (size_t)n);
        uint8_t kind = rd_u8(&r);
        struct stream_msg m = {.kind = STREAM_DATA};
        if (kind == 'w') {
                m.wal_start.v = rd_u64(&r);
                m.wal_end.v = rd_u64(&r);
                m.sent_us = (int64_t)rd_u64(&r) + PG_EPOCH_US;
                m.len = r.left;
                m.data = rd_take(&r, r.left);
        } else if (kind == 'k') {
                m.kind = STREAM_KEEPALIVE;
                m.wal_end.v = rd_u64(&r);
                m.sent_us = (int64_t)rd_u64(&r) + PG_EPOCH_US;
                m.reply_now = rd_u8(&r) != 0;
        } else {
                r.bad = true;
        }
        if (r.bad)
                return err_set(e, ST_DATA, "slot %s: a replication message of kind 0x%02x and %d bytes is not understood", s->slot,
                               kind, n);
        *out = m;
        return ST_OK;
}

enum status pgstream_next(struct pgstream *s, struct stream_msg *out, struct err *e)
{
        drop_copy(s);
        if (!s->streaming)
                return err_set(e, ST_RETRY, "slot %s: the stream is not running", s->slot);
        int n = PQgetCopyData(s->c->conn, &s->copy, 1);
        if (n > 0)
                return read_message(s, n, out, e);
        if (n < 0)
                return stream_ended(s, e);
        if (e) { /* met at the end of every drain: no formatting */
                err_clear(e);
                e->code = ST_RETRY;
        }
        return ST_RETRY;
}

/* Bytes that wait to be sent go out; false: connection lost. */
static bool flush_some(struct pgstream *s, bool *done)
{
        int rc = PQflush(s->c->conn);
        *done = rc == 0;
        return rc >= 0;
}

static void put_u64(uint8_t *p, uint64_t v)
{
        for (int i = 7; i >= 0; i--, v >>= 8)
                p[i] = (uint8_t)v;
}

static bool send_feedback(struct pgstream *s, const struct feedback *f)
{
        uint8_t p[34] = {'r'};
        bool done;
        put_u64(p + 1, f->write.v);
        put_u64(p + 9, f->flush.v);
        put_u64(p + 17, f->apply.v);
        put_u64(p + 25, (uint64_t)(clock_wall_us() - PG_EPOCH_US));
        p[33] = f->reply_now;
        return PQputCopyData(s->c->conn, (const char *)p, sizeof p) == 1 && flush_some(s, &done);
}

/* Feedback that had to wait is sent as soon as there is room. */
static bool send_later(struct pgstream *s)
{
        bool done;
        if (!flush_some(s, &done))
                return false;
        if (!done || !s->waiting)
                return true;
        s->waiting = false;
        return send_feedback(s, &s->later);
}

static enum status broken(struct pgstream *s, struct err *e)
{
        struct err mine;
        char *copy;
        if (!e)
                e = &mine;
        /* The reason may stand in the buffer behind changes that nobody will read any more (they come again). */
        while (s->streaming && PQgetCopyData(s->c->conn, &copy, 1) > 0)
                PQfreemem(copy);
        s->c->lost = true;
        s->streaming = false;
        PGresult *r = PQgetResult(s->c->conn);
        pg_failed(s->c, PQresultStatus(r) == PGRES_FATAL_ERROR ? r : NULL, e);
        PQclear(r);
        err_wrap(e, "slot %s: connection lost", s->slot);
        return e->code;
}

enum status pgstream_consume(struct pgstream *s, struct err *e)
{
        if (pg_lost(s->c))
                return err_set(e, ST_RETRY, "slot %s: connection lost", s->slot);
        if (!pg_consume(s->c) || !send_later(s))
                return broken(s, e);
        return ST_OK;
}

enum status pgstream_feedback(struct pgstream *s, lsn_t write, lsn_t flush, lsn_t apply, bool reply_now, struct err *e)
{
        bool done;
        if (!s->streaming)
                return err_set(e, ST_RETRY, "slot %s: the stream is not running", s->slot);
        struct feedback f = {.write = write, .flush = flush, .apply = apply, .reply_now = reply_now};
        if (!flush_some(s, &done))
                return broken(s, e);
        s->waiting = !done;
        if (done)
                return send_feedback(s, &f) ? ST_OK : broken(s, e);
        s->later = f;
        return ST_OK;
}

bool pgstream_lost(const struct pgstream *s)
{
        return pg_lost(s->c);
}

int pgstream_socket(const struct pgstream *s)
{
        return pg_socket(s->c);
}

int pgstream_backend_pid(const struct pgstream *s)
{
        return pg_backend_pid(s->c);
}

/* ---- close ----------------------------------------------------------------------------------------------------------------------- */

/* Reads on, throwing everything away, until the server's side of the stream is closed (true) or the time is out. */
static bool drain(struct pgstream *s, int64_t until)
{
        PGconn *conn = s->c->conn;
        bool copying = true, done;
        for (;;) {
                drop_copy(s);
                int n = copying ? PQgetCopyData(conn, &s->copy, 1) : -1;
                if (n > 0)
                        continue;
                if (n < 0) {
                        copying = false;
                        PGresult *r;
                        if (!PQisBusy(conn)) {
                                if (!(r = PQgetResult(conn)))
                                        return true;
                                PQclear(r);
                                continue;
                        }
                }
                int64_t left = until - clock_mono_us();
                if (left <= 0)
                        return false;
                if (!flush_some(s, &done))
                        return true;
                struct pollfd fd = {.fd = PQsocket(conn), .events = (short)(done ? POLLIN : POLLIN | POLLOUT)};
                if (poll(&fd, 1, (int)(left / 1000) + 1) < 0 && errno != EINTR)
                        return true;
                if (!pg_consume(s->c))
                        return true;
        }
}

void pgstream_close(struct pgstream *s)
{
        if (!s)
                return;
        int64_t until = clock_mono_us() + CLOSE_US;
        if (s->streaming && !pg_lost(s->c) && PQputCopyEnd(s->c->conn, NULL) == 1 && !drain(s, until - CLOSE_US / 2)) {
                /* it is in the middle of a large transaction, which it would send to the end */
                pg_cancel(s->c);
                (void)drain(s, until);
        }
        drop_copy(s);
        pg_close(s->c);
        free(s);
}
