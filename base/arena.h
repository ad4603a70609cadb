/* arena: memory by lifetime; everything of one group is freed by one reset.
 * Owner: whoever called arena_init.  Thread: one.  Running out of memory ends the process (base/mem.h). */
#ifndef PANGEA_BASE_ARENA_H
#define PANGEA_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;
struct arena {
        struct arena_block *head; /* the block that is being filled */
        size_t used;              /* bytes handed out since the last reset */
};

void arena_init(struct arena *a);
/* Frees everything but one block of ordinary size. */
void arena_reset(struct arena *a);
void arena_release(struct arena *a);
/* Zeroed, aligned to 16 bytes; valid until the next reset. size 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t size);
/* The same, not zeroed: for what is written whole before it is read. */
void *arena_room(struct arena *a, size_t size);
void *arena_copy(struct arena *a, const void *p, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(a, T) ((T *)arena_alloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_alloc((a), sizeof(T) * (size_t)(n)))
#define ARENA_ROOM(a, T, n) ((T *)arena_room((a), sizeof(T) * (size_t)(n)))

#endif
