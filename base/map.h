/* map: a hash table from byte strings to pointers, open addressing over XXH3.
 * Owner: whoever called map_init; keys are copied, values are the caller's.  Thread: one.  Has a maximum at birth. */
#ifndef PANGEA_BASE_MAP_H
#define PANGEA_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot;
struct map {
        struct map_slot *slots;
        size_t cap, used, count, max;
};

void map_init(struct map *m, size_t max_entries); /* 0 = no limit but memory */
void map_release(struct map *m);
void map_clear(struct map *m);
void *map_get(const struct map *m, const void *key, size_t len); /* NULL: not there */
/* Sets or replaces; returns false when the table is full. value may not be NULL. */
bool map_put(struct map *m, const void *key, size_t len, void *value);
void *map_del(struct map *m, const void *key, size_t len); /* the value that was there */
/* Walks in no order: start with *it = 0; returns false at the end. The table may not be changed meanwhile. */
bool map_next(const struct map *m, size_t *it, const void **key, size_t *len, void **value);

/* XXH3 64 bit (libxxhash), for filters and tables. */
uint64_t hash64(const void *p, size_t n, uint64_t seed);

#endif
