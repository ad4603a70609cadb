/* applier: the state of one apply agent, shared by the files of this folder (internal to it).
 * Owner and only user: the apply agent's thread.  Everything under "known" dies with the database session: it is read again from
 * pangea.position and the logs. */
#ifndef PANGEA_APPLY_APPLIER_H
#define PANGEA_APPLY_APPLIER_H

#include "apply/catalog.h"
#include "apply/freeze.h"
#include "apply/inlog.h"
#include "apply/meter.h"
#include "apply/mirror.h"
#include "apply/ownlog.h"
#include "apply/rulebooks.h"
#include "apply/rules.h"
#include "apply/sql.h"
#include "apply/tombs.h"
#include "apply/unseen.h"
#include "conflict/lww.h"
#include "topology/control.h"
#include "topology/pause.h"

/* A version that lost, to be recorded. */
struct loser {
        const struct fold_table *table;
        const struct net *net;
        struct dot dot;
        bool winner_known; /* else a local version that has no HLC yet */
        struct dot winner;
        enum conflict_kind kind;
        const char *image;  /* JSON of the local row that lost; NULL: the incoming one lost (its row, or a delete) */
        const char *stands; /* JSON of the local row that stands; NULL: see stands_text */
        /* of rules with siblings */
        const char *rule, *label; /* NULL: last write wins; label: never freed */
        bool by_text;             /* what lost is text, whatever image says; text NULL: it was a delete */
        const char *text;         /* JSON of values as text */
        const char *stands_text;  /* likewise, what stands now; NULL: nothing */
        const struct dot *involved;
        size_t ninvolved; /* 0: the loser and its winner */
        /* of CONFLICT_MULTIPLE_UNIQUE, else NULL: which constraint, and the key (JSON) of the row that holds the value */
        const char *constraint, *holder;
};

/* What is known of one origin. */
struct origin {
        region_id id;
        struct inlog *log;
        enum agent_state state;
        int64_t since_us;     /* wall clock, of the state */
        struct err why;       /* of waiting and stopped */
        char waits_for[200];  /* "" = nothing */
        int64_t retry_at;     /* monotonic; 0 = at once */
        unsigned tries;       /* of the group at the head */
        bool dead;            /* its log cannot be read on: judged anew at the next start */
        int64_t heartbeat_us; /* the origin's wall clock in the newest record that was processed */
        int64_t moved_at;     /* monotonic: when the last record was processed */
        koffset_t applied_offset;
        lsn_t applied_lsn;
        uint64_t groups, txs, rows, conflicts, retries;
        bool asks;    /* the next try asks before it inserts: a key was there */
        bool replace; /* the next try writes rows that swap unique values by delete and insert */
        bool hide;    /* the next try hides rows that may not be visible beside each other */
        unsigned hide_tries;
};

/* The transactions from xid on (up to the next entry's) applied groups that are stable when need is. */
struct pending_xid {
        struct vector need;
        fullxid_t xid;
};
#define PENDING_XIDS 1024

/* How the own log is processed (repair.c). */
struct own_turn {
        lsn_t lsn;        /* up to where */
        size_t at_once;   /* records of one transaction at most: fewer after a try that was given up */
        int64_t since_us; /* wall clock: since when it does not go on; 0: it does */
        struct err why;
};

struct follower;
struct plugins;
struct hidden;
struct applier {
        struct topology *topo; /* owned */
        region_id me;
        bool follower;
        struct control *control;
        int wake_fd; /* eventfd-like pipe that the readers write; read end */
        int wake_write;
        uint32_t leaders; /* bit per region */
        struct plugins *plugins;
        struct mirrors *mirrors; /* threads of their own; they read *topo */
        struct meter meter;

        /* known */
        struct regset regs;
        struct session *db;
        struct pg *side; /* commits flush messages, reads the catalog, writes status */
        struct catalog *catalog;
        struct rulebooks *books;
        struct rules_known rules; /* books and stable, for the catalog */
        struct sql_origins origins;
        region_id session_origin;        /* REGION_NONE: none set up */
        bool origin_sure;                /* a sync has confirmed it since it was sent */
        struct origin from[MAX_REGIONS]; /* by region id; .log NULL where there is none */
        struct ownlog *own;
        struct unseen *unseen; /* NULL in a follower: it has no own log */
        struct inlog *own_log;
        struct tombs *tombs;
        struct tombs *open; /* keys in pangea.sibling: they do not take the fast path */
        bool has_dots;      /* pangea.column_dot may hold something */
        char *open_doc;     /* what status says of siblings; NULL: there are none */
        int64_t open_keys, manual_keys;
        int64_t looked_at; /* monotonic */
        struct hidden *hidden;
        struct vector applied;           /* what this region has applied; own component: what is processed of the own log */
        struct vector seen[MAX_REGIONS]; /* vector of each log at the position applied (own: processed) */
        struct vector stable;
        fullxid_t stable_xid, stable_xid_saved;
        fullxid_t newest_xid;  /* an xid that is not far from the present one */
        uint32_t held;         /* who keeps applied versions from being stable (a bit each); 0: everything is stable */
        int64_t held_since_us; /* wall clock: since when it is none, or any */
        struct freeze freeze;
        struct pauses pauses;
        int64_t pause_look_at;  /* monotonic */
        struct vector at_start; /* applied when the session began: xids of those groups are not known */
        struct pending_xid pending[PENDING_XIDS];
        size_t npending;
        fullxid_t start_xid;
        struct log_position own_stable; /* what pangea.position says of the own log */
        struct own_mark *own_marks;     /* processed records, oldest first: candidates for own_stable */
        size_t nown_marks, cap_own_marks;
        hlc_t own_parts, parts_ahead;      /* pangea.meta.own_parts; what the open transaction makes of it */
        const struct log_item *sets_ahead; /* the last that the open transaction processed before its turn (own_process_sets) */
        struct own_turn own_turn;
        unsigned own_tries; /* of the records at the head of the own log, that the database refused */
        int64_t visible_at; /* monotonic: not before then somebody comes back */
        unsigned visible_tries;

        struct follower *follow;                   /* of a follower's own log */
        struct kafka_reader *ack_log[MAX_REGIONS]; /* of the followers, read by a leader */
        struct vector acked[MAX_REGIONS];
        struct arena arena;     /* of the group under way */
        struct arena own_arena; /* of own groups that are processed in the middle of another one's transaction */
        struct stmt *fixed;     /* prepared statements that belong to no table (enum fixed_stmt) */
};

enum fixed_stmt {
        FIXED_SETUP,
        FIXED_POSITION,
        FIXED_EMIT,
        FIXED_TOMB_FIND,
        FIXED_TOMB_PUT,
        FIXED_INSERT_LSN,
        FIXED_XID,
        FIXED_TOMB_FORGET,
        FIXED_SIB_DROP,
        FIXED_SIB_PUT,
        FIXED_SIB_FORGET,
        FIXED_DOTS_FIND,
        FIXED_DOTS_DROP,
        FIXED_DOTS_DEAD,
        FIXED_DOTS_PUT,
        FIXED_DOTS_FORGET,
        FIXED_COUNT
};

/* A group on its way into the database. */
struct work {
        struct applier *a;
        struct origin *o;
        const struct log_item *item;
        const struct group *g; /* the chunk under way */
        struct dot dot;
        struct dot
                stamp; /* what the transaction's rows bear: dot, but for own groups that are processed in another one's transaction */
        struct sql_guard guard;
        uint64_t rows, conflicts;
        uint64_t ops[METER_OPS]; /* the rows by operation */
        bool replace, hide;
        bool can_hide; /* it writes a table whose rows may wait outside it */
        bool bold;     /* new rows may be inserted without asking whether their keys are there */
        bool met;      /* one was */
};

/* write.c: one chunk (or the whole group) inside the open transaction. ST_RETRY: roll back and try again. */
MUSTCHECK enum status write_group(struct work *w, const struct group *g, struct err *e);

/* own.c. The dot of the group that wrote a local row; needs the own log read to the insert position. *dominated: it is stable, older than all. */
MUSTCHECK enum status own_dot(struct applier *a, int64_t commit_us, uint32_t xid, const struct relation *rel, const struct net *net,
                              struct dot *dot, bool *dominated, struct err *e);
/* Reads the own log until everything committed here before now is in it, at most 50 ms: ST_RETRY when it did not come. */
MUSTCHECK enum status own_catch_up(struct applier *a, struct err *e);
/* Takes what has arrived in the own log and notes it. */
MUSTCHECK enum status own_pump(struct applier *a, struct err *e);

/* conflict.c: sends what records losers in pangea.conflict; waited for with the next sync. */
MUSTCHECK enum status losers_record(const struct work *w, const struct loser *l, size_t n, struct err *e);

/* Empties the pipe that the readers write. */
void wake_drain(int fd);

/* name.c: which row of a group the database refuses (after the group was rolled back); puts it before what *e says. */
void name_refused_row(struct applier *a, struct origin *o, const struct log_item *item, struct err *e);

/* group.c: one group of another region in one transaction. ST_RETRY (with o->waits_for set when it waits for something by name): again
 * later; ST_DATA: the origin stops or waits by name. Nothing of the group is in the database then. */
MUSTCHECK enum status group_apply(struct applier *a, struct origin *o, const struct log_item *item, struct err *e);
/* Whose transactions follow: sent, waited for with the next sync. */
MUSTCHECK enum status session_as(struct applier *a, region_id origin, struct err *e);
/* After an error: whether the origin is still set up is not known; puts it right. */
void session_as_nobody(struct applier *a);
/* session_as, waited for. */
MUSTCHECK enum status session_take(struct applier *a, region_id origin, struct err *e);
/* After an error that may mean that a table is no longer what we remember: its layout is read anew. */
void schema_forget(struct applier *a, const struct err *e);
/* The same without a question; not within a transaction. */
void tables_forget(struct applier *a);
/* Rolls back, and knows afterwards which origin is set up. */
void group_rollback(struct applier *a);
MUSTCHECK enum status begin_as(struct applier *a, region_id origin, lsn_t lsn, hlc_t hlc, struct err *e);
MUSTCHECK enum status position_send(struct applier *a, region_id origin, const struct log_position *p, struct err *e);
MUSTCHECK enum status work_fill(struct applier *a, const struct log_item *item, region_id origin, struct work *w, struct err *e);

/* repair.c: the own log held against what was applied meanwhile. *moved: something was processed. */
MUSTCHECK enum status own_process(struct applier *a, bool *moved, struct err *e);

/* The transaction in which some of it was processed before its turn has ended. */
void own_sets_done(struct applier *a, bool committed);

/* A processed record of the own log: a candidate for the position from which it is read at the next start. */
struct own_mark {
        struct log_position at;
};
void own_mark_add(struct applier *a, const struct log_item *i);

/* forget.c: which keys are open; what is stable is forgotten (sent). */
MUSTCHECK enum status siblings_load_open(struct applier *a, struct err *e);
MUSTCHECK enum status siblings_forget(struct applier *a, int64_t *removed, struct err *e);
void siblings_look(struct applier *a); /* reads what status says of them, every few seconds */

/* stability.c: every second: what is stable is forgotten. */
MUSTCHECK enum status stability_turn(struct applier *a, struct err *e);
void stability_note(struct applier *a, struct dot dot, fullxid_t xid);
/* Every xid below it has ended. A follower has no own log that would tell. */
void stability_xmin(struct applier *a, fullxid_t xmin);

/* start.c: opens both sessions, checks that this is the right database and the only agent, reads positions and tombstones, opens logs. */
MUSTCHECK enum status apply_start(struct applier *a, struct err *e);
/* Closes and forgets all of it. */
void apply_forget(struct applier *a);
MUSTCHECK enum status apply_open_log(struct applier *a, struct origin *o, struct err *e);

/* turn.c: reads what has come, applies what can be applied. *moved: something was done. ST_RETRY: the session is lost. */
MUSTCHECK enum status apply_turn(struct applier *a, bool *moved, struct err *e);
/* A MARKER of a region's log, the own one included. */
MUSTCHECK enum status apply_marker(struct applier *a, region_id from, const struct log_item *i, struct err *e);
/* Sets an origin's state, logs a change of it. why may be NULL. */
void origin_state(struct applier *a, struct origin *o, enum agent_state state, const struct err *why);

/* pause.c: what an operator has paused, looked at every now and then and at once in a new session. ST_RETRY: it cannot be known. */
MUSTCHECK enum status pause_turn(struct applier *a, bool *changed, struct err *e);
/* NULL: this origin is not paused. */
const struct pause *pause_of(const struct applier *a, const struct origin *o);

/* follower.c: a follower's log holds EPOCH and PROGRESS, so that the others know its position. */
struct follower;
MUSTCHECK enum status follower_open(struct follower **out, struct applier *a, struct err *e);
MUSTCHECK enum status follower_turn(struct follower *f, struct applier *a, struct err *e); /* publishes when a second has passed */
void follower_close(struct follower *f);

/* acks.c: what the followers have applied. */
void acks_read(struct applier *a);
void acks_close(struct applier *a);
hlc_t acks_of_mine(const struct applier *a); /* of the own log: stable, and applied by every follower */
/* Whose acknowledgement of the own log is missing for longer than log.retention: the regions (a bit each) that keep old records in it. */
uint32_t acks_missing(const struct applier *a);

/* history.c: partitions of pangea.conflict by day, aged by conflicts.keep. Never fails: it says so in the log. */
void history_turn(struct applier *a);

/* status.c */
/* What is shown of an origin. */
struct origin_look {
        enum agent_state state;
        koffset_t end, read;
        int64_t behind;       /* records not applied */
        int64_t behind_bytes; /* of them; -1: not known */
};
struct origin_look origin_look(const struct origin *o);
/* meter.c: puts the counters into the registry. */
void meter_publish(struct applier *a, enum agent_state state, int64_t since_us);
void status_write(struct applier *a, enum agent_state state, int64_t since_us, const struct err *why);

#endif
