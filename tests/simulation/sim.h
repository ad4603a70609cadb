/* sim: a world of regions in one process: simulated databases, logs and clocks around the product's own decisions.
 *
 *   db.c       rows with xmin, locks, WAL, local transactions in two steps, PostgreSQL crashes
 *   capture.c  WAL in commit order -> groups with one HLC and vectors, epochs, progress, zombies
 *   apply.c    one group of another region; guard, slow path (conflict/standing, conflict/lww, apply/fold)
 *   sets.c     the same under rules that need the siblings (conflict/merge)
 *   own.c      the own log: index, repairs, stability (conflict/stable)
 *   unique.c   rows that wait because another one holds their unique value
 *   oracle.c   the true causal history, and what it says every region must hold; naive, and without the product's code
 *   world.c    steps, the seeded scheduler, coming to rest;  shrink.c  the minimal schedule;  simulation.c  the program
 *
 * A world is flat: everything mutable is in struct world, everything it points to is never written again and lies in its arena. So a copy of
 * the struct is a copy of the world.  One thread. */
#ifndef PANGEA_SIM_H
#define PANGEA_SIM_H

#include "apply/fold.h"
#include "conflict/merge.h"
#include "conflict/standing.h"

enum {
        REGIONS = 5,
        TABLES = 2,
        PER_TABLE = 4,
        KEYS = TABLES * PER_TABLE,
        VERSIONS = 192,
        WAL_MAX = 600,
        LOG_MAX = 500,
        CAPTURES = 6
};
/* v, x: plain; g: greatest, least; n: delta; s: union; j: json_merge; t: text_merge; u, w: unique */
enum col { C_K, C_V, C_X, C_G, C_N, C_S, C_J, C_T, C_U, C_W };
enum { NCOLS = C_W + 1 };

typedef const struct cell *image;

struct vset {
        uint64_t w[VERSIONS / 64];
};
static inline void vset_add(struct vset *s, unsigned i)
{
        s->w[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline bool vset_has(const struct vset *s, unsigned i)
{
        return s->w[i / 64] >> (i % 64) & 1;
}
static inline void vset_join(struct vset *to, const struct vset *from)
{
        for (unsigned i = 0; i < VERSIONS / 64; i++)
                to->w[i] |= from->w[i];
}

/* ---- the database ------------------------------------------------------------------------------------------------------------------ */

struct row {
        image img; /* NULL: absent */
        uint64_t xid;
        region_id from;   /* REGION_NONE: written locally */
        int64_t ts;       /* commit timestamp: raw, or the group's HLC */
        struct vset vids; /* the oracle's names of the versions that one sees in it */
};

/* Siblings of a row that bears this xid. */
struct sibs {
        uint64_t xid;
        size_t n;
        const struct version *v;
        const uint8_t *vid; /* of each */
};

struct lost {
        const struct lost *next;
        unsigned key, vid;
        struct dot dot;
};

struct position {
        int pos, epoch; /* of the log, and the highest epoch seen up to there */
        uint64_t lsn;
        hlc_t hlc;
};

/* What survives a crash, once it is flushed. */
struct db {
        struct row row[KEYS];
        struct vector tomb[KEYS], ttomb[TABLES];
        struct sibs sib[KEYS];
        struct {
                size_t n;
                const struct column_dot *dots;
        } cdot[KEYS];
        struct {
                struct row row; /* img NULL: none waits */
                struct dot dot;
        } supp[KEYS];
        struct position at[REGIONS]; /* own: where the own log is read from at start */
        struct vector own_vec;       /* vector of the own log there */
        uint64_t next_xid, stable_xid, last_local_lsn;
        hlc_t own_parts; /* what the own log holds up to it is not taken in again by rules with siblings */
        const struct lost *losers;
};

struct write {
        unsigned key;
        enum change_op op;
        image img, old;
        uint8_t vid; /* known from the commit on */
};

struct ltx {
        uint64_t xid, rowxid, lsn;
        int64_t ts;
        unsigned n;
        const struct write *w;
};

struct running {
        uint64_t xid, rowxid; /* xid 0: none; rowxid differs in a savepoint */
        bool committed;       /* in the WAL, so that it is decoded, and not visible yet: its locks are held */
        unsigned n;
        const struct write *w;
};

struct wal {
        const struct ltx *tx; /* NULL: applied */
        region_id origin;
        hlc_t hlc;
};

/* A record of a region's log. */
enum rec_kind { REC_EPOCH, REC_GROUP, REC_PROGRESS };
struct rec {
        enum rec_kind kind;
        int epoch, gen;
        uint64_t lsn, first_commit; /* end of the last transaction; commit of the first */
        hlc_t hlc;
        struct vector vec; /* own component: hlc */
        uint64_t xmin, xmin_lsn;
        struct group g;
        const uint8_t *vids; /* one per change */
        struct vset all;
};

struct capture {
        enum { CAP_NEW, CAP_RUN } state;
        bool zombie, dead, owns_slot;
        int epoch, wal_limit, pos; /* wal_limit -1: none; pos -1: not decoding yet */
        int slot_start;
        uint64_t skip_to, delivered;
        hlc_t hlc;
        struct vector vec, published;
        struct {
                uint64_t xmin, lsn;
        } probe;
        uint64_t probe_published;
        unsigned npending;
        const struct ltx *pending[16];
        const struct vector *pending_vec[16];
};

struct reader {
        int pos, epoch;
};

/* What an apply transaction does at its commit. */
enum effect_kind {
        FX_PUT,
        FX_DROP,
        FX_TOMB,
        FX_TTOMB,
        FX_SIBS,
        FX_DOTS,
        FX_LOSE,
        FX_DROP_ROW,
        FX_HIDE,
        FX_WAIT,
        FX_UNHIDE,
        FX_BACK
};
struct effect {
        struct effect *next;
        enum effect_kind kind;
        unsigned key;
        struct row row;
        struct dot dot;
        struct sibs sibs;
        size_t ndots;
        const struct column_dot *dots;
        unsigned vid;
};

struct apply_tx {
        bool open;
        region_id origin;
        uint64_t xid;
        const struct rec *rec;
        struct effect *first, **tail;
        struct db *view; /* while it executes */
        int sets_ahead;  /* so much of the own log was processed in it */
        hlc_t own_parts;
};

struct apply {
        struct reader cur[REGIONS];
        struct vector seen[MAX_REGIONS], applied, stable, at_start;
        uint64_t start_xid;
        /* the own log: accepted records, as read since the start */
        struct reader own;
        uint64_t own_lsn;
        int own_recs[LOG_MAX], nown, own_done, own_forgot, sets_done;
        struct {
                uint64_t xid;
                struct dot need;
        } pending[LOG_MAX];
        int npending;
        bool todo_unique;
        struct apply_tx tx;
};

enum { LOCK_FREE = 0, LOCK_APPLY = -1 };
enum { UNIQUE_VALUES = 3 };
struct region {
        struct db d;
        struct running running[2];
        int lock[KEYS], ulock[TABLES][2][UNIQUE_VALUES]; /* 0, running index + 1, or LOCK_APPLY */
        struct wal wal[WAL_MAX];
        int nwal, flushed; /* -1: every commit is flushed at once */
        struct {
                const struct db *d;
                struct vset known;
        } snap[WAL_MAX + 1];
        struct capture cap[CAPTURES];
        int ncap, slot_confirmed, epoch; /* epoch: the counter in the database */
        const struct rec *log[LOG_MAX];
        int nlog, log_epoch;
        struct apply a;
        struct vset known; /* versions that are in its past */
        bool follower;
        int gen, newest; /* rules generation in force here; the newest that was heard of */
};

/* ---- the oracle's versions --------------------------------------------------------------------------------------------------------- */

struct true_version {
        region_id region;
        unsigned key;
        enum change_op op; /* TRUNCATE counts as DELETE of every key */
        image img, old;
        struct vset past;
        struct dot dot; /* of the record that readers accept; hlc 0: not published */
        bool lost;      /* a crash took it back */
        int gen;
        unsigned group; /* number of that record: writes of one group fold */
        image group_old;
        bool last; /* of its group and key */
};

/* ---- a world --------------------------------------------------------------------------------------------------------------------------- */

enum step_kind {
        STEP_BEGIN,
        STEP_COMMIT,
        STEP_SHOW,
        STEP_TX,
        STEP_DECODE,
        STEP_CLOSE,
        STEP_PROGRESS,
        STEP_PROBE,
        STEP_CONFIRM,
        STEP_LAND,
        STEP_KILLCAP,
        STEP_ZOMBIE,
        STEP_NEWCAP,
        STEP_OWNREAD,
        STEP_OWNFIX,
        STEP_EXEC,
        STEP_DONE,
        STEP_KILLAPPLY,
        STEP_STABLE,
        STEP_FLUSH,
        STEP_CRASH,
        STEP_RULE,
        STEP_UNIQUE,
        STEP_KINDS
};

enum op_kind { OP_INS, OP_UPD, OP_DEL, OP_MOVE, OP_TRUNC, OP_KINDS };
enum edit { EDIT_SET, EDIT_PLUS, EDIT_ADD, EDIT_REMOVE };
struct op {
        enum op_kind kind;
        uint8_t key, to, nsets;
        struct {
                uint8_t col;
                enum edit edit;
                int16_t value;
        } set[4];
};

struct step {
        enum step_kind kind;
        uint8_t r, o;
        int8_t arg; /* jitter of the clock, how far a crash falls back, which capture, slow path at once */
        bool sub, late;
        uint8_t nops;
        struct op ops[3];
};

struct setup {
        unsigned regions, followers, keys; /* keys per table that are used */
        const struct rules *rules;
        bool async; /* commits are asynchronous: crashes may happen */
        int skew[REGIONS];
        bool still;  /* the clocks stand still */
        bool chunks; /* a group is applied, and read in the own log, in two parts */
};

enum { FAULT_MAX = 8 };
struct world {
        struct setup set;
        struct region r[REGIONS];
        struct true_version v[VERSIONS];
        unsigned nv, ngroups;
        struct vset accounted; /* versions that somebody saw and overwrote */
        int now;
        unsigned nfaults;
        char fault[FAULT_MAX][240];
        /* the same for all worlds of this setup */
        struct regset regs;
        struct arena *arena; /* lives longer than the world */
        struct arena *scratch;
};

/* A set of rules under test: one for each table and generation. */
struct rules {
        const char *name;
        struct rule rule[TABLES][2]; /* [generation] */
        int generations;             /* 1 or 2 */
        bool unique;
        bool lww[TABLES];      /* goes without siblings */
        unsigned cols[TABLES]; /* bit per column that its transactions write */
        struct rule_column columns[TABLES][2][NCOLS];
        struct relation rels[TABLES];
        struct target targets[TABLES];
};
bool rules_at(size_t i, struct rules *out); /* false behind the last; out stays where it is */

static inline unsigned table_of(unsigned key)
{
        return key / PER_TABLE;
}
static inline unsigned id_of(const struct world *w, const struct region *r)
{
        return (unsigned)(r - w->r);
}
static inline struct cell cell_of(const char *s)
{
        return (struct cell){.data = s, .len = s ? (uint32_t)__builtin_strlen(s) : 0};
}
void world_fault(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* db.c */
bool db_lock(struct region *r, unsigned key, int owner);
void db_unlock(struct region *r, int owner);
bool db_begin(struct world *w, struct region *r, const struct op *ops, unsigned n, bool sub);
/* late: it becomes visible with a later db_show only. */
bool db_commit(struct world *w, struct region *r, int jitter, bool late);
bool db_show(struct region *r);
bool db_hides(const struct region *r, uint64_t xid); /* committed, and not visible yet */
bool db_any_running(const struct region *r);
uint64_t db_lowest_running(const struct region *r);
void db_wal(struct world *w, struct region *r, struct wal entry);
int db_visible_wal(const struct region *r);
void db_effect(struct db *d, const struct effect *fx);
void db_crash(struct world *w, struct region *r, int back);
bool row_clash(const struct world *w, unsigned a, image ia, unsigned b, image ib);
int unique_value(const struct cell *c); /* -1: NULL */

/* capture.c */
struct capture *capture_new(struct world *w, struct region *r);
void capture_land(struct world *w, struct region *r, struct capture *c);
bool capture_decode(struct world *w, struct region *r, struct capture *c);
bool capture_close(struct world *w, struct region *r, struct capture *c);
bool capture_probe(struct region *r, struct capture *c);
bool capture_progress(struct world *w, struct region *r, struct capture *c);
bool capture_confirm(struct region *r, struct capture *c);
void capture_kill(struct region *r, struct capture *c);
void capture_zombie(struct region *r, struct capture *c);
const struct rec *reader_peek(struct reader *c, const struct region *log);

struct incoming_net;
enum done { DONE, BLOCK };

/* apply.c */
bool guard(const struct world *w, const struct region *r, const struct row *row, const struct apply_tx *tx);
void write_row(struct world *w, struct apply_tx *tx, const struct incoming_net *in);
void apply_reset(struct world *w, struct region *r, int back); /* start, or restart; back: how many records are delivered again */
bool apply_exec(struct world *w, struct region *r, unsigned o, bool slow);
bool apply_done(struct world *w, struct region *r);
void tx_undo(struct region *r, struct apply_tx *tx);
/* One statement of an apply transaction: executed on its view, done for all at the commit. */
struct effect *tx_do(struct world *w, struct apply_tx *tx, struct effect fx);
void tx_put(struct world *w, struct apply_tx *tx, unsigned key, image img, struct vset vids);
void tx_lose(struct world *w, struct apply_tx *tx, unsigned key, struct dot dot, unsigned vid);
void tx_begin(struct world *w, struct region *r, struct apply_tx *tx, region_id origin, const struct rec *rec);
void tx_commit(struct world *w, struct region *r, struct apply_tx *tx, hlc_t hlc);
/* The net effects of a group, and what belongs to each. */
struct incoming_net {
        const struct net *net;
        const struct rec *rec;
        unsigned key, vid;
        struct dot dot;
        struct vector seen;
        image img, old;
        bool again; /* behind another segment of its group */
};
struct segment *fold_rec(struct world *w, const struct rec *rec);
bool in_parts(const struct world *w, const struct rec *rec); /* as a transaction that is larger than a record does */
struct incoming_net net_in(struct world *w, const struct rec *rec, region_id origin, const struct net *n, unsigned table);
struct incoming_net truncate_in(struct world *w, const struct rec *rec, region_id origin, const struct change *c, unsigned key);
unsigned table_index(const struct world *w, const struct fold_table *t);
struct vector tombs_of(const struct db *d, unsigned key);
/* JUDGE_OWN: against a change of the region itself: its own row is not covered by it. */
enum judging { JUDGE_LWW, JUDGE_SET, JUDGE_OWN };
enum standing_answer judge_row(const struct world *w, const struct region *r, const struct row *row, struct dot incoming,
                               const struct vector *seen, uint64_t mine, enum judging how, struct dot *dot);
unsigned vid_of(const struct row *row);

/* own.c */
/* What waits in the own log's queue, for tables whose rule needs the siblings, inside the transaction of another region's group. */
enum done own_process_sets(struct world *w, struct region *r, struct apply_tx *tx, const bool *taken);
bool own_read(struct world *w, struct region *r);
bool own_caught_up(const struct region *r);
bool own_fix(struct world *w, struct region *r);
uint64_t own_h(const struct region *r, hlc_t v);
bool own_speaks_of(const struct world *w, const struct region *r, unsigned key); /* a write of the key is read, not processed */
bool own_knows(const struct region *r, const struct row *row);
bool own_visible(const struct world *w, const struct region *r,
                 hlc_t upto); /* apply/unseen.h: read, and every commit of it visible */
/* The version that the own log holds for a local row; rec NULL: older than everything unstable. */
struct own_version {
        const struct rec *rec;
        struct dot dot;
};
struct own_version own_version_of(const struct world *w, const struct region *r, const struct row *row, unsigned key);
bool stability_turn_of(struct world *w, struct region *r);

/* sets.c */
enum done sets_segment(struct world *w, struct region *r, struct apply_tx *tx, const struct segment *seg, bool again, bool slow);
enum done sets_truncate(struct world *w, struct region *r, struct apply_tx *tx, const struct change *c, unsigned table, bool again);
enum done sets_own(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in, const bool *taken);
void sets_own_truncate(struct world *w, struct apply_tx *tx, const struct incoming_net *in);
void sets_stable(struct world *w, struct region *r, bool *did);
const struct rule *rule_of_dot(const struct world *w, const struct region *r, unsigned key, struct dot dot);

/* unique.c */
enum done unique_fix(struct world *w, struct region *r, struct apply_tx *tx);
enum done unique_waiting(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in, bool *waits);
void unique_truncate(struct world *w, struct apply_tx *tx, const struct incoming_net *in, bool own);
enum done unique_own(struct world *w, struct region *r, struct apply_tx *tx, const struct incoming_net *in);
bool unique_again(struct world *w, struct region *r);

/* oracle.c */
unsigned oracle_write(struct world *w, struct region *r, const struct write *wr, const struct row *stands);
void oracle_causal(struct world *w, const struct region *r, const struct rec *rec);
bool oracle_before(const struct world *w, unsigned a, unsigned b);
void oracle_check(struct world *w);
void oracle_forgets(struct world *w, const struct region *r, unsigned key, region_id o, hlc_t h);
void image_str(char *buf, size_t size, image img);

/* values.c */
image image_edit(struct world *w, unsigned key, image old, const struct op *op);
image image_rekey(struct world *w, unsigned key, image old);

/* world.c */
void world_init(struct world *w, const struct setup *set, struct arena *arena, struct arena *scratch);
bool world_step(struct world *w, const struct step *s);
void world_rest(struct world *w); /* lets everything arrive, then asks the oracle */
unsigned world_random(struct world *w, uint64_t seed, struct step *trace,
                      unsigned max); /* random schedule: number of steps that did something */
struct setup setup_random(uint64_t seed, const struct rules *rules, unsigned regions);
const char *step_str(char *buf, size_t size, const struct world *w, const struct step *s);

/* exhaust.c: all interleavings of short scripts */
struct script {
        uint8_t txs[REGIONS], nops[REGIONS][2];
        struct op ops[REGIONS][2][3];
        bool split, acks; /* execution and commit are two steps; PROGRESS and what is stable */
};
struct explored {
        bool right, complete;
        uint64_t states, ends;
        const struct step *trace; /* n steps that lead to what is wrong; borrowed until the next search */
        unsigned n;
};
struct search;
struct search *search_new(void);
void search_free(struct search *s);
struct explored exhaust(struct search *s, const struct setup *set, const struct script *script, size_t limit);

/* shrink.c */
unsigned shrink(const struct setup *set, struct step *trace, unsigned n, char why[240]);
void print_schedule(const struct setup *set, const struct step *trace, unsigned n);

#endif
