/* stops: the named stops of capture: what they mean and what mends them, in one table (status shows the same words as the message).
 * Pure, any thread. */
#ifndef PANGEA_CAPTURE_STOPS_H
#define PANGEA_CAPTURE_STOPS_H

#include <stdarg.h>

#include "base/err.h"

/* Fills *e with ST_DATA, the name, and "what; do: <the row's command>". name must stand in the table. */
enum status stop_named(struct err *e, const char *name, const char *region, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* The command that mends a named stop, with the region filled in; "" for a name that is not in the table. Returns buf. */
const char *stop_todo(const char *name, const char *region, char *buf, unsigned long size);

#endif
