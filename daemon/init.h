/* init: prepares one region (DESIGN 10.1), each step idempotent, checks before changes.  What is said goes to stderr, a line each; SQL
 * (--dry-run, or for a DBA) to stdout.
 * Owner: one struct init per region, on the stack of cmd_init / cmd_deinit.  Main thread; init_slot.c has one more, for the wait. */
#ifndef PANGEA_DAEMON_INIT_H
#define PANGEA_DAEMON_INIT_H

#include <jansson.h>

#include "base/arena.h"
#include "capture/tables.h"
#include "daemon/command.h"
#include "postgres/pg.h"

#define SCHEMA_VERSION 5 /* of schema pangea: init.c, migrations */

struct init {
        const struct topology *t;
        const struct region *r;
        bool leader, dry_run, keep_identity;
        struct pg *db, *admin; /* admin NULL: there is none */
        struct arena arena;
        char slot[64]; /* and publication */
        char role[64], database[64], system_id[32];
        /* as found */
        bool moved; /* pangea.meta was written on another server: this is a copy */
        bool has_schema, has_meta, has_slot, has_publication;
        int64_t schema_version; /* 0: no pangea.meta yet */
        char publication[16];   /* the oid in pangea.meta, "" when there is none */
        int64_t epoch;          /* of pangea.capture: > 0 when something was published */
        struct buf *sql;        /* NULL: printed */
        json_t *said;
        bool fresh; /* the slot is made (or made anew) by this run: rows that are there are common ground */
};

/* Everything that init_*.c says: a line on stderr; with a report also into it. */
void init_say(const struct init *i, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* SQL and what belongs to it, on stdout; with a report into it. */
void init_print(const struct init *i, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* --json: from begin on, what would go to stdout is gathered in *sql; end gives the region's entry (e NULL: done) and releases it. */
void init_report_begin(struct init *i, struct buf *sql);
json_t *init_report_end(struct init *i, const struct err *e);
/* Runs one statement as the run-time role, or prints it. */
MUSTCHECK enum status init_sql(struct init *i, const char *sql, struct err *e);

/* init_check.c: nothing is changed but by rights_grant */
MUSTCHECK enum status init_open(struct init *i, const char *admin, struct err *e);
void init_close(struct init *i);
MUSTCHECK enum status init_look(struct init *i, struct err *e);
MUSTCHECK enum status init_check_server(struct init *i, struct err *e);
/* init_rights.c: grants what is missing, by the admin connection if there is one; what cannot be granted is printed: missing_grant. */
MUSTCHECK enum status init_rights(struct init *i, struct err *e);
/* The statements that are missing, a line each. */
MUSTCHECK enum status init_missing_rights(struct init *i, struct buf *out, struct err *e);
/* init_tables.c */
MUSTCHECK enum status init_check_tables(struct init *i, struct err *e);
MUSTCHECK enum status init_publication(struct init *i, struct err *e);
MUSTCHECK enum status init_tables(struct init *i, struct err *e);
/* init_slot.c */
MUSTCHECK enum status init_check_slot(struct init *i, struct err *e);
/* Makes the slot if need be; lsn and xid are what pangea.meta must hold when i->fresh. */
MUSTCHECK enum status init_slot(struct init *i, lsn_t *lsn, char *xid, size_t xid_size, struct err *e);

/* The largest record that the topic of this log must take in the Kafka of i->r. */
int64_t init_message_bytes(const struct init *i, const struct region *log);
/* An error of Kafka's without a name of its own gets one, so that the exit code says Kafka. */
enum status init_kafka_failed(const struct init *i, struct err *e);
/* All of it. */
MUSTCHECK enum status init_region(struct init *i, struct err *e);

#endif
