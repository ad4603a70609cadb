/* stream: the replication protocol of one logical slot (CopyBoth), and the commands of a replication connection.
 * A stream belongs to one thread.  Errors as in pg.h; a server that closes the stream is ST_RETRY.
 * Named stops: slot_missing, slot_lost, publication_missing (ST_FATAL), slot_active (ST_RETRY, names the pid). */
#ifndef PANGEA_POSTGRES_STREAM_H
#define PANGEA_POSTGRES_STREAM_H

#include "postgres/pg.h"

struct pg_system {
        char system_id[32];
        uint32_t timeline;
        lsn_t xlogpos;
        char database[64];
};

struct pgstream; /* wraps one PG_REPLICATION connection */
MUSTCHECK enum status pgstream_open(struct pgstream **out, const struct pg_opts *o, struct err *e);
MUSTCHECK enum status pgstream_identify(struct pgstream *s, struct pg_system *out, struct err *e);
/* CREATE_REPLICATION_SLOT .. LOGICAL pgoutput; *consistent = its consistent point. */
MUSTCHECK enum status pgstream_create_slot(struct pgstream *s, const char *slot, lsn_t *consistent, struct err *e);
/* START_REPLICATION: proto_version 1, messages on, publication, not streaming, text values. from 0 = the slot's confirmed position. */
MUSTCHECK enum status pgstream_start(struct pgstream *s, const char *slot, const char *publication, lsn_t from, struct err *e);

enum stream_kind { STREAM_DATA, STREAM_KEEPALIVE };
struct stream_msg {
        enum stream_kind kind;
        lsn_t wal_start, wal_end; /* keepalive: wal_end = everything before it was sent */
        int64_t sent_us;          /* the server's clock, Unix time: comparable with its commit times */
        bool reply_now;
        const uint8_t *data; /* pgoutput bytes, borrowed until the next call of pgstream_next */
        size_t len;
};
/* The next message that is there without waiting: ST_OK, ST_RETRY with e->code ST_RETRY and *out untouched and pg_lost()==false when
 * nothing is there (check pgstream_lost), or an error. */
MUSTCHECK enum status pgstream_next(struct pgstream *s, struct stream_msg *out, struct err *e);
/* Reads what the socket holds into libpq's buffer (does not wait). Call when poll(2) says readable, or after a pause. */
MUSTCHECK enum status pgstream_consume(struct pgstream *s, struct err *e);
MUSTCHECK enum status pgstream_feedback(struct pgstream *s, lsn_t write, lsn_t flush, lsn_t apply, bool reply_now, struct err *e);
bool pgstream_lost(const struct pgstream *s);
int pgstream_socket(const struct pgstream *s);
/* The server is reached over the loopback by TCP: whoever is behind does well to let the window fill before reading on. What the server could not
 * send meanwhile comes in few packets, at once when it is read. Over a network that would cost a round trip for each window.  ADR 0018. */
bool pgstream_patient(const struct pgstream *s);
int pgstream_backend_pid(const struct pgstream *s);
/* Ends CopyBoth politely so that the slot is free when this returns (bounded by 1 s), then closes. */
void pgstream_close(struct pgstream *s);

#endif
