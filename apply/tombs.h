/* tombs: pangea.tombstone, the newest deletes of a key by each origin, and a filter of the keys in memory.  DESIGN 6.4.
 * The apply agent is the table's only writer. The filter (a Bloom filter of fixed size) says "surely none" or "perhaps"; it is made anew
 * when the table has shrunk. Owner: the apply agent's thread. */
#ifndef PANGEA_APPLY_TOMBS_H
#define PANGEA_APPLY_TOMBS_H

#include "apply/session.h"
#include "change/vector.h"

struct tombs; /* also the filter of pangea.sibling */
struct tombs *tombs_new(void);
void tombs_free(struct tombs *t);
/* Reads every key of the table (rel, key) once (a new session). side: a connection outside the pipeline. */
MUSTCHECK enum status tombs_load(struct tombs *t, struct pg *side, const char *table, struct err *e);
bool tombs_perhaps(const struct tombs *t, const char *rel, const uint8_t *key, uint32_t len);
void tombs_add(struct tombs *t, const char *rel, const uint8_t *key, uint32_t len);
uint64_t tombs_count(const struct tombs *t); /* an estimate, above the truth */
/* n rows were deleted from the table: when half are gone the filter should be loaded again. */
bool tombs_removed(struct tombs *t, uint64_t n);

/* Rows on their way into the table. */
struct tomb_list {
        struct buf rel, key, hlc;
        uint32_t n;
};
void tomb_list_init(struct tomb_list *l);
/* len 0: the whole table. Also enters the filter. */
void tomb_list_add(struct tomb_list *l, struct tombs *t, const char *rel, const void *key, uint32_t len, hlc_t hlc);
/* Sends one statement (nothing when the list is empty); all of the list are deletes of one region. */
MUSTCHECK enum status tomb_list_send(struct tomb_list *l, struct session *s, struct stmt *stmt, const char *region, struct err *e);
void tomb_list_release(struct tomb_list *l);

#endif
