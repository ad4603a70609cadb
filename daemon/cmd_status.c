#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "daemon/command.h"
#include "daemon/status.h"

#define WATCH_MS 1000

/* ---- the command -------------------------------------------------------------------------------------------------------------------- */
static int look(struct status_view *v, const struct invocation *in)
{
        status_read(v);
        buf_reset(v->problems);
        status_problems(v);
        if (in->watch && !in->json)
                fputs(isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "\n", stdout);
        if (in->json) {
                json_t *o = status_json(v);
                json_dumpf(o, stdout, (in->watch ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(9));
                puts("");
                json_decref(o);
        } else {
                status_print_text(v);
        }
        fflush(stdout);
        return v->degraded ? EXIT_DEGRADED : EXIT_DONE;
}

int cmd_status(struct invocation *in)
{
        int code = EXIT_USAGE;
        struct buf problems;
        struct topology *t = invocation_topology(in, &code);
        if (!t)
                return code;
        buf_init(&problems, 0);
        struct status_view v;
        status_open(&v, t, &problems);
        code = look(&v, in);
        while (in->watch && !ferror(stdout)) { /* until Ctrl-C, or nobody reads any more */
                poll(NULL, 0, WATCH_MS);
                code = look(&v, in);
        }
        status_close(&v);
        buf_release(&problems);
        topology_free(t);
        return code;
}
