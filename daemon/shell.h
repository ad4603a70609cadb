/* shell: what is printed from the command table for a shell and for man: completions and manual pages.  Pure; main thread. */
#ifndef PANGEA_DAEMON_SHELL_H
#define PANGEA_DAEMON_SHELL_H

#include "daemon/commands.h"

enum shell { SHELL_BASH, SHELL_ZSH, SHELL_FISH };
enum { SHELL_COUNT = SHELL_FISH + 1 };
extern const char *const shell_names[SHELL_COUNT];

void shell_completion(enum shell s, struct buf *out);
/* A page in man(7); c NULL: that of the whole program. */
void man_page(const struct command *c, struct buf *out);

#endif
