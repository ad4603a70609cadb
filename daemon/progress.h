/* progress: says on stderr that something long goes on: a bar on a terminal, else a line every ten seconds.  What takes long is often one
 * statement, so a thread of its own tells.
 * Owner: whoever began it.  Thread: every function may be called from any; NULL does nothing. */
#ifndef PANGEA_DAEMON_PROGRESS_H
#define PANGEA_DAEMON_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct progress;
struct progress_opts {
        FILE *out;        /* NULL: stderr */
        bool bar;         /* rewrites its line; else a line each time */
        int64_t every_us; /* 0: as it should be */
};

/* As stderr wants it; nothing is said before it has taken a while. */
struct progress *progress_begin(const char *what);
struct progress *progress_begin_with(const char *what, const struct progress_opts *o);
/* What is done now; total 0: nobody knows how much there is. */
void progress_phase(struct progress *p, const char *what, size_t total);
void progress_step(struct progress *p);
/* Takes its line away; frees it. */
void progress_end(struct progress *p);

/* "comparing: [#####.....] 3/12, 20 s"; width 0: as wide as needed. Pure. */
void progress_line(const char *what, size_t done, size_t total, int64_t seconds, int width, char *out, size_t size);

#endif
