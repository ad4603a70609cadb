/* hidden: pangea.suppressed, the rows that wait outside their table, and their keys in memory.  DESIGN 7.
 * The apply agent is the table's only writer; the set in memory holds every row of it, and for the time of a transaction also what is being
 * added or removed: it says "surely none" or "perhaps". Nothing waits: nothing costs anything.
 *
 * A waiting row remembers who holds its value. As long as that row stands as it is, the waiting one waits: only when its holder was
 * touched, or it was changed itself, it is looked at again (to_check; apply/visible.c). After a start all are.
 * Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_HIDDEN_H
#define PANGEA_APPLY_HIDDEN_H

#include "apply/session.h"
#include "base/arena.h"
#include "base/map.h"
#include "change/vector.h"

struct hidden_row {
        struct hidden_table *table;
        const uint8_t *kb;
        uint32_t klen;
        bool to_check;
        /* the set's own */
        bool coming, leaving, noted;
        int64_t since_us;
        uint8_t *holder;
        uint32_t holder_len;
        struct hidden_row *next, *prev; /* of the same holder */
};

struct hidden_table {
        char *name, *schema, *table; /* schema NULL: there is no such table any more */
        struct map rows;             /* key bytes -> struct hidden_row */
        struct map holders;          /* key bytes of a visible row -> the first that waits for it */
        size_t nchecks;              /* an upper bound of rows with to_check */
        struct err why;              /* why a row that could come back did not; empty: nothing */
        struct hidden_table *next;
};

struct hidden;
struct hidden *hidden_new(void);
void hidden_free(struct hidden *h);
void hidden_clear(struct hidden *h);
/* Reads all keys (a new session). side: a connection outside the pipeline. */
MUSTCHECK enum status hidden_load(struct hidden *h, struct pg *side, struct err *e);

size_t hidden_count(const struct hidden *h);
struct hidden_table *hidden_tables(const struct hidden *h);
struct hidden_table *hidden_table(const struct hidden *h, const char *rel); /* NULL: none of its rows waits */
struct hidden_row *hidden_perhaps(const struct hidden_table *t, const uint8_t *kb, uint32_t klen);
/* The oldest time since when a row of the table waits; Unix microseconds. */
int64_t hidden_oldest(const struct hidden_table *t);

/* A visible row of this key was written or is gone: whoever waits for it is looked at again. */
void hidden_touched(struct hidden_table *t, const uint8_t *kb, uint32_t klen);
void hidden_check_all(struct hidden_table *t);
void hidden_check(struct hidden_row *r);
void hidden_checked(struct hidden_row *r);
/* Who holds the value that r waits for. */
void hidden_held_by(struct hidden_row *r, const uint8_t *kb, uint32_t klen);

/* A row is added or removed by the open transaction (adding one that is removed in it: it stays). NULL: a million are there. */
struct hidden_row *hidden_add(struct hidden *h, const char *rel, const char *schema, const char *table, const uint8_t *kb,
                              uint32_t klen);
void hidden_remove(struct hidden *h, struct hidden_row *r);
/* It is not in the table any more. */
void hidden_gone(struct hidden *h, struct hidden_row *r);

/* The transaction that added and removed has ended. */
void hidden_committed(struct hidden *h);
void hidden_rolled_back(struct hidden *h);

/* ---- the table ------------------------------------------------------------------------------------------------------------------------ */
struct hidden_image {
        const uint8_t *kb;
        uint32_t klen;
        struct dot dot;
        const char *image;      /* JSON: {"column": "text" or null} */
        const char *held_by;    /* JSON of the key, NULL: not known */
        const char *constraint; /* NULL: not known */
        const uint8_t *holder;  /* key bytes of held_by */
        uint32_t holder_len;
};
struct target;
/* Sends what puts a row into the table, or replaces it; the set knows it at once. ST_DATA suppressed_full. */
MUSTCHECK enum status hidden_put(struct hidden *h, struct session *s, const struct regset *regs, const struct target *t,
                                 const struct hidden_image *w, struct err *e);
/* Sends what takes it out again. */
MUSTCHECK enum status hidden_drop(struct hidden *h, struct session *s, const char *rel, const uint8_t *kb, uint32_t klen,
                                  struct err *e);
/* A row leaves its table: the siblings that were tied to it (its xmin) wait with it, older ones are void. And when it is back. */
MUSTCHECK enum status hidden_untie(struct session *s, const char *rel, const uint8_t *kb, uint32_t klen, uint32_t xmin,
                                   struct err *e);
MUSTCHECK enum status hidden_tie(struct session *s, const char *rel, const uint8_t *kb, uint32_t klen, struct err *e);
/* Sends the change of who holds the value, for people. */
MUSTCHECK enum status hidden_send_holder(struct session *s, const char *rel, const struct hidden_image *w, struct err *e);
/* Reads the waiting row of each key (NULL kb in the result: it does not wait), in the session's transaction; waits for the answer. */
MUSTCHECK enum status hidden_fetch(struct session *s, struct regset *regs, struct arena *arena, const char *rel,
                                   const struct hidden_image *keys, size_t n, struct hidden_image **out, struct err *e);

#endif
