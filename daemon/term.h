/* term: what may be assumed of whoever reads stdout: its width, whether colours help.  Any thread. */
#ifndef PANGEA_DAEMON_TERM_H
#define PANGEA_DAEMON_TERM_H

#include <stdbool.h>

/* Columns of the terminal (COLUMNS wins); 0: no terminal, so no limit. */
int term_width(void);
/* A terminal, and neither NO_COLOR nor TERM=dumb. */
bool term_colour(void);

enum term_style { STYLE_NONE, STYLE_BAD, STYLE_WARN, STYLE_GOOD, STYLE_FAINT, STYLE_STRONG };
/* The sequence that switches it on; "" when colours are off. STYLE_NONE switches everything off. */
const char *term_style(enum term_style s, bool colour);

#endif
