/* refuse: what a command says on stderr when it does not do what it was asked: "pangea: <name>: <what, and what to do>", the name being a row of
 * daemon/errors.c (docs/errors.md).  Any thread; writes to stderr only. */
#ifndef PANGEA_DAEMON_REFUSE_H
#define PANGEA_DAEMON_REFUSE_H

#include "base/err.h"

/* For what is wrong with the command line itself. The exit code of that name. */
int refuse(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* For an error that a command ends with: "pangea: <command>: <name>: <message>". Its exit code, never 0. */
int refuse_for(const char *command, const struct err *e);
/* ": did you mean 'best'?" to end a message with, or "" when there is no best: in room, which is returned. */
struct suggestion;
#define REFUSE_MEANT 100
const char *refuse_meant(const struct suggestion *s, char room[REFUSE_MEANT]);

#endif
