/* problem: everything that is wrong with one file, each with its place, collected so that all of it is said at once.
 * Owner: whoever called problems_init; the strings live until problems_release.  Thread: one.
 * Limits: PROBLEMS_MAX are kept, the rest is counted; a message is one line of printable text. */
#ifndef PANGEA_CONFIG_PROBLEM_H
#define PANGEA_CONFIG_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"

#define PROBLEMS_MAX 100

/* Counted from 1; line 0: the file as a whole. */
struct place {
        int line, column;
};

struct problem {
        bool warning;
        struct place at;
        const char *path;    /* "regions.us.role"; "" when the place says it all */
        const char *message; /* what is wrong, what is allowed, did you mean */
};

struct problems {
        const char *file;
        struct arena arena;
        size_t n, errors, dropped; /* errors counts the dropped ones too, not the warnings */
        struct problem list[PROBLEMS_MAX];
};

void problems_init(struct problems *p, const char *file);
void problems_release(struct problems *p);
void problem_error(struct problems *p, struct place at, const char *path, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
void problem_warn(struct problems *p, struct place at, const char *path, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* In the order of their places. */
void problems_sort(struct problems *p);
/* A line each: "file:line:column: path: message"; a warning says so before its path. */
void problems_print(const struct problems *p, bool warnings, struct buf *out);
/* The same as JSON: [{"file":..,"line":..,"column":..,"path":..,"message":..}], either the errors or the warnings. */
void problems_print_json(const struct problems *p, bool warnings, struct buf *out);

/* s as a JSON string, quotes included; bytes that are not UTF-8 are replaced. */
void problem_json_string(struct buf *out, const char *s);
/* s for a message: in quotes, cut when it is long, control characters replaced; in the problems' memory. */
const char *problem_quote(struct problems *p, const char *s);

#endif
