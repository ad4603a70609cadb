/* suggest: the word somebody meant.  Pure, any thread. */
#ifndef PANGEA_CONFIG_SUGGEST_H
#define PANGEA_CONFIG_SUGGEST_H

#include <stddef.h>

/* Letters that must be put in, taken out, replaced or swapped to make b of a; SIZE_MAX when either is longer than 63 bytes. */
size_t edit_distance(const char *a, const char *b);
/* The candidate nearest to what was written, NULL when none is near. Start with *best = NULL and offer each. */
struct suggestion {
        const char *written, *best;
        size_t distance;
};
void suggest_offer(struct suggestion *s, const char *candidate);

#endif
