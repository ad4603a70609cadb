/* doctor: looks at every region's server, tables and Kafka before they hurt: a const table of checks, each finding with what is wrong,
 * why it matters and the command that mends it.  Changes nothing.
 * Owner: cmd_doctor.c.  Thread: one for each region while its checks run (a struct patient belongs to it), main for those that compare
 * regions.  Fails: never as a whole; a check that cannot be made is a finding. */
#ifndef PANGEA_DAEMON_DOCTOR_H
#define PANGEA_DAEMON_DOCTOR_H

#include "base/arena.h"
#include "daemon/init.h"
#include "daemon/sequences.h"

enum severity {
        SEVERITY_NOTE,    /* good to know */
        SEVERITY_WARNING, /* works, and will hurt */
        SEVERITY_ERROR,   /* does not work, or loses changes */
};
enum { SEVERITY_COUNT = SEVERITY_ERROR + 1 };
const char *severity_name(enum severity s);

struct doctor_check;
struct finding {
        const struct doctor_check *check;
        enum severity severity;
        const struct region *region; /* NULL: several */
        const char *object;          /* a table, a sequence, a topic; NULL */
        const char *what, *todo;     /* todo may have several lines */
        const struct finding *next;
};

/* A table as one region has it, for comparing. */
struct table_shape {
        const char *schema, *name, *columns; /* columns: a line each, doctor_shapes.c */
};

/* One region, or (region NULL) what concerns several. */
struct patient {
        const struct topology *t;
        const struct region *region;
        struct init init; /* connection, and what init would find */
        struct arena arena;
        const struct doctor_check *check; /* that runs */
        bool reachable, known;            /* the database answers; init_look understood what is there */
        /* facts that checks of several regions compare */
        int64_t clock_us, clock_uncertain_us; /* its clock minus ours */
        bool clock_known;
        char server_version[40], cluster_id[64];
        const char *daemon_version; /* that wrote pangea.status last; NULL */
        struct sequence *sequences;
        size_t nsequences;
        bool sequences_known;
        struct table_plan *plans; /* of check_identity */
        size_t nplans;
        struct table_shape *shapes; /* NULL: not known */
        size_t nshapes;
        bool log_there; /* check_topic: a broker answered for the region's log */
        struct finding *first, *last;
        size_t count[SEVERITY_COUNT];
};

struct doctor {
        const struct topology *t;
        const struct region *only; /* NULL: all */
        struct patient *patients;  /* t->nregions; those not looked at have no region */
        struct patient together;
};

enum check_needs {
        NEEDS_NOTHING,
        NEEDS_DATABASE, /* that answers */
        NEEDS_SCHEMA,   /* after init */
};

struct doctor_check {
        const char *name;       /* stable: --json, `pangea explain` */
        const char *line;       /* what it looks at */
        const char *why;        /* why a finding matters */
        const char *severities; /* what it can find, for the documentation */
        enum check_needs needs;
        bool leaders_only;
        void (*alone)(struct patient *p);   /* at least one of these two */
        void (*together)(struct doctor *d); /* findings go to d->together */
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_check_count;
const struct doctor_check *doctor_check_find(const char *name);

/* Runs them all; doctor_free afterwards. */
void doctor_run(struct doctor *d, const struct topology *t, const struct region *only);
void doctor_free(struct doctor *d);
/* docs/doctor.md */
void doctor_markdown(struct buf *out);

/* ---- for the checks -------------------------------------------------------------------------------------------------------------------- */
/* object and todo are copied; fmt is what was found. The finding, so that a check of several regions can say which. */
struct finding *find(struct patient *p, enum severity s, const char *object, const char *todo, const char *fmt, ...)
        __attribute__((format(printf, 5, 6)));
/* An error of a call: what it says, and the cure of a named stop. */
void find_error(struct patient *p, enum severity s, const char *object, const struct err *e);
/* Runs a query; false, with a finding, when it fails. params may be NULL. */
bool ask(struct patient *p, const char *sql, int n, const struct pg_param *params, struct pgres **res);
/* "schema.table" quoted, in the patient's memory. */
const char *quoted(struct patient *p, const char *schema, const char *name);

/* doctor_server.c */
void check_connection(struct patient *p);
void check_prepared(struct patient *p);
void check_wal_level(struct patient *p);
void check_commit_timestamps(struct patient *p);
void check_standby(struct patient *p);
void check_slots_left(struct patient *p);
void check_senders_left(struct patient *p);
void check_origins_left(struct patient *p);
void check_slot_limit(struct patient *p);
void check_slot(struct patient *p);
void check_freeze(struct patient *p);
void check_server_versions(struct doctor *d);
void check_daemon_versions(struct doctor *d);
/* doctor_rights.c */
void check_rights(struct patient *p);
void check_replication_login(struct patient *p);
void check_row_security(struct patient *p);
/* doctor_tables.c */
void check_identity(struct patient *p);
void check_unlogged(struct patient *p);
void check_triggers(struct patient *p);
void check_unique(struct patient *p);
void check_foreign_keys(struct patient *p);
void check_sequences(struct patient *p);
void check_sequences_apart(struct doctor *d);
/* doctor_shapes.c */
void check_shapes(struct patient *p);
void check_shapes_equal(struct doctor *d);
/* doctor_clock.c */
void check_clock(struct patient *p);
void check_clocks_together(struct doctor *d);
/* Two clocks, each with its doubt: how far they differ at least. Pure. */
int64_t clock_difference(int64_t a_us, int64_t a_uncertain_us, int64_t b_us, int64_t b_uncertain_us);
/* doctor_kafka.c */
void check_topic(struct patient *p);
void check_compression(struct patient *p);
void check_clusters(struct doctor *d);

#endif
