/* errors: every named stop: what it means, its exit code, what mends it.  docs/errors.md is printed from this table. Pure, any thread. */
#ifndef PANGEA_DAEMON_ERRORS_H
#define PANGEA_DAEMON_ERRORS_H

#include "base/buf.h"
#include "daemon/command.h"

struct error_row {
        const char *name;
        enum exit_code exit;
        const char *cause, *cure;
};

extern const struct error_row error_table[];
extern const size_t error_count;

/* NULL when the name is none of the table. */
const struct error_row *error_find(const char *name);
/* The name of an error that a command ends with: its own, else that of its kind. Always one of the table. */
const char *error_name(const struct err *e);
/* docs/errors.md */
void errors_markdown(struct buf *out);

#endif
