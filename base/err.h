/* err: what went wrong, where, and what the caller should do about it.
 * An error is a caller's plain struct; it is filled by whoever finds the fault, given context on its way up (err_wrap) and logged
 * once, by whoever decides.  Thread: any; a struct err belongs to one thread.  Nothing here allocates or fails. */
#ifndef PANGEA_BASE_ERR_H
#define PANGEA_BASE_ERR_H

#include <stdbool.h>

#define MUSTCHECK __attribute__((warn_unused_result))

/* What the caller should do. */
enum status {
        ST_OK,
        ST_RETRY,  /* transient: the same call may succeed later (connection lost, lock time-out, queue full, nothing there yet) */
        ST_DATA,   /* these bytes, this row or this log cannot be used: stop that stream by name, the others go on */
        ST_CONFIG, /* the operator's input is wrong: say where, exit 2 */
        ST_FATAL,  /* this process cannot go on: stop by name */
        ST_STOP,   /* asked to stop: unwind quietly */
};
enum { ST_COUNT = ST_STOP + 1 };

struct err {
        enum status code;
        char name[32]; /* stable name of a named stop, such as "slot_missing"; "" when there is none. docs/errors.md lists them */
        char sqlstate[6]; /* of PostgreSQL, "" otherwise */
        char msg[1000];   /* one line: where, what, what to do next; never a secret */
};

/* Fills *e (which may be NULL) and returns code, so that a function can `return err_set(..)`. */
enum status err_set(struct err *e, enum status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same for a named stop. */
enum status err_named(struct err *e, enum status code, const char *name, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* Puts "context: " before the message that is there; returns e->code. */
enum status err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *e);
const char *status_name(enum status s);

#endif
